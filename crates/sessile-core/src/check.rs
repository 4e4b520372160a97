//! What a doctor says: one thing that was looked at, how it is, what was found, and what to do about it.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Nobody knows: it was not looked at.
    Skipped,
    /// It works, and will hurt some day.
    Warning,
    /// Sessions fail, or a promise does not hold.
    Failed,
}

impl Verdict {
    /// The verdict in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that was looked at, or should have been. No text in it holds an id, a secret or a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// A stable name, for probes: `postgres.expire_index`.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, as a sentence with its evidence.
    pub finding: String,
    /// What to do, as a command or a setting; `None` where all is well.
    pub remedy: Option<String>,
}

impl Check {
    /// All is well.
    pub fn good(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Good, finding: finding.into(), remedy: None }
    }

    /// It was not looked at; the finding says why, the remedy how to look. That is neither praise nor blame.
    pub fn skipped(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Skipped, finding: finding.into(), remedy: Some(remedy.into()) }
    }

    /// It works, and will hurt some day.
    pub fn warning(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, finding: finding.into(), remedy: Some(remedy.into()) }
    }

    /// Sessions fail, or a promise does not hold.
    pub fn failed(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Failed, finding: finding.into(), remedy: Some(remedy.into()) }
    }
}

/// A store that can be examined: whether it is as the promises need it.
#[async_trait]
pub trait Examine: Send + Sync {
    /// Looks, and changes nothing: a table that is missing is reported, not created. What cannot be looked at is a failed
    /// check, so this has no error. `now` is this host's time, to compare the store's clock with.
    async fn examine(&self, now: SystemTime) -> Vec<Check>;
}
