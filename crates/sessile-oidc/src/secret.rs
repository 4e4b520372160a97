//! Values that nobody may see: they have no `Display`, and their `Debug` shows nothing.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::LoginError;

/// A secret text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(Box<str>);

impl Secret {
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// 256 random bits, as 43 characters of base64url: fit for `state`, `nonce` and a PKCE verifier (RFC 7636 section 4.1).
    pub(crate) fn random() -> Result<Self, LoginError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| LoginError::unreachable("the operating system gave no random bytes").with_source(error))?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes).into()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is this text, in a time that does not tell how much of it.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// Its SHA-256: the name of a pending sign-in, and the PKCE challenge.
    pub(crate) fn hash(&self) -> String {
        sha256(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of a text in base64url.
pub(crate) fn sha256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// RFC 7636 appendix B.
    #[test]
    fn the_challenge_is_that_of_the_specification() {
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(verifier.hash(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn ten_thousand_verifiers_are_distinct_and_of_the_form_that_the_rfc_wants() {
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let verifier = Secret::random().unwrap();
            assert_eq!(verifier.expose().len(), 43);
            assert!(verifier.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            assert!(seen.insert(verifier.expose().to_owned()));
        }
    }

    #[test]
    fn nothing_prints_it() {
        let secret = Secret::new("abc");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert!(secret.is("abc") && !secret.is("abd") && !secret.is("ab") && !secret.is(""));
    }
}
