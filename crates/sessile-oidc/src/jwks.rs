//! A provider's key set (RFC 7517): the public keys in it that can verify a signature. What cannot, is left out: keys for
//! encryption, symmetric keys, kinds that are not known.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::LoginError;
use crate::jws::{Algorithm, Header};
use crate::tame::tame;

/// The key itself.
pub(crate) enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point, uncompressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

pub(crate) struct Jwk {
    kid: Option<String>,
    /// The only algorithm it is for, where it says so.
    alg: Option<String>,
    pub(crate) material: Material,
}

/// The keys that a provider signs with.
pub(crate) struct Jwks(Vec<Jwk>);

impl Jwks {
    pub(crate) fn parse(json: &Value) -> Result<Self, LoginError> {
        let keys = json["keys"].as_array().ok_or_else(|| {
            LoginError::provider("expected the provider's key set to be an object with `keys`, found something else")
        })?;
        Ok(Self(keys.iter().filter_map(Jwk::parse).collect()))
    }

    /// Whether there is a key for a token with this header.
    pub(crate) fn serves(&self, header: &Header, algorithm: Algorithm) -> bool {
        self.named(header, algorithm).next().is_some()
    }

    /// The keys that may have signed a token with this header. One without a name needs a key that is the only one for its
    /// algorithm (OpenID Connect Core 10.1).
    pub(crate) fn candidates(&self, header: &Header, algorithm: Algorithm) -> Result<Vec<&Jwk>, LoginError> {
        let keys: Vec<_> = self.named(header, algorithm).collect();
        match (&header.kid, keys.len()) {
            (Some(kid), 0) => Err(LoginError::token(
                "kid",
                format!("the provider's key set has no {} key {:?}", algorithm.as_str(), tame(kid)),
            )),
            (None, found) if found != 1 => Err(LoginError::token(
                "kid",
                format!("the token names no key, and the provider has {found} for {}", algorithm.as_str()),
            )),
            _ => Ok(keys),
        }
    }

    fn named(&self, header: &Header, algorithm: Algorithm) -> impl Iterator<Item = &Jwk> {
        let is_named = |key: &&Jwk| header.kid.is_none() || key.kid == header.kid;
        let is_for = move |key: &&Jwk| {
            algorithm.fits(&key.material) && key.alg.as_deref().is_none_or(|alg| alg == algorithm.as_str())
        };
        self.0.iter().filter(is_named).filter(is_for)
    }
}

impl Jwk {
    /// `None` for a key that verifies no signature.
    pub(crate) fn parse(json: &Value) -> Option<Self> {
        let text = |name: &str| json[name].as_str();
        let verifies = |operations: &Vec<Value>| operations.iter().any(|operation| operation == "verify");
        if text("use").is_some_and(|purpose| purpose != "sig") || !json["key_ops"].as_array().is_none_or(verifies) {
            return None;
        }
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok();
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => Material::Rsa { n: unsigned(bytes("n")?), e: unsigned(bytes("e")?) },
            ("EC", Some("P-256")) => Material::P256(point(&bytes("x")?, &bytes("y")?, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(&bytes("x")?, &bytes("y")?, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x")?),
            _ => return None,
        };
        Some(Self { kid: text("kid").map(str::to_owned), alg: text("alg").map(str::to_owned), material })
    }
}

/// A number without the zeros before it.
fn unsigned(mut bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    bytes
}

/// SEC 1: 4, and the two coordinates at their full length.
fn point(x: &[u8], y: &[u8], size: usize) -> Option<Vec<u8>> {
    (x.len() == size && y.len() == size).then(|| [&[4], x, y].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn header(kid: Option<&str>) -> Header {
        serde_json::from_value(json!({ "alg": "RS256", "kid": kid })).unwrap()
    }

    fn rsa(members: Value) -> Value {
        let mut key = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
        key.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        key
    }

    #[test]
    fn keys_that_verify_nothing_are_left_out() {
        for key in [
            json!({ "kty": "oct", "k": "AAAA" }),
            json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }),
            json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
            json!({ "kty": "RSA", "e": "AQAB" }),
            json!({ "n": "AQAB" }),
            rsa(json!({ "use": "enc" })),
            rsa(json!({ "key_ops": ["encrypt"] })),
            json!(7),
        ] {
            assert!(Jwk::parse(&key).is_none(), "{key}");
        }
        assert!(
            Jwk::parse(&rsa(json!({ "use": "sig", "key_ops": ["verify"], "x5u": "https://evil.example" }))).is_some()
        );
        assert!(Jwks::parse(&json!({ "keys": {} })).is_err() && Jwks::parse(&json!([])).is_err());
    }

    #[test]
    fn a_key_is_found_by_its_name_and_for_its_algorithm_alone() {
        let keys = json!({ "keys": [rsa(json!({ "kid": "a" })), rsa(json!({ "kid": "b", "alg": "RS512" })), { "kty": "oct" }] });
        let keys = Jwks::parse(&keys).unwrap();
        let found = |kid, algorithm| keys.candidates(&header(kid), algorithm).map(|keys| keys.len());
        assert_eq!(found(Some("a"), Algorithm::Rs256).unwrap(), 1);
        assert_eq!(found(Some("b"), Algorithm::Rs512).unwrap(), 1);
        for (kid, algorithm) in
            [(Some("b"), Algorithm::Rs256), (Some("c"), Algorithm::Rs256), (Some("a"), Algorithm::Es256)]
        {
            assert_eq!(found(kid, algorithm).unwrap_err().failed_check(), Some("kid"), "{kid:?}");
            assert!(!keys.serves(&header(kid), algorithm));
        }
        assert_eq!(found(None, Algorithm::Rs256).unwrap(), 1, "the only one for this algorithm");
        assert_eq!(found(None, Algorithm::Rs512).unwrap_err().failed_check(), Some("kid"), "there are two");
        assert!(found(None, Algorithm::Es256).is_err());
    }
}
