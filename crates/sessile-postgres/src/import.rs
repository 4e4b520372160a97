//! Putting sessions in that another store gave: one transaction, in which each run of pieces of one kind is a statement
//! over arrays. The rules are those of [`Transfer`](sessile_core::Transfer); they are asked of the tables in the statement
//! that writes, so that a sign-out in between is not undone.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use sessile_core::{CutOff, Device, Ending, Error, Imported, Piece, Record, StoreKey, TableKind, UserId};
use tokio_postgres::types::{ToSql, Type};

use crate::PostgresStore;
use crate::columns::Columns;
use crate::failure::Failure;
use crate::guard::ASIDE;
use crate::private::Private;
use crate::rows::{count, get};
use crate::sign_in::user;
use crate::sql::Names;
use crate::time::{whole_millis, whole_millis_up, whole_seconds};
use crate::transaction::{TRIES, Transaction, Values};

/// How long each statement may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many moves are followed from a key.
const MOVES: usize = 100;

/// The columns of [`Devices`].
const DEVICES: &str = "unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
      $9::text[], $10::text[], $11::float8[], $12::float8[], $13::float8[], $14::float8[], $15::float8[], $16::float8[], \
      $17::int8[]) \
    AS u (id, sid, owner, status, ip, user_agent, device, auth_method, provider_session, end_reason, began, created, \
      authenticated, seen, ends, ended, requests)";

/// What a row of the registry gets from them.
fn row(names: &Names) -> String {
    let (column, value) = if names.counts { (", requests", ", u.requests") } else { ("", "") };
    format!(
        "(id, sid, user_id, status, ip_address, user_agent, device, auth_method, provider_session, expires_at, \
           created_at, updated_at, last_seen_at, authenticated_at, logged_out_at, end_reason{column}) \
         SELECT u.id::uuid, u.sid, u.owner, u.status, u.ip::inet, u.user_agent, u.device, u.auth_method, u.provider_session, \
           to_timestamp(u.ends), to_timestamp(u.created), to_timestamp(coalesce(u.ended, u.seen)), to_timestamp(u.seen), \
           to_timestamp(u.authenticated), to_timestamp(u.ended), u.end_reason{value}"
    )
}

/// Pieces of one kind that follow one another.
enum Run<'a> {
    Sessions(Vec<(&'a StoreKey, &'a str, SystemTime)>),
    Devices(Vec<(Option<&'a StoreKey>, &'a Device)>),
    OwnerCutOffs(Vec<(&'a UserId, SystemTime)>),
    CutOff(CutOff, &'a Ending),
    Moves(Vec<(&'a StoreKey, &'a StoreKey, SystemTime)>),
}

/// The pieces in runs, in their order.
fn runs(pieces: &[Piece]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for piece in pieces {
        match (runs.last_mut(), piece) {
            (Some(Run::Sessions(run)), Piece::Session { key, document, expires_at }) => {
                run.push((key, document, *expires_at));
            }
            (Some(Run::Devices(run)), Piece::Device(key, device)) => run.push((key.as_ref(), device)),
            (Some(Run::OwnerCutOffs(run)), Piece::OwnerCutOff(owner, before)) => run.push((owner, *before)),
            (Some(Run::Moves(run)), Piece::Moved(from, to, at)) => run.push((from, to, *at)),
            _ => runs.push(Run::new(piece)),
        }
    }
    runs
}

impl<'a> Run<'a> {
    fn new(piece: &'a Piece) -> Self {
        match piece {
            Piece::Session { key, document, expires_at } => Self::Sessions(vec![(key, document, *expires_at)]),
            Piece::Device(key, device) => Self::Devices(vec![(key.as_ref(), device)]),
            Piece::OwnerCutOff(owner, before) => Self::OwnerCutOffs(vec![(owner, *before)]),
            Piece::CutOff(cut_off, ending) => Self::CutOff(*cut_off, ending),
            Piece::Moved(from, to, at) => Self::Moves(vec![(from, to, *at)]),
        }
    }
}

impl PostgresStore {
    pub(crate) async fn imports(&self, pieces: &[Piece]) -> Result<Imported, Error> {
        pieces.iter().try_for_each(Piece::check)?;
        let names = &self.table().await?.names;
        let mut unnamed = self.is_unnamed();
        for _ in 1..TRIES {
            match self.import_once(names, pieces, unnamed).await {
                Err(Refused::Server(failure)) if failure.is_undone() => {}
                Err(Refused::Server(failure)) if failure.is_lost_statement() => unnamed = true,
                done => return done.map_err(Error::from),
            }
        }
        Ok(self.import_once(names, pieces, unnamed).await?)
    }

    async fn import_once(&self, names: &Names, pieces: &[Piece], unnamed: bool) -> Result<Imported, Refused> {
        let transaction = self.begin(PATIENCE, unnamed).await?;
        let mut written = 0;
        let aside = format!("SELECT set_config('{ASIDE}', 'on', true)");
        transaction.query(&aside, &[]).await?;
        for run in runs(pieces) {
            match take(&transaction, names, &run).await {
                Ok(count) => written += count,
                Err(Refused::Server(failure)) => return Err(transaction.undo(failure).await.into()),
                Err(refused) => return Err(refused),
            }
        }
        transaction.commit().await?;
        Ok(Imported { written, present: (pieces.len() as u64).saturating_sub(written) })
    }
}

/// Why an import came to nothing: what the server says can be tried again, what a piece says cannot.
enum Refused {
    Server(Failure),
    Piece(Error),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Server(failure)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Piece(error)
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Server(failure) => failure.into(),
            Refused::Piece(error) => error,
        }
    }
}

/// How many of them were written.
async fn take(to: &Transaction, names: &Names, run: &Run<'_>) -> Result<u64, Refused> {
    match run {
        Run::Sessions(sessions) => take_sessions(to, names, sessions).await,
        Run::Devices(devices) => take_devices(to, names, devices).await,
        Run::OwnerCutOffs(cut_offs) => take_owner_cut_offs(to, names, cut_offs).await,
        Run::CutOff(cut_off, ending) => take_cut_off(to, names, *cut_off, ending).await,
        Run::Moves(moves) => take_moves(to, names, moves).await,
    }
}

async fn take_sessions(
    to: &Transaction,
    names: &Names,
    sessions: &[(&StoreKey, &str, SystemTime)],
) -> Result<u64, Refused> {
    let Names { data, columns, .. } = names;
    let Columns { key, document, end, document_type, .. } = columns;
    let (beside, is_over) = (columns.beside(), names.is_over("u.sid"));
    let (arrays, named) = match columns.kind {
        TableKind::Express => ("", ""),
        TableKind::Columns => (", $4::text[], $5::float8[]", ", owner, began"),
    };
    let given = columns.given("u.owner", "least(to_timestamp(u.began), now())");
    let sql = format!(
        "INSERT INTO {data} ({key}, {document}, {end}{beside}) \
         SELECT u.sid, u.sess::{document_type}, to_timestamp(u.ends){given} \
         FROM unnest($1::text[], $2::text[], $3::float8[]{arrays}) AS u (sid, sess, ends{named}) \
         WHERE NOT {is_over} ORDER BY u.sid ON CONFLICT ({key}) DO NOTHING RETURNING 1"
    );
    let sessions = Sessions::of(columns, sessions)?;
    Ok(to.query(&sql, columns.fit(&sessions.values(), 3)).await?.len() as u64)
}

/// Sessions as columns; the last two are in the columns table alone.
struct Sessions<'a> {
    keys: Private<Vec<&'a str>>,
    documents: Private<Vec<Cow<'a, str>>>,
    ends: Vec<f64>,
    owners: Private<Vec<Option<String>>>,
    began: Vec<f64>,
}

impl<'a> Sessions<'a> {
    fn of(columns: &Columns, sessions: &[(&'a StoreKey, &'a str, SystemTime)]) -> Result<Self, Error> {
        let mut all = Self {
            keys: Private(sessions.iter().map(|session| session.0.as_str()).collect()),
            documents: Private(Vec::new()),
            ends: sessions.iter().map(|session| whole_seconds(session.2)).collect(),
            owners: Private(Vec::new()),
            began: Vec::new(),
        };
        for (key, document, end) in sessions {
            match columns.kind {
                TableKind::Express => all.documents.0.push(Cow::from(*document)),
                TableKind::Columns => all.push(&Record::stored(key, *document, *end, *end)?),
            }
        }
        Ok(all)
    }

    fn push(&mut self, record: &Record) {
        self.documents.0.push(record.values().into());
        self.owners.0.push(record.owner.as_ref().map(|owner| owner.as_str().to_owned()));
        self.began.push(whole_millis(record.created_at));
    }

    fn values(&self) -> [(&(dyn ToSql + Sync), Type); 5] {
        [
            (&self.keys, Type::TEXT_ARRAY),
            (&self.documents, Type::TEXT_ARRAY),
            (&self.ends, Type::FLOAT8_ARRAY),
            (&self.owners, Type::TEXT_ARRAY),
            (&self.began, Type::FLOAT8_ARRAY),
        ]
    }
}

/// Those that ended go first: whatever lives under the key of one that ended does not.
async fn take_devices(
    to: &Transaction,
    names: &Names,
    devices: &[(Option<&StoreKey>, &Device)],
) -> Result<u64, Refused> {
    let (ended, live): (Vec<_>, Vec<_>) = devices.iter().copied().partition(|(_, device)| device.ended.is_some());
    let mut written = 0;
    if !ended.is_empty() {
        let devices = Devices::of(&ended)?;
        let rows = to.query(&end_and_add(names), &devices.values()).await?;
        written += count(&rows, 0)?;
        to.query(&remove_ended(names), &devices.names()).await?;
    }
    // A session that lives has a key.
    let live: Vec<_> = live.into_iter().filter(|(key, _)| key.is_some()).collect();
    if !live.is_empty() {
        let devices = Devices::of(&live)?;
        written += to.query(&add_live(names), &devices.values()).await?.len() as u64;
        to.query(&remove_over(names), &devices.values()).await?;
    }
    Ok(written)
}

/// Ends what lives here and ended there, and adds what is not known. The first end stays.
fn end_and_add(names: &Names) -> String {
    let (registry, row) = (&names.registry, row(names));
    format!(
        "WITH u AS MATERIALIZED (SELECT * FROM {DEVICES}), locked AS MATERIALIZED ( \
           SELECT id FROM {registry} WHERE id = ANY (ARRAY (SELECT id::uuid FROM u)) ORDER BY id FOR UPDATE \
         ), ended AS ( \
           UPDATE {registry} r SET status = u.status, logged_out_at = to_timestamp(u.ended), end_reason = u.end_reason, \
             updated_at = to_timestamp(u.ended) \
           FROM u WHERE r.id = u.id::uuid AND r.status = 'active' AND (SELECT count(*) FROM locked) >= 0 RETURNING 1 \
         ), added AS ( \
           INSERT INTO {registry} {row} FROM u WHERE NOT EXISTS (SELECT FROM locked WHERE locked.id = u.id::uuid) \
           ON CONFLICT DO NOTHING RETURNING 1 \
         ) \
         SELECT (SELECT count(*) FROM ended) + (SELECT count(*) FROM added)"
    )
}

/// Removes the rows of devices that ended, under the key they had there and under the one they have here, unless another
/// device lives under it.
fn remove_ended(names: &Names) -> String {
    let Names { data, registry, columns: Columns { key, .. }, .. } = names;
    format!(
        "DELETE FROM {data} s WHERE {key} = ANY (ARRAY ( \
             SELECT unnest($2::text[]) UNION SELECT sid FROM {registry} WHERE id = ANY ($1::text[]::uuid[]))) \
           AND NOT EXISTS (SELECT FROM {registry} r WHERE r.sid = s.{key} AND r.status = 'active')"
    )
}

/// Adds devices that live, unless they are over.
fn add_live(names: &Names) -> String {
    let (registry, row) = (&names.registry, row(names));
    let (is_over, is_cut_off) = (names.is_over("u.sid"), names.is_cut_off("u.owner", "u.began"));
    format!(
        "INSERT INTO {registry} {row} FROM {DEVICES} WHERE NOT {is_over} AND NOT {is_cut_off} \
           AND NOT EXISTS (SELECT FROM {registry} r WHERE r.sid = u.sid AND r.status = 'active') \
         ORDER BY u.id ON CONFLICT DO NOTHING RETURNING 1"
    )
}

/// Removes the rows of those that are over.
fn remove_over(names: &Names) -> String {
    let Names { data, registry, columns: Columns { key, .. }, .. } = names;
    let (is_over, is_cut_off) = (names.is_over("u.sid"), names.is_cut_off("u.owner", "u.began"));
    format!(
        "DELETE FROM {data} WHERE {key} = ANY (ARRAY (SELECT u.sid FROM {DEVICES} WHERE {is_over} OR {is_cut_off} \
           AND NOT EXISTS (SELECT FROM {registry} r WHERE r.id = u.id::uuid OR r.sid = u.sid AND r.status = 'active')))"
    )
}

async fn take_owner_cut_offs(
    to: &Transaction,
    names: &Names,
    cut_offs: &[(&UserId, SystemTime)],
) -> Result<u64, Refused> {
    let sql = format!(
        "INSERT INTO {} AS c (user_id, not_before) \
         SELECT u.owner, to_timestamp(max(u.before)) FROM unnest($1::text[], $2::float8[]) AS u (owner, before) \
         GROUP BY 1 ORDER BY 1 \
         ON CONFLICT (user_id) DO UPDATE SET not_before = excluded.not_before \
         WHERE c.not_before IS NULL OR c.not_before < excluded.not_before RETURNING 1",
        names.cutoffs
    );
    let owners = cut_offs.iter().map(|cut_off| user(cut_off.0)).collect::<Result<Vec<&str>, _>>()?;
    let times: Vec<f64> = cut_offs.iter().map(|cut_off| whole_millis_up(cut_off.1)).collect();
    let values: Values<'_> = &[(&Private(owners), Type::TEXT_ARRAY), (&times, Type::FLOAT8_ARRAY)];
    Ok(to.query(&sql, values).await?.len() as u64)
}

async fn take_cut_off(to: &Transaction, names: &Names, cut_off: CutOff, ending: &Ending) -> Result<u64, Refused> {
    let sql = format!(
        "INSERT INTO {} AS c (user_id, not_before, swept, revoked_at, end_reason) \
         VALUES ('', to_timestamp($1), $2, to_timestamp($3), $4) ON CONFLICT (user_id) DO UPDATE \
         SET not_before = excluded.not_before, swept = excluded.swept, revoked_at = excluded.revoked_at, \
           end_reason = excluded.end_reason \
         WHERE c.not_before IS NULL OR c.not_before < excluded.not_before RETURNING 1",
        names.cutoffs
    );
    let values: Values<'_> = &[
        (&whole_millis_up(cut_off.before), Type::FLOAT8),
        (&cut_off.swept, Type::BOOL),
        (&whole_millis(ending.at), Type::FLOAT8),
        (&ending.reason.as_deref(), Type::TEXT),
    ];
    Ok(to.query(&sql, values).await?.len() as u64)
}

/// Writes moves down. What lived under their first keys goes, and a device that lived there follows as far as is known.
async fn take_moves(
    to: &Transaction,
    names: &Names,
    moves: &[(&StoreKey, &StoreKey, SystemTime)],
) -> Result<u64, Refused> {
    let sql = format!(
        "INSERT INTO {} (sid, moved_to, moved_at) SELECT u.sid, u.moved_to, to_timestamp(u.at) \
         FROM unnest($1::text[], $2::text[], $3::float8[]) AS u (sid, moved_to, at) \
         ORDER BY u.sid ON CONFLICT (sid) DO NOTHING RETURNING sid::text",
        names.moves
    );
    let from: Vec<&str> = moves.iter().map(|moved| moved.0.as_str()).collect();
    let onto: Vec<&str> = moves.iter().map(|moved| moved.1.as_str()).collect();
    let times: Vec<f64> = moves.iter().map(|moved| whole_millis(moved.2)).collect();
    let values: Values<'_> =
        &[(&Private(from), Type::TEXT_ARRAY), (&Private(onto), Type::TEXT_ARRAY), (&times, Type::FLOAT8_ARRAY)];
    let rows = to.query(&sql, values).await?;
    let new: Vec<&str> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let written = new.len() as u64;
    let values: Values<'_> = &[(&Private(new), Type::TEXT_ARRAY)];
    to.query(&follow(names), values).await?;
    to.query(&format!("DELETE FROM {} WHERE {} = ANY ($1)", names.data, names.columns.key), values).await?;
    Ok(written)
}

/// Gives devices the keys that their sessions have by now, one device a key.
fn follow(names: &Names) -> String {
    let Names { registry, moves, .. } = names;
    format!(
        "WITH RECURSIVE walk (first, last, steps) AS ( \
           SELECT sid, moved_to, 1 FROM {moves} WHERE sid = ANY ($1) AND moved_to <> sid \
           UNION ALL SELECT w.first, m.moved_to, w.steps + 1 FROM walk w JOIN {moves} m ON m.sid = w.last \
           WHERE m.moved_to <> m.sid AND w.steps < {MOVES} \
         ), ends AS (SELECT DISTINCT ON (first) first, last FROM walk ORDER BY first, steps DESC), followers AS MATERIALIZED ( \
           SELECT DISTINCT ON (e.last) r.id, e.last FROM ends e JOIN {registry} r ON r.sid = e.first AND r.status = 'active' \
           WHERE NOT EXISTS (SELECT FROM {registry} o WHERE o.sid = e.last AND o.status = 'active') ORDER BY e.last, r.id \
         ) \
         UPDATE {registry} r SET sid = f.last FROM followers f WHERE r.id = f.id"
    )
}

/// Devices as columns.
struct Devices<'a> {
    texts: [Private<Vec<Option<Cow<'a, str>>>>; 10],
    times: [Vec<Option<f64>>; 6],
    requests: Vec<i64>,
}

impl<'a> Devices<'a> {
    fn of(devices: &[(Option<&'a StoreKey>, &'a Device)]) -> Result<Self, Error> {
        let mut all =
            Self { texts: [const { Private(Vec::new()) }; 10], times: [const { Vec::new() }; 6], requests: Vec::new() };
        for (key, device) in devices {
            let texts = texts(key.map(StoreKey::as_str), device)?;
            all.texts.iter_mut().zip(texts).for_each(|(column, text)| column.0.push(text));
            all.times.iter_mut().zip(times(device)).for_each(|(column, time)| column.push(time));
            all.requests.push(i64::try_from(device.requests).unwrap_or(i64::MAX));
        }
        Ok(all)
    }

    fn values(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        let texts = self.texts.iter().map(|column| (column as &(dyn ToSql + Sync), Type::TEXT_ARRAY));
        let times = self.times.iter().map(|column| (column as _, Type::FLOAT8_ARRAY));
        texts.chain(times).chain([(&self.requests as _, Type::INT8_ARRAY)]).collect()
    }

    /// The handles and the keys alone.
    fn names(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values().into_iter().take(2).collect()
    }
}

fn texts<'a>(key: Option<&'a str>, device: &'a Device) -> Result<[Option<Cow<'a, str>>; 10], Error> {
    let (facts, ended) = (&device.facts, device.ended.as_ref());
    Ok([
        Some(device.handle.as_str().into()),
        key.map(Cow::from),
        Some(user(&device.owner)?.into()),
        Some(ended.map_or("active", |ending| ending.end.as_str()).into()),
        facts.ip.map(|ip| ip.to_string().into()),
        facts.user_agent.as_deref().map(Cow::from),
        facts.device.as_deref().map(Cow::from),
        facts.auth_method.as_deref().map(Cow::from),
        facts.provider_session.as_deref().map(Cow::from),
        ended.and_then(|ending| ending.reason.as_deref()).map(Cow::from),
    ])
}

fn times(device: &Device) -> [Option<f64>; 6] {
    [
        Some(whole_millis(device.began())),
        Some(whole_millis(device.created_at)),
        device.authenticated_at.map(whole_millis),
        Some(whole_millis(device.last_seen_at)),
        Some(whole_millis(device.expires_at)),
        device.ended.as_ref().map(|ending| whole_millis(ending.at)),
    ]
}
