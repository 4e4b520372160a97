//! What can be decided about a [`PostgresStore`].

use std::fmt;
use std::time::Duration;

use sessile_core::{Error, TableKind};

use crate::PostgresStore;

/// Settings of a [`PostgresStore`]; made by [`PostgresStore::builder`].
#[derive(Clone)]
pub struct PostgresBuilder {
    pub(crate) url: String,
    pub(crate) table: String,
    is_named: bool,
    pub(crate) kind: Option<TableKind>,
    pub(crate) schema: Option<String>,
    pub(crate) registry: Option<String>,
    pub(crate) connections: usize,
    pub(crate) pool_max: usize,
    pub(crate) pool_idle: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) unnamed: bool,
    pub(crate) existing: bool,
}

impl PostgresBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            table: usual_name(TableKind::Express).into(),
            is_named: false,
            kind: None,
            schema: None,
            registry: None,
            connections: 2,
            pool_max: 10,
            pool_idle: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(5),
            unnamed: false,
            existing: false,
        }
    }

    /// The table's name. Default `session`, or `sessions` for [`TableKind::Columns`]. Case counts; a dot is a character like
    /// any other.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        (self.table, self.is_named) = (table.into(), true);
        self
    }

    /// What the table is like. Default: as it is found, and connect-pg-simple's when it is made. A table of another kind
    /// than this is refused.
    pub fn table_kind(mut self, kind: TableKind) -> Self {
        self.kind = Some(kind);
        if !self.is_named {
            self.table = usual_name(kind).into();
        }
        self
    }

    /// The table's schema. Default: the first one of the connection's `search_path`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// The name of the registry's table, which is in the same schema, and from which those of two more are made:
    /// `…_cutoffs` and `…_moves`. Default `sessions` where the table is called `session`, else the table's name and
    /// `_registry`, so that each session table of a schema has a registry of its own.
    pub fn registry(mut self, registry: impl Into<String>) -> Self {
        self.registry = Some(registry.into());
        self
    }

    /// How many connections the reads of all requests share. Default 2.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// How many connections writes, sweeps and set-up use at most. Default 10.
    pub fn pool_max(mut self, max: usize) -> Self {
        self.pool_max = max;
        self
    }

    /// How long such a connection is kept unused. Default 30 seconds.
    pub fn pool_idle(mut self, idle: Duration) -> Self {
        self.pool_idle = idle;
        self
    }

    /// How long connecting, or waiting for a connection of the pool, may take. Default 2 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one statement may take before the store counts as unavailable. Default 5 seconds.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// Whether statements are sent whole each time instead of being prepared: for a pooler in transaction mode. Default
    /// false; a pooler is recognised by its errors and then treated so by itself.
    pub fn unnamed_statements(mut self, unnamed: bool) -> Self {
        self.unnamed = unnamed;
        self
    }

    /// Whether the session table has to be there already. Default false: a missing one is created. For programs that look at
    /// sessions, whose URL may lead elsewhere by mistake.
    pub fn existing(mut self, existing: bool) -> Self {
        self.existing = existing;
        self
    }

    /// Connects, and creates the tables that are missing. Safe when many processes do so at once.
    ///
    /// # Errors
    /// When the settings are wrong, the server cannot be reached, an existing table is of another kind, or this role may
    /// not create or use one.
    pub async fn connect(self) -> Result<PostgresStore, Error> {
        let store = self.connect_lazy()?;
        store.prepare().await?;
        Ok(store)
    }

    /// A store that connects when it is first used: until the server can be reached every request answers 503.
    ///
    /// # Errors
    /// When the settings are wrong.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect_lazy(self) -> Result<PostgresStore, Error> {
        PostgresStore::new(self)
    }
}

fn usual_name(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Express => "session",
        TableKind::Columns => "sessions",
    }
}

/// Everything but the URL, which has a password.
impl fmt::Debug for PostgresBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBuilder")
            .field("schema", &self.schema)
            .field("table", &self.table)
            .field("kind", &self.kind)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
