//! Errors as pages. Whatever went wrong, and whichever layer said so, a browser gets a page in plain words; any other
//! client gets the answer as it was.

use askama::Template;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::csrf::{ProtectionError, ProtectionErrorKind};

use super::page::{Frame, page};

/// Answers a form that another site sent.
pub(crate) fn refuse(error: ProtectionError) -> Response<Body> {
    (StatusCode::FORBIDDEN, format!("{}\n", why_refused(&error))).into_response()
}

/// The answer to an address that leads nowhere, and to one that leads to what belongs to somebody else.
pub(super) fn not_found() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

/// Makes a page of every error that is none yet, for clients that ask for HTML. The headers stay: `Retry-After`, `Allow`.
pub(super) async fn as_pages(request: Request, next: Next) -> Response {
    let wants_page = accepts_html(request.headers());
    let response = next.run(request).await;
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if wants_page && failed && !is_html(response.headers()) { to_page(response) } else { response }
}

fn to_page(response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    let mut words = Words::of(parts.status);
    if let Some(error) = parts.extensions.get() {
        words.text = why_refused(error);
    }
    let error = ErrorPage { frame: Frame::without_session(""), status: parts.status.as_u16(), words };
    let (rendered, body) = page(parts.status, &error).into_parts();
    for stale in [CONTENT_LENGTH, TRANSFER_ENCODING, CONTENT_TYPE] {
        parts.headers.remove(stale);
    }
    parts.headers.extend(rendered.headers);
    Response::from_parts(parts, body)
}

#[derive(Template)]
#[template(path = "demo/error.html")]
struct ErrorPage {
    frame: Frame,
    status: u16,
    words: Words,
}

/// An error as a visitor may read it. Nothing of the request is repeated.
struct Words {
    title: &'static str,
    text: &'static str,
    /// Where to go from here: an address and its name.
    way_out: (&'static str, &'static str),
}

impl Words {
    fn of(status: StatusCode) -> Self {
        let shop = ("/", "Back to the shop");
        let sign_in = ("/sign-in", "Sign in");
        let (title, text, way_out) = match status {
            StatusCode::UNAUTHORIZED => {
                ("Sign in first", "This page is for somebody who is signed in, and this session is nobody's.", sign_in)
            }
            StatusCode::FORBIDDEN => ("Refused", "You may not do this.", shop),
            StatusCode::NOT_FOUND => ("There is no such page", "The address leads nowhere in this demo.", shop),
            StatusCode::METHOD_NOT_ALLOWED => (
                "This address only takes forms",
                "It changes something, so a button leads there (POST) and never a link: reading a page changes nothing.",
                shop,
            ),
            StatusCode::CONFLICT => (
                "This session cannot go on",
                "Another request, perhaps from another device, ended it or signed you out everywhere while this one was under \
                 way; or you are signed in on as many devices as you may be.",
                sign_in,
            ),
            StatusCode::PAYLOAD_TOO_LARGE => ("That was too much", "The form is larger than this demo reads.", shop),
            StatusCode::TOO_MANY_REQUESTS => (
                "Too much of this at once",
                "One network, or one session, may do this only so often. Wait a minute, then try again.",
                shop,
            ),
            StatusCode::SERVICE_UNAVAILABLE => (
                "The session store does not answer",
                "Your cookie was left as it is, so nobody has been signed out. Try again in a moment.",
                ("/", "Try the shop again"),
            ),
            status if status.is_client_error() => {
                ("This form cannot be read", "A field is missing, or holds what none of the demo's pages offer.", shop)
            }
            _ => ("Something went wrong here", "The server's log says what. Your session is as it was.", shop),
        };
        Self { title, text, way_out }
    }
}

fn why_refused(error: &ProtectionError) -> &'static str {
    match error.kind() {
        ProtectionErrorKind::CrossOriginRequestFromOldBrowser => {
            "This form was sent from a page of another site: its Origin header names another host than this one. Nothing was changed."
        }
        _ => {
            "This form was sent from a page of another site, as your browser's Sec-Fetch-Site header says. Nothing was changed."
        }
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")))
}

fn is_html(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}
