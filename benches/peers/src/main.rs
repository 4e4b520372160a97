//! The routes that are measured, over tower-sessions and PostgreSQL, as its documentation sets them up.
//!
//! `sessile-bench-peer DATABASE_URL` prints `listening on http://127.0.0.1:PORT`.

use std::collections::HashMap;
use std::error::Error;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tower_sessions::cookie::time::Duration;
use tower_sessions::{Expiry, Session, SessionManagerLayer, session};
use tower_sessions_sqlx_store::PostgresStore;

type Answer = Result<Json<Value>, Failure>;
type Arguments = Query<HashMap<String, String>>;

struct Failure(session::Error);

impl From<session::Error> for Failure {
    fn from(error: session::Error) -> Self {
        Self(error)
    }
}

impl axum::response::IntoResponse for Failure {
    fn into_response(self) -> axum::response::Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.0.to_string()).into_response()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("expected the URL of a PostgreSQL database")?;
    let pool = PgPoolOptions::new().max_connections(10).connect(&url).await?;
    let store = PostgresStore::new(pool);
    store.migrate().await?;
    let layer = SessionManagerLayer::new(store).with_secure(false).with_expiry(Expiry::OnInactivity(Duration::days(1)));
    let app = Router::new()
        .route("/anon", get(async || "ok"))
        .route("/read", get(read))
        .route("/set", post(set))
        .route("/incr", post(incr))
        .layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

fn argument<'a>(arguments: &'a HashMap<String, String>, name: &str) -> &'a str {
    arguments.get(name).map_or("", String::as_str)
}

async fn read(session: Session, Query(arguments): Arguments) -> Answer {
    let value: Option<Value> = session.get(argument(&arguments, "k")).await?;
    Ok(Json(json!({ "value": value })))
}

async fn set(session: Session, Query(arguments): Arguments) -> Answer {
    session.insert(argument(&arguments, "k"), argument(&arguments, "v")).await?;
    Ok(Json(json!({ "ok": true })))
}

async fn incr(session: Session, Query(arguments): Arguments) -> Answer {
    let key = argument(&arguments, "k");
    let value = session.get::<i64>(key).await?.unwrap_or(0) + 1;
    session.insert(key, value).await?;
    Ok(Json(json!({ "value": value })))
}
