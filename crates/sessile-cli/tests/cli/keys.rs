//! `sessile keys`.

use std::collections::BTreeSet;

use insta::assert_snapshot;
use sessile_testkit::http::Browser;

use crate::support::{Demo, Directory, Place, SECRET, sign_in, stderr, stdout, steady};

#[test]
fn a_new_secret_is_all_that_is_printed_and_works() {
    let directory = Directory::new();
    let output = directory.sessile(&["keys", "generate", "--count", "20"]).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let secrets: BTreeSet<&str> = stdout(&output).lines().collect();
    assert_eq!(secrets.len(), 20, "each is another");
    for secret in secrets {
        assert!(secret.len() == 44 && !secret.contains(','), "{secret}");
        let check = directory.sessile(&["config", "check"]).env("SESSION_SECRET", secret).output().unwrap();
        assert!(check.status.success(), "{}", stderr(&check));
    }
    assert_eq!(stdout(&directory.sessile(&["keys", "generate"]).output().unwrap()).lines().count(), 1);
    for wrong in ["0", "many"] {
        assert_eq!(directory.sessile(&["keys", "generate", "--count", wrong]).output().unwrap().status.code(), Some(2));
    }
}

const NEW: &str = "9hPzXo2bW1kqT8vYc3mN5sR7uE0aJ4dL";

fn told(place: &Place, words: &[&str]) -> String {
    let output = place.command(words).env("SESSION_SECRET", format!("{NEW},{SECRET}")).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    stdout(&output).to_owned()
}

/// A cookie of the old secret is used, then so long ago that no session can be left of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_secret_can_go_when_no_session_is_left_that_needs_it() {
    for place in Place::both().await {
        let old = place.demo();
        let browser = Browser::new(&old.url);
        assert_eq!(sign_in(&browser).await.status, 303);
        drop(old);
        let mut both = place.command(&["demo", "--listen", "127.0.0.1:0"]);
        let demo = Demo::start(both.env("SESSION_SECRET", format!("{NEW},{SECRET}")).env("SWEEP_INTERVAL", "50"));
        let again = Browser::new(&demo.url);
        again.set_cookie("sid", &browser.cookie("sid").unwrap());
        assert!(again.get("/").send().await.text().contains("Ada Lovelace"));
        assert_eq!(again.get("/").send().await.status, 200);
        let noted = |list: &str| list.contains("keep it: cookies still need it") && !list.contains("never");
        while !noted(&told(&place, &["keys", "list"])) {
            assert_eq!(again.get("/").send().await.status, 200, "the sweeper writes the counts down");
        }
        drop(demo);
        let ago = match place.kind() {
            "postgres" => "UPDATE sessions_secrets SET last_used_at = now() - interval '2 days', cookies = 3",
            _ => "UPDATE sessions_secrets SET last_used_at = datetime('now', '-2 days'), cookies = 3",
        };
        place.sql(ago).await;
        assert_snapshot!("keys_list", steady(&told(&place, &["keys", "list"])));
        let json = told(&place, &["keys", "list", "--json"]);
        assert!(json.contains("\"can_go\":true") && !json.contains(SECRET) && !json.contains(NEW), "{json}");
        let (code, out, _) = place.run(&["keys", "list"]);
        assert_eq!((code, &*out), (Some(2), ""), "without a secret there is nothing to list");
    }
}

/// Ada asked to be remembered for longer than a session may be idle, and did not come back since.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_secret_stays_while_a_longer_session_waits_for_its_user() {
    for place in Place::both().await {
        let browser = {
            let old = place.demo();
            let browser = Browser::new(&old.url);
            assert_eq!(sign_in(&browser).await.status, 303);
            browser
        };
        // As the sweeper notes it, two days ago, when Ada was last there.
        let listed = told(&place, &["keys", "list", "--json"]);
        let old: serde_json::Value = serde_json::from_str(listed.lines().nth(1).unwrap()).unwrap();
        let fingerprint = old["fingerprint"].as_str().unwrap();
        assert_eq!(old["can_go"], false);
        let (ago, later, table) = match place.kind() {
            "postgres" => (
                "now() - interval '2 days'",
                "now() + interval '28 days'",
                "CREATE TABLE IF NOT EXISTS sessions_secrets (fingerprint text PRIMARY KEY, cookies bigint NOT NULL,
                   last_used_at timestamptz NOT NULL)",
            ),
            _ => (
                "datetime('now', '-2 days')",
                "datetime('now', '28 days')",
                "CREATE TABLE IF NOT EXISTS sessions_secrets (fingerprint TEXT NOT NULL PRIMARY KEY,
                   cookies INTEGER NOT NULL, last_used_at TEXT NOT NULL)",
            ),
        };
        place
            .sql(&format!(
                "{table}; INSERT INTO sessions_secrets (fingerprint, cookies, last_used_at)
                   VALUES ('{fingerprint}', 1, {ago});
                 UPDATE session SET expire = {later};
                 UPDATE sessions SET created_at = {ago}, authenticated_at = {ago}, last_seen_at = {ago}, expires_at = {later}"
            ))
            .await;
        let list = told(&place, &["keys", "list"]);
        assert!(list.contains("keep it: a session that lives was not used since"), "{list}");
        let mut both = place.command(&["demo", "--listen", "127.0.0.1:0"]);
        let demo = Demo::start(both.env("SESSION_SECRET", format!("{NEW},{SECRET}")));
        let again = Browser::new(&demo.url);
        again.set_cookie("sid", &browser.cookie("sid").unwrap());
        assert!(again.get("/").send().await.text().contains("Ada Lovelace"), "the cookie still needs it");
        drop(demo);
        place
            .sql(&format!(
                "UPDATE sessions SET last_seen_at = created_at; UPDATE sessions_secrets SET last_used_at = {ago}"
            ))
            .await;
        place.sql("DELETE FROM session; UPDATE sessions SET status = 'revoked'").await;
        assert!(told(&place, &["keys", "list"]).contains("can be dropped"));
    }
}
