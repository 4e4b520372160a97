//! Opening a file, sharing it, and losing the process that has it open.

use std::fs;
use std::future::ready;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sessile_core::{Piece, Store as _, Transfer as _};
use sessile_sqlite::SqliteStore;
use sessile_testkit::contract::{key, record, signed_out};

use super::{DOCUMENT, Directory, at, config_error, insert, is_there, open};

/// While nobody else has the file open, and while somebody has.
#[tokio::test]
async fn what_was_imported_is_in_the_file_itself_when_the_store_is_dropped() {
    let document: Arc<str> = DOCUMENT.replace("alice", &"a".repeat(4_000)).into();
    for has_company in [false, true] {
        let directory = Directory::new();
        let store = open(&directory).await;
        let company = directory.connection();
        company.query_row("SELECT count(*) FROM session", [], |_| Ok(())).unwrap();
        let company = Some(company).filter(|_| has_company);
        let piece = |number: usize| {
            let (document, expires_at) = (document.clone(), at(60_000));
            Piece::Session { key: key(&number.to_string()), document, expires_at }
        };
        store.import(&(0..2_000).map(piece).collect::<Vec<_>>()).await.unwrap();
        drop(store);
        let bytes = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let log = directory.0.join("app.sqlite-wal");
        assert_eq!(bytes(&log), 0, "company: {has_company}");
        assert!(bytes(&directory.file()) > 8_000_000, "the file has {} bytes", bytes(&directory.file()));
        drop(company);
    }
}

#[tokio::test]
async fn sessions_are_still_there_after_opening_again() {
    let directory = Directory::new();
    let store = open(&directory).await;
    let described = |origin| {
        format!("SQLite, {}, table session ({origin}), registry sessions ({origin})", directory.file().display())
    };
    assert_eq!(store.description(), described("created"));
    insert(&store, "a").await;
    drop(store);
    let store = open(&directory).await;
    assert!(is_there(&store, "a").await);
    assert_eq!(store.description(), described("adopted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_a_new_file_at_once_and_one_creates_the_table() {
    for _ in 0..5 {
        let directory = Directory::new();
        let openings: Vec<_> = (0..12).map(|_| tokio::spawn(SqliteStore::open(directory.file()))).collect();
        let mut created = 0;
        for opening in openings {
            let store = opening.await.unwrap().unwrap();
            let created_both = store.description().ends_with("table session (created), registry sessions (created)");
            created += usize::from(created_both);
        }
        assert_eq!(created, 1);
    }
}

#[tokio::test]
async fn dropping_the_store_writes_what_is_queued_and_closes_the_file() {
    let directory = Directory::new();
    let store = open(&directory).await;
    let (name, row) = (key("a"), record(DOCUMENT, at(60_000)));
    // Polled once, so that it is queued, and then given up.
    tokio::select! { biased; _ = store.insert(&name, &row) => {} () = ready(()) => {} }
    drop(store);
    // The last connection that closes a file removes its log.
    let log = directory.0.join("app.sqlite-wal");
    wait_until(|| !log.exists());
    let rows: i64 = directory.connection().query_row("SELECT count(*) FROM session", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

fn wait_until(happened: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !happened() {
        assert!(Instant::now() < deadline, "this did not happen within 10 s");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The environment variable that makes this binary the other process of the next test.
const OTHER_PROCESS: &str = "SESSILE_TEST_SQLITE_OTHER_PROCESS";

#[tokio::test]
async fn what_was_answered_survives_kill_9_of_the_process() {
    let directory = Directory::new();
    let store = open(&directory).await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "opening::the_other_process", "--nocapture"])
        .env(OTHER_PROCESS, directory.file())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut answered = Vec::new();
    while answered.len() < 200 {
        let line = lines.next().expect("the other process writes until it is killed");
        let Some(name) = line.strip_prefix("answered ") else { continue };
        // While it lives, this process sees what it has written.
        assert!(is_there(&store, name).await, "{name}");
        answered.push(name.to_owned());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    answered.extend(lines.filter_map(|line| Some(line.strip_prefix("answered ")?.to_owned())));
    drop(store);

    let store = open(&directory).await;
    for name in answered {
        assert!(is_there(&store, &name).await, "{name}");
        assert!(!is_there(&store, &format!("{name} ended")).await, "{name}");
    }
}

#[tokio::test]
#[allow(clippy::print_stdout, reason = "the pipe to the process that waits for it")]
async fn the_other_process() {
    let Some(path) = std::env::var_os(OTHER_PROCESS) else { return };
    let store = SqliteStore::open(path).await.unwrap();
    for number in 0.. {
        let (name, ended) = (format!("session {number}"), format!("session {number} ended"));
        insert(&store, &name).await;
        insert(&store, &ended).await;
        assert!(store.remove(&key(&ended), &signed_out()).await.unwrap());
        println!("answered {name}");
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_used_is_refused_with_the_reason() {
    let directory = Directory::new();
    let missing = directory.0.join("missing/app.sqlite");
    assert!(config_error(SqliteStore::open(missing).await).contains("its directory does not exist"));
    assert!(config_error(SqliteStore::open(&directory.0).await).contains("could not be opened"));
    for none in [":memory:", ""] {
        assert!(config_error(SqliteStore::open(none).await).contains("sessions need a file"));
    }
    let text = directory.0.join("notes.txt");
    fs::write(&text, "not a database, but long enough to have a header. ".repeat(50)).unwrap();
    assert!(config_error(SqliteStore::open(&text).await).contains("not an SQLite database"));
    // A path is a path, whatever SQLite's URIs mean.
    assert!(config_error(SqliteStore::open("file:missing/app.sqlite?mode=memory").await).contains("does not exist"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_this_process_may_not_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = Directory::new();
    let mut path = directory.file();
    directory.connection().execute_batch("CREATE TABLE t (n)").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    if fs::File::options().write(true).open(&path).is_ok() {
        // Root may write to any file but to those of the kernel.
        path = "/sys/kernel/notes".into();
    }
    assert!(config_error(SqliteStore::open(&path).await).contains("may not write to it"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_its_owners_alone_and_an_old_ones_mode_stays() {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let directory = Directory::new();
    let store = open(&directory).await;
    insert(&store, "a").await;
    for name in ["app.sqlite", "app.sqlite-wal", "app.sqlite-shm"] {
        assert_eq!(mode(&directory.0.join(name)), 0o600, "{name}");
    }
    drop(store);

    let directory = Directory::new();
    fs::write(directory.file(), "").unwrap();
    fs::set_permissions(directory.file(), fs::Permissions::from_mode(0o640)).unwrap();
    open(&directory).await;
    assert_eq!(mode(&directory.file()), 0o640);
}
