//! What throw-away servers have in common: a directory of their own, and a guardian that stops the server and removes the
//! directory when this process ends, however it does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test tools: what goes wrong here ends the test")]

use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::http::random;

/// How long a server may take to start or to stop, and several to agree.
const PATIENCE: Duration = Duration::from_secs(60);

/// A shell that waits on a pipe from this process, and then runs a script.
#[derive(Debug)]
pub(crate) struct Guardian(Child);

impl Guardian {
    /// Begins to watch. The script has the directory as `$1`, waits for the end of its input, stops the server by its own
    /// pid and removes the directory. It runs in a process group of its own, so that Ctrl-C leaves it time for that.
    pub(crate) fn over(directory: &Path, script: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(directory).current_dir("/").process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(shell.spawn().unwrap())
    }

    /// Lets it do its work now, and waits for it.
    pub(crate) fn finish(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A new directory for a server of this name, that nobody else may look into.
pub(crate) fn make_directory(name: &str) -> PathBuf {
    let directory = env::temp_dir().canonicalize().unwrap().join(format!("sessile-{name}-{:016x}", random()));
    DirBuilder::new()
        .mode(0o700)
        .create(&directory)
        .unwrap_or_else(|error| panic!("expected to create {}: {error}", directory.display()));
    directory
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "expected {what} within {} s", PATIENCE.as_secs());
        sleep(Duration::from_millis(5));
    }
}
