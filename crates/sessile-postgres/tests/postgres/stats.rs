//! The figures of a store, counted by hand beside it.

use std::time::Duration;

use sessile_core::{End, Ending, Interval, Registry, Stats, Store as _, Sweep};
use sessile_postgres::PostgresStore;
use sessile_testkit::contract::{key, record};
use sessile_testkit::postgres::Database;

use crate::signed_in::{at, handle, later, revoked, sign_in};

const DOCUMENT: &str = r#"{"cookie":{"originalMaxAge":900000,"path":"/"}}"#;
const MINUTE: u64 = 60_000;

#[tokio::test]
async fn rows_are_counted_by_their_end_and_by_their_owner() {
    let database = Database::new().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    for (number, millis) in [0, 59_000, 60_000, 59 * MINUTE, 60 * MINUTE].into_iter().enumerate() {
        let written = store.insert(&key(&format!("anonymous {number}")), &record(DOCUMENT, at(millis))).await.unwrap();
        assert_eq!(written, sessile_core::Written::Done);
    }
    let gone = record(DOCUMENT, at(0) - Duration::from_secs(5));
    assert_eq!(store.insert(&key("expired"), &gone).await.unwrap(), sessile_core::Written::Done);
    for (number, owner) in ["alice", "bob", "alice", "carol"].into_iter().enumerate() {
        sign_in(&store, owner_key(number).as_str(), owner, number).await;
    }
    assert!(store.revoke(&"carol".into(), &handle(3), &revoked(1)).await.unwrap().is_some());

    let stats = Stats::stats(&store, at(0), 2).await.unwrap();
    assert_eq!((stats.active, stats.expired, stats.signed_in), (8, 1, 3));
    assert_eq!(stats.oldest_expiry, Some(at(0) - Duration::from_secs(5)));
    assert_eq!(stats.newest_expiry, Some(later()));
    let mut minutes = vec![0; 60];
    (minutes[0], minutes[1], minutes[59]) = (2, 1, 1);
    assert_eq!(stats.expiring, minutes);
    assert_eq!(stats.top_owners, [("alice".into(), 2), ("bob".into(), 1)]);
    let documents =
        "SELECT floor(avg(octet_length(sess::text)))::int8, max(octet_length(sess::text))::int8 FROM session";
    let sizes = database.client().await.query_one(documents, &[]).await.unwrap();
    let (average, largest): (i64, i64) = (sizes.get(0), sizes.get(1));
    assert_eq!((stats.average_bytes, stats.p99_bytes), (Some(average as u64), Some(largest as u64)));
    assert!(Stats::stats(&store, at(0), 0).await.unwrap().top_owners.is_empty());
}

fn owner_key(number: usize) -> String {
    format!("signed in {number}")
}

#[tokio::test]
async fn an_empty_store_has_figures_too() {
    let database = Database::new().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let stats = Stats::stats(&store, at(0), 5).await.unwrap();
    assert_eq!((stats.active, stats.expired, stats.signed_in, stats.oldest_expiry), (0, 0, 0, None));
    assert_eq!((stats.average_bytes, stats.p99_bytes, stats.expiring), (None, None, vec![0; 60]));
    assert!(stats.top_owners.is_empty());
    let storage = stats.storage.unwrap();
    assert_eq!((storage.last_vacuum, storage.hot_ratio), (None, None));
    assert!(storage.total_bytes > storage.table_bytes + storage.index_bytes, "{storage:?}");
}

/// What the server knows of the table: sizes as it measures them, dead rows, the vacuum, updates that left indexes alone.
#[tokio::test]
async fn the_catalogue_tells_size_vacuum_and_updates() {
    let database = Database::new().await;
    let client = database.client().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let fill = "INSERT INTO session SELECT n::text, json_build_object('cookie', repeat('x', n)), now() \
        FROM generate_series(1, 100) n";
    for sql in
        [fill, "UPDATE session SET sess = '{}' WHERE sid = '1'", "UPDATE session SET expire = now()", "VACUUM session"]
    {
        client.batch_execute(sql).await.unwrap();
    }
    // What a connection did counts once it has told the statistics.
    drop(client);
    let client = database.client().await;
    let sizes = client.query_one("SELECT pg_table_size('session'), pg_indexes_size('session')", &[]).await.unwrap();
    let storage = loop {
        let storage = Stats::stats(&store, at(0), 0).await.unwrap().storage.unwrap();
        if storage.hot_ratio.is_some() && storage.last_vacuum.is_some() {
            break storage;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((storage.table_bytes as i64, storage.index_bytes as i64), (sizes.get(0), sizes.get(1)));
    let hot = storage.hot_ratio.unwrap();
    assert!((0.0..0.5).contains(&hot), "{hot}");
    assert!(storage.last_autovacuum.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_table_is_weighed_by_a_sample() {
    let database = Database::new().await;
    let client = database.client().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let fill = "INSERT INTO session SELECT n::text, ('{\"cookie\":{},\"text\":\"' || repeat('x', n % 100) || '\"}')::json, \
        '2040-02-01' FROM generate_series(1, 300000) n";
    client.batch_execute(fill).await.unwrap();
    client.batch_execute("ANALYZE session").await.unwrap();
    let stats = Stats::stats(&store, at(0), 5).await.unwrap();
    assert_eq!(stats.active, 300_000);
    let (average, p99) = (stats.average_bytes.unwrap(), stats.p99_bytes.unwrap());
    assert!((70..=76).contains(&average) && (120..=122).contains(&p99), "{average} {p99}");
}

#[tokio::test]
async fn a_timeline_says_what_happened_in_each_span() {
    let database = Database::new().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    // Signed in at 0; and one that began before the first span.
    for (number, owner) in ["alice", "alice", "bob", "carol", "dave"].into_iter().enumerate() {
        sign_in(&store, owner_key(number).as_str(), owner, number).await;
    }
    let early = "UPDATE sessions SET created_at = created_at - interval '1 day' WHERE user_id = 'dave'";
    database.client().await.batch_execute(early).await.unwrap();
    let signed_out = Ending { end: End::LoggedOut, at: at(MINUTE - 1), reason: None };
    assert!(store.remove(&key(&owner_key(0)), &signed_out).await.unwrap());
    assert!(store.revoke(&"bob".into(), &handle(2), &revoked(MINUTE)).await.unwrap().is_some());
    Sweep::sweep(&store, later() + Duration::from_secs(1), 10).await.unwrap();

    let line = store.timeline(at(0), Duration::from_secs(60), 3).await.unwrap();
    let nothing = Interval { at: at(0), active: 0, signed_in: 0, logged_out: 0, revoked: 0, expired: 0, evicted: 0 };
    assert_eq!(
        line,
        [
            Interval { active: 4, signed_in: 4, logged_out: 1, ..nothing },
            Interval { at: at(MINUTE), active: 3, revoked: 1, ..nothing },
            Interval { at: at(2 * MINUTE), active: 3, ..nothing },
        ]
    );
    let last = store.timeline(at(60 * MINUTE), Duration::from_secs(60), 1).await.unwrap();
    assert_eq!(last, [Interval { at: at(60 * MINUTE), expired: 3, ..nothing }]);
    let before = store.timeline(at(0) - Duration::from_secs(60), Duration::from_secs(60), 1).await.unwrap();
    assert_eq!((before[0].active, before[0].signed_in), (1, 0));
    assert!(store.timeline(at(0), Duration::ZERO, 0).await.unwrap().is_empty());
}
