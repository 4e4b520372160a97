//! A primary and a streaming standby that commits wait for: the primary is killed, demoted or forgotten, and the standby
//! promoted. What was acknowledged is there afterwards, and what ended stays so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sessile_core::{Clock as _, Examine, Sweep as _, SystemClock, Verdict};
use sessile_postgres::PostgresStore;
use sessile_testkit::http::Browser;
use sessile_testkit::postgres::{Cluster, Database};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::browser;

/// Two servers, of which the first one was the primary at the beginning.
struct Pair {
    first: Cluster,
    second: Cluster,
}

impl Pair {
    fn start() -> Self {
        let first = Cluster::start_with(&[("synchronous_standby_names", "second")]);
        let second = Cluster::standby_of(&first, "second", &[]);
        Self { first, second }
    }

    /// Both in one URL, without a word about which is which.
    fn url(&self) -> String {
        url(&[self.first.port(), self.second.port()])
    }

    async fn app(&self) -> Browser {
        browser(PostgresStore::connect(&self.url()).await.unwrap()).await
    }

    /// Makes the first one read-only, as an administrator does before a planned change.
    async fn demote_first(&self) {
        let administrator = self.first.superuser_client("postgres").await;
        administrator.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
        administrator.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let show = "SHOW default_transaction_read_only";
        while administrator.query_one(show, &[]).await.unwrap().get::<_, &str>(0) != "on" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn url(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://postgres@{}/postgres?sslmode=disable", hosts.join(","))
}

/// What one visitor was promised.
#[derive(Default)]
struct Promised {
    /// Increments that were answered, and those whose outcome was left open.
    counted: i64,
    open: i64,
    /// Copies of the cookies of sessions that were signed out.
    ended: Vec<Browser>,
    failures: usize,
}

/// Counts in one session, and signs others in and out, until told to stop.
fn visit(app: Browser, stop: Arc<AtomicBool>) -> JoinHandle<(Browser, Promised)> {
    tokio::spawn(async move {
        let mut promised = Promised::default();
        let other = app.clone();
        other.clear();
        while !stop.load(Ordering::Relaxed) {
            match app.post("/incr?k=n").send().await.status {
                200 => promised.counted += 1,
                503 => promised.open += 1,
                status => panic!("expected 200 or 503, found {status}"),
            }
            promised.failures += usize::from(!sign_in_and_out(&other, &mut promised.ended).await);
        }
        (app, promised)
    })
}

async fn sign_in_and_out(app: &Browser, ended: &mut Vec<Browser>) -> bool {
    match app.post("/login?user=bob").send().await.status {
        200 => {}
        503 => return false,
        status => panic!("expected 200 or 503, found {status}"),
    }
    let stolen = app.clone();
    match app.post("/logout").send().await.status {
        200 => ended.push(stolen),
        503 => return false,
        status => panic!("expected 200 or 503, found {status}"),
    }
    true
}

/// Waits for a write to work.
async fn until_written(app: &Browser, limit: Duration) {
    let begun = Instant::now();
    while app.post("/set?k=back&v=1").send().await.status != 200 {
        assert!(begun.elapsed() < limit, "no write worked for {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_loses_nothing_that_was_acknowledged() {
    let mut pair = Pair::start();
    let app = pair.app().await;
    assert_eq!(app.post("/login?user=alice").send().await.status, 200);
    let stop = Arc::new(AtomicBool::new(false));
    let mut visitors = Vec::new();
    for _ in 0..8 {
        let visitor = app.clone();
        visitor.clear();
        assert_eq!(visitor.post("/login?user=alice").send().await.status, 200);
        visitors.push(visit(visitor, stop.clone()));
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    pair.first.kill();

    // The standby has all the rows, and takes connections: but it is not the primary.
    for (method, path) in [("GET", "/whoami"), ("POST", "/set?k=a&v=1"), ("POST", "/logout")] {
        let asked = Instant::now();
        let answer = app.request(method, path).send().await;
        assert_eq!((answer.status, answer.header("set-cookie")), (503, None), "{method} {path}");
        assert!(asked.elapsed() < Duration::from_secs(1), "{method} {path} took {:?}", asked.elapsed());
    }
    pair.second.promote().await;
    until_written(&app, Duration::from_secs(5)).await;
    assert_eq!(app.get("/whoami").send().await.json()["user"], "alice");

    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut counted, mut ended, mut open) = (0, 0, 0);
    for visitor in visitors {
        let (app, promised) = visitor.await.unwrap();
        let kept = app.get("/read?k=n").send().await.json()["value"].as_i64().unwrap();
        let possible = promised.counted..=promised.counted + promised.open;
        assert!(possible.contains(&kept), "expected a count in {possible:?}, found {kept}");
        for stolen in &promised.ended {
            assert_eq!(stolen.get("/whoami").send().await.status, 401, "a session that was signed out");
        }
        (counted, ended) = (counted + promised.counted, ended + promised.ended.len());
        open += promised.open as usize + promised.failures;
    }
    assert!(counted > 20 && ended > 10 && open > 0, "{counted} {ended} {open}");
}

/// The primary is made read-only and the standby promoted, and all connections stay open. Nothing but the read itself
/// can tell that it went to the wrong server.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_on_the_new_primary_is_not_read_from_the_demoted_one() {
    let pair = Pair::start();
    let app = pair.app().await;
    assert_eq!(app.post("/login?user=alice").send().await.status, 200);
    assert_eq!(app.get("/whoami").send().await.status, 200);
    pair.demote_first().await;
    pair.second.promote().await;
    let other = browser(PostgresStore::connect(&pair.second.url("postgres")).await.unwrap()).await;
    other.set_cookie("connect.sid", &app.cookie("connect.sid").unwrap());
    assert_eq!(other.post("/logout").send().await.status, 200);
    assert_eq!(app.get("/whoami").send().await.status, 401);
    assert_eq!(app.post("/login?user=alice").send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_meets_a_demoted_primary_goes_to_the_new_one() {
    let pair = Pair::start();
    let store = PostgresStore::connect(&pair.url()).await.unwrap();
    store.sweep(SystemClock.now(), 10).await.unwrap();
    pair.demote_first().await;
    let refused = store.sweep(SystemClock.now(), 10).await.unwrap_err();
    assert!(refused.is_unavailable() && refused.to_string().contains("takes writes"), "{refused}");
    pair.second.promote().await;
    store.sweep(SystemClock.now(), 10).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_meets_a_server_demoted_after_the_promotion_does_not_fail() {
    let pair = Pair::start();
    let store = PostgresStore::connect(&pair.url()).await.unwrap();
    store.sweep(SystemClock.now(), 10).await.unwrap();
    pair.second.promote().await;
    pair.demote_first().await;
    store.sweep(SystemClock.now(), 10).await.unwrap();
}

/// Nobody tells the old primary. It waits for its standby with every commit, so nothing is acknowledged there; it is
/// left when the first write has waited too long, and not taken again when it is the only one to answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_former_primary_that_knows_nothing_is_left_for_good() {
    let mut pair = Pair::start();
    let builder = PostgresStore::builder(pair.url()).statement_timeout(Duration::from_millis(500)).pool_max(1);
    let app = browser(builder.connect().await.unwrap()).await;
    assert_eq!(app.post("/login?user=alice").send().await.status, 200);
    assert_eq!(app.get("/whoami").send().await.status, 200);
    pair.second.promote().await;
    assert_eq!(app.post("/set?k=a&v=1").send().await.status, 503);
    until_written(&app, Duration::from_secs(5)).await;
    assert_eq!(app.post("/incr?k=n").send().await.json()["value"], 1);
    let new = pair.second.superuser_client("postgres").await;
    let count = "SELECT count(*) FROM session WHERE sess->>'n' = '1'";
    assert_eq!(new.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 1);
    drop(new);

    pair.second.stop();
    for path in ["/whoami", "/read?k=n"] {
        assert_eq!(app.get(path).send().await.status, 503, "{path}: the former primary answers, and is out of date");
    }
    pair.second.restart();
    until_written(&app, Duration::from_secs(5)).await;
    assert_eq!(app.get("/read?k=n").send().await.json()["value"], 1);
}

/// Where nobody writes, nothing waits too long. The sweeper asks each server for its time, and that is enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_former_primary_that_is_only_read_is_left_with_the_next_round_of_the_sweeper() {
    let pair = Pair::start();
    let store = PostgresStore::connect(&pair.url()).await.unwrap();
    let app = browser(store.clone()).await;
    assert_eq!(app.post("/login?user=alice").send().await.status, 200);
    assert_eq!(app.get("/whoami").send().await.status, 200);
    pair.second.promote().await;
    let other = browser(PostgresStore::connect(&pair.second.url("postgres")).await.unwrap()).await;
    other.set_cookie("connect.sid", &app.cookie("connect.sid").unwrap());
    assert_eq!(other.post("/logout").send().await.status, 200);
    assert_eq!(app.get("/whoami").send().await.status, 200, "nobody has said a word to the former primary");
    sessile_core::Store::time(&store).await.unwrap();
    let begun = Instant::now();
    while app.get("/whoami").send().await.status != 401 {
        assert!(begun.elapsed() < Duration::from_secs(3), "the session lives on at the former primary");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A process that starts later has seen neither of them.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_that_take_writes_the_one_promoted_last_is_used() {
    let pair = Pair::start();
    pair.second.promote().await;
    for ports in [[pair.first.port(), pair.second.port()], [pair.second.port(), pair.first.port()]] {
        PostgresStore::connect(&url(&ports)).await.unwrap();
        let new = pair.second.superuser_client("postgres").await;
        assert!(new.query_one("SELECT to_regclass('session') IS NOT NULL", &[]).await.unwrap().get::<_, bool>(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_or_a_silent_host_at_the_front_of_the_list_costs_no_time() {
    let pair = Pair::start();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = [silent.local_addr().unwrap().port(), pair.second.port(), pair.first.port()];
    let asked = Instant::now();
    let app = browser(PostgresStore::connect(&url(&ports)).await.unwrap()).await;
    assert_eq!(app.post("/login?user=alice").send().await.status, 200);
    assert_eq!(app.get("/whoami").send().await.json()["user"], "alice");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

/// One server, and no word about writes: it was read-only when the connections were opened, and then no more.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_were_opened_read_only_are_not_kept_for_ever() {
    let database = Database::new().await;
    PostgresStore::connect(database.url()).await.unwrap();
    database.set("default_transaction_read_only", "on").await;
    let app = browser(PostgresStore::connect(database.url()).await.unwrap()).await;
    assert_eq!(app.post("/login?user=alice").send().await.status, 503);
    let administrator = database.client().await;
    administrator.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    let reset = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET ALL', current_database()); END $$";
    administrator.batch_execute(reset).await.unwrap();
    until_written(&app, Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_are_named_and_their_password_is_not() {
    let url = "postgres://app:hunter2@127.0.0.1:1,127.0.0.1:2/db?sslmode=disable";
    let error = PostgresStore::connect(url).await.unwrap_err();
    let store = PostgresStore::builder(url).connect_lazy().unwrap();
    let checks = Examine::examine(&store, SystemClock.now()).await;
    let refused = checks.iter().find(|check| check.verdict != Verdict::Good).unwrap();
    assert!(refused.finding.contains("127.0.0.1:1 and 127.0.0.1:2"), "{refused:?}");
    let wrong = PostgresStore::connect("postgres://app:hunter2@a,b:x/db").await.unwrap_err();
    let all = format!("{error} {error:?} {store:?} {:?} {checks:?} {wrong} {wrong:?}", PostgresStore::builder(url));
    assert!(!all.contains("hunter2"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_when_only_a_standby_answers() {
    let mut pair = Pair::start();
    let store = PostgresStore::builder(pair.url()).connect_lazy().unwrap();
    pair.first.stop();
    let checks = Examine::examine(&store, SystemClock.now()).await;
    assert!(checks[0].finding.contains("No server takes writes"), "{checks:?}");
    assert!(checks[0].remedy.as_deref().unwrap().contains("Promote"), "{checks:?}");
}
