//! The store contract on the shortest store there is, and the tools that turn clocks and watch stores.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::{Duration, SystemTime};

use sessile_core::{Clock as _, MemoryStore, Store as _};
use sessile_testkit::clock::ManualClock;
use sessile_testkit::spy::{Call, SpyStore};
use sessile_testkit::{contract, store_contract};

struct Memory(MemoryStore);

impl contract::Fixture for Memory {
    type Store = MemoryStore;

    async fn open(&self) -> MemoryStore {
        self.0.clone()
    }
}

store_contract!(memory, async || Memory(MemoryStore::new()));

/// The spy does what the store does that it watches.
struct Watched(SpyStore<MemoryStore>);

impl contract::Fixture for Watched {
    type Store = SpyStore<MemoryStore>;

    async fn open(&self) -> Self::Store {
        self.0.clone()
    }
}

store_contract!(watched, async || Watched(SpyStore::new(MemoryStore::new())));

#[test]
fn every_clause_is_in_the_macro() {
    let files = [
        include_str!("../src/contract/crowd.rs"),
        include_str!("../src/contract/ends.rs"),
        include_str!("../src/contract/operations.rs"),
        include_str!("../src/contract/registry.rs"),
        include_str!("../src/contract/revocations.rs"),
        include_str!("../src/contract/stats.rs"),
        include_str!("../src/contract/sweeps.rs"),
        include_str!("../src/contract/transfers.rs"),
        include_str!("../src/contract/values.rs"),
        include_str!("../src/contract/writes.rs"),
    ];
    let listed = include_str!("../src/contract.rs");
    let clauses = files
        .iter()
        .flat_map(|file| file.lines())
        .filter_map(|line| line.strip_prefix("pub async fn ").and_then(|rest| rest.split('(').next()));
    let missing: Vec<_> = clauses.filter(|clause| !listed.contains(&format!("                {clause}\n"))).collect();
    assert!(missing.is_empty(), "not run by store_contract!: {missing:?}");
}

#[test]
fn a_manual_clock_stands_still_until_it_is_turned() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
    let other = clock.clone();
    assert_eq!(clock.now(), SystemTime::UNIX_EPOCH);
    other.advance(Duration::from_millis(1_500));
    assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
    other.set(SystemTime::UNIX_EPOCH);
    assert_eq!(clock.now(), SystemTime::UNIX_EPOCH);
}

#[tokio::test]
async fn a_spy_notes_every_call_and_fails_as_told() {
    let spy = SpyStore::new(MemoryStore::new());
    let (key, end) = (contract::key("a"), SystemTime::UNIX_EPOCH);
    let load = async || spy.load(&key, end).await.map(drop);
    let remove = async || spy.remove(&key, &contract::signed_out()).await.map(drop);

    spy.clone().fail_next(2);
    assert!(load().await.is_err_and(|error| error.is_unavailable()));
    assert!(remove().await.is_err());
    assert!(load().await.is_ok());

    spy.fail_all(Call::Remove);
    assert!(remove().await.is_err());
    assert!(remove().await.is_err());
    assert!(load().await.is_ok());
    assert_eq!(spy.calls(), [Call::Load, Call::Remove, Call::Load, Call::Remove, Call::Remove, Call::Load]);

    spy.work();
    spy.clear();
    assert!(remove().await.is_ok());
    assert_eq!(spy.clone().calls(), [Call::Remove]);
}
