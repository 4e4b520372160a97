//! The promises and rules of a session, over a memory store that is watched, broken and raced.

use std::collections::BTreeMap;
use std::time::Duration;

use sessile_core::codec::{ExpressCodec, Keyring, Secret};
use sessile_core::{
    Clock, Config, Cookie, Ending, Error, Fate, Flash, KeyForm, MemoryStore, Priority, Record, Registry, SameSite,
    Secure, Session, SessionId, Sessions, Store, StoreKey, UserId, Written,
};

use crate::support::{
    Browser, DAY, HOUR, Head, MINUTE, ManualClock, SECRET, Spy, at, block_on, config, express, house,
};

/// A session with `{"a":1}` and the browser that has it.
fn with_session(sessions: &Sessions, store: &Spy) -> Browser {
    let mut browser = Browser::default();
    browser.visit(sessions, |session| session.insert("a", &1)).unwrap();
    store.ops();
    browser
}

fn down() -> Error {
    Error::unavailable("the store is down")
}

// P5, P4: what costs nothing.

#[test]
fn a_hundred_visits_that_write_nothing_make_no_call_and_no_cookie() {
    let (sessions, store, _) = house(config());
    for _ in 0..100 {
        let mut browser = Browser::default();
        let seen = browser.visit(&sessions, |session| {
            session.remove("nothing").unwrap();
            session.rotate().unwrap();
            session.set_idle(MINUTE).unwrap();
            session.remember(DAY).unwrap();
            session.forget_on_close().unwrap();
            session.clear().unwrap();
            (session.get::<u8>("a").unwrap(), session.owner(), session.keys())
        });
        assert_eq!(seen, (None, None, vec![]));
        assert_eq!(browser.last, None);
    }
    assert_eq!(store.calls().len(), 0);
}

#[test]
fn a_request_that_never_asks_for_its_session_costs_nothing() {
    let (sessions, store, _) = house(config());
    let browser = with_session(&sessions, &store);
    let exchange = browser.begin(&sessions);
    assert_eq!(block_on(exchange.finish()).unwrap(), None);
    assert_eq!(store.ops().len(), 0);
}

#[test]
fn what_is_taken_back_within_the_request_was_never_written() {
    let (sessions, store, _) = house(config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| {
        session.insert("a", &1).unwrap();
        session.remove("a").unwrap();
    });
    assert_eq!((store.ops(), browser.last), (vec![], None));
}

#[test]
fn a_forged_id_costs_no_store_call_and_is_never_adopted() {
    let (sessions, store, _) = house(config());
    let good = with_session(&sessions, &store).cookie.unwrap();
    let (name, value) = good.split_once('=').unwrap();
    let planted = ExpressCodec::new(Keyring::new([Secret::dangerous("another secret")]).unwrap());
    let id = SessionId::parse("planted-by-somebody-else").unwrap();
    let forged = [
        format!("{name}=s%3A{}.{}", id.expose(), "A".repeat(43)),
        format!("{name}={}", sessile_core::codec::CookieCodec::encode(&planted, name, &id, std::time::UNIX_EPOCH)),
        format!("{name}={}", &value[..value.len() - 1]),
        format!("{name}={value}A"),
        format!("{name}={}", value.replacen("s%3A", "s%3Ax", 1)),
        format!("{name}={}", value.replacen("s%3A", "", 1)),
        format!("{name}="),
    ];
    for cookie in forged {
        let mut browser = Browser { cookie: Some(cookie.clone()), last: None };
        browser.visit(&sessions, |session| assert_eq!(session.get::<u8>("a").unwrap(), None));
        assert_eq!((store.ops(), browser.last.clone()), (vec![], None), "{cookie}");
        browser.visit(&sessions, |session| session.insert("b", &2)).unwrap();
        assert_eq!(store.ops(), ["insert"], "{cookie}");
        assert!(!browser.cookie.unwrap().contains("planted"));
    }
}

#[test]
fn an_unknown_and_an_expired_id_are_never_adopted() {
    let (sessions, store, clock) = house(config());
    let mut unknown = with_session(&sessions, &store);
    let mut expired = unknown.clone();
    let old = unknown.cookie.clone();

    let fresh = Sessions::new(MemoryStore::new(), config());
    unknown.visit(&fresh, |session| session.insert("b", &1)).unwrap();
    assert!(unknown.cookie.is_some() && unknown.cookie != old);

    clock.advance(DAY + Duration::from_millis(1));
    expired.visit(&sessions, |session| {
        assert_eq!(session.get::<u8>("a").unwrap(), None);
        session.insert("b", &1).unwrap();
    });
    assert_eq!(store.ops(), ["load", "fate", "insert"], "it might have been rotated away a moment ago");
    assert!(expired.cookie.is_some() && expired.cookie != old);
}

#[test]
fn a_read_is_one_load_and_a_second_one_a_minute_later_a_touch() {
    let (sessions, store, clock) = house(config());
    let mut browser = with_session(&sessions, &store);
    clock.advance(Duration::from_millis(59_999));
    browser.visit(&sessions, |session| assert_eq!(session.get("a").unwrap(), Some(1)));
    assert_eq!((store.ops(), browser.last.clone()), (vec!["load"], None));
    clock.advance(Duration::from_millis(1));
    browser.visit(&sessions, |_| ());
    assert_eq!((store.ops(), browser.last), (vec!["load", "touch"], None));
}

#[test]
fn a_request_that_asks_twice_has_one_session_and_one_load() {
    let (sessions, store, _) = house(config());
    let browser = with_session(&sessions, &store);
    let exchange = browser.begin(&sessions);
    let (one, two) = (block_on(exchange.session()).unwrap(), block_on(exchange.clone().session()).unwrap());
    one.insert("b", "x").unwrap();
    assert_eq!(two.get::<String>("b").unwrap().as_deref(), Some("x"));
    assert_eq!(store.ops(), ["load"]);
}

// P1: a destroyed session stays dead.

#[test]
fn a_late_save_touch_or_rotation_never_revives_a_session_and_sends_no_cookie() {
    type Late = (&'static str, fn(&Session), bool);
    let lates: [Late; 5] = [
        ("save", |session| session.insert("b", &2).unwrap(), false),
        ("touch", |_| (), false),
        ("rotate", |session| session.rotate().unwrap(), true),
        ("sign_in", |session| session.sign_in("mallory").unwrap(), true),
        ("end", |session| session.end().unwrap(), false),
    ];
    for profile in [config(), express(), express().rolling(true)] {
        for (name, late, fails) in &lates {
            let (sessions, store, clock) = house(profile.clone());
            let mut browser = with_session(&sessions, &store);
            let slow = browser.begin(&sessions);
            clock.advance(2 * MINUTE);
            late(&block_on(slow.session()).unwrap());

            browser.visit(&sessions, |session| session.end()).unwrap();
            assert!(browser.last.as_ref().unwrap().contains("Max-Age=0"), "{name}");
            let answer = block_on(slow.finish());
            if *fails {
                let error = answer.unwrap_err();
                assert!(error.is_gone(), "{name}: {error}");
                assert_eq!(error.status(), 409);
            } else if *name == "end" {
                assert!(answer.unwrap().unwrap().header_value().ends_with("Max-Age=0"));
            } else {
                assert_eq!(answer.unwrap(), None, "{name}");
            }
            assert_eq!(store.live(clock.now()).len(), 0, "{name}");
        }
    }
}

#[test]
fn a_late_reader_does_not_put_the_old_id_over_the_cookie_of_a_parallel_sign_in() {
    // Both profiles in which a read alone sends the cookie again: `rolling`, and a secret on its way out.
    let old = "an old secret of more than 32 bytes";
    let codec = |secrets: &[&str]| Keyring::new(secrets.iter().map(Secret::dangerous)).unwrap();
    let rotating = config().codec(ExpressCodec::new(codec(&["the new secret", old])));
    for reading in [express().rolling(true).codec(ExpressCodec::new(codec(&[old]))), rotating] {
        let (sessions, store, clock) = house(reading.clone());
        let before = Sessions::new(store.clone(), reading.clock(clock).codec(ExpressCodec::new(codec(&[old]))));
        let mut browser = with_session(&before, &store);
        let slow = browser.begin(&sessions);
        block_on(slow.session()).unwrap();
        browser.visit(&sessions, |session| session.sign_in("alice")).unwrap();
        assert_eq!(block_on(slow.finish()).unwrap(), None);
    }
}

#[test]
fn end_removes_the_row_and_the_cookie_with_the_attributes_it_was_set_with() {
    let cookie = Cookie::new("__Secure-sid")
        .domain("example.com")
        .path("/app")
        .same_site(SameSite::None)
        .partitioned(true)
        .priority(Priority::High);
    for profile in [config().cookie(cookie.clone()).unwrap(), express().cookie(cookie).unwrap()] {
        let (sessions, store, clock) = house(profile);
        let mut browser = Browser::default();
        browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
        let set = browser.last.clone().unwrap();
        browser.visit(&sessions, |session| {
            session.end().unwrap();
            assert_eq!((session.get::<u8>("a").unwrap(), session.keys()), (None, vec![]));
            assert_eq!(session.to_json(), "{}");
        });
        let removal = browser.last.clone().unwrap();
        assert!(removal.starts_with("__Secure-sid=;"), "{removal}");
        let attributes = |header: &str| -> Vec<String> {
            let parts = header.split("; ").skip(1).filter(|part| !part.starts_with("Expires=") && *part != "Max-Age=0");
            parts.map(str::to_owned).collect()
        };
        assert_eq!(attributes(&removal), attributes(&set));
        assert_eq!(attributes(&set).len(), 7, "{set}");
        assert!(removal.contains("Expires=Thu, 01 Jan 1970 00:00:00 GMT"));
        assert_eq!(store.live(clock.now()).len(), 0);
    }
}

#[test]
fn end_without_a_session_removes_only_a_cookie_that_is_there() {
    let (sessions, store, clock) = house(config());
    let mut nobody = Browser::default();
    nobody.visit(&sessions, |session| session.end()).unwrap();
    assert_eq!((nobody.last, store.ops()), (None, vec![]));
    let mut expired = with_session(&sessions, &store);
    clock.advance(15 * DAY);
    expired.visit(&sessions, |session| session.end()).unwrap();
    assert_eq!((expired.cookie, store.ops()), (None, vec!["load", "fate"]), "it might have moved");
}

#[test]
fn what_is_changed_after_end_goes_with_the_session_and_a_sign_in_after_it_is_refused() {
    let (sessions, store, clock) = house(config());
    let mut browser = with_session(&sessions, &store);
    browser.visit(&sessions, |session| {
        session.end().unwrap();
        session.insert("b", &1).unwrap();
        assert_eq!(session.update("n", |n: Option<u8>| n.unwrap_or(0) + 1).unwrap(), 1);
        session.flash("info", "signed out").unwrap();
        assert_eq!(session.sign_in("bob").unwrap_err().status(), 500);
        assert!(session.authenticate_again().unwrap_err().is_unauthenticated());
        assert_eq!(session.keys().len(), 0);
    });
    assert_eq!((store.ops(), browser.cookie), (vec!["load", "remove"], None));
    assert_eq!(store.live(clock.now()).len(), 0);
}

// P2: no lost update.

#[test]
fn two_requests_that_write_different_keys_both_survive() {
    let (sessions, store, _) = house(config());
    let mut browser = with_session(&sessions, &store);
    let (one, two) = (browser.begin(&sessions), browser.begin(&sessions));
    block_on(one.session()).unwrap().insert("one", &1).unwrap();
    block_on(two.session()).unwrap().insert("two", &2).unwrap();
    let _ = block_on(one.finish()).unwrap();
    let _ = block_on(two.finish()).unwrap();
    assert_eq!(store.ops(), ["load", "load", "update", "update", "load", "update"]);
    browser.visit(&sessions, |session| assert_eq!(session.to_json(), r#"{"a":1,"one":1,"two":2}"#));
}

#[test]
fn updates_of_one_key_are_serialised() {
    let (sessions, store, _) = house(config());
    let mut browser = with_session(&sessions, &store);
    let exchanges: Vec<_> = (0..10).map(|_| browser.begin(&sessions)).collect();
    for exchange in &exchanges {
        let session = block_on(exchange.session()).unwrap();
        assert_eq!(session.update("a", |a: Option<u32>| a.unwrap() + 1).unwrap(), 2);
    }
    for exchange in &exchanges {
        let _ = block_on(exchange.finish()).unwrap();
    }
    browser.visit(&sessions, |session| assert_eq!(session.get("a").unwrap(), Some(11)));
}

#[test]
fn a_write_that_always_meets_another_write_gives_up_and_says_so() {
    struct Contended(MemoryStore);
    #[async_trait::async_trait]
    impl Store for Contended {
        async fn load(&self, key: &StoreKey, now: std::time::SystemTime) -> Result<Option<Record>, Error> {
            self.0.load(key, now).await
        }
        async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
            self.0.insert(key, record).await
        }
        async fn update(&self, _: &StoreKey, _: &Record) -> Result<Written, Error> {
            Ok(Written::Stale)
        }
        async fn rotate(&self, _: &StoreKey, _: &StoreKey, _: &Record) -> Result<Written, Error> {
            Ok(Written::Stale)
        }
        async fn touch(
            &self,
            key: &StoreKey,
            seen: std::time::SystemTime,
            end: std::time::SystemTime,
        ) -> Result<Written, Error> {
            self.0.touch(key, seen, end).await
        }
        async fn remove(&self, key: &StoreKey, ending: &Ending) -> Result<bool, Error> {
            self.0.remove(key, ending).await
        }
        async fn fate(&self, key: &StoreKey) -> Result<Option<Fate>, Error> {
            self.0.fate(key).await
        }
        fn registry(&self) -> Option<&dyn Registry> {
            None
        }
        fn description(&self) -> String {
            "always written by somebody else".into()
        }
    }
    let sessions = Sessions::new(Contended(MemoryStore::new()), config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
    for edit in [|session: &Session| session.insert("a", &2), |session: &Session| session.rotate()] {
        let error = browser.try_visit(&sessions, edit).unwrap_err();
        assert!(error.is_unavailable() && error.status() == 503, "{error}");
    }
    browser.visit(&sessions, |session| assert_eq!(session.get("a").unwrap(), Some(1)));
}

// P3: rotation.

#[test]
fn after_a_rotation_the_old_id_is_dead_and_everything_else_is_as_it_was() {
    let (sessions, store, clock) = house(config());
    let mut browser = with_session(&sessions, &store);
    let mut old = browser.clone();
    let before = browser.visit(&sessions, |session| (session.handle(), session.created_at(), session.to_json()));
    clock.advance(MINUTE);
    browser.visit(&sessions, |session| session.rotate()).unwrap();
    assert_ne!(browser.cookie, old.cookie);
    assert_eq!(store.ops(), ["load", "load", "rotate"]);
    let after = browser.visit(&sessions, |session| (session.handle(), session.created_at(), session.to_json()));
    assert_eq!(after, before);
    old.visit(&sessions, |session| assert_eq!(session.keys().len(), 0));
    assert_eq!(store.live(clock.now()).len(), 1);
}

#[test]
fn a_rotation_that_fails_leaves_the_old_id_alive() {
    let (sessions, store, clock) = house(config());
    let mut browser = with_session(&sessions, &store);
    store.fail("rotate", down);
    assert!(browser.try_visit(&sessions, |session| session.sign_in("alice")).unwrap_err().is_unavailable());
    store.heal();
    browser.visit(&sessions, |session| assert_eq!((session.get("a").unwrap(), session.owner()), (Some(1), None)));
    assert_eq!(store.live(clock.now()).len(), 1);
}

#[test]
fn of_two_parallel_rotations_one_wins_and_the_other_is_told() {
    let (sessions, store, clock) = house(config());
    let browser = with_session(&sessions, &store);
    let (one, two) = (browser.begin(&sessions), browser.begin(&sessions));
    block_on(one.session()).unwrap().sign_in("alice").unwrap();
    block_on(two.session()).unwrap().sign_in("bob").unwrap();
    assert!(block_on(one.finish()).unwrap().is_some());
    assert!(block_on(two.finish()).unwrap_err().is_gone());
    let live = store.live(clock.now());
    assert_eq!(live.len(), 1);
    assert_eq!(live[0].owner.as_ref().unwrap().as_str(), "alice");
}

#[test]
fn sign_in_rotates_and_keeps_the_cart_but_never_another_users_data() {
    let (sessions, store, _) = house(config());
    let mut browser = with_session(&sessions, &store);
    let anonymous = browser.cookie.clone();
    browser.visit(&sessions, |session| session.sign_in("alice")).unwrap();
    let alices = browser.cookie.clone();
    assert_ne!(alices, anonymous);
    browser.visit(&sessions, |session| {
        assert_eq!(session.owner(), Some(UserId::from("alice")));
        assert_eq!(session.get("a").unwrap(), Some(1));
        session.insert("secret", "alice's").unwrap();
        session.sign_in("alice").unwrap();
        assert_eq!(session.keys(), ["a", "secret"]);
    });
    assert_ne!(browser.cookie, alices, "signing in again changes the id too");
    browser.visit(&sessions, |session| session.sign_in(7_u64)).unwrap();
    browser.visit(&sessions, |session| {
        assert_eq!((session.owner().unwrap().as_str(), session.keys().len()), ("7", 0));
    });
}

#[test]
fn a_first_sign_in_stores_the_session() {
    let (sessions, store, _) = house(config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.sign_in("alice")).unwrap();
    assert_eq!(store.ops(), ["insert"]);
    browser.visit(&sessions, |session| assert_eq!(session.owner(), Some("alice".into())));
}

#[test]
fn an_edit_that_sign_in_overtook_does_not_reach_the_signed_in_session() {
    let (sessions, store, clock) = house(config());
    let mut browser = with_session(&sessions, &store);
    let slow = browser.begin(&sessions);
    block_on(slow.session()).unwrap().insert("planted", &true).unwrap();
    browser.visit(&sessions, |session| session.sign_in("alice")).unwrap();
    assert_eq!(block_on(slow.finish()).unwrap(), None, "the browser's new cookie is left alone");
    browser.visit(&sessions, |session| assert_eq!(session.keys(), ["a"]));
    assert_eq!(store.live(clock.now()).len(), 1);
}

// P6: fails closed, fast, and says so.

#[test]
fn a_store_that_is_down_is_an_error_and_never_an_anonymous_session() {
    let (sessions, store, _) = house(config());
    let mut browser = with_session(&sessions, &store);
    let cookie = browser.cookie.clone();
    store.fail("load", down);
    let error = browser.try_visit(&sessions, |_| unreachable!("no handler without a session")).unwrap_err();
    assert!(error.is_unavailable() && error.status() == 503);
    let exchange = browser.begin(&sessions);
    block_on(exchange.session()).unwrap_err();
    assert_eq!(block_on(exchange.finish()).unwrap(), None, "a handler that goes on without changes no cookie");
    store.heal();
    browser.visit(&sessions, |session| assert_eq!(session.get("a").unwrap(), Some(1)));
    assert_eq!(browser.cookie, cookie);
}

#[test]
fn a_write_that_fails_is_an_error_with_the_stores_own_words() {
    type Case = (&'static str, fn(&Session) -> Result<(), Error>);
    let cases: [Case; 4] = [
        ("update", |session| session.insert("a", &2)),
        ("rotate", |session| session.rotate()),
        ("remove", |session| session.end()),
        ("insert", |session| session.insert("a", &2)),
    ];
    for (op, edit) in cases {
        let (sessions, store, _) = house(config());
        let mut browser = if op == "insert" { Browser::default() } else { with_session(&sessions, &store) };
        store.fail(op, down);
        let error = browser.try_visit(&sessions, |session| edit(session).unwrap()).unwrap_err();
        assert!(error.is_unavailable(), "{op}: {error}");
        assert_eq!(error.to_string(), "the store is down");
        assert!(store.ops().contains(&op));
    }
}

#[test]
fn a_touch_that_fails_costs_the_visitor_nothing() {
    let (sessions, store, clock) = house(config());
    let mut browser = with_session(&sessions, &store);
    clock.advance(HOUR);
    store.fail("touch", down);
    browser.visit(&sessions, |session| assert_eq!(session.get("a").unwrap(), Some(1)));
    assert_eq!((store.ops(), browser.last), (vec!["load", "touch"], None));
}

#[test]
fn an_edit_after_the_response_is_an_error_and_not_silence() {
    let (sessions, store, _) = house(config());
    let browser = with_session(&sessions, &store);
    let exchange = browser.begin(&sessions);
    let session = block_on(exchange.session()).unwrap();
    let _ = block_on(exchange.finish()).unwrap();
    type Late = fn(&Session) -> Result<(), Error>;
    let late: [Late; 14] = [
        |session| session.insert("b", &1),
        |session| session.update("b", |b: Option<u8>| b.unwrap_or(0)).map(drop),
        |session| session.remove("a").map(drop),
        |session| session.take::<u8>("a").map(drop),
        |session| session.clear(),
        |session| session.sign_in("alice"),
        |session| session.rotate(),
        |session| session.end(),
        |session| session.set_idle(MINUTE),
        |session| session.remember(DAY),
        |session| session.forget_on_close(),
        |session| session.flash("info", "late"),
        |session| session.insert("a", "x"),
        |session| session.remove("absent").map(drop),
    ];
    for (at, edit) in late.iter().enumerate() {
        let error = edit(&session).expect_err(&format!("edit {at}"));
        assert_eq!(error.status(), 500, "{error}");
        assert!(error.to_string().contains("after its response"), "{at}: {error}");
    }
    assert_eq!(session.get("a").unwrap(), Some(1), "reading is allowed");
    assert_eq!(store.ops(), ["load"]);
}

#[test]
fn a_session_first_asked_for_after_the_response_can_only_be_read() {
    let (sessions, store, _) = house(config());
    let browser = with_session(&sessions, &store);
    let exchange = browser.begin(&sessions);
    let _ = block_on(exchange.finish()).unwrap();
    let session = block_on(exchange.session()).unwrap();
    assert_eq!(session.get("a").unwrap(), Some(1));
    assert!(session.insert("a", &2).unwrap_err().to_string().contains("after its response"));
}

#[test]
fn a_request_is_finished_once() {
    let (sessions, store, clock) = house(config());
    let exchange = Browser::default().begin(&sessions);
    block_on(exchange.session()).unwrap().insert("a", &1).unwrap();
    assert!(block_on(exchange.finish()).unwrap().is_some());
    assert_eq!(block_on(exchange.finish()).unwrap_err().status(), 500);
    assert_eq!(store.live(clock.now()).len(), 1);
}

// P10 and the cookie.

#[test]
fn a_retired_secret_still_opens_and_the_cookie_is_signed_anew() {
    let ring = |secrets: &[&str]| ExpressCodec::new(Keyring::new(secrets.iter().map(Secret::dangerous)).unwrap());
    let (sessions, store, clock) = house(config().codec(ring(&["old"])));
    let mut browser = with_session(&sessions, &store);
    let old = browser.cookie.clone();
    let both = Sessions::new(store.clone(), config().codec(ring(&["new", "old"])).clock(clock.clone()));
    browser.visit(&both, |session| assert_eq!(session.get("a").unwrap(), Some(1)));
    assert!(browser.cookie.is_some() && browser.cookie != old);
    browser.visit(&both, |_| ());
    assert_eq!(browser.last, None, "once is enough");
    let new = Sessions::new(store.clone(), config().codec(ring(&["new"])).clock(clock));
    browser.visit(&new, |session| assert_eq!(session.get("a").unwrap(), Some(1)));
    store.ops();
    Browser { cookie: old, last: None }.visit(&new, |session| assert_eq!(session.keys().len(), 0));
    assert_eq!(store.ops().len(), 0);
}

#[test]
fn of_several_cookies_with_our_name_the_first_good_one_of_four_counts() {
    let (sessions, store, _) = house(config());
    let good = with_session(&sessions, &store).cookie.unwrap();
    let other = with_session(&sessions, &store).cookie.unwrap();
    let opens = |head: &Head| {
        block_on(sessions.begin(head).session()).unwrap();
        store.calls().last().map(|call| call.key.clone()).filter(|_| !store.ops().is_empty())
    };
    let goods = opens(&Head::with_cookie(&good));
    assert!(goods.is_some());
    let junk = "__Host-sid=junk; ";
    for (header, expected) in [
        (format!("{}{good}", junk.repeat(3)), goods.clone()),
        (format!("{}{good}", junk.repeat(4)), None),
        (format!("{junk}{good}; {other}"), goods.clone()),
        (format!("a=\u{fffd}; =; ;; __%48ost-sid=x; __HOST-SID=y; {good}"), goods.clone()),
        (good.replace("__Host", "__%48ost"), None),
    ] {
        assert_eq!(opens(&Head::with_cookie(&header)), expected, "{header}");
    }
    let over_two_lines = Head::with_cookie(junk).and("cookie", b"\xff\xfe=\x80; \xc3=1").and("cookie", &good);
    assert_eq!(opens(&over_two_lines), goods);
}

#[test]
fn in_the_express_profile_the_first_cookie_of_our_name_counts_valid_or_not() {
    let (sessions, store, _) = house(express());
    let good = with_session(&sessions, &store).cookie.unwrap();
    for (header, loads) in [(format!("{good}; connect.sid=junk"), 1), (format!("connect.sid=junk; {good}"), 0)] {
        block_on(sessions.begin(&Head::with_cookie(&header)).session()).unwrap();
        assert_eq!(store.ops().len(), loads, "{header}");
    }
}

#[test]
fn the_default_cookie_is_the_safest_one_and_lives_as_long_as_the_session_may() {
    let (sessions, store, clock) = house(config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
    let set = browser.last.clone().unwrap();
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert!(pair.starts_with("__Host-sid=s%3A"));
    assert_eq!(attributes, "Path=/; Expires=Thu, 29 Jan 2026 12:34:56 GMT; HttpOnly; Secure; SameSite=Lax");
    clock.advance(HOUR);
    browser.visit(&sessions, |session| session.insert("a", &2)).unwrap();
    assert_eq!(browser.last, None, "a write does not send the cookie again");
    assert_eq!(store.ops(), ["insert", "load", "update"]);
}

#[test]
fn a_cookie_that_ends_with_the_browser_has_no_expiry() {
    let (sessions, _, _) = house(config().cookie(Cookie::default().persistent(false)).unwrap());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
    assert!(!browser.last.unwrap().contains("Expires"));
}

#[test]
fn a_cookie_without_an_absolute_end_is_kept_for_400_days() {
    let (sessions, _, _) = house(config().absolute(None));
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
    assert!(browser.last.unwrap().contains("Expires=Fri, 19 Feb 2027 12:34:56 GMT"));
}

#[test]
fn secure_auto_follows_the_connection_and_trusted_proxies() {
    let cookie = Cookie::new("sid").secure(Secure::Auto);
    let (sessions, _, _) = house(config().cookie(cookie).unwrap().trusted_proxies(["10.0.0.0/8".parse().unwrap()]));
    let set = |head: Head| {
        let exchange = sessions.begin(&head);
        block_on(exchange.session()).unwrap().insert("a", &1).unwrap();
        block_on(exchange.finish()).unwrap().unwrap().header_value().contains("; Secure")
    };
    let from = |peer: &str| Head { peer: Some(peer.parse().unwrap()), ..Head::default() };
    assert!(!set(Head::default()));
    assert!(set(Head { tls: true, ..Head::default() }));
    assert!(set(from("10.0.0.9").and("x-forwarded-proto", "https")));
    assert!(!set(from("192.0.2.1").and("x-forwarded-proto", "https")));
}

#[test]
fn cookies_that_browsers_would_refuse_are_refused_here() {
    let refused = [
        (Cookie::new("__Host-sid").domain("example.com"), "Domain"),
        (Cookie::new("__Host-sid").path("/app"), "Path=/"),
        (Cookie::new("__Host-sid").secure(Secure::Never), "Secure"),
        (Cookie::new("__Host-sid").secure(Secure::Auto), "Secure"),
        (Cookie::new("__hOsT-sid").domain("example.com"), "Domain"),
        (Cookie::new("__Secure-sid").secure(Secure::Never), "Secure"),
        (Cookie::new("__SECURE-sid").secure(Secure::Auto), "Secure"),
        (Cookie::new("__Http-sid").http_only(false), "HttpOnly"),
        (Cookie::new("__Host-Http-sid").http_only(false), "HttpOnly"),
        (Cookie::new("sid").secure(Secure::Never).same_site(SameSite::None), "SameSite=None"),
        (Cookie::new("sid").secure(Secure::Never).partitioned(true), "partitioned"),
        (Cookie::new(""), "cookie name"),
        (Cookie::new("a b"), "cookie name"),
        (Cookie::new("a=b"), "cookie name"),
        (Cookie::new("a;b"), "cookie name"),
        (Cookie::new("é"), "cookie name"),
        (Cookie::new("a\r\nSet-Cookie: b"), "cookie name"),
        (Cookie::new("sid").domain("exam ple.com"), "cookie domain"),
        (Cookie::new("sid").domain("example.com; Secure"), "cookie domain"),
        (Cookie::new("sid").domain("-example.com"), "cookie domain"),
        (Cookie::new("sid").domain("example..com"), "cookie domain"),
        (Cookie::new("sid").domain(""), "cookie domain"),
        (Cookie::new("sid").path("/a;b"), "cookie path"),
        (Cookie::new("sid").path("/a\r\nb"), "cookie path"),
        (Cookie::new("sid").path("/é"), "cookie path"),
    ];
    for (cookie, word) in refused {
        let error = config().cookie(cookie.clone()).expect_err(&format!("{cookie:?}"));
        assert!(error.is_config() && error.to_string().contains(word), "{cookie:?}: {error}");
    }
    let accepted = [
        Cookie::default(),
        Cookie::express(),
        Cookie::new("__Host-sid").same_site(None).priority(Priority::Low),
        Cookie::new("__Secure-sid").domain(".example.com").path("/app"),
        Cookie::new("__Host-Http-sid"),
        Cookie::new("sid").same_site(SameSite::None).partitioned(true),
        Cookie::new("sid").secure(Secure::Auto).same_site(SameSite::None),
        Cookie::new("sid").secure(Secure::Never).domain("localhost").http_only(false),
        Cookie::new("!#$%&'*+-.^_`|~"),
    ];
    for cookie in accepted {
        assert!(config().cookie(cookie.clone()).is_ok(), "{cookie:?}");
    }
}

#[test]
fn weak_secrets_are_refused_wherever_they_come_in() {
    let weak = ["", "keyboard cat", "change-me-change-me-change-me-change-me", &"0123".repeat(16), &"a".repeat(64)];
    for secret in weak {
        assert!(Config::new(secret).unwrap_err().is_config());
        assert!(Config::express(secret.to_owned()).unwrap_err().is_config());
        assert!(Secret::new(secret).unwrap_err().is_config());
    }
    assert!(Config::new(Vec::<Secret>::new()).unwrap_err().is_config());
    assert!(Config::new(SECRET).is_ok());
}

// Lifetimes.

#[test]
fn use_moves_the_idle_end_and_never_the_absolute_one() {
    let (sessions, store, clock) = house(config().idle(HOUR).absolute(10 * HOUR));
    let mut browser = with_session(&sessions, &store);
    for _ in 0..10 {
        clock.advance(HOUR);
        browser.visit(&sessions, |session| assert_eq!(session.get("a").unwrap(), Some(1)));
    }
    browser.visit(&sessions, |session| assert_eq!(session.expires_at(), clock.now(), "ten hours after it began"));
    clock.advance(Duration::from_millis(1));
    browser.visit(&sessions, |session| assert_eq!(session.keys().len(), 0));

    let mut unused = with_session(&sessions, &store);
    clock.advance(HOUR + Duration::from_millis(1));
    unused.visit(&sessions, |session| assert_eq!(session.keys().len(), 0));
}

#[test]
fn the_absolute_lifetime_holds_even_when_the_row_says_longer() {
    let (generous, store, clock) = house(config().absolute(None).idle(30 * DAY));
    let strict = Sessions::new(store.clone(), config().absolute(DAY).clock(clock.clone()));
    let [mut used, mut unused] = [with_session(&generous, &store), with_session(&generous, &store)];
    clock.advance(DAY);
    used.visit(&strict, |session| assert_eq!(session.get("a").unwrap(), Some(1)));
    clock.advance(Duration::from_millis(1));
    used.visit(&strict, |session| assert_eq!(session.keys().len(), 0));
    unused.visit(&strict, |session| assert_eq!(session.keys().len(), 0));
    unused.clone().visit(&generous, |session| assert_eq!(session.get("a").unwrap(), Some(1), "the row is there"));
}

#[test]
fn authentication_begins_the_absolute_lifetime_anew() {
    let (sessions, store, clock) = house(config().idle(HOUR).absolute(2 * HOUR));
    let mut browser = with_session(&sessions, &store);
    let start = clock.now();
    clock.advance(HOUR);
    browser.visit(&sessions, |session| {
        assert!(session.authenticate_again().unwrap_err().is_unauthenticated());
        session.sign_in("alice").unwrap();
    });
    clock.advance(HOUR);
    let before = browser.cookie.clone();
    browser.visit(&sessions, |session| {
        assert_eq!(session.authenticated_at(), Some(start + HOUR));
        assert!(session.authenticated_within(HOUR) && !session.authenticated_within(HOUR - MINUTE));
        session.authenticate_again().unwrap();
        assert!(session.authenticated_within(Duration::ZERO));
    });
    assert_ne!(browser.cookie, before);
    for _ in 0..2 {
        clock.advance(HOUR);
        browser.visit(&sessions, |session| assert_eq!(session.owner(), Some("alice".into())));
    }
    assert_eq!(clock.now(), start + 4 * HOUR);
    clock.advance(Duration::from_millis(1));
    browser.visit(&sessions, |session| {
        assert_eq!((session.owner(), session.authenticated_at()), (None, None));
    });
}

#[test]
fn a_sessions_own_lifetime_survives_later_writes() {
    for profile in [config(), express()] {
        let (sessions, store, clock) = house(profile);
        let ends = |browser: &mut Browser| {
            browser.visit(&sessions, |session| session.update("n", |n: Option<u8>| n.unwrap_or(0) + 1)).unwrap();
            browser.visit(&sessions, |session| session.expires_at()).duration_since(clock.now()).unwrap()
        };
        let mut short = with_session(&sessions, &store);
        short.visit(&sessions, |session| session.set_idle(5 * MINUTE)).unwrap();
        for _ in 0..3 {
            clock.advance(4 * MINUTE);
            assert_eq!(ends(&mut short), 5 * MINUTE);
        }
        clock.advance(5 * MINUTE + Duration::from_millis(1));
        short.visit(&sessions, |session| assert_eq!(session.keys().len(), 0));
    }
}

#[test]
fn remember_keeps_session_and_cookie_for_that_long_from_then_on() {
    let (sessions, store, clock) = house(config().cookie(Cookie::default().persistent(false)).unwrap());
    let mut browser = with_session(&sessions, &store);
    // Long after the beginning: the span counts from the asking.
    for _ in 0..6 {
        clock.advance(DAY);
        browser.visit(&sessions, |_| ());
    }
    browser.visit(&sessions, |session| session.remember(30 * DAY)).unwrap();
    assert!(browser.last.as_ref().unwrap().contains("Expires=Fri, 20 Feb 2026 12:34:56 GMT"), "{:?}", browser.last);
    browser.visit(&sessions, |session| session.insert("b", &1)).unwrap();
    clock.advance(20 * DAY);
    browser.visit(&sessions, |session| session.insert("b", &2)).unwrap();
    clock.advance(10 * DAY);
    browser.visit(&sessions, |session| assert_eq!(session.keys(), ["a", "b"]));
    clock.advance(Duration::from_millis(1));
    browser.visit(&sessions, |session| assert_eq!(session.keys().len(), 0));
}

#[test]
fn forget_on_close_takes_the_expiry_from_the_cookie_for_good() {
    for profile in [config(), express().max_age(DAY)] {
        let (sessions, store, _) = house(profile);
        let mut browser = with_session(&sessions, &store);
        assert!(browser.last.as_ref().unwrap().contains("Expires="));
        browser.visit(&sessions, |session| session.forget_on_close()).unwrap();
        assert!(!browser.last.as_ref().unwrap().contains("Expires="));
        browser.visit(&sessions, |session| session.sign_in("alice")).unwrap();
        assert!(!browser.last.as_ref().unwrap().contains("Expires="));
    }
}

// Data.

#[test]
fn a_session_that_would_become_too_large_stays_as_it_was() {
    let (sessions, store, _) = house(config().max_data(100));
    let mut browser = with_session(&sessions, &store);
    browser.visit(&sessions, |session| {
        for edit in [
            session.insert("big", &"x".repeat(100)),
            session.update("big", |_: Option<String>| "x".repeat(100)).map(drop),
            session.insert(&"k".repeat(100), &1),
        ] {
            let error = edit.unwrap_err();
            assert!(error.is_too_large() && error.status() == 413, "{error}");
        }
        assert_eq!(session.to_json(), r#"{"a":1}"#);
        assert!(session.insert("big", &"x".repeat(94)).unwrap_err().is_too_large(), "one byte too many");
        session.insert("big", &"x".repeat(93)).unwrap();
        assert!(session.insert("b", &1).unwrap_err().is_too_large(), "a:1 and big:95 bytes leave nothing");
        session.remove("big").unwrap();
    });
    assert_eq!(store.ops(), ["load"]);
}

#[test]
fn two_writes_that_fit_alone_but_not_together_fail_the_later_one() {
    let (sessions, store, _) = house(config().max_data(100));
    let mut browser = with_session(&sessions, &store);
    let slow = browser.begin(&sessions);
    block_on(slow.session()).unwrap().insert("one", &"x".repeat(60)).unwrap();
    browser.visit(&sessions, |session| session.insert("two", &"y".repeat(60))).unwrap();
    assert!(block_on(slow.finish()).unwrap_err().is_too_large());
    browser.visit(&sessions, |session| assert_eq!(session.keys(), ["a", "two"]));
}

#[test]
fn keys_that_would_not_come_back_are_refused() {
    let (sessions, store, _) = house(config());
    let mut browser = Browser::default();
    let reserved = [
        "cookie",
        "sessile",
        "id",
        "req",
        "touch",
        "resetMaxAge",
        "save",
        "reload",
        "destroy",
        "regenerate",
        "constructor",
        "toString",
        "toLocaleString",
        "valueOf",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "__proto__",
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
        "a\0b",
    ];
    browser.visit(&sessions, |session| {
        for key in reserved {
            assert!(session.insert(key, &1).unwrap_err().is_key(), "{key:?}");
            assert!(session.update(key, |_: Option<u8>| 1).unwrap_err().is_key(), "{key:?}");
            assert!(session.remove(key).unwrap_err().is_key(), "{key:?}");
            assert_eq!(session.get::<u8>(key).unwrap(), None, "{key:?}");
            assert!(config().user_key(key).unwrap_err().is_key(), "{key:?}");
        }
    });
    assert_eq!(store.ops().len(), 0);
}

#[test]
fn hostile_keys_and_values_come_back_as_they_were_put() {
    let (sessions, _, _) = house(config());
    let mut browser = Browser::default();
    let texts = [
        "",
        " ",
        "\"",
        "\\",
        "\\u0000",
        "a.b",
        "a[0]",
        "}",
        "{\"cookie\":1}",
        "'; DROP TABLE session; --",
        "é",
        "🐘",
        "\u{2028}",
        "\r\n",
        "\u{7f}",
        "\u{1}",
        "<script>",
        "$1",
        "Cookie",
        "COOKIE",
        "prototype",
    ];
    let expected: BTreeMap<&str, &str> = texts.iter().map(|text| (*text, *text)).collect();
    browser.visit(&sessions, |session| {
        for text in texts {
            session.insert(text, text).unwrap();
        }
    });
    browser.visit(&sessions, |session| {
        for text in texts {
            assert_eq!(session.get::<String>(text).unwrap().as_deref(), Some(text));
        }
        let all: BTreeMap<String, String> = serde_json::from_str(&session.to_json()).unwrap();
        assert!(all.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected));
    });
}

#[test]
fn values_that_no_database_can_hold_are_refused_at_once() {
    let (sessions, _, _) = house(config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| {
        assert!(session.insert("a", "nul\0here").unwrap_err().is_value());
        assert!(session.insert("a", &BTreeMap::from([("nul\0key", 1)])).unwrap_err().is_value());
        assert!(session.insert("a", &BTreeMap::from([((1, 2), 3)])).unwrap_err().is_value());
        assert!(session.update("a", |_: Option<String>| "\0".into()).unwrap_err().is_value());
        assert_eq!(session.keys().len(), 0);
    });
}

#[test]
fn a_value_of_another_type_is_an_error_that_changes_nothing() {
    let (sessions, _, _) = house(config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| {
        session.insert("a", "text").unwrap();
        assert!(session.get::<u8>("a").unwrap_err().is_value());
        assert!(session.take::<u8>("a").unwrap_err().is_value());
        assert!(session.update("a", |n: Option<u8>| n.unwrap_or(0)).unwrap_err().is_value());
        assert_eq!(session.get::<String>("a").unwrap().as_deref(), Some("text"));
        assert_eq!(session.take::<String>("a").unwrap().as_deref(), Some("text"));
        assert_eq!(session.take::<String>("a").unwrap(), None);
    });
}

#[test]
fn clear_empties_the_session_and_keeps_its_owner_id_and_lifetime() {
    for profile in [config(), config().user_key("userId").unwrap()] {
        let (sessions, store, clock) = house(profile);
        let mut browser = with_session(&sessions, &store);
        browser.visit(&sessions, |session| {
            session.sign_in("alice").unwrap();
            session.set_idle(5 * MINUTE).unwrap();
        });
        let (cookie, handle) = (browser.cookie.clone(), browser.visit(&sessions, |session| session.handle()));
        browser.visit(&sessions, |session| {
            let before = session.keys();
            session.clear().unwrap();
            let left: Vec<_> = before.into_iter().filter(|key| key == "userId").collect();
            assert_eq!(session.keys(), left, "of the application's keys only the owner's is kept");
        });
        assert_eq!(browser.cookie, cookie);
        browser.visit(&sessions, |session| {
            assert_eq!((session.owner(), session.get::<u8>("a").unwrap()), (Some("alice".into()), None));
            assert_eq!((session.expires_at(), session.handle()), (clock.now() + 5 * MINUTE, handle));
        });
    }
}

#[test]
fn flashes_are_shown_once_and_lie_as_connect_flash_puts_them() {
    let (sessions, store, clock) = house(config());
    let mut browser = with_session(&sessions, &store);
    browser.visit(&sessions, |session| {
        session.flash("info", "one").unwrap();
        session.flash("error", "two").unwrap();
        session.flash("info", "three").unwrap();
    });
    let flash = |kind: &str, text: &str| Flash { kind: kind.into(), text: text.into() };
    let mut seen = browser.visit(&sessions, |session| {
        assert!(session.to_json().contains(r#""info":["one","three"]"#), "{}", session.to_json());
        session.take_flashes().unwrap()
    });
    seen.sort_by(|a, b| a.kind.cmp(&b.kind));
    assert_eq!(seen, [flash("error", "two"), flash("info", "one"), flash("info", "three")]);
    browser.visit(&sessions, |session| assert_eq!(session.take_flashes().unwrap(), []));
    assert_eq!(store.live(clock.now())[0].data.get("flash"), None);
    browser.visit(&sessions, |session| {
        session.insert("flash", &serde_json::json!({"info": "bare", "n": [1]})).unwrap();
        let seen = session.take_flashes().unwrap();
        assert!(seen.contains(&flash("info", "bare")) && seen.contains(&flash("n", "1")), "{seen:?}");
        session.insert("flash", "not messages").unwrap();
        assert!(session.take_flashes().unwrap_err().is_value());
    });
}

#[test]
fn the_owner_is_read_and_written_where_express_keeps_it() {
    let profile = || express().user_key("userId").unwrap();
    for (json, user) in [("42", "42"), ("\"u-1\"", "u-1"), ("-7", "-7")] {
        let (sessions, store, clock) = house(profile());
        let mut browser =
            planted(&store.rows, &clock, &format!(r#"{{"cookie":{{"path":"/"}},"userId":{json},"x":1}}"#));
        browser.visit(&sessions, |session| assert_eq!(session.owner(), Some(user.into()), "{json}"));
        browser.visit(&sessions, |session| session.insert("y", &2)).unwrap();
        let document = browser.visit(&sessions, |session| session.stored_document().unwrap());
        assert!(document.contains(&format!(r#""userId":{json},"x":1,"y":2,"#)), "{document}");
        browser.visit(&sessions, |session| {
            assert!(session.insert("userId", "mallory").unwrap_err().is_key());
            assert!(session.remove("userId").unwrap_err().is_key());
        });
    }
    for nobody in ["null", "\"\"", "1.5", "true", "{}", "[1]"] {
        let (sessions, store, clock) = house(profile());
        let mut browser = planted(&store.rows, &clock, &format!(r#"{{"cookie":{{}},"userId":{nobody}}}"#));
        browser.visit(&sessions, |session| assert_eq!(session.owner(), None, "{nobody}"));
    }
    for (user, json) in [(UserId::from(42_u64), "42"), (UserId::from("42"), "\"42\""), ("u\"1".into(), r#""u\"1""#)] {
        let (sessions, _, _) = house(profile());
        let mut browser = Browser::default();
        browser.visit(&sessions, |session| session.sign_in(user.clone())).unwrap();
        browser.visit(&sessions, |session| {
            assert_eq!(session.owner(), Some(user));
            let document = session.stored_document().unwrap();
            assert!(document.contains(&format!(r#""userId":{json}"#)), "{document}");
        });
    }
}

#[test]
fn an_owner_whom_express_put_there_has_not_proved_anything_to_us() {
    let (sessions, store, clock) = house(express().user_key("userId").unwrap());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.sign_in(1_u64)).unwrap();
    browser.visit(&sessions, |session| assert!(session.authenticated_within(MINUTE)));
    // Express signs in somebody else without a new id, as passport did before 0.6.
    hand_over(&store, &browser, &clock, "2");
    for _ in 0..2 {
        browser.visit(&sessions, |session| {
            assert_eq!((session.owner(), session.authenticated_at()), (Some("2".into()), None));
            session.insert("x", &1).unwrap();
        });
    }
}

/// Puts another user into the one session in place, as an Express app without `regenerate` does.
fn hand_over(store: &Spy, browser: &Browser, clock: &ManualClock, user: &str) {
    let codec = ExpressCodec::new(Keyring::new([Secret::dangerous("keyboard cat")]).unwrap());
    let value = browser.cookie.as_ref().unwrap().split_once('=').unwrap().1;
    let id = sessile_core::codec::CookieCodec::decode(&codec, "connect.sid", value.as_bytes(), std::time::UNIX_EPOCH)
        .unwrap()
        .id;
    let key = StoreKey::new(&id, KeyForm::Raw);
    let mut record = block_on(store.rows.load(&key, clock.now())).unwrap().unwrap();
    record.data.insert("userId", user);
    assert_eq!(block_on(store.rows.update(&key, &record)).unwrap(), Written::Done);
}

#[test]
fn a_user_that_another_program_put_in_place_has_proved_nothing() {
    let (sessions, store, clock) = house(express().user_key("userId").unwrap());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| {
        session.sign_in("alice").unwrap();
        assert_eq!(session.get::<String>("userId").unwrap().as_deref(), Some("alice"), "at once");
    });
    assert!(browser.visit(&sessions, |session| session.authenticated_within(MINUTE)));
    hand_over(&store, &browser, &clock, "\"bob\"");
    for _ in 0..2 {
        browser.visit(&sessions, |session| {
            assert_eq!((session.owner(), session.authenticated_at()), (Some("bob".into()), None));
            session.insert("a", &1).unwrap();
        });
    }
}

#[test]
fn a_user_whom_another_program_put_in_place_outlives_the_end_before_the_sign_in() {
    let (sessions, store, clock) = house(express().user_key("userId").unwrap());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| {
        session.insert("a", &1).unwrap();
        session.set_idle_until_sign_in(15 * MINUTE).unwrap();
    });
    hand_over(&store, &browser, &clock, "\"bob\"");
    for _ in 0..3 {
        clock.advance(10 * MINUTE);
        browser.visit(&sessions, |session| {
            assert_eq!((session.owner(), session.lives_until_sign_in()), (Some("bob".into()), false));
            session.insert("a", &2).unwrap();
        });
    }
}

#[test]
fn edits_for_one_user_are_not_replayed_on_the_next_ones_session() {
    let (sessions, store, clock) = house(express().user_key("userId").unwrap());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.sign_in("alice")).unwrap();
    for user in ["\"bob\"", "null"] {
        let slow = browser.begin(&sessions);
        block_on(slow.session()).unwrap().insert("address", "hers").unwrap();
        hand_over(&store, &browser, &clock, user);
        assert_eq!(block_on(slow.finish()).unwrap(), None);
        assert_eq!(browser.visit(&sessions, |session| session.get::<String>("address")).unwrap(), None, "{user}");
    }
}

/// A row as Express would have written it, and a browser with its cookie.
pub(crate) fn planted(rows: &MemoryStore, clock: &ManualClock, document: &str) -> Browser {
    let id = SessionId::parse("planted").unwrap();
    let (key, now) = (StoreKey::new(&id, KeyForm::Raw), clock.now());
    let record = Record::stored(&key, document, now + HOUR, now).unwrap();
    assert_eq!(block_on(rows.insert(&key, &record)).unwrap(), Written::Done);
    let codec = ExpressCodec::new(Keyring::new([Secret::dangerous("keyboard cat")]).unwrap());
    let value = sessile_core::codec::CookieCodec::encode(&codec, "connect.sid", &id, std::time::UNIX_EPOCH);
    Browser { cookie: Some(format!("connect.sid={value}")), last: None }
}

#[test]
fn a_poisoned_row_is_one_error_and_is_never_overwritten() {
    let (sessions, store, _) = house(config());
    let mut browser = with_session(&sessions, &store);
    let slow = browser.begin(&sessions);
    block_on(slow.session()).unwrap().insert("b", &1).unwrap();
    browser.visit(&sessions, |session| session.insert("c", &1)).unwrap();
    store.ops();
    store.fail("load", || Error::poisoned("this row is not a session"));
    let error = browser.try_visit(&sessions, |session| session.insert("a", &2)).unwrap_err();
    assert!(error.is_poisoned() && error.status() == 500);
    let writing = block_on(slow.finish()).unwrap_err();
    assert!(writing.is_poisoned(), "found when the write was to be tried again: {writing}");
    assert_eq!(store.ops(), ["load", "update", "load"]);
    store.heal();
    browser.visit(&sessions, |session| assert_eq!(session.to_json(), r#"{"a":1,"c":1}"#));
}

// Housekeeping.

#[test]
fn a_sweep_removes_what_has_expired_a_batch_at_a_time() {
    let (sessions, store, clock) = house(config());
    let mut browser = Browser::default();
    for _ in 0..2_500 {
        browser = Browser::default();
        browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
    }
    clock.advance(HOUR);
    browser.visit(&sessions, |_| ());
    assert_eq!(block_on(sessions.sweep()).unwrap(), 0);
    clock.advance(23 * HOUR);
    assert_eq!(block_on(sessions.sweep()).unwrap(), 0, "the very end still belongs to the session");
    clock.advance(Duration::from_millis(1));
    let batch = store.sweep().unwrap();
    assert_eq!(block_on(batch.sweep(clock.now(), 700)).unwrap().removed, 700);
    assert_eq!(block_on(sessions.sweep()).unwrap(), 1_799);
    browser.visit(&sessions, |session| assert_eq!(session.get("a").unwrap(), Some(1)));
}

#[test]
fn a_description_says_everything_but_the_secret() {
    let sessions = Sessions::new(MemoryStore::new(), config().idle(30 * MINUTE));
    assert_eq!(
        sessions.description(),
        [
            "session store: memory (lost when the process ends)",
            "session cookie __Host-sid, Path=/, Secure, HttpOnly, SameSite=Lax, kept when the browser closes, \
             idle 30 min, absolute 14 days, 1 secret, ids stored as SHA-256",
        ]
    );
    for text in [config().description(), format!("{:?}", config()), format!("{sessions:?}")] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn the_store_sees_the_hash_of_the_id_and_the_id_itself_only_in_the_express_profile() {
    for (profile, raw) in [(config(), false), (express(), true)] {
        let (sessions, store, _) = house(profile);
        let mut browser = Browser::default();
        browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
        let key = store.keys().remove(0);
        assert_eq!(browser.cookie.unwrap().contains(&format!("s%3A{}.", key.as_str())), raw);
        assert_eq!(key.as_str().len(), if raw { 32 } else { 43 });
    }
}

#[test]
fn a_clock_before_1970_and_one_far_in_the_future_break_nothing() {
    for time in [at(0) - DAY, at(250_000_000_000_000)] {
        let (sessions, _, clock) = house(config());
        clock.set(time);
        let mut browser = Browser::default();
        browser.visit(&sessions, |session| session.sign_in("alice")).unwrap();
        browser.visit(&sessions, |session| assert_eq!(session.owner(), Some("alice".into())));
    }
}

#[test]
fn a_value_is_taken_by_one_of_two_requests() {
    let (sessions, store, _) = house(config());
    let mut browser = with_session(&sessions, &store);
    browser.visit(&sessions, |session| session.insert("token", "once")).unwrap();
    let other = browser.begin(&sessions);
    let session = block_on(other.session()).unwrap();
    assert_eq!(session.take::<String>("token").unwrap().as_deref(), Some("once"));
    session.insert("spent", &true).unwrap();
    assert_eq!(browser.visit(&sessions, |session| session.take::<String>("token")).unwrap().as_deref(), Some("once"));
    let error = block_on(other.finish()).unwrap_err();
    assert!(error.is_gone() && error.status() == 409, "{error:?}");
    assert!(!browser.visit(&sessions, |session| session.keys()).contains(&"spent".to_owned()));
}

#[test]
fn a_message_that_came_while_others_were_shown_is_for_the_next_page() {
    let (sessions, store, _) = house(config());
    let mut browser = with_session(&sessions, &store);
    browser.visit(&sessions, |session| session.flash("info", "one")).unwrap();
    let page = browser.begin(&sessions);
    let shown = block_on(page.session()).unwrap().take_flashes().unwrap();
    browser.visit(&sessions, |session| session.flash("info", "two")).unwrap();
    let _ = block_on(page.finish()).unwrap();
    let texts = |flashes: Vec<sessile_core::Flash>| flashes.into_iter().map(|flash| flash.text).collect::<Vec<_>>();
    assert_eq!(texts(shown), ["one"]);
    assert_eq!(texts(browser.visit(&sessions, |session| session.take_flashes()).unwrap()), ["two"]);
    assert!(browser.visit(&sessions, |session| session.take_flashes()).unwrap().is_empty());
}

#[test]
fn a_user_without_a_name_is_not_signed_in() {
    let (sessions, store, clock) = house(config());
    for user in ["", "a\0b", &"u".repeat(256)] {
        let error = Browser::default().visit(&sessions, |session| session.sign_in(user)).unwrap_err();
        assert!(error.is_value() && error.to_string().contains("1 to 255 bytes"), "{error}");
    }
    assert_eq!(store.live(clock.now()).len(), 0);
}

#[test]
fn an_id_does_not_change_when_the_browser_could_not_be_told() {
    for cookie in [r#"{"path":"/\r\nX-Evil: 1"}"#, r#"{"domain":"a; Secure"}"#, r#"{"sameSite":"evil"}"#] {
        let (sessions, store, clock) = house(express());
        let mut browser = planted(&store.rows, &clock, &format!(r#"{{"cookie":{cookie},"x":1}}"#));
        assert!(browser.try_visit(&sessions, |session| session.rotate()).unwrap_err().is_poisoned(), "{cookie}");
        assert_eq!(browser.visit(&sessions, |session| session.get::<u8>("x")).unwrap(), Some(1), "{cookie}");
    }
}
