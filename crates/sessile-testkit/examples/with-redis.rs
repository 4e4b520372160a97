//! Runs a command beside throw-away servers of Redis: `with-redis cargo nextest run`.
//!
//! nextest runs each test in a process of its own, and a cluster for each would take longer than all tests. This starts one
//! server, a cluster of six, and Valkey where it is installed, names them in `SESSILE_TEST_REDIS`,
//! `SESSILE_TEST_REDIS_CLUSTER` and `SESSILE_TEST_VALKEY`, and stops them when the command is done.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, exit};

use sessile_testkit::redis::{CLUSTER_VARIABLE, Cluster, SERVER_VARIABLE, Server, VALKEY_VARIABLE, valkey};

fn main() {
    let mut arguments = env::args_os().skip(1);
    let program =
        arguments.next().unwrap_or_else(|| panic!("expected a command to run: with-redis COMMAND [ARGUMENT]..."));
    let (server, cluster) = (Server::start(), Cluster::start());
    let valkey = valkey().map(|program| Server::start_program(&program, &[]));
    let mut command = Command::new(&program);
    command.args(arguments).env(SERVER_VARIABLE, server.url()).env(CLUSTER_VARIABLE, cluster.url());
    if let Some(valkey) = &valkey {
        command.env(VALKEY_VARIABLE, valkey.url());
    }
    let status = command.status().unwrap_or_else(|error| panic!("expected to run {}: {error}", program.display()));
    // `exit` runs no destructors.
    drop((server, cluster, valkey));
    exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
}
