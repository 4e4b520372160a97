//! Tidying: the damage that other programs and operators do, and what is put right in how many steps.

use std::time::{Duration, SystemTime};

use sessile_core::{End, Ending, Fate, Registry as _, SignedIn, Store as _, Tidied, Tidy, UserId, Written};
use sessile_sqlite::SqliteStore;
use sessile_testkit::contract::{Fixture as _, key};

use super::{Directory, at, devices, ends, handle, insert, is_there, open, revoked, session_of, signed_in, signing_in};

const DAY: u64 = 24 * 60 * 60 * 1_000;

fn by(now: SystemTime, limit: u32) -> Tidy<'static> {
    Tidy { now, history: Duration::from_millis(30 * DAY), user_key: None, limit }
}

async fn tidy(store: &SqliteStore, millis: u64) -> Tidied {
    store.tidy(&by(at(millis), 1_000)).await.unwrap()
}

/// What was done: ended, registered, removed, forgotten; and whether there is more to do.
fn done(tidied: &Tidied) -> (usize, u64, u64, u64, bool) {
    (tidied.ended.len(), tidied.registered, tidied.removed, tidied.forgotten, tidied.more)
}

const NOTHING: (usize, u64, u64, u64, bool) = (0, 0, 0, 0, false);

#[tokio::test]
async fn what_is_in_step_is_left_alone() {
    let directory = Directory::new();
    let store = open(&directory).await;
    assert_eq!(done(&tidy(&store, 0).await), NOTHING);
    signed_in(&store, "a", "alice", 1).await;
    signed_in(&store, "b", "alice", 2).await;
    insert(&store, "anonymous").await;
    store.revoke(&UserId::from("alice"), &handle(2), &revoked(0)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(done(&tidy(&store, 0).await), NOTHING);
    }
    assert!(is_there(&store, "a").await && is_there(&store, "anonymous").await);
}

#[tokio::test]
async fn a_session_that_an_operator_deleted_ends_in_the_registry() {
    let directory = Directory::new();
    let store = open(&directory).await;
    signed_in(&store, "a", "alice", 1).await;
    signed_in(&store, "b", "alice", 2).await;
    directory.execute("DELETE FROM session WHERE sid = 'a'", []);
    let tidied = tidy(&store, 1).await;
    let ending = Ending { end: End::LoggedOut, at: at(1), reason: None };
    assert_eq!(done(&tidied), (1, 0, 0, 0, false));
    assert_eq!((&tidied.ended[0].0.handle, &tidied.ended[0].1), (&handle(1), &ending));
    assert_eq!(ends(&store, "alice").await, [(handle(1), ending)]);
    // Its time was over before it was missed.
    directory.execute("DELETE FROM session", []);
    assert_eq!(tidy(&store, 3_600_001).await.ended[0].1.end, End::Expired);
}

#[tokio::test]
async fn a_session_that_the_registry_does_not_know_is_registered() {
    let directory = Directory::new();
    let store = open(&directory).await;
    assert_eq!(store.insert(&key("a"), &session_of("alice", 1)).await.unwrap(), Written::Done);
    let express = r#"{"cookie":{"path":"/"},"userId":42}"#;
    assert!(directory.plant("b", express, at(60_000)).await);
    assert!(directory.plant("expired", express, at(0)).await);
    assert!(directory.plant("broken", r#"{"userId":42}"#, at(60_000)).await);
    assert_eq!(done(&tidy(&store, 1_500).await), (0, 1, 0, 0, false), "nobody said where Express keeps its users");
    let with_users = Tidy { user_key: Some("userId"), ..by(at(1_500), 1_000) };
    assert_eq!(done(&store.tidy(&with_users).await.unwrap()), (0, 1, 0, 0, false));
    assert_eq!(done(&store.tidy(&with_users).await.unwrap()), NOTHING);
    let alices = devices(&store, "alice").await;
    assert_eq!((&alices[0].handle, alices[0].created_at, alices[0].authenticated_at), (&handle(1), at(0), Some(at(0))));
    let others = devices(&store, "42").await;
    assert_eq!((others.len(), others[0].authenticated_at, others[0].expires_at), (1, None, at(60_000)));
    assert_eq!(directory.number("SELECT count(*) FROM session"), 4, "none was removed");
}

/// Express writes a whole session back at the end of a request, even when it was revoked meanwhile.
#[tokio::test]
async fn a_session_that_was_over_and_came_back_is_removed() {
    let directory = Directory::new();
    let store = open(&directory).await;
    signed_in(&store, "a", "alice", 1).await;
    let document = store.load(&key("a"), at(0)).await.unwrap().unwrap().document();
    store.revoke(&UserId::from("alice"), &handle(1), &revoked(0)).await.unwrap();
    assert!(directory.plant("a", &document, at(60_000)).await);
    assert_eq!(done(&tidy(&store, 0).await), (0, 0, 1, 0, false));
    assert!(!is_there(&store, "a").await);
    assert_eq!(ends(&store, "alice").await, [(handle(1), revoked(0))]);
}

#[tokio::test]
async fn a_session_that_an_operator_ended_by_its_status_alone_is_over() {
    let directory = Directory::new();
    let store = open(&directory).await;
    signed_in(&store, "a", "alice", 1).await;
    directory.execute("UPDATE sessions SET status = 'revoked', end_reason = 'by hand'", []);
    match store.fate(&key("a")).await.unwrap() {
        Some(Fate::Ended(_, ending)) => assert_eq!((ending.end, ending.at), (End::Revoked, at(0))),
        other => panic!("expected an end, found {other:?}"),
    }
    assert_eq!(done(&tidy(&store, 5_000).await), (0, 0, 1, 0, false));
    let ending = Ending { end: End::Revoked, at: at(5_000), reason: Some("by hand".into()) };
    assert_eq!(ends(&store, "alice").await, [(handle(1), ending)]);
}

#[tokio::test]
async fn ends_and_moves_that_are_old_enough_go_and_the_others_stay() {
    let directory = Directory::new();
    let store = open(&directory).await;
    signed_in(&store, "a", "alice", 1).await;
    signed_in(&store, "b", "alice", 2).await;
    let record = store.load(&key("b"), at(0)).await.unwrap().unwrap();
    assert_eq!(store.rotate(&key("b"), &key("c"), &record).await.unwrap(), Written::Done);
    store.revoke(&UserId::from("alice"), &handle(1), &revoked(0)).await.unwrap();

    let is_known = async || matches!(store.fate(&key("b")).await.unwrap(), Some(Fate::Moved { .. }));
    assert_eq!(done(&tidy(&store, 3_600_000).await), NOTHING);
    assert!(is_known().await);
    assert_eq!(done(&tidy(&store, 3_600_001).await), NOTHING);
    assert!(!is_known().await);

    assert_eq!(done(&tidy(&store, 30 * DAY).await), NOTHING);
    let forever = Tidy { history: Duration::MAX, ..by(at(40 * DAY), 1_000) };
    assert_eq!(done(&store.tidy(&forever).await.unwrap()), NOTHING);
    assert_eq!(done(&tidy(&store, 30 * DAY + 1).await), (0, 0, 0, 1, false));
    assert!(ends(&store, "alice").await.is_empty());
    assert_eq!(directory.number("SELECT count(*) FROM sessions"), 1, "the one that is active");
}

/// Ended sessions of one user, as many as this.
fn ended(directory: &Directory, count: u32) {
    let sql = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
        INSERT INTO sessions (id, user_id, status, expires_at, created_at, updated_at, last_seen_at, logged_out_at)
        SELECT printf('00000000-0000-4000-8000-%012x', n), 'alice', 'expired', t, t, t, t, t
        FROM numbers, (SELECT '2040-01-01 12:00:00.000' AS t)";
    directory.execute(sql, [count]);
}

#[tokio::test]
async fn long_history_goes_in_parts() {
    let directory = Directory::new();
    let store = open(&directory).await;
    ended(&directory, 4_500);
    let mut parts = Vec::new();
    loop {
        let tidied = tidy(&store, 31 * DAY).await;
        parts.push(tidied.forgotten);
        if !tidied.more {
            break;
        }
    }
    assert_eq!(parts, [2_000, 2_000, 500]);
}

/// Six hundred rows are more than one write looks at.
#[tokio::test]
async fn each_call_looks_at_the_next_rows_and_begins_anew_after_the_last() {
    const COUNT: usize = 600;
    let directory = Directory::new();
    let store = open(&directory).await;
    for number in 0..COUNT {
        let record = session_of("alice", number);
        assert_eq!(store.insert(&key(&format!("{number:03}")), &record).await.unwrap(), Written::Done);
    }
    let mut registered = Vec::new();
    for _ in 0..4 {
        registered.push(store.tidy(&by(at(0), 260)).await.unwrap().registered);
    }
    assert_eq!(registered, [260, 260, 80, 0]);
    assert_eq!(devices(&store, "alice").await.len(), COUNT);

    directory.execute("DELETE FROM session", []);
    let mut lost = Vec::new();
    for _ in 0..5 {
        lost.push(store.tidy(&by(at(0), 260)).await.unwrap().ended.len());
    }
    assert_eq!(lost.iter().sum::<usize>(), COUNT, "{lost:?}");
    assert!(lost.iter().all(|count| *count <= 260));
}

/// Walks both tables to their ends, and counts the calls.
async fn tidy_all(store: &SqliteStore, now: SystemTime, limit: u32) -> (Tidied, u32) {
    let (mut sum, mut calls) = (Tidied::default(), 0);
    loop {
        let tidied = store.tidy(&by(now, limit)).await.unwrap();
        sum.ended.extend(tidied.ended);
        sum.removed += tidied.removed;
        calls += 1;
        if !tidied.more {
            return (sum, calls);
        }
    }
}

fn is_swept(directory: &Directory) -> bool {
    directory.number("SELECT swept FROM sessions_cutoffs WHERE user_id = ''") == 1
}

#[tokio::test]
async fn what_a_cut_off_ended_is_cleared_up_in_as_many_calls_as_it_takes() {
    let directory = Directory::new();
    let store = open(&directory).await;
    for number in 0..50 {
        signed_in(&store, &format!("{number:02}"), "alice", number).await;
    }
    // Unknown to the registry: one that is cut off, and one that belongs to nobody.
    assert_eq!(store.insert(&key("unknown"), &session_of("bob", 90)).await.unwrap(), Written::Done);
    insert(&store, "anonymous").await;
    // The walks are somewhere in the middle when it happens.
    store.tidy(&by(at(0), 30)).await.unwrap();
    let ending = Ending { reason: Some("a secret leaked".into()), ..revoked(2_000) };
    store.revoke_everyone(at(1), &ending).await.unwrap();
    let late = session_of("carol", 91);
    assert_eq!(store.sign_in(None, &key("late"), &late, &signing_in(None)).await.unwrap(), SignedIn::CutOff);
    assert!(!is_swept(&directory));

    let (tidied, calls) = tidy_all(&store, at(3_000), 20).await;
    assert_eq!((tidied.ended.len(), tidied.removed, calls), (50, 1, 3));
    assert!(tidied.ended.iter().all(|(_, how)| *how == ending));
    assert!(is_swept(&directory));
    assert_eq!(directory.number("SELECT count(*) FROM session"), 1);
    assert!(is_there(&store, "anonymous").await);
    assert_eq!(ends(&store, "alice").await.len(), 50);
    assert!(store.load(&key("anonymous"), at(0)).await.unwrap().unwrap().cut_off.unwrap().swept);
}

#[tokio::test]
async fn a_later_cut_off_begins_the_walks_anew_and_is_not_swept_by_the_earlier_ones() {
    let directory = Directory::new();
    let (store, other) = (open(&directory).await, open(&directory).await);
    for number in 0..30 {
        signed_in(&store, &format!("{number:02}"), "alice", number).await;
    }
    store.revoke_everyone(at(0), &revoked(0)).await.unwrap();
    let first = store.tidy(&by(at(0), 20)).await.unwrap();
    assert_eq!(done(&first), (0, 0, 0, 0, true), "nobody was signed in before twelve");
    // Another instance cuts off later, when this one has passed most of the rows.
    other.revoke_everyone(at(1), &revoked(1)).await.unwrap();
    let (tidied, calls) = tidy_all(&store, at(1), 20).await;
    assert_eq!((tidied.ended.len(), calls), (30, 2));
    assert!(is_swept(&directory));
    // An earlier one changes nothing.
    store.revoke_everyone(at(0), &revoked(9)).await.unwrap();
    assert!(is_swept(&directory));
    assert_eq!(done(&tidy(&other, 1).await), NOTHING);
}

/// Two sweepers of one instance: what one has looked at, the other need not, and neither passes rows over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_at_once_pass_no_row_over() {
    let directory = Directory::new();
    let (store, other) = (open(&directory).await, open(&directory).await);
    for number in 0..100 {
        signed_in(&store, &format!("{number:02}"), "alice", number).await;
    }
    store.revoke_everyone(at(1), &revoked(1)).await.unwrap();
    let walks: Vec<_> = [&store, &store, &other]
        .map(|store| {
            let store = store.clone();
            tokio::spawn(async move { tidy_all(&store, at(1), 7).await.0.ended.len() })
        })
        .into_iter()
        .collect();
    let mut ended = 0;
    for walk in walks {
        ended += walk.await.unwrap();
    }
    assert_eq!(ended, 100, "each is told of once");
    assert!(is_swept(&directory));
    assert_eq!(directory.number("SELECT count(*) FROM session"), 0);
}
