//! Revocation, sign-ins and limits among everything else that may be under way.

use std::sync::Arc;
use std::time::Duration;

use sessile_core::{
    Alignment, AtLimit, DeviceFacts, Limit, Page, Record, Registry, Seen, SignIn, SignedIn, Store, Tidied, Tidy,
    Written,
};
use tokio::task::JoinSet;

use super::registry::{foreign, handle, plain_sign_in, revoked, session_of};
use super::{Fixture, at, changed, found, key, later, load, signed_out};

/// So many sessions are raced for, a few at a time.
const RACES: usize = 1_000;
const AT_ONCE: usize = 10;

fn registry<S: Store>(store: &Arc<S>) -> &dyn Registry {
    store.registry().expect("a store with a registry")
}

async fn two<F: Fixture>(fixture: &F) -> Option<[Arc<F::Store>; 2]> {
    let stores = [Arc::new(fixture.open().await), Arc::new(fixture.open().await)];
    stores[0].registry().is_some().then_some(stores)
}

async fn live<S: Store>(store: &Arc<S>, owner: &str) -> usize {
    registry(store).list(&owner.into(), at(0), &Page::first(1_000)).await.unwrap().len()
}

/// Which of the racers goes first is up to the scheduler, and to a delay that differs from race to race.
async fn wait(seed: usize, racer: usize) {
    let turns = (seed.wrapping_mul(2_654_435_761) >> (racer * 5)) % 23;
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

/// One round of bringing things into step.
async fn tidy<S: Store>(store: &Arc<S>) -> Tidied {
    let tidy = Tidy { now: at(10), history: Duration::from_secs(86_400), user_key: Some("userId"), limit: 100 };
    registry(store).tidy(&tidy).await.unwrap()
}

/// One session, at the same moment revoked, written, touched, rotated, used, rotated again, signed in to again, looked at
/// and brought into step, on two instances.
async fn race<S: Store>([one, other]: [Arc<S>; 2], number: usize) {
    let (name, owner) = (format!("race {number}"), format!("user {}", number % 7));
    let record = session_of(&owner, number, 0);
    let written = registry(&one).sign_in(None, &key(&name), &record, &plain_sign_in()).await.unwrap();
    assert_eq!(written, SignedIn::Done(Vec::new()));
    let read = found(&*one, &name).await;
    let moved = |to: usize| key(&format!("race {number} moved {to}"));
    let mut racers = JoinSet::new();
    for racer in 0..9 {
        let store = if racer % 2 == 0 { one.clone() } else { other.clone() };
        let (key, name, to, read, owner) = (key(&name), name.clone(), moved(racer), read.clone(), owner.clone());
        racers.spawn(async move {
            wait(number, racer).await;
            match racer {
                0 => drop(store.update(&key, &changed(&read, "2")).await.unwrap()),
                1 => drop(store.touch(&key, at(0), later()).await.unwrap()),
                2 | 3 => drop(store.rotate(&key, &to, &read).await.unwrap()),
                4 => {
                    let seen = Seen { handle: handle(number), at: at(1), expires_at: later(), requests: 1 };
                    registry(&store).seen(&[seen]).await.unwrap();
                    drop(load(&*store, &name).await);
                }
                5 => drop(registry(&store).sign_in(Some(&key), &to, &read, &plain_sign_in()).await.unwrap()),
                6 => {
                    let device = foreign(&owner, number, 0);
                    drop(registry(&store).align(&key, Some(&device), at(0)).await.unwrap());
                }
                7 => drop(tidy(&store).await),
                _ => {
                    let ended = registry(&store).revoke(&owner.into(), &handle(number), &revoked(5)).await.unwrap();
                    assert!(ended.is_some(), "it was alive, under whichever key");
                }
            }
        });
    }
    racers.join_all().await;
    for store in [&one, &other] {
        for key in [key(&name), moved(2), moved(3), moved(5)] {
            assert!(store.load(&key, at(0)).await.unwrap().is_none(), "a revoked session lives");
            assert_eq!(store.touch(&key, at(0), later()).await.unwrap(), Written::Gone);
        }
    }
}

/// A revocation leaves nothing alive, whatever is in flight.
pub async fn a_revocation_leaves_nothing_alive(fixture: impl Fixture) {
    let Some(stores) = two(&fixture).await else { return };
    for start in (0..RACES).step_by(AT_ONCE) {
        let mut races = JoinSet::new();
        (start..start + AT_ONCE).for_each(|number| drop(races.spawn(race(stores.clone(), number))));
        races.join_all().await;
    }
    for user in 0..7 {
        let owner = format!("user {user}");
        assert_eq!(live(&stores[0], &owner).await, 0);
        let all = Page::first(RACES as u32);
        let history = registry(&stores[1]).history(&owner.as_str().into(), &all).await.unwrap();
        assert_eq!(history.len(), (user..RACES).step_by(7).len());
        assert!(history.iter().all(|device| device.ended == Some(revoked(5))), "one end to a session");
    }
}

/// Sessions that the registry gets to know while all of their user's are revoked, and that move at the same time: whether
/// they are found by the revocation or later, none is left.
pub async fn a_revocation_reaches_what_is_just_being_registered(fixture: impl Fixture) {
    let Some(stores) = two(&fixture).await else { return };
    for number in 0..200 {
        let (name, owner) = (format!("unknown {number}"), format!("user {number}"));
        let moved = |to: usize| key(&format!("unknown {number} moved {to}"));
        assert_eq!(stores[0].insert(&key(&name), &session_of(&owner, number, 0)).await.unwrap(), Written::Done);
        let read = found(&*stores[0], &name).await;
        let mut racers = JoinSet::new();
        for racer in 0..6 {
            let (store, key, to) = (stores[racer % 2].clone(), key(&name), moved(racer));
            let (read, owner) = (read.clone(), owner.clone());
            racers.spawn(async move {
                wait(number, racer).await;
                let device = read.device(DeviceFacts::default()).unwrap();
                match racer {
                    0 | 1 => drop(store.rotate(&key, &to, &read).await.unwrap()),
                    2 | 3 => drop(registry(&store).align(&key, device.as_ref(), at(1)).await.unwrap()),
                    4 => drop(tidy(&store).await),
                    _ => drop(registry(&store).revoke_all(&owner.into(), None, &revoked(5)).await.unwrap()),
                }
            });
        }
        racers.join_all().await;
        tidy(&stores[0]).await;
        while tidy(&stores[1]).await.more {}
        for key in [key(&name), moved(0), moved(1)] {
            assert!(stores[0].load(&key, at(0)).await.unwrap().is_none(), "it survived the revocation");
        }
        assert_eq!(live(&stores[1], &owner).await, 0);
    }
}

/// Revoked by many at once, a session is counted by one of them.
pub async fn a_session_is_revoked_once(fixture: impl Fixture) {
    let Some(stores) = two(&fixture).await else { return };
    for number in 0..20 {
        let written = registry(&stores[0]);
        let record = session_of("alice", number, 0);
        let written = written.sign_in(None, &key(&number.to_string()), &record, &plain_sign_in()).await.unwrap();
        assert_eq!(written, SignedIn::Done(Vec::new()));
        let mut racers = JoinSet::new();
        for racer in 0..6 {
            let store = stores[racer % 2].clone();
            racers.spawn(async move {
                let owner = "alice".into();
                match racer {
                    0 | 1 => {
                        registry(&store).revoke(&owner, &handle(number), &revoked(5)).await.unwrap().map_or(0, |_| 1)
                    }
                    2 | 3 => registry(&store).revoke_all(&owner, None, &revoked(0)).await.unwrap().len(),
                    _ => usize::from(store.remove(&key(&number.to_string()), &signed_out()).await.unwrap()),
                }
            });
        }
        assert_eq!(racers.join_all().await.iter().sum::<usize>(), 1);
    }
}

/// A sign-in whose credentials were presented before all sessions of the user were revoked never survives it: either it
/// is refused, or it is among those that end.
pub async fn a_sign_in_in_flight_does_not_slip_past_a_revocation(fixture: impl Fixture) {
    let Some([one, other]) = two(&fixture).await else { return };
    for number in 0..200 {
        let owner = format!("user {number}");
        let signing_in = tokio::spawn({
            let (store, record) = (one.clone(), session_of(&owner, number, 0));
            async move {
                wait(number, 0).await;
                registry(&store).sign_in(None, &key(&number.to_string()), &record, &plain_sign_in()).await.unwrap()
            }
        });
        let revoking = tokio::spawn({
            let (store, owner) = (other.clone(), owner.clone());
            async move {
                wait(number, 1).await;
                registry(&store).revoke_all(&owner.into(), None, &revoked(1)).await.unwrap().len()
            }
        });
        let (signed_in, ended) = (signing_in.await.unwrap(), revoking.await.unwrap());
        match signed_in {
            SignedIn::Done(_) => assert_eq!(ended, 1, "it was there, and not found"),
            answer => assert_eq!((answer, ended), (SignedIn::CutOff, 0)),
        }
        assert!(load(&*one, &number.to_string()).await.is_none());
        assert_eq!(live(&one, &owner).await, 0);
    }
}

/// The limit holds however many sign in at once.
pub async fn fifty_sign_ins_at_once_respect_the_limit(fixture: impl Fixture) {
    let Some(stores) = two(&fixture).await else { return };
    for (round, policy) in [AtLimit::EvictOldest, AtLimit::Deny].into_iter().enumerate() {
        let owner = format!("{policy:?}");
        let mut racers = JoinSet::new();
        for number in round * 50..round * 50 + 50 {
            let (store, record) = (stores[number % 2].clone(), session_of(&owner, number, number as u64));
            racers.spawn(async move {
                let sign_in = SignIn { limit: Some(Limit { sessions: 3, policy }), ..plain_sign_in() };
                let to = key(&format!("limited {number}"));
                registry(&store).sign_in(None, &to, &record, &sign_in).await.unwrap()
            });
        }
        let answers = racers.join_all().await;
        let count = |of: fn(&SignedIn) -> bool| answers.iter().filter(|answer| of(answer)).count();
        let evicted: usize =
            answers.iter().map(|answer| if let SignedIn::Done(gone) = answer { gone.len() } else { 0 }).sum();
        let expected = match policy {
            AtLimit::EvictOldest => (50, 0, 47),
            AtLimit::Deny => (3, 47, 0),
        };
        let found = (count(|a| matches!(a, SignedIn::Done(_))), count(|a| *a == SignedIn::Full), evicted);
        assert_eq!((found, live(&stores[0], &owner).await), (expected, 3), "{policy:?}");
        let mut rows = 0;
        for number in round * 50..round * 50 + 50 {
            rows += usize::from(load(&*stores[1], &format!("limited {number}")).await.is_some());
        }
        assert_eq!(rows, 3, "{policy:?}");
    }
}

/// Two instances that see a session of another program for the first time, at the same moment, register it once.
pub async fn a_session_of_another_program_is_registered_once(fixture: impl Fixture) {
    let Some(stores) = two(&fixture).await else { return };
    for round in 0..20 {
        let name = format!("express {round}");
        let record: Record = super::stored(&*stores[0], &name, "1").await;
        let mut racers = JoinSet::new();
        for racer in 0..8 {
            let store = stores[racer % 2].clone();
            let (key, device, record) = (key(&name), foreign("alice", round * 8 + racer, 0), record.clone());
            racers.spawn(async move {
                match racer {
                    7 => store.update(&key, &changed(&record, "2")).await.map(|_| None).unwrap(),
                    _ => Some(registry(&store).align(&key, Some(&device), at(0)).await.unwrap()),
                }
            });
        }
        let mut handles: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
        assert_eq!(handles.len(), 7);
        handles.dedup();
        assert!(matches!(handles.as_slice(), [Alignment::Device(_)]), "they disagree: {handles:?}");
        assert_eq!(live(&stores[0], "alice").await, round + 1);
    }
}

/// Sweepers, tidiers, sign-outs and rotations at once: nobody fails, and what lives keeps its device.
pub async fn keeping_in_step_disturbs_nobody(fixture: impl Fixture) {
    let Some([one, other]) = two(&fixture).await else { return };
    for round in 0..20 {
        let mut racers = JoinSet::new();
        for number in round * 6..round * 6 + 6 {
            let (store, name, owner) = (one.clone(), number.to_string(), format!("user {number}"));
            let written =
                registry(&one).sign_in(None, &key(&name), &session_of(&owner, number, 0), &plain_sign_in()).await;
            assert_eq!(written.unwrap(), SignedIn::Done(Vec::new()));
            racers.spawn(async move {
                let read = found(&*store, &name).await;
                if number % 2 == 0 {
                    let moved = key(&format!("{name} moved"));
                    assert_eq!(store.rotate(&key(&name), &moved, &read).await.unwrap(), Written::Done);
                } else {
                    assert!(store.remove(&key(&name), &signed_out()).await.unwrap());
                }
            });
        }
        for store in [one.clone(), other.clone()] {
            racers.spawn(async move {
                let tidy = sessile_core::Tidy {
                    now: at(10),
                    history: std::time::Duration::from_secs(1_000),
                    user_key: Some("userId"),
                    limit: 1_000,
                };
                let tidied = registry(&store).tidy(&tidy).await.unwrap();
                assert_eq!(
                    (tidied.ended.len(), tidied.registered, tidied.removed),
                    (0, 0, 0),
                    "there was nothing to repair"
                );
                if let Some(sweep) = store.sweep() {
                    assert_eq!(sweep.sweep(at(10), 100).await.unwrap().removed, 0);
                }
            });
        }
        racers.join_all().await;
        for number in round * 6..round * 6 + 6 {
            assert_eq!(live(&other, &format!("user {number}")).await, usize::from(number % 2 == 0), "{number}");
        }
    }
}
