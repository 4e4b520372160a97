//! The SQLite store: the contract, and what only a file can be asked.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "another program's lock is held for real time")]

use std::fs;
use std::future::ready;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _};
use sessile_core::{Config, Error, RequestHead, Sessions, Store as _, Written};
use sessile_sqlite::SqliteStore;
use sessile_testkit::contract::{self, key, record};
use sessile_testkit::{conformance, http_contract, store_contract};

/// A directory of its own for each test, removed with what is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("sessile-sqlite-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("app.sqlite")
    }

    fn connection(&self) -> Connection {
        let connection = Connection::open(self.file()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl contract::Fixture for Directory {
    type Store = SqliteStore;

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(self.file()).await.unwrap()
    }

    async fn plant(&self, key: &str, document: &str, expires_at: SystemTime) -> bool {
        let sql = "INSERT INTO session VALUES (?1, ?2, datetime(?3, 'unixepoch'))";
        let expire = i64::try_from(expires_at.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        self.connection().execute(sql, (key, document, expire)).unwrap() == 1
    }
}

store_contract!(sqlite, async || Directory::new());

impl http_contract::App for Directory {
    async fn serve(&self, config: Config) -> String {
        let store = SqliteStore::open(self.file()).await.unwrap();
        conformance::start(Sessions::new(store, config)).await
    }
}

http_contract!(two_instances, async || Directory::new());

const DOCUMENT: &str = r#"{"cookie":{"path":"/"},"userId":"alice"}"#;

/// 2040-01-01 12:00:00 UTC and that many milliseconds.
fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + contract::NOW + Duration::from_millis(millis)
}

async fn open(directory: &Directory) -> SqliteStore {
    SqliteStore::open(directory.file()).await.unwrap()
}

async fn is_there(store: &SqliteStore, name: &str) -> bool {
    store.load(&key(name), at(0)).await.unwrap().is_some()
}

async fn insert(store: &SqliteStore, name: &str) {
    assert_eq!(store.insert(&key(name), &record(DOCUMENT, at(60_000))).await.unwrap(), Written::Done);
}

async fn sweep(store: &SqliteStore, now: SystemTime) -> u64 {
    store.sweep().expect("this store is swept").sweep(now, 10).await.unwrap()
}

fn config_error(opened: Result<SqliteStore, Error>) -> String {
    let error = opened.expect_err("this cannot be opened");
    assert!(error.is_config(), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn sessions_are_still_there_after_opening_again() {
    let directory = Directory::new();
    let store = open(&directory).await;
    assert_eq!(store.description(), format!("SQLite, {}, table session (created)", directory.file().display()));
    insert(&store, "a").await;
    drop(store);
    let store = open(&directory).await;
    assert!(is_there(&store, "a").await);
    assert!(store.description().ends_with("(adopted)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_a_new_file_at_once_and_one_creates_the_table() {
    for _ in 0..5 {
        let directory = Directory::new();
        let openings: Vec<_> = (0..12).map(|_| tokio::spawn(SqliteStore::open(directory.file()))).collect();
        let mut created = 0;
        for opening in openings {
            let store = opening.await.unwrap().unwrap();
            created += usize::from(store.description().ends_with("(created)"));
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
        .args(["--exact", "the_other_process", "--nocapture"])
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
        assert!(store.remove(&key(&ended)).await.unwrap());
        println!("answered {name}");
    }
}

#[tokio::test]
async fn the_table_answers_the_questions_that_connect_pg_simples_does() {
    let directory = Directory::new();
    let store = open(&directory).await;
    assert_eq!(store.insert(&key("a"), &record(DOCUMENT, at(10_001))).await.unwrap(), Written::Done);
    let connection = directory.connection();
    let (expire, user): (String, String) = connection
        .query_row("SELECT expire, sess->>'userId' FROM session WHERE expire > datetime('now')", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!((expire.as_str(), user.as_str()), ("2040-01-01 12:00:11", "alice"));
    let index: Option<String> = connection
        .query_row("SELECT tbl_name FROM sqlite_schema WHERE name = 'IDX_session_expire'", [], |row| row.get(0))
        .optional()
        .unwrap();
    assert_eq!(index.as_deref(), Some("session"));
}

#[tokio::test]
async fn tables_made_by_others_are_adopted() {
    let tables = [
        "CREATE TABLE session (sid VARCHAR(255) PRIMARY KEY, sess JSON NOT NULL, expire DATETIME NOT NULL)",
        "CREATE TABLE \"Session\" (SID TEXT NOT NULL UNIQUE, Sess TEXT, expire TIMESTAMP, note TEXT, n INT NOT NULL DEFAULT 1)",
        "CREATE TABLE session (id INTEGER PRIMARY KEY, sid TEXT NOT NULL, sess TEXT, expire TEXT); \
         CREATE UNIQUE INDEX by_sid ON session (sid)",
        "CREATE TABLE session (sid TEXT PRIMARY KEY, sess TEXT, expire TEXT) STRICT, WITHOUT ROWID",
    ];
    for table in tables {
        let directory = Directory::new();
        directory.connection().execute_batch(table).unwrap();
        let store = open(&directory).await;
        assert!(store.description().ends_with("(adopted)"), "{table}");
        // A key that looks like a number stays text.
        for name in ["1e3", "1000"] {
            insert(&store, name).await;
        }
        let record = store.load(&key("1e3"), at(0)).await.unwrap().unwrap();
        assert_eq!(store.rotate(&key("1e3"), &key("moved"), &record).await.unwrap(), Written::Done, "{table}");
        assert!(is_there(&store, "moved").await && is_there(&store, "1000").await, "{table}");
        assert_eq!(sweep(&store, at(61_000)).await, 2, "{table}");
    }
}

#[tokio::test]
async fn a_table_may_have_any_name_and_several_share_a_file() {
    let directory = Directory::new();
    for name in ["user_sessions", "order", "a\"b; DROP TABLE session; --", "äöü", "IDX"] {
        let store = SqliteStore::builder(directory.file()).table(name).open().await.unwrap();
        insert(&store, "a").await;
        assert!(is_there(&store, "a").await, "{name}");
        assert!(store.description().contains(name));
    }
    let tables: i64 = directory
        .connection()
        .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 5);
}

#[tokio::test]
async fn a_table_that_cannot_hold_sessions_is_refused_with_the_reason() {
    let refused = [
        ("CREATE TABLE session (id TEXT PRIMARY KEY, data TEXT)", "expected a column `sid`, found id, data"),
        (
            "CREATE TABLE session (sid TEXT PRIMARY KEY, sess TEXT, expired TEXT)",
            "expected a column `expire`, found sid, sess, expired",
        ),
        ("CREATE TABLE session (sid INTEGER PRIMARY KEY, sess TEXT, expire TEXT)", "`sid` to be TEXT, found INTEGER"),
        ("CREATE TABLE session (sid PRIMARY KEY, sess TEXT, expire TEXT)", "`sid` to be TEXT, found no type"),
        // SQLite takes any type with INT in it for a number.
        (
            "CREATE TABLE session (sid POINTTEXT PRIMARY KEY, sess TEXT, expire TEXT)",
            "`sid` to be TEXT, found POINTTEXT",
        ),
        ("CREATE TABLE session (sid TEXT PRIMARY KEY, sess BLOB, expire TEXT)", "`sess` to be TEXT, found BLOB"),
        (
            "CREATE TABLE session (sid TEXT PRIMARY KEY, sess TEXT, expire INTEGER)",
            "`expire` to be TEXT, found INTEGER",
        ),
        ("CREATE TABLE session (sid TEXT, sess TEXT, expire TEXT)", "`sid` to be the primary key or UNIQUE"),
        (
            "CREATE TABLE session (sid TEXT, app TEXT, sess TEXT, expire TEXT, PRIMARY KEY (sid, app))",
            "`sid` to be the primary key or UNIQUE",
        ),
        (
            "CREATE TABLE session (sid TEXT PRIMARY KEY, sess TEXT, expire TEXT, app TEXT NOT NULL)",
            "`app` is NOT NULL without a default",
        ),
        ("CREATE VIEW session AS SELECT 1 AS sid, 2 AS sess, 3 AS expire", "expected a table, found a view"),
        ("CREATE TABLE t (n); CREATE INDEX IDX_session_expire ON t (n)", "could not be created"),
    ];
    for (table, reason) in refused {
        let directory = Directory::new();
        directory.connection().execute_batch(table).unwrap();
        let message = config_error(SqliteStore::open(directory.file()).await);
        assert!(message.contains(reason) && message.contains("choose another name"), "{message}");
        let schema = "SELECT group_concat(sql, '; ') FROM sqlite_schema WHERE sql IS NOT NULL";
        let left: String = directory.connection().query_row(schema, [], |row| row.get(0)).unwrap();
        assert_eq!(left, table, "nothing was changed");
    }
    let directory = Directory::new();
    for name in ["sqlite_session", "", "a\0b"] {
        let opened = SqliteStore::builder(directory.file()).table(name).open().await;
        assert!(config_error(opened).contains("cannot hold sessions"));
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
        store.remove(&key("a")).await.map(drop).unwrap_err(),
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
        assert!(store.remove(&key("a")).await.unwrap());
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

/// A request with this Cookie header.
struct Head<'a>(Option<&'a str>);

impl RequestHead for Head<'_> {
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        if let (Some(cookie), "cookie") = (self.0, name) {
            visit(cookie.as_bytes());
        }
    }
}

async fn count_up(sessions: &Sessions, cookie: Option<&str>) -> Result<Option<String>, Error> {
    let exchange = sessions.begin(&Head(cookie));
    exchange.session().await?.update("count", |count: Option<u32>| count.unwrap_or(0) + 1)?;
    let set_cookie = exchange.finish().await?;
    Ok(set_cookie.map(|cookie| cookie.header_value().split(';').next().unwrap().to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_increment_of_sixty_four_tasks_is_lost() {
    const TASKS: u32 = 64;
    const EACH: u32 = 50;
    let directory = Directory::new();
    let config = Config::new("gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds").unwrap();
    let sessions = Sessions::new(open(&directory).await, config);
    let cookie = count_up(&sessions, None).await.unwrap().expect("a new session's cookie");
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (sessions, cookie) = (sessions.clone(), cookie.clone());
            tokio::spawn(async move {
                for _ in 0..EACH {
                    // With this many others a request may run out of tries: its 503 says that it counted nothing.
                    while let Err(error) = count_up(&sessions, Some(&cookie)).await {
                        assert!(error.is_unavailable(), "{error:?}");
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let session = sessions.begin(&Head(Some(&cookie))).session().await.unwrap();
    assert_eq!(session.get::<u32>("count").unwrap(), Some(1 + TASKS * EACH));
}
