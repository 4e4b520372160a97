//! Taking sessions out, a page at a time: each kind in the order of its primary key, so a page costs what a page costs.

use std::time::SystemTime;

use rusqlite::{Connection, Params, Row, params};
use sessile_core::{Error, Piece, Place, StoreKey, TableKind, UserId};
use tracing::warn;

use crate::failure;
use crate::layout::{Beside, Layout, piece};
use crate::lists::Entry;
use crate::registry_table::Tables;
use crate::statements::Statements;
use crate::table::quoted;
use crate::times::{from_millis, read, seconds};

/// The queries.
pub(crate) struct Export {
    kind: TableKind,
    sessions: String,
    devices: String,
    owners: String,
    moves: String,
}

/// Rows that were read, and what came of them.
#[derive(Default)]
struct Read {
    pieces: Vec<Piece>,
    rows: u32,
    last: Option<Box<str>>,
}

impl Export {
    pub(crate) fn on(tables: &Tables) -> Self {
        let [session, registry, cut_offs, moves] =
            [&tables.session, &tables.registry, &tables.cut_offs, &tables.moves].map(|name| quoted(name));
        let Layout { kind, key, end, .. } = &tables.layout;
        Self {
            kind: *kind,
            sessions: format!(
                "SELECT {key}, {}, unixepoch({end}){} FROM {session}
                   WHERE {key} > ?1 AND typeof({key}) = 'text' AND unixepoch({end}) >= ?3 ORDER BY {key} LIMIT ?2",
                tables.layout.text(""),
                tables.layout.beside("")
            ),
            devices: format!(
                "SELECT {}, r.sid FROM {registry} AS r WHERE r.id > ?1 ORDER BY r.id LIMIT ?2",
                Entry::columns()
            ),
            owners: format!(
                "SELECT user_id, {} FROM {cut_offs} WHERE user_id > ?1 AND not_before IS NOT NULL
                 ORDER BY user_id LIMIT ?2",
                read("not_before")
            ),
            moves: format!(
                "SELECT sid, moved_to, {} FROM {moves} WHERE sid > ?1 ORDER BY sid LIMIT ?2",
                read("moved_at")
            ),
        }
    }

    pub(crate) fn all(&self) -> [&str; 4] {
        let Self { sessions, devices, owners, moves, .. } = self;
        [sessions, devices, owners, moves]
    }

    fn sessions(&self, connection: &Connection, after: &str, now: SystemTime, limit: u32) -> rusqlite::Result<Read> {
        read_rows(connection, &self.sessions, params![after, limit, seconds(now)], |row| {
            let Ok(document) = row.get_ref(1)?.as_str() else { return Ok(None) };
            let key = StoreKey::stored(row.get_ref(0)?.as_str()?);
            Ok(piece(key, document, row.get(2)?, Beside::of(self.kind, row, 3)?, now).ok())
        })
    }

    fn devices(&self, connection: &Connection, after: &str, limit: u32) -> rusqlite::Result<Read> {
        read_rows(connection, &self.devices, params![after, limit], |row| {
            let key: Option<String> = row.get(Entry::COLUMNS)?;
            let key = key.map(|key| StoreKey::stored(&key));
            Ok(Entry::of(row)?.device().map(|device| Piece::Device(key, device)))
        })
    }

    fn owners(&self, connection: &Connection, after: &str, limit: u32) -> rusqlite::Result<Read> {
        read_rows(connection, &self.owners, params![after, limit], |row| {
            let (owner, before): (String, Option<i64>) = (row.get(0)?, row.get(1)?);
            Ok(before.map(|before| Piece::OwnerCutOff(UserId::from(owner), from_millis(before))))
        })
    }

    fn moves(&self, connection: &Connection, after: &str, limit: u32) -> rusqlite::Result<Read> {
        read_rows(connection, &self.moves, params![after, limit], |row| {
            let (to, at): (String, Option<i64>) = (row.get(1)?, row.get(2)?);
            let from = StoreKey::stored(row.get_ref(0)?.as_str()?);
            Ok(at.map(|at| Piece::Moved(from, StoreKey::stored(&to), from_millis(at))))
        })
    }
}

/// What cannot be read stays where it is, as it is for every request.
fn read_rows(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    piece: impl Fn(&Row<'_>) -> rusqlite::Result<Option<Piece>>,
) -> rusqlite::Result<Read> {
    let mut statement = connection.prepare_cached(sql)?;
    let (mut rows, mut read) = (statement.query(values)?, Read::default());
    let mut unreadable = 0_u32;
    while let Some(row) = rows.next()? {
        read.rows += 1;
        read.last = Some(row.get(0)?);
        match piece(row) {
            Ok(Some(piece)) if piece.check().is_ok() => read.pieces.push(piece),
            _ => unreadable += 1,
        }
    }
    if unreadable > 0 {
        warn!(rows = unreadable, "rows that cannot be read were left out of an export");
    }
    Ok(read)
}

impl Statements {
    /// [`Transfer::export`](sessile_core::Transfer::export).
    pub(crate) fn export(
        &self,
        connection: &Connection,
        from: &Place,
        now: SystemTime,
        limit: u32,
    ) -> Result<(Vec<Piece>, Option<Place>), Error> {
        let (limit, after) = (limit.max(1), from.after.as_deref().unwrap_or_default());
        let read = match from.kind {
            0 => self.export.sessions(connection, after, now, limit),
            1 => self.export.devices(connection, after, limit),
            2 => self.export.owners(connection, after, limit),
            3 => self.export_everyone(connection),
            4 => self.export.moves(connection, after, limit),
            _ => return Ok((Vec::new(), None)),
        };
        let Read { pieces, rows, last } = read.map_err(failure::of)?;
        let next = if rows < limit { next_kind(from.kind) } else { Some(Place { kind: from.kind, after: last }) };
        Ok((pieces, next))
    }

    fn export_everyone(&self, connection: &Connection) -> rusqlite::Result<Read> {
        let everyone = self.tidying.everyone(connection)?;
        let pieces = everyone.map(|everyone| Piece::CutOff(everyone.cut_off, everyone.ending)).into_iter().collect();
        Ok(Read { pieces, ..Read::default() })
    }
}

fn next_kind(kind: u8) -> Option<Place> {
    (kind < 4).then_some(Place { kind: kind + 1, after: None })
}
