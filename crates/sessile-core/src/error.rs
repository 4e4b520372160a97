//! What can go wrong, as one opaque type that answers the questions a caller asks.
//!
//! Absent, expired and forged are answers, not errors. An error means the system failed (the store is down, a row is
//! unreadable) or the program asked for something that cannot be done (a value too large, an edit after the response).
//! No message contains a session id, a secret or a stored value.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

type Source = Box<dyn StdError + Send + Sync>;

/// An error of Sessile. Ask it what it is: [`is_unavailable`](Error::is_unavailable), [`is_poisoned`](Error::is_poisoned), …
///
/// ```
/// # use sessile_core::Error;
/// let error = Error::unavailable("the session store did not answer within 2 s");
/// assert!(error.is_unavailable());
/// assert_eq!(error.status(), 503);
/// ```
pub struct Error {
    kind: Kind,
    message: Cow<'static, str>,
    source: Option<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unavailable,
    Poisoned,
    TooLarge,
    Value,
    Key,
    Gone,
    Contended,
    Misuse,
    Config,
    Unauthenticated,
    Full,
    /// For how long to wait.
    Limited(Duration),
}

impl Error {
    /// The store cannot be reached or did not answer in time. For implementers of [`Store`](crate::Store).
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// A stored row cannot be understood. For implementers of [`Store`](crate::Store).
    pub fn poisoned(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Poisoned, message)
    }

    /// A value that the store cannot keep.
    pub fn value(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Value, message)
    }

    /// A setting that cannot work. The message says what was expected, what was found and what to do.
    pub fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Config, message)
    }

    /// The program used the library in a way that cannot work, such as an extractor without its layer.
    pub fn misuse(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Misuse, message)
    }

    /// Nobody is signed in, or not recently enough. Adapters answer 401.
    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unauthenticated, message)
    }

    pub(crate) fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::TooLarge, message)
    }

    pub(crate) fn key(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Key, message)
    }

    pub(crate) fn gone() -> Self {
        Self::new(
            Kind::Gone,
            "the session ended in another request while this one relied on it; start again from the sign-in",
        )
    }

    pub(crate) fn cut_off() -> Self {
        Self::new(
            Kind::Gone,
            "all sessions of this user were ended while this sign-in was under way; start again from the sign-in",
        )
    }

    pub(crate) fn full() -> Self {
        Self::new(Kind::Full, "this user is signed in on as many devices as allowed; sign out on one of them first")
    }

    pub(crate) fn limited(wait: Duration) -> Self {
        Self::new(Kind::Limited(wait), "too many requests of this kind from this network or session; wait a little")
    }

    pub(crate) fn taken(key: &str) -> Self {
        Self::new(
            Kind::Gone,
            format!("the value under {key:?} was taken or changed by another request at the same time"),
        )
    }

    pub(crate) fn contended(tries: usize) -> Self {
        Self::new(
            Kind::Contended,
            format!("{tries} tries to write the session met another write each time; try the request again"),
        )
    }

    fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same error with the failure that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The store cannot be reached or did not answer in time. Adapters answer 503 with `Retry-After`.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::Contended)
    }

    /// A stored row cannot be understood. It is left as it is; an operator has to look at it.
    pub fn is_poisoned(&self) -> bool {
        self.kind == Kind::Poisoned
    }

    /// The session's data would exceed [`Config::max_data`](crate::Config::max_data). Nothing was changed.
    pub fn is_too_large(&self) -> bool {
        self.kind == Kind::TooLarge
    }

    /// A value could not be turned into JSON, or not into the type that was asked for.
    pub fn is_value(&self) -> bool {
        self.kind == Kind::Value
    }

    /// The key is one that Sessile or express-session keeps for itself.
    pub fn is_key(&self) -> bool {
        self.kind == Kind::Key
    }

    /// What the request relied on is gone: the session ended in another request while this one rotated its id, signed in or
    /// saved ([`Exchange::save`](crate::Exchange::save)), the user's sessions were revoked meanwhile, or the value that it took was taken by another one.
    pub fn is_gone(&self) -> bool {
        self.kind == Kind::Gone
    }

    /// The user is signed in as often as [`Config::max_sessions_per_user`](crate::Config::max_sessions_per_user) allows.
    pub fn is_full(&self) -> bool {
        self.kind == Kind::Full
    }

    /// The client did this more often than [`Config::limits`](crate::Config::limits) allows. Adapters answer 429.
    pub fn is_limited(&self) -> bool {
        matches!(self.kind, Kind::Limited(_))
    }

    /// How long the client should wait before it tries again, in whole seconds, for the header `Retry-After`
    /// (RFC 9110 section 10.2.3); `None` where trying again is of no use.
    pub fn retry_after(&self) -> Option<u64> {
        match self.kind {
            Kind::Limited(wait) => Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
            Kind::Unavailable | Kind::Contended => Some(1),
            _ => None,
        }
    }

    /// A setting that cannot work.
    pub fn is_config(&self) -> bool {
        self.kind == Kind::Config
    }

    /// Nobody is signed in, or not recently enough.
    pub fn is_unauthenticated(&self) -> bool {
        self.kind == Kind::Unauthenticated
    }

    /// The HTTP status that adapters answer with.
    pub fn status(&self) -> u16 {
        match self.kind {
            Kind::Unavailable | Kind::Contended => 503,
            Kind::Gone | Kind::Full => 409,
            Kind::Unauthenticated => 401,
            Kind::TooLarge => 413,
            Kind::Limited(_) => 429,
            Kind::Poisoned | Kind::Value | Kind::Key | Kind::Misuse | Kind::Config => 500,
        }
    }

    /// The body of the response that adapters answer with: `{"error": "…"}`, the public message as JSON.
    pub fn public_json(&self) -> String {
        serde_json::json!({ "error": self.public_message() }).to_string()
    }

    /// What a browser may be told: never a detail of the store, the row or the program.
    pub fn public_message(&self) -> &str {
        match self.kind {
            Kind::Unavailable => "the session store is not available, try again",
            Kind::Poisoned => "this session cannot be read",
            Kind::Contended | Kind::Gone | Kind::Full | Kind::TooLarge | Kind::Unauthenticated | Kind::Limited(_) => {
                &self.message
            }
            Kind::Value | Kind::Key | Kind::Misuse | Kind::Config => "internal error",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.kind).field("message", &self.message);
        if let Some(source) = &self.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
