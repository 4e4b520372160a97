//! What `sessile serve` shows to everybody: signing in, "your devices" as JSON, and whether the server lives. Whatever is
//! for operators is on another listener and answers 404 here (ASVS 13.4.5).

use axum::Router;
use axum::extract::DefaultBodyLimit;
use sessile_core::Sessions;
use sessile_tower::SessionLayer;
use tower_http::csrf::CsrfLayer;

use crate::auth::{self, Auth};
use crate::demo::page;
use crate::demo::{errors, headers};
use crate::devices;
use crate::health::{self, Readiness};

/// The longest body that is read.
const LONGEST_BODY: usize = 8 * 1024;

/// The routes over these sessions, with the session layer, the check of requests that other sites cause, and security
/// headers around them.
///
/// ```
/// use sessile_core::{Config, MemoryStore, Sessions};
/// use sessile_server::{health::Readiness, public};
///
/// # fn app(secret: &str) -> Result<axum::Router, sessile_core::Error> {
/// let sessions = Sessions::new(MemoryStore::new(), Config::new(secret)?);
/// let app = public::router(sessions.clone(), Readiness::new(sessions), None);
/// # Ok(app) }
/// ```
pub fn router(sessions: Sessions, readiness: Readiness, auth: Option<Auth>) -> Router {
    auth.map_or_else(Router::new, |auth| auth::router(auth).merge(auth::signed_out_route()))
        .merge(devices::router())
        .layer(SessionLayer::new(sessions))
        .merge(health::router(readiness))
        .route(page::stylesheet(), axum::routing::get(page::serve_stylesheet))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(CsrfLayer::new().with_rejection_response(errors::refuse))
        .layer(headers())
}
