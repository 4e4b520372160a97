//! `/healthz` and `/readyz`.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use axum::Router;
use sessile_core::{Ending, Error, Fate, Record, Registry, Sessions, Store, StoreKey, Written};
use sessile_server::health::{Readiness, router};
use sessile_testkit::http::Client;
use sessile_testkit::spy::Call;

use super::{serve, world};

async fn start(sessions: Sessions) -> Client {
    Client::new(&serve(Router::new().merge(router(Readiness::new(sessions)))).await)
}

#[tokio::test]
async fn alive_asks_nobody_and_ready_asks_the_store() {
    let (store, clock, config) = world();
    let client = start(Sessions::new(store.clone(), config)).await;
    store.fail_all(Call::Load);
    let alive = client.get("/healthz").send().await;
    assert_eq!((alive.status, alive.text()), (200, r#"{"status":"alive"}"#));
    assert_eq!(store.calls(), []);
    let unready = client.get("/readyz").send().await;
    assert_eq!((unready.status, unready.header("retry-after")), (503, Some("1")));
    assert_eq!(unready.json()["status"], "unavailable");
    assert!(!unready.text().contains("the test told the store"), "{}", unready.text());

    store.work();
    clock.advance(Duration::from_secs(1));
    let ready = client.get("/readyz").send().await;
    assert_eq!((ready.status, ready.text()), (200, r#"{"status":"ready"}"#));
    assert_eq!(ready.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn the_store_is_asked_once_a_second_however_many_want_to_know() {
    let (store, clock, config) = world();
    let readiness = Readiness::new(Sessions::new(store.clone(), config));
    let many = (0..100).map(|_| {
        let readiness = readiness.clone();
        tokio::spawn(async move { readiness.is_ready().await })
    });
    for one in many.collect::<Vec<_>>() {
        assert!(one.await.unwrap());
    }
    assert_eq!(store.calls(), [Call::Load]);
    clock.advance(Duration::from_millis(999));
    assert!(readiness.is_ready().await);
    assert_eq!(store.calls(), [Call::Load]);
    clock.advance(Duration::from_millis(1));
    assert!(readiness.is_ready().await);
    assert_eq!(store.calls(), [Call::Load, Call::Load]);
}

/// A store whose server took the connection and says nothing more.
struct Silent;

#[async_trait]
impl Store for Silent {
    async fn load(&self, _: &StoreKey, _: SystemTime) -> Result<Option<Record>, Error> {
        std::future::pending().await
    }

    async fn insert(&self, _: &StoreKey, _: &Record) -> Result<Written, Error> {
        std::future::pending().await
    }

    async fn update(&self, _: &StoreKey, _: &Record) -> Result<Written, Error> {
        std::future::pending().await
    }

    async fn rotate(&self, _: &StoreKey, _: &StoreKey, _: &Record) -> Result<Written, Error> {
        std::future::pending().await
    }

    async fn touch(&self, _: &StoreKey, _: SystemTime, _: SystemTime) -> Result<Written, Error> {
        std::future::pending().await
    }

    async fn remove(&self, _: &StoreKey, _: &Ending) -> Result<bool, Error> {
        std::future::pending().await
    }

    async fn fate(&self, _: &StoreKey) -> Result<Option<Fate>, Error> {
        std::future::pending().await
    }

    fn registry(&self) -> Option<&dyn Registry> {
        None
    }

    fn description(&self) -> String {
        "silence".into()
    }
}

#[tokio::test]
async fn a_store_that_says_nothing_is_not_ready() {
    let client = start(Sessions::new(Silent, world().2)).await;
    let answer = tokio::time::timeout(Duration::from_secs(20), client.get("/readyz").send()).await.unwrap();
    assert_eq!(answer.status, 503);
}
