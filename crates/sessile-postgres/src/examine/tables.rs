//! The tables: there, of the right shape, ours to use, and with indexes that the server really uses.

use sessile_core::{Check, Error, TableKind};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::Look;
use crate::columns::Columns;
use crate::names::{qualified, quote};
use crate::operations::OperationNames;
use crate::registry_table::{self, Layout, RegistryNames, Use, usage};
use crate::rows::get;
use crate::sql::Names;
use crate::table;
use crate::transaction::Values;

const TABLE: &str = "postgres.table";
const COLUMNS: &str = "postgres.columns";
const KEY: &str = "postgres.primary_key";
const EXPIRE: &str = "postgres.expire_index";
const USER: &str = "postgres.user_index";
const REGISTRY: &str = "postgres.registry";
const PRIVILEGES: &str = "postgres.privileges";
const OPERATIONS: &str = "postgres.operations";
const LOGGED: &str = "postgres.logged";

/// A table with more rows than this is not read from its beginning when there is an index.
const LARGE: f32 = 10_000.0;

/// The tables that were found.
pub(super) struct Found {
    pub(super) names: Names,
    /// The name of the sessions' table, as it was given.
    pub(super) table: String,
}

/// Looks at the tables; `None` when they cannot be used.
pub(super) async fn examine(look: &Look<'_>, checks: &mut Vec<Check>) -> Result<Option<Found>, Error> {
    let settings = look.store.settings();
    let names = registry_table::names(settings)?;
    let name = qualified(settings.schema.as_deref(), &settings.table);
    let Some(found) = sessions(look, &name, checks).await? else { return Ok(None) };
    let data = qualified(Some(&found.schema), &settings.table);
    let layouts = registry_table::layouts(&found.schema, &names);
    let shared = registry(look, &layouts, checks).await?;
    let used = usage(&look.client, &data, found.columns.key, found.columns.indexed()).await?;
    let operations = OperationNames::new(&found.schema, &names.registry);
    let schema = quote(&found.schema);
    let found = Found { names: all_names(&found, &names, data), table: settings.table.clone() };
    let Names { data, registry, cutoffs, moves, .. } = &found.names;
    let may = privileges(look, &[data, registry, cutoffs, moves], checks).await?;
    checks.push(primary_key(&found.names, &used));
    if !may || !shared || !used.is_unique {
        return Ok(None);
    }
    checks.push(kept_for_operators(look, &schema, &operations.all()).await?);
    checks.push(logged(look, &operations.all_tables(&found.names)).await?);
    checks.push(expire_index(look, &found.names, &used).await?);
    checks.extend(user_index(&found.names, &used));
    Ok(Some(found))
}

fn all_names(found: &table::Found, names: &RegistryNames, data: String) -> Names {
    let [registry, cutoffs, moves] =
        [&names.registry, &names.cutoffs, &names.moves].map(|name| qualified(Some(&found.schema), name));
    Names { data, registry, cutoffs, moves, columns: found.columns.clone(), counts: false }
}

/// The table of sessions: there, and with the columns it has to have.
async fn sessions(look: &Look<'_>, name: &str, checks: &mut Vec<Check>) -> Result<Option<table::Found>, Error> {
    // A schema that this role may not look into is an error of the catalogue's.
    if let Err(failure) = look.query("SELECT to_regclass($1)::text", &[(&name, Type::TEXT)]).await {
        if !failure.is(&SqlState::INSUFFICIENT_PRIVILEGE) {
            return Err(failure.into());
        }
        let schema = look.store.settings().schema.as_deref().unwrap_or("public");
        checks.push(no_usage(look, schema).await?);
        return Ok(None);
    }
    match table::find(&look.client, look.store.settings()).await {
        Ok(None) => {
            checks.push(match hidden(look).await? {
                Some(schema) => no_usage(look, &schema).await?,
                None => missing(TABLE, name),
            });
            Ok(None)
        }
        Ok(Some(found)) => {
            checks.push(Check::good(
                TABLE,
                format!("The table {name} is there, in the schema {}.", quote(&found.schema)),
            ));
            let (columns, [_, document, end]) = (&found.columns, found.columns.shown());
            let finding = format!("{document} is {}, {end} is {}.", columns.document_type, columns.end_type);
            checks.push(match found.slow_collation(name) {
                Some((finding, remedy)) => Check::warning(COLUMNS, format!("{finding}."), remedy),
                None => Check::good(COLUMNS, finding),
            });
            Ok(Some(found))
        }
        Err(error) => refused(COLUMNS, error).map(|check| {
            checks.push(check);
            None
        }),
    }
}

/// The schema in which a table that was not found is, or would be made, when this role may not look into that. The
/// search path passes over such a schema without a word.
async fn hidden(look: &Look<'_>) -> Result<Option<String>, Error> {
    const HIDDEN: &str = "SELECT n.nspname::text \
        FROM unnest(string_to_array(current_setting('search_path'), ',')) WITH ORDINALITY AS path (name, place) \
        JOIN pg_catalog.pg_namespace n \
          ON n.nspname::text = replace(trim(BOTH ' \"' FROM path.name), '$user', current_user::text) \
        WHERE NOT has_schema_privilege(n.oid, 'USAGE') AND (current_schema() IS NULL OR EXISTS ( \
          SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname::text = $1)) ORDER BY place LIMIT 1";
    let settings = look.store.settings();
    if settings.schema.is_some() {
        return Ok(None);
    }
    let rows = look.query(HIDDEN, &[(&settings.table, Type::TEXT)]).await?;
    rows.first().map(|row| get(row, 0)).transpose()
}

async fn no_usage(look: &Look<'_>, schema: &str) -> Result<Check, Error> {
    let (role, schema) = (role(look).await?, quote(schema));
    Ok(Check::failed(
        PRIVILEGES,
        format!("The role {role} may not use the schema {schema}."),
        format!("As its owner: GRANT USAGE ON SCHEMA {schema} TO {role};"),
    ))
}

fn missing(check: &'static str, name: &str) -> Check {
    Check::failed(
        check,
        format!("The table {name} is missing."),
        "Run sessile migrate as a role that may create tables, and grant the application's role its rights on them.",
    )
}

/// A refusal in words as a check. Such a sentence says what to do behind a semicolon.
fn refused(name: &'static str, error: Error) -> Result<Check, Error> {
    if !error.is_config() {
        return Err(error);
    }
    let text = error.to_string();
    let (finding, remedy) = text.split_once("; ").unwrap_or((&text, "Look at the table's definition."));
    Ok(Check::failed(name, format!("{finding}."), remedy))
}

async fn role(look: &Look<'_>) -> Result<String, Error> {
    let row = look.ask("SELECT current_user::text", &[]).await?;
    get::<&str>(&row, 0).map(quote)
}

/// The registry's tables; whether all can be used.
async fn registry(look: &Look<'_>, layouts: &[Layout<'_>], checks: &mut Vec<Check>) -> Result<bool, Error> {
    let (mut unindexed, mut not_unique) = (Vec::new(), None);
    for table in layouts {
        let name = &table.quoted;
        let check = match table.find(&look.client).await {
            Ok(None) => missing(REGISTRY, name),
            Err(error) => refused(REGISTRY, error)?,
            Ok(Some(())) => {
                let used = usage(&look.client, name, table.key(), &table.indexed()).await?;
                unindexed.extend(used.unindexed.iter().map(|column| format!("{name} ({})", quote(column))));
                not_unique = not_unique.or(duplicates(look, table).await?);
                if used.is_unique {
                    continue;
                }
                no_key(REGISTRY, name, table.key())
            }
        };
        checks.push(check);
        return Ok(false);
    }
    let is_unique = not_unique.is_none();
    checks.extend(not_unique);
    checks.extend((is_unique || !unindexed.is_empty()).then(|| indexes(layouts, &unindexed)));
    Ok(true)
}

/// Whether the lists of sessions are read through indexes.
fn indexes(layouts: &[Layout<'_>], unindexed: &[String]) -> Check {
    if unindexed.is_empty() {
        Check::good(REGISTRY, format!("The registry {} and its two tables are there.", layouts[0].quoted))
    } else {
        let remedies: Vec<_> = unindexed.iter().map(|on| format!("CREATE INDEX CONCURRENTLY ON {on};")).collect();
        Check::warning(
            REGISTRY,
            format!("Lists of sessions read whole tables: there is no index on {}.", unindexed.join(", ")),
            remedies.join(" "),
        )
    }
}

/// What keeps a session from being there twice may have been dropped.
async fn duplicates(look: &Look<'_>, table: &Layout<'_>) -> Result<Option<Check>, Error> {
    const UNIQUE: &str = "SELECT c.relkind IN ('v', 'f') OR EXISTS (SELECT FROM pg_catalog.pg_index i \
          JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
          WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND a.attname = $2) \
        FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)";
    let Some((column, remedy)) = table.unique() else { return Ok(None) };
    let name = &table.quoted;
    let row = look.ask(UNIQUE, &[(name, Type::TEXT), (&column, Type::TEXT)]).await?;
    if get(&row, 0)? {
        return Ok(None);
    }
    let finding = format!("No unique index is on {name} ({}): a session can be there twice.", quote(column));
    Ok(Some(Check::warning(REGISTRY, finding, remedy)))
}

fn no_key(check: &'static str, name: &str, key: &str) -> Check {
    Check::failed(
        check,
        format!("The table {name} has no primary key on {key}: a row can be there twice."),
        format!("ALTER TABLE {name} ADD PRIMARY KEY ({key});"),
    )
}

fn primary_key(names: &Names, used: &Use) -> Check {
    let key = names.columns.key;
    if used.is_unique { Check::good(KEY, format!("{key} is the table's key.")) } else { no_key(KEY, &names.data, key) }
}

/// Whether this role may do with the tables what a store does.
async fn privileges(look: &Look<'_>, tables: &[&String], checks: &mut Vec<Check>) -> Result<bool, Error> {
    let role = role(look).await?;
    let refused = refusals(look, &role, tables).await?;
    let may = refused.is_none();
    checks.push(match refused {
        None => Check::good(PRIVILEGES, format!("The role {role} may read and write all tables.")),
        Some((finding, remedy)) => Check::failed(PRIVILEGES, format!("The role {role} has no {finding}."), remedy),
    });
    Ok(may)
}

/// What the role may not do with those of the tables that are there, and the grants.
async fn refusals(look: &Look<'_>, role: &str, tables: &[&String]) -> Result<Option<(String, String)>, Error> {
    const REFUSED: &str = "SELECT name, array_to_string(ARRAY( \
          SELECT privilege FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS privilege \
          WHERE NOT has_table_privilege(to_regclass(name), privilege)), ', ') \
        FROM unnest($1) AS name WHERE to_regclass(name) IS NOT NULL";
    let (mut findings, mut remedies) = (Vec::new(), Vec::new());
    for row in look.query(REFUSED, &[(&tables, Type::TEXT_ARRAY)]).await? {
        let (table, refused): (&str, &str) = (get(&row, 0)?, get(&row, 1)?);
        if !refused.is_empty() {
            findings.push(format!("{refused} on {table}"));
            remedies.push(format!("GRANT {refused} ON {table} TO {role};"));
        }
    }
    Ok((!findings.is_empty()).then(|| (findings.join(", no "), format!("As their owner: {}", remedies.join(" ")))))
}

/// Whether what operators do is written down. Sessions work without.
async fn kept_for_operators(look: &Look<'_>, schema: &str, tables: &[String; 3]) -> Result<Check, Error> {
    const CONSEQUENCE: &str = "what operators do is not audited, nor how often each secret is used";
    const MISSING: &str = "SELECT name, has_schema_privilege(to_regnamespace($2), 'CREATE') FROM unnest($1) AS name \
        WHERE to_regclass(name) IS NULL";
    let role = role(look).await?;
    let rows = look.query(MISSING, &[(&&tables[..], Type::TEXT_ARRAY), (&schema, Type::TEXT)]).await?;
    let missing = rows.iter().map(|row| get(row, 0)).collect::<Result<Vec<&str>, _>>()?.join(", ");
    if rows.first().map_or(Ok(false), |row| get::<bool>(row, 1).map(|may| !may))? {
        return Ok(Check::warning(
            OPERATIONS,
            format!("{missing} are missing and the role {role} may not create them: {CONSEQUENCE}."),
            format!(
                "As a role that may: sessile migrate; then GRANT SELECT, INSERT, UPDATE, DELETE ON {missing} TO {role};"
            ),
        ));
    }
    Ok(match refusals(look, &role, &tables.each_ref()).await? {
        Some((finding, remedy)) => {
            Check::warning(OPERATIONS, format!("The role {role} has no {finding}: {CONSEQUENCE}."), remedy)
        }
        None => Check::good(OPERATIONS, "What operators do can be written down."),
    })
}

/// Whether a crash leaves what is in the tables.
async fn logged(look: &Look<'_>, tables: &[String]) -> Result<Check, Error> {
    const UNLOGGED: &str = "SELECT name FROM unnest($1) AS name JOIN pg_catalog.pg_class c ON c.oid = to_regclass(name) \
        WHERE c.relpersistence = 'u' ORDER BY 1";
    let rows = look.query(UNLOGGED, &[(&tables, Type::TEXT_ARRAY)]).await?;
    let unlogged = rows.iter().map(|row| get(row, 0)).collect::<Result<Vec<&str>, _>>()?;
    if unlogged.is_empty() {
        return Ok(Check::good(LOGGED, "The tables are in the server's log: a crash leaves what is in them."));
    }
    let remedies: Vec<_> = unlogged.iter().map(|name| format!("ALTER TABLE {name} SET LOGGED;")).collect();
    let finding = format!("UNLOGGED, so that a crash of the server empties them: {}.", unlogged.join(", "));
    Ok(Check::failed(LOGGED, finding, remedies.join(" ")))
}

/// Whether the sweeper finds what has expired through an index. On a small table the server rightly reads all of it, so
/// then it is asked what it would do otherwise.
async fn expire_index(look: &Look<'_>, names: &Names, used: &Use) -> Result<Check, Error> {
    let Names { data, columns: Columns { end, .. }, .. } = names;
    let remedy = format!("CREATE INDEX CONCURRENTLY ON {data} ({end});");
    if used.unindexed.iter().any(|column| column == end) {
        let finding = format!("There is no valid index on {end}: every sweep reads the whole table.");
        return Ok(Check::warning(EXPIRE, finding, remedy));
    }
    let rows: f32 = get(&look.ask(ROWS, &[(&data, Type::TEXT)]).await?, 0)?;
    let usual = plan(look, names, "on").await?;
    if is_by_index(&usual) {
        return Ok(Check::good(EXPIRE, format!("Sweeping uses it: {usual}.")));
    }
    let forced = plan(look, names, "off").await?;
    Ok(match (is_by_index(&forced), rows > LARGE) {
        (true, false) => Check::good(EXPIRE, format!("Sweeping will use it when the table is larger: {forced}.")),
        (true, true) => Check::warning(
            EXPIRE,
            format!("There is an index on {end}, and of {rows} rows the server would still read all: {usual}."),
            format!("ANALYZE {data};"),
        ),
        (false, _) => Check::warning(EXPIRE, format!("The index on {end} is not used for sweeping: {forced}."), remedy),
    })
}

/// Whoever looks for a user's sessions in the table does so by this index, as a revocation of all of them does.
fn user_index(names: &Names, used: &Use) -> Option<Check> {
    let data = &names.data;
    if names.columns.kind == TableKind::Express {
        return None;
    }
    Some(if used.unindexed.iter().any(|column| column == "user_id") {
        let finding =
            "There is no valid index on user_id: whoever ends all of a user's sessions reads the whole table.";
        Check::warning(USER, finding, format!("CREATE INDEX CONCURRENTLY ON {data} (user_id);"))
    } else {
        Check::good(USER, "An index finds a user's sessions.")
    })
}

const ROWS: &str = "SELECT reltuples FROM pg_catalog.pg_class WHERE oid = to_regclass($1)";

fn is_by_index(plan: &str) -> bool {
    plan.contains("Index")
}

/// How the server would read what has expired, its steps in one line.
async fn plan(look: &Look<'_>, names: &Names, seqscan: &str) -> Result<String, Error> {
    let Names { data, columns: Columns { key, end, .. }, .. } = names;
    let explain = format!(
        "EXPLAIN (COSTS OFF) SELECT {key}::text FROM {data} WHERE {end} < to_timestamp(0) ORDER BY {end} LIMIT 1000"
    );
    let none: Values<'_> = &[];
    look.query("BEGIN", none).await?;
    look.query(&format!("SET LOCAL enable_seqscan = {seqscan}"), none).await?;
    let steps = look.query(&explain, none).await;
    look.query("ROLLBACK", none).await?;
    let steps = steps?;
    let lines: Vec<&str> = steps.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    // The step that says where the rows come from: the index behind a bitmap, or else the scan.
    let step = ["Index", "Scan"].into_iter().find_map(|word| lines.iter().find(|line| line.contains(word)));
    Ok(step.map_or(String::new(), |step| step.trim_start_matches([' ', '-', '>']).to_owned()))
}
