//! `expire` becomes `timestamptz` while the table is in use. A new column beside the old one is kept in step by a trigger,
//! filled a thousand rows at a time, indexed beside the traffic, and then takes the old one's name and place. Only the first
//! step and the last take a lock that others wait for, and give it up when they do not get it within a second.
//!
//! What the old values mean is what their writer's time zone makes of them, and only their writer knows that: the owner of
//! the table, who makes the change, may be set to another one. So the zone is told, or everybody has the same. It is written
//! down with the new column: a change that was interrupted goes on in the zone that it began in.
//!
//! The old column is dropped in the end, and with it goes what hangs on it. So there may be nothing but its index.

use sessile_core::{Error, TableKind};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::create::is_valid;
use super::{Migration, Step};
use crate::PostgresStore;
use crate::builder::PostgresBuilder;
use crate::columns::Columns;
use crate::examine::zone::{SETTINGS, is_same};
use crate::failure::Failure;
use crate::guard;
use crate::names::{derived, literal, qualified, quote};
use crate::rows::{count, get};
use crate::table;

/// The new column, until it takes the old one's name.
pub(crate) const NEW: &str = "expire_timestamptz";

/// What stands before the zone in the new column's comment.
pub(crate) const REMARK: &str = "Sessile: expire, read in the time zone ";

/// So many rows are filled at a time.
const BATCH: usize = 1_000;

/// How far the change has come.
struct Progress {
    zone: Zone,
    /// The new column is there and kept in step.
    is_kept: bool,
    /// The index on it is there, and built to its end.
    index: Option<bool>,
    /// The constraint that it has no NULL is there, and checked.
    constraint: Option<bool>,
    /// The definition of the guard, which names the column.
    guard: Option<String>,
}

/// The zone that is set for this connection, or the one that the change was begun in.
enum Zone {
    Set(String),
    Begun(String),
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
            expire_index: quote(&table::index_name(&settings.table, "expire")),
        }
    }
}

impl PostgresStore {
    /// The change that makes `expire` a `timestamptz`, which means the same in every time zone. The old values are read in
    /// `zone`, the one that they were written in; the SQL begins with its name, and with how many sessions live when they
    /// are read so. In the right zone nobody is signed out, and instances and Express apps go on working meanwhile and
    /// afterwards. Without `zone` it is this connection's, if no other is set for the database or for a role that writes.
    /// Empty when the column is a `timestamptz` already.
    ///
    /// The role that applies it owns the table. Space for a second copy of every row is needed, until a vacuum.
    ///
    /// # Errors
    /// When the server cannot be reached, there is no such table of sessions, or it is a view or partitioned; when the zone
    /// is unknown, not certain, or another one than the change was begun in; when something hangs on the column that
    /// would go with it: a view, a default, rights, or an index of another kind; or when the table is not connect-pg-simple's
    /// and its times are not `timestamptz`.
    pub async fn timestamptz(&self, zone: Option<&str>) -> Result<Migration, Error> {
        let lease = self.lease().await?;
        let Some(client) = lease.client() else { return Err(Failure::Down.into()) };
        let settings = self.settings();
        let name = qualified(settings.schema.as_deref(), &settings.table);
        let found = table::find(client, settings).await?.ok_or_else(|| {
            Error::config(format!("expected the table {name}, found none; create it first: sessile migrate"))
        })?;
        let (mut remark, mut all) = (String::new(), Vec::new());
        if found.columns.end_type != "timestamp with time zone" {
            is_express(&found.columns, &name)?;
            let names = Names::new(settings, &found.schema);
            let progress = progress(client, settings, &names).await?;
            let zone = certain(client, &names, &progress.zone, zone).await?;
            nothing_hangs_on_it(client, &names).await?;
            all = steps(&names, &progress, &zone);
            remark = format!(
                "What stands in expire is read in the time zone {zone}.\n-- {}",
                consequence(client, &names, &zone).await?
            );
        }
        lease.finished();
        Ok(Migration::new(self, &remark, all))
    }
}

/// The columns table has two times, and a program beside Sessile that reads them.
fn is_express(columns: &Columns, name: &str) -> Result<(), Error> {
    match columns.kind {
        TableKind::Express => Ok(()),
        TableKind::Columns => Err(Error::config(format!(
            "expected connect-pg-simple's table for this change, found the columns table {name}; change its times there, while \
             nobody uses it: {}",
            columns.conversion(name, "'ZONE'")
        ))),
    }
}

/// The zone that the values are read in, where there is no doubt.
async fn certain(client: &Client, names: &Names, zone: &Zone, told: Option<&str>) -> Result<String, Error> {
    match (zone, told) {
        (Zone::Begun(begun), Some(told)) if !is_same(begun, told) => Err(Error::config(format!(
            "expected the change to go on in the time zone {begun}, in which it was begun, found {told}; leave the zone out"
        ))),
        (Zone::Begun(begun), _) => Ok(begun.clone()),
        (_, Some(told)) => Ok(told.to_owned()),
        (Zone::Set(ours), None) => {
            let others = client.query_typed(SETTINGS, &[(&names.data, Type::TEXT)]).await.map_err(Failure::from)?;
            let mut found = format!("this connection has {ours}");
            for row in &others {
                let (whose, other): (&str, &str) = (get(row, 0)?, get(row, 1)?);
                if !is_same(ours, other) {
                    found += &format!(", {whose} has {other}");
                }
            }
            if !found.contains(',') {
                return Ok(ours.clone());
            }
            Err(Error::config(format!(
                "expected one time zone for all who write expire, found several: {found}; name the one that the sessions were \
                 written in: sessile migrate --timestamptz --zone ZONE"
            )))
        }
    }
}

/// What hangs on the old column would go with it, or keep it from going.
async fn nothing_hangs_on_it(client: &Client, names: &Names) -> Result<(), Error> {
    const HANGS: &str = "SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS what \
        FROM pg_catalog.pg_depend d \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
        LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = d.objid AND d.classid = 'pg_catalog.pg_class'::regclass \
          AND i.indnatts = 1 AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT i.indisunique \
        LEFT JOIN pg_catalog.pg_constraint n ON n.oid = d.objid \
          AND d.classid = 'pg_catalog.pg_constraint'::regclass AND n.contype = 'n' \
        WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = to_regclass($1) AND a.attname = 'expire' \
          AND i.indexrelid IS NULL AND n.oid IS NULL \
        UNION SELECT 'privileges on the column expire' FROM pg_catalog.pg_attribute a \
        WHERE a.attrelid = to_regclass($1) AND a.attname = 'expire' AND a.attacl IS NOT NULL ORDER BY 1";
    let rows = client.query_typed(HANGS, &[(&names.data, Type::TEXT)]).await.map_err(Failure::from)?;
    let hangs = rows.iter().map(|row| get(row, 0)).collect::<Result<Vec<&str>, _>>()?;
    if hangs.is_empty() {
        return Ok(());
    }
    Err(Error::config(format!(
        "expected nothing to hang on the column expire of {} but an index on it alone, for the column is replaced; found {}; \
         remove that before the change, and make it again afterwards",
        names.data,
        hangs.join(", ")
    )))
}

/// How many sessions live when their ends are read in this zone.
async fn consequence(client: &Client, names: &Names, zone: &str) -> Result<String, Error> {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE expire >= now() AT TIME ZONE $1), \
           count(*) FILTER (WHERE expire < now() AT TIME ZONE $1) FROM {}",
        names.data
    );
    let rows = client.query_typed(&sql, &[(&zone, Type::TEXT)]).await.map_err(Failure::from);
    let rows = rows.map_err(|failure| {
        if failure.is(&SqlState::INVALID_PARAMETER_VALUE) {
            return Error::config(format!(
                "expected a time zone that PostgreSQL knows, like Europe/Berlin, found {zone:?}; SELECT name FROM \
                 pg_timezone_names lists them"
            ));
        }
        failure.into()
    })?;
    Ok(format!("Read so, {} sessions live and {} have expired.", count(&rows, 0)?, count(&rows, 1)?))
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
        zone: match begun {
            Some(begun) => Zone::Begun(begun.to_owned()),
            None => Zone::Set(get(&row, 1)?),
        },
        is_kept: begun.is_some() && get(&row, 3)?,
        index: is_valid(client, &names.index).await?,
        constraint: get(&row, 4)?,
        guard: get(&row, 5)?,
    })
}

/// What is left to do.
fn steps(names: &Names, progress: &Progress, zone: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    if !progress.is_kept {
        steps.push(keep_in_step(names, zone));
    }
    let Names { data, constraint, .. } = names;
    let constraint = quote(constraint);
    if progress.constraint != Some(true) {
        steps.push(fill(names, zone));
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
