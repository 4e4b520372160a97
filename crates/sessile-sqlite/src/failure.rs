//! What SQLite's errors mean to a caller of the store.

use rusqlite::ErrorCode;
use sessile_core::Error;

/// The store failed, or the row cannot be read. The message names neither a key nor a value.
pub(crate) fn of(error: rusqlite::Error) -> Error {
    match &error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => {
            Error::poisoned("expected the row's columns to be text, and times in them, found something else")
        }
        other if other.sqlite_error_code() == Some(ErrorCode::TooBig) => {
            Error::value("expected a session that fits a row of SQLite, found a larger one").with_source(error)
        }
        other => unavailable(other).with_source(error),
    }
}

/// The store failed, and what to do.
pub(crate) fn unavailable(error: &rusqlite::Error) -> Error {
    Error::unavailable(match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program kept the SQLite file locked for too long; find out which one holds a transaction open"
        }
        Some(ErrorCode::DiskFull) => "the disk with the SQLite file is full",
        Some(ErrorCode::ReadOnly) => "the SQLite file or its directory became read-only",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the SQLite file is damaged; restore it from a backup"
        }
        _ => "SQLite could not carry out a statement on the session table or the registry",
    })
}
