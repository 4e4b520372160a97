//! `/healthz` and `/readyz`, for whatever starts this server and sends it requests.
//!
//! The first says that the process serves and asks nobody: an outage of the database must not restart every instance. The
//! second does once what every request does, one read, and says whether the store answered. The answer is kept for a
//! second, so that probes, and strangers who find the route, cost the database nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderName, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use sessile_core::{Error, KeyForm, SessionId, Sessions, StoreKey};
use tokio::sync::Semaphore;
use tracing::{info, warn};

/// How long an answer of the store counts.
const KEPT: Duration = Duration::from_secs(1);

/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(2);

const NOT_KEPT: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];

/// Whether the store of these sessions answers. Clones share what they know.
#[derive(Clone)]
pub struct Readiness {
    shared: Arc<Shared>,
}

struct Shared {
    sessions: Sessions,
    known: Mutex<Option<Known>>,
    /// One asks; the others wait for its answer.
    asking: Semaphore,
}

#[derive(Clone, Copy)]
struct Known {
    at: SystemTime,
    is_ready: bool,
}

impl Readiness {
    /// Of these sessions.
    pub fn new(sessions: Sessions) -> Self {
        Self { shared: Arc::new(Shared { sessions, known: Mutex::new(None), asking: Semaphore::new(1) }) }
    }

    /// Whether the store answers, as of now or of a second ago.
    pub async fn is_ready(&self) -> bool {
        if let Some(known) = self.fresh() {
            return known;
        }
        // The semaphore is never closed; if it were, everyone would ask for themselves.
        let _turn = self.shared.asking.acquire().await;
        match self.fresh() {
            Some(known) => known,
            None => self.ask().await,
        }
    }

    fn fresh(&self) -> Option<bool> {
        let now = self.shared.sessions.now();
        let known = (*self.shared.known.lock().unwrap_or_else(PoisonError::into_inner))?;
        now.duration_since(known.at).is_ok_and(|age| age < KEPT).then_some(known.is_ready)
    }

    async fn ask(&self) -> bool {
        let answer = tokio::time::timeout(PATIENCE, read_nothing(&self.shared.sessions)).await;
        let answer = answer.unwrap_or_else(|_| Err(Error::unavailable("the session store did not answer in time")));
        let known = Known { at: self.shared.sessions.now(), is_ready: answer.is_ok() };
        let before = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).replace(known);
        report(before.is_none_or(|before| before.is_ready), answer)
    }
}

/// What a request does first, for an id that nobody has.
async fn read_nothing(sessions: &Sessions) -> Result<(), Error> {
    let key = StoreKey::new(&SessionId::generate()?, KeyForm::Sha256);
    sessions.store().load(&key, sessions.now()).await.map(drop)
}

/// An outage is told when it begins and when it ends, not with every probe.
fn report(was_ready: bool, answer: Result<(), Error>) -> bool {
    match &answer {
        Err(error) if was_ready => warn!(?error, "not ready: the session store does not answer"),
        Ok(()) if !was_ready => info!("ready again: the session store answers"),
        _ => {}
    }
    answer.is_ok()
}

/// The two routes.
pub fn router<S>(readiness: Readiness) -> Router<S> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).with_state(readiness)
}

async fn alive() -> Response {
    (NOT_KEPT, Json(json!({ "status": "alive" }))).into_response()
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    if readiness.is_ready().await {
        return (NOT_KEPT, Json(json!({ "status": "ready" }))).into_response();
    }
    let why =
        json!({ "status": "unavailable", "reason": "the session store does not answer; the server's log says why" });
    (StatusCode::SERVICE_UNAVAILABLE, NOT_KEPT, [(RETRY_AFTER, "1")], Json(why)).into_response()
}
