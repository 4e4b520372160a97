//! Gathers what each source says, lets the nearest win, and finds everything that is wrong.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::declared::{Declared, Values, declared};
use super::error::{Origin, Problem, SettingsError};
use super::file::{self, Written};
use super::{Settings, environment, gorilla, host, parse};
use crate::{SameSite, Secure};

/// The file that [`Builder::default_file`] reads.
pub const DEFAULT_FILE: &str = "sessile.toml";

/// A timeout below this was probably meant in seconds.
const SUSPICIOUSLY_SHORT: Duration = Duration::from_secs(60);

/// What one source says about the settings it names.
type Layer = BTreeMap<&'static str, (Written, Origin)>;

/// Gathers settings. The order of the calls does not matter: code is nearest, then the environment, then the file, then
/// the application's own defaults.
#[derive(Default)]
#[must_use = "nothing is read and checked before `resolve`"]
pub struct Builder {
    code: Layer,
    environment: Layer,
    file: Layer,
    fallback: Layer,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    file_is_broken: bool,
}

impl Builder {
    /// Sets a setting in code, nearer than any other source. The value is written as in an environment variable.
    pub fn set(self, path: &str, value: impl ToString) -> Self {
        self.nearest(path, value.to_string(), Origin::Code)
    }

    /// The same for what was typed on a command line: what is wrong with it is told under this argument's name.
    pub fn argument(self, name: &str, path: &str, value: impl ToString) -> Self {
        self.nearest(path, value.to_string(), Origin::Argument(name.to_owned()))
    }

    fn nearest(mut self, path: &str, value: String, origin: Origin) -> Self {
        match known(path, origin.clone()) {
            Ok(setting) => {
                self.code.insert(setting.path(), (Written::Text(value), origin));
            }
            Err(problem) => self.problems.push(problem),
        }
        self
    }

    /// Sets what holds when no other source says anything: an application's own default. Where a source chose the
    /// Express profile, that profile's defaults go before.
    pub fn fallback(mut self, path: &str, value: impl ToString) -> Self {
        match known(path, Origin::Fallback) {
            Ok(setting) => {
                self.fallback.insert(setting.path(), (Written::Text(value.to_string()), Origin::Fallback));
            }
            Err(problem) => self.problems.push(problem),
        }
        self
    }

    /// Reads the process's environment.
    pub fn environment(self) -> Self {
        self.variables(environment::variables())
    }

    /// Reads these variables as if they were the environment. An empty one counts as not set. A secret may instead be
    /// in a file that the variable with `_FILE` behind its name names; a line break at the file's end does not count.
    pub fn variables<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables: BTreeMap<OsString, OsString> = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        for setting in declared() {
            let name = setting.variable();
            let in_file = format!("{name}_FILE");
            let path = variables.get(&OsString::from(&in_file)).filter(|_| setting.is_secret());
            let (name, value) = match (variables.get(&OsString::from(name)), path) {
                (Some(_), Some(_)) => {
                    let message = format!("expected one of {name} and {in_file}, found both; drop one");
                    self.problems.push(Problem::new(setting.path(), Origin::Variable(in_file), message));
                    continue;
                }
                (Some(value), None) => {
                    let text = value.to_str().map(str::to_owned);
                    (name.to_owned(), text.ok_or_else(|| "expected UTF-8, found other bytes".to_owned()))
                }
                (None, Some(path)) => {
                    let read = fs::read_to_string(path).map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
                    let problem = |error| format!("expected a readable file, found {}: {error}", path.display());
                    (in_file, read.map_err(problem))
                }
                (None, None) => continue,
            };
            let origin = Origin::Variable(name);
            match value {
                Ok(text) => {
                    self.environment.insert(setting.path(), (Written::Text(text), origin));
                }
                Err(message) => self.problems.push(Problem::new(setting.path(), origin, message)),
            }
        }
        self.warnings.extend(variables.keys().filter_map(|name| misspelt(name.to_str()?)));
        self
    }

    /// Reads a file that has to be there.
    pub fn file(self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        self.read_file(path, fs::read_to_string(path))
    }

    /// Reads `sessile.toml` in the working directory, if it is there.
    pub fn default_file(self) -> Self {
        let path = Path::new(DEFAULT_FILE);
        match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => self,
            read => self.read_file(path, read),
        }
    }

    /// Whether a source that was read so far sets this setting. Fallbacks do not count.
    pub fn is_set(&self, path: &str) -> bool {
        [&self.code, &self.environment, &self.file].into_iter().any(|layer| layer.contains_key(path))
    }

    /// Checks everything.
    ///
    /// # Errors
    /// With every problem there is, when there is one.
    pub fn resolve(mut self) -> Result<Settings, SettingsError> {
        let mut given = Layer::new();
        for mut layer in [self.fallback, self.file, self.environment, self.code] {
            self.problems.extend(split_table_name(&mut layer));
            given.extend(layer);
        }
        let chosen_profile = given.get("session.profile").is_some_and(|(_, origin)| *origin != Origin::Fallback);
        let mut values = Values::default();
        for setting in declared() {
            // Who chose the Express profile meant its defaults, not the application's.
            if chosen_profile && values.express && setting.default().1.is_some() {
                given.retain(|path, (_, origin)| *path != setting.path() || *origin != Origin::Fallback);
            }
            let Some((written, origin)) = given.get(setting.path()) else { continue };
            if let Err(faults) = setting.apply(&mut values, written) {
                let problem = |fault| Problem::new(setting.path(), origin.clone(), fault);
                self.problems.extend(faults.into_iter().map(problem));
            }
        }
        let origins: BTreeMap<_, _> = given.into_iter().map(|(path, (_, origin))| (path, origin)).collect();
        self.warnings.extend(rename_shared_cookie(&mut values, &origins));
        self.warnings.extend(suspicions(&values));
        self.problems.extend(cookie_problems(&values, &origins));
        self.problems.extend(oidc_problems(&values, &origins));
        self.problems.extend(return_problems(&values, &origins));
        if !values.secrets.is_empty() {
            self.problems.extend(format_problem(&values, &origins));
        }
        let secret_is_missing = values.secrets.is_empty() && !about(&self.problems, "session.secret");
        if secret_is_missing && !self.file_is_broken {
            let origin = origins.get("session.secret").cloned().unwrap_or(Origin::Default);
            self.problems.push(Problem::new(
                "session.secret",
                origin,
                "expected at least one secret of 32 bytes or more, found none; set SESSION_SECRET, make one with \
                 `openssl rand -base64 32`",
            ));
        }
        if self.problems.is_empty() {
            match values.config() {
                Ok(config) => return Ok(Settings { config, values, origins, warnings: self.warnings }),
                // Each of its rules was asked above; should it ever learn another, that one is told here.
                Err(error) => self.problems.push(Problem::between([], error.to_string())),
            }
        }
        Err(SettingsError { problems: self.problems })
    }

    fn read_file(mut self, path: &Path, read: std::io::Result<String>) -> Self {
        let text = match read {
            Ok(text) => text,
            Err(error) => {
                let message = format!("expected a readable file, found {}: {error}", path.display());
                self.problems.push(Problem::between([], message));
                self.file_is_broken = true;
                return self;
            }
        };
        let contents = file::read(path, &text);
        self.file_is_broken |= contents.is_broken;
        self.problems.extend(contents.problems);
        for (path, written, origin) in contents.values {
            match known(&path, origin.clone()) {
                Ok(setting) => {
                    self.file.insert(setting.path(), (written, origin));
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        self
    }
}

fn known(path: &str, origin: Origin) -> Result<&'static Declared, Problem> {
    declared().find(|setting| setting.path() == path).ok_or_else(|| {
        let advice = match parse::nearest(path, declared().map(Declared::path)) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "`sessile config reference` lists all settings".into(),
        };
        Problem::new(path, origin, format!("expected the name of a setting, found an unknown one; {advice}"))
    })
}

/// A variable that is none of ours but looks like a slip of the pen. It may belong to someone else, so it is no error.
fn misspelt(name: &str) -> Option<String> {
    let stem = name.strip_suffix("_FILE").unwrap_or(name);
    let meant = parse::nearest(stem, declared().map(Declared::variable)).filter(|meant| *meant != stem)?;
    Some(format!("the environment variable {name} is not read; did you mean {meant}?"))
}

/// `schema.table` as the table's name sets both.
fn split_table_name(layer: &mut Layer) -> Option<Problem> {
    let (Written::Text(name), origin) = layer.get("table.name")?.clone() else { return None };
    let (schema, table) = name.split_once('.')?;
    let (table, schema) = (Written::Text(table.to_owned()), Written::Text(schema.to_owned()));
    layer.insert("table.name", (table, origin.clone()));
    match (layer.insert("table.schema", (schema.clone(), origin.clone())), schema) {
        (Some((Written::Text(other), other_origin)), Written::Text(schema)) if other != schema => {
            let sources = [("table.name".into(), origin), ("table.schema".into(), other_origin)];
            Some(Problem::between(
                sources,
                format!("expected one schema, found {schema:?} before the table's name and {other:?}; drop one"),
            ))
        }
        _ => None,
    }
}

/// A cookie with a domain cannot bear the default name: browsers refuse `__Host-` then.
fn rename_shared_cookie(values: &mut Values, origins: &BTreeMap<&'static str, Origin>) -> Option<String> {
    let bears_default = &*values.cookie.name == "__Host-sid" && !origins.contains_key("cookie.name");
    if values.cookie.domain.is_none() || !bears_default {
        return None;
    }
    values.cookie.name = "__Secure-sid".into();
    Some("the cookie is named __Secure-sid, because cookie.domain is set and browsers refuse __Host-sid then".into())
}

/// Rules between the settings of the cookie, each with the settings that take part.
fn cookie_problems(values: &Values, origins: &BTreeMap<&'static str, Origin>) -> Vec<Problem> {
    let given = || {
        let cookie = origins.iter().filter(|(path, _)| path.starts_with("cookie."));
        cookie.map(|(path, origin)| (path.to_string(), origin.clone()))
    };
    values.cookie.faults().into_iter().map(|fault| Problem::between(given(), fault)).collect()
}

/// An issuer without a client, or the other way round.
fn oidc_problems(values: &Values, origins: &BTreeMap<&'static str, Origin>) -> Option<Problem> {
    let (there, missing, variable) = match (&values.oidc.issuer, &values.oidc.client_id) {
        (Some(_), None) => ("oidc.issuer", "oidc.client_id", "OIDC_CLIENT_ID"),
        (None, Some(_)) => ("oidc.client_id", "oidc.issuer", "OIDC_ISSUER"),
        _ => return None,
    };
    let origin = origins.get(there).cloned().unwrap_or(Origin::Default);
    Some(Problem::new(there, origin, format!("expected {missing} beside it, found none; set {variable}")))
}

/// What is wrong with the cookie's format and its keys.
fn format_problem(values: &Values, origins: &BTreeMap<&'static str, Origin>) -> Option<Problem> {
    let (path, fault) = gorilla::fault(values)?;
    Some(Problem::new(path, origins.get(path).cloned().unwrap_or(Origin::Default), fault))
}

/// What would keep the cookie from coming along when a provider sends the browser back: no sign-in could succeed.
fn return_problems(values: &Values, origins: &BTreeMap<&'static str, Origin>) -> Vec<Problem> {
    let (true, Some(url)) = (values.oidc.issuer.is_some(), &values.public_url) else { return Vec::new() };
    let is_below = |domain: &str| host::is_below(host::of(url), domain);
    let rules = [
        (
            "cookie.same_site",
            values.cookie.same_site != Some(SameSite::Strict),
            "expected lax or none where users sign in at an identity provider, found strict, which keeps the cookie from coming \
             back with them",
        ),
        (
            "cookie.domain",
            values.cookie.domain.as_deref().is_none_or(is_below),
            "expected the host of public_url or a domain above it, found another one: the cookie would not come back from \
             the identity provider",
        ),
        (
            "cookie.secure",
            values.cookie.secure != Secure::Always || host::is_local(url) || !url.starts_with("http://"),
            "expected auto or false where public_url is plain http, found true: the cookie would not be sent at all",
        ),
    ];
    let broken = rules.into_iter().filter(|(_, holds, _)| !holds);
    let origin = |path| origins.get(path).cloned().unwrap_or(Origin::Default);
    broken.map(|(path, _, fault)| Problem::new(path, origin(path), fault)).collect()
}

fn suspicions(values: &Values) -> Vec<String> {
    let mut warnings = Vec::new();
    if values.idle() < SUSPICIOUSLY_SHORT {
        let ms = values.idle().as_millis();
        warnings.push(format!("session.timeout is {ms} milliseconds; if seconds were meant, write {ms}000"));
    }
    if let (Secure::Never, Some(domain)) = (values.cookie.secure, &values.cookie.domain)
        && !["localhost", "test", "local", "internal"].contains(&domain.rsplit('.').next().unwrap_or_default())
    {
        warnings.push(format!("the cookie is not Secure and goes to every host of {domain} over plain HTTP"));
    }
    if values.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
        warnings.push("trust_proxy names every address, so every client can claim to have come over HTTPS".into());
    }
    warnings
}

fn about(problems: &[Problem], setting: &str) -> bool {
    problems.iter().any(|problem| problem.sources().iter().any(|(name, _)| name == setting))
}
