//! The HTTP contract, over memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "what goes wrong here fails the test"
)]

use sessile_core::{Config, MemoryStore, Sessions};
use sessile_testkit::{conformance, http_contract};

struct Memory(MemoryStore);

impl http_contract::App for Memory {
    async fn serve(&self, config: Config) -> String {
        conformance::start(Sessions::new(self.0.clone(), config)).await
    }
}

http_contract!(memory, async || Memory(MemoryStore::new()));
