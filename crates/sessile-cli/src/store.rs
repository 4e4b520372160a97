//! The store that the settings name.

use std::path::Path;

use anyhow::bail;
use sessile::settings::Settings;
use sessile::{Error, PostgresStore, SqliteStore};

/// The database of `database.url`, which has to be PostgreSQL.
pub(crate) fn postgres_url(settings: &Settings) -> anyhow::Result<Option<&str>> {
    let Some(url) = settings.database_url() else { return Ok(None) };
    match url.split(':').next().unwrap_or_default() {
        "postgres" | "postgresql" => Ok(Some(url)),
        scheme => bail!("database.url: expected postgres://…, found {scheme}:…; for SQLite use --sqlite PATH"),
    }
}

pub(crate) async fn postgres(url: &str, settings: &Settings) -> Result<PostgresStore, Error> {
    let pool = settings.pool();
    let mut builder = PostgresStore::builder(url)
        .table(settings.table())
        .pool_max(pool.max)
        .pool_idle(pool.idle_timeout)
        .connect_timeout(pool.connect_timeout);
    if let Some(schema) = settings.schema() {
        builder = builder.schema(schema);
    }
    if let Some(registry) = settings.registry() {
        builder = builder.registry(registry);
    }
    builder.connect().await
}

pub(crate) async fn sqlite(path: &Path, settings: &Settings) -> Result<SqliteStore, Error> {
    let mut builder = SqliteStore::builder(path).table(settings.table());
    if let Some(registry) = settings.registry() {
        builder = builder.registry(registry);
    }
    builder.open().await
}
