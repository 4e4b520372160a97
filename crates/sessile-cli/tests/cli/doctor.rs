//! `sessile doctor`. What each check finds is tested with the stores; here is how it is told, and what it ends with.

use insta::assert_snapshot;
use serde_json::Value;
use sessile_testkit::postgres::Cluster;

use crate::support::{Directory, Place, SECRET, stderr, stdout};

fn doctor(place: &Place, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = place.command(&[&["doctor"], words].concat());
    let output = command.env("SESSION_SECRET", SECRET).output().unwrap();
    (output.status.code(), stdout(&output).to_owned(), stderr(&output).to_owned())
}

/// What the checks of this kind of store say that is not good; the tests' own PostgreSQL runs without fsync.
fn not_good(out: &str) -> Vec<Value> {
    let report: Value = serde_json::from_str(out).unwrap();
    let checks = report["checks"].as_array().unwrap().clone();
    checks.into_iter().filter(|check| check["verdict"] != "good" && check["name"] != "postgres.fsync").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_system_gets_no_warning() {
    let cluster = Cluster::start_with(&[("fsync", "on"), ("TimeZone", "UTC")]);
    for place in [Place::sqlite(), Place::at(cluster.url("postgres"))] {
        drop(place.demo());
        let (code, out, err) = doctor(&place, &["--strict"]);
        assert_eq!((code, &*err), (Some(0), ""), "{out}");
        assert!(out.lines().last().unwrap().starts_with("0 failed, 0 warnings, "), "{out}");
        assert!(out.lines().rev().skip(1).all(|line| line.starts_with("good     ")), "{out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_with_its_remedy() {
    for place in Place::both().await {
        drop(place.demo());
        place.sql(r#"DROP INDEX "IDX_session_expire""#).await;
        let (_, out, _) = doctor(&place, &["--json"]);
        let [wrong] = &not_good(&out)[..] else { panic!("one thing is wrong: {out}") };
        let name = format!("{}.expire_index", place.kind());
        assert_eq!(wrong["name"], name);
        assert!(wrong["remedy"].as_str().unwrap().contains("CREATE INDEX"), "{wrong}");
        let (code, out, _) = doctor(&place, &["--strict"]);
        assert!(code == Some(1) && out.contains(&format!(" {name}\n")) && out.contains("CREATE INDEX"), "{out}");

        place.sql("DROP TABLE session").await;
        let (code, out, _) = doctor(&place, &[]);
        assert!(code == Some(1) && out.starts_with("FAILED"), "{out}");
        let (code, again, _) = doctor(&place, &["--json"]);
        assert_eq!((code, not_good(&again)[0]["verdict"].as_str()), (Some(1), Some("failed")), "it creates nothing");
        assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["ok"], false);
    }
}

#[test]
fn a_warning_alone_is_no_failure_unless_it_is_asked_for() {
    let place = Place::sqlite();
    drop(place.demo());
    let file = std::fs::File::open(place.directory.0.join("x.sqlite")).unwrap();
    let mut readable = file.metadata().unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut readable, 0o644);
    file.set_permissions(readable).unwrap();
    let (code, out, _) = doctor(&place, &[]);
    assert!(code == Some(0) && out.starts_with("WARNING"), "{out}");
    assert_eq!(doctor(&place, &["--strict"]).0, Some(1));
    for (words, ok) in [(&["--json"][..], true), (&["--json", "--strict"], false)] {
        assert_eq!(serde_json::from_str::<Value>(&doctor(&place, words).1).unwrap()["ok"], ok);
    }
}

/// As an orchestrator asks: the answer is JSON whatever is wrong.
#[test]
fn a_wrong_secret_is_a_finding_and_the_store_is_examined_all_the_same() {
    let place = Place::sqlite();
    drop(place.demo());
    for (name, value, check) in
        [("SESSION_SECRET", "short", "settings.secret"), ("COOKIE_SECURE", "maybe", "settings.valid")]
    {
        let mut command = place.command(&["doctor", "--json"]);
        let output = command.env("SESSION_SECRET", SECRET).env(name, value).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(1), ""), "{}", stdout(&output));
        let report: Value = serde_json::from_str(stdout(&output)).unwrap();
        let first = &report["checks"][0];
        assert_eq!(
            (&report["ok"], &first["name"], &first["verdict"]),
            (&false.into(), &check.into(), &"failed".into())
        );
        let is_examined = stdout(&output).contains("sqlite.expire_index");
        assert_eq!(is_examined, name == "SESSION_SECRET", "{}", stdout(&output));
        assert!(!stdout(&output).contains("\"short\"") || name != "SESSION_SECRET");
    }
}

#[test]
fn a_store_that_is_not_there_ends_with_3_and_says_what_to_do() {
    let directory = Directory::new();
    for (kind, url) in [("postgres", "postgres://nobody:hunter2@127.0.0.1:1/x"), ("sqlite", "sqlite:missing.sqlite")] {
        let mut command = directory.sessile(&["doctor"]);
        let output = command.env("DATABASE_URL", url).env("SESSION_SECRET", SECRET).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(3), ""), "{}", stdout(&output));
        assert!(!stdout(&output).contains("hunter2"));
        assert_snapshot!(format!("doctor_unreachable_{kind}"), stdout(&output));
    }
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 0, "nothing is created");
}

#[test]
fn what_is_typed_or_set_wrongly_is_said() {
    let directory = Directory::new();
    let output = directory.sessile(&["doctor"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("set DATABASE_URL"), "{}", stderr(&output));
    let output = directory.sessile(&["doctor", "--store", "mysql://db"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = directory.sessile(&["migrate", "--store", "redis://db"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no tables to migrate"), "{}", stderr(&output));
}
