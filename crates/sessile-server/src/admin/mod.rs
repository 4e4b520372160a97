//! The dashboard: what an operator wants to see of sessions, and to do about them, as pages and as a JSON API.
//!
//! It belongs on a listener of its own, on a loopback address. It has its own sign-in: operators and their tokens are in
//! the application's store, and the dashboard's own sessions are Sessile's, in memory. The application's session cookie is
//! worth nothing here.

mod access;
mod api;
mod asked;
mod assets;
mod attempts;
mod audit;
mod confirmed;
mod errors;
mod figures;
mod flash;
mod histogram;
mod host;
mod inside;
mod operators;
mod overview;
mod page;
mod pages;
mod problem;
mod revoking;
mod shown;
mod sign_in;
mod state;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Response, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use ipnet::IpNet;
use sessile_core::{Check, Config, Error, Role, Sessions};
use sessile_tower::SessionLayer;
use tower_http::csrf::CsrfLayer;
use tower_http::set_header::response::SetMultipleResponseHeadersLayer;

use self::state::Dashboard;

pub use figures::{Figures, SweepRound};

/// The longest form or call that is read. The dashboard's own are a tenth of it.
const LONGEST_BODY: usize = 16 * 1024;

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The dashboard of these sessions, and its settings.
#[derive(Clone, Debug)]
pub struct Admin {
    sessions: Sessions,
    checks: Vec<Check>,
    figures: Figures,
    hosts: Vec<String>,
    secure: bool,
    trusted_proxies: Vec<IpNet>,
    /// The settings of the dashboard's own sessions, over plain HTTP and over HTTPS.
    own: Config,
    own_secure: Config,
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
            own: state::own_config(false)?,
            own_secure: state::own_config(true)?,
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

    /// These routes, for no other name than the dashboard itself: for what stands beside it on its listener and is not for a
    /// stranger's page either, such as [`metrics`](crate::metrics::router).
    pub fn beside<S: Clone + Send + Sync + 'static>(&self, routes: Router<S>) -> Router<S> {
        routes.layer(from_fn_with_state(Arc::<[String]>::from(self.hosts.as_slice()), host::check_beside))
    }

    /// Makes the operator `admin`, with a token, where the store has no operator yet. The token is returned this once, to be
    /// shown; only its SHA-256 is kept. `None` when there are operators.
    ///
    /// # Errors
    /// When the store fails or keeps nothing for operators.
    pub async fn first_token(&self) -> Result<Option<String>, Error> {
        operators::add_first(&self.sessions).await
    }

    /// Adds an operator and returns their token, this once; `None` when the name is taken.
    ///
    /// # Errors
    /// When the name is no name, or the store fails or keeps nothing for operators.
    pub async fn add_operator(&self, name: &str, role: Role) -> Result<Option<String>, Error> {
        operators::add(&self.sessions, name, role).await
    }
}

/// The dashboard under `/admin`, with everything it needs around it. Serve it with
/// `into_make_service_with_connect_info::<SocketAddr>()`, so that the audit can say where somebody came from.
///
/// ```
/// use sessile_core::{Config, MemoryStore, Sessions};
/// use sessile_server::admin::{self, Admin};
///
/// # fn dashboard(secret: &str) -> Result<axum::Router, sessile_core::Error> {
/// let sessions = Sessions::new(MemoryStore::new(), Config::new(secret)?);
/// let dashboard = admin::router(Admin::new(sessions)?.host("admin.example.com").secure(true));
/// # Ok(dashboard) }
/// ```
pub fn router(admin: Admin) -> Router {
    let dashboard = Arc::new(Dashboard::new(admin));
    let with = || dashboard.clone();
    let open = Router::new()
        .route("/admin/sign-in", get(sign_in::form).post(sign_in::sign_in))
        .route("/admin/sign-out", post(sign_in::sign_out))
        .route("/admin/assets/{name}", get(assets::serve));
    open.merge(pages().layer(from_fn_with_state(with(), access::guard_pages)))
        .merge(api::routes().layer(from_fn_with_state(with(), access::guard_api)))
        .fallback(errors::nowhere)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(SessionLayer::new(dashboard.own.clone()))
        .layer(CsrfLayer::new().with_rejection_response(errors::refuse))
        .layer(from_fn(asked::check_address))
        .layer(from_fn_with_state(with(), host::check))
        .layer(from_fn(errors::dress))
        .layer(headers())
        .with_state(dashboard)
}

fn pages() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/admin", get(pages::overview::show))
        .route("/admin/", get(pages::overview::show))
        .route("/admin/sessions", get(pages::sessions::search))
        .route("/admin/sessions/{handle}", get(pages::sessions::open))
        .route("/admin/sessions/{handle}/revoke", get(pages::sessions::ask).post(pages::sessions::end))
        .route("/admin/users", get(pages::sessions::of_user))
        .route("/admin/revoke", get(pages::revoke::preview).post(pages::revoke::revoke))
        .route("/admin/prove", post(sign_in::prove))
        .route("/admin/audit", get(pages::audit::show))
}

/// What every response carries, errors and assets too.
fn headers() -> SetMultipleResponseHeadersLayer<Response<axum::body::Body>> {
    let header = |name: HeaderName, value| (name, HeaderValue::from_static(value)).into();
    SetMultipleResponseHeadersLayer::if_not_present(vec![
        header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        header(header::X_FRAME_OPTIONS, "DENY"),
        header(header::REFERRER_POLICY, "same-origin"),
        header(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        header(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        header(header::CACHE_CONTROL, "no-store"),
    ])
}
