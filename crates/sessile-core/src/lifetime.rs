//! How long a session lives: idle, absolute, and how often its use is written down.

use std::time::{Duration, SystemTime};

/// The limits of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// How long the session lives without being used.
    pub idle: Duration,
    /// How long it lives at most, used or not, counted from the sign-in; before one, from its first write.
    pub absolute: Option<Duration>,
    /// How far the recorded end may lag behind use before it is written again. At most a quarter of `idle` counts.
    pub touch_every: Duration,
}

impl Lifetime {
    /// 24 hours idle, 14 days in all, touched at most once a minute.
    pub const DEFAULT: Self = Self {
        idle: Duration::from_secs(24 * 60 * 60),
        absolute: Some(Duration::from_secs(14 * 24 * 60 * 60)),
        touch_every: Duration::from_secs(60),
    };

    /// The end of a session that is used `now` and `began` then; `None` for one whose beginning nobody recorded.
    pub(crate) fn expires_at(&self, now: SystemTime, began: Option<SystemTime>) -> SystemTime {
        let idle_end = add(now, self.idle);
        self.absolute_end(began).map_or(idle_end, |end| end.min(idle_end))
    }

    /// The end that use does not move.
    pub(crate) fn absolute_end(&self, began: Option<SystemTime>) -> Option<SystemTime> {
        Some(add(began?, self.absolute?))
    }

    /// Whether the recorded end is so far from what use makes it that it is worth a write.
    pub(crate) fn touch_due(&self, recorded: SystemTime, target: SystemTime) -> bool {
        let apart = target.duration_since(recorded).unwrap_or_else(|earlier| earlier.duration());
        apart >= self.touch_every.min(self.idle / 4)
    }
}

/// A time so far off that it cannot be told is cut to a century from `time`.
fn add(time: SystemTime, span: Duration) -> SystemTime {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    time + span.min(CENTURY)
}
