//! The sessions themselves: the SQL, and what its answers mean. Every function is one statement, or one and a look at why
//! it changed nothing, and runs inside a transaction of the [writer](crate::writer), so that nothing comes between the
//! two.
//!
//! A row is alive while `expire >= now`, in whole seconds rounded up, as connect-pg-simple has it. Writes compare through
//! `unixepoch`, so that rows of other programs count whichever of SQLite's time formats they use; the sweep compares the
//! text first, because that is what the index holds.

use std::time::SystemTime;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, ToSql, params};
use sessile_core::{CutOff, Error, Record, Revision, StoreKey, Written};

use crate::failure;
use crate::registry_table::Tables;
use crate::table::quoted;
use crate::times::{from_millis, from_seconds, read, seconds};

/// The statements on the session table.
pub(crate) struct Rows {
    load: String,
    insert: String,
    update: String,
    rotate: String,
    touch: String,
    remove: String,
    is_alive: String,
    pub(crate) sweep: String,
}

/// What an `update` or a `rotate` needs of a record.
pub(crate) struct Change {
    document: String,
    revision: Option<Revision>,
    seen: i64,
    expire: i64,
}

impl From<&Record> for Change {
    fn from(record: &Record) -> Self {
        Self {
            document: record.document(),
            revision: record.revision.clone(),
            seen: seconds(record.seen_at),
            expire: seconds(record.expires_at),
        }
    }
}

impl Change {
    /// A session that comes from another store.
    pub(crate) fn moved(document: &str, expires_at: SystemTime) -> Self {
        Self { document: document.into(), revision: None, seen: 0, expire: seconds(expires_at) }
    }

    /// NULL equals nothing, so a record that was never read replaces nothing.
    fn revision(&self) -> Option<&str> {
        self.revision.as_ref().map(Revision::as_str)
    }
}

/// A row as it lies there. A time is `None` where it cannot be read.
struct Found {
    expire: Option<i64>,
    document: String,
    /// Everyone's cut-off, and whether it is swept.
    cut_off: Option<(Option<i64>, bool)>,
}

impl Rows {
    pub(crate) fn on(tables: &Tables) -> Self {
        let (table, cut_offs) = (quoted(&tables.session), quoted(&tables.cut_offs));
        let not_before = read("c.not_before");
        Self {
            load: format!(
                r#"SELECT unixepoch(s."expire"), s."sess", c.not_before IS NOT NULL, {not_before}, c.swept
                   FROM {table} AS s LEFT JOIN {cut_offs} AS c ON c.user_id = '' WHERE s."sid" = ?1"#
            ),
            insert: format!(
                r#"INSERT INTO {table} ("sid", "sess", "expire") VALUES (?1, ?2, datetime(?3, 'unixepoch'))
                   ON CONFLICT ("sid") DO NOTHING"#
            ),
            update: format!(
                r#"UPDATE {table} SET "sess" = ?2, "expire" = datetime(?3, 'unixepoch')
                   WHERE "sid" = ?1 AND "sess" = ?4 AND unixepoch("expire") >= ?5"#
            ),
            rotate: format!(
                r#"UPDATE OR IGNORE {table} SET "sid" = ?6, "sess" = ?2, "expire" = datetime(?3, 'unixepoch')
                   WHERE "sid" = ?1 AND "sess" = ?4 AND unixepoch("expire") >= ?5"#
            ),
            touch: format!(
                r#"UPDATE {table} SET "expire" = datetime(?2, 'unixepoch')
                   WHERE "sid" = ?1 AND unixepoch("expire") >= ?3"#
            ),
            remove: format!(r#"DELETE FROM {table} WHERE "sid" = ?1"#),
            is_alive: format!(r#"SELECT 1 FROM {table} WHERE "sid" = ?1 AND unixepoch("expire") >= ?2"#),
            sweep: format!(
                r#"DELETE FROM {table} WHERE "sid" IN (SELECT "sid" FROM {table}
                   WHERE "expire" < datetime(?1, 'unixepoch') AND unixepoch("expire") < ?1 LIMIT ?2) RETURNING "sid""#
            ),
        }
    }

    pub(crate) fn all(&self) -> [&str; 8] {
        let Self { load, insert, update, rotate, touch, remove, is_alive, sweep } = self;
        [load, insert, update, rotate, touch, remove, is_alive, sweep]
    }

    pub(crate) fn load(
        &self,
        connection: &Connection,
        key: &StoreKey,
        now: SystemTime,
    ) -> Result<Option<Record>, Error> {
        let Some(found) = self.found(connection, key, now).map_err(failure::of)? else { return Ok(None) };
        let no_time =
            |what| Error::poisoned(format!("expected {what} to be YYYY-MM-DD HH:MM:SS, found something else"));
        let Some(expire) = found.expire else { return Err(no_time("the row's `expire`")) };
        // No session may outlive a cut-off unnoticed.
        let cut_off = match found.cut_off {
            Some((None, _)) => return Err(no_time("`not_before` of everyone's cut-off")),
            Some((Some(before), swept)) => Some(CutOff { before: from_millis(before), swept }),
            None => None,
        };
        let mut record = Record::stored(key, found.document, from_seconds(expire), now)?;
        record.cut_off = cut_off;
        Ok(Some(record))
    }

    /// The row, unless it has expired.
    fn found(&self, connection: &Connection, key: &StoreKey, now: SystemTime) -> rusqlite::Result<Option<Found>> {
        let mut statement = connection.prepare_cached(&self.load)?;
        let mut rows = statement.query([key.as_str()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let expire: Option<i64> = row.get(0)?;
        if expire.is_some_and(|expire| expire < seconds(now)) {
            return Ok(None);
        }
        let there_is_a_cut_off: bool = row.get(2)?;
        let cut_off = if there_is_a_cut_off { Some((row.get(3)?, row.get(4)?)) } else { None };
        Ok(Some(Found { expire, document: row.get(1)?, cut_off }))
    }

    pub(crate) fn insert(&self, connection: &Connection, key: &StoreKey, row: &Change) -> rusqlite::Result<Written> {
        let values = params![key.as_str(), row.document, row.expire];
        let inserted = connection.prepare_cached(&self.insert)?.execute(values)?;
        Ok(if inserted == 1 { Written::Done } else { Written::Stale })
    }

    pub(crate) fn update(&self, connection: &Connection, key: &StoreKey, row: &Change) -> rusqlite::Result<Written> {
        let values = params![key.as_str(), row.document, row.expire, row.revision(), row.seen];
        match connection.prepare_cached(&self.update)?.execute(values)? {
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
        let values = params![from.as_str(), row.document, row.expire, row.revision(), row.seen, to.as_str()];
        match connection.prepare_cached(&self.rotate)?.execute(values)? {
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
