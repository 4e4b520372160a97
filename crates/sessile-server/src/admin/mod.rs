//! The dashboard: what an operator wants to see of sessions, and to do about them, as pages and as a JSON API.
//!
//! It belongs on a listener of its own, on a loopback address. It has its own sign-in: operators and their tokens are in
//! the application's store, and the dashboard's own sessions are Sessile's, in memory. The application's session cookie is
//! worth nothing here.

mod figures;
mod histogram;

use axum::Router;
use ipnet::IpNet;
use sessile_core::{Check, Error, Sessions};

pub use figures::{Figures, SweepRound};

/// The dashboard of these sessions, and its settings.
#[derive(Clone, Debug)]
pub struct Admin {
    sessions: Sessions,
    checks: Vec<Check>,
    figures: Figures,
    hosts: Vec<String>,
    secure: bool,
    trusted_proxies: Vec<IpNet>,
}

impl Admin {
    /// A dashboard of these sessions, over plain HTTP on a loopback address.
    ///
    /// # Errors
    /// When the system has no randomness for the secret that signs the dashboard's own cookie.
    pub fn new(sessions: Sessions) -> Result<Self, Error> {
        Ok(Self {
            sessions,
            checks: Vec::new(),
            figures: Figures::default(),
            hosts: Vec::new(),
            secure: false,
            trusted_proxies: Vec::new(),
        })
    }

    /// What was found when the settings were looked at, to stand beside what is found at the store.
    pub fn settings_checks(self, checks: Vec<Check>) -> Self {
        Self { checks, ..self }
    }

    /// Figures that somebody feeds; see there.
    pub fn figures(self, figures: Figures) -> Self {
        Self { figures, ..self }
    }

    /// Whether browsers reach the dashboard over HTTPS. Then its cookie is `__Host-sessile-admin`, else `sessile-admin`.
    pub fn secure(self, secure: bool) -> Self {
        Self { secure, ..self }
    }

    /// A name under which the dashboard is reached, as in the `Host` header without a port. Addresses and `localhost` always
    /// count; a request for any other name is refused, because it may be a page of a stranger whose name leads here (DNS
    /// rebinding).
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// The networks whose `Forwarded` and `X-Forwarded-*` headers are believed about who is there. Default none.
    pub fn trusted_proxies(self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self { trusted_proxies: networks.into_iter().collect(), ..self }
    }

    /// Makes the operator `admin`, with a token, where the store has no operator yet. The token is returned this once, to be
    /// shown; only its SHA-256 is kept. `None` when there are operators.
    ///
    /// # Errors
    /// When the store fails or keeps nothing for operators.
    pub async fn first_token(&self) -> Result<Option<String>, Error> {
        Ok(None)
    }
}

/// The dashboard under `/admin`, with everything it needs around it. Serve it with
/// `into_make_service_with_connect_info::<SocketAddr>()`, so that the audit can say where somebody came from.
pub fn router(_admin: Admin) -> Router {
    Router::new()
}
