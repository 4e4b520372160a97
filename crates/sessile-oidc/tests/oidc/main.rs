//! Sign-ins from end to end: a browser, an application over this crate, and a provider that behaves or does not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod axum;
mod back_channel;
mod callbacks;
mod flow;
mod id_tokens;
mod plain;
mod postgres;
mod provider;
mod secrets;
mod support;

#[test]
fn the_tests_that_the_documentation_names_are_there() {
    let documentation = include_str!("../../src/lib.rs");
    let files = [
        include_str!("back_channel.rs"),
        include_str!("callbacks.rs"),
        include_str!("flow.rs"),
        include_str!("id_tokens.rs"),
        include_str!("provider.rs"),
        include_str!("secrets.rs"),
        include_str!("../../src/return_to.rs"),
        include_str!("../../src/secret.rs"),
    ];
    let rows = documentation.lines().filter_map(|line| line.strip_prefix("//! | O-")?.rsplit('|').nth(1));
    let names: Vec<_> = rows.flat_map(|tests| tests.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 15);
    for name in names {
        assert!(files.iter().any(|file| file.contains(&format!("fn {name}()"))), "{name}");
    }
}
