//! Where the session under a key is. A session that nobody is signed in to lies under its key. One that has a user lies at
//! the user's home, and its key leads there; whether it still is the session's key, the home decides.
//!
//! A session on its way from one place to another is at the new one in waiting. It is there as soon as the old place says
//! that it has left, and not before. Whoever finds one in waiting looks, and settles what a process that died left behind.

use std::sync::Arc;
use std::time::SystemTime;

use redis::{Cmd, Value};
use sessile_core::{CutOff, Error, Handle, Record, StoreKey};

use crate::RedisStore;
use crate::failure::Failure;
use crate::names::{Home, KeyPlace, Names};
use crate::script::{SETTLE, Word};
use crate::time::from_millis;

/// How often a key is looked at again, because its session moved in between.
pub(crate) const LOOKS: usize = 20;

const KEY_FIELDS: [&str; 14] =
    ["st", "key", "doc", "rev", "end", "tx", "src", "over", "owner", "handle", "claim", "to", "at", "out"];

const HOME_FIELDS: [&str; 9] = ["st", "key", "owner", "doc", "rev", "end", "tx", "src", "kept"];

/// A session's row, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) document: Arc<str>,
    pub(crate) rev: String,
    pub(crate) end: i64,
    pub(crate) place: Place,
    /// Everyone's cut-off, as its partition has it.
    pub(crate) cut_off: Option<CutOff>,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Under its key. `over`: it was brought back after its end.
    Key { over: bool },
    /// At its user's.
    Home { home: Home, handle: Handle, claim: String, kept: i64 },
}

/// What is under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) status: Option<String>,
    pub(crate) home: Option<Lead>,
    /// It moved to this key, then.
    pub(crate) moved: Option<(String, i64)>,
    pub(crate) waiting: Option<Waiting>,
    row: Option<(String, String, i64)>,
    over: bool,
}

/// Where a key leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    pub(crate) owner: String,
    pub(crate) handle: Handle,
    pub(crate) claim: String,
}

/// A row in waiting: which move brings it, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) tx: String,
    pub(crate) source: String,
}

/// Fields of a hash by their names.
struct Fields {
    names: &'static [&'static str],
    values: Vec<Option<String>>,
}

impl Fields {
    fn of(names: &'static [&'static str], value: Value) -> Result<Self, Failure> {
        Ok(Self { names, values: redis::from_redis_value(value)? })
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.names.iter().position(|field| *field == name)?;
        self.values.get_mut(at)?.take()
    }

    fn number(&mut self, name: &str) -> Option<i64> {
        self.take(name)?.parse().ok()
    }

    fn row(&mut self) -> Option<(String, String, i64)> {
        Some((self.take("doc")?, self.take("rev")?, self.number("end")?))
    }

    fn waiting(&mut self) -> Option<Waiting> {
        Some(Waiting { tx: self.take("tx")?, source: self.take("src")? })
    }
}

fn fields(name: &str, fields: &[&str]) -> Cmd {
    let mut command = redis::cmd("HMGET");
    command.arg(name).arg(fields);
    command
}

fn cut_off(value: Value) -> Result<Option<CutOff>, Failure> {
    let (before, swept): (Option<i64>, Option<String>) = redis::from_redis_value(value)?;
    Ok(before.map(|before| CutOff { before: from_millis(before), swept: swept.as_deref() == Some("1") }))
}

/// How the source of a move is written down.
pub(crate) fn source_at_key(key: &StoreKey) -> String {
    format!("k:{}", key.as_str())
}

/// The same for a user's session.
pub(crate) fn source_at_home(home: &Home, handle: &Handle) -> String {
    format!("d:{handle}:{}", home.owner)
}

fn source_name(names: &Names, source: &str) -> Option<String> {
    if let Some(key) = source.strip_prefix("k:") {
        return Some(names.key(&StoreKey::stored(key)).name);
    }
    let (handle, owner) = source.strip_prefix("d:")?.split_once(':')?;
    Some(names.home(owner).device(handle))
}

impl Row {
    pub(crate) fn record(self, key: &StoreKey, now: SystemTime) -> Result<Record, Error> {
        let mut record = Record::stored(key, self.document, from_millis(self.end), now)?;
        record.cut_off = self.cut_off;
        Ok(record)
    }
}

impl RedisStore {
    /// What is under a key, and everyone's cut-off as its partition has it.
    pub(crate) async fn pointer(&self, place: &KeyPlace) -> Result<(Pointer, Option<CutOff>), Failure> {
        let commands = [fields(&place.name, &KEY_FIELDS), fields(&place.all, &["before", "swept"])];
        let mut values = self.link.ask_together(&commands, &place.name).await?.into_iter();
        let (Some(key), Some(all)) = (values.next(), values.next()) else { return Err(Failure::Odd) };
        let mut fields = Fields::of(&KEY_FIELDS, key)?;
        let lead = |fields: &mut Fields| {
            let (owner, handle) = (fields.take("owner")?, Handle::parse(&fields.take("handle")?)?);
            Some(Lead { owner, handle, claim: fields.take("claim")? })
        };
        let pointer = Pointer {
            status: fields.take("st"),
            home: lead(&mut fields),
            moved: fields.take("to").zip(fields.number("at")),
            waiting: fields.waiting(),
            row: fields.row(),
            over: fields.take("over").is_some(),
        };
        Ok((pointer, cut_off(all)?))
    }

    /// The session under this key, whether it has expired or not.
    pub(crate) async fn locate(&self, key: &StoreKey) -> Result<Option<Row>, Error> {
        let place = self.names.key(key);
        let mut before: Option<Pointer> = None;
        for _ in 0..LOOKS {
            let (pointer, cut_off) = self.pointer(&place).await?;
            if pointer.status.as_deref() == Some("live") {
                return Ok(pointer.row.map(|row| at_key(row, pointer.over, cut_off)));
            }
            let found = match &pointer.home {
                Some(lead) => self.at_home(key, lead).await?,
                None => None,
            };
            if found.is_some() {
                return Ok(found);
            }
            let settled = match &pointer.waiting {
                Some(waiting) => self.settle(&place, waiting).await?,
                None => false,
            };
            // Nothing came of it, twice in the same way, or there was nothing to follow.
            let leads_nowhere = pointer.home.is_none() || before.as_ref() == Some(&pointer);
            if !settled && leads_nowhere {
                return Ok(None);
            }
            before = Some(pointer);
        }
        Err(Error::unavailable(format!("{LOOKS} looks at a session met another move of it each time; try again")))
    }

    /// The session that this key leads to, if that is where it is.
    async fn at_home(&self, key: &StoreKey, lead: &Lead) -> Result<Option<Row>, Failure> {
        let home = self.names.home(&lead.owner);
        let name = home.device(lead.handle.as_str());
        let commands = [fields(&name, &HOME_FIELDS), fields(&home.all(), &["before", "swept"])];
        let mut values = self.link.ask_together(&commands, &name).await?.into_iter();
        let (Some(device), Some(all)) = (values.next(), values.next()) else { return Err(Failure::Odd) };
        let mut fields = Fields::of(&HOME_FIELDS, device)?;
        let is_its = fields.take("key").as_deref() == Some(key.as_str());
        if !is_its || fields.take("owner").as_deref() != Some(&*lead.owner) {
            return Ok(None);
        }
        let is_here = match (fields.take("st").as_deref(), fields.waiting()) {
            (Some("live"), _) => true,
            (Some("pend"), Some(waiting)) => self.arrive_if_it_left(&home, &lead.handle, &waiting).await?,
            _ => false,
        };
        let kept = fields.number("kept").unwrap_or(0);
        let row = fields.row().filter(|_| is_here);
        let place = Place::Home { home, handle: lead.handle.clone(), claim: lead.claim.clone(), kept };
        let cut_off = cut_off(all)?;
        Ok(row.map(|(document, rev, end)| Row { document: document.into(), rev, end, place, cut_off }))
    }

    /// Whether the row has left the place it waits for.
    pub(crate) async fn has_left(&self, waiting: &Waiting) -> Result<bool, Failure> {
        let Some(name) = source_name(&self.names, &waiting.source) else { return Ok(false) };
        let out: Option<String> =
            redis::from_redis_value(self.link.ask(redis::cmd("HGET").arg(name).arg("out").to_owned()).await?)?;
        Ok(out.as_deref() == Some(&*waiting.tx))
    }

    /// Lets a row that waits under its key be there, if it has left the other place.
    async fn settle(&self, place: &KeyPlace, waiting: &Waiting) -> Result<bool, Failure> {
        if !self.has_left(waiting).await? {
            return Ok(false);
        }
        let answer = self.link.run(&SETTLE, &[&place.name], std::slice::from_ref(&waiting.tx)).await?;
        Ok(matches!(answer.word, Word::Done | Word::Away))
    }
}

fn at_key((document, rev, end): (String, String, i64), over: bool, cut_off: Option<CutOff>) -> Row {
    Row { document: document.into(), rev, end, place: Place::Key { over }, cut_off }
}
