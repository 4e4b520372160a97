//! Configuration from code, the environment and `sessile.toml`, in that order of nearness.
//!
//! One table, [`declared`], names every setting once: its path in the file, its environment variable, its kind, what it
//! means and where its value goes. The documentation page and `sessile config check` are made from the same table.
//! Everything that is wrong is reported at once, because a deployment that fails five times for five mistakes costs
//! five deployments.
//!
//! ```
//! use sessile_core::settings::Settings;
//!
//! let settings = Settings::builder()
//!     .set("cookie.name", "sid")
//!     .variables([("SESSION_SECRET", "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds"), ("SESSION_TIMEOUT", "1800000")])
//!     .default_file()
//!     .resolve()?;
//! assert_eq!(settings.pool().max, 10);
//! let config = settings.config();
//! # Ok::<(), sessile_core::settings::SettingsError>(())
//! ```
//!
//! An application calls [`Builder::environment`] where this example names its variables.

mod builder;
mod declared;
mod environment;
mod error;
mod examine;
mod file;
mod gorilla;
mod host;
mod parse;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

pub use builder::{Builder, DEFAULT_FILE};
pub use declared::{Declared, declared};
pub use environment::variable;
pub use error::{Origin, Problem, SettingsError};

use crate::{Config, KeyForm, TableKind};
use declared::Values;

/// Settings that were found to work, and where each came from.
#[derive(Clone)]
pub struct Settings {
    config: Config,
    values: Values,
    origins: BTreeMap<&'static str, Origin>,
    warnings: Vec<String>,
}

/// The connections to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The most connections that writes use at once. Default 10.
    pub max: usize,
    /// How long an unused connection stays open. Default 30 seconds.
    pub idle_timeout: Duration,
    /// How long a connection may take to open. Default 2 seconds.
    pub connect_timeout: Duration,
}

/// `redis.*`: a store on Redis or Valkey.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redis {
    /// What the names of its keys begin with. Default `sessile:`.
    pub prefix: String,
    /// How many replicas must have a sign-out before it is answered. Default none.
    pub wait_replicas: Option<usize>,
    /// How long to wait for them. Default 500 milliseconds.
    pub wait_timeout: Duration,
    /// Whether a server may be used that evicts keys. Default false.
    pub allow_eviction: bool,
}

impl Default for Redis {
    fn default() -> Self {
        let wait_timeout = Duration::from_millis(500);
        Self { prefix: "sessile:".into(), wait_replicas: None, wait_timeout, allow_eviction: false }
    }
}

/// `oidc.*`: the identity provider that users sign in with.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Oidc {
    /// What it calls itself.
    pub issuer: Option<String>,
    /// What it calls this application.
    pub client_id: Option<String>,
    /// What this application proves itself with.
    pub client_secret: Option<String>,
    /// What is asked of it beside `openid`.
    pub scopes: Vec<String>,
    /// The name of a known provider's ways.
    pub preset: Option<String>,
}

/// Everything but the secret.
impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issuer, client_id, scopes, preset, .. } = self;
        f.debug_struct("Oidc")
            .field("issuer", issuer)
            .field("client_id", client_id)
            .field("scopes", scopes)
            .field("preset", preset)
            .finish_non_exhaustive()
    }
}

/// `server.*`: what `sessile serve` asks of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Where it listens for everybody, as `HOST:PORT`. Default `127.0.0.1:8080`.
    pub listen: String,
    /// Where it listens for operators; `None` for no such listener. Default `127.0.0.1:9090`.
    pub admin_listen: Option<String>,
    /// The host under which operators' browsers find the dashboard, where that is none of this computer's own names.
    pub admin_host: Option<String>,
    /// How the log is written.
    pub log_format: LogFormat,
    /// The collector of traces.
    pub otlp_endpoint: Option<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            admin_listen: Some("127.0.0.1:9090".into()),
            admin_host: None,
            log_format: LogFormat::Text,
            otlp_endpoint: None,
        }
    }
}

/// `server.log_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// An object on each line.
    Json,
}

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explained {
    /// Its path in `sessile.toml`.
    pub name: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// Its value in words, without secrets.
    pub value: String,
    /// Where the value came from.
    pub origin: Origin,
}

impl Settings {
    /// Nothing set yet.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The configuration of [`Sessions`](crate::Sessions).
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// How the store's keys are made from the ids: `session.key_form`; not set, as they are in the Express profile, else hashed.
    pub fn key_form(&self) -> KeyForm {
        self.config.key_form
    }

    /// `cookie.name`, as it is in force.
    pub fn cookie_name(&self) -> &str {
        &self.values.cookie.name
    }

    /// `session.timeout`: how long a session lives without being used.
    pub fn idle(&self) -> Duration {
        self.values.lifetime.idle
    }

    /// `session.user_key`.
    pub fn user_key(&self) -> Option<&str> {
        self.values.user_key.as_deref()
    }

    /// `database.url`, with its password.
    pub fn database_url(&self) -> Option<&str> {
        self.values.database_url.as_deref()
    }

    /// `public_url`: where browsers find this server.
    pub fn public_url(&self) -> Option<&str> {
        self.values.public_url.as_deref()
    }

    /// `oidc.*`, if there is an issuer; then there is a client's id, too.
    pub fn oidc(&self) -> Option<&Oidc> {
        Some(&self.values.oidc).filter(|oidc| oidc.issuer.is_some())
    }

    /// `pool.*`.
    pub fn pool(&self) -> Pool {
        self.values.pool
    }

    /// `redis.*`.
    pub fn redis(&self) -> &Redis {
        &self.values.redis
    }

    /// `table.name`. Default `session`, as connect-pg-simple calls it, and `sessions` where `table.kind` is `columns`.
    pub fn table(&self) -> &str {
        self.values.table()
    }

    /// `table.schema`; `None` leaves it to the connection's `search_path`.
    pub fn schema(&self) -> Option<&str> {
        self.values.schema.as_deref()
    }

    /// `table.kind`; `None` takes the table as it is.
    pub fn table_kind(&self) -> Option<TableKind> {
        self.values.table_kind
    }

    /// `table.registry`; `None` leaves it to the store, which names it after the table.
    pub fn registry(&self) -> Option<&str> {
        self.values.registry.as_deref()
    }

    /// `server.*`.
    pub fn server(&self) -> &Server {
        &self.values.server
    }

    /// `trust_proxy`.
    pub fn trusted_proxies(&self) -> &[IpNet] {
        &self.values.trusted_proxies
    }

    /// `sweep.interval`, for [`Sessions::spawn_sweeper`](crate::Sessions); `None` when this process is not to sweep.
    pub fn sweep_interval(&self) -> Option<Duration> {
        self.values.sweep_interval
    }

    /// What works but is probably not meant, and what was changed to make the rest work. For a start-up log.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Every setting as it is in force, without secrets.
    ///
    /// ```
    /// # use sessile_core::settings::Settings;
    /// # let secret = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";
    /// let settings = Settings::builder().set("session.secret", secret).resolve()?;
    /// let all: Vec<String> = settings.explain().map(|one| format!("{} = {}", one.name, one.value)).collect();
    /// assert!(all.contains(&"session.secret = 1 secret, hidden".to_owned()));
    /// # Ok::<(), sessile_core::settings::SettingsError>(())
    /// ```
    pub fn explain(&self) -> impl Iterator<Item = Explained> {
        declared().map(|setting| Explained {
            name: setting.path(),
            variable: setting.variable(),
            value: setting.show(&self.values),
            origin: self.origins.get(setting.path()).cloned().unwrap_or(Origin::Default),
        })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.explain().map(|one| (one.name, one.value))).finish()
    }
}
