//! The hot path: as long as few reads are under way, each goes out at once as a statement of its own. What comes beside
//! those waits for an answer to them, a fraction of a millisecond, and is then read together by one statement: under
//! load that halves what a read costs PostgreSQL, and without load nothing ever waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sessile_core::{CutOff, Error, StoreKey, TableKind};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::failure::Failure;
use crate::lanes::{Lanes, Text};
use crate::private::Private;
use crate::rows::get;
use crate::sql::Sql;
use crate::stored::Stored;
use crate::time::moment;

/// A lane with fewer reads than this takes another one as it comes.
const ALONE: usize = 4;

/// So many reads are joined at most.
const TOGETHER: usize = 128;

/// The statements' numbers on the lanes.
const ONE: usize = 0;
const MANY: usize = 1;

/// Reads sessions, over a few connections.
pub(crate) struct Reads {
    lanes: Lanes,
    kind: TableKind,
    limit: Duration,
    queue: Mutex<Queue>,
}

/// A session as it is stored.
#[derive(Clone)]
pub(crate) struct Read {
    pub(crate) stored: Stored,
    /// Everyone's cut-off, read along.
    pub(crate) cut_off: Option<CutOff>,
}

struct Queue {
    /// The reads that each lane is busy with.
    under_way: Vec<usize>,
    /// Not empty only while every lane is busy: who is done with one takes what waits.
    waiting: Vec<Waiting>,
}

struct Waiting {
    key: StoreKey,
    now: f64,
    reply: oneshot::Sender<Option<Read>>,
}

/// So many reads under way on this lane. Dropped, also when a request is given up, it makes place for those who wait.
struct Place {
    reads: Arc<Reads>,
    lane: usize,
    count: usize,
}

impl Reads {
    /// The statements that the lanes must have.
    /// `guarded`: an answer counts only from a server that takes writes.
    pub(crate) fn texts(sql: &Sql, guarded: bool) -> Vec<Text> {
        let text = |sql: &str, types| match guarded {
            true => Text { sql: guard(sql), types, check: written_to },
            false => Text { sql: sql.into(), types, check: Ok },
        };
        vec![text(&sql.load, &[Type::TEXT, Type::FLOAT8]), text(&sql.load_many, &[Type::TEXT_ARRAY, Type::FLOAT8])]
    }

    pub(crate) fn new(lanes: Lanes, kind: TableKind, limit: Duration) -> Arc<Self> {
        let queue = Queue { under_way: vec![0; lanes.count()], waiting: Vec::new() };
        Arc::new(Self { lanes, kind, limit, queue: Mutex::new(queue) })
    }

    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// How many reads are under way, and how many wait.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let queue = self.queue();
        (queue.under_way.iter().sum(), queue.waiting.len())
    }

    /// The session under this key, unless it has expired at `now`.
    pub(crate) async fn read(self: &Arc<Self>, key: &StoreKey, now: f64) -> Result<Option<Read>, Error> {
        let place = match self.place_or_wait(key, now) {
            Ok(place) => place,
            Err(reply) => match tokio::time::timeout(self.limit, reply).await {
                Ok(Ok(stored)) => return Ok(stored),
                // Together it failed. Alone it works, or finds out why not.
                Ok(Err(_)) => self.place(&mut self.queue()),
                Err(_) => return Err(Failure::Slow(self.limit).into()),
            },
        };
        let rows = self.lanes.query(place.lane, ONE, &[&Private(key.as_str()), &now], self.limit).await?;
        rows.first().map(|row| read(self.kind, row)).transpose()
    }

    /// A place to read at once, or where the answer will arrive.
    fn place_or_wait(self: &Arc<Self>, key: &StoreKey, now: f64) -> Result<Place, oneshot::Receiver<Option<Read>>> {
        let mut queue = self.queue();
        if queue.under_way.iter().any(|reads| *reads < ALONE) {
            return Ok(self.place(&mut queue));
        }
        let (reply, answer) = oneshot::channel();
        queue.waiting.push(Waiting { key: key.clone(), now, reply });
        Err(answer)
    }

    /// A place on the lane with the least to do.
    fn place(self: &Arc<Self>, queue: &mut Queue) -> Place {
        let lane = (0..queue.under_way.len()).min_by_key(|lane| queue.under_way[*lane]).unwrap_or_default();
        queue.under_way[lane] += 1;
        Place { reads: self.clone(), lane, count: 1 }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.reads.queue();
        queue.under_way[self.lane] -= self.count;
        if queue.under_way[self.lane] >= ALONE || queue.waiting.is_empty() {
            return;
        }
        let most = queue.waiting.len().min(TOGETHER);
        let waiting: Vec<_> = queue.waiting.drain(..most).filter(|waiting| !waiting.reply.is_closed()).collect();
        queue.under_way[self.lane] += waiting.len();
        drop(queue);
        let place = Place { reads: self.reads.clone(), lane: self.lane, count: waiting.len() };
        match Handle::try_current() {
            Ok(runtime) if !waiting.is_empty() => drop(runtime.spawn(together(place, waiting))),
            // All were given up, or the runtime was: the next ones' turn.
            _ => drop(place),
        }
    }
}

/// Reads these sessions by one statement. When that fails nobody gets an answer, and each reads alone.
async fn together(place: Place, waiting: Vec<Waiting>) {
    let Place { reads, lane, .. } = &place;
    let keys: Vec<&str> = waiting.iter().map(|waiting| waiting.key.as_str()).collect();
    // They began within a moment; who began later looks again at what was still alive for the first.
    let now = waiting.iter().map(|waiting| waiting.now).fold(f64::INFINITY, f64::min);
    let Ok(rows) = reads.lanes.query(*lane, MANY, &[&Private(&keys), &now], reads.limit).await else { return };
    let found = rows.iter().map(|row| Ok((get(row, 4)?, read(reads.kind, row)?)));
    let Ok(found) = found.collect::<Result<HashMap<&str, Read>, Error>>() else { return };
    drop(place);
    for Waiting { key, now, reply } in waiting {
        let alive = found.get(key.as_str()).filter(|read| read.stored.is_alive(now));
        // Who is not there any more needs no answer.
        let _gone = reply.send(alive.cloned());
    }
}

/// The same statement, which also says whether the server takes writes; in one row without values when it finds none.
fn guard(sql: &str) -> String {
    format!(
        "SELECT found.*, server.writable FROM (SELECT pg_catalog.current_setting('transaction_read_only') = 'off') \
           server(writable) LEFT JOIN ({sql}) found ON true"
    )
}

/// What was found, if the server takes writes. Asked in the same statement, so no moment passes in between.
fn written_to(mut rows: Vec<Row>) -> Result<Vec<Row>, Failure> {
    let writable = |row: &Row| row.try_get::<_, bool>(row.len().saturating_sub(1)).unwrap_or_default();
    if !rows.first().is_some_and(writable) {
        return Err(Failure::ReadOnly);
    }
    // What is found has an end.
    rows.retain(|row| !matches!(row.try_get::<_, Option<f64>>(1), Ok(None)));
    Ok(rows)
}

fn read(kind: TableKind, row: &Row) -> Result<Read, Error> {
    let before = get::<Option<f64>>(row, 2)?.map(moment);
    let swept = get::<Option<bool>>(row, 3)?.unwrap_or_default();
    let cut_off = before.map(|before| CutOff { before, swept });
    Ok(Read { stored: Stored::read(kind, row, 0, 1)?, cut_off })
}
