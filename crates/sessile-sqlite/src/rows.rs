//! The sessions themselves: the SQL, and what its answers mean. Every function is one statement, or one and a look at why
//! it changed nothing, and runs inside a transaction of the [writer](crate::writer), so that nothing comes between the
//! two.
//!
//! A row is alive while its end, `expire` or `expires_at`, is `>= now`, in whole seconds rounded up, as connect-pg-simple has it. Writes compare through
//! `unixepoch`, so that rows of other programs count whichever of SQLite's time formats they use; the sweep compares the
//! text first, because that is what the index holds.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, ToSql, params};
use sessile_core::{CutOff, Error, Record, StoreKey, TableKind, UserId, Written};

use crate::change::Change;
use crate::failure;
use crate::layout::{self, Beside, Layout};
use crate::registry_table::Tables;
use crate::table::quoted;
use crate::times::{from_millis, read, seconds};

/// The statements on the session table.
pub(crate) struct Rows {
    pub(crate) kind: TableKind,
    load: String,
    insert: String,
    update: String,
    rotate: String,
    touch: String,
    remove: String,
    /// Where a column says whose a session is.
    unknown_of: Option<String>,
    is_alive: String,
    pub(crate) sweep: String,
}

/// A row as it lies there. A time is `None` where it cannot be read.
struct Found {
    end: Option<i64>,
    document: String,
    beside: Option<Beside>,
    /// Everyone's cut-off, and whether it is swept.
    cut_off: Option<(Option<i64>, bool)>,
}

impl Rows {
    pub(crate) fn on(tables: &Tables) -> Self {
        let (table, cut_offs) = (quoted(&tables.session), quoted(&tables.cut_offs));
        let (layout, not_before) = (&tables.layout, read("c.not_before"));
        let Layout { kind, key, document, end, .. } = layout;
        let [beside_names, beside_values] = layout.inserted(4, 5);
        let as_text = layout.text("");
        Self {
            kind: *kind,
            load: format!(
                "SELECT unixepoch(s.{end}), {}, c.not_before IS NOT NULL, {not_before}, c.swept{}
                   FROM {table} AS s LEFT JOIN {cut_offs} AS c ON c.user_id = '' WHERE s.{key} = ?1{}",
                layout.text("s."),
                layout.beside("s."),
                layout.but_endless("s.")
            ),
            insert: format!(
                "INSERT INTO {table} ({key}, {document}, {end}{beside_names})
                   VALUES (?1, ?2, datetime(?3, 'unixepoch'){beside_values}) ON CONFLICT ({key}) DO NOTHING"
            ),
            update: format!(
                "UPDATE {table} SET {document} = ?2, {end} = datetime(?3, 'unixepoch'){}
                   WHERE {key} = ?1 AND {as_text} = ?4 AND unixepoch({end}) >= ?5{}",
                layout.set_owner(6),
                layout.and_same_owner(7)
            ),
            rotate: format!(
                "UPDATE OR IGNORE {table} SET {key} = ?6, {document} = ?2, {end} = datetime(?3, 'unixepoch'){}{}
                   WHERE {key} = ?1 AND {as_text} = ?4 AND unixepoch({end}) >= ?5{}",
                layout.set_owner(7),
                layout.set_created_at(9),
                layout.and_same_owner(8)
            ),
            touch: format!(
                "UPDATE {table} SET {end} = datetime(?2, 'unixepoch')
                   WHERE {key} = ?1 AND unixepoch({end}) >= ?3"
            ),
            remove: format!("DELETE FROM {table} WHERE {key} = ?1"),
            unknown_of: (*kind == TableKind::Columns).then(|| {
                let registry = quoted(&tables.registry);
                format!(
                    "SELECT s.{key} FROM {table} AS s WHERE s.user_id = ?1 AND unixepoch(s.{end}) >= ?2 AND NOT EXISTS (
                       SELECT 1 FROM {registry} WHERE sid = s.{key} AND +user_id = ?1 AND status = 'active')"
                )
            }),
            is_alive: format!("SELECT 1 FROM {table} WHERE {key} = ?1 AND unixepoch({end}) >= ?2"),
            sweep: format!(
                "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table}
                   WHERE {end} < datetime(?1, 'unixepoch') AND unixepoch({end}) < ?1 LIMIT ?2) RETURNING {key}"
            ),
        }
    }

    pub(crate) fn all(&self) -> Vec<&str> {
        let Self { load, insert, update, rotate, touch, remove, is_alive, sweep, .. } = self;
        let all = [load, insert, update, rotate, touch, remove, is_alive, sweep];
        all.into_iter().chain(&self.unknown_of).map(String::as_str).collect()
    }

    /// What has to be written for this record.
    pub(crate) fn change(&self, record: &Record) -> Change {
        Change::of(self.kind, record)
    }

    /// What has to be written for a session that comes from another store.
    pub(crate) fn moved(&self, key: &StoreKey, document: &Arc<str>, expires_at: SystemTime) -> Result<Change, Error> {
        Change::moved(self.kind, key, document, expires_at)
    }

    pub(crate) fn load(
        &self,
        connection: &Connection,
        key: &StoreKey,
        now: SystemTime,
    ) -> Result<Option<Record>, Error> {
        let Some(found) = self.found(connection, key, now).map_err(failure::of)? else { return Ok(None) };
        let no_time =
            |what: &str| Error::poisoned(format!("expected {what} to be YYYY-MM-DD HH:MM:SS, found something else"));
        let Some(end) = found.end else { return Err(no_time(&format!("the row's `{}`", layout::end_name(self.kind)))) };
        // No session may outlive a cut-off unnoticed.
        let cut_off = match found.cut_off {
            Some((None, _)) => return Err(no_time("`not_before` of everyone's cut-off")),
            Some((Some(before), swept)) => Some(CutOff { before: from_millis(before), swept }),
            None => None,
        };
        let mut record = layout::record(key, found.document, end, found.beside, now)?;
        record.cut_off = cut_off;
        Ok(Some(record))
    }

    /// The row, unless it has expired.
    fn found(&self, connection: &Connection, key: &StoreKey, now: SystemTime) -> rusqlite::Result<Option<Found>> {
        let mut statement = connection.prepare_cached(&self.load)?;
        let mut rows = statement.query([key.as_str()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let end: Option<i64> = row.get(0)?;
        if end.is_some_and(|end| end < seconds(now)) {
            return Ok(None);
        }
        let there_is_a_cut_off: bool = row.get(2)?;
        let cut_off = if there_is_a_cut_off { Some((row.get(3)?, row.get(4)?)) } else { None };
        Ok(Some(Found { end, document: row.get(1)?, beside: Beside::of(self.kind, row, 5)?, cut_off }))
    }

    pub(crate) fn insert(&self, connection: &Connection, key: &StoreKey, row: &Change) -> rusqlite::Result<Written> {
        let inserted = connection.prepare_cached(&self.insert)?.execute(&*row.inserted(&key.as_str()))?;
        Ok(if inserted == 1 { Written::Done } else { Written::Stale })
    }

    pub(crate) fn update(&self, connection: &Connection, key: &StoreKey, row: &Change) -> rusqlite::Result<Written> {
        match connection.prepare_cached(&self.update)?.execute(&*row.updated(&key.as_str()))? {
            0 => self.why_unchanged(connection, key, row),
            _ => Ok(Written::Done),
        }
    }

    /// The session alone. The registry has to follow.
    pub(crate) fn rotate(
        &self,
        connection: &Connection,
        from: &StoreKey,
        to: &StoreKey,
        row: &Change,
    ) -> rusqlite::Result<Written> {
        let (old, new) = (from.as_str(), to.as_str());
        match connection.prepare_cached(&self.rotate)?.execute(&*row.rotated(&old, &new))? {
            0 => self.why_unchanged(connection, from, row),
            _ => Ok(Written::Done),
        }
    }

    pub(crate) fn touch(
        &self,
        connection: &Connection,
        key: &StoreKey,
        seen_at: SystemTime,
        expires_at: SystemTime,
    ) -> rusqlite::Result<Written> {
        let values = params![key.as_str(), seconds(expires_at), seconds(seen_at)];
        let touched = connection.prepare_cached(&self.touch)?.execute(values)?;
        Ok(if touched == 1 { Written::Done } else { Written::Gone })
    }

    /// The session alone. The registry has to follow.
    pub(crate) fn remove(&self, connection: &Connection, sid: impl ToSql) -> rusqlite::Result<bool> {
        Ok(connection.prepare_cached(&self.remove)?.execute([sid])? == 1)
    }

    /// The keys of those of the user's live sessions that the registry does not know as theirs.
    pub(crate) fn unknown_of(
        &self,
        connection: &Connection,
        owner: &UserId,
        now: SystemTime,
    ) -> rusqlite::Result<Vec<StoreKey>> {
        let Some(unknown_of) = &self.unknown_of else { return Ok(Vec::new()) };
        let mut statement = connection.prepare_cached(unknown_of)?;
        let keys = statement.query_map(params![owner.as_str(), seconds(now)], |row| row.get::<_, Value>(0))?;
        let keys = keys.collect::<rusqlite::Result<Vec<_>>>()?.into_iter();
        // What is no text is no key.
        Ok(keys
            .filter_map(|key| if let Value::Text(key) = key { Some(StoreKey::stored(&key)) } else { None })
            .collect())
    }

    /// Removes what has expired, and gives its keys, whatever other programs made of them. The registry has to follow.
    pub(crate) fn sweep(&self, connection: &Connection, now: SystemTime, limit: u32) -> rusqlite::Result<Vec<Value>> {
        connection.prepare_cached(&self.sweep)?.query_map(params![seconds(now), limit], |row| row.get(0))?.collect()
    }

    pub(crate) fn is_alive(&self, connection: &Connection, key: &StoreKey, now: SystemTime) -> rusqlite::Result<bool> {
        self.is_alive_at(connection, key, seconds(now))
    }

    fn is_alive_at(&self, connection: &Connection, key: &StoreKey, now: i64) -> rusqlite::Result<bool> {
        let mut is_alive = connection.prepare_cached(&self.is_alive)?;
        Ok(is_alive.query_row(params![key.as_str(), now], |_| Ok(())).optional()?.is_some())
    }

    /// A session that is alive was not as it was read, or the key it should move to is taken.
    fn why_unchanged(&self, connection: &Connection, key: &StoreKey, row: &Change) -> rusqlite::Result<Written> {
        let is_alive = self.is_alive_at(connection, key, row.seen)?;
        Ok(if is_alive { Written::Stale } else { Written::Gone })
    }
}
