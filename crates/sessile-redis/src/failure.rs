//! What a failure of the server, or of the way to it, means to a session. Only the kind and the code of a failure are passed
//! on: what a server says beside them may quote a key.

use std::time::Duration;

use redis::{ErrorKind, ParsingError, RedisError};
use sessile_core::Error;

/// What may go wrong with one command.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Redis(RedisError),
    /// No answer within this time.
    Slow(Duration),
    /// Who answers is not the primary.
    Replica,
    /// An answer of another shape than asked for.
    Odd,
}

impl Failure {
    /// The connection broke, so nobody knows whether the command ran.
    pub(crate) fn is_disconnect(&self) -> bool {
        let broke = |error: &RedisError| error.is_io_error() && !error.is_timeout() || error.is_connection_dropped();
        matches!(self, Self::Redis(error) if broke(error))
    }

    /// The server answered, and would not do it.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Redis(error) if !error.is_io_error() && !error.is_connection_dropped())
    }

    /// This user may not ask that, or the server does not know what is asked for: it will never be told.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Redis(error) if matches!(error.code(), Some("NOPERM" | "ERR")))
    }

    /// No answer came in time.
    pub(crate) fn is_slow(&self) -> bool {
        match self {
            Self::Slow(_) => true,
            Self::Redis(error) => error.is_timeout(),
            Self::Replica | Self::Odd => false,
        }
    }

    /// The server says that it is not the one to ask, or not now.
    pub(crate) fn is_not_ready(&self) -> bool {
        use redis::ServerErrorKind::{BusyLoading, MasterDown, ReadOnly};
        let kinds = [BusyLoading, MasterDown, ReadOnly].map(ErrorKind::Server);
        matches!(self, Self::Redis(error) if kinds.contains(&error.kind()))
    }

    /// What was asked for is on its way to another server of the cluster.
    pub(crate) fn is_moving(&self) -> bool {
        use redis::ServerErrorKind::{Ask, Moved, TryAgain};
        let kinds = [Ask, Moved, TryAgain].map(ErrorKind::Server);
        matches!(self, Self::Redis(error) if kinds.contains(&error.kind()))
    }

    /// Another connection may lead to one who answers.
    pub(crate) fn is_worth_another_road(&self) -> bool {
        self.is_disconnect() || matches!(self, Self::Replica)
    }

    /// The same when a store is opened: a replica is then a wrong setting.
    pub(crate) fn at_start(self) -> Error {
        match self {
            Self::Replica => Error::config(
                "expected the address of a primary, found a replica, whose sessions may be over without its knowing; give an address that always leads to the primary",
            ),
            failure => failure.into(),
        }
    }

    /// The server does not know the script: nothing ran.
    pub(crate) fn is_lost_script(&self) -> bool {
        matches!(self, Self::Redis(error) if error.kind() == ErrorKind::Server(redis::ServerErrorKind::NoScript))
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<ParsingError> for Failure {
    fn from(_: ParsingError) -> Self {
        Self::Odd
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Slow(limit) => Self::unavailable(format!("Redis did not answer within {limit:?}")),
            Failure::Replica => Self::unavailable(
                "expected the primary at the address of Redis, found a replica; see that the address leads to the primary",
            ),
            Failure::Odd => Self::unavailable(
                "expected an answer of Redis as this version writes it, found another; see whether another program writes under this prefix",
            ),
            Failure::Redis(error) => Self::unavailable(match error.code() {
                Some(code) => format!("Redis answered {code}"),
                None => format!("Redis could not be reached ({})", error.category()),
            }),
        }
    }
}
