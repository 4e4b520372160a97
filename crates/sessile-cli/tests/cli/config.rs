//! `sessile config`.

use std::fs;
use std::process::Command;

use crate::support::{Directory, SECRET, stderr, stdout};

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/configuration.md");

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
