//! Runs a command beside a throw-away PostgreSQL: `with-postgres cargo nextest run`.
//!
//! nextest runs each test in a process of its own, and a server for each would take longer than most tests. This starts
//! one for all of them, names it in `SESSILE_TEST_POSTGRES`, and stops it when the command is done. A server that is named
//! there already is left as it is.
//!
//! Settings go first, as in postgresql.conf: `with-postgres -c fsync=on COMMAND`.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, exit};

use sessile_testkit::postgres::{Cluster, SERVER_VARIABLE};

fn main() {
    let mut arguments = env::args_os().skip(1).peekable();
    let mut settings = Vec::new();
    while arguments.next_if(|argument| argument == "-c").is_some() {
        let setting = arguments.next().and_then(|setting| setting.into_string().ok()).unwrap_or_default();
        let Some((name, value)) = setting.split_once('=') else { panic!("expected -c NAME=VALUE, found -c {setting}") };
        settings.push((name.to_owned(), value.to_owned()));
    }
    let Some(program) = arguments.next() else {
        panic!("expected a command to run: with-postgres [-c NAME=VALUE]... COMMAND [ARGUMENT]...");
    };
    let mut command = Command::new(&program);
    command.args(arguments);

    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let cluster = env::var_os(SERVER_VARIABLE).is_none().then(|| Cluster::start_with(&settings));
    if let Some(cluster) = &cluster {
        command.env(SERVER_VARIABLE, cluster.url("postgres"));
    }
    let status = command.status().unwrap_or_else(|error| panic!("expected to run {}: {error}", program.display()));
    // `exit` runs no destructors.
    drop(cluster);
    exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
}
