//! What there is to see at a glance, for the first page and the API: what happened in a span of time, as the registry and
//! this process have it together.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sessile_core::{Error, Interval};

use super::figures::Counted;
use super::state::Dashboard;

/// How far back to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Span {
    #[default]
    Hour,
    Day,
    Week,
}

impl Span {
    pub(super) const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|span| span.as_str() == word)
    }

    /// How long one point is, and how many there are.
    fn steps(self) -> (Duration, u32) {
        let (minutes, count) = match self {
            Self::Hour => (1, 60),
            Self::Day => (15, 96),
            Self::Week => (120, 84),
        };
        (Duration::from_secs(60 * minutes), count)
    }

    /// One point, in words: what counts are counted per.
    pub(super) fn step_in_words(self) -> &'static str {
        match self {
            Self::Hour => "minute",
            Self::Day => "15 minutes",
            Self::Week => "2 hours",
        }
    }
}

/// What happened in one step of a span.
pub(super) struct Point {
    pub(super) at: SystemTime,
    /// `None` for a store that does not count.
    pub(super) kept: Option<Interval>,
    pub(super) counted: Counted,
}

/// What happened, step by step, the oldest first.
pub(super) struct Timeline {
    pub(super) step: Duration,
    pub(super) points: Vec<Point>,
}

/// What happened in the span that ends with the step that is going on.
pub(super) async fn timeline(dashboard: &Dashboard, span: Span) -> Result<Timeline, Error> {
    let (step, count) = span.steps();
    let from = begin(dashboard.now(), step, count);
    let mut kept = match dashboard.sessions.store().stats() {
        Some(stats) => stats.timeline(from, step, count).await?,
        None => Vec::new(),
    }
    .into_iter();
    let counted = dashboard.figures.spans(from, step, count);
    let points =
        (0..count).zip(counted).map(|(at, counted)| Point { at: from + step * at, kept: kept.next(), counted });
    Ok(Timeline { step, points: points.collect() })
}

/// The begin of the first of `count` steps, the last of which has begun and is not over. Steps begin on the hour.
fn begin(now: SystemTime, step: Duration, count: u32) -> SystemTime {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let this = UNIX_EPOCH + Duration::from_secs(since - since % step.as_secs().max(1));
    this.checked_sub(step * count.saturating_sub(1)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_is_the_one_that_is_going_on() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let minute = Duration::from_secs(60);
        assert_eq!(begin(at(100 * 60 + 59), minute, 60), at(41 * 60));
        assert_eq!(begin(at(100 * 60), minute, 1), at(100 * 60));
    }
}
