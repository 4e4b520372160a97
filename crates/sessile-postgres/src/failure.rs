//! What a failure of the server or the way to it means to a session.

use std::time::Duration;

use deadpool_postgres::PoolError;
use sessile_core::Error;
use tokio_postgres::error::SqlState;

use crate::connect::takes_no_writes;

const NO_PRIMARY: &str =
    "expected a PostgreSQL server that takes writes, found none; promote a standby, or start the primary";

/// What may go wrong with one statement.
#[derive(Debug)]
pub(crate) enum Failure {
    Server(tokio_postgres::Error),
    Pool(PoolError),
    /// No answer within this time.
    Slow(Duration),
    /// What was read came from a server that takes no writes: it may be out of date.
    ReadOnly,
    /// Not even tried: the last attempt to connect failed a moment ago.
    Down,
}

impl Failure {
    /// The connection broke before the answer came.
    pub(crate) fn is_disconnect(&self) -> bool {
        matches!(self, Self::Server(error) if error.is_closed() || error.code().is_none() || is_shutdown(error))
    }

    /// The server does not know, or no longer accepts, a prepared statement: nothing ran, and preparing it again helps.
    pub(crate) fn is_lost_statement(&self) -> bool {
        const LOST: [SqlState; 3] =
            [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT, SqlState::UNDEFINED_PSTATEMENT];
        let Self::Server(error) = self else { return false };
        let stale_plan = error.as_db_error().is_some_and(|db| {
            *db.code() == SqlState::FEATURE_NOT_SUPPORTED && db.routine() == Some("RevalidateCachedQuery")
        });
        stale_plan || error.code().is_some_and(|code| LOST.contains(code))
    }

    /// The server undid everything because of what others did at the same moment: trying again helps.
    pub(crate) fn is_conflict(&self) -> bool {
        self.is(&SqlState::T_R_DEADLOCK_DETECTED) || self.is(&SqlState::T_R_SERIALIZATION_FAILURE)
    }

    /// The server takes no writes, so it is not the primary, or not for now.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, Self::ReadOnly) || self.is(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Nothing of it took effect, and it may work the next time: after the others, or on another server.
    pub(crate) fn is_undone(&self) -> bool {
        self.is_conflict() || self.is_read_only()
    }

    pub(crate) fn is(&self, state: &SqlState) -> bool {
        matches!(self, Self::Server(error) if error.code() == Some(state))
    }
}

impl Failure {
    /// What a change of the tables would be refused for again: what hangs together, missing schemas, definitions that
    /// differ. To a request the same means a store that does not work now.
    pub(crate) fn refused_change(&self) -> Option<Error> {
        let Self::Server(error) = self else { return None };
        let db = error.as_db_error()?;
        let code = db.code().code();
        let is_final = ["2B", "3F", "42"].iter().any(|class| code.starts_with(class));
        is_final.then(|| Error::config(format!("PostgreSQL refused: {} (SQLSTATE {code})", db.message())))
    }
}

/// The server is going down, or an administrator ended the connection.
fn is_shutdown(error: &tokio_postgres::Error) -> bool {
    const ENDED: [SqlState; 3] = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
    error.code().is_some_and(|code| ENDED.contains(code))
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Server(error),
            error => Self::Pool(error),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Slow(limit) => Self::unavailable(format!("PostgreSQL did not answer within {limit:?}")),
            Failure::ReadOnly => Self::unavailable(NO_PRIMARY),
            Failure::Down => Self::unavailable("PostgreSQL could not be reached a moment ago"),
            Failure::Pool(error) => {
                Self::unavailable("no connection to PostgreSQL became free in time").with_source(error)
            }
            Failure::Server(error) => server_error(error),
        }
    }
}

/// Only the SQLSTATE and the server's message are passed on: its detail may quote a row.
fn server_error(error: tokio_postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else {
        if takes_no_writes(&error) {
            return Error::unavailable(NO_PRIMARY).with_source(error);
        }
        return Error::unavailable("PostgreSQL could not be reached").with_source(error);
    };
    let (code, text) = (db.code().code().to_owned(), db.message().to_owned());
    // Data exceptions: a value that this column cannot hold, or that is too long for an index.
    if code.starts_with("22") || code == "54000" {
        return Error::value(format!("PostgreSQL cannot store the session (SQLSTATE {code})"));
    }
    Error::unavailable(format!("PostgreSQL answered: {text} (SQLSTATE {code})"))
}
