//! What is in the tables: whether somebody sweeps, whether the registry says what the sessions say, and who else writes.
//! Of the rows a bounded number is looked at.

use std::time::Duration;

use sessile_core::{Check, Error};
use tokio_postgres::types::Type;

use super::Look;
use super::tables::Found;
use crate::columns::Columns;
use crate::guard;
use crate::rows::get;
use crate::sql::Names;
use crate::time::{time, whole_seconds};

/// So many rows are looked at.
const SAMPLE: i64 = 1_000;

/// So many expired rows are counted at most.
const BACKLOG: i64 = 100_000;

/// What has expired for longer than this, nobody sweeps.
const UNSWEPT: Duration = Duration::from_secs(15 * 60);

/// Fewer dead rows than this are none of anybody's business: nobody vacuums the table by itself, or the server will when
/// it comes round, once a minute.
const DEAD: i64 = 1_000;
const DEAD_FOR_NOW: i64 = 100_000;

pub(super) async fn examine(look: &Look<'_>, found: &Found, checks: &mut Vec<Check>) -> Result<(), Error> {
    checks.push(backlog(look, &found.names).await?);
    checks.push(in_step(look, &found.names).await?);
    checks.push(writers(look, found).await?);
    checks.push(vacuum(look, &found.names.data).await?);
    Ok(())
}

async fn backlog(look: &Look<'_>, names: &Names) -> Result<Check, Error> {
    const NAME: &str = "postgres.backlog";
    let Names { data, columns: Columns { end, .. }, .. } = names;
    let sql = format!(
        "SELECT (SELECT count(*) FROM (SELECT FROM {data} WHERE {end} < to_timestamp($1) LIMIT $2) expired), \
           (SELECT date_part('epoch', min({end})::timestamptz) FROM {data} WHERE {end} < to_timestamp($1))"
    );
    let row = look.ask(&sql, &[(&whole_seconds(look.now), Type::FLOAT8), (&BACKLOG, Type::INT8)]).await?;
    let (count, oldest): (i64, Option<f64>) = (get(&row, 0)?, get(&row, 1)?);
    let age = oldest.and_then(|oldest| look.now.duration_since(time(oldest)).ok()).unwrap_or_default();
    let more = if count == BACKLOG { "at least " } else { "" };
    let finding = format!("{more}{count} rows have expired, the first of them {} s ago", age.as_secs());
    Ok(match count {
        0 => Check::good(NAME, "No expired row waits for the sweeper."),
        _ if age <= UNSWEPT => Check::good(NAME, format!("{finding}; the sweeper will remove them.")),
        _ => Check::warning(
            NAME,
            format!("{finding}: nobody sweeps."),
            "Run sessile sweep now; for later, set SWEEP_INTERVAL=60000 for an instance that runs, or run sessile serve.",
        ),
    })
}

/// Whether sessions and registry say the same. What differs for a moment is put right by the sweeper.
async fn in_step(look: &Look<'_>, names: &Names) -> Result<Check, Error> {
    const NAME: &str = "postgres.registry_in_step";
    let Names { data, registry, columns, .. } = names;
    let (Columns { key, end, .. }, sid) = (columns, columns.sid());
    let (owned, has_owner) = (columns.owned(), columns.has_owner());
    let sql = format!(
        "SELECT (SELECT count(*) FROM ( \
             SELECT {sid}, {owned} FROM {data} WHERE {end} >= to_timestamp($1) ORDER BY {end} DESC LIMIT $2) s \
           WHERE {has_owner} \
             AND NOT EXISTS (SELECT FROM {registry} r WHERE r.sid = s.sid AND r.status = 'active')), \
         (SELECT count(*) FROM (SELECT sid FROM {registry} WHERE status = 'active' LIMIT $2) r \
           WHERE NOT EXISTS (SELECT FROM {data} s WHERE s.{key} = r.sid))"
    );
    let row = look.ask(&sql, &[(&whole_seconds(look.now), Type::FLOAT8), (&SAMPLE, Type::INT8)]).await?;
    let (unknown, ended): (i64, i64) = (get(&row, 0)?, get(&row, 1)?);
    if unknown + ended == 0 {
        return Ok(Check::good(NAME, format!("Registry and sessions agree, in a sample of {SAMPLE} rows.")));
    }
    Ok(Check::warning(
        NAME,
        format!(
            "In a sample of {SAMPLE} rows {unknown} live sessions have an owner that the registry does not know, and {ended} \
             that the registry has as active have no row."
        ),
        "The sweeper brings them into step: run sessile sweep, and see that an instance sweeps.",
    ))
}

/// Whether another program writes sessions, and whether the guard watches it. Every session that Sessile wrote has its key.
async fn writers(look: &Look<'_>, found: &Found) -> Result<Check, Error> {
    const NAME: &str = "postgres.other_writers";
    let Names { data, columns: Columns { document, end, .. }, .. } = &found.names;
    let sql = format!(
        "SELECT count(*) FROM (SELECT {document} FROM {data} WHERE {end} >= to_timestamp($1) ORDER BY {end} DESC LIMIT $2) s \
         WHERE s.{document} -> 'sessile' IS NULL"
    );
    let row = look.ask(&sql, &[(&whole_seconds(look.now), Type::FLOAT8), (&SAMPLE, Type::INT8)]).await?;
    let (others, is_guarded) = (get::<i64>(&row, 0)?, is_guarded(look, found).await?);
    Ok(match (others, is_guarded) {
        (0, false) => Check::good(NAME, "Only Sessile writes sessions here, as far as a sample tells."),
        (0, true) => Check::good(NAME, "The guard is installed."),
        (_, true) => Check::good(
            NAME,
            format!("Another program writes sessions here ({others} in a sample), and the guard is installed."),
        ),
        (_, false) => Check::warning(
            NAME,
            format!(
                "Another program writes sessions here{} ({others} in a sample of {SAMPLE}), and there is no guard: \
                 a request in flight can bring back a session that was signed out.",
                found.names.columns.writer()
            ),
            "sessile migrate --guard",
        ),
    })
}

async fn is_guarded(look: &Look<'_>, found: &Found) -> Result<bool, Error> {
    const TRIGGER: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger \
        WHERE tgrelid = to_regclass($1) AND tgname = $2 AND tgenabled <> 'D')";
    let values = &[
        (&found.names.data as &(dyn tokio_postgres::types::ToSql + Sync), Type::TEXT),
        (&guard::trigger(&found.table), Type::TEXT),
    ];
    get(&look.ask(TRIGGER, values).await?, 0)
}

async fn vacuum(look: &Look<'_>, data: &str) -> Result<Check, Error> {
    const NAME: &str = "postgres.vacuum";
    const STATISTICS: &str = "SELECT n_live_tup, n_dead_tup, coalesce(last_vacuum, last_autovacuum) IS NOT NULL, \
          current_setting('autovacuum') = 'on' AND NOT EXISTS ( \
            SELECT FROM unnest(c.reloptions) AS option WHERE option ~* '^autovacuum_enabled=(off|false|no|0)$') \
        FROM pg_catalog.pg_stat_user_tables t JOIN pg_catalog.pg_class c ON c.oid = t.relid \
        WHERE t.relid = to_regclass($1)";
    let rows = look.query(STATISTICS, &[(&data, Type::TEXT)]).await?;
    let Some(row) = rows.first() else {
        return Ok(Check::skipped(NAME, "The server keeps no statistics of this table.", "Look at the table itself."));
    };
    let (live, dead, was_vacuumed): (i64, i64, bool) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
    let (word, limit) = if get(row, 3)? { ("on", DEAD_FOR_NOW) } else { ("off", DEAD) };
    let finding = format!("{live} live rows, {dead} dead ones; autovacuum is {word}");
    if dead <= live || dead < limit || was_vacuumed {
        return Ok(Check::good(NAME, format!("{finding}.")));
    }
    Ok(Check::warning(
        NAME,
        format!("{finding}, and the table was never vacuumed: it grows and slows down."),
        format!("VACUUM ANALYZE {data}; and set autovacuum = on."),
    ))
}
