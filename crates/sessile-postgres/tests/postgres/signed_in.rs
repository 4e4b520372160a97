//! Signed-in sessions, as the registry's tests make them.

use std::time::{Duration, SystemTime};

use sessile_core::{DeviceFacts, End, Ending, Handle, Page, Record, Registry, SignIn, SignedIn, Store, Tidied, Tidy};
use sessile_postgres::PostgresStore;
use sessile_testkit::contract::{NOW, key, record};

/// That many milliseconds after the time of the contract's clauses.
pub(crate) fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW + Duration::from_millis(millis)
}

pub(crate) fn later() -> SystemTime {
    at(3_600_000)
}

pub(crate) fn handle(number: usize) -> Handle {
    Handle::parse(&format!("00000000-0000-4000-8000-{number:012x}")).unwrap()
}

/// A session as Sessile writes it: of this user, who proved who they are at that time.
pub(crate) fn session_of(owner: &str, number: usize, millis: u64) -> Record {
    let time = at(millis).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let document = format!(
        r#"{{"cookie":{{"originalMaxAge":3600000,"path":"/"}},"userId":"{owner}","sessile":
           {{"handle":"{}","created_at":{time},"owner":"{owner}","authenticated_at":{time}}}}}"#,
        handle(number)
    );
    let mut record = record(&document, later());
    record.seen_at = at(millis);
    record
}

pub(crate) fn plain() -> SignIn {
    SignIn { facts: DeviceFacts::default(), replaces: None, limit: None }
}

pub(crate) fn revoked(millis: u64) -> Ending {
    Ending { end: End::Revoked, at: at(millis), reason: Some("a test".into()) }
}

/// Signs the user in under the key of this name.
pub(crate) async fn sign_in(store: &PostgresStore, name: &str, owner: &str, number: usize) {
    let answer = store.sign_in(None, &key(name), &session_of(owner, number, 0), &plain()).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
}

/// The session of this name.
pub(crate) async fn found(store: &PostgresStore, name: &str) -> Option<Record> {
    store.load(&key(name), at(0)).await.unwrap()
}

pub(crate) async fn live(store: &PostgresStore, owner: &str) -> Vec<Handle> {
    let devices = store.list(&owner.into(), at(0), &Page::first(1_000)).await.unwrap();
    devices.into_iter().map(|device| device.handle).collect()
}

/// How the owner's sessions ended, the latest first.
pub(crate) async fn ends(store: &PostgresStore, owner: &str) -> Vec<End> {
    let devices = store.history(&owner.into(), &Page::first(1_000)).await.unwrap();
    devices.into_iter().map(|device| device.ended.unwrap().end).collect()
}

/// One round that looks at so many rows.
pub(crate) async fn tidy(store: &PostgresStore, millis: u64, limit: u32) -> Tidied {
    let history = Duration::from_secs(86_400);
    store.tidy(&Tidy { now: at(millis), history, user_key: Some("userId"), limit }).await.unwrap()
}
