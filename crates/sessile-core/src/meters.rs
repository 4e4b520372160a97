//! What sessions count of themselves: requests by what became of them, cookies by their secret, rounds of the sweeper.
//! Without the feature `metrics` nothing is counted and nothing of this is left in the program.

use std::time::{Duration, SystemTime};

use crate::Error;
use crate::plan::Plan;

/// What became of a request's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Anonymous,
    Read,
    Created,
    Updated,
    Rotated,
    Touched,
    Ended,
    Dropped,
    Refused,
    Failed,
}

impl Outcome {
    pub(crate) const WORDS: [&'static str; 10] =
        ["anonymous", "read", "created", "updated", "rotated", "touched", "ended", "dropped", "refused", "failed"];

    pub(crate) const fn as_str(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// Of a request whose session could not be had or written.
    pub(crate) fn of_error(error: &Error) -> Self {
        if error.status() < 500 { Self::Refused } else { Self::Failed }
    }
}

impl From<Plan> for Outcome {
    fn from(plan: Plan) -> Self {
        match plan {
            Plan::Keep => Self::Read,
            Plan::Create => Self::Created,
            Plan::Update => Self::Updated,
            Plan::Rotate => Self::Rotated,
            Plan::Touch => Self::Touched,
            Plan::End => Self::Ended,
        }
    }
}

/// A round of the sweeper that ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepRound {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// How many sessions it removed.
    pub removed: u64,
}

#[cfg(feature = "metrics")]
pub(crate) use counted::{COOKIES, ENDINGS, LAST_SWEEP, Meters, REQUESTS, SECRETS, SWEEP_SECONDS, SWEEPS, SWEPT};

#[cfg(feature = "metrics")]
mod counted {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

    use super::Outcome;

    pub(crate) const REQUESTS: &str = "sessile_requests_total";
    pub(crate) const COOKIES: &str = "sessile_cookies_verified_total";
    pub(crate) const SWEEPS: &str = "sessile_sweeps_total";
    pub(crate) const SWEPT: &str = "sessile_swept_total";
    pub(crate) const SWEEP_SECONDS: &str = "sessile_sweep_seconds";
    pub(crate) const LAST_SWEEP: &str = "sessile_sweep_last_success_timestamp_seconds";

    /// Which secret of the list it was; more than four are rare, and the last of these words.
    pub(crate) const SECRETS: [&str; 5] = ["1", "2", "3", "4", "later"];
    pub(crate) const ENDINGS: [&str; 2] = ["done", "failed"];

    pub(crate) struct Meters {
        requests: [Counter; Outcome::WORDS.len()],
        cookies: [Counter; SECRETS.len()],
        sweeps: [Counter; ENDINGS.len()],
        swept: Counter,
        sweep_seconds: Histogram,
        last_sweep: Gauge,
    }

    impl Default for Meters {
        fn default() -> Self {
            Self {
                requests: Outcome::WORDS.map(|outcome| counter!(REQUESTS, "outcome" => outcome)),
                cookies: SECRETS.map(|secret| counter!(COOKIES, "secret" => secret)),
                sweeps: ENDINGS.map(|outcome| counter!(SWEEPS, "outcome" => outcome)),
                swept: counter!(SWEPT),
                sweep_seconds: histogram!(SWEEP_SECONDS),
                last_sweep: gauge!(LAST_SWEEP),
            }
        }
    }

    impl Meters {
        /// What counts nothing.
        pub(crate) fn silent() -> Self {
            Self {
                requests: Outcome::WORDS.map(|_| Counter::noop()),
                cookies: SECRETS.map(|_| Counter::noop()),
                sweeps: ENDINGS.map(|_| Counter::noop()),
                swept: Counter::noop(),
                sweep_seconds: Histogram::noop(),
                last_sweep: Gauge::noop(),
            }
        }

        pub(crate) fn request(&self, outcome: Outcome) {
            self.requests[outcome as usize].increment(1);
        }

        pub(crate) fn cookie(&self, secret: usize) {
            self.cookies[secret.min(SECRETS.len() - 1)].increment(1);
        }

        pub(crate) fn removed(&self, sessions: u64) {
            self.swept.increment(sessions);
        }

        pub(crate) fn sweep(&self, at: SystemTime, took: Duration, went_well: bool) {
            self.sweeps[usize::from(!went_well)].increment(1);
            self.sweep_seconds.record(took);
            if went_well {
                self.last_sweep.set(at.duration_since(UNIX_EPOCH).unwrap_or_default());
            }
        }
    }
}

#[cfg(not(feature = "metrics"))]
#[derive(Default)]
pub(crate) struct Meters {}

#[cfg(not(feature = "metrics"))]
impl Meters {
    pub(crate) fn silent() -> Self {
        Self {}
    }

    pub(crate) fn request(&self, _outcome: Outcome) {}
    pub(crate) fn cookie(&self, _secret: usize) {}
    pub(crate) fn removed(&self, _sessions: u64) {}
    #[cfg(feature = "tokio")]
    pub(crate) fn sweep(&self, _at: SystemTime, _took: Duration, _went_well: bool) {}
}
