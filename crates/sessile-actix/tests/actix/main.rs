//! actix-web held to the contract of every adapter, over real connections; and what is actix-web's alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod conformance;
mod middleware;

use sessile_core::{Config, MemoryStore, Sessions};
use sessile_testkit::{http_contract, http_contract::App};

struct Memory(MemoryStore);

impl App for Memory {
    async fn serve(&self, config: Config) -> String {
        conformance::start(Sessions::new(self.0.clone(), config))
    }
}

http_contract!(memory, async || Memory(MemoryStore::new()));
