//! Times as they are typed and shown: RFC 3339 in UTC, and spans back from now.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp};

use crate::output::Misused;

/// `2026-01-15T10:30:00Z`, or a span before now like `30m`, `12h`, `7d`.
pub(crate) fn parse(text: &str, now: SystemTime) -> Result<SystemTime, Misused> {
    let ago = span_of(text).and_then(|span| now.checked_sub(span));
    let time = || text.parse::<Timestamp>().ok().map(SystemTime::from);
    ago.or_else(time).ok_or_else(|| {
        Misused(format!("expected a time like 2026-01-15T10:30:00Z, or a span like 12h or 7d, found {text:?}"))
    })
}

/// `90s`, `30m`, `1h`, `7d`.
pub(crate) fn span(text: &str) -> Result<Duration, Misused> {
    span_of(text).ok_or_else(|| Misused(format!("expected a span like 90s, 30m, 1h or 7d, found {text:?}")))
}

fn span_of(text: &str) -> Option<Duration> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let days = days.and_then(|days| days.checked_mul(24 * 60 * 60)).map(Duration::from_secs);
    days.or_else(|| text.parse::<SignedDuration>().ok().map(SignedDuration::unsigned_abs))
}

/// Milliseconds since 1970, as Sessile's rows count time.
pub(crate) fn to_millis(time: SystemTime) -> i64 {
    let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    time.duration_since(UNIX_EPOCH).map_or_else(|before| -millis(before.duration()), millis)
}

/// The time then; `None` where this host cannot represent it.
pub(crate) fn from_millis(millis: i64) -> Option<SystemTime> {
    let span = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) }
}

/// To the second.
pub(crate) fn shown(time: SystemTime) -> String {
    Timestamp::try_from(time).map(|time| format!("{time:.0}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_are_read() {
        let now = parse("2026-01-15T10:30:00Z", SystemTime::UNIX_EPOCH).unwrap();
        for (text, ago) in
            [("30m", 1_800), ("12h", 43_200), ("7d", 604_800), ("1h 30m", 5_400), ("2026-01-15T11:29:59+01:00", 1)]
        {
            assert_eq!(parse(text, now).unwrap(), now - Duration::from_secs(ago), "{text}");
        }
        assert_eq!(shown(now + Duration::from_millis(999)), "2026-01-15T10:30:00Z");
        for (text, seconds) in [("90s", 90), ("1h", 3_600), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(span(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for millis in [0, -1, 1_768_473_000_123] {
            assert_eq!(to_millis(from_millis(millis).unwrap()), millis);
        }
        for wrong in ["99999999999999999999d", "9999999999999999d", "", "yesterday", "10", "2026-01-15", "d"] {
            assert!(parse(wrong, now).unwrap_err().to_string().contains("expected a time"), "{wrong}");
        }
    }
}
