//! The store in memory is the shortest reading of what a store and its registry do. Here both are told the same, many times
//! over, and after each step both have to say the same.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use sessile_core::{
    Alignment, AtLimit, Device, End, Ending, Fate, Handle, Limit, MemoryStore, Page, Record, Registry, Seen, SignIn,
    Store, Tidy, UserId,
};
use sessile_sqlite::SqliteStore;
use sessile_testkit::contract::{key, record};

use super::crowd::Dice;
use super::{Directory, at, handle, open};

const USERS: [&str; 2] = ["alice", "bob"];
const KEYS: u64 = 12;

/// Both stores, and where in time they are.
struct Both {
    sqlite: SqliteStore,
    memory: MemoryStore,
    dice: Dice,
    seconds: u64,
    handles: usize,
    /// For whoever looks for what went wrong.
    place: String,
}

/// Says what both stores answer, which has to be the same.
macro_rules! both {
    ($both:expr, $step:expr, |$store:ident| $call:expr) => {{
        let one = {
            let $store = &$both.sqlite;
            $call
        };
        let other = {
            let $store = &$both.memory;
            $call
        };
        assert_eq!(one, other, "SQLite and memory, {}: {}", $both.place, $step);
        one
    }};
}

impl Both {
    fn now(&self) -> SystemTime {
        at(self.seconds * 1_000)
    }

    fn key(&mut self) -> String {
        format!("key {}", self.dice.roll(KEYS))
    }

    /// A key that a session may move to.
    fn key_but(&mut self, from: Option<&str>) -> String {
        let to = self.key();
        if Some(to.as_str()) == from { format!("{to} again") } else { to }
    }

    fn user(&mut self) -> UserId {
        UserId::from(USERS[self.dice.roll(2) as usize])
    }

    fn ending(&mut self) -> Ending {
        let end = [End::Revoked, End::LoggedOut][self.dice.roll(2) as usize];
        Ending { end, at: self.now(), reason: (self.dice.roll(2) == 0).then(|| "why".into()) }
    }

    /// A session of this user with this handle, and the moment that its user proved who they are.
    fn owned(&mut self, mut record: Record, user: &UserId, handle: &Handle) -> Record {
        let millis = self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()
            - u128::from(self.dice.roll(3)) * 500;
        let mut facts = String::new();
        if self.dice.roll(4) > 0 {
            facts = format!(r#","authenticated_at":{millis}"#);
        }
        let facts = format!(r#"{{"handle":"{handle}","created_at":{millis},"owner":"{user}"{facts}}}"#);
        record.data.insert("sessile", facts);
        let revision = record.revision.clone();
        let mut made = super::record(&record.document(), self.now());
        made.revision = revision;
        self.timed(made)
    }

    /// Used now, and to end some time from now.
    fn timed(&mut self, mut record: Record) -> Record {
        record.seen_at = self.now();
        record.expires_at = self.now() + Duration::from_secs(10 + self.dice.roll(100));
        record
    }

    fn new_handle(&mut self) -> usize {
        self.handles += 1;
        self.handles
    }

    fn any_handle(&mut self) -> usize {
        1 + self.dice.roll(self.handles as u64 + 1) as usize
    }

    async fn found(&mut self) -> Option<(String, Record)> {
        let name = self.key();
        let record = self.memory.load(&key(&name), self.now()).await.unwrap()?;
        Some((name, self.timed(record)))
    }

    async fn step(&mut self) -> String {
        let step = self.dice.roll(18);
        let now = self.now();
        match step {
            0..=2 => self.sign_in(None).await,
            3..=5 => match self.found().await {
                Some(from) => self.sign_in(Some(from)).await,
                None => String::new(),
            },
            6 => {
                let (to, user, handle) = (self.key(), self.user(), handle(self.new_handle()));
                let fresh = self.owned(record(r#"{"cookie":{}}"#, now), &user, &handle);
                let step = format!("insert {to} {user} {handle}");
                let _ = both!(self, step, |store| store.insert(&key(&to), &fresh).await.unwrap());
                step
            }
            7 | 8 => {
                let Some((from, read)) = self.found().await else { return String::new() };
                let to = self.key_but(Some(&from));
                let step = format!("rotate {from} {to}");
                let _ = both!(self, step, |store| store.rotate(&key(&from), &key(&to), &read).await.unwrap());
                step
            }
            9 => {
                let Some((name, read)) = self.found().await else { return String::new() };
                let step = format!("touch {name}");
                let _ = both!(self, step, |store| store.touch(&key(&name), now, read.expires_at).await.unwrap());
                step
            }
            10 => {
                let (name, ending) = (self.key(), self.ending());
                let step = format!("remove {name}");
                both!(self, step, |store| store.remove(&key(&name), &ending).await.unwrap());
                step
            }
            11 => self.align().await,
            12 => {
                let seen = Seen {
                    handle: handle(self.any_handle()),
                    at: now,
                    expires_at: now + Duration::from_secs(9),
                    requests: self.dice.roll(3),
                };
                let step = format!("seen {}", seen.handle);
                both!(self, step, |store| store.seen(std::slice::from_ref(&seen)).await.unwrap());
                step
            }
            13 => {
                let (user, number, ending) = (self.user(), self.any_handle(), self.ending());
                let step = format!("revoke {user} {number}");
                both!(self, step, |store| store.revoke(&user, &handle(number), &ending).await.unwrap());
                step
            }
            14 => {
                let (user, keep, ending) = (self.user(), handle(self.any_handle()), self.ending());
                let step = format!("revoke_all {user} {keep}");
                both!(self, step, |store| store.revoke_all(&user, Some(&keep), &ending).await.unwrap());
                step
            }
            15 if self.dice.roll(4) == 0 => {
                let (before, ending) = (now - Duration::from_secs(self.dice.roll(20)), self.ending());
                let step = format!("revoke_everyone {before:?}");
                both!(self, step, |store| store.revoke_everyone(before, &ending).await.unwrap());
                step
            }
            16 => {
                both!(self, "sweep", |store| {
                    let swept = store.sweep().unwrap().sweep(now, 100).await.unwrap();
                    (swept.removed, sorted(swept.expired))
                });
                "sweep".into()
            }
            _ => {
                let tidy = Tidy { now, history: Duration::from_secs(200), user_key: None, limit: 1_000 };
                both!(self, "tidy", |store| {
                    let tidied = store.tidy(&tidy).await.unwrap();
                    (sorted(tidied.ended), tidied.registered, tidied.removed, tidied.forgotten, tidied.more)
                });
                "tidy".into()
            }
        }
    }

    async fn sign_in(&mut self, from: Option<(String, Record)>) -> String {
        let (to, user) = (self.key_but(from.as_ref().map(|(name, _)| name.as_str())), self.user());
        let (handle, replaces, read) = match &from {
            Some((name, read)) => {
                // As the core does it: the registry says which handle the session has there.
                // Its own handle may have had its end, and each store would draw another one.
                let free = handle(self.new_handle());
                let device = read.device(Default::default()).unwrap().map(|device| Device { handle: free, ..device });
                let known = both!(self, "align", |store| {
                    store.align(&key(name), device.as_ref(), read.seen_at).await.unwrap()
                });
                let same = read.owner.as_ref() == Some(&user);
                let known = if let Alignment::Device(known) = known { known } else { read.handle.clone() };
                if same { (known, None, read.clone()) } else { (handle(self.new_handle()), Some(known), read.clone()) }
            }
            None => (handle(self.new_handle()), None, record(r#"{"cookie":{}}"#, self.now())),
        };
        let record = self.owned(read, &user, &handle);
        let policy = if self.dice.roll(2) == 0 { AtLimit::Deny } else { AtLimit::EvictOldest };
        let limit = (self.dice.roll(2) == 0).then_some(Limit { sessions: 1 + self.dice.roll(3) as u32, policy });
        let sign_in = SignIn { facts: Default::default(), replaces, limit };
        let from = from.map(|(name, _)| name);
        let step = format!("sign_in {from:?} {to} {user} {handle} {sign_in:?}");
        let from = from.map(|name| key(&name));
        let _ = both!(self, step, |store| store.sign_in(from.as_ref(), &key(&to), &record, &sign_in).await.unwrap());
        step
    }

    async fn align(&mut self) -> String {
        let (name, user, now) = (self.key(), self.user(), self.now());
        let device = (self.dice.roll(3) > 0).then(|| Device {
            handle: handle(self.new_handle()),
            owner: user,
            facts: Default::default(),
            created_at: now,
            authenticated_at: None,
            last_seen_at: now,
            expires_at: now + Duration::from_secs(60),
            requests: 0,
            ended: None,
        });
        let step = format!("align {name} {device:?}");
        both!(self, step, |store| store.align(&key(&name), device.as_ref(), now).await.unwrap());
        step
    }

    /// Whether a handle was drawn, where the one in a row and the one made from its key both had their end: each store draws
    /// its own.
    async fn drew_handles(&self) -> bool {
        for user in USERS.map(UserId::from) {
            let [ours, theirs]: [&dyn Registry; 2] = [&self.sqlite, &self.memory];
            let mut lists = Vec::new();
            for store in [ours, theirs] {
                let devices = store.list(&user, self.now(), &Page::first(100)).await.unwrap();
                lists.push(devices.into_iter().map(|device| device.handle.as_str().to_owned()).collect::<Vec<_>>());
            }
            let is_drawn = |handle: &String| !handle.starts_with("00000000") && !lists[1].contains(handle);
            if lists[0].len() == lists[1].len() && lists[0].iter().any(is_drawn) {
                return true;
            }
        }
        false
    }

    /// What can be seen of them is the same.
    async fn compare(&self, step: &str) {
        let now = self.now();
        for number in 0..KEYS {
            let name = format!("key {number}");
            let found = both!(self, step, |store| {
                let record = store.load(&key(&name), now).await.unwrap();
                record.map(|record| (record.document(), record.expires_at, record.cut_off, record.is_cut_off()))
            });
            if found.is_none() {
                both!(self, step, |store| kind(store.fate(&key(&name)).await.unwrap()));
            }
        }
        for user in USERS.map(UserId::from) {
            both!(self, step, |store| store.list(&user, now, &Page::first(5)).await.unwrap());
            both!(self, step, |store| store.history(&user, &Page::first(100)).await.unwrap());
        }
    }
}

/// Of several ends under one key, each store may tell another.
fn kind(fate: Option<Fate>) -> String {
    match fate {
        Some(Fate::Ended(..)) => "ended".into(),
        other => format!("{other:?}"),
    }
}

fn sorted<T: Debug>(mut list: Vec<T>) -> Vec<String> {
    let mut texts: Vec<_> = list.drain(..).map(|item| format!("{item:?}")).collect();
    texts.sort();
    texts
}

async fn play(game: u64) {
    let directory = Directory::new();
    let (sqlite, memory) = (open(&directory).await, MemoryStore::new());
    let mut both = Both { sqlite, memory, dice: Dice(game), seconds: 0, handles: 0, place: String::new() };
    for number in 0..120 {
        both.seconds += both.dice.roll(6);
        both.place = format!("game {game}, step {number}");
        let step = both.step().await;
        if both.drew_handles().await {
            return;
        }
        both.compare(&step).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_is_done_the_store_in_memory_says_the_same() {
    let games: Vec<_> = (0..12).map(|game| tokio::spawn(play(game))).collect();
    for game in games {
        game.await.unwrap();
    }
}
