//! The SQL, and what its answers mean. Every function is one statement, or one and a look at why it changed nothing, and
//! runs inside a transaction of the [writer](crate::writer), so that nothing comes between the two.
//!
//! A row is alive while `expire >= now`, in whole seconds rounded up, as connect-pg-simple has it. Writes compare through
//! `unixepoch`, so that rows of other programs count whichever of SQLite's time formats they use; the sweep compares the
//! text first, because that is what the index holds.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _, params};
use sessile_core::{Error, Record, Revision, StoreKey, Written};

use crate::failure;
use crate::table::quoted;

/// The statements on one table.
pub(crate) struct Statements {
    load: String,
    insert: String,
    update: String,
    rotate: String,
    touch: String,
    remove: String,
    remove_moved: String,
    is_alive: String,
    sweep: String,
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
    /// NULL equals nothing, so a record that was never read replaces nothing.
    fn revision(&self) -> Option<&str> {
        self.revision.as_ref().map(Revision::as_str)
    }
}

impl Statements {
    pub(crate) fn on(table: &str) -> Self {
        let table = quoted(table);
        Self {
            load: format!(r#"SELECT unixepoch("expire"), "sess" FROM {table} WHERE "sid" = ?1"#),
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
            remove_moved: format!(
                r#"DELETE FROM {table} WHERE "expire" BETWEEN datetime(?2, 'unixepoch') AND datetime(?3, 'unixepoch')
                   AND json_valid("sess") AND "sess" ->> '$.sessile.moved_from' = ?1
                   AND "sess" ->> '$.sessile.moved_at' >= ?4"#
            ),
            is_alive: format!(r#"SELECT 1 FROM {table} WHERE "sid" = ?1 AND unixepoch("expire") >= ?2"#),
            sweep: format!(
                r#"DELETE FROM {table} WHERE "sid" IN (SELECT "sid" FROM {table}
                   WHERE "expire" < datetime(?1, 'unixepoch') AND unixepoch("expire") < ?1 LIMIT ?2)"#
            ),
        }
    }

    /// Prepares every statement, so that a table on which one cannot run is found out at the start.
    pub(crate) fn prepare(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Self { load, insert, update, rotate, touch, remove, remove_moved, is_alive, sweep } = self;
        for sql in [load, insert, update, rotate, touch, remove, remove_moved, is_alive, sweep] {
            connection.prepare_cached(sql)?;
        }
        Ok(())
    }

    pub(crate) fn load(
        &self,
        connection: &Connection,
        key: &StoreKey,
        now: SystemTime,
    ) -> Result<Option<Record>, Error> {
        let Some((expire, document)) = self.row(connection, key, now).map_err(failure::of)? else { return Ok(None) };
        let Some(expire) = expire else {
            return Err(Error::poisoned("expected the row's `expire` to be YYYY-MM-DD HH:MM:SS, found something else"));
        };
        Record::stored(key, document, time(expire), now).map(Some)
    }

    /// The row as it lies there, unless it has expired. The end is `None` where it is not a time.
    fn row(
        &self,
        connection: &Connection,
        key: &StoreKey,
        now: SystemTime,
    ) -> rusqlite::Result<Option<(Option<i64>, String)>> {
        let mut statement = connection.prepare_cached(&self.load)?;
        let mut rows = statement.query([key.as_str()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let expire: Option<i64> = row.get(0)?;
        if expire.is_some_and(|expire| expire < seconds(now)) {
            return Ok(None);
        }
        Ok(Some((expire, row.get(1)?)))
    }

    pub(crate) fn insert(&self, connection: &Connection, key: &StoreKey, row: &Change) -> rusqlite::Result<Written> {
        let values = params![key.as_str(), row.document, row.expire];
        let inserted = connection.prepare_cached(&self.insert)?.execute(values)?;
        Ok(if inserted == 1 { Written::Done } else { Written::Stale })
    }

    pub(crate) fn update(&self, connection: &Connection, key: &StoreKey, row: &Change) -> rusqlite::Result<Written> {
        let values = params![key.as_str(), row.document, row.expire, row.revision(), row.seen];
        match connection.prepare_cached(&self.update)?.execute(values)? {
            0 => self.why_unchanged(connection, key, row.seen),
            _ => Ok(Written::Done),
        }
    }

    pub(crate) fn rotate(
        &self,
        connection: &Connection,
        from: &StoreKey,
        to: &StoreKey,
        row: &Change,
    ) -> rusqlite::Result<Written> {
        let values = params![from.as_str(), row.document, row.expire, row.revision(), row.seen, to.as_str()];
        match connection.prepare_cached(&self.rotate)?.execute(values)? {
            0 => self.why_unchanged(connection, from, row.seen),
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

    pub(crate) fn remove(&self, connection: &Connection, key: &StoreKey) -> rusqlite::Result<bool> {
        Ok(connection.prepare_cached(&self.remove)?.execute([key.as_str()])? == 1)
    }

    pub(crate) fn remove_moved(
        &self,
        connection: &Connection,
        moved_from: &str,
        since: SystemTime,
        ends: &RangeInclusive<SystemTime>,
    ) -> rusqlite::Result<bool> {
        let values = params![moved_from, seconds(*ends.start()), seconds(*ends.end()), millis(since)];
        Ok(connection.prepare_cached(&self.remove_moved)?.execute(values)? > 0)
    }

    pub(crate) fn sweep(&self, connection: &Connection, now: SystemTime, limit: u32) -> rusqlite::Result<u64> {
        let removed = connection.prepare_cached(&self.sweep)?.execute(params![seconds(now), limit])?;
        Ok(removed as u64)
    }

    /// A session that is alive was not as it was read, or the key it should move to is taken.
    fn why_unchanged(&self, connection: &Connection, key: &StoreKey, seen: i64) -> rusqlite::Result<Written> {
        let mut is_alive = connection.prepare_cached(&self.is_alive)?;
        let alive = is_alive.query_row(params![key.as_str(), seen], |_| Ok(())).optional()?;
        Ok(if alive.is_some() { Written::Stale } else { Written::Gone })
    }
}

/// Seconds since 1970, rounded up, within the years that SQLite's times can show (0 to 9999).
fn seconds(time: SystemTime) -> i64 {
    const YEAR_0: i64 = -62_167_219_200;
    const END_OF_9999: i64 = 253_402_300_799;
    let whole = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since).saturating_add(i64::from(since.subsec_nanos() > 0)),
        Err(before) => -whole(before.duration()),
    };
    seconds.clamp(YEAR_0, END_OF_9999)
}

fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn time(seconds: i64) -> SystemTime {
    let span = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_and_kept_within_what_sqlite_can_show() {
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        for (millis, expected) in [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(seconds(at(millis)), expected);
        }
        assert_eq!(seconds(UNIX_EPOCH - Duration::from_millis(1_500)), -1);
        assert_eq!(seconds(UNIX_EPOCH + Duration::from_secs(1 << 40)), 253_402_300_799);
        assert_eq!(time(seconds(at(61_000))), at(61_000));
        assert_eq!(time(-2), UNIX_EPOCH - Duration::from_secs(2));
    }
}
