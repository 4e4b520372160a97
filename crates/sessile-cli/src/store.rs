//! The store that the settings name.

use std::path::Path;

use anyhow::{bail, ensure};
use sessile::settings::Settings;
use sessile::{Error, PostgresStore, Sessions, SqliteStore};

use crate::args::StoreArgs;
use crate::{config, secret};

/// The sessions of the store that the settings name, or of a SQLite file, which has to be there.
pub(crate) async fn sessions(args: &StoreArgs) -> anyhow::Result<Sessions> {
    // No cookie is signed here, so a secret that nobody knows will do.
    let settings = config::builder(&args.settings).fallback("session.secret", secret::random()?).resolve()?;
    if let Some(path) = &args.sqlite {
        ensure!(path.exists(), "expected --sqlite to name a file with sessions, found none at {}", path.display());
        return Ok(Sessions::new(sqlite(path, &settings).await?, settings.config()));
    }
    match postgres_url(&settings)? {
        Some(url) => Ok(Sessions::new(postgres(url, &settings).await?, settings.config())),
        None => bail!("expected a session store, found none; set DATABASE_URL, or name a file with --sqlite PATH"),
    }
}

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
