//! What is logged and traced: one line for one failure, stable names, and no secret.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sessile_core::Sessions;
use sessile_core::metrics::Measured;
use sessile_testkit::conformance;
use sessile_testkit::http::Browser;
use sessile_testkit::spy::Call;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::{Store, serve, world};

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Everything on this thread from now on, as far as the filter lets it through.
    fn start(filter: &str) -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn start() -> (Store, Sessions, Browser) {
    let (store, _, config) = world();
    let sessions = Sessions::new(Measured::new(store.clone()), config);
    let browser = Browser::new(&serve(conformance::router(sessions.clone())).await);
    (store, sessions, browser)
}

#[tokio::test]
async fn a_request_that_fails_is_logged_once() {
    let (log, _guard) = Log::start("info");
    let (store, _, browser) = start().await;
    store.fail_all(Call::Insert);
    assert_eq!(browser.post("/set?k=a&v=1").send().await.status, 503);
    assert_eq!(log.lines().len(), 1, "{:#?}", log.lines());
    store.work();
    assert_eq!(browser.post("/set?k=a&v=1").send().await.status, 200);
    store.fail_all(Call::Load);
    assert_eq!(browser.get("/read?k=a").send().await.status, 503);
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains(" ERROR ") && line.contains("the test told the store to fail")));
}

#[tokio::test]
async fn a_round_of_the_sweeper_that_fails_is_logged_once() {
    let (log, _guard) = Log::start("info");
    let (store, sessions, _) = start().await;
    for call in [Call::Sweep, Call::Tidy, Call::Time, Call::Seen] {
        store.fail_all(call);
    }
    let sweeper = sessions.spawn_sweeper(Duration::from_secs(3600));
    while !store.calls().contains(&Call::Time) {
        tokio::task::yield_now().await;
    }
    sweeper.abort();
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("expired sessions could not be removed"), "{lines:#?}");
}

#[tokio::test]
async fn spans_have_stable_names_and_hold_no_secret() {
    let (log, _guard) = Log::start("off,sessile::trace=debug");
    let (_, _, browser) = start().await;
    let login = browser.post("/login?user=mallory").send().await;
    let handle = login.json()["handle"].as_str().unwrap().to_owned();
    let lines = log.lines();
    let has = |words: &[&str]| lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
    let request = format!("sessile.request{{outcome=\"created\" handle={handle}}}");
    assert!(has(&[&request, "close"]), "{lines:#?}");
    assert!(has(&["sessile.store{operation=\"sign_in\" outcome=\"done\"}", "close"]), "{lines:#?}");
    let cookie = browser.cookie("sid").unwrap();
    let id = cookie.trim_start_matches("s%3A").split('.').next().unwrap();
    assert!(!lines.iter().any(|line| line.contains(id) || line.contains("mallory")), "{lines:#?}");
}
