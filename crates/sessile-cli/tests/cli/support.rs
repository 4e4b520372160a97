//! The command as it is typed: the built binary, in a directory of its own and with no environment but the test's. And the
//! two places that sessions live in, for tests that hold in both.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use sessile_testkit::http::{Browser, Response};
use sessile_testkit::postgres::Database;

pub(crate) const SECRET: &str = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";

/// A working directory that goes away with the test.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sessile-cli-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn sessile(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessile"));
        command.args(arguments).current_dir(&self.0).env_clear();
        command
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A demo that runs, and is killed at the end whatever happens.
pub(crate) struct Demo {
    child: Child,
    pub(crate) url: String,
    pub(crate) log: Vec<String>,
}

impl Demo {
    /// Starts it and waits until it listens.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
        let mut log = Vec::new();
        while let Some(Ok(line)) = lines.next() {
            let url = line.split_once("listening on ").map(|(_, url)| url.to_owned());
            log.push(line);
            if let Some(url) = url {
                return Self { child, url, log };
            }
        }
        panic!("the demo ended: {} with {:?}", log.join("\n"), child.wait())
    }

    /// Asks it to stop, and says what it ended with and what it said.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let mut rest = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn sign_in(browser: &Browser) -> Response {
    let form = browser.post("/sign-in").header("Content-Type", "application/x-www-form-urlencoded");
    form.body("user=ada&password=analytical").send().await
}

/// Where the sessions are, as the environment says, and what goes away with it.
pub(crate) struct Place {
    pub(crate) directory: Directory,
    pub(crate) database: Option<Database>,
    /// What the table is like, if that is set.
    table_kind: Option<&'static str>,
    url: String,
}

impl Place {
    /// A file that is not there yet.
    pub(crate) fn sqlite() -> Self {
        Self { directory: Directory::new(), database: None, table_kind: None, url: "sqlite:x.sqlite".into() }
    }

    /// An empty database.
    pub(crate) async fn postgres() -> Self {
        let database = Database::new().await;
        let url = database.url().to_string();
        Self { directory: Directory::new(), database: Some(database), table_kind: None, url }
    }

    /// An empty database, in which sessions lie in the columns table.
    pub(crate) async fn columns() -> Self {
        Self::postgres().await.with_table("columns")
    }

    /// The same place, with what its table is like set.
    pub(crate) fn with_table(self, kind: &'static str) -> Self {
        Self { table_kind: Some(kind), ..self }
    }

    /// A database that somebody else keeps.
    pub(crate) fn at(url: String) -> Self {
        Self { directory: Directory::new(), database: None, table_kind: None, url }
    }

    pub(crate) async fn both() -> [Self; 2] {
        [Self::sqlite(), Self::postgres().await]
    }

    /// `sqlite` or `postgres`.
    pub(crate) fn kind(&self) -> &'static str {
        if self.database.is_some() { "postgres" } else { "sqlite" }
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.directory.sessile(words);
        command.env("DATABASE_URL", &self.url).env("USER", "grace");
        command.envs(self.table_kind.map(|kind| ("SESSION_TABLE_KIND", kind)));
        command
    }

    /// What it ends with, prints, and says beside that.
    pub(crate) fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(words).output().unwrap();
        (output.status.code(), stdout(&output).to_owned(), stderr(&output).to_owned())
    }

    /// What it prints, when that is all it has to do.
    pub(crate) fn prints(&self, words: &[&str]) -> String {
        let (code, out, err) = self.run(words);
        assert_eq!((code, &*err), (Some(0), ""), "{words:?}: {out}");
        out
    }

    /// The lines of JSON that it prints.
    pub(crate) fn listed(&self, words: &[&str]) -> Vec<Value> {
        let (code, out, err) = self.run(&[words, &["--json"]].concat());
        assert!(code == Some(0) || code == Some(1) && err.contains("nothing matched"), "{words:?}: {err}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The demo on these sessions.
    pub(crate) fn demo(&self) -> Demo {
        Demo::start(self.command(&["demo", "--listen", "127.0.0.1:0"]).env("SESSION_SECRET", SECRET))
    }

    /// Runs SQL beside the command, as another program does.
    pub(crate) async fn sql(&self, sql: &str) {
        match &self.database {
            Some(database) => database.client().await.batch_execute(sql).await.unwrap(),
            None => {
                let file = self.directory.0.join("x.sqlite");
                rusqlite::Connection::open(file).unwrap().execute_batch(sql).unwrap();
            }
        }
    }
}

/// The text without what is different each time: handles, times, ports and sizes.
pub(crate) fn steady(text: &str) -> String {
    text.lines().map(|line| steady_line(line) + "\n").collect()
}

fn steady_line(line: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-:.T".contains(c);
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(is_word) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !is_word(c)).unwrap_or(from.len()));
        out.push_str(before);
        out.push_str(&steady_word(word));
        rest = after;
    }
    out + rest
}

fn steady_word(word: &str) -> String {
    // A sentence may end with it, or it stands in a cursor behind a time.
    if let Some(word) = word.strip_suffix('.') {
        return steady_word(word) + ".";
    }
    if let Some((millis, handle)) =
        word.split_once('.').filter(|(millis, handle)| millis.len() == 13 && handle.len() == 36)
    {
        return format!("{}.{}", "0".repeat(millis.len()), steady_word(handle));
    }
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    let is_time = word.len() == 20 && word.ends_with('Z') && word.contains('T') && digits(word) == 14;
    let is_handle = word.len() == 36 && word.matches('-').count() == 4 && word.contains(|c: char| c.is_ascii_digit());
    match (is_time, is_handle) {
        (true, _) => "0000-00-00T00:00:00Z".into(),
        (_, true) => "00000000-0000-0000-0000-000000000000".into(),
        _ => word.into(),
    }
}

/// A sign-in with this `User-Agent`.
pub(crate) async fn sign_in_as(browser: &Browser, user: &str, password: &str, user_agent: &str) -> Response {
    let form = browser.post("/sign-in").header("Content-Type", "application/x-www-form-urlencoded");
    form.header("User-Agent", user_agent).body(format!("user={user}&password={password}")).send().await
}
