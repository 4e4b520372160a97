//! Sign-outs that wait for replicas, where those do not say anything, or others do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sessile_core::{Registry as _, Store as _};
use sessile_redis::RedisStore;
use sessile_testkit::redis::Server;
use tokio::task::JoinSet;

use crate::relay::Relay;
use crate::roads::{demote, follow, until};
use crate::sessions::{alive, insert, key, now, session_of, sign_in, signed_out};

/// A store that waits half a second for a replica, and a server that has none.
async fn alone() -> (Server, Arc<RedisStore>) {
    let server = Server::start();
    let builder = RedisStore::builder(server.url()).response_timeout(Duration::from_secs(2));
    let store = builder.wait_replicas(1, Duration::from_millis(500)).connect().await.unwrap();
    (server, Arc::new(store))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sign_outs_wait_together_and_hold_on_the_primary() {
    let (_server, store) = alone().await;
    for number in 0..40 {
        insert(&store, &number.to_string()).await;
    }
    let (begin, mut tasks) = (Instant::now(), JoinSet::new());
    for number in 0..40 {
        let store = store.clone();
        tasks.spawn(async move { store.remove(&key(&number.to_string()), &signed_out()).await });
    }
    for answer in tasks.join_all().await {
        let error = answer.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().contains("replicas"), "{error:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(4), "they waited for {:?}", begin.elapsed());
    for number in 0..40 {
        assert!(!alive(&store, &number.to_string()).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_of_everyone_holds_although_no_replica_has_it() {
    let (_server, store) = alone().await;
    let record = session_of("alice", 1);
    sign_in(&store, "a", "alice", 1).await;
    let before = now() + Duration::from_secs(60);
    let error = store.revoke_everyone(before, &signed_out()).await.unwrap_err();
    assert!(error.to_string().contains("replicas"), "{error:?}");
    let cut_off = store.load(&key("a"), record.seen_at).await.unwrap().unwrap().cut_off;
    assert!(cut_off.is_some_and(|cut_off| cut_off.before > record.seen_at), "{cut_off:?}");
}

/// Whoever was told to try again is not told that all is well because there is nothing left to end.
#[tokio::test]
async fn a_sign_out_that_is_tried_again_waits_again() {
    let (_server, store) = alone().await;
    insert(&store, "anonymous").await;
    sign_in(&store, "signed in", "alice", 1).await;
    for name in ["anonymous", "signed in"] {
        for turn in 0..2 {
            let answer = store.remove(&key(name), &signed_out()).await;
            assert!(answer.is_err_and(|error| error.is_unavailable()), "{name}, turn {turn}");
        }
    }
}

/// This line of the list of clients is a connection on which somebody waited for replicas.
fn waited(client: &str) -> bool {
    [" cmd=wait ", " cmd=info "].iter().any(|last| client.contains(last))
}

/// Ends the connection on which somebody waited for replicas.
fn kill_waiting(server: &Server) {
    let clients = server.ask("CLIENT LIST");
    let waiting = clients.lines().find(|client| waited(client)).expect("a connection that waited");
    let id = waiting.split_whitespace().find_map(|word| word.strip_prefix("id=")).unwrap();
    assert!(server.ask(&format!("CLIENT KILL ID {id}")).contains('1'));
}

/// In a failover one connection may lead to the old primary still and the other to the new one, whose replicas have what that
/// one has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_replicas_of_a_promoted_server_do_not_confirm_what_the_former_primary_did() {
    let start = || Server::start_with(&[("repl-diskless-sync-delay", "0")]);
    let (old, new, replica) = (start(), start(), start());
    follow(&new, &old).await;
    let relay = Relay::to(old.port()).await;
    let store = RedisStore::builder(relay.url()).wait_replicas(1, Duration::from_secs(2)).connect().await.unwrap();
    for name in ["a", "b"] {
        insert(&store, name).await;
    }
    sign_in(&store, "c", "alice", 1).await;
    assert!(store.remove(&key("a"), &signed_out()).await.unwrap());
    new.ask("REPLICAOF NO ONE");
    follow(&replica, &new).await;
    relay.move_to(new.port());
    kill_waiting(&old);
    for turn in 0..3 {
        for name in ["b", "c"] {
            let error = store.remove(&key(name), &signed_out()).await.expect_err(&format!("{name}, turn {turn}"));
            assert!(error.is_unavailable(), "{error:?}");
        }
        let answer = store.revoke_all(&"alice".into(), None, &signed_out()).await;
        assert!(answer.is_err_and(|error| error.is_unavailable()), "turn {turn}");
    }
    assert!(new.ask("CLIENT LIST").lines().any(waited), "the other connection leads to the promoted server");
    demote(&old);
    for name in ["b", "c"] {
        let ended = async || store.remove(&key(name), &signed_out()).await.is_ok_and(|ended| ended);
        until("the session to end where it is", ended).await;
    }
}
