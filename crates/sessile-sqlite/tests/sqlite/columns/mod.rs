//! The columns table: the whole contract on it, and what other programs' tables, rows and writes mean there.

mod adoption;
mod others;
mod transfer;

use sessile_core::TableKind;
use sessile_sqlite::SqliteBuilder;

use super::*;

/// As a service in Go brings it from PostgreSQL.
const NULLABLE: &str = r#"CREATE TABLE sessions
    (id text PRIMARY KEY, user_id text, "values" jsonb, created_at timestamptz, expires_at timestamptz)"#;
/// Whoever is nobody has a name there, and every column is spelt and placed in another way.
const NOT_NULL: &str = r#"CREATE TABLE "Sessions" (expires_at DATETIME NOT NULL, created_at DATETIME NOT NULL,
    "VALUES" TEXT NOT NULL, user_id VARCHAR(64) NOT NULL, ID VARCHAR(52) NOT NULL UNIQUE, note TEXT, n INT NOT NULL DEFAULT 1)"#;

/// A file with a columns table.
struct Columns(Directory);

impl Columns {
    /// Nothing is there yet.
    fn new() -> Self {
        Self(Directory::new())
    }

    /// Another program made the table.
    fn with(table: &str) -> Self {
        let directory = Directory::new();
        directory.connection().execute_batch(table).unwrap();
        Self(directory)
    }

    fn builder(&self) -> SqliteBuilder {
        SqliteStore::builder(self.0.file()).table_kind(TableKind::Columns)
    }

    async fn store(&self) -> SqliteStore {
        self.builder().open().await.unwrap()
    }

    /// What another program inserts: a session that began at 11:00 and ends at 13:00.
    fn row(&self, id: &str, user: Option<&str>, values: &str) {
        let sql = r#"INSERT INTO sessions (id, user_id, "values", created_at, expires_at)
            VALUES (?1, ?2, ?3, '2040-01-01 11:00:00.250', '2040-01-01 13:00:00')"#;
        self.0.execute(sql, (id, user, values));
    }

    /// The user and the values of this row, and its beginning.
    fn read(&self, id: &str) -> (Option<String>, String, String) {
        let sql = r#"SELECT user_id, "values", created_at FROM sessions WHERE id = ?1"#;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        self.0.connection().query_row(sql, [id], row).unwrap()
    }

    fn user(&self, id: &str) -> Option<String> {
        self.read(id).0
    }
}

impl contract::Fixture for Columns {
    type Store = SqliteStore;

    async fn open(&self) -> SqliteStore {
        self.store().await
    }

    fn keeps_cookies(&self) -> bool {
        false
    }

    async fn plant(&self, key: &str, document: &str, expires_at: SystemTime) -> bool {
        let sql = r#"INSERT INTO sessions (id, user_id, "values", created_at, expires_at)
            VALUES (?1, '', ?2, '2040-01-01 11:00:00', datetime(?3, 'unixepoch'))"#;
        let end = i64::try_from(expires_at.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        self.0.execute(sql, (key, document, end)) == 1
    }
}

store_contract!(made, async || Columns::new());
store_contract!(adopted, async || Columns::with(NOT_NULL));

impl http_contract::App for Columns {
    async fn serve(&self, config: Config) -> String {
        conformance::start(Sessions::new(self.store().await, config)).await
    }
}

http_contract!(two_instances, async || Columns::new());
