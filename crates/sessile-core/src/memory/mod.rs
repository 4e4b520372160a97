//! Sessions in this process's memory: for tests, and the shortest reading of what a store and its registry have to do. Not
//! for production: a restart signs everybody out and a second instance knows nothing.

mod operations;
mod registry;
mod stats;
mod transfer;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use crate::clock::{from_millis, to_millis};
use crate::record::UserId;
use crate::registry::{Alignment, CutOff, Device, End, EndedSession, Ending, Fate, Registry, Tidied, Tidy};
use crate::store::{Store, Sweep, Swept, Written};
use crate::{Action, Error, Handle, Operations, Operator, Record, SecretUse, Stats, StoreKey, Transfer};

/// A store in memory. Cloning gives another view of the same sessions, like a second connection to one database.
#[derive(Clone, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
}

#[derive(Default)]
struct Tables {
    rows: HashMap<StoreKey, Row>,
    devices: BTreeMap<Handle, Entry>,
    moves: HashMap<StoreKey, (StoreKey, SystemTime)>,
    /// Per owner: sign-ins whose credentials were presented before this time are refused.
    cut_offs: HashMap<Box<str>, SystemTime>,
    everyone: Option<(CutOff, Ending)>,
    operators: BTreeMap<Box<str>, Operator>,
    /// An action's number is one more than its place.
    actions: Vec<Action>,
    secrets: BTreeMap<Box<str>, SecretUse>,
}

struct Row {
    document: Arc<str>,
    expires_at: SystemTime,
}

/// A row of the registry.
struct Entry {
    /// The session's key, after its end too; `None` for one that ended while its key lived on.
    key: Option<StoreKey>,
    device: Device,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many sessions; none of them.
impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} sessions)", self.tables().rows.len())
    }
}

impl Row {
    fn of(record: &Record) -> Self {
        Self { document: record.document().into(), expires_at: record.expires_at }
    }

    fn is_as_read(&self, record: &Record) -> bool {
        record.revision.as_ref().is_some_and(|revision| revision.as_str() == &*self.document)
    }
}

impl Entry {
    fn is_active(&self) -> bool {
        self.device.ended.is_none()
    }

    fn end(&mut self, ending: &Ending) -> EndedSession {
        self.device.ended = Some(Ending { at: whole(ending.at), ..ending.clone() });
        let Device { handle, owner, facts, .. } = &self.device;
        EndedSession { handle: handle.clone(), owner: owner.clone(), ip: facts.ip }
    }
}

/// As databases keep it: whole milliseconds.
fn whole(time: SystemTime) -> SystemTime {
    from_millis(to_millis(time))
}

impl Tables {
    /// The row, if it is there and alive.
    fn alive(&mut self, key: &StoreKey, now: SystemTime) -> Option<&mut Row> {
        self.rows.get_mut(key).filter(|row| row.expires_at >= now)
    }

    fn is_alive(&self, entry: &Entry, now: SystemTime) -> bool {
        let row = entry.key.as_ref().and_then(|key| self.rows.get(key));
        entry.is_active() && row.is_some_and(|row| row.expires_at >= now)
    }

    fn record(&mut self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
        let cut_off = self.everyone.as_ref().map(|(cut_off, _)| *cut_off);
        let Some(row) = self.alive(key, now) else { return Ok(None) };
        let record = Record::stored(key, row.document.clone(), row.expires_at, now)?;
        Ok(Some(Record { cut_off, ..record }))
    }

    fn insert(&mut self, key: &StoreKey, record: &Record) -> Written {
        if self.rows.contains_key(key) {
            return Written::Stale;
        }
        self.rows.insert(key.clone(), Row::of(record));
        Written::Done
    }

    /// Whether the row under this key may be moved to the other one.
    fn may_move(&mut self, from: &StoreKey, to: &StoreKey, record: &Record) -> Written {
        let (taken, is_over) = (self.rows.contains_key(to), self.is_over(from));
        match self.alive(from, record.seen_at) {
            None => Written::Gone,
            Some(_) if is_over => Written::Gone,
            Some(row) if taken || !row.is_as_read(record) => Written::Stale,
            Some(_) => Written::Done,
        }
    }

    fn rotate(&mut self, from: &StoreKey, to: &StoreKey, record: &Record) {
        self.rows.remove(from);
        self.rows.insert(to.clone(), Row::of(record));
        self.moves.insert(from.clone(), (to.clone(), whole(record.seen_at)));
        self.follow(from, to);
    }

    /// The registry follows a session to another key.
    fn follow(&mut self, from: &StoreKey, to: &StoreKey) {
        for entry in self.devices.values_mut().filter(|entry| entry.is_active() && entry.key.as_ref() == Some(from)) {
            entry.key = Some(to.clone());
        }
    }

    /// The handles of the owner's sessions that are alive, the oldest first.
    fn live(&self, owner: &UserId, now: SystemTime) -> Vec<Handle> {
        let entries = self.devices.values().filter(|entry| entry.device.owner == *owner && self.is_alive(entry, now));
        let mut devices: Vec<_> = entries.map(|entry| &entry.device).collect();
        devices.sort_by_key(|device| (device.created_at, &device.handle));
        devices.into_iter().map(|device| device.handle.clone()).collect()
    }

    /// Ends the session with this handle and removes its row.
    fn end(&mut self, handle: &Handle, ending: &Ending) -> Option<EndedSession> {
        let entry = self.devices.get_mut(handle).filter(|entry| entry.is_active())?;
        if let Some(key) = &entry.key {
            self.rows.remove(key);
        }
        Some(entry.end(ending))
    }

    fn active_under(&self, key: &StoreKey) -> Option<&Device> {
        let mut entries = self.devices.values().filter(|entry| entry.is_active() && entry.key.as_ref() == Some(key));
        entries.next().map(|entry| &entry.device)
    }

    /// Whether the session under this key has ended or moved: what lies there was brought back.
    fn is_over(&self, key: &StoreKey) -> bool {
        let is_tombstone = |entry: &Entry| !entry.is_active() && entry.key.as_ref() == Some(key);
        let was_there = self.moves.contains_key(key) || self.devices.values().any(is_tombstone);
        was_there && self.active_under(key).is_none()
    }

    /// Whether the owner, or everyone, was cut off later than that.
    fn is_cut_off(&self, owner: &UserId, since: SystemTime) -> bool {
        let everyone = self.everyone.as_ref().map(|(cut_off, _)| cut_off.before);
        let own = self.cut_offs.get(owner.as_str()).copied();
        [everyone, own].into_iter().flatten().any(|cut_off| since < cut_off)
    }

    /// Whether everyone's cut-off ended it. The next [`tidy`](Registry::tidy) says so in the registry.
    fn is_ended_with_everyone(&self, device: &Device) -> bool {
        self.everyone.as_ref().is_some_and(|(cut_off, _)| device.began() < cut_off.before)
    }

    /// What `Registry::tidy` does about one row of the registry.
    fn tidy_entry(&mut self, handle: &Handle, now: SystemTime, tidied: &mut Tidied) {
        let Some(entry) = self.devices.get(handle).filter(|entry| entry.is_active()) else { return };
        let ending = match &self.everyone {
            Some((_, ending)) if self.is_ended_with_everyone(&entry.device) => ending.clone(),
            _ if entry.key.as_ref().is_some_and(|key| self.rows.contains_key(key)) => return,
            _ => {
                let end = if entry.device.expires_at < now { End::Expired } else { End::LoggedOut };
                Ending { end, at: now, reason: None }
            }
        };
        tidied.ended.extend(self.end(handle, &ending).map(|ended| (ended, ending)));
    }

    /// What `Registry::tidy` does about one session.
    fn tidy_row(&mut self, key: &StoreKey, tidy: &Tidy<'_>, tidied: &mut Tidied) {
        let Ok(Some(mut record)) = self.record(key, tidy.now) else { return };
        if let Some(user_key) = tidy.user_key {
            record.owner_is_under(user_key);
        }
        let known = self.active_under(key).map(|device| device.owner.clone());
        if known.is_some() && known == record.owner {
            return;
        }
        let Ok(device) = record.device(Default::default()) else { return };
        let is_over = known.is_none() && record.is_cut_off();
        let Ok((alignment, former)) = self.align(key, device.filter(|_| !is_over), is_over, tidy.now) else { return };
        tidied.ended.extend(former);
        tidied.registered += u64::from(matches!(alignment, Alignment::Device(_)));
        tidied.removed += u64::from(alignment == Alignment::Over);
    }

    /// Makes the registry say that this device, or nobody, is signed in under the key; or removes what is there, where it is
    /// over. Also whose session ended by that.
    fn align(
        &mut self,
        key: &StoreKey,
        device: Option<Device>,
        is_over: bool,
        at: SystemTime,
    ) -> Result<(Alignment, Option<(EndedSession, Ending)>), Error> {
        let is_over = is_over || self.is_over(key);
        let is_free = |handle: &Handle| !self.devices.contains_key(handle);
        let device = device.map(|device| device.under_a_free_handle(key, is_free)).transpose()?;
        let known = self.active_under(key).map(|known| known.handle.clone());
        let former = known.and_then(|handle| self.devices.get_mut(&handle)).map(|entry| {
            entry.key = None;
            let ending = Ending { end: End::LoggedOut, at, reason: None };
            (entry.end(&ending), ending)
        });
        let alignment = match device {
            Some(device) if is_over || self.is_cut_off(&device.owner, device.began()) => Alignment::Over,
            None if is_over => Alignment::Over,
            Some(device) => {
                let handle = device.handle.clone();
                self.devices.insert(handle.clone(), Entry { key: Some(key.clone()), device });
                Alignment::Device(handle)
            }
            None => Alignment::Nobody,
        };
        if alignment == Alignment::Over {
            self.rows.remove(key);
        }
        Ok((alignment, former))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
        self.tables().record(key, now)
    }

    async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        Ok(self.tables().insert(key, record))
    }

    async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        Ok(match self.tables().alive(key, record.seen_at) {
            None => Written::Gone,
            Some(row) if !row.is_as_read(record) => Written::Stale,
            Some(row) => {
                *row = Row::of(record);
                Written::Done
            }
        })
    }

    async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
        let mut tables = self.tables();
        let written = tables.may_move(from, to, record);
        if written == Written::Done {
            tables.rotate(from, to, record);
        }
        Ok(written)
    }

    async fn touch(&self, key: &StoreKey, seen_at: SystemTime, expires_at: SystemTime) -> Result<Written, Error> {
        let mut tables = self.tables();
        let Some(row) = tables.alive(key, seen_at) else { return Ok(Written::Gone) };
        row.expires_at = expires_at;
        Ok(Written::Done)
    }

    async fn remove(&self, key: &StoreKey, ending: &Ending) -> Result<bool, Error> {
        let mut tables = self.tables();
        let handle = tables.active_under(key).map(|device| device.handle.clone());
        let there = tables.rows.remove(key).is_some();
        if let Some(handle) = handle {
            tables.end(&handle, ending);
        }
        Ok(there)
    }

    async fn fate(&self, key: &StoreKey) -> Result<Option<Fate>, Error> {
        let tables = self.tables();
        if let Some((to, at)) = tables.moves.get(key) {
            return Ok(Some(Fate::Moved { to: to.clone(), at: *at }));
        }
        let ended = tables.devices.values().filter(|entry| entry.key.as_ref() == Some(key)).find_map(|entry| {
            let Device { handle, owner, facts, ended, .. } = entry.device.clone();
            Some(Fate::Ended(EndedSession { handle, owner, ip: facts.ip }, ended?))
        });
        Ok(ended)
    }

    fn registry(&self) -> Option<&dyn Registry> {
        Some(self)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }

    fn stats(&self) -> Option<&dyn Stats> {
        Some(self)
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    fn transfer(&self) -> Option<&dyn Transfer> {
        Some(self)
    }

    fn description(&self) -> String {
        "memory (lost when the process ends)".into()
    }
}

#[async_trait]
impl Sweep for MemoryStore {
    async fn sweep(&self, now: SystemTime, limit: u32) -> Result<Swept, Error> {
        let mut tables = self.tables();
        let expired = tables.rows.iter().filter(|(_, row)| row.expires_at < now).map(|(key, _)| key.clone());
        let expired: Vec<_> = expired.take(limit as usize).collect();
        let mut swept = Swept::default();
        for key in expired {
            let handle = tables.active_under(&key).map(|device| device.handle.clone());
            let ending = Ending { end: End::Expired, at: now, reason: None };
            swept.expired.extend(handle.and_then(|handle| tables.end(&handle, &ending)));
            tables.rows.remove(&key);
            swept.removed += 1;
        }
        Ok(swept)
    }
}
