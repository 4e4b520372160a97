//! Times for reading: in UTC, and from now.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use sessile_core::{Clock, SystemClock};

/// A time as a page shows it.
pub(crate) struct Moment {
    /// For machines, as the `datetime` attribute wants it.
    pub(crate) iso: String,
    /// For people: `2026-01-31 12:00:00 UTC`.
    pub(crate) text: String,
    /// From now: `in 24 hours`, `3 minutes ago`.
    pub(crate) distance: String,
}

impl Moment {
    pub(crate) fn of(time: SystemTime) -> Self {
        Self::seen_at(SystemClock.now(), time)
    }

    /// As somebody sees it at this other time.
    pub(crate) fn seen_at(now: SystemTime, time: SystemTime) -> Self {
        let stamp = Timestamp::try_from(time).unwrap_or(Timestamp::MAX);
        Self {
            iso: stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            text: stamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            distance: distance(now, time),
        }
    }
}

fn distance(now: SystemTime, time: SystemTime) -> String {
    match time.duration_since(now) {
        Ok(ahead) if ahead.as_secs() < 30 => "in a moment".to_owned(),
        Ok(ahead) => format!("in {}", span(ahead)),
        Err(past) if past.duration().as_secs() < 30 => "just now".to_owned(),
        Err(past) => format!("{} ago", span(past.duration())),
    }
}

/// The span in its largest unit of which there are at least two, rounded to the nearest.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds")];
    let (unit, name) = units.into_iter().find(|(unit, _)| seconds >= 2 * unit).unwrap_or((1, "seconds"));
    format!("{} {name}", (seconds + unit / 2) / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_what_people_say() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let cases = [
            (0, "in a moment"),
            (29, "in a moment"),
            (90, "in 90 seconds"),
            (24 * 3600 - 1, "in 24 hours"),
            (14 * 86_400 - 5, "in 14 days"),
            (-5, "just now"),
            (-45, "45 seconds ago"),
            (-180, "3 minutes ago"),
        ];
        for (seconds, expected) in cases {
            let span = Duration::from_secs(i64::unsigned_abs(seconds));
            let time = if seconds < 0 { now - span } else { now + span };
            assert_eq!(distance(now, time), expected, "{seconds}");
        }
    }
}
