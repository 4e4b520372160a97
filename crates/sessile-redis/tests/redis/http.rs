//! The HTTP contract, two instances on one server and on a cluster.

use sessile_core::{Config, Sessions};
use sessile_redis::RedisStore;
use sessile_testkit::{conformance, http_contract, redis};

struct Redis {
    url: String,
    prefix: String,
}

impl Redis {
    fn at(url: String) -> Self {
        Self { url, prefix: redis::prefix() }
    }
}

impl http_contract::App for Redis {
    async fn serve(&self, config: Config) -> String {
        let store = RedisStore::builder(&self.url).prefix(&self.prefix).connect().await.unwrap();
        conformance::start(Sessions::new(store, config)).await
    }
}

http_contract!(two_instances, async || Redis::at(redis::shared()));

http_contract!(two_instances_on_a_cluster, async || Redis::at(redis::shared_cluster()));
