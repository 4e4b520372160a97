//! What only this process knows, minute by minute: how many cookies and sign-ins were refused, and how long the store
//! takes to answer. The registry keeps the rest for good; this is a ring of one day in memory, and begins anew with the
//! process.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sessile_core::{Clock, Event, EventKind, Observer, SystemClock};

use super::histogram::Histogram;

/// So many minutes are kept: a day.
const KEPT: usize = 24 * 60;

/// Counts refusals and store latencies. Cloning is cheap and gives the same figures: one clone is an observer of the
/// application's sessions, one is told of latencies, one is the dashboard's.
///
/// ```
/// use std::time::Duration;
/// use sessile_core::Config;
/// use sessile_server::admin::Figures;
///
/// # fn config(secret: &str) -> Result<Config, sessile_core::Error> {
/// let figures = Figures::default();
/// let config = Config::new(secret)?.observer(figures.clone());
/// figures.record_latency(Duration::from_micros(300)); // by whoever asks the store
/// # Ok(config) }
/// ```
#[derive(Clone)]
pub struct Figures {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Box<dyn Clock>,
    began: SystemTime,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Those in which something happened, the oldest first.
    minutes: VecDeque<Minute>,
    sweep: Option<SweepRound>,
    sweep_failed_at: Option<SystemTime>,
}

struct Minute {
    /// Minutes since 1970.
    number: u64,
    refused: u64,
    latencies: Histogram,
}

/// The last round of the sweeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepRound {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// How many sessions it removed.
    pub removed: u64,
}

/// What this process counted in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// `None` before there was this process.
    pub(super) refused: Option<u64>,
    /// What half of the store's answers did not exceed; `None` when there was none.
    pub(super) p50: Option<Duration>,
    pub(super) p99: Option<Duration>,
}

impl Figures {
    /// Figures by this clock. The default goes by the system's.
    pub fn new(clock: impl Clock + 'static) -> Self {
        let began = clock.now();
        Self { shared: Arc::new(Shared { clock: Box::new(clock), began, kept: Mutex::default() }) }
    }

    /// Counts one answer of the store, which took so long.
    pub fn record_latency(&self, took: Duration) {
        self.in_this_minute(|minute| minute.latencies.record(took));
    }

    /// Notes that a round of the sweeper has ended.
    pub fn record_sweep(&self, took: Duration, removed: u64) {
        let at = self.shared.clock.now();
        self.with(|kept| kept.sweep = Some(SweepRound { at, took, removed }));
    }

    /// The last round of the sweeper, as far as this process knows.
    pub fn last_sweep(&self) -> Option<SweepRound> {
        self.with(|kept| kept.sweep)
    }

    /// Notes when a round of the sweeper failed that no good one followed; `None` when there is no such round.
    pub fn record_sweep_failure(&self, at: Option<SystemTime>) {
        self.with(|kept| kept.sweep_failed_at = at);
    }

    pub(super) fn sweep_failed_at(&self) -> Option<SystemTime> {
        self.with(|kept| kept.sweep_failed_at)
    }

    /// What was counted in `count` spans of length `step`, the first of which begins at `from`.
    pub(super) fn spans(&self, from: SystemTime, step: Duration, count: u32) -> Vec<Counted> {
        (0..count).map(|span| from + step * span).map(|from| self.counted(from, from + step)).collect()
    }

    fn counted(&self, from: SystemTime, to: SystemTime) -> Counted {
        if to <= self.shared.began {
            return Counted::default();
        }
        let (from, to) = (number(from), number(to));
        self.with(|kept| {
            let minutes = kept.minutes.iter().filter(|minute| (from..to).contains(&minute.number));
            let (mut refused, mut latencies) = (0, Histogram::default());
            for minute in minutes {
                refused += minute.refused;
                latencies.add(&minute.latencies);
            }
            Counted { refused: Some(refused), p50: latencies.quantile(0.5), p99: latencies.quantile(0.99) }
        })
    }

    fn in_this_minute(&self, change: impl FnOnce(&mut Minute)) {
        let number = number(self.shared.clock.now());
        self.with(|kept| {
            if kept.minutes.back().is_none_or(|last| last.number < number) {
                kept.minutes.push_back(Minute { number, refused: 0, latencies: Histogram::default() });
            }
            if kept.minutes.len() > KEPT {
                kept.minutes.pop_front();
            }
            kept.minutes.back_mut().map(change);
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Figures {
    fn default() -> Self {
        Self::new(SystemClock)
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").field("began", &self.shared.began).finish_non_exhaustive()
    }
}

/// Counts refusals. What ends and begins is in the registry already.
impl Observer for Figures {
    fn observe(&self, event: &Event) {
        if matches!(event.kind, EventKind::Refused(_)) {
            self.in_this_minute(|minute| minute.refused += 1);
        }
    }
}

fn number(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 60)
}
