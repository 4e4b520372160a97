//! What happens in the middle of a request and once: saving, taking an entry, taking a name; and the short life of a
//! session before its sign-in.

use std::collections::BTreeMap;
use std::time::Duration;

use sessile_core::{Clock as _, Config, Device, EventKind, KeyForm, Page, Session, Sessions, Store as _, StoreKey};

use crate::support::{Browser, DAY, HOUR, Head, MINUTE, Spy, block_on, config, express, house};

fn entries(of: &[(&str, u32)]) -> BTreeMap<String, u32> {
    of.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
}

/// A browser whose session has three entries, and `other`.
fn with_entries(sessions: &Sessions, store: &Spy) -> Browser {
    let mut browser = Browser::default();
    browser.visit(sessions, |session| {
        session.insert("map", &entries(&[("a", 1), ("b", 2), ("c", 3)])).unwrap();
        session.insert("other", &0).unwrap();
    });
    store.ops();
    browser
}

fn map(session: &Session) -> Option<BTreeMap<String, u32>> {
    session.get("map").unwrap()
}

fn stored(sessions: &Sessions, browser: &Browser) -> Option<BTreeMap<String, u32>> {
    browser.clone().visit(sessions, map)
}

#[test]
fn an_entry_that_was_taken_and_saved_is_gone_before_the_request_goes_on() {
    let (sessions, store, _) = house(config());
    let mut browser = with_entries(&sessions, &store);
    let exchange = browser.begin(&sessions);
    let session = block_on(exchange.session()).unwrap();
    assert_eq!(session.take_entry("map", "a").unwrap(), Some(1));
    assert_eq!(session.take_entry::<u32>("map", "a").unwrap(), None);
    block_on(exchange.save()).unwrap();
    assert_eq!(store.ops(), ["load", "update"]);
    assert_eq!(stored(&sessions, &browser), Some(entries(&[("b", 2), ("c", 3)])));
    store.ops();
    session.insert("more", &1).unwrap();
    session.sign_in("alice").unwrap();
    browser.receive(block_on(exchange.finish()).unwrap());
    assert_eq!(store.ops(), ["rotate"], "the row is as this request left it");
    let after = browser.visit(&sessions, |session| (map(session), session.get("more").unwrap(), session.owner()));
    assert_eq!(after, (Some(entries(&[("b", 2), ("c", 3)])), Some(1), Some("alice".into())));
}

#[test]
fn the_last_entry_takes_its_key_along() {
    let (sessions, _, _) = house(config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| {
        session.insert("map", &entries(&[("a", 1)])).unwrap();
        session.insert("other", &0).unwrap();
    });
    browser.visit(&sessions, |session| session.take_entry::<u32>("map", "a")).unwrap();
    assert_eq!(browser.visit(&sessions, |session| session.keys()), ["other"]);
}

#[test]
fn of_two_requests_that_take_the_same_entry_the_second_is_told_when_it_saves() {
    let (sessions, store, _) = house(config());
    let browser = with_entries(&sessions, &store);
    let [one, two, other] = [0; 3].map(|_| browser.begin(&sessions));
    for (exchange, entry) in [(&one, "a"), (&two, "a"), (&other, "b")] {
        let session = block_on(exchange.session()).unwrap();
        assert!(session.take_entry::<u32>("map", entry).unwrap().is_some());
    }
    block_on(one.save()).unwrap();
    assert!(block_on(two.save()).unwrap_err().is_gone());
    block_on(other.save()).unwrap();
    assert_eq!(stored(&sessions, &browser), Some(entries(&[("c", 3)])));
}

#[test]
fn what_is_no_map_or_another_type_is_an_error_that_takes_nothing() {
    let (sessions, store, _) = house(config());
    let mut browser = with_entries(&sessions, &store);
    browser.visit(&sessions, |session| {
        assert!(session.take_entry::<u32>("other", "a").unwrap_err().is_value());
        assert!(session.take_entry::<String>("map", "a").unwrap_err().is_value());
        assert_eq!(session.take_entry::<u32>("map", "unknown").unwrap(), None);
        assert_eq!(session.take_entry::<u32>("nothing", "a").unwrap(), None);
    });
    assert_eq!(store.ops(), ["load"], "nothing was taken");
}

#[test]
fn saving_nothing_costs_nothing() {
    let (sessions, store, _) = house(config());
    let browser = with_entries(&sessions, &store);
    let exchange = browser.begin(&sessions);
    block_on(exchange.save()).unwrap();
    assert!(store.ops().is_empty(), "nobody asked for the session");
    let session = block_on(exchange.session()).unwrap();
    session.insert("x", &1).unwrap();
    session.remove("x").unwrap();
    block_on(exchange.save()).unwrap();
    block_on(exchange.save()).unwrap();
    assert_eq!(block_on(exchange.finish()).unwrap(), None);
    assert_eq!(store.ops(), ["load"]);
}

#[test]
fn a_session_that_ended_meanwhile_is_not_saved_and_stays_dead() {
    let (sessions, store, _) = house(config());
    let mut browser = with_entries(&sessions, &store);
    let exchange = browser.begin(&sessions);
    block_on(exchange.session()).unwrap().take_entry::<u32>("map", "a").unwrap();
    browser.visit(&sessions, |session| session.end()).unwrap();
    let error = block_on(exchange.save()).unwrap_err();
    assert!(error.is_gone(), "{error:?}");
    assert_eq!(block_on(exchange.finish()).unwrap(), None);
    assert!(store.live(sessions.now()).is_empty());
}

#[test]
fn a_store_that_is_down_when_it_is_saved_is_said_to_be() {
    let (sessions, store, _) = house(config());
    let browser = with_entries(&sessions, &store);
    let exchange = browser.begin(&sessions);
    let session = block_on(exchange.session()).unwrap();
    session.take_entry::<u32>("map", "a").unwrap();
    store.fail("update", || sessile_core::Error::unavailable("down"));
    assert!(block_on(exchange.save()).unwrap_err().is_unavailable());
    store.heal();
    block_on(exchange.save()).unwrap();
    assert_eq!(stored(&sessions, &browser), Some(entries(&[("b", 2), ("c", 3)])), "it can be tried again");
}

#[test]
fn what_comes_with_a_cookie_is_not_saved_in_the_middle() {
    let (sessions, store, _) = house(config());
    let browser = with_entries(&sessions, &store);
    let change: [fn(&Session); 3] = [
        |session| session.rotate().unwrap(),
        |session| session.sign_in("a").unwrap(),
        |session| session.end().unwrap(),
    ];
    for change in change {
        let exchange = browser.begin(&sessions);
        change(&block_on(exchange.session()).unwrap());
        let error = block_on(exchange.save()).unwrap_err();
        assert!(error.to_string().contains("save first"), "{error}");
    }
    let exchange = Browser::default().begin(&sessions);
    block_on(exchange.session()).unwrap().insert("a", &1).unwrap();
    assert_eq!(block_on(exchange.save()).unwrap_err().status(), 500, "a session without a row");
    assert!(block_on(exchange.finish()).unwrap().is_some(), "it is stored at the end");
    let exchange = browser.begin(&sessions);
    block_on(exchange.session()).unwrap().insert("a", &1).unwrap();
    store.fail("update", || sessile_core::Error::unavailable("down"));
    assert!(block_on(exchange.finish()).is_err());
    store.heal();
    assert_eq!(block_on(exchange.save()).unwrap_err().status(), 500, "the response has left");
}

/// A clone of the session may be edited while another task waits for the store.
#[test]
fn an_edit_made_while_saving_is_written_at_the_end() {
    let (sessions, store, clock) = house(config());
    let mut browser = with_entries(&sessions, &store);
    let slow = Sessions::new(store.yielding(), config().clock(clock));
    let exchange = browser.begin(&slow);
    let session = block_on(exchange.session()).unwrap();
    session.take_entry::<u32>("map", "a").unwrap();
    let mut saving = std::pin::pin!(exchange.save());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(saving.as_mut().poll(&mut context).is_pending());
    session.insert("late", &true).unwrap();
    block_on(saving).unwrap();
    browser.receive(block_on(exchange.finish()).unwrap());
    let after = browser.visit(&sessions, |session| (map(session), session.get("late").unwrap()));
    assert_eq!(after, (Some(entries(&[("b", 2), ("c", 3)])), Some(true)));
}

#[test]
fn a_cookie_that_became_due_with_what_was_saved_is_sent_at_the_end() {
    let (sessions, store, clock) = house(express().max_age(HOUR));
    let mut browser = with_entries(&sessions, &store);
    clock.advance(MINUTE);
    let exchange = browser.begin(&sessions);
    block_on(exchange.session()).unwrap().remove("other").unwrap();
    block_on(exchange.save()).unwrap();
    browser.receive(block_on(exchange.finish()).unwrap());
    assert!(browser.last.is_some(), "as Express sends it with every write of a session that has a maxAge");
    assert_eq!(store.ops(), ["load", "update", "touch"]);

    let (sessions, store, _) = house(config());
    let mut browser = with_entries(&sessions, &store);
    let exchange = browser.begin(&sessions);
    block_on(exchange.session()).unwrap().remember(DAY).unwrap();
    block_on(exchange.save()).unwrap();
    browser.receive(block_on(exchange.finish()).unwrap());
    assert!(browser.last.is_some(), "the session's lifetime was changed");
}

#[test]
fn the_exchange_says_whether_a_good_cookie_came() {
    let (sessions, store, _) = house(config());
    let browser = with_entries(&sessions, &store);
    assert!(browser.begin(&sessions).has_cookie());
    assert!(!Browser::default().begin(&sessions).has_cookie());
    assert!(!sessions.begin(&Head::with_cookie("__Host-sid=s%3Aabc.def")).has_cookie());
}

// Until the sign-in.

#[test]
fn a_lifetime_until_the_sign_in_ends_with_it() {
    let (sessions, store, clock) = house(config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| {
        session.insert("a", &1).unwrap();
        session.set_idle_until_sign_in(15 * MINUTE).unwrap();
        assert_eq!(session.expires_at(), clock.now() + 15 * MINUTE);
    });
    assert_eq!(store.live(clock.now())[0].expires_at, clock.now() + 15 * MINUTE);
    let mut late = browser.clone();
    clock.advance(14 * MINUTE);
    browser.visit(&sessions, |session| session.sign_in("alice")).unwrap();
    let record = store.live(clock.now()).remove(0);
    assert_eq!(record.expires_at, clock.now() + DAY);
    assert!(!record.document().contains("until_sign_in"), "nothing is left of it");
    browser.visit(&sessions, |session| assert_eq!(session.get("a").unwrap(), Some(1)));
    late.visit(&sessions, |session| assert_eq!(session.owner(), None));
}

#[test]
fn a_session_for_a_sign_in_ends_with_it_used_or_not() {
    let (sessions, _, clock) = house(config());
    let mut browser = Browser::default();
    let begin = |session: &Session| {
        session.insert("a", &1).unwrap();
        session.set_idle_until_sign_in(15 * MINUTE).unwrap();
    };
    browser.visit(&sessions, begin);
    let start = clock.now();
    for minute in 1..30_u32 {
        clock.advance(MINUTE);
        browser.visit(&sessions, |session| {
            session.insert("used", &minute).unwrap();
            if minute == 14 {
                begin(session);
            }
            let end = if minute < 14 { 15 * MINUTE } else { 29 * MINUTE };
            assert_eq!((session.keys().len(), session.expires_at()), (2, start + end), "{minute}");
        });
    }
    clock.advance(MINUTE);
    browser.visit(&sessions, |session| assert_eq!(session.keys(), Vec::<String>::new()));
}

#[test]
fn a_session_that_was_there_already_ends_when_it_is_not_used() {
    let (sessions, _, clock) = house(config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.insert("cart", &1)).unwrap();
    browser.visit(&sessions, |session| session.set_idle_until_sign_in(15 * MINUTE)).unwrap();
    for _ in 0..4 {
        clock.advance(10 * MINUTE);
        browser.visit(&sessions, |session| {
            assert!(session.lives_until_sign_in());
            assert_eq!((session.get("cart").unwrap(), session.expires_at()), (Some(1), clock.now() + 15 * MINUTE));
        });
    }
}

#[test]
fn a_lifetime_until_the_sign_in_is_no_longer_than_the_configured_one() {
    for (config, expected) in [
        (config().idle(5 * MINUTE), 5 * MINUTE),
        (config().absolute(10 * MINUTE), 10 * MINUTE),
        (express().max_age(5 * MINUTE), 5 * MINUTE),
    ] {
        let (sessions, store, clock) = house(config);
        let mut browser = Browser::default();
        browser.visit(&sessions, |session| {
            session.insert("a", &1).unwrap();
            session.set_idle_until_sign_in(15 * MINUTE).unwrap();
        });
        assert_eq!(store.live(clock.now())[0].expires_at, clock.now() + expected);
    }
}

#[test]
fn a_lifetime_that_was_chosen_for_good_outlives_the_sign_in() {
    let choices: [fn(&Session); 3] = [
        |session| session.set_idle(2 * DAY).unwrap(),
        |session| {
            session.set_idle_until_sign_in(15 * MINUTE).unwrap();
            session.set_idle(2 * DAY).unwrap();
        },
        |session| {
            session.set_idle_until_sign_in(15 * MINUTE).unwrap();
            session.remember(2 * DAY).unwrap();
        },
    ];
    for choice in choices {
        let (sessions, store, clock) = house(config());
        Browser::default().visit(&sessions, |session| {
            choice(session);
            session.sign_in("alice").unwrap();
        });
        assert_eq!(store.live(clock.now())[0].expires_at, clock.now() + 2 * DAY);
    }
}

#[test]
fn in_the_express_profile_the_cookie_has_the_short_life_until_the_sign_in() {
    for (config, age) in [(express(), None), (express().max_age(HOUR), Some(3_600_000))] {
        let (sessions, store, clock) = house(config);
        let mut browser = Browser::default();
        browser.visit(&sessions, |session| {
            session.insert("a", &1).unwrap();
            session.set_idle_until_sign_in(15 * MINUTE).unwrap();
        });
        let max_age = || -> Option<u64> {
            let record = store.live(clock.now()).remove(0);
            let cookie: serde_json::Value = serde_json::from_str(record.data.get("cookie").unwrap()).unwrap();
            cookie["originalMaxAge"].as_u64()
        };
        assert_eq!(max_age(), Some(900_000));
        browser.visit(&sessions, |session| session.sign_in("alice")).unwrap();
        assert_eq!(max_age(), age);
    }
}

// Names, and sessions of a provider.

#[test]
fn a_name_is_kept_as_a_hash_that_no_cookie_leads_to() {
    for key_form in [KeyForm::Raw, KeyForm::Sha256] {
        let (sessions, store, clock) = house(config().key_form(key_form));
        assert!(block_on(sessions.once("jti 1", HOUR)).unwrap());
        assert!(!block_on(sessions.once("jti 1", HOUR)).unwrap());
        assert!(block_on(sessions.happened("jti 1")).unwrap() && !block_on(sessions.happened("jti 2")).unwrap());
        let key = store.keys().remove(0);
        assert!(key.as_str().starts_with("once:") && !key.as_str().contains("jti"));
        assert!(block_on(store.rows.load(&StoreKey::stored("jti 1"), clock.now())).unwrap().is_none());
        clock.advance(HOUR + Duration::from_secs(1));
        assert_eq!(block_on(sessions.sweep()).unwrap(), 1);
        assert!(block_on(sessions.once("jti 1", Duration::MAX)).unwrap(), "a span of any length");
    }
}

fn devices(sessions: &Sessions, user: &str) -> Vec<Device> {
    block_on(sessions.devices().list(&user.into(), &Page::first(9))).unwrap().devices
}

#[test]
fn a_provider_ends_the_sessions_that_were_signed_in_from_its_own() {
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = told.clone();
    let observer = move |event: &sessile_core::Event| log.lock().unwrap().push((event.kind, event.reason.clone()));
    let (sessions, _, _) = house(Config::observer(config(), observer));
    let [mut at_provider, mut elsewhere] = [Browser::default(), Browser::default()];
    at_provider.visit(&sessions, |session| session.sign_in_at_provider("oidc", "p", "alice")).unwrap();
    elsewhere.visit(&sessions, |session| session.sign_in_by("password", "alice")).unwrap();
    at_provider.visit(&sessions, |session| session.authenticate_again()).unwrap();
    let facts: Vec<_> = devices(&sessions, "alice").into_iter().map(|device| device.facts).collect();
    let said = |name: &str| facts.iter().find(|facts| facts.auth_method.as_deref() == Some(name)).unwrap();
    assert_eq!(said("oidc").provider_session.as_deref(), Some("p"));
    assert_eq!(said("password").provider_session, None);
    told.lock().unwrap().clear();
    let revoke = |name| block_on(sessions.devices().revoke_by_provider_session(name, "signed out there")).unwrap();
    assert_eq!([revoke("q"), revoke("p"), revoke("p")], [0, 1, 0]);
    let expected = (EventKind::Ended(sessile_core::End::Revoked), Some("signed out there".into()));
    assert_eq!(*told.lock().unwrap(), [expected]);
    assert_eq!(at_provider.visit(&sessions, |session| session.owner()), None);
    assert_eq!(elsewhere.visit(&sessions, |session| session.owner()), Some("alice".into()));
}

#[test]
fn a_providers_session_without_a_name_is_refused() {
    let (sessions, _, _) = house(config());
    Browser::default().visit(&sessions, |session| {
        for name in ["", "a\0b", &"a".repeat(256)] {
            assert!(session.sign_in_at_provider("oidc", name, "alice").unwrap_err().is_value());
        }
        assert_eq!(session.owner(), None);
    });
}
