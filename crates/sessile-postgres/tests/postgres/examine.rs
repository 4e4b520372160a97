//! The doctor, and every failure that it knows, produced for real.

use std::time::{Duration, SystemTime};

use sessile_core::{Check, Clock as _, Examine, SystemClock, Verdict};
use sessile_postgres::{PostgresBuilder, PostgresStore};
use sessile_testkit::contract::key;
use sessile_testkit::postgres::{Cluster, Database};
use tokio_postgres::Client;

use crate::signed_in::{plain, session_of};

const DOCUMENT: &str = r#"{"cookie":{"originalMaxAge":900000,"path":"/"}}"#;

fn now() -> SystemTime {
    SystemClock.now()
}

async fn examine(builder: PostgresBuilder, at: SystemTime) -> Vec<Check> {
    Examine::examine(&builder.connect_lazy().unwrap(), at).await
}

/// What is not good. The tests' server runs without fsync, which is found each time and told of once.
async fn complaints(builder: PostgresBuilder) -> Vec<Check> {
    let checks = examine(builder, now()).await;
    checks.into_iter().filter(|check| check.verdict != Verdict::Good && check.name != "postgres.fsync").collect()
}

/// That this is the only complaint, that all these words are in it, and that there is something to do.
async fn complains(url: &str, name: &str, verdict: Verdict, words: &[&str]) {
    let found = complaints(PostgresStore::builder(url)).await;
    let [check] = &*found else { panic!("expected {name} alone, found {found:#?}") };
    assert_eq!((check.name, check.verdict), (name, verdict), "{check:#?}");
    let text = format!("{} {}", check.finding, check.remedy.as_deref().unwrap());
    for word in words {
        assert!(text.contains(word), "{word:?} in {text}");
    }
}

/// A database with the tables of a store.
async fn with_tables() -> (Database, Client) {
    let database = Database::new().await;
    PostgresStore::connect(database.url()).await.unwrap();
    let client = database.client().await;
    (database, client)
}

fn in_time_zone(database: &Database, zone: &str) -> String {
    database.url_with("options", &format!("-c TimeZone={zone}"))
}

/// A role of this database alone, which may connect and nothing else.
async fn role(database: &Database, client: &Client) -> (String, String) {
    let name = format!("role_{}", database.url().rsplit('/').next().unwrap().split('?').next().unwrap());
    client.batch_execute(&format!("CREATE ROLE {name} LOGIN")).await.unwrap();
    (database.url().replace("postgres@", &format!("{name}@")), name)
}

#[tokio::test]
async fn a_healthy_fresh_system_gets_no_warning() {
    let cluster = Cluster::start_with(&[("fsync", "on"), ("TimeZone", "UTC")]);
    let url = cluster.url("postgres");
    let store = PostgresStore::connect(&url).await.unwrap();
    for sql in ["VACUUM session", "SELECT 1"] {
        cluster.superuser_client("postgres").await.batch_execute(sql).await.unwrap();
    }
    let record = session_of("alice", 1, 0);
    let signed_in = sessile_core::Registry::sign_in(&store, None, &key("a"), &record, &plain()).await.unwrap();
    assert_eq!(signed_in, sessile_core::SignedIn::Done(Vec::new()));
    let checks = examine(PostgresStore::builder(&url), now()).await;
    assert!(checks.iter().all(|check| check.verdict == Verdict::Good && check.remedy.is_none()), "{checks:#?}");
    let names: Vec<_> = checks.iter().map(|check| check.name.trim_start_matches("postgres.")).collect();
    assert_eq!(
        names.join(" "),
        "reachable tls version writable synchronous_commit fsync clock connections pooler table columns registry \
         privileges primary_key operations logged expire_index time_zone backlog registry_in_step other_writers vacuum"
    );
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_one_finding_each_with_its_own_cause() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("postgres://someone:hunter2@{closed}/x");
    complains(&url, "postgres.reachable", Verdict::Failed, &["refused", "127.0.0.1", "someone", "Start the server"])
        .await;
    let url = "postgres://someone:hunter2@nowhere.invalid/x";
    complains(url, "postgres.reachable", Verdict::Failed, &["name of the host was not found", "nowhere.invalid"]).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://someone:hunter2@{}/x?sslmode=disable", silent.local_addr().unwrap());
    let builder = PostgresStore::builder(url).connect_timeout(Duration::from_millis(200));
    let [check] = &*complaints(builder).await else { panic!("one finding") };
    assert!(check.finding.contains("No answer from") && !check.finding.contains("hunter2"), "{check:?}");
    let database = Database::new().await;
    let url = format!("{}_gone", database.url().split('?').next().unwrap());
    complains(&url, "postgres.reachable", Verdict::Failed, &["no such database", "CREATE DATABASE"]).await;
}

#[tokio::test]
async fn a_wrong_password_and_a_forbidden_address_are_told_apart() {
    let rules = std::env::temp_dir().join(format!("sessile-hba-{}", std::process::id()));
    let lines = "host all postgres 127.0.0.1/32 trust\nhost all app 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(&rules, lines).unwrap();
    let cluster = Cluster::start_with(&[("hba_file", rules.to_str().unwrap())]);
    let client = cluster.superuser_client("postgres").await;
    client.batch_execute("CREATE ROLE app LOGIN PASSWORD 'right'; CREATE ROLE other LOGIN").await.unwrap();
    let as_user = |user: &str| cluster.url("postgres").replace("postgres@", &format!("{user}@"));
    complains(&as_user("app:hunter2"), "postgres.reachable", Verdict::Failed, &["the password is wrong", "28P01"])
        .await;
    complains(&as_user("app"), "postgres.reachable", Verdict::Failed, &["authentication", "password"]).await;
    complains(&as_user("other"), "postgres.reachable", Verdict::Failed, &["pg_hba.conf", "28000"]).await;
    complains(&as_user("app:right"), "postgres.table", Verdict::Failed, &["is missing"]).await;
    std::fs::remove_file(rules).unwrap();
}

#[tokio::test]
async fn tls_that_is_refused_or_not_to_be_trusted_is_named() {
    let (database, _client) = with_tables().await;
    let base = database.url().split('?').next().unwrap();
    let demanded = format!("{base}?sslmode=verify-full");
    complains(&demanded, "postgres.reachable", Verdict::Failed, &["server offers none", "ssl = on"]).await;
    let elsewhere = base.replace("127.0.0.1", "0.0.0.0");
    complains(&elsewhere, "postgres.tls", Verdict::Warning, &["Not encrypted", "verify-full"]).await;

    let [authority, certificate, private] = crate::tls::certificates("127.0.0.1");
    let cluster = Cluster::start_with_tls(&certificate, &private);
    let url = cluster.url("postgres").split('?').next().unwrap().to_owned();
    PostgresStore::connect(&url).await.unwrap();
    let unknown = format!("{url}?sslmode=require");
    complains(&unknown, "postgres.reachable", Verdict::Failed, &["not one to trust", "sslrootcert"]).await;
    let file = std::env::temp_dir().join(format!("sessile-doctor-{}.pem", std::process::id()));
    std::fs::write(&file, authority).unwrap();
    let known = format!("{url}?sslmode=verify-full&sslrootcert={}", file.display());
    for (url, words) in [(&known, "certificate is checked"), (&url, "certificate is not checked")] {
        let checks = examine(PostgresStore::builder(url), now()).await;
        let tls = checks.iter().find(|check| check.name == "postgres.tls").unwrap();
        assert!(
            tls.verdict == Verdict::Good && tls.finding.contains(words) && tls.finding.contains("TLSv1"),
            "{tls:?}"
        );
    }
    let remote = format!("{}?sslmode=prefer", url.replace("127.0.0.1", "0.0.0.0"));
    complains(&remote, "postgres.tls", Verdict::Warning, &["not checked", "sslmode=verify-full"]).await;
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_missing_table_is_reported_and_not_created() {
    let database = Database::new().await;
    complains(database.url(), "postgres.table", Verdict::Failed, &[r#""session" is missing"#, "sessile migrate"]).await;
    let client = database.client().await;
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(client.query_one(tables, &[]).await.unwrap().get::<_, i64>(0), 0);
    let found = complaints(PostgresStore::builder(database.url()).schema("nowhere")).await;
    assert_eq!(found[0].name, "postgres.table");
}

#[tokio::test]
async fn what_is_wrong_with_the_tables_is_named_one_by_one() {
    let cases: [(&str, &str, Verdict, &[&str]); 13] = [
        (
            "DROP INDEX \"IDX_session_expire\"",
            "postgres.expire_index",
            Verdict::Warning,
            &["whole table", "CONCURRENTLY"],
        ),
        (
            "DROP INDEX \"IDX_session_expire\"; CREATE INDEX ON session (expire) WHERE sid = 'x'",
            "postgres.expire_index",
            Verdict::Warning,
            &["is not used"],
        ),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"IDX_session_expire\"'::regclass",
            "postgres.expire_index",
            Verdict::Warning,
            &["no valid index"],
        ),
        (
            "ALTER TABLE session DROP CONSTRAINT session_pkey",
            "postgres.primary_key",
            Verdict::Failed,
            &["ADD PRIMARY KEY"],
        ),
        (
            "ALTER TABLE session ALTER expire TYPE bigint USING 0",
            "postgres.columns",
            Verdict::Failed,
            &["found sid character varying, sess json, expire bigint", "choose another table name"],
        ),
        (
            "ALTER TABLE session ALTER sid TYPE varchar COLLATE \"C\"",
            "postgres.columns",
            Verdict::Warning,
            &["sid has the collation \"C\"", "without their indexes", "TYPE text COLLATE \"default\";"],
        ),
        ("ALTER TABLE session ADD note text NOT NULL", "postgres.columns", Verdict::Failed, &["found note", "default"]),
        ("DROP TABLE sessions_moves", "postgres.registry", Verdict::Failed, &[r#""sessions_moves" is missing"#]),
        ("ALTER TABLE sessions DROP user_agent", "postgres.registry", Verdict::Failed, &["user_agent text"]),
        (
            "DROP INDEX sessions_active_sid_idx",
            "postgres.registry",
            Verdict::Warning,
            &["can be there twice", "CREATE UNIQUE INDEX CONCURRENTLY \"sessions_active_sid_idx\""],
        ),
        (
            "ALTER TABLE session SET UNLOGGED",
            "postgres.logged",
            Verdict::Failed,
            &["crash", "ALTER TABLE \"public\".\"session\" SET LOGGED;"],
        ),
        (
            "ALTER TABLE session ADD expire_timestamptz timestamptz; \
             COMMENT ON COLUMN session.expire_timestamptz IS 'Sessile: expire, read in the time zone UTC'",
            "postgres.time_zone",
            Verdict::Warning,
            &["begun, in UTC, and not ended", "sessile migrate --timestamptz"],
        ),
        (
            "DROP INDEX sessions_ended_idx",
            "postgres.registry",
            Verdict::Warning,
            &["\"logged_out_at\"", "CREATE INDEX"],
        ),
    ];
    for (sql, name, verdict, words) in cases {
        let (database, client) = with_tables().await;
        client.batch_execute(sql).await.unwrap();
        complains(&in_time_zone(&database, "UTC"), name, verdict, words).await;
    }
}

/// A large table is read through the index, and the plan is there to be seen.
#[tokio::test]
async fn the_plan_of_a_sweep_is_the_evidence() {
    let (database, client) = with_tables().await;
    let fill = "INSERT INTO session SELECT n::text, '{\"sessile\":{}}', now() + n * interval '1 s' FROM generate_series(1, 20000) n";
    client.batch_execute(fill).await.unwrap();
    client.batch_execute("ANALYZE session").await.unwrap();
    let checks = examine(PostgresStore::builder(database.url()), now()).await;
    let check = checks.iter().find(|check| check.name == "postgres.expire_index").unwrap();
    assert!(check.finding.contains("uses it: Index Scan using \"IDX_session_expire\""), "{check:?}");
}

#[tokio::test]
async fn privileges_that_are_missing_are_named_with_the_grant() {
    let (database, client) = with_tables().await;
    let (url, name) = role(&database, &client).await;
    let grant = format!(
        "GRANT SELECT, INSERT ON session, sessions TO {name}; GRANT ALL ON sessions_cutoffs, sessions_moves TO {name}"
    );
    client.batch_execute(&grant).await.unwrap();
    let grants = [
        r#"UPDATE, DELETE on "public"."session""#.to_owned(),
        format!(r#"GRANT UPDATE, DELETE ON "public"."session" TO "{name}";"#),
        format!(r#"GRANT UPDATE, DELETE ON "public"."sessions" TO "{name}";"#),
    ];
    complains(&url, "postgres.privileges", Verdict::Failed, &grants.each_ref().map(String::as_str)).await;
    client.batch_execute(&format!("GRANT UPDATE, DELETE ON session, sessions TO {name}")).await.unwrap();
    let made = ["operators", "audit", "secrets"].map(|table| format!(r#""public"."sessions_{table}""#)).join(", ");
    let made = format!(r#"GRANT SELECT, INSERT, UPDATE, DELETE ON {made} TO "{name}";"#);
    let words = ["are missing", "not audited", "sessile migrate", &made];
    complains(&url, "postgres.operations", Verdict::Warning, &words).await;
    PostgresStore::connect(database.url()).await.unwrap().creation().await.unwrap().apply().await.unwrap();
    complains(&url, "postgres.operations", Verdict::Warning, &["has no SELECT", "sessions_audit", "As their owner"])
        .await;
    client.batch_execute(&made).await.unwrap();
    assert_eq!(complaints(PostgresStore::builder(&url)).await, []);
    client.batch_execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC").await.unwrap();
    let words = ["may not use the schema \"public\"", "GRANT USAGE ON SCHEMA \"public\" TO"];
    complains(&url, "postgres.privileges", Verdict::Failed, &words).await;
    client.batch_execute("CREATE SCHEMA hidden").await.unwrap();
    let found = complaints(PostgresStore::builder(&url).schema("hidden")).await;
    assert!(
        found.len() == 1 && found[0].remedy.as_ref().unwrap().contains("GRANT USAGE ON SCHEMA \"hidden\""),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_zone_that_shifts_or_differs_is_a_warning_where_the_column_has_none() {
    let (database, client) = with_tables().await;
    let name = "postgres.time_zone";
    let new_york = in_time_zone(&database, "America/New_York");
    complains(&new_york, name, Verdict::Warning, &["daylight", "--timestamptz --zone America/New_York"]).await;
    let utc = in_time_zone(&database, "UTC");
    assert_eq!(complaints(PostgresStore::builder(&utc)).await, []);
    let (_, writer) = role(&database, &client).await;
    let set = format!("ALTER ROLE {writer} SET TimeZone = 'Asia/Tokyo'");
    client.batch_execute(&set).await.unwrap();
    assert_eq!(complaints(PostgresStore::builder(&utc)).await, [], "a role that may not write");
    client.batch_execute(&format!("GRANT INSERT ON session TO {writer}")).await.unwrap();
    complains(&utc, name, Verdict::Warning, &[&writer, "Asia/Tokyo", "--timestamptz"]).await;
    client.batch_execute(&format!("ALTER ROLE {writer} RESET TimeZone")).await.unwrap();
    database.set("TimeZone", "Asia/Kolkata").await;
    complains(&utc, name, Verdict::Warning, &["the database has Asia/Kolkata"]).await;
    client.batch_execute("ALTER TABLE session ALTER expire TYPE timestamptz").await.unwrap();
    assert_eq!(complaints(PostgresStore::builder(&new_york)).await, []);
}

#[tokio::test]
async fn settings_that_lose_what_was_acknowledged_are_named() {
    let (database, _client) = with_tables().await;
    database.set("synchronous_commit", "off").await;
    complains(database.url(), "postgres.synchronous_commit", Verdict::Warning, &["sign-out", "= on"]).await;
    database.set("synchronous_commit", "on").await;
    let checks = examine(PostgresStore::builder(database.url()), now()).await;
    let fsync = checks.iter().find(|check| check.name == "postgres.fsync").unwrap();
    assert!(fsync.verdict == Verdict::Failed && fsync.finding.contains("off"), "{fsync:?}");
    database.set("default_transaction_read_only", "on").await;
    complains(
        database.url(),
        "postgres.writable",
        Verdict::Failed,
        &["read-only", "SET default_transaction_read_only = off;"],
    )
    .await;
}

#[tokio::test]
async fn clocks_that_differ_are_measured() {
    let (database, _client) = with_tables().await;
    let verdict = async |at: SystemTime| {
        let checks = examine(PostgresStore::builder(database.url()), at).await;
        let clock = checks.into_iter().find(|check| check.name == "postgres.clock").unwrap();
        (clock.verdict, clock.finding)
    };
    assert_eq!(verdict(now()).await.0, Verdict::Good);
    let (warned, finding) = verdict(now() - Duration::from_secs(10)).await;
    assert!(warned == Verdict::Warning && finding.contains("10.0 s ahead of"), "{finding}");
    let (failed, finding) = verdict(now() + Duration::from_secs(600)).await;
    assert!(failed == Verdict::Failed && finding.contains(" s behind") && finding.contains("too early"), "{finding}");
}

#[tokio::test]
async fn what_nobody_sweeps_and_what_nobody_vacuums_is_a_warning() {
    let (database, client) = with_tables().await;
    let expired = |minutes: u32| {
        format!(
            "INSERT INTO session SELECT n || '-{minutes}', '{{}}', now() - interval '{minutes} min' FROM generate_series(1, 3) n"
        )
    };
    client.batch_execute(&expired(14)).await.unwrap();
    assert_eq!(complaints(PostgresStore::builder(database.url())).await, []);
    client.batch_execute(&expired(16)).await.unwrap();
    let words = ["6 rows have expired", "nobody sweeps", "sessile sweep"];
    complains(database.url(), "postgres.backlog", Verdict::Warning, &words).await;

    client.batch_execute("TRUNCATE session; ALTER TABLE session SET (autovacuum_enabled = off)").await.unwrap();
    let fill = "INSERT INTO session SELECT n::text, '{\"sessile\":{}}', now() + interval '1 h' FROM generate_series(1, 1200) n";
    for sql in [fill, "UPDATE session SET sess = '{\"sessile\":{}}'", "UPDATE session SET sess = '{\"sessile\":{}}'"] {
        client.batch_execute(sql).await.unwrap();
    }
    client.batch_execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    client.batch_execute("SELECT 1").await.unwrap();
    complains(database.url(), "postgres.vacuum", Verdict::Warning, &["1200 live rows, 2400 dead", "VACUUM ANALYZE"])
        .await;
    client.batch_execute("VACUUM session").await.unwrap();
    assert_eq!(complaints(PostgresStore::builder(database.url())).await, []);
}

#[tokio::test]
async fn a_registry_that_is_out_of_step_is_a_warning() {
    let (database, client) = with_tables().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    crate::signed_in::sign_in(&store, "a", "alice", 1).await;
    assert_eq!(complaints(PostgresStore::builder(database.url())).await, []);
    client.batch_execute("UPDATE sessions SET status = 'revoked', logged_out_at = now()").await.unwrap();
    let name = "postgres.registry_in_step";
    complains(database.url(), name, Verdict::Warning, &["1 live sessions have an owner", "and 0 that"]).await;
    client.batch_execute("UPDATE sessions SET status = 'active'; DELETE FROM session").await.unwrap();
    complains(database.url(), name, Verdict::Warning, &[" 0 live sessions", "and 1 that", "sessile sweep"]).await;
}

#[tokio::test]
async fn another_program_that_writes_without_the_guard_is_a_warning() {
    let (database, client) = with_tables().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let express = "INSERT INTO session VALUES ('express', $1::text::json, now() + interval '1 h')";
    client.execute(express, &[&DOCUMENT]).await.unwrap();
    let name = "postgres.other_writers";
    complains(database.url(), name, Verdict::Warning, &["Express", "sessile migrate --guard"]).await;
    store.guard(None).await.unwrap().apply().await.unwrap();
    assert_eq!(complaints(PostgresStore::builder(database.url())).await, []);
    client.batch_execute("ALTER TABLE session DISABLE TRIGGER USER").await.unwrap();
    complains(database.url(), name, Verdict::Warning, &["there is no guard"]).await;
}

#[tokio::test]
async fn connections_that_run_out_are_a_warning() {
    let cluster = Cluster::start_with(&[("max_connections", "13"), ("fsync", "on"), ("TimeZone", "UTC")]);
    let store = PostgresStore::connect(&cluster.url("postgres")).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..7 {
        held.push(cluster.superuser_client("postgres").await);
    }
    let words = ["of the server's 10 connections", "max_connections"];
    complains(&cluster.url("postgres"), "postgres.connections", Verdict::Warning, &words).await;
    drop(store);
}

/// A limit of the role is reached long before the server's.
#[tokio::test]
async fn the_limit_that_is_nearest_is_named_with_its_own_remedy() {
    let (database, client) = with_tables().await;
    let (url, name) = role(&database, &client).await;
    let tables = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public";
    let grant =
        format!("{tables} TO {name}; GRANT CREATE ON SCHEMA public TO {name}; ALTER ROLE {name} CONNECTION LIMIT 1");
    client.batch_execute(&grant).await.unwrap();
    let found = complaints(PostgresStore::builder(&url)).await;
    let [connections, pooler] = &*found else { panic!("{found:#?}") };
    assert!(connections.finding.contains("1 of the role's 1 connections"), "{connections:?}");
    assert!(connections.remedy.as_ref().unwrap().contains(&format!("ALTER ROLE {name} CONNECTION LIMIT -1;")));
    assert_eq!((pooler.name, pooler.verdict), ("postgres.pooler", Verdict::Skipped), "{pooler:?}");
    let holder = PostgresStore::builder(&url).connections(1).connect().await.unwrap();
    complains(&url, "postgres.reachable", Verdict::Failed, &["53300", "CONNECTION LIMIT of the role"]).await;
    drop(holder);
}

/// Of several hosts the one that answered is named.
#[tokio::test]
async fn the_host_that_answered_is_the_one_that_is_named() {
    let (database, _client) = with_tables().await;
    let (before, rest) = database.url().split_once("127.0.0.1:").unwrap();
    let port = rest.split('/').next().unwrap();
    let url = format!("{before}127.0.0.1:9,127.0.0.1:{rest}");
    let checks = examine(PostgresStore::builder(&url), now()).await;
    assert!(checks[0].finding.starts_with(&format!("Connected to 127.0.0.1:{port}, ")), "{:?}", checks[0]);
}
