//! `sessile migrate`: changes to the database, shown before they are made.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use sessile::settings::Settings;
use sessile::{Clock as _, PostgresStore, Registry as _, Store as _, SystemClock, TableKind, Tidied, Tidy, UserKeyFit};

use crate::args::MigrateArgs;
use crate::output::Misused;
use crate::sessions::counted;
use crate::store::Place;
use crate::{confirm, output, secret, store};

pub(crate) async fn run(args: &MigrateArgs) -> anyhow::Result<()> {
    let settings = settings(args)?;
    match Place::of(&settings)?.ok_or_else(store::nowhere)? {
        Place::Postgres(url) => postgres(args, url, &settings).await,
        Place::Redis(_) => {
            bail!(Misused("expected postgres://… or sqlite:PATH, found Redis, which has no tables to migrate".into()))
        }
        Place::Sqlite(path) => sqlite(args, &path, &settings).await,
    }
}

async fn postgres(args: &MigrateArgs, url: &str, settings: &Settings) -> anyhow::Result<()> {
    // Only the guard needs tables that are there.
    let needs_tables = args.guard || args.unguard;
    let store =
        if needs_tables { store::postgres(url, settings).await? } else { store::postgres_lazily(url, settings)? };
    let user_key = settings.user_key();
    let migration = match (args.guard, args.unguard, args.timestamptz) {
        (true, ..) => store.guard(user_key).await?,
        (_, true, _) => store.unguard().await?,
        (.., true) => store.timestamptz(args.zone.as_deref()).await?,
        _ => store.creation().await?,
    };
    let ending = match user_key.filter(|_| args.guard) {
        Some(key) => signed_out_by(&store, key).await?,
        None => None,
    };
    say(args, migration.sql())?;
    if args.dry_run {
        ending.iter().for_each(|what| output::note(&format!("this would {what}")));
        return tell(args, json!({ "sql": migration.sql(), "done": false }));
    }
    if let Some(what) = ending {
        confirm::agreed(args.yes, &what)?;
    }
    migration.apply().await?;
    let mut told = json!({ "sql": migration.sql(), "done": true });
    match (args.guard, args.unguard) {
        (true, _) => {
            say(args, "-- done: the guard is installed\n")?;
            let Tidied { ended, registered, removed, .. } = look_back(&store, user_key).await?;
            let ended = ended.len();
            say(
                args,
                &format!(
                    "-- looked at all sessions: {registered} registered, {removed} that were over removed, {ended} ended in the registry\n"
                ),
            )?;
            told["looked_back"] = json!({ "registered": registered, "removed": removed, "ended": ended });
        }
        (_, true) => say(args, "-- done: the guard is removed\n")?,
        _ if migration.sql().is_empty() => say(args, "-- there is nothing to change\n")?,
        _ => say(args, "-- done\n")?,
    }
    tell(args, told)
}

/// To a person, at once.
fn say(args: &MigrateArgs, text: &str) -> anyhow::Result<()> {
    if args.output.json { Ok(()) } else { output::print(text) }
}

/// To a program, at the end.
fn tell(args: &MigrateArgs, all: Value) -> anyhow::Result<()> {
    if args.output.json { output::print_json(&all) } else { Ok(()) }
}

/// The registry believes the key from now on: it ends every session that has somebody else there, or nobody. In words what
/// that will do, if anything. A key that no session knows is a slip.
async fn signed_out_by(store: &PostgresStore, user_key: &str) -> anyhow::Result<Option<String>> {
    let UserKeyFit { signed_in, with_key, others } = store.user_key_fit(user_key, SystemClock.now()).await?;
    if signed_in > 0 && with_key == 0 {
        bail!(Misused(format!(
            "expected the user key to be where sessions have their user, found {user_key:?} in none of the {signed_in} that \
             somebody is signed in to; the registry would end them all. Name the key of the application's documents"
        )));
    }
    let what = format!(
        "end {others} of {} in the registry, where {user_key:?} is somebody else or nobody",
        counted(signed_in)
    );
    Ok((others > 0).then_some(what))
}

/// A file is made with its tables when it is opened, and its times need no zone.
async fn sqlite(args: &MigrateArgs, path: &Path, settings: &Settings) -> anyhow::Result<()> {
    if args.guard || args.unguard || args.timestamptz {
        bail!(Misused("expected postgres://…, found a SQLite file, which has neither guard nor time zone".into()));
    }
    if args.dry_run {
        say(args, "-- a SQLite file is made with its tables when it is opened; there is no SQL to read first\n")?;
        return tell(args, json!({ "sql": "", "done": false }));
    }
    let store = store::sqlite(path, settings).await?;
    say(args, &format!("-- done: {}\n", store.description()))?;
    tell(args, json!({ "sql": "", "done": true }))
}

/// What the guard was not there to see: sessions that Express signed in before, and those that it brought back.
async fn look_back(store: &PostgresStore, user_key: Option<&str>) -> anyhow::Result<Tidied> {
    let all = Tidy { now: SystemClock.now(), history: Duration::MAX, user_key, limit: u32::MAX };
    store.tidy(&all).await.context("the sessions from before the guard could not be looked at; the sweeper will")
}

/// The settings, with what was typed. That has to be the application's, or its registry would follow another key, and its
/// sessions be in another table.
fn settings(args: &MigrateArgs) -> anyhow::Result<Settings> {
    let settings = store::settings_without_secret(&args.store)?;
    let with = |name, value| -> anyhow::Result<Settings> {
        let builder = store::settings(&args.store)?.fallback("session.secret", secret::random()?);
        Ok(builder.set(name, value).resolve()?)
    };
    match (args.columns, settings.table_kind()) {
        (true, Some(TableKind::Express)) => bail!(Misused(
            "expected --columns to be for an application's table that is of this kind, found table.kind set to express; set \
             table.kind = \"columns\" for the application too"
                .into()
        )),
        (true, None) => return with("table.kind", "columns"),
        _ => {}
    }
    match (args.user_key.as_deref(), settings.user_key()) {
        (Some(typed), Some(set)) if typed != set => bail!(Misused(format!(
            "expected --user-key to be the application's session.user_key, {set:?}, found {typed:?}; leave it out, or set \
             session.user_key for the application too"
        ))),
        (Some(typed), None) => with("session.user_key", typed),
        _ => Ok(settings),
    }
}
