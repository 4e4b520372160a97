//! `sessile migrate`: changes to the database, shown before they are made.

use std::time::Duration;

use anyhow::{Context as _, bail};
use sessile::settings::{Builder, Settings};
use sessile::{Clock as _, PostgresStore, Registry as _, SystemClock, Tidied, Tidy};

use crate::args::MigrateArgs;
use crate::{config, output, secret, store};

pub(crate) async fn run(args: &MigrateArgs) -> anyhow::Result<()> {
    let settings = settings(args)?;
    let url = store::postgres_url(&settings)?
        .context("expected database.url to name a PostgreSQL database, found none; set DATABASE_URL")?;
    let store = store::postgres(url, &settings).await?;
    let user_key = settings.user_key();
    let migration = if args.unguard { store.unguard().await? } else { store.guard(user_key).await? };
    output::print(migration.sql())?;
    if args.dry_run {
        return Ok(());
    }
    migration.apply().await?;
    if args.unguard {
        return output::print("-- done: the guard is removed\n");
    }
    output::print("-- done: the guard is installed\n")?;
    output::print(&look_back(&store, user_key).await?)
}

/// What the guard was not there to see: sessions that Express signed in before, and those that it brought back.
async fn look_back(store: &PostgresStore, user_key: Option<&str>) -> anyhow::Result<String> {
    let all = Tidy { now: SystemClock.now(), history: Duration::MAX, user_key, limit: u32::MAX };
    let Tidied { ended, registered, removed, .. } = store
        .tidy(&all)
        .await
        .context("the sessions from before the guard could not be looked at; the sweeper will")?;
    let ended = ended.len();
    Ok(format!(
        "-- looked at all sessions: {registered} registered, {removed} that were over removed, {ended} ended in the registry\n"
    ))
}

/// The settings, with the key that was typed. It has to be the application's, or the registry would follow another one.
fn settings(args: &MigrateArgs) -> anyhow::Result<Settings> {
    // No cookie is signed here, so a secret that nobody knows will do.
    let secret = secret::random()?;
    let builder = || -> Builder { config::builder(&args.settings).fallback("session.secret", secret.clone()) };
    let settings = builder().resolve()?;
    match (args.user_key.as_deref(), settings.user_key()) {
        (Some(typed), Some(set)) if typed != set => bail!(
            "expected --user-key to be the application's session.user_key, {set:?}, found {typed:?}; leave it out, or set \
             session.user_key for the application too"
        ),
        (Some(typed), None) => Ok(builder().set("session.user_key", typed).resolve()?),
        _ => Ok(settings),
    }
}
