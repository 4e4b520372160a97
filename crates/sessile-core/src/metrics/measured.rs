//! A store, measured: how long each call takes and how it ends, as metrics and as spans.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use metrics::{Counter, Histogram, counter, histogram};
use tracing::{Instrument as _, Span};

use super::operation::{Answer, Operation, Outcome};
use super::table;
use crate::{
    Ending, Error, Examine, Fate, Load, Operations, Record, Registry, Stats, Store, StoreKey, Sweep, Swept, Transfer,
    Written,
};

/// Another store, measured. Every call is counted and timed, and has a span `sessile.store` at the level `debug` under the
/// target `sessile::trace`, with the fields `operation` and `outcome`.
pub struct Measured<S> {
    pub(super) store: S,
    meters: Arc<Meters>,
}

#[derive(Default)]
struct Meters {
    /// By operation. What is never called has no meter, and so stands in nobody's list.
    meters: [OnceLock<Meter>; Operation::ALL.len()],
    listener: Option<Listener>,
}

type Listener = Box<dyn Fn(Duration) + Send + Sync>;

/// What counts one kind of call.
struct Meter {
    seconds: Histogram,
    outcomes: [Counter; Outcome::ALL.len()],
}

impl Meter {
    fn of(operation: Operation) -> Self {
        let operation = operation.as_str();
        Self {
            seconds: histogram!(table::OPERATION_SECONDS, "operation" => operation),
            outcomes: Outcome::WORDS
                .map(|outcome| counter!(table::OPERATIONS, "operation" => operation, "outcome" => outcome)),
        }
    }
}

impl<S: Store> Measured<S> {
    /// Measures this store. Install the recorder before.
    pub fn new(store: S) -> Self {
        Self { store, meters: Arc::default() }
    }

    /// Tells somebody else, too, how long each call of a request's took. It is on the request's way and should take no time.
    #[must_use]
    pub fn heard_by(self, listener: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self { meters: Arc::new(Meters { listener: Some(Box::new(listener)), ..Meters::default() }), ..self }
    }

    /// One call.
    pub(super) async fn measure<T: Answer>(&self, operation: Operation, call: impl Future<Output = T>) -> T {
        let span = tracing::debug_span!(
            target: "sessile::trace", "sessile.store", operation = operation.as_str(), outcome = tracing::field::Empty
        );
        let begun = Instant::now();
        let answer = call.instrument(span.clone()).await;
        self.note(operation, answer.outcome(), begun.elapsed(), &span);
        answer
    }

    fn note(&self, operation: Operation, outcome: Outcome, took: Duration, span: &Span) {
        span.record("outcome", outcome.as_str());
        let meter = self.meters.meters[operation as usize].get_or_init(|| Meter::of(operation));
        meter.outcomes[outcome as usize].increment(1);
        meter.seconds.record(took);
        if let Some(listener) = self.meters.listener.as_ref().filter(|_| operation.is_a_requests()) {
            listener(took);
        }
    }
}

impl Operation {
    /// Whether a visitor waits for it.
    fn is_a_requests(self) -> bool {
        matches!(
            self,
            Self::Load | Self::Insert | Self::Update | Self::Rotate | Self::Touch | Self::Remove | Self::SignIn
        )
    }
}

#[async_trait]
impl<S: Store> Store for Measured<S> {
    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
        self.measure(Operation::Load, self.store.load(key, now)).await
    }

    async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.measure(Operation::Insert, self.store.insert(key, record)).await
    }

    async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.measure(Operation::Update, self.store.update(key, record)).await
    }

    async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.measure(Operation::Rotate, self.store.rotate(from, to, record)).await
    }

    async fn touch(&self, key: &StoreKey, seen_at: SystemTime, expires_at: SystemTime) -> Result<Written, Error> {
        self.measure(Operation::Touch, self.store.touch(key, seen_at, expires_at)).await
    }

    async fn remove(&self, key: &StoreKey, ending: &Ending) -> Result<bool, Error> {
        self.measure(Operation::Remove, self.store.remove(key, ending)).await
    }

    async fn fate(&self, key: &StoreKey) -> Result<Option<Fate>, Error> {
        self.measure(Operation::Fate, self.store.fate(key)).await
    }

    fn registry(&self) -> Option<&dyn Registry> {
        self.store.registry().map(|_| self as &dyn Registry)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        self.store.sweep().map(|_| self as &dyn Sweep)
    }

    fn stats(&self) -> Option<&dyn Stats> {
        self.store.stats().map(|_| self as &dyn Stats)
    }

    fn busy(&self) -> Option<Load> {
        self.store.busy()
    }

    fn examine(&self) -> Option<&dyn Examine> {
        self.store.examine().map(|_| self as &dyn Examine)
    }

    fn operations(&self) -> Option<&dyn Operations> {
        self.store.operations().map(|_| self as &dyn Operations)
    }

    fn transfer(&self) -> Option<&dyn Transfer> {
        self.store.transfer().map(|_| self as &dyn Transfer)
    }

    async fn time(&self) -> Result<Option<SystemTime>, Error> {
        self.measure(Operation::Time, self.store.time()).await
    }

    fn description(&self) -> String {
        self.store.description()
    }
}

#[async_trait]
impl<S: Store> Sweep for Measured<S> {
    async fn sweep(&self, now: SystemTime, limit: u32) -> Result<Swept, Error> {
        let Some(sweep) = self.store.sweep() else { return Ok(Swept::default()) };
        self.measure(Operation::Sweep, sweep.sweep(now, limit)).await
    }
}

impl<S: Store> fmt::Debug for Measured<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Measured").field(&self.store.description()).finish()
    }
}
