//! Figures of a store that has more rows than are looked at.

use std::sync::Arc;

use sessile_core::{Page, Registry as _, Stats};
use sessile_redis::RedisStore;
use sessile_testkit::redis::Server;
use tokio::task::JoinSet;

use crate::sessions::{insert, now, sign_in, signed_out};

/// Half of them have a user, and half of those are one user's.
const SESSIONS: usize = 3_000;

/// How often the server was asked this since it started.
fn calls(server: &Server, command: &str) -> usize {
    let told = server.ask("INFO commandstats");
    let calls =
        told.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls="))?.split(',').next());
    calls.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_store_is_counted_by_its_indexes_and_looked_at_in_part() {
    let server = Server::start();
    let store = Arc::new(RedisStore::connect(server.url()).await.unwrap());
    let mut tasks = JoinSet::new();
    for part in 0..20 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in (part..SESSIONS).step_by(20) {
                match number % 4 {
                    0 => sign_in(&store, &number.to_string(), "busy", number).await,
                    1 => sign_in(&store, &number.to_string(), &format!("user {number}"), number).await,
                    _ => insert(&store, &number.to_string()).await,
                }
            }
        });
    }
    tasks.join_all().await;
    let (before, at) = (calls(&server, "hmget"), now());
    let stats = Stats::stats(&*store, at, 2).await.unwrap();
    let looked = calls(&server, "hmget") - before;
    assert!(looked < 2_400, "{looked} hashes were read for the figures of {SESSIONS} sessions");
    assert_eq!((stats.active, stats.expired), (SESSIONS as u64, 0));
    assert_eq!(stats.expiring.iter().sum::<u64>(), SESSIONS as u64);
    assert_eq!(stats.top_owners[0], ("busy".into(), SESSIONS as u64 / 4), "{:?}", stats.top_owners);
    assert!(stats.signed_in.abs_diff(SESSIONS as u64 / 2) < SESSIONS as u64 / 10, "{}", stats.signed_in);
    // Nobody is kept waiting by one script for all of them.
    let scripts = calls(&server, "evalsha");
    let ended = store.revoke_all(&"busy".into(), None, &signed_out()).await.unwrap();
    assert_eq!(ended.len(), SESSIONS / 4);
    assert!(calls(&server, "evalsha") >= scripts + 4, "{} scripts", calls(&server, "evalsha") - scripts);
    assert!(store.list(&"busy".into(), at, &Page::first(9)).await.unwrap().is_empty());
    assert!(stats.average_bytes.is_some_and(|bytes| bytes > 50) && stats.oldest_expiry.is_some_and(|end| end > at));
}
