//! `sessile migrate`: changes to the database, shown before they are made.

use std::time::Duration;

use anyhow::{Context as _, bail};
use sessile::settings::Settings;
use sessile::{Clock as _, PostgresStore, Registry as _, SystemClock, Tidied, Tidy};

use crate::args::MigrateArgs;
use crate::output::Misused;
use crate::store::Place;
use crate::{output, secret, store};

pub(crate) async fn run(args: &MigrateArgs) -> anyhow::Result<()> {
    let settings = settings(args)?;
    let store = match Place::of(&settings)? {
        Some(Place::Postgres(url)) => store::postgres(url, &settings).await?,
        Some(Place::Sqlite(_)) => {
            bail!(Misused("expected postgres://…, found a SQLite file, which needs no guard".into()))
        }
        None => bail!(store::nowhere()),
    };
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
    let settings = store::settings_without_secret(&args.store)?;
    match (args.user_key.as_deref(), settings.user_key()) {
        (Some(typed), Some(set)) if typed != set => bail!(Misused(format!(
            "expected --user-key to be the application's session.user_key, {set:?}, found {typed:?}; leave it out, or set \
             session.user_key for the application too"
        ))),
        (Some(typed), None) => {
            let builder = store::settings(&args.store)?.fallback("session.secret", secret::random()?);
            Ok(builder.set("session.user_key", typed).resolve()?)
        }
        _ => Ok(settings),
    }
}
