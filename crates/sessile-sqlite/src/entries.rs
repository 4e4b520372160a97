//! The rows of the registry: the SQL that writes them, and what its answers mean. Like that of the
//! [sessions](crate::rows), each function is one statement inside a transaction of the [writer](crate::writer).

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension as _, Params, Row, ToSql, params};
use sessile_core::{Device, EndedSession, Ending, Handle, Seen, StoreKey, UserId};

use crate::registry_table::Tables;
use crate::table::quoted;
use crate::times::{from_millis, millis, read, seconds, text};

/// The statements that write to the registry, and those that tell what to write.
pub(crate) struct Entries {
    put: String,
    known: String,
    is_over: String,
    pub(crate) known_under: String,
    moved: String,
    follow: String,
    give_way: String,
    end_one: String,
    end_under: String,
    end_own: String,
    end_all: String,
    pub(crate) end_from: String,
    count: String,
    oldest: String,
    cut_off: String,
    is_cut_off: String,
    seen: String,
}

/// A row that ended.
pub(crate) struct Ended {
    /// `None` for a row whose id is no handle: it ends like the others, but cannot be named.
    pub(crate) session: Option<EndedSession>,
    /// The key of the session, which has to go.
    pub(crate) sid: Option<String>,
    created_at: String,
}

impl Ended {
    /// Its place among others, the oldest first.
    fn place(&self) -> (&str, Option<&Handle>) {
        (&self.created_at, self.session.as_ref().map(|session| &session.handle))
    }
}

/// Which active rows end as logged out, while the session that they were for goes on without them.
pub(crate) struct GiveWay<'a> {
    pub(crate) under: &'a StoreKey,
    /// This one too, whatever its key.
    pub(crate) also: Option<&'a Handle>,
    /// Not this one.
    pub(crate) but: Option<&'a Handle>,
    /// The dead key that they stand for from here on, if there is one.
    pub(crate) tombstone: Option<&'a StoreKey>,
    pub(crate) at: SystemTime,
}

impl<'a> GiveWay<'a> {
    /// Whoever was signed in under this key, which lives on.
    pub(crate) fn former(under: &'a StoreKey, at: SystemTime) -> Self {
        Self { under, also: None, but: None, tombstone: None, at }
    }
}

impl Entries {
    pub(crate) fn on(tables: &Tables) -> Self {
        let [registry, cut_offs, moves] = [&tables.registry, &tables.cut_offs, &tables.moves].map(|name| quoted(name));
        let end = |which: &str| {
            format!(
                "UPDATE {registry} AS r SET status = ?1, logged_out_at = {at}, updated_at = {at}, end_reason = ?3
                 WHERE status = 'active' AND {which} RETURNING id, user_id, ip_address, sid, created_at",
                at = text(2)
            )
        };
        Self {
            put: format!(
                "INSERT INTO {registry} (id, sid, user_id, ip_address, user_agent, device, auth_method, provider_session,
                   created_at, authenticated_at, last_seen_at, updated_at, expires_at, status)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?12, {created}, {authenticated}, {seen}, {seen}, {expires}, 'active')
                 ON CONFLICT (id) DO UPDATE SET sid = excluded.sid, user_id = excluded.user_id,
                   ip_address = excluded.ip_address, user_agent = excluded.user_agent, device = excluded.device,
                   auth_method = coalesce(excluded.auth_method, auth_method),
                   provider_session = coalesce(excluded.provider_session, provider_session),
                   created_at = excluded.created_at,
                   authenticated_at = excluded.authenticated_at, last_seen_at = excluded.last_seen_at,
                   updated_at = excluded.updated_at, expires_at = excluded.expires_at,
                   status = 'active', logged_out_at = NULL, end_reason = NULL",
                created = text(8),
                authenticated = text(9),
                seen = text(10),
                expires = text(11)
            ),
            known: format!("SELECT status = 'active', {} FROM {registry} WHERE id = ?1", read("created_at")),
            is_over: format!(
                "SELECT NOT EXISTS (SELECT 1 FROM {registry} WHERE sid = ?1 AND status = 'active')
                   AND (EXISTS (SELECT 1 FROM {registry} WHERE sid = ?1) OR EXISTS (SELECT 1 FROM {moves} WHERE sid = ?1))"
            ),
            // The plus sign keeps SQLite from looking through all of the user's sessions.
            known_under: format!("SELECT id FROM {registry} WHERE sid = ?1 AND +user_id = ?2 AND status = 'active'"),
            moved: format!(
                "INSERT INTO {moves} (sid, moved_to, moved_at) VALUES (?1, ?2, {})
                 ON CONFLICT (sid) DO UPDATE SET moved_to = excluded.moved_to, moved_at = excluded.moved_at",
                text(3)
            ),
            follow: format!(
                "UPDATE {registry} SET sid = ?2, updated_at = {} WHERE sid = ?1 AND status = 'active'",
                text(3)
            ),
            give_way: format!(
                "UPDATE {registry} SET status = 'logged_out', logged_out_at = {at}, updated_at = {at}, sid = ?4
                 WHERE status = 'active' AND (sid = ?1 OR id = ?2) AND id IS NOT ?3
                 RETURNING id, user_id, ip_address, sid, created_at",
                at = text(5)
            ),
            end_one: end("id = ?4"),
            end_under: end("sid = ?4"),
            end_own: end(&format!("id = ?4 AND user_id = ?5 AND {}", tables.is_alive(6))),
            end_all: end(&format!("user_id = ?4 AND id IS NOT ?5 AND {}", tables.is_alive(6))),
            end_from: end(&format!("provider_session = ?4 AND {}", tables.is_alive(5))),
            count: format!(
                "SELECT count(*) FROM {} AND r.user_id = ?1 AND r.id <> ?2 AND r.sid IS NOT ?4",
                tables.live(3)
            ),
            oldest: format!(
                "SELECT r.id FROM {} AND r.user_id = ?1 AND r.id <> ?2 ORDER BY r.created_at, r.id LIMIT ?4",
                tables.live(3)
            ),
            cut_off: format!(
                "INSERT INTO {cut_offs} (user_id, not_before, status, ended_at, end_reason)
                 VALUES (?1, {before}, ?3, {at}, ?5)
                 ON CONFLICT (user_id) DO UPDATE SET not_before = excluded.not_before, swept = 0,
                   status = excluded.status, ended_at = excluded.ended_at, end_reason = excluded.end_reason
                 WHERE not_before IS NULL OR {in_force} < ?2",
                before = text(2),
                at = text(4),
                in_force = read("not_before")
            ),
            is_cut_off: format!(
                "SELECT {} > ?2 FROM {cut_offs} WHERE user_id IN ('', ?1) AND not_before IS NOT NULL",
                read("not_before")
            ),
            seen: format!(
                "UPDATE {registry} SET requests = coalesce(requests, 0) + ?4,
                   last_seen_at = iif({later}, {at}, last_seen_at), updated_at = iif({later}, {at}, updated_at),
                   expires_at = iif({later}, {expires}, expires_at)
                 WHERE id = ?1 AND (?4 > 0 OR {later})",
                at = text(2),
                expires = text(3),
                later = format_args!("status = 'active' AND last_seen_at < {}", text(2))
            ),
        }
    }

    pub(crate) fn all(&self) -> [&str; 17] {
        let Self {
            put,
            known,
            is_over,
            known_under,
            moved,
            follow,
            give_way,
            end_one,
            end_under,
            end_own,
            end_all,
            ..
        } = self;
        let Self { end_from, count, oldest, cut_off, is_cut_off, seen, .. } = self;
        [
            put,
            known,
            is_over,
            known_under,
            moved,
            follow,
            give_way,
            end_one,
            end_under,
            end_own,
            end_all,
            end_from,
            count,
            oldest,
            cut_off,
            is_cut_off,
            seen,
        ]
    }

    /// The session under this key is this active row, whatever stood there before.
    pub(crate) fn put(&self, connection: &Connection, key: &StoreKey, device: &Device) -> rusqlite::Result<()> {
        let facts = &device.facts;
        let values = params![
            device.handle.as_str(),
            key.as_str(),
            device.owner.as_str(),
            facts.ip.map(|ip| ip.to_string()),
            facts.user_agent,
            facts.device,
            facts.auth_method,
            millis(device.created_at),
            device.authenticated_at.map(millis),
            millis(device.last_seen_at),
            millis(device.expires_at),
            facts.provider_session,
        ];
        connection.prepare_cached(&self.put)?.execute(values).map(drop)
    }

    /// Whether the row with this handle is active, and when it was made; `None` when there is none.
    pub(crate) fn known(
        &self,
        connection: &Connection,
        handle: &Handle,
    ) -> rusqlite::Result<Option<(bool, SystemTime)>> {
        let known = |row: &Row<'_>| Ok((row.get(0)?, from_millis(row.get(1)?)));
        connection.prepare_cached(&self.known)?.query_row([handle.as_str()], known).optional()
    }

    /// Whether what lies under this key was brought back: a session that was there has ended, or has another key now.
    pub(crate) fn is_over(&self, connection: &Connection, key: &StoreKey) -> rusqlite::Result<bool> {
        connection.prepare_cached(&self.is_over)?.query_row([key.as_str()], |row| row.get(0))
    }

    /// The handle of the owner's active row under this key.
    pub(crate) fn known_under(
        &self,
        connection: &Connection,
        key: &StoreKey,
        owner: &UserId,
    ) -> rusqlite::Result<Option<Handle>> {
        let mut known = connection.prepare_cached(&self.known_under)?;
        let id: Option<String> = known.query_row([key.as_str(), owner.as_str()], |row| row.get(0)).optional()?;
        Ok(id.as_deref().and_then(Handle::parse))
    }

    /// Follows a session to another key.
    pub(crate) fn follow(
        &self,
        connection: &Connection,
        from: &StoreKey,
        to: &StoreKey,
        at: SystemTime,
    ) -> rusqlite::Result<()> {
        for sql in [&self.moved, &self.follow] {
            connection.prepare_cached(sql)?.execute(params![from.as_str(), to.as_str(), millis(at)])?;
        }
        Ok(())
    }

    /// Ends these rows, and leaves their sessions where they are.
    pub(crate) fn give_way(&self, connection: &Connection, which: &GiveWay<'_>) -> rusqlite::Result<Vec<EndedSession>> {
        let values = params![
            which.under.as_str(),
            which.also.map(Handle::as_str),
            which.but.map(Handle::as_str),
            which.tombstone.map(StoreKey::as_str),
            millis(which.at)
        ];
        Ok(self.end(connection, &self.give_way, values)?.into_iter().filter_map(|ended| ended.session).collect())
    }

    pub(crate) fn end_one(&self, connection: &Connection, id: &str, ending: &Ending) -> rusqlite::Result<Vec<Ended>> {
        let Ending { end, at, reason } = ending;
        self.end(connection, &self.end_one, params![end.as_str(), millis(*at), reason, id])
    }

    pub(crate) fn end_under(
        &self,
        connection: &Connection,
        sid: impl ToSql,
        ending: &Ending,
    ) -> rusqlite::Result<Vec<Ended>> {
        let Ending { end, at, reason } = ending;
        self.end(connection, &self.end_under, params![end.as_str(), millis(*at), reason, sid])
    }

    /// The owner's row with this handle, if its session is alive.
    pub(crate) fn end_own(
        &self,
        connection: &Connection,
        owner: &UserId,
        handle: &Handle,
        ending: &Ending,
    ) -> rusqlite::Result<Vec<Ended>> {
        let Ending { end, at, reason } = ending;
        let which = (handle.as_str(), owner.as_str(), seconds(*at));
        self.end(connection, &self.end_own, params![end.as_str(), millis(*at), reason, which.0, which.1, which.2])
    }

    /// The owner's rows whose sessions are alive, but for one.
    pub(crate) fn end_all(
        &self,
        connection: &Connection,
        owner: &UserId,
        keep: Option<&Handle>,
        ending: &Ending,
    ) -> rusqlite::Result<Vec<Ended>> {
        let Ending { end, at, reason } = ending;
        let which = (owner.as_str(), keep.map(Handle::as_str), seconds(*at));
        self.end(connection, &self.end_all, params![end.as_str(), millis(*at), reason, which.0, which.1, which.2])
    }

    /// The rows that were signed in from this session of a provider and whose sessions are alive.
    pub(crate) fn end_from(
        &self,
        connection: &Connection,
        provider_session: &str,
        ending: &Ending,
    ) -> rusqlite::Result<Vec<Ended>> {
        let Ending { end, at, reason } = ending;
        let values = params![end.as_str(), millis(*at), reason, provider_session, seconds(*at)];
        self.end(connection, &self.end_from, values)
    }

    /// What this statement ended, the oldest first.
    fn end(&self, connection: &Connection, sql: &str, values: impl Params) -> rusqlite::Result<Vec<Ended>> {
        let mut statement = connection.prepare_cached(sql)?;
        let mut ended: Vec<_> = statement.query_map(values, ended)?.collect::<Result<_, _>>()?;
        ended.sort_by(|one, other| one.place().cmp(&other.place()));
        Ok(ended)
    }

    /// How many sessions of the owner are alive, but for the one with this handle and the one under this key.
    pub(crate) fn count(
        &self,
        connection: &Connection,
        owner: &UserId,
        but: (&Handle, Option<&StoreKey>),
        now: SystemTime,
    ) -> rusqlite::Result<u32> {
        let values = params![owner.as_str(), but.0.as_str(), seconds(now), but.1.map(StoreKey::as_str)];
        connection.prepare_cached(&self.count)?.query_row(values, |row| row.get(0))
    }

    /// The ids of so many of the owner's live sessions, the oldest first, but for this one.
    pub(crate) fn oldest(
        &self,
        connection: &Connection,
        owner: &UserId,
        but: &Handle,
        now: SystemTime,
        limit: u32,
    ) -> rusqlite::Result<Vec<String>> {
        let values = params![owner.as_str(), but.as_str(), seconds(now), limit];
        connection.prepare_cached(&self.oldest)?.query_map(values, |row| row.get(0))?.collect()
    }

    /// Cuts off sign-ins of this user, or of [everyone](crate::registry::EVERYONE), from before this time, in milliseconds.
    pub(crate) fn cut_off(
        &self,
        connection: &Connection,
        user: &str,
        before: i64,
        ending: &Ending,
    ) -> rusqlite::Result<()> {
        let Ending { end, at, reason } = ending;
        let values = params![user, before, end.as_str(), millis(*at), reason];
        connection.prepare_cached(&self.cut_off)?.execute(values).map(drop)
    }

    /// Whether a sign-in of this user, whose credentials were presented at this time, does not count any more.
    pub(crate) fn is_cut_off(
        &self,
        connection: &Connection,
        owner: &UserId,
        presented: SystemTime,
    ) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare_cached(&self.is_cut_off)?;
        let mut answers = statement.query_map(params![owner.as_str(), millis(presented)], |row| row.get(0))?;
        answers.try_fold(false, |is_cut_off, answer: rusqlite::Result<bool>| Ok(answer? || is_cut_off))
    }

    /// What was used. Requests are added to a session that has ended, too; nothing else of it changes.
    pub(crate) fn seen(&self, connection: &Connection, seen: &Seen) -> rusqlite::Result<()> {
        let requests = i64::try_from(seen.requests).unwrap_or(i64::MAX);
        let values = params![seen.handle.as_str(), millis(seen.at), millis(seen.expires_at), requests];
        connection.prepare_cached(&self.seen)?.execute(values).map(drop)
    }
}

fn ended(row: &Row<'_>) -> rusqlite::Result<Ended> {
    let (id, owner, ip): (String, String, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let session = Handle::parse(&id).map(|handle| EndedSession {
        handle,
        owner: UserId::from(owner),
        ip: ip.and_then(|ip| ip.parse().ok()),
    });
    Ok(Ended { session, sid: row.get(3)?, created_at: row.get(4)? })
}
