//! Signing in with an identity provider, as routes: `/auth/login`, `/auth/callback`, `/auth/logout` and
//! `/auth/backchannel-logout`. What has to be decided, `sessile-oidc` decides; here it becomes pages and redirects.
//!
//! The way to the provider is a link (GET), never the answer to a form: a Content-Security-Policy with `form-action`
//! forbids forms to lead to other sites. For the same reason the way out is a page that moves on by itself.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Query, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, HOST, REFERRER_POLICY, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use serde::Deserialize;
use serde_json::json;
use sessile_core::{Error, Exchange, Session, Sessions};
use sessile_oidc::{BackChannel, Begin, Callback, LoginError, LoginFlow, Users};
use url::{Url, form_urlencoded};

use crate::demo::page::{page, stylesheet};

/// What goes along with a sign-in that has to prove who is signed in already.
const AGAIN: &str = "again as";

/// Marks a callback that is looked at a second time.
const ONCE_MORE: &str = "&once_more=yes";

/// How long a sign-out waits for what the provider has to say about itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest form that a provider may send, in bytes.
const LONGEST_LOGOUT_TOKEN: usize = 64 * 1024;

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
    public_url: Url,
}

impl Auth {
    /// For these sessions. `users` says who of the application's users the provider means; `public_url` is where browsers
    /// find this server, as it is in the flow's redirect URL.
    ///
    /// # Errors
    /// When that is no URL.
    pub fn new(
        sessions: Sessions,
        flow: LoginFlow,
        users: impl Users + Clone,
        public_url: &str,
    ) -> Result<Self, Error> {
        let back_channel = BackChannel::new(flow.clone(), users.clone());
        let public_url = Url::parse(public_url)
            .map_err(|error| Error::config(format!("expected public_url to be a URL: {error}")))?;
        Ok(Self { flow, users: Box::new(users), back_channel, sessions, public_url })
    }

    /// The same address on the host that the cookie and the provider know, if the browser is on another one
    /// (`localhost` for `127.0.0.1`): what it gets here, it would not send there.
    fn elsewhere(&self, headers: &HeaderMap, login: &Login) -> Option<Url> {
        let authority = &self.public_url[url::Position::BeforeHost..url::Position::AfterPort];
        let host = headers.get(HOST).and_then(|host| host.to_str().ok())?;
        if login.moved.is_some() || host.eq_ignore_ascii_case(authority) {
            return None;
        }
        let mut url = self.public_url.join("/auth/login").ok()?;
        let again = login.again.as_ref().map(|_| ("again", "yes"));
        url.query_pairs_mut()
            .append_pair("return_to", &login.return_to)
            .append_pair("moved", "yes")
            .extend_pairs(again);
        Some(url)
    }
}

/// The routes, to be merged into an application's router below its [`SessionLayer`](sessile_tower::SessionLayer) and below
/// something that refuses other sites' forms, like tower-http's `CsrfLayer`: `/auth/logout` is one. After signing out the
/// browser comes to `/signed-out`.
pub fn router<S>(auth: Auth) -> Router<S> {
    // Whoever only looks whether there is an answer must not use up a sign-in.
    let looking = async || StatusCode::METHOD_NOT_ALLOWED;
    Router::new()
        .route("/auth/login", get(login).head(looking))
        .route("/auth/callback", get(callback).head(looking))
        .route("/auth/logout", post(logout))
        .route("/auth/backchannel-logout", post(back_channel_logout).layer(DefaultBodyLimit::max(LONGEST_LOGOUT_TOKEN)))
        .with_state(Arc::new(auth))
}

/// The page that a sign-out ends on, for an application that has none of its own.
pub fn signed_out_route<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route(SIGNED_OUT, get(signed_out))
}

#[derive(Deserialize)]
struct Login {
    /// Where to go afterwards.
    #[serde(default)]
    return_to: String,
    /// The user has to prove now who they are, though they are signed in.
    again: Option<String>,
    /// The browser was sent here from another name of this host.
    moved: Option<String>,
}

async fn login(
    State(auth): State<Arc<Auth>>,
    Query(login): Query<Login>,
    headers: HeaderMap,
    exchange: Exchange,
) -> Result<Response, Failed> {
    if let Some(url) = auth.elsewhere(&headers, &login) {
        return Ok((NOT_KEPT, Redirect::to(url.as_str())).into_response());
    }
    if let Err(error) = exchange.try_sign_in() {
        return Ok(too_many(&error));
    }
    let session = exchange.session().await?;
    let begin = Begin::new(&login.return_to);
    let begin = match session.owner().filter(|_| login.again.is_some()) {
        Some(owner) => begin.max_age(Duration::ZERO).with_data(AGAIN, owner.as_str()),
        None => begin,
    };
    let url = auth.flow.begin(&session, begin).await?;
    Ok((NOT_KEPT, Redirect::to(url.as_str())).into_response())
}

async fn callback(
    State(auth): State<Arc<Auth>>,
    RawQuery(query): RawQuery,
    exchange: Exchange,
) -> Result<Response, Failed> {
    let query = query.unwrap_or_default();
    let identity = match auth.flow.complete(&exchange, &Callback::from_query(&query)).await {
        Ok(identity) => identity,
        Err(error) if is_worth_another_look(&error, &query) => {
            let once_more = format!("/auth/callback?{query}{ONCE_MORE}");
            return Ok((NOT_KEPT, Redirect::to(&once_more)).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let Some(user) = auth.users.user(&identity.issuer, &identity.subject).await? else {
        return Ok(no_account());
    };
    // Somebody else may have been asked for a proof of who is signed in here: that is no sign-in.
    if identity.data::<String>(AGAIN).is_some_and(|owner| owner != user.as_str()) {
        return Ok(somebody_else());
    }
    identity.sign_in(&exchange.session().await?, user)?;
    Ok((NOT_KEPT, Redirect::to(&identity.return_to)).into_response())
}

/// Whether the browser may have sent the cookie that it had before another tab's sign-in, whose answer it has by now.
fn is_worth_another_look(error: &LoginError, query: &str) -> bool {
    error.is_unknown_state() && !error.is_without_cookie() && !query.ends_with(ONCE_MORE)
}

/// Ends the session here, whatever the provider says, and then there.
async fn logout(State(auth): State<Arc<Auth>>, session: Session) -> Result<Response, Failed> {
    let back = auth.public_url.join(SIGNED_OUT).map(String::from).unwrap_or_default();
    // A provider that does not answer must not keep the user signed in. Usually nothing has to be asked.
    let url = tokio::time::timeout(PATIENCE, auth.flow.logout_url(&session, &back, None)).await;
    session.end()?;
    Ok(match url.ok().and_then(Result::ok).flatten() {
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
    form: Result<Form<LogoutToken>, FormRejection>,
) -> Response {
    let refuse = |status: StatusCode, why: &str| {
        let body = json!({"error": "invalid_request", "error_description": why});
        (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
    };
    let Ok(Form(LogoutToken { logout_token })) = form else {
        return refuse(StatusCode::BAD_REQUEST, "expected a form with one logout_token");
    };
    match auth.back_channel.receive(&auth.sessions, &logout_token).await {
        Ok(_) => (StatusCode::OK, [(CACHE_CONTROL, "no-store")]).into_response(),
        Err(error) => refuse(status(&error), error.public_message()),
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
            title: "That sign-in did not work",
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

async fn signed_out() -> Response {
    let words = WordsPage {
        stylesheet: stylesheet(),
        title: "You are signed out",
        text: "The session is over, on this device.",
        reference: None,
        way_out: ("/", "Back to the site"),
        moves_on: false,
    };
    (NOT_KEPT, page(StatusCode::OK, &words)).into_response()
}

fn too_many(error: &Error) -> Response {
    let words = WordsPage {
        stylesheet: stylesheet(),
        title: "Too many tries to sign in",
        text: "Wait a minute, then try again.",
        reference: None,
        way_out: ("/", "Back to the site"),
        moves_on: false,
    };
    let mut response = (NOT_KEPT, page(StatusCode::TOO_MANY_REQUESTS, &words)).into_response();
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
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

fn somebody_else() -> Response {
    let words = WordsPage {
        stylesheet: stylesheet(),
        title: "That was somebody else",
        text: "The identity provider named another user than the one who is signed in here. Nothing was changed.",
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
