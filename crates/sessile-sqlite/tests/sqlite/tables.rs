//! The tables: what others do with them, and which of others' are adopted.

use rusqlite::OptionalExtension as _;
use sessile_core::{Registry as _, Seen, Store as _, Written};
use sessile_sqlite::SqliteStore;
use sessile_testkit::contract::{key, record, signed_out};

use super::{DOCUMENT, Directory, at, config_error, devices, ends, handle, insert, is_there, open, signed_in, sweep};

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
        assert!(store.description().ends_with("table session (adopted), registry sessions (created)"), "{table}");
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
    assert_eq!(tables, 4 * 5, "each with its registry, its cut-offs and its moves");
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
        assert_eq!(schema(&directory), table, "nothing was changed");
    }
    let directory = Directory::new();
    for name in ["sqlite_session", "", "a\0b"] {
        let opened = SqliteStore::builder(directory.file()).table(name).open().await;
        assert!(config_error(opened).contains("cannot hold sessions"));
    }
}

/// What a registry made by hand may look like.
const REGISTRY: &str =
    "CREATE TABLE sessions (ID VARCHAR(36) PRIMARY KEY, sid VARCHAR(64), user_id VARCHAR(255) NOT NULL,
    status VARCHAR(10) NOT NULL DEFAULT 'active', ip_address TEXT, user_agent TEXT, device TEXT, auth_method TEXT, provider_session TEXT,
    expires_at DATETIME, created_at DATETIME, updated_at DATETIME, last_seen_at DATETIME, authenticated_at DATETIME,
    logged_out_at DATETIME, end_reason TEXT, note TEXT)";

#[tokio::test]
async fn a_registry_made_by_others_is_adopted() {
    let directory = Directory::new();
    directory.connection().execute_batch(REGISTRY).unwrap();
    let store = open(&directory).await;
    assert!(store.description().ends_with("table session (created), registry sessions (adopted)"));
    signed_in(&store, "1e3", "1e3", 1).await;
    let record = store.load(&key("1e3"), at(0)).await.unwrap().unwrap();
    assert_eq!(store.rotate(&key("1e3"), &key("1000"), &record).await.unwrap(), Written::Done);
    assert!(devices(&store, "1000").await.is_empty(), "a user that looks like a number stays text");
    assert_eq!(devices(&store, "1e3").await.len(), 1);
    assert!(store.remove(&key("1000"), &signed_out()).await.unwrap());
    assert_eq!(ends(&store, "1e3").await, [(handle(1), signed_out())]);
}

#[tokio::test]
async fn a_registry_without_a_count_of_requests_gets_one() {
    let directory = Directory::new();
    let old = open(&directory).await;
    signed_in(&old, "a", "alice", 1).await;
    drop(old);
    directory.connection().execute_batch("ALTER TABLE sessions DROP COLUMN requests").unwrap();
    let store = open(&directory).await;
    let seen = Seen { handle: handle(1), at: at(60_000), expires_at: at(99_000), requests: 3 };
    store.seen(&[seen.clone(), seen]).await.unwrap();
    assert_eq!(devices(&store, "alice").await.remove(0).requests, 6);
    assert_eq!(devices(&open(&directory).await, "alice").await.remove(0).requests, 6, "it is there already");
}

#[tokio::test]
async fn a_table_that_is_another_programs_is_not_taken_for_the_registry() {
    let by = |from: &str, to: &str| REGISTRY.replace(from, to);
    let refused = [
        (
            "CREATE TABLE sessions (id INTEGER PRIMARY KEY, user_id INTEGER, payload TEXT)".to_owned(),
            "table \"sessions\" cannot serve the registry of sessions: expected its column `id` to be TEXT, found INTEGER",
        ),
        (
            "CREATE TABLE \"Sessions\" (id TEXT PRIMARY KEY, user_id TEXT, payload TEXT)".to_owned(),
            "expected a column `sid`, found id, user_id, payload",
        ),
        ("CREATE VIEW sessions AS SELECT 1 AS id".to_owned(), "expected a table, found a view"),
        (
            by("sid VARCHAR(64)", "sid TEXT NOT NULL"),
            "expected its column `sid` to take NULL, found that it is NOT NULL",
        ),
        (by("created_at DATETIME", "created_at INTEGER"), "`created_at` to be TEXT, found INTEGER"),
        (by("ID VARCHAR(36) PRIMARY KEY", "id TEXT"), "`id` to be the primary key or UNIQUE"),
        (by("note TEXT", "note TEXT NOT NULL"), "`note` is NOT NULL without a default"),
        (
            "CREATE TABLE sessions_cutoffs (user_id TEXT PRIMARY KEY, not_before TEXT, swept TEXT)".to_owned(),
            "table \"sessions_cutoffs\" cannot serve the registry of sessions: expected its column `swept` to be INTEGER",
        ),
        (
            "CREATE TABLE sessions_moves (sid TEXT, moved_to TEXT, moved_at TEXT)".to_owned(),
            "table \"sessions_moves\" cannot serve the registry of sessions: expected its column `sid` to be the primary key",
        ),
        ("CREATE TABLE t (n); CREATE INDEX IDX_sessions_sid ON t (n)".to_owned(), "could not be created"),
    ];
    for (table, reason) in refused {
        let directory = Directory::new();
        directory.connection().execute_batch(&table).unwrap();
        let message = config_error(SqliteStore::open(directory.file()).await);
        assert!(message.contains(reason), "{message}");
        assert!(message.contains("or choose another name with `SqliteBuilder::registry`"), "{message}");
        assert_eq!(schema(&directory), table, "nothing was changed, and no session table was made");

        let builder = SqliteStore::builder(directory.file());
        let store = builder.registry("who_is_where").open().await.unwrap();
        signed_in(&store, "a", "alice", 1).await;
    }
    let directory = Directory::new();
    for name in ["sqlite_sessions", "", "a\0b", "session", "SESSION"] {
        let opened = SqliteStore::builder(directory.file()).registry(name).open().await;
        assert!(config_error(opened).contains("cannot serve the registry of sessions"), "{name}");
    }
}

/// Every statement that made something in the file.
fn schema(directory: &Directory) -> String {
    let schema = "SELECT group_concat(sql, '; ') FROM sqlite_schema WHERE sql IS NOT NULL";
    directory.connection().query_row(schema, [], |row| row.get(0)).unwrap()
}
