//! One route moved from an Express app to Rust: whoever is signed in there is signed in here.
//!
//! `DATABASE_URL=postgres://… SESSION_SECRET=… cargo run -p sessile --example beside_express`, with the database and the
//! secret of the Express app, and a proxy that sends `/api/cart` here.

use std::time::Duration;

use axum::{Router, routing::get};
use sessile::codec::Secret;
use sessile::{Config, Error, PostgresStore, SessionLayer, Sessions, SignedIn};

#[tokio::main]
#[allow(clippy::disallowed_methods, reason = "an application reads its own environment")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = PostgresStore::connect(&std::env::var("DATABASE_URL")?).await?;
    // As in the Express app: session({ secret, cookie: { maxAge: 14 days } }), and req.session.userId.
    let secrets = vec![Secret::dangerous(std::env::var("SESSION_SECRET")?)];
    let config = Config::express(secrets)?.max_age(Duration::from_secs(14 * 24 * 60 * 60)).user_key("userId")?;
    let app = Router::new().route("/api/cart", get(cart)).layer(SessionLayer::new(Sessions::new(store, config)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3001").await?;
    Ok(axum::serve(listener, app).await?)
}

async fn cart(SignedIn { session, owner }: SignedIn) -> Result<String, Error> {
    let cart: Vec<String> = session.get("cart")?.unwrap_or_default();
    Ok(format!("{owner} has {} things in the cart", cart.len()))
}
