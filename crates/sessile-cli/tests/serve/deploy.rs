//! `deploy/`: each flag and each setting in it exists, and there is no password that works.

use serde_yaml_ng::Value;
use sessile::settings::declared;

use super::{options, shipped};

/// Whether the server reads this variable.
fn is_a_setting(name: &str) -> bool {
    let of = |name: &str, file: bool| declared().any(|one| one.variable() == name && (!file || one.is_secret()));
    of(name, false) || name.strip_suffix("_FILE").is_some_and(|name| of(name, true)) || name == "RUST_LOG"
}

fn compose() -> Value {
    serde_yaml_ng::from_str(&shipped("deploy/compose.yaml")).unwrap()
}

#[test]
fn the_compose_file_names_only_what_there_is() {
    let compose = compose();
    let server = &compose["services"]["sessile"];
    for (name, _) in server["environment"].as_mapping().unwrap() {
        assert!(is_a_setting(name.as_str().unwrap()), "{name:?}");
    }
    let options = options();
    for words in [&server["command"], &server["healthcheck"]["test"]] {
        for word in words.as_sequence().unwrap().iter().filter_map(Value::as_str).filter(|word| word.starts_with("--"))
        {
            assert!(options.iter().any(|option| option == word), "{word}");
        }
    }
    let image = shipped("deploy/Dockerfile");
    assert!(image.contains("\"serve\", \"--probe\"]"));
    assert!(image.contains("-p sessile-cli --features otlp\n"), "every setting works in the image");
}

#[test]
fn whatever_is_secret_is_a_file_that_the_user_has_to_make() {
    let compose = compose();
    for (_, service) in compose["services"].as_mapping().unwrap() {
        for (name, value) in service["environment"].as_mapping().unwrap() {
            let (name, value) = (name.as_str().unwrap(), value.as_str().unwrap());
            let is_secret = ["SECRET", "PASSWORD", "URL"].iter().any(|word| name.contains(word));
            assert!(!is_secret || name.ends_with("_FILE") && value.starts_with("/run/secrets/"), "{name}");
        }
    }
    let readme = shipped("deploy/README.md");
    for (name, secret) in compose["secrets"].as_mapping().unwrap() {
        let (name, file) = (name.as_str().unwrap(), secret["file"].as_str().unwrap());
        assert_eq!(file, format!("secrets/{name}"));
        assert!(readme.contains(&format!("> {file}\n")), "README.md says how {file} is made");
    }
}

#[test]
fn operators_are_not_shown_to_the_network() {
    let compose = compose();
    let ports = compose["services"]["sessile"]["ports"].as_sequence().unwrap();
    assert!(ports.iter().all(|port| port.as_str().unwrap().starts_with("127.0.0.1:")), "{ports:?}");
    let sockets = shipped("deploy/sessile.socket");
    let listen: Vec<_> = sockets.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    assert_eq!(listen, ["127.0.0.1:8080", "127.0.0.1:9090"]);
}

#[test]
fn the_service_names_only_what_there_is() {
    let service = shipped("deploy/sessile.service");
    let values = |key: &str| {
        let lines: Vec<_> = service.lines().filter_map(|line| line.strip_prefix(key)).map(str::to_owned).collect();
        assert!(!lines.is_empty(), "{key}");
        lines
    };
    for assignment in values("Environment=") {
        assert!(is_a_setting(assignment.split('=').next().unwrap()), "{assignment}");
    }
    let options = options();
    for word in values("ExecStart=")[0].split_whitespace().filter(|word| word.starts_with("--")) {
        assert!(options.iter().any(|option| option == word), "{word}");
    }
    assert_eq!(values("RestartPreventExitStatus="), ["2"], "a wrong setting stays wrong");
    for hardening in ["DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "Type=notify", "WatchdogSec="] {
        assert!(service.lines().any(|line| line.starts_with(hardening)), "{hardening}");
    }
}
