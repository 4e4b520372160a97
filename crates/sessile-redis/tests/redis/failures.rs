//! What servers do to a store: they die, forget scripts, close connections, evict, and deny.

use std::time::{Duration, Instant};

use sessile_core::{Registry as _, SignIn, SignedIn, Store as _, Written};
use sessile_redis::RedisStore;
use sessile_testkit::redis::Server;

use crate::sessions::{alive, handle_of, insert, key, now, sign_in, signed_out};

/// A server with these settings, and a store on it.
async fn on(settings: &[(&str, &str)]) -> (Server, RedisStore) {
    let server = Server::start_with(settings);
    let store = RedisStore::connect(server.url()).await.unwrap();
    (server, store)
}

/// Until the store answers again, or the test has waited for long enough.
async fn recovered(store: &RedisStore) {
    let begin = Instant::now();
    while store.load(&key("any"), now()).await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(20), "the store did not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_sign_out_survives_a_crash_of_a_server_that_flushes_every_write() {
    let (mut server, store) = on(&[("appendonly", "yes"), ("appendfsync", "always")]).await;
    sign_in(&store, "out", "alice", 1).await;
    sign_in(&store, "in", "alice", 2).await;
    insert(&store, "anonymous").await;
    assert!(store.remove(&key("out"), &signed_out()).await.unwrap());
    server.kill();
    assert!(store.load(&key("in"), now()).await.unwrap_err().is_unavailable());
    server.restart();
    recovered(&store).await;
    assert!(!alive(&store, "out").await, "the session that was signed out is back");
    assert!(alive(&store, "in").await && alive(&store, "anonymous").await, "what was acknowledged is gone");
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let (server, store) = on(&[]).await;
    sign_in(&store, "a", "alice", 1).await;
    assert!(server.ask("SCRIPT FLUSH").contains("OK"));
    let read = store.load(&key("a"), now()).await.unwrap().unwrap();
    assert_eq!(store.update(&key("a"), &read).await.unwrap(), Written::Done);
    assert!(server.ask("SCRIPT FLUSH").contains("OK"));
    assert!(store.remove(&key("a"), &signed_out()).await.unwrap());
}

#[tokio::test]
async fn a_lost_connection_is_found_again() {
    let (server, store) = on(&[]).await;
    insert(&store, "a").await;
    for _ in 0..5 {
        server.ask("CLIENT KILL TYPE normal SKIPME yes");
        recovered(&store).await;
        assert!(alive(&store, "a").await);
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_in_time() {
    let server = Server::start();
    let builder = RedisStore::builder(server.url()).response_timeout(Duration::from_millis(300));
    let store = builder.connect().await.unwrap();
    insert(&store, "a").await;
    let hanging = std::thread::spawn({
        let port = server.port();
        move || sessile_testkit::redis::ask(port, "DEBUG SLEEP 2")
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begin = Instant::now();
    let error = store.load(&key("a"), now()).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(1), "it waited for {:?}", begin.elapsed());
    hanging.join().unwrap();
    recovered(&store).await;
    assert!(alive(&store, "a").await);
}

#[tokio::test]
async fn a_server_that_may_evict_live_sessions_is_refused_unless_allowed() {
    for policy in ["allkeys-lru", "allkeys-random", "volatile-ttl", "volatile-lfu"] {
        let server = Server::start_with(&[("maxmemory-policy", policy), ("maxmemory", "100mb")]);
        let error = RedisStore::connect(server.url()).await.unwrap_err();
        assert!(error.is_config() && error.to_string().contains(policy), "{error:?}");
        let store = RedisStore::builder(server.url()).allow_eviction(true).connect().await.unwrap();
        insert(&store, "a").await;
    }
    on(&[("maxmemory", "100mb")]).await;
}

#[tokio::test]
async fn a_server_that_tells_nothing_of_its_settings_is_used() {
    let server = Server::start_with(&[("rename-command", "CONFIG ")]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    assert!(store.description().contains("durability unknown"), "{}", store.description());
    sign_in(&store, "a", "alice", 1).await;
}

#[tokio::test]
async fn the_description_says_what_is_kept() {
    for (settings, expected) in [
        (&[][..], "no append-only file"),
        (&[("appendonly", "yes"), ("appendfsync", "everysec")], "flushed every second"),
        (&[("appendonly", "yes"), ("appendfsync", "always")], "flushed with every write"),
    ] {
        let (_server, store) = on(settings).await;
        let said = store.description();
        assert!(said.contains(expected) && said.starts_with("Redis "), "{said}");
    }
}

#[tokio::test]
async fn a_password_opens_and_is_never_shown() {
    let server = Server::start_with(&[("requirepass", "very-secret")]);
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", server.port());
    let store = RedisStore::connect(url("very-secret")).await.unwrap();
    insert(&store, "a").await;
    let wrong = RedisStore::connect(url("also-secret")).await.unwrap_err();
    assert!(wrong.is_unavailable(), "{wrong:?}");
    let shown = format!("{store:?} {} {wrong:?} {wrong}", store.description());
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn the_newer_protocol_is_spoken_where_it_is_offered() {
    let (server, store) = on(&[]).await;
    insert(&store, "a").await;
    assert!(server.ask("CLIENT LIST").lines().any(|line| line.contains("resp=3")), "nobody speaks RESP3");
    let old = Server::start_with(&[("rename-command", "HELLO ")]);
    let store = RedisStore::connect(old.url()).await.unwrap();
    sign_in(&store, "a", "alice", 1).await;
    assert!(alive(&store, "a").await);
}

#[tokio::test]
async fn a_sign_out_that_no_replica_confirms_fails_and_is_over_all_the_same() {
    let server = Server::start();
    let builder = RedisStore::builder(server.url()).wait_replicas(1, Duration::from_millis(50));
    let store = builder.connect().await.unwrap();
    sign_in(&store, "a", "alice", 1).await;
    insert(&store, "b").await;
    for name in ["a", "b"] {
        let error = store.remove(&key(name), &signed_out()).await.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().contains("replicas"), "{error:?}");
        assert!(!alive(&store, name).await);
    }
    sign_in(&store, "c", "alice", 3).await;
    assert!(store.revoke_all(&"alice".into(), None, &signed_out()).await.is_err());
    assert!(!alive(&store, "c").await);
}

#[tokio::test]
async fn rows_outlive_their_end_and_are_thrown_away_at_last() {
    let (server, store) = on(&[]).await;
    insert(&store, "a").await;
    let keys = server.ask("KEYS *");
    let name = keys.lines().find(|line| line.contains(":k:a")).unwrap().trim().to_owned();
    let answer = server.ask(&format!("PTTL {name}"));
    let ttl: i64 = answer.lines().next().unwrap().trim_start_matches(':').trim().parse().unwrap();
    let (hour, week) = (3_600_000, 7 * 24 * 3_600_000);
    // Ends are rounded up to whole milliseconds.
    assert!(ttl > hour + week - 60_000 && ttl <= hour + week + 1, "{ttl}");
}

/// What leads to a session is kept for as long as the session may last, however much longer that became.
#[tokio::test]
async fn a_key_leads_to_its_session_for_as_long_as_that_lives() {
    let (server, store) = on(&[]).await;
    sign_in(&store, "a", "alice", 1).await;
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!(store.touch(&key("a"), now(), now() + days(3_000)).await.unwrap(), Written::Done);
    for part in [":k:a", handle_of(1).as_str()] {
        for name in server.ask("KEYS *").lines().map(str::trim).filter(|name| name.ends_with(part)) {
            let answer = server.ask(&format!("PTTL {name}"));
            let ttl: u64 = answer.lines().next().unwrap().trim_start_matches(':').trim().parse().unwrap();
            assert!(Duration::from_millis(ttl) > days(3_000), "{name} is kept for {ttl} ms");
        }
    }
}

/// The three steps of a move, as a process leaves them that dies after the first or the second.
#[tokio::test]
async fn whoever_dies_between_two_steps_leaves_one_live_session() {
    let (server, store) = on(&[]).await;
    sign_in(&store, "warm", "bob", 9).await;
    insert(&store, "old").await;
    let read = store.load(&key("old"), now()).await.unwrap().unwrap();
    let names: Vec<_> = server.ask("KEYS *").lines().map(|line| line.trim().to_owned()).collect();
    let name = |part: &str| names.iter().find(|name| name.ends_with(part)).cloned().unwrap();
    let old = name(":k:old");
    // Where the new one will be: moved there, looked at, and taken back to where a dead process would have left it.
    assert_eq!(store.rotate(&key("old"), &key("new"), &read).await.unwrap(), Written::Done);
    let names: Vec<_> = server.ask("KEYS *").lines().map(|line| line.trim().to_owned()).collect();
    let new = names.iter().find(|name| name.ends_with(":k:new")).cloned().unwrap();
    server.ask(&format!("HSET {new} st pend tx T src k:old"));
    assert!(!alive(&store, "new").await, "it has not left the other place with this move");
    let update = store.update(&key("new"), &read).await.unwrap();
    assert_eq!(update, Written::Gone);
    server.ask(&format!("HSET {old} out T"));
    assert!(alive(&store, "new").await, "it has left, so it is here");
    assert!(!alive(&store, "old").await);
}

#[tokio::test]
async fn a_sign_in_that_died_on_its_way_is_settled_by_whoever_looks() {
    let (server, store) = on(&[]).await;
    sign_in(&store, "a", "alice", 1).await;
    let names: Vec<_> = server.ask("KEYS *").lines().map(|line| line.trim().to_owned()).collect();
    let device = names.iter().find(|name| name.ends_with(handle_of(1).as_str()) && name.contains(":d:")).unwrap();
    server.ask(&format!("HSET {device} st pend tx T src k:cart lim 0"));
    assert!(!alive(&store, "a").await);
    insert(&store, "cart").await;
    let names: Vec<_> = server.ask("KEYS *").lines().map(|line| line.trim().to_owned()).collect();
    let cart = names.iter().find(|name| name.ends_with(":k:cart")).unwrap();
    assert!(store.list(&"alice".into(), now(), &sessile_core::Page::first(9)).await.unwrap().is_empty());
    server.ask(&format!("HSET {cart} out T"));
    assert!(alive(&store, "a").await);
    assert_eq!(store.list(&"alice".into(), now(), &sessile_core::Page::first(9)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_never_arrives_is_cleared_away_and_frees_its_place() {
    let (server, store) = on(&[]).await;
    sign_in(&store, "a", "alice", 1).await;
    let names: Vec<_> = server.ask("KEYS *").lines().map(|line| line.trim().to_owned()).collect();
    let device = names.iter().find(|name| name.ends_with(handle_of(1).as_str()) && name.contains(":d:")).unwrap();
    server.ask(&format!("HSET {device} st pend tx T src k:nowhere lim 0"));
    let deny = sessile_core::Limit { sessions: 1, policy: sessile_core::AtLimit::Deny };
    let limited = SignIn { limit: Some(deny), ..crate::sessions::plain() };
    let record = crate::sessions::session_of("alice", 2);
    let full = store.sign_in(None, &key("b"), &record, &limited).await.unwrap();
    assert_eq!(full, SignedIn::Full, "what is on its way counts");
    let tidy = sessile_core::Tidy {
        now: now() + Duration::from_secs(31),
        history: Duration::from_secs(3_600),
        user_key: None,
        limit: 100,
    };
    let tidied = store.tidy(&tidy).await.unwrap();
    assert!(tidied.ended.is_empty());
    assert_eq!(store.sign_in(None, &key("b"), &record, &limited).await.unwrap(), SignedIn::Done(vec![]));
}
