//! Figures: how many, how old, how large, and what happened when. Everything is counted as of the time that is given.

use std::time::{Duration, SystemTime};

use sessile_core::{
    DeviceFacts, End, Ending, Handle, Interval, Page, Registry, Search, SignIn, SignedIn, Stats, Status, Store, UserId,
    Written,
};

use super::registry::{handle, session_of};
use super::{Fixture, at, document, key, record};

const MINUTE: u64 = 60_000;

fn stats_of(store: &impl Store) -> &dyn Stats {
    store.stats().expect("expected a store that counts, found one without `stats`")
}

fn registry_of(store: &impl Store) -> &dyn Registry {
    store.registry().expect("expected a store with a registry, found none")
}

/// An anonymous session of this name with this value, which ends so many milliseconds after the clauses' time.
async fn anonymous(store: &impl Store, name: &str, value: &str, end: u64) {
    assert_eq!(store.insert(&key(name), &record(&document(value), at(end))).await.unwrap(), Written::Done);
}

/// Signs the user in, that many milliseconds after the clauses' time, to a session that ends an hour after that time.
async fn sign_in(store: &impl Store, owner: &str, number: usize, millis: u64) -> Handle {
    let sign_in = SignIn { facts: DeviceFacts::default(), replaces: None, limit: None };
    let record = session_of(owner, number, millis);
    let name = format!("{owner} {number}");
    let answer = registry_of(store).sign_in(None, &key(&name), &record, &sign_in).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
    handle(number)
}

async fn revoke(store: &impl Store, owner: &str, number: usize, end: End, millis: u64) {
    let ending = Ending { end, at: at(millis), reason: None };
    let ended = registry_of(store).revoke(&owner.into(), &handle(number), &ending).await.unwrap();
    assert!(ended.is_some(), "{owner} {number} was not alive");
}

/// Nothing has no average and no end.
pub async fn an_empty_store_counts_nothing(fixture: impl Fixture) {
    let store = fixture.open().await;
    let stats = stats_of(&store).stats(at(0), 5).await.unwrap();
    assert_eq!((stats.active, stats.signed_in, stats.expired), (0, 0, 0));
    assert_eq!((stats.oldest_expiry, stats.newest_expiry), (None, None));
    assert_eq!((stats.average_bytes, stats.p99_bytes), (None, None));
    assert_eq!((stats.expiring, stats.top_owners), (vec![0; 60], vec![]));
    let timeline = stats_of(&store).timeline(at(0), Duration::from_secs(60), 2).await.unwrap();
    assert_eq!(timeline, [span(0), span(MINUTE)]);
    assert_eq!(stats_of(&store).timeline(at(0), Duration::from_secs(60), 0).await.unwrap(), []);
}

/// What lives, what somebody is signed in to, and what waits for a sweep.
pub async fn sessions_are_counted_by_their_state(fixture: impl Fixture) {
    let store = fixture.open().await;
    sign_in(&store, "alice", 1, 0).await;
    sign_in(&store, "bob", 2, 0).await;
    revoke(&store, "bob", 2, End::Revoked, 0).await;
    for (name, end) in [("a", 10_000), ("b", 20_000), ("c", 7 * 86_400_000)] {
        anonymous(&store, name, "1", end).await;
    }
    let at_start = stats_of(&store).stats(at(0), 5).await.unwrap();
    assert_eq!((at_start.active, at_start.signed_in, at_start.expired), (4, 1, 0));
    let at_an_end = stats_of(&store).stats(at(10_000), 5).await.unwrap();
    assert_eq!((at_an_end.active, at_an_end.expired), (4, 0), "a session lives at its very end");
    let later = stats_of(&store).stats(at(21_000), 5).await.unwrap();
    assert_eq!((later.active, later.signed_in, later.expired), (2, 1, 2));
    let much_later = stats_of(&store).stats(at(2 * 3_600_000), 5).await.unwrap();
    assert_eq!((much_later.active, much_later.signed_in, much_later.expired), (1, 0, 3));
}

/// From the moment of the cut-off on, before anything is swept.
pub async fn what_a_cut_off_of_everyone_ended_is_neither_found_nor_counted(fixture: impl Fixture) {
    let store = fixture.open().await;
    sign_in(&store, "alice", 1, 0).await;
    sign_in(&store, "bob", 2, 0).await;
    sign_in(&store, "bob", 3, 2_000).await;
    anonymous(&store, "cart", "1", 3_600_000).await;
    let ending = Ending { end: End::Revoked, at: at(3_000), reason: None };
    registry_of(&store).revoke_everyone(at(1_000), &ending).await.unwrap();
    let search = Search { status: Some(Status::Live), ..Search::default() };
    let live = registry_of(&store).search(&search, at(3_000), &Page::first(10)).await.unwrap();
    assert_eq!(live.iter().map(|device| &device.handle).collect::<Vec<_>>(), [&handle(3)], "those that live");
    let all = registry_of(&store).search(&Search::default(), at(3_000), &Page::first(10)).await.unwrap();
    assert_eq!(all.len(), 3, "the registry knows them all");
    let stats = stats_of(&store).stats(at(3_000), 5).await.unwrap();
    assert_eq!((stats.active, stats.signed_in, stats.expired), (2, 1, 0));
    assert_eq!(stats.top_owners, [("bob".into(), 1)]);
}

/// The first and the last end, and how many ends lie in each of the next 60 minutes. A border belongs to the later minute.
pub async fn ends_are_counted_by_the_minute(fixture: impl Fixture) {
    let store = fixture.open().await;
    let ends = [0, 1_000, 59_000, MINUTE, 5 * MINUTE + 1_000, 60 * MINUTE - 1_000, 60 * MINUTE, 86_400_000];
    for (name, end) in ends.iter().enumerate() {
        anonymous(&store, &name.to_string(), "1", *end).await;
    }
    let stats = stats_of(&store).stats(at(0), 0).await.unwrap();
    let mut expected = vec![0; 60];
    (expected[0], expected[1], expected[5], expected[59]) = (3, 1, 1, 1);
    assert_eq!(stats.expiring, expected);
    assert_eq!((stats.oldest_expiry, stats.newest_expiry), (Some(at(0)), Some(at(86_400_000))));
    let later = stats_of(&store).stats(at(MINUTE), 0).await.unwrap();
    assert_eq!((later.expiring[0], later.expiring[4], later.expiring[59]), (1, 1, 1), "from the time that is given");
    assert_eq!(later.oldest_expiry, Some(at(0)), "expired rows included");
}

/// The average, and what 99 of 100 documents do not exceed.
pub async fn sizes_of_documents_are_told(fixture: impl Fixture) {
    let store = fixture.open().await;
    for name in 0..99 {
        anonymous(&store, &name.to_string(), "1", 3_600_000).await;
    }
    let large = format!("\"{}\"", "x".repeat(10_000));
    anonymous(&store, "large", &large, 3_600_000).await;
    let stats = stats_of(&store).stats(at(0), 0).await.unwrap();
    let (average, p99) = (stats.average_bytes.unwrap(), stats.p99_bytes.unwrap());
    // Without a cookie object there is next to nothing in a small one.
    let least = if fixture.keeps_cookies() { 30 } else { 7 };
    assert!((80 + least..250).contains(&average), "{average} bytes on average");
    assert!((least..100).contains(&p99), "99 of 100 are small, found {p99} bytes");
    if fixture.keeps_bytes() && fixture.keeps_cookies() {
        let small = document("1").len() as u64;
        assert_eq!((average, p99), ((99 * small + document(&large).len() as u64) / 100, small));
    }
}

/// Live sessions alone, the most first, and no more users than asked for.
pub async fn users_with_the_most_sessions_come_first(fixture: impl Fixture) {
    let store = fixture.open().await;
    for (number, owner) in ["b", "a", "c", "b", "c", "c", "d", "d", "d", "d"].into_iter().enumerate() {
        sign_in(&store, owner, number, 0).await;
    }
    for number in [6, 7, 8] {
        revoke(&store, "d", number, End::Revoked, 10).await;
    }
    let top = async |count| stats_of(&store).stats(at(0), count).await.unwrap().top_owners;
    let owner = |(name, count): (&str, u64)| (UserId::from(name), count);
    assert_eq!(top(9).await, [("c", 3), ("b", 2), ("a", 1), ("d", 1)].map(owner));
    assert_eq!(top(2).await, [("c", 3), ("b", 2)].map(owner));
    assert_eq!(top(0).await, []);
}

fn span(millis: u64) -> Interval {
    Interval { at: at(millis), active: 0, signed_in: 0, logged_out: 0, revoked: 0, expired: 0, evicted: 0 }
}

/// Sign-ins and each kind of end are counted in the span in which they happened, those on a border in the later one; and
/// how many sessions there were at the end of each.
pub async fn a_timeline_tells_what_happened_when(fixture: impl Fixture) {
    let store = fixture.open().await;
    let stats = stats_of(&store);
    for (number, millis) in [1, MINUTE - 1, MINUTE, MINUTE + 1, 2 * MINUTE, 3 * MINUTE].into_iter().enumerate() {
        sign_in(&store, "alice", number, millis).await;
    }
    revoke(&store, "alice", 0, End::Revoked, MINUTE - 1).await;
    revoke(&store, "alice", 1, End::LoggedOut, 2 * MINUTE).await;
    revoke(&store, "alice", 2, End::Evicted, 2 * MINUTE + 500).await;
    let timeline =
        async |from: SystemTime, count| stats.timeline(from, Duration::from_millis(MINUTE), count).await.unwrap();
    let expected = [
        Interval { signed_in: 2, revoked: 1, active: 1, ..span(0) },
        Interval { signed_in: 2, active: 3, ..span(MINUTE) },
        Interval { signed_in: 1, logged_out: 1, evicted: 1, active: 2, ..span(2 * MINUTE) },
        Interval { signed_in: 1, active: 3, ..span(3 * MINUTE) },
        Interval { active: 3, ..span(4 * MINUTE) },
    ];
    assert_eq!(timeline(at(0), 5).await, expected);
    assert_eq!(timeline(at(2 * MINUTE), 3).await, expected[2..], "from the middle on");
    assert_eq!(timeline(at(0), 1).await, expected[..1]);
    let halves = stats.timeline(at(MINUTE / 2), Duration::from_millis(MINUTE / 2), 3).await.unwrap();
    let expected = [
        Interval { signed_in: 1, revoked: 1, active: 1, ..span(MINUTE / 2) },
        Interval { signed_in: 2, active: 3, ..span(MINUTE) },
        Interval { active: 3, ..span(3 * MINUTE / 2) },
    ];
    assert_eq!(halves, expected);
}

/// A session whose time was over is one that somebody was signed in to until the sweep says that it is not.
pub async fn a_timeline_counts_what_the_sweep_ended(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(sweep) = store.sweep() else { return };
    sign_in(&store, "alice", 1, 0).await;
    let from = 3_600_000;
    assert_eq!(sweep.sweep(at(from + MINUTE + 1), 10).await.unwrap().removed, 1);
    let timeline = stats_of(&store).timeline(at(from), Duration::from_millis(MINUTE), 3).await.unwrap();
    let expected =
        [Interval { active: 1, ..span(from) }, Interval { expired: 1, ..span(from + MINUTE) }, span(from + 2 * MINUTE)];
    assert_eq!(timeline, expected);
}
