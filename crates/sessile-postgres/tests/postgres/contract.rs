//! The store contract, on every shape of table that is adopted.

use std::time::SystemTime;

use sessile_core::TableKind;
use sessile_postgres::PostgresStore;
use sessile_testkit::postgres::Database;
use sessile_testkit::{contract, store_contract};

struct Postgres {
    database: Database,
    table: &'static str,
    schema: Option<&'static str>,
    keeps_bytes: bool,
}

impl Postgres {
    async fn new() -> Self {
        Self { database: Database::new().await, table: "session", schema: None, keeps_bytes: true }
    }

    /// A table that was there before.
    async fn adopting(sess: &str, expire: &str) -> Self {
        let postgres = Self { keeps_bytes: sess == "json", ..Self::new().await };
        let sql =
            format!("CREATE TABLE session (sid varchar PRIMARY KEY, sess {sess} NOT NULL, expire {expire} NOT NULL)");
        postgres.database.client().await.batch_execute(&sql).await.unwrap();
        postgres
    }

    async fn in_time_zone(zone: &str) -> Self {
        let postgres = Self::new().await;
        postgres.database.set("TimeZone", zone).await;
        postgres
    }
}

impl contract::Fixture for Postgres {
    type Store = PostgresStore;

    async fn open(&self) -> PostgresStore {
        let builder = PostgresStore::builder(self.database.url()).table(self.table);
        let builder = match self.schema {
            Some(schema) => builder.schema(schema),
            None => builder,
        };
        builder.connect().await.unwrap()
    }

    fn keeps_bytes(&self) -> bool {
        self.keeps_bytes
    }

    async fn plant(&self, key: &str, document: &str, expires_at: SystemTime) -> bool {
        let end = expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let schema = self.schema.map_or(String::new(), |schema| format!("{}.", quote(schema)));
        let table = quote(self.table);
        let sql =
            format!("INSERT INTO {schema}{table} (sid, sess, expire) VALUES ($1, $2::text::json, to_timestamp($3))");
        self.database.client().await.execute(&sql, &[&key, &document, &end]).await.unwrap() == 1
    }
}

store_contract!(created, async || Postgres::new().await);
store_contract!(jsonb_timestamptz, async || Postgres::adopting("jsonb", "timestamp with time zone").await);
store_contract!(new_york, async || Postgres::in_time_zone("America/New_York").await);
store_contract!(other_names, async || Postgres {
    table: r#"User "Sessions"; é"#,
    schema: Some("schema_system"),
    ..Postgres::new().await
});
store_contract!(unnamed_statements, async || Unnamed(Postgres::new().await));

store_contract!(columns, async || Columns::created().await);
store_contract!(columns_with_a_name_for_nobody, async || {
    Columns::adopting("id varchar(512) PRIMARY KEY, user_id varchar(255) NOT NULL, values json, created_at timestamptz, expires_at timestamptz")
        .await
});

/// The columns table.
struct Columns {
    database: Database,
    kind: Option<TableKind>,
}

impl Columns {
    async fn created() -> Self {
        Self { database: Database::new().await, kind: Some(TableKind::Columns) }
    }

    /// A table that was there before, and tells by its columns what it is.
    async fn adopting(columns: &str) -> Self {
        let (database, sql) = (Database::new().await, format!("CREATE TABLE sessions ({columns})"));
        database.client().await.batch_execute(&sql).await.unwrap();
        Self { database, kind: None }
    }
}

impl contract::Fixture for Columns {
    type Store = PostgresStore;

    async fn open(&self) -> PostgresStore {
        let builder = PostgresStore::builder(self.database.url()).table("sessions");
        let builder = match self.kind {
            Some(kind) => builder.table_kind(kind),
            None => builder,
        };
        builder.connect().await.unwrap()
    }

    fn keeps_bytes(&self) -> bool {
        self.kind.is_none()
    }

    fn keeps_cookies(&self) -> bool {
        false
    }

    async fn plant(&self, key: &str, document: &str, expires_at: SystemTime) -> bool {
        let end = expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        let kind = if self.keeps_bytes() { "json" } else { "jsonb" };
        let sql = format!(
            "INSERT INTO sessions (id, user_id, values, created_at, expires_at) \
             VALUES ($1, '', $2::text::{kind}, now(), to_timestamp($3))"
        );
        self.database.client().await.execute(&sql, &[&key, &document, &end]).await.unwrap() == 1
    }
}

/// As behind a pooler that keeps no statements.
struct Unnamed(Postgres);

impl contract::Fixture for Unnamed {
    type Store = PostgresStore;

    async fn open(&self) -> PostgresStore {
        let _created = self.0.open().await;
        PostgresStore::builder(self.0.database.url()).unnamed_statements(true).connect().await.unwrap()
    }

    async fn plant(&self, key: &str, document: &str, expires_at: SystemTime) -> bool {
        self.0.plant(key, document, expires_at).await
    }
}
