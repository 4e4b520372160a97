//! The store: each operation is one statement.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use sessile_core::{Error, Record, Store, StoreKey, Sweep, Written};
use tokio::sync::OnceCell;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::builder::PostgresBuilder;
use crate::connect::{Connector, tune};
use crate::failure::Failure;
use crate::lanes::Lanes;
use crate::lease::Lease;
use crate::private::Private;
use crate::reads::{Reads, Stored};
use crate::table::{self, Table};
use crate::tls;

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
    /// The table, once it was found or created. A failure is not kept: the next request tries again.
    table: OnceCell<Table>,
    reads: OnceLock<Arc<Reads>>,
}

type Values<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

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
        let mut config: tokio_postgres::Config = url.parse().map_err(|_| {
            Error::config(
                "expected a URL like postgres://user:password@host:5432/database, found something that is not one",
            )
        })?;
        config.ssl_mode(tls.mode);
        tune(&mut config, settings.connect_timeout);
        let connector = Connector { config: config.clone(), tls: tls.connector };
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_connect(config, connector.clone(), recycling))
            .max_size(settings.pool_max)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(settings.connect_timeout))
            .create_timeout(Some(settings.connect_timeout))
            .build()
            .map_err(|error| Error::config("the connection pool could not be set up").with_source(error))?;
        close_idle_connections(&pool, settings.pool_idle);
        let shared = Shared { settings, connector, pool, table: OnceCell::new(), reads: OnceLock::new() };
        Ok(Self { shared: Arc::new(shared) })
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
            let texts = Reads::texts(&table.sql);
            let (count, unnamed, patience) = (settings.connections, settings.unnamed, settings.connect_timeout);
            Reads::new(Lanes::new(connector.clone(), texts, count, unnamed, patience), settings.statement_timeout)
        })
    }

    /// Runs a statement on a connection of its own and says how many rows it concerned.
    async fn execute(&self, sql: &str, values: Values<'_>) -> Result<u64, Failure> {
        let shared = &self.shared;
        let lease = Lease::new(shared.pool.get().await?, shared.connector.tls.clone());
        let limit = shared.settings.statement_timeout;
        let Some(client) = lease.client() else { return Err(Failure::Down) };
        let done =
            tokio::time::timeout(limit, self.run(client, sql, values)).await.map_err(|_| Failure::Slow(limit))?;
        lease.finished();
        done
    }

    async fn run(&self, client: &Object, sql: &str, values: Values<'_>) -> Result<u64, Failure> {
        if self.shared.settings.unnamed || self.lost_statements() {
            return Ok(client.execute_typed(sql, values).await?);
        }
        let types: Vec<Type> = values.iter().map(|(_, kind)| kind.clone()).collect();
        let prepared = async {
            let statement = client.prepare_typed_cached(sql, &types).await?;
            let values: Vec<_> = values.iter().map(|(value, _)| *value).collect();
            client.execute(&statement, &values).await
        };
        match prepared.await.map_err(Failure::from) {
            // Nothing ran. Sent whole, the statement needs nothing that the server could have forgotten.
            Err(failure) if failure.is_lost_statement() => {
                client.statement_cache.remove(sql, &types);
                Ok(client.execute_typed(sql, values).await?)
            }
            done => done,
        }
    }

    /// Whether the reads have found that the server does not keep statements.
    fn lost_statements(&self) -> bool {
        self.shared.reads.get().is_some_and(|reads| reads.lanes().is_unnamed())
    }

    /// Nothing matched: either the session is gone, or it is not as it was read.
    async fn gone_or_stale(&self, sql: &str, key: &StoreKey, now: f64) -> Result<Written, Error> {
        let alive = self.execute(sql, &[(&Private(key.as_str()), Type::TEXT), (&now, Type::FLOAT8)]).await?;
        Ok(if alive == 0 { Written::Gone } else { Written::Stale })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
        let table = self.table().await?;
        let stored = self.reads(table).read(key, whole_seconds(now)).await?;
        let Some(Stored { document, expires_at }) = stored else { return Ok(None) };
        Record::stored(key, document, time(expires_at), now).map(Some)
    }

    async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        let sql = &self.table().await?.sql;
        let (document, end) = (record.document(), whole_seconds(record.expires_at));
        let values: Values<'_> =
            &[(&Private(key.as_str()), Type::TEXT), (&Private(&*document), Type::TEXT), (&end, Type::FLOAT8)];
        Ok(if self.execute(&sql.insert, values).await? == 1 { Written::Done } else { Written::Stale })
    }

    async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        let sql = &self.table().await?.sql;
        let (document, now, end) = (record.document(), whole_seconds(record.seen_at), whole_seconds(record.expires_at));
        let revision = record.revision.as_ref().map(|revision| revision.as_str());
        let values: Values<'_> = &[
            (&Private(key.as_str()), Type::TEXT),
            (&now, Type::FLOAT8),
            (&Private(&*document), Type::TEXT),
            (&end, Type::FLOAT8),
            (&Private(revision), Type::TEXT),
        ];
        match self.execute(&sql.update, values).await? {
            0 => self.gone_or_stale(&sql.alive, key, now).await,
            _ => Ok(Written::Done),
        }
    }

    async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
        let sql = &self.table().await?.sql;
        let (document, now, end) = (record.document(), whole_seconds(record.seen_at), whole_seconds(record.expires_at));
        let revision = record.revision.as_ref().map(|revision| revision.as_str());
        let values: Values<'_> = &[
            (&Private(from.as_str()), Type::TEXT),
            (&now, Type::FLOAT8),
            (&Private(&*document), Type::TEXT),
            (&end, Type::FLOAT8),
            (&Private(revision), Type::TEXT),
            (&Private(to.as_str()), Type::TEXT),
        ];
        match self.execute(&sql.rotate, values).await {
            Ok(0) => self.gone_or_stale(&sql.alive, from, now).await,
            Ok(_) => Ok(Written::Done),
            Err(failure) if failure.is(&SqlState::UNIQUE_VIOLATION) => Ok(Written::Stale),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn touch(&self, key: &StoreKey, seen_at: SystemTime, expires_at: SystemTime) -> Result<Written, Error> {
        let sql = &self.table().await?.sql;
        let (now, end) = (whole_seconds(seen_at), whole_seconds(expires_at));
        let values: Values<'_> = &[(&Private(key.as_str()), Type::TEXT), (&now, Type::FLOAT8), (&end, Type::FLOAT8)];
        Ok(if self.execute(&sql.touch, values).await? == 1 { Written::Done } else { Written::Gone })
    }

    async fn remove(&self, key: &StoreKey) -> Result<bool, Error> {
        let sql = &self.table().await?.sql;
        Ok(self.execute(&sql.remove, &[(&Private(key.as_str()), Type::TEXT)]).await? > 0)
    }

    async fn remove_moved(
        &self,
        moved_from: &str,
        since: SystemTime,
        ends: RangeInclusive<SystemTime>,
    ) -> Result<bool, Error> {
        let sql = &self.table().await?.sql;
        let (from, to) = (whole_seconds(*ends.start()), whole_seconds(*ends.end()));
        let since = seconds(since) * 1000.0;
        let values: Values<'_> =
            &[(&Private(moved_from), Type::TEXT), (&from, Type::FLOAT8), (&to, Type::FLOAT8), (&since, Type::FLOAT8)];
        Ok(self.execute(&sql.remove_moved, values).await? > 0)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }

    async fn time(&self) -> Result<Option<SystemTime>, Error> {
        let client = self.shared.pool.get().await.map_err(Failure::from)?;
        let row =
            client.query_typed_one("SELECT date_part('epoch', clock_timestamp())", &[]).await.map_err(Failure::from)?;
        Ok(row.try_get(0).ok().map(time))
    }

    fn description(&self) -> String {
        match self.shared.table.get() {
            Some(table) => table.description.clone(),
            None => format!("PostgreSQL, table {} (not reached yet)", self.shared.settings.table),
        }
    }
}

#[async_trait]
impl Sweep for PostgresStore {
    async fn sweep(&self, now: SystemTime, limit: u32) -> Result<u64, Error> {
        let sql = &self.table().await?.sql;
        let values: Values<'_> = &[(&whole_seconds(now), Type::FLOAT8), (&i64::from(limit), Type::INT8)];
        Ok(self.execute(&sql.sweep, values).await?)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresStore({})", self.description())
    }
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

fn seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// Every time as connect-pg-simple binds it: whole seconds, rounded up from the milliseconds of JavaScript's clock.
fn whole_seconds(end: SystemTime) -> f64 {
    ((seconds(end) * 1000.0).floor() / 1000.0).ceil()
}

fn time(seconds: f64) -> SystemTime {
    const END_OF_9999: Duration = Duration::from_secs(253_402_300_799);
    let span = Duration::try_from_secs_f64(seconds.abs()).unwrap_or(END_OF_9999).min(END_OF_9999);
    if seconds < 0.0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
}
