//! A Go service's sessions, in Rust: its cookie (gorilla/securecookie), its table (`sessions`, with the user and the times in
//! columns), and its life cycle as a handler and a middleware.
//!
//! `DATABASE_URL=postgres://… SESSION_SECRET=… cargo run -p sessile --example beside_go`, with the database and the hash
//! key of the Go service, whose cookie is called `session`. Then http://127.0.0.1:3002/profile.

use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use sessile::codec::{GorillaCodec, KeyPair, Secret};
use sessile::{
    Config, Cookie, Error, IdForm, KeyForm, PostgresStore, Secure, Session, SessionLayer, Sessions, TableKind,
};

#[tokio::main]
#[allow(clippy::disallowed_methods, reason = "an application reads its own environment")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let store = PostgresStore::builder(url).table("sessions").table_kind(TableKind::Columns).connect().await?;
    let sessions = Sessions::new(store, config(&std::env::var("SESSION_SECRET")?)?);
    sessions.spawn_sweeper(Duration::from_secs(60)); // Go: go manager.Cleanup()
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3002").await?;
    Ok(axum::serve(listener, app(sessions)).await?)
}

/// As in the Go service: `securecookie.New(authKey, nil)`, ids of 32 bytes in base32, a cookie called `session`.
pub(crate) fn config(auth_key: &str) -> Result<Config, Error> {
    let secret = Secret::new(auth_key)?;
    let codec = GorillaCodec::new([KeyPair::new(secret.clone())?])?;
    let config = Config::new(vec![secret])?.codec(codec).id_form(IdForm::Base32).key_form(KeyForm::Raw);
    // Plain HTTP on this machine only; leave the cookie as it is for anything else.
    config.cookie(Cookie::new("session").secure(Secure::Auto))
}

/// Its routes.
pub(crate) fn app(sessions: Sessions) -> Router {
    let for_users = Router::new().route("/profile", get(profile)).layer(middleware::from_fn(require_user));
    let for_all = Router::new().route("/login", post(login)).route("/logout", post(logout));
    for_users.merge(for_all).layer(SessionLayer::new(sessions))
}

/// Go: `func (m *Manager) RequireUser(next http.Handler) http.Handler`.
async fn require_user(session: Session, request: Request, next: Next) -> Response {
    match session.owner() {
        Some(_) => next.run(request).await,
        None => Redirect::to("/login").into_response(),
    }
}

#[derive(serde::Deserialize)]
struct Login {
    user: String,
    password: String,
}

/// Go: `session := manager.Start(w, r); session.SetUserID(user); session.SetValue("visits", 0); manager.Save(session)`.
async fn login(session: Session, Form(login): Form<Login>) -> Result<Response, Error> {
    // An application looks the password up.
    if login.password.is_empty() {
        return Ok((StatusCode::UNAUTHORIZED, "wrong user or password").into_response());
    }
    session.sign_in(login.user)?;
    session.insert("visits", &0)?;
    Ok(Redirect::to("/profile").into_response())
}

/// Go: `session.UserID()`, `session.GetValue("visits")`, `session.SetValue("visits", visits+1)`, `session.ExpiresAt()`.
async fn profile(session: Session) -> Result<String, Error> {
    let visits = session.update("visits", |visits: Option<u64>| visits.unwrap_or_default() + 1)?;
    let left = session.expires_at().duration_since(session.now()).unwrap_or_default();
    let user = session.owner().map(|owner| owner.to_string()).unwrap_or_default();
    Ok(format!("{user}, visit {visits}, {} minutes left", left.as_secs() / 60))
}

/// Go: `manager.Destroy(w, r)`.
async fn logout(session: Session) -> Result<&'static str, Error> {
    session.end()?;
    Ok("signed out")
}
