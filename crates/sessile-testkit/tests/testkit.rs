//! The tools themselves: a server that goes away whatever happens, and a browser that keeps cookies as browsers do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

use std::env;
use std::net::TcpStream as Connection;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sessile_testkit::http::{Browser, Client, free_port};
use sessile_testkit::postgres::{Cluster, Database, SERVER_VARIABLE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

mod postgres {
    use super::*;

    #[tokio::test]
    async fn each_database_is_separate() {
        let (one, other) = (Database::new().await, Database::new().await);
        one.client().await.batch_execute("CREATE TABLE mine ()").await.unwrap();
        assert!(one.client().await.batch_execute("SELECT FROM mine").await.is_ok());
        assert!(other.client().await.batch_execute("SELECT FROM mine").await.is_err());
    }

    #[tokio::test]
    async fn a_database_and_a_connection_can_have_another_time_zone() {
        let database = Database::new().await;
        assert_eq!(text(&database.client().await, "SHOW TimeZone").await, "UTC");

        database.set("TimeZone", "America/New_York").await;
        assert_eq!(text(&database.client().await, "SHOW TimeZone").await, "America/New_York");

        let url = database.url_with("options", "-c TimeZone=Asia/Kathmandu");
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        assert_eq!(text(&client, "SHOW TimeZone").await, "Asia/Kathmandu");
    }

    #[tokio::test]
    async fn a_killed_server_keeps_what_was_committed_and_nothing_else() {
        let mut cluster = Cluster::start();
        let client = cluster.superuser_client("postgres").await;
        client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await.unwrap();
        client.batch_execute("BEGIN; INSERT INTO kept VALUES (2)").await.unwrap();

        cluster.kill();
        assert!(!listens(cluster.port()));
        assert!(client.batch_execute("COMMIT").await.is_err());

        cluster.restart();
        let client = cluster.superuser_client("postgres").await;
        assert_eq!(text(&client, "SELECT string_agg(n::text, ',') FROM kept").await, "1");
    }

    #[tokio::test]
    async fn a_kill_leaves_no_time_to_write_down_what_was_only_in_memory() {
        let settings = [("synchronous_commit", "off"), ("wal_writer_delay", "10s")];
        let mut cluster = Cluster::start_with(&settings);
        let client = cluster.superuser_client("postgres").await;
        client.batch_execute("SET synchronous_commit = on; CREATE TABLE lost (n int)").await.unwrap();
        client.batch_execute("SET synchronous_commit = off; INSERT INTO lost VALUES (1)").await.unwrap();

        cluster.kill();
        cluster.restart();
        let client = cluster.superuser_client("postgres").await;
        assert_eq!(text(&client, "SELECT count(*)::text FROM lost").await, "0");
    }

    #[tokio::test]
    async fn a_stopped_server_starts_again_on_its_port() {
        let mut cluster = Cluster::start_with(&[("work_mem", "5MB")]);
        let port = cluster.port();
        cluster.stop();
        assert!(!listens(port));
        cluster.restart();
        assert_eq!(cluster.port(), port);
        let client = cluster.superuser_client("postgres").await;
        assert_eq!(text(&client, "SHOW work_mem").await, "5MB");
    }

    #[tokio::test]
    async fn a_dropped_cluster_leaves_nothing() {
        let cluster = Cluster::start();
        let (port, data) = (cluster.port(), data_directory(&cluster.url("postgres")).await);
        assert!(listens(port) && data.exists());
        drop(cluster);
        assert!(!listens(port) && !directory_of(&data).exists());
    }

    #[tokio::test]
    async fn a_dropped_cluster_leaves_nothing_after_a_kill() {
        let mut cluster = Cluster::start();
        let data = data_directory(&cluster.url("postgres")).await;
        cluster.kill();
        drop(cluster);
        assert!(!directory_of(&data).exists());
    }

    /// The test runs itself again as the victim: a process with a server that nobody drops.
    #[tokio::test]
    async fn a_process_killed_by_sigkill_leaves_nothing() {
        const VICTIM: &str = "SESSILE_TESTKIT_VICTIM";
        if let Ok(file) = env::var(VICTIM) {
            let cluster = Cluster::start();
            std::fs::write(file, cluster.url("postgres")).unwrap();
            sleep(Duration::from_secs(60));
            drop(cluster);
            return;
        }

        let file = env::temp_dir().join(format!("sessile-testkit-victim-{}", std::process::id()));
        let mut victim = Command::new(env::current_exe().unwrap())
            .args(["--exact", "postgres::a_process_killed_by_sigkill_leaves_nothing"])
            .env(VICTIM, &file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the victim to start its server", || {
            std::fs::read_to_string(&file).is_ok_and(|url| url.ends_with("disable"))
        });
        let url = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let data = data_directory(&url).await;

        victim.kill().unwrap();
        victim.wait().unwrap();
        wait_until("the guardian to clean up", || !directory_of(&data).exists());
        assert!(tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_err());
    }

    #[test]
    fn with_postgres_names_its_server_and_hands_on_the_status() {
        let example = env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/with-postgres");
        assert!(example.exists(), "expected {example:?}: run `cargo build -p sessile-testkit --examples`");
        let run = |script: &str| {
            let mut command = Command::new(&example);
            command.args(["sh", "-c", script]).env_remove(SERVER_VARIABLE);
            command.output().unwrap()
        };

        let output = run(&format!("echo ${SERVER_VARIABLE}; exit 7"));
        assert_eq!(output.status.code(), Some(7));
        let url = String::from_utf8(output.stdout).unwrap();
        let port = url.trim().strip_prefix("postgres://postgres@127.0.0.1:").and_then(|rest| rest.split('/').next());
        let port = port.unwrap_or_else(|| panic!("expected the URL of a server, found {url:?}"));
        assert!(!listens(port.parse().unwrap()), "the server outlived the command");

        assert_eq!(run("kill -TERM $$").status.code(), Some(128 + 15));
    }

    async fn data_directory(url: &str) -> PathBuf {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        PathBuf::from(text(&client, "SHOW data_directory").await)
    }

    fn directory_of(data: &Path) -> &Path {
        data.parent().unwrap()
    }

    async fn text(client: &tokio_postgres::Client, query: &str) -> String {
        client.query_one(query, &[]).await.unwrap().get(0)
    }

    fn listens(port: u16) -> bool {
        Connection::connect(("127.0.0.1", port)).is_ok()
    }

    fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !done() {
            assert!(begin.elapsed() < Duration::from_secs(30), "expected {what} within 30 s");
            sleep(Duration::from_millis(10));
        }
    }
}

mod http {
    use super::*;

    #[tokio::test]
    async fn a_request_is_sent_byte_for_byte() {
        let url = server(echo).await;
        let post = Client::new(&url).post("/a?b=%2f");
        let request = post.header("cookie", b"sid=\xff\x01;;").header("cookie", "sid=b").body("x=1");
        let head = format!("POST /a?b=%2f HTTP/1.1\r\nHost: {}\r\n", &url["http://".len()..]);
        let rest = b"Connection: close\r\nContent-Length: 3\r\ncookie: sid=\xff\x01;;\r\ncookie: sid=b\r\n\r\nx=1";
        assert_eq!(request.send().await.body, [head.as_bytes(), rest].concat());
    }

    #[tokio::test]
    async fn headers_a_request_has_are_not_added_again() {
        let client = Client::new(&server(echo).await);
        let request = client.delete("/").header("HOST", "evil").header("content-length", "0").header("connection", "x");
        let expected = "DELETE / HTTP/1.1\r\nHOST: evil\r\ncontent-length: 0\r\nconnection: x\r\n\r\n";
        assert_eq!(request.send().await.text(), expected);
    }

    #[tokio::test]
    async fn bodies_are_read_by_length_by_chunks_and_to_the_end() {
        let responses = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, not this", "hello"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nT: x\r\n\r\n",
                "hello",
            ),
            ("HTTP/1.0 200 OK\r\n\r\nhello", "hello"),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "hi"),
            ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", ""),
        ];
        for (response, body) in responses {
            let client = Client::new(&server(move |_| response.into()).await);
            assert_eq!(client.get("/").send().await.text(), body, "{response}");
        }
    }

    #[tokio::test]
    async fn a_response_that_breaks_off_or_is_none_is_an_error() {
        let responses = [
            "",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
        ];
        for response in responses {
            let client = Client::new(&server(move |_| response.into()).await);
            assert!(client.get("/").try_send().await.is_err(), "{response}");
        }
        let nobody = Client::new(&format!("http://127.0.0.1:{}", free_port()));
        assert!(nobody.get("/").try_send().await.is_err());
    }

    #[tokio::test]
    async fn headers_are_found_in_any_case_and_json_is_read() {
        let response =
            "HTTP/1.1 201 Created\r\nset-cookie: a=1\r\nSet-Cookie:b=2\r\nContent-Length: 9\r\n\r\n{\"n\":[1]}";
        let response = Client::new(&server(move |_| response.into()).await).get("/").send().await;
        assert_eq!(response.status, 201);
        assert_eq!(response.header("SET-COOKIE"), Some("a=1"));
        assert_eq!(response.headers("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(response.header("location"), None);
        assert_eq!(response.json(), serde_json::json!({"n": [1]}));
    }

    #[tokio::test]
    async fn a_browser_keeps_replaces_and_removes_cookies() {
        let browser = Browser::new(&server(cookie_server).await);
        assert_eq!(cookies_sent(&browser).await, "");

        browser.post("/sid=one;%20HttpOnly").send().await;
        browser.post("/theme=dark;%20Expires=Fri,%2031%20Dec%202100%2012:00:00%20GMT").send().await;
        assert_eq!(browser.cookie("sid").as_deref(), Some("one"));
        assert_eq!(cookies_sent(&browser).await, "sid=one; theme=dark");

        browser.post("/sid=two").send().await;
        assert_eq!(cookies_sent(&browser).await, "sid=two; theme=dark");

        browser.post("/sid=;%20Max-Age=0").send().await;
        browser.delete("/theme=;%20Expires=Thu,%2001%20Jan%201970%2000:00:00%20GMT").send().await;
        assert_eq!(browser.cookie("sid"), None);
        assert_eq!(cookies_sent(&browser).await, "");
    }

    #[tokio::test]
    async fn a_cloned_browser_has_the_cookies_of_that_moment() {
        let browser = Browser::new(&server(cookie_server).await);
        browser.set_cookie("sid", "one");
        let copy = browser.clone();
        browser.post("/sid=two").send().await;
        assert_eq!(cookies_sent(&browser).await, "sid=two");
        assert_eq!(cookies_sent(&copy).await, "sid=one");

        copy.clear();
        assert_eq!(cookies_sent(&copy).await, "");
        assert_eq!(cookies_sent(&browser).await, "sid=two");
    }

    async fn cookies_sent(browser: &Browser) -> String {
        browser.get("/").send().await.text().to_owned()
    }

    /// Answers `GET /` with the Cookie header it was sent, and anything else by setting the cookie its path spells.
    fn cookie_server(request: &[u8]) -> Vec<u8> {
        let request = str::from_utf8(request).unwrap();
        let cookie = request.lines().find_map(|line| line.strip_prefix("Cookie: ")).unwrap_or_default();
        let path = request.split(' ').nth(1).unwrap().replace("%20", " ");
        match &path[1..] {
            "" => format!("HTTP/1.1 200 OK\r\n\r\n{cookie}").into(),
            set => format!("HTTP/1.1 204 No Content\r\nSet-Cookie: {set}\r\n\r\n").into(),
        }
    }

    /// Answers with the request itself.
    fn echo(request: &[u8]) -> Vec<u8> {
        [b"HTTP/1.1 200 OK\r\n\r\n", request].concat()
    }

    /// A server that reads one request per connection, answers with what the function makes of it, and hangs up.
    async fn server(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                // The client writes a request at once, and on the loopback a small one arrives at once.
                let length = stream.read(&mut request).await.unwrap();
                stream.write_all(&answer(&request[..length])).await.unwrap();
            }
        });
        url
    }
}
