//! The wire of Go's gorilla/securecookie, as far as it carries an id: a time, the id serialised and perhaps encrypted, and
//! an HMAC over both and the cookie's name.
//!
//! What Go programs put into a cookie beside an id (`session.Values` of a `CookieStore`, structs that were registered with
//! gob) cannot be read here: it needs Go's types. The format is that of securecookie's `Encode` and `Decode`.

use std::time::{Duration, SystemTime};

use aes::{Aes128, Aes192, Aes256};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::keyring::Secret;
use super::{CookieCodec, Decoded};
use crate::{Error, SessionId};

pub use super::serial::Serializer;

/// How long a cookie is accepted, as in securecookie.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long a cookie's value may be, in bytes, as in securecookie.
const MAX_LENGTH: usize = 4096;

/// The length of an AES block, and so of what the encryption starts from.
const IV: usize = 16;

/// Base64 with padding, as Go's `base64.URLEncoding`: bits that are left over do not count.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// The keys of one generation: one signs, the other one, if there is one, encrypts.
#[derive(Clone, Debug)]
pub struct KeyPair {
    auth: Hmac<Sha256>,
    encryption: Option<EncryptionKey>,
}

impl KeyPair {
    /// A pair that signs (Go's `hashKey`, `AuthKey`) and does not encrypt.
    ///
    /// # Errors
    /// Never for a [`Secret`] that was accepted.
    pub fn new(auth: Secret) -> Result<Self, Error> {
        Ok(Self { auth: auth.key()?, encryption: None })
    }

    /// Encrypts too (Go's `blockKey`, `EncryptionKey`): AES-128, AES-192 or AES-256 in counter mode by the key's length.
    ///
    /// # Errors
    /// When the key has another length than 16, 24 or 32 bytes.
    pub fn encrypting(mut self, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        let key = key.as_ref();
        if ![16, 24, 32].contains(&key.len()) {
            let found = key.len();
            return Err(Error::config(format!("expected an encryption key of 16, 24 or 32 bytes, found {found}")));
        }
        self.encryption = Some(EncryptionKey(key.into()));
        Ok(self)
    }

    fn mac(&self, name: &str, date: &[u8], value: &[u8]) -> Hmac<Sha256> {
        let mac = self.auth.clone();
        mac.chain_update(name.as_bytes()).chain_update(b"|").chain_update(date).chain_update(b"|").chain_update(value)
    }

    /// What the encryption of this text starts from. It depends on all that is encrypted, so that no two texts share one;
    /// no name has U+0000, so it says nothing of a signature.
    fn iv(&self, name: &str, date: &str, plain: &[u8]) -> [u8; IV] {
        let mac = self.auth.clone().chain_update(b"sessile iv\0").chain_update(name.as_bytes());
        let digest =
            mac.chain_update(b"|").chain_update(date.as_bytes()).chain_update(b"|").chain_update(plain).finalize();
        let mut iv = [0; IV];
        iv.copy_from_slice(&digest.into_bytes()[..IV]);
        iv
    }
}

/// It cannot be printed.
#[derive(Clone)]
struct EncryptionKey(Box<[u8]>);

impl std::fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EncryptionKey(…)")
    }
}

impl EncryptionKey {
    /// Encrypts, or decrypts: in counter mode it is the same. `None` for a key of a length that there is not.
    fn apply(&self, iv: &[u8], text: &mut [u8]) -> Option<()> {
        match self.0.len() {
            16 => Ctr128BE::<Aes128>::new_from_slices(&self.0, iv).ok()?.apply_keystream(text),
            24 => Ctr128BE::<Aes192>::new_from_slices(&self.0, iv).ok()?.apply_keystream(text),
            _ => Ctr128BE::<Aes256>::new_from_slices(&self.0, iv).ok()?.apply_keystream(text),
        }
        Some(())
    }

    fn encrypt(&self, iv: [u8; IV], mut plain: Vec<u8>) -> Vec<u8> {
        // A key of another length was refused when the pair was made, and the IV has the one length there is.
        let _ = self.apply(&iv, &mut plain);
        [&iv[..], &plain].concat()
    }

    fn decrypt(&self, text: &[u8]) -> Option<Vec<u8>> {
        let (iv, encrypted) = text.split_at_checked(IV).filter(|(_, encrypted)| !encrypted.is_empty())?;
        let mut plain = encrypted.to_vec();
        self.apply(iv, &mut plain)?;
        Some(plain)
    }
}

/// gorilla/securecookie's value for a session id, as Go's stores that keep their data elsewhere write it.
///
/// A cookie is valid for 30 days after it was signed, as in Go, and one that has half of that behind it is signed anew when
/// its session is next written.
///
/// ```
/// # use std::time::SystemTime;
/// # use sessile_core::SessionId;
/// use sessile_core::codec::{CookieCodec, GorillaCodec, KeyPair, Secret, Serializer};
///
/// let auth = Secret::new("gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds")?;
/// let keys = KeyPair::new(auth)?.encrypting(b"0123456789abcdef0123456789abcdef")?;
/// let codec = GorillaCodec::new([keys])?.serializer(Serializer::Gob);
/// let (id, now) = (SessionId::generate()?, SystemTime::now());
/// let value = codec.encode("session-name", &id, now);
/// assert!(codec.decode("session-name", value.as_bytes(), now).is_some_and(|decoded| decoded.id == id));
/// assert!(codec.decode("another-name", value.as_bytes(), now).is_none());
/// # Ok::<(), sessile_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GorillaCodec {
    pairs: Box<[KeyPair]>,
    serializer: Serializer,
    min_age: Duration,
    max_age: Option<Duration>,
    max_length: Option<usize>,
}

impl GorillaCodec {
    /// A codec with these keys: the first pair signs, all verify.
    ///
    /// # Errors
    /// When there is no pair.
    pub fn new(pairs: impl IntoIterator<Item = KeyPair>) -> Result<Self, Error> {
        let pairs: Box<[_]> = pairs.into_iter().collect();
        if pairs.is_empty() {
            return Err(Error::config("expected at least one pair of keys, found none"));
        }
        Ok(Self {
            pairs,
            serializer: Serializer::Gob,
            min_age: Duration::ZERO,
            max_age: Some(MAX_AGE),
            max_length: Some(MAX_LENGTH),
        })
    }

    /// How the id is written. Default [`Serializer::Gob`], as in Go.
    pub fn serializer(mut self, serializer: Serializer) -> Self {
        self.serializer = serializer;
        self
    }

    /// How long after it was signed a cookie is accepted; `None` for ever. Default 30 days. In whole seconds. A session that
    /// may be left alone for longer than this is lost with its cookie.
    pub fn max_age(mut self, age: Option<Duration>) -> Self {
        self.max_age = age;
        self
    }

    /// How long a cookie is not accepted after it was signed. Default zero. In whole seconds.
    pub fn min_age(mut self, age: Duration) -> Self {
        self.min_age = age;
        self
    }

    /// How many bytes the cookie's value may have; `None` for any number. Default 4096.
    pub fn max_length(mut self, bytes: Option<usize>) -> Self {
        self.max_length = bytes;
        self
    }

    fn sealed(pair: &KeyPair, name: &str, date: &str, value: &[u8]) -> String {
        let value = BASE64.encode(value);
        let mac = pair.mac(name, date.as_bytes(), value.as_bytes()).finalize().into_bytes();
        BASE64.encode([date.as_bytes(), b"|", value.as_bytes(), b"|", &mac].concat())
    }

    /// The id in what was signed at this time with this pair, and whether it is time to sign it anew.
    fn open(&self, pair: &KeyPair, parts: &Parts<'_>, name: &str, now: i64) -> Option<(SessionId, bool)> {
        pair.mac(name, parts.date, parts.value).verify_slice(parts.mac).ok()?;
        let age = now.saturating_sub(std::str::from_utf8(parts.date).ok()?.parse().ok()?);
        let is_over = |span: Duration| age > whole_seconds(span);
        if age < whole_seconds(self.min_age) && !self.min_age.is_zero() || self.max_age.is_some_and(is_over) {
            return None;
        }
        let mut value = decoded(parts.value)?;
        if let Some(key) = &pair.encryption {
            value = key.decrypt(&value)?;
        }
        let id = SessionId::parse(&self.serializer.read(&value)?)?;
        Some((id, is_over(self.max_age.unwrap_or(MAX_AGE).min(MAX_AGE) / 2)))
    }
}

impl CookieCodec for GorillaCodec {
    fn encode(&self, name: &str, id: &SessionId, now: SystemTime) -> String {
        let pair = &self.pairs[0];
        let (date, mut value) = (seconds(now).to_string(), self.serializer.write(id.expose()));
        if let Some(key) = &pair.encryption {
            value = key.encrypt(pair.iv(name, &date, &value), value);
        }
        Self::sealed(pair, name, &date, &value)
    }

    fn decode(&self, name: &str, value: &[u8], now: SystemTime) -> Option<Decoded> {
        if self.max_length.is_some_and(|max| value.len() > max) {
            return None;
        }
        let outer = decoded(value)?;
        let parts = Parts::of(&outer)?;
        let (now, mut pairs) = (seconds(now), self.pairs.iter().enumerate());
        pairs.find_map(|(secret, pair)| {
            let (id, is_aging) = self.open(pair, &parts, name, now)?;
            Some(Decoded { id, secret, is_aging })
        })
    }
}

/// What stands between the bars. The signature may have one in it.
struct Parts<'a> {
    date: &'a [u8],
    value: &'a [u8],
    mac: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(outer: &'a [u8]) -> Option<Self> {
        let mut parts = outer.splitn(3, |&byte| byte == b'|');
        Some(Self { date: parts.next()?, value: parts.next()?, mac: parts.next()? })
    }
}

/// Go's decoder skips line breaks wherever they are.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if text.iter().any(is_break) {
        return BASE64.decode(text.iter().copied().filter(|byte| !is_break(byte)).collect::<Vec<_>>()).ok();
    }
    BASE64.decode(text).ok()
}

/// Whole seconds since 1970, as Go's `time.Unix`.
fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => whole_seconds(after),
        Err(before) => -whole_seconds(before.duration()) - i64::from(before.duration().subsec_nanos() > 0),
    }
}

fn whole_seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// From outside nobody chooses what the encryption starts from, so that one step is looked at here.
    #[test]
    fn what_go_encrypted_is_encrypted_to_the_same_bytes() {
        let file = include_str!("../../../../vectors/gorilla.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let mut compared = 0;
        for row in file["encode"].as_array().unwrap() {
            let text = |name: &str| row[name].as_str();
            let (Some(iv), Some(key), Some(value)) = (text("iv_hex"), text("block_key_hex"), text("value")) else {
                continue;
            };
            let (Some(encoded), Some(date)) = (text("encoded"), text("date")) else { continue };
            let serializer = if text("serializer") == Some("gob") { Serializer::Gob } else { Serializer::Json };
            let auth = Secret::dangerous(bytes(text("hash_key_hex").unwrap()));
            let pair = KeyPair::new(auth).unwrap().encrypting(bytes(key)).unwrap();
            let iv = bytes(iv).try_into().unwrap();
            let value = pair.encryption.as_ref().unwrap().encrypt(iv, serializer.write(value));
            let name = text("cookie_name").unwrap();
            assert_eq!(GorillaCodec::sealed(&pair, name, date, &value), encoded, "{:?}", text("name"));
            compared += 1;
        }
        assert!(compared >= 30, "{compared} vectors");
    }
}
