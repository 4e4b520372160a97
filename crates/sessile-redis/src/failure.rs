//! What a failure of the server, or of the way to it, means to a session. Only the kind and the code of a failure are passed
//! on: what a server says beside them may quote a key.

use std::time::Duration;

use redis::{ErrorKind, ParsingError, RedisError};
use sessile_core::Error;

/// What may go wrong with one command.
#[derive(Debug)]
pub(crate) enum Failure {
    Redis(RedisError),
    /// No answer within this time.
    Slow(Duration),
    /// An answer of another shape than asked for.
    Odd,
}

impl Failure {
    /// The connection broke, so nobody knows whether the command ran.
    pub(crate) fn is_disconnect(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_io_error() || error.is_connection_dropped())
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
