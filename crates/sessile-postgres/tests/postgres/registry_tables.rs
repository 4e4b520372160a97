//! Finding, creating and adopting the registry's tables, and what people read in them.

use sessile_core::{End, Ending, Piece, Place, Registry, Seen, Store as _};
use sessile_postgres::PostgresStore;
use sessile_testkit::contract::key;
use sessile_testkit::postgres::Database;
use tokio_postgres::Client;

use crate::signed_in::{at, handle, sign_in};

/// The names of the tables in this schema.
async fn tables(client: &Client, schema: &str) -> Vec<String> {
    let sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = $1 ORDER BY tablename COLLATE \"C\"";
    client.query(sql, &[&schema]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The columns and indexes of this table.
async fn definition(client: &Client, table: &str) -> Vec<String> {
    const COLUMNS: &str = "SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN '!' END) \
        FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 ORDER BY attnum";
    const INDEXES: &str = "SELECT regexp_replace(pg_get_indexdef(indexrelid), ' ON .* USING', '') FROM pg_index \
        WHERE indrelid = to_regclass($1) ORDER BY indexrelid";
    let mut found = Vec::new();
    for sql in [COLUMNS, INDEXES] {
        found.extend(client.query(sql, &[&table]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
    }
    found
}

#[tokio::test]
async fn the_tables_are_plain_and_have_the_indexes_that_are_needed() {
    let database = Database::new().await;
    let client = database.client().await;
    PostgresStore::connect(database.url()).await.unwrap();
    let expected: &[(&str, &[&str])] = &[
        (
            "sessions",
            &[
                "id uuid !",
                "sid character varying",
                "user_id text !",
                "status text !",
                "ip_address inet",
                "user_agent text",
                "device text",
                "auth_method text",
                "provider_session text",
                "expires_at timestamp(3) with time zone !",
                "created_at timestamp(3) with time zone !",
                "updated_at timestamp(3) with time zone !",
                "last_seen_at timestamp(3) with time zone !",
                "authenticated_at timestamp(3) with time zone",
                "logged_out_at timestamp(3) with time zone",
                "end_reason text",
                "requests bigint !",
                "CREATE UNIQUE INDEX sessions_pkey btree (id)",
                "CREATE INDEX sessions_sid_idx btree (sid)",
                "CREATE UNIQUE INDEX sessions_active_sid_idx btree (sid) WHERE (status = 'active'::text)",
                "CREATE INDEX sessions_active_idx btree (user_id, created_at DESC, id DESC) WHERE (status = 'active'::text)",
                "CREATE INDEX sessions_history_idx btree (user_id, logged_out_at DESC, id DESC) WHERE (status <> 'active'::text)",
                "CREATE INDEX sessions_ended_idx btree (logged_out_at) WHERE (status <> 'active'::text)",
                "CREATE INDEX sessions_provider_idx btree (provider_session) \
                 WHERE ((status = 'active'::text) AND (provider_session IS NOT NULL))",
            ],
        ),
        (
            "sessions_cutoffs",
            &[
                "user_id text !",
                "not_before timestamp(3) with time zone",
                "swept boolean !",
                "revoked_at timestamp(3) with time zone",
                "end_reason text",
                "CREATE UNIQUE INDEX sessions_cutoffs_pkey btree (user_id)",
            ],
        ),
        (
            "sessions_moves",
            &[
                "sid character varying !",
                "moved_to character varying !",
                "moved_at timestamp(3) with time zone !",
                "CREATE UNIQUE INDEX sessions_moves_pkey btree (sid)",
                "CREATE INDEX sessions_moves_at_idx btree (moved_at)",
            ],
        ),
    ];
    for (table, columns) in expected {
        assert_eq!(definition(&client, table).await, *columns, "{table}");
    }
    let wrong = "INSERT INTO sessions (id, user_id, status, expires_at, created_at, updated_at, last_seen_at) \
        VALUES (gen_random_uuid(), 'x', 'asleep', now(), now(), now(), now())";
    assert!(client.execute(wrong, &[]).await.is_err(), "a status that nobody knows");
}

#[tokio::test]
async fn each_session_table_has_a_registry_of_its_own() {
    let database = Database::new().await;
    let client = database.client().await;
    let long = "t".repeat(63);
    let cases = [
        ("a", "session", None, ["session", "sessions", "sessions_cutoffs", "sessions_moves"].map(String::from)),
        ("b", "web", None, ["web", "web_registry", "web_registry_cutoffs", "web_registry_moves"].map(String::from)),
        ("c", "web", Some("who"), ["web", "who", "who_cutoffs", "who_moves"].map(String::from)),
        (
            "d",
            &*long,
            None,
            [
                format!("{}_registry", "t".repeat(54)),
                format!("{}_cutoffs", &format!("{}_registry", "t".repeat(54))[..55]),
                format!("{}_moves", &format!("{}_registry", "t".repeat(54))[..57]),
                long.clone(),
            ],
        ),
    ];
    for (schema, table, registry, mut expected) in cases {
        let builder = || {
            let builder = PostgresStore::builder(database.url()).schema(schema).table(table);
            registry.map_or(builder.clone(), |name| builder.registry(name))
        };
        builder().connect().await.unwrap();
        expected.sort();
        assert_eq!(tables(&client, schema).await, expected);
        let again = builder().connect().await.unwrap();
        assert!(again.description().ends_with("(adopted)"), "{}", again.description());
    }
}

#[tokio::test]
async fn names_that_cannot_work_are_refused() {
    let database = Database::new().await;
    let long = "r".repeat(64);
    for (table, registry, word) in [
        ("session", "session", "to be others than the table"),
        ("who_moves", "who", "to be others than the table"),
        ("session", "", "1 to 63 bytes"),
        ("session", &*long, "1 to 63 bytes"),
    ] {
        let error = PostgresStore::builder(database.url()).table(table).registry(registry).connect().await.unwrap_err();
        assert!(error.is_config() && error.to_string().contains(word), "{error}");
    }
    assert_eq!(tables(&database.client().await, "public").await, [""; 0]);
    let hostile = r#"s"; DROP TABLE x;--"#;
    let store = PostgresStore::builder(database.url()).registry(hostile).connect().await.unwrap();
    sign_in(&store, "a", "alice", 1).await;
    assert!(store.remove(&key("a"), &Ending { end: End::LoggedOut, at: at(1), reason: None }).await.unwrap());
}

#[tokio::test]
async fn a_table_of_another_kind_is_refused_with_the_remedy() {
    let database = Database::new().await;
    let client = database.client().await;
    client.batch_execute("CREATE TABLE sessions (id bigint PRIMARY KEY, user_id bigint, started date)").await.unwrap();
    let error = PostgresStore::connect(database.url()).await.unwrap_err();
    assert!(error.is_config(), "{error:?}");
    for words in [
        r#"the table "public"."sessions""#,
        "id uuid, sid text, user_id text",
        "found one with id bigint, user_id bigint, started date",
        "PostgresBuilder::registry(name)",
    ] {
        assert!(error.to_string().contains(words), "{words:?} in {error}");
    }
    PostgresStore::builder(database.url()).registry("who").connect().await.unwrap();
}

/// Tables that an administrator made, a little differently.
#[tokio::test]
async fn tables_that_fit_are_adopted_and_others_are_refused_in_words() {
    const TABLE: &str = "CREATE TABLE sessions (note text, id uuid PRIMARY KEY, sid text, user_id varchar(255) NOT NULL, \
        status varchar NOT NULL, ip_address inet, user_agent varchar, device text, auth_method text, provider_session text, \
        expires_at timestamptz NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, \
        last_seen_at timestamptz NOT NULL, authenticated_at timestamptz, logged_out_at timestamptz, end_reason text);";
    for (more, word) in [
        ("", None),
        (
            "ALTER TABLE sessions ADD tenant int NOT NULL;",
            Some("found tenant, which no session could be stored without"),
        ),
        ("ALTER TABLE sessions ALTER user_agent SET NOT NULL;", Some("found user_agent")),
        ("ALTER TABLE sessions DROP CONSTRAINT sessions_pkey;", Some("ADD PRIMARY KEY (id)")),
        ("ALTER TABLE sessions DROP sid;", Some("with the columns id uuid, sid text")),
        ("ALTER TABLE sessions ALTER expires_at TYPE timestamp;", Some("expires_at timestamp without time zone")),
    ] {
        let database = Database::new().await;
        let client = database.client().await;
        client.batch_execute(&format!("{TABLE}{more}")).await.unwrap();
        match (PostgresStore::connect(database.url()).await, word) {
            (Ok(store), None) => {
                sign_in(&store, "a", "alice", 1).await;
                assert_eq!(crate::signed_in::live(&store, "alice").await.len(), 1);
            }
            (Err(error), Some(word)) => assert!(error.to_string().contains(word), "{more} {error}"),
            (answer, _) => panic!("{more}: {answer:?}"),
        }
    }
}

/// Tells the store of three requests, and says how many it knows of then.
async fn counted(store: &PostgresStore, name: &str, number: usize) -> u64 {
    sign_in(store, name, "alice", number).await;
    let seen = Seen { handle: handle(number), at: at(90_000), expires_at: at(99_000), requests: 3 };
    store.seen(&[seen.clone(), Seen { requests: 0, at: at(80_000), ..seen }]).await.unwrap();
    let device = store.find(&"alice".into(), &handle(number), at(0)).await.unwrap().unwrap();
    assert_eq!((device.last_seen_at, device.expires_at), (at(90_000), at(99_000)));
    device.requests
}

/// Rows of a store, moved into another.
async fn moved(from: &PostgresStore, to: &PostgresStore) -> Vec<u64> {
    let (from, to) = (from.transfer().unwrap(), to.transfer().unwrap());
    let mut place = Some(Place::default());
    while let Some(next) = place {
        let (pieces, after) = from.export(&next, at(0), 100).await.unwrap();
        to.import(&pieces).await.unwrap();
        place = after;
    }
    let (pieces, _) = to.export(&Place { kind: 1, after: None }, at(0), 100).await.unwrap();
    let requests = pieces.into_iter().map(|piece| match piece {
        Piece::Device(_, device) => device.requests,
        _ => panic!("expected devices, found another kind"),
    });
    requests.collect()
}

#[tokio::test]
async fn a_registry_without_a_count_of_requests_gets_one_or_does_without() {
    const OLD: &str = "ALTER TABLE sessions DROP requests";
    let (database, other) = (Database::new().await, Database::new().await);
    let client = database.client().await;
    let first = PostgresStore::connect(database.url()).await.unwrap();
    assert_eq!(counted(&first, "a", 1).await, 3);
    client.batch_execute(OLD).await.unwrap();

    let role = format!("plain_{}", database.url().rsplit('/').next().unwrap().split('?').next().unwrap());
    let may = "GRANT ALL ON ALL TABLES IN SCHEMA public TO";
    client.batch_execute(&format!("CREATE ROLE {role} LOGIN; {may} {role}")).await.unwrap();
    let url = database.url().replace("postgres@", &format!("{role}@"));
    let poor = PostgresStore::connect(&url).await.unwrap();
    assert_eq!(counted(&poor, "b", 2).await, 0, "this role may not change the table, and goes on without a count");
    let elsewhere = PostgresStore::connect(other.url()).await.unwrap();
    assert_eq!(counted(&elsewhere, "c", 3).await, 3);
    assert_eq!(moved(&elsewhere, &poor).await, [0, 0, 0]);

    let migration = poor.creation().await.unwrap();
    assert!(migration.sql().contains("ADD COLUMN IF NOT EXISTS requests bigint NOT NULL DEFAULT 0"), "{migration}");
    assert!(migration.apply().await.unwrap_err().is_config());
    let owner = PostgresStore::connect(database.url()).await.unwrap();
    assert_eq!(counted(&owner, "d", 4).await, 3, "this one may, and did");
    assert!(!owner.creation().await.unwrap().sql().contains("ADD COLUMN"));
    assert!(definition(&client, "sessions").await.contains(&"requests bigint !".to_owned()));
    let mut all = moved(&owner, &elsewhere).await;
    all.sort_unstable();
    assert_eq!(all, [0, 0, 3, 3]);

    client.batch_execute(&format!("{OLD}; ALTER TABLE sessions ADD requests text")).await.unwrap();
    let anothers = PostgresStore::connect(database.url()).await.unwrap();
    assert_eq!(counted(&anothers, "e", 5).await, 0, "the column is somebody else's");
}

#[tokio::test]
async fn a_registry_in_use_is_not_held_up_for_a_column() {
    let database = Database::new().await;
    let mut client = database.client().await;
    PostgresStore::connect(database.url()).await.unwrap();
    client.batch_execute("ALTER TABLE sessions DROP requests").await.unwrap();
    let long = client.transaction().await.unwrap();
    long.batch_execute("SELECT count(*) FROM sessions").await.unwrap();
    let store = PostgresStore::connect(database.url()).await.unwrap();
    assert_eq!(counted(&store, "a", 1).await, 0);
    long.commit().await.unwrap();
    let store = PostgresStore::connect(database.url()).await.unwrap();
    assert_eq!(counted(&store, "b", 2).await, 3);
}

#[tokio::test]
async fn a_role_that_may_not_create_a_table_is_told_which_one() {
    let database = Database::new().await;
    let client = database.client().await;
    let role = format!("app_{}", database.url().rsplit('/').next().unwrap().split('?').next().unwrap());
    PostgresStore::connect(database.url()).await.unwrap();
    client
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT ALL ON session TO {role}; \
             DROP TABLE sessions_moves; GRANT ALL ON sessions, sessions_cutoffs TO {role}"
        ))
        .await
        .unwrap();
    let url = database.url().replace("postgres@", &format!("{role}@"));
    let error = PostgresStore::connect(&url).await.unwrap_err();
    assert!(error.is_config());
    for words in
        [r#"the table "public"."sessions_moves" is missing"#, "may not create it", "grant CREATE on the schema"]
    {
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// What stands in the registry is read with SQL that anybody would write.
#[tokio::test]
async fn people_read_the_registry_with_plain_sql() {
    let database = Database::new().await;
    let client = database.client().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    client
        .batch_execute(
            "CREATE TABLE users (id text, name text); INSERT INTO users VALUES ('alice', 'Alice'), ('bob', 'Bob')",
        )
        .await
        .unwrap();
    for (number, owner) in ["alice", "alice", "bob", "alice"].into_iter().enumerate() {
        sign_in(&store, &number.to_string(), owner, number).await;
    }
    let ending = Ending { end: End::LoggedOut, at: at(9), reason: None };
    assert!(store.remove(&key("1"), &ending).await.unwrap());
    let revoked = Ending { end: End::Revoked, at: at(10), reason: Some("lost phone".into()) };
    let handle = crate::signed_in::handle(3);
    assert!(store.revoke(&"alice".into(), &handle, &revoked).await.unwrap().is_some());

    let active = "SELECT * FROM sessions WHERE user_id = $1 AND status = 'active'";
    assert_eq!(client.query(active, &[&"alice"]).await.unwrap().len(), 1);
    let joined = "SELECT name, count(*) FROM users JOIN sessions ON sessions.user_id = users.id \
        WHERE status = 'active' GROUP BY name ORDER BY name";
    let rows = client.query(joined, &[]).await.unwrap();
    let counts: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(counts, [("Alice".into(), 1), ("Bob".into(), 1)]);
    let documents =
        "SELECT s.sess->>'userId' FROM session s JOIN sessions r USING (sid) WHERE r.status = 'active' ORDER BY 1";
    let rows = client.query(documents, &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<&str>>(), ["alice", "bob"]);
    let over = "SELECT status, end_reason, logged_out_at = created_at + interval '10 ms' FROM sessions \
        WHERE user_id = 'alice' AND status <> 'active' ORDER BY logged_out_at DESC";
    let rows = client.query(over, &[]).await.unwrap();
    let ends: Vec<(&str, Option<&str>, bool)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(ends, [("revoked", Some("lost phone"), true), ("logged_out", None, false)]);
}

/// One user with very many sessions: pages come from the index, and all of them end in one call.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_sessions_of_one_user_are_listed_and_revoked() {
    const MANY: usize = 100_000;
    let database = Database::new().await;
    let client = database.client().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let fill = format!(
        r#"INSERT INTO session SELECT 'k' || n, '{{"cookie":{{}}}}', '2040-02-01' FROM generate_series(1, {MANY}) n;
        INSERT INTO sessions (id, sid, user_id, expires_at, created_at, updated_at, last_seen_at)
        SELECT gen_random_uuid(), 'k' || n, 'many', '2040-02-01', '2040-01-01', '2040-01-01', '2040-01-01'
        FROM generate_series(1, {MANY}) n; ANALYZE session, sessions"#
    );
    client.batch_execute(&fill).await.unwrap();
    sign_in(&store, "other", "bob", 1).await;

    let first = store.list(&"many".into(), at(0), &sessile_core::Page::first(20)).await.unwrap();
    assert_eq!(first.len(), 20);
    assert!(first.is_sorted_by(|a, b| (a.created_at, &a.handle) > (b.created_at, &b.handle)));
    // The statement as it was prepared on a connection of the pool, with any parameters.
    let last = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%r.created_at DESC%' \
        AND pid <> pg_backend_pid()";
    let list: String = client.query_one(last, &[]).await.unwrap().get(0);
    let explain = format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE list (text, float8, float8, text, int8) AS {list}; \
         EXPLAIN EXECUTE list ('many', 2e9, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 20)"
    );
    let plan: Vec<_> = client.simple_query(&explain).await.unwrap();
    let lines = plan.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    let plan = lines.collect::<Vec<_>>().join("\n");
    assert!(plan.contains("Index Scan using sessions_active_idx") && !plan.contains("Sort"), "{plan}");

    let revoked = crate::signed_in::revoked(5);
    assert_eq!(store.revoke_all(&"many".into(), None, &revoked).await.unwrap().len(), MANY);
    let left: Vec<_> = client.query("SELECT sid FROM session", &[]).await.unwrap();
    assert_eq!(left.iter().map(|row| row.get(0)).collect::<Vec<&str>>(), ["other"]);
    let counted = "SELECT count(*) FROM sessions WHERE user_id = 'many' AND status = 'revoked'";
    assert_eq!(client.query_one(counted, &[]).await.unwrap().get::<_, i64>(0), MANY as i64);
    assert_eq!(store.revoke_all(&"many".into(), None, &revoked).await.unwrap().len(), 0);
}
