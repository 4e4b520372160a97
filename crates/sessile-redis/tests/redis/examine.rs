//! What the doctor is told of a server.

use sessile_core::{Check, Examine as _, Verdict};
use sessile_redis::RedisStore;
use sessile_testkit::redis::Server;

use crate::sessions::now;

async fn checks(server: &Server) -> Vec<Check> {
    RedisStore::builder(server.url()).examine(now()).await
}

fn verdicts(checks: &[Check]) -> Vec<(&str, Verdict)> {
    checks.iter().map(|check| (check.name, check.verdict)).collect()
}

#[tokio::test]
async fn a_server_is_told_what_its_settings_cost() {
    use Verdict::{Failed, Good, Warning};
    for (settings, eviction, durability) in [
        (&[("appendonly", "yes"), ("appendfsync", "always")][..], Good, Good),
        (&[], Good, Warning),
        (&[("maxmemory-policy", "allkeys-lru"), ("appendonly", "yes")], Failed, Warning),
    ] {
        let server = Server::start_with(settings);
        let checks = checks(&server).await;
        let expected = [
            ("redis.reachable", Good),
            ("redis.eviction", eviction),
            ("redis.durability", durability),
            ("redis.clock", Good),
        ];
        assert_eq!(verdicts(&checks), expected, "{checks:?}");
        assert!(server.ask("DBSIZE").starts_with(":0"), "a look writes nothing");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failed_check() {
    let mut server = Server::start();
    server.kill();
    let checks = checks(&server).await;
    assert_eq!(verdicts(&checks), [("redis.reachable", Verdict::Failed)]);
}
