//! A server to look at: a small shop whose carts live in sessions, and a page that shows what is stored of them.
//!
//! It shows what Sessile promises without a word of configuration: a visit stores nothing, the first write makes one row
//! and one cookie, a sign-in changes the id and keeps the cart, a sign-out is final, here and from another device. Pages are rendered
//! on the server and need no JavaScript, so the Content-Security-Policy allows none.
//!
//! A GET changes nothing but takes down the messages it shows; everything else is a POST that answers 303. Forms that
//! other sites send are refused by tower-http's [`CsrfLayer`] before a handler sees them.

mod account;
mod cart;
mod confirm;
mod devices;
pub(crate) mod errors;
mod json;
pub(crate) mod page;
mod shop;
mod stored;
pub(crate) mod times;
pub(crate) mod users;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use axum::http::{Response, header};
use axum::middleware::from_fn;
use axum::routing::{get, post};
use sessile_core::Sessions;
use sessile_tower::SessionLayer;
use tower_http::csrf::CsrfLayer;
use tower_http::set_header::response::SetMultipleResponseHeadersLayer;

use crate::auth::{self, Auth};

/// The longest form that is read. The demo's own are a tenth of it.
const LONGEST_FORM: usize = 8 * 1024;

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'";

/// What the pages tell about the server they run in.
#[derive(Clone, Debug)]
pub struct DemoInfo {
    /// Where the sessions live, to stand behind "kept in": `SQLite, sessile.db`. Never a password.
    pub store: String,
    /// The session cookie's name.
    pub cookie: String,
    /// The identity provider's name, if users can sign in there.
    pub provider: Option<String>,
}

/// The demo over these sessions, with everything it needs around it: the session layer, the check of forms from other
/// sites, error pages and security headers; and with a provider to sign in at, where there is one.
///
/// ```
/// use sessile_core::{Config, Cookie, MemoryStore, Secure, Sessions};
/// use sessile_server::demo::{self, DemoInfo};
///
/// # fn app(secret: &str) -> Result<axum::Router, sessile_core::Error> {
/// let config = Config::new(secret)?.cookie(Cookie::new("sid").secure(Secure::Auto))?;
/// let info = DemoInfo { store: "memory".into(), cookie: "sid".into(), provider: None };
/// let app = demo::router(Sessions::new(MemoryStore::new(), config), info, None);
/// # Ok(app) }
/// ```
pub fn router(sessions: Sessions, info: DemoInfo, auth: Option<Auth>) -> Router {
    auth.map_or_else(Router::new, auth::router)
        .route("/", get(shop::home))
        .route("/cart", post(cart::add))
        .route("/cart/more", post(cart::more))
        .route("/cart/less", post(cart::less))
        .route("/cart/remove", post(cart::remove))
        .route("/cart/empty", post(cart::empty))
        .route("/sign-in", get(account::sign_in_form).post(account::sign_in))
        .route("/sign-out", post(account::sign_out))
        .route("/signed-out", get(account::signed_out))
        .route("/e-mail", get(account::email_form).post(account::change_email))
        .route("/confirm", post(confirm::confirm))
        .route("/devices", get(devices::list))
        .route("/devices/others/sign-out", get(devices::ask_about_others).post(devices::sign_out_others))
        .route("/devices/{handle}/sign-out", get(devices::ask).post(devices::sign_out))
        .route("/session", get(stored::show))
        .route("/session/rotate", post(stored::rotate))
        .route("/session/clear", post(stored::clear))
        .with_state(Arc::new(info))
        .layer(SessionLayer::new(sessions))
        .route(page::stylesheet(), get(page::serve_stylesheet))
        .layer(DefaultBodyLimit::max(LONGEST_FORM))
        .layer(CsrfLayer::new().with_rejection_response(errors::refuse))
        .layer(from_fn(errors::as_pages))
        .layer(headers())
}

/// What every response carries, errors and the stylesheet too. Pages are never cached; the stylesheet says otherwise
/// for itself.
pub(crate) fn headers() -> SetMultipleResponseHeadersLayer<Response<Body>> {
    let header = |name: HeaderName, value| (name, HeaderValue::from_static(value)).into();
    SetMultipleResponseHeadersLayer::if_not_present(vec![
        header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        header(header::REFERRER_POLICY, "same-origin"),
        header(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        header(CACHE_CONTROL, "no-store"),
    ])
}
