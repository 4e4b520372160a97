//! What a token says, once its signature is known to be good: an object of claims, and the checks that ID tokens and logout
//! tokens have in common.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::LoginError;
use crate::tame::tame;

/// How far a provider's clock may be from this server's.
pub(crate) const LEEWAY: Duration = Duration::from_secs(60);

/// What a provider says of a user: the claims of an ID token, or what its API answered.
///
/// ```
/// # use sessile_oidc::Claims;
/// # let claims = Claims::from(serde_json::json!({"email": "a@example.com", "roles": ["admin"]}).as_object().unwrap().clone());
/// assert_eq!(claims.text("email"), Some("a@example.com"));
/// assert_eq!(claims.flag("email_verified"), None);
/// assert_eq!(claims.get::<Vec<String>>("roles"), Some(vec!["admin".into()]));
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// The claim, if it is there and is a `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.0.get(name).and_then(|value| T::deserialize(value).ok())
    }

    /// The claim, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// The claim, if it is true or false. Some providers write `email_verified` as text: that counts.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.0.get(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The claim, if it is a time: seconds since 1970, as a number.
    pub fn time(&self, name: &str) -> Option<SystemTime> {
        let seconds = self.0.get(name)?.as_f64().filter(|seconds| *seconds >= 0.0)?;
        UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
    }

    /// All of them.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Whether there is such a claim, of whatever type.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The subject: 1 to 255 bytes, without U+0000, which no store could hold.
    pub(crate) fn subject(&self) -> Result<&str, LoginError> {
        self.text("sub").filter(|sub| !sub.is_empty() && sub.len() <= 255 && !sub.contains('\0')).ok_or_else(|| {
            LoginError::token(
                "sub",
                "expected the claim `sub` to be text of 1 to 255 bytes, found none or something else",
            )
        })
    }

    pub(crate) fn check_issuer(&self, issuer: &str) -> Result<(), LoginError> {
        match self.text("iss") {
            Some(found) if found == issuer => Ok(()),
            found => Err(LoginError::token(
                "iss",
                format!("expected a token of {issuer:?}, found one of {:?}", found.map(tame).unwrap_or_default()),
            )),
        }
    }

    /// The token is for this client. Who else it is for is nobody we know, so that then `azp` has to say that it was made for
    /// us (OpenID Connect Core 3.1.3.7, steps 3 to 5).
    pub(crate) fn check_audience(&self, client_id: &str) -> Result<(), LoginError> {
        let audiences = match self.0.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            _ => self.get::<Vec<String>>("aud").unwrap_or_default(),
        };
        if !audiences.iter().any(|audience| audience == client_id) {
            return Err(LoginError::token(
                "aud",
                format!("expected a token for the client {client_id:?}, found another's"),
            ));
        }
        let is_ours_alone = audiences.iter().all(|audience| audience == client_id);
        match self.0.get("azp") {
            None if is_ours_alone => Ok(()),
            Some(azp) if azp == client_id => Ok(()),
            _ => Err(LoginError::token(
                "azp",
                format!(
                    "expected `azp` to be {client_id:?}, found another one, or none in a token with several audiences"
                ),
            )),
        }
    }

    /// A time that has to be there, as a number.
    pub(crate) fn required_time(&self, name: &'static str) -> Result<SystemTime, LoginError> {
        self.time(name).ok_or_else(|| {
            LoginError::token(name, format!("expected the claim `{name}` to be a number of seconds, found none"))
        })
    }

    /// A time that must not be in the future.
    pub(crate) fn check_past(&self, name: &'static str, now: SystemTime) -> Result<(), LoginError> {
        if !self.has(name) {
            return Ok(());
        }
        match self.required_time(name)?.duration_since(now) {
            Ok(ahead) if ahead > LEEWAY => Err(LoginError::clock_skew(format!(
                "the claim `{name}` is {} s in the future by this server's clock",
                ahead.as_secs()
            ))),
            _ => Ok(()),
        }
    }

    pub(crate) fn check_expiry(&self, now: SystemTime) -> Result<(), LoginError> {
        match now.duration_since(self.required_time("exp")?) {
            Ok(ago) if ago >= LEEWAY => Err(LoginError::token(
                "exp",
                format!("the token expired {} s ago by this server's clock", ago.as_secs()),
            )),
            _ => Ok(()),
        }
    }
}

impl From<Map<String, Value>> for Claims {
    fn from(claims: Map<String, Value>) -> Self {
        Self(claims)
    }
}

/// The names of the claims; never a value.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claims").field(&self.0.keys().collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(json: Value) -> Claims {
        Claims(json.as_object().unwrap().clone())
    }

    #[test]
    fn times_are_numbers() {
        let claims = claims(json!({ "a": 10, "b": 10.5, "c": "10", "d": -1, "e": 1e300, "f": null }));
        assert_eq!(claims.time("a"), Some(UNIX_EPOCH + Duration::from_secs(10)));
        assert_eq!(claims.time("b"), Some(UNIX_EPOCH + Duration::from_millis(10_500)));
        for name in ["c", "d", "e", "f", "g"] {
            assert_eq!(claims.time(name), None, "{name}");
        }
    }

    #[test]
    fn a_token_is_for_us_or_refused() {
        let accepted = [
            json!({ "aud": "me" }),
            json!({ "aud": ["me"] }),
            json!({ "aud": ["me"], "azp": "me" }),
            json!({ "aud": ["other", "me"], "azp": "me" }),
        ];
        for json in accepted {
            assert!(claims(json.clone()).check_audience("me").is_ok(), "{json}");
        }
        let refused = [
            (json!({}), "aud"),
            (json!({ "aud": [] }), "aud"),
            (json!({ "aud": "other" }), "aud"),
            (json!({ "aud": "ME" }), "aud"),
            (json!({ "aud": ["other"], "azp": "me" }), "aud"),
            (json!({ "aud": ["me", 7] }), "aud"),
            (json!({ "aud": { "0": "me" } }), "aud"),
            (json!({ "aud": ["me", "other"] }), "azp"),
            (json!({ "aud": ["me", "other"], "azp": "other" }), "azp"),
            (json!({ "aud": "me", "azp": "other" }), "azp"),
            (json!({ "aud": "me", "azp": null }), "azp"),
        ];
        for (json, check) in refused {
            assert_eq!(claims(json.clone()).check_audience("me").unwrap_err().failed_check(), Some(check), "{json}");
        }
    }

    #[test]
    fn nothing_prints_a_value() {
        assert_eq!(format!("{:?}", claims(json!({ "email": "a@example.com" }))), r#"Claims(["email"])"#);
    }
}
