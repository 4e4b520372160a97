//! The conformance app as a program: what it does is in `sessile_testkit::conformance`, what it serves from is said by
//! its arguments.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program says where it listens and why it stopped")]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sessile::codec::{Keyring, Secret};
use sessile::{Config, Cookie, Error, MemoryStore, PostgresStore, RedisStore, Secure, Sessions, SqliteStore};
use sessile_testkit::conformance;
use tokio::net::TcpListener;

/// The secret when none is given: as weak as the documentation it comes from, and known to be. Its kin are accepted too,
/// for what is tested here is not whether they are.
const SAMPLE: &str = "keyboard cat keyboard cat keyboard cat";

#[derive(Parser)]
#[command(about = "A small application over Sessile's public API, to be driven by tests")]
struct Arguments {
    /// postgres://…, redis://…, redis+cluster://…, sqlite:PATH or memory:
    #[arg(long)]
    store: String,
    /// Where to listen; port 0 takes any
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The secrets, separated by commas; the first signs
    #[arg(long, default_value = SAMPLE)]
    secret: String,
    /// The secrets as JSON, text or {"hex": "…"}; instead of --secret
    #[arg(long)]
    secrets_json: Option<String>,
    /// Accept secrets that are short or known
    #[arg(long)]
    allow_weak_secret: bool,
    #[arg(long, default_value = "connect.sid")]
    cookie_name: String,
    /// Idle lifetime in seconds
    #[arg(long, default_value_t = 86_400)]
    idle: u64,
    /// Absolute lifetime in seconds
    #[arg(long, default_value_t = 1_209_600)]
    absolute: u64,
    /// Seconds between touches
    #[arg(long, default_value_t = 60)]
    touch_every: u64,
    #[arg(long, default_value = "session")]
    table: String,
    #[arg(long)]
    schema: Option<String>,
    /// Believe X-Forwarded-* and Forwarded from anybody
    #[arg(long)]
    trust_proxy: bool,
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    secure: bool,
    /// How many connections the hot path shares
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// Remove expired sessions every so many seconds; 0 for never
    #[arg(long, default_value_t = 60)]
    sweep: u64,
    /// The top-level key that holds the owner
    #[arg(long)]
    user_key: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let sessions = sessions(&arguments, config(&arguments)?).await?;
    let listener = TcpListener::bind(arguments.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    for line in sessions.description() {
        tracing::info!("{line}");
    }
    if arguments.sweep > 0 {
        sessions.spawn_sweeper(Duration::from_secs(arguments.sweep));
    }
    tokio::select! {
        served = conformance::serve(listener, sessions) => served?,
        stopped = tokio::signal::ctrl_c() => stopped?,
    }
    Ok(())
}

fn config(arguments: &Arguments) -> Result<Config, Error> {
    let cookie = Cookie::express().secure(if arguments.secure { Secure::Always } else { Secure::Never });
    let config = Config::express(keyring(arguments)?)?
        .cookie(cookie.named(&arguments.cookie_name))?
        .idle(Duration::from_secs(arguments.idle))
        .absolute(Duration::from_secs(arguments.absolute))
        .touch_every(Duration::from_secs(arguments.touch_every));
    let config = match &arguments.user_key {
        Some(key) => config.user_key(key)?,
        None => config,
    };
    let everybody = ["0.0.0.0/0", "::/0"].into_iter().filter_map(|network| network.parse().ok());
    Ok(if arguments.trust_proxy { config.trusted_proxies(everybody) } else { config })
}

fn keyring(arguments: &Arguments) -> Result<Keyring, Error> {
    let is_kin = |secret: &[u8]| secret.len() >= 32 && String::from_utf8_lossy(secret).contains("keyboard cat");
    let strict = |secret: &[u8]| match arguments.allow_weak_secret || is_kin(secret) {
        true => Ok(Secret::dangerous(secret)),
        false => Secret::new(secret),
    };
    let secrets: Vec<Vec<u8>> = match &arguments.secrets_json {
        None => arguments.secret.split(',').map(|secret| secret.as_bytes().to_vec()).collect(),
        Some(json) => {
            let wrong = || Error::config(r#"expected --secrets-json like ["text", {"hex": "00ff"}]"#);
            let values: Vec<serde_json::Value> = serde_json::from_str(json).map_err(|_| wrong())?;
            values.iter().map(|value| secret_bytes(value).ok_or_else(wrong)).collect::<Result<_, _>>()?
        }
    };
    Keyring::new(secrets.iter().map(|secret| strict(secret)).collect::<Result<Vec<_>, _>>()?)
}

fn secret_bytes(value: &serde_json::Value) -> Option<Vec<u8>> {
    if let Some(text) = value.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let hex = value.get("hex")?.as_str()?.as_bytes();
    hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

async fn sessions(arguments: &Arguments, config: Config) -> Result<Sessions, Error> {
    let store = arguments.store.as_str();
    if store == "memory:" {
        return Ok(Sessions::new(MemoryStore::new(), config));
    }
    if let Some(path) = store.strip_prefix("sqlite:") {
        let store = SqliteStore::builder(path).table(&arguments.table).open().await?;
        return Ok(Sessions::new(store, config));
    }
    if store.starts_with("redis") || store.starts_with("valkey") {
        let prefix = format!("{}:", arguments.table);
        return Ok(Sessions::new(RedisStore::builder(store).prefix(prefix).connect().await?, config));
    }
    let builder = PostgresStore::builder(store).table(&arguments.table).connections(arguments.connections);
    let builder = match &arguments.schema {
        Some(schema) => builder.schema(schema),
        None => builder,
    };
    let store = builder.connect_lazy()?;
    if let Err(error) = store.prepare().await {
        if error.is_config() {
            return Err(error);
        }
        tracing::warn!(?error, "the database cannot be reached yet; requests answer 503 until it can");
    }
    Ok(Sessions::new(store, config))
}
