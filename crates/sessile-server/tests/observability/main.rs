//! What an operator sees from outside: metrics, health, logs and traces, over real sockets and on real stores.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what goes wrong in a test ends it")]

mod health;
mod logs;
mod metrics;
mod public;

use std::net::SocketAddr;

use axum::Router;
use sessile_core::{Config, Cookie, MemoryStore, Secure, SystemClock};
use sessile_testkit::clock::ManualClock;
use sessile_testkit::spy::SpyStore;

const SECRET: &str = "a secret for the tests of what operators see";

/// A store that fails when it is told to.
type Store = SpyStore<MemoryStore>;

/// A store, a clock that a test turns, and settings that go by it.
fn world() -> (Store, ManualClock, Config) {
    let clock = ManualClock::new(sessile_core::Clock::now(&SystemClock));
    let cookie = Cookie::new("sid").secure(Secure::Auto);
    let config = Config::new(SECRET).unwrap().cookie(cookie).unwrap().clock(clock.clone());
    (SpyStore::new(MemoryStore::new()), clock, config)
}

/// Serves on a free port for as long as the test lives.
async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}
