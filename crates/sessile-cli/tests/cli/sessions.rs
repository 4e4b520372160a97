//! `sessile list`, `show`, `history` and `revoke`.

use std::process::Command;

use insta::assert_snapshot;
use serde_json::Value;
use sessile::{SqliteStore, Store as _};
use sessile_testkit::http::Browser;

use crate::support::{Demo, Directory, Place, SECRET, sign_in, sign_in_as, stderr, stdout, steady};

async fn operators_see_and_end_sessions(place: &Place) {
    let demo = place.demo();
    let browsers: Vec<_> = (0..3).map(|_| Browser::new(&demo.url)).collect();
    for browser in &browsers[..2] {
        assert_eq!(sign_in(browser).await.status, 303);
    }
    let form = browsers[2].post("/sign-in").header("Content-Type", "application/x-www-form-urlencoded");
    let form = form.header("User-Agent", "<script>");
    assert_eq!(form.body("user=grace&password=compiler").send().await.status, 303);

    let users = |listed: &[Value]| -> Vec<String> {
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
    assert!(refused.0 == Some(2) && refused.2.contains("expected --yes"), "{refused:?}");
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
async fn operators_see_and_end_sessions_in_sqlite() {
    operators_see_and_end_sessions(&Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_end_sessions_in_postgresql() {
    operators_see_and_end_sessions(&Place::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_end_sessions_on_redis() {
    let server = sessile_testkit::redis::Server::start();
    operators_see_and_end_sessions(&Place::at(server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_reach_the_store_on_redis() {
    let server = sessile_testkit::redis::Server::start_with(&[("maxmemory-policy", "allkeys-lru")]);
    let place = Place::at(server.url());
    let with = |variables: &[(&str, &str)], words: &[&str]| {
        let output = place.command(words).envs(variables.iter().copied()).output().unwrap();
        (output.status.code(), stdout(&output).to_owned() + stderr(&output))
    };
    let (evicts, shop) = (("REDIS_ALLOW_EVICTION", "true"), ("REDIS_PREFIX", "shop:"));
    let (code, told) = with(&[], &["list"]);
    assert!(code == Some(2) && told.contains("allkeys-lru"), "{code:?} {told}");

    let mut demo = place.command(&["demo", "--listen", "127.0.0.1:0"]);
    let demo = Demo::start(demo.env("SESSION_SECRET", SECRET).envs([evicts, shop]));
    assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
    assert_eq!(with(&[evicts], &["list"]).0, Some(1), "under another prefix nobody is signed in");
    let (code, listed) = with(&[evicts, shop], &["list"]);
    assert!(code == Some(0) && listed.contains("ada"), "{code:?} {listed}");

    let waits = [evicts, shop, ("REDIS_WAIT_REPLICAS", "1"), ("REDIS_WAIT_TIMEOUT", "10")];
    let (code, told) = with(&waits, &["revoke", "--user", "ada", "--yes"]);
    assert!(code == Some(3) && told.contains("replica"), "{code:?} {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_shown_where_they_are_counted() {
    let place = Place::sqlite();
    for (setting, expected) in [("false", 0), ("true", 2)] {
        let mut command = place.command(&["demo", "--listen", "127.0.0.1:0"]);
        let demo = Demo::start(command.env("SESSION_SECRET", SECRET).env("SESSION_COUNT_REQUESTS", setting));
        let browser = Browser::new(&demo.url);
        assert_eq!(sign_in(&browser).await.status, 303);
        for page in ["/session", "/session", "/devices"] {
            assert_eq!(browser.get(page).send().await.status, 200);
        }
        let listed = &place.listed(&["list"])[0];
        assert_eq!(listed["requests"], expected, "the list of devices wrote down what was counted before it");
        let shown = place.prints(&["show", listed["handle"].as_str().unwrap()]);
        let line = shown.lines().find(|line| line.starts_with("requests "));
        assert_eq!(line.map(|line| line.ends_with(" 2")), (expected > 0).then_some(true), "{shown}");
    }
}

#[test]
fn what_an_operator_types_wrongly_is_said() {
    let directory = Directory::new();
    for (words, code, told) in [
        (&["list"][..], 2, "set DATABASE_URL, or name one with --store URL"),
        (&["list", "--store", "sqlite:missing.sqlite"], 2, "found none at missing.sqlite"),
        (
            &["list", "--store", "mysql://me:hunter2@db"],
            2,
            "--store: expected postgres://…, redis://… or sqlite:PATH, found mysql:…",
        ),
        (
            &["list", "--store", "hunter2"],
            2,
            "--store: expected postgres://…, redis://… or sqlite:PATH, found something else, not",
        ),
        (
            &["list", "--store", "sqlite:"],
            2,
            "--store: expected postgres://…, redis://… or sqlite:PATH, found sqlite:…",
        ),
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
}

/// As other programs write the URL of a file, and what was typed before what is set.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_found_by_every_spelling_and_what_is_typed_wins() {
    let place = Place::sqlite();
    let demo = place.demo();
    assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
    let whole = place.directory.0.join("x.sqlite");
    for url in [
        "sqlite:x.sqlite",
        "sqlite://x.sqlite",
        &format!("sqlite:{}", whole.display()),
        &format!("sqlite://{}", whole.display()),
    ] {
        let mut list = place.directory.sessile(&["list", "--store", url]);
        let output = list.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/x").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{url}: {}", stderr(&output));
    }
}

/// What people and programs see of the same sessions, whatever the store.
#[tokio::test(flavor = "multi_thread")]
async fn every_store_is_shown_in_the_same_way() {
    const CHROME: &str =
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36";
    for place in Place::both().await {
        let demo = place.demo();
        assert_eq!(sign_in_as(&Browser::new(&demo.url), "grace", "compiler", CHROME).await.status, 303);
        assert_eq!(sign_in_as(&Browser::new(&demo.url), "ada", "analytical", "Fish/1").await.status, 303);
        let ada = place.listed(&["list", "--user", "ada"])[0]["handle"].as_str().unwrap().to_owned();
        let said = |words: &[&str]| {
            let (code, out, err) = place.run(words);
            steady(&format!("exit code {}\n--- standard output\n{out}--- standard error\n{err}", code.unwrap()))
        };
        for (name, words) in [
            ("list", &["list"][..]),
            ("list_json", &["list", "--json"]),
            ("list_page", &["list", "--limit", "1"]),
            ("list_nothing", &["list", "--user", "nobody"]),
            ("show", &["show", &ada]),
            ("show_json", &["show", &ada, "--json"]),
            ("explain", &["explain", &ada]),
            ("revoke_dry_run", &["revoke", &ada, "--dry-run"]),
            ("revoke_everyone_dry_run", &["revoke", "--everyone", "--dry-run"]),
            ("revoke_unasked", &["revoke", "--user", "ada"]),
            ("revoke", &["revoke", &ada, "--yes", "--reason", "lost phone"]),
            ("revoke_again", &["revoke", &ada, "--yes"]),
            ("explain_revoked", &["explain", &ada]),
            ("history", &["history", "--user", "ada"]),
            ("history_json", &["history", "--user", "ada", "--json"]),
            ("list_any", &["list", "--status", "any"]),
            ("revoke_everyone", &["revoke", "--everyone", "--yes"]),
        ] {
            assert_snapshot!(name, said(words));
        }
    }
}

/// What somebody answers on a terminal.
fn answered(place: &Place, words: &str, answer: &str) -> (Option<i32>, String) {
    let typed = format!("echo {answer} | script -qec 'exec {} {words}' /dev/null", env!("CARGO_BIN_EXE_sessile"));
    let mut script = Command::new("sh");
    script.args(["-c", &typed]).current_dir(&place.directory.0).env_clear();
    script.env("PATH", "/usr/bin:/bin").env("NO_COLOR", "1").env("DATABASE_URL", "sqlite:x.sqlite");
    let output = script.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_it_asks_and_does_what_the_answer_says() {
    let place = Place::sqlite();
    let demo = place.demo();
    for _ in 0..22 {
        assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
    }
    let (code, said) = answered(&place, "revoke --user ada", "n");
    assert!(code == Some(1) && said.contains("About to end 22 sessions. Go on? [y/N]"), "{said}");
    assert!(said.contains("… and 2 more") && said.contains("nothing was changed"), "{said}");
    assert_eq!(place.listed(&["list"]).len(), 22);
    let (code, said) = answered(&place, "revoke --user ada", "y");
    assert!(code == Some(0) && said.contains("ended: 22 sessions"), "{said}");
    assert_eq!(place.listed(&["list"]).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_sessions_is_written_into_the_audit() {
    let place = Place::sqlite();
    let demo = place.demo();
    for _ in 0..3 {
        assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
    }
    let handle = place.listed(&["list"])[0]["handle"].as_str().unwrap().to_owned();
    place.run(&["revoke", &handle, "--yes", "--reason", "lost phone"]);
    place.run(&["revoke", "--user", "ada", "--dry-run"]);
    place.command(&["revoke", "--user", "ada", "--yes"]).env_remove("USER").env("LOGNAME", "eve").output().unwrap();
    place.command(&["revoke", "--everyone", "--yes"]).env_remove("USER").output().unwrap();
    let store = SqliteStore::builder(place.directory.0.join("x.sqlite")).open().await.unwrap();
    let actions = store.operations().unwrap().actions(None, 10).await.unwrap();
    let told: Vec<_> =
        actions.iter().map(|(_, one)| (&*one.actor, &*one.action, one.sessions, one.reason.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("unknown@cli", "everyone.revoke", 0, None),
            ("eve@cli", "user.revoke", 2, None),
            ("grace@cli", "session.revoke", 1, Some("lost phone")),
        ]
    );
    assert_eq!((&*actions[2].1.target, &*actions[1].1.target), (&*handle, "ada"));
}

/// A role that may use the tables and make none.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_into_the_audit_is_done_all_the_same() {
    let place = Place::postgres().await;
    let demo = place.demo();
    assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
    let url = place.database.as_ref().unwrap().url().to_owned();
    let role = format!("app_{}", url.rsplit('/').next().unwrap().split('?').next().unwrap());
    place
        .sql(&format!(
            "CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
             GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
        ))
        .await;
    let mut revoke = place.command(&["revoke", "--user", "ada", "--yes"]);
    let output = revoke.env("DATABASE_URL", url.replace("postgres@", &format!("{role}@"))).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("warning: it is done, but could not be written into the audit"),
        "{}",
        stderr(&output)
    );
    assert_eq!(place.listed(&["list"]).len(), 0);
}

/// Between the revocation and the sweep nobody must believe that it did not work.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_revocation_of_everyone_nothing_is_called_active_unwarned() {
    for place in Place::both().await {
        let mut quiet = place.command(&["demo", "--listen", "127.0.0.1:0"]);
        let demo = Demo::start(quiet.env("SESSION_SECRET", SECRET).env("SWEEP_INTERVAL", "none"));
        for _ in 0..2 {
            assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
        }
        let handle = place.listed(&["list"])[0]["handle"].as_str().unwrap().to_owned();
        assert_eq!(place.run(&["revoke", "--everyone", "--yes", "--reason", "breach"]).0, Some(0));
        for words in [
            &["list"][..],
            &["stats"],
            &["show", &handle],
            &["history", "--user", "ada"],
            &["revoke", "--user", "ada", "--dry-run"],
        ] {
            let (_, out, err) = place.run(words);
            assert!(err.contains("are revoked: no request finds them"), "{words:?}: {err}");
            assert!(words[0] == "stats" || !out.contains("active"), "{words:?}: {out}");
        }
        let shown = &place.listed(&["show", &handle])[0];
        assert_eq!((&shown["status"], &shown["reason"]), (&"revoked".into(), &"breach".into()));
        assert_eq!(place.run(&["revoke", "--user", "ada", "--dry-run"]).0, Some(1), "there is nothing left to end");
        assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
        assert!(place.run(&["revoke", "--user", "ada", "--dry-run"]).2.contains("this would end 1 session\n"));

        let swept = place.prints(&["sweep"]);
        assert_eq!(swept, "0 expired and removed, 2 that were revoked or gone ended in the registry\n");
        assert_eq!(place.prints(&["list"]).matches("active").count(), 1);
        assert_eq!(place.prints(&["history", "--user", "ada"]).matches("revoked").count(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_to_end_is_said() {
    let place = Place::sqlite();
    let demo = place.demo();
    assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
    let good = place.listed(&["list"])[0]["handle"].as_str().unwrap().to_owned();
    const UNKNOWN: &str = "6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214";
    for more in ["--dry-run", "--yes"] {
        let (code, _, err) = place.run(&["revoke", &good, UNKNOWN, more]);
        assert!(code == Some(1) && err.contains(&format!("warning: {UNKNOWN} is no session that lives")), "{err}");
        assert!(err.contains("1 session\n") && !err.contains(&format!("{good} is no")), "{err}");
    }
    for more in ["--dry-run", "--yes"] {
        let (code, out, err) = place.run(&["revoke", "--before", "2999-01-01T00:00:00Z", more]);
        assert_eq!((code, &*out), (Some(2), ""), "{err}");
        assert!(err.contains("expected a time that has come, found 2999-01-01T00:00:00Z"), "{err}");
    }
}

/// What a program reads says how to go on, and what came of it.
#[tokio::test(flavor = "multi_thread")]
async fn programs_are_told_where_to_go_on_and_what_ended() {
    let place = Place::sqlite();
    let demo = place.demo();
    for _ in 0..3 {
        assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
    }
    let first = place.listed(&["list", "--limit", "2"]);
    let next = place.listed(&["list", "--after", first[1]["cursor"].as_str().unwrap()]);
    assert_eq!((first.len(), next.len()), (2, 1));
    let (code, out, err) = place.run(&["revoke", "--user", "ada", "--json"]);
    assert_eq!((code, &*out), (Some(2), ""), "nothing is printed before it is refused");
    assert!(err.contains("expected --yes or --dry-run beside --json"), "{err}");
    let dry = place.listed(&["revoke", "--user", "ada", "--dry-run"]);
    assert_eq!((dry.len(), &dry[3]["would_end"]), (4, &3.into()));
    let ended = place.listed(&["revoke", "--user", "ada", "--yes"]);
    assert_eq!((ended.len(), &ended[3]["ended"]), (4, &3.into()));
    let history = place.listed(&["history", "--user", "ada", "--limit", "1"]);
    let rest = place.listed(&["history", "--user", "ada", "--after", history[0]["cursor"].as_str().unwrap()]);
    assert_eq!(rest.len(), 2);
}

/// JavaScript writes both, and neither is a value here.
#[tokio::test(flavor = "multi_thread")]
async fn data_that_is_no_value_here_is_shown_as_it_is_stored() {
    let place = Place::sqlite();
    let demo = place.demo();
    assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
    let handle = place.listed(&["list"])[0]["handle"].as_str().unwrap().to_owned();
    place
        .sql(r#"UPDATE session SET sess = replace(sess, '{"cookie"', '{"large":1e400,"lone":"\ud800","cookie"')"#)
        .await;
    let data = &place.listed(&["show", &handle, "--data"])[0]["data"];
    assert_eq!((&data["large"], &data["lone"]), (&"1e400".into(), &r#""\ud800""#.into()), "{data}");
}

/// A name that is mistyped leads to somebody else's data.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_sessions_is_left_as_it_is() {
    for place in Place::both().await {
        place.sql("CREATE TABLE theirs (n integer)").await;
        for words in
            [&["list"][..], &["stats"], &["history", "--user", "ada"], &["revoke", "--everyone", "--yes"], &["export"]]
        {
            let (code, out, err) = place.run(words);
            assert_eq!((code, &*out), (Some(2), ""), "{words:?}: {err}");
            assert!(err.contains("expected the session table"), "{words:?}: {err}");
        }
        match &place.database {
            Some(database) => {
                let sql = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
                assert_eq!(database.client().await.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 1);
            }
            None => {
                let file = rusqlite::Connection::open(place.directory.0.join("x.sqlite")).unwrap();
                let tables: i64 = file.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
                let mode: String = file.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
                assert_eq!((tables, &*mode), (1, "delete"));
            }
        }
    }
}
