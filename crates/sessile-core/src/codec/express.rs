//! The wire of express-session: `s:` + id + `.` + HMAC-SHA256 in unpadded base64, percent-encoded as JavaScript does.

use std::time::SystemTime;

use super::{CookieCodec, Decoded, Keyring};
use crate::SessionId;

/// express-session's cookie value, byte for byte (cookie-signature under `encodeURIComponent`). Sessile's default wire.
#[derive(Clone, Debug)]
pub struct ExpressCodec {
    keys: Keyring,
}

impl ExpressCodec {
    /// A codec that signs and verifies with these secrets.
    pub fn new(keys: Keyring) -> Self {
        Self { keys }
    }
}

impl CookieCodec for ExpressCodec {
    fn encode(&self, _name: &str, id: &SessionId, _now: SystemTime) -> String {
        let id = id.expose();
        percent_encode(&format!("s:{id}.{}", self.keys.sign(id)))
    }

    fn decode(&self, _name: &str, value: &[u8], _now: SystemTime) -> Option<Decoded> {
        let text = unquote_and_decode(value);
        let (id, signature) = text.strip_prefix("s:")?.rsplit_once('.')?;
        let secret = self.keys.verify(id, signature)?;
        Some(Decoded { id: SessionId::parse(id)?, secret, is_aging: false })
    }
}

/// One surrounding pair of quotes goes; then `decodeURIComponent`, or the raw text when any escape is malformed.
/// Raw bytes beyond ASCII are Latin-1 to Node, so they stand for themselves.
fn unquote_and_decode(value: &[u8]) -> String {
    let value = match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    };
    let raw = || value.iter().copied().map(char::from).collect();
    if value.contains(&b'%') { percent_decode(value).unwrap_or_else(raw) } else { raw() }
}

fn percent_decode(value: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.extend(char::from(byte).encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let (pair, after) = rest.split_at_checked(2)?;
        let hex = std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// JavaScript's `encodeURIComponent`.
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            out.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
    out
}
