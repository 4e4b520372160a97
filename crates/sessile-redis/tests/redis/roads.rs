//! Which server is talked to: the primary, and never one that was.

use std::process::Command;
use std::time::{Duration, Instant};

use sessile_core::{Store as _, Written};
use sessile_redis::RedisStore;
use sessile_testkit::redis::Server;

use crate::relay::Relay;
use crate::sessions::{alive, insert, key, now, signed_out};

/// How long a store may take to find the server that it is to talk to.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !is_so().await {
        assert!(begin.elapsed() < PATIENCE, "expected {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn follow(replica: &Server, primary: &Server) {
    replica.ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    until("a replica", async || replica.ask("INFO replication").contains("master_link_status:up")).await;
}

/// Makes it the replica of one who does not answer: it goes on with what it has.
pub(crate) fn demote(server: &Server) {
    assert!(server.ask("REPLICAOF 127.0.0.1 1").contains("OK"));
}

pub(crate) fn signal(server: &Server, signal: &str) {
    let info = server.ask("INFO server");
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().to_owned();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

#[tokio::test]
async fn a_replica_is_refused_when_a_store_is_opened() {
    let (primary, replica) = (Server::start(), Server::start());
    follow(&replica, &primary).await;
    let error = RedisStore::connect(replica.url()).await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("replica"), "{error:?}");
    RedisStore::connect(primary.url()).await.unwrap();
}

#[tokio::test]
async fn a_replica_is_refused_where_only_hello_tells() {
    let no_role = [("rename-command", "ROLE ")];
    let (primary, replica) = (Server::start(), Server::start_with(&no_role));
    let store = RedisStore::connect(replica.url()).await.unwrap();
    insert(&store, "a").await;
    follow(&replica, &primary).await;
    assert!(store.load(&key("a"), now()).await.unwrap_err().is_unavailable());
    assert!(RedisStore::connect(replica.url()).await.unwrap_err().is_config());
}

/// Nobody closed a connection, and the server has all it had: it is not asked all the same.
#[tokio::test]
async fn a_former_primary_is_neither_read_nor_written() {
    let server = Server::start();
    let store = RedisStore::connect(server.url()).await.unwrap();
    insert(&store, "a").await;
    demote(&server);
    for _ in 0..20 {
        let error = store.load(&key("a"), now()).await.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().contains("replica"), "{error:?}");
        assert!(store.touch(&key("b"), now(), now()).await.unwrap_err().is_unavailable());
        assert!(store.remove(&key("b"), &signed_out()).await.unwrap_err().is_unavailable());
    }
    server.ask("REPLICAOF NO ONE");
    until("the primary to be used again", async || store.load(&key("a"), now()).await.is_ok()).await;
    assert!(alive(&store, "a").await);
}

#[tokio::test]
async fn a_store_follows_an_address_that_moves_to_the_promoted_server() {
    let (old, new) = (Server::start_with(&[("repl-diskless-sync-delay", "0")]), Server::start());
    let relay = Relay::to(old.port()).await;
    let store = RedisStore::connect(relay.url()).await.unwrap();
    for name in ["out", "in"] {
        insert(&store, name).await;
    }
    follow(&new, &old).await;
    new.ask("REPLICAOF NO ONE");
    relay.move_to(new.port());
    demote(&old);
    let elsewhere = RedisStore::connect(new.url()).await.unwrap();
    assert!(elsewhere.remove(&key("out"), &signed_out()).await.unwrap());
    let is_out = async || match store.load(&key("out"), now()).await {
        Ok(found) => {
            assert!(found.is_none(), "the former primary was read");
            true
        }
        Err(error) => {
            assert!(error.is_unavailable(), "{error:?}");
            false
        }
    };
    until("the promoted server to be read", is_out).await;
    assert_eq!(store.touch(&key("in"), now(), now() + Duration::from_secs(60)).await.unwrap(), Written::Done);
}

/// A server that hangs closes nothing, and its kernel goes on saying that everything came.
#[tokio::test]
async fn a_server_that_hangs_is_left_for_the_one_that_has_its_address_now() {
    let (old, new) = (Server::start_with(&[("repl-diskless-sync-delay", "0")]), Server::start());
    let relay = Relay::to(old.port()).await;
    let builder = RedisStore::builder(relay.url()).response_timeout(Duration::from_millis(300));
    let store = builder.connect().await.unwrap();
    insert(&store, "a").await;
    follow(&new, &old).await;
    new.ask("REPLICAOF NO ONE");
    signal(&old, "-STOP");
    relay.move_to(new.port());
    until("the other server to be found", async || store.load(&key("a"), now()).await.is_ok()).await;
    assert!(alive(&store, "a").await);
}

/// Requests that come meanwhile do not wait for the connection one after the other.
#[tokio::test]
async fn what_comes_while_nobody_answers_fails_in_time() {
    let old = Server::start();
    let builder = RedisStore::builder(old.url()).response_timeout(Duration::from_millis(300));
    let store = builder.connect_timeout(Duration::from_millis(300)).connect().await.unwrap();
    signal(&old, "-STOP");
    for _ in 0..10 {
        let begin = Instant::now();
        assert!(store.load(&key("a"), now()).await.unwrap_err().is_unavailable());
        assert!(begin.elapsed() < Duration::from_millis(900), "it took {:?}", begin.elapsed());
    }
}

/// As the kernel shows it: the timer of a connection on which nothing happens is that of its keepalive.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_quiet_connection_is_kept_alive() {
    let server = Server::start();
    let store = RedisStore::connect(server.url()).await.unwrap();
    insert(&store, "a").await;
    let remote = format!("0100007F:{:04X}", server.port());
    let is_kept = || {
        let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let connections = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        connections.filter(|line| line[2] == remote && line[3] == "01").any(|line| line[5].starts_with("02:"))
    };
    until("a connection with keepalive", async || is_kept()).await;
}
