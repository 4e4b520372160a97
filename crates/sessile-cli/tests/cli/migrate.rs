//! `sessile migrate`.

use std::fs;
use std::process::Output;

use insta::assert_snapshot;
use sessile_testkit::http::Browser;
use sessile_testkit::postgres::Database;

use crate::support::{Directory, Place, sign_in, stderr, stdout};

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
async fn a_program_is_told_what_a_migration_is_and_does() {
    let place = Place::postgres().await;
    let told = |more: &[&str]| -> serde_json::Value {
        serde_json::from_str(&place.prints(&[&["migrate", "--json"], more].concat())).unwrap()
    };
    let shown = told(&["--dry-run"]);
    assert!(shown["sql"].as_str().unwrap().contains("CREATE TABLE") && shown["done"] == false, "{shown}");
    assert_eq!(told(&[])["done"], true);
    assert_eq!(told(&[]), serde_json::json!({ "sql": "", "done": true }));
    let guarded = told(&["--guard", "--user-key", "userId"]);
    assert_eq!(guarded["looked_back"], serde_json::json!({ "registered": 0, "removed": 0, "ended": 0 }));
    let file = Place::sqlite();
    assert_eq!(file.prints(&["migrate", "--json"]), "{\"done\":true,\"sql\":\"\"}\n");
}

/// The demo's users are under no key of the document but Sessile's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_key_that_signs_people_out_is_refused_or_asked_about() {
    let place = Place::postgres().await;
    let demo = place.demo();
    for _ in 0..3 {
        assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
    }
    for more in [&[][..], &["--dry-run"], &["--yes"]] {
        let (code, out, err) = place.run(&[&["migrate", "--guard", "--user-key", "usr"], more].concat());
        assert_eq!((code, &*out), (Some(2), ""), "{more:?}: {err}");
        assert!(err.contains("found \"usr\" in none of the 3 that somebody is signed in to"), "{err}");
    }
    assert_eq!(place.listed(&["list"]).len(), 3);

    place
        .sql(
            "UPDATE session SET sess = (sess::jsonb || '{\"usr\":\"ada\"}')::json
              WHERE sid = (SELECT min(sid) FROM session)",
        )
        .await;
    let typo = ["migrate", "--guard", "--user-key", "usr"];
    let (code, _, err) = place.run(&typo);
    assert!(code == Some(2) && err.contains("to end 2 of 3 sessions in the registry"), "{err}");
    let (code, _, err) = place.run(&[&typo[..], &["--dry-run"]].concat());
    assert!(code == Some(0) && err.contains("this would end 2 of 3 sessions"), "{err}");
    assert_eq!(place.listed(&["list"]).len(), 3);
    assert_eq!(place.run(&[&typo[..], &["--yes"]].concat()).0, Some(0));
    assert_eq!(place.listed(&["list"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_migrate_cannot_do_it_says_in_words() {
    let (directory, database) = (Directory::new(), Database::new().await);
    let url = database.url().to_string();
    for (url, more, code, words) in [
        (None, &["--guard"][..], 2, "set DATABASE_URL"),
        (Some("sqlite:x"), &["--guard"], 2, "expected postgres://…, found a SQLite file, which has neither guard"),
        (Some(&*url), &["--user-key", "userId"], 2, "--guard"),
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
    assert_eq!(output.status.code(), Some(2));
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

#[tokio::test(flavor = "multi_thread")]
async fn migrate_creates_what_is_missing_and_prints_it_first() {
    let place = Place::postgres().await;
    let tables = async || {
        let client = place.database.as_ref().unwrap().client().await;
        let sql = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1";
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    let shown = place.prints(&["migrate", "--dry-run"]);
    assert_snapshot!("migrate", shown);
    assert_eq!(tables().await, [""; 0], "a dry run only shows");
    assert_eq!(place.prints(&["migrate"]), shown + "-- done\n");
    let all = [
        "session",
        "sessions",
        "sessions_audit",
        "sessions_cutoffs",
        "sessions_moves",
        "sessions_operators",
        "sessions_secrets",
    ];
    assert_eq!(tables().await, all);
    assert_eq!(place.prints(&["migrate"]), "-- there is nothing to change\n");
    place.sql(r#"DROP INDEX "IDX_session_expire""#).await;
    let again = place.prints(&["migrate"]);
    assert!(
        again.contains("CREATE INDEX CONCURRENTLY \"IDX_session_expire\"") && again.ends_with("-- done\n"),
        "{again}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_makes_expire_mean_the_same_everywhere_and_signs_nobody_out() {
    let place = Place::postgres().await;
    let demo = place.demo();
    let browser = Browser::new(&demo.url);
    assert_eq!(sign_in(&browser).await.status, 303);
    assert!(place.prints(&["migrate", "--timestamptz", "--dry-run"]).contains("timestamptz"));
    let (code, _, error) = place.run(&["migrate", "--timestamptz", "--zone", "Nowhere"]);
    assert!(code == Some(2) && error.contains("a time zone that PostgreSQL knows"), "{code:?} {error}");
    assert!(place.prints(&["migrate", "--timestamptz"]).ends_with("-- done\n"));
    let client = place.database.as_ref().unwrap().client().await;
    let sql = "SELECT data_type::text FROM information_schema.columns WHERE table_name = 'session' AND column_name = 'expire'";
    let kind: String = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(kind, "timestamp with time zone");
    assert!(browser.get("/").send().await.text().contains("Ada Lovelace"));
    assert_eq!(place.prints(&["migrate", "--timestamptz"]), "-- there is nothing to change\n");
}

#[test]
fn a_sqlite_file_is_made_by_opening_it() {
    let place = Place::sqlite();
    assert!(place.prints(&["migrate", "--dry-run"]).contains("there is no SQL to read first"));
    assert!(!place.directory.0.join("x.sqlite").exists());
    assert_eq!(
        place.prints(&["migrate"]),
        "-- done: SQLite, x.sqlite, table session (created), registry sessions (created)\n"
    );
    assert!(place.prints(&["migrate"]).contains("(adopted)"));
}
