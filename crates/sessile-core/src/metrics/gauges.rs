//! What is read when somebody looks: the store's own figures, and how busy it is right now.
//!
//! Figures may cost the store a look at every row. They are asked for at most every 15 seconds however often somebody looks,
//! by one at a time, and with a limit of time: a store that hangs is not up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use metrics::gauge;
use tracing::{info, warn};

use super::table;
use crate::{Error, KeyForm, Load, SessionId, Sessions, StoreKey, StoreStats};

/// How long figures count.
const KEPT: Duration = Duration::from_secs(15);

/// How long the store may take for them.
const PATIENCE: Duration = Duration::from_secs(30);

/// The gauges of these sessions. Clones share what they know.
#[derive(Clone, Debug)]
pub struct Gauges {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sessions: Sessions,
    asked_at: Mutex<Option<SystemTime>>,
    is_asking: AtomicBool,
    /// What the log was told last.
    was_up: AtomicBool,
}

impl Gauges {
    /// Of these sessions.
    pub fn new(sessions: Sessions) -> Self {
        let shared = Shared {
            sessions,
            asked_at: Mutex::default(),
            is_asking: AtomicBool::new(false),
            was_up: AtomicBool::new(true),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Sets what costs nothing to know. Call it whenever somebody looks.
    pub fn observe(&self) {
        let sessions = &self.shared.sessions;
        gauge!(table::ACTIVITY_WAITING).set(count(sessions.uses_waiting()));
        if let Some(busy) = sessions.store().busy() {
            observe_load(&busy);
        }
    }

    /// Asks the store for its figures, if the last ones are older than 15 seconds and nobody is asking, and sets what it
    /// says. Run it beside the answer to whoever looks, not before it.
    pub async fn refresh(&self) {
        if !self.is_due() || self.shared.is_asking.swap(true, Ordering::SeqCst) {
            return;
        }
        let _over = Asking(&self.shared.is_asking);
        let answer = tokio::time::timeout(PATIENCE, figures(&self.shared.sessions)).await;
        let answer = answer.unwrap_or_else(|_| Err(Error::unavailable("the store's figures took longer than 30 s")));
        *self.shared.asked_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.shared.sessions.now());
        self.report(&answer);
        gauge!(table::STORE_UP).set(if answer.is_ok() { 1.0 } else { 0.0 });
        if let Ok(Some(stats)) = answer {
            observe_stats(&stats, self.shared.sessions.now());
        }
        if let Ok(Some(skew)) = self.shared.sessions.clock_skew().await {
            gauge!(table::CLOCK_SKEW).set(skew);
        }
    }

    fn is_due(&self) -> bool {
        let asked_at = *self.shared.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.shared.sessions.now();
        asked_at.is_none_or(|at| now.duration_since(at).map_or(true, |age| age >= KEPT))
    }

    /// An outage is told when it begins and when it ends, not with every look.
    fn report(&self, answer: &Result<Option<StoreStats>, Error>) {
        let was_up = self.shared.was_up.swap(answer.is_ok(), Ordering::SeqCst);
        match answer {
            Err(error) if was_up => warn!(?error, "the session store does not say how it is"),
            Ok(_) if !was_up => info!("the session store says again how it is"),
            _ => {}
        }
    }
}

/// Lets the next one ask, also when whoever asked has given up.
struct Asking<'a>(&'a AtomicBool);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// The store's figures; of one that does not count, whether it answers.
async fn figures(sessions: &Sessions) -> Result<Option<StoreStats>, Error> {
    if let Some(stats) = sessions.store().stats() {
        return stats.stats(sessions.now(), 0).await.map(Some);
    }
    let nobodys = StoreKey::new(&SessionId::generate()?, KeyForm::Sha256);
    sessions.store().load(&nobodys, sessions.now()).await.map(|_| None)
}

fn observe_stats(stats: &StoreStats, now: SystemTime) {
    gauge!(table::ACTIVE).set(count(stats.active));
    gauge!(table::SIGNED_IN).set(count(stats.signed_in));
    gauge!(table::EXPIRED).set(count(stats.expired));
    let oldest = stats.oldest_expiry.and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
    gauge!(table::OLDEST_EXPIRED).set(oldest);
    if let Some(storage) = &stats.storage {
        gauge!(table::TABLE_BYTES).set(count(storage.table_bytes));
        gauge!(table::INDEX_BYTES).set(count(storage.index_bytes));
        gauge!(table::STORAGE_BYTES).set(count(storage.total_bytes));
    }
}

fn observe_load(load: &Load) {
    let idle = load.connections.zip(load.connections_in_use).map(|(open, in_use)| open.saturating_sub(in_use));
    for (name, state, value) in [
        (table::CONNECTIONS, Some("idle"), idle),
        (table::CONNECTIONS, Some("in_use"), load.connections_in_use),
        (table::CONNECTIONS_MAX, None, load.connections_max),
        (table::CONNECTION_WAITERS, None, load.waiting_for_connection),
        (table::READS, Some("under_way"), load.reads_under_way),
        (table::READS, Some("waiting"), load.reads_waiting),
    ] {
        match (state, value) {
            (Some(state), Some(value)) => gauge!(name, "state" => state).set(count(value)),
            (None, Some(value)) => gauge!(name).set(count(value)),
            _ => {}
        }
    }
}

/// Exact up to 2^53, which no table reaches.
#[allow(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
fn count(value: u64) -> f64 {
    value as f64
}
