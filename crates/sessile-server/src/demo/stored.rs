//! "What is stored": the row as it is, in plain words. The session's id is not among them, here or anywhere.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Redirect, Response};
use serde::Deserialize;
use sessile_core::{Data, Error, Session};

use super::page::{Frame, page};
use super::times::Moment;
use super::{DemoInfo, json, users};

/// What there is to say about a session that has a row.
pub(super) struct Facts {
    pub(super) handle: String,
    /// The owner's id and name.
    pub(super) owner: Option<(String, String)>,
    pub(super) created: Moment,
    pub(super) expires: Moment,
    pub(super) authenticated: Option<Moment>,
}

impl Facts {
    /// `None` for a session that no store knows.
    pub(super) fn of(session: &Session) -> Option<Self> {
        session.stored_document()?;
        Some(Self {
            handle: session.handle().to_string(),
            owner: session.owner().map(|owner| (owner.to_string(), users::name(&owner))),
            created: Moment::of(session.created_at()),
            expires: Moment::of(session.expires_at()),
            authenticated: session.authenticated_at().map(Moment::of),
        })
    }
}

/// One top-level key of the document.
struct Part {
    key: String,
    json: String,
    whose: Whose,
}

/// Whose a top-level key is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Express,
    Sessile,
    Application,
}

/// The attributes of the cookie, as the row's `cookie` object has them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CookieFacts {
    original_max_age: Option<serde_json::Value>,
    domain: Option<String>,
    path: Option<String>,
    http_only: bool,
    secure: Option<serde_json::Value>,
    partitioned: bool,
    same_site: Option<serde_json::Value>,
}

/// The row: its document whole and in parts, and what it says of the cookie.
struct Row {
    facts: Facts,
    parts: Vec<Part>,
    raw: String,
    cookie: CookieFacts,
}

impl Row {
    fn of(session: &Session) -> Result<Option<Self>, Error> {
        let (Some(facts), Some(raw)) = (Facts::of(session), session.stored_document()) else { return Ok(None) };
        let (data, raw) = without_secrets(Data::parse(raw.as_str().into())?)?;
        let cookie = data.get("cookie").and_then(|cookie| serde_json::from_str(cookie).ok()).unwrap_or_default();
        let parts = data.iter().map(|(key, json)| Part::of(key, json)).collect();
        Ok(Some(Self { facts, parts, raw, cookie }))
    }
}

/// What signs somebody in or out at a provider is for this server alone; everything else is shown as it is stored.
fn without_secrets(mut data: Data) -> Result<(Data, String), Error> {
    for key in [sessile_oidc::SESSION_KEY, sessile_oidc::PENDING_KEY] {
        let Some(json) = data.get(key) else { continue };
        let mut value: serde_json::Value =
            serde_json::from_str(json).map_err(|error| Error::value("a sign-in is not JSON").with_source(error))?;
        hide(&mut value);
        data.insert(key, value.to_string());
    }
    let raw = data.to_json();
    Ok((data, raw))
}

/// Hides each value that is a token or has been drawn, on every level.
fn hide(value: &mut serde_json::Value) {
    let serde_json::Value::Object(members) = value else { return };
    for (name, member) in members {
        if ["id_token", "nonce", "verifier"].contains(&name.as_str()) {
            *member = "(hidden)".into();
        }
        hide(member);
    }
}

impl Part {
    fn of(key: &str, json: &str) -> Self {
        let whose = match key {
            "cookie" => Whose::Express,
            "sessile" => Whose::Sessile,
            _ => Whose::Application,
        };
        Self { key: key.to_owned(), json: json::pretty(json), whose }
    }
}

impl CookieFacts {
    fn is_persistent(&self) -> bool {
        self.original_max_age.as_ref().is_some_and(serde_json::Value::is_number)
    }

    fn is_secure(&self) -> bool {
        matches!(self.secure, Some(serde_json::Value::Bool(true) | serde_json::Value::String(_)))
    }

    /// The attribute's value as it is sent; `None` when it is left out.
    fn same_site(&self) -> Option<&'static str> {
        match &self.same_site {
            Some(serde_json::Value::Bool(true)) => Some("Strict"),
            Some(serde_json::Value::String(word)) => {
                ["Strict", "Lax", "None"].into_iter().find(|known| known.eq_ignore_ascii_case(word))
            }
            _ => None,
        }
    }

    /// The attributes as they stand in `Set-Cookie`.
    fn attributes(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.domain.iter().map(|domain| format!("Domain={domain}")));
        words.extend(self.path.iter().map(|path| format!("Path={path}")));
        words.extend(self.is_persistent().then(|| "Expires=…".to_owned()));
        words.extend(self.http_only.then(|| "HttpOnly".to_owned()));
        words.extend(self.is_secure().then(|| "Secure".to_owned()));
        words.extend(self.partitioned.then(|| "Partitioned".to_owned()));
        words.extend(self.same_site().map(|word| format!("SameSite={word}")));
        words.join("; ")
    }
}

#[derive(Template)]
#[template(path = "demo/session.html")]
struct StoredPage<'a> {
    frame: Frame,
    info: &'a DemoInfo,
    row: Option<Row>,
    /// The row still has the messages that this page shows: they go when the response leaves.
    showed_flashes: bool,
}

pub(super) async fn show(State(info): State<Arc<DemoInfo>>, session: Session) -> Result<Response, Error> {
    let row = Row::of(&session)?;
    let frame = Frame::of(&session, "/session")?;
    let showed_flashes = frame.visitor.as_ref().is_some_and(|visitor| !visitor.flashes.is_empty());
    Ok(page(StatusCode::OK, &StoredPage { frame, info: &info, row, showed_flashes }))
}

pub(super) async fn rotate(session: Session) -> Result<Redirect, Error> {
    if session.stored_document().is_some() {
        session.rotate()?;
        session.flash(
            "done",
            "Your session has a new id, and the old one opens nothing. All else stayed, the handle too.",
        )?;
    }
    Ok(Redirect::to("/session"))
}

pub(super) async fn clear(session: Session) -> Result<Redirect, Error> {
    if session.stored_document().is_some() {
        session.clear()?;
        session.flash(
            "done",
            "The application's data is gone. The session goes on: same id, same owner, same lifetime.",
        )?;
    }
    Ok(Redirect::to("/session"))
}
