//! Where a value came from, and everything that is wrong with the settings at once.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

use crate::Error;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// [`Builder::set`](super::Builder::set).
    Code,
    /// [`Builder::argument`](super::Builder::argument), of this name.
    Argument(String),
    /// The environment variable of this name, or the file that its `_FILE` variant names.
    Variable(String),
    /// This line of this file.
    File(PathBuf, usize),
    /// [`Builder::fallback`](super::Builder::fallback).
    Fallback,
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code => f.write_str("code"),
            Self::Argument(name) => write!(f, "argument {name}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Fallback => f.write_str("the application's default"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong: what was expected, what was found, what to do. A secret is never quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    sources: Vec<(String, Origin)>,
    message: String,
}

impl Problem {
    pub(super) fn new(setting: impl Into<String>, origin: Origin, message: impl Into<String>) -> Self {
        Self::between([(setting.into(), origin)], message)
    }

    /// Settings that do not go together.
    pub(super) fn between(sources: impl IntoIterator<Item = (String, Origin)>, message: impl Into<String>) -> Self {
        Self { sources: sources.into_iter().collect(), message: message.into() }
    }

    /// The settings it is about, each with where its value came from. Several when they do not go together; none when
    /// the file itself cannot be read.
    pub fn sources(&self) -> &[(String, Origin)] {
        &self.sources
    }

    /// What was expected, what was found and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// `cookie.secure (environment variable COOKIE_SECURE): expected …`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (setting, origin)) in self.sources.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            f.write_str(setting)?;
            if *origin != Origin::Default {
                write!(f, " ({origin})")?;
            }
        }
        f.write_str(if self.sources.is_empty() { "" } else { ": " })?;
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    pub(super) problems: Vec<Problem>,
}

impl SettingsError {
    /// Each problem, in the order of the sources and then of the settings. There is at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// A heading, then one problem a line.
impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = self.problems.len();
        write!(f, "{many} {} wrong:", if many == 1 { "setting is" } else { "settings are" })?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl StdError for SettingsError {}

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        Error::config(error.to_string())
    }
}
