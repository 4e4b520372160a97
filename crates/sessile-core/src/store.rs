//! What a store has to do. Stores know rows, one time and one revision; never HTTP, cookies or policy.
//!
//! The rules are few and each is a clause of `sessile_testkit::store_contract!`: `insert` never overwrites, nothing but
//! `insert` creates, a lost race is an answer ([`Written`]) and not an error, and an expired row is absent.

use std::time::SystemTime;

use async_trait::async_trait;

use crate::registry::{EndedSession, Ending, Fate, Registry};
use crate::{Error, Examine, Load, Operations, Record, Stats, StoreKey, Transfer};

/// What became of a write.
#[must_use = "a lost race is an answer: `Gone` must not be followed by creating the session again"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The row is as asked, durably.
    Done,
    /// There is no such session, or it had expired. Nothing was written.
    Gone,
    /// The row is not as it was read, or on `insert` there is one already. Nothing was written.
    Stale,
}

/// A place where sessions live.
///
/// An error means that the store failed: [`Error::unavailable`] when it cannot be reached or does not answer in time,
/// [`Error::poisoned`] for a row it cannot read.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The session under this key; `None` when there is none or it had expired by `now`.
    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error>;

    /// Creates the session. Never overwrites: an existing row answers [`Written::Stale`].
    async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error>;

    /// Replaces a session that is alive at `record.seen_at` and still as `record.revision` saw it. Never creates.
    async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error>;

    /// [`update`](Store::update) and the move to another key, as one atomic step. The registry follows, and
    /// [`fate`](Store::fate) tells of the move for an hour.
    async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error>;

    /// Moves the end of a session that is alive at `seen_at`. Leaves its document, and so its revision, alone.
    async fn touch(&self, key: &StoreKey, seen_at: SystemTime, expires_at: SystemTime) -> Result<Written, Error>;

    /// Ends the session, in the registry too; says whether there was one. Durable when it returns.
    async fn remove(&self, key: &StoreKey, ending: &Ending) -> Result<bool, Error>;

    /// What became of the session that was under this key; `None` when nobody knows. Asked only of keys under which
    /// [`load`](Store::load) found nothing.
    async fn fate(&self, key: &StoreKey) -> Result<Option<Fate>, Error>;

    /// Who is signed in where; `None` for a store that does not record it.
    fn registry(&self) -> Option<&dyn Registry>;

    /// How expired rows are removed; `None` where the store does it by itself.
    fn sweep(&self) -> Option<&dyn Sweep> {
        None
    }

    /// Its figures; `None` for a store that does not count.
    fn stats(&self) -> Option<&dyn Stats> {
        None
    }

    /// How busy its connections are, without asking anybody; `None` for a store that has none.
    fn busy(&self) -> Option<Load> {
        None
    }

    /// Whether it is as it should be; `None` for a store that cannot be wrong.
    fn examine(&self) -> Option<&dyn Examine> {
        None
    }

    /// What is kept for operators; `None` for a store that keeps nothing for them.
    fn operations(&self) -> Option<&dyn Operations> {
        None
    }

    /// How its sessions are moved to another store; `None` where they cannot be.
    fn transfer(&self) -> Option<&dyn Transfer> {
        None
    }

    /// The time on the store's own clock; `None` where it has none of its own.
    async fn time(&self) -> Result<Option<SystemTime>, Error> {
        Ok(None)
    }

    /// What this store is, in words for a log line. Never a password.
    fn description(&self) -> String;
}

/// What a sweep removed.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    /// How many sessions.
    pub removed: u64,
    /// Those of them that were in the registry.
    pub expired: Vec<EndedSession>,
}

/// Removes what has expired.
#[async_trait]
pub trait Sweep: Send + Sync {
    /// Removes at most `limit` sessions that had expired by `now`, and ends them in the registry. Several instances may
    /// sweep at once: none waits for another, and no session is counted twice.
    async fn sweep(&self, now: SystemTime, limit: u32) -> Result<Swept, Error>;
}
