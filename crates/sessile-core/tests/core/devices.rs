//! Who is signed in where, as an application sees it: devices, revocation, the cap, events. What a store has to do for it
//! is in the testkit's contract.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sessile_core::{
    AtLimit, Clock as _, Config, Cursor, Device, DeviceNames, End, Ending, Error, Event, EventKind, Fate, MemoryStore,
    Page, Record, RecordIp, Refusal, Registry, Session, Sessions, Store, StoreKey, UserId, Written,
};

use crate::lifecycle::planted;
use crate::support::{Browser, DAY, HOUR, Head, MINUTE, ManualClock, Spy, block_on, config, express, house};

/// What an observer was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Event>>>);

impl Told {
    fn by(config: Config) -> (Config, Self) {
        let told = Self::default();
        let list = told.0.clone();
        (config.observer(move |event: &Event| list.lock().unwrap().push(event.clone())), told)
    }

    /// The events since the last question.
    fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn kinds(&self) -> Vec<EventKind> {
        self.events().into_iter().map(|event| event.kind).collect()
    }
}

fn signed_in(sessions: &Sessions, user: &str) -> Browser {
    let mut browser = Browser::default();
    browser.visit(sessions, |session| session.sign_in(user)).unwrap();
    browser
}

fn owner_of(sessions: &Sessions, browser: &Browser) -> Option<String> {
    browser.clone().visit(sessions, |session| session.owner()).map(|owner| owner.as_str().to_owned())
}

fn list(sessions: &Sessions, user: &str) -> Vec<Device> {
    block_on(sessions.devices().list(&user.into(), &Page::first(100))).unwrap().devices
}

fn history(sessions: &Sessions, user: &str) -> Vec<Device> {
    block_on(sessions.devices().history(&user.into(), &Page::first(100))).unwrap().devices
}

fn ends(sessions: &Sessions, user: &str) -> Vec<End> {
    history(sessions, user).into_iter().map(|device| device.ended.unwrap().end).collect()
}

#[test]
fn a_sign_in_is_listed_and_an_anonymous_session_is_not() {
    let (sessions, _, clock) = house(config());
    Browser::default().visit(&sessions, |session| session.insert("cart", &1)).unwrap();
    let head = Head::default().and("user-agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36");
    let exchange = sessions.begin(&Head { peer: Some("203.0.113.7".parse().unwrap()), ..head });
    let session = block_on(exchange.session()).unwrap();
    session.sign_in_by("password", "alice").unwrap();
    let _ = block_on(exchange.finish()).unwrap();
    let devices = list(&sessions, "alice");
    let [device] = devices.as_slice() else { panic!("{devices:?}") };
    assert_eq!(device.handle, session.handle());
    assert_eq!(device.facts.ip, Some("203.0.113.7".parse().unwrap()));
    assert_eq!(device.facts.device.as_deref(), Some("Chrome on Windows"));
    assert!(device.facts.user_agent.as_ref().unwrap().starts_with("Mozilla/5.0 (Windows"));
    assert_eq!(device.facts.auth_method.as_deref(), Some("password"));
    let now = clock.now();
    assert_eq!((device.created_at, device.authenticated_at, device.last_seen_at), (now, Some(now), now));
    assert_eq!(device.expires_at, now + DAY);
    assert_eq!(list(&sessions, "bob"), []);
}

#[test]
fn a_device_keeps_its_handle_and_its_sign_in_through_a_rotation() {
    let (sessions, _, clock) = house(config());
    let mut browser = signed_in(&sessions, "alice");
    let before = list(&sessions, "alice");
    clock.advance(MINUTE);
    browser.visit(&sessions, |session| session.rotate()).unwrap();
    let rotated = list(&sessions, "alice");
    assert_eq!((&rotated[0].handle, rotated[0].created_at), (&before[0].handle, before[0].created_at));
    browser.visit(&sessions, |session| session.authenticate_again()).unwrap();
    let after = list(&sessions, "alice").remove(0);
    assert_eq!((&after.handle, after.created_at), (&before[0].handle, before[0].created_at));
    assert_eq!(after.authenticated_at, before[0].authenticated_at.map(|at| at + MINUTE));
}

#[test]
fn each_session_has_one_end_and_the_first_counts() {
    let (sessions, _, clock) = house(config());
    let devices = sessions.devices();
    let mut out = signed_in(&sessions, "alice");
    out.visit(&sessions, |session| session.end()).unwrap();
    clock.advance(MINUTE);
    let revoked = signed_in(&sessions, "alice");
    let handle = list(&sessions, "alice").remove(0).handle;
    assert!(block_on(devices.revoke(&"alice".into(), handle.as_str())).unwrap());
    assert!(!block_on(devices.revoke(&"alice".into(), handle.as_str())).unwrap(), "twice is once");
    assert_eq!(owner_of(&sessions, &revoked), None);
    clock.advance(MINUTE);
    signed_in(&sessions, "alice");
    let expired = list(&sessions, "alice").remove(0).handle;
    clock.advance(DAY + MINUTE);
    assert_eq!(list(&sessions, "alice"), [], "what has expired is not listed, swept or not");
    assert!(!block_on(devices.revoke(&"alice".into(), expired.as_str())).unwrap(), "nor is there anything to revoke");
    block_on(sessions.sweep()).unwrap();
    assert_eq!(ends(&sessions, "alice"), [End::Expired, End::Revoked, End::LoggedOut]);
}

#[test]
fn what_belongs_to_somebody_else_does_not_exist_and_what_is_no_handle_is_not_asked_for() {
    let (sessions, store, _) = house(config());
    let bob = signed_in(&sessions, "bob");
    let handle = list(&sessions, "bob").remove(0).handle;
    let devices = sessions.devices();
    assert!(!block_on(devices.revoke(&"alice".into(), handle.as_str())).unwrap());
    assert_eq!(owner_of(&sessions, &bob).as_deref(), Some("bob"));
    store.fail("*", || panic!("asked"));
    for nonsense in ["", "abc", "../bob", &handle.as_str().to_uppercase(), &format!("{handle} ")] {
        assert!(!block_on(devices.revoke(&"bob".into(), nonsense)).unwrap(), "{nonsense:?}");
    }
}

#[test]
fn all_others_are_ended_and_this_one_stays() {
    let (sessions, _, _) = house(config());
    let (mut here, there, bob) =
        (signed_in(&sessions, "alice"), signed_in(&sessions, "alice"), signed_in(&sessions, "bob"));
    let exchange = here.begin(&sessions);
    let session = block_on(exchange.session()).unwrap();
    assert_eq!(block_on(sessions.devices().revoke_others(&session)).unwrap(), 1);
    here.receive(block_on(exchange.finish()).unwrap());
    assert_eq!(owner_of(&sessions, &here).as_deref(), Some("alice"));
    assert_eq!((owner_of(&sessions, &there), owner_of(&sessions, &bob).as_deref()), (None, Some("bob")));
    let nobody = block_on(sessions.begin(&Head::default()).session()).unwrap();
    assert!(block_on(sessions.devices().revoke_others(&nobody)).unwrap_err().is_unauthenticated());
}

#[test]
fn a_sign_in_that_was_under_way_does_not_slip_past_a_revocation() {
    let (config, told) = Told::by(config());
    let (sessions, store, clock) = house(config);
    let mut slow = Browser::default();
    let exchange = slow.begin(&sessions);
    // The password is right; while it is checked, it is changed and every session ended.
    clock.advance(Duration::from_millis(300));
    assert_eq!(block_on(sessions.devices().revoke_all(&"alice".into(), "password changed")).unwrap(), 0);
    block_on(exchange.session()).unwrap().sign_in("alice").unwrap();
    let error = block_on(exchange.finish()).unwrap_err();
    assert!(error.is_gone() && error.status() == 409, "{error}");
    assert_eq!((store.live(clock.now()).len(), list(&sessions, "alice").len()), (0, 0));
    assert_eq!(told.kinds(), [EventKind::Refused(Refusal::CutOff)]);
    slow.visit(&sessions, |session| session.sign_in("alice")).unwrap();
    assert_eq!(owner_of(&sessions, &slow).as_deref(), Some("alice"), "one that begins afterwards is welcome");
    assert_eq!(told.kinds(), [EventKind::Created, EventKind::SignedIn]);
}

/// A change of the password, and a reset of it, in the request that they belong to.
#[test]
fn who_revokes_can_prove_themselves_in_the_same_request() {
    for proof_first in [false, true] {
        let (sessions, _, clock) = house(config());
        let mut here = signed_in(&sessions, "alice");
        let there = signed_in(&sessions, "alice");
        let exchange = here.begin(&sessions);
        let session = block_on(exchange.session()).unwrap();
        clock.advance(MINUTE);
        if proof_first {
            session.authenticate_again().unwrap();
        }
        assert_eq!(block_on(exchange.devices().revoke_others(&session)).unwrap(), 1);
        if !proof_first {
            session.authenticate_again().unwrap();
        }
        here.receive(block_on(exchange.finish()).unwrap());
        assert_eq!((owner_of(&sessions, &here).as_deref(), owner_of(&sessions, &there)), (Some("alice"), None));
        assert!(here.visit(&sessions, |session| session.authenticated_within(MINUTE / 2)));
    }
    let (sessions, _, clock) = house(config());
    let there = signed_in(&sessions, "alice");
    let (mut reset, late) = (Browser::default(), Browser::default().begin(&sessions));
    block_on(late.session()).unwrap().sign_in("alice").unwrap();
    let exchange = reset.begin(&sessions);
    clock.advance(MINUTE);
    assert_eq!(block_on(exchange.devices().revoke_all(&"alice".into(), "password reset")).unwrap(), 1);
    block_on(exchange.session()).unwrap().sign_in("alice").unwrap();
    reset.receive(block_on(exchange.finish()).unwrap());
    assert_eq!((owner_of(&sessions, &reset).as_deref(), owner_of(&sessions, &there)), (Some("alice"), None));
    assert!(block_on(late.finish()).unwrap_err().is_gone(), "another request's sign-in is refused");
    assert_eq!(block_on(sessions.devices().revoke_all(&"".into(), "nobody")).unwrap(), 0);
}

#[test]
fn a_sign_in_of_several_steps_counts_from_its_first() {
    let (sessions, _, clock) = house(config());
    let password_was_checked = clock.now();
    clock.advance(MINUTE);
    assert_eq!(block_on(sessions.devices().revoke_all(&"alice".into(), "a test")).unwrap(), 0);
    clock.advance(MINUTE);
    let refused = Browser::default().try_visit(&sessions, |session| {
        session.sign_in_began(password_was_checked);
        session.sign_in("alice")
    });
    assert!(refused.unwrap_err().is_gone());
    let mut browser = Browser::default();
    browser
        .visit(&sessions, |session| {
            session.sign_in_began(session.now() + HOUR);
            session.sign_in("alice")
        })
        .unwrap();
    assert_eq!(browser.visit(&sessions, |session| session.authenticated_at()), Some(clock.now()), "never from later");
}

#[test]
fn a_sign_in_of_several_steps_goes_on_after_its_own_revocation() {
    let (sessions, _, clock) = house(config());
    let password_was_checked = clock.now();
    clock.advance(MINUTE);
    let (mut reset, there) = (Browser::default(), signed_in(&sessions, "alice"));
    let exchange = reset.begin(&sessions);
    assert_eq!(block_on(exchange.devices().revoke_all(&"alice".into(), "password reset")).unwrap(), 1);
    let session = block_on(exchange.session()).unwrap();
    session.sign_in_began(password_was_checked);
    session.sign_in("alice").unwrap();
    reset.receive(block_on(exchange.finish()).unwrap());
    assert_eq!((owner_of(&sessions, &reset).as_deref(), owner_of(&sessions, &there)), (Some("alice"), None));
}

#[test]
fn a_proof_that_is_older_than_the_sign_in_is_no_fresh_one() {
    let (sessions, store, clock) = house(config().idle(DAY).absolute(2 * HOUR));
    let (mut browser, start) = (Browser::default(), clock.now());
    browser.visit(&sessions, |session| {
        assert!(session.proved_at(Some(start)).is_err(), "before a sign-in it would be forgotten");
        session.sign_in("alice").unwrap();
        session.proved_at(Some(start - 8 * HOUR)).unwrap();
        assert!(!session.authenticated_within(MINUTE));
    });
    browser.visit(&sessions, |session| {
        assert_eq!(session.authenticated_at(), Some(start - 8 * HOUR));
        assert!(session.authenticated_within(8 * HOUR) && !session.authenticated_within(8 * HOUR - MINUTE));
    });
    assert_eq!(store.live(start)[0].expires_at, start + 2 * HOUR, "the sign-in counts from when it was");
    assert_eq!(list(&sessions, "alice")[0].authenticated_at, Some(start));
    clock.advance(MINUTE);
    browser.visit(&sessions, |session| session.authenticate_again()).unwrap();
    assert!(browser.visit(&sessions, |session| session.authenticated_within(Duration::ZERO)));
    browser.visit(&sessions, |session| {
        session.sign_in("alice").unwrap();
        session.proved_at(Some(session.now() + HOUR)).unwrap();
        assert_eq!(session.authenticated_at(), Some(clock.now()), "never later than now");
    });
}

#[test]
fn a_proof_of_which_nobody_knows_the_time_is_no_fresh_one() {
    let (sessions, store, clock) = house(config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| {
        session.sign_in("alice").unwrap();
        session.proved_at(None).unwrap();
    });
    browser.visit(&sessions, |session| {
        assert_eq!((session.owner(), session.authenticated_at()), (Some("alice".into()), None));
        assert!(!session.authenticated_within(Duration::MAX));
    });
    assert_eq!(store.live(clock.now())[0].authenticated_at(), Some(clock.now()), "the sign-in itself is known");
    let mut same = browser.clone();
    same.visit(&sessions, |session| session.sign_in("alice")).unwrap();
    assert!(same.visit(&sessions, |session| session.authenticated_within(Duration::ZERO)), "another sign-in");
}

#[test]
fn what_is_said_of_a_proof_holds_though_another_request_wrote_first() {
    let (sessions, _, clock) = house(config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.insert("cart", &1)).unwrap();
    let slow = browser.begin(&sessions);
    let session = block_on(slow.session()).unwrap();
    session.sign_in("alice").unwrap();
    session.proved_at(Some(clock.now() - HOUR)).unwrap();
    browser.visit(&sessions, |session| session.insert("cart", &2)).unwrap();
    browser.receive(block_on(slow.finish()).unwrap());
    browser.visit(&sessions, |session| {
        assert_eq!((session.get("cart").unwrap(), session.authenticated_within(MINUTE)), (Some(2), false));
    });
}

#[test]
fn everyone_is_out_at_once_and_anonymous_sessions_stay() {
    let (sessions, store, clock) = house(config());
    let mut visitor = Browser::default();
    visitor.visit(&sessions, |session| session.insert("cart", &1)).unwrap();
    let (alice, bob) = (signed_in(&sessions, "alice"), signed_in(&sessions, "bob"));
    clock.advance(HOUR);
    let late = signed_in(&sessions, "carol");
    let devices = sessions.devices();
    let before = clock.now() - MINUTE;
    block_on(devices.revoke_everyone(before, "a backup was stolen")).unwrap();
    for gone in [&alice, &bob] {
        assert_eq!(owner_of(&sessions, gone), None);
    }
    assert_eq!(owner_of(&sessions, &late).as_deref(), Some("carol"));
    assert_eq!(visitor.visit(&sessions, |session| session.get("cart")).unwrap(), Some(1));
    assert_eq!(store.live(clock.now()).len(), 4, "the rows are still there");
    block_on(sessions.sweep()).unwrap();
    assert_eq!(store.live(clock.now()).len(), 2);
    let ending = history(&sessions, "alice").remove(0).ended.unwrap();
    assert_eq!((ending.end, ending.reason.as_deref()), (End::Revoked, Some("a backup was stolen")));
    let soon = clock.now() + MINUTE;
    assert!(block_on(devices.revoke_everyone(soon, "a slip")).unwrap_err().is_value());
}

#[test]
fn a_cap_evicts_the_oldest_or_refuses_the_newest() {
    for policy in [AtLimit::EvictOldest, AtLimit::Deny] {
        let (config, told) = Told::by(config().max_sessions_per_user(2, policy));
        let (sessions, _, clock) = house(config);
        let mut browsers = Vec::new();
        for _ in 0..2 {
            browsers.push(signed_in(&sessions, "alice"));
            clock.advance(MINUTE);
        }
        signed_in(&sessions, "bob");
        told.events();
        let mut third = Browser::default();
        let answer = third.try_visit(&sessions, |session| session.sign_in("alice").unwrap());
        let alive = |browser: &Browser| owner_of(&sessions, browser).is_some();
        match policy {
            AtLimit::EvictOldest => {
                answer.unwrap();
                assert_eq!((alive(&browsers[0]), alive(&browsers[1]), alive(&third)), (false, true, true));
                assert_eq!(ends(&sessions, "alice"), [End::Evicted]);
                let kinds = [EventKind::Created, EventKind::SignedIn, EventKind::Ended(End::Evicted)];
                assert_eq!(told.kinds()[..3], kinds);
            }
            AtLimit::Deny => {
                let error = answer.unwrap_err();
                assert!(error.is_full() && error.status() == 409, "{error}");
                assert_eq!((alive(&browsers[0]), alive(&browsers[1]), alive(&third)), (true, true, false));
                assert_eq!(told.kinds()[0], EventKind::Refused(Refusal::Full));
                browsers[0].visit(&sessions, |session| session.authenticate_again()).unwrap();
                browsers[0].visit(&sessions, |session| session.sign_in("alice")).unwrap();
                browsers[0].visit(&sessions, |session| session.end()).unwrap();
                third.visit(&sessions, |session| session.sign_in("alice")).unwrap();
            }
        }
    }
}

#[test]
fn another_user_in_the_same_session_is_another_device() {
    let (config, told) = Told::by(config());
    let (sessions, _, clock) = house(config);
    let mut browser = Browser::default();
    browser
        .visit(&sessions, |session| {
            session.insert("draft", "secret")?;
            session.sign_in("alice")?;
            session.remember(30 * DAY)
        })
        .unwrap();
    let alice = browser.visit(&sessions, |session| session.handle());
    told.events();
    clock.advance(MINUTE);
    browser.visit(&sessions, |session| session.sign_in("bob")).unwrap();
    let bob = browser.visit(&sessions, |session| {
        assert_eq!(session.to_json(), "{}");
        assert_eq!(session.expires_at(), clock.now() + DAY, "alice wanted to be remembered, not bob");
        session.handle()
    });
    assert_ne!(alice, bob);
    assert_eq!((list(&sessions, "alice").len(), list(&sessions, "bob").remove(0).handle), (0, bob.clone()));
    assert_eq!(ends(&sessions, "alice"), [End::LoggedOut]);
    let told: Vec<_> = told.events().into_iter().map(|event| (event.kind, event.handle, event.owner)).collect();
    let expected = [
        (EventKind::SignedIn, Some(bob), Some(UserId::from("bob"))),
        (EventKind::Ended(End::LoggedOut), Some(alice), Some("alice".into())),
    ];
    assert_eq!(told, expected);
}

#[test]
fn uses_are_gathered_and_written_together() {
    let (sessions, store, clock) = house(config());
    let mut browsers: Vec<_> = (0..3).map(|_| signed_in(&sessions, "alice")).collect();
    let written = || std::mem::take(&mut *store.seen.lock().unwrap());
    for _ in 0..100 {
        browsers.iter_mut().for_each(|browser| browser.visit(&sessions, |_| ()));
        clock.advance(Duration::from_millis(40));
    }
    assert_eq!(written(), Vec::<usize>::new(), "nothing within five seconds");
    clock.advance(Duration::from_secs(2));
    browsers[0].visit(&sessions, |_| ());
    assert_eq!(written(), [3]);
    clock.advance(MINUTE);
    browsers.iter_mut().for_each(|browser| browser.visit(&sessions, |_| ()));
    let now = clock.now();
    let seen: Vec<_> =
        list(&sessions, "alice").into_iter().map(|device| (device.last_seen_at, device.expires_at)).collect();
    assert_eq!(seen, [(now, now + DAY); 3], "a list is as fresh as this instance can make it");
}

/// How often each of three sessions was used, as a list says it, and how many writes there were before that, when they are
/// used for two minutes.
fn used_for_a_while(config: Config) -> (Vec<u64>, usize) {
    let (sessions, store, clock) = house(config);
    let mut browsers: Vec<_> = (0..3).map(|_| signed_in(&sessions, "alice")).collect();
    for round in 0..30 {
        clock.advance(Duration::from_secs(4));
        let used = browsers.iter_mut().enumerate().filter(|(number, _)| round % (number + 1) == 0);
        used.for_each(|(_, browser)| browser.visit(&sessions, |_| ()));
    }
    let written = store.seen.lock().unwrap().len();
    (list(&sessions, "alice").into_iter().map(|device| device.requests).collect(), written)
}

#[test]
fn requests_are_counted_when_asked_for_and_cost_no_write_more() {
    let (counts, written) = used_for_a_while(config());
    assert_eq!(counts, [0; 3], "nobody asked");
    let (mut counts, counted) = used_for_a_while(config().count_requests(true));
    counts.sort_unstable();
    assert_eq!((counts, counted), (vec![10, 15, 30], written));
}

#[test]
fn what_was_counted_of_a_session_that_rests_is_written_with_the_others() {
    let (sessions, store, clock) = house(config().count_requests(true));
    let mut resting = signed_in(&sessions, "alice");
    let mut busy = signed_in(&sessions, "bob");
    for _ in 0..5 {
        resting.visit(&sessions, |_| ());
        clock.advance(Duration::from_secs(1));
    }
    let last = clock.now() - Duration::from_secs(1);
    busy.visit(&sessions, |_| ());
    clock.advance(MINUTE);
    busy.visit(&sessions, |_| ());
    clock.advance(Duration::from_secs(5));
    assert_eq!(*store.seen.lock().unwrap(), [2, 2]);
    let device = block_on(store.list(&"alice".into(), clock.now(), &Page::first(9))).unwrap().remove(0);
    assert_eq!((device.requests, device.last_seen_at), (5, last));
}

#[test]
fn so_many_sessions_are_written_at_once_and_no_more() {
    let (sessions, store, _) = house(config().count_requests(true));
    let mut browsers: Vec<_> = (0..1_100).map(|number| signed_in(&sessions, &number.to_string())).collect();
    for _ in 0..2 {
        browsers.iter_mut().for_each(|browser| browser.visit(&sessions, |_| ()));
    }
    assert_eq!(std::mem::take(&mut *store.seen.lock().unwrap()), [1_000]);
    let counted: u64 = (0..1_100).map(|number: u32| list(&sessions, &number.to_string())[0].requests).sum();
    assert_eq!(counted, 2_200);
    let written = store.seen.lock().unwrap().clone();
    assert_eq!((written.iter().sum::<usize>(), written.iter().max()), (1_200, Some(&1_000)));
}

#[test]
fn what_may_be_kept_of_a_device_is_decided() {
    let head = |user_agent: &[u8]| {
        Head { peer: Some("198.51.100.77".parse::<IpAddr>().unwrap()), ..Head::default() }.and("user-agent", user_agent)
    };
    let facts = |config: Config, user_agent: &[u8]| {
        let (sessions, _, _) = house(config);
        let exchange = sessions.begin(&head(user_agent));
        block_on(exchange.session()).unwrap().sign_in("alice").unwrap();
        let _ = block_on(exchange.finish()).unwrap();
        list(&sessions, "alice").remove(0).facts
    };
    let all = facts(config(), b"curl/8.5.0");
    assert_eq!((all.ip, all.user_agent.as_deref()), (Some("198.51.100.77".parse().unwrap()), Some("curl/8.5.0")));
    let network = facts(config().record_ip(RecordIp::Network), b"x");
    assert_eq!(network.ip, Some("198.51.100.0".parse().unwrap()));
    let nothing = facts(config().record_ip(RecordIp::Never).record_user_agent(false), b"curl/8.5.0");
    assert_eq!(nothing, Default::default());
    let long = facts(config(), "é".repeat(600).as_bytes()).user_agent.unwrap();
    assert_eq!(long.chars().count(), 512);
    let hostile = facts(config(), b"\x1b[31mroot\0\xff").user_agent.unwrap();
    assert_eq!(&*hostile, "\u{fffd}[31mroot\u{fffd}\u{fffd}");
    struct Shouting;
    impl DeviceNames for Shouting {
        fn name(&self, user_agent: &str) -> Option<String> {
            Some(user_agent.to_uppercase())
        }
    }
    assert_eq!(facts(config().device_names(Shouting), b"tv").device.as_deref(), Some("TV"));
}

#[test]
fn an_observer_hears_of_everything_after_it_happened() {
    let (config, told) = Told::by(config());
    let (sessions, _, clock) = house(config);
    let mut browser = Browser::default();
    browser.visit(&sessions, |_| ());
    assert_eq!(told.kinds(), [], "nothing was stored");
    browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
    assert_eq!(told.kinds(), [EventKind::Created]);
    let anonymous = browser.clone();
    browser.visit(&sessions, |session| session.sign_in("alice")).unwrap();
    let event = told.events().remove(0);
    assert_eq!((event.kind, event.owner, event.at), (EventKind::SignedIn, Some("alice".into()), clock.now()));
    anonymous.clone().visit(&sessions, |session| session.insert("b", &1)).unwrap();
    assert_eq!(told.kinds(), [EventKind::Refused(Refusal::Late)]);
    browser.visit(&sessions, |session| session.rotate()).unwrap();
    assert_eq!(told.kinds(), [EventKind::Rotated]);
    browser.visit(&sessions, |session| session.authenticate_again()).unwrap();
    assert_eq!(told.kinds(), [EventKind::AuthenticatedAgain], "no new device");
    let mut old = browser.clone();
    browser.visit(&sessions, |session| session.end()).unwrap();
    assert_eq!(told.kinds(), [EventKind::Ended(End::LoggedOut)]);
    old.visit(&sessions, |_| ());
    let event = told.events().remove(0);
    assert_eq!((event.kind, event.owner), (EventKind::Refused(Refusal::Reused), Some("alice".into())));
    old.cookie = old.cookie.map(|cookie| format!("{cookie}x"));
    old.visit(&sessions, |_| ());
    assert_eq!(told.kinds(), [EventKind::Refused(Refusal::Forged)]);
    signed_in(&sessions, "bob");
    told.events();
    clock.advance(2 * DAY);
    block_on(sessions.sweep()).unwrap();
    let event = told.events().remove(0);
    assert_eq!((event.kind, event.owner), (EventKind::Ended(End::Expired), Some("bob".into())));
}

#[test]
fn an_observer_hears_of_sign_ins_that_were_refused() {
    let (config, told) = Told::by(config().max_sessions_per_user(1, AtLimit::Deny));
    let (sessions, _, clock) = house(config);
    signed_in(&sessions, "alice");
    told.events();
    let full = Browser::default().try_visit(&sessions, |session| session.sign_in("alice")).unwrap_err();
    assert!(full.is_full());
    let event = told.events().remove(0);
    assert_eq!((event.kind, event.owner), (EventKind::Refused(Refusal::Full), Some("alice".into())));
    let late = Browser::default().begin(&sessions);
    block_on(late.session()).unwrap().sign_in("bob").unwrap();
    clock.advance(MINUTE);
    block_on(sessions.devices().revoke_all(&"bob".into(), "a test")).unwrap();
    block_on(late.finish()).unwrap_err();
    let event = told.events().remove(0);
    assert_eq!((event.kind, event.owner), (EventKind::Refused(Refusal::CutOff), Some("bob".into())));
}

#[test]
fn a_session_that_ended_without_an_observer_costs_no_question() {
    let (sessions, store, _) = house(config());
    let mut browser = signed_in(&sessions, "alice");
    let mut old = browser.clone();
    browser.visit(&sessions, |session| session.end()).unwrap();
    store.ops();
    old.visit(&sessions, |_| ());
    assert_eq!(store.ops(), ["load"]);
}

/// What another program leaves under a key that it has: this session in place of the one that is there.
fn rewrite(store: &Spy, clock: &ManualClock, change: impl FnOnce(&mut Record)) {
    let now = clock.now();
    let key = store.keys().pop().unwrap();
    let mut record = block_on(store.rows.load(&key, now)).unwrap().unwrap();
    change(&mut record);
    assert_eq!(block_on(store.rows.update(&key, &record)).unwrap(), Written::Done);
}

#[test]
fn a_session_that_express_signed_in_is_listed_when_it_is_first_seen() {
    let (sessions, store, clock) = house(express().user_key("userId").unwrap());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
    rewrite(&store, &clock, |record| {
        record.data.insert("userId", "42");
    });
    store.ops();
    let mut seen = || browser.visit(&sessions, |session: &Session| (session.owner().is_some(), session.handle()));
    let (is_signed_in, handle) = seen();
    assert!(is_signed_in);
    assert_eq!(store.ops(), ["load", "align"]);
    let devices = list(&sessions, "42");
    assert_eq!(devices.iter().map(|device| &device.handle).collect::<Vec<_>>(), [&handle]);
    assert_eq!((seen(), store.ops()), ((true, handle.clone()), vec!["load"]), "once a minute is enough");
    rewrite(&store, &clock, |record| {
        record.data.insert("userId", "43");
    });
    let (_, other) = seen();
    assert_ne!(other, handle, "another user, another device");
    assert_eq!((ends(&sessions, "42"), list(&sessions, "43").remove(0).handle), (vec![End::LoggedOut], other.clone()));
    rewrite(&store, &clock, |record| {
        record.data.remove("userId");
    });
    assert!(!seen().0);
    assert_eq!(ends(&sessions, "43"), [End::LoggedOut]);
    rewrite(&store, &clock, |record| {
        record.data.insert("userId", "42");
    });
    assert!(seen().0, "its key lives on, so it may be signed in again");
    assert_eq!(list(&sessions, "42").len(), 1);
}

#[test]
fn a_sweep_brings_sessions_and_registry_into_step() {
    let (sessions, store, clock) = house(express().user_key("userId").unwrap());
    let now = clock.now();
    // Express signed somebody in whom Sessile has not seen.
    Browser::default().visit(&sessions, |session| session.insert("a", &1)).unwrap();
    rewrite(&store, &clock, |record| {
        record.data.insert("userId", "42");
    });
    block_on(sessions.sweep()).unwrap();
    assert_eq!(list(&sessions, "42").len(), 1);
    // Express signs in somebody else, and then nobody, in place.
    rewrite(&store, &clock, |record| {
        record.data.insert("userId", "43");
    });
    block_on(sessions.sweep()).unwrap();
    assert_eq!((ends(&sessions, "42"), list(&sessions, "43").len()), (vec![End::LoggedOut], 1));
    rewrite(&store, &clock, |record| {
        record.data.remove("userId");
    });
    block_on(sessions.sweep()).unwrap();
    assert_eq!(ends(&sessions, "43"), [End::LoggedOut]);
    // An Express app brings back one that has ended.
    let revived = signed_in(&sessions, "8");
    let key = store.keys().pop().unwrap();
    let copy = block_on(store.rows.load(&key, now)).unwrap().unwrap();
    revived.clone().visit(&sessions, |session| session.end()).unwrap();
    assert_eq!(block_on(store.rows.insert(&key, &copy)).unwrap(), Written::Done);
    block_on(sessions.sweep()).unwrap();
    assert_eq!(owner_of(&sessions, &revived), None, "an ended session stays dead");
}

#[test]
fn history_is_kept_for_a_while() {
    let (sessions, _, clock) = house(config().history(30 * DAY));
    signed_in(&sessions, "alice").visit(&sessions, |session| session.end()).unwrap();
    clock.advance(30 * DAY);
    block_on(sessions.sweep()).unwrap();
    assert_eq!(history(&sessions, "alice").len(), 1);
    clock.advance(Duration::from_millis(1));
    block_on(sessions.sweep()).unwrap();
    assert_eq!(history(&sessions, "alice").len(), 0);
}

#[test]
fn pages_follow_one_another_without_a_gap() {
    let (sessions, _, clock) = house(config());
    for number in 0..7 {
        signed_in(&sessions, "alice");
        // Two of them at the same moment.
        clock.advance(Duration::from_millis(number % 2));
    }
    let devices = sessions.devices();
    let (mut page, mut handles) = (Page::first(3), Vec::new());
    loop {
        let part = block_on(devices.list(&"alice".into(), &page)).unwrap();
        handles.extend(part.devices.into_iter().map(|device| device.handle));
        let Some(next) = part.next else { break };
        page.after = Some(next.to_string().parse().unwrap());
    }
    let mut once = handles.clone();
    once.sort();
    once.dedup();
    assert_eq!((handles.len(), once.len()), (7, 7));
    assert!("12".parse::<Cursor>().unwrap_err().is_value());
    let exactly = block_on(devices.list(&"alice".into(), &Page::first(7))).unwrap();
    assert_eq!((exactly.devices.len(), exactly.next), (7, None));
}

#[test]
fn a_store_without_a_registry_says_so() {
    struct Plain(MemoryStore);
    #[async_trait::async_trait]
    impl Store for Plain {
        async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
            self.0.load(key, now).await
        }
        async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
            self.0.insert(key, record).await
        }
        async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
            self.0.update(key, record).await
        }
        async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
            self.0.rotate(from, to, record).await
        }
        async fn touch(&self, key: &StoreKey, seen: SystemTime, end: SystemTime) -> Result<Written, Error> {
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
            "plain".into()
        }
    }
    let sessions = Sessions::new(Plain(MemoryStore::new()), config());
    let alice = signed_in(&sessions, "alice");
    assert_eq!(owner_of(&sessions, &alice).as_deref(), Some("alice"));
    let error = block_on(sessions.devices().list(&"alice".into(), &Page::first(1))).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("no registry"), "{error}");
}

#[test]
fn a_copy_that_express_makes_of_a_session_is_a_device_of_its_own() {
    let (sessions, store, clock) = house(express().user_key("userId").unwrap());
    let now = clock.now();
    signed_in(&sessions, "42");
    let handle = list(&sessions, "42").remove(0).handle;
    let key = store.keys().pop().unwrap();
    let original = block_on(store.rows.load(&key, now)).unwrap().unwrap();
    // As passport's `keepSessionInfo`: the data goes along, Sessile's facts and all, and the old session goes.
    let mut browser = planted(&store.rows, &clock, &original.document());
    assert!(block_on(store.rows.remove(&key, &crate::support::signed_out())).unwrap());
    browser.visit(&sessions, |session| {
        assert_eq!(session.owner(), Some("42".into()));
        assert_ne!(session.handle(), handle);
        assert_eq!(session.authenticated_at(), None, "nobody told Sessile how they signed in");
        session.insert("a", &1).unwrap();
    });
    assert_eq!(list(&sessions, "42").len(), 1);
    let own = browser.visit(&sessions, |session| session.handle());
    assert_eq!(list(&sessions, "42").remove(0).handle, own);
    block_on(sessions.sweep()).unwrap();
    assert_eq!(
        browser.visit(&sessions, |session| session.get("a")).unwrap(),
        Some(1),
        "it is no session that came back"
    );
}
