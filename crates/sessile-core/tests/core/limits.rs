//! What one client may do only so often: counted for its network and its session, on the clock of the settings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessile_core::{Config, Enforcement, Error, Event, EventKind, Limits, MemoryStore, Rate, Refusal, Sessions};

use crate::support::{Browser, Head, MINUTE, ManualClock, SECRET, block_on};

/// What observers were told was refused, and why.
type Refused = Arc<Mutex<Vec<(Refusal, Option<Box<str>>)>>>;

fn sessions(limits: Limits) -> (Sessions, ManualClock, Refused) {
    let (clock, refused) = (ManualClock::new(), Refused::default());
    let seen = refused.clone();
    let config = Config::new(SECRET)
        .unwrap()
        .clock(clock.clone())
        .trusted_proxies(["10.0.0.0/8".parse().unwrap()])
        .limits(limits)
        .observer(move |event: &Event| {
            if let EventKind::Refused(refusal) = event.kind {
                seen.lock().unwrap().push((refusal, event.reason.clone()));
            }
        });
    (Sessions::new(MemoryStore::new(), config), clock, refused)
}

fn enforced() -> Limits {
    Limits::new(Enforcement::Enforce)
}

fn from(ip: &str) -> Head {
    Head { peer: Some(ip.parse().unwrap()), ..Head::default() }
}

fn make_session(sessions: &Sessions, head: &Head) -> Result<(), Error> {
    let exchange = sessions.begin(head);
    block_on(exchange.session())?.insert("a", &1)?;
    block_on(exchange.finish()).map(drop)
}

fn forge(sessions: &Sessions, head: Head) -> Result<(), Error> {
    let exchange = sessions.begin(&head.and("cookie", "__Host-sid=s%3Aforged.AAAA"));
    block_on(exchange.session()).map(drop)
}

/// How many of `tries` went through, and what the last refusal said of waiting.
fn through(tries: u32, mut one: impl FnMut() -> Result<(), Error>) -> (u32, Option<u64>) {
    let (mut done, mut wait) = (0, None);
    for _ in 0..tries {
        match one() {
            Ok(()) => done += 1,
            Err(error) => {
                assert_eq!((error.status(), error.is_limited()), (429, true));
                wait = error.retry_after();
            }
        }
    }
    (done, wait)
}

#[test]
fn new_sessions_are_limited_for_each_network() {
    let (sessions, clock, refused) = sessions(enforced().created(Rate::per_minute(6)));
    let one = from("203.0.113.7");
    assert_eq!(through(10, || make_session(&sessions, &one)), (6, Some(10)));
    assert_eq!(refused.lock().unwrap().len(), 4);
    assert_eq!(refused.lock().unwrap()[0], (Refusal::RateLimited, Some("new sessions".into())));
    assert_eq!(through(10, || make_session(&sessions, &from("203.0.113.8"))), (6, Some(10)), "another address");
    clock.advance(Duration::from_secs(10));
    assert_eq!(through(10, || make_session(&sessions, &one)).0, 1, "one more every ten seconds");
    clock.advance(MINUTE * 10);
    assert_eq!(through(10, || make_session(&sessions, &one)).0, 6, "no more than the rate for having waited");
}

#[test]
fn a_network_is_an_ipv4_address_or_an_ipv6_64_as_trusted_proxies_tell_it() {
    let (sessions, ..) = sessions(enforced().created(Rate::per_minute(2)));
    let behind = |client: &str| from("10.1.2.3").and("x-forwarded-for", client);
    let mut made = BTreeMap::new();
    let clients =
        ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1", "2001:db8:0:1::1", "198.51.100.1", "::ffff:198.51.100.1"];
    for client in clients {
        made.insert(client, through(2, || make_session(&sessions, &behind(client))).0);
    }
    let expected = [2, 0, 0, 2, 2, 0];
    assert_eq!(made, clients.into_iter().zip(expected).collect());
    assert_eq!(through(9, || make_session(&sessions, &Head::default())).0, 9, "who has no address is not limited");
}

#[test]
fn forged_cookies_are_limited_and_a_good_one_from_the_same_network_is_not() {
    let (sessions, ..) = sessions(enforced().forged(Rate::per_minute(3)));
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
    let one = "203.0.113.7".parse::<IpAddr>().unwrap();
    assert_eq!(through(5, || forge(&sessions, from("203.0.113.7"))), (3, Some(20)));
    let good = Head { peer: Some(one), ..browser.head() };
    assert_eq!(block_on(sessions.begin(&good).session()).unwrap().get("a").unwrap(), Some(1));
}

#[test]
fn tries_to_sign_in_are_limited_for_each_network_and_for_each_session() {
    let (sessions, ..) = sessions(enforced().sign_ins(Rate::per_minute(4)));
    let one = from("203.0.113.7");
    assert_eq!(through(6, || sessions.begin(&one).try_sign_in()).0, 4);
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.insert("a", &1)).unwrap();
    let mut networks = (1..=6).map(|last| Head { peer: from(&format!("198.51.100.{last}")).peer, ..browser.head() });
    let tried = through(6, || sessions.begin(&networks.next().unwrap()).try_sign_in()).0;
    assert_eq!(tried, 4, "one session from many networks");
}

#[test]
fn what_is_only_logged_is_told_and_goes_on() {
    let (sessions, _, refused) = sessions(Limits::new(Enforcement::LogOnly).created(Rate::per_minute(1)));
    assert_eq!(through(5, || make_session(&sessions, &from("203.0.113.7"))), (5, None));
    assert_eq!(refused.lock().unwrap().len(), 4);
}

#[test]
fn a_clock_that_goes_back_locks_nobody_out() {
    let (sessions, clock, _) = sessions(enforced().created(Rate::per_minute(2)));
    let one = from("203.0.113.7");
    assert_eq!(through(3, || make_session(&sessions, &one)).0, 2);
    clock.set(crate::support::at(crate::support::START_MS - 3_600_000));
    assert_eq!(through(3, || make_session(&sessions, &one)).0, 2);
}

/// Whoever sends the heads of many requests early, and the passwords late, has no more tries for it.
#[test]
fn a_request_that_began_earlier_counts_when_it_tries() {
    let (sessions, clock, _) = sessions(enforced().sign_ins(Rate::per_minute(4)));
    let one = from("203.0.113.7");
    let mut held: Vec<_> =
        (0..40).map(|_| (sessions.begin(&one), clock.advance(Duration::from_millis(100))).0).collect();
    assert_eq!(through(40, || held.pop().unwrap().try_sign_in()).0, 4);
}

#[test]
fn a_clock_that_is_set_back_a_little_gives_nothing_for_free() {
    let (sessions, clock, _) = sessions(enforced().sign_ins(Rate::per_minute(4)));
    let one = from("203.0.113.7");
    assert_eq!(through(5, || sessions.begin(&one).try_sign_in()).0, 4);
    clock.set(crate::support::at(crate::support::START_MS - 5_000));
    assert_eq!(through(5, || sessions.begin(&one).try_sign_in()).0, 0);
}

/// An attacker with a hundred thousand addresses neither makes the tables grow nor keeps others out.
#[test]
fn many_clients_do_not_lock_out_others() {
    let (sessions, ..) = sessions(enforced().sign_ins(Rate::per_minute(5)));
    for number in 0..30_000_u32 {
        let ip = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
        for _ in 0..2 {
            let _ = sessions.begin(&Head { peer: Some(ip), ..Head::default() }).try_sign_in();
        }
    }
    let others = (0..1_000_u32).map(|number| IpAddr::from((0xcb00_0000 + number).to_be_bytes()));
    let locked_out = others.filter(|ip| sessions.begin(&from(&ip.to_string())).try_sign_in().is_err()).count();
    assert!(locked_out <= 25, "{locked_out} of 1,000 could not try");
}

#[test]
fn without_limits_nothing_is_limited() {
    let sessions = Sessions::new(MemoryStore::new(), Config::new(SECRET).unwrap());
    let one = from("203.0.113.7");
    assert_eq!(through(200, || make_session(&sessions, &one).and_then(|()| sessions.begin(&one).try_sign_in())).0, 200);
}
