//! Times as they are stored: whole milliseconds since 1970. What is stored outlives its session's end by the clock of the
//! server, which is only asked to throw things away and never whether a session lives.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A day, in milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1_000;

/// How long a row outlives its end, for the sweeper to find it and say that it expired.
const UNSWEPT: i64 = 7 * DAY;

/// How long what says that a session is over is kept at most: longer than any history that is forgotten by the sweeper.
pub(crate) const KEPT: i64 = 400 * DAY;

/// How long a key that a session moved from is known: the hour that is promised, and one more for clocks that differ.
pub(crate) const MOVED: i64 = 2 * 60 * 60 * 1_000;

/// The end of 9999, give or take two days for time zones: later than that text cannot show.
const LAST: i64 = 253_402_300_799_999;

/// Milliseconds since 1970, cut off.
pub(crate) fn millis(time: SystemTime) -> i64 {
    let whole = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(LAST);
    let millis = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => -whole(before.duration()),
    };
    millis.clamp(-LAST, LAST)
}

/// Milliseconds since 1970, rounded up.
pub(crate) fn millis_up(time: SystemTime) -> i64 {
    millis(time.checked_add(Duration::from_nanos(999_999)).unwrap_or(time))
}

/// The time so many milliseconds after 1970.
pub(crate) fn from_millis(millis: i64) -> SystemTime {
    let span = Duration::from_millis(millis.unsigned_abs());
    let time = if millis < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
    time.unwrap_or(UNIX_EPOCH)
}

/// For how long to keep a row that ends then.
pub(crate) fn row_kept(now: i64, end: i64) -> i64 {
    (end - now).max(0) + UNSWEPT
}

/// For how long to keep what leads to it.
pub(crate) fn pointer_kept(now: i64, end: i64) -> i64 {
    (end - now).max(0) + KEPT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_thrown_away_before_its_end_by_the_callers_clock() {
        let year_2040 = 2_209_032_000_000;
        assert!(row_kept(year_2040, year_2040 + 5) > 5);
        assert_eq!(row_kept(year_2040, 60_000), UNSWEPT, "one that has ended stays for the sweeper");
        assert!(pointer_kept(0, LAST) > LAST);
    }

    #[test]
    fn ends_are_never_early() {
        let time = UNIX_EPOCH + Duration::from_micros(1_500);
        assert_eq!((millis(time), millis_up(time)), (1, 2));
        assert_eq!(from_millis(millis(UNIX_EPOCH - Duration::from_secs(1))), UNIX_EPOCH - Duration::from_secs(1));
    }
}
