//! Times as the API writes them.

use std::time::SystemTime;

use jiff::Timestamp;

/// RFC 3339 in UTC, with milliseconds.
pub(super) fn text(time: SystemTime) -> String {
    format!("{:.3}", Timestamp::try_from(time).unwrap_or(Timestamp::MAX))
}
