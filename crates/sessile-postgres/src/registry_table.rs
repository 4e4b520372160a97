//! The registry's three tables, beside the sessions' table: who is signed in where, the cut-offs, and the keys that sessions
//! moved from. People read the first one with SQL of their own, so its columns are plain.

use deadpool_postgres::Client;
use sessile_core::Error;
use tokio_postgres::types::Type;

use crate::builder::PostgresBuilder;
use crate::catalogue::{Column, check_required, columns, find_or_create};
use crate::failure::Failure;
use crate::names::{check_identifier, derived, qualified, quote};
use crate::transaction::Values;

pub(crate) const TEXT: &[&str] = &["text", "character varying"];
pub(crate) const TIME: &[&str] = &["timestamp with time zone"];

/// A column: its name, the types that will do, the best one first, and whether every row is given a value for it.
pub(crate) type Needed = (&'static str, &'static [&'static str], bool);

const REGISTRY: [Needed; 16] = [
    ("id", &["uuid"], true),
    ("sid", TEXT, false),
    ("user_id", TEXT, true),
    ("status", TEXT, true),
    ("ip_address", &["inet"], false),
    ("user_agent", TEXT, false),
    ("device", TEXT, false),
    ("auth_method", TEXT, false),
    ("provider_session", TEXT, false),
    ("expires_at", TIME, true),
    ("created_at", TIME, true),
    ("updated_at", TIME, true),
    ("last_seen_at", TIME, true),
    ("authenticated_at", TIME, false),
    ("logged_out_at", TIME, false),
    ("end_reason", TEXT, false),
];

const CUTOFFS: [Needed; 5] = [
    ("user_id", TEXT, true),
    ("not_before", TIME, false),
    ("swept", &["boolean"], false),
    ("revoked_at", TIME, false),
    ("end_reason", TEXT, false),
];

const MOVES: [Needed; 3] = [("sid", TEXT, true), ("moved_to", TEXT, true), ("moved_at", TIME, true)];

/// What the tables are called.
pub(crate) struct RegistryNames {
    pub(crate) registry: String,
    pub(crate) cutoffs: String,
    pub(crate) moves: String,
}

/// What the tables shall be called; their schema is that of the sessions' table.
pub(crate) fn names(settings: &PostgresBuilder) -> Result<RegistryNames, Error> {
    let table = settings.table.as_str();
    let registry = match (&settings.registry, table) {
        (Some(name), _) => name.clone(),
        (None, "session") => "sessions".into(),
        (None, table) => derived("", table, "_registry"),
    };
    check_identifier(&registry)?;
    let names = RegistryNames {
        cutoffs: derived("", &registry, "_cutoffs"),
        moves: derived("", &registry, "_moves"),
        registry,
    };
    if [&names.registry, &names.cutoffs, &names.moves].into_iter().any(|name| name == table) {
        return Err(Error::config(format!(
            "expected the registry {:?} and its tables _cutoffs and _moves to be others than the table {table:?}; choose \
             another name with PostgresBuilder::registry",
            names.registry
        )));
    }
    Ok(names)
}

/// Finds the tables, or creates them, and describes them.
pub(crate) async fn prepare(client: &Client, schema: &str, names: &RegistryNames) -> Result<String, Error> {
    let RegistryNames { registry, cutoffs, moves } = names;
    let in_schema = |name: &str| qualified(Some(schema), name);
    let tables: [(&str, &[Needed], &[&str], String); 3] = [
        (
            registry,
            &REGISTRY,
            &["sid", "user_id", "logged_out_at", "provider_session"],
            create_registry(&in_schema(registry), registry),
        ),
        (cutoffs, &CUTOFFS, &[], create_cutoffs(&in_schema(cutoffs), cutoffs)),
        (moves, &MOVES, &["moved_at"], create_moves(&in_schema(moves), moves)),
    ];
    let mut description = String::new();
    for (name, needed, indexed, create) in tables {
        let quoted = in_schema(name);
        let create = || async { Ok(client.batch_execute(&create).await?) };
        let (_, how) = find_or_create(&quoted, || find(client, &quoted, needed), create).await?;
        check_use(client, &quoted, needed[0].0, indexed).await?;
        if description.is_empty() {
            description = format!("registry {name} ({how})");
        }
    }
    Ok(description)
}

fn create_registry(quoted: &str, name: &str) -> String {
    let [key, check, sid, active_sid, active, history, ended, provider] = [
        "_pkey",
        "_status_check",
        "_sid_idx",
        "_active_sid_idx",
        "_active_idx",
        "_history_idx",
        "_ended_idx",
        "_provider_idx",
    ]
    .map(|suffix| quote(&derived("", name, suffix)));
    format!(
        "CREATE TABLE {quoted} (id uuid NOT NULL CONSTRAINT {key} PRIMARY KEY, sid varchar, user_id text NOT NULL, \
           status text NOT NULL DEFAULT 'active' CONSTRAINT {check} \
             CHECK (status IN ('active', 'logged_out', 'revoked', 'expired', 'evicted')), \
           ip_address inet, user_agent text, device text, auth_method text, provider_session text, \
           expires_at timestamptz(3) NOT NULL, \
           created_at timestamptz(3) NOT NULL, updated_at timestamptz(3) NOT NULL, last_seen_at timestamptz(3) NOT NULL, \
           authenticated_at timestamptz(3), logged_out_at timestamptz(3), end_reason text); \
         CREATE INDEX {sid} ON {quoted} (sid); \
         CREATE UNIQUE INDEX {active_sid} ON {quoted} (sid) WHERE status = 'active'; \
         CREATE INDEX {active} ON {quoted} (user_id, created_at DESC, id DESC) WHERE status = 'active'; \
         CREATE INDEX {history} ON {quoted} (user_id, logged_out_at DESC, id DESC) WHERE status <> 'active'; \
         CREATE INDEX {ended} ON {quoted} (logged_out_at) WHERE status <> 'active'; \
         CREATE INDEX {provider} ON {quoted} (provider_session) \
           WHERE status = 'active' AND provider_session IS NOT NULL;"
    )
}

fn create_cutoffs(quoted: &str, name: &str) -> String {
    let key = quote(&derived("", name, "_pkey"));
    format!(
        "CREATE TABLE {quoted} (user_id text NOT NULL CONSTRAINT {key} PRIMARY KEY, not_before timestamptz(3), \
         swept boolean NOT NULL DEFAULT false, revoked_at timestamptz(3), end_reason text);"
    )
}

fn create_moves(quoted: &str, name: &str) -> String {
    let [key, at] = ["_pkey", "_at_idx"].map(|suffix| quote(&derived("", name, suffix)));
    format!(
        "CREATE TABLE {quoted} (sid varchar NOT NULL CONSTRAINT {key} PRIMARY KEY, moved_to varchar NOT NULL, \
         moved_at timestamptz(3) NOT NULL); CREATE INDEX {at} ON {quoted} (moved_at);"
    )
}

/// Whether the table is there. One of another kind is refused.
pub(crate) async fn find(client: &Client, name: &str, needed: &[Needed]) -> Result<Option<()>, Error> {
    let columns = columns(client, name).await?;
    if columns.is_empty() {
        return Ok(None);
    }
    let fits = |(wanted, kinds, _): &Needed| {
        columns.iter().any(|column| column.name == *wanted && kinds.contains(&column.kind.as_str()))
    };
    if !needed.iter().all(fits) {
        let wanted: Vec<_> = needed.iter().map(|(name, kinds, _)| format!("{name} {}", kinds[0])).collect();
        let found: Vec<_> = columns.iter().map(|column| format!("{} {}", column.name, column.kind)).collect();
        return Err(Error::config(format!(
            "expected the table {name} to be one of Sessile's registry, with the columns {}; found one with {}; choose \
             another name for the registry with PostgresBuilder::registry(name), or move that table away",
            wanted.join(", "),
            found.join(", ")
        )));
    }
    let is_given = |column: &Column| needed.iter().any(|(name, _, given)| *given && *name == column.name);
    let required = columns.iter().find(|column| column.is_required && !is_given(column));
    let given: Vec<_> = needed.iter().filter(|(.., given)| *given).map(|(name, ..)| *name).collect();
    check_required(name, required, &given.join(", "))?;
    Ok(Some(()))
}

/// Whether this role may use the table, and its rows are found quickly and once.
async fn check_use(client: &Client, name: &str, key: &str, indexed: &[&str]) -> Result<(), Error> {
    const FACTS: &str = "SELECT has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') \
          AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'), current_user::text, \
        c.relkind IN ('v', 'f') OR EXISTS (SELECT 1 FROM pg_catalog.pg_index i \
          JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
          WHERE i.indrelid = c.oid AND i.indisunique AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = $2), \
        ARRAY(SELECT missing FROM unnest($3) AS missing WHERE c.relkind NOT IN ('v', 'f') AND NOT EXISTS ( \
          SELECT 1 FROM pg_catalog.pg_index i \
          JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
          WHERE i.indrelid = c.oid AND a.attname = missing)) \
        FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)";
    let values: Values<'_> = &[(&name, Type::TEXT), (&key, Type::TEXT), (&indexed, Type::TEXT_ARRAY)];
    let facts = client.query_typed_one(FACTS, values).await.map_err(Failure::from)?;
    let (may_use, role, unique): (bool, &str, bool) = (facts.get(0), facts.get(1), facts.get(2));
    if !may_use {
        let role = quote(role);
        return Err(Error::config(format!(
            "this role may not read and write the table {name}; as its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {role}"
        )));
    }
    if !unique {
        return Err(Error::config(format!(
            "expected the table {name} to have a primary key on {key}, found none; add one: ALTER TABLE {name} ADD PRIMARY KEY ({key})"
        )));
    }
    for column in facts.get::<_, Vec<&str>>(3) {
        tracing::warn!(
            "the table {name} has no index that begins with {column}, so that all of it is read; add one: CREATE INDEX CONCURRENTLY ON {name} ({column})"
        );
    }
    Ok(())
}
