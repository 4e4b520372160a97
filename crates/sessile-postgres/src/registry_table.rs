//! The registry's three tables, beside the sessions' table: who is signed in where, the cut-offs, and the keys that sessions
//! moved from. People read the first one with SQL of their own, so its columns are plain.

use sessile_core::Error;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::builder::PostgresBuilder;
use crate::catalogue::{Column, check_required, columns, find_or_create};
use crate::failure::Failure;
use crate::names::{check_identifier, derived, qualified, quote};
use crate::request_column;
use crate::rows::get;
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

/// An index: the column it begins with, how its name ends, and what stands before and after that name in SQL.
type Index = (&'static str, &'static str, &'static str, &'static str);

const REGISTRY_INDEXES: [Index; 6] = [
    ("sid", "_sid_idx", "INDEX", "(sid)"),
    ("sid", "_active_sid_idx", "UNIQUE INDEX", "(sid) WHERE status = 'active'"),
    ("user_id", "_active_idx", "INDEX", "(user_id, created_at DESC, id DESC) WHERE status = 'active'"),
    ("user_id", "_history_idx", "INDEX", "(user_id, logged_out_at DESC, id DESC) WHERE status <> 'active'"),
    ("logged_out_at", "_ended_idx", "INDEX", "(logged_out_at) WHERE status <> 'active'"),
    (
        "provider_session",
        "_provider_idx",
        "INDEX",
        "(provider_session) WHERE status = 'active' AND provider_session IS NOT NULL",
    ),
];

const MOVES_INDEXES: [Index; 1] = [("moved_at", "_at_idx", "INDEX", "(moved_at)")];

/// One of the tables, as it has to be.
pub(crate) struct Layout<'a> {
    pub(crate) name: &'a str,
    pub(crate) quoted: String,
    pub(crate) needed: &'static [Needed],
    indexes: &'static [Index],
    columns: String,
}

impl Layout<'_> {
    /// The SQL that makes the table, without its indexes.
    pub(crate) fn create(&self) -> String {
        format!("CREATE TABLE {} ({});", self.quoted, self.columns)
    }

    /// The indexes: quoted name and SQL, which `concurrently` is put into.
    pub(crate) fn indexes(&self, concurrently: &str) -> Vec<(String, String)> {
        let sql = |(_, suffix, kind, definition): &Index| {
            let name = derived("", self.name, suffix);
            let sql = format!("CREATE {kind} {concurrently}{} ON {} {definition};", quote(&name), self.quoted);
            (name, sql)
        };
        self.indexes.iter().map(sql).collect()
    }

    /// The columns that an index has to begin with.
    pub(crate) fn indexed(&self) -> Vec<&'static str> {
        let mut columns: Vec<_> = self.indexes.iter().map(|index| index.0).collect();
        columns.dedup();
        columns
    }

    /// The column of the unique index beside the key, and the SQL that makes that.
    pub(crate) fn unique(&self) -> Option<(&'static str, String)> {
        let at = self.indexes.iter().position(|index| index.2.starts_with("UNIQUE"))?;
        Some((self.indexes[at].0, self.indexes("CONCURRENTLY ").swap_remove(at).1))
    }

    /// Whether it is the one of the tables that has a column for the count of requests.
    pub(crate) fn counts_requests(&self) -> bool {
        self.key() == "id"
    }

    /// The column of the primary key.
    pub(crate) fn key(&self) -> &'static str {
        self.needed[0].0
    }

    /// Whether the table is there. One of another kind is refused.
    pub(crate) async fn find(&self, client: &Client) -> Result<Option<()>, Error> {
        find(client, &self.quoted, self.needed).await
    }
}

/// The tables, in this schema.
pub(crate) fn layouts<'a>(schema: &str, names: &'a RegistryNames) -> [Layout<'a>; 3] {
    let RegistryNames { registry, cutoffs, moves } = names;
    let layout = |name, needed, indexes, columns| {
        let quoted = qualified(Some(schema), name);
        Layout { name, quoted, needed, indexes, columns }
    };
    [
        layout(registry.as_str(), &REGISTRY[..], &REGISTRY_INDEXES[..], registry_columns(registry)),
        layout(cutoffs, &CUTOFFS, &[], cutoffs_columns(cutoffs)),
        layout(moves, &MOVES, &MOVES_INDEXES, moves_columns(moves)),
    ]
}

/// Finds the tables, or creates them, and describes them; and says whether the registry counts requests.
pub(crate) async fn prepare(client: &Client, schema: &str, names: &RegistryNames) -> Result<(String, bool), Error> {
    let (mut description, mut counts) = (String::new(), false);
    for table in layouts(schema, names) {
        let indexes = table.indexes("").into_iter().map(|(_, sql)| sql).collect::<String>();
        let sql = format!("{}{indexes}", table.create());
        let create = || async { Ok(client.batch_execute(&sql).await?) };
        let (_, how) = find_or_create(&table.quoted, || table.find(client), create).await?;
        check_use(client, &table).await?;
        if description.is_empty() {
            description = format!("registry {} ({how})", table.name);
        }
        if table.counts_requests() {
            counts = request_column::ensure(client, &table.quoted).await?;
        }
    }
    Ok((description, counts))
}

fn registry_columns(name: &str) -> String {
    let [key, check] = ["_pkey", "_status_check"].map(|suffix| quote(&derived("", name, suffix)));
    format!(
        "id uuid NOT NULL CONSTRAINT {key} PRIMARY KEY, sid varchar, user_id text NOT NULL, \
           status text NOT NULL DEFAULT 'active' CONSTRAINT {check} \
             CHECK (status IN ('active', 'logged_out', 'revoked', 'expired', 'evicted')), \
           ip_address inet, user_agent text, device text, auth_method text, provider_session text, \
           expires_at timestamptz(3) NOT NULL, \
           created_at timestamptz(3) NOT NULL, updated_at timestamptz(3) NOT NULL, last_seen_at timestamptz(3) NOT NULL, \
           authenticated_at timestamptz(3), logged_out_at timestamptz(3), end_reason text, \
           requests bigint NOT NULL DEFAULT 0"
    )
}

fn cutoffs_columns(name: &str) -> String {
    let key = quote(&derived("", name, "_pkey"));
    format!(
        "user_id text NOT NULL CONSTRAINT {key} PRIMARY KEY, not_before timestamptz(3), \
         swept boolean NOT NULL DEFAULT false, revoked_at timestamptz(3), end_reason text"
    )
}

fn moves_columns(name: &str) -> String {
    let key = quote(&derived("", name, "_pkey"));
    format!(
        "sid varchar NOT NULL CONSTRAINT {key} PRIMARY KEY, moved_to varchar NOT NULL, moved_at timestamptz(3) NOT NULL"
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

/// How a table can be used.
pub(crate) struct Use {
    pub(crate) role: String,
    /// What this role may not do.
    pub(crate) refused: Vec<String>,
    pub(crate) is_unique: bool,
    /// The columns that no index begins with and one should.
    pub(crate) unindexed: Vec<String>,
}

/// Whether this role may use the table, and its rows are found quickly and once.
pub(crate) async fn usage(client: &Client, name: &str, key: &str, indexed: &[&str]) -> Result<Use, Error> {
    const FACTS: &str = "SELECT current_user::text, \
        ARRAY(SELECT privilege FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS privilege \
          WHERE NOT has_table_privilege(c.oid, privilege)), \
        c.relkind IN ('v', 'f') OR EXISTS (SELECT 1 FROM pg_catalog.pg_index i \
          JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
          WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL \
            AND a.attname = $2), \
        ARRAY(SELECT missing FROM unnest($3) AS missing WHERE c.relkind NOT IN ('v', 'f') AND NOT EXISTS ( \
          SELECT 1 FROM pg_catalog.pg_index i \
          JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
          WHERE i.indrelid = c.oid AND i.indisvalid AND a.attname = missing)) \
        FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)";
    let values: Values<'_> = &[(&name, Type::TEXT), (&key, Type::TEXT), (&indexed, Type::TEXT_ARRAY)];
    let facts = client.query_typed_one(FACTS, values).await.map_err(Failure::from)?;
    Ok(Use { role: get(&facts, 0)?, refused: get(&facts, 1)?, is_unique: get(&facts, 2)?, unindexed: get(&facts, 3)? })
}

async fn check_use(client: &Client, table: &Layout<'_>) -> Result<(), Error> {
    let (name, key) = (&table.quoted, table.key());
    let found = usage(client, name, key, &table.indexed()).await?;
    if !found.refused.is_empty() {
        let role = quote(&found.role);
        return Err(Error::config(format!(
            "this role may not read and write the table {name}; as its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {role}"
        )));
    }
    if !found.is_unique {
        return Err(Error::config(format!(
            "expected the table {name} to have a primary key on {key}, found none; add one: ALTER TABLE {name} ADD PRIMARY KEY ({key})"
        )));
    }
    for column in found.unindexed {
        tracing::warn!(
            "the table {name} has no index that begins with {column}, so that all of it is read; add one: CREATE INDEX CONCURRENTLY ON {name} ({column})"
        );
    }
    Ok(())
}
