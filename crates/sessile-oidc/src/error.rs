//! What can go wrong with a sign-in, as one opaque type that answers what a page and an operator ask. Each error has a short
//! random reference: the browser's page shows it and the log has it beside the reason. A token, a code, a state, a
//! verifier or a secret is in neither.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::tame::tame;

type Source = Arc<dyn StdError + Send + Sync>;

/// Where a provider says no to this server itself.
pub(crate) const AT_TOKEN_ENDPOINT: &str = "at the token endpoint";

/// A sign-in, or a sign-out at the provider, that failed. It is in the log already, or is written there when its
/// [`reference`](LoginError::reference) is asked for.
///
/// ```
/// # use sessile_oidc::LoginError;
/// fn page(error: &LoginError) -> (u16, String) {
///     (error.status(), format!("{} (reference {})", error.public_message(), error.reference()))
/// }
/// ```
pub struct LoginError(Box<Inner>);

struct Inner {
    kind: Kind,
    message: Cow<'static, str>,
    source: Option<Source>,
    reference: Box<str>,
    return_to: Option<Box<str>>,
    refusal: Option<Refusal>,
    task: Task,
    logged: AtomicBool,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    SignIn,
    SignOut,
    LogoutToken,
    /// Whichever the session was needed for.
    Any,
}

/// What the provider said instead of yes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The code of RFC 6749, like `access_denied`; at most 200 characters, none of them a control character.
    pub error: String,
    /// What the provider says about it, if anything, within the same bounds. Whoever sends a browser to the callback
    /// can put words here: escape it, and show it to nobody as your own.
    pub description: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NoCookie,
    UnknownState,
    BadCallback,
    Denied,
    IssuerMismatch,
    NonceMismatch,
    /// Which check failed.
    TokenInvalid(&'static str),
    ClockSkew,
    Unreachable,
    Provider,
    /// The provider does not know this client, or not so.
    Client,
    Replayed,
    Misuse,
    /// The session could not be read or written; with the status that the core has for it.
    Session(u16),
}

impl LoginError {
    pub(crate) fn no_cookie() -> Self {
        Self::new(Kind::NoCookie, "the browser came back from the provider without a well-signed session cookie")
    }

    pub(crate) fn unknown_state(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::UnknownState, message)
    }

    pub(crate) fn bad_callback(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::BadCallback, message)
    }

    /// The provider said no, at the callback or at an endpoint.
    pub(crate) fn denied(at: &str, error: &str, description: Option<&str>) -> Self {
        let refusal = Refusal { error: tame(error), description: description.map(tame) };
        let words = refusal.description.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
        let kind = match error {
            "server_error" | "temporarily_unavailable" => Kind::Unreachable,
            "invalid_client" | "unauthorized_client" if at == AT_TOKEN_ENDPOINT => Kind::Client,
            _ => Kind::Denied,
        };
        let mut denied = Self::new(kind, format!("the provider answered {:?} {at}{words}", refusal.error));
        denied.0.refusal = Some(refusal);
        denied
    }

    pub(crate) fn issuer(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::IssuerMismatch, message)
    }

    pub(crate) fn nonce(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::NonceMismatch, message)
    }

    pub(crate) fn token(check: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::TokenInvalid(check), message)
    }

    pub(crate) fn clock_skew(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::ClockSkew, message)
    }

    pub(crate) fn unreachable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unreachable, message)
    }

    /// The provider cannot be used as it is or as it is configured. For implementers of [`Profile`](crate::Profile), too.
    pub fn provider(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Provider, message)
    }

    pub(crate) fn replayed() -> Self {
        Self::new(Kind::Replayed, "this logout token was used before")
    }

    pub(crate) fn misuse(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Misuse, message)
    }

    fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
            reference: reference(),
            return_to: None,
            refusal: None,
            task: Task::SignIn,
            logged: AtomicBool::new(false),
        }))
    }

    /// The same failure of another request.
    pub(crate) fn again(&self) -> Self {
        let Inner { kind, message, source, refusal, .. } = &*self.0;
        let mut again = Self::new(*kind, message.clone());
        (again.0.source, again.0.refusal) = (source.clone(), refusal.clone());
        again
    }

    #[must_use]
    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    #[must_use]
    pub(crate) fn returning_to(mut self, return_to: &str) -> Self {
        self.0.return_to = Some(return_to.into());
        self
    }

    /// What names this failure on the page and in the log, where it is by then.
    pub fn reference(&self) -> &str {
        self.log();
        &self.0.reference
    }

    /// The failure in one word, for logs and counters.
    pub fn code(&self) -> &'static str {
        match self.0.kind {
            Kind::NoCookie => "no_session_cookie",
            Kind::UnknownState => "unknown_state",
            Kind::BadCallback => "bad_callback",
            Kind::Denied => "denied",
            Kind::IssuerMismatch => "issuer_mismatch",
            Kind::NonceMismatch => "nonce_mismatch",
            Kind::TokenInvalid(_) => "token_invalid",
            Kind::ClockSkew => "clock_skew",
            Kind::Unreachable => "provider_unreachable",
            Kind::Provider | Kind::Client => "provider_unusable",
            Kind::Replayed => "replayed",
            Kind::Misuse => "misuse",
            Kind::Session(_) => "session",
        }
    }

    /// The HTTP status to answer with.
    pub fn status(&self) -> u16 {
        match self.0.kind {
            Kind::Unreachable => 503,
            Kind::Provider | Kind::Client => 502,
            Kind::Misuse => 500,
            Kind::Session(status) => status,
            _ => 400,
        }
    }

    /// The provider, or the session store, did not answer. Trying again later may help; answer with `Retry-After`.
    pub fn is_unavailable(&self) -> bool {
        self.status() == 503
    }

    /// The browser's session knows nothing of this sign-in: it is over, was completed, or was begun elsewhere.
    pub fn is_unknown_state(&self) -> bool {
        matches!(self.0.kind, Kind::NoCookie | Kind::UnknownState)
    }

    /// No well-signed session cookie came back from the provider.
    pub fn is_without_cookie(&self) -> bool {
        self.0.kind == Kind::NoCookie
    }

    /// What the provider said, if it said no: [`Refusal::error`] is `access_denied` when the user did not want to.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.0.refusal.as_ref()
    }

    /// The callback, the provider's metadata or a token named another issuer than the one that was asked.
    pub fn is_issuer_mismatch(&self) -> bool {
        self.0.kind == Kind::IssuerMismatch
    }

    /// The ID token was not made for this sign-in.
    pub fn is_nonce_mismatch(&self) -> bool {
        self.0.kind == Kind::NonceMismatch
    }

    /// Which check of a token failed: `signature`, `alg`, `kid`, `typ`, `aud`, `exp`, …
    pub fn failed_check(&self) -> Option<&'static str> {
        if let Kind::TokenInvalid(check) = self.0.kind { Some(check) } else { None }
    }

    /// The provider's clock and this server's differ by more than a minute.
    pub fn is_clock_skew(&self) -> bool {
        self.0.kind == Kind::ClockSkew
    }

    /// A logout token that was used before.
    pub fn is_replayed(&self) -> bool {
        self.0.kind == Kind::Replayed
    }

    /// Where the user wanted to go, if this sign-in is known: a link to try again can take it along.
    pub fn return_to(&self) -> Option<&str> {
        self.0.return_to.as_deref()
    }

    /// What a browser may be told: no detail, of anything.
    pub fn public_message(&self) -> &'static str {
        match self.0.kind {
            Kind::Replayed => "this logout token was used before",
            // The provider reads it, and no user.
            _ if self.0.task == Task::LogoutToken && self.status() == 400 => "the logout token could not be accepted",
            Kind::NoCookie => "your browser sent no session cookie; allow cookies for this site and sign in again",
            Kind::UnknownState => "this sign-in is over or was begun in another browser; sign in again",
            Kind::Denied => "the identity provider did not sign you in",
            Kind::Unreachable => "the identity provider cannot be reached, try again later",
            Kind::Session(503) => "the session store is not available, try again",
            Kind::Session(413) => "your session on this site holds too much for a sign-in to be begun in it",
            Kind::Misuse | Kind::Session(_) | Kind::Provider | Kind::Client => "internal error",
            _ => "the identity provider's answer could not be accepted; sign in again",
        }
    }

    /// What an operator should look at.
    pub fn what_to_check(&self) -> &'static str {
        match self.0.kind {
            Kind::NoCookie => {
                "SameSite=Strict keeps the cookie from a redirect of another site (use Lax); the callback must be on the \
                 host or below the domain that the cookie was set for; over plain http a Secure cookie is not sent; all \
                 instances need the same secret"
            }
            Kind::UnknownState => {
                "a sign-in has 15 minutes, works once, and only in the browser that began it; at most 8 are under way in \
                 one browser; all instances need the same session store"
            }
            Kind::BadCallback => {
                "only the provider should send browsers to the callback, with what it answered in the query"
            }
            Kind::Denied => {
                "access_denied: the user or a rule of the provider declined; \
                 invalid_grant: the code was used, too old, or the redirect URL differs from the registered one"
            }
            Kind::IssuerMismatch => {
                "the configured issuer must be, letter by letter, the one that the provider calls itself, a slash at the \
                 end included; otherwise somebody mixed up two providers"
            }
            Kind::NonceMismatch => "the provider must repeat the nonce of this sign-in in the ID token",
            Kind::TokenInvalid(_) => {
                "the client's registration at the provider: its id, its audience, its signature algorithm"
            }
            Kind::ClockSkew => "the clocks of this server and of the provider: one of them is not synchronised",
            Kind::Unreachable if self.0.refusal.is_some() => {
                "the provider's own state: it says itself that it cannot do its work now"
            }
            Kind::Unreachable => "the provider's address, DNS, firewalls and certificates, as seen from this server",
            Kind::Provider => "the issuer URL, and the provider's metadata under /.well-known/openid-configuration",
            Kind::Client => {
                "invalid_client: client id and secret; unauthorized_client: the client's registration at the provider \
                 must allow the authorization code flow"
            }
            Kind::Replayed => "nothing, if the provider repeats itself; otherwise who else has its logout tokens",
            Kind::Misuse => "the program",
            Kind::Session(413) => {
                "what the application keeps in the session, and sends along with a sign-in; keep large things in a table \
                 of their own, or raise max_data"
            }
            Kind::Session(_) => "the session store",
        }
    }

    /// Says what failed, and writes it to the log.
    #[must_use]
    pub(crate) fn logged(mut self, task: Task) -> Self {
        self.0.task = task;
        self.log();
        self
    }

    /// Writes the failure to the log, once, with its reference.
    fn log(&self) {
        let Inner { reference, source, task, logged, .. } = &*self.0;
        if logged.swap(true, Ordering::Relaxed) {
            return;
        }
        let (reference, code, source, words) = (&**reference, self.code(), source.as_deref(), task.words());
        let (check, what_to_check) = (self.failed_check(), self.what_to_check());
        if self.status() >= 500 {
            tracing::error!(reference, code, source, what_to_check, "{words}: {self}");
        } else {
            tracing::warn!(reference, code, check, what_to_check, "{words}: {self}");
        }
    }
}

impl Task {
    fn words(self) -> &'static str {
        match self {
            Self::SignIn => "a sign-in failed",
            Self::SignOut => "a sign-out at the provider failed",
            Self::LogoutToken => "a logout token was refused",
            Self::Any => "a sign-in or sign-out failed",
        }
    }
}

/// An application makes one of these where this crate has nothing to say any more, so it is written to the log here.
impl From<sessile_core::Error> for LoginError {
    fn from(error: sessile_core::Error) -> Self {
        if error.is_gone() {
            let message = "another request ended this session or completed this sign-in at the same time";
            return Self::unknown_state(message).with_source(error).logged(Task::SignIn);
        }
        let message = if error.is_too_large() {
            "the session holds too much for a sign-in to be noted in it"
        } else {
            "the session could not be used"
        };
        Self::new(Kind::Session(error.status()), message).with_source(error).logged(Task::Any)
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, source, reference, .. } = &*self.0;
        let mut out = f.debug_struct("LoginError");
        out.field("kind", kind).field("message", message).field("reference", reference);
        if let Some(source) = source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for LoginError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Eight characters. Without random bytes there is none, and the failure stands in the log all the same.
fn reference() -> Box<str> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).map_or_else(|_| "none".into(), |()| URL_SAFE_NO_PAD.encode(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_reference_of_its_own() {
        let [one, other] = [0; 2].map(|_| LoginError::no_cookie());
        assert_eq!(one.reference().len(), 8);
        assert_ne!(one.reference(), other.reference());
    }

    #[test]
    fn a_session_that_is_unavailable_is_no_fault_of_the_browser() {
        let full = LoginError::new(Kind::Session(413), "full");
        assert!(full.public_message().contains("too much") && full.what_to_check().contains("max_data"));
        let down = LoginError::from(sessile_core::Error::unavailable("down"));
        assert_eq!((down.status(), down.is_unavailable(), down.code()), (503, true, "session"));
    }
}
