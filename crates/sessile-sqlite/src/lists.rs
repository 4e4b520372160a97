//! What is asked of the registry: lists of devices, and what became of a session. These queries run on the
//! [readers](crate::readers).
//!
//! Each list goes through an index that holds a user's rows in the order of the list and no other rows, so a page costs
//! what a page costs, however many sessions a user has or had.

use std::time::SystemTime;

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension as _, Params, Row, ToSql, params, params_from_iter};
use sessile_core::{
    Cursor, Device, DeviceFacts, End, EndedSession, Ending, Error, Fate, Handle, Page, Search, Status, StoreKey, UserId,
};

use crate::failure;
use crate::layout::Layout;
use crate::registry_table::Tables;
use crate::table::quoted;
use crate::times::{from_millis, millis, read, seconds, text};

/// An operator may end a session by its status alone.
pub(crate) const ENDED_AT: &str = "coalesce(r.logged_out_at, r.updated_at)";

/// The queries.
pub(crate) struct Lists {
    pub(crate) live: String,
    find: String,
    pub(crate) history: String,
    moved_to: String,
    ended_under: String,
    key: String,
    /// What a search begins with: the columns and the table.
    search: String,
    /// What it says of sessions that live; `?` is the time.
    lives: String,
    /// And what a count does.
    count: String,
}

/// A row as it lies there. A time is `None` where it cannot be read, or is not there.
pub(crate) struct Entry {
    id: String,
    owner: String,
    ip: Option<String>,
    facts: DeviceFacts,
    created_at: Option<i64>,
    authenticated_at: Option<i64>,
    last_seen_at: Option<i64>,
    expires_at: Option<i64>,
    requests: Option<i64>,
    status: String,
    ended_at: Option<i64>,
    reason: Option<Box<str>>,
}

impl Lists {
    pub(crate) fn on(tables: &Tables) -> Self {
        let (registry, moves) = (quoted(&tables.registry), quoted(&tables.moves));
        let (entry, Layout { key, end, .. }) = (Entry::columns(), &tables.layout);
        Self {
            live: format!(
                "SELECT {entry} FROM {} AND r.user_id = ?1 AND (r.created_at, r.id) < {}
                 ORDER BY r.created_at DESC, r.id DESC LIMIT ?5",
                tables.live(2),
                cursor(3, 4)
            ),
            find: format!("SELECT {entry} FROM {} AND r.id = ?1 AND r.user_id = ?3", tables.live(2)),
            history: format!(
                "SELECT {entry} FROM {registry} AS r
                 WHERE r.status <> 'active' AND r.user_id = ?1 AND (r.logged_out_at, r.id) < {}
                 ORDER BY r.logged_out_at DESC, r.id DESC LIMIT ?4",
                cursor(2, 3)
            ),
            key: format!("SELECT sid FROM {registry} WHERE id = ?1 AND sid IS NOT NULL"),
            search: format!("SELECT {entry} FROM {registry} AS r WHERE "),
            lives: format!(
                "r.status = 'active' AND NOT {}
                   AND EXISTS (SELECT 1 FROM {} AS s WHERE s.{key} = r.sid AND unixepoch(s.{end}) >= ?)",
                tables.is_ended_with_everyone(),
                quoted(&tables.session)
            ),
            count: format!("SELECT count(*) FROM {registry} AS r WHERE true"),
            moved_to: format!("SELECT moved_to, {} FROM {moves} WHERE sid = ?1 AND moved_to <> ?1", read("moved_at")),
            ended_under: format!(
                "SELECT {entry} FROM {registry} AS r WHERE r.sid = ?1 AND r.status <> 'active'
                 ORDER BY r.logged_out_at DESC LIMIT 1"
            ),
        }
    }

    pub(crate) fn all(&self) -> [&str; 6] {
        let Self { live, find, history, moved_to, ended_under, key, .. } = self;
        [live, find, history, moved_to, ended_under, key]
    }

    pub(crate) fn key(&self, connection: &Connection, handle: &Handle) -> Result<Option<StoreKey>, Error> {
        let key = |row: &Row<'_>| row.get::<_, String>(0).map(|sid| StoreKey::stored(&sid));
        let mut statement = connection.prepare_cached(&self.key).map_err(failure::of)?;
        statement.query_row([handle.as_str()], key).optional().map_err(failure::of)
    }

    /// Of networks SQLite knows nothing, so addresses are compared here.
    pub(crate) fn search(
        &self,
        connection: &Connection,
        search: &Search,
        now: SystemTime,
        page: &Page,
    ) -> Result<Vec<Device>, Error> {
        let (at, handle) = begin(page.after.as_ref());
        let begin = format!("{}(r.created_at, r.id) < {}", self.search, cursor(1, 2));
        let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(at), Box::new(handle.map(str::to_owned))];
        let sql = self.conditions(begin, &mut values, search, now) + " ORDER BY r.created_at DESC, r.id DESC";
        let mut statement = connection.prepare_cached(&sql).map_err(failure::of)?;
        let mut rows = statement.query(params_from_iter(&values)).map_err(failure::of)?;
        let mut found = Vec::new();
        while found.len() < page.limit as usize
            && let Some(row) = rows.next().map_err(failure::of)?
        {
            let device = Entry::of(row).map_err(failure::of)?.device().ok_or_else(unreadable)?;
            let is_there = |network: IpNet| device.facts.ip.is_some_and(|ip| network.contains(&ip));
            if search.network.is_none_or(is_there) {
                found.push(device);
            }
        }
        Ok(found)
    }

    pub(crate) fn count(&self, connection: &Connection, search: &Search, now: SystemTime) -> Result<u64, Error> {
        if search.network.is_some() {
            let all = Page::first(u32::MAX);
            return Ok(self.search(connection, search, now, &all)?.len() as u64);
        }
        let mut values = Vec::new();
        let sql = self.conditions(self.count.clone(), &mut values, search, now);
        let mut statement = connection.prepare_cached(&sql).map_err(failure::of)?;
        let count: i64 = statement.query_row(params_from_iter(&values), |row| row.get(0)).map_err(failure::of)?;
        Ok(count.try_into().unwrap_or_default())
    }

    /// A statement with what is asked for, and nothing else, so that SQLite can choose the index for it.
    fn conditions(
        &self,
        mut sql: String,
        values: &mut Vec<Box<dyn ToSql>>,
        search: &Search,
        now: SystemTime,
    ) -> String {
        let mut and = |condition: &str, value: Box<dyn ToSql>| {
            values.push(value);
            sql.push_str(" AND ");
            sql.push_str(&condition.replace('?', &format!("?{}", values.len())));
        };
        if let Some(handle) = &search.handle {
            and("r.id = ?", Box::new(handle.as_str().to_owned()));
        }
        if let Some(owner) = &search.owner {
            and("r.user_id = ?", Box::new(owner.as_str().to_owned()));
        }
        let time = text(0).replace("?0", "?");
        if let Some(since) = search.since {
            and(&format!("r.created_at >= {time}"), Box::new(millis(since)));
        }
        if let Some(before) = search.before {
            and(&format!("coalesce(r.authenticated_at, r.created_at) < {time}"), Box::new(millis(before)));
        }
        match search.status {
            None => {}
            Some(Status::Live) => and(&self.lives, Box::new(seconds(now))),
            Some(Status::Ended) => and("r.status <> ?", Box::new("active")),
            Some(Status::EndedBy(end)) => and("r.status = ?", Box::new(end.as_str())),
        }
        sql
    }

    pub(crate) fn find(
        &self,
        connection: &Connection,
        owner: &UserId,
        handle: &Handle,
        now: SystemTime,
    ) -> Result<Option<Device>, Error> {
        let values = params![handle.as_str(), seconds(now), owner.as_str()];
        Ok(devices(connection, &self.find, values)?.pop())
    }

    pub(crate) fn live(
        &self,
        connection: &Connection,
        owner: &UserId,
        now: SystemTime,
        page: &Page,
    ) -> Result<Vec<Device>, Error> {
        let (at, handle) = begin(page.after.as_ref());
        devices(connection, &self.live, params![owner.as_str(), seconds(now), at, handle, page.limit])
    }

    pub(crate) fn history(&self, connection: &Connection, owner: &UserId, page: &Page) -> Result<Vec<Device>, Error> {
        let (at, handle) = begin(page.after.as_ref());
        devices(connection, &self.history, params![owner.as_str(), at, handle, page.limit])
    }

    pub(crate) fn fate(&self, connection: &Connection, key: &StoreKey) -> Result<Option<Fate>, Error> {
        let moved = self.moved_to(connection, key).map_err(failure::of)?;
        if moved.is_some() {
            return Ok(moved);
        }
        let device = devices(connection, &self.ended_under, [key.as_str()])?.pop();
        Ok(device.and_then(|Device { handle, owner, facts, ended, .. }| {
            Some(Fate::Ended(EndedSession { handle, owner, ip: facts.ip }, ended?))
        }))
    }

    fn moved_to(&self, connection: &Connection, key: &StoreKey) -> rusqlite::Result<Option<Fate>> {
        let moved = |row: &Row<'_>| {
            let to: String = row.get(0)?;
            Ok(Fate::Moved { to: StoreKey::stored(&to), at: from_millis(row.get(1)?) })
        };
        connection.prepare_cached(&self.moved_to)?.query_row([key.as_str()], moved).optional()
    }
}

/// SQL: where a page begins, as text. The first one begins after every time and every handle.
fn cursor(at: u8, handle: u8) -> String {
    format!("(coalesce({}, '~'), coalesce(?{handle}, '~'))", text(at))
}

/// The parameters of [`cursor`].
fn begin(after: Option<&Cursor>) -> (Option<i64>, Option<&str>) {
    (after.map(|cursor| millis(cursor.at)), after.map(|cursor| cursor.handle.as_str()))
}

fn devices(connection: &Connection, sql: &str, values: impl Params) -> Result<Vec<Device>, Error> {
    let entries =
        || -> rusqlite::Result<Vec<Entry>> { connection.prepare_cached(sql)?.query_map(values, Entry::of)?.collect() };
    let devices = entries().map_err(failure::of)?.into_iter().map(Entry::device);
    devices.collect::<Option<_>>().ok_or_else(unreadable)
}

fn unreadable() -> Error {
    Error::poisoned(
        "expected a row of the registry to have a handle, times as YYYY-MM-DD HH:MM:SS.SSS and a known status, \
         found something else",
    )
}

impl Entry {
    /// How many [columns](Entry::columns) there are.
    pub(crate) const COLUMNS: usize = 15;

    /// SQL: the columns of the row `r` of the registry, as [`of`](Entry::of) reads them.
    pub(crate) fn columns() -> String {
        let [created, authenticated, seen, expires, ended] =
            ["r.created_at", "r.authenticated_at", "r.last_seen_at", "r.expires_at", ENDED_AT].map(read);
        format!(
            "r.id, r.user_id, r.ip_address, r.user_agent, r.device, r.auth_method, {created}, {authenticated}, {seen}, \
             {expires}, r.status, {ended}, r.end_reason, r.provider_session, CAST(r.requests AS INTEGER)"
        )
    }

    pub(crate) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            owner: row.get(1)?,
            ip: row.get(2)?,
            facts: DeviceFacts {
                ip: None,
                user_agent: row.get(3)?,
                device: row.get(4)?,
                auth_method: row.get(5)?,
                provider_session: row.get(13)?,
            },
            created_at: row.get(6)?,
            authenticated_at: row.get(7)?,
            last_seen_at: row.get(8)?,
            expires_at: row.get(9)?,
            requests: row.get(14)?,
            status: row.get(10)?,
            ended_at: row.get(11)?,
            reason: row.get(12)?,
        })
    }

    /// `None` when the row cannot be understood.
    pub(crate) fn device(self) -> Option<Device> {
        let ended = match (self.status.as_str(), self.ended_at) {
            ("active", _) => None,
            (word, Some(at)) => Some(Ending { end: End::parse(word)?, at: from_millis(at), reason: self.reason }),
            (_, None) => return None,
        };
        Some(Device {
            handle: Handle::parse(&self.id)?,
            owner: UserId::from(self.owner),
            facts: DeviceFacts { ip: self.ip.and_then(|ip| ip.parse().ok()), ..self.facts },
            created_at: from_millis(self.created_at?),
            authenticated_at: self.authenticated_at.map(from_millis),
            last_seen_at: from_millis(self.last_seen_at?),
            expires_at: from_millis(self.expires_at?),
            requests: self.requests.and_then(|count| count.try_into().ok()).unwrap_or_default(),
            ended,
        })
    }
}
