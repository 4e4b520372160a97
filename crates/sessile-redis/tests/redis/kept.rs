//! How long the server keeps what belongs to a session: as long as the session may live, however much longer that became.

use std::time::{Duration, SystemTime};

use sessile_core::{DeviceFacts, Ending, Fate, Registry as _, SignIn, SignedIn, Store as _, Written};
use sessile_redis::RedisStore;
use sessile_testkit::contract;
use sessile_testkit::redis::Server;

use crate::sessions::{alive, handle_of, key, now, plain, session_of, sign_in, signed_out};

fn far_away() -> SystemTime {
    now() + Duration::from_secs(3_000 * 86_400)
}

async fn start() -> (Server, RedisStore) {
    let server = Server::start();
    let store = RedisStore::connect(server.url()).await.unwrap();
    (server, store)
}

/// The name of a key that ends with this.
fn name(server: &Server, end: &str) -> String {
    let names = server.ask("KEYS *");
    let name = names.lines().map(str::trim).find(|name| name.ends_with(end));
    name.unwrap_or_else(|| panic!("expected a key that ends with {end}, found {names}")).to_owned()
}

/// For how long it is kept.
fn kept(server: &Server, end: &str) -> Duration {
    let answer = server.ask(&format!("PTTL {}", name(server, end)));
    Duration::from_millis(answer.lines().next().unwrap().trim_start_matches(':').trim().parse().unwrap())
}

/// Signs the user in from a session of a provider.
async fn sign_in_by_provider(store: &RedisStore, name: &str, owner: &str, number: usize) {
    let provider_session = Some(format!("provider-{owner}").into());
    let sign_in = SignIn { facts: DeviceFacts { provider_session, ..DeviceFacts::default() }, ..plain() };
    let answer = store.sign_in(None, &key(name), &session_of(owner, number), &sign_in).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
}

#[tokio::test]
async fn whatever_prolongs_a_session_keeps_all_that_belongs_to_it() {
    let (server, store) = start().await;
    for (number, how) in ["touch", "update", "rotate", "sign-in"].into_iter().enumerate() {
        sign_in_by_provider(&store, how, how, number).await;
        let mut read = store.load(&key(how), now()).await.unwrap().unwrap();
        read.expires_at = far_away();
        let next = key(&format!("{how}-next"));
        let written = match how {
            "touch" => store.touch(&key(how), now(), far_away()).await.unwrap(),
            "update" => store.update(&key(how), &read).await.unwrap(),
            "rotate" => store.rotate(&key(how), &next, &read).await.unwrap(),
            _ => match store.sign_in(Some(&key(how)), &next, &read, &plain()).await.unwrap() {
                SignedIn::Done(_) => Written::Done,
                other => panic!("{other:?}"),
            },
        };
        assert_eq!(written, Written::Done, "{how}");
        let (device, handle) = (format!(":d:{}", handle_of(number)), format!(":h:{}", handle_of(number)));
        let lead = if how.len() > 6 || how == "rotate" { format!(":k:{how}-next") } else { format!(":k:{how}") };
        for part in [format!(":l:{how}"), format!(":s:provider-{how}"), device, handle, lead] {
            let (kept, least) = (kept(&server, &part), Duration::from_secs(2_999 * 86_400));
            assert!(kept > least, "after a {how}, {part} is kept for {} days", kept.as_secs() / 86_400);
        }
    }
}

#[tokio::test]
async fn a_set_of_live_sessions_that_was_lost_is_made_again_by_whoever_uses_one() {
    let (server, store) = start().await;
    for (number, how) in ["touch", "update", "rotate"].into_iter().enumerate() {
        sign_in(&store, how, "alice", number).await;
        server.ask(&format!("DEL {}", name(&server, ":l:alice")));
        let (read, next) = (store.load(&key(how), now()).await.unwrap().unwrap(), key(&format!("{how}-next")));
        let written = match how {
            "touch" => store.touch(&key(how), now(), read.expires_at).await.unwrap(),
            "update" => store.update(&key(how), &read).await.unwrap(),
            _ => store.rotate(&key(how), &next, &read).await.unwrap(),
        };
        assert_eq!(written, Written::Done);
        let ended = store.revoke_all(&"alice".into(), None, &signed_out()).await.unwrap();
        assert_eq!(ended.len(), 1, "{how}");
        assert!(!alive(&store, how).await && store.load(&next, now()).await.unwrap().is_none(), "{how}");
    }
}

/// Whoever signed in before a cut-off may come with that for as long as sessions may last.
#[tokio::test]
async fn a_cut_off_is_kept_for_as_long_as_there_may_be_what_it_ended() {
    for (end, expected) in [(now(), SignedIn::Done(Vec::new())), (far_away(), SignedIn::CutOff)] {
        let (_server, store) = start().await;
        let mut long = session_of("bob", 1);
        long.expires_at = end.max(long.expires_at);
        assert_eq!(store.sign_in(None, &key("long"), &long, &plain()).await.unwrap(), SignedIn::Done(Vec::new()));
        let late = session_of("alice", 2);
        let ending = Ending { at: now() + Duration::from_secs(60), ..signed_out() };
        store.revoke_all(&"alice".into(), None, &ending).await.unwrap();
        let tidy = sessile_core::Tidy {
            now: now() + Duration::from_secs(500 * 86_400),
            history: Duration::from_secs(86_400),
            user_key: None,
            limit: 100,
        };
        store.tidy(&tidy).await.unwrap();
        assert_eq!(store.sign_in(None, &key("late"), &late, &plain()).await.unwrap(), expected);
    }
}

/// The server throws rows away at last, which nobody swept. They are not counted for ever.
#[tokio::test]
async fn what_the_server_threw_away_is_taken_out_of_the_indexes() {
    let (server, store) = start().await;
    sign_in(&store, "a", "alice", 1).await;
    sign_in(&store, "b", "alice", 2).await;
    assert!(store.remove(&key("b"), &signed_out()).await.unwrap());
    for number in [1, 2] {
        server.ask(&format!("DEL {}", name(&server, &format!(":d:{}", handle_of(number)))));
    }
    let later = now() + Duration::from_secs(2 * 86_400);
    let history = Duration::from_secs(86_400);
    let tidy = sessile_core::Tidy { now: later, history, user_key: None, limit: 100 };
    store.tidy(&tidy).await.unwrap();
    store.sweep().unwrap().sweep(later, 100).await.unwrap();
    for index in [":born", ":ends", ":gone"] {
        let names = server.ask("KEYS *");
        assert!(!names.lines().any(|name| name.trim().ends_with(index)), "{index} is not empty: {names}");
    }
}

/// The key says where its session went in a step of its own. Whoever dies before it leaves that to the session.
#[tokio::test]
async fn a_key_whose_note_was_lost_is_known_to_have_moved_by_a_sign_in() {
    for (number, owner) in ["alice", "bob"].into_iter().enumerate() {
        let (server, store) = start().await;
        sign_in(&store, "old", "alice", 0).await;
        let read = store.load(&key("old"), now()).await.unwrap().unwrap();
        let mut record = session_of(owner, number);
        record.revision = read.revision;
        let answer = store.sign_in(Some(&key("old")), &key("new"), &record, &plain()).await.unwrap();
        assert_eq!(answer, SignedIn::Done(Vec::new()));
        server.ask(&format!("HDEL {} to at", name(&server, ":k:old")));
        let fate = store.fate(&key("old")).await.unwrap();
        assert!(matches!(&fate, Some(Fate::Moved { to, .. }) if *to == key("new")), "{owner}: {fate:?}");
        let ending = Ending { at: now(), ..signed_out() };
        assert!(store.remove(&key("new"), &ending).await.unwrap());
    }
}

/// A cluster's client sends a change again when the connection breaks before its answer came, and others may have come in
/// between.
#[tokio::test]
async fn a_change_that_is_sent_twice_is_known_again() {
    const WRITE: &str = concat!(include_str!("../../src/lua/common.lua"), include_str!("../../src/lua/write.lua"));
    let server = Server::start();
    let client = redis::Client::open(server.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let row = ["place", "st", "live", "key", "k", "end", "9999999999999", "rev", "r0", "doc", "d0"];
    let () = redis::cmd("HSET").arg(&row).query_async(&mut redis).await.unwrap();
    let mut write = async |read: &str, number: u32, by: &str| -> String {
        let (doc, rev) = (format!("d{number}"), format!("r{number}"));
        let arguments = ["k", "1", read, &doc, &rev, "9999999999999", "60000", "k:k", by];
        let mut command = redis::cmd("EVAL");
        command.arg(WRITE).arg(2).arg("place").arg("ends").arg(&arguments);
        command.query_async(&mut redis).await.unwrap()
    };
    assert_eq!(write("r0", 1, "one").await, "done");
    for (number, by) in [(2, "two"), (3, "three"), (4, "four")] {
        assert_eq!(write(&format!("r{}", number - 1), number, by).await, "done");
        assert_eq!(write("r0", 1, "one").await, "done", "it was written before {by}");
    }
    assert_eq!(write("r0", 1, "on").await, "stale", "that is another's name");
    assert!(server.ask("HGET place doc").contains("d4"), "what was sent again is not written again");
}

/// The server drops what expired long ago by itself, but for its name in an index.
#[tokio::test]
async fn what_the_server_has_dropped_does_not_keep_a_sweep_from_what_is_there() {
    let (server, store) = start().await;
    let insert = async |name: String, seconds: u64| {
        let mut record = contract::record(r#"{"cookie":{}}"#, now() + Duration::from_secs(seconds));
        record.seen_at = now();
        assert_eq!(store.insert(&key(&name), &record).await.unwrap(), Written::Done);
    };
    for number in 0..400 {
        insert(format!("dropped {number}"), 60).await;
    }
    for name in server.ask("KEYS *").lines().map(str::trim).filter(|name| name.contains(":k:")) {
        server.ask(&format!("DEL \"{name}\""));
    }
    for number in 0..20 {
        insert(format!("there {number}"), 120).await;
    }
    let (mut removed, later) = (0, now() + Duration::from_secs(600));
    loop {
        let step = store.sweep().unwrap().sweep(later, 2).await.unwrap().removed;
        removed += step;
        if step < 2 {
            break;
        }
    }
    assert_eq!(removed, 20);
}
