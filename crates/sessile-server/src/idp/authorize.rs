//! The authorization endpoint (OpenID Connect Core section 3.1.2): asks who the user is, unless it knows, and sends them
//! back with a code.

use std::sync::Arc;
use std::time::Duration;

use axum::Form;
use axum::extract::{Query, RawQuery, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use sessile_core::{Error, Session, UserId};
use url::Url;

use super::Provider;
use super::codes::Grant;
use super::pages;
use crate::demo::users;

/// What the application asks for.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Request {
    response_type: String,
    client_id: String,
    redirect_uri: String,
    scope: String,
    state: Option<String>,
    nonce: Option<String>,
    code_challenge: String,
    code_challenge_method: String,
    prompt: String,
    max_age: Option<u64>,
    acr_values: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Answer {
    /// Empty for a user who changed their mind.
    user: String,
}

impl Request {
    /// What is wrong with it, as RFC 6749 section 4.1.2.1 names it.
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        if self.response_type != "code" {
            Some(("unsupported_response_type", "expected response_type=code"))
        } else if !self.scope.split(' ').any(|scope| scope == "openid") {
            Some(("invalid_scope", "expected the scope openid"))
        } else if self.code_challenge_method != "S256" || self.code_challenge.len() != 43 {
            Some(("invalid_request", "expected a code_challenge of 43 characters and code_challenge_method=S256"))
        } else {
            None
        }
    }

    fn is_from(&self, provider: &Provider) -> bool {
        self.client_id == provider.client.id && self.redirect_uri == provider.client.redirect_uri
    }

    fn prompts(&self, word: &str) -> bool {
        self.prompt.split(' ').any(|prompt| prompt == word)
    }
}

pub(super) async fn ask(
    State(provider): State<Arc<Provider>>,
    Query(request): Query<Request>,
    RawQuery(query): RawQuery,
    session: Session,
) -> Result<Response, Error> {
    if !request.is_from(&provider) {
        return Ok(pages::unknown_client());
    }
    if let Some((error, description)) = request.problem() {
        return back(&provider, &request, &[("error", error), ("error_description", description)]);
    }
    match session.owner().filter(|_| is_fresh(&session, &request)) {
        Some(user) => grant(&provider, &request, &session, &user),
        None if request.prompts("none") => back(&provider, &request, &[("error", "login_required")]),
        None => Ok(pages::sign_in(&query.unwrap_or_default(), &origin(&provider.client.redirect_uri))),
    }
}

/// Whether the user need not be asked again.
fn is_fresh(session: &Session, request: &Request) -> bool {
    let within = |seconds| session.authenticated_within(Duration::from_secs(seconds));
    !request.prompts("login") && !request.prompts("select_account") && request.max_age.is_none_or(within)
}

pub(super) async fn answer(
    State(provider): State<Arc<Provider>>,
    Query(request): Query<Request>,
    session: Session,
    Form(Answer { user }): Form<Answer>,
) -> Result<Response, Error> {
    if !request.is_from(&provider) || request.problem().is_some() {
        return Ok(pages::unknown_client());
    }
    let Some(user) = users::USERS.iter().find(|known| known.id == user) else {
        return back(&provider, &request, &[("error", "access_denied"), ("error_description", "the user said no")]);
    };
    session.sign_in(user.id)?;
    grant(&provider, &request, &session, &user.id.into())
}

fn grant(provider: &Provider, request: &Request, session: &Session, user: &UserId) -> Result<Response, Error> {
    let now = provider.clock.now();
    let acr = request.acr_values.as_deref().and_then(|values| values.split(' ').next());
    let code = provider.codes.give(Grant {
        user: user.as_str().into(),
        auth_time: session.authenticated_at().unwrap_or(now),
        sid: session.handle(),
        nonce: request.nonce.clone(),
        challenge: request.code_challenge.clone(),
        acr: acr.map(Into::into),
        at: now,
    })?;
    back(provider, request, &[("code", &code)])
}

/// Sends the user back to the application, which is told who answers (RFC 9207).
fn back(provider: &Provider, request: &Request, answer: &[(&str, &str)]) -> Result<Response, Error> {
    let mut url = Url::parse(&request.redirect_uri)
        .map_err(|error| Error::config("the client's redirect_uri is no URL").with_source(error))?;
    let state = request.state.as_deref().map(|state| ("state", state));
    url.query_pairs_mut().extend_pairs(answer).extend_pairs(state).append_pair("iss", &provider.issuer);
    Ok(Redirect::to(url.as_str()).into_response())
}

/// The origin of a URL, for a Content-Security-Policy: browsers apply `form-action` to where a form's answer leads, too.
fn origin(url: &str) -> String {
    Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}
