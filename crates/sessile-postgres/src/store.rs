//! The store: each operation is one statement.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Status};
use sessile_core::{
    Ending, Error, Examine, Fate, Load, Operations, Record, Registry, Stats, Store, StoreKey, Sweep, Swept, Transfer,
    UserId, Written,
};
use tokio::sync::OnceCell;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::builder::PostgresBuilder;
use crate::connect::{Connector, tune};
use crate::failure::Failure;
use crate::lanes::Lanes;
use crate::lease::{Lease, opened};
use crate::primary::Primary;
use crate::private::Private;
use crate::reads::{Read, Reads};
use crate::rows::{all_ended, count, ended, ending, get, says};
use crate::servers::{demands_writes, parse};
use crate::sign_in::owner_read;
use crate::table::{self, Table};
use crate::tidy::Walk;
use crate::time::{moment, time, whole_millis, whole_seconds};
use crate::tls;
use crate::transaction::Values;

/// Sessions in PostgreSQL. Cloning gives another view of the same connections.
///
/// ```no_run
/// # async fn example(database_url: &str) -> Result<(), sessile_core::Error> {
/// let store = sessile_postgres::PostgresStore::connect(database_url).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

struct Shared {
    settings: PostgresBuilder,
    connector: Connector,
    pool: Pool,
    /// The tables, once they were found or created. A failure is not kept: the next request tries again.
    table: OnceCell<Table>,
    reads: OnceLock<Arc<Reads>>,
    /// How far the tables have been compared.
    walk: Mutex<Walk>,
}

impl PostgresStore {
    /// Connects to this database and uses its table `session`, which is created when it is missing.
    ///
    /// # Errors
    /// When the URL is wrong, the server cannot be reached, or the existing table is not a session table.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    /// Settings for a store in this database.
    pub fn builder(url: impl Into<String>) -> PostgresBuilder {
        PostgresBuilder::new(url.into())
    }

    /// Finds or creates the table now instead of on first use.
    ///
    /// # Errors
    /// When the server cannot be reached, or the existing table is not a session table.
    pub async fn prepare(&self) -> Result<(), Error> {
        self.table().await.map(drop)
    }

    pub(crate) fn new(settings: PostgresBuilder) -> Result<Self, Error> {
        let (url, tls) = tls::split_url(&settings.url)?;
        let mut config = parse(&url)?;
        config.ssl_mode(tls.mode);
        tune(&mut config, settings.connect_timeout);
        let primary = Primary::new(demands_writes(&config));
        let connector = Connector::new(config.clone(), tls.connector, tls.verifies, primary);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_connect(config, connector.clone(), recycling))
            .max_size(settings.pool_max)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(settings.connect_timeout))
            .create_timeout(Some(settings.connect_timeout))
            .build()
            .map_err(|error| Error::config("the connection pool could not be set up").with_source(error))?;
        close_idle_connections(&pool, settings.pool_idle);
        let (table, reads, walk) = (OnceCell::new(), OnceLock::new(), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { settings, connector, pool, table, reads, walk }) })
    }

    /// The table, found or created on first use.
    pub(crate) async fn table(&self) -> Result<&Table, Error> {
        let shared = &self.shared;
        if let Some(table) = shared.table.get() {
            return Ok(table);
        }
        // Those who wait here while the server is silent do not add up their waits.
        let limit = shared.settings.connect_timeout * 2;
        let prepared = shared.table.get_or_try_init(|| table::prepare(&shared.pool, &shared.settings));
        tokio::time::timeout(limit, prepared).await.map_err(|_| Failure::Slow(limit))?
    }

    fn reads(&self, table: &Table) -> &Arc<Reads> {
        let Shared { settings, connector, reads, .. } = &*self.shared;
        reads.get_or_init(|| {
            let texts = Reads::texts(&table.sql, connector.primary.is_demanded());
            let (count, unnamed, patience) = (settings.connections, settings.unnamed, settings.connect_timeout);
            let lanes = Lanes::new(connector.clone(), texts, count, unnamed, patience);
            Reads::new(lanes, table.names.columns.kind, settings.statement_timeout)
        })
    }

    pub(crate) fn settings(&self) -> &PostgresBuilder {
        &self.shared.settings
    }

    pub(crate) fn pool_status(&self) -> Status {
        self.shared.pool.status()
    }

    /// Reads under way, and reads that wait.
    pub(crate) fn reads_depth(&self) -> (usize, usize) {
        self.shared.reads.get().map(|reads| reads.depth()).unwrap_or_default()
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.shared.connector
    }

    pub(crate) fn walk(&self) -> &Mutex<Walk> {
        &self.shared.walk
    }

    /// A connection of the pool, for a statement or a transaction.
    pub(crate) async fn lease(&self) -> Result<Lease, Failure> {
        Ok(Lease::new(self.connection().await?, self.shared.connector.clone()))
    }

    /// A connection of the pool that leads to the primary as far as is known.
    async fn connection(&self) -> Result<Object, Failure> {
        let Shared { pool, connector, .. } = &*self.shared;
        loop {
            let client = pool.get().await?;
            if !connector.primary.was_left(opened(&client)) {
                return Ok(client);
            }
            drop(Object::take(client));
        }
    }

    /// Whether statements are sent whole: asked for, or because the reads have found that the server does not keep them.
    pub(crate) fn is_unnamed(&self) -> bool {
        self.settings().unnamed || self.shared.reads.get().is_some_and(|reads| reads.lanes().is_unnamed())
    }

    /// Nothing matched: either the session is gone, or it is not as it was read.
    pub(crate) async fn gone_or_stale(&self, sql: &str, key: &StoreKey, now: f64) -> Result<Written, Error> {
        let alive = self.query(sql, &[(&Private(key.as_str()), Type::TEXT), (&now, Type::FLOAT8)]).await?;
        Ok(if alive.is_empty() { Written::Gone } else { Written::Stale })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
        let table = self.table().await?;
        let read = self.reads(table).read(key, whole_seconds(now)).await?;
        let Some(Read { stored, cut_off }) = read else { return Ok(None) };
        let mut record = stored.record(key, now)?;
        record.cut_off = cut_off;
        Ok(Some(record))
    }

    async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        let Table { sql, names, .. } = self.table().await?;
        let (document, end) = (names.columns.text(record), whole_seconds(record.expires_at));
        let values: Values<'_> = &[
            (&Private(key.as_str()), Type::TEXT),
            (&Private(&*document), Type::TEXT),
            (&end, Type::FLOAT8),
            (&Private(owner(record)), Type::TEXT),
            (&whole_millis(record.created_at), Type::FLOAT8),
        ];
        Ok(if self.query(&sql.insert, names.columns.fit(values, 3)).await?.is_empty() {
            Written::Stale
        } else {
            Written::Done
        })
    }

    async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        let Table { sql, names, .. } = self.table().await?;
        let (document, revision) = (names.columns.text(record), names.columns.revision(record));
        let (now, end) = (whole_seconds(record.seen_at), whole_seconds(record.expires_at));
        let values: Values<'_> = &[
            (&Private(key.as_str()), Type::TEXT),
            (&now, Type::FLOAT8),
            (&Private(&*document), Type::TEXT),
            (&end, Type::FLOAT8),
            (&Private(revision.as_deref()), Type::TEXT),
            (&Private(owner(record)), Type::TEXT),
            (&Private(owner_read(record)), Type::TEXT),
        ];
        if self.query(&sql.update, names.columns.fit(values, 5)).await?.is_empty() {
            return self.gone_or_stale(&sql.alive, key, now).await;
        }
        Ok(Written::Done)
    }

    async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
        let Table { sql, names, .. } = self.table().await?;
        let (document, revision) = (names.columns.text(record), names.columns.revision(record));
        let (now, end) = (whole_seconds(record.seen_at), whole_seconds(record.expires_at));
        let values: Values<'_> = &[
            (&Private(from.as_str()), Type::TEXT),
            (&now, Type::FLOAT8),
            (&Private(&*document), Type::TEXT),
            (&end, Type::FLOAT8),
            (&Private(revision.as_deref()), Type::TEXT),
            (&Private(to.as_str()), Type::TEXT),
            (&whole_millis(record.seen_at), Type::FLOAT8),
            (&Private(owner(record)), Type::TEXT),
            (&Private(owner_read(record)), Type::TEXT),
            (&whole_millis(record.created_at), Type::FLOAT8),
        ];
        let values = names.columns.fit(values, 7);
        let answer = match &record.owner {
            // Whoever is just registering the session, or revoking its owner's, goes first or waits.
            Some(owner) => {
                let owner = Private(owner.as_str());
                let statements: [(&str, Values<'_>); 2] =
                    [(&sql.align.turn, &[(&owner, Type::TEXT)]), (&sql.rotate, values)];
                self.together(self.settings().statement_timeout, statements).await.map(|[_, answer]| answer)
            }
            None => self.query(&sql.rotate, values).await,
        };
        let answer = match answer {
            // The new key is taken.
            Err(failure) if failure.is(&SqlState::UNIQUE_VIOLATION) => return Ok(Written::Stale),
            answer => answer?,
        };
        match (says(&answer, 0)?, says(&answer, 1)?) {
            (true, _) => Ok(Written::Done),
            (_, true) => Ok(Written::Gone),
            _ => self.gone_or_stale(&sql.alive, from, now).await,
        }
    }

    async fn touch(&self, key: &StoreKey, seen_at: SystemTime, expires_at: SystemTime) -> Result<Written, Error> {
        let sql = &self.table().await?.sql;
        let (now, end) = (whole_seconds(seen_at), whole_seconds(expires_at));
        let values: Values<'_> = &[(&Private(key.as_str()), Type::TEXT), (&now, Type::FLOAT8), (&end, Type::FLOAT8)];
        Ok(if self.query(&sql.touch, values).await?.is_empty() { Written::Gone } else { Written::Done })
    }

    async fn remove(&self, key: &StoreKey, ending: &Ending) -> Result<bool, Error> {
        let sql = &self.table().await?.sql;
        let values: Values<'_> = &[
            (&Private(key.as_str()), Type::TEXT),
            (&ending.end.as_str(), Type::TEXT),
            (&whole_millis(ending.at), Type::FLOAT8),
            (&ending.reason.as_deref(), Type::TEXT),
        ];
        Ok(!self.query(&sql.remove, values).await?.is_empty())
    }

    async fn fate(&self, key: &StoreKey) -> Result<Option<Fate>, Error> {
        let sql = &self.table().await?.sql;
        let rows = self.query(&sql.fate, &[(&Private(key.as_str()), Type::TEXT)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if let Some(to) = get::<Option<&str>>(row, 0)? {
            return Ok(Some(Fate::Moved { to: StoreKey::stored(to), at: moment(get(row, 1)?) }));
        }
        Ok(ended(row, 2)?.zip(ending(row, 5)?).map(|(ended, ending)| Fate::Ended(ended, ending)))
    }

    fn registry(&self) -> Option<&dyn Registry> {
        Some(self)
    }

    fn busy(&self) -> Option<Load> {
        let depth = self.depth();
        let known = |count: usize| Some(count as u64);
        Some(Load {
            connections: known(depth.pool_size),
            connections_in_use: known(depth.pool_in_use),
            connections_max: known(depth.pool_max),
            waiting_for_connection: known(depth.pool_waiting),
            reads_under_way: known(depth.reads_under_way),
            reads_waiting: known(depth.reads_waiting),
        })
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }

    fn stats(&self) -> Option<&dyn Stats> {
        Some(self)
    }

    fn examine(&self) -> Option<&dyn Examine> {
        Some(self)
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    fn transfer(&self) -> Option<&dyn Transfer> {
        Some(self)
    }

    async fn time(&self) -> Result<Option<SystemTime>, Error> {
        // The sweeper asks with each round: as good a time as any to find out that another server was promoted.
        self.connector().look_around();
        let client = self.connection().await?;
        let row =
            client.query_typed_one("SELECT date_part('epoch', clock_timestamp())", &[]).await.map_err(Failure::from)?;
        Ok(row.try_get(0).ok().map(time))
    }

    fn description(&self) -> String {
        match self.shared.table.get() {
            Some(table) => table.description.clone(),
            None => format!("PostgreSQL, table {} (not reached yet)", self.settings().table),
        }
    }
}

#[async_trait]
impl Sweep for PostgresStore {
    async fn sweep(&self, now: SystemTime, limit: u32) -> Result<Swept, Error> {
        let sql = &self.table().await?.sql;
        let values: Values<'_> =
            &[(&whole_seconds(now), Type::FLOAT8), (&whole_millis(now), Type::FLOAT8), (&i64::from(limit), Type::INT8)];
        let rows = self.query(&sql.sweep, values).await?;
        Ok(Swept { removed: count(&rows, 0)?, expired: all_ended(&rows, 1)? })
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresStore({})", self.description())
    }
}

/// Whose session it is.
fn owner(record: &Record) -> Option<&str> {
    record.owner.as_ref().map(UserId::as_str)
}

/// Closes connections that were not used for this long, as long as the pool exists.
fn close_idle_connections(pool: &Pool, idle: Duration) {
    let weak = pool.weak();
    let every = (idle / 2).max(Duration::from_millis(100));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            match weak.upgrade() {
                Some(pool) => drop(pool.retain(|_, metrics| metrics.last_used() < idle)),
                None => return,
            }
        }
    });
}
