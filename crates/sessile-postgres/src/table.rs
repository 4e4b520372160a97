//! The table: found and adopted, or created; and the statements that fit it.

use deadpool_postgres::{Client, Pool};
use sessile_core::Error;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::builder::PostgresBuilder;
use crate::failure::Failure;

/// Longest identifier PostgreSQL keeps, in bytes.
const MAX_IDENTIFIER: usize = 63;

/// The shortest key there is: an id as express-session makes them. A table with less room holds no session.
const SHORTEST_KEY: i32 = 32;

/// So many times a table that another process was creating at the same moment is looked for again.
const CREATE_TRIES: usize = 10;

/// A session table that is there.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) description: String,
    pub(crate) sql: Sql,
}

/// The statements for one table. Every time is seconds since 1970 as a double, as node-postgres binds them.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    pub(crate) load: String,
    pub(crate) load_many: String,
    pub(crate) alive: String,
    pub(crate) insert: String,
    pub(crate) update: String,
    pub(crate) rotate: String,
    pub(crate) touch: String,
    pub(crate) remove: String,
    pub(crate) remove_moved: String,
    pub(crate) sweep: String,
}

/// What the catalogue says of the table.
struct Found {
    schema: String,
    sess: String,
    expire: String,
}

impl Sql {
    fn new(quoted: &str, sess: &str) -> Self {
        // No cast to a column without zone: that would compare what two clocks on the wall show, and those repeat an
        // hour each autumn. As it stands PostgreSQL compares moments, through the connection's zone, as for Express.
        let time = |n: u8| format!("to_timestamp(${n})");
        let sess_as = format!("${{}}::text::{sess}");
        let document = |n: u8| sess_as.replace("{}", &n.to_string());
        let columns = "sess::text, date_part('epoch', expire::timestamptz)";
        let alive = |sid: u8, now: u8| format!("sid = ${sid} AND expire >= {}", time(now));
        Self {
            load: format!("SELECT {columns} FROM {quoted} WHERE {}", alive(1, 2)),
            load_many: format!(
                "SELECT {columns}, sid::text FROM {quoted} WHERE sid = ANY($1) AND expire >= {}",
                time(2)
            ),
            alive: format!("SELECT 1 FROM {quoted} WHERE {}", alive(1, 2)),
            insert: format!(
                "INSERT INTO {quoted} (sid, sess, expire) VALUES ($1, {}, {}) ON CONFLICT (sid) DO NOTHING",
                document(2),
                time(3)
            ),
            update: format!(
                "UPDATE {quoted} SET sess = {}, expire = {} WHERE {} AND sess::text = $5",
                document(3),
                time(4),
                alive(1, 2)
            ),
            rotate: format!(
                "UPDATE {quoted} SET sid = $6, sess = {}, expire = {} WHERE {} AND sess::text = $5",
                document(3),
                time(4),
                alive(1, 2)
            ),
            touch: format!("UPDATE {quoted} SET expire = {} WHERE {}", time(3), alive(1, 2)),
            remove: format!("DELETE FROM {quoted} WHERE sid = $1"),
            remove_moved: format!(
                "DELETE FROM {quoted} WHERE expire BETWEEN {} AND {} AND sess #>> '{{sessile,moved_from}}' = $1 \
                 AND (sess #>> '{{sessile,moved_at}}')::float8 >= $4",
                time(2),
                time(3)
            ),
            sweep: format!(
                "DELETE FROM {quoted} WHERE sid IN (SELECT sid FROM {quoted} WHERE expire < {0} ORDER BY expire LIMIT $2 \
                 FOR UPDATE SKIP LOCKED) AND expire < {0}",
                time(1)
            ),
        }
    }
}

/// Finds the table, or creates it. Never caches a failure.
pub(crate) async fn prepare(pool: &Pool, settings: &PostgresBuilder) -> Result<Table, Error> {
    for name in [Some(&settings.table), settings.schema.as_ref()].into_iter().flatten() {
        check_identifier(name)?;
    }
    let client = pool.get().await.map_err(Failure::from)?;
    for _ in 0..CREATE_TRIES {
        if let Some(found) = find(&client, settings).await? {
            return adopt(&client, settings, found, "adopted").await;
        }
        match create(&client, settings).await {
            Ok(()) => {
                let found = find(&client, settings).await?;
                let found =
                    found.ok_or_else(|| Error::unavailable("the session table was dropped while it was created"))?;
                return adopt(&client, settings, found, "created").await;
            }
            // Another process was faster: what it made is adopted.
            Err(failure) if is_creation_race(&failure) => continue,
            Err(failure) => return Err(cannot_create(settings, failure)),
        }
    }
    Err(Error::unavailable("the session table kept appearing and vanishing while it was looked for"))
}

/// Quotes an identifier. The only way names come into SQL.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn qualified(schema: Option<&str>, table: &str) -> String {
    schema.map_or_else(|| quote(table), |schema| format!("{}.{}", quote(schema), quote(table)))
}

fn check_identifier(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > MAX_IDENTIFIER || name.contains('\0') {
        return Err(Error::config(format!(
            "expected a table or schema name of 1 to {MAX_IDENTIFIER} bytes, found {name:?} ({} bytes)",
            name.len()
        )));
    }
    Ok(())
}

/// A name made from the table's, as PostgreSQL itself shortens one that becomes too long.
fn derived(prefix: &str, table: &str, suffix: &str) -> String {
    let room = MAX_IDENTIFIER - prefix.len() - suffix.len();
    format!("{prefix}{}{suffix}", &table[..table.floor_char_boundary(room)])
}

/// The schema, the columns' types and what else the store relies on; `None` when there is no such table.
async fn find(client: &Client, settings: &PostgresBuilder) -> Result<Option<Found>, Error> {
    let name = qualified(settings.schema.as_deref(), &settings.table);
    const COLUMNS: &str = "SELECT n.nspname::text, a.attname::text, format_type(a.atttypid, NULL), a.atttypmod, \
        a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attname NOT IN ('sid', 'sess', 'expire') \
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
        WHERE c.oid = to_regclass($1)";
    let rows = client.query_typed(COLUMNS, &[(&name, Type::TEXT)]).await.map_err(Failure::from)?;
    let Some(first) = rows.first() else { return Ok(None) };
    let column = |wanted: &str| {
        let row = rows.iter().find(|row| row.get::<_, &str>(1) == wanted);
        row.map_or_else(|| "missing".to_owned(), |row| row.get(2))
    };
    let (sid, sess, expire) = (column("sid"), column("sess"), column("expire"));
    let fits = ["character varying", "text", "character"].contains(&sid.as_str())
        && ["json", "jsonb"].contains(&sess.as_str())
        && ["timestamp without time zone", "timestamp with time zone"].contains(&expire.as_str());
    if !fits {
        return Err(Error::config(format!(
            "expected the table {name} to have connect-pg-simple's columns sid (varchar or text), sess (json or jsonb) and \
             expire (timestamp or timestamptz), found sid {sid}, sess {sess}, expire {expire}; choose another table name, or move that table away"
        )));
    }
    // A length limit is stored with four bytes added to it; -1 is none.
    let too_short =
        |row: &&Row| row.get::<_, &str>(1) == "sid" && (0..SHORTEST_KEY + 4).contains(&row.get::<_, i32>(3));
    if rows.iter().any(|row| too_short(&row)) {
        return Err(Error::config(format!(
            "expected the column sid of {name} to have room for {SHORTEST_KEY} characters, found a shorter one; \
             widen it: ALTER TABLE {name} ALTER COLUMN sid TYPE varchar"
        )));
    }
    if let Some(row) = rows.iter().find(|row| row.get(4)) {
        let column: &str = row.get(1);
        return Err(Error::config(format!(
            "expected the columns of {name} beside sid, sess and expire to be nullable or to have a default, found {column}, \
             which no session could be stored without; give it a default, or allow NULL"
        )));
    }
    Ok(Some(Found { schema: first.get(0), sess, expire }))
}

async fn create(client: &Client, settings: &PostgresBuilder) -> Result<(), Failure> {
    let name = qualified(settings.schema.as_deref(), &settings.table);
    let schema = settings.schema.as_deref().map(|schema| format!("CREATE SCHEMA IF NOT EXISTS {};", quote(schema)));
    let batch = format!(
        "{}CREATE TABLE {name} (\"sid\" varchar NOT NULL COLLATE \"default\", \"sess\" json NOT NULL, \"expire\" timestamp(6) NOT NULL, \
         CONSTRAINT {} PRIMARY KEY (\"sid\")); CREATE INDEX {} ON {name} (\"expire\");",
        schema.unwrap_or_default(),
        quote(&derived("", &settings.table, "_pkey")),
        quote(&derived("IDX_", &settings.table, "_expire")),
    );
    Ok(client.batch_execute(&batch).await?)
}

/// What PostgreSQL answers when two processes create the same thing at once.
fn is_creation_race(failure: &Failure) -> bool {
    const RACES: [SqlState; 5] = [
        SqlState::DUPLICATE_TABLE,
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_OBJECT,
        SqlState::T_R_DEADLOCK_DETECTED,
    ];
    RACES.iter().any(|state| failure.is(state))
}

fn cannot_create(settings: &PostgresBuilder, failure: Failure) -> Error {
    if failure.is(&SqlState::INSUFFICIENT_PRIVILEGE) {
        let name = qualified(settings.schema.as_deref(), &settings.table);
        return Error::config(format!(
            "the session table {name} is missing and this role may not create it; create it as its owner, or grant CREATE on the schema"
        ));
    }
    failure.into()
}

async fn adopt(client: &Client, settings: &PostgresBuilder, found: Found, how: &str) -> Result<Table, Error> {
    const FACTS: &str = "SELECT c.relkind IN ('v', 'f') OR EXISTS (SELECT 1 FROM pg_catalog.pg_index i \
          JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
          WHERE i.indrelid = c.oid AND i.indisunique AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = 'sid'), \
        c.relkind IN ('v', 'f') OR EXISTS (SELECT 1 FROM pg_catalog.pg_index i \
          JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
          WHERE i.indrelid = c.oid AND a.attname = 'expire'), \
        current_setting('TimeZone'), current_setting('synchronous_commit') \
        FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)";
    let quoted = qualified(Some(&found.schema), &settings.table);
    let facts = client.query_typed_one(FACTS, &[(&quoted, Type::TEXT)]).await.map_err(Failure::from)?;
    let (unique, indexed): (bool, bool) = (facts.get(0), facts.get(1));
    let (zone, commit): (&str, &str) = (facts.get(2), facts.get(3));
    if !unique {
        return Err(Error::config(format!(
            "expected the table {quoted} to have a primary key on sid, found none; add one: ALTER TABLE {quoted} ADD PRIMARY KEY (sid)"
        )));
    }
    if !indexed {
        tracing::warn!(
            "the table {quoted} has no index on expire, so that sweeping reads all of it; add one: CREATE INDEX CONCURRENTLY ON {quoted} (expire)"
        );
    }
    if commit == "off" {
        tracing::warn!(
            "synchronous_commit is off for this role or database: a sign-out that was acknowledged can be lost when the server crashes"
        );
    }
    let expire = match found.expire.as_str() {
        "timestamp with time zone" => "timestamptz".to_owned(),
        _ if ["UTC", "Etc/UTC", "GMT"].contains(&zone) => "timestamp".to_owned(),
        _ => format!("timestamp in {zone}"),
    };
    Ok(Table {
        description: format!("PostgreSQL, {}.{} ({how}, {}, {expire})", found.schema, settings.table, found.sess),
        sql: Sql::new(&quoted, &found.sess),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_derived_names_fit() {
        assert_eq!(qualified(None, r#"s"; drop table x;--"#), r#""s""; drop table x;--""#);
        assert_eq!(derived("IDX_", "session", "_expire"), "IDX_session_expire");
        let long = "é".repeat(31);
        assert!(derived("IDX_", &long, "_expire").len() <= MAX_IDENTIFIER);
        assert!(check_identifier(&"a".repeat(64)).is_err());
        assert!(check_identifier("").is_err());
    }
}
