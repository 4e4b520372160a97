//! A table that another program writes too: what it does to sessions behind our back, and what is left of the promises.

use sessile_core::{Clock as _, End, Page, Record, Sessions, Store as _, UserId, Written};

use crate::lifecycle::planted;
use crate::support::{Browser, HOUR, MINUTE, ManualClock, Spy, block_on, express, house};

/// Sessions on a table that an Express app shares.
fn shared() -> (Sessions, Spy, ManualClock) {
    house(express().user_key("userId").unwrap())
}

/// Changes the one session's data in place.
fn rewrite(store: &Spy, clock: &ManualClock, change: impl FnOnce(&mut Record)) {
    let (key, now) = (store.keys().pop().unwrap(), clock.now());
    let mut record = block_on(store.rows.load(&key, now)).unwrap().unwrap();
    change(&mut record);
    assert_eq!(block_on(store.rows.update(&key, &record)).unwrap(), Written::Done);
}

fn sign_out_in_place(store: &Spy, clock: &ManualClock) {
    rewrite(store, clock, |record| _ = record.data.remove("userId"));
}

fn sign_in_in_place(store: &Spy, clock: &ManualClock, user: &str) {
    rewrite(store, clock, |record| record.data.insert("userId", format!("\"{user}\"")));
}

fn signed_in(sessions: &Sessions, user: &str) -> Browser {
    let mut browser = Browser::default();
    browser.visit(sessions, |session| session.sign_in(user)).unwrap();
    browser
}

fn owner(sessions: &Sessions, browser: &Browser) -> Option<UserId> {
    browser.clone().visit(sessions, |session| session.owner())
}

fn devices(sessions: &Sessions, user: &str) -> usize {
    block_on(sessions.devices().list(&user.into(), &Page::first(100))).unwrap().devices.len()
}

fn ends(sessions: &Sessions, user: &str) -> Vec<End> {
    let page = block_on(sessions.devices().history(&user.into(), &Page::first(100))).unwrap();
    page.devices.into_iter().map(|device| device.ended.unwrap().end).collect()
}

/// Express saves what it had in memory when the session ended, and the user comes back with it.
#[test]
fn a_session_that_was_brought_back_is_over_at_the_next_look() {
    for is_express in [false, true] {
        let (sessions, store, clock) = shared();
        let mut browser = Browser::default();
        if is_express {
            browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
            sign_in_in_place(&store, &clock, "alice");
            assert_eq!(owner(&sessions, &browser), Some("alice".into()));
        } else {
            browser = signed_in(&sessions, "alice");
        }
        let key = store.keys().pop().unwrap();
        let copy = block_on(store.rows.load(&key, clock.now())).unwrap().unwrap();
        assert_eq!(block_on(sessions.devices().revoke_all(&"alice".into(), "a test")).unwrap(), 1);
        assert_eq!(block_on(store.rows.insert(&key, &copy)).unwrap(), Written::Done);
        // What another instance knows, it believes for a minute.
        clock.advance(MINUTE);
        assert_eq!(owner(&sessions, &browser), None, "express: {is_express}");
        assert!(block_on(store.rows.load(&key, clock.now())).unwrap().is_none(), "it is removed");
        assert_eq!((devices(&sessions, "alice"), ends(&sessions, "alice")), (0, vec![End::Revoked]));
    }
}

#[test]
fn an_id_that_was_rotated_away_and_written_back_is_over() {
    let (sessions, store, clock) = shared();
    let mut browser = signed_in(&sessions, "alice");
    let (old, key) = (browser.clone(), store.keys().pop().unwrap());
    let copy = block_on(store.rows.load(&key, clock.now())).unwrap().unwrap();
    browser.visit(&sessions, |session| session.rotate()).unwrap();
    assert_eq!(block_on(store.rows.insert(&key, &copy)).unwrap(), Written::Done);
    clock.advance(MINUTE);
    assert_eq!((owner(&sessions, &old), owner(&sessions, &browser)), (None, Some("alice".into())));
    assert_eq!(devices(&sessions, "alice"), 1);
}

/// A session that nobody told the registry of is not among those that a revocation ends. It does not survive it either.
#[test]
fn what_the_registry_did_not_know_does_not_survive_a_revocation() {
    for by_sweep in [false, true] {
        let (sessions, store, clock) = shared();
        let mut browser = Browser::default();
        browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
        sign_in_in_place(&store, &clock, "alice");
        clock.advance(HOUR);
        assert_eq!(block_on(sessions.devices().revoke_all(&"alice".into(), "a test")).unwrap(), 0);
        if by_sweep {
            block_on(sessions.sweep()).unwrap();
            assert_eq!(store.live(clock.now()).len(), 0);
        }
        assert_eq!(owner(&sessions, &browser), None);
        assert_eq!((devices(&sessions, "alice"), store.live(clock.now()).len()), (0, 0));
        // A sign-in of Express that came after it counts.
        let mut later = Browser::default();
        clock.advance(MINUTE);
        later.visit(&sessions, |session| session.insert("a", &1)).unwrap();
        sign_in_in_place(&store, &clock, "alice");
        assert_eq!((owner(&sessions, &later), devices(&sessions, "alice")), (Some("alice".into()), 1));
    }
}

#[test]
fn who_was_signed_out_in_place_can_sign_in_again_and_is_a_new_device() {
    for user in ["alice", "bob"] {
        let (sessions, store, clock) = shared();
        let mut browser = signed_in(&sessions, "alice");
        browser.visit(&sessions, |session| session.insert("address", "hers")).unwrap();
        let before = browser.visit(&sessions, |session| session.handle());
        sign_out_in_place(&store, &clock);
        assert_eq!(owner(&sessions, &browser), None);
        browser.visit(&sessions, |session| session.sign_in(user)).unwrap();
        let (after, address) = browser.visit(&sessions, |session| (session.handle(), session.get::<String>("address")));
        assert_ne!(after, before);
        assert_eq!(address.unwrap().is_some(), user == "alice", "what was hers is not his");
        assert_eq!((devices(&sessions, user), ends(&sessions, "alice")), (1, vec![End::LoggedOut]));
    }
}

/// The registry gave the session another handle than the one in its row: that one counts.
#[test]
fn this_session_is_kept_whatever_handle_its_row_has() {
    let (sessions, store, clock) = shared();
    let mut browser = signed_in(&sessions, "alice");
    sign_out_in_place(&store, &clock);
    assert_eq!(owner(&sessions, &browser), None);
    sign_in_in_place(&store, &clock, "alice");
    block_on(sessions.sweep()).unwrap();
    clock.advance(MINUTE);
    signed_in(&sessions, "alice");
    let exchange = browser.begin(&sessions);
    let session = block_on(exchange.session()).unwrap();
    assert_eq!(block_on(sessions.devices().revoke_others(&session)).unwrap(), 1);
    let _ = block_on(exchange.finish()).unwrap();
    assert_eq!(
        (browser.visit(&sessions, |session| session.owner()), devices(&sessions, "alice")),
        (Some("alice".into()), 1)
    );
}

#[test]
fn a_proof_of_one_user_is_not_put_on_the_next_ones_session() {
    for rotate_only in [false, true] {
        let (sessions, store, clock) = shared();
        let browser = signed_in(&sessions, "alice");
        clock.advance(HOUR);
        let exchange = browser.begin(&sessions);
        let session = block_on(exchange.session()).unwrap();
        if rotate_only { session.rotate() } else { session.authenticate_again() }.unwrap();
        sign_in_in_place(&store, &clock, "bob");
        let error = block_on(exchange.finish()).unwrap_err();
        assert!(error.is_gone(), "{error:?}");
        let bob = browser.clone().visit(&sessions, |session| (session.owner(), session.authenticated_at()));
        assert_eq!(bob, (Some("bob".into()), None));
    }
}

#[test]
fn what_cannot_be_a_users_name_is_nobody() {
    let long = "u".repeat(256);
    for name in ["\"\"", &format!("\"{long}\""), "\"a\\u0000b\"", "1.5", "{}", "true"] {
        let (sessions, store, clock) = shared();
        let document = format!(r#"{{"cookie":{{"originalMaxAge":3600000}},"userId":{name}}}"#);
        let browser = planted(&store.rows, &clock, &document);
        assert_eq!(owner(&sessions, &browser), None, "{name}");
    }
}
