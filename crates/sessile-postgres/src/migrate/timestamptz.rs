//! `expire` becomes `timestamptz` while the table is in use. A new column beside the old one is kept in step by a trigger,
//! filled a thousand rows at a time, indexed beside the traffic, and then takes the old one's name and place. Only the first
//! step and the last take a lock that others wait for, and give it up when they do not get it within a second.
//!
//! What the old values mean is what the connection's time zone makes of them, as it is for every reader. The zone is written
//! down with the new column: a change that was interrupted goes on in the zone that it began in.

use sessile_core::Error;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::create::is_valid;
use super::{Migration, Step};
use crate::PostgresStore;
use crate::builder::PostgresBuilder;
use crate::failure::Failure;
use crate::guard;
use crate::names::{derived, literal, qualified, quote};
use crate::rows::get;
use crate::table;

/// The new column, until it takes the old one's name.
const NEW: &str = "expire_timestamptz";

/// What stands before the zone in the new column's comment.
const REMARK: &str = "Sessile: expire, read in the time zone ";

/// So many rows are filled at a time.
const BATCH: usize = 1_000;

/// How far the change has come.
struct Progress {
    zone: String,
    /// The new column is there and kept in step.
    is_kept: bool,
    /// The index on it is there, and built to its end.
    index: Option<bool>,
    /// The constraint that it has no NULL is there, and checked.
    constraint: Option<bool>,
    /// The definition of the guard, which names the column.
    guard: Option<String>,
}

/// The names of what is made.
struct Names {
    data: String,
    function: String,
    trigger: String,
    /// Quoted, in its schema.
    index: String,
    index_name: String,
    constraint: String,
    expire_index: String,
}

impl Names {
    fn new(settings: &PostgresBuilder, schema: &str) -> Self {
        let made = |prefix: &str, suffix: &str| derived(prefix, &settings.table, suffix);
        let function = made("", "_sessile_timestamptz");
        let index = made("IDX_", "_expire_timestamptz");
        Self {
            data: qualified(Some(schema), &settings.table),
            function: qualified(Some(schema), &function),
            trigger: quote(&function),
            index: qualified(Some(schema), &index),
            index_name: quote(&index),
            constraint: made("", "_expire_timestamptz_check"),
            expire_index: table::expire_index(settings),
        }
    }
}

impl PostgresStore {
    /// The change that makes `expire` a `timestamptz`, which means the same in every time zone. The old values are read in
    /// this connection's zone; the SQL begins with its name. Nobody is signed out, and instances and Express apps go on
    /// working meanwhile and afterwards. Empty when the column is one already.
    ///
    /// The role that applies it owns the table. Space for a second copy of every row is needed, until a vacuum.
    ///
    /// # Errors
    /// When the server cannot be reached, or there is no such table of sessions, or it is a view or partitioned.
    pub async fn timestamptz(&self) -> Result<Migration, Error> {
        let lease = self.lease().await?;
        let Some(client) = lease.client() else { return Err(Failure::Down.into()) };
        let settings = self.settings();
        let name = qualified(settings.schema.as_deref(), &settings.table);
        let found = table::find(client, &name).await?.ok_or_else(|| {
            Error::config(format!("expected the table {name}, found none; create it first: sessile migrate"))
        })?;
        let (mut zone, mut all) = (String::new(), Vec::new());
        if found.expire != "timestamp with time zone" {
            let names = Names::new(settings, &found.schema);
            let progress = progress(client, settings, &names).await?;
            all = steps(&names, &progress);
            zone = progress.zone;
        }
        lease.finished();
        Ok(Migration::new(self, &format!("What stands in expire is read in the time zone {zone}."), all))
    }
}

async fn progress(client: &Client, settings: &PostgresBuilder, names: &Names) -> Result<Progress, Error> {
    const FOUND: &str = "SELECT c.relkind = 'r', current_setting('TimeZone'), \
          (SELECT col_description(c.oid, a.attnum) FROM pg_catalog.pg_attribute a \
           WHERE a.attrelid = c.oid AND a.attname = $2 AND NOT a.attisdropped), \
          EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND quote_ident(t.tgname) = quote_ident($3)), \
          (SELECT convalidated FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.conname = $4), \
          (SELECT pg_get_functiondef(t.tgfoid) FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = $5) \
        FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)";
    let trigger = derived("", &settings.table, "_sessile_timestamptz");
    let row = client
        .query_typed_one(
            FOUND,
            &[
                (&names.data, Type::TEXT),
                (&NEW, Type::TEXT),
                (&trigger, Type::TEXT),
                (&names.constraint, Type::TEXT),
                (&guard::trigger(&settings.table), Type::TEXT),
            ],
        )
        .await
        .map_err(Failure::from)?;
    if !get::<bool>(&row, 0)? {
        return Err(Error::config(format!(
            "expected {} to be a table, found a view or a partitioned table; change the column's type there by hand",
            names.data
        )));
    }
    let begun = get::<Option<&str>>(&row, 2)?.and_then(|remark| remark.strip_prefix(REMARK));
    Ok(Progress {
        zone: begun.unwrap_or(get(&row, 1)?).to_owned(),
        is_kept: begun.is_some() && get(&row, 3)?,
        index: is_valid(client, &names.index).await?,
        constraint: get(&row, 4)?,
        guard: get(&row, 5)?,
    })
}

/// What is left to do.
fn steps(names: &Names, progress: &Progress) -> Vec<Step> {
    let mut steps = Vec::new();
    if !progress.is_kept {
        steps.push(keep_in_step(names, &progress.zone));
    }
    let Names { data, constraint, .. } = names;
    let constraint = quote(constraint);
    if progress.constraint != Some(true) {
        steps.push(fill(names, &progress.zone));
    }
    match progress.index {
        Some(true) => {}
        index => {
            let leftover = index.map(|_| Step::Alone(format!("DROP INDEX CONCURRENTLY {};", names.index)));
            let build = format!("CREATE INDEX CONCURRENTLY {} ON {data} ({NEW});", names.index_name);
            steps.extend(leftover.into_iter().chain([Step::Alone(build)]));
        }
    }
    if progress.constraint.is_none() {
        let sql = format!("ALTER TABLE {data} ADD CONSTRAINT {constraint} CHECK ({NEW} IS NOT NULL) NOT VALID;");
        steps.push(briefly(&sql));
    }
    if progress.constraint != Some(true) {
        steps.push(Step::Alone(format!("ALTER TABLE {data} VALIDATE CONSTRAINT {constraint};")));
    }
    steps.push(swap(names, progress.guard.as_deref()));
    steps
}

/// In a transaction that gives way to traffic.
fn briefly(sql: &str) -> Step {
    Step::Transaction(format!("BEGIN;\nSET LOCAL lock_timeout = '1s';\n{sql}\nCOMMIT;\n"))
}

/// The new column, and whoever writes the old one writes it too.
fn keep_in_step(names: &Names, zone: &str) -> Step {
    let Names { data, function, trigger, .. } = names;
    let (zone, remark) = (literal(zone), literal(&format!("{REMARK}{zone}")));
    briefly(&format!(
        "ALTER TABLE {data} ADD COLUMN IF NOT EXISTS {NEW} timestamptz;
COMMENT ON COLUMN {data}.{NEW} IS {remark};
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $sessile$
BEGIN
  NEW.{NEW} := NEW.expire AT TIME ZONE {zone};
  RETURN NEW;
END
$sessile$;
DROP TRIGGER IF EXISTS {trigger} ON {data};
CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE ON {data} FOR EACH ROW EXECUTE FUNCTION {function}();"
    ))
}

/// Fills the rows that nobody has written since, but for those that somebody holds: they are written, or come later.
fn fill(names: &Names, zone: &str) -> Step {
    let (data, zone) = (&names.data, literal(zone));
    Step::Batches(format!(
        "WITH page AS MATERIALIZED ( \
           SELECT sid FROM {data} WHERE ($1::text IS NULL OR sid > $1) AND {NEW} IS NULL ORDER BY sid LIMIT {BATCH} \
         ), held AS MATERIALIZED ( \
           SELECT sid FROM {data} WHERE sid = ANY (ARRAY (SELECT sid FROM page)) ORDER BY sid FOR UPDATE SKIP LOCKED \
         ), filled AS ( \
           UPDATE {data} SET {NEW} = expire AT TIME ZONE {zone} WHERE sid = ANY (ARRAY (SELECT sid FROM held)) RETURNING 1 \
         ) \
         SELECT (SELECT count(*) FROM page), (SELECT sid::text FROM page ORDER BY sid DESC LIMIT 1), \
           (SELECT count(*) FROM filled)"
    ))
}

/// The new column takes the old one's name and place; its index goes with the old one. The guard is defined anew as it is:
/// sessions of the server that have run it would go on to expect the old type.
fn swap(names: &Names, guard: Option<&str>) -> Step {
    let Names { data, function, trigger, index, constraint, expire_index, .. } = names;
    let (constraint, guard) =
        (quote(constraint), guard.map(|guard| format!("\n{};", guard.trim_end())).unwrap_or_default());
    briefly(&format!(
        "LOCK TABLE {data} IN ACCESS EXCLUSIVE MODE;
DROP TRIGGER {trigger} ON {data};
DROP FUNCTION {function}();
ALTER TABLE {data} ALTER COLUMN {NEW} SET NOT NULL;
ALTER TABLE {data} DROP CONSTRAINT {constraint};
ALTER TABLE {data} DROP COLUMN expire;
ALTER TABLE {data} RENAME COLUMN {NEW} TO expire;
COMMENT ON COLUMN {data}.expire IS NULL;
ALTER INDEX {index} RENAME TO {expire_index};{guard}"
    ))
}
