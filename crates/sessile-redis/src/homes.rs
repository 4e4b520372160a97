//! What happens at a user's home: sessions begin there, arrive from elsewhere, and leave. Everything that concerns several
//! of a user's sessions is one script, which is given all of them; when another has come meanwhile it says so, changes
//! nothing, and is given that, too.

use std::time::SystemTime;

use redis::Value;
use sessile_core::{Device, EndedSession, Error, Handle, Limit, StoreKey};

use crate::RedisStore;
use crate::device::all_ended;
use crate::failure::Failure;
use crate::names::Home;
use crate::rows::Waiting;
use crate::script::{ABANDON, ARRIVE, Answer, DEPART, ENTER, HANDLE, NOTE, Word};
use crate::store::{lost_track, revision};
use crate::time::{KEPT, millis, millis_up, pointer_kept, row_kept};

/// How often a script is given what it missed. Each time it did, another sign-in of the same user succeeded.
const TRIES: usize = 100;

/// A sign-in that is under way for longer is not waited for.
const STUCK: i64 = 30_000;

/// How a session comes to a home.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    /// It begins there.
    New,
    /// It is there, under this key, as it was read in this revision.
    Here { from: &'a StoreKey, read: &'a str },
    /// It will come from this place, with this move.
    Waiting { tx: &'a str, source: &'a str },
}

/// A session that comes to a home.
pub(crate) struct Arrival<'a> {
    pub(crate) device: &'a Device,
    /// What the cut-offs are compared with.
    pub(crate) presented: SystemTime,
    pub(crate) now: SystemTime,
    pub(crate) end: SystemTime,
    pub(crate) key: &'a StoreKey,
    pub(crate) document: &'a str,
    pub(crate) limit: Option<Limit>,
}

impl Arrival<'_> {
    fn arguments(&self, way: Way<'_>, by: &str) -> Vec<String> {
        let (now, end) = (millis(self.now), millis_up(self.end));
        let (mode, from, read, tx, source) = match way {
            Way::New => ("new", "", "", "", ""),
            Way::Here { from, read } => ("move", from.as_str(), read, "", ""),
            Way::Waiting { tx, source } => ("pend", "", "", tx, source),
        };
        let Device { handle, owner, facts, created_at, authenticated_at, .. } = self.device;
        let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
        let denies = self.limit.is_some_and(|limit| limit.policy == sessile_core::AtLimit::Deny);
        vec![
            mode.into(),
            handle.to_string(),
            owner.to_string(),
            millis(self.presented).to_string(),
            millis_up(self.now).to_string(),
            end.to_string(),
            row_kept(now, end).to_string(),
            KEPT.to_string(),
            self.key.as_str().into(),
            self.document.into(),
            revision(self.document),
            by.into(),
            from.into(),
            read.into(),
            self.limit.map_or(0, |limit| limit.sessions.max(1)).to_string(),
            i32::from(denies).to_string(),
            tx.into(),
            source.into(),
            millis(*created_at).to_string(),
            authenticated_at.map(|at| millis(at).to_string()).unwrap_or_default(),
            facts.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            text(&facts.user_agent),
            text(&facts.device),
            text(&facts.auth_method),
            text(&facts.provider_session),
            millis(self.device.last_seen_at).to_string(),
            millis(self.device.expires_at).to_string(),
            self.device.requests.to_string(),
        ]
    }
}

impl RedisStore {
    /// The handles of the user's sessions that live or are about to.
    pub(crate) async fn crowd(&self, home: &Home, but: &str) -> Result<Vec<String>, Failure> {
        let mut range = redis::cmd("ZRANGE");
        range.arg(home.live()).arg(0).arg(-1);
        let mut handles: Vec<String> = redis::from_redis_value(self.link.ask(range).await?)?;
        handles.retain(|handle| handle != but);
        Ok(handles)
    }

    /// Lets a session be at this home. What else it takes to find it there has been written before.
    pub(crate) async fn enter(
        &self,
        home: &Home,
        arrival: &Arrival<'_>,
        way: Way<'_>,
        by: &str,
    ) -> Result<Answer, Error> {
        let handle = arrival.device.handle.as_str();
        let fixed = arrival.arguments(way, by);
        for _ in 0..TRIES {
            let others = if arrival.limit.is_some() { self.crowd(home, handle).await? } else { Vec::new() };
            let arguments = [fixed.as_slice(), &others].concat();
            let answer = self.link.run(&ENTER, &home.keys(Some(handle), &others), &arguments).await?;
            match answer.word {
                Word::Again => {}
                Word::Busy => {
                    if !self.clear_stuck(home, &arrival.device.handle, millis(arrival.now)).await? {
                        return Ok(Answer { word: Word::Stale, rest: Vec::new() });
                    }
                }
                _ => return Ok(answer),
            }
        }
        Err(lost_track())
    }

    /// The session has left the other place, so it is here; and who has to go for it.
    pub(crate) async fn arrive(
        &self,
        home: &Home,
        handle: &Handle,
        tx: &str,
        now: &str,
    ) -> Result<Vec<EndedSession>, Failure> {
        // Who has no limit need not be told of the others.
        let mut others = Vec::new();
        for _ in 0..TRIES {
            let fixed = [handle.to_string(), tx.to_owned(), now.to_owned(), KEPT.to_string()];
            let arguments = [fixed.as_slice(), &others].concat();
            let answer = self.link.run(&ARRIVE, &home.keys(Some(handle.as_str()), &others), &arguments).await?;
            if answer.word != Word::Again {
                return Ok(all_ended(&home.owner, &answer.rest));
            }
            others = self.crowd(home, handle.as_str()).await?;
        }
        Err(Failure::Odd)
    }

    /// The same for whoever finds it waiting; whether it is here.
    pub(crate) async fn arrive_if_it_left(
        &self,
        home: &Home,
        handle: &Handle,
        waiting: &Waiting,
    ) -> Result<bool, Failure> {
        if !self.has_left(waiting).await? {
            return Ok(false);
        }
        let name = home.device(handle.as_str());
        let seen: Value = self.link.ask(redis::cmd("HGET").arg(&name).arg("since").to_owned()).await?;
        let now: Option<String> = redis::from_redis_value(seen)?;
        self.arrive(home, handle, &waiting.tx, &now.unwrap_or_else(|| "0".into())).await?;
        let status: Option<String> =
            redis::from_redis_value(self.link.ask(redis::cmd("HGET").arg(name).arg("st").to_owned()).await?)?;
        Ok(status.as_deref() == Some("live"))
    }

    /// The session will not come.
    pub(crate) async fn abandon(&self, home: &Home, handle: &Handle, tx: &str) -> Result<(), Failure> {
        let arguments = [handle.to_string(), tx.to_owned()];
        self.link.run(&ABANDON, &home.keys(Some(handle.as_str()), &[]), &arguments).await?;
        Ok(())
    }

    /// Settles one way or the other what a process that died left in waiting; false when it may be under way still.
    pub(crate) async fn clear_stuck(&self, home: &Home, handle: &Handle, now: i64) -> Result<bool, Failure> {
        let mut read = redis::cmd("HMGET");
        read.arg(home.device(handle.as_str())).arg(&["st", "tx", "src", "since"]);
        let fields: (Option<String>, Option<String>, Option<String>, Option<i64>) =
            redis::from_redis_value(self.link.ask(read).await?)?;
        let (Some("pend"), Some(tx), Some(source), Some(since)) = (fields.0.as_deref(), fields.1, fields.2, fields.3)
        else {
            return Ok(true);
        };
        let waiting = Waiting { tx, source };
        if self.arrive_if_it_left(home, handle, &waiting).await? {
            return Ok(true);
        }
        let is_stuck = now - since > STUCK;
        if is_stuck {
            self.abandon(home, handle, &waiting.tx).await?;
        }
        Ok(is_stuck)
    }

    /// Ends a session at its home, because it goes to another place with this move, and under this key if not its own.
    pub(crate) async fn depart(
        &self,
        home: &Home,
        handle: &Handle,
        from: &StoreKey,
        (now, read): (SystemTime, &str),
        tx: &str,
        to: Option<&StoreKey>,
    ) -> Result<Word, Error> {
        let arguments = [
            handle.to_string(),
            from.as_str().into(),
            millis_up(now).to_string(),
            read.to_owned(),
            tx.to_owned(),
            millis(now).to_string(),
            KEPT.to_string(),
            to.map(|to| to.as_str().to_owned()).unwrap_or_default(),
        ];
        Ok(self.link.run(&DEPART, &home.keys(Some(handle.as_str()), &[]), &arguments).await?.word)
    }

    /// Writes down whose a handle is, before its session is there; whether it is free for this user. `Known`: it was theirs.
    pub(crate) async fn take_handle(&self, device: &Device, now: i64, end: i64) -> Result<Word, Error> {
        let ttl = pointer_kept(now, end).to_string();
        let mut none_there = String::new();
        for _ in 0..TRIES {
            let arguments = [device.owner.to_string(), ttl.clone(), none_there];
            let answer = self.link.run(&HANDLE, &[self.names.handle(&device.handle)], &arguments).await?;
            let (Word::Look, [owner, ..]) = (answer.word, answer.rest.as_slice()) else { return Ok(answer.word) };
            if self.entry(&self.names.home(owner), &device.handle).await?.is_some() {
                return Ok(Word::Stale);
            }
            none_there = owner.clone();
        }
        Err(lost_track())
    }

    /// Writes down which sessions were signed in from a provider's, before this one is there.
    pub(crate) async fn note_provider(&self, device: &Device, now: i64, end: i64) -> Result<(), Error> {
        let Some(provider_session) = device.facts.provider_session.as_deref() else { return Ok(()) };
        let arguments = [format!("{}:{}", device.handle, device.owner), pointer_kept(now, end).to_string()];
        self.link.run(&NOTE, &[self.names.provider(provider_session)], &arguments).await?;
        Ok(())
    }

    /// The same for a session that is there, which may last longer now.
    pub(crate) async fn hold_provider(&self, home: &Home, handle: &Handle, now: i64, end: i64) -> Result<(), Error> {
        match self.entry(home, handle).await? {
            Some(entry) => self.note_provider(&entry.device, now, end).await,
            None => Ok(()),
        }
    }
}
