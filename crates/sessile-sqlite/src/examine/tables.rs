//! The tables and what is in them: there, of the right shape, quick to sweep, and in step with each other.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, params};
use sessile_core::{Check, TableKind};

use super::{blind, within};
use crate::layout::{Layout, end_name};
use crate::registry_table::{self, Index, Tables};
use crate::rows::Rows;
use crate::table::{self, Shape, quoted};
use crate::times::seconds;

/// What has been over for longer than this should have been swept.
const SWEPT_WITHIN: i64 = 15 * 60;

/// No more than this are counted.
const COUNTED: i64 = 100_000;

/// How long sessions are compared with the registry.
const COMPARED: Duration = Duration::from_secs(5);

pub(super) fn examine(
    connection: &Connection,
    mut tables: Tables,
    kind: Option<TableKind>,
    now: SystemTime,
) -> Vec<Check> {
    let session = session(connection, &mut tables, kind);
    let tables = &tables;
    let registry = registry(connection, tables);
    let is_good = |checks: &[Check]| checks.iter().all(|check| check.remedy.is_none());
    let (has_sessions, has_registry) = (is_good(&session), is_good(std::slice::from_ref(&registry)));
    let mut checks = session;
    if has_sessions {
        checks.extend([expire_index(connection, tables), backlog(connection, tables, now)]);
        checks.extend(user_index(connection, tables));
    }
    checks.push(registry);
    if has_registry {
        checks.push(registry_indexes(connection, tables));
    }
    if has_sessions && has_registry {
        checks.push(in_step(connection, tables, now));
    }
    checks
}

/// Where it is, or what is there instead of it.
fn there(name: &'static str, connection: &Connection, table: &str) -> Result<Check, Check> {
    let create = "start the application once, which creates it, or correct the table's name in the settings";
    match table::kind(connection, table).map_err(|error| blind(name, error))?.as_deref() {
        Some("table") => Ok(Check::good(name, format!("the table {} is there", quoted(table)))),
        Some(other) => Err(Check::failed(name, format!("expected a table {}, found a {other}", quoted(table)), create)),
        None => Err(Check::failed(name, format!("expected a table {}, found none", quoted(table)), create)),
    }
}

/// Also finds out of which kind it is.
fn session(connection: &Connection, tables: &mut Tables, kind: Option<TableKind>) -> Vec<Check> {
    let there = match there("sqlite.table", connection, &tables.session) {
        Ok(there) => there,
        Err(missing) => return vec![missing],
    };
    tables.layout = match Layout::found(connection, &tables.session, kind) {
        Ok(layout) => layout,
        Err(error) => {
            let remedy = "correct the table's kind or its name in the settings";
            return vec![there, Check::failed("sqlite.columns", error.to_string(), remedy)];
        }
    };
    let wrong = match tables.layout.shape().wrong(connection, &tables.session) {
        Ok(wrong) => wrong,
        Err(error) => return vec![there, blind("sqlite.columns", error)],
    };
    let [columns, key] = wrong;
    let remedy = "rename the table and start the application, which creates one that fits";
    vec![
        there,
        judged("sqlite.columns", columns, "all columns are there, with types that keep what is written", remedy),
        judged(
            "sqlite.primary_key",
            key,
            "the table has a primary key: no session can be there twice",
            "add the primary key, or rename the table",
        ),
    ]
}

fn judged(name: &'static str, wrong: Option<String>, good: &str, remedy: &str) -> Check {
    wrong.map_or_else(|| Check::good(name, good), |wrong| Check::failed(name, wrong, remedy))
}

/// All of its tables as one: none is of use without the others.
fn registry(connection: &Connection, tables: &Tables) -> Check {
    let fits = |(shape, table): (&Shape, &str)| {
        there("sqlite.registry", connection, table)?;
        let wrong = shape.wrong(connection, table).map_err(|error| blind("sqlite.registry", error))?;
        match wrong.into_iter().flatten().next() {
            None => Ok(()),
            Some(wrong) => Err(Check::failed(
                "sqlite.registry",
                format!("the table {}: {wrong}", quoted(table)),
                "rename the table and start the application, which creates one that fits",
            )),
        }
    };
    let fit = registry_table::shapes(tables).into_iter().try_for_each(fits);
    fit.map_or_else(
        |wrong| wrong,
        |()| Check::good("sqlite.registry", "the registry's tables are there, with their columns"),
    )
}

/// Whether users' lists, revocations and the sweep find their rows without looking at every one.
fn registry_indexes(connection: &Connection, tables: &Tables) -> Check {
    let name = "sqlite.registry_indexes";
    let is_missing = |index: &Index| index.serves(connection).map(|serves| !serves);
    let mut missing = Vec::new();
    for index in registry_table::indexes(tables) {
        match is_missing(&index) {
            Ok(true) => missing.push(index.create()),
            Ok(false) => {}
            Err(error) => return blind(name, error),
        }
    }
    if missing.is_empty() {
        return Check::good(name, "the registry has its indexes");
    }
    let found =
        format!("{} of the registry's indexes are missing: lists and revocations look at every row", missing.len());
    Check::warning(name, found, missing.join(";\n") + ";")
}

/// Whether the sweep finds what has expired without looking at every row.
fn expire_index(connection: &Connection, tables: &Tables) -> Check {
    let (table, end) = (&tables.session, end_name(tables.layout.kind));
    match plan(connection, &Rows::on(tables).sweep) {
        Ok(plan) if plan.iter().any(|line| line.to_ascii_lowercase().contains(&format!("{end}<?"))) => {
            Check::good("sqlite.expire_index", format!("the sweep goes through an index on `{end}`"))
        }
        Ok(_) => Check::warning(
            "sqlite.expire_index",
            format!("the sweep looks at every row, because there is no index on `{end}` that it can use"),
            format!("CREATE INDEX {} ON {} ({})", quoted(&format!("IDX_{table}_{end}")), quoted(table), quoted(end)),
        ),
        Err(error) => blind("sqlite.expire_index", error),
    }
}

/// Where the user is a column: Sessile looks for a user's sessions in the registry, other programs there.
fn user_index(connection: &Connection, tables: &Tables) -> Option<Check> {
    let index = tables.layout.user_index(&tables.session)?;
    Some(match index.serves(connection) {
        Ok(true) => {
            Check::good("sqlite.user_index", "other programs find a user's sessions through an index on `user_id`")
        }
        Ok(false) => Check::warning(
            "sqlite.user_index",
            "a program that looks for a user's sessions looks at every row, because there is no index on `user_id`",
            index.create(),
        ),
        Err(error) => blind("sqlite.user_index", error),
    })
}

/// How SQLite would run this statement.
fn plan(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let values = vec![None::<i64>; statement.parameter_count()];
    statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3))?.collect()
}

fn backlog(connection: &Connection, tables: &Tables, now: SystemTime) -> Check {
    let (late, end) = (seconds(now) - SWEPT_WITHIN, &tables.layout.end);
    let sql = format!(
        "SELECT count(*), datetime(min(e), 'unixepoch') FROM (SELECT unixepoch({end}) AS e FROM {}
           WHERE {end} < datetime(?1, 'unixepoch') AND unixepoch({end}) < ?1 ORDER BY {end} LIMIT ?2)",
        quoted(&tables.session)
    );
    let counted = connection
        .query_row(&sql, params![late, COUNTED], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?)));
    match counted {
        Ok((0, _)) => Check::good("sqlite.backlog", "what has expired is swept in time"),
        Ok((rows, oldest)) => {
            let (more, oldest) = (if rows == COUNTED { " or more" } else { "" }, oldest.unwrap_or_default());
            Check::warning(
                "sqlite.backlog",
                format!(
                    "{rows}{more} sessions expired more than 15 minutes ago and are still there, the first at {oldest} UTC"
                ),
                "run `sessile sweep`, and let one instance sweep: SWEEP_INTERVAL must not be none",
            )
        }
        Err(error) => blind("sqlite.backlog", error),
    }
}

/// Sessions that the registry does not know, or believes to be over, and the other way round.
fn in_step(connection: &Connection, tables: &Tables, now: SystemTime) -> Check {
    let [session, registry, moves] = [&tables.session, &tables.registry, &tables.moves].map(|name| quoted(name));
    let (Layout { key, end, .. }, is_owned) = (&tables.layout, tables.layout.is_owned());
    let sql = format!(
        "SELECT (SELECT count(*) FROM {registry} AS r WHERE r.status = 'active'
               AND NOT EXISTS (SELECT 1 FROM {session} AS s WHERE s.{key} = r.sid)),
             count(*) FILTER (WHERE is_over), count(*) FILTER (WHERE NOT is_over AND is_owned)
           FROM (SELECT EXISTS (SELECT 1 FROM {registry} AS r WHERE r.sid = s.{key})
                 OR EXISTS (SELECT 1 FROM {moves} AS m WHERE m.sid = s.{key}) AS is_over,
               {is_owned} AS is_owned
             FROM {session} AS s WHERE unixepoch(s.{end}) >= ?1
               AND NOT EXISTS (SELECT 1 FROM {registry} AS r WHERE r.sid = s.{key} AND r.status = 'active'))"
    );
    let number = |row: &rusqlite::Row<'_>, column| row.get::<_, i64>(column);
    let look = |connection: &Connection| {
        connection.query_row(&sql, [seconds(now)], |row| Ok([number(row, 0)?, number(row, 1)?, number(row, 2)?]))
    };
    match within(connection, COMPARED, look) {
        None => Check::skipped(
            "sqlite.in_step",
            format!("there are too many sessions to compare with the registry within {} s", COMPARED.as_secs()),
            "`sessile sweep` compares them, and brings them into step",
        ),
        Some(Ok([0, 0, 0])) => Check::good("sqlite.in_step", "sessions and registry say the same"),
        Some(Ok([lost, over, unknown])) => Check::warning(
            "sqlite.in_step",
            format!(
                "sessions and registry differ: {lost} are signed in without a session, {over} sessions are over and still \
                 there, {unknown} are signed in and not registered"
            ),
            "run `sessile sweep`, which brings both into step, and find the program that writes to the tables itself",
        ),
        Some(Err(error)) => blind("sqlite.in_step", error),
    }
}
