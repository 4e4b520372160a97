//! Every setting, declared once: its names, what it means, how its text is understood and where its value goes. The
//! defaults in the documentation are read off [`Values`], so that they cannot be out of date.

use std::time::Duration;

use ipnet::IpNet;

use super::file::Written;
use super::gorilla::{self, EncryptionKey};
use super::parse::{Expected, count, count_or_none, milliseconds, milliseconds_or_none};
use super::table::SECTIONS;
use super::{Oidc, Pool, Redis, Server};
use crate::codec::{Secret, Serializer};
use crate::limits::{Enforcement, Limits, Rate};
use crate::{AtLimit, Config, Cookie, Error, IdForm, KeyForm, Lifetime, RecordIp, TableKind};

/// How a setting's text is understood, and where the value goes.
pub(super) enum Kind {
    /// Text of the setting's own form.
    Text(&'static str, fn(&mut Values, &str) -> Result<(), Expected>),
    /// One of these words.
    Word(&'static [&'static str], fn(&mut Values, &str)),
    /// A whole number above 0.
    Count(fn(&mut Values, usize)),
    /// The same, or the word `none`.
    CountOrNone(fn(&mut Values, Option<usize>)),
    /// A whole number of milliseconds above 0.
    Milliseconds(fn(&mut Values, Duration)),
    /// The same, or the word `none`.
    MillisecondsOrNone(fn(&mut Values, Option<Duration>)),
    /// Items between commas; in the file also an array. Says what is wrong with each item.
    List(&'static str, fn(&mut Values, &[&str]) -> Result<(), Vec<String>>),
}

/// One setting.
pub struct Declared {
    pub(super) path: &'static str,
    pub(super) variable: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) example: &'static str,
    pub(super) secret: bool,
    pub(super) show: fn(&Values) -> String,
}

/// The values in force.
#[derive(Clone)]
pub(super) struct Values {
    pub(super) express: bool,
    pub(super) database_url: Option<String>,
    pub(super) secrets: Vec<Secret>,
    pub(super) encryption_keys: Vec<EncryptionKey>,
    /// Of a cookie as Go programs write it; `None` for Express's.
    pub(super) serializer: Option<Serializer>,
    pub(super) cookie: Cookie,
    pub(super) lifetime: Lifetime,
    pub(super) max_data: usize,
    pub(super) user_key: Option<String>,
    pub(super) id_form: IdForm,
    pub(super) key_form: Option<KeyForm>,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) public_url: Option<String>,
    pub(super) oidc: Oidc,
    pub(super) pool: Pool,
    pub(super) redis: Redis,
    pub(super) table: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) table_kind: Option<TableKind>,
    pub(super) registry: Option<String>,
    pub(super) sweep_interval: Option<Duration>,
    pub(super) max_sessions: Option<usize>,
    pub(super) at_limit: AtLimit,
    pub(super) enforcement: Option<Enforcement>,
    pub(super) forged: usize,
    pub(super) created: usize,
    pub(super) sign_ins: usize,
    pub(super) history: Duration,
    pub(super) record_ip: RecordIp,
    pub(super) record_user_agent: bool,
    pub(super) count_requests: bool,
    pub(super) server: Server,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            express: false,
            database_url: None,
            secrets: Vec::new(),
            encryption_keys: Vec::new(),
            serializer: None,
            cookie: Cookie::default(),
            lifetime: Lifetime::DEFAULT,
            max_data: 64 * 1024,
            user_key: None,
            id_form: IdForm::default(),
            key_form: None,
            trusted_proxies: Vec::new(),
            public_url: None,
            oidc: Oidc::default(),
            pool: Pool { max: 10, idle_timeout: Duration::from_secs(30), connect_timeout: Duration::from_secs(2) },
            redis: Redis::default(),
            table: None,
            schema: None,
            table_kind: None,
            registry: None,
            sweep_interval: Some(Duration::from_secs(60)),
            max_sessions: None,
            at_limit: AtLimit::EvictOldest,
            enforcement: None,
            forged: 30,
            created: 60,
            sign_ins: 10,
            history: Duration::from_secs(90 * 24 * 60 * 60),
            record_ip: RecordIp::Full,
            record_user_agent: true,
            count_requests: false,
            server: Server::default(),
        }
    }
}

impl Values {
    /// What an application starts from that shares its sessions with Express.
    pub(super) fn express() -> Self {
        Self {
            express: true,
            cookie: Cookie::express(),
            lifetime: Lifetime { absolute: None, ..Lifetime::DEFAULT },
            ..Self::default()
        }
    }

    fn limits(&self, enforcement: Enforcement) -> Limits {
        let per_minute = |count| Rate::per_minute(u32::try_from(count).unwrap_or(u32::MAX));
        Limits::new(enforcement)
            .forged(per_minute(self.forged))
            .created(per_minute(self.created))
            .sign_ins(per_minute(self.sign_ins))
    }

    /// The table's name: the one that is set, or what its kind is usually called.
    pub(super) fn table(&self) -> &str {
        let usual = if self.table_kind == Some(TableKind::Columns) { "sessions" } else { "session" };
        self.table.as_deref().unwrap_or(usual)
    }

    pub(super) fn idle(&self) -> Duration {
        self.lifetime.idle
    }

    /// The configuration, once nothing is wrong with the values.
    pub(super) fn config(&self) -> Result<Config, Error> {
        let base = if self.express { Config::express } else { Config::new };
        let config = base(self.secrets.clone())?
            .cookie(self.cookie.clone())?
            .idle(self.lifetime.idle)
            .absolute(self.lifetime.absolute)
            .touch_every(self.lifetime.touch_every)
            .max_data(self.max_data)
            .id_form(self.id_form)
            .trusted_proxies(self.trusted_proxies.iter().copied())
            .history(self.history)
            .record_ip(self.record_ip)
            .record_user_agent(self.record_user_agent)
            .count_requests(self.count_requests);
        let config = match self.max_sessions {
            Some(sessions) => config.max_sessions_per_user(u32::try_from(sessions).unwrap_or(u32::MAX), self.at_limit),
            None => config,
        };
        let config = match self.enforcement {
            Some(enforcement) => config.limits(self.limits(enforcement)),
            None => config,
        };
        let config = match gorilla::codec(self)? {
            Some(codec) => config.codec(codec),
            None => config,
        };
        let config = match self.key_form {
            Some(form) => config.key_form(form),
            None => config,
        };
        match &self.user_key {
            Some(key) => config.user_key(key.clone()),
            None => Ok(config),
        }
    }
}

/// Every setting, in the order of the documentation.
///
/// ```
/// # use sessile_core::settings::declared;
/// assert!(declared().any(|setting| setting.variable() == "SESSION_SECRET"));
/// ```
pub fn declared() -> impl Iterator<Item = &'static Declared> {
    SECTIONS.into_iter().flatten()
}

impl Declared {
    /// Its path in `sessile.toml`: `cookie.name`.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Its environment variable: `COOKIE_NAME`.
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// What it means, with its unit, in Markdown.
    pub fn help(&self) -> &'static str {
        self.help
    }

    /// A value as it would stand in `sessile.toml`. That of a secret is one that is refused, so that nobody keeps it.
    pub fn example(&self) -> &'static str {
        self.example
    }

    /// Whether the value is never shown. Such a setting can also be read from a file, which the environment variable
    /// with `_FILE` behind its name names.
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// What may be written: `milliseconds`, `strict, lax, none or unset`, …
    pub fn kind(&self) -> String {
        match self.kind {
            Kind::Text(what, _) | Kind::List(what, _) => what.into(),
            Kind::Word(words, _) => any_of(words),
            Kind::Count(_) => "a whole number".into(),
            Kind::CountOrNone(_) => "a whole number or none".into(),
            Kind::Milliseconds(_) => "milliseconds".into(),
            Kind::MillisecondsOrNone(_) => "milliseconds or none".into(),
        }
    }

    /// The value when nobody says anything; where the Express profile differs, that one too.
    pub fn default(&self) -> (String, Option<String>) {
        let (usual, express) = ((self.show)(&Values::default()), (self.show)(&Values::express()));
        let differs = self.path != "session.profile" && usual != express;
        (usual, differs.then_some(express))
    }

    pub(super) fn show(&self, values: &Values) -> String {
        (self.show)(values)
    }

    /// Understands what was written and puts it among the values, or says what is wrong with it.
    pub(super) fn apply(&self, values: &mut Values, written: &Written) -> Result<(), Vec<String>> {
        let (text, applied) = match (written, &self.kind) {
            (Written::Text(text), Kind::List(_, set)) => {
                let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
                return set(values, &items);
            }
            (Written::List(items), Kind::List(_, set)) => {
                return set(values, &items.iter().map(String::as_str).collect::<Vec<_>>());
            }
            (Written::List(_), _) => return Err(vec![format!("expected {}, found an array", self.kind())]),
            (Written::Text(text), Kind::Text(_, set)) => (text, set(values, text)),
            (Written::Text(text), Kind::Word(words, set)) => {
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(text.trim()));
                (text, word.map(|word| set(values, word)).ok_or_else(|| any_of(words)))
            }
            (Written::Text(text), Kind::Count(set)) => (text, count(text.trim()).map(|count| set(values, count))),
            (Written::Text(text), Kind::CountOrNone(set)) => {
                (text, count_or_none(text.trim()).map(|count| set(values, count)))
            }
            (Written::Text(text), Kind::Milliseconds(set)) => {
                (text, milliseconds(text.trim()).map(|span| set(values, span)))
            }
            (Written::Text(text), Kind::MillisecondsOrNone(set)) => {
                (text, milliseconds_or_none(text.trim()).map(|span| set(values, span)))
            }
        };
        applied.map_err(|expected| vec![self.fault(&expected, text)])
    }

    /// `expected …, found …; do this`, and a secret is not quoted.
    fn fault(&self, expected: &str, text: &str) -> String {
        let (expected, advice) = expected
            .split_once("; ")
            .map_or((expected, String::new()), |(expected, advice)| (expected, format!("; {advice}")));
        let found = if self.secret { "something else, not shown here".into() } else { format!("{text:?}") };
        format!("expected {expected}, found {found}{advice}")
    }
}

/// `a, b or c`
fn any_of(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}
