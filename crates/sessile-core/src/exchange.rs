//! One request: `begin`, perhaps a session, `finish`. Adapters carry headers in and one header out and decide nothing.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tracing::Span;
use tracing::field::Empty;

use crate::codec::Decoded;
use crate::limits::Network;
use crate::meters::Outcome;
use crate::{Devices, Error, Session, Sessions};

/// What an adapter shows of a request. Header names are given in lower case.
pub trait RequestHead {
    /// Calls `visit` with every value of this header, in order.
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8]));

    /// Who is at the other end of the connection.
    fn peer(&self) -> Option<IpAddr> {
        None
    }

    /// Whether this very connection is TLS.
    fn is_tls(&self) -> bool {
        false
    }
}

/// One request's way through Sessile. Cloning gives another view of the same request.
#[derive(Clone)]
pub struct Exchange {
    shared: Arc<Shared>,
}

struct Shared {
    sessions: Sessions,
    facts: Facts,
    session: Mutex<Option<Session>>,
    /// What the user proves in this request counts from this time, where that is not when it came.
    counts_from: Mutex<Option<SystemTime>>,
    /// The session could not be had.
    failed: AtomicBool,
    finished: AtomicBool,
    span: Span,
}

/// What the request said, as far as it matters.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The id of a well-signed cookie.
    pub(crate) presented: Option<Decoded>,
    /// There was a cookie of our name, and none with a good signature.
    pub(crate) forged: bool,
    /// The request came over HTTPS, as the connection or a trusted proxy says.
    pub(crate) https: bool,
    /// When the request came: before any credentials in it were checked.
    pub(crate) began: SystemTime,
    /// Where from, as much as may be kept.
    pub(crate) ip: Option<IpAddr>,
    /// What the client is counted by, where something is limited.
    pub(crate) network: Option<Network>,
    /// What the client says it is, if that may be kept.
    pub(crate) user_agent: Option<Box<str>>,
}

impl Exchange {
    pub(crate) fn new(sessions: Sessions, facts: Facts) -> Self {
        Self {
            shared: Arc::new(Shared {
                sessions,
                facts,
                session: Mutex::new(None),
                counts_from: Mutex::new(None),
                failed: AtomicBool::new(false),
                finished: AtomicBool::new(false),
                span: tracing::debug_span!(target: "sessile::trace", "sessile.request", outcome = Empty, handle = Empty),
            }),
        }
    }

    /// The request's session: loaded on the first call, the same one afterwards. A request without a well-signed
    /// cookie gets a new session without asking the store. After [`finish`](Exchange::finish) it can be read only.
    ///
    /// # Errors
    /// When the store is unavailable or the row is unreadable.
    pub async fn session(&self) -> Result<Session, Error> {
        if let Some(session) = self.peek() {
            return Ok(session);
        }
        let loaded = self.shared.sessions.load(&self.shared.facts).await;
        let loaded = loaded.inspect_err(|_| self.shared.failed.store(true, Ordering::SeqCst))?;
        let session = {
            let mut slot = self.shared.session.lock().unwrap_or_else(PoisonError::into_inner);
            slot.get_or_insert(loaded).clone()
        };
        if let Some(at) = *self.shared.counts_from.lock().unwrap_or_else(PoisonError::into_inner) {
            session.count_from(at);
        }
        // `finish` raises the flag before it looks for the session: one of the two always sees the other.
        if self.shared.finished.load(Ordering::SeqCst) {
            session.lock().finish();
        }
        Ok(session)
    }

    /// Whether the request came with a well-signed session cookie. That does not say that its session lives.
    pub fn has_cookie(&self) -> bool {
        self.shared.facts.presented.is_some()
    }

    /// Where the request came from, as far as proxies that are trusted tell it and [`Config::record_ip`] allows to keep it.
    ///
    /// [`Config::record_ip`]: crate::Config::record_ip
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.shared.facts.ip
    }

    /// Writes what the session has become so far, now, in the middle of the request. For what must be durable before the
    /// request goes on: a value that was [taken](Session::take) is then taken for good, and of two requests that take the
    /// same one the other one's `save` fails. Wait for it before the session is used again. With nothing to write it does
    /// nothing, and what comes after it is written at the end as ever.
    ///
    /// ```
    /// # use sessile_core::{Error, Exchange};
    /// async fn redeem(exchange: &Exchange) -> Result<Option<String>, Error> {
    ///     let Some(voucher) = exchange.session().await?.take::<String>("voucher")? else { return Ok(None) };
    ///     exchange.save().await?;
    ///     Ok(Some(voucher)) // nobody else has it
    /// }
    /// ```
    ///
    /// # Errors
    /// When the session ended meanwhile, or what this request took was taken by another one ([`Error::is_gone`]). When the
    /// store fails. When the session has no row yet, or was given another id, signed in or ended in this request: such a
    /// change comes with a cookie, and is made at the end.
    pub async fn save(&self) -> Result<(), Error> {
        match self.peek() {
            Some(session) => self.shared.sessions.save(&session, &self.shared.facts).await,
            None => Ok(()),
        }
    }

    /// Counts a try to sign in, before the credentials are looked at: for the client's network, and for the session of its
    /// cookie. Without [`Config::limits`](crate::Config::limits) it does nothing.
    ///
    /// ```
    /// # use sessile_core::{Error, Exchange};
    /// async fn sign_in(exchange: &Exchange, user: &str, password: &str) -> Result<(), Error> {
    ///     exchange.try_sign_in()?;
    ///     # fn is_right(_: &str, _: &str) -> bool { true }
    ///     if is_right(user, password) {
    ///         exchange.session().await?.sign_in(user)?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When there were too many ([`Error::is_limited`]).
    pub fn try_sign_in(&self) -> Result<(), Error> {
        self.shared.sessions.limit_sign_in(&self.shared.facts)
    }

    /// The sessions that this request's is one of.
    pub fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    /// The sessions of users: who is signed in where.
    pub fn devices(&self) -> Devices {
        self.shared.sessions.devices().of(self)
    }

    /// What the user proves in this request counts from this time: it revoked their sessions, and knew.
    pub(crate) fn count_from(&self, at: SystemTime) {
        *self.shared.counts_from.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        if let Some(session) = self.peek() {
            session.count_from(at);
        }
    }

    /// Commits the session, if the handler asked for it, and says which cookie the response carries. Once a request.
    ///
    /// # Errors
    /// When a write that the user relies on (create, update, rotate, end) failed. The response must then be replaced:
    /// [`Error::status`] says by what.
    pub async fn finish(&self) -> Result<Option<SetCookie>, Error> {
        if self.shared.finished.swap(true, Ordering::SeqCst) {
            return Err(Error::misuse("a request was finished twice; leave finish to the adapter"));
        }
        let Some(session) = self.peek() else {
            let failed = self.shared.failed.load(Ordering::SeqCst);
            self.note(if failed { Outcome::Failed } else { Outcome::Anonymous });
            return Ok(None);
        };
        let done = self.shared.sessions.commit(&session, &self.shared.facts).await;
        self.note(done.as_ref().map_or_else(Outcome::of_error, |(_, outcome)| *outcome));
        if !self.span().is_disabled() {
            self.span().record("handle", tracing::field::display(&session.handle()));
        }
        done.map(|(cookie, _)| cookie)
    }

    /// The span of this request, `sessile.request` at the level `debug` under the target `sessile::trace`, for adapters to
    /// run the handler in. Its fields are `outcome` and, where the session was asked for, its `handle`.
    pub fn span(&self) -> &Span {
        &self.shared.span
    }

    fn note(&self, outcome: Outcome) {
        self.shared.sessions.meters().request(outcome);
        self.shared.span.record("outcome", outcome.as_str());
    }

    fn peek(&self) -> Option<Session> {
        self.shared.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("session", &self.peek()).finish()
    }
}

/// A `Set-Cookie` header that the response must carry, after every other one. With it goes `Vary: Cookie`, and
/// `Cache-Control: no-store` unless the handler set one: a cached cookie would sign strangers in (CVE-2023-30861).
#[must_use = "without this header the browser does not learn of its session"]
#[derive(Clone, PartialEq, Eq)]
pub struct SetCookie(pub(crate) String);

impl SetCookie {
    /// The header's value. Printable ASCII.
    pub fn header_value(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SetCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetCookie(…)")
    }
}
