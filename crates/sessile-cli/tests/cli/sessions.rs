//! `sessile list`, `show`, `history` and `revoke`.

use serde_json::Value;
use sessile_testkit::http::Browser;

use crate::support::{Directory, Place, sign_in, stderr};

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
}
