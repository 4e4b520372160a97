//! The smallest application: counts visits, in an SQLite file.
//!
//! `SESSION_SECRET=$(openssl rand -base64 32) cargo run -p sessile --example visits`, then open http://127.0.0.1:3000.

use axum::{Router, routing::get};
use sessile::{Config, Cookie, Error, Secure, Session, SessionLayer, Sessions, SqliteStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[allow(clippy::disallowed_methods, reason = "an application reads its own environment")]
    let secret = std::env::var("SESSION_SECRET")?;
    let store = SqliteStore::open("visits.sqlite").await?;
    // Plain HTTP on this machine only; leave the cookie as it is for anything else.
    let config = Config::new(secret)?.cookie(Cookie::new("sid").secure(Secure::Auto))?;
    let app = Router::new().route("/", get(home)).layer(SessionLayer::new(Sessions::new(store, config)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}

async fn home(session: Session) -> Result<String, Error> {
    let visits: u64 = session.get("visits")?.unwrap_or(0) + 1;
    session.insert("visits", &visits)?;
    Ok(format!("visit {visits}"))
}
