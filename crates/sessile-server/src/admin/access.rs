//! Who is there, and what they may do. Every address but the sign-in and the assets lies behind one of the two guards
//! below, so a handler that forgets to ask is not open. Operators are looked up with every request: somebody who was removed
//! is out at once, and nobody is in while the store does not answer, but for the page that says so.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sessile_core::{Error, Exchange, Operator, Role};

use super::audit::{self, Deed};
use super::operators;
use super::problem::Problem;
use super::state::Dashboard;

/// Where the dashboard's own session remembers which token it was signed in with.
pub(super) const TOKEN: &str = "token";

/// How long a proof is good for what ends many sessions (ASVS 7.5.1).
const RECENT: Duration = Duration::from_secs(10 * 60);

/// An operator, in this request.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) name: Box<str>,
    pub(super) role: Role,
    pub(super) ip: Option<IpAddr>,
    /// They proved who they are in the last ten minutes.
    pub(super) proved: bool,
}

impl Who {
    pub(super) fn new(operator: &Operator, ip: Option<IpAddr>, proved: bool) -> Self {
        Self { name: operator.name.clone(), role: operator.role, ip, proved }
    }

    /// Somebody whose token is nobody's.
    pub(super) fn unknown(ip: Option<IpAddr>) -> Self {
        Self { name: "unknown".into(), role: Role::Viewer, ip, proved: false }
    }

    pub(super) fn may_act(&self) -> bool {
        self.role == Role::Admin
    }

    /// For what ends many sessions.
    pub(super) fn has_proved_lately(&self) -> Result<(), Problem> {
        if self.proved { Ok(()) } else { Err(Problem::too_long_ago()) }
    }
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or_else(Problem::unauthenticated)
    }
}

/// Lets operators through to pages, and everybody else to the sign-in.
pub(super) async fn guard_pages(
    State(dashboard): State<Arc<Dashboard>>,
    exchange: Exchange,
    uri: Uri,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let is_read = request.method().is_safe();
    match by_session(&dashboard, &exchange, is_for_outages(&request)).await? {
        Some(who) => go_on(who, request, next).await,
        None if is_read => {
            let here = uri.path_and_query().map_or("", |here| here.as_str());
            let next = utf8_percent_encode(here, NON_ALPHANUMERIC);
            Ok(Redirect::to(&format!("/admin/sign-in?next={next}")).into_response())
        }
        None => Err(Problem::unauthenticated()),
    }
}

/// Lets operators through to the API, by a token that comes with the request or by the dashboard's session.
pub(super) async fn guard_api(
    State(dashboard): State<Arc<Dashboard>>,
    exchange: Exchange,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let who = match sent_token(request.headers())? {
        Some(token) => by_token(&dashboard, &exchange, &token, is_for_outages(&request)).await?,
        None => {
            by_session(&dashboard, &exchange, is_for_outages(&request)).await?.ok_or_else(Problem::unauthenticated)?
        }
    };
    go_on(who, request, next).await
}

/// Health is for the hour when the store is down: there, somebody whom it confirmed lately is believed without it.
fn is_for_outages(request: &Request) -> bool {
    request.method().is_safe() && matches!(request.uri().path(), "/admin" | "/admin/" | "/admin/api/v1/checks")
}

/// What the store says about an operator; what it said in the last ten minutes, where it does not answer and that will do.
async fn looked_up(
    dashboard: &Dashboard,
    fingerprint: &str,
    earlier_will_do: bool,
    answer: impl Future<Output = Result<Option<Operator>, Error>>,
) -> Result<Option<Operator>, Error> {
    let answer = answer.await;
    match &answer {
        Ok(found) => dashboard.confirmed.note(fingerprint, found.as_ref(), dashboard.now()),
        Err(error) if error.is_unavailable() && earlier_will_do => {
            let earlier = dashboard.confirmed.since(fingerprint, dashboard.now(), RECENT);
            return earlier.map_or(answer, |operator| Ok(Some(operator)));
        }
        Err(_) => {}
    }
    answer
}

/// What changes something is for those who may act.
async fn go_on(who: Who, mut request: Request, next: Next) -> Result<Response, Problem> {
    if !request.method().is_safe() && !who.may_act() {
        return Err(Problem::forbidden("Your role is viewer: you may look at everything and change nothing."));
    }
    request.extensions_mut().insert(who);
    Ok(next.run(request).await)
}

/// The operator who is signed in to the dashboard's own session, if they still are one.
pub(super) async fn by_session(
    dashboard: &Dashboard,
    exchange: &Exchange,
    earlier_will_do: bool,
) -> Result<Option<Who>, Problem> {
    if !exchange.has_cookie() {
        return Ok(None);
    }
    let session = exchange.session().await?;
    let (Some(owner), Some(token)) = (session.owner(), session.get::<String>(TOKEN)?) else { return Ok(None) };
    let answer = operators::by_name(&dashboard.sessions, owner.as_str(), &token);
    let operator = looked_up(dashboard, &token, earlier_will_do, answer).await?;
    let proved = session.authenticated_within(RECENT);
    Ok(operator.map(|operator| Who::new(&operator, exchange.client_ip(), proved)))
}

/// The operator whose token came with the request. A right one is always let in; wrong ones are audited, but not for ever.
async fn by_token(
    dashboard: &Dashboard,
    exchange: &Exchange,
    token: &str,
    earlier_will_do: bool,
) -> Result<Who, Problem> {
    let ip = exchange.client_ip();
    let answer = operators::by_token(&dashboard.sessions, token);
    if let Some(operator) = looked_up(dashboard, &operators::fingerprint_of(token), earlier_will_do, answer).await? {
        return Ok(Who::new(&operator, ip, true));
    }
    dashboard.sent.begin(ip, dashboard.now()).map_err(Problem::too_many)?;
    audit::record(dashboard, &Who::unknown(ip), Deed::SignInFailed, "api", 0, None).await?;
    Err(Problem::unauthenticated())
}

/// The token in `Authorization`. Another scheme than Bearer is nobody's.
fn sent_token(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let words = header.to_str().ok().and_then(|text| text.split_once(' '));
    match words {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim().to_owned())),
        _ => Err(Problem::unauthenticated()),
    }
}
