//! Time comes in through one door, so that a test can turn the clock and no code waits to see a session expire.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time. [`SystemClock`] is the default; tests use one they can turn.
pub trait Clock: Send + Sync {
    /// The time now, in UTC like every [`SystemTime`].
    fn now(&self) -> SystemTime;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Milliseconds since 1970, as JavaScript counts. Times before it are negative.
pub(crate) fn to_millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

/// The time that many milliseconds after 1970, kept within the years that text can show (0 to 9999).
pub(crate) fn from_millis(millis: i64) -> SystemTime {
    const YEAR_0: i64 = -62_167_219_200_000;
    const YEAR_9999: i64 = 253_402_128_000_000;
    let millis = millis.clamp(YEAR_0, YEAR_9999);
    let size = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { UNIX_EPOCH - size } else { UNIX_EPOCH + size }
}

/// `2026-01-15T12:34:56.789Z`: what JavaScript's `Date.toJSON` writes.
pub(crate) fn iso(time: SystemTime) -> String {
    format!("{:.3}", timestamp(time))
}

/// `2026-01-15T12:34:56Z`: the same for people, milliseconds cut off.
pub(crate) fn iso_seconds(time: SystemTime) -> String {
    timestamp(time).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `Thu, 15 Jan 2026 12:34:56 GMT`: IMF-fixdate (RFC 9110 section 5.6.7), milliseconds cut off.
pub(crate) fn imf(time: SystemTime) -> String {
    timestamp(time).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Reads what JavaScript's `Date` wrote as JSON.
pub(crate) fn parse_iso(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok().map(|time| from_millis(time.as_millisecond()))
}

fn timestamp(time: SystemTime) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(to_millis(from_millis(to_millis(time)))).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_javascript_and_http_write_them() {
        let time = from_millis(1_768_480_496_789);
        assert_eq!(iso(time), "2026-01-15T12:34:56.789Z");
        assert_eq!(imf(time), "Thu, 15 Jan 2026 12:34:56 GMT");
        assert_eq!(iso(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(parse_iso("2026-01-15T12:34:56.789Z"), Some(time));
        assert_eq!(parse_iso("soon"), None);
    }

    #[test]
    fn times_beyond_what_text_can_show_are_cut_not_lost() {
        assert_eq!(iso(from_millis(i64::MAX)), "9999-12-30T00:00:00.000Z");
        assert!(iso(from_millis(i64::MIN)).starts_with("0000-01-01"));
        assert_eq!(imf(UNIX_EPOCH - Duration::from_millis(1)), "Wed, 31 Dec 1969 23:59:59 GMT");
    }
}
