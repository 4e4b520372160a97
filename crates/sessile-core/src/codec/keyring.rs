//! The secrets that sign cookies: the first signs, all verify, so that a secret can be replaced without signing anyone out.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::Error;
use crate::id::fill_random;

/// Shortest secret that is accepted, in bytes. HMAC-SHA256 wants as many bytes as its hash has (RFC 2104 section 3).
const MIN_LENGTH: usize = 32;

/// Parts of secrets that stand in documentation and example files, looked for without case and separators.
const SAMPLES: [&str; 15] = [
    "keyboardcat",
    "your256bit",
    "secretsecret",
    "developmentsecret",
    "donotuse",
    "changeme",
    "changethis",
    "replaceme",
    "replacethis",
    "yoursecret",
    "yoursession",
    "mysecret",
    "supersecret",
    "thisisasecret",
    "sessionsecret",
];

/// One secret: text, or raw bytes. It cannot be printed.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// A secret of at least 32 bytes that is not a known sample.
    ///
    /// Its bytes are the key, as they are: a line break at the end makes another secret.
    ///
    /// ```
    /// # use sessile_core::codec::Secret;
    /// assert!(Secret::new("keyboard cat").is_err());
    /// assert!(Secret::new("change-me-change-me-change-me-change-me").is_err());
    /// assert!(Secret::new("gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds").is_ok());
    /// ```
    ///
    /// # Errors
    /// When it is too short, repeats a few characters, or begins like a sample from documentation.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, Error> {
        let bytes = secret.as_ref();
        let advice = "make one with `openssl rand -base64 32`";
        if bytes.len() < MIN_LENGTH {
            let found = bytes.len();
            return Err(Error::config(format!(
                "expected a secret of at least {MIN_LENGTH} bytes, found {found}; {advice}"
            )));
        }
        let mut distinct = bytes.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let letters = bytes.iter().filter(|byte| byte.is_ascii_alphanumeric());
        let plain: String = letters.map(|byte| char::from(byte.to_ascii_lowercase())).collect();
        if distinct.len() < 8 || SAMPLES.iter().any(|sample| plain.contains(sample)) {
            return Err(Error::config(format!(
                "expected a random secret, found a sample or a repeated pattern; {advice}"
            )));
        }
        Ok(Self(bytes.into()))
    }

    pub(super) fn key(&self) -> Result<Hmac<Sha256>, Error> {
        Hmac::new_from_slice(&self.0).map_err(|error| Error::config("the secret is not a key").with_source(error))
    }

    /// A secret that nobody else knows, for sessions that may end with the process.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = [0; MIN_LENGTH];
        fill_random(&mut bytes)?;
        Ok(Self(bytes.into()))
    }

    /// Any secret, however weak: for sharing sessions with a system whose secret cannot be changed yet, and for tests.
    pub fn dangerous(secret: impl AsRef<[u8]>) -> Self {
        Self(secret.as_ref().into())
    }

    /// How many bytes it has.
    #[cfg(feature = "settings")]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key itself.
    #[cfg(feature = "settings")]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secrets in force, the signing one first.
#[derive(Clone)]
pub struct Keyring(Vec<Hmac<Sha256>>);

impl Keyring {
    /// A ring of these secrets: the first signs, all verify.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Result<Self, Error> {
        let keys: Vec<_> = secrets.into_iter().map(|secret| secret.key()).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(Error::config("expected at least one secret, found none; set SESSION_SECRET"));
        }
        Ok(Self(keys))
    }

    /// The signature of this text by the signing secret: 43 characters of base64.
    pub(super) fn sign(&self, text: &str) -> String {
        mac(&self.0[0], text)
    }

    /// Which secret made this signature of this text. Each is compared in constant time, as text: another spelling of
    /// the same bytes is refused, as in Express.
    pub(super) fn verify(&self, text: &str, signature: &str) -> Option<usize> {
        self.0.iter().position(|key| mac(key, text).as_bytes().ct_eq(signature.as_bytes()).into())
    }

    /// What each secret can be told by, the signing one first: eight hexadecimal digits that do not give it away.
    ///
    /// ```
    /// # use sessile_core::codec::Keyring;
    /// let keys = Keyring::try_from("gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds")?;
    /// assert_eq!(keys.fingerprints()[0].len(), 8);
    /// # Ok::<(), sessile_core::Error>(())
    /// ```
    pub fn fingerprints(&self) -> Vec<Box<str>> {
        self.0.iter().map(fingerprint).collect()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} secrets)", self.0.len())
    }
}

fn fingerprint(key: &Hmac<Sha256>) -> Box<str> {
    let mut mac = key.clone();
    mac.update(b"sessile secret fingerprint");
    let digest = mac.finalize().into_bytes();
    digest[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

fn mac(key: &Hmac<Sha256>, text: &str) -> String {
    let mut mac = key.clone();
    mac.update(text.as_bytes());
    STANDARD_NO_PAD.encode(mac.finalize().into_bytes())
}

/// One secret in code: `Config::new("…")`.
impl TryFrom<&str> for Keyring {
    type Error = Error;
    fn try_from(secret: &str) -> Result<Self, Error> {
        Self::new([Secret::new(secret)?])
    }
}

/// One secret in code: `Config::new(secret)`.
impl TryFrom<String> for Keyring {
    type Error = Error;
    fn try_from(secret: String) -> Result<Self, Error> {
        Self::try_from(secret.as_str())
    }
}

/// One secret in code: `Config::new(&secret)`.
impl TryFrom<&String> for Keyring {
    type Error = Error;
    fn try_from(secret: &String) -> Result<Self, Error> {
        Self::try_from(secret.as_str())
    }
}

/// Several secrets, the signing one first.
impl TryFrom<Vec<Secret>> for Keyring {
    type Error = Error;
    fn try_from(secrets: Vec<Secret>) -> Result<Self, Error> {
        Self::new(secrets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_secrets_are_refused_and_never_quoted() {
        let repeated = "ab".repeat(20);
        for weak in [
            "",
            "keyboard cat keyboard cat keyboard cat",
            "your-256-bit-secret-your-256-bit-secret",
            "my development-secret, do not use it in production",
            "short",
            "your-secret-key-your-secret-key-your-secret",
            "CHANGE_ME__________________________________",
            &repeated,
        ] {
            let error = Secret::new(weak).unwrap_err();
            assert!(error.is_config());
            assert!(weak.is_empty() || !error.to_string().contains(weak), "{error}");
        }
        assert!(Keyring::new([]).is_err());
    }

    #[test]
    fn a_fingerprint_is_the_beginning_of_an_hmac() {
        // openssl dgst -sha256 -hmac "keyboard cat"
        let ring = Keyring::new(["keyboard cat", "other"].map(Secret::dangerous)).unwrap();
        let fingerprints = ring.fingerprints();
        assert_eq!(&*fingerprints[0], "e56678b7");
        assert_ne!(fingerprints[0], fingerprints[1]);
    }

    #[test]
    fn no_secret_is_printed() {
        let secret = Secret::dangerous("keyboard cat");
        let ring = Keyring::new([secret.clone()]).unwrap();
        assert!(!format!("{secret:?}{ring:?}").contains("keyboard"));
    }
}
