//! The figures of a store, for operators: a few statements, each of which may look at every row of a table. What a large
//! table's documents weigh is told from a sample, for reading them all would read the whole table from the disk.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use sessile_core::{Error, Interval, Stats, Storage, StoreStats, UserId};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::PostgresStore;
use crate::columns::Columns;
use crate::operations::OperationNames;
use crate::rows::{count, get};
use crate::search::ended_with_everyone;
use crate::sql::Names;
use crate::time::{moment, time, whole_millis, whole_seconds};
use crate::transaction::Values;

/// How long each statement may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A table with more rows than this is sampled.
const LARGE: f32 = 200_000.0;

/// About so many rows are in the sample.
const SAMPLE: f32 = 50_000.0;

/// How many minutes ahead are looked at.
const MINUTES: usize = 60;

/// How many rows live and how many have expired, and the earliest and the latest end.
fn rows(names: &Names) -> String {
    let Names { data, columns: Columns { end, .. }, .. } = names;
    format!(
        "SELECT count(*) FILTER (WHERE {end} >= to_timestamp($1)), count(*) FILTER (WHERE {end} < to_timestamp($1)), \
           date_part('epoch', min({end})::timestamptz), date_part('epoch', max({end})::timestamptz) FROM {data}"
    )
}

/// How many rows end in which minute from now.
fn expiring(names: &Names) -> String {
    let Names { data, columns: Columns { end, .. }, .. } = names;
    format!(
        "SELECT floor((date_part('epoch', {end}::timestamptz) - $1) / 60)::int8, count(*) FROM {data} \
         WHERE {end} >= to_timestamp($1) AND {end} < to_timestamp($1 + 60 * $2) GROUP BY 1"
    )
}

/// How many live sessions the registry knows, whose they are, and how many more everyone's cut-off ended.
fn owners(names: &Names) -> String {
    let Names { data, registry, columns: Columns { key, end, .. }, .. } = names;
    let is_over = ended_with_everyone(names);
    format!(
        "WITH owners AS MATERIALIZED ( \
           SELECT r.user_id, count(*) FILTER (WHERE NOT {is_over}) AS sessions, \
             count(*) FILTER (WHERE {is_over}) AS cut_off FROM {registry} r JOIN {data} s ON s.{key} = r.sid \
           WHERE r.status = 'active' AND s.{end} >= to_timestamp($1) GROUP BY 1 \
         ) \
         SELECT (SELECT coalesce(sum(sessions), 0)::int8 FROM owners), top.user_id, top.sessions, \
           (SELECT coalesce(sum(cut_off), 0)::int8 FROM owners) \
         FROM (VALUES (1)) one LEFT JOIN ( \
           SELECT * FROM owners WHERE sessions > 0 ORDER BY sessions DESC, user_id COLLATE \"C\" LIMIT $2) top ON true \
         ORDER BY top.sessions DESC, top.user_id COLLATE \"C\""
    )
}

/// What the catalogue says: how many rows there are, about, what all takes on disk, and how well it is kept.
const CATALOGUE: &str = "SELECT c.reltuples, c.relkind IN ('r', 'm', 'p'), pg_table_size(c.oid), pg_indexes_size(c.oid), \
      (SELECT sum(pg_total_relation_size(to_regclass(name)))::int8 FROM unnest($2) AS name), t.n_dead_tup, \
      date_part('epoch', t.last_vacuum), date_part('epoch', t.last_autovacuum), \
      t.n_tup_hot_upd::float8 / nullif(t.n_tup_upd, 0) \
    FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_stat_user_tables t ON t.relid = c.oid \
    WHERE c.oid = to_regclass($1)";

/// What the documents weigh, in a sample of this many per cent.
fn weights(names: &Names, is_sample: bool) -> String {
    let sample = if is_sample { "TABLESAMPLE SYSTEM ($1)" } else { "WHERE $1::float4 IS NOT NULL" };
    format!(
        "SELECT sum(bytes)::int8 / nullif(count(*), 0), percentile_disc(0.99) WITHIN GROUP (ORDER BY bytes)::int8 \
         FROM (SELECT octet_length({}::text) AS bytes FROM {} {sample}) documents",
        names.columns.document, names.data
    )
}

/// What happened in each span of time. Every session counts in the span in which it began, and out in the one in which it
/// ended; what began before the first span is in row -1.
fn timeline(names: &Names) -> String {
    let Names { registry, .. } = names;
    format!(
        "WITH sessions AS ( \
           SELECT status, round(date_part('epoch', created_at) * 1000)::int8 - $1 AS began, \
             CASE WHEN status <> 'active' \
               THEN round(date_part('epoch', greatest(coalesce(logged_out_at, updated_at), created_at)) * 1000)::int8 - $1 \
             END AS ended \
           FROM {registry} WHERE created_at < to_timestamp(($1 + $2 * $3) / 1000.0) \
         ), changes AS ( \
           SELECT CASE WHEN at < 0 THEN -1 ELSE at / $2 END AS span, sum(change) AS change, \
             count(*) FILTER (WHERE what = 'active') AS signed_in, count(*) FILTER (WHERE what = 'logged_out') AS logged_out, \
             count(*) FILTER (WHERE what = 'revoked') AS revoked, count(*) FILTER (WHERE what = 'expired') AS expired, \
             count(*) FILTER (WHERE what = 'evicted') AS evicted \
           FROM sessions CROSS JOIN LATERAL (VALUES (began, 1, 'active'), (ended, -1, status)) AS event (at, change, what) \
           WHERE at IS NOT NULL GROUP BY 1 \
         ) \
         SELECT span, (sum(coalesce(change, 0)) OVER (ORDER BY span))::int8, coalesce(signed_in, 0), \
           coalesce(logged_out, 0), coalesce(revoked, 0), coalesce(expired, 0), coalesce(evicted, 0) \
         FROM generate_series(-1, $3 - 1) AS span LEFT JOIN changes USING (span) ORDER BY span"
    )
}

#[async_trait]
impl Stats for PostgresStore {
    async fn stats(&self, now: SystemTime, top: u32) -> Result<StoreStats, Error> {
        let table = self.table().await?;
        let now = whole_seconds(now);
        let at: (_, Type) = (&now, Type::FLOAT8);
        let (minutes, top) = (MINUTES as f64, i64::from(top));
        let names = OperationNames::of(table).all_tables(&table.names);
        let catalogue: Values<'_> = &[(&table.names.data, Type::TEXT), (&names, Type::TEXT_ARRAY)];
        let [rows, minutes, owners, catalogue] = self
            .together(
                PATIENCE,
                [
                    (&rows(&table.names), &[(at.0, at.1.clone())]),
                    (&expiring(&table.names), &[(at.0, at.1.clone()), (&minutes, Type::FLOAT8)]),
                    (&owners(&table.names), &[(at.0, at.1.clone()), (&top, Type::INT8)]),
                    (CATALOGUE, catalogue),
                ],
            )
            .await?;
        let weights = self.weigh(&table.names, &catalogue).await?;
        let end = |at| rows.first().map_or(Ok(None), |row| get::<Option<f64>>(row, at));
        Ok(StoreStats {
            active: count(&rows, 0)?.saturating_sub(count(&owners, 3)?),
            signed_in: count(&owners, 0)?,
            expired: count(&rows, 1)?,
            oldest_expiry: end(2)?.map(time),
            newest_expiry: end(3)?.map(time),
            expiring: by_minute(&minutes)?,
            average_bytes: bytes(&weights, 0)?,
            p99_bytes: bytes(&weights, 1)?,
            top_owners: top_owners(&owners)?,
            storage: catalogue.first().map(storage).transpose()?,
        })
    }

    async fn timeline(&self, from: SystemTime, step: Duration, spans: u32) -> Result<Vec<Interval>, Error> {
        let sql = timeline(&self.table().await?.names);
        let from = (whole_millis(from) * 1000.0).round() as i64;
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX / 1_000_000_000).max(1);
        let values: Values<'_> = &[(&from, Type::INT8), (&step, Type::INT8), (&i64::from(spans), Type::INT8)];
        let [rows] = self.together(PATIENCE, [(&sql, values)]).await?;
        rows.iter().skip(1).map(|row| interval(row, from, step)).collect()
    }
}

impl PostgresStore {
    /// The average and the 99th percentile of the documents' sizes.
    async fn weigh(&self, names: &Names, catalogue: &[Row]) -> Result<Vec<Row>, Error> {
        let Some(row) = catalogue.first() else { return Ok(Vec::new()) };
        let (rows, is_table): (f32, bool) = (get(row, 0)?, get(row, 1)?);
        let is_sample = is_table && rows > LARGE;
        let percent = if is_sample { 100.0 * SAMPLE / rows } else { 100.0 };
        let sql = weights(names, is_sample);
        let [weights] = self.together(PATIENCE, [(&sql, &[(&percent, Type::FLOAT4)])]).await?;
        Ok(weights)
    }
}

fn by_minute(rows: &[Row]) -> Result<Vec<u64>, Error> {
    let mut minutes = vec![0; MINUTES];
    for row in rows {
        let minute = usize::try_from(get::<i64>(row, 0)?).unwrap_or_default();
        minutes[minute.min(MINUTES - 1)] += natural(get(row, 1)?);
    }
    Ok(minutes)
}

fn bytes(rows: &[Row], at: usize) -> Result<Option<u64>, Error> {
    Ok(rows.first().map_or(Ok(None), |row| get::<Option<i64>>(row, at))?.map(natural))
}

fn top_owners(rows: &[Row]) -> Result<Vec<(UserId, u64)>, Error> {
    let owner = |row| {
        let user: Option<&str> = get(row, 1)?;
        Ok(user.map(UserId::from).zip(get::<Option<i64>>(row, 2)?.map(natural)))
    };
    rows.iter().filter_map(|row| owner(row).transpose()).collect()
}

fn storage(row: &Row) -> Result<Storage, Error> {
    let size = |at| get::<Option<i64>>(row, at).map(|size| natural(size.unwrap_or_default()));
    let when = |at| get::<Option<f64>>(row, at).map(|at| at.map(moment));
    Ok(Storage {
        table_bytes: size(2)?,
        index_bytes: size(3)?,
        total_bytes: size(4)?,
        dead_rows: get::<Option<i64>>(row, 5)?.map(natural),
        last_vacuum: when(6)?,
        last_autovacuum: when(7)?,
        hot_ratio: get(row, 8)?,
    })
}

fn interval(row: &Row, from: i64, step: i64) -> Result<Interval, Error> {
    let at = from.saturating_add(step.saturating_mul(get(row, 0)?));
    let number = |at| get::<i64>(row, at).map(natural);
    Ok(Interval {
        at: moment(at as f64 / 1000.0),
        active: number(1)?,
        signed_in: number(2)?,
        logged_out: number(3)?,
        revoked: number(4)?,
        expired: number(5)?,
        evicted: number(6)?,
    })
}

/// What cannot be below zero.
fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
