//! The one place that reads the process's environment.

use std::ffi::OsString;

/// What the environment says beside the settings: `NO_COLOR`, `USER`. `None` when it is not set, empty, or not UTF-8.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(super) fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}
