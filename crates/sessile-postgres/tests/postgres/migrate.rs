//! Changes to the definition: read first, made under traffic, and made again after an interruption.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use sessile_core::{Clock as _, Examine, Store as _, SystemClock, Verdict, Written};
use sessile_postgres::PostgresStore;
use sessile_testkit::contract::{key, record};
use sessile_testkit::postgres::Database;
use tokio_postgres::Client;

const DOCUMENT: &str = r#"{"cookie":{"originalMaxAge":900000,"path":"/"},"sessile":{}}"#;

/// What connect-pg-simple sends.
const UPSERT: &str = "INSERT INTO session (sess, expire, sid) SELECT $1::text::json, to_timestamp($2), $3 \
    ON CONFLICT (sid) DO UPDATE SET sess = $1::text::json, expire = to_timestamp($2) RETURNING sid";

fn lazy(url: &str) -> PostgresStore {
    PostgresStore::builder(url).connect_lazy().unwrap()
}

async fn relations(client: &Client) -> Vec<String> {
    const ALL: &str = "SELECT c.relname || ' ' || coalesce(pg_get_indexdef(i.indexrelid) || i.indisvalid, '') FROM pg_class c \
        LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1";
    client.query(ALL, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn kind_of_expire(client: &Client) -> String {
    const KIND: &str = "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull, ', ') \
        FROM pg_attribute WHERE attrelid = 'session'::regclass AND attname LIKE 'expire%' AND NOT attisdropped";
    client.query_one(KIND, &[]).await.unwrap().get(0)
}

/// When all sessions end, as this store has it.
async fn ends(store: &PostgresStore, count: usize) -> Vec<Option<SystemTime>> {
    let mut ends = Vec::new();
    for number in 0..count {
        let found = store.load(&key(&format!("k{number}")), SystemTime::UNIX_EPOCH).await.unwrap();
        ends.push(found.map(|record| record.expires_at));
    }
    ends
}

#[tokio::test]
async fn what_connect_creates_can_be_read_first_and_is_the_same() {
    let (database, other) = (Database::new().await, Database::new().await);
    let (client, store) = (database.client().await, lazy(database.url()));
    let creation = store.creation().await.unwrap();
    assert_eq!(relations(&client).await, [""; 0], "asking creates nothing");
    assert!(
        creation.sql().contains("CREATE TABLE \"session\"") && creation.to_string() == creation.sql(),
        "{creation}"
    );
    client.batch_execute(creation.sql()).await.unwrap();
    PostgresStore::connect(other.url()).await.unwrap();
    let (made, connected) = (relations(&client).await, relations(&other.client().await).await);
    let is_for_operators = |name: &&String| ["operators", "audit", "secrets"].iter().any(|word| name.contains(word));
    let same: Vec<_> = made.iter().filter(|name| !is_for_operators(name)).cloned().collect();
    assert_eq!(same, connected);
    assert_eq!(made.iter().filter(|name| name.ends_with(' ')).count(), 8, "seven tables and a sequence: {made:?}");
    assert_eq!(store.creation().await.unwrap().sql(), "");

    let named = PostgresStore::builder(database.url()).schema("it's \"new\"").table("t").connect_lazy().unwrap();
    named.creation().await.unwrap().apply().await.unwrap();
    assert_eq!(named.creation().await.unwrap().sql(), "");
    assert!(named.load(&key("a"), SystemTime::UNIX_EPOCH).await.unwrap().is_none());
    assert!(named.description().contains("(adopted"), "{}", named.description());
}

#[tokio::test]
async fn indexes_that_are_missing_or_half_built_are_built_beside_the_traffic() {
    let database = Database::new().await;
    let (client, store) = (database.client().await, lazy(database.url()));
    store.creation().await.unwrap().apply().await.unwrap();
    let whole = relations(&client).await;
    client
        .batch_execute("DROP INDEX \"IDX_session_expire\"; CREATE INDEX \"IDX_session_expire\" ON session (sid)")
        .await
        .unwrap();
    store.creation().await.unwrap().apply().await.unwrap();
    assert!(relations(&client).await.concat().contains("(expire)"), "the name was taken");
    assert_eq!(store.creation().await.unwrap().sql(), "");
    let again = "DROP INDEX \"IDX_session_expire\", session_expire_idx; CREATE INDEX \"IDX_session_expire\" ON session (expire)";
    client.batch_execute(again).await.unwrap();
    assert_eq!(relations(&client).await, whole);
    let cases = [
        ("DROP INDEX \"IDX_session_expire\", sessions_history_idx", 2, 0),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('\"IDX_session_expire\"'::regclass, 'sessions_moves_at_idx'::regclass)",
            2,
            2,
        ),
    ];
    for (sql, built, dropped) in cases {
        client.batch_execute(sql).await.unwrap();
        let change = store.creation().await.unwrap();
        let count = |word: &str| change.sql().matches(word).count();
        assert_eq!(
            (count("CREATE INDEX CONCURRENTLY"), count("DROP INDEX CONCURRENTLY")),
            (built, dropped),
            "{change}"
        );
        change.apply().await.unwrap();
        assert_eq!(relations(&client).await, whole);
        assert_eq!(store.creation().await.unwrap().sql(), "");
    }
}

/// A table in New York's zone, with many sessions, some of which end in the hour that is there twice.
async fn new_york(count: usize) -> (Database, String, Client) {
    let database = Database::new().await;
    database.set("TimeZone", "America/New_York").await;
    let (client, url) = (database.client().await, database.url().to_owned());
    PostgresStore::connect(&url).await.unwrap();
    // 2040-11-04 01:30 in New York, and an hour around it.
    let fill = format!(
        "INSERT INTO session SELECT 'k' || n, '{DOCUMENT}', \
         timestamptz '2040-11-04 03:30:00 UTC' + n * interval '7 min' FROM generate_series(0, {count} - 1) n"
    );
    client.batch_execute(&fill).await.unwrap();
    (database, url, client)
}

/// Everything that applications do, over and over, and how often it was done. Nothing may fail.
struct Traffic {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    async fn start(url: &str, database: &Database) -> Self {
        let (stop, rounds) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut tasks = Vec::new();
        for number in 0..2 {
            let (store, stop, rounds) = (PostgresStore::connect(url).await.unwrap(), stop.clone(), rounds.clone());
            tasks.push(tokio::spawn(async move {
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    a_life(&store, &format!("sessile {number} {round}")).await;
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        let (client, stopped, counted) = (database.client().await, stop.clone(), rounds.clone());
        tasks.push(tokio::spawn(async move {
            let upsert = client.prepare(UPSERT).await.unwrap();
            let get = client.prepare("SELECT sess::text FROM session WHERE sid = $1 AND expire >= to_timestamp($2)");
            let get = get.await.unwrap();
            for round in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                // Signed in, so that the guard has something to do: it looks at the column too.
                let (sid, document) = (format!("express {round}"), r#"{"cookie":{"path":"/"},"userId":"ann"}"#);
                client.query(&upsert, &[&document, &2e9, &sid]).await.unwrap();
                assert_eq!(client.query(&get, &[&sid, &(2e9 - 1.0)]).await.unwrap().len(), 1);
                assert_eq!(client.query(&get, &[&sid, &(2e9 + 1.0)]).await.unwrap().len(), 0);
                client.execute("DELETE FROM session WHERE sid = $1", &[&sid]).await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }));
        Self { stop, rounds, tasks }
    }

    /// Waits until much more was done.
    async fn goes_on(&self) {
        let enough = self.rounds.load(Ordering::Relaxed) + 60;
        while self.rounds.load(Ordering::Relaxed) < enough {
            assert!(!self.tasks.iter().any(tokio::task::JoinHandle::is_finished), "traffic broke off");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// A session from its first write to its end.
async fn a_life(store: &PostgresStore, name: &str) {
    let now = SystemClock.now();
    let end = SystemTime::UNIX_EPOCH
        + Duration::from_secs(now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 900);
    let key = key(name);
    assert_eq!(store.insert(&key, &record(DOCUMENT, end)).await.unwrap(), Written::Done, "{name}");
    let mut found = store.load(&key, now).await.unwrap().expect(name);
    assert_eq!(found.expires_at, end);
    found.expires_at = end + Duration::from_secs(1);
    assert_eq!(store.update(&key, &found).await.unwrap(), Written::Done, "{name}");
    let later = end + Duration::from_secs(2);
    assert_eq!(store.touch(&key, now, later).await.unwrap(), Written::Done, "{name}");
    assert_eq!(store.load(&key, now).await.unwrap().expect(name).expires_at, later);
    assert!(store.load(&key, later + Duration::from_secs(1)).await.unwrap().is_none(), "{name} outlived its end");
    assert!(store.remove(&key, &crate::signed_in::revoked(1)).await.unwrap(), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expire_becomes_timestamptz_under_traffic_and_nobody_is_signed_out() {
    const COUNT: usize = 3_000;
    let (database, url, client) = new_york(COUNT).await;
    let store = PostgresStore::connect(&url).await.unwrap();
    store.guard(Some("userId")).await.unwrap().apply().await.unwrap();
    let before = ends(&store, COUNT).await;
    let traffic = Traffic::start(&url, &database).await;
    traffic.goes_on().await;
    let change = store.timestamptz(None).await.unwrap();
    assert!(
        change.sql().starts_with("-- What stands in expire is read in the time zone America/New_York."),
        "{change}"
    );
    change.apply().await.unwrap();
    traffic.goes_on().await;
    assert_eq!(kind_of_expire(&client).await, "expire timestamp with time zone true");
    traffic.end().await;
    assert!(ends(&store, COUNT).await == before, "an end is another one");
    let elsewhere = database.url_with("options", "-c TimeZone=Asia/Tokyo");
    assert!(ends(&PostgresStore::connect(&elsewhere).await.unwrap(), COUNT).await == before, "in another zone");
    assert_eq!(store.timestamptz(None).await.unwrap().sql(), "");
    let checks = Examine::examine(&store, SystemClock.now()).await;
    let bad: Vec<_> = checks.iter().filter(|check| check.verdict != Verdict::Good).map(|check| check.name).collect();
    assert_eq!(bad, ["postgres.fsync"], "{checks:#?}");
    const LEFT: &str = "SELECT count(*) FROM pg_class WHERE relname LIKE '%timestamptz%'";
    assert_eq!(client.query_one(LEFT, &[]).await.unwrap().get::<_, i64>(0), 0);
    const FUNCTIONS: &str =
        "SELECT count(*) FROM pg_proc WHERE proname LIKE '%timestamptz' AND pronamespace = 'public'::regnamespace";
    assert_eq!(client.query_one(FUNCTIONS, &[]).await.unwrap().get::<_, i64>(0), 0);
}

/// The owner who makes the change may be set to another zone than the application that wrote.
#[tokio::test]
async fn a_zone_that_is_not_certain_has_to_be_told() {
    let database = Database::new().await;
    let client = database.client().await;
    PostgresStore::connect(database.url()).await.unwrap();
    let role = format!("app_{}", database.url().rsplit('/').next().unwrap().split('?').next().unwrap());
    let app = format!(
        "CREATE ROLE {role} LOGIN; ALTER ROLE {role} SET TimeZone = 'America/New_York'; GRANT ALL ON session TO {role}; \
         INSERT INTO session SELECT 'k' || n, '{DOCUMENT}', now() AT TIME ZONE 'America/New_York' + n * interval '1 h' - '30 min'::interval \
         FROM generate_series(0, 2) n"
    );
    client.batch_execute(&app).await.unwrap();
    let owner = lazy(&database.url_with("options", "-c TimeZone=UTC"));
    let refused = owner.timestamptz(None).await.unwrap_err();
    let words = format!("this connection has UTC, the role {role} has America/New_York; name the one");
    assert!(refused.is_config() && refused.to_string().contains(&words), "{refused}");
    let unknown = owner.timestamptz(Some("Europe/Nowhere")).await.unwrap_err();
    assert!(unknown.is_config() && unknown.to_string().contains("pg_timezone_names"), "{unknown}");
    let wrong = owner.timestamptz(Some("UTC")).await.unwrap();
    assert!(wrong.sql().contains("-- Read so, 0 sessions live and 3 have expired."), "{wrong}");
    let change = owner.timestamptz(Some("America/New_York")).await.unwrap();
    assert!(change.sql().contains("-- Read so, 2 sessions live and 1 have expired."), "{change}");
    client.batch_execute(&split(change.sql())[0]).await.unwrap();
    let other = owner.timestamptz(Some("UTC")).await.unwrap_err();
    assert!(other.to_string().contains("found UTC; leave the zone out"), "{other}");
    owner.timestamptz(None).await.unwrap().apply().await.unwrap();
    let live = "SELECT count(*) FROM session WHERE expire > now()";
    assert_eq!(client.query_one(live, &[]).await.unwrap().get::<_, i64>(0), 2);
}

/// The old column is dropped, so whatever would go with it is named before anything is done.
#[tokio::test]
async fn what_hangs_on_expire_is_named_before_anything_is_changed() {
    let cases = [
        ("CREATE INDEX by_both ON session (expire, sid)", "index by_both"),
        ("CREATE INDEX partly ON session (expire) WHERE sid = 'x'", "index partly"),
        ("ALTER TABLE session ALTER expire SET DEFAULT now()", "default value for column expire"),
        ("GRANT SELECT (expire) ON session TO PUBLIC", "privileges on the column expire"),
        ("CREATE VIEW ends AS SELECT expire FROM session", "view ends"),
        ("ALTER TABLE session ADD CHECK (expire > '2001-01-01')", "constraint session_expire_check"),
    ];
    for (sql, word) in cases {
        let (_database, url, client) = new_york(2).await;
        client.batch_execute(sql).await.unwrap();
        let refused = lazy(&url).timestamptz(None).await.unwrap_err();
        assert!(refused.is_config() && refused.to_string().contains(word), "{sql}: {refused}");
        assert_eq!(kind_of_expire(&client).await, "expire timestamp(6) without time zone true", "{sql}");
    }
}

/// What the server would refuse again is no failure that passes.
#[tokio::test]
async fn a_change_that_the_server_refuses_is_not_worth_a_second_try() {
    let (_database, url, client) = new_york(2).await;
    let change = lazy(&url).timestamptz(None).await.unwrap();
    client.batch_execute("CREATE VIEW ends AS SELECT expire FROM session").await.unwrap();
    let refused = change.apply().await.unwrap_err();
    assert!(refused.is_config() && refused.to_string().contains("2BP01"), "{refused}");
    let nowhere = PostgresStore::builder(&url).schema("nowhere").connect_lazy().unwrap();
    let missing = nowhere.creation().await.unwrap();
    client.batch_execute("CREATE SCHEMA nowhere; CREATE VIEW nowhere.session AS SELECT 1 AS x").await.unwrap();
    let refused = missing.apply().await.unwrap_err();
    assert!(refused.is_config() && refused.to_string().contains("42P07"), "{refused}");
}

/// Stopped wherever it is, again and again, with sessions written in between, it comes to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_interrupted_goes_on() {
    const COUNT: usize = 6_000;
    let (database, url, client) = new_york(COUNT).await;
    let store = PostgresStore::connect(&url).await.unwrap();
    let before = ends(&store, COUNT).await;
    // Whoever goes on does so in another zone, and the values mean what they meant.
    let elsewhere = database.url_with("options", "-c TimeZone=Asia/Tokyo");
    let (mut interrupted, mut patience, mut who) = (0, 5, lazy(&url));
    loop {
        let change = who.timestamptz(None).await.unwrap();
        assert!(change.sql().contains("America/New_York"), "{change}");
        match tokio::time::timeout(Duration::from_millis(patience), change.apply()).await {
            Ok(done) => break done.unwrap(),
            Err(_) => interrupted += 1,
        }
        a_life(&store, &format!("between {interrupted}")).await;
        let begun = kind_of_expire(&client).await.contains("expire_timestamptz");
        who = lazy(if begun { &elsewhere } else { &url });
        patience += 10;
        assert!(interrupted < 200, "it comes to no end: {change}");
    }
    assert!(interrupted > 2, "interrupted {interrupted} times only");
    assert_eq!(kind_of_expire(&client).await, "expire timestamp with time zone true");
    assert!(ends(&store, COUNT).await == before, "an end is another one");
}

/// After any number of steps, as a crash leaves them, sessions live as before, and the change goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_any_two_steps_loses_nothing() {
    const STEPS: usize = 6;
    for done in 0..=STEPS {
        let (_database, url, client) = new_york(20).await;
        let store = PostgresStore::connect(&url).await.unwrap();
        let before = ends(&store, 20).await;
        let steps = split(store.timestamptz(None).await.unwrap().sql());
        assert_eq!(steps.len(), STEPS, "{steps:#?}");
        for step in &steps[..done] {
            client.batch_execute(&step.replace("$1", "NULL")).await.unwrap();
        }
        a_life(&store, "between").await;
        assert!(ends(&store, 20).await == before, "after {done} steps");
        lazy(&url).timestamptz(None).await.unwrap().apply().await.unwrap();
        a_life(&store, "afterwards").await;
        assert!(ends(&store, 20).await == before, "gone on after {done} steps");
        assert_eq!(kind_of_expire(&client).await, "expire timestamp with time zone true");
    }
}

/// The steps of this SQL: transactions, and statements that stand alone.
fn split(sql: &str) -> Vec<String> {
    let (mut steps, mut step) = (Vec::new(), String::new());
    for line in sql.lines().filter(|line| !line.is_empty() && !line.starts_with("--")) {
        step += &format!("{line}\n");
        let ends = if step.starts_with("BEGIN;\n") { line == "COMMIT;" } else { line.ends_with(';') };
        if ends {
            steps.push(std::mem::take(&mut step));
        }
    }
    steps
}

/// A session that is held by somebody is filled once it is free, and nobody waits for the change.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_holds_are_waited_for_without_a_lock() {
    for _ in 0..20 {
        if held_in_time().await {
            return;
        }
    }
    panic!("the change was over each time before a session was held");
}

/// False when the change was too fast to hold a session that it had not filled.
async fn held_in_time() -> bool {
    let (database, url, _client) = new_york(5_000).await;
    let mut holder = database.client().await;
    let held = holder.transaction().await.unwrap();
    let store = PostgresStore::connect(&url).await.unwrap();
    let change = store.timestamptz(None).await.unwrap();
    let changing = tokio::spawn(async move { change.apply().await });
    let client = database.client().await;
    while !kind_of_expire(&client).await.contains("expire_timestamptz") {
        if changing.is_finished() {
            return false;
        }
    }
    let hold = "SELECT expire_timestamptz IS NULL FROM session WHERE sid = 'k999' FOR UPDATE";
    if !held.query_one(hold, &[]).await.is_ok_and(|row| row.get(0)) {
        return false;
    }
    for round in 0..20 {
        a_life(&store, &format!("meanwhile {round}")).await;
    }
    for number in [1, 2, 4, 9] {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        let touched = store.touch(&key(&format!("k{number}")), SystemTime::UNIX_EPOCH, end).await;
        assert_eq!(touched.unwrap(), Written::Done, "a session beside it");
    }
    assert!(!changing.is_finished(), "it went on without the row");
    held.commit().await.unwrap();
    changing.await.unwrap().unwrap();
    assert_eq!(kind_of_expire(&client).await, "expire timestamp with time zone true");
    true
}

#[tokio::test]
async fn the_depth_counts_what_is_under_way() {
    let database = Database::new().await;
    let store = PostgresStore::builder(database.url()).pool_max(3).connections(1).connect().await.unwrap();
    assert_eq!((store.depth().pool_max, store.depth().pool_in_use, store.depth().reads_under_way), (3, 0, 0));
    let mut holder = database.client().await;
    let held = holder.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE session IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..10 {
        let (reader, writer) = (store.clone(), store.clone());
        let name = format!("k{number}");
        tasks.push(tokio::spawn(async move { reader.load(&key("x"), SystemTime::UNIX_EPOCH).await.map(drop) }));
        tasks.push(tokio::spawn(async move {
            writer.insert(&key(&name), &record(DOCUMENT, SystemTime::UNIX_EPOCH)).await.map(drop)
        }));
    }
    let expected = (3, 7, 4, 6);
    loop {
        let depth = store.depth();
        if (depth.pool_in_use, depth.pool_waiting, depth.reads_under_way, depth.reads_waiting) == expected {
            break;
        }
        assert!(!tasks.iter().all(tokio::task::JoinHandle::is_finished), "{depth:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    held.rollback().await.unwrap();
    for task in tasks {
        let _answer = task.await.unwrap();
    }
    let depth = store.depth();
    assert_eq!((depth.pool_in_use, depth.pool_waiting, depth.reads_under_way, depth.reads_waiting), (0, 0, 0, 0));
}
