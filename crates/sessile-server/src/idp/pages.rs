//! What a browser sees of the provider. Each page says what it is: nothing here may be taken for a real one.

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use crate::demo::page::{page, stylesheet};
use crate::demo::users::{USERS, User};

#[derive(Template)]
#[template(path = "idp/sign-in.html")]
struct SignInPage<'a> {
    stylesheet: &'static str,
    /// The application's request, to be sent again with the answer.
    query: &'a str,
    users: &'static [User],
}

#[derive(Template)]
#[template(path = "idp/words.html")]
struct WordsPage {
    stylesheet: &'static str,
    title: &'static str,
    text: &'static str,
}

/// Asks who it is. The answer leads to that origin.
pub(super) fn sign_in(query: &str, answer_to: &str) -> Response {
    let sign_in = SignInPage { stylesheet: stylesheet(), query, users: &USERS };
    with_headers(page(StatusCode::OK, &sign_in), answer_to)
}

/// A request that the one client did not send, or that it sent wrongly. Nobody is sent anywhere.
pub(super) fn unknown_client() -> Response {
    let text = "It names another application than the one this provider serves, another address to come back to, or a \
                token that this provider did not sign. It makes a new key with every start, so begin again at the application.";
    words(StatusCode::BAD_REQUEST, "This request is not from the application", text)
}

pub(super) fn signed_out() -> Response {
    words(StatusCode::OK, "You are signed out here", "You can close this page.")
}

fn words(status: StatusCode, title: &'static str, text: &'static str) -> Response {
    with_headers(page(status, &WordsPage { stylesheet: stylesheet(), title, text }), "")
}

fn with_headers(mut response: Response, form_action: &str) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self' {form_action}; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let fixed = |name: HeaderName, value| (name, Ok(HeaderValue::from_static(value)));
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy)),
        fixed(CACHE_CONTROL, "no-store"),
        fixed(REFERRER_POLICY, "no-referrer"),
        fixed(X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        if let Ok(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
