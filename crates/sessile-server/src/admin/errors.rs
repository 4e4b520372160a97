//! The form of what went wrong: a page for people, problem details (RFC 9457) in the API. It covers what other layers
//! answer too: an address that leads nowhere, a form from another site, a session that could not be written.

use askama::Template;
use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tower_http::csrf::ProtectionError;

use super::page::{Frame, page};
use super::problem::Problem;

/// Where the API begins.
pub(super) const API: &str = "/admin/api/";

/// Answers a form or a call that another site sent.
pub(super) fn refuse(_error: ProtectionError) -> Response<Body> {
    Problem::forbidden("This request was sent from a page of another site. Nothing was changed.").into_response()
}

pub(super) async fn nowhere() -> Problem {
    Problem::of_status(StatusCode::NOT_FOUND)
}

/// Gives every error its form.
pub(super) async fn dress(request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with(API);
    let response = next.run(request).await;
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    if failed && !is_page(&response) { dressed(response, is_api) } else { response }
}

fn dressed(response: Response, is_api: bool) -> Response {
    let (mut parts, _) = response.into_parts();
    let problem = parts.extensions.remove::<Problem>().unwrap_or_else(|| Problem::of_status(parts.status));
    let form = if is_api { as_details(&problem) } else { as_page(&problem) };
    let (form, body) = form.into_parts();
    for stale in [CONTENT_LENGTH, TRANSFER_ENCODING, CONTENT_TYPE] {
        parts.headers.remove(stale);
    }
    parts.headers.extend(form.headers);
    Response::from_parts(parts, body)
}

fn as_details(problem: &Problem) -> Response {
    let details = json!({
        "type": "about:blank",
        "title": problem.title(),
        "status": problem.status.as_u16(),
        "detail": problem.detail,
    });
    let mut response = Json(details).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

#[derive(Template)]
#[template(path = "admin/error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    problem: &'a Problem,
}

fn as_page(problem: &Problem) -> Response {
    page(problem.status, &ErrorPage { frame: Frame::of_nobody(), problem })
}

fn is_page(response: &Response) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}
