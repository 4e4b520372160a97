//! Which tables are made, taken and refused, and what the doctor says of them.

use rusqlite::OptionalExtension as _;
use sessile_core::{Check, Examine as _, Verdict};

use super::*;

const STRICT: &str = r#"CREATE TABLE sessions (id TEXT PRIMARY KEY, user_id TEXT, "values" TEXT, created_at TEXT,
    expires_at TEXT) STRICT, WITHOUT ROWID"#;
const DEFAULTS: &str = r#"CREATE TABLE sessions (id TEXT PRIMARY KEY, user_id TEXT NOT NULL DEFAULT '',
    "values" TEXT NOT NULL DEFAULT '{}', created_at TEXT DEFAULT CURRENT_TIMESTAMP, expires_at TEXT)"#;

#[tokio::test]
async fn the_table_is_made_with_its_indexes_and_answers_in_sql() {
    let columns = Columns::new();
    let store = columns.store().await;
    let path = columns.0.file();
    assert_eq!(
        store.description(),
        format!("SQLite, {}, columns table sessions (created), registry sessions_registry (created)", path.display())
    );
    signed_in(&store, "a", "alice", 1).await;
    insert(&store, "anonymous").await;
    let (user, values, created_at) = columns.read("a");
    assert_eq!((user.as_deref(), created_at.as_str()), (Some("alice"), "2040-01-01 12:00:00.000"));
    assert!(!values.contains("cookie") && values.contains(r#""userId":"alice""#), "{values}");
    assert_eq!(columns.read("anonymous"), (None, r#"{"userId":"alice"}"#.into(), "2040-01-01 12:00:00.000".into()));
    // What another program need not say.
    columns.0.execute("INSERT INTO sessions (id, expires_at) VALUES ('theirs', '2040-01-01 13:00:00')", []);
    assert!(is_there(&store, "theirs").await);
    let alices = "SELECT count(*) FROM sessions WHERE user_id = 'alice' AND expires_at > '2040-01-01 12:59:59'";
    assert_eq!(columns.0.number(alices), 1);
    for index in ["IDX_sessions_expires_at", "IDX_sessions_user_id"] {
        let sql = "SELECT tbl_name FROM sqlite_schema WHERE type = 'index' AND name = ?1";
        let table: Option<String> =
            columns.0.connection().query_row(sql, [index], |row| row.get(0)).optional().unwrap();
        assert_eq!(table.as_deref(), Some("sessions"), "{index}");
    }
}

#[tokio::test]
async fn a_table_that_another_program_made_is_taken_as_it_is_found() {
    for (table, nobody) in [(NULLABLE, None), (NOT_NULL, Some("")), (STRICT, None), (DEFAULTS, Some(""))] {
        for is_set in [true, false] {
            let columns = Columns::with(table);
            let found = SqliteStore::builder(columns.0.file()).table("sessions");
            let store = if is_set { columns.builder() } else { found }.open().await.unwrap();
            let described = store.description();
            assert!(described.contains("columns table sessions (adopted), registry sessions_registry"), "{described}");
            // Names that look like numbers stay text.
            insert(&store, "1e3").await;
            insert(&store, "1000").await;
            assert_eq!(columns.user("1e3").as_deref(), nobody, "{table}");
            let record = store.load(&key("1e3"), at(0)).await.unwrap().unwrap();
            assert_eq!(record.owner, None);
            assert_eq!(store.update(&key("1e3"), &record).await.unwrap(), Written::Done, "{table}");
            let record = store.load(&key("1e3"), at(0)).await.unwrap().unwrap();
            assert_eq!(store.rotate(&key("1e3"), &key("moved"), &record).await.unwrap(), Written::Done, "{table}");
            assert_eq!(columns.user("moved").as_deref(), nobody, "{table}");
            for (owner, user) in [(Some("42"), Some("42")), (None, nobody)] {
                let mut record = store.load(&key("moved"), at(0)).await.unwrap().unwrap();
                record.owner = owner.map(UserId::from);
                assert_eq!(store.update(&key("moved"), &record).await.unwrap(), Written::Done, "{table}");
                assert_eq!(columns.user("moved").as_deref(), user, "{table}");
                let record = store.load(&key("moved"), at(0)).await.unwrap().unwrap();
                assert_eq!(record.owner, owner.map(UserId::from), "{table}");
            }
            assert_eq!(sweep(&store, at(61_000)).await, 2, "{table}");
        }
    }
}

#[tokio::test]
async fn a_table_that_cannot_hold_sessions_is_refused_with_the_reason() {
    let by = |from: &str, to: &str| {
        assert!(STRICT.contains(from));
        STRICT.replace(from, to).replace(" STRICT, WITHOUT ROWID", "")
    };
    let refused = [
        (by("id TEXT PRIMARY KEY", "id INTEGER PRIMARY KEY"), "`id` to be TEXT, found INTEGER"),
        (by("id TEXT PRIMARY KEY", "id UUID PRIMARY KEY"), "`id` to be TEXT, found UUID"),
        (by("id TEXT PRIMARY KEY", "id TEXT"), "`id` to be the primary key or UNIQUE"),
        (by("user_id TEXT", "user_id INTEGER"), "`user_id` to be TEXT, found INTEGER"),
        (by("user_id TEXT, ", ""), "expected a column `user_id`, found id, values, created_at, expires_at"),
        (by(r#""values" TEXT"#, r#""values" BLOB"#), "`values` to be TEXT, found BLOB"),
        (by("created_at TEXT", "created_at INTEGER"), "`created_at` to be TEXT, found INTEGER"),
        (by("expires_at TEXT", "expires_at REAL"), "`expires_at` to be TEXT, found REAL"),
        (by("expires_at TEXT", "expires_at TEXT, tenant TEXT NOT NULL"), "`tenant` is NOT NULL without a default"),
        (r#"CREATE VIEW sessions AS SELECT 1 AS id, 2 AS "values""#.into(), "expected a table, found a view"),
        ("CREATE TABLE sessions (id TEXT PRIMARY KEY, payload TEXT)".into(), "expected a column `user_id`, found id"),
    ];
    for (table, reason) in refused {
        let columns = Columns::with(&table);
        let message = config_error(columns.builder().open().await);
        assert!(message.contains(reason) && message.contains("choose another name"), "{message}");
        let schema = "SELECT group_concat(sql, '; ') FROM sqlite_schema WHERE sql IS NOT NULL";
        let schema: String = columns.0.connection().query_row(schema, [], |row| row.get(0)).unwrap();
        assert_eq!(schema, table, "nothing was changed");
    }
}

#[tokio::test]
async fn a_table_of_the_other_kind_is_refused_and_says_which_it_is() {
    let columns = Columns::with(NULLABLE);
    let express = columns.builder().table_kind(TableKind::Express).table("sessions");
    let message = config_error(express.clone().open().await);
    assert!(message.contains("expected Express's table, found the columns table"), "{message}");
    assert!(message.contains("TableKind::Columns"), "{message}");
    let checks = express.examine(at(0)).await;
    assert_eq!(trouble(&checks, "sqlite.columns").verdict, Verdict::Failed);

    let directory = Directory::new();
    drop(open(&directory).await);
    let columns = SqliteStore::builder(directory.file()).table_kind(TableKind::Columns);
    let message = config_error(columns.clone().table("session").open().await);
    assert!(message.contains("expected the columns table, found Express's table"), "{message}");
    // Its usual name is that of Express's registry.
    let message = config_error(columns.open().await);
    assert!(message.contains(r#"table "sessions" cannot hold sessions: expected a column `values`"#), "{message}");
    assert_eq!(directory.number("SELECT count(*) FROM sqlite_schema WHERE type = 'table'"), 4);
}

#[tokio::test]
async fn the_registry_is_never_the_session_table() {
    let columns = Columns::new();
    for name in ["sessions", "SESSIONS"] {
        let message = config_error(columns.builder().registry(name).open().await);
        assert!(message.contains("cannot serve the registry of sessions"), "{message}");
    }
    let shared = Columns::with(NULLABLE);
    let message = config_error(SqliteStore::open(shared.0.file()).await);
    assert!(message.contains("it holds sessions itself, in columns, and is shared when"), "{message}");
    assert_eq!(shared.0.number("SELECT count(*) FROM sqlite_schema WHERE type = 'table'"), 1, "nothing was made");
    // Beside Express's table and its registry there is room for another.
    drop(open(&columns.0).await);
    let store = columns.builder().table("go_sessions").open().await.unwrap();
    assert!(store.description().contains("registry go_sessions_registry (created)"));
    signed_in(&store, "a", "alice", 1).await;
    assert_eq!(columns.0.number("SELECT count(*) FROM sessions"), 0);
    // A table called as Express's is has the registry that Express's has.
    let other = Columns::new();
    let store = other.builder().table("session").open().await.unwrap();
    assert!(store.description().contains("columns table session (created), registry sessions (created)"));
}

#[tokio::test]
async fn a_file_that_has_to_be_there_has_to_have_the_table() {
    let columns = Columns::with("CREATE TABLE t (n)");
    let message = config_error(columns.builder().existing(true).open().await);
    assert!(message.contains(r#"expected the session table "sessions""#), "{message}");
    columns.store().await;
    columns.builder().existing(true).open().await.unwrap();
}

/// What is not good, by name.
fn troubles(checks: &[Check]) -> Vec<(&'static str, Verdict)> {
    let bad = checks.iter().filter(|check| check.verdict != Verdict::Good);
    bad.map(|check| (check.name, check.verdict)).collect()
}

/// The check of this name, which is not good.
fn trouble<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    let check = checks.iter().find(|check| check.name == name && check.verdict != Verdict::Good);
    check.unwrap_or_else(|| panic!("expected {name} to be in trouble, found {checks:#?}"))
}

/// A table with a session, a user's session, and one that ended. The store is closed.
async fn healthy() -> Columns {
    let columns = Columns::new();
    let store = columns.store().await;
    insert(&store, "a").await;
    signed_in(&store, "b", "alice", 1).await;
    signed_in(&store, "c", "alice", 2).await;
    assert!(store.remove(&key("c"), &revoked(0)).await.unwrap());
    columns
}

#[tokio::test]
async fn a_healthy_columns_table_gets_no_warning() {
    let columns = healthy().await;
    let found = SqliteStore::builder(columns.0.file()).table("sessions");
    for builder in [columns.builder(), found] {
        let checks = builder.examine(at(0)).await;
        assert_eq!(troubles(&checks), [], "{checks:#?}");
        assert!(checks.iter().any(|check| check.name == "sqlite.user_index"));
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_columns_table_is_named() {
    let old = "2040-01-01 11:40:00";
    let troubles_of = [
        (r#"DROP INDEX "IDX_sessions_expires_at""#.to_owned(), "sqlite.expire_index", "no index on `expires_at`"),
        (r#"DROP INDEX "IDX_sessions_user_id""#.into(), "sqlite.user_index", "no index on `user_id`"),
        (r#"ALTER TABLE sessions DROP COLUMN "values""#.into(), "sqlite.columns", "`values`"),
        (
            format!(
                r#"INSERT INTO sessions (id, "values", created_at, expires_at) VALUES ('old', '{{}}', '{old}', '{old}')"#
            ),
            "sqlite.backlog",
            old,
        ),
        ("DELETE FROM sessions WHERE id = 'b'".into(), "sqlite.in_step", "1 are signed in without a session"),
        (
            "UPDATE sessions SET user_id = 'bob' WHERE id = 'a'".into(),
            "sqlite.in_step",
            "1 are signed in and not registered",
        ),
    ];
    for (sql, name, finding) in troubles_of {
        let columns = healthy().await;
        columns.0.connection().execute_batch(&sql).expect(&sql);
        let checks = columns.builder().examine(at(0)).await;
        let check = trouble(&checks, name);
        assert!(check.finding.contains(finding), "{sql}: {}", check.finding);
        assert_eq!(troubles(&checks).len(), 1, "{sql} is named once: {checks:#?}");
        if name.ends_with("_index") {
            columns.0.connection().execute_batch(&check.remedy.clone().unwrap()).unwrap();
            assert_eq!(troubles(&columns.builder().examine(at(0)).await), [], "the remedy helps");
        }
    }
}
