//! The command as it is typed: the built binary, in a directory of its own and with no environment but the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sessile_testkit::http::{Browser, Response};
use sessile_testkit::postgres::Database;

const SECRET: &str = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/configuration.md");

/// A working directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sessile-cli-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn sessile(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessile"));
        command.args(arguments).current_dir(&self.0).env_clear();
        command
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn the_documentation_is_what_the_declarations_say() {
    let printed = Directory::new().sessile(&["config", "reference"]).output().unwrap();
    let written = fs::read_to_string(REFERENCE).unwrap();
    assert!(stdout(&printed) == written, "run `sessile config reference > docs/src/configuration.md`");
}

#[test]
fn check_shows_what_is_in_force_and_where_it_comes_from() {
    let directory = Directory::new();
    fs::write(directory.0.join("sessile.toml"), "[cookie]\ndomain = 'example.com'\n").unwrap();
    let mut check = directory.sessile(&["config", "check"]);
    check.env("SESSION_SECRET", SECRET).env("DATABASE_URL", "postgres://app:hunter2@db/app").env("POOL_MAX", "");
    let output = check.output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let out = stdout(&output);
    for (setting, expected) in [
        ("cookie.domain", "COOKIE_DOMAIN example.com sessile.toml:2"),
        ("cookie.name", "COOKIE_NAME __Secure-sid default"),
        ("database.url", "DATABASE_URL postgres://app:***@db/app environment variable DATABASE_URL"),
        ("pool.max", "POOL_MAX 10 default"),
        ("session.secret", "SESSION_SECRET 1 secret, hidden environment variable SESSION_SECRET"),
    ] {
        let line = out.lines().find(|line| line.starts_with(setting)).unwrap();
        assert_eq!(line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "), expected);
    }
    assert!(out.contains("warning: the cookie is named __Secure-sid"), "{out}");
    assert!(!out.contains(SECRET) && !out.contains("hunter2"), "{out}");
    let columns: Vec<_> = out.lines().take(24).map(|line| line.find(char::is_uppercase)).collect();
    assert_eq!(columns[1], columns[23], "the columns are aligned");
}

#[test]
fn check_lists_everything_that_is_wrong_and_ends_with_2() {
    let directory = Directory::new();
    fs::write(directory.0.join("own.toml"), "[cookie]\nsamesite = 'lax'\n\"\\u001b[2J\" = 1\n").unwrap();
    let mut check = directory.sessile(&["config", "check", "--config", "own.toml"]);
    let output = check.env("COOKIE_SECURE", "yes").env("SESSION_SECRET", "hunter2").output().unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""));
    let err = stderr(&output);
    for expected in [
        "error: 4 settings are wrong:",
        "cookie.samesite (own.toml:2): expected the name of a setting, found an unknown one; did you mean cookie.same_site?",
        "cookie.\\u{1b}[2J (own.toml:3)",
        "cookie.secure (environment variable COOKIE_SECURE): expected true, false or auto, found \"yes\"",
        "session.secret (environment variable SESSION_SECRET): secret 1 of 1: expected a secret of at least 32 bytes, found 7",
    ] {
        assert!(err.contains(expected), "{expected} is not in\n{err}");
    }
    assert!(!err.contains("hunter2") && !err.contains('\u{1b}'), "{err}");

    let missing = directory.sessile(&["config", "check", "--config", "missing.toml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("expected a readable file, found missing.toml"));
}

#[test]
fn check_speaks_json() {
    let directory = Directory::new();
    let json = |command: &mut Command| -> (Option<i32>, serde_json::Value) {
        let output = command.output().unwrap();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    };
    let (code, report) = json(directory.sessile(&["config", "check", "--json"]).env("SESSION_SECRET", SECRET));
    assert_eq!((code, &report["ok"]), (Some(0), &true.into()));
    let name = serde_json::json!({
        "name": "cookie.name", "variable": "COOKIE_NAME", "value": "__Host-sid", "origin": "default"
    });
    assert!(report["settings"].as_array().unwrap().contains(&name));

    let (code, report) = json(directory.sessile(&["config", "check", "--json"]).env("SESSION_TIMEOUT", "30min"));
    assert_eq!((code, &report["ok"]), (Some(2), &false.into()));
    assert_eq!(report["problems"][0]["settings"][0]["origin"], "environment variable SESSION_TIMEOUT");
    assert_eq!(report["problems"][1]["settings"][0]["name"], "session.secret");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Directory::new().sessile(&["config", "reference"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

/// A demo that runs, and is killed at the end whatever happens.
struct Demo {
    child: Child,
    url: String,
    log: Vec<String>,
}

impl Demo {
    /// Starts it and waits until it listens.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
        let mut log = Vec::new();
        while let Some(Ok(line)) = lines.next() {
            let url = line.split_once("listening on ").map(|(_, url)| url.to_owned());
            log.push(line);
            if let Some(url) = url {
                return Self { child, url, log };
            }
        }
        panic!("the demo ended: {} with {:?}", log.join("\n"), child.wait())
    }

    /// Asks it to stop, and says what it ended with and what it said.
    fn stop(mut self) -> (Option<i32>, String) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let mut rest = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn sign_in(browser: &Browser) -> Response {
    let form = browser.post("/sign-in").header("Content-Type", "application/x-www-form-urlencoded");
    form.body("user=ada&password=analytical").send().await
}

#[tokio::test]
async fn the_demo_needs_nothing_and_a_restart_signs_nobody_out() {
    let directory = Directory::new();
    let start = || Demo::start(&mut directory.sessile(&["demo", "--listen", "127.0.0.1:0"]));
    let demo = start();
    let log = demo.log.join("\n");
    assert!(log.contains("session store: SQLite") && log.contains("cookie sid, Path=/, Secure over HTTPS"), "{log}");
    let browser = Browser::new(&demo.url);
    assert_eq!(sign_in(&browser).await.status, 303);
    let (code, said) = demo.stop();
    assert_eq!(code, Some(0));
    assert!(said.contains("stopping"), "{said}");

    let again = start();
    let same_browser = Browser::new(&again.url);
    same_browser.set_cookie("sid", &browser.cookie("sid").unwrap());
    assert!(same_browser.get("/").send().await.text().contains("Ada Lovelace"));

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let secret = fs::metadata(directory.0.join("sessile-demo.secret")).unwrap();
        assert_eq!(secret.permissions().mode() & 0o777, 0o600);
    }
    let left = fs::read_dir(&directory.0).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        !name.starts_with("sessile-demo.sqlite") && name != "sessile-demo.secret"
    });
    assert_eq!(left.count(), 0, "nothing else is left behind");
}

#[tokio::test]
async fn the_demo_keeps_its_sessions_in_the_configured_database() {
    let (directory, database) = (Directory::new(), Database::new().await);
    let client = database.client().await;
    client.batch_execute("CREATE SCHEMA auth").await.unwrap();
    let mut command = directory.sessile(&["demo", "--listen", "127.0.0.1:0"]);
    command.env("DATABASE_URL", database.url()).env("SESSION_TABLE", "auth.user_sessions");
    command.env("SESSION_SECRET", SECRET).env("COOKIE_NAME", "shop");
    let demo = Demo::start(&mut command);
    let browser = Browser::new(&demo.url);
    assert_eq!(sign_in(&browser).await.status, 303);
    assert!(browser.cookie("shop").is_some());
    let rows: i64 = client.query_one("SELECT count(*) FROM auth.user_sessions", &[]).await.unwrap().get(0);
    assert_eq!(rows, 1);
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0, "neither a SQLite file nor a secret is made");
}

const OIDC: [(&str, &str); 2] = [("OIDC_ISSUER", "https://id.example.com"), ("OIDC_CLIENT_ID", "shop")];

#[tokio::test]
async fn the_demo_says_what_a_provider_has_to_know_and_offers_it() {
    let directory = Directory::new();
    let mut command = directory.sessile(&["demo", "--listen", "127.0.0.1:0"]);
    command.envs(OIDC).env("PUBLIC_URL", "https://shop.example.com/").env("COOKIE_DOMAIN", ".example.com");
    let demo = Demo::start(&mut command);
    let log = demo.log.join("\n");
    for words in [
        "register its client with the redirect URL https://shop.example.com/auth/callback, the post-logout redirect URL \
         https://shop.example.com/signed-out and the back-channel logout URL \
         https://shop.example.com/auth/backchannel-logout",
        "the cookie is named __Secure-sid, because cookie.domain is set",
        "session cookie __Secure-sid, Path=/, Domain=.example.com, Secure, HttpOnly",
    ] {
        assert!(log.contains(words), "{words:?} is not in\n{log}");
    }
    let page = Browser::new(&demo.url).get("/sign-in").send().await;
    assert!(page.text().contains("Sign in with id.example.com"), "{}", page.text());
    let without = Demo::start(&mut directory.sessile(&["demo", "--listen", "127.0.0.1:0"]));
    assert!(!Browser::new(&without.url).get("/sign-in").send().await.text().contains("/auth/login"));
    assert_eq!(Browser::new(&without.url).get("/auth/login").send().await.status, 404);
}

#[tokio::test]
async fn the_demos_own_provider_signs_its_users_in() {
    let directory = Directory::new();
    let demo = Demo::start(&mut directory.sessile(&["demo", "--idp", "--listen", "127.0.0.1:0"]));
    let browser = Browser::new(&demo.url);
    let login = browser.get("/auth/login?return_to=/devices").send().await;
    let location = login.header("location").unwrap();
    let (issuer, request) = location.split_at(location.find("/authorize").unwrap());
    assert!(issuer.starts_with("http://127.0.0.1:") && demo.log.join("\n").contains(issuer), "{issuer}");
    let form = Browser::new(issuer).post(request).header("Content-Type", "application/x-www-form-urlencoded");
    let back = form.body("user=ada").send().await;
    let callback = back.header("location").unwrap().strip_prefix(&demo.url).unwrap().to_owned();
    assert_eq!(browser.get(&callback).send().await.header("location"), Some("/devices"));
    assert!(browser.get("/devices").send().await.text().contains("Ada Lovelace"));
}

#[test]
fn the_demo_says_why_it_cannot_start() {
    let directory = Directory::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let unusable = directory.0.join("weak");
    fs::create_dir(&unusable).unwrap();
    fs::write(unusable.join("sessile-demo.secret"), "hunter2").unwrap();
    for (arguments, variables, code, told) in [
        (
            ["--listen", &taken].as_slice(),
            [].as_slice(),
            1,
            "is taken by another program; choose another port with --listen",
        ),
        (&["--listen", "here"], &[], 1, "expected HOST:PORT"),
        (
            &["--listen", "127.0.0.1:0"],
            &[("DATABASE_URL", "redis://db")],
            2,
            "database.url: expected postgres://… or sqlite:PATH, found redis:…",
        ),
        (&["--listen", "127.0.0.1:0"], &[("COOKIE_SECURE", "yes")], 2, "expected true, false or auto"),
        (&["--idp", "--listen", "127.0.0.1:0"], &OIDC, 1, "expected --idp or oidc.issuer, found both"),
        (
            &["--listen", "127.0.0.1:0"],
            &OIDC[..1],
            2,
            "expected oidc.client_id beside it, found none; set OIDC_CLIENT_ID",
        ),
        (
            &["--idp", "--listen", "127.0.0.1:0"],
            &[("PUBLIC_URL", "http://shop.example.com")],
            1,
            "public_url (PUBLIC_URL): expected the redirect URL to be an https URL",
        ),
        (&["--store", "sqlite:weak/x.sqlite"], &[], 1, "weak/sessile-demo.secret holds no usable secret; remove it"),
    ] {
        let mut command = directory.sessile(&["demo"]);
        let output = command.args(arguments).envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(told) && !stderr(&output).contains("hunter2"), "{}", stderr(&output));
    }
}

/// `sessile migrate` on this database, with what else is typed.
fn migrate(directory: &Directory, url: Option<&str>, more: &[&str]) -> Output {
    let mut command = directory.sessile(&[&["migrate"], more].concat());
    if let Some(url) = url {
        command.env("DATABASE_URL", url);
    }
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_shows_the_guard_installs_and_removes_it() {
    let (directory, database) = (Directory::new(), Database::new().await);
    let (client, url) = (database.client().await, database.url().to_string());
    let triggers = async || {
        let sql = "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal";
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    let key = ["--user-key", "userId"];
    let shown = migrate(&directory, Some(&url), &[&["--guard", "--dry-run"], &key[..]].concat());
    assert_eq!((shown.status.code(), stderr(&shown)), (Some(0), ""));
    assert!(stdout(&shown).starts_with("BEGIN;\n") && stdout(&shown).contains("NEW.sess -> 'userId'"));
    assert_eq!(triggers().await, [""; 0], "a dry run only shows");

    for _ in 0..2 {
        let done = migrate(&directory, Some(&url), &[&["--guard"], &key[..]].concat());
        let (sql, said) = stdout(&done).split_at(stdout(&shown).len());
        assert_eq!(sql, stdout(&shown));
        assert!(said.starts_with("-- done: the guard is installed\n-- looked at all sessions: 0 registered"), "{said}");
        assert_eq!(triggers().await, ["session_sessile_guard"]);
    }
    let other = migrate(&directory, Some(&url), &["--guard", "--user-key", "it's"]);
    assert!(stdout(&other).contains("NEW.sess -> 'it''s'") && other.status.success(), "{}", stderr(&other));
    let removed = migrate(&directory, Some(&url), &["--unguard"]);
    assert!(stdout(&removed).ends_with("COMMIT;\n-- done: the guard is removed\n"));
    assert_eq!(triggers().await, [""; 0]);
}

/// What happened before the guard was there: a sign-in that nobody saw, and a session that was brought back.
#[tokio::test(flavor = "multi_thread")]
async fn migrate_looks_back_at_the_sessions_from_before_the_guard() {
    let (directory, database) = (Directory::new(), Database::new().await);
    let (client, url) = (database.client().await, database.url().to_string());
    assert!(migrate(&directory, Some(&url), &["--unguard"]).status.success());
    let rows = r#"INSERT INTO session SELECT sid, '{"cookie":{"originalMaxAge":1000},"userId":"alice"}', now() + '1 day'
        FROM unnest(ARRAY['unseen', 'revived']) sid;
        INSERT INTO sessions (id, sid, user_id, status, expires_at, created_at, updated_at, last_seen_at, logged_out_at)
        VALUES (gen_random_uuid(), 'revived', 'alice', 'revoked', now(), now(), now(), now(), now())"#;
    client.batch_execute(rows).await.unwrap();
    let done = migrate(&directory, Some(&url), &["--guard", "--user-key", "userId"]);
    let said = "-- looked at all sessions: 1 registered, 1 that were over removed, 0 ended in the registry\n";
    assert!(stdout(&done).ends_with(said), "{}{}", stdout(&done), stderr(&done));
    let left = client.query("SELECT sid, user_id FROM session JOIN sessions USING (sid)", &[]).await.unwrap();
    assert_eq!(left.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(&str, &str)>>(), [("unseen", "alice")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_migrate_cannot_do_it_says_in_words() {
    let (directory, database) = (Directory::new(), Database::new().await);
    let url = database.url().to_string();
    for (url, more, code, words) in [
        (None, &["--guard"][..], 2, "set DATABASE_URL"),
        (Some("sqlite:x"), &["--guard"], 2, "expected postgres://…, found a SQLite file"),
        (Some(&*url), &[], 2, "--guard"),
        (Some(&url), &["--guard", "--unguard"], 2, "cannot be used with"),
        (Some(&url), &["--unguard", "--user-key", "userId"], 2, "cannot be used with"),
        (Some("postgres://nobody@127.0.0.1:1/x"), &["--guard"], 3, "could not be reached"),
    ] {
        let output = migrate(&directory, url, more);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{words:?} is not in {}", stderr(&output));
    }
    fs::write(directory.0.join("sessile.toml"), "session.user_key = 'user_id'").unwrap();
    let other = migrate(&directory, Some(&url), &["--guard", "--user-key", "userId"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("session.user_key, \"user_id\", found \"userId\""), "{}", stderr(&other));
    let client = database.client().await;
    let role = format!("app_{}", url.rsplit('/').next().unwrap().split('?').next().unwrap());
    assert!(migrate(&directory, Some(&url), &["--unguard"]).status.success());
    let grant = format!("CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}");
    client.batch_execute(&grant).await.unwrap();
    let output = migrate(&directory, Some(&url.replace("postgres@", &format!("{role}@"))), &["--guard"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("this role may not change the session table"), "{}", stderr(&output));
}

/// Whoever reads the session table can make the change wait: it gives way to them, and says so in the end.
#[tokio::test(flavor = "multi_thread")]
async fn migrate_gives_up_where_the_table_is_always_in_use() {
    let (directory, database) = (Directory::new(), Database::new().await);
    let url = database.url().to_string();
    assert!(migrate(&directory, Some(&url), &["--unguard"]).status.success());
    let client = database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE session IN ROW EXCLUSIVE MODE").await.unwrap();
    let output = migrate(&directory, Some(&url), &["--guard"]);
    assert!(stderr(&output).contains("try again when there is less traffic"), "{}", stderr(&output));
    client.batch_execute("COMMIT").await.unwrap();
    assert!(migrate(&directory, Some(&url), &["--guard"]).status.success());
}

/// Where the sessions are, as it is typed and as the environment says.
struct Place<'a> {
    directory: &'a Directory,
    arguments: Vec<&'a str>,
    variables: Vec<(&'a str, String)>,
}

impl Place<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.directory.sessile(&[words, &self.arguments].concat());
        command.envs(self.variables.iter().cloned());
        command
    }

    /// What it ends with, prints, and says beside that.
    fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(words).output().unwrap();
        (output.status.code(), stdout(&output).to_owned(), stderr(&output).to_owned())
    }

    /// The sessions that a list prints.
    fn listed(&self, words: &[&str]) -> Vec<serde_json::Value> {
        let (code, out, err) = self.run(&[words, &["--json"]].concat());
        assert!(code == Some(0) || code == Some(1) && err.contains("nothing matched"), "{words:?}: {err}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn operators_see_and_end_sessions(place: &Place<'_>) {
    let mut demo = place.command(&["demo", "--listen", "127.0.0.1:0"]);
    demo.env("SESSION_SECRET", SECRET);
    let demo = Demo::start(&mut demo);
    let browsers: Vec<_> = (0..3).map(|_| Browser::new(&demo.url)).collect();
    for browser in &browsers[..2] {
        assert_eq!(sign_in(browser).await.status, 303);
    }
    let form = browsers[2].post("/sign-in").header("Content-Type", "application/x-www-form-urlencoded");
    let form = form.header("User-Agent", "<script>");
    assert_eq!(form.body("user=grace&password=compiler").send().await.status, 303);

    let users = |listed: &[serde_json::Value]| -> Vec<String> {
        listed.iter().map(|session| session["user"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(users(&place.listed(&["list"])), ["grace", "ada", "ada"]);
    let ada = place.listed(&["list", "--user", "ada"]);
    assert_eq!((ada.len(), &ada[0]["status"], &ada[0]["ip"]), (2, &"active".into(), &"127.0.0.1".into()));
    for (words, count) in [
        (&["list", "--ip", "127.0.0.0/8"][..], 3),
        (&["list", "--ip", "10.0.0.1"], 0),
        (&["list", "--since", "1h"], 3),
        (&["list", "--since", "2100-01-01T00:00:00Z"], 0),
        (&["list", "--status", "revoked"], 0),
        (&["list", "--limit", "2"], 2),
    ] {
        assert_eq!(place.listed(words).len(), count, "{words:?}");
    }
    let (code, table, more) = place.run(&["list", "--limit", "1"]);
    assert!(code == Some(0) && table.starts_with("HANDLE ") && table.contains("grace"), "{table}");
    let after = more.trim().strip_prefix("more: --after ").unwrap();
    assert_eq!(users(&place.listed(&["list", "--after", after])), ["ada", "ada"]);

    let grace = place.listed(&["list", "--user", "grace"])[0]["handle"].as_str().unwrap().to_owned();
    let (_, shown, _) = place.run(&["show", &grace]);
    assert!(shown.contains("user") && shown.contains("grace") && shown.contains("<script>"), "{shown}");
    let shown = &place.listed(&["show", &grace])[0];
    assert!(shown["data"]["cookie"].as_str().unwrap().ends_with(" bytes"), "{shown}");
    let shown = &place.listed(&["show", &grace, "--data"])[0];
    assert_eq!(shown["data"]["cookie"]["path"], "/");

    let refused = place.run(&["revoke", &grace]);
    assert!(refused.0 == Some(1) && refused.2.contains("expected --yes"), "{refused:?}");
    let dry = place.run(&["revoke", &grace, "--dry-run"]);
    assert!(dry.0 == Some(0) && dry.2.contains("this would end 1 session\n"), "{dry:?}");
    assert!(browsers[2].get("/").send().await.text().contains("Grace Hopper"));
    let done = place.run(&["revoke", &grace, "--yes", "--reason", "lost phone"]);
    assert!(done.0 == Some(0) && done.2.contains("ended: 1 session\n"), "{done:?}");
    assert!(!browsers[2].get("/").send().await.text().contains("Grace Hopper"));
    assert_eq!(place.run(&["revoke", &grace, "--yes"]).0, Some(1), "it has ended");
    let history = place.listed(&["history", "--user", "grace"]);
    assert_eq!((&history[0]["status"], &history[0]["reason"]), (&"revoked".into(), &"lost phone".into()));

    let keep = ada[1]["handle"].as_str().unwrap();
    assert_eq!(place.run(&["revoke", "--user", "ada", "--keep", keep, "--yes"]).0, Some(0));
    assert_eq!(place.listed(&["list"])[0]["handle"], keep);
    assert_eq!(place.run(&["revoke", "--everyone", "--yes"]).0, Some(0));
    for browser in &browsers {
        assert!(!browser.get("/").send().await.text().contains("Your devices"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_removes_what_has_expired_and_says_how_much() {
    let (directory, database) = (Directory::new(), Database::new().await);
    let client = database.client().await;
    let variables = vec![("DATABASE_URL", database.url().to_string())];
    let place = Place { directory: &directory, arguments: Vec::new(), variables };
    assert_eq!(place.run(&["sweep"]).1, "0 expired and removed\n");
    let fill = "INSERT INTO session
        SELECT 'k' || n, '{\"cookie\":{}}', now() + CASE WHEN n > 2100 THEN interval '1 day' ELSE interval '-1 day' END
        FROM generate_series(1, 2500) n";
    client.batch_execute(fill).await.unwrap();
    assert_eq!(place.run(&["sweep", "--json"]).1, "{\"removed\":2100}\n");
    let left: i64 = client.query_one("SELECT count(*) FROM session", &[]).await.unwrap().get(0);
    assert_eq!(left, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_end_sessions_in_sqlite() {
    let directory = Directory::new();
    let place = Place { directory: &directory, arguments: vec!["--store", "sqlite:x.sqlite"], variables: Vec::new() };
    operators_see_and_end_sessions(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_end_sessions_in_postgresql() {
    let (directory, database) = (Directory::new(), Database::new().await);
    let variables = vec![("DATABASE_URL", database.url().to_string())];
    operators_see_and_end_sessions(&Place { directory: &directory, arguments: Vec::new(), variables }).await;
}

#[test]
fn what_an_operator_types_wrongly_is_said() {
    let directory = Directory::new();
    for (words, code, told) in [
        (&["list"][..], 2, "set DATABASE_URL, or name one with --store URL"),
        (&["list", "--store", "sqlite:missing.sqlite"], 2, "found none at missing.sqlite"),
        (
            &["list", "--store", "redis://me:hunter2@db"],
            2,
            "--store: expected postgres://… or sqlite:PATH, found redis:…",
        ),
        (
            &["list", "--store", "hunter2"],
            2,
            "--store: expected postgres://… or sqlite:PATH, found something else, not",
        ),
        (&["list", "--store", "sqlite:"], 2, "--store: expected postgres://… or sqlite:PATH, found sqlite:…"),
        (&["list", "--status", "asleep"], 2, "possible values: active, ended"),
        (&["list", "--limit", "0"], 2, "--limit"),
        (&["revoke"], 2, "--user <USER>|--before <TIME>|--everyone"),
        (&["revoke", "--user", "a", "--everyone"], 2, "cannot be used with"),
        (&["revoke", "--keep", "x", "--everyone"], 2, "cannot be used with"),
        (&["show"], 2, "<HANDLE>"),
    ] {
        let output = directory.sessile(words).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{told:?} is not in {}", stderr(&output));
    }
    let mut down = directory.sessile(&["list"]);
    let output = down.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/x").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(Command::new(env!("CARGO_BIN_EXE_sessile")).args(["list", "--help"]).output().unwrap().status.success());
}
