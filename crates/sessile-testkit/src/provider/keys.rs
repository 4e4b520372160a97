//! The provider's keys, and tokens signed with them as they should be and as they should not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use ring::{hmac, rsa};
use serde_json::{Value, json};

/// An RSA key that everybody may know: making one takes long, and `ring` makes none.
const RSA_KEY: &[u8] = include_bytes!("rsa-test-key.pk8");

/// How a token is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signature {
    /// With the provider's elliptic key.
    #[default]
    Es256,
    /// With the provider's RSA key.
    Rs256,
    /// Not at all: `alg` is `none`, and the signature is empty.
    None,
    /// As `Es256`, and then the signature is left out.
    Stripped,
    /// With the provider's public RSA key as the secret of an HMAC.
    Hs256WithThePublicKey,
    /// With an elliptic key of somebody else, under the name of the provider's.
    ForeignKey,
}

/// The keys of one provider.
pub(super) struct Keys {
    kid: String,
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
}

impl Keys {
    pub(super) fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), ec: ec_key(), rsa: RsaKeyPair::from_pkcs8(RSA_KEY).unwrap() }
    }

    /// The public halves.
    pub(super) fn set(&self) -> Value {
        let (x, y) = self.ec.public_key().as_ref()[1..].split_at(32);
        let RsaPublicKeyComponents { n, e }: rsa::PublicKeyComponents<Vec<u8>> = self.rsa.public().into();
        json!({ "keys": [
            { "kty": "oct", "kid": "a symmetric key", "k": "AAAA" },
            { "kty": "RSA", "kid": format!("{}-encryption", self.kid), "use": "enc", "n": base64(&n), "e": base64(&e) },
            { "kty": "EC", "kid": format!("{}-ec", self.kid), "use": "sig", "crv": "P-256", "x": base64(x), "y": base64(y) },
            { "kty": "RSA", "kid": format!("{}-rsa", self.kid), "use": "sig", "alg": "RS256", "n": base64(&n), "e": base64(&e) },
        ]})
    }

    /// The header that goes with this signature.
    pub(super) fn header(&self, signature: Signature) -> Value {
        let (alg, key) = match signature {
            Signature::Es256 | Signature::Stripped | Signature::ForeignKey => ("ES256", "ec"),
            Signature::Rs256 => ("RS256", "rsa"),
            Signature::None => return json!({ "alg": "none" }),
            Signature::Hs256WithThePublicKey => ("HS256", "rsa"),
        };
        json!({ "alg": alg, "kid": format!("{}-{key}", self.kid) })
    }

    pub(super) fn sign(&self, signature: Signature, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        format!("{message}.{}", base64(&self.signature(signature, message.as_bytes())))
    }

    fn signature(&self, signature: Signature, message: &[u8]) -> Vec<u8> {
        let by = |key: &EcdsaKeyPair| key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
        match signature {
            Signature::Es256 => by(&self.ec),
            Signature::ForeignKey => by(&ec_key()),
            Signature::None | Signature::Stripped => Vec::new(),
            Signature::Rs256 => {
                let mut bytes = vec![0; self.rsa.public().modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut bytes).unwrap();
                bytes
            }
            Signature::Hs256WithThePublicKey => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.rsa.public().as_ref());
                hmac::sign(&key, message).as_ref().to_vec()
            }
        }
    }
}

fn ec_key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
