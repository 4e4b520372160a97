//! Putting sessions in: a call is one [whole](crate::writer::whole) write on the thread that writes, so what it asks and what
//! it changes belong together. The rules are those of [`Transfer`].

use std::time::SystemTime;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use sessile_core::{
    CutOff, Device, End, Ending, Error, Imported, Piece, Place, StoreKey, TableKind, Transfer, UserId, Written,
};
use tracing::debug;

use crate::failure;
use crate::figures::count;
use crate::registry::EVERYONE;
use crate::registry_table::Tables;
use crate::statements::Statements;
use crate::store::SqliteStore;
use crate::table::quoted;
use crate::times::{millis, millis_up, read, text};

/// How much of the file is kept in memory while sessions come in: 64 MiB, negative because SQLite would count pages else.
const CACHE_KIB: i32 = -65_536;

/// How long the write-ahead log may get meanwhile before a call puts it back into the file: 128 MiB, and that call.
const LOG_PAGES: u32 = 32_768;

/// What is left of the log, in bytes, once it went back and the next write began it anew: as much as at other times.
const LOG_LEFT: u32 = 4 * 1024 * 1024;

/// The statements.
pub(crate) struct Import {
    device: String,
    is_taken: String,
    cut_off: String,
    moved: String,
    size: String,
}

impl Import {
    pub(crate) fn on(tables: &Tables) -> Self {
        let [session, registry, cut_offs, moves] =
            [&tables.session, &tables.registry, &tables.cut_offs, &tables.moves].map(|name| quoted(name));
        let [created, authenticated, seen, expires, ended] = [8, 9, 10, 11, 14].map(text);
        Self {
            device: format!(
                "INSERT INTO {registry} (id, sid, user_id, ip_address, user_agent, device, auth_method, provider_session,
                   created_at, authenticated_at, last_seen_at, updated_at, expires_at, status, logged_out_at, end_reason,
                   requests)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?12, {created}, {authenticated}, {seen}, coalesce({ended}, {seen}),
                   {expires}, ?13, {ended}, ?15, ?16)"
            ),
            is_taken: format!("SELECT 1 FROM {registry} WHERE sid = ?1 AND status = 'active'"),
            cut_off: format!(
                "INSERT INTO {cut_offs} (user_id, not_before, swept, status, ended_at, end_reason)
                 VALUES (?1, {before}, ?3, ?4, {at}, ?6)
                 ON CONFLICT (user_id) DO UPDATE SET not_before = excluded.not_before, swept = excluded.swept,
                   status = excluded.status, ended_at = excluded.ended_at, end_reason = excluded.end_reason
                 WHERE not_before IS NULL OR {in_force} < ?2",
                before = text(2),
                at = text(5),
                in_force = read("not_before")
            ),
            moved: format!(
                "INSERT INTO {moves} (sid, moved_to, moved_at) VALUES (?1, ?2, {}) ON CONFLICT (sid) DO NOTHING",
                text(3)
            ),
            size: format!("SELECT (SELECT count(*) FROM {session}) + (SELECT count(*) FROM {registry})"),
        }
    }

    pub(crate) fn all(&self) -> [&str; 4] {
        let Self { device, is_taken, cut_off, moved, .. } = self;
        [device, is_taken, cut_off, moved]
    }

    /// The handle is free.
    fn device(&self, connection: &Connection, key: Option<&StoreKey>, device: &Device) -> rusqlite::Result<()> {
        let (facts, ended) = (&device.facts, device.ended.as_ref());
        let values = params![
            device.handle.as_str(),
            key.map(StoreKey::as_str),
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
            ended.map_or("active", |ending| ending.end.as_str()),
            ended.map(|ending| millis(ending.at)),
            ended.and_then(|ending| ending.reason.as_deref()),
            i64::try_from(device.requests).unwrap_or(i64::MAX),
        ];
        connection.prepare_cached(&self.device)?.execute(values).map(drop)
    }

    /// Whether somebody is signed in under this key.
    fn is_taken(&self, connection: &Connection, key: &StoreKey) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare_cached(&self.is_taken)?;
        Ok(statement.query_row([key.as_str()], |_| Ok(())).optional()?.is_some())
    }

    /// Whether it is later than the one in force.
    fn cut_off(&self, connection: &Connection, user: &str, cut_off: CutOff, ending: &Ending) -> rusqlite::Result<bool> {
        let Ending { end, at, reason } = ending;
        let values = params![user, millis_up(cut_off.before), cut_off.swept, end.as_str(), millis(*at), reason];
        Ok(connection.prepare_cached(&self.cut_off)?.execute(values)? == 1)
    }

    fn moved(&self, connection: &Connection, from: &StoreKey, to: &StoreKey, at: SystemTime) -> rusqlite::Result<bool> {
        let values = params![from.as_str(), to.as_str(), millis(at)];
        Ok(connection.prepare_cached(&self.moved)?.execute(values)? == 1)
    }
}

impl Statements {
    fn import_all(&self, connection: &Connection, pieces: &[Piece]) -> rusqlite::Result<Imported> {
        make_room(connection)?;
        let mut imported = Imported::default();
        for piece in pieces {
            let count = if self.take(connection, piece)? { &mut imported.written } else { &mut imported.present };
            *count += 1;
        }
        Ok(imported)
    }

    /// Whether the piece was written.
    fn take(&self, connection: &Connection, piece: &Piece) -> rusqlite::Result<bool> {
        match piece {
            Piece::Session { key, document, expires_at } => {
                // It was checked before, so this says yes.
                let row = self.rows.moved(key, document, *expires_at);
                let row = row.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
                Ok(!self.entries.is_over(connection, key)? && self.rows.insert(connection, key, &row)? == Written::Done)
            }
            Piece::Device(key, device) => match (&device.ended, key) {
                (Some(ending), _) => self.take_ended(connection, key.as_ref(), device, ending),
                (None, Some(key)) => self.take_live(connection, key, device),
                (None, None) => Ok(false),
            },
            Piece::OwnerCutOff(owner, before) => self.take_owner_cut_off(connection, owner, *before),
            Piece::CutOff(cut_off, ending) => self.import.cut_off(connection, EVERYONE, *cut_off, ending),
            Piece::Moved(from, to, at) => self.take_move(connection, from, to, *at),
        }
    }

    fn take_ended(
        &self,
        connection: &Connection,
        key: Option<&StoreKey>,
        device: &Device,
        ending: &Ending,
    ) -> rusqlite::Result<bool> {
        let is_new = match self.entries.known(connection, &device.handle)? {
            None => self.import.device(connection, key, device).map(|()| true)?,
            Some((false, _)) => false,
            Some((true, _)) => {
                let ended = self.entries.end_one(connection, device.handle.as_str(), ending)?;
                self.remove_all(connection, ended)?;
                true
            }
        };
        if let Some(key) = key
            && !self.import.is_taken(connection, key)?
        {
            self.rows.remove(connection, key.as_str())?;
        }
        Ok(is_new)
    }

    fn take_live(&self, connection: &Connection, key: &StoreKey, device: &Device) -> rusqlite::Result<bool> {
        let is_known =
            self.entries.known(connection, &device.handle)?.is_some() || self.import.is_taken(connection, key)?;
        let is_cut_off = !is_known && self.entries.is_cut_off(connection, &device.owner, device.began())?;
        if is_cut_off || self.entries.is_over(connection, key)? {
            self.rows.remove(connection, key.as_str())?;
            return Ok(false);
        }
        if !is_known {
            self.import.device(connection, Some(key), device)?;
        }
        Ok(!is_known)
    }

    fn take_owner_cut_off(
        &self,
        connection: &Connection,
        owner: &UserId,
        before: SystemTime,
    ) -> rusqlite::Result<bool> {
        if owner.as_str() == EVERYONE {
            return Ok(false);
        }
        let ending = Ending { end: End::Revoked, at: before, reason: None };
        self.import.cut_off(connection, owner.as_str(), CutOff { before, swept: false }, &ending)
    }

    fn take_move(
        &self,
        connection: &Connection,
        from: &StoreKey,
        to: &StoreKey,
        at: SystemTime,
    ) -> rusqlite::Result<bool> {
        let is_new = self.import.moved(connection, from, to, at)?;
        if is_new {
            self.entries.follow(connection, from, to, at)?;
            self.rows.remove(connection, from.as_str())?;
        }
        Ok(is_new)
    }
}

/// Keys come in no order, so a call touches pages all over the indexes. Without room for them SQLite would write each of
/// them several times, and again into the file after each call. A process that imports keeps the room until it closes the
/// store.
fn make_room(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_LEFT)
}

/// Puts the log back that an import let grow. When another program has the file open, closing it does not.
pub(crate) fn put_log_back(connection: &Connection) {
    let pages = connection.pragma_query_value(None, "wal_autocheckpoint", |row| row.get::<_, u32>(0));
    let is_long = pages.is_ok_and(|pages| pages == LOG_PAGES);
    if is_long && let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        debug!(%error, "the write-ahead log was not put back into the SQLite file");
    }
}

#[async_trait]
impl Transfer for SqliteStore {
    async fn has_owner_column(&self) -> Result<bool, Error> {
        Ok(self.statements().rows.kind == TableKind::Columns)
    }

    async fn export(&self, from: &Place, now: SystemTime, limit: u32) -> Result<(Vec<Piece>, Option<Place>), Error> {
        let from = from.clone();
        self.look(move |statements, connection| statements.export(connection, &from, now, limit)).await
    }

    async fn import(&self, pieces: &[Piece]) -> Result<Imported, Error> {
        pieces.iter().try_for_each(Piece::check)?;
        let pieces = pieces.to_vec();
        self.write_whole(move |statements, connection| statements.import_all(connection, &pieces)).await
    }

    async fn size(&self) -> Result<u64, Error> {
        let size = |statements: &Statements, connection: &Connection| {
            connection.query_row(&statements.import.size, [], |row| count(row, 0)).map_err(failure::of)
        };
        self.look(size).await
    }
}
