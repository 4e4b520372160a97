//! `sessile demo`: the shop of `sessile-server` over a real store, with nothing to configure.
//!
//! It keeps its sessions in a SQLite file, or in PostgreSQL when `--store` or `DATABASE_URL` says where, and signs cookies with a
//! secret that it makes once and keeps, so that a restart signs nobody out. Every setting of `sessile config reference`
//! holds here too.

use std::future::Future;
use std::io::{ErrorKind, IsTerminal as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sessile::settings::{Builder, Settings};
use sessile_server::demo::{DemoInfo, router};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::{info, level_filters::LevelFilter, warn};
use tracing_subscriber::EnvFilter;

use crate::args::DemoArgs;
use crate::store::Place;
use crate::{provider, secret, store};

/// Where the sessions are kept when nobody says where.
const DATABASE: &str = "sqlite:sessile-demo.sqlite";

/// Where the secret is kept: beside the SQLite file, else in the working directory.
const SECRET: &str = "sessile-demo.secret";

/// How long requests in progress may take to end when the server is stopped.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    log_to_stderr();
    let settings = settings(&args)?;
    for warning in settings.warnings() {
        warn!("{warning}");
    }
    let listener = listen(&args.listen).await?;
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
    serve(listener, router(sessions, info, auth)).await
}

/// Where the sessions live, for visitors: which kind of store and which file or table, without the path to it.
fn in_short(description: &str) -> String {
    let mut words = description.split(" (").next().unwrap_or(description).split(", ");
    let (kind, place) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    format!("{kind}, {}", place.rsplit('/').next().unwrap_or(place))
}

/// The level is `RUST_LOG`'s, else `info`.
fn log_to_stderr() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
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

async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is taken by another program; choose another port with --listen, or any free one with \
             --listen 127.0.0.1:0"
        ),
        _ => anyhow::Error::from(error)
            .context(format!("cannot listen on {address:?}; expected HOST:PORT, like --listen 127.0.0.1:8080")),
    })
}

/// Serves until the process is told to stop; then requests in progress are finished, but not waited for forever.
async fn serve(listener: TcpListener, app: axum::Router) -> anyhow::Result<()> {
    let (told, stopping) = oneshot::channel();
    let stop = async {
        told_to_stop().await;
        info!("stopping; requests in progress are finished first");
        let _ = told.send(());
    };
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let too_late = async {
        if stopping.await.is_ok() {
            tokio::time::sleep(GRACE).await;
        } else {
            std::future::pending().await
        }
    };
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop) => served?,
        () = too_late => warn!("some requests did not end within {} s and were cut off", GRACE.as_secs()),
    }
    Ok(())
}

/// Ends at SIGINT (Ctrl-C) or SIGTERM.
async fn told_to_stop() {
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        () = terminated() => {}
    }
}

#[cfg(unix)]
fn terminated() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(not(unix))]
fn terminated() -> impl Future<Output = ()> {
    std::future::pending()
}
