//! What operators are told: which secret verified how many cookies, and why a session is alive or dead.

use std::time::{Duration, UNIX_EPOCH};

use sessile_core::codec::Secret;
use sessile_core::{
    Config, Data, Device, End, Ending, Explanation, Handle, KeyForm, MemoryStore, Operations as _, Piece, Record,
    Registry as _, Search, SecretUse, SessionId, Sessions, Store as _, StoreKey, Transfer as _, Written,
};

use super::support::{Browser, HOUR, Head, MINUTE, ManualClock, SECRET, START_MS, Spy, at, block_on, config, house};

const OLD: &str = "8JH2mzkV5qWnY0cTtRfLxPa9uBdEsG3o";

fn secrets(texts: &[&str]) -> Config {
    Config::new(texts.iter().map(|text| Secret::new(text).unwrap()).collect::<Vec<_>>()).unwrap()
}

fn noted(store: &Spy) -> Vec<SecretUse> {
    block_on(store.rows.secrets()).unwrap()
}

fn used(config: &Config, secret: usize, cookies: u64, millis: u64) -> SecretUse {
    SecretUse { fingerprint: config.fingerprints()[secret].clone(), cookies, last_used_at: at(START_MS + millis) }
}

/// Sessions with both secrets, and a browser whose cookie the old one signed.
fn with_an_old_cookie() -> (Sessions, Spy, ManualClock, Browser) {
    let (store, clock, mut browser) = (Spy::new(), ManualClock::new(), Browser::default());
    let before = Sessions::new(store.clone(), secrets(&[OLD]).clock(clock.clone()));
    browser.visit(&before, |session| session.insert("n", &1).unwrap());
    let sessions = Sessions::new(store.clone(), secrets(&[SECRET, OLD]).clock(clock.clone()));
    (sessions, store, clock, browser)
}

#[test]
fn cookies_are_counted_for_the_secret_that_verified_them() {
    let (sessions, store, clock, mut browser) = with_an_old_cookie();
    let both = secrets(&[SECRET, OLD]);
    let old_cookie = browser.cookie.clone().unwrap();
    for _ in 0..3 {
        clock.advance(Duration::from_secs(1));
        let _ = sessions.begin(&Head::with_cookie(&old_cookie));
    }
    assert_eq!(noted(&store), [], "a request waits for no such thing");
    block_on(sessions.sweep()).unwrap();
    assert_eq!(noted(&store), [used(&both, 1, 3, 3_000)]);
    block_on(sessions.sweep()).unwrap();
    assert_eq!(noted(&store), [used(&both, 1, 3, 3_000)], "each is counted once");

    clock.advance(Duration::from_secs(1));
    browser.visit(&sessions, |session| session.insert("n", &2).unwrap());
    clock.advance(Duration::from_secs(1));
    browser.visit(&sessions, |_| ());
    let _ = sessions.begin(&Head::with_cookie("__Host-sid=s%3Aforged.forged"));
    block_on(sessions.sweep()).unwrap();
    let expected = [used(&both, 0, 1, 5_000), used(&both, 1, 4, 4_000)];
    assert_eq!(noted(&store), expected, "the cookie was signed anew, and a forged one counts for nobody");
}

#[test]
fn a_piece_that_not_every_store_can_keep_is_refused() {
    let handle = Handle::parse("00000000-0000-4000-8000-000000000001").unwrap();
    let device = || Device {
        handle: handle.clone(),
        owner: "ada".into(),
        facts: Default::default(),
        created_at: at(START_MS),
        authenticated_at: None,
        last_seen_at: at(START_MS),
        expires_at: at(START_MS),
        requests: 1 << 53,
        ended: None,
    };
    let ending = |at, reason: &str| Ending { end: End::Revoked, at, reason: Some(reason.into()) };
    let year_10_000 = at(253_402_300_800_000);
    let mut named = device();
    named.facts.user_agent = Some("x\0".into());
    let cut_off = |before, at| Piece::CutOff(sessile_core::CutOff { before, swept: false }, ending(at, "a drill"));
    let refused = [
        (Piece::Device(None, named), "U+0000"),
        (Piece::Device(None, Device { owner: "".into(), ..device() }), "a name"),
        (Piece::Device(None, Device { owner: "a\0".into(), ..device() }), "a name"),
        (Piece::Device(None, Device { ended: Some(ending(at(START_MS), "\0")), ..device() }), "U+0000"),
        (Piece::Device(None, Device { expires_at: year_10_000, ..device() }), "years"),
        (Piece::Device(None, Device { requests: (1 << 53) + 1, ..device() }), "2^53"),
        (Piece::OwnerCutOff("".into(), at(START_MS)), "a name"),
        (Piece::OwnerCutOff("ada".into(), year_10_000), "years"),
        (cut_off(year_10_000, year_10_000), "years"),
        (cut_off(at(START_MS + 1), at(START_MS)), "later"),
    ];
    let store = MemoryStore::new();
    for (piece, why) in refused {
        let told = block_on(store.import(&[piece])).expect_err(why).to_string();
        assert!(told.contains(why), "expected {why:?}, found {told:?}");
    }
    let taken = [Piece::Device(None, device()), cut_off(at(START_MS), at(START_MS))];
    assert!(block_on(store.import(&taken)).is_ok());
    assert!(taken[1].cuts_off_after(at(START_MS - 1)) && !taken[1].cuts_off_after(at(START_MS)));
}

#[test]
fn counts_reach_the_store_without_a_sweeper() {
    let (sessions, store, clock, mut browser) = with_an_old_cookie();
    browser.visit(&sessions, |_| ());
    clock.advance(Duration::from_secs(30));
    browser.visit(&sessions, |_| ());
    assert_eq!(noted(&store), [], "not with every request");
    clock.advance(Duration::from_secs(30));
    browser.visit(&sessions, |_| ());
    let cookies: u64 = noted(&store).iter().map(|one| one.cookies).sum();
    assert_eq!(cookies, 3);
    browser.visit(&sessions, |_| ());
    assert_eq!(noted(&store).iter().map(|one| one.cookies).sum::<u64>(), 3, "the next ones gather again");
}

#[test]
fn counts_that_the_store_does_not_take_are_kept() {
    let (sessions, store, clock, browser) = with_an_old_cookie();
    let _ = browser.begin(&sessions);
    store.fail("note_secrets", || sessile_core::Error::unavailable("the test says so"));
    block_on(sessions.sweep()).expect("a sweep does not fail for it");
    assert_eq!(noted(&store), []);
    clock.advance(MINUTE);
    let _ = browser.begin(&sessions);
    store.heal();
    block_on(sessions.sweep()).unwrap();
    assert_eq!(noted(&store), [used(&secrets(&[SECRET, OLD]), 1, 2, 60_000)]);
}

#[test]
fn with_one_secret_nothing_is_counted() {
    let (sessions, store, _) = house(config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.insert("n", &1).unwrap());
    browser.visit(&sessions, |_| ());
    block_on(sessions.sweep()).unwrap();
    assert_eq!(noted(&store), []);
}

/// A house with alice signed in, and her session's handle.
fn signed_in(config: Config) -> (Sessions, Spy, ManualClock, Browser, Handle) {
    let (sessions, store, clock) = house(config);
    let mut browser = Browser::default();
    let handle = browser.visit(&sessions, |session| {
        session.sign_in("alice").unwrap();
        session.handle()
    });
    (sessions, store, clock, browser, handle)
}

fn explain(sessions: &Sessions, handle: &Handle) -> Explanation {
    block_on(sessions.explain(handle)).unwrap().expect("expected the registry to know the session")
}

/// It is dead, and the last sentence says this of it.
fn is_dead(sessions: &Sessions, handle: &Handle, why: &str) {
    let told = explain(sessions, handle);
    assert!(!told.alive && told.next.is_none(), "{told:?}");
    assert!(told.sentences.last().unwrap().contains(why), "expected {why:?}, found {told:?}");
}

fn revoked() -> Ending {
    Ending { end: End::Revoked, at: at(START_MS), reason: Some("the laptop was lost".into()) }
}

/// The only live session's key.
fn key_of(store: &Spy, handle: &Handle) -> StoreKey {
    block_on(store.rows.key(handle)).unwrap().unwrap()
}

fn row_of(store: &Spy, handle: &Handle) -> Record {
    block_on(store.rows.load(&key_of(store, handle), UNIX_EPOCH)).unwrap().unwrap()
}

#[test]
fn a_live_session_says_which_limit_comes_next() {
    let short = config().idle(30 * MINUTE).absolute(HOUR).touch_every(Duration::ZERO);
    let (sessions, _, clock, mut browser, handle) = signed_in(short);
    let told = explain(&sessions, &handle);
    assert!(told.alive);
    assert_eq!(told.next, Some(("idle timeout", at(START_MS) + 30 * MINUTE)));
    assert!(told.sentences[0].starts_with("User alice signed in at 2026-01-15T12:34:56Z"), "{told:?}");
    for _ in 0..2 {
        clock.advance(25 * MINUTE);
        browser.visit(&sessions, |session| assert!(session.owner().is_some()));
    }
    assert_eq!(explain(&sessions, &handle).next, Some(("absolute timeout", at(START_MS) + HOUR)));
    clock.advance(11 * MINUTE);
    is_dead(&sessions, &handle, "absolute timeout was over at 2026-01-15T13:34:56Z");
    let unknown = Handle::parse("00000000-0000-4000-8000-000000000000").unwrap();
    assert_eq!(block_on(sessions.explain(&unknown)).unwrap(), None);
}

#[test]
fn an_end_is_told_with_its_reason() {
    let (sessions, _, _, mut browser, handle) = signed_in(config());
    browser.visit(&sessions, |session| session.end()).unwrap();
    is_dead(&sessions, &handle, "It was signed out at 2026-01-15T12:34:56Z.");

    let (sessions, store, _, _, handle) = signed_in(config());
    block_on(store.rows.revoke(&"alice".into(), &handle, &revoked())).unwrap().unwrap();
    is_dead(&sessions, &handle, "It was revoked at 2026-01-15T12:34:56Z. The reason given: the laptop was lost");

    let (sessions, _, clock, _, handle) = signed_in(config().idle(30 * MINUTE));
    clock.advance(31 * MINUTE);
    is_dead(&sessions, &handle, "Its row names its end, 2026-01-15T13:04:56Z, and that is over");
    block_on(sessions.sweep()).unwrap();
    is_dead(&sessions, &handle, "it was swept at 2026-01-15T13:05:56Z");

    let (sessions, store, clock, _, handle) = signed_in(config());
    clock.advance(MINUTE);
    block_on(store.rows.revoke_everyone(sessions.now(), &revoked())).unwrap();
    is_dead(&sessions, &handle, "Everyone's sessions from before 2026-01-15T12:35:56Z were revoked");
}

#[test]
fn what_other_programs_did_is_told() {
    let (sessions, store, _, mut browser, handle) = signed_in(config());
    let row = row_of(&store, &handle);
    let key = key_of(&store, &handle);
    browser.visit(&sessions, |session| session.end()).unwrap();
    assert_eq!(block_on(store.rows.insert(&key, &row)).unwrap(), Written::Done);
    is_dead(&sessions, &handle, "Another program brought its row back");

    let (sessions, store, _, _, handle) = signed_in(config().user_key("userId").unwrap());
    let mut row = row_of(&store, &handle);
    row.data.insert("userId", "\"mallory\"");
    assert_eq!(block_on(store.rows.update(&key_of(&store, &handle), &row)).unwrap(), Written::Done);
    is_dead(&sessions, &handle, "signed its user out or somebody else in");

    let (sessions, store, _, _, handle) = signed_in(config());
    let mut row = row_of(&store, &handle);
    row.data = Data::default();
    assert_eq!(block_on(store.rows.update(&key_of(&store, &handle), &row)).unwrap(), Written::Done);
    is_dead(&sessions, &handle, "no session's document");
}

/// The registry alone came from another store.
#[test]
fn a_session_without_a_row_is_told() {
    let (_, store, _, _, handle) = signed_in(config());
    let search = Search { handle: Some(handle.clone()), ..Search::default() };
    let page = sessile_core::Page::first(1);
    let device: Device = block_on(store.rows.search(&search, at(START_MS), &page)).unwrap().pop().unwrap();
    let (empty, clock) = (MemoryStore::new(), ManualClock::new());
    let key = StoreKey::new(&SessionId::parse("gone").unwrap(), KeyForm::Raw);
    block_on(empty.import(&[Piece::Device(Some(key), device)])).unwrap();
    let sessions = Sessions::new(empty, config().clock(clock.clone()));
    is_dead(&sessions, &handle, "Its row was removed without the registry");
    clock.advance(25 * HOUR);
    is_dead(&sessions, &handle, "Its time was over at 2026-01-16T12:34:56Z, and its row is gone");
}

#[test]
fn a_store_that_cannot_be_wrong_has_no_checks() {
    let (sessions, _, _) = house(config());
    assert_eq!(block_on(sessions.examine()), []);
}
