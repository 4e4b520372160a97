//! `sessile demo`: the shop of `sessile-server` over a real store, with nothing to configure.
//!
//! It keeps its sessions in a SQLite file, or in PostgreSQL when `DATABASE_URL` says where, and signs cookies with a
//! secret that it makes once and keeps, so that a restart signs nobody out. Every setting of `sessile config reference`
//! holds here too.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use sessile::codec::Secret;
use sessile::settings::Settings;
use sessile::{PostgresStore, Sessions, SqliteStore};
use sessile_server::demo::{DemoInfo, router};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::{info, level_filters::LevelFilter, warn};
use tracing_subscriber::EnvFilter;

use crate::args::DemoArgs;
use crate::config;

/// Where the sessions are kept when nobody says where.
const SQLITE: &str = "sessile-demo.sqlite";

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
    let sessions = open(&args, &settings).await?;
    for line in sessions.description() {
        info!("{line}");
    }
    if let Some(every) = settings.sweep_interval() {
        sessions.spawn_sweeper(every);
    }
    let info = DemoInfo { store: in_short(&sessions.store().description()), cookie: settings.cookie_name().to_owned() };
    info!("listening on http://{}", listener.local_addr()?);
    serve(listener, router(sessions, info)).await
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

/// What is configured, and where nothing is: a cookie that works on plain HTTP, and the secret that the demo keeps.
fn settings(args: &DemoArgs) -> anyhow::Result<Settings> {
    let mut builder = config::builder(&args.settings).fallback("cookie.name", "sid").fallback("cookie.secure", "auto");
    if !builder.is_set("session.secret") {
        let beside = args.sqlite.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        builder = builder.fallback("session.secret", kept_secret(&beside.join(SECRET))?);
    }
    Ok(builder.resolve()?)
}

/// The secret in this file, which is made when it is missing.
fn kept_secret(path: &Path) -> anyhow::Result<String> {
    let secret = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create_secret(path).with_context(|| format!("the demo's secret could not be kept in {}", path.display()))?
        }
        read => read.with_context(|| format!("the demo's secret in {} cannot be read", path.display()))?,
    };
    let secret = secret.trim().to_owned();
    let advice = || format!("{} holds no usable secret; remove it and a new one is made", path.display());
    Secret::new(&secret).with_context(advice)?;
    Ok(secret)
}

/// Writes a new secret under another name and gives it its own with a link, which fails when another process was first:
/// nobody ever reads half a secret, and all processes have the same one.
fn create_secret(path: &Path) -> std::io::Result<String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut unfinished = OsString::from(path);
    unfinished.push(format!(".{}", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let written = write_private(&unfinished, &secret).and_then(|()| fs::hard_link(&unfinished, path));
    let _ = fs::remove_file(&unfinished);
    match written {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::read_to_string(path),
        Err(error) => Err(error),
    }
}

/// Creates a file that only its owner can read.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
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

async fn open(args: &DemoArgs, settings: &Settings) -> anyhow::Result<Sessions> {
    let config = settings.config();
    let url = settings.database_url().filter(|_| args.sqlite.is_none());
    let Some(url) = url else {
        let path = args.sqlite.as_deref().unwrap_or(Path::new(SQLITE));
        return Ok(Sessions::new(SqliteStore::builder(path).table(settings.table()).open().await?, config));
    };
    let scheme = url.split(':').next().unwrap_or_default();
    match scheme {
        "postgres" | "postgresql" => Ok(Sessions::new(postgres(url, settings).await?, config)),
        _ => bail!("database.url: expected postgres://…, found {scheme}:…; for SQLite use --sqlite PATH"),
    }
}

async fn postgres(url: &str, settings: &Settings) -> Result<PostgresStore, sessile::Error> {
    let pool = settings.pool();
    let mut builder = PostgresStore::builder(url)
        .table(settings.table())
        .pool_max(pool.max)
        .pool_idle(pool.idle_timeout)
        .connect_timeout(pool.connect_timeout);
    if let Some(schema) = settings.schema() {
        builder = builder.schema(schema);
    }
    builder.connect().await
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
