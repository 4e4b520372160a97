//! Figures: how many sessions, how old, how large, and what happened when. Each looks at every row, so they run
//! [aside](crate::aside).

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use sessile_core::{End, Error, Interval, Stats, Storage, StoreStats, UserId};

use crate::failure;
use crate::layout::Layout;
use crate::lists::ENDED_AT;
use crate::registry_table::Tables;
use crate::store::SqliteStore;
use crate::table::quoted;
use crate::times::{from_seconds, millis, read, seconds};

/// How many minutes ahead ends are counted.
const MINUTES: usize = 60;

/// The queries.
pub(crate) struct Figures {
    rows: String,
    p99: String,
    expiring: String,
    owners: String,
    storage: String,
    names: [String; 7],
    before: String,
    signed_in_at: String,
    ended_at: String,
}

/// Whose the sessions are that the registry knows and that lie there.
#[derive(Default)]
struct Owners {
    /// How many live.
    sessions: u64,
    /// Who has the most of them.
    most: Vec<(UserId, u64)>,
    /// How many more everyone's cut-off ended.
    cut_off: u64,
}

impl Figures {
    pub(crate) fn on(tables: &Tables) -> Self {
        let [session, registry] = [&tables.session, &tables.registry].map(|name| quoted(name));
        let Layout { document, end, .. } = &tables.layout;
        let (created, ended, is_over) = (read("r.created_at"), read(ENDED_AT), tables.is_ended_with_everyone());
        Self {
            rows: format!(
                "SELECT count(*) FILTER (WHERE e >= ?1), count(*) FILTER (WHERE e < ?1), min(e), max(e), count(*), coalesce(sum(n), 0)
                   FROM (SELECT unixepoch({end}) AS e, octet_length({document}) AS n FROM {session})"
            ),
            p99: format!("SELECT octet_length({document}) FROM {session} ORDER BY 1 LIMIT 1 OFFSET ?1"),
            expiring: format!(
                "SELECT (unixepoch({end}) - ?1) / 60, count(*) FROM {session}
                   WHERE unixepoch({end}) >= ?1 AND unixepoch({end}) < ?1 + 60 * ?2 GROUP BY 1"
            ),
            owners: format!(
                "SELECT r.user_id, count(*) FILTER (WHERE NOT {is_over}), count(*) FILTER (WHERE {is_over})
                 FROM {} GROUP BY r.user_id ORDER BY r.user_id",
                tables.live(1)
            ),
            // `dbstat` knows how many pages each table and index has.
            storage:
                "SELECT coalesce(sum(d.pgsize) FILTER (WHERE s.type = 'table' AND s.tbl_name = ?1 COLLATE NOCASE), 0), \
                        coalesce(sum(d.pgsize) FILTER (WHERE s.type = 'index' AND s.tbl_name = ?1 COLLATE NOCASE), 0), \
                        coalesce(sum(d.pgsize) FILTER \
                          (WHERE s.tbl_name COLLATE NOCASE IN (?1, ?2, ?3, ?4, ?5, ?6, ?7)), 0) \
                      FROM sqlite_schema AS s CROSS JOIN dbstat AS d ON d.name = s.name WHERE d.aggregate = TRUE"
                    .into(),
            names: tables.all(),
            before: format!(
                "SELECT count(*) FROM {registry} AS r WHERE {created} < ?1 AND (r.status = 'active' OR {ended} >= ?1)"
            ),
            signed_in_at: format!(
                "SELECT (c - ?1) / ?2, count(*) FROM (SELECT {created} AS c FROM {registry} AS r)
                 WHERE c >= ?1 AND c < ?3 GROUP BY 1"
            ),
            ended_at: format!(
                "SELECT (e - ?1) / ?2, status, count(*)
                 FROM (SELECT {ended} AS e, r.status FROM {registry} AS r WHERE r.status <> 'active')
                 WHERE e >= ?1 AND e < ?3 GROUP BY 1, 2"
            ),
        }
    }

    fn stats(&self, connection: &Connection, now: SystemTime, top: u32) -> rusqlite::Result<StoreStats> {
        let (mut stats, rows) = self.count_rows(connection, now)?;
        let owners = self.owners(connection, now, top)?;
        stats.active = stats.active.saturating_sub(owners.cut_off);
        (stats.signed_in, stats.top_owners) = (owners.sessions, owners.most);
        stats.p99_bytes = self.p99(connection, rows)?;
        stats.expiring = self.expiring(connection, now)?;
        stats.storage = Some(self.storage(connection).or_else(|_| whole_file(connection))?);
        Ok(stats)
    }

    /// What one look at the rows tells, and how many there are.
    fn count_rows(&self, connection: &Connection, now: SystemTime) -> rusqlite::Result<(StoreStats, u64)> {
        let time = |row: &Row<'_>, column| row.get(column).map(|time: Option<i64>| time.map(from_seconds));
        connection.prepare(&self.rows)?.query_row([seconds(now)], |row| {
            let rows = count(row, 4)?;
            let stats = StoreStats {
                active: count(row, 0)?,
                expired: count(row, 1)?,
                oldest_expiry: time(row, 2)?,
                newest_expiry: time(row, 3)?,
                average_bytes: count(row, 5)?.checked_div(rows),
                ..StoreStats::default()
            };
            Ok((stats, rows))
        })
    }

    fn p99(&self, connection: &Connection, rows: u64) -> rusqlite::Result<Option<u64>> {
        let place = i64::try_from((rows * 99).div_ceil(100).saturating_sub(1)).unwrap_or(i64::MAX);
        connection.prepare(&self.p99)?.query_map([place], |row| count(row, 0))?.next().transpose()
    }

    fn expiring(&self, connection: &Connection, now: SystemTime) -> rusqlite::Result<Vec<u64>> {
        let mut expiring = vec![0; MINUTES];
        let mut statement = connection.prepare(&self.expiring)?;
        let mut rows = statement.query(params![seconds(now), MINUTES as i64])?;
        while let Some(row) = rows.next()? {
            if let Some(minute) = expiring.get_mut(count(row, 0)? as usize) {
                *minute = count(row, 1)?;
            }
        }
        Ok(expiring)
    }

    /// How many sessions all users have, and those who have the most. The users come by name, one at a time.
    fn owners(&self, connection: &Connection, now: SystemTime, top: u32) -> rusqlite::Result<Owners> {
        let mut owners = Owners::default();
        let mut statement = connection.prepare(&self.owners)?;
        let mut rows = statement.query([seconds(now)])?;
        while let Some(row) = rows.next()? {
            let own = count(row, 1)?;
            owners.sessions += own;
            owners.cut_off += count(row, 2)?;
            let place = owners.most.partition_point(|(_, others)| *others >= own);
            if own > 0 && place < top as usize {
                owners.most.insert(place, (UserId::from(row.get::<_, String>(0)?), own));
                owners.most.truncate(top as usize);
            }
        }
        Ok(owners)
    }

    fn storage(&self, connection: &Connection) -> rusqlite::Result<Storage> {
        connection.prepare(&self.storage)?.query_row(rusqlite::params_from_iter(&self.names), |row| {
            let (table_bytes, index_bytes, total_bytes) = (count(row, 0)?, count(row, 1)?, count(row, 2)?);
            Ok(Storage { table_bytes, index_bytes, total_bytes, ..Storage::default() })
        })
    }

    fn timeline(
        &self,
        connection: &Connection,
        mut spans: Vec<Interval>,
        ends: [i64; 3],
    ) -> rusqlite::Result<Vec<Interval>> {
        let mut statement = connection.prepare(&self.signed_in_at)?;
        let mut rows = statement.query(ends)?;
        while let Some(row) = rows.next()? {
            if let Some(span) = spans.get_mut(count(row, 0)? as usize) {
                span.signed_in = count(row, 1)?;
            }
        }
        let mut statement = connection.prepare(&self.ended_at)?;
        let mut rows = statement.query(ends)?;
        while let Some(row) = rows.next()? {
            let (number, status) = (count(row, 0)? as usize, row.get::<_, String>(1)?);
            if let (Some(span), Some(end)) = (spans.get_mut(number), End::parse(&status)) {
                span.add_ends(end, count(row, 2)?);
            }
        }
        let before = connection.prepare(&self.before)?.query_row([ends[0]], |row| count(row, 0))?;
        Interval::add_up(&mut spans, before);
        Ok(spans)
    }
}

/// A number that is not negative.
pub(crate) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// Where SQLite was built without `dbstat` only the file can be measured: everything counts as the table.
fn whole_file(connection: &Connection) -> rusqlite::Result<Storage> {
    let number = |name| connection.pragma_query_value(None, name, |row| count(row, 0));
    let bytes = number("page_count")?.saturating_sub(number("freelist_count")?) * number("page_size")?;
    Ok(Storage { table_bytes: bytes, total_bytes: bytes, ..Storage::default() })
}

#[async_trait]
impl Stats for SqliteStore {
    async fn stats(&self, now: SystemTime, top: u32) -> Result<StoreStats, Error> {
        self.look(move |statements, connection| {
            // One transaction: the figures are of one moment.
            connection.execute_batch("BEGIN").map_err(failure::of)?;
            statements.figures.stats(connection, now, top).map_err(failure::of)
        })
        .await
    }

    async fn timeline(&self, from: SystemTime, step: Duration, count: u32) -> Result<Vec<Interval>, Error> {
        let (spans, end) = Interval::spans(from, step, count);
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1);
        let ends = [millis(from), step, millis(end)];
        self.look(move |statements, connection| {
            connection.execute_batch("BEGIN").map_err(failure::of)?;
            statements.figures.timeline(connection, spans, ends).map_err(failure::of)
        })
        .await
    }
}
