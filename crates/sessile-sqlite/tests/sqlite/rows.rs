//! Rows and locks of other programs.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use sessile_core::{Store as _, Written};
use sessile_testkit::contract::{key, record, signed_out};

use super::{DOCUMENT, Directory, at, insert, is_there, open, sweep};

#[tokio::test]
async fn a_write_waits_for_another_programs_transaction_and_a_read_does_not() {
    const HELD: Duration = Duration::from_millis(300);
    let directory = Directory::new();
    let store = open(&directory).await;
    insert(&store, "a").await;
    let (locked, is_locked) = mpsc::channel();
    let other = directory.connection();
    let begun = Instant::now();
    let program = std::thread::spawn(move || {
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        locked.send(()).unwrap();
        std::thread::sleep(HELD);
        other.execute_batch("COMMIT").unwrap();
    });
    is_locked.recv().unwrap();
    assert!(is_there(&store, "a").await);
    assert!(begun.elapsed() < HELD, "the read waited");
    insert(&store, "b").await;
    assert!(begun.elapsed() >= HELD, "the write was not held up, so this test showed nothing");
    program.join().unwrap();
}

#[tokio::test]
async fn a_failing_database_is_unavailable_and_says_why() {
    let directory = Directory::new();
    let store = open(&directory).await;
    directory.connection().execute_batch("DROP TABLE session").unwrap();
    let failures = [
        store.load(&key("a"), at(0)).await.map(drop).unwrap_err(),
        store.insert(&key("a"), &record(DOCUMENT, at(0))).await.map(drop).unwrap_err(),
        store.remove(&key("a"), &signed_out()).await.map(drop).unwrap_err(),
    ];
    for error in failures {
        assert!(error.is_unavailable(), "{error:?}");
        let source = std::error::Error::source(&error).expect("SQLite's own words");
        assert!(source.to_string().contains("no such table"), "{source}");
    }
}

#[tokio::test]
async fn rows_of_the_wrong_type_are_poisoned() {
    let directory = Directory::new();
    let store = open(&directory).await;
    for values in [
        "x'00ff', '2041-01-01 00:00:00'",
        "7, '2041-01-01 00:00:00'",
        "CAST(x'7b22ff227d' AS TEXT), '2041-01-01 00:00:00'",
        "'{\"cookie\":{}}', 'tomorrow'",
        "'{\"cookie\":{}}', ''",
    ] {
        directory.connection().execute_batch(&format!("INSERT INTO session VALUES ('a', {values})")).unwrap();
        let error = store.load(&key("a"), at(0)).await.unwrap_err();
        assert!(error.is_poisoned(), "{values}: {error:?}");
        assert_eq!(sweep(&store, at(0)).await, 0, "{values}");
        assert!(store.remove(&key("a"), &signed_out()).await.unwrap());
    }
}

#[tokio::test]
async fn the_times_of_other_programs_count_whichever_format_they_have() {
    let directory = Directory::new();
    let store = open(&directory).await;
    for expire in ["2040-01-01 12:00:10", "2040-01-01T12:00:10.000Z", "2040-01-01 14:00:10+02:00"] {
        let sql = "INSERT INTO session VALUES ('a', ?1, ?2)";
        directory.connection().execute(sql, (DOCUMENT, expire)).unwrap();
        let record = store.load(&key("a"), at(10_000)).await.unwrap().unwrap();
        assert_eq!(record.expires_at, at(10_000), "{expire}");
        assert!(store.load(&key("a"), at(10_001)).await.unwrap().is_none(), "{expire}");
        assert_eq!(store.touch(&key("a"), at(10_001), at(20_000)).await.unwrap(), Written::Gone, "{expire}");
        assert_eq!(sweep(&store, at(10_000)).await, 0, "{expire}");
        assert_eq!(sweep(&store, at(24 * 60 * 60 * 1_000)).await, 1, "{expire}");
    }
}
