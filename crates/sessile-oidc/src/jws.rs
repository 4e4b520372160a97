//! Signed tokens (JWS, RFC 7515), read and verified over `ring`. The algorithm is one that was agreed on before the token was
//! read (RFC 8725 section 3.1), and only public keys are known here: there is no `none`, and no HMAC under which a public
//! key would be a secret. Keys come from the provider's key set alone; what a token says of keys (`jwk`, `jku`, `x5u`,
//! `x5c`) is not looked at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::signature::{self, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::LoginError;
use crate::jwks::{Jwk, Material};
use crate::tame::tame;

/// Longest token that is read, in bytes.
const MAX_TOKEN: usize = 64 * 1024;

/// How a provider may sign its tokens (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the algorithm of its name")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Rs256, "RS256"),
        (Self::Rs384, "RS384"),
        (Self::Rs512, "RS512"),
        (Self::Ps256, "PS256"),
        (Self::Ps384, "PS384"),
        (Self::Ps512, "PS512"),
        (Self::Es256, "ES256"),
        (Self::Es384, "ES384"),
        (Self::EdDsa, "EdDSA"),
    ];

    /// Reads the name that a registration or a key has for it; `None` for any other, `none` and `HS256` among them.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, own)| *own == name).map(|(algorithm, _)| algorithm)
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(own, _)| *own == self).map_or("", |(_, name)| name)
    }

    /// The hash that `at_hash` is made with (OpenID Connect Core 3.1.3.6).
    pub(crate) fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => &digest::SHA256,
            Self::Rs384 | Self::Ps384 | Self::Es384 => &digest::SHA384,
            Self::Rs512 | Self::Ps512 | Self::EdDsa => &digest::SHA512,
        }
    }

    /// Whether a key is of the kind that signs so.
    pub(crate) fn fits(self, material: &Material) -> bool {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                matches!(material, Material::Rsa { .. })
            }
            Self::Es256 => matches!(material, Material::P256(_)),
            Self::Es384 => matches!(material, Material::P384(_)),
            Self::EdDsa => matches!(material, Material::Ed25519(_)),
        }
    }

    fn rsa(self) -> Option<&'static signature::RsaParameters> {
        Some(match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es256 | Self::Es384 | Self::EdDsa => return None,
        })
    }

    /// Whether the key of this kind made the signature.
    fn verifies(self, material: &Material, message: &[u8], signature: &[u8]) -> bool {
        let verifies = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            signature::UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match (self, material) {
            (Self::Es256, Material::P256(point)) => verifies(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Self::Es384, Material::P384(point)) => verifies(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Self::EdDsa, Material::Ed25519(key)) => verifies(&signature::ED25519, key),
            (_, Material::Rsa { n, e }) => self.rsa().is_some_and(|parameters| {
                signature::RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }),
            _ => false,
        }
    }
}

/// What a token says of itself.
#[derive(Deserialize)]
pub(crate) struct Header {
    alg: String,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
    crit: Option<Value>,
}

/// A token as it was received: nothing in it is true yet.
pub(crate) struct Jws<'a> {
    pub(crate) header: Header,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, LoginError> {
        let parsed = Self::parts(token).ok_or_else(|| {
            LoginError::token("form", "expected a signed token of three parts in base64url, found something else")
        })?;
        if parsed.header.crit.is_some() {
            return Err(LoginError::token("crit", "the token has extensions that must be understood, and none are"));
        }
        Ok(parsed)
    }

    fn parts(token: &'a str) -> Option<Self> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        let [payload, signature] = [payload, signature].map(|part| URL_SAFE_NO_PAD.decode(part).ok());
        Some(Self { header, signed, payload: payload?, signature: signature? })
    }

    /// The algorithm of the token, which has to be one of those agreed on.
    pub(crate) fn algorithm(&self, agreed: &[Algorithm]) -> Result<Algorithm, LoginError> {
        Algorithm::parse(&self.header.alg).filter(|algorithm| agreed.contains(algorithm)).ok_or_else(|| {
            let agreed: Vec<_> = agreed.iter().map(|algorithm| algorithm.as_str()).collect();
            let found = tame(&self.header.alg);
            LoginError::token("alg", format!("expected a token signed with {}, found {found:?}", agreed.join(", ")))
        })
    }

    /// Gives the claims, if one of these keys made the signature.
    pub(crate) fn verified(&self, algorithm: Algorithm, keys: &[&Jwk]) -> Result<Map<String, Value>, LoginError> {
        let made_by = |key: &&Jwk| algorithm.verifies(&key.material, self.signed.as_bytes(), &self.signature);
        if !keys.iter().any(made_by) {
            return Err(LoginError::token("signature", "the token's signature is not that of the provider's key"));
        }
        serde_json::from_slice(&self.payload).map_err(|_| {
            LoginError::token("form", "expected the token's claims to be a JSON object, found something else")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_key_algorithms_are_known() {
        for name in ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "rs256", "ES256K", "RS1", "RSA-OAEP", "dir"]
        {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
        for (algorithm, name) in Algorithm::ALL {
            assert_eq!((Algorithm::parse(name), algorithm.as_str()), (Some(algorithm), name));
        }
    }

    #[test]
    fn what_is_no_token_is_said_to_be_none() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        let wrong = [
            String::new(),
            ".".into(),
            "..".into(),
            "a.b".into(),
            format!("{header}.e30"),
            format!("{header}.e30.AA=="),
            format!("{header}.e30.A+A"),
            format!("{header}.e30.AA.AA"),
            format!("{}.e30.AA", URL_SAFE_NO_PAD.encode("{}")),
            format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","alg":"none"}"#)),
            format!("{header}.{}.AA", "A".repeat(MAX_TOKEN)),
        ];
        for token in wrong {
            let error = Jws::parse(&token).map(|_| ()).unwrap_err();
            assert_eq!(error.failed_check(), Some("form"), "{token:.40}");
        }
        let critical = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#);
        let error = Jws::parse(&format!("{critical}.e30.AA")).map(|_| ()).unwrap_err();
        assert_eq!(error.failed_check(), Some("crit"));
    }

    /// RFC 7515 appendix A.2 and A.3, and RFC 8037 appendix A.4.
    #[test]
    fn the_tokens_of_the_specifications_verify_and_changed_ones_do_not() {
        const CLAIMS: &str =
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let vectors = [
            (
                r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
                format!(
                    "eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
                ),
            ),
            (
                r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
                format!(
                    "eyJhbGciOiJFUzI1NiJ9.{CLAIMS}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
                ),
            ),
        ];
        for (key, token) in vectors {
            let key = Jwk::parse(&serde_json::from_str(key).unwrap()).unwrap();
            let agreed = [Algorithm::Rs256, Algorithm::Es256];
            let jws = Jws::parse(&token).unwrap();
            let algorithm = jws.algorithm(&agreed).unwrap();
            assert_eq!(jws.verified(algorithm, &[&key]).unwrap()["iss"], "joe");
            let changed = token.replacen("eyJpc3Mi", "eyJpc3Nj", 1);
            let error = Jws::parse(&changed).unwrap().verified(algorithm, &[&key]).unwrap_err();
            assert_eq!(error.failed_check(), Some("signature"));
            let cut = token.rsplit_once('.').unwrap().0.to_owned() + ".";
            assert!(Jws::parse(&cut).unwrap().verified(algorithm, &[&key]).is_err(), "a stripped signature");
        }
        // What is signed there is text, so that only the signature can be compared.
        let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let key = Jwk::parse(&serde_json::from_str(key).unwrap()).unwrap();
        let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let error = Jws::parse(token).unwrap().verified(Algorithm::EdDsa, &[&key]).unwrap_err();
        assert_eq!(error.failed_check(), Some("form"));
    }
}
