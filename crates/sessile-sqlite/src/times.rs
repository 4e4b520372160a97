//! Times. The session table has them in whole seconds rounded up, as connect-pg-simple has it; the registry in whole
//! milliseconds, as text that sorts: `2040-01-01 12:00:00.000`, UTC. SQLite itself writes and reads that text, so the
//! times of other programs count in every format that SQLite knows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first year that SQLite's times can show.
const YEAR_0: i64 = -62_167_219_200;
const END_OF_9999: i64 = 253_402_300_799;

/// The last time of the registry, as the core has it: so much before the end of 9999 that it is that year everywhere.
const LAST: i64 = 253_402_128_000_000;

/// Seconds since 1970, rounded up, within the years that SQLite's times can show (0 to 9999).
pub(crate) fn seconds(time: SystemTime) -> i64 {
    let whole = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since).saturating_add(i64::from(since.subsec_nanos() > 0)),
        Err(before) => -whole(before.duration()),
    };
    seconds.clamp(YEAR_0, END_OF_9999)
}

/// The time so many seconds after 1970.
pub(crate) fn from_seconds(seconds: i64) -> SystemTime {
    after_1970(seconds, Duration::from_secs(seconds.unsigned_abs()))
}

/// Milliseconds since 1970, cut off, within the years that text can show.
pub(crate) fn millis(time: SystemTime) -> i64 {
    let whole = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let millis = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => -whole(before.duration()),
    };
    millis.clamp(YEAR_0 * 1_000, LAST)
}

/// Milliseconds since 1970, rounded up.
pub(crate) fn millis_up(time: SystemTime) -> i64 {
    millis(time.checked_add(Duration::from_nanos(999_999)).unwrap_or(time))
}

/// The time so many milliseconds after 1970.
pub(crate) fn from_millis(millis: i64) -> SystemTime {
    after_1970(millis, Duration::from_millis(millis.unsigned_abs()))
}

fn after_1970(sign: i64, span: Duration) -> SystemTime {
    let time = if sign < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
    time.unwrap_or(UNIX_EPOCH)
}

/// SQL: the registry's text for the parameter of this number, which is in milliseconds. NULL stays NULL.
pub(crate) fn text(parameter: u8) -> String {
    format!("strftime('%Y-%m-%d %H:%M:%f', ?{parameter} / 1000.0, 'unixepoch')")
}

/// SQL: the milliseconds of a column that holds such a text, or another one that SQLite knows. NULL for anything else.
pub(crate) fn read(column: &str) -> String {
    format!("CAST(round(unixepoch({column}, 'subsec') * 1000) AS INTEGER)")
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn seconds_are_rounded_up_and_kept_within_what_sqlite_can_show() {
        for (millis, expected) in [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(seconds(at(millis)), expected);
        }
        assert_eq!(seconds(UNIX_EPOCH - Duration::from_millis(1_500)), -1);
        assert_eq!(seconds(UNIX_EPOCH + Duration::from_secs(1 << 40)), 253_402_300_799);
        assert_eq!(from_seconds(seconds(at(61_000))), at(61_000));
        assert_eq!(from_seconds(-2), UNIX_EPOCH - Duration::from_secs(2));
    }

    #[test]
    fn every_millisecond_of_the_registry_is_written_and_read_as_it_was() {
        let connection = Connection::open_in_memory().unwrap();
        let sql = format!("SELECT t, {} FROM (SELECT {} AS t)", read("t"), text(1));
        let mut statement = connection.prepare(&sql).unwrap();
        let mut written = |millis: i64| -> (String, i64) {
            statement.query_row([millis], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
        };
        assert_eq!(written(1_768_480_496_789).0, "2026-01-15 12:34:56.789");
        assert_eq!(written(LAST).0, "9999-12-30 00:00:00.000");
        for begun in [YEAR_0 * 1_000, -1_000, 0, 1_768_480_496_000, 2_209_032_059_000, LAST - 1_000] {
            for millis in begun..=begun + 1_000 {
                assert_eq!(written(millis).1, millis);
            }
        }
    }

    #[test]
    fn milliseconds_are_cut_off_and_a_cut_off_is_not() {
        let between = UNIX_EPOCH + Duration::from_nanos(1_000_001);
        assert_eq!((millis(between), millis_up(between), millis_up(at(1))), (1, 2, 1));
        assert_eq!(millis(UNIX_EPOCH + Duration::from_secs(1 << 40)), LAST);
        assert_eq!(from_millis(millis(at(61_001))), at(61_001));
        assert_eq!(from_millis(-2), UNIX_EPOCH - Duration::from_millis(2));
    }
}
