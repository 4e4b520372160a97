//! The store that is typed, or that the settings name: one URL for every kind of store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sessile::metrics::Measured;
use sessile::settings::{Builder, Settings};
use sessile::{
    Config, Error, Examine, PostgresBuilder, PostgresStore, RedisBuilder, RedisStore, Sessions, SqliteBuilder,
    SqliteStore,
};
use tracing::warn;

use crate::args::StoreArgs;
use crate::output::Misused;
use crate::{config, secret};

/// Where a URL leads.
pub(crate) enum Place<'a> {
    Postgres(&'a str),
    Redis(&'a str),
    Sqlite(PathBuf),
}

impl<'a> Place<'a> {
    /// What the URL that `named` gave says. It is not repeated: it may hold a password.
    fn parse(url: &'a str, named: &str) -> Result<Self, Misused> {
        match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(url)),
            Some(("redis" | "rediss" | "valkey" | "valkeys", _)) => Ok(Self::Redis(url)),
            Some(("redis+cluster" | "rediss+cluster" | "valkey+cluster" | "valkeys+cluster", _)) => {
                Ok(Self::Redis(url))
            }
            Some(("sqlite", path)) if !path.trim_start_matches('/').is_empty() => {
                // As other programs write it: two slashes belong to the URL, a third one to the path.
                Ok(Self::Sqlite(path.strip_prefix("//").unwrap_or(path).into()))
            }
            Some((scheme, _)) if is_scheme(scheme) => {
                Err(Misused(format!("{named}: expected postgres://…, redis://… or sqlite:PATH, found {scheme}:…")))
            }
            _ => Err(Misused(format!(
                "{named}: expected postgres://…, redis://… or sqlite:PATH, found something else, not shown here"
            ))),
        }
    }

    /// The place that the settings name, if they name one.
    pub(crate) fn of(settings: &'a Settings) -> Result<Option<Self>, Misused> {
        settings.database_url().map(|url| Self::parse(url, "database.url")).transpose()
    }

    /// Sessions there. What is missing is created.
    pub(crate) async fn open(&self, settings: &Settings) -> Result<Sessions, Error> {
        Ok(match self {
            Self::Postgres(url) => Sessions::new(postgres(url, settings).await?, settings.config()),
            Self::Redis(url) => Sessions::new(redis_builder(url, settings).connect().await?, settings.config()),
            Self::Sqlite(path) => Sessions::new(sqlite(path, settings).await?, settings.config()),
        })
    }

    /// A file that is missing would be created, and who looks for sessions has mistyped its name.
    fn has_to_be_there(&self) -> Result<(), Misused> {
        match self {
            Self::Sqlite(path) if !path.exists() => {
                Err(Misused(format!("expected the store to be a file with sessions, found none at {}", path.display())))
            }
            _ => Ok(()),
        }
    }
}

/// A word that is not a password by mistake.
fn is_scheme(text: &str) -> bool {
    text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// The settings, in which what was typed wins.
pub(crate) fn settings(args: &StoreArgs) -> anyhow::Result<Builder> {
    let builder = config::builder(&args.settings);
    let Some(url) = &args.store else { return Ok(builder) };
    Place::parse(url, "--store")?;
    Ok(builder.set("database.url", url))
}

/// The settings of a command that signs no cookie: a secret that nobody knows will do.
pub(crate) fn settings_without_secret(args: &StoreArgs) -> anyhow::Result<Settings> {
    Ok(settings(args)?.fallback("session.secret", secret::random()?).resolve()?)
}

/// The sessions of the store that the settings name. What is missing is created.
pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Sessions> {
    Ok(Place::of(settings)?.ok_or_else(nowhere)?.open(settings).await?)
}

/// The same for a server that shows its figures: every call is measured, and `listener` is told how long those took that
/// visitors wait for.
pub(crate) async fn measured(
    settings: &Settings,
    config: Config,
    listener: impl Fn(Duration) + Send + Sync + 'static,
) -> anyhow::Result<Sessions> {
    Ok(match Place::of(settings)?.ok_or_else(nowhere)? {
        Place::Postgres(url) => {
            let store = postgres_builder(url, settings).connect_lazy()?;
            // A server that is there tells its probes that the database is not. What is wrong in itself is wrong at once.
            if let Err(error) = store.prepare().await {
                if !error.is_unavailable() {
                    return Err(error.into());
                }
                warn!(?error, "the database does not answer yet; requests that need it are answered 503 until it does");
            }
            Sessions::new(Measured::new(store).heard_by(listener), config)
        }
        Place::Redis(url) => {
            Sessions::new(Measured::new(redis_builder(url, settings).connect().await?).heard_by(listener), config)
        }
        Place::Sqlite(path) => Sessions::new(Measured::new(sqlite(&path, settings).await?).heard_by(listener), config),
    })
}

/// The sessions of the store, which has to be there.
pub(crate) async fn sessions(args: &StoreArgs) -> anyhow::Result<Sessions> {
    existing(&settings_without_secret(args)?).await
}

/// The same, of settings.
pub(crate) async fn existing(settings: &Settings) -> anyhow::Result<Sessions> {
    let place = Place::of(settings)?.ok_or_else(nowhere)?;
    place.has_to_be_there()?;
    Ok(match place {
        // There is nothing to create on Redis.
        Place::Redis(url) => Sessions::new(redis_builder(url, settings).connect().await?, settings.config()),
        Place::Postgres(url) => {
            Sessions::new(postgres_builder(url, settings).existing(true).connect().await?, settings.config())
        }
        Place::Sqlite(path) => {
            Sessions::new(sqlite_builder(&path, settings).existing(true).open().await?, settings.config())
        }
    })
}

/// The store for a doctor, who looks at it as it is: nothing is created, and nothing has to work.
pub(crate) fn to_examine(settings: &Settings) -> anyhow::Result<Box<dyn Examine>> {
    Ok(match Place::of(settings)?.ok_or_else(nowhere)? {
        Place::Postgres(url) => Box::new(postgres_lazily(url, settings)?),
        Place::Redis(url) => Box::new(redis_builder(url, settings)),
        Place::Sqlite(path) => Box::new(sqlite_builder(&path, settings)),
    })
}

pub(crate) fn nowhere() -> Misused {
    Misused("expected a session store, found none; set DATABASE_URL, or name one with --store URL".into())
}

pub(crate) async fn postgres(url: &str, settings: &Settings) -> Result<PostgresStore, Error> {
    postgres_builder(url, settings).connect().await
}

/// The same, not connected yet: nothing is created.
pub(crate) fn postgres_lazily(url: &str, settings: &Settings) -> Result<PostgresStore, Error> {
    postgres_builder(url, settings).connect_lazy()
}

fn postgres_builder(url: &str, settings: &Settings) -> PostgresBuilder {
    let pool = settings.pool();
    let mut builder = PostgresStore::builder(url)
        .table(settings.table())
        .pool_max(pool.max)
        .pool_idle(pool.idle_timeout)
        .connect_timeout(pool.connect_timeout);
    if let Some(kind) = settings.table_kind() {
        builder = builder.table_kind(kind);
    }
    if let Some(schema) = settings.schema() {
        builder = builder.schema(schema);
    }
    if let Some(registry) = settings.registry() {
        builder = builder.registry(registry);
    }
    builder
}

fn redis_builder(url: &str, settings: &Settings) -> RedisBuilder {
    let redis = settings.redis();
    let replicas = redis.wait_replicas.map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX));
    RedisStore::builder(url)
        .prefix(&redis.prefix)
        .connect_timeout(settings.pool().connect_timeout)
        .allow_eviction(redis.allow_eviction)
        .wait_replicas(replicas, redis.wait_timeout)
}

pub(crate) async fn sqlite(path: &Path, settings: &Settings) -> Result<SqliteStore, Error> {
    sqlite_builder(path, settings).open().await
}

fn sqlite_builder(path: &Path, settings: &Settings) -> SqliteBuilder {
    let mut builder = SqliteStore::builder(path).table(settings.table());
    if let Some(kind) = settings.table_kind() {
        builder = builder.table_kind(kind);
    }
    if let Some(registry) = settings.registry() {
        builder = builder.registry(registry);
    }
    builder
}
