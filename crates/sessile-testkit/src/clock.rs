//! A clock that a test turns, so that no test waits to see a session expire.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sessile_core::Clock;

/// A clock that stands still until it is turned. Clones are the same clock: give one to the sessions and keep one.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use sessile_core::Clock;
/// use sessile_testkit::clock::ManualClock;
///
/// let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
/// let kept = clock.clone();
/// kept.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    at: Arc<Mutex<SystemTime>>,
}

impl ManualClock {
    /// A clock that shows this time.
    pub fn new(at: SystemTime) -> Self {
        Self { at: Arc::new(Mutex::new(at)) }
    }

    /// Turns the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// Sets the clock, backwards too.
    pub fn set(&self, at: SystemTime) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
