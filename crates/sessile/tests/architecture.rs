//! Who may depend on whom, as ARCHITECTURE.md says, checked against what cargo knows; and the two copies of the first
//! example, which have to be one.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "what goes wrong here fails the test")]

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// The dependencies of a package that are built with it whatever its features say, or all of them.
fn dependencies(package: &str, optional_too: bool) -> BTreeSet<String> {
    let packages = packages();
    let package = packages.iter().find(|candidate| candidate["name"] == package).unwrap();
    package["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|dependency| dependency["kind"].is_null() && (optional_too || dependency["optional"] == false))
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

fn ours(package: &str) -> BTreeSet<String> {
    dependencies(package, true).into_iter().filter(|name| name.starts_with("sessile")).collect()
}

#[test]
fn the_core_knows_no_framework_database_or_runtime() {
    let built = dependencies("sessile-core", false);
    for foreign in ["http", "axum", "axum-core", "tower", "hyper", "tokio", "tokio-postgres", "rusqlite", "actix-web"] {
        assert!(!built.contains(foreign), "sessile-core depends on {foreign}");
    }
    assert!(ours("sessile-core").is_empty());
}

#[test]
fn stores_adapters_and_the_sign_in_know_the_core_and_not_each_other() {
    for package in
        ["sessile-actix", "sessile-oidc", "sessile-postgres", "sessile-redis", "sessile-sqlite", "sessile-tower"]
    {
        assert_eq!(ours(package), BTreeSet::from(["sessile-core".to_owned()]), "{package}");
    }
    for store in ["sessile-postgres", "sessile-redis", "sessile-sqlite"] {
        let built = dependencies(store, true);
        assert!(["http", "axum", "tower-service"].iter().all(|name| !built.contains(*name)), "{store} knows HTTP");
    }
}

#[test]
fn only_the_facade_names_stores_and_only_the_command_depends_on_it() {
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let dependencies = ours(name);
        let names_stores = dependencies
            .iter()
            .any(|name| ["sessile-postgres", "sessile-redis", "sessile-sqlite"].contains(&name.as_str()));
        assert!(!names_stores || name == "sessile", "{name} names a store");
        let may_use_the_facade = ["sessile-cli", "sessile-interop"].contains(&name);
        assert!(!dependencies.contains("sessile") || may_use_the_facade, "{name} depends on the facade");
        assert!(!dependencies.contains("sessile-testkit") || name == "sessile-interop", "{name} ships test tools");
    }
}

#[test]
fn the_readme_shows_the_example_that_is_compiled() {
    let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let readme = read("../../README.md");
    let shown = readme.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    let docs: String = read("src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    let compiled = docs.split("```no_run\n").nth(1).unwrap().split("```").next().unwrap();
    let compiled: String =
        compiled.lines().filter(|line| !line.starts_with("# ")).map(|line| format!("{line}\n")).collect();
    assert_eq!(shown, compiled);
}
