//! `sessile migrate`: changes to the database, shown before they are made.

use anyhow::Context as _;

use crate::args::MigrateArgs;
use crate::{config, output, secret, store};

pub(crate) async fn run(args: &MigrateArgs) -> anyhow::Result<()> {
    // No cookie is signed here, so a secret that nobody knows will do.
    let mut builder = config::builder(&args.settings).fallback("session.secret", secret::random()?);
    if let Some(key) = &args.user_key {
        builder = builder.set("session.user_key", key);
    }
    let settings = builder.resolve()?;
    let url = store::postgres_url(&settings)?
        .context("expected database.url to name a PostgreSQL database, found none; set DATABASE_URL")?;
    let store = store::postgres(url, &settings).await?;
    let migration = if args.unguard { store.unguard().await? } else { store.guard(settings.user_key()).await? };
    output::print(migration.sql())?;
    if args.dry_run {
        return Ok(());
    }
    migration.apply().await?;
    let done = if args.unguard { "the guard is removed" } else { "the guard is installed" };
    output::print(&format!("-- done: {done}\n"))
}
