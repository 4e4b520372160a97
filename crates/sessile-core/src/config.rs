//! What can be decided about sessions, with safe defaults. A [`Config`] that exists is one that works.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use crate::clock::{Clock, SystemClock};
use crate::codec::{CookieCodec, ExpressCodec, Keyring};
use crate::cookie::attributes::{Attributes, Priority, SameSite, is_domain, is_path};
use crate::device::{DeviceNames, RecordIp, Woothee};
use crate::event::Observer;
use crate::limits::Limits;
use crate::record::{Flag, Record, StoredCookie};
use crate::registry::{AtLimit, Limit};
use crate::{Cookie, Error, IdForm, KeyForm, Lifetime, Secure};

/// Everything that can be decided about sessions.
///
/// ```
/// # use sessile_core::Config;
/// # use std::time::Duration;
/// # let secret = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";
/// let config = Config::new(secret)?.idle(Duration::from_secs(30 * 60));
/// # Ok::<(), sessile_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Config {
    pub(crate) codec: Arc<dyn CookieCodec>,
    pub(crate) fingerprints: Box<[Box<str>]>,
    pub(crate) cookie: Cookie,
    pub(crate) lifetime: Lifetime,
    pub(crate) id_form: IdForm,
    pub(crate) key_form: KeyForm,
    pub(crate) max_data: usize,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) user_key: Option<Box<str>>,
    pub(crate) express: bool,
    pub(crate) rolling: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limit: Option<Limit>,
    pub(crate) limits: Option<Limits>,
    pub(crate) history: Duration,
    pub(crate) record_ip: RecordIp,
    pub(crate) record_user_agent: bool,
    pub(crate) count_requests: bool,
    pub(crate) device_names: Arc<dyn DeviceNames>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) counted: bool,
}

impl Config {
    /// The safe defaults: cookie `__Host-sid` as [`Cookie::default`] says, [`Lifetime::DEFAULT`], keys stored as
    /// SHA-256, at most 64 KiB of data a session, no proxy trusted.
    ///
    /// # Errors
    /// When the secret is shorter than 32 bytes or a known sample.
    pub fn new<K: TryInto<Keyring>>(secrets: K) -> Result<Self, Error>
    where
        Error: From<K::Error>,
    {
        let keyring = secrets.try_into()?;
        Ok(Self {
            fingerprints: keyring.fingerprints().into(),
            codec: Arc::new(ExpressCodec::new(keyring)),
            cookie: Cookie::default(),
            lifetime: Lifetime::DEFAULT,
            id_form: IdForm::default(),
            key_form: KeyForm::Sha256,
            max_data: 64 * 1024,
            trusted_proxies: Vec::new(),
            user_key: None,
            express: false,
            rolling: false,
            clock: Arc::new(SystemClock),
            limit: None,
            limits: None,
            history: Duration::from_secs(90 * 24 * 60 * 60),
            record_ip: RecordIp::Full,
            record_user_agent: true,
            count_requests: false,
            device_names: Arc::new(Woothee),
            observers: Vec::new(),
            counted: true,
        })
    }

    /// express-session's own defaults, for sharing sessions with an Express app: [`Cookie::express`], ids stored as
    /// they are, one day of idle lifetime and no absolute one, and a stored session's own cookie attributes.
    ///
    /// # Errors
    /// When the secret is shorter than 32 bytes or a known sample; see [`Secret::dangerous`](crate::codec::Secret::dangerous).
    pub fn express<K: TryInto<Keyring>>(secrets: K) -> Result<Self, Error>
    where
        Error: From<K::Error>,
    {
        Ok(Self {
            cookie: Cookie::express(),
            lifetime: Lifetime { absolute: None, ..Lifetime::DEFAULT },
            key_form: KeyForm::Raw,
            express: true,
            ..Self::new(secrets)?
        })
    }

    /// Sets the cookie's name and attributes.
    ///
    /// # Errors
    /// When browsers would refuse the cookie: a prefix whose rules are broken, a name or domain that is none.
    pub fn cookie(mut self, cookie: Cookie) -> Result<Self, Error> {
        let faults = cookie.faults();
        if faults.is_empty() {
            self.cookie = cookie;
            return Ok(self);
        }
        Err(Error::config(faults.join("; ")))
    }

    /// How long a session lives without being used. Default 24 hours. In the Express profile this is the store's
    /// `ttl`, and with a persistent cookie also its `maxAge`.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.lifetime.idle = idle;
        self
    }

    /// How long a session lives at most, counted from the sign-in. Default 14 days; `None` for no limit.
    pub fn absolute(mut self, absolute: impl Into<Option<Duration>>) -> Self {
        self.lifetime.absolute = absolute.into();
        self
    }

    /// How far a session's recorded end may lag behind its use. Default 60 seconds; at most a quarter of the idle
    /// lifetime counts.
    pub fn touch_every(mut self, touch_every: Duration) -> Self {
        self.lifetime.touch_every = touch_every;
        self
    }

    /// express-session's `cookie.maxAge`: the cookie's lifetime and the session's. `None` ends with the browser. Say it
    /// after [`cookie`](Config::cookie), which sets all of the cookie.
    pub fn max_age(mut self, max_age: impl Into<Option<Duration>>) -> Self {
        let max_age = max_age.into();
        self.cookie.persistent = max_age.is_some();
        self.lifetime.idle = max_age.unwrap_or(self.lifetime.idle);
        self
    }

    /// express-session's `rolling`: send the cookie with every response of the Express profile. Default false.
    pub fn rolling(mut self, rolling: bool) -> Self {
        self.rolling = rolling;
        self
    }

    /// What new ids look like. Default [`IdForm::Base64Url`].
    pub fn id_form(mut self, id_form: IdForm) -> Self {
        self.id_form = id_form;
        self
    }

    /// Whether the store sees ids or their SHA-256. Only a table shared with Express or with a Go program needs
    /// [`KeyForm::Raw`].
    pub fn key_form(mut self, key_form: KeyForm) -> Self {
        self.key_form = key_form;
        self
    }

    /// The most data a session may hold, in bytes of JSON. Default 64 KiB.
    pub fn max_data(mut self, bytes: usize) -> Self {
        self.max_data = bytes;
        self
    }

    /// The networks whose `Forwarded` and `X-Forwarded-*` headers are believed. Default none.
    pub fn trusted_proxies(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.trusted_proxies = networks.into_iter().collect();
        self
    }

    /// The top-level key under which an Express app keeps the signed-in user, like `userId`: Sessile then reads and
    /// writes the owner there. Default: under Sessile's own key.
    ///
    /// # Errors
    /// When the key is one that Sessile or express-session keeps for itself.
    pub fn user_key(mut self, key: impl Into<String>) -> Result<Self, Error> {
        let key = key.into();
        crate::edit::check_key(&key)?;
        self.user_key = Some(key.into());
        Ok(self)
    }

    /// How ids are put into cookies. Default [`ExpressCodec`].
    pub fn codec(mut self, codec: impl CookieCodec + 'static) -> Self {
        self.codec = Arc::new(codec);
        self
    }

    /// The clock. Default [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How many live sessions one user may have, and what happens to one more. Default: any number. At least 1 counts.
    pub fn max_sessions_per_user(mut self, sessions: u32, policy: AtLimit) -> Self {
        self.limit = Some(Limit { sessions: sessions.max(1), policy });
        self
    }

    /// How often one client may do what costs the application something. Default: as often as it likes.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// How long the registry keeps sessions that ended. Default 90 days.
    pub fn history(mut self, kept: Duration) -> Self {
        self.history = kept;
        self
    }

    /// How much of a client's address is kept with its session. Default all of it.
    pub fn record_ip(mut self, record_ip: RecordIp) -> Self {
        self.record_ip = record_ip;
        self
    }

    /// Whether a client's `User-Agent`, and the name made from it, is kept with its session. Default true.
    pub fn record_user_agent(mut self, record: bool) -> Self {
        self.record_user_agent = record;
        self
    }

    /// Whether the registry says how many requests used each session ([`Device::requests`](crate::Device::requests)). They are
    /// counted in memory and written along with the time of the last use, so they cost no write of their own. Default false.
    pub fn count_requests(mut self, count: bool) -> Self {
        self.count_requests = count;
        self
    }

    /// What makes names for people out of `User-Agent` headers. Default [`Woothee`].
    pub fn device_names(mut self, names: impl DeviceNames + 'static) -> Self {
        self.device_names = Arc::new(names);
        self
    }

    /// Tells this observer, too, what happens to sessions.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Whether these sessions count in the metrics of the process, where the feature `metrics` is on. Default true. A
    /// program that has sessions of its own beside the application's, like an administration, says false for them.
    pub fn counted(mut self, counted: bool) -> Self {
        self.counted = counted;
        self
    }

    /// What each secret can be told by, the signing one first ([`Keyring::fingerprints`]): with the same name a store notes
    /// how many cookies it verified ([`Operations::secrets`](crate::Operations::secrets)).
    pub fn fingerprints(&self) -> &[Box<str>] {
        &self.fingerprints
    }

    /// The cookie and lifetimes in words, for a start-up log line.
    pub fn description(&self) -> String {
        let cookie = &self.cookie;
        let mut words = vec![format!("cookie {}", cookie.name), format!("Path={}", cookie.path)];
        words.extend(cookie.domain.as_ref().map(|domain| format!("Domain={domain}")));
        words.push(match cookie.secure {
            Secure::Always => "Secure".into(),
            Secure::Never => "not Secure".into(),
            Secure::Auto => "Secure over HTTPS".into(),
        });
        words.push(if cookie.http_only { "HttpOnly".into() } else { "readable by scripts".to_owned() });
        words.extend(cookie.same_site.map(|same_site| format!("SameSite={}", same_site.word())));
        words.extend(cookie.partitioned.then(|| "Partitioned".into()));
        words.extend(cookie.priority.map(|priority| format!("Priority={}", priority.word())));
        words.push(if cookie.persistent {
            "kept when the browser closes".into()
        } else {
            "ends with the browser".to_owned()
        });
        words.push(format!("idle {}", span(self.lifetime.idle)));
        words.push(
            self.lifetime.absolute.map_or("no absolute lifetime".into(), |span_| format!("absolute {}", span(span_))),
        );
        let secrets = self.fingerprints.len();
        words.push(format!("{secrets} secret{}", if secrets == 1 { "" } else { "s" }));
        words.push(match self.key_form {
            KeyForm::Raw => "ids stored as they are".into(),
            KeyForm::Sha256 => "ids stored as SHA-256".into(),
        });
        words.join(", ")
    }

    /// Whether another program may have signed somebody in or out of this session: it keeps its user under a key of the
    /// data, or in a column beside ids that it knows as they are.
    pub(crate) fn is_followed(&self, record: &Record) -> bool {
        self.user_key.is_some() || record.owner_is_told && self.key_form == KeyForm::Raw
    }

    /// The limits of this session.
    pub(crate) fn lifetime_of(&self, record: &Record) -> Lifetime {
        let own = record.meta.idle.map(Duration::from_millis);
        let follows_cookie = self.express || !record.is_ours();
        let idle = record.cookie.max_age().filter(|_| follows_cookie).or(own).unwrap_or(self.lifetime.idle);
        let absolute = record.meta.absolute.map(Duration::from_millis).or(self.lifetime.absolute);
        Lifetime { idle, absolute, ..self.lifetime }
    }

    /// Whether the browser keeps this session's cookie when it closes.
    pub(crate) fn is_persistent(&self, record: &Record) -> bool {
        if self.express {
            record.cookie.max_age().is_some()
        } else {
            record.meta.persistent.unwrap_or(self.cookie.persistent)
        }
    }

    /// Brings the stored cookie object up to date before a write. In the Express profile a stored session keeps its
    /// own attributes and only moves its end, as there.
    pub(crate) fn refresh_cookie(&self, record: &mut Record, https: bool, now: SystemTime) {
        if !self.express {
            let max_age = self.is_persistent(record).then(|| self.lifetime_of(record).idle);
            record.cookie = self.fresh_cookie(https);
            record.cookie.set_max_age(max_age);
        }
        record.cookie.touch(now);
    }

    /// The cookie object of a new session.
    pub(crate) fn fresh_cookie(&self, https: bool) -> StoredCookie {
        let cookie = &self.cookie;
        let mut stored = StoredCookie {
            original_max_age: Default::default(),
            partitioned: cookie.partitioned.then_some(true),
            priority: cookie.priority.map(|priority| priority.word().to_ascii_lowercase().into()),
            expires: None,
            secure: match cookie.secure {
                Secure::Always => Some(Flag::Bool(true)),
                Secure::Never => None,
                Secure::Auto => Some(Flag::Bool(https)),
            },
            http_only: Some(cookie.http_only),
            domain: cookie.domain.clone(),
            path: Some(cookie.path.clone()),
            same_site: cookie.same_site.map(|same_site| Flag::Word(same_site.word().to_ascii_lowercase().into())),
        };
        stored.set_max_age(cookie.persistent.then_some(self.lifetime.idle));
        stored
    }

    /// The attributes of this session's `Set-Cookie`; `None` when what is stored cannot be sent (Express then sends
    /// nothing either).
    pub(crate) fn attributes(&self, record: Option<&Record>, https: bool) -> Option<Attributes> {
        match record {
            Some(record) if self.express => stored_attributes(&record.cookie),
            _ => stored_attributes(&self.fresh_cookie(https)),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({})", self.description())
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

fn stored_attributes(cookie: &StoredCookie) -> Option<Attributes> {
    let same_site = match &cookie.same_site {
        None | Some(Flag::Bool(false)) => None,
        Some(Flag::Bool(true)) => Some(SameSite::Strict),
        Some(Flag::Word(word)) => Some(SameSite::parse(word)?),
    };
    let priority = match &cookie.priority {
        None => None,
        Some(word) => Some(Priority::parse(word)?),
    };
    let sendable = cookie.domain.as_deref().is_none_or(|domain| domain.is_empty() || is_domain(domain))
        && cookie.path.as_deref().is_none_or(is_path);
    sendable.then(|| Attributes {
        domain: cookie.domain.clone(),
        path: cookie.path.clone(),
        http_only: cookie.http_only.unwrap_or(false),
        secure: !matches!(&cookie.secure, None | Some(Flag::Bool(false))),
        partitioned: cookie.partitioned.unwrap_or(false),
        priority,
        same_site,
    })
}

/// A length of time as people say it: `90 s`, `30 min`, `24 h`, `14 days`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(86_400, "days"), (3_600, "h"), (60, "min")];
    match units.into_iter().find(|(unit, _)| seconds >= 2 * unit && seconds.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None if span.subsec_millis() > 0 => format!("{} ms", span.as_millis()),
        None => format!("{seconds} s"),
    }
}
