//! The callback: what the provider sent the browser back with (RFC 6749 section 4.1.2, RFC 9207). Anybody can send a
//! browser there with anything, so nothing in it is believed before the state is found in the browser's own session.

use std::borrow::Cow;
use std::fmt;

use url::form_urlencoded;

use crate::LoginError;
use crate::secret::Secret;

/// Longest query that is read, in bytes.
const LONGEST: usize = 16 * 1024;

/// What a browser brought back from the provider.
///
/// ```
/// # use sessile_oidc::Callback;
/// let callback = Callback::from_query("code=abc&state=xyz&iss=https%3A%2F%2Fid.example.com");
/// assert!(!format!("{callback:?}").contains("abc"));
/// ```
#[derive(Clone, Default)]
pub struct Callback {
    state: Option<Secret>,
    code: Option<Secret>,
    pub(crate) iss: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) error_description: Option<String>,
    fault: Option<&'static str>,
}

impl Callback {
    /// Reads the query of the request, without its question mark. What is wrong with it is said by
    /// [`LoginFlow::complete`](crate::LoginFlow::complete).
    pub fn from_query(query: &str) -> Self {
        let mut callback = Self::default();
        if query.len() > LONGEST {
            callback.fault = Some("expected a callback of at most 16 KiB, found a longer one");
            return callback;
        }
        form_urlencoded::parse(query.as_bytes()).for_each(|(name, value)| callback.read(&name, value));
        callback
    }

    fn read(&mut self, name: &str, value: Cow<'_, str>) {
        let value = value.into_owned();
        let is_first = match name {
            "state" => self.state.replace(Secret::new(value)).is_none(),
            "code" => self.code.replace(Secret::new(value)).is_none(),
            "iss" => self.iss.replace(value).is_none(),
            "error" => self.error.replace(value).is_none(),
            "error_description" => self.error_description.replace(value).is_none(),
            _ => true,
        };
        if !is_first {
            self.fault = Some("expected each parameter of the callback once, found one twice");
        }
    }

    /// The state, if this is a callback at all.
    pub(crate) fn state(&self) -> Result<&str, LoginError> {
        if let Some(fault) = self.fault {
            return Err(LoginError::bad_callback(fault));
        }
        let state = self.state.as_ref().map(Secret::expose).filter(|state| !state.is_empty());
        state.ok_or_else(|| LoginError::bad_callback("expected the callback to have a state, found none"))
    }

    /// The code, or why there is none.
    pub(crate) fn code(&self) -> Result<&str, LoginError> {
        if let Some(error) = &self.error {
            return Err(LoginError::denied("at the sign-in", error, self.error_description.as_deref()));
        }
        let code = self.code.as_ref().map(Secret::expose).filter(|code| !code.is_empty());
        code.ok_or_else(|| LoginError::bad_callback("expected the callback to have a code or an error, found neither"))
    }
}

/// Which parameters are there; none of them.
impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, code, iss, error, .. } = self;
        f.debug_struct("Callback")
            .field("state", &state.is_some())
            .field("code", &code.is_some())
            .field("iss", &iss.is_some())
            .field("error", &error.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_read_once_and_wholly() {
        let callback = Callback::from_query("code=a%2Bb&state=c+d&iss=https%3A%2F%2Fid&session_state=x");
        assert_eq!((callback.code().unwrap(), callback.state().unwrap()), ("a+b", "c d"));
        assert_eq!(callback.iss.as_deref(), Some("https://id"));
        let long = format!("state=a&code={}", "b".repeat(LONGEST));
        for query in ["", "code=a", "state=&code=a", "state=a&state=a&code=b", "state=a&code=b&iss=c&iss=d", &long] {
            assert_eq!(Callback::from_query(query).state().unwrap_err().code(), "bad_callback", "{query:.40}");
        }
        assert_eq!(Callback::from_query("state=a").code().unwrap_err().code(), "bad_callback");
        let denied = Callback::from_query("state=a&code=b&error=access_denied&error_description=no%0D%0Aand%1B%5B1m");
        let refusal = denied.code().unwrap_err().refusal().cloned().unwrap();
        assert_eq!(refusal.error, "access_denied");
        assert_eq!(refusal.description.as_deref(), Some("no\u{fffd}\u{fffd}and\u{fffd}[1m"));
    }
}
