//! The registry's tables: one of sessions that have or had an owner, and two small ones beside it, for the times before
//! which sign-ins count no more, and for the keys that sessions moved from within the last hour.

use rusqlite::{Connection, Transaction};
use sessile_core::{Error, TableKind};

use crate::layout::Layout;
use crate::table::{Origin, Shape, TEXT, TIME, quoted};

/// The names of all tables, and what the session table is like.
pub(crate) struct Tables {
    pub(crate) layout: Layout,
    pub(crate) session: String,
    pub(crate) registry: String,
    pub(crate) cut_offs: String,
    pub(crate) moves: String,
    pub(crate) operators: String,
    pub(crate) audit: String,
    pub(crate) secrets: String,
}

impl Tables {
    /// The registry is named after the session table, unless it has a name of its own. The session table is Express's until
    /// somebody has looked.
    pub(crate) fn new(session: &str, registry: Option<&str>) -> Self {
        let registry = match registry {
            Some(name) => name.to_owned(),
            None if session.eq_ignore_ascii_case("session") => "sessions".to_owned(),
            None => format!("{session}_registry"),
        };
        Self {
            layout: Layout::of(TableKind::Express),
            session: session.to_owned(),
            cut_offs: format!("{registry}_cutoffs"),
            moves: format!("{registry}_moves"),
            operators: format!("{registry}_operators"),
            audit: format!("{registry}_audit"),
            secrets: format!("{registry}_secrets"),
            registry,
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> [String; 7] {
        let Self { session, registry, cut_offs, moves, operators, audit, secrets, .. } = self;
        [session, registry, cut_offs, moves, operators, audit, secrets].map(String::clone)
    }

    /// SQL: the active rows `r` of the registry whose session is alive at the time in this parameter; conditions may follow
    /// with `AND`. `CROSS JOIN` is SQLite's way to say which table is read first: the registry, through an index of its own.
    pub(crate) fn live(&self, now: u8) -> String {
        let (session, registry) = (quoted(&self.session), quoted(&self.registry));
        let Layout { key, end, .. } = &self.layout;
        format!(
            "{registry} AS r CROSS JOIN {session} AS s ON s.{key} = r.sid AND unixepoch(s.{end}) >= ?{now}
               WHERE r.status = 'active'"
        )
    }

    /// SQL: everyone's cut-off ended the session of the row `r` of the registry.
    pub(crate) fn is_ended_with_everyone(&self) -> String {
        let cut_offs = quoted(&self.cut_offs);
        format!(
            "coalesce(coalesce(r.authenticated_at, r.created_at) < (SELECT not_before FROM {cut_offs} WHERE user_id = ''), 0)"
        )
    }

    /// SQL: the session of the row `r` of the registry is alive at the time in this parameter.
    pub(crate) fn is_alive(&self, now: u8) -> String {
        let session = quoted(&self.session);
        let Layout { key, end, .. } = &self.layout;
        format!("EXISTS (SELECT 1 FROM {session} AS s WHERE s.{key} = r.sid AND unixepoch(s.{end}) >= ?{now})")
    }
}

/// Creates the tables or checks them; says where the registry came from. The columns table is often called as Express's
/// registry is, so whoever meant to share it is told how.
pub(crate) fn ensure(transaction: &Transaction<'_>, tables: &Tables) -> Result<Origin, Error> {
    if Layout::found(transaction, &tables.registry, None)?.kind == TableKind::Columns {
        let why = "it holds sessions itself, in columns, and is shared when `SqliteBuilder::table` names it";
        return Err(refused(&tables.registry, why));
    }
    let origin = REGISTRY.ensure(transaction, &tables.registry)?;
    count_requests(transaction, &tables.registry).map_err(|error| {
        REGISTRY.refused(&tables.registry, "its column `requests` could not be added").with_source(error)
    })?;
    CUT_OFFS.ensure(transaction, &tables.cut_offs)?;
    MOVES.ensure(transaction, &tables.moves)?;
    Ok(origin)
}

/// Registries of earlier versions have no column for the count of requests. SQLite adds one without writing the rows.
fn count_requests(transaction: &Transaction<'_>, registry: &str) -> rusqlite::Result<()> {
    let is_there = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = 'requests' COLLATE NOCASE)";
    if transaction.query_row(is_there, [registry], |row| row.get(0))? {
        return Ok(());
    }
    transaction.execute_batch(&format!("ALTER TABLE {} ADD COLUMN {REQUESTS}", quoted(registry)))
}

const REQUESTS: &str = "requests INTEGER NOT NULL DEFAULT 0";

/// What each of its tables has to be like.
pub(crate) fn shapes(tables: &Tables) -> [(&'static Shape, &str); 3] {
    [(&REGISTRY, &*tables.registry), (&CUT_OFFS, &*tables.cut_offs), (&MOVES, &*tables.moves)]
}

/// The error of a registry that statements cannot run on.
pub(crate) fn refused(registry: &str, why: &str) -> Error {
    REGISTRY.refused(registry, why)
}

const PURPOSE: &str = "serve the registry of sessions";
const REMEDY: &str = "SqliteBuilder::registry";

const REGISTRY: Shape = Shape {
    purpose: PURPOSE,
    remedy: REMEDY,
    columns: &[
        ("id", TEXT),
        ("sid", TEXT),
        ("user_id", TEXT),
        ("status", TEXT),
        ("ip_address", TEXT),
        ("user_agent", TEXT),
        ("device", TEXT),
        ("auth_method", TEXT),
        ("provider_session", TEXT),
        ("expires_at", TIME),
        ("created_at", TIME),
        ("updated_at", TIME),
        ("last_seen_at", TIME),
        ("authenticated_at", TIME),
        ("logged_out_at", TIME),
        ("end_reason", TEXT),
    ],
    nullable: &[
        "sid",
        "ip_address",
        "user_agent",
        "device",
        "auth_method",
        "provider_session",
        "authenticated_at",
        "logged_out_at",
        "end_reason",
    ],
    key: "id",
    create: create_registry,
};

const CUT_OFFS: Shape = Shape {
    purpose: PURPOSE,
    remedy: REMEDY,
    columns: &[
        ("user_id", TEXT),
        ("not_before", TIME),
        ("swept", &["INT"]),
        ("status", TEXT),
        ("ended_at", TIME),
        ("end_reason", TEXT),
    ],
    nullable: &["end_reason"],
    key: "user_id",
    create: create_cut_offs,
};

const MOVES: Shape = Shape {
    purpose: PURPOSE,
    remedy: REMEDY,
    columns: &[("sid", TEXT), ("moved_to", TEXT), ("moved_at", TIME)],
    nullable: &[],
    key: "sid",
    create: create_moves,
};

/// An index of the registry's tables.
pub(crate) struct Index {
    name: String,
    table: String,
    columns: &'static str,
    /// Which rows are in it: all where this is empty.
    rows: &'static str,
}

impl Index {
    pub(crate) fn on(table: &str, what: &str, columns: &'static str, rows: &'static str) -> Self {
        Self { name: format!("IDX_{table}_{what}"), table: table.to_owned(), columns, rows }
    }

    /// SQL that makes it.
    pub(crate) fn create(&self) -> String {
        let Self { name, table, columns, rows } = self;
        let only = if rows.is_empty() { String::new() } else { format!(" WHERE {rows}") };
        format!("CREATE INDEX {} ON {} ({columns}){only}", quoted(name), quoted(table))
    }

    /// Whether an index of the table begins with these columns and has these rows in it, whatever its name is.
    pub(crate) fn serves(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let mut statement = connection.prepare(
            "SELECT (SELECT group_concat(name || iif(desc, ' DESC', ''), ', ')
                 FROM (SELECT * FROM pragma_index_xinfo(i.name) WHERE key ORDER BY seqno)), i.partial, s.sql
               FROM pragma_index_list(?1) AS i LEFT JOIN sqlite_schema AS s ON s.type = 'index' AND s.name = i.name",
        )?;
        let mut found = statement.query([&self.table])?;
        while let Some(row) = found.next()? {
            let (columns, is_partial): (Option<String>, bool) = (row.get(0)?, row.get(1)?);
            let sql: String = row.get::<_, Option<String>>(2)?.unwrap_or_default();
            let has_rows = !is_partial || (!self.rows.is_empty() && sql.trim_end().ends_with(self.rows));
            let begins = columns.as_deref().and_then(|columns| columns.strip_prefix(self.columns));
            if has_rows && begins.is_some_and(|rest| rest.is_empty() || rest.starts_with(',')) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Those that the registry's statements need.
pub(crate) fn indexes(tables: &Tables) -> Vec<Index> {
    registry_indexes(&tables.registry).into_iter().chain([moves_index(&tables.moves)]).collect()
}

fn registry_indexes(table: &str) -> [Index; 5] {
    [
        Index::on(table, "sid", "sid", ""),
        Index::on(table, "active", "user_id, created_at DESC, id DESC", "status = 'active'"),
        Index::on(table, "ended", "user_id, logged_out_at DESC, id DESC", "status <> 'active'"),
        Index::on(table, "logged_out_at", "logged_out_at", "status <> 'active'"),
        Index::on(table, "provider_session", "provider_session", "status = 'active' AND provider_session IS NOT NULL"),
    ]
}

fn moves_index(table: &str) -> Index {
    Index::on(table, "moved_at", "moved_at", "")
}

fn create_registry(table: &str) -> String {
    let name = quoted(table);
    let indexes = registry_indexes(table).map(|index| index.create()).join("; ");
    format!(
        "CREATE TABLE {name} (id TEXT PRIMARY KEY NOT NULL, sid TEXT, user_id TEXT NOT NULL, \
           status TEXT NOT NULL DEFAULT 'active' \
             CHECK (status IN ('active', 'logged_out', 'revoked', 'expired', 'evicted')), \
           ip_address TEXT, user_agent TEXT, device TEXT, auth_method TEXT, provider_session TEXT, \
           expires_at TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, last_seen_at TEXT NOT NULL, \
           authenticated_at TEXT, logged_out_at TEXT, end_reason TEXT, {REQUESTS}); \
         {indexes};"
    )
}

/// `status`, `ended_at` and `end_reason` are what the registry will say of the sessions that a cut-off ends.
fn create_cut_offs(table: &str) -> String {
    let name = quoted(table);
    format!(
        "CREATE TABLE {name} (user_id TEXT PRIMARY KEY NOT NULL, not_before TEXT, swept INTEGER NOT NULL DEFAULT 0, \
           status TEXT, ended_at TEXT, end_reason TEXT) WITHOUT ROWID;"
    )
}

fn create_moves(table: &str) -> String {
    let (name, index) = (quoted(table), moves_index(table).create());
    format!(
        "CREATE TABLE {name} (sid TEXT PRIMARY KEY NOT NULL, moved_to TEXT NOT NULL, moved_at TEXT NOT NULL) \
           WITHOUT ROWID; \
         {index};"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_named_after_the_session_table() {
        for (session, registry, expected) in [
            ("session", None, "sessions"),
            ("Session", None, "sessions"),
            ("user_sessions", None, "user_sessions_registry"),
            ("sessions", None, "sessions_registry"),
            ("session", Some("devices"), "devices"),
        ] {
            let tables = Tables::new(session, registry);
            assert_eq!(tables.registry, expected);
            assert_eq!(tables.cut_offs, format!("{expected}_cutoffs"));
            assert_eq!(tables.moves, format!("{expected}_moves"));
        }
    }
}
