//! `sessile serve` as it is typed: the built binary, in a directory of its own and with no environment but the test's; and
//! what is shipped to run and to watch it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod deploy;
mod monitoring;
mod process;
#[cfg(target_os = "linux")]
mod systemd;
#[cfg(feature = "otlp")]
mod traces;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const SECRET: &str = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";

/// A working directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sessile-serve-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The server over a SQLite file, on free ports.
    fn serve(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessile"));
        command.arg("serve").args(arguments).current_dir(&self.0).env_clear();
        command.env("SESSION_SECRET", SECRET).env("COOKIE_NAME", "sid").env("COOKIE_SECURE", "auto");
        command.env("DATABASE_URL", "sqlite:sessions.sqlite");
        command.env("SERVER_LISTEN", "127.0.0.1:0").env("ADMIN_LISTEN", "127.0.0.1:0");
        command
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that runs, and is killed at the end whatever happens.
struct Server {
    child: Child,
    stderr: BufReader<ChildStderr>,
    url: String,
    admin: Option<String>,
    log: Vec<String>,
}

impl Server {
    /// Starts it and waits until it listens for everybody, which it does last.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (mut log, mut admin) = (Vec::new(), None);
        while let Some(Ok(line)) = stderr.by_ref().lines().next() {
            let at = |words: &str| {
                let rest = line.split_once(words)?.1;
                Some(format!("http://{}", rest.split(['"', ' ']).next().unwrap()))
            };
            let url = at("listening on http://");
            admin = at("listening for operators on http://").or(admin);
            log.push(line.clone());
            if let Some(url) = url {
                return Self { child, stderr, url, admin, log };
            }
        }
        panic!("the server ended: {} with {:?}", log.join("\n"), child.wait())
    }

    fn admin(&self) -> &str {
        self.admin.as_deref().unwrap()
    }

    /// The first operator's, which it tells when the store answers.
    fn token(&mut self) -> String {
        let said = |line: &String| Some(line.split_once("only now: ")?.1.split(['"', ' ']).next()?.to_owned());
        loop {
            if let Some(token) = self.log.iter().find_map(said) {
                return token;
            }
            self.log
                .push(self.stderr.by_ref().lines().next().expect("the log has the first operator's token").unwrap());
        }
    }

    /// Asks it to stop, and says what it ended with and what it said.
    fn stop(mut self) -> (Option<i32>, String) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of this repository.
fn shipped(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The options of `sessile serve`.
fn options() -> Vec<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_sessile")).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    help.split_whitespace()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.trim_end_matches(',').to_owned())
        .collect()
}
