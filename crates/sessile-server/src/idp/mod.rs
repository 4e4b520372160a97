//! An identity provider to develop against: OpenID Connect with the demo's users, for one client, in this process.
//!
//! It does what a provider has to do (discovery, PKCE, codes that work once, signed ID tokens, sign-out at the provider),
//! so that what works with it works with others. It asks nobody for a password, so it must not be reachable from outside:
//! serve it on a loopback address. It forgets everything when it ends.

mod authorize;
mod codes;
mod keys;
mod logout;
mod pages;
mod token;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sessile_core::{Clock, Config, Cookie, Error, MemoryStore, Secure, Sessions, SystemClock};
use sessile_tower::SessionLayer;
use tower_http::csrf::CsrfLayer;

use crate::demo::{errors, page};
use codes::Codes;
use keys::SigningKey;

/// The one application that may use the provider.
#[derive(Clone)]
pub struct Client {
    /// The `client_id`.
    pub id: String,
    /// The `client_secret`.
    pub secret: String,
    /// Where its users come back to with a code; compared letter by letter.
    pub redirect_uri: String,
    /// Where they may go after they signed out here; compared letter by letter.
    pub post_logout_redirect_uri: String,
}

/// Everything but the secret.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("redirect_uri", &self.redirect_uri).finish_non_exhaustive()
    }
}

struct Provider {
    /// As it stands in discovery and tokens: no slash at the end.
    issuer: String,
    client: Client,
    key: SigningKey,
    codes: Codes,
    clock: Arc<dyn Clock>,
}

/// The provider's routes, for this address without a path (`http://127.0.0.1:8081`) and this client.
///
/// # Errors
/// When there are no random bytes for a key.
pub fn router(issuer: &str, client: Client) -> Result<Router, Error> {
    router_by(SystemClock, issuer, client)
}

/// [`router`] by this clock.
///
/// # Errors
/// As [`router`].
pub fn router_by(clock: impl Clock + Clone + 'static, issuer: &str, client: Client) -> Result<Router, Error> {
    let issuer = issuer.trim_end_matches('/').to_owned();
    // Cookies do not tell ports apart: the name has to be another than the application's.
    let cookie = Cookie::new("development-idp").secure(Secure::Never);
    let sessions = Sessions::new(MemoryStore::new(), Config::new(random()?)?.cookie(cookie)?.clock(clock.clone()));
    let provider =
        Provider { issuer, client, key: SigningKey::generate()?, codes: Codes::default(), clock: Arc::new(clock) };
    let provider = Arc::new(provider);
    Ok(Router::new()
        .route("/authorize", get(authorize::ask).post(authorize::answer))
        .route("/logout", get(logout::end).post(logout::end))
        .layer(SessionLayer::new(sessions))
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(jwks))
        .route("/token", post(token::exchange))
        .route(page::stylesheet(), get(page::serve_stylesheet))
        .layer(from_fn_with_state(provider.clone(), only_as_itself))
        .with_state(provider)
        .layer(CsrfLayer::new().with_rejection_response(errors::refuse)))
}

/// Answers under its own name alone: another site may have its name point to this computer, and is then no other site to a
/// browser.
async fn only_as_itself(State(provider): State<Arc<Provider>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if provider.issuer.split("://").nth(1) != Some(host) {
        return (StatusCode::MISDIRECTED_REQUEST, "this provider has another name\n").into_response();
    }
    next.run(request).await
}

/// 256 random bits as text.
fn random() -> Result<String, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::unavailable("the operating system gives no random bytes").with_source(error))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

async fn discovery(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"),
        "end_session_endpoint": at("/logout"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "scopes_supported": ["openid", "profile"],
        "grant_types_supported": ["authorization_code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn jwks(State(provider): State<Arc<Provider>>) -> Json<Value> {
    Json(json!({"keys": [provider.key.jwk()]}))
}
