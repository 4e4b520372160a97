//! Times as they are typed and shown: RFC 3339 in UTC, and spans back from now.

use std::time::SystemTime;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};

/// `2026-01-15T10:30:00Z`, or a span before now like `30m`, `12h`, `7d`.
pub(crate) fn parse(text: &str, now: SystemTime) -> anyhow::Result<SystemTime> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    let span = days.map(|days| SignedDuration::from_hours(days * 24)).or_else(|| text.parse().ok());
    let ago = span.and_then(|span| now.checked_sub(span.unsigned_abs()));
    let time = || text.parse::<Timestamp>().ok().map(SystemTime::from);
    ago.or_else(time)
        .with_context(|| format!("expected a time like 2026-01-15T10:30:00Z, or a span like 12h or 7d, found {text:?}"))
}

/// To the second.
pub(crate) fn shown(time: SystemTime) -> String {
    Timestamp::try_from(time).map(|time| format!("{time:.0}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        for wrong in ["", "yesterday", "10", "2026-01-15", "d"] {
            assert!(parse(wrong, now).unwrap_err().to_string().contains("expected a time"), "{wrong}");
        }
    }
}
