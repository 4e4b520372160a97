//! Many at once, on one file.

use std::collections::HashSet;

use sessile_core::{
    AtLimit, Config, End, Error, Fate, Limit, Registry as _, RequestHead, Sessions, SignedIn, Store as _, UserId,
    Written,
};
use sessile_sqlite::SqliteStore;
use sessile_testkit::contract::key;

use super::{Directory, at, devices, ends, handle, open, revoked, session_of, signed_in, signing_in};

/// A request with this Cookie header.
struct Head<'a>(Option<&'a str>);

impl RequestHead for Head<'_> {
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        if let (Some(cookie), "cookie") = (self.0, name) {
            visit(cookie.as_bytes());
        }
    }
}

async fn count_up(sessions: &Sessions, cookie: Option<&str>) -> Result<Option<String>, Error> {
    let exchange = sessions.begin(&Head(cookie));
    exchange.session().await?.update("count", |count: Option<u32>| count.unwrap_or(0) + 1)?;
    let set_cookie = exchange.finish().await?;
    Ok(set_cookie.map(|cookie| cookie.header_value().split(';').next().unwrap().to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_increment_of_sixty_four_tasks_is_lost() {
    const TASKS: u32 = 64;
    const EACH: u32 = 50;
    let directory = Directory::new();
    let config = Config::new("gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds").unwrap();
    let sessions = Sessions::new(open(&directory).await, config);
    let cookie = count_up(&sessions, None).await.unwrap().expect("a new session's cookie");
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (sessions, cookie) = (sessions.clone(), cookie.clone());
            tokio::spawn(async move {
                for _ in 0..EACH {
                    // With this many others a request may run out of tries: its 503 says that it counted nothing.
                    while let Err(error) = count_up(&sessions, Some(&cookie)).await {
                        assert!(error.is_unavailable(), "{error:?}");
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let session = sessions.begin(&Head(Some(&cookie))).session().await.unwrap();
    assert_eq!(session.get::<u32>("count").unwrap(), Some(1 + TASKS * EACH));
}

/// What fifty sign-ins at once, on two instances in turn, were answered.
async fn fifty_sign_ins(stores: &[SqliteStore; 2], policy: AtLimit) -> Vec<SignedIn> {
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let store = stores[number % 2].clone();
            tokio::spawn(async move {
                let sign_in = signing_in(Some(Limit { sessions: 3, policy }));
                let record = session_of("alice", number);
                store.sign_in(None, &key(&number.to_string()), &record, &sign_in).await.unwrap()
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_sign_ins_at_once_three_remain_and_the_others_are_evicted_once_each() {
    let directory = Directory::new();
    let stores = [open(&directory).await, open(&directory).await];
    let mut evicted = Vec::new();
    for answer in fifty_sign_ins(&stores, AtLimit::EvictOldest).await {
        let SignedIn::Done(gone) = answer else { panic!("expected every sign-in to succeed, found {answer:?}") };
        assert!(gone.len() <= 1, "one is enough: {gone:?}");
        evicted.extend(gone.into_iter().map(|ended| ended.handle));
    }
    let distinct: HashSet<_> = evicted.iter().collect();
    assert_eq!((evicted.len(), distinct.len()), (47, 47));
    assert_eq!(directory.number("SELECT count(*) FROM session"), 3);
    for store in &stores {
        let listed = devices(store, "alice").await;
        assert_eq!(listed.len(), 3);
        assert!(listed.iter().all(|device| !distinct.contains(&device.handle)));
        let ends = ends(store, "alice").await;
        assert!(ends.len() == 47 && ends.iter().all(|(_, ending)| ending.end == End::Evicted));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_sign_ins_at_once_three_succeed_where_one_more_is_denied() {
    let directory = Directory::new();
    let stores = [open(&directory).await, open(&directory).await];
    let answers = fifty_sign_ins(&stores, AtLimit::Deny).await;
    let count = |expected: &SignedIn| answers.iter().filter(|answer| *answer == expected).count();
    assert_eq!((count(&SignedIn::Done(Vec::new())), count(&SignedIn::Full)), (3, 47));
    assert_eq!(directory.number("SELECT count(*) FROM session"), 3);
    assert_eq!(devices(&stores[0], "alice").await.len(), 3);
    assert_eq!(directory.number("SELECT count(*) FROM sessions"), 3, "those that were refused left nothing");
}

/// Numbers that look random and are the same in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    async fn pause(&mut self) {
        for _ in 0..self.roll(8) {
            tokio::task::yield_now().await;
        }
    }
}

/// What requests that hold the session do to it: five writes of random kinds. Gives every key that it had.
async fn use_session(store: &SqliteStore, name: String, dice: &mut Dice) -> Vec<String> {
    let mut names = vec![name];
    let mut record = store.load(&key(&names[0]), at(0)).await.unwrap();
    for step in 0..5 {
        dice.pause().await;
        let (now, Some(read)) = (key(names.last().unwrap()), record.as_mut()) else { break };
        let written = match dice.roll(3) {
            0 => {
                read.data.insert("step", step.to_string());
                store.update(&now, read).await.unwrap()
            }
            1 => {
                let next = format!("{} {step}", names[0]);
                let written = store.rotate(&now, &key(&next), read).await.unwrap();
                names.push(next);
                written
            }
            _ => store.touch(&now, at(0), at(7_200_000)).await.unwrap(),
        };
        assert!(matches!(written, Written::Done | Written::Gone), "nobody else writes: {written:?}");
        // A request that lost goes on with what it has read.
        if written == Written::Done {
            record = store.load(&key(names.last().unwrap()), at(0)).await.unwrap();
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revoked_session_is_dead_on_every_instance_whatever_else_happens_to_it() {
    const ROUNDS: usize = 1_000;
    let directory = Directory::new();
    let stores = [open(&directory).await, open(&directory).await];
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|round| {
            let (one, other) = (stores[round % 2].clone(), stores[(round + 1) % 2].clone());
            tokio::spawn(async move {
                let (name, alice) = (format!("session {round}"), UserId::from("alice"));
                let (mut dice, mut other_dice) = (Dice(round as u64), Dice(!(round as u64)));
                signed_in(&one, &name, "alice", round).await;
                let revoke = async {
                    dice.pause().await;
                    dice.pause().await;
                    one.revoke(&alice, &handle(round), &revoked(0)).await.unwrap()
                };
                let (ended, names) = tokio::join!(revoke, use_session(&other, name, &mut other_dice));
                assert_eq!(ended.expect("a session that moves is still there").handle, handle(round));
                names
            })
        })
        .collect();
    let mut moved = 0;
    for round in rounds {
        let names = round.await.unwrap();
        moved += names.len() - 1;
        for name in names {
            for store in &stores {
                assert!(store.load(&key(&name), at(0)).await.unwrap().is_none(), "{name} is alive");
                assert!(
                    !matches!(store.fate(&key(&name)).await.unwrap(), Some(Fate::Ended(_, ending)) if ending != revoked(0))
                );
            }
        }
    }
    assert!(moved > ROUNDS / 10, "too few sessions moved for this to show anything");
    assert_eq!(directory.number("SELECT count(*) FROM session"), 0);
    assert_eq!(directory.number("SELECT count(*) FROM sessions WHERE status = 'revoked'"), ROUNDS as i64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_sign_in_whose_credentials_were_checked_before_survives_the_end_of_all_sessions() {
    let directory = Directory::new();
    let stores = [open(&directory).await, open(&directory).await];
    let mut refused = 0;
    for round in 0..100 {
        let user = format!("user {round}");
        let owner = UserId::from(user.as_str());
        let sign_ins: Vec<_> = (0..6)
            .map(|number| {
                let (store, user) = (stores[number % 2].clone(), user.clone());
                tokio::spawn(async move {
                    Dice(round * 10 + number as u64).pause().await;
                    let (name, number) = (format!("{user} {number}"), round as usize * 10 + number);
                    let record = session_of(&user, number);
                    store.sign_in(None, &key(&name), &record, &signing_in(None)).await.unwrap()
                })
            })
            .collect();
        Dice(round).pause().await;
        let ended = stores[0].revoke_all(&owner, None, &revoked(1)).await.unwrap();
        let mut done = 0;
        for sign_in in sign_ins {
            match sign_in.await.unwrap() {
                SignedIn::Done(_) => done += 1,
                SignedIn::CutOff => refused += 1,
                other => panic!("expected a sign-in to succeed or to be cut off, found {other:?}"),
            }
        }
        assert_eq!(ended.len(), done, "whoever was faster was revoked");
        assert!(devices(&stores[1], &user).await.is_empty());
    }
    assert!((1..600).contains(&refused), "{refused} of 600 came later: this showed nothing");
    assert_eq!(directory.number("SELECT count(*) FROM session"), 0);
}
