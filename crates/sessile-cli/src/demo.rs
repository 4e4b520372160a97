//! `sessile demo`: the shop of `sessile-server` over a real store, with nothing to configure.
//!
//! It keeps its sessions in a SQLite file, or in PostgreSQL when `--store` or `DATABASE_URL` says where, and signs cookies with a
//! secret that it makes once and keeps, so that a restart signs nobody out. Every setting of `sessile config reference`
//! holds here too.

use std::path::Path;

use sessile::settings::{Builder, Settings};
use sessile_server::demo::{DemoInfo, router};
use tracing::{info, warn};

use crate::args::DemoArgs;
use crate::serving::Stop;
use crate::store::Place;
use crate::{logs, provider, secret, serving, store};

/// Where the sessions are kept when nobody says where.
const DATABASE: &str = "sqlite:sessile-demo.sqlite";

/// Where the secret is kept: beside the SQLite file, else in the working directory.
const SECRET: &str = "sessile-demo.secret";

pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let settings = settings(&args)?;
    let _traces = logs::start(settings.server())?;
    for warning in settings.warnings() {
        warn!("{warning}");
    }
    let stop = Stop::heed()?;
    let listener = serving::listen(&args.listen, "--listen").await?;
    let sessions = store::open(&settings).await?;
    for line in sessions.description() {
        info!("{line}");
    }
    if let Some(every) = settings.sweep_interval() {
        sessions.spawn_sweeper(every);
    }
    let address = listener.local_addr()?;
    let public_url = settings.public_url().map_or_else(|| provider::own_url(address), str::to_owned);
    let provider = provider::open(args.idp, &settings, &public_url).await?;
    let info = DemoInfo {
        store: in_short(&sessions.store().description()),
        cookie: settings.cookie_name().to_owned(),
        provider: provider.as_ref().map(|provider| provider.name.clone()),
    };
    let auth = provider.map(|provider| provider.auth(&sessions, &public_url)).transpose()?;
    info!("listening on http://{address}");
    serving::serve(vec![(listener, router(sessions, info, auth))], stop, || ()).await
}

/// Where the sessions live, for visitors: which kind of store and which file or table, without the path to it.
fn in_short(description: &str) -> String {
    let mut words = description.split(" (").next().unwrap_or(description).split(", ");
    let (kind, place) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    format!("{kind}, {}", place.rsplit('/').next().unwrap_or(place))
}

/// What is configured, and where nothing is: a file, and the secret that the demo keeps beside it.
fn settings(args: &DemoArgs) -> anyhow::Result<Settings> {
    let builder = configured(args)?;
    if builder.is_set("session.secret") {
        return Ok(builder.resolve()?);
    }
    // Where the sessions are has to be known before the secret is, and settings without a secret do not work.
    let for_now = builder.fallback("session.secret", secret::random()?).resolve()?;
    let folder = match Place::of(&for_now)? {
        Some(Place::Sqlite(path)) => path.parent().map(Path::to_owned),
        _ => None,
    };
    let kept = secret::kept(&folder.unwrap_or_default().join(SECRET))?;
    Ok(configured(args)?.fallback("session.secret", kept).resolve()?)
}

/// A cookie that works on plain HTTP, unless something else is set.
fn configured(args: &DemoArgs) -> anyhow::Result<Builder> {
    let builder = store::settings(&args.store)?.fallback("database.url", DATABASE);
    // Who names a domain has browsers on HTTPS, and a name that says so.
    if builder.is_set("cookie.domain") {
        return Ok(builder);
    }
    Ok(builder.fallback("cookie.name", "sid").fallback("cookie.secure", "auto"))
}
