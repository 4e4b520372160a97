//! The store contract, on each kind of server. Fixtures share servers and differ in their prefix.

use sessile_redis::RedisStore;
use sessile_testkit::{contract, redis, store_contract};

struct Redis {
    url: String,
    prefix: String,
}

impl Redis {
    fn at(url: String) -> Self {
        Self { url, prefix: redis::prefix() }
    }
}

impl contract::Fixture for Redis {
    type Store = RedisStore;

    async fn open(&self) -> RedisStore {
        RedisStore::builder(&self.url).prefix(&self.prefix).connect().await.unwrap()
    }
}

store_contract!(one_server, async || Redis::at(redis::shared()));

store_contract!(cluster, async || Redis::at(redis::shared_cluster()));

// Where Valkey is not installed its clauses run on Redis once more, and the test of that name says so.
store_contract!(valkey, async || Redis::at(redis::shared_valkey().unwrap_or_else(redis::shared)));

#[tokio::test]
async fn the_clauses_for_valkey_run_on_valkey_where_it_is_installed() {
    let Some(url) = redis::shared_valkey() else { return };
    let fixture = Redis::at(url);
    let described = sessile_core::Store::description(&contract::Fixture::open(&fixture).await);
    assert!(described.starts_with("Valkey 8"), "{described}");
}
