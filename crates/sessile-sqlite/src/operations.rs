//! What is kept for operators: who they are, what they did, and which secrets verified cookies. Three tables beside the
//! registry, made when the first row is written: an application without operators has none of them, and reading makes none.

use async_trait::async_trait;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, ToSql, params};
use sessile_core::{Action, Error, Operations, Operator, Role, SecretUse};

use crate::failure;
use crate::figures::count;
use crate::registry_table::Tables;
use crate::store::SqliteStore;
use crate::table::{self, quoted};
use crate::times::{from_millis, millis, read, text};

/// The tables and their statements.
pub(crate) struct Operating {
    operators: Kept,
    audit: Kept,
    secrets: Kept,
    remove_operator: String,
}

/// One table: how it is made, written and read.
struct Kept {
    name: String,
    create: String,
    add: String,
    list: String,
}

impl Operating {
    pub(crate) fn on(tables: &Tables) -> Self {
        Self {
            operators: operators(&tables.operators),
            audit: audit(&tables.audit),
            secrets: secrets(&tables.secrets),
            remove_operator: format!("DELETE FROM {} WHERE name = ?1", quoted(&tables.operators)),
        }
    }

    fn add_operator(&self, connection: &Connection, operator: &Operator) -> rusqlite::Result<bool> {
        let Operator { name, role, token_hash, created_at } = operator;
        self.operators
            .add(connection, params![name, role.as_str(), token_hash, millis(*created_at)])
            .map(|added| added == 1)
    }

    fn remove_operator(&self, connection: &Connection, name: &str) -> rusqlite::Result<bool> {
        Ok(self.operators.is_there(connection)?
            && connection.prepare_cached(&self.remove_operator)?.execute([name])? == 1)
    }

    fn record(&self, connection: &Connection, action: &Action) -> rusqlite::Result<()> {
        let Action { at, actor, action, target, sessions, reason, ip } = action;
        let (sessions, ip) = (i64::try_from(*sessions).unwrap_or(i64::MAX), ip.map(|ip| ip.to_string()));
        self.audit.add(connection, params![millis(*at), actor, action, target, sessions, reason, ip]).map(drop)
    }

    fn note_secrets(&self, connection: &Connection, uses: &[SecretUse]) -> rusqlite::Result<()> {
        uses.iter().try_for_each(|SecretUse { fingerprint, cookies, last_used_at }| {
            let cookies = i64::try_from(*cookies).unwrap_or(i64::MAX);
            self.secrets.add(connection, params![fingerprint, cookies, millis(*last_used_at)]).map(drop)
        })
    }
}

impl Kept {
    fn is_there(&self, connection: &Connection) -> rusqlite::Result<bool> {
        Ok(table::kind(connection, &self.name)?.is_some())
    }

    /// How many rows were written.
    fn add(&self, connection: &Connection, values: &[&dyn ToSql]) -> rusqlite::Result<usize> {
        if !self.is_there(connection)? {
            connection.execute_batch(&self.create)?;
        }
        connection.prepare_cached(&self.add)?.execute(values)
    }

    fn list<T>(
        &self,
        connection: &Connection,
        values: &[&dyn ToSql],
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let rows = || {
            if !self.is_there(connection)? {
                return Ok(Vec::new());
            }
            connection.prepare_cached(&self.list)?.query_map(values, read)?.collect()
        };
        rows().map_err(failure::of)
    }
}

fn operators(table: &str) -> Kept {
    let name = quoted(table);
    Kept {
        create: format!(
            "CREATE TABLE {name} (name TEXT PRIMARY KEY NOT NULL, role TEXT NOT NULL, token_hash BLOB NOT NULL, \
               created_at TEXT NOT NULL) WITHOUT ROWID"
        ),
        add: format!(
            "INSERT INTO {name} (name, role, token_hash, created_at) VALUES (?1, ?2, ?3, {}) ON CONFLICT DO NOTHING",
            text(4)
        ),
        list: format!("SELECT name, role, token_hash, {} FROM {name} ORDER BY name", read("created_at")),
        name: table.into(),
    }
}

/// AUTOINCREMENT gives no number twice, also when an operator empties the table.
fn audit(table: &str) -> Kept {
    let name = quoted(table);
    Kept {
        create: format!(
            "CREATE TABLE {name} (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, actor TEXT NOT NULL, \
               action TEXT NOT NULL, target TEXT NOT NULL, sessions INTEGER NOT NULL, reason TEXT, ip_address TEXT)"
        ),
        add: format!(
            "INSERT INTO {name} (at, actor, action, target, sessions, reason, ip_address)
             VALUES ({}, ?2, ?3, ?4, ?5, ?6, ?7)",
            text(1)
        ),
        list: format!(
            "SELECT id, {}, actor, action, target, sessions, reason, ip_address FROM {name}
             WHERE id < coalesce(?1, 9223372036854775807) ORDER BY id DESC LIMIT ?2",
            read("at")
        ),
        name: table.into(),
    }
}

fn secrets(table: &str) -> Kept {
    let name = quoted(table);
    Kept {
        create: format!(
            "CREATE TABLE {name} (fingerprint TEXT PRIMARY KEY NOT NULL, cookies INTEGER NOT NULL, \
               last_used_at TEXT NOT NULL) WITHOUT ROWID"
        ),
        // Too many for an integer would become a fraction.
        add: format!(
            "INSERT INTO {name} (fingerprint, cookies, last_used_at) VALUES (?1, ?2, {})
             ON CONFLICT (fingerprint) DO UPDATE SET
               cookies = CAST(min(cookies + excluded.cookies, 9223372036854775807) AS INTEGER),
               last_used_at = max(last_used_at, excluded.last_used_at)",
            text(3)
        ),
        list: format!(
            "SELECT fingerprint, cookies, {} FROM {name} ORDER BY last_used_at DESC, fingerprint",
            read("last_used_at")
        ),
        name: table.into(),
    }
}

fn operator(row: &Row<'_>) -> rusqlite::Result<Operator> {
    let role: String = row.get(1)?;
    let unknown = || rusqlite::Error::InvalidColumnType(1, "role".into(), Type::Text);
    Ok(Operator {
        name: row.get(0)?,
        role: Role::parse(&role).ok_or_else(unknown)?,
        token_hash: row.get(2)?,
        created_at: from_millis(row.get(3)?),
    })
}

fn action(row: &Row<'_>) -> rusqlite::Result<(i64, Action)> {
    let ip: Option<String> = row.get(7)?;
    let action = Action {
        at: from_millis(row.get(1)?),
        actor: row.get(2)?,
        action: row.get(3)?,
        target: row.get(4)?,
        sessions: count(row, 5)?,
        reason: row.get(6)?,
        ip: ip.and_then(|ip| ip.parse().ok()),
    };
    Ok((row.get(0)?, action))
}

fn secret(row: &Row<'_>) -> rusqlite::Result<SecretUse> {
    Ok(SecretUse { fingerprint: row.get(0)?, cookies: count(row, 1)?, last_used_at: from_millis(row.get(2)?) })
}

#[async_trait]
impl Operations for SqliteStore {
    async fn add_operator(&self, operator: &Operator) -> Result<bool, Error> {
        operator.check()?;
        let operator = operator.clone();
        self.write_whole(move |statements, connection| statements.operating.add_operator(connection, &operator)).await
    }

    async fn operators(&self) -> Result<Vec<Operator>, Error> {
        self.read(|statements, connection| statements.operating.operators.list(connection, &[], operator))
    }

    async fn remove_operator(&self, name: &str) -> Result<bool, Error> {
        let name = name.to_owned();
        self.write_whole(move |statements, connection| statements.operating.remove_operator(connection, &name)).await
    }

    async fn record(&self, action: &Action) -> Result<(), Error> {
        let action = action.cleaned();
        self.write_whole(move |statements, connection| statements.operating.record(connection, &action)).await
    }

    async fn actions(&self, before: Option<i64>, limit: u32) -> Result<Vec<(i64, Action)>, Error> {
        self.read(|statements, connection| statements.operating.audit.list(connection, params![before, limit], action))
    }

    async fn note_secrets(&self, uses: &[SecretUse]) -> Result<(), Error> {
        let uses = uses.to_vec();
        self.write_whole(move |statements, connection| statements.operating.note_secrets(connection, &uses)).await
    }

    async fn secrets(&self) -> Result<Vec<SecretUse>, Error> {
        self.read(|statements, connection| statements.operating.secrets.list(connection, &[], secret))
    }
}
