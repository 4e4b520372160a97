//! What holds for everything that is printed: pipes that break, colours, terminals, and text that strangers wrote.

use std::process::Command;

use sessile_testkit::http::Browser;

use crate::support::{Directory, Place, sign_in, sign_in_as, stderr};

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::sqlite();
    let demo = place.demo();
    assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
    for words in [
        &["config", "reference"][..],
        &["list"],
        &["list", "--json"],
        &["stats"],
        &["stats", "--watch"],
        &["stats", "--watch", "--json"],
        &["export"],
        &["doctor"],
        &["keys", "generate", "--count", "1000"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place.command(words).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{words:?}");
    }
}

/// What the command writes on a terminal that is so many columns wide.
fn on_a_terminal(place: &Place, words: &str, columns: u32, variables: &[(&str, &str)]) -> String {
    let typed = format!("stty cols {columns} rows 50; exec {} {words}", env!("CARGO_BIN_EXE_sessile"));
    let mut script = Command::new("script");
    script.args(["-qec", &typed, "/dev/null"]).current_dir(&place.directory.0).env_clear();
    script.env("PATH", "/usr/bin:/bin").env("TERM", "xterm").env("DATABASE_URL", "sqlite:x.sqlite");
    let output = script.envs(variables.iter().copied()).output().expect("the program script, of util-linux");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_colours_and_lines_that_fit_unless_nobody_wants_them() {
    let place = Place::sqlite();
    let demo = place.demo();
    let long = format!("Device/1.0 ({})", "long words ".repeat(20));
    assert_eq!(sign_in_as(&Browser::new(&demo.url), "ada", "analytical", &long).await.status, 303);

    let wide = on_a_terminal(&place, "list", 500, &[]);
    assert!(wide.starts_with("\u{1b}[1mHANDLE") && wide.contains(long.trim_end()), "{wide}");
    let narrow = on_a_terminal(&place, "list", 72, &[("NO_COLOR", "1")]);
    assert!(!narrow.contains('\u{1b}') && narrow.contains('…') && narrow.starts_with("HANDLE"), "{narrow}");
    assert!(narrow.lines().all(|line| line.chars().count() <= 72), "{narrow}");
    assert!(on_a_terminal(&place, "list", 72, &[("NO_COLOR", "")]).contains('\u{1b}'), "an empty one does not count");
    assert!(!on_a_terminal(&place, "list", 72, &[("TERM", "dumb")]).contains('\u{1b}'));
    assert!(
        on_a_terminal(&place, "list --wrong", 72, &[]).contains('\u{1b}'),
        "what was typed wrongly is coloured, too"
    );
    assert!(!on_a_terminal(&place, "list --wrong", 72, &[("NO_COLOR", "1")]).contains('\u{1b}'));
    let piped = place.prints(&["list"]);
    assert!(!piped.contains('\u{1b}') && piped.contains(long.trim_end()), "{piped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_wrote_is_shown_and_does_nothing() {
    for place in Place::both().await {
        let demo = place.demo();
        let evil = "Evil/1.0 \u{202e}txt.exe\u{200b}\u{9b}31m";
        assert_eq!(sign_in_as(&Browser::new(&demo.url), "ada", "analytical", evil).await.status, 303);
        let listed = place.listed(&["list"]);
        let kept = listed[0]["user_agent"].as_str().unwrap().to_owned();
        assert!(kept.contains('\u{202e}') && kept.contains('\u{200b}'), "{kept:?}");
        let handle = listed[0]["handle"].as_str().unwrap();
        for words in [&["list"][..], &["show", handle], &["list", "--json"], &["show", handle, "--json"]] {
            let printed = place.prints(words);
            assert!(!printed.contains(['\u{202e}', '\u{200b}', '\u{9b}']), "{printed:?}");
            assert!(printed.contains("\\u{202e}") || printed.contains("\\u202e"), "{printed}");
        }
    }
}

#[test]
fn nothing_of_the_environment_of_the_test_is_needed() {
    let output = Directory::new().sessile(&["keys", "generate"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}
