//! Sessions in this process's memory: for tests, and the shortest reading of what a store has to do. Not for production:
//! a restart signs everybody out and a second instance knows nothing.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use crate::store::{Store, Sweep, Written};
use crate::{Error, Record, StoreKey};

/// A store in memory. Cloning gives another view of the same sessions, like a second connection to one database.
#[derive(Clone, Default)]
pub struct MemoryStore {
    rows: Arc<Mutex<HashMap<StoreKey, Row>>>,
}

struct Row {
    document: Arc<str>,
    expires_at: SystemTime,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<StoreKey, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many sessions; none of them.
impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} sessions)", self.rows().len())
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

/// The row, if it is there and alive.
fn alive<'a>(rows: &'a mut HashMap<StoreKey, Row>, key: &StoreKey, now: SystemTime) -> Option<&'a mut Row> {
    rows.get_mut(key).filter(|row| row.expires_at >= now)
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
        alive(&mut self.rows(), key, now)
            .map(|row| Record::stored(key, row.document.clone(), row.expires_at, now))
            .transpose()
    }

    async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        let mut rows = self.rows();
        if rows.contains_key(key) {
            return Ok(Written::Stale);
        }
        rows.insert(key.clone(), Row::of(record));
        Ok(Written::Done)
    }

    async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        Ok(match alive(&mut self.rows(), key, record.seen_at) {
            None => Written::Gone,
            Some(row) if !row.is_as_read(record) => Written::Stale,
            Some(row) => {
                *row = Row::of(record);
                Written::Done
            }
        })
    }

    async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
        let mut rows = self.rows();
        let taken = rows.contains_key(to);
        match alive(&mut rows, from, record.seen_at) {
            None => return Ok(Written::Gone),
            Some(row) if taken || !row.is_as_read(record) => return Ok(Written::Stale),
            Some(_) => {}
        }
        rows.remove(from);
        rows.insert(to.clone(), Row::of(record));
        Ok(Written::Done)
    }

    async fn touch(&self, key: &StoreKey, seen_at: SystemTime, expires_at: SystemTime) -> Result<Written, Error> {
        let mut rows = self.rows();
        let Some(row) = alive(&mut rows, key, seen_at) else { return Ok(Written::Gone) };
        row.expires_at = expires_at;
        Ok(Written::Done)
    }

    async fn remove(&self, key: &StoreKey) -> Result<bool, Error> {
        Ok(self.rows().remove(key).is_some())
    }

    async fn remove_moved(
        &self,
        moved_from: &str,
        since: SystemTime,
        ends: RangeInclusive<SystemTime>,
    ) -> Result<bool, Error> {
        let mut rows = self.rows();
        let moved = rows.iter().find_map(|(key, row)| {
            let record = Record::stored(key, row.document.clone(), row.expires_at, row.expires_at).ok()?;
            (ends.contains(&row.expires_at) && record.moved_from(since) == Some(moved_from)).then(|| key.clone())
        });
        Ok(moved.is_some_and(|key| rows.remove(&key).is_some()))
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }

    fn description(&self) -> String {
        "memory (lost when the process ends)".into()
    }
}

#[async_trait]
impl Sweep for MemoryStore {
    async fn sweep(&self, now: SystemTime, limit: u32) -> Result<u64, Error> {
        let mut left = u64::from(limit);
        self.rows().retain(|_, row| {
            let stays = row.expires_at >= now || left == 0;
            left -= u64::from(!stays);
            stays
        });
        Ok(u64::from(limit) - left)
    }
}
