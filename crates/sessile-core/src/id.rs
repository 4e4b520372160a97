//! The three names of a session, kept apart by type so that the secret one cannot be used where a public one belongs.
//!
//! [`SessionId`] is the secret in the cookie. [`StoreKey`] is what a store sees of it: the id itself on a table shared
//! with Express, its SHA-256 elsewhere, so that a database dump signs nobody in (ASVS 6.5.2). [`Handle`] is the public
//! name for lists, logs and URLs, and stays the same when the id is rotated.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::Error;

/// Longest id that is accepted, in bytes.
const MAX_ID: usize = 512;

/// A session id: the secret that the cookie carries.
///
/// It cannot be printed, serialised or compared in a way that leaks time.
///
/// ```
/// # use sessile_core::SessionId;
/// let id = SessionId::generate()?;
/// assert_eq!(format!("{id:?}"), "SessionId(…)");
/// # Ok::<(), sessile_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SessionId(Box<str>);

impl SessionId {
    /// A new id of the default form, [`IdForm::Base64Url`].
    ///
    /// # Errors
    /// As for [`of_form`](SessionId::of_form).
    pub fn generate() -> Result<Self, Error> {
        Self::of_form(IdForm::default())
    }

    /// A new id of this form, from random bits of the operating system.
    ///
    /// # Errors
    /// When the system has no randomness to give. No weaker source is tried (ASVS 11.5.1).
    pub fn of_form(form: IdForm) -> Result<Self, Error> {
        Ok(Self(match form {
            IdForm::Base64Url => URL_SAFE_NO_PAD.encode(random::<24>()?).into(),
            IdForm::Base32 => base32(&random::<32>()?).into(),
            IdForm::Uuid => Handle::generate()?.0,
        }))
    }

    /// An id as a codec found it behind a valid signature, or as an own generator made it. Ids of other systems are
    /// any text, so this refuses only what no store can hold: nothing, more than 512 bytes, or U+0000.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= MAX_ID && !text.contains('\0');
        fits.then(|| Self(text.into()))
    }

    /// The id itself, for a [`CookieCodec`](crate::codec::CookieCodec) and nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for SessionId {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SessionId {}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// What new session ids look like. Every form is read, whichever is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdForm {
    /// 192 bits as 32 characters of base64url, as express-session makes them.
    #[default]
    Base64Url,
    /// 256 bits as 52 capital letters and digits of base32 without padding (RFC 4648), as gorilla's stores make them.
    Base32,
    /// A UUID of version 4, of which 122 bits are random (RFC 9562), for tables whose other programs expect one.
    Uuid,
}

/// How a [`StoreKey`] is made from a [`SessionId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// The id itself. Needed on a table that Express reads too.
    Raw,
    /// The SHA-256 of the id in base64url: whoever reads the table cannot sign in with what is there.
    Sha256,
}

/// The key of a session's row. There is no way back from it to the id, unless it is the id ([`KeyForm::Raw`]).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey(Box<str>);

impl StoreKey {
    /// The key under which a store keeps the session with this id.
    pub fn new(id: &SessionId, form: KeyForm) -> Self {
        match form {
            KeyForm::Raw => Self(id.0.clone()),
            KeyForm::Sha256 => Self(URL_SAFE_NO_PAD.encode(Sha256::digest(id.0.as_bytes())).into()),
        }
    }

    /// The key of what happens once under this name. No session has it: no id looks like that.
    pub(crate) fn once(name: &str) -> Self {
        let digest = Sha256::new().chain_update(b"sessile once\0").chain_update(name.as_bytes()).finalize();
        Self(format!("once:{}", URL_SAFE_NO_PAD.encode(digest)).into())
    }

    /// What tells, in a row, under which key Sessile wrote it: one way, and not the key that a store would use.
    pub(crate) fn trace(&self) -> String {
        let digest = Sha256::new().chain_update(b"sessile key\0").chain_update(self.0.as_bytes()).finalize();
        URL_SAFE_NO_PAD.encode(&digest[..16])
    }

    /// A key as a store wrote it down.
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The key as the store writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(…)")
    }
}

/// The public name of a session: a UUID for lists, URLs, logs and the command line. It opens nothing.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(Box<str>);

impl Handle {
    /// A random handle (UUID version 4).
    pub(crate) fn generate() -> Result<Self, Error> {
        Ok(Self::from_bytes(random()?, 4))
    }

    /// The handle of a session that Express made and that has none yet: always the same for the same row, and one way.
    pub(crate) fn derived(key: &StoreKey) -> Self {
        let digest = Sha256::new().chain_update(b"sessile handle\0").chain_update(key.0.as_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self::from_bytes(bytes, 8)
    }

    /// Reads a handle; `None` for what is not one (36 characters, lower-case hexadecimal with hyphens).
    pub fn parse(text: &str) -> Option<Self> {
        let hyphen = |at| matches!(at, 8 | 13 | 18 | 23);
        let well_formed = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match byte {
                b'-' => hyphen(at),
                b'0'..=b'9' | b'a'..=b'f' => !hyphen(at),
                _ => false,
            });
        well_formed.then(|| Self(text.into()))
    }

    /// The handle as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// RFC 9562: the version in the high bits of byte 6, the variant in those of byte 8.
    fn from_bytes(mut bytes: [u8; 16], version: u8) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | (version << 4);
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let mut text = String::with_capacity(36);
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        Self(text.into())
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.0)
    }
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    fill_random(&mut bytes)?;
    Ok(bytes)
}

/// Base32 without padding (RFC 4648, section 6).
fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    let letter = |first| LETTERS[(first..first + 5).fold(0, |five, at| five << 1 | usize::from(bit(at)))];
    (0..bytes.len() * 8).step_by(5).map(|first| char::from(letter(first))).collect()
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes)
        .map_err(|error| Error::unavailable("the operating system gave no random bytes").with_source(error))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_distinct_and_32_characters_of_base64url() {
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let id = SessionId::generate().unwrap();
            assert_eq!(id.expose().len(), 32);
            assert!(id.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            assert!(seen.insert(id.expose().to_owned()));
        }
    }

    #[test]
    fn ids_of_other_systems_forms() {
        let base32_ = SessionId::of_form(IdForm::Base32).unwrap();
        assert_eq!(base32_.expose().len(), 52);
        assert!(base32_.expose().bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b)));
        let uuid = SessionId::of_form(IdForm::Uuid).unwrap();
        assert_eq!(Handle::parse(uuid.expose()).unwrap().as_str(), uuid.expose());
        // RFC 4648, section 10, without its padding.
        for (bytes, text) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn ids_that_no_store_can_hold_are_refused() {
        assert!(SessionId::parse("").is_none());
        assert!(SessionId::parse("a\0b").is_none());
        assert!(SessionId::parse(&"a".repeat(513)).is_none());
        assert!(SessionId::parse(&"a".repeat(512)).is_some());
    }

    #[test]
    fn a_hashed_key_is_the_sha256_and_nothing_prints_the_id() {
        let id = SessionId::parse("abc").unwrap();
        let key = StoreKey::new(&id, KeyForm::Sha256);
        assert_eq!(key.as_str(), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
        let raw = StoreKey::new(&id, KeyForm::Raw);
        let printed = format!("{id:?}{key:?}{raw:?}");
        assert!(!printed.contains("abc") && !printed.contains("ung"));
    }

    #[test]
    fn handles_are_uuids_and_nothing_else_parses_as_one() {
        let handle = Handle::generate().unwrap();
        assert_eq!(Handle::parse(handle.as_str()), Some(handle.clone()));
        assert_eq!(&handle.as_str()[14..15], "4");
        let key = StoreKey::new(&SessionId::parse("express").unwrap(), KeyForm::Raw);
        assert_eq!(Handle::derived(&key), Handle::derived(&key));
        assert_eq!(&Handle::derived(&key).as_str()[14..15], "8");
        for wrong in [
            "",
            "abc",
            "ZZZZZZZZ-0000-4000-8000-000000000000",
            "00000000-0000-4000-8000-00000000000",
            "000000000-000-4000-8000-000000000000",
        ] {
            assert_eq!(Handle::parse(wrong), None, "{wrong:?}");
        }
    }
}
