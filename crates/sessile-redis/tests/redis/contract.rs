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
