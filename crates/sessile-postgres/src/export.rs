//! Taking sessions out, to move them to another store: page after page by primary key, so that a table of any size is read
//! in constant memory and each page costs the same.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use sessile_core::{CutOff, End, Ending, Error, Imported, Piece, Place, StoreKey, TableKind, Transfer, UserId};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::PostgresStore;
use crate::columns::Columns;
use crate::private::Private;
use crate::rows::{DEVICE_COLUMNS, count, device, device_columns, get};
use crate::sql::Names;
use crate::stored::Stored;
use crate::time::{moment, whole_seconds};
use crate::transaction::Values;

/// How long a statement may take: a page may have many expired rows in its way.
const PATIENCE: Duration = Duration::from_secs(60);

/// A table with more rows than this is not counted.
const LARGE: u32 = 100_000;

/// How many kinds of pieces there are.
const KINDS: u8 = 5;

/// What is before every handle there can be. Any text is after the empty one.
const FIRST_HANDLE: &str = "00000000-0000-0000-0000-000000000000";

/// The statement for the next pieces of a kind. Each row begins with its place.
fn next(names: &Names, kind: u8) -> String {
    let Names { data, registry, cutoffs, moves, columns, .. } = names;
    let Columns { key, document, end, .. } = columns;
    match kind {
        0 => format!(
            "SELECT {key}::text, {document}::text, date_part('epoch', {end}::timestamptz){} FROM {data} s \
             WHERE {key} > $1 AND {end} >= to_timestamp($3) ORDER BY {key} LIMIT $2",
            columns.read_beside("s")
        ),
        // Who ends a session by hand may forget to say when, and must not bring it back to life.
        1 => format!(
            "SELECT {}, r.sid FROM ( \
               SELECT id, sid, user_id, ip_address, user_agent, device, auth_method, created_at, authenticated_at, \
                 last_seen_at, expires_at, status, end_reason, provider_session, \
                 CASE WHEN status <> 'active' THEN coalesce(logged_out_at, updated_at) END AS logged_out_at{} \
               FROM {registry}) r \
             WHERE r.id > $1::text::uuid ORDER BY r.id LIMIT $2",
            device_columns(names),
            if names.counts { ", requests" } else { "" }
        ),
        2 => format!(
            "SELECT user_id, date_part('epoch', not_before) FROM {cutoffs} \
             WHERE user_id > $1 AND not_before IS NOT NULL ORDER BY user_id LIMIT $2"
        ),
        3 => format!(
            "SELECT user_id, date_part('epoch', not_before), swept, date_part('epoch', coalesce(revoked_at, not_before)), \
               end_reason \
             FROM {cutoffs} WHERE user_id = $1 AND not_before IS NOT NULL LIMIT $2"
        ),
        _ => format!(
            "SELECT sid::text, moved_to::text, date_part('epoch', moved_at) FROM {moves} \
             WHERE sid > $1 ORDER BY sid LIMIT $2"
        ),
    }
}

/// The piece in a row; `None` for a session that cannot be read.
fn piece(table: TableKind, kind: u8, row: &Row, now: SystemTime) -> Result<Option<Piece>, Error> {
    let key = |at| get::<&str>(row, at).map(StoreKey::stored);
    let piece = match kind {
        0 => return Ok(Stored::read(table, row, 1, 2).and_then(|stored| stored.piece(key(0)?, now)).ok()),
        1 => Piece::Device(get::<Option<&str>>(row, DEVICE_COLUMNS)?.map(StoreKey::stored), device(row)?),
        2 => Piece::OwnerCutOff(UserId::from(get::<&str>(row, 0)?), moment(get(row, 1)?)),
        3 => {
            let reason = get::<Option<&str>>(row, 4)?.map(Box::from);
            let ending = Ending { end: End::Revoked, at: moment(get(row, 3)?), reason };
            Piece::CutOff(CutOff { before: moment(get(row, 1)?), swept: get(row, 2)? }, ending)
        }
        _ => Piece::Moved(key(0)?, key(1)?, moment(get(row, 2)?)),
    };
    Ok(Some(piece))
}

/// Where the pieces after these begin.
fn place_after(from: &Place, rows: &[Row], limit: u32) -> Result<Option<Place>, Error> {
    match rows.last() {
        Some(last) if from.kind != 3 && rows.len() == limit as usize => {
            Ok(Some(Place { kind: from.kind, after: Some(get::<&str>(last, 0)?.into()) }))
        }
        _ => Ok(Some(Place { kind: from.kind + 1, after: None }).filter(|next| next.kind < KINDS)),
    }
}

#[async_trait]
impl Transfer for PostgresStore {
    async fn export(&self, from: &Place, now: SystemTime, limit: u32) -> Result<(Vec<Piece>, Option<Place>), Error> {
        let names = &self.table().await?.names;
        let sql = next(names, from.kind);
        let first = if from.kind == 1 { FIRST_HANDLE } else { "" };
        let after = Private(from.after.as_deref().unwrap_or(first));
        let (limit_, alive) = (i64::from(limit), whole_seconds(now));
        let mut values: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&after, Type::TEXT), (&limit_, Type::INT8)];
        if from.kind == 0 {
            values.push((&alive, Type::FLOAT8));
        }
        let [rows] = self.together(PATIENCE, [(&sql, &values)]).await?;
        let pieces = rows.iter().filter_map(|row| piece(names.columns.kind, from.kind, row, now).transpose());
        Ok((pieces.collect::<Result<_, _>>()?, place_after(from, &rows, limit)?))
    }

    async fn has_owner_column(&self) -> Result<bool, Error> {
        Ok(self.table().await?.names.columns.kind == TableKind::Columns)
    }

    async fn import(&self, pieces: &[Piece]) -> Result<Imported, Error> {
        self.imports(pieces).await
    }

    async fn size(&self) -> Result<u64, Error> {
        let Names { data, registry, .. } = &self.table().await?.names;
        let sql = size(data, registry);
        let names: Values<'_> = &[(data, Type::TEXT), (registry, Type::TEXT)];
        let [rows] = self.together(PATIENCE, [(&sql, names)]).await?;
        count(&rows, 0)
    }
}

/// Counts rows; of a large table the server's estimate will do.
fn size(data: &str, registry: &str) -> String {
    let [sessions, devices] = [(data, "$1"), (registry, "$2")].map(|(table, name)| {
        format!(
            "(SELECT CASE WHEN reltuples > {LARGE} THEN reltuples::int8 ELSE (SELECT count(*) FROM {table}) END \
              FROM pg_catalog.pg_class WHERE oid = to_regclass({name}))"
        )
    });
    format!("SELECT {sessions} + {devices}")
}
