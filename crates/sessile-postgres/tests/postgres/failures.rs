//! The server goes away, comes back, crashes, forgets: what a user notices of it.

use std::time::{Duration, Instant};

use sessile_postgres::PostgresStore;
use sessile_testkit::postgres::{Cluster, Database};

use crate::browser;

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_503_at_once_and_sessions_go_on_afterwards() {
    let mut cluster = Cluster::start();
    let app = browser(PostgresStore::connect(&cluster.url("postgres")).await.unwrap()).await;
    assert_eq!(app.post("/login?user=alice").send().await.status, 200);
    cluster.stop();
    for (method, path) in
        [("GET", "/whoami"), ("POST", "/set?k=a&v=1"), ("POST", "/logout"), ("POST", "/login?user=bob")]
    {
        let asked = Instant::now();
        let answer = app.request(method, path).send().await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{method} {path}");
        assert_eq!(answer.header("set-cookie"), None);
        assert!(answer.json()["error"].is_string());
        assert!(asked.elapsed() < Duration::from_secs(2), "{method} {path} took {:?}", asked.elapsed());
    }
    assert_eq!(app.get("/anon").send().await.status, 200);
    cluster.restart();
    let back = Instant::now();
    while app.get("/whoami").send().await.status != 200 {
        assert!(back.elapsed() < Duration::from_secs(2), "no success two seconds after the server came back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(app.get("/whoami").send().await.json()["user"], "alice");
    assert_eq!(app.post("/set?k=a&v=1").send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_at_the_start_is_waited_for_and_nothing_is_cached() {
    let mut cluster = Cluster::start();
    let url = cluster.url("postgres");
    cluster.stop();
    assert!(PostgresStore::connect(&url).await.unwrap_err().is_unavailable());
    let app = browser(PostgresStore::builder(&url).connect_lazy().unwrap()).await;
    let client = app.clone();
    assert_eq!(client.post("/login?user=alice").send().await.status, 503);
    cluster.restart();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(app.post("/login?user=alice").send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_sign_out_survives_a_crash_of_the_server() {
    let mut cluster = Cluster::start();
    let app = browser(PostgresStore::connect(&cluster.url("postgres")).await.unwrap()).await;
    for round in 0..5 {
        assert_eq!(app.post("/login?user=alice").send().await.status, 200);
        let stolen = app.clone();
        assert_eq!(app.post("/logout").send().await.status, 200);
        cluster.kill();
        cluster.restart();
        let answer = loop {
            let answer = stolen.get("/whoami").send().await;
            if answer.status != 503 {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(answer.status, 401, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_an_administrator_ends_are_replaced_unnoticed_by_readers() {
    let database = Database::new().await;
    let app = browser(PostgresStore::connect(database.url()).await.unwrap()).await;
    app.post("/login?user=alice").send().await;
    let administrator = database.client().await;
    for _ in 0..5 {
        const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        administrator.execute(END, &[]).await.unwrap();
        assert_eq!(app.get("/whoami").send().await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_the_server_forgot_are_prepared_again() {
    let database = Database::new().await;
    let app = browser(PostgresStore::builder(database.url()).connections(1).connect().await.unwrap()).await;
    app.post("/login?user=alice").send().await;
    app.post("/set?k=a&v=1").send().await;
    let administrator = database.client().await;
    // A changed column type makes the server refuse the old plan: "cached plan must not change result type".
    for kind in ["jsonb", "json", "jsonb"] {
        let sql = format!("ALTER TABLE session ALTER COLUMN sess TYPE {kind} USING sess::text::{kind}");
        administrator.batch_execute(&sql).await.unwrap();
        assert_eq!(app.get("/read?k=a").send().await.json()["value"], "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_holds_locked_makes_that_session_wait_and_no_other() {
    let database = Database::new().await;
    let store =
        PostgresStore::builder(database.url()).statement_timeout(Duration::from_millis(500)).connect().await.unwrap();
    let locked = browser(store).await;
    locked.post("/set?k=a&v=1").send().await;
    let mut holder = database.client().await;
    let transaction = holder.transaction().await.unwrap();
    transaction.execute("SELECT sid FROM session FOR UPDATE", &[]).await.unwrap();
    let other = locked.clone();
    other.clear();
    let (slow, quick) = tokio::join!(locked.post("/set?k=a&v=2").send(), other.post("/set?k=a&v=1").send());
    assert_eq!((slow.status, quick.status), (503, 200));
    transaction.rollback().await.unwrap();
    assert_eq!(locked.post("/set?k=a&v=2").send().await.status, 200);
}

/// Statements that were given up are stopped on the server: they neither pile up nor take effect later.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_does_not_pile_up_on_the_server_or_happen_later() {
    let database = Database::new().await;
    let builder = PostgresStore::builder(database.url()).pool_max(5).statement_timeout(Duration::from_millis(200));
    let app = browser(builder.connect().await.unwrap()).await;
    app.post("/incr?k=n").send().await;
    let mut holder = database.client().await;
    let transaction = holder.transaction().await.unwrap();
    transaction.execute("SELECT sid FROM session FOR UPDATE", &[]).await.unwrap();
    let administrator = database.client().await;
    let count =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'sessile'";
    for _ in 0..8 {
        let answers = futures(10, || app.post("/incr?k=n").send()).await;
        assert!(answers.iter().all(|answer| answer.status == 503));
        let backends: i64 = administrator.query_one(count, &[]).await.unwrap().get(0);
        assert!(backends <= 5 + 2, "{backends} connections, for a pool of 5 and 2 that are shared");
    }
    // The lock is still held, so what waits for it is there to be counted until it is stopped.
    let waiting = format!("{count} AND wait_event_type = 'Lock'");
    let mut looks = 0;
    while administrator.query_one(&waiting, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        looks += 1;
        assert!(looks < 200, "statements that were given up go on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    transaction.rollback().await.unwrap();
    assert_eq!(app.get("/read?k=n").send().await.json()["value"], 1, "nothing that was answered with 503 happened");
    assert_eq!(app.post("/incr?k=n").send().await.json()["value"], 2);
}

/// Clients that hang up while their session's row is locked leave nothing behind that others would wait for.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_up_keep_nobody_waiting() {
    let database = Database::new().await;
    let app = browser(PostgresStore::builder(database.url()).pool_max(5).connect().await.unwrap()).await;
    app.post("/set?k=a&v=1").send().await;
    let mut holder = database.client().await;
    let transaction = holder.transaction().await.unwrap();
    transaction.execute("SELECT sid FROM session FOR UPDATE", &[]).await.unwrap();
    for _ in 0..10 {
        let request = tokio::spawn(app.post("/set?k=a&v=2").send());
        tokio::time::sleep(Duration::from_millis(50)).await;
        request.abort();
    }
    let other = app.clone();
    other.clear();
    let asked = Instant::now();
    for _ in 0..5 {
        assert_eq!(other.post("/incr?k=n").send().await.status, 200);
    }
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    transaction.rollback().await.unwrap();
    assert_eq!(app.get("/read?k=a").send().await.json()["value"], "1");
}

/// A silent server: it accepts and never answers, as when packets vanish.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_given_up_within_the_time_limits() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://postgres@{}/x?sslmode=disable", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let store = PostgresStore::builder(url).connect_timeout(Duration::from_millis(300)).connect_lazy().unwrap();
    let app = browser(store).await;
    app.set_cookie("connect.sid", "s%3Aabc.GCzAUNo8oUfQOOxTZKOQ3RvMePnhBLp0m4hjH7IWwDU");
    let asked = Instant::now();
    let answers = futures(20, || app.post("/set?k=a&v=1").send()).await;
    assert!(answers.iter().all(|answer| answer.status == 503));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

async fn futures<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    count: usize,
    make: impl Fn() -> F,
) -> Vec<T> {
    let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(make())).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

/// Two instances sweep one table of 2,500 expired rows; the table vanishes and comes back meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn sweepers_share_the_work_and_outlive_errors() {
    let database = Database::new().await;
    let client = database.client().await;
    let fill = "INSERT INTO session SELECT n::text, '{}'::json, now() - interval '1 hour' FROM generate_series(1, 2500) n \
        UNION ALL SELECT 'alive', '{}'::json, now() + interval '1 hour'";
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let store = PostgresStore::connect(database.url()).await.unwrap();
        tasks.push(crate::sessions(store).spawn_sweeper(Duration::from_millis(50)));
    }
    for _ in 0..2 {
        client.batch_execute(fill).await.unwrap();
        let begun = Instant::now();
        while client.query("SELECT 1 FROM session", &[]).await.unwrap().len() > 1 {
            assert!(begun.elapsed() < Duration::from_secs(20), "the expired rows are still there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let left: String = client.query_one("SELECT sid FROM session", &[]).await.unwrap().get(0);
        assert_eq!(left, "alive");
        client.batch_execute("ALTER TABLE session RENAME TO away").await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.batch_execute("ALTER TABLE away RENAME TO session; TRUNCATE session").await.unwrap();
    }
    for task in tasks {
        assert!(!task.is_finished());
        task.abort();
    }
}
