//! How many requests used a session: counted only where that is asked for, added up over all instances, and never a reason
//! for a row to be there. A store without a registry is not asked.

use std::sync::Arc;
use std::time::Duration;

use sessile_core::{Device, Fate, Page, Registry, Search, Seen, Sessions, SignedIn, Store};
use tokio::task::JoinSet;

use super::crowd::{Head, cookie, two_houses};
use super::registry::{handle, plain_sign_in, revoked, session_of};
use super::{Fixture, at, key};

/// Everybody's sessions, once both instances have written what they gathered.
async fn written(houses: &[Sessions; 2]) -> Vec<Device> {
    let mut devices = Vec::new();
    for sessions in houses {
        devices = sessions.devices().search(&Search::default(), &Page::first(9)).await.unwrap().devices;
    }
    devices
}

/// Signs a user in, and gives the cookie.
async fn signed_in(sessions: &Sessions, user: &str) -> Option<String> {
    let exchange = sessions.begin(&Head(None));
    exchange.session().await.unwrap().sign_in(user).unwrap();
    cookie(exchange.finish().await.unwrap())
}

/// A request that only looks who is signed in.
async fn visit(sessions: &Sessions, cookie: &Option<String>) {
    let exchange = sessions.begin(&Head(cookie.clone()));
    assert!(exchange.session().await.unwrap().owner().is_some());
    assert!(exchange.finish().await.unwrap().is_none());
}

async fn sign_in(registry: &dyn Registry, name: &str, number: usize) {
    let answer = registry.sign_in(None, &key(name), &session_of("alice", number, 0), &plain_sign_in()).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
}

/// What the registry says of this session, alive or not.
async fn device(registry: &dyn Registry, number: usize) -> Option<Device> {
    let search = Search { handle: Some(handle(number)), ..Search::default() };
    registry.search(&search, at(0), &Page::first(9)).await.unwrap().pop()
}

fn seen(number: usize, millis: u64, requests: u64) -> Seen {
    Seen { handle: handle(number), at: at(millis), expires_at: at(millis + 3_600_000), requests }
}

/// Nothing is counted by default. Where it is asked for, the requests on all instances add up, and the sign-in is none.
pub async fn requests_are_counted_where_that_is_asked_for(fixture: impl Fixture) {
    for (is_counted, expected) in [(false, 0), (true, 9)] {
        let (houses, clock) = two_houses(&fixture, |config| config.count_requests(is_counted)).await;
        if houses[0].store().registry().is_none() {
            return;
        }
        let user = format!("counted {is_counted}");
        let browser = signed_in(&houses[0], &user).await;
        for round in 0..9 {
            visit(&houses[round % 2], &browser).await;
            clock.advance(Duration::from_secs(8));
        }
        let devices = written(&houses).await;
        let device = devices.iter().find(|device| device.owner.as_str() == user).unwrap();
        assert_eq!(device.requests, expected, "counted: {is_counted}");
        assert_eq!(written(&houses).await, devices, "each of them once");
    }
}

/// However often instances tell, at once and in any order, nothing is lost and times move forward only.
pub async fn requests_of_all_instances_add_up(fixture: impl Fixture) {
    let store = Arc::new(fixture.open().await);
    let Some(registry) = store.registry() else { return };
    sign_in(registry, "a", 1).await;
    sign_in(registry, "b", 2).await;
    registry.seen(&[seen(1, 60_000, 2), seen(2, 1, 0), seen(1, 30_000, 3)]).await.unwrap();
    registry.seen(&[seen(1, 20_000, 4)]).await.unwrap();
    let one = device(registry, 1).await.unwrap();
    assert_eq!((one.requests, one.last_seen_at, one.expires_at), (9, at(60_000), at(3_660_000)));
    assert_eq!(device(registry, 2).await.unwrap().requests, 0);
    let mut racers = JoinSet::new();
    for racer in 0..8 {
        let store = if racer % 2 == 0 { store.clone() } else { Arc::new(fixture.open().await) };
        racers.spawn(async move {
            let registry = store.registry().unwrap();
            for round in 0..5 {
                let both = [seen(1, 70_000 + round, 1), seen(2, 70_000 + round, 2)];
                let order = if racer % 3 == 0 { [1, 0] } else { [0, 1] };
                registry.seen(&order.map(|at| both[at].clone())).await.unwrap();
            }
        });
    }
    racers.join_all().await;
    let counts = [device(registry, 1).await.unwrap().requests, device(registry, 2).await.unwrap().requests];
    assert_eq!(counts, [9 + 40, 80]);
}

/// A session that ended keeps what was counted, another sign-in in a session goes on counting, and what is told too late
/// changes neither the end nor any time.
pub async fn an_end_keeps_the_count(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    sign_in(registry, "a", 1).await;
    registry.seen(&[seen(1, 1_000, 5)]).await.unwrap();
    let mut again = session_of("alice", 1, 2_000);
    again.revision = super::found(&store, "a").await.revision;
    let answer = registry.sign_in(Some(&key("a")), &key("b"), &again, &plain_sign_in()).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
    assert_eq!(device(registry, 1).await.unwrap().requests, 5);
    registry.seen(&[seen(1, 3_000, 1)]).await.unwrap();
    assert!(registry.revoke(&"alice".into(), &handle(1), &revoked(4_000)).await.unwrap().is_some());
    let ended = device(registry, 1).await.unwrap();
    assert_eq!((ended.requests, ended.last_seen_at), (6, at(3_000)));
    registry.seen(&[seen(1, 3_500, 2), seen(1, 9_000, 0)]).await.unwrap();
    assert_eq!(device(registry, 1).await.unwrap(), Device { requests: 8, ..ended });
}

/// Requests that are told of a session which is gone, or never was, bring nothing back.
pub async fn a_count_revives_and_creates_nothing(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    sign_in(registry, "a", 1).await;
    assert!(registry.revoke(&"alice".into(), &handle(1), &revoked(1)).await.unwrap().is_some());
    let ended = device(registry, 1).await.unwrap();
    registry.seen(&[seen(1, 9_000, 3), seen(2, 9_000, 3)]).await.unwrap();
    assert_eq!(device(registry, 1).await.unwrap(), Device { requests: 3, ..ended });
    assert!(super::load(&store, "a").await.is_none());
    assert!(matches!(store.fate(&key("a")).await.unwrap(), Some(Fate::Ended(_, ending)) if ending == revoked(1)));
    assert!(registry.list(&"alice".into(), at(0), &Page::first(9)).await.unwrap().is_empty());
    assert_eq!((device(registry, 2).await, registry.count(&Search::default(), at(0)).await.unwrap()), (None, 1));
}
