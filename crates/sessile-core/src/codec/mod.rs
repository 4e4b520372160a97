//! How a session id travels in a cookie: signed, so that a forged one is refused before any store is asked.

mod express;
pub(crate) mod gorilla;
mod keyring;
mod serial;

pub use express::ExpressCodec;
pub use gorilla::{GorillaCodec, KeyPair, Serializer};
pub use keyring::{Keyring, Secret};

use std::time::SystemTime;

use crate::SessionId;

/// An id that a cookie carried behind a valid signature.
#[derive(Debug)]
pub struct Decoded {
    /// The id.
    pub id: SessionId,
    /// Which secret verified it: 0 is the one that signs, others are on their way out.
    pub secret: usize,
    /// The cookie will not be accepted for much longer, and is due to be signed anew.
    pub is_aging: bool,
}

/// Puts a session id into a cookie's value and takes it out again. Has no secret-dependent timing.
pub trait CookieCodec: Send + Sync {
    /// The cookie's value for this id, ready for a `Set-Cookie` header, signed `now`.
    fn encode(&self, name: &str, id: &SessionId, now: SystemTime) -> String;

    /// The id in this value; `None` for a value that is not ours, damaged, forged, or too old by `now`.
    fn decode(&self, name: &str, value: &[u8], now: SystemTime) -> Option<Decoded>;
}
