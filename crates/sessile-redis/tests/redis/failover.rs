//! A cluster whose primary dies while it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sessile_core::Store as _;
use sessile_redis::RedisStore;
use sessile_testkit::redis::Cluster;

use crate::sessions::{alive, insert, key, now, session_of, sign_in, signed_out};

/// Sessions enough to have some on each of three servers.
const SESSIONS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_dies_during_traffic_and_what_was_signed_out_stays_out() {
    let mut cluster = Cluster::start();
    let builder = RedisStore::builder(cluster.url()).wait_replicas(1, Duration::from_secs(5));
    let store = Arc::new(builder.response_timeout(Duration::from_secs(2)).connect().await.unwrap());
    for number in 0..SESSIONS {
        sign_in(&store, &format!("session {number}"), &format!("user {number}"), number).await;
        insert(&store, &format!("anonymous {number}")).await;
    }
    for number in (0..SESSIONS).step_by(2) {
        for name in [format!("session {number}"), format!("anonymous {number}")] {
            assert!(store.remove(&key(&name), &signed_out()).await.unwrap(), "acknowledged by a replica");
        }
    }

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let traffic = tokio::spawn({
        let (store, stop, done) = (store.clone(), stop.clone(), done.clone());
        async move {
            let mut failed = 0;
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let record = session_of("busy", 1_000 + number);
                match store.insert(&key(&format!("busy {number}")), &record).await {
                    Ok(_) => drop(done.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => {
                        assert!(error.is_unavailable(), "{error:?}");
                        failed += 1;
                    }
                }
            }
            failed
        }
    });
    let victim = (0..6).find(|server| cluster.is_primary(*server)).unwrap();
    cluster.servers()[victim].kill();

    // The replica takes over: every session can be read and written again.
    let begin = Instant::now();
    loop {
        let mut failures = 0;
        for number in 0..SESSIONS {
            failures += usize::from(store.load(&key(&format!("session {number}")), now()).await.is_err());
        }
        if failures == 0 {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "no replica took over");
    }
    let before = done.load(Ordering::Relaxed);
    while done.load(Ordering::Relaxed) < before + 100 {
        assert!(begin.elapsed() < Duration::from_secs(60), "writes do not go on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    traffic.await.unwrap();
    assert_eq!((0..6).filter(|server| *server != victim && cluster.is_primary(*server)).count(), 3);

    for number in 0..SESSIONS {
        for kind in ["session", "anonymous"] {
            let lives = alive(&store, &format!("{kind} {number}")).await;
            assert!(!lives || number % 2 == 1, "{kind} {number} was signed out and lives");
        }
        let found = store.load(&key(&format!("session {number}")), now()).await.unwrap();
        assert_eq!(found.is_some(), number % 2 == 1, "session {number}");
    }
}

/// A primary that hangs closes no connection. The cluster elects another, and the store finds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hangs_is_left_for_the_one_that_took_over() {
    let mut cluster = Cluster::start();
    let builder = RedisStore::builder(cluster.url()).response_timeout(Duration::from_millis(500));
    let store = Arc::new(builder.connect().await.unwrap());
    for number in 0..SESSIONS {
        sign_in(&store, &format!("session {number}"), &format!("user {number}"), number).await;
    }
    let victim = (0..6).find(|server| cluster.is_primary(*server)).unwrap();
    crate::roads::signal(&cluster.servers()[victim], "-STOP");
    let begin = Instant::now();
    for number in 0..SESSIONS {
        while store.load(&key(&format!("session {number}")), now()).await.is_err() {
            assert!(begin.elapsed() < Duration::from_secs(40), "session {number} cannot be read");
        }
        assert!(alive(&store, &format!("session {number}")).await, "session {number}");
    }
}

/// Before the first of its keys has moved, half of what is asked for together is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_read_while_their_slot_moves() {
    let mut cluster = Cluster::start();
    let store = RedisStore::connect(cluster.url()).await.unwrap();
    sign_in(&store, "signed in", "alice", 1).await;
    insert(&store, "anonymous").await;
    let primaries: Vec<_> = (0..6).filter(|server| cluster.is_primary(*server)).collect();
    let servers = cluster.servers();
    for part in [":k:anonymous", ":k:signed", ":d:"] {
        let found = primaries.iter().find_map(|server| {
            let names = servers[*server].ask("KEYS *");
            let name = names.lines().find(|name| name.contains(part))?.trim().to_owned();
            Some((*server, name))
        });
        let (from, name) = found.unwrap();
        let to = *primaries.iter().find(|server| **server != from).unwrap();
        let tag = name.split_inclusive('}').next().unwrap();
        let slot = servers[from].ask(&format!("CLUSTER KEYSLOT {tag}"));
        let slot = slot.lines().next().unwrap().trim_start_matches(':').trim().to_owned();
        let id = |server: usize| servers[server].ask("CLUSTER MYID").lines().nth(1).unwrap().trim().to_owned();
        assert!(servers[to].ask(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(from))).contains("OK"));
        assert!(servers[from].ask(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(to))).contains("OK"));
    }
    assert!(alive(&store, "anonymous").await);
    assert!(alive(&store, "signed in").await);
}
