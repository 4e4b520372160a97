//! The store contract on the shortest store there is, and the tools that turn clocks and watch stores.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use sessile_core::MemoryStore;
use sessile_testkit::{contract, store_contract};

struct Memory(MemoryStore);

impl contract::Fixture for Memory {
    type Store = MemoryStore;

    async fn open(&self) -> MemoryStore {
        self.0.clone()
    }
}

store_contract!(memory, async || Memory(MemoryStore::new()));

#[test]
fn every_clause_is_in_the_macro() {
    let files = [
        include_str!("../src/contract/crowd.rs"),
        include_str!("../src/contract/ends.rs"),
        include_str!("../src/contract/sweeps.rs"),
        include_str!("../src/contract/values.rs"),
        include_str!("../src/contract/writes.rs"),
    ];
    let listed = include_str!("../src/contract.rs");
    let clauses = files.iter().flat_map(|file| file.lines()).filter_map(|line| {
        line.strip_prefix("pub async fn ").and_then(|rest| rest.split('(').next())
    });
    let missing: Vec<_> = clauses.filter(|clause| !listed.contains(&format!("                {clause}\n"))).collect();
    assert!(missing.is_empty(), "not run by store_contract!: {missing:?}");
}
