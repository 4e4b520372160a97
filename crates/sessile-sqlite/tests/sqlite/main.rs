//! The SQLite store: the contract, and what only a file can be asked.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "another program's lock is held for real time")]

mod columns;
mod crowd;
mod examine;

mod model;
mod opening;
mod registry;
mod rows;
mod tables;
mod tidy;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Params};
use sessile_core::{
    Config, Device, DeviceFacts, End, Ending, Error, Handle, Limit, Page, Record, Registry as _, Sessions, SignIn,
    SignedIn, Store as _, Sweep, UserId, Written,
};
use sessile_sqlite::SqliteStore;
use sessile_testkit::contract::{self, key, record};
use sessile_testkit::{conformance, http_contract, store_contract};

/// A directory of its own for each test, removed with what is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("sessile-sqlite-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("app.sqlite")
    }

    fn connection(&self) -> Connection {
        let connection = Connection::open(self.file()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }

    /// What another program does.
    fn execute(&self, sql: &str, values: impl Params) -> usize {
        self.connection().execute(sql, values).unwrap()
    }

    /// The number that another program reads.
    fn number(&self, sql: &str) -> i64 {
        self.connection().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl contract::Fixture for Directory {
    type Store = SqliteStore;

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(self.file()).await.unwrap()
    }

    async fn plant(&self, key: &str, document: &str, expires_at: SystemTime) -> bool {
        let sql = "INSERT INTO session VALUES (?1, ?2, datetime(?3, 'unixepoch'))";
        let expire = i64::try_from(expires_at.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        self.execute(sql, (key, document, expire)) == 1
    }
}

store_contract!(sqlite, async || Directory::new());

impl http_contract::App for Directory {
    async fn serve(&self, config: Config) -> String {
        let store = SqliteStore::open(self.file()).await.unwrap();
        conformance::start(Sessions::new(store, config)).await
    }
}

http_contract!(two_instances, async || Directory::new());

const DOCUMENT: &str = r#"{"cookie":{"path":"/"},"userId":"alice"}"#;

/// 2040-01-01 12:00:00 UTC and that many milliseconds.
fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + contract::NOW + Duration::from_millis(millis)
}

async fn open(directory: &Directory) -> SqliteStore {
    SqliteStore::open(directory.file()).await.unwrap()
}

async fn is_there(store: &SqliteStore, name: &str) -> bool {
    store.load(&key(name), at(0)).await.unwrap().is_some()
}

async fn insert(store: &SqliteStore, name: &str) {
    assert_eq!(store.insert(&key(name), &record(DOCUMENT, at(60_000))).await.unwrap(), Written::Done);
}

async fn sweep(store: &SqliteStore, now: SystemTime) -> u64 {
    Sweep::sweep(store, now, 10).await.unwrap().removed
}

fn config_error(opened: Result<SqliteStore, Error>) -> String {
    let error = opened.expect_err("this cannot be opened");
    assert!(error.is_config(), "{error:?}");
    error.to_string()
}

/// A handle with this number in it.
fn handle(number: usize) -> Handle {
    Handle::parse(&format!("00000000-0000-4000-8000-{number:012x}")).unwrap()
}

/// A session of this user, not stored yet, with the handle of this number, signed in at 12:00.
fn session_of(user: &str, number: usize) -> Record {
    let (handle, millis) = (handle(number), contract::NOW.as_millis());
    let facts =
        format!(r#"{{"handle":"{handle}","created_at":{millis},"owner":"{user}","authenticated_at":{millis}}}"#);
    record(&format!(r#"{{"cookie":{{"path":"/"}},"userId":"{user}","sessile":{facts}}}"#), at(3_600_000))
}

fn signing_in(limit: Option<Limit>) -> SignIn {
    let facts = DeviceFacts { ip: Some([203, 0, 113, 7].into()), ..DeviceFacts::default() };
    SignIn { facts, replaces: None, limit }
}

/// Signs this user in to a new session under this name, with the handle of this number.
async fn signed_in(store: &SqliteStore, name: &str, user: &str, number: usize) {
    let answer = store.sign_in(None, &key(name), &session_of(user, number), &signing_in(None)).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
}

fn revoked(millis: u64) -> Ending {
    Ending { end: End::Revoked, at: at(millis), reason: Some("lost".into()) }
}

/// The user's sessions that are alive at 12:00.
async fn devices(store: &SqliteStore, user: &str) -> Vec<Device> {
    store.list(&UserId::from(user), at(0), &Page::first(1_000)).await.unwrap()
}

/// How the user's sessions ended, the latest first.
async fn ends(store: &SqliteStore, user: &str) -> Vec<(Handle, Ending)> {
    let ended = store.history(&UserId::from(user), &Page::first(1_000)).await.unwrap();
    ended.into_iter().map(|device| (device.handle, device.ended.unwrap())).collect()
}
