//! Tables as the server's catalogue describes them: looked up, created when missing, and refused in words when they are
//! something else. Twenty processes may do so at once.

use sessile_core::Error;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::failure::Failure;

/// So many times a table that another process was creating at the same moment is looked for again.
const CREATE_TRIES: usize = 10;

/// A column of a table that is there.
pub(crate) struct Column {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    /// What is in brackets behind the type; below zero for nothing.
    pub(crate) modifier: i32,
    /// Has to be given a value by whoever writes a row.
    pub(crate) is_required: bool,
    /// Takes no NULL, whether it has a default or not.
    pub(crate) is_not_null: bool,
    /// The name of its collation, where that is not the database's.
    pub(crate) collation: Option<String>,
}

/// The columns of the table with this quoted name; none when there is no such table.
pub(crate) async fn columns(client: &Client, name: &str) -> Result<Vec<Column>, Error> {
    const COLUMNS: &str = "SELECT n.nspname::text, a.attname::text, format_type(a.atttypid, NULL), a.atttypmod, \
        a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', a.attnotnull, \
        (SELECT l.collname::text FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation AND l.collname <> 'default') \
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
        WHERE c.oid = to_regclass($1) ORDER BY a.attnum";
    let rows = client.query_typed(COLUMNS, &[(&name, Type::TEXT)]).await.map_err(Failure::from)?;
    let column = |row: &tokio_postgres::Row| {
        let (schema, name, kind) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(Column {
            schema,
            name,
            kind,
            modifier: row.try_get(3)?,
            is_required: row.try_get(4)?,
            is_not_null: row.try_get(5)?,
            collation: row.try_get(6)?,
        })
    };
    rows.iter().map(column).collect::<Result<_, tokio_postgres::Error>>().map_err(|error| Failure::from(error).into())
}

/// The table, and whether it was adopted or created. A failure is never kept.
pub(crate) async fn find_or_create<T, Find, Create>(
    name: &str,
    find: impl Fn() -> Find,
    create: impl Fn() -> Create,
) -> Result<(T, &'static str), Error>
where
    Find: Future<Output = Result<Option<T>, Error>>,
    Create: Future<Output = Result<(), Failure>>,
{
    for _ in 0..CREATE_TRIES {
        if let Some(found) = find().await? {
            return Ok((found, "adopted"));
        }
        match create().await {
            Ok(()) => {
                let found = find()
                    .await?
                    .ok_or_else(|| Error::unavailable(format!("the table {name} was dropped while it was created")))?;
                return Ok((found, "created"));
            }
            // Another process was faster: what it made is adopted.
            Err(failure) if is_creation_race(&failure) => {}
            Err(failure) => return Err(cannot_create(name, failure)),
        }
    }
    Err(Error::unavailable(format!("the table {name} kept appearing and vanishing while it was looked for")))
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

fn cannot_create(name: &str, failure: Failure) -> Error {
    if failure.is(&SqlState::INSUFFICIENT_PRIVILEGE) {
        return Error::config(format!(
            "the table {name} is missing and this role may not create it; run sessile migrate as a role that may and \
             grant this one SELECT, INSERT, UPDATE, DELETE on it, or grant CREATE on the schema"
        ));
    }
    failure.into()
}

/// A column without which no row could be stored.
pub(crate) fn check_required(name: &str, required: Option<&Column>, ours: &str) -> Result<(), Error> {
    let Some(Column { name: column, .. }) = required else { return Ok(()) };
    Err(Error::config(format!(
        "expected the columns of {name} beside {ours} to be nullable or to have a default, found {column}, \
         which no session could be stored without; give it a default, or allow NULL"
    )))
}
