//! A throw-away PostgreSQL: a [`Cluster`] to stop, kill and start again, and a fresh [`Database`] per test.
//!
//! A store is only tested by a real server, and a real server is easily left running. So each cluster has a guardian: when
//! the cluster was dropped, or this process returned from `main`, panicked or was killed, it stops the server and removes
//! its directory.
//!
//! Tests that only need a database share one server: the one that `SESSILE_TEST_POSTGRES` names, which the example
//! `with-postgres` starts for a whole test run, or else one per process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test tools: what goes wrong here ends the test")]

use std::env;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tokio_postgres::{Client, NoTls};

use crate::http::{free_port, random};
use crate::throwaway::{Guardian, make_directory, wait_until};

/// The environment variable with the URL of the server on which [`Database::new`] creates its databases.
pub const SERVER_VARIABLE: &str = "SESSILE_TEST_POSTGRES";

/// What every cluster runs with. Nothing outlives its directory: no socket and no shared memory file elsewhere. Without
/// fsync a killed *server* still keeps what it acknowledged, because the kernel has it; only a power cut would lose it.
const SETTINGS: [(&str, &str); 7] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("dynamic_shared_memory_type", "mmap"),
    ("fsync", "off"),
    ("shared_buffers", "16MB"),
    ("max_wal_size", "1GB"),
    ("max_connections", "200"),
];

/// Waits for the end of its input, then stops the server by its own pid, at once, and removes everything.
const GUARDIAN: &str = r#"
trap '' HUP INT TERM
read -r _
pidfile=$1/data/postmaster.pid
if read -r pid 2>/dev/null <"$pidfile"; then
    kill -QUIT "$pid"
    tries=0
    while [ -e "$pidfile" ] && [ "$tries" -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
    if [ -e "$pidfile" ]; then kill -KILL "$pid"; fi
fi
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// A PostgreSQL server of one's own, on a port of 127.0.0.1, with the superuser `postgres` and no password.
///
/// Needs `initdb` and `postgres`: from the directory `PG_BINDIR`, from `PATH`, or from where Debian and the PostgreSQL
/// sources install them (`apt-get install postgresql`). Started by root, the server runs as `postgres` or `nobody`,
/// because it refuses to run as root.
///
/// ```no_run
/// # async fn example() -> Result<(), tokio_postgres::Error> {
/// use sessile_testkit::postgres::Cluster;
///
/// let mut cluster = Cluster::start_with(&[("synchronous_commit", "on")]);
/// cluster.superuser_client("postgres").await.batch_execute("CREATE TABLE kept ()").await?;
/// cluster.kill();
/// cluster.restart();
/// cluster.superuser_client("postgres").await.batch_execute("SELECT FROM kept").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cluster {
    binaries: PathBuf,
    /// Holds `data`, the server's files, and `log`.
    directory: PathBuf,
    /// The user and group to become; `None` where we are not root.
    account: Option<(u32, u32)>,
    settings: Vec<String>,
    port: u16,
    postmaster: Option<Child>,
    guardian: Guardian,
}

impl Cluster {
    /// A server with the settings that make tests fast.
    ///
    /// # Panics
    ///
    /// When PostgreSQL is not installed or does not start; the message has its log.
    pub fn start() -> Cluster {
        Cluster::start_with(&[])
    }

    /// A server with further settings, as in postgresql.conf. They are its command line's and so go before
    /// `ALTER SYSTEM`, but not before `ALTER DATABASE`, `ALTER ROLE` or `SET`.
    ///
    /// # Panics
    ///
    /// As [`Cluster::start`].
    pub fn start_with(settings: &[(&str, &str)]) -> Cluster {
        Cluster::start_prepared(settings, |_| {})
    }

    /// A server that offers TLS with this certificate and private key, both PEM.
    ///
    /// # Panics
    ///
    /// As [`Cluster::start`].
    pub fn start_with_tls(certificate: &str, key: &str) -> Cluster {
        Cluster::start_prepared(&[("ssl", "on")], |cluster| {
            for (setting, file, text) in
                [("ssl_cert_file", "server.crt", certificate), ("ssl_key_file", "server.key", key)]
            {
                let path = cluster.directory.join(file);
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                if let Some((user, group)) = cluster.account {
                    chown(&path, Some(user), Some(group)).unwrap();
                }
                cluster.settings.push(format!("{setting}={}", path.display()));
            }
        })
    }

    fn start_prepared(settings: &[(&str, &str)], prepare: impl FnOnce(&mut Cluster)) -> Cluster {
        let mut cluster = Cluster::unfilled(settings);
        cluster.initialise();
        prepare(&mut cluster);
        cluster.start_on_free_port()
    }

    /// A streaming standby of another cluster, which takes connections for reads. Name it in the other one's
    /// `synchronous_standby_names`, and commits there wait until this one has them on its disk. Commit nothing there
    /// before it runs, for that would wait for ever.
    ///
    /// # Panics
    ///
    /// As [`Cluster::start`]; also when the other one is down, or `pg_basebackup` is not installed.
    pub fn standby_of(primary: &Cluster, name: &str, settings: &[(&str, &str)]) -> Cluster {
        let cluster = Cluster::unfilled(settings);
        let source = format!("host=127.0.0.1 port={} user=postgres application_name={name}", primary.port);
        let mut backup = cluster.command(cluster.binaries.join("pg_basebackup"));
        backup.args(["--pgdata=data", "--checkpoint=fast", "--no-sync", "--wal-method=stream"]);
        run(backup.args(["--write-recovery-conf", "--dbname", &source]));
        cluster.start_on_free_port()
    }

    /// Makes a standby a primary. Returns when it takes writes.
    ///
    /// # Panics
    ///
    /// When it is no standby, or does not become a primary within a minute.
    pub async fn promote(&self) {
        let promoted = self.superuser_client("postgres").await.query_one("SELECT pg_promote()", &[]).await;
        let promoted = promoted.unwrap_or_else(|error| panic!("expected a standby to promote, found {error:?}"));
        assert!(promoted.get::<_, bool>(0), "expected the standby to become a primary, found it still one");
    }

    /// A cluster with an empty data directory.
    fn unfilled(settings: &[(&str, &str)]) -> Cluster {
        let binaries = find_binaries();
        let directory = make_directory("postgres");
        let cluster = Cluster {
            binaries,
            guardian: Guardian::over(&directory, GUARDIAN),
            account: account_for(&directory),
            directory,
            settings: SETTINGS.iter().chain(settings).map(|(name, value)| format!("{name}={value}")).collect(),
            port: 0,
            postmaster: None,
        };
        cluster.make_data();
        cluster
    }

    fn start_on_free_port(mut self) -> Cluster {
        for _ in 0..20 {
            self.port = free_port();
            if self.launch() {
                return self;
            }
        }
        panic!("expected a free port of 127.0.0.1, found twenty taken before PostgreSQL could listen on them");
    }

    /// The port of 127.0.0.1 it listens on, the same for all its life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server has written to its log since it was last started.
    ///
    /// # Panics
    ///
    /// When the log cannot be read.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap()
    }

    /// The URL of one of its databases, for its superuser. A new cluster has the database `postgres`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// A connection to one of its databases as its superuser.
    ///
    /// # Panics
    ///
    /// When the server is down or has no such database.
    pub async fn superuser_client(&self, database: &str) -> Client {
        connect(&self.url(database)).await
    }

    /// Stops the server as an administrator would (`fast`: connections are closed, everything is written down).
    ///
    /// # Panics
    ///
    /// When it does not end within a minute.
    pub fn stop(&mut self) {
        let Some(mut postmaster) = self.postmaster.take() else {
            return;
        };
        signal("INT", &[postmaster.id()]);
        wait_until("PostgreSQL to stop", || postmaster.try_wait().unwrap().is_some());
    }

    /// Kills the server like a crash would: SIGKILL for all its processes at once. Returns when all are gone.
    ///
    /// # Panics
    ///
    /// Where there is no `/proc`: only Linux says which processes are the server's.
    pub fn kill(&mut self) {
        let Some(mut postmaster) = self.postmaster.take() else {
            return;
        };
        // A stopped postmaster starts no further process between the look and the blow.
        let parent = postmaster.id();
        signal("STOP", &[parent]);
        wait_until("the postmaster to freeze", || matches!(process(parent), None | Some(('T' | 'Z', _))));
        let children = children(parent);
        signal("KILL", &[&[parent], &children[..]].concat());
        postmaster.wait().unwrap();
        wait_until("PostgreSQL's processes to be gone", || !children.iter().any(|pid| is_alive(*pid)));
        self.forget_postmaster();
    }

    /// Starts the server again, on the same port and the same data; stops it first if it runs.
    ///
    /// # Panics
    ///
    /// When it does not come up, or another process keeps its port.
    pub fn restart(&mut self) {
        self.stop();
        wait_until(&format!("port {} to be free again", self.port), || self.launch());
    }

    fn make_data(&self) {
        let data = self.data();
        DirBuilder::new().mode(0o700).create(&data).unwrap();
        if let Some((user, group)) = self.account {
            chown(&self.directory, Some(user), Some(group)).unwrap();
            chown(&data, Some(user), Some(group)).unwrap();
        }
    }

    /// Fills the data directory: from an archive of a freshly initialised one, which takes a tenth of initdb's time.
    /// An archive, because one file is there whole or not at all, whoever renames or cleans up beside us.
    fn initialise(&self) {
        let ourselves = fs::metadata(&self.directory).unwrap().uid();
        let ourselves = self.account.map_or(ourselves, |_| 0);
        let data = self.data();
        let version = run(self.command(self.binaries.join("postgres")).arg("--version"));
        let version: String = version.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
        let archive = env::temp_dir().join(format!("sessile-testkit-{version}-{ourselves}.tar"));
        let trusted = File::open(&archive).ok().filter(|file| file.metadata().unwrap().uid() == ourselves);
        if let Some(file) = trusted {
            run(self.command("tar").args(["-x", "-p", "-f", "-"]).current_dir(&data).stdin(file));
            return;
        }

        let mut initdb = self.command(self.binaries.join("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        initdb.args(["--wal-segsize=1", "--no-sync", "--pgdata=data"]);
        run(&mut initdb);
        let draft = self.directory.join("archive.tar");
        let file = File::create(&draft).unwrap();
        run(self.command("tar").args(["-c", "-f", "-", "."]).current_dir(&data).stdout(file));
        fs::rename(&draft, &archive)
            .unwrap_or_else(|error| panic!("expected to write {}, which others may own: {error}", archive.display()));
    }

    /// Starts the postmaster and waits until it takes connections; `false` when its port is taken.
    fn launch(&mut self) -> bool {
        let log = self.directory.join("log");
        let file = File::create(&log).unwrap();
        let mut command = self.command(self.binaries.join("postgres"));
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let mut postmaster = command.process_group(0).spawn().unwrap();
        let pid = postmaster.id();

        let mut ended = None;
        wait_until("PostgreSQL to start", || {
            ended = postmaster.try_wait().unwrap();
            ended.is_some() || self.is_ready(pid)
        });
        let Some(status) = ended else {
            self.postmaster = Some(postmaster);
            return true;
        };
        let log = fs::read_to_string(log).unwrap();
        assert!(
            log.contains("Address already in use"),
            "expected PostgreSQL to start, found {status} and this log:\n{log}"
        );
        false
    }

    /// Whether postmaster.pid, as pg_ctl reads it, says so: the pid on its first line, the state on its eighth.
    fn is_ready(&self, pid: u32) -> bool {
        let file = fs::read_to_string(self.pid_file()).unwrap_or_default();
        let mut lines = file.lines().map(str::trim);
        lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
    }

    /// Removes what a killed postmaster leaves: its pid, which may soon be another process's, and its System V shared
    /// memory (the second number on the seventh line), which nobody else would remove if the cluster is now dropped.
    fn forget_postmaster(&self) {
        let file = fs::read_to_string(self.pid_file()).unwrap();
        if let Some(id) = file.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            let _ = Command::new("ipcrm").args(["-m", id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        fs::remove_file(self.pid_file()).unwrap();
    }

    /// A command in the cluster's directory as the server's user, in which nothing of our environment steers PostgreSQL.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.directory).env("LC_ALL", "C").env("TZ", "UTC");
        for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.guardian.finish();
        if let Some(postmaster) = &mut self.postmaster {
            let _ = postmaster.kill();
            let _ = postmaster.wait();
        }
    }
}

/// An empty database of one's own on the shared server, with a name no other test has.
///
/// It stays behind when the test is over; the server is thrown away with all of them.
///
/// ```no_run
/// # async fn example() -> Result<(), tokio_postgres::Error> {
/// use sessile_testkit::postgres::Database;
///
/// let database = Database::new().await;
/// database.set("TimeZone", "America/New_York").await;
/// let zone = database.client().await.query_one("SHOW TimeZone", &[]).await?;
/// assert_eq!(zone.get::<_, &str>(0), "America/New_York");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Database {
    name: String,
    url: String,
}

impl Database {
    /// Creates a database on the server that [`SERVER_VARIABLE`] names, or on one this process starts for the purpose
    /// and keeps to its end.
    ///
    /// # Panics
    ///
    /// When there is no server, as [`Cluster::start`] says.
    pub async fn new() -> Database {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        #[allow(clippy::disallowed_methods, reason = "where the tests' server is")]
        let server = env::var(SERVER_VARIABLE).unwrap_or_else(|_| SHARED.get_or_init(Cluster::start).url("postgres"));
        let name = format!("test_{:016x}", random());
        let url = url_of(&server, &name);
        execute(&connect(&server).await, &format!("CREATE DATABASE {name} TEMPLATE template0")).await;
        Database { name, url }
    }

    /// Its URL, for the superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its URL with one more parameter, such as `options` with `-c TimeZone=America/New_York`. The value is
    /// percent-encoded here.
    pub fn url_with(&self, parameter: &str, value: &str) -> String {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{separator}{parameter}={}", self.url, percent_encode(value))
    }

    /// A new connection as the superuser.
    ///
    /// # Panics
    ///
    /// When the server is down.
    pub async fn client(&self) -> Client {
        connect(&self.url).await
    }

    /// `ALTER DATABASE … SET`: a setting that every later connection to this database begins with.
    ///
    /// # Panics
    ///
    /// When PostgreSQL refuses the setting.
    pub async fn set(&self, setting: &str, value: &str) {
        let value = value.replace('\'', "''");
        let statement = format!("ALTER DATABASE {} SET {setting} TO '{value}'", self.name);
        execute(&self.client().await, &statement).await;
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .unwrap_or_else(|error| panic!("expected PostgreSQL at {url}, found {error:?}"));
    // The task ends when the client is dropped, and a broken connection shows in the client's next query.
    tokio::spawn(connection);
    client
}

async fn execute(client: &Client, statement: &str) {
    let done = client.batch_execute(statement).await;
    done.unwrap_or_else(|error| panic!("expected `{statement}` to work, found {error:?}"));
}

/// The URL of another database on the same server.
fn url_of(server: &str, database: &str) -> String {
    let (scheme, rest) = server.split_once("://").unwrap_or_else(|| {
        panic!("expected {SERVER_VARIABLE} like postgres://postgres@127.0.0.1:5432, found {server:?}")
    });
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let parameters = rest.find('?').map_or("", |at| &rest[at..]);
    format!("{scheme}://{authority}/{database}{parameters}")
}

fn percent_encode(value: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(encode).collect()
}

fn find_binaries() -> PathBuf {
    let has_both = |directory: &PathBuf| ["initdb", "postgres"].iter().all(|name| directory.join(name).is_file());
    let found = match env::var_os("PG_BINDIR") {
        Some(named) => Some(PathBuf::from(named)).filter(has_both),
        None => usual_places().into_iter().find(has_both),
    };
    let found = found.expect(
        "expected PostgreSQL's initdb and postgres in PG_BINDIR, or if that is not set, in PATH, \
         /usr/lib/postgresql/*/bin or /usr/local/pgsql/bin; found no directory with both. \
         On Debian and Ubuntu: apt-get install postgresql",
    );
    // Absolute, because the commands run in another directory; and where links lead to, for there are the other programs.
    let linked = found.join("postgres").canonicalize().unwrap();
    let home = linked.parent().map(Path::to_owned).filter(has_both);
    home.unwrap_or_else(|| found.canonicalize().unwrap())
}

fn usual_places() -> Vec<PathBuf> {
    let mut places: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = debian.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    places.extend(newest.map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))));
    places.push(PathBuf::from("/usr/local/pgsql/bin"));
    places
}

/// Whom the server runs as if we are root, which the owner of a directory we just made tells.
fn account_for(directory: &Path) -> Option<(u32, u32)> {
    if fs::metadata(directory).unwrap().uid() != 0 {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let mut lines = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = lines.find(|fields| fields[0] == name)?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    let account = find("postgres").or_else(|| find("nobody"));
    Some(account.expect("expected a user postgres or nobody in /etc/passwd: PostgreSQL refuses to run as root"))
}

/// Runs a command to its end and returns what it printed, unless that was redirected.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "expected to run {command:?}: {error}. \
             The server's user must be able to reach the directory; TMPDIR can name another"
        )
    });
    assert!(
        output.status.success(),
        "expected {command:?} to work, found {} and:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sends a signal through the shell's own `kill`, which every system has. One that is gone already is no error.
fn signal(name: &str, pids: &[u32]) {
    let pids = pids.iter().map(u32::to_string);
    let mut command = Command::new("sh");
    command.args(["-c", r#"kill -s "$@""#, "sh", name]).args(pids);
    command.stderr(Stdio::null()).status().unwrap();
}

fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("expected /proc, which Cluster::kill needs");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| process(*pid).is_some_and(|(_, of)| of == parent)).collect()
}

/// A killed process stays a zombie for as long as its parent does not ask, which in a container may be for ever.
fn is_alive(pid: u32) -> bool {
    process(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// A process's state and parent: what follows the name in brackets in `/proc/PID/stat`.
fn process(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_in_a_url_is_replaced() {
        let urls = [
            ("postgres://me@host:5432/postgres?sslmode=disable", "postgres://me@host:5432/x?sslmode=disable"),
            ("postgres://me:secret@host", "postgres://me:secret@host/x"),
            ("postgres://me@host?options=-c%20a=/", "postgres://me@host/x?options=-c%20a=/"),
        ];
        for (server, expected) in urls {
            assert_eq!(url_of(server, "x"), expected);
        }
    }
}
