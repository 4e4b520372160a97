//! The conformance app as a program, driven from outside through its flags and routes, two instances side by side.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use serde_json::json;
use sessile_testkit::http::Browser;
use sessile_testkit::postgres::{Cluster, Database};
use sessile_testkit::redis::Server;

const SECRET: &str = "a secret of more than thirty-two characters";

/// A running instance. Its log is kept, to be searched for what must not be there.
struct App {
    process: Child,
    url: String,
    log: Option<JoinHandle<String>>,
}

impl App {
    fn start(flags: &[&str]) -> Self {
        Self::try_start(flags).unwrap_or_else(|log| panic!("expected the app to start: {log}"))
    }

    /// The app, or what it said instead of starting.
    fn try_start(flags: &[&str]) -> Result<Self, String> {
        let example = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/conformance");
        assert!(example.exists(), "expected {example:?}: run `cargo build -p sessile-testkit --examples`");
        let mut process = Command::new(example)
            .args(flags)
            .env("RUST_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = process.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = Vec::new();
            stderr.read_to_end(&mut log).unwrap();
            String::from_utf8_lossy(&log).into_owned()
        });
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        match line.trim().strip_prefix("listening on ") {
            Some(url) => Ok(Self { url: url.to_owned(), process, log: Some(log) }),
            None => {
                assert!(!process.wait().unwrap().success());
                Err(log.join().unwrap())
            }
        }
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.url)
    }

    fn stop(mut self) -> String {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Everything an id can be recognised by.
fn secrets_in(cookie: &str) -> [String; 2] {
    let (id, signature) = cookie.trim_start_matches("s%3A").split_once('.').unwrap();
    [id.to_owned(), signature.to_owned()]
}

async fn two_instances_share_sessions_and_log_no_secret(store: &str) {
    let flags = ["--store", store, "--secret", SECRET, "--user-key", "userId"];
    let apps = [App::start(&flags), App::start(&flags)];
    let [first, second] = [apps[0].browser(), apps[1].browser()];
    let carry = |from: &Browser, to: &Browser| to.set_cookie("connect.sid", &from.cookie("connect.sid").unwrap());
    let mut secrets = vec![SECRET.to_owned(), "a very private value".to_owned(), "a-password".to_owned()];

    first.post("/set?k=private&v=a%20very%20private%20value").send().await;
    secrets.extend(secrets_in(&first.cookie("connect.sid").unwrap()));
    first.post("/login?user=alice").send().await;
    secrets.extend(secrets_in(&first.cookie("connect.sid").unwrap()));
    carry(&first, &second);
    assert_eq!(second.get("/whoami").send().await.json()["user"], "alice");
    assert_eq!(second.get("/data").send().await.json(), json!({"private": "a very private value", "userId": "alice"}));
    let counts = tokio::join!(first.post("/incr?k=n").send(), second.post("/incr?k=n").send());
    assert_eq!((counts.0.status, counts.1.status), (200, 200));
    assert_eq!(first.get("/read?k=n").send().await.json(), json!({"value": 2}));
    let forged = first.clone();
    forged.set_cookie("connect.sid", "s%3Aforged-by-a-stranger.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(forged.get("/whoami").send().await.status, 401);
    for elsewhere in [apps[0].browser(), apps[1].browser()] {
        elsewhere.post("/login?user=alice").send().await;
        secrets.extend(secrets_in(&elsewhere.cookie("connect.sid").unwrap()));
        let devices = second.get("/devices").send().await.json();
        let other = devices.as_array().unwrap().iter().find(|device| device["current"] == false).unwrap();
        let path = format!("/devices/{}", other["handle"].as_str().unwrap());
        assert_eq!(second.request("DELETE", &path).send().await.status, 204);
        assert_eq!(second.request("DELETE", &path).send().await.status, 404, "it has ended");
        assert_eq!(elsewhere.get("/whoami").send().await.status, 401, "for the very next request");
    }
    assert_eq!(second.post("/devices/revoke-others").send().await.json(), json!({"revoked": 0}));
    second.post("/logout").send().await;
    assert_eq!(first.get("/devices").send().await.status, 401);

    for app in apps {
        let log = app.stop();
        assert!(log.contains("session store: "), "the start-up lines: {log}");
        for secret in &secrets {
            assert!(!log.contains(secret), "{secret} is in the log");
        }
    }
}

#[tokio::test]
async fn two_instances_over_postgresql() {
    let database = Database::new().await;
    let store = database.url().replace("postgres@", "postgres:a-password@");
    two_instances_share_sessions_and_log_no_secret(&store).await;
}

#[tokio::test]
async fn two_instances_over_redis() {
    let server = Server::start_with(&[("requirepass", "a-password")]);
    let store = server.url().replace("redis://", "redis://:a-password@");
    two_instances_share_sessions_and_log_no_secret(&store).await;
}

#[tokio::test]
async fn two_instances_over_sqlite() {
    let file = std::env::temp_dir().join(format!("sessile-conformance-{}.sqlite", std::process::id()));
    two_instances_share_sessions_and_log_no_secret(&format!("sqlite:{}", file.display())).await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
}

#[tokio::test]
async fn the_defaults_are_expresss() {
    let app = App::start(&["--store", "memory:"]);
    let answer = app.browser().post("/login?user=alice").send().await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("connect.sid=s%3A") && cookie.ends_with("; Path=/; HttpOnly"), "{cookie}");
    assert_eq!(app.browser().get("/anon").send().await.text(), "ok");
}

#[tokio::test]
async fn the_flags_do_what_they_say() {
    let database = Database::new().await;
    let flags =
        ["--store", database.url(), "--schema", "schema_system", "--table", "user_sessions", "--connections", "1"];
    let more = ["--cookie-name", "app.sid", "--secure", "true", "--trust-proxy", "--idle", "60", "--absolute", "120"];
    let secrets = ["--secrets-json", r#"["short", {"hex": "00ff"}]"#, "--allow-weak-secret"];
    let app = App::start(&[&flags[..], &more[..], &secrets[..]].concat());
    let answer = app.browser().post("/set?k=a&v=1").send().await;
    assert!(answer.header("set-cookie").unwrap().ends_with("; Path=/; HttpOnly; Secure"), "{answer:?}");
    let sql = "SELECT date_part('epoch', expire::timestamptz - now()) FROM schema_system.user_sessions";
    let left: f64 = database.client().await.query_one(sql, &[]).await.unwrap().get(0);
    assert!((55.0..62.0).contains(&left), "{left}");
}

#[tokio::test]
async fn weak_secrets_and_wrong_stores_are_refused_in_words() {
    for (flags, word) in [
        (["--store", "memory:", "--secret", "short"], "at least 32 bytes"),
        (["--store", "memory:", "--secrets-json", "{}"], "--secrets-json"),
        (["--store", "nowhere", "--touch-every", "1"], "postgres://"),
        (["--store", "memory:", "--cookie-name", "a b"], "cookie name"),
    ] {
        let log = App::try_start(&flags).err().unwrap();
        assert!(log.contains(word), "{log}");
    }
}

#[tokio::test]
async fn a_database_that_is_down_is_503_and_then_is_not() {
    let mut cluster = Cluster::start();
    cluster.stop();
    let app = App::start(&["--store", &cluster.url("postgres")]);
    let browser = app.browser();
    let answer = browser.post("/login?user=alice").send().await;
    assert_eq!((answer.status, answer.header("retry-after"), answer.header("set-cookie")), (503, Some("1"), None));
    assert!(answer.json()["error"].is_string());
    cluster.restart();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(browser.post("/login?user=alice").send().await.status, 200);
}
