//! How a session id travels in a cookie: signed, so that a forged one is refused before any store is asked.

mod express;
mod keyring;

pub use express::ExpressCodec;
pub use keyring::{Keyring, Secret};

use crate::SessionId;

/// An id that a cookie carried behind a valid signature.
#[derive(Debug)]
pub struct Decoded {
    /// The id.
    pub id: SessionId,
    /// Which secret verified it: 0 is the one that signs, others are on their way out.
    pub secret: usize,
}

/// Puts a session id into a cookie's value and takes it out again. Has no secret-dependent timing.
pub trait CookieCodec: Send + Sync {
    /// The cookie's value for this id, ready for a `Set-Cookie` header.
    fn encode(&self, name: &str, id: &SessionId) -> String;

    /// The id in this value; `None` for a value that is not ours, damaged or forged.
    fn decode(&self, name: &str, value: &[u8]) -> Option<Decoded>;
}
