//! What is kept for operators: who they are, what they did, and which secrets still verify cookies. A store makes room
//! for it when it is first written, so that an application without operators has none of it.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::clock::{from_millis, to_millis};
use crate::id::fill_random;

/// What tokens begin with, so that scanners for leaked secrets know one when they see it.
const TOKEN: &str = "sessile_op_";

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Look.
    Viewer,
    /// Look, and end sessions.
    Admin,
}

impl Role {
    /// The role in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Admin => "admin",
        }
    }

    /// Reads the word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Admin].into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Somebody who may use the dashboard. Of their token only the hash is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Operator {
    /// How they are called in the audit: 1 to 64 characters, none of them a control character.
    pub name: Box<str>,
    /// What they may do.
    pub role: Role,
    /// SHA-256 of their token.
    pub token_hash: [u8; 32],
    /// Since when.
    pub created_at: SystemTime,
}

impl Operator {
    /// A new operator, and their token, which is kept nowhere. It has 256 random bits, so its hash needs no salt and no
    /// stretching.
    ///
    /// # Errors
    /// When the name is none ([`check`](Operator::check)), or the system has no randomness to give.
    pub fn new(name: &str, role: Role, created_at: SystemTime) -> Result<(Self, String), Error> {
        let mut random = [0; 32];
        fill_random(&mut random)?;
        let token = format!("{TOKEN}{}", URL_SAFE_NO_PAD.encode(random));
        let operator = Self { name: name.into(), role, token_hash: Self::hash(&token), created_at };
        operator.check()?;
        Ok((operator, token))
    }

    /// What is kept of a token.
    pub fn hash(token: &str) -> [u8; 32] {
        Sha256::digest(token).into()
    }

    /// Whether a store can keep them, asked by every store before it writes.
    ///
    /// # Errors
    /// When the name is not 1 to 64 characters, none of them a control character.
    pub fn check(&self) -> Result<(), Error> {
        let is_name = (1..=64).contains(&self.name.chars().count()) && !self.name.chars().any(char::is_control);
        is_name.then_some(()).ok_or_else(|| {
            Error::value(
                "expected an operator's name of 1 to 64 characters without control characters, found another one",
            )
        })
    }
}

/// Everything but the hash.
impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// Something that an operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// When, in whole milliseconds.
    pub at: SystemTime,
    /// The operator's name; on the command line the name of the account on that host.
    pub actor: Box<str>,
    /// What, in one word with dots: `session.revoke`.
    pub action: Box<str>,
    /// Whom or what it was done to: a handle, a user, a time. Never an id.
    pub target: Box<str>,
    /// How many sessions it concerned.
    pub sessions: u64,
    /// Why, as the operator said.
    pub reason: Option<Box<str>>,
    /// Where from.
    pub ip: Option<IpAddr>,
}

impl Action {
    /// The action as every store writes it down: U+0000, which not every database can keep, becomes U+FFFD. What was done
    /// is recorded whatever stands in it.
    pub fn cleaned(&self) -> Self {
        let clean = |text: &str| Box::from(text.replace('\0', "\u{fffd}"));
        Self {
            at: from_millis(to_millis(self.at)),
            actor: clean(&self.actor),
            action: clean(&self.action),
            target: clean(&self.target),
            reason: self.reason.as_deref().map(clean),
            ..self.clone()
        }
    }
}

/// How often a secret verified cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUse {
    /// Which secret, by eight hexadecimal digits that do not give it away.
    pub fingerprint: Box<str>,
    /// How many cookies, on all instances, since it was first noted.
    pub cookies: u64,
    /// When it last did.
    pub last_used_at: SystemTime,
}

/// What a store keeps for operators. Before anything was written there is nothing to read, and no error.
#[async_trait]
pub trait Operations: Send + Sync {
    /// Adds an operator; false when the name is taken.
    ///
    /// # Errors
    /// When they fail [`Operator::check`]; when the store fails.
    async fn add_operator(&self, operator: &Operator) -> Result<bool, Error>;

    /// All operators, by name, byte by byte.
    async fn operators(&self) -> Result<Vec<Operator>, Error>;

    /// Removes the operator with this name; false when there is none.
    async fn remove_operator(&self, name: &str) -> Result<bool, Error>;

    /// Writes down what was done, [cleaned](Action::cleaned). Durable when it returns.
    async fn record(&self, action: &Action) -> Result<(), Error>;

    /// What was done, the latest first: at most `limit` before the action with this number, each with its own number, which
    /// no other action ever has.
    async fn actions(&self, before: Option<i64>, limit: u32) -> Result<Vec<(i64, Action)>, Error>;

    /// Adds these uses, each of another secret, to those noted. Of two times the later one stays.
    async fn note_secrets(&self, uses: &[SecretUse]) -> Result<(), Error>;

    /// All secrets that were noted, the last used first, then by fingerprint.
    async fn secrets(&self) -> Result<Vec<SecretUse>, Error>;
}
