//! The one place that reads the process's environment.

use std::ffi::OsString;

pub(super) fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}
