//! The columns table: made, adopted, refused, looked at by the doctor and completed by a migration.

use sessile_core::{Clock as _, Examine, Store as _, SystemClock, TableKind, Verdict, Written};
use sessile_postgres::{PostgresBuilder, PostgresStore};
use sessile_testkit::contract::key;
use sessile_testkit::postgres::Database;
use tokio_postgres::Client;

use crate::signed_in::{found, session_of, sign_in};

/// As somebody else makes it.
const THEIRS: &str = "CREATE TABLE sessions (id text PRIMARY KEY, user_id text, values jsonb, created_at timestamptz, expires_at timestamptz)";

pub(crate) fn builder(database: &Database) -> PostgresBuilder {
    PostgresStore::builder(database.url()).table_kind(TableKind::Columns)
}

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn definition(client: &Client) -> Vec<String> {
    const COLUMNS: &str = "SELECT concat_ws(' ', column_name, data_type, is_nullable) FROM information_schema.columns \
        WHERE table_name = 'sessions' ORDER BY ordinal_position";
    let indexes = "SELECT indexname::text FROM pg_indexes WHERE tablename = 'sessions' ORDER BY 1";
    [texts(client, COLUMNS).await, texts(client, indexes).await].concat()
}

#[tokio::test]
async fn the_columns_table_is_made_with_its_indexes_and_found_again_by_its_columns() {
    let database = Database::new().await;
    let store = builder(&database).connect().await.unwrap();
    assert_eq!(
        store.description(),
        "PostgreSQL, public.sessions (created, columns, jsonb, timestamptz), registry sessions_registry (created)"
    );
    let expected = [
        "id text NO",
        "user_id text YES",
        "values jsonb NO",
        "created_at timestamp with time zone NO",
        "expires_at timestamp with time zone NO",
        "sessions_expires_at_idx",
        "sessions_pkey",
        "sessions_user_id_idx",
    ];
    assert_eq!(definition(&database.client().await).await, expected);
    let again = PostgresStore::builder(database.url()).table("sessions").connect().await.unwrap();
    assert_eq!(
        again.description(),
        "PostgreSQL, public.sessions (adopted, columns, jsonb, timestamptz), registry sessions_registry (adopted)"
    );
    let named = builder(&database).table("of_go").connect().await.unwrap();
    assert!(named.description().starts_with("PostgreSQL, public.of_go (created, columns"), "{}", named.description());
}

/// Whatever fits is used: the types that will do, a user that may not be NULL, columns that fill themselves.
#[tokio::test]
async fn somebody_elses_columns_table_is_adopted_in_every_shape() {
    for (columns, words) in [
        (
            "id text PRIMARY KEY, user_id text, values jsonb, created_at timestamptz, expires_at timestamptz",
            "jsonb, timestamptz",
        ),
        (
            "id varchar(36) PRIMARY KEY, user_id varchar(40) NOT NULL, values json, created_at timestamp, expires_at timestamp",
            "json, timestamp",
        ),
        (
            "note text, id varchar PRIMARY KEY, user_id text NOT NULL DEFAULT '', values jsonb NOT NULL DEFAULT '{}', \
             created_at timestamptz(3) NOT NULL DEFAULT now(), expires_at timestamptz NOT NULL, \
             updated_at timestamptz NOT NULL DEFAULT now()",
            "jsonb, timestamptz",
        ),
    ] {
        let database = Database::new().await;
        let client = database.client().await;
        client.batch_execute(&format!("CREATE TABLE sessions ({columns})")).await.unwrap();
        let store = PostgresStore::builder(database.url()).table("sessions").connect().await.unwrap();
        let expected =
            format!("PostgreSQL, public.sessions (adopted, columns, {words}), registry sessions_registry (created)");
        assert_eq!(store.description(), expected);
        let (anonymous, signed_in) = ("00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b");
        let mut nobody = session_of("alice", 1, 0);
        nobody.owner = None;
        assert_eq!(store.insert(&key(anonymous), &nobody).await.unwrap(), Written::Done);
        sign_in(&store, signed_in, "bob", 2).await;
        assert_eq!(found(&store, anonymous).await.unwrap().owner, None, "{columns}");
        assert_eq!(found(&store, signed_in).await.unwrap().owner, Some("bob".into()), "{columns}");
        let stored = texts(&client, "SELECT coalesce(user_id, 'NULL') FROM sessions ORDER BY id").await;
        let nobody = if columns.contains("NOT NULL") && !columns.contains("user_id text,") { "" } else { "NULL" };
        assert_eq!(stored, [nobody, "bob"], "{columns}");
    }
}

#[tokio::test]
async fn a_table_that_cannot_hold_sessions_is_refused_in_words() {
    let database = Database::new().await;
    let client = database.client().await;
    for (columns, words) in [
        (
            "id uuid PRIMARY KEY, user_id text, values jsonb, created_at timestamptz, expires_at timestamptz",
            &["found id uuid", "change the columns' types"][..],
        ),
        (
            "id text PRIMARY KEY, user_id bigint, values text, created_at date, expires_at timestamptz",
            &["user_id bigint", "values text", "created_at date"],
        ),
        ("id text PRIMARY KEY, values jsonb, expires_at timestamptz", &["user_id missing", "created_at missing"]),
        (
            "id varchar(35) PRIMARY KEY, user_id text, values jsonb, created_at timestamptz, expires_at timestamptz",
            &["id of \"sessions\" to have room for 36", "TYPE varchar"],
        ),
        (
            "id text PRIMARY KEY, user_id text, values jsonb, created_at timestamptz, expires_at timestamptz, tenant int NOT NULL",
            &["found tenant"],
        ),
        (
            "id text, user_id text, values jsonb, created_at timestamptz, expires_at timestamptz",
            &["ADD PRIMARY KEY (id)"],
        ),
    ] {
        client
            .batch_execute(&format!("DROP TABLE IF EXISTS sessions; CREATE TABLE sessions ({columns})"))
            .await
            .unwrap();
        for kind in [None, Some(TableKind::Columns)] {
            let plain = PostgresStore::builder(database.url()).table("sessions");
            let asked = kind.map_or(plain.clone(), |kind| plain.table_kind(kind));
            let error = asked.connect().await.unwrap_err();
            assert!(error.is_config(), "{error}");
            for word in words {
                assert!(error.to_string().contains(word), "{word:?} is not in {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_table_of_the_other_kind_is_refused() {
    let database = Database::new().await;
    PostgresStore::connect(database.url()).await.unwrap();
    let error = builder(&database).table("session").connect().await.unwrap_err();
    for word in ["to have the columns id, user_id", "found connect-pg-simple's", "set table.kind = \"express\""] {
        assert!(error.is_config() && error.to_string().contains(word), "{error}");
    }
    // What is there is the registry of the other table.
    let error = builder(&database).connect().await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("values missing"), "{error}");
    let other = Database::new().await;
    builder(&other).connect().await.unwrap();
    let express = PostgresStore::builder(other.url()).table("sessions").table_kind(TableKind::Express);
    let error = express.connect().await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("set table.kind = \"columns\""), "{error}");
    // Beside it connect-pg-simple's would have its registry under that name.
    let error = PostgresStore::connect(other.url()).await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("another name for the registry"), "{error}");
}

/// What is not good. The tests' server runs without fsync.
async fn complaints(database: &Database) -> Vec<(&'static str, String)> {
    let checks = Examine::examine(&builder(database).connect_lazy().unwrap(), SystemClock.now()).await;
    let bad = checks.into_iter().filter(|check| check.verdict != Verdict::Good && check.name != "postgres.fsync");
    bad.map(|check| (check.name, check.finding.to_string() + " " + check.remedy.as_deref().unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn the_doctor_has_nothing_against_a_healthy_columns_table_and_names_its_columns_otherwise() {
    let database = Database::new().await;
    let client = database.client().await;
    let store = builder(&database).connect().await.unwrap();
    assert_eq!(complaints(&database).await.iter().map(|one| one.0).collect::<Vec<_>>(), ["postgres.operations"; 0]);
    sign_in(&store, "a", "alice", 1).await;
    assert_eq!(complaints(&database).await, []);
    client.batch_execute("DROP INDEX sessions_expires_at_idx, sessions_user_id_idx").await.unwrap();
    let found = complaints(&database).await;
    assert_eq!(found.iter().map(|one| one.0).collect::<Vec<_>>(), ["postgres.expire_index", "postgres.user_index"]);
    assert!(found[0].1.contains("on expires_at") && found[0].1.ends_with("(expires_at);"), "{found:?}");
    assert!(found[1].1.ends_with("CREATE INDEX CONCURRENTLY ON \"public\".\"sessions\" (user_id);"), "{found:?}");

    store.creation().await.unwrap().apply().await.unwrap();
    client
        .batch_execute(
            "INSERT INTO sessions VALUES ('theirs', 'bob', '{}', now(), '2100-01-01'); DELETE FROM sessions WHERE id = 'a'",
        )
        .await
        .unwrap();
    let found = complaints(&database).await;
    assert_eq!(
        found.iter().map(|one| one.0).collect::<Vec<_>>(),
        ["postgres.registry_in_step", "postgres.other_writers"]
    );
    assert!(
        found[0].1.contains("1 live sessions have an owner that the registry does not know, and 1 that"),
        "{found:?}"
    );

    assert!(found[1].1.contains("may save with an upsert") && found[1].1.ends_with("migrate --guard"), "{found:?}");

    let zoned = Database::new().await;
    zoned.set("TimeZone", "America/New_York").await;
    let times = THEIRS.replace("timestamptz", "timestamp");
    zoned.client().await.batch_execute(&times).await.unwrap();
    builder(&zoned).connect().await.unwrap();
    let found = complaints(&zoned).await;
    let zone = found.iter().find(|one| one.0 == "postgres.time_zone").unwrap();
    assert!(zone.1.contains("expires_at is timestamp") && zone.1.contains("ALTER COLUMN created_at TYPE"), "{zone:?}");
}

#[tokio::test]
async fn a_migration_makes_the_columns_table_or_what_it_lacks() {
    let database = Database::new().await;
    let client = database.client().await;
    let store = builder(&database).connect_lazy().unwrap();
    let creation = store.creation().await.unwrap();
    assert!(creation.sql().contains("CREATE TABLE \"sessions\" (id text NOT NULL"), "{creation}");
    assert_eq!(definition(&client).await, [""; 0], "asking creates nothing");
    creation.apply().await.unwrap();
    let made = definition(&client).await;
    assert_eq!(store.creation().await.unwrap().sql(), "");

    client.batch_execute("DROP INDEX sessions_expires_at_idx, sessions_user_id_idx").await.unwrap();
    let rest = store.creation().await.unwrap();
    for column in ["expires_at", "user_id"] {
        let sql = format!("CREATE INDEX CONCURRENTLY \"sessions_{column}_idx\" ON \"public\".\"sessions\" ({column});");
        assert!(rest.sql().contains(&sql), "{rest}");
    }
    rest.apply().await.unwrap();
    assert_eq!(definition(&client).await, made);
}

/// Each time has a column there, and another program reads them.
#[tokio::test]
async fn times_without_a_zone_are_changed_by_hand() {
    let database = Database::new().await;
    let client = database.client().await;
    client.batch_execute(THEIRS).await.unwrap();
    assert_eq!(builder(&database).connect_lazy().unwrap().timestamptz(None).await.unwrap().sql(), "");
    client
        .batch_execute(&format!("DROP TABLE sessions; {}", THEIRS.replace("timestamptz", "timestamp")))
        .await
        .unwrap();
    let store = builder(&database).connect_lazy().unwrap();
    let error = store.timestamptz(Some("UTC")).await.unwrap_err();
    let hint = "ALTER TABLE \"sessions\" ALTER COLUMN created_at TYPE timestamptz USING created_at AT TIME ZONE 'ZONE', \
        ALTER COLUMN expires_at TYPE";
    assert!(error.is_config() && error.to_string().contains(hint), "{error}");
}
