//! The command over the columns table, and moving into it.

use insta::assert_snapshot;
use serde_json::Value;
use sessile_testkit::http::Browser;
use sessile_testkit::postgres::Cluster;

use crate::support::{Place, SECRET, sign_in, sign_in_as, stderr, stdout, steady};

fn said(place: &Place, words: &[&str]) -> String {
    let (code, out, err) = place.run(words);
    steady(&format!("exit code {}\n--- standard output\n{out}--- standard error\n{err}", code.unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_in_the_columns_table_are_shown_like_others() {
    let place = Place::columns().await;
    let demo = place.demo();
    assert_eq!(sign_in_as(&Browser::new(&demo.url), "grace", "compiler", "Fish/1").await.status, 303);
    assert_eq!(sign_in_as(&Browser::new(&demo.url), "ada", "analytical", "Fish/1").await.status, 303);
    let ada = place.listed(&["list", "--user", "ada"])[0]["handle"].as_str().unwrap().to_owned();
    assert_snapshot!("columns_list", said(&place, &["list"]));
    assert_snapshot!("columns_show", said(&place, &["show", &ada]));
    assert_eq!(place.listed(&["show", &ada])[0]["user"], "ada");
    place
        .sql("INSERT INTO sessions VALUES ('theirs', 'bob', '{}', now(), now() + interval '20.5 minutes'), ('over', NULL, '{}', now(), now() - interval '1 hour')")
        .await;
    let sized = ["size", "on disk", "updates", "dead rows", "vacuum", "autovacuum"];
    let stats = steady(&place.prints(&["stats"]));
    let lines = stats.lines().filter(|line| !sized.iter().any(|word| line.starts_with(word)));
    assert_snapshot!("columns_stats", lines.collect::<Vec<_>>().join("\n"));
    assert_eq!(place.listed(&["sweep"])[0]["removed"], 1);
    assert_eq!(place.listed(&["list", "--user", "bob"]).len(), 1, "the sweep found whom another program signed in");
    assert_eq!(place.run(&["revoke", "--user", "bob", "--yes"]).0, Some(0));
    assert_eq!(place.listed(&["list", "--user", "bob"]).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_speaks_of_the_columns_that_are_there() {
    let cluster = Cluster::start_with(&[("fsync", "on"), ("TimeZone", "UTC")]);
    let place = Place::at(cluster.url("postgres")).with_table("columns");
    drop(place.demo());
    let output = place.command(&["doctor", "--strict", "--json"]).env("SESSION_SECRET", SECRET).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{}", stdout(&output));
    let report: Value = serde_json::from_str(stdout(&output)).unwrap();
    let of_tables = ["table", "columns", "registry", "primary_key", "expire_index", "user_index", "time_zone"];
    let is_of_tables = |check: &&Value| {
        check["name"].as_str().unwrap().strip_prefix("postgres.").is_some_and(|name| of_tables.contains(&name))
    };
    let checks = report["checks"].as_array().unwrap().iter().filter(is_of_tables);
    let lines = checks.map(|check| format!("{} {}: {}\n", check["verdict"], check["name"], check["finding"]));
    assert_snapshot!("columns_doctor", lines.collect::<String>());
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_makes_the_columns_table_and_prints_it_first() {
    let place = Place::postgres().await;
    let shown = place.prints(&["migrate", "--columns", "--dry-run"]);
    assert_snapshot!("columns_migrate", shown);
    assert_eq!(place.prints(&["migrate", "--columns"]), shown + "-- done\n");
    assert_eq!(place.prints(&["migrate", "--columns"]), "-- there is nothing to change\n");
    place.sql("DROP INDEX sessions_user_id_idx").await;
    let again = place.prints(&["migrate", "--columns"]);
    assert!(
        again.contains("CREATE INDEX CONCURRENTLY \"sessions_user_id_idx\"") && again.ends_with("-- done\n"),
        "{again}"
    );

    for (words, told) in [
        (&["migrate", "--columns", "--timestamptz"][..], "cannot be used with"),
        (&["migrate", "--columns", "--guard"], "cannot be used with"),
    ] {
        let (code, _, err) = place.run(words);
        assert!(code == Some(2) && err.contains(told), "{words:?}: {err}");
    }
    let express = Place::postgres().await.with_table("express");
    let (code, _, err) = express.run(&["migrate", "--columns"]);
    assert!(code == Some(2) && err.contains("set table.kind = \"columns\" for the application too"), "{err}");
}

async fn sessions_move_and_stay_signed_in(from: &Place, to: &Place) {
    let demo = from.demo();
    let ada = Browser::new(&demo.url);
    assert_eq!(sign_in(&ada).await.status, 303);
    drop(demo);
    to.prints(&["migrate", "--columns"]);
    let file = from.directory.0.join("moving.jsonl");
    assert_eq!(from.run(&["export", "--output", "moving.jsonl"]).0, Some(0));
    let (code, out, err) = to.run(&["import", file.to_str().unwrap(), "--yes"]);
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    let demo = to.demo();
    let moved = Browser::new(&demo.url);
    moved.set_cookie("sid", &ada.cookie("sid").unwrap());
    assert!(moved.get("/").send().await.text().contains("Ada Lovelace"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_move_into_the_columns_table_of_a_file() {
    let to = Place::sqlite().with_table("columns");
    sessions_move_and_stay_signed_in(&Place::postgres().await, &to).await;
    let file = rusqlite::Connection::open(to.directory.0.join("x.sqlite")).unwrap();
    let row = r#"SELECT user_id, "values" -> 'cookie' FROM sessions"#;
    let row: (String, Option<String>) = file.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(row, ("ada".into(), None));
}

/// As the help of `migrate --columns` says.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_move_into_the_columns_table_and_stay_signed_in() {
    let (from, to) = (Place::postgres().await, Place::columns().await);
    sessions_move_and_stay_signed_in(&from, &to).await;
    let row = to.database.as_ref().unwrap().client().await;
    let row = row.query_one("SELECT user_id, values ? 'cookie' FROM sessions", &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(1)), ("ada", false));
}

/// Express signs in and out in place and carries along what Sessile remembers, of whoever signed in before.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_express_signed_in_or_out_moves_as_that() {
    let (from, to) = (Place::postgres().await, Place::columns().await);
    from.prints(&["migrate"]);
    from.sql(
        r#"INSERT INTO session SELECT sid, ('{"cookie":{"originalMaxAge":null}' || rest || '}')::json, now() + '1 day' FROM (VALUES
            ('out', ',"sessile":{"owner":"alice"}'),
            ('other', ',"sessile":{"owner":"alice"},"user":"bob"'),
            ('express', ',"user":"carol"'),
            ('same', ',"sessile":{"owner":"dave"},"user":"dave"')) AS row (sid, rest)"#,
    )
    .await;
    let file = from.directory.0.join("moving.jsonl");
    let mut export = from.command(&["export", "--output", "moving.jsonl"]);
    assert!(export.env("SESSION_USER_KEY", "user").output().unwrap().status.success());
    assert_eq!(to.run(&["import", file.to_str().unwrap(), "--yes"]).0, Some(0));
    let client = to.database.as_ref().unwrap().client().await;
    let rows = client.query("SELECT id, user_id FROM sessions ORDER BY id", &[]).await.unwrap();
    let rows: Vec<(&str, Option<&str>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [("express", Some("carol")), ("other", Some("bob")), ("out", None), ("same", Some("dave"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_of_the_columns_table_needs_no_user_key() {
    let place = Place::columns().await;
    let (code, _, err) = place.run(&["migrate", "--guard", "--user-key", "userId"]);
    assert!(code == Some(2) && err.contains("which has its users in the column user_id"), "{err}");
    assert!(place.prints(&["migrate", "--guard", "--dry-run"]).contains("OF id, user_id, \"values\" ON"));
    assert!(place.prints(&["migrate", "--guard"]).contains("-- done: the guard is installed\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_has_the_columns_table_too() {
    let place = Place::sqlite().with_table("columns");
    let made = place.prints(&["migrate", "--columns"]);
    assert!(made.starts_with("-- done: SQLite, x.sqlite, columns table sessions (created"), "{made}");
    let demo = place.demo();
    let ada = Browser::new(&demo.url);
    assert_eq!(sign_in(&ada).await.status, 303);
    assert_eq!(place.listed(&["list"])[0]["user"], "ada");
    let file = rusqlite::Connection::open(place.directory.0.join("x.sqlite")).unwrap();
    let user: String = file.query_row("SELECT user_id FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(user, "ada");
    assert!(ada.get("/").send().await.text().contains("Your devices"));
    place.sql("UPDATE sessions SET user_id = NULL").await;
    assert!(!ada.get("/").send().await.text().contains("Your devices"), "another program signed her out");
}
