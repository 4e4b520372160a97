//! The process: what it listens to, what it says, how it ends.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use sessile::codec::{CookieCodec as _, ExpressCodec, Keyring};
use sessile::{KeyForm, SessionId, StoreKey};
use sessile_testkit::http::Client;
use sessile_testkit::postgres::Database;
use sha2::{Digest as _, Sha256};

use super::{Directory, SECRET, Server};

#[tokio::test]
async fn operators_have_a_listener_of_their_own() {
    let directory = Directory::new();
    let server = Server::start(&mut directory.serve(&[]));
    let (public, admin) = (Client::new(&server.url), Client::new(server.admin()));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(public.get(path).send().await.status, 200, "{path}");
        assert_eq!(admin.get(path).send().await.status, 200, "{path}");
    }
    for path in ["/metrics", "/admin", "/admin/api/v1/overview"] {
        assert_eq!(public.get(path).send().await.status, 404, "{path}");
    }
    let metrics = admin.get("/metrics").send().await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("\nsessile_store_up 1\n"), "{}", metrics.text());
    assert_eq!(admin.get("/devices").send().await.status, 404);
    let (code, said) = server.stop();
    assert_eq!(code, Some(0));
    assert!(said.contains("stopping; requests in progress are finished first"), "{said}");
}

/// A page of a stranger whose name leads to this computer reads nothing.
#[tokio::test]
async fn figures_are_shown_under_known_names_only() {
    let directory = Directory::new();
    let server = Server::start(directory.serve(&[]).env("ADMIN_HOST", "admin.example.com"));
    let admin = Client::new(server.admin());
    let status = async |host| admin.get("/metrics").header("Host", host).send().await.status;
    for (host, expected) in [("evil.example:9090", 421), ("admin.example.com", 200), ("localhost:9090", 200)] {
        assert_eq!(status(host).await, expected, "{host}");
    }
    assert_eq!(admin.get("/healthz").header("Host", "evil.example").send().await.status, 200);
}

/// Behind a proxy the audit names the operator's address, not the proxy's.
#[tokio::test]
async fn a_trusted_proxy_says_where_an_operator_is() {
    let directory = Directory::new();
    for (trusted, expected) in [("loopback", "203.0.113.7"), ("none", "127.0.0.1")] {
        let mut command = directory.serve(&[]);
        command.env("DATABASE_URL", format!("sqlite:{expected}.sqlite"));
        if trusted != "none" {
            command.env("TRUST_PROXY", trusted);
        }
        let mut server = Server::start(&mut command);
        let admin = Client::new(server.admin());
        let wrong = admin.post("/admin/sign-in").header("X-Forwarded-For", "203.0.113.7");
        let wrong = wrong.header("Content-Type", "application/x-www-form-urlencoded").body("token=wrong").send().await;
        assert!(wrong.status >= 400, "{}", wrong.status);
        let token = server.token();
        let audit = admin.get("/admin/api/v1/audit").header("Authorization", format!("Bearer {token}")).send().await;
        assert!(audit.text().contains(&format!("\"ip\":\"{expected}\"")), "{trusted}: {}", audit.text());
    }
}

#[tokio::test]
async fn without_operators_there_is_no_such_listener() {
    let directory = Directory::new();
    let server = Server::start(&mut directory.serve(&["--no-admin"]));
    assert_eq!(server.admin, None);
    assert_eq!(Client::new(&server.url).get("/metrics").send().await.status, 404);
}

#[test]
fn an_address_that_others_reach_needs_a_name() {
    let directory = Directory::new();
    let output = directory.serve(&["--admin", "0.0.0.0:0"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("found 0.0.0.0, which others may reach; set server.admin_host (ADMIN_HOST)"), "{said}");
    let named = Server::start(directory.serve(&["--admin", "0.0.0.0:0"]).env("ADMIN_HOST", "admin.example.com"));
    assert!(named.admin().starts_with("http://0.0.0.0:"));
}

#[test]
fn wrong_addresses_are_refused_before_anything_starts() {
    let directory = Directory::new();
    for (variable, value, code, told) in [
        ("SERVER_LISTEN", "here", 2, "server.listen (environment variable SERVER_LISTEN): expected HOST:PORT"),
        ("ADMIN_LISTEN", "127.0.0.1", 2, "server.admin_listen (environment variable ADMIN_LISTEN): expected HOST:PORT"),
        ("ADMIN_HOST", "https://admin.example.com", 2, "without scheme, port and path"),
        ("LOG_FORMAT", "xml", 2, "expected text or json"),
        ("DATABASE_URL", "", 2, "expected a session store, found none"),
    ] {
        let output = directory.serve(&[]).env(variable, value).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && said.contains(told), "{:?} {said}", output.status.code());
    }
}

#[test]
fn an_address_that_cannot_be_had_is_told_as_it_is() {
    let directory = Directory::new();
    let both = format!("127.0.0.1:{}", sessile_testkit::http::free_port());
    for (arguments, code, told) in [
        (
            vec!["--listen", "192.0.2.1:8080"],
            1,
            "expected an address of this computer, found 192.0.2.1:8080".to_owned(),
        ),
        (vec!["--listen", "here"], 2, "server.listen (argument --listen): expected HOST:PORT".to_owned()),
        (vec!["--admin", "here"], 2, "server.admin_listen (argument --admin): expected HOST:PORT".to_owned()),
        (
            vec!["--listen", &both, "--admin", &both],
            1,
            format!("found {both} for both; choose another port with --admin"),
        ),
    ] {
        let output = directory.serve(&arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && said.contains(&told), "{:?} {said}", output.status.code());
    }
}

#[tokio::test]
async fn who_asks_twice_waits_for_no_request() {
    let directory = Directory::new();
    let server = Server::start(&mut directory.serve(&[]));
    let mut slow = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    assert_eq!(Client::new(&server.url).get("/healthz").send().await.status, 200);
    let process = server.child.id().to_string();
    let again = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        Command::new("kill").arg(process).status().unwrap().success()
    });
    let (code, said) = server.stop();
    assert!(again.join().unwrap());
    assert!(code == Some(0) && said.contains("told to stop a second time"), "{said}");
}

/// The line leads to the row: the query of docs/src/operations.md computes the same from its key.
#[tokio::test]
async fn a_row_that_cannot_be_read_can_be_found() {
    let directory = Directory::new();
    let server = Server::start(&mut directory.serve(&["--no-admin"]));
    let id = SessionId::parse("planted").unwrap();
    let key = StoreKey::new(&id, KeyForm::Sha256);
    let cookie = ExpressCodec::new(Keyring::try_from(SECRET).unwrap()).encode("sid", &id, std::time::UNIX_EPOCH);
    let file = rusqlite::Connection::open(directory.0.join("sessions.sqlite")).unwrap();
    let row = (key.as_str(), "no document", "2100-01-01T00:00:00.000Z");
    file.execute("INSERT INTO session (sid, sess, expire) VALUES (?1, ?2, ?3)", row).unwrap();
    let visit = Client::new(&server.url).get("/devices").header("Cookie", format!("sid={cookie}"));
    assert_eq!(visit.send().await.status, 500);
    let (_, said) = server.stop();
    let digest = Sha256::digest(format!("sessile handle\0{}", key.as_str()));
    let begin = format!(
        "row={:02x}{:02x}{:02x}{:02x}-{:02x}{:02x}-",
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5]
    );
    let line = said.lines().find(|line| line.contains("a session's row cannot be read")).expect(&said);
    assert!(line.contains(&begin) && !line.contains("handle="), "{begin} is not in {line}");
}

#[tokio::test]
async fn the_log_is_an_object_on_each_line_in_utc() {
    let directory = Directory::new();
    let mut command = directory.serve(&[]);
    command
        .env("LOG_FORMAT", "json")
        .env("RUST_LOG", "info,sessile::trace=debug,sessile=loud")
        .env("TZ", "America/New_York");
    let mut server = Server::start(&mut command);
    server.token();
    let log = server.log.clone();
    let (code, rest) = server.stop();
    assert_eq!(code, Some(0));
    let lines: Vec<_> = log.iter().map(String::as_str).chain(rest.lines()).collect();
    for line in &lines {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let time = entry["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{line}");
        for field in ["level", "target", "message"] {
            assert!(entry[field].is_string(), "{field} in {line}");
        }
    }
    for told in ["\"message\":\"session store: SQLite", "\"part\":\"sessile=loud\"", "first operator"] {
        assert!(lines.iter().any(|line| line.contains(told)), "{told} is not in {lines:#?}");
    }
}

#[tokio::test]
async fn the_probe_says_what_readyz_says() {
    let directory = Directory::new();
    let server = Server::start(&mut directory.serve(&["--no-admin"]));
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let probe = |address: &str| directory.serve(&["--probe", "--listen", address]).output().unwrap().status.code();
    assert_eq!(probe(&address), Some(0));
    assert_eq!(server.stop().0, Some(0));
    assert_eq!(probe(&address), Some(1), "nobody listens there any more");
}

/// The database is away, at first and later.
#[tokio::test]
async fn a_server_without_its_database_lives_and_is_not_ready() {
    let directory = Directory::new();
    let nowhere = format!("postgres://sessile:hunter2@127.0.0.1:{}/sessile", sessile_testkit::http::free_port());
    let server = Server::start(directory.serve(&[]).env("DATABASE_URL", nowhere));
    let (public, admin) = (Client::new(&server.url), Client::new(server.admin()));
    assert_eq!(public.get("/healthz").send().await.status, 200);
    let answer = public.get("/readyz").send().await;
    assert_eq!(answer.status, 503);
    let address = server.url.strip_prefix("http://").unwrap();
    assert_eq!(directory.serve(&["--probe", "--listen", address]).output().unwrap().status.code(), Some(3));
    let metrics = admin.get("/metrics").send().await;
    assert!(metrics.text().contains("\nsessile_store_up 0\n"), "{}", metrics.text());
    let (_, said) = server.stop();
    for text in [answer.text(), metrics.text(), &said] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_postgresql_the_connections_and_the_disk_are_shown() {
    let (directory, database) = (Directory::new(), Database::new().await);
    let server = Server::start(directory.serve(&[]).env("DATABASE_URL", database.url()).env("POOL_MAX", "7"));
    assert_eq!(Client::new(&server.url).get("/readyz").send().await.status, 200);
    let metrics = Client::new(server.admin()).get("/metrics").send().await;
    for line in
        ["\nsessile_store_connections_max 7\n", "\nsessile_store_connection_waiters 0\n", "\nsessile_table_bytes "]
    {
        assert!(metrics.text().contains(line), "{line} is not in\n{}", metrics.text());
    }
    assert!(metrics.text().contains("sessile_clock_skew_seconds 0"), "{}", metrics.text());
}

#[test]
fn the_page_of_metrics_is_what_the_declarations_say() {
    let directory = Directory::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sessile"));
    let printed = command.args(["config", "metrics"]).current_dir(&directory.0).output().unwrap();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/metrics.md");
    let written = fs::read_to_string(page).unwrap();
    assert!(printed.stdout == written.as_bytes(), "run `sessile config metrics > docs/src/metrics.md`");
}
