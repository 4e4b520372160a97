//! Times as parameters and columns: seconds since 1970 as a double, which is how node-postgres binds them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const END_OF_9999: Duration = Duration::from_secs(253_402_300_799);

/// Every time as connect-pg-simple binds it: whole seconds, rounded up from the milliseconds of JavaScript's clock.
pub(crate) fn whole_seconds(end: SystemTime) -> f64 {
    ((seconds(end) * 1000.0).floor() / 1000.0).ceil()
}

/// A time for the registry, which keeps whole milliseconds.
pub(crate) fn whole_millis(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_millis() as f64 / 1000.0,
        Err(before) => -(before.duration().as_millis() as f64) / 1000.0,
    }
}

/// The first whole millisecond that is not before this time: what is surely later than that.
pub(crate) fn whole_millis_up(time: SystemTime) -> f64 {
    whole_millis(time + Duration::from_nanos(999_999))
}

/// The end of a session, as its row has it.
pub(crate) fn time(seconds: f64) -> SystemTime {
    let span = Duration::try_from_secs_f64(seconds.abs()).unwrap_or(END_OF_9999).min(END_OF_9999);
    if seconds < 0.0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
}

/// A time of the registry: the millisecond that is meant, for a double is only near it.
pub(crate) fn moment(seconds: f64) -> SystemTime {
    let span = Duration::from_millis((seconds.abs() * 1000.0).round() as u64).min(END_OF_9999);
    if seconds < 0.0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
}

fn seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_the_registry_comes_back_to_the_millisecond() {
        for millis in [0, 1, 999, 1_768_480_496_789, 2_209_032_000_123, 253_402_300_798_999] {
            let at = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(moment(whole_millis(at + Duration::from_micros(999))), at);
        }
        assert_eq!(moment(f64::INFINITY), UNIX_EPOCH + END_OF_9999);
        assert_eq!(moment(f64::NAN), UNIX_EPOCH);
    }
}
