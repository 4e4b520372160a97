//! Many at once: instances, tasks, and calls that nobody waits for any more.

use std::sync::Arc;
use std::time::Duration;

use sessile_core::{Config, Record, RequestHead, Sessions, SetCookie, Store, Written};
use tokio::task::JoinSet;

use crate::clock::ManualClock;

use super::{Fixture, at, changed, document, found, key, later, load, record, signed_out, stored, value};

/// What each of `count` tasks that run at once made of the store, in no order. Every other task has the other instance.
async fn crowd<S: Store, T, Fut>(stores: [&Arc<S>; 2], count: usize, task: impl Fn(Arc<S>, usize) -> Fut) -> Vec<T>
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for number in 0..count {
        tasks.spawn(task(stores[number % 2].clone(), number));
    }
    tasks.join_all().await
}

async fn two<F: Fixture>(fixture: &F) -> [Arc<F::Store>; 2] {
    [Arc::new(fixture.open().await), Arc::new(fixture.open().await)]
}

fn done(answers: &[Written]) -> usize {
    answers.iter().filter(|answer| **answer == Written::Done).count()
}

/// No instance keeps a copy: what one has written, the other reads, and what one has ended is gone for the other.
pub async fn two_instances_see_each_others_writes_at_once(fixture: impl Fixture) {
    let [one, other] = two(&fixture).await;
    for round in 0..20 {
        let name = round.to_string();
        stored(&*one, &name, "1").await;
        let read = found(&*other, &name).await;
        assert_eq!(other.update(&key(&name), &changed(&read, "2")).await.unwrap(), Written::Done);
        assert_eq!(value(&*one, &name).await.as_deref(), Some("2"));
        assert_eq!(one.touch(&key(&name), at(0), at(60_000)).await.unwrap(), Written::Done);
        let read = found(&*other, &name).await;
        assert_eq!(read.expires_at, at(60_000));
        assert_eq!(other.rotate(&key(&name), &key("moved"), &read).await.unwrap(), Written::Done);
        assert!(load(&*one, &name).await.is_none());
        found(&*one, "moved").await;
        assert!(one.remove(&key("moved"), &signed_out()).await.unwrap());
        assert!(load(&*other, "moved").await.is_none());
    }
}

/// Every session that was said to be written is there, with its own value.
pub async fn sixty_four_sessions_at_once_are_all_kept(fixture: impl Fixture) {
    let [one, other] = two(&fixture).await;
    let answers = crowd([&one, &other], 64, |store, number| async move {
        let record = record(&document(&number.to_string()), later());
        store.insert(&key(&format!("session {number}")), &record).await.unwrap()
    });
    assert_eq!(done(&answers.await), 64);
    for number in 0..64 {
        assert_eq!(value(&*other, &format!("session {number}")).await, Some(number.to_string()));
    }
}

/// `insert` never overwrites, at once either.
pub async fn one_of_many_creators_of_a_key_wins(fixture: impl Fixture) {
    let [one, other] = two(&fixture).await;
    let answers = crowd([&one, &other], 16, |store, number| async move {
        let record = record(&document(&number.to_string()), later());
        (number, store.insert(&key("a"), &record).await.unwrap())
    })
    .await;
    let winners: Vec<_> = answers.iter().filter(|(_, answer)| *answer == Written::Done).collect();
    assert_eq!(winners.len(), 1);
    assert!(answers.iter().all(|(_, answer)| matches!(answer, Written::Done | Written::Stale)));
    assert_eq!(value(&*one, "a").await, Some(winners[0].0.to_string()));
}

/// Of many requests that read the same revision one writes, and the others are told.
pub async fn one_of_many_updates_of_a_revision_wins(fixture: impl Fixture) {
    let [one, other] = two(&fixture).await;
    stored(&*one, "a", "0").await;
    for round in 1..=5_usize {
        let read = found(&*one, "a").await;
        let answers = crowd([&one, &other], 16, |store, number| {
            let record = changed(&read, &(round * 100 + number).to_string());
            async move { store.update(&key("a"), &record).await.unwrap() }
        })
        .await;
        assert_eq!(done(&answers), 1);
        assert!(answers.iter().all(|answer| matches!(answer, Written::Done | Written::Stale)));
    }
}

/// One new id, not several; the losers find the session gone.
pub async fn one_of_many_rotations_wins(fixture: impl Fixture) {
    let [one, other] = two(&fixture).await;
    let read = stored(&*one, "old", "1").await;
    let answers = crowd([&one, &other], 16, |store, number| {
        let record = read.clone();
        async move { store.rotate(&key("old"), &key(&format!("new {number}")), &record).await.unwrap() }
    })
    .await;
    assert_eq!(done(&answers), 1);
    assert!(answers.iter().all(|answer| matches!(answer, Written::Done | Written::Gone)));
    assert!(load(&*one, "old").await.is_none());
    let mut there = 0;
    for number in 0..16 {
        there += usize::from(load(&*other, &format!("new {number}")).await.is_some());
    }
    assert_eq!(there, 1);
}

/// Read, add one, write, and again when somebody else was first.
pub async fn increments_of_many_tasks_are_never_lost(fixture: impl Fixture) {
    let [one, other] = two(&fixture).await;
    stored(&*one, "a", "0").await;
    crowd([&one, &other], 8, |store, _| async move {
        for _ in 0..10 {
            while increment(&*store).await != Written::Done {}
        }
    })
    .await;
    assert_eq!(value(&*one, "a").await.as_deref(), Some("80"));
}

async fn increment(store: &impl Store) -> Written {
    let read = found(store, "a").await;
    let count: u32 = read.data.get("v").unwrap().parse().unwrap();
    store.update(&key("a"), &changed(&read, &(count + 1).to_string())).await.unwrap()
}

/// A touch never makes a write stale and never undoes one.
pub async fn touches_and_an_update_at_once_all_count(fixture: impl Fixture) {
    let [one, other] = two(&fixture).await;
    let read = stored(&*one, "a", "1").await;
    let answers = crowd([&one, &other], 16, |store, number| {
        let record: Record = changed(&read, "2");
        async move {
            match number {
                7 => store.update(&key("a"), &record).await.unwrap(),
                _ => store.touch(&key("a"), at(0), later()).await.unwrap(),
            }
        }
    })
    .await;
    assert_eq!(done(&answers), 16, "{answers:?}");
    assert_eq!(value(&*one, "a").await.as_deref(), Some("2"));
}

/// A logout among updates, touches and rotations: whatever the order, the session is not under its key afterwards, and
/// nothing that follows brings it back.
pub async fn nothing_revives_a_session_removed_meanwhile(fixture: impl Fixture) {
    let [one, other] = two(&fixture).await;
    for round in 0..10 {
        let name = format!("session {round}");
        let read = stored(&*one, &name, "1").await;
        crowd([&one, &other], 12, |store, number| {
            let (key, record) = (key(&name), changed(&read, &number.to_string()));
            async move {
                match number % 3 {
                    _ if number == 6 => assert!(store.remove(&key, &signed_out()).await.unwrap()),
                    0 => drop(store.load(&key, at(0)).await.unwrap()),
                    1 => assert_ne!(store.touch(&key, at(0), later()).await.unwrap(), Written::Stale),
                    _ => drop(store.update(&key, &record).await.unwrap()),
                }
            }
        })
        .await;
        assert!(load(&*one, &name).await.is_none());
        assert!(load(&*other, &name).await.is_none());
    }
}

/// A request whose client has gone is dropped in the middle of a call. The store answers the next one as always.
pub async fn a_call_given_up_leaves_the_store_working(fixture: impl Fixture) {
    let store = fixture.open().await;
    let mut read = stored(&store, "a", "0").await;
    for round in 1..=20_u64 {
        let patience = Duration::from_micros(round * 50);
        let record = changed(&read, &round.to_string());
        let _ = tokio::time::timeout(patience, store.update(&key("a"), &record)).await;
        let _ = tokio::time::timeout(patience, store.load(&key("a"), at(0))).await;
        read = found(&store, "a").await;
    }
    // What was given up may still be on its way; a fresh reading gets past it.
    while store.update(&key("a"), &changed(&found(&store, "a").await, "100")).await.unwrap() != Written::Done {}
    assert_eq!(value(&store, "a").await.as_deref(), Some("100"));
}

/// Two instances with sessions in the stores under test, and their clock.
pub(super) async fn two_houses(
    fixture: &impl Fixture,
    settings: impl Fn(Config) -> Config,
) -> ([Sessions; 2], ManualClock) {
    let clock = ManualClock::new(at(0));
    let config = || Config::new("a secret that is long enough to sign with").unwrap().clock(clock.clone());
    let house = async || Sessions::new(fixture.open().await, settings(config()));
    ([house().await, house().await], clock)
}

/// However many take a name, on whichever instance, one has it, and its time ends like a session's.
pub async fn a_name_is_taken_once(fixture: impl Fixture) {
    let (houses, clock) = two_houses(&fixture, |config| config).await;
    for name in ["a", "b", "'; DROP TABLE session; --", "a\0b", ""] {
        let mut racers = JoinSet::new();
        for racer in 0..8 {
            let sessions = houses[racer % 2].clone();
            racers.spawn(async move { sessions.once(name, Duration::from_secs(60)).await.unwrap() });
        }
        assert_eq!(racers.join_all().await.into_iter().filter(|first| *first).count(), 1, "{name:?}");
        assert!(houses[0].happened(name).await.unwrap(), "{name:?}");
    }
    assert!(!houses[1].happened("c").await.unwrap());
    clock.advance(Duration::from_secs(62));
    assert!(!houses[1].happened("a").await.unwrap());
    houses[0].sweep().await.unwrap();
    assert!(houses[1].once("a", Duration::from_secs(60)).await.unwrap(), "it is free again");
}

/// A request's head: a cookie, or none.
pub(super) struct Head(pub(super) Option<String>);

impl RequestHead for Head {
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.0.iter().filter(|_| name == "cookie").for_each(|cookie| visit(cookie.as_bytes()));
    }
}

pub(super) fn cookie(set_cookie: Option<SetCookie>) -> Option<String> {
    set_cookie.and_then(|cookie| cookie.header_value().split(';').next().map(str::to_owned))
}

/// Of many requests that take the same entry, on two instances, one gets past its `save`, and can then sign somebody in.
/// Those that take others are not disturbed.
pub async fn an_entry_is_taken_once_and_before_anything_else_happens(fixture: impl Fixture) {
    let (houses, _) = two_houses(&fixture, |config| config).await;
    for round in 0..20 {
        let exchange = houses[0].begin(&Head(None));
        let entries: std::collections::BTreeMap<String, u32> =
            [("same".into(), 0)].into_iter().chain((0..4).map(|n| (n.to_string(), n))).collect();
        exchange.session().await.unwrap().insert("entries", &entries).unwrap();
        let cookie = cookie(exchange.finish().await.unwrap());
        let mut racers = JoinSet::new();
        for racer in 0..8 {
            let (sessions, cookie) = (houses[(racer + round) % 2].clone(), cookie.clone());
            racers.spawn(async move {
                let entry = if racer % 2 == 0 { "same".to_owned() } else { (racer / 2).to_string() };
                let exchange = sessions.begin(&Head(cookie));
                let session = exchange.session().await.unwrap();
                let taken: Option<u32> = session.take_entry("entries", &entry).unwrap();
                let won = match exchange.save().await {
                    Ok(()) => taken.is_some(),
                    Err(error) if error.is_gone() => false,
                    Err(error) => panic!("{error:?}"),
                };
                drop(exchange);
                (entry, won)
            });
        }
        let answers = racers.join_all().await;
        let winners = |entry: &str| answers.iter().filter(|(own, won)| own == entry && *won).count();
        for entry in ["same", "0", "1", "2", "3"] {
            assert_eq!(winners(entry), 1, "{entry}");
        }
        let exchange = houses[1].begin(&Head(cookie));
        let session = exchange.session().await.unwrap();
        assert!(session.keys().is_empty(), "all of them are taken, in the store");
        session.insert("more", &1).unwrap();
        exchange.save().await.unwrap();
        session.sign_in("alice").unwrap();
        assert!(exchange.finish().await.unwrap().is_some(), "what was saved is no race lost to oneself");
    }
}
