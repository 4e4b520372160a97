//! `/metrics`, and what is counted for it.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusRecorder;
use sessile_core::metrics::{Kind, Measured, MetricsObserver, declared};
use sessile_core::{MemoryStore, Sessions};
use sessile_server::admin::{self, Admin, Figures};
use sessile_server::metrics::{Prometheus, router};
use sessile_testkit::clock::ManualClock;
use sessile_testkit::http::{Browser, Client};
use sessile_testkit::spy::Call;
use sessile_testkit::{conformance, contract, store_contract};

use super::{SECRET, Store, serve, world};

/// An application that is measured, and a browser.
struct App {
    store: Store,
    clock: ManualClock,
    sessions: Sessions,
    browser: Browser,
    scraper: Client,
}

impl App {
    /// To be called while the recorder is in force.
    async fn start(prometheus: Prometheus) -> Self {
        let (store, clock, config) = world();
        let config = config.observer(MetricsObserver::default());
        let sessions = Sessions::new(Measured::new(store.clone()), config);
        let browser = Browser::new(&serve(conformance::router(sessions.clone())).await);
        let scraper = Client::new(&serve(router(prometheus, sessions.clone())).await);
        Self { store, clock, sessions, browser, scraper }
    }

    async fn post(&self, path: &str) -> u16 {
        self.browser.post(path).send().await.status
    }

    async fn scrape(&self) -> String {
        let response = self.scraper.get("/metrics").send().await;
        assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        response.text().to_owned()
    }

    async fn expect(&self, expected: &[&str]) {
        let text = self.scrape().await;
        for line in expected {
            assert!(text.lines().any(|found| found == *line), "{line} is not in\n{text}");
        }
    }
}

fn recorder() -> (PrometheusRecorder, Prometheus) {
    Prometheus::recorder().unwrap()
}

#[tokio::test]
async fn each_request_is_counted_by_what_became_of_its_session() {
    let (recorder, prometheus) = recorder();
    let _in_force = metrics::set_default_local_recorder(&recorder);
    let app = App::start(prometheus).await;
    app.browser.get("/anon").send().await;
    app.browser.get("/read?k=a").send().await;
    assert_eq!(app.post("/set?k=a&v=1").await, 200);
    assert_eq!(app.post("/set?k=a&v=2").await, 200);
    app.clock.advance(Duration::from_secs(120));
    app.browser.get("/read?k=a").send().await;
    assert_eq!(app.post("/login?user=ada").await, 200);
    assert_eq!(app.post("/logout").await, 200);
    assert_eq!(app.post("/set?k=a&v=3").await, 200);
    app.store.fail_all(Call::Load);
    assert_eq!(app.browser.get("/read?k=a").send().await.status, 503);
    app.store.work();
    app.store.fail_all(Call::Update);
    assert_eq!(app.post("/set?k=a&v=4").await, 503);
    app.store.work();
    app.expect(&[
        "sessile_requests_total{outcome=\"anonymous\"} 1",
        "sessile_requests_total{outcome=\"read\"} 1",
        "sessile_requests_total{outcome=\"created\"} 2",
        "sessile_requests_total{outcome=\"updated\"} 1",
        "sessile_requests_total{outcome=\"touched\"} 1",
        "sessile_requests_total{outcome=\"rotated\"} 1",
        "sessile_requests_total{outcome=\"ended\"} 1",
        "sessile_requests_total{outcome=\"failed\"} 2",
        "sessile_requests_total{outcome=\"refused\"} 0",
        "sessile_cookies_verified_total{secret=\"1\"} 6",
        "sessile_events_total{event=\"signed_in\"} 1",
        "sessile_events_total{event=\"created\"} 2",
        "sessile_sessions_ended_total{reason=\"logged_out\"} 1",
        "sessile_store_operations_total{operation=\"insert\",outcome=\"done\"} 2",
        "sessile_store_operations_total{operation=\"load\",outcome=\"unavailable\"} 1",
        "sessile_store_operations_total{operation=\"update\",outcome=\"unavailable\"} 1",
        "sessile_store_operation_seconds_count{operation=\"sign_in\"} 1",
    ])
    .await;
}

#[tokio::test]
async fn a_forged_cookie_is_counted() {
    let (recorder, prometheus) = recorder();
    let _in_force = metrics::set_default_local_recorder(&recorder);
    let app = App::start(prometheus).await;
    app.browser.set_cookie("sid", "s%3Aforged.forged");
    app.browser.get("/read?k=a").send().await;
    app.expect(&["sessile_refusals_total{reason=\"forged\"} 1", "sessile_refusals_total{reason=\"cut_off\"} 0"]).await;
}

#[tokio::test]
async fn every_metric_and_every_label_is_in_the_table() {
    let (recorder, prometheus) = recorder();
    let _in_force = metrics::set_default_local_recorder(&recorder);
    let app = App::start(prometheus).await;
    app.post("/login?user=ada").await;
    app.browser.get("/devices").send().await;
    app.post("/devices/revoke-others").await;
    app.sessions.sweep().await.unwrap();
    let text = app.scrape().await;
    let mut seen = 0;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let found = declared().iter().find(|metric| match metric.kind {
            Kind::Histogram => {
                ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(metric.name))
            }
            _ => metric.name == name,
        });
        let metric = found.unwrap_or_else(|| panic!("{name} is not declared"));
        for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').unwrap();
            let is_declared =
                |one: &sessile_core::metrics::Label| one.name == label && one.values.contains(&value.trim_matches('"'));
            assert!(label == "le" || metric.labels.iter().any(is_declared), "{line}");
        }
        seen += 1;
    }
    assert!(seen > 50, "{text}");
}

#[tokio::test]
async fn nothing_of_a_visitor_is_shown() {
    let (recorder, prometheus) = recorder();
    let _in_force = metrics::set_default_local_recorder(&recorder);
    let app = App::start(prometheus).await;
    let login = app.browser.post("/login?user=mallory-the-user").header("User-Agent", "mallory-agent/1.0").send().await;
    let handle = login.json()["handle"].as_str().unwrap().to_owned();
    app.post("/set?k=mallorys-key&v=mallorys-value").await;
    app.browser.delete(&format!("/devices/{handle}")).send().await;
    app.sessions.sweep().await.unwrap();
    let cookie = app.browser.cookie("sid").unwrap();
    let id = cookie.trim_start_matches("s%3A").split('.').next().unwrap();
    let text = app.scrape().await;
    for secret in [id, cookie.as_str(), handle.as_str(), SECRET, "mallory", "127.0.0.1", "/login"] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
}

#[tokio::test]
async fn however_often_somebody_looks_the_store_is_asked_every_15_seconds() {
    let (recorder, prometheus) = recorder();
    let _in_force = metrics::set_default_local_recorder(&recorder);
    let app = App::start(prometheus).await;
    app.post("/set?k=a&v=1").await;
    app.store.clear();
    for _ in 0..10 {
        app.expect(&["sessile_store_up 1", "sessile_sessions_active 1", "sessile_oldest_expired_age_seconds 0"]).await;
    }
    let asked = || app.store.calls().iter().filter(|call| **call == Call::Time).count();
    assert_eq!(asked(), 1);
    app.clock.advance(Duration::from_secs(15));
    app.scrape().await;
    assert_eq!(asked(), 2);
}

#[tokio::test]
async fn a_backlog_is_seen_and_the_sweep_of_it() {
    let (recorder, prometheus) = recorder();
    let _in_force = metrics::set_default_local_recorder(&recorder);
    let app = App::start(prometheus).await;
    app.post("/set?k=a&v=1").await;
    app.clock.advance(Duration::from_secs(25 * 60 * 60));
    app.expect(&[
        "sessile_sessions_active 0",
        "sessile_sessions_expired 1",
        "sessile_oldest_expired_age_seconds 3600",
        "sessile_registry_queue 0",
    ])
    .await;
    let sweeper = app.sessions.spawn_sweeper(Duration::from_secs(3600));
    while app.sessions.last_sweep().is_none() {
        tokio::task::yield_now().await;
    }
    sweeper.abort();
    app.clock.advance(Duration::from_secs(15));
    app.expect(&["sessile_sessions_expired 0", "sessile_swept_total 1", "sessile_sweeps_total{outcome=\"done\"} 1"])
        .await;
    assert!(app.scrape().await.contains("\nsessile_sweep_last_success_timestamp_seconds 1"));
}

/// Its own sessions are nobody's of the application.
#[tokio::test]
async fn a_visit_to_the_dashboard_is_no_request_of_the_application() {
    let (recorder, prometheus) = recorder();
    let _in_force = metrics::set_default_local_recorder(&recorder);
    let app = App::start(prometheus).await;
    let admin = Admin::new(app.sessions.clone()).unwrap();
    let token = admin.first_token().await.unwrap().unwrap();
    let operator = Browser::new(&serve(admin::router(admin)).await);
    let form = operator.post("/admin/sign-in").header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(form.body(format!("token={token}")).send().await.status, 303);
    assert_eq!(operator.get("/admin/sessions").send().await.status, 200);
    let text = app.scrape().await;
    for name in ["sessile_requests_total{", "sessile_cookies_verified_total{"] {
        let counted: Vec<_> = text.lines().filter(|line| line.starts_with(name) && !line.ends_with(" 0")).collect();
        assert!(text.contains(name) && counted.is_empty(), "{counted:?}");
    }
}

/// The log says why; that it fails is not to be found there alone.
#[tokio::test]
async fn a_sweeper_that_fails_is_named_on_the_dashboard() {
    let (recorder, prometheus) = recorder();
    let _in_force = metrics::set_default_local_recorder(&recorder);
    let app = App::start(prometheus).await;
    let figures = Figures::new(app.clock.clone());
    let admin = Admin::new(app.sessions.clone()).unwrap().figures(figures.clone());
    let token = admin.first_token().await.unwrap().unwrap();
    let api = Client::new(&serve(admin::router(admin)).await);
    let checks = async || {
        let request = api.get("/admin/api/v1/checks").header("Authorization", format!("Bearer {token}"));
        request.send().await.text().to_owned()
    };
    for fails in [true, false] {
        app.store.work();
        if fails {
            app.store.fail_all(Call::Sweep);
        }
        let sweeper = app.sessions.spawn_sweeper(Duration::from_secs(3600));
        while app.sessions.sweep_failed_at().is_some() != fails {
            tokio::task::yield_now().await;
        }
        sweeper.abort();
        figures.record_sweep_failure(app.sessions.sweep_failed_at());
        app.clock.advance(Duration::from_secs(600));
        assert_eq!(checks().await.contains("sweeper failed, 10 minutes ago"), fails, "{}", checks().await);
    }
}

/// A measured store keeps the promises of the one below.
struct MeasuredMemory(MemoryStore);

impl contract::Fixture for MeasuredMemory {
    type Store = Measured<MemoryStore>;

    async fn open(&self) -> Self::Store {
        Measured::new(self.0.clone())
    }
}

store_contract!(measured, async || MeasuredMemory(MemoryStore::new()));
