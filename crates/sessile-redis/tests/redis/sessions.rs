//! Sessions for the tests that are not the contract's.

use std::time::{Duration, SystemTime};

use sessile_core::{
    Clock as _, DeviceFacts, Ending, Handle, Record, Registry as _, SignIn, SignedIn, Store as _, StoreKey,
    SystemClock, Written,
};
use sessile_redis::RedisStore;
use sessile_testkit::contract;

pub(crate) fn now() -> SystemTime {
    SystemClock.now()
}

pub(crate) fn key(name: &str) -> StoreKey {
    contract::key(name)
}

pub(crate) fn signed_out() -> Ending {
    Ending { at: now(), ..contract::signed_out() }
}

pub(crate) fn plain() -> SignIn {
    SignIn { facts: DeviceFacts::default(), replaces: None, limit: None }
}

pub(crate) fn handle_of(number: usize) -> Handle {
    Handle::parse(&format!("00000000-0000-4000-8000-{number:012x}")).unwrap()
}

/// A session that ends in an hour.
fn record(document: &str) -> Record {
    let mut record = contract::record(document, now() + Duration::from_secs(3_600));
    record.seen_at = now();
    record
}

pub(crate) fn session_of(owner: &str, number: usize) -> Record {
    let time = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let facts = format!(
        r#"{{"handle":"{}","created_at":{time},"owner":"{owner}","authenticated_at":{time}}}"#,
        handle_of(number)
    );
    record(&format!(r#"{{"cookie":{{"originalMaxAge":3600000,"path":"/"}},"v":1,"sessile":{facts}}}"#))
}

pub(crate) async fn insert(store: &RedisStore, name: &str) {
    let record = record(r#"{"cookie":{"originalMaxAge":3600000,"path":"/"},"v":1}"#);
    assert_eq!(store.insert(&key(name), &record).await.unwrap(), Written::Done);
}

pub(crate) async fn sign_in(store: &RedisStore, name: &str, owner: &str, number: usize) {
    let answer = store.sign_in(None, &key(name), &session_of(owner, number), &plain()).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
}

pub(crate) async fn alive(store: &RedisStore, name: &str) -> bool {
    store.load(&key(name), now()).await.unwrap().is_some()
}
