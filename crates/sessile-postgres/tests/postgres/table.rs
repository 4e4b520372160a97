//! Finding, creating and adopting the table.

use sessile_core::Store as _;
use sessile_postgres::PostgresStore;
use sessile_testkit::postgres::Database;

async fn definition(database: &Database, table: &str) -> Vec<String> {
    const SQL: &str = "SELECT concat_ws(' ', column_name, data_type, datetime_precision, is_nullable) FROM information_schema.columns \
        WHERE table_name = $1 ORDER BY ordinal_position";
    let indexes = "SELECT indexname::text FROM pg_indexes WHERE tablename = $1 ORDER BY 1";
    let client = database.client().await;
    let mut found = Vec::new();
    for sql in [SQL, indexes] {
        found.extend(client.query(sql, &[&table]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
    }
    found
}

#[tokio::test]
async fn the_created_table_is_connect_pg_simples() {
    let database = Database::new().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    assert_eq!(
        store.description(),
        "PostgreSQL, public.session (created, json, timestamp), registry sessions (created)"
    );
    assert_eq!(
        definition(&database, "session").await,
        [
            "sid character varying NO",
            "sess json NO",
            "expire timestamp without time zone 6 NO",
            "IDX_session_expire",
            "session_pkey"
        ]
    );
    let again = PostgresStore::connect(database.url()).await.unwrap();
    assert_eq!(
        again.description(),
        "PostgreSQL, public.session (adopted, json, timestamp), registry sessions (adopted)"
    );
}

#[tokio::test]
async fn the_table_is_created_in_any_schema_and_under_any_name() {
    let database = Database::new().await;
    let builder = || PostgresStore::builder(database.url());
    let store = builder().schema("schema_system").connect().await.unwrap();
    assert_eq!(
        store.description(),
        "PostgreSQL, schema_system.session (created, json, timestamp), registry sessions (created)"
    );
    let second = builder().table("user_sessions").connect().await.unwrap();
    assert_eq!(
        second.description(),
        "PostgreSQL, public.user_sessions (created, json, timestamp), registry user_sessions_registry (created)"
    );
    assert!(definition(&database, "user_sessions").await.contains(&"IDX_user_sessions_expire".to_owned()));
}

#[tokio::test]
async fn a_hostile_name_is_a_name() {
    let database = Database::new().await;
    let name = r#"s"; DROP TABLE x;--"#;
    PostgresStore::builder(database.url()).table(name).connect().await.unwrap();
    assert_eq!(definition(&database, name).await.len(), 5);
}

#[tokio::test]
async fn an_existing_table_is_adopted_in_every_shape() {
    for (sess, expire, words) in [
        ("json", "timestamp(6)", "json, timestamp"),
        ("jsonb", "timestamp", "jsonb, timestamp"),
        ("json", "timestamptz", "json, timestamptz"),
        ("jsonb", "timestamptz(3)", "jsonb, timestamptz"),
    ] {
        let database = Database::new().await;
        let client = database.client().await;
        let sql = format!(
            "CREATE TABLE session (sid text PRIMARY KEY, sess {sess} NOT NULL, expire {expire} NOT NULL, note text);"
        );
        client.batch_execute(&sql).await.unwrap();
        let store = PostgresStore::connect(database.url()).await.unwrap();
        let expected = format!("PostgreSQL, public.session (adopted, {words}), registry sessions (created)");
        assert_eq!(store.description(), expected);
    }
}

#[tokio::test]
async fn a_time_zone_that_matters_is_named() {
    let database = Database::new().await;
    database.set("TimeZone", "America/New_York").await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let expected =
        "PostgreSQL, public.session (created, json, timestamp in America/New_York), registry sessions (created)";
    assert_eq!(store.description(), expected);
}

#[tokio::test]
async fn a_table_of_another_kind_is_refused_in_words() {
    let database = Database::new().await;
    let client = database.client().await;
    client.batch_execute("CREATE TABLE session (id int, sess bytea, expire int)").await.unwrap();
    let error = PostgresStore::connect(database.url()).await.unwrap_err();
    assert!(error.is_config());
    for word in ["sid missing", "sess bytea", "expire integer", "choose another table name"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    client.batch_execute("CREATE TABLE keyless (sid text, sess json, expire timestamp)").await.unwrap();
    let error = PostgresStore::builder(database.url()).table("keyless").connect().await.unwrap_err();
    assert!(error.to_string().contains("ADD PRIMARY KEY (sid)"), "{error}");
}

#[tokio::test]
async fn a_table_in_which_no_session_could_be_stored_is_refused() {
    let database = Database::new().await;
    let client = database.client().await;
    for (table, sid, more, word) in [
        ("short", "varchar(31)", "", "room for 32 characters"),
        ("strict", "varchar", ", tenant int NOT NULL", "found tenant"),
        ("wide", "varchar(64)", ", tenant int NOT NULL DEFAULT 1, note text, id int GENERATED ALWAYS AS IDENTITY", ""),
    ] {
        let sql = format!(
            "CREATE TABLE {table} (sid {sid} PRIMARY KEY, sess json NOT NULL, expire timestamp NOT NULL{more})"
        );
        client.batch_execute(&sql).await.unwrap();
        match PostgresStore::builder(database.url()).table(table).connect().await {
            Ok(_) => assert_eq!(word, "", "{table}"),
            Err(error) => assert!(!word.is_empty() && error.to_string().contains(word), "{table}: {error}"),
        }
    }
}

#[tokio::test]
async fn names_that_postgresql_would_cut_are_refused() {
    let database = Database::new().await;
    for name in ["", &"a".repeat(64)] {
        let error = PostgresStore::builder(database.url()).table(name).connect().await.unwrap_err();
        assert!(error.is_config() && error.to_string().contains("1 to 63 bytes"), "{error}");
    }
    PostgresStore::builder(database.url()).table("a".repeat(63)).connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_processes_create_the_table_at_once() {
    for _ in 0..5 {
        let database = Database::new().await;
        let starts: Vec<_> =
            (0..20).map(|_| tokio::spawn(PostgresStore::builder(database.url()).schema("shared").connect())).collect();
        for start in starts {
            start.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_missing_privilege_is_said_in_words() {
    let database = Database::new().await;
    let client = database.client().await;
    let name = database.url().rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let role = format!("app_{name}");
    client
        .batch_execute(&format!("CREATE ROLE \"{role}\" LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        .await
        .unwrap();
    let url = database.url().replace("postgres@", &format!("{role}@"));
    let error = PostgresStore::connect(&url).await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("may not create it"), "{error}");
    // The owner creates it: the next attempt finds it, nothing was cached.
    PostgresStore::connect(database.url()).await.unwrap();
    client.batch_execute(&format!("GRANT ALL ON session TO \"{role}\"")).await.unwrap();
    // The error says how to go on, table for table.
    for table in ["sessions", "sessions_cutoffs", "sessions_moves"] {
        let error = PostgresStore::connect(&url).await.unwrap_err();
        let grant = format!(r#"GRANT SELECT, INSERT, UPDATE, DELETE ON "public"."{table}" TO "{role}""#);
        assert!(error.is_config() && error.to_string().contains(&grant), "{error}");
        client.batch_execute(&grant).await.unwrap();
    }
    PostgresStore::connect(&url).await.unwrap();
}

#[tokio::test]
async fn a_wrong_url_is_refused_without_repeating_it() {
    for url in ["secret-password", "postgres://a:secret-password@:bad:port/x", "postgres://h/d?sslmode=maybe"] {
        let error = PostgresStore::connect(url).await.unwrap_err();
        assert!(error.is_config(), "{error:?}");
        assert!(!format!("{error:?}").contains("secret-password"), "{error:?}");
    }
}
