//! Help texts, manual pages and completions.

use std::fs;
use std::process::Command;

use insta::assert_snapshot;

use crate::support::{Directory, stderr, stdout};

fn help(words: &[&str]) -> String {
    let output = Directory::new().sessile(&[words, &["--help"]].concat()).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    stdout(&output).to_owned()
}

/// The names under `Commands:`.
fn commands(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn every_command_says_what_it_does() {
    let main = help(&[]);
    assert_snapshot!("help", main);
    for command in commands(&main) {
        let text = help(&[command]);
        let below: Vec<_> = commands(&text).iter().map(|below| format!("{}\n", help(&[command, below]))).collect();
        assert_snapshot!(format!("help_{command}"), format!("{text}\n{}", below.concat()));
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let directory = Directory::new();
    let page = directory.sessile(&["man"]).output().unwrap();
    assert_snapshot!("man", stdout(&page).replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    assert!(directory.sessile(&["man", "."]).status().unwrap().success());
    let mut names: Vec<_> = fs::read_dir(&directory.0).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    let names = names.iter().map(|name| name.to_str().unwrap()).collect::<Vec<_>>();
    let main = help(&[]);
    for command in commands(&main) {
        assert!(names.contains(&&*format!("sessile-{command}.1")), "{command} is not among {names:?}");
    }
    assert!(names.contains(&"sessile.1") && names.contains(&"sessile-config-check.1"), "{names:?}");
    let missing = directory.sessile(&["man", "nowhere"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("expected a directory that pages can be written into"), "{}", stderr(&missing));
}

#[test]
fn shells_can_complete_every_command() {
    let directory = Directory::new();
    let main = help(&[]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = directory.sessile(&["completions", shell]).output().unwrap();
        let script = stdout(&script).to_owned();
        assert!(commands(&main).iter().all(|command| script.contains(command)), "{shell}");
    }
    let script = directory.0.join("sessile.bash");
    fs::write(&script, stdout(&directory.sessile(&["completions", "bash"]).output().unwrap())).unwrap();
    let checked = Command::new("bash").arg("-n").arg(&script).output().unwrap();
    assert!(checked.status.success(), "{}", stderr(&checked));
    let wrong = directory.sessile(&["completions", "cmd"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}
