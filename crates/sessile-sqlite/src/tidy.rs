//! Bringing the registry and the sessions back into step: two walks, through the registry by handle and through the sessions
//! by key, some rows with each call. The rows of a batch are read and judged in the write that repairs them, so nothing
//! comes between; a batch is small, so that others who write need not wait long.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sessile_core::{
    Alignment, CutOff, Device, DeviceFacts, End, Ending, Error, StoreKey, TableKind, Tidied, Tidy, UserId,
};

use crate::failure;
use crate::layout::{self, Beside, Layout};
use crate::registry_table::Tables;
use crate::statements::Statements;
use crate::store::SqliteStore;
use crate::table::quoted;
use crate::times::{from_millis, millis, read, seconds, text};

/// How many rows one write looks at.
const BATCH: u32 = 250;

/// How many rows of history, and of moves, go with one call: some hundredths of a second of work.
const FORGOTTEN: u32 = 2_000;

/// The statements.
pub(crate) struct Tidying {
    kind: TableKind,
    everyone: String,
    swept: String,
    entries: String,
    rows: String,
    forget: String,
    forget_moves: String,
    date: String,
}

/// How far the two walks have come.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Walks {
    entries: Walk,
    rows: Walk,
    /// The cut-off that these walks clear up after, in milliseconds.
    cut_off: Option<i64>,
}

#[derive(Clone, Default, PartialEq)]
struct Walk {
    /// The row before the next one.
    after: String,
    /// It has come to the end since it began anew for a cut-off.
    is_through: bool,
}

/// Everyone's cut-off, and what the registry says of those it ended.
#[derive(Clone)]
pub(crate) struct Everyone {
    pub(crate) cut_off: CutOff,
    pub(crate) ending: Ending,
}

/// What every batch of a call needs to know.
#[derive(Clone)]
struct Task {
    now: SystemTime,
    user_key: Option<String>,
    everyone: Option<Everyone>,
}

/// What a batch found.
#[derive(Default)]
struct Looked {
    rows: u32,
    last: String,
    tidied: Tidied,
}

/// A row of the registry that is out of step.
struct Stray {
    id: String,
    is_cut_off: bool,
    is_alone: bool,
    is_expired: bool,
}

/// [`Registry::tidy`](sessile_core::Registry::tidy).
pub(crate) async fn tidy(store: &SqliteStore, tidy: &Tidy<'_>) -> Result<Tidied, Error> {
    let everyone = store.read(|statements, connection| statements.tidying.everyone(connection)).map_err(failure::of)?;
    let begun = current(store.walks()).clone();
    let mut walks = begun.clone();
    let unswept = everyone.as_ref().map(|everyone| everyone.cut_off).filter(|cut_off| !cut_off.swept);
    walks.begin(unswept.map(|cut_off| millis(cut_off.before)));
    let task = Task { now: tidy.now, user_key: tidy.user_key.map(str::to_owned), everyone };
    let mut tidied = Tidied::default();
    walk(store, &task, &mut walks.entries, tidy.limit, Statements::tidy_entries, &mut tidied).await?;
    walk(store, &task, &mut walks.rows, tidy.limit, Statements::tidy_rows, &mut tidied).await?;
    if let Some(before) = walks.cut_off {
        if walks.entries.is_through && walks.rows.is_through {
            store.write(move |statements, connection| statements.tidying.swept(connection, before)).await?;
        } else {
            tidied.more = true;
        }
    }
    advance(store.walks(), &begun, walks);
    let (now, history) = (tidy.now, tidy.history);
    let forget =
        move |statements: &Statements, connection: &Connection| statements.tidying.forget(connection, now, history);
    let (forgotten, is_more) = store.write_whole(forget).await?;
    tidied.forgotten = forgotten;
    tidied.more |= is_more;
    Ok(tidied)
}

fn current(walks: &Mutex<Walks>) -> std::sync::MutexGuard<'_, Walks> {
    walks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Another call may have walked meanwhile: then its way counts, and this one will be walked again.
fn advance(walks: &Mutex<Walks>, begun: &Walks, come: Walks) {
    let mut walks = current(walks);
    if *walks == *begun {
        *walks = come;
    }
}

/// Walks on, a batch at a time, to the limit or the end.
async fn walk(
    store: &SqliteStore,
    task: &Task,
    walk: &mut Walk,
    limit: u32,
    look: fn(&Statements, &Connection, &Task, &str, u32) -> rusqlite::Result<Looked>,
    tidied: &mut Tidied,
) -> Result<(), Error> {
    let mut left = limit.max(1);
    while left > 0 {
        let (task, after, batch) = (task.clone(), walk.after.clone(), left.min(BATCH));
        let looked =
            store.write_whole(move |statements, connection| look(statements, connection, &task, &after, batch)).await?;
        tidied.ended.extend(looked.tidied.ended);
        tidied.registered += looked.tidied.registered;
        tidied.removed += looked.tidied.removed;
        walk.after = looked.last;
        if looked.rows < batch {
            *walk = Walk { after: String::new(), is_through: true };
            return Ok(());
        }
        left -= batch;
    }
    Ok(())
}

impl Walks {
    /// A cut-off that is seen for the first time begins both walks anew.
    fn begin(&mut self, unswept: Option<i64>) {
        if unswept.is_some() && unswept != self.cut_off {
            *self = Self::default();
        }
        self.cut_off = unswept;
    }
}

impl Tidying {
    pub(crate) fn on(tables: &Tables) -> Self {
        let [session, registry, cut_offs, moves] =
            [&tables.session, &tables.registry, &tables.cut_offs, &tables.moves].map(|name| quoted(name));
        let (before, ended) = (read("not_before"), read("coalesce(ended_at, not_before)"));
        let Layout { kind, key, end, .. } = &tables.layout;
        Self {
            kind: *kind,
            everyone: format!(
                "SELECT {before}, swept, coalesce(status, 'revoked'), {ended}, end_reason FROM {cut_offs}
                 WHERE user_id = '' AND not_before IS NOT NULL"
            ),
            swept: format!("UPDATE {cut_offs} SET swept = 1 WHERE user_id = '' AND {before} = ?1"),
            entries: format!(
                "SELECT id, status = 'active', coalesce(coalesce(authenticated_at, created_at) < {cut_off}, 0),
                     NOT EXISTS (SELECT 1 FROM {session} AS s WHERE s.{key} = r.sid), expires_at < {now}
                   FROM {registry} AS r WHERE id > ?1 ORDER BY id LIMIT ?2",
                cut_off = text(3),
                now = text(4)
            ),
            rows: format!(
                "SELECT s.{key}, unixepoch(s.{end}),
                     CASE WHEN unixepoch(s.{end}) >= ?3 THEN {} END,
                     (SELECT user_id FROM {registry} AS r WHERE r.sid = s.{key} AND r.status = 'active' LIMIT 1),
                     EXISTS (SELECT 1 FROM {registry} AS r WHERE r.sid = s.{key} AND r.status <> 'active')
                       OR EXISTS (SELECT 1 FROM {moves} AS m WHERE m.sid = s.{key}){}
                   FROM {session} AS s WHERE s.{key} > ?1 AND typeof(s.{key}) = 'text' ORDER BY s.{key} LIMIT ?2",
                tables.layout.text("s."),
                tables.layout.beside("s.")
            ),
            forget: format!(
                "DELETE FROM {registry} WHERE id IN (SELECT id FROM {registry}
                   WHERE status <> 'active' AND logged_out_at < {} LIMIT ?2)",
                text(1)
            ),
            forget_moves: format!(
                "DELETE FROM {moves} WHERE sid IN (SELECT sid FROM {moves} WHERE moved_at < {} LIMIT ?2)",
                text(1)
            ),
            date: format!(
                "UPDATE {registry} SET logged_out_at = {} WHERE status <> 'active' AND logged_out_at IS NULL",
                text(1)
            ),
        }
    }

    pub(crate) fn all(&self) -> [&str; 7] {
        let Self { everyone, swept, entries, rows, forget, forget_moves, date, .. } = self;
        [everyone, swept, entries, rows, forget, forget_moves, date]
    }

    pub(crate) fn everyone(&self, connection: &Connection) -> rusqlite::Result<Option<Everyone>> {
        let everyone = |row: &Row<'_>| {
            let (before, status, at): (_, String, _) = (row.get(0)?, row.get(2)?, row.get(3)?);
            let end = End::parse(&status).unwrap_or(End::Revoked);
            let ending = Ending { end, at: from_millis(at), reason: row.get(4)? };
            Ok(Everyone { cut_off: CutOff { before: from_millis(before), swept: row.get(1)? }, ending })
        };
        connection.prepare_cached(&self.everyone)?.query_row([], everyone).optional()
    }

    fn swept(&self, connection: &Connection, before: i64) -> rusqlite::Result<()> {
        connection.prepare_cached(&self.swept)?.execute([before]).map(drop)
    }

    /// The rows of the registry after this one that are out of step; how many were looked at, and the last of them.
    fn strays(
        &self,
        connection: &Connection,
        task: &Task,
        after: &str,
        limit: u32,
    ) -> rusqlite::Result<(Looked, Vec<Stray>)> {
        let before = task.everyone.as_ref().map(|everyone| millis(everyone.cut_off.before));
        let mut statement = connection.prepare_cached(&self.entries)?;
        let mut rows = statement.query(params![after, limit, before, millis(task.now)])?;
        let (mut looked, mut strays) = (Looked::default(), Vec::new());
        while let Some(row) = rows.next()? {
            let (id, is_active): (String, bool) = (row.get(0)?, row.get(1)?);
            let stray = Stray { id, is_cut_off: row.get(2)?, is_alone: row.get(3)?, is_expired: row.get(4)? };
            looked.rows += 1;
            looked.last.clone_from(&stray.id);
            if is_active && (stray.is_cut_off || stray.is_alone) {
                strays.push(stray);
            }
        }
        Ok((looked, strays))
    }

    /// Removes history that is old enough, and says how many rows; and moves that are, and says whether there are more. An
    /// end of which an operator wrote no time was now.
    fn forget(&self, connection: &Connection, now: SystemTime, history: Duration) -> rusqlite::Result<(u64, bool)> {
        connection.prepare_cached(&self.date)?.execute([millis(now)])?;
        let older = |sql: &str, kept| {
            let Some(before) = now.checked_sub(kept) else { return Ok(0) };
            connection.prepare_cached(sql)?.execute(params![millis(before), FORGOTTEN])
        };
        let (history, moves) = (older(&self.forget, history)?, older(&self.forget_moves, Tidy::MOVES_KEPT)?);
        Ok((history as u64, history.max(moves) >= FORGOTTEN as usize))
    }
}

impl Stray {
    fn ending(&self, task: &Task) -> Ending {
        match &task.everyone {
            Some(everyone) if self.is_cut_off => everyone.ending.clone(),
            _ => {
                let end = if self.is_expired { End::Expired } else { End::LoggedOut };
                Ending { end, at: task.now, reason: None }
            }
        }
    }
}

/// What has to be done about a session of which the registry says something else.
enum Repair {
    Remove,
    /// The registry has to say that this device, or nobody, is signed in.
    Follow(Option<Box<Device>>),
}

impl Statements {
    /// Ends rows of the registry whose session is gone or cut off.
    fn tidy_entries(&self, connection: &Connection, task: &Task, after: &str, limit: u32) -> rusqlite::Result<Looked> {
        let (mut looked, strays) = self.tidying.strays(connection, task, after, limit)?;
        for stray in strays {
            let ending = stray.ending(task);
            let ended = self.entries.end_one(connection, &stray.id, &ending)?;
            let ended = self.remove_all(connection, ended)?;
            looked.tidied.ended.extend(ended.into_iter().map(|ended| (ended, ending.clone())));
        }
        Ok(looked)
    }

    /// Makes the registry follow whom live sessions belong to, and removes those that are over.
    fn tidy_rows(&self, connection: &Connection, task: &Task, after: &str, limit: u32) -> rusqlite::Result<Looked> {
        let (mut looked, repairs) = self.repairs(connection, task, after, limit)?;
        for (key, repair) in repairs {
            match repair {
                Repair::Remove => {
                    self.rows.remove(connection, key.as_str())?;
                    looked.tidied.removed += 1;
                }
                Repair::Follow(device) => {
                    let (alignment, ended) = self.follow(connection, &key, device.as_deref(), task.now)?;
                    let ending = Ending { end: End::LoggedOut, at: task.now, reason: None };
                    looked.tidied.ended.extend(ended.into_iter().map(|ended| (ended, ending.clone())));
                    looked.tidied.registered += u64::from(matches!(alignment, Alignment::Device(_)));
                    looked.tidied.removed += u64::from(alignment == Alignment::Over);
                }
            }
        }
        Ok(looked)
    }

    fn repairs(
        &self,
        connection: &Connection,
        task: &Task,
        after: &str,
        limit: u32,
    ) -> rusqlite::Result<(Looked, Vec<(StoreKey, Repair)>)> {
        let mut statement = connection.prepare_cached(&self.tidying.rows)?;
        let mut rows = statement.query(params![after, limit, seconds(task.now)])?;
        let (mut looked, mut repairs) = (Looked::default(), Vec::new());
        while let Some(row) = rows.next()? {
            looked.rows += 1;
            looked.last = row.get(0)?;
            let key = StoreKey::stored(&looked.last);
            if let Some(repair) = task.repair(self.tidying.kind, &key, row)? {
                repairs.push((key, repair));
            }
        }
        Ok((looked, repairs))
    }
}

impl Task {
    /// What has to be done about this session. Nothing about one that the registry has as it is, that has expired, which
    /// the sweep removes, or that nobody can read.
    fn repair(&self, kind: TableKind, key: &StoreKey, row: &Row<'_>) -> rusqlite::Result<Option<Repair>> {
        let (Some(end), Ok(document)) = (row.get::<_, Option<i64>>(1)?, row.get_ref(2)?.as_str()) else {
            return Ok(None);
        };
        let Ok(beside) = Beside::of(kind, row, 5) else { return Ok(None) };
        let Ok(mut record) = layout::record(key, document, end, beside, self.now) else { return Ok(None) };
        record.cut_off = self.everyone.as_ref().map(|everyone| everyone.cut_off);
        if let Some(user_key) = &self.user_key {
            record.owner_is_under(user_key);
        }
        let (known, is_over): (Option<String>, bool) = (row.get(3)?, row.get(4)?);
        if known.is_none() && (is_over || record.is_cut_off()) {
            return Ok(Some(Repair::Remove));
        }
        if known.as_deref() == record.owner.as_ref().map(UserId::as_str) {
            return Ok(None);
        }
        // Without random bytes for its handle a device waits for the next time.
        Ok(record.device(DeviceFacts::default()).ok().map(|device| Repair::Follow(device.map(Box::new))))
    }
}
