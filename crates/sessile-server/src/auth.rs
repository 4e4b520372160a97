//! Signing in with an identity provider, as routes: `/auth/login`, `/auth/callback`, `/auth/logout` and
//! `/auth/backchannel-logout`. What has to be decided, `sessile-oidc` decides; here it becomes pages and redirects.
//!
//! The way to the provider is a link (GET), never the answer to a form: a Content-Security-Policy with `form-action`
//! forbids forms to lead to other sites. For the same reason the way out is a page that moves on by itself.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Query, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, REFERRER_POLICY, RETRY_AFTER};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use serde::Deserialize;
use serde_json::json;
use sessile_core::{Exchange, Session, Sessions};
use sessile_oidc::{BackChannel, Begin, Callback, LoginError, LoginFlow, Users};
use url::form_urlencoded;

use crate::demo::page::{page, stylesheet};

/// Where a browser comes to after a sign-out.
const SIGNED_OUT: &str = "/signed-out";

/// No page of these may be kept: their addresses, or what stands in them, are for one use.
const NOT_KEPT: [(HeaderName, &str); 2] = [(CACHE_CONTROL, "no-store"), (REFERRER_POLICY, "no-referrer")];

/// Signing in at one provider.
pub struct Auth {
    flow: LoginFlow,
    users: Box<dyn Users>,
    back_channel: BackChannel,
    sessions: Sessions,
    signed_out: String,
}

impl Auth {
    /// For these sessions. `users` says who of the application's users the provider means; `public_url` is where browsers
    /// find this server, as it is in the flow's redirect URL.
    pub fn new(sessions: Sessions, flow: LoginFlow, users: impl Users + Clone, public_url: &str) -> Self {
        let back_channel = BackChannel::new(flow.clone(), users.clone());
        let signed_out = format!("{}{SIGNED_OUT}", public_url.trim_end_matches('/'));
        Self { flow, users: Box::new(users), back_channel, sessions, signed_out }
    }
}

/// The routes, to be merged into an application's router below its
/// [`SessionLayer`](sessile_tower::SessionLayer). After signing out the browser comes to `/signed-out`.
pub fn router<S>(auth: Auth) -> Router<S> {
    Router::new()
        .route("/auth/login", get(login))
        .route("/auth/callback", get(callback))
        .route("/auth/logout", post(logout))
        .route("/auth/backchannel-logout", post(back_channel_logout))
        .with_state(Arc::new(auth))
}

#[derive(Deserialize)]
struct Login {
    /// Where to go afterwards.
    #[serde(default)]
    return_to: String,
    /// The user has to prove now who they are, though they are signed in.
    again: Option<String>,
}

async fn login(
    State(auth): State<Arc<Auth>>,
    Query(Login { return_to, again }): Query<Login>,
    session: Session,
) -> Result<Response, Failed> {
    let begin = Begin::new(&return_to);
    let begin = if again.is_some() { begin.max_age(Duration::ZERO) } else { begin };
    let url = auth.flow.begin(&session, begin).await?;
    Ok((NOT_KEPT, Redirect::to(url.as_str())).into_response())
}

async fn callback(
    State(auth): State<Arc<Auth>>,
    RawQuery(query): RawQuery,
    exchange: Exchange,
) -> Result<Response, Failed> {
    let identity = auth.flow.complete(&exchange, &Callback::from_query(&query.unwrap_or_default())).await?;
    let Some(user) = auth.users.user(&identity.issuer, &identity.subject).await? else {
        return Ok(no_account());
    };
    identity.sign_in(&exchange.session().await?, user)?;
    Ok((NOT_KEPT, Redirect::to(&identity.return_to)).into_response())
}

/// Ends the session here, whatever the provider says, and then there.
async fn logout(State(auth): State<Arc<Auth>>, session: Session) -> Result<Response, Failed> {
    let url = auth.flow.logout_url(&session, &auth.signed_out, None).await;
    session.end()?;
    // That the provider cannot be reached was logged. The user is signed out of what is ours.
    Ok(match url.ok().flatten() {
        Some(url) => moving_on(url.as_str()),
        None => Redirect::to(SIGNED_OUT).into_response(),
    })
}

#[derive(Deserialize)]
struct LogoutToken {
    logout_token: String,
}

/// The provider's own request (OpenID Connect Back-Channel Logout 1.0 section 2.8).
async fn back_channel_logout(
    State(auth): State<Arc<Auth>>,
    Form(LogoutToken { logout_token }): Form<LogoutToken>,
) -> Response {
    let no_store = [(CACHE_CONTROL, "no-store")];
    match auth.back_channel.receive(&auth.sessions, &logout_token).await {
        Ok(_) => (StatusCode::OK, no_store).into_response(),
        Err(error) => {
            let body = json!({"error": "invalid_request", "error_description": error.public_message()});
            (status(&error), no_store, Json(body)).into_response()
        }
    }
}

/// A sign-in that failed, as a page: what happened and what to do, and a reference to the reason in the log.
struct Failed(LoginError);

impl<E: Into<LoginError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

#[derive(Template)]
#[template(path = "auth/words.html")]
struct WordsPage<'a> {
    stylesheet: &'static str,
    title: &'a str,
    text: &'a str,
    reference: Option<&'a str>,
    /// Where to go from here, and what that is called.
    way_out: (&'a str, &'a str),
    moves_on: bool,
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let again = error.return_to().map(|path| form_urlencoded::byte_serialize(path.as_bytes()).collect::<String>());
        let again = format!("/auth/login?return_to={}", again.unwrap_or_default());
        let words = WordsPage {
            stylesheet: stylesheet(),
            title: "You are not signed in",
            text: &sentence(error.public_message()),
            reference: Some(error.reference()),
            way_out: (&again, "Try again"),
            moves_on: false,
        };
        let mut response = (NOT_KEPT, page(status(&error), &words)).into_response();
        if error.is_unavailable() {
            response.headers_mut().insert(RETRY_AFTER, 5.into());
        }
        response
    }
}

fn no_account() -> Response {
    let words = WordsPage {
        stylesheet: stylesheet(),
        title: "There is no account for you here",
        text: "The identity provider says who you are, and this site does not know you.",
        reference: None,
        way_out: ("/", "Back to the site"),
        moves_on: false,
    };
    (NOT_KEPT, page(StatusCode::FORBIDDEN, &words)).into_response()
}

fn moving_on(url: &str) -> Response {
    let words = WordsPage {
        stylesheet: stylesheet(),
        title: "You are signed out here",
        text: "Now the identity provider signs you out, too.",
        reference: None,
        way_out: (url, "Go on to the provider"),
        moves_on: true,
    };
    (NOT_KEPT, page(StatusCode::OK, &words)).into_response()
}

fn status(error: &LoginError) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A message of the library as a sentence on a page.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    letters.next().map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str())).unwrap_or_default()
}
