//! What an operator asks of a store as a whole: how many, how old, how large. Nothing here is on a request's way, and
//! nothing here names a session.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::Error;
use crate::clock::{from_millis, to_millis};
use crate::record::UserId;
use crate::registry::End;

/// Counts, times and sizes of a store, as of one moment.
///
/// A store may look at a sample of its rows where they are many, for what its indexes do not say: sizes everywhere, and on
/// Redis beyond 2 000 rows how many are signed in, how many a cut-off of everyone ended, and which users have the most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreStats {
    /// Rows that live, anonymous ones included: not expired, and not of a session that everyone's cut-off ended, as far as
    /// the registry knows it.
    pub active: u64,
    /// Those of them that somebody is signed in to, as the registry has it.
    pub signed_in: u64,
    /// Rows that have expired and wait for a sweep.
    pub expired: u64,
    /// The earliest end of any row, expired ones included.
    pub oldest_expiry: Option<SystemTime>,
    /// The latest end of any row.
    pub newest_expiry: Option<SystemTime>,
    /// How many rows end within each of the next 60 minutes, the coming one first: 60 numbers. What ends on the border
    /// counts in the later one.
    pub expiring: Vec<u64>,
    /// The average size of a row's document, in bytes. Where a table is large, of a sample of its rows.
    pub average_bytes: Option<u64>,
    /// The smallest size that 99 of 100 documents do not exceed, in bytes; of the same rows.
    pub p99_bytes: Option<u64>,
    /// The users with the most live sessions, the most first, then by name, byte by byte.
    pub top_owners: Vec<(UserId, u64)>,
    /// What the rows take on disk; `None` where the store cannot tell.
    pub storage: Option<Storage>,
}

/// What a store takes on disk. `None` where the backend does not count such a thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Storage {
    /// The sessions themselves, in bytes.
    pub table_bytes: u64,
    /// Their indexes, in bytes.
    pub index_bytes: u64,
    /// Everything that is Sessile's, the registry included, in bytes.
    pub total_bytes: u64,
    /// Rows that were removed or replaced and take space until a vacuum.
    pub dead_rows: Option<u64>,
    /// When an operator last vacuumed the table of sessions.
    pub last_vacuum: Option<SystemTime>,
    /// When the server did so by itself.
    pub last_autovacuum: Option<SystemTime>,
    /// The share of updates that left the indexes alone, from 0 to 1.
    pub hot_ratio: Option<f64>,
}

/// How busy a store's connections are at this moment. `None` where a store has no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections that are open.
    pub connections: Option<u64>,
    /// Those of them that work.
    pub connections_in_use: Option<u64>,
    /// How many there may be.
    pub connections_max: Option<u64>,
    /// Calls that wait for a connection.
    pub waiting_for_connection: Option<u64>,
    /// Reads that were sent and not answered yet.
    pub reads_under_way: Option<u64>,
    /// Reads that wait to be sent.
    pub reads_waiting: Option<u64>,
}

/// What happened in one span of time, as the registry has it. What happened on a border belongs to the later span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// When the span begins.
    pub at: SystemTime,
    /// Sessions that somebody was signed in to when the span ended. One whose time was over counts until the sweep ended
    /// it.
    pub active: u64,
    /// Sign-ins.
    pub signed_in: u64,
    /// Sessions that their user ended.
    pub logged_out: u64,
    /// Sessions that somebody ended from elsewhere.
    pub revoked: u64,
    /// Sessions whose time was over.
    pub expired: u64,
    /// Sessions that a sign-in elsewhere displaced.
    pub evicted: u64,
}

impl Interval {
    /// The spans of [`Stats::timeline`], with nothing in them yet, and the end of the last.
    pub fn spans(from: SystemTime, step: Duration, count: u32) -> (Vec<Self>, SystemTime) {
        let (begin, step) = (to_millis(from), i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1));
        let at = |number: u32| from_millis(begin.saturating_add(step.saturating_mul(i64::from(number))));
        let empty = |number| Self {
            at: at(number),
            active: 0,
            signed_in: 0,
            logged_out: 0,
            revoked: 0,
            expired: 0,
            evicted: 0,
        };
        ((0..count).map(empty).collect(), at(count))
    }

    /// Counts sessions that ended so.
    pub fn add_ends(&mut self, end: End, sessions: u64) {
        *match end {
            End::LoggedOut => &mut self.logged_out,
            End::Revoked => &mut self.revoked,
            End::Expired => &mut self.expired,
            End::Evicted => &mut self.evicted,
        } += sessions;
    }

    /// Sets how many are [active](Interval::active) at the end of each span, from how many were before the first and what
    /// happened since.
    pub fn add_up(spans: &mut [Self], before: u64) {
        spans.iter_mut().fold(before, |active, span| {
            let ends = span.logged_out + span.revoked + span.expired + span.evicted;
            span.active = (active + span.signed_in).saturating_sub(ends);
            span.active
        });
    }
}

/// A store's figures. They may cost a look at every row, or at some thousand: ask now and then, not with each request.
#[async_trait]
pub trait Stats: Send + Sync {
    /// The figures as of `now`, with so many of the users who have the most sessions.
    async fn stats(&self, now: SystemTime, top: u32) -> Result<StoreStats, Error>;

    /// What happened in `count` spans of length `step`, the first of which begins at `from`, the oldest first. Both are
    /// whole milliseconds, and a step is one at least. History that was forgotten is not counted.
    async fn timeline(&self, from: SystemTime, step: Duration, count: u32) -> Result<Vec<Interval>, Error>;
}
