//! `/metrics`, for Prometheus to scrape. It belongs on the operators' listener: how many sessions there are is nobody
//! else's business (ASVS 13.4.5).
//!
//! No label holds what a visitor sent, so nothing of theirs is shown and the number of series has a bound. A look costs the
//! database next to nothing, however often somebody looks: see [`Gauges`].

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use sessile_core::metrics::{Gauges, describe};
use sessile_core::{Error, Sessions};

/// What latencies are sorted into, in seconds: a read takes less than a millisecond, a write one flush to the disk.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// And rounds of the sweeper, which rest as long as they work.
const SWEEP_SECONDS: [f64; 9] = [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0];

/// How long a look waits for fresh figures before it makes do with those of the last time.
const AT_ONCE: Duration = Duration::from_millis(250);

/// How often what was measured is summed up, so that it takes no memory when nobody looks.
const UPKEEP: Duration = Duration::from_secs(5);

/// The figures of this process, as Prometheus reads them.
#[derive(Clone)]
pub struct Prometheus {
    handle: PrometheusHandle,
}

impl Prometheus {
    /// Takes in all figures of this process from now on. To be called before stores and sessions are made.
    ///
    /// # Errors
    /// When something else does that already.
    pub fn install() -> Result<Self, Error> {
        let (recorder, prometheus) = Self::recorder()?;
        metrics::set_global_recorder(recorder)
            .map_err(|error| Error::misuse("figures are recorded by something else already").with_source(error))?;
        describe();
        Ok(prometheus)
    }

    /// A recorder that somebody else installs, beside others or for a part of the process, and what it took in.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn recorder() -> Result<(PrometheusRecorder, Self), Error> {
        let sweeps = Matcher::Full("sessile_sweep_seconds".to_owned());
        let builder = PrometheusBuilder::new()
            .set_buckets(&SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(sweeps, &SWEEP_SECONDS))
            .map_err(|error| Error::config("the buckets of histograms are wrong").with_source(error))?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Ok((recorder, Self { handle }))
    }

    /// Sums up what was measured, every few seconds and for ever.
    pub async fn keep_up(self) {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.handle.run_upkeep();
        }
    }
}

#[derive(Clone)]
struct Scraped {
    handle: PrometheusHandle,
    gauges: Gauges,
}

/// The route, with the gauges of these sessions.
pub fn router<S>(prometheus: Prometheus, sessions: Sessions) -> Router<S> {
    let scraped = Scraped { handle: prometheus.handle, gauges: Gauges::new(sessions) };
    Router::new().route("/metrics", get(scrape)).with_state(scraped)
}

async fn scrape(State(Scraped { handle, gauges }): State<Scraped>) -> Response {
    gauges.observe();
    // On its own, so that it goes on when whoever looks has waited long enough.
    let fetched = tokio::spawn(async move { gauges.refresh().await });
    let _ = tokio::time::timeout(AT_ONCE, fetched).await;
    let headers = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (headers, handle.render()).into_response()
}
