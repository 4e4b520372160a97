//! What went wrong, once for both faces of the dashboard: a page in plain words, or problem details (RFC 9457) in the API.
//! Handlers answer a [`Problem`]; the layer in `errors` gives it the form that the address asks for.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sessile_core::Error;

use super::revoking::Refused;

/// How long a client should wait when the store does not answer.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// An answer other than what was asked for.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// What was expected, what was found and what to do. Nothing of a value that was sent.
    pub(super) detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    challenge: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), retry_after: None, challenge: None }
    }

    pub(super) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub(super) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// More sessions would end than somebody confirmed.
    pub(super) fn more_than_confirmed() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "There are more sessions than you confirmed by now, or the time you gave had not come. Look again.",
        )
    }

    /// Nobody is signed in.
    pub(super) fn unauthenticated() -> Self {
        Self {
            challenge: Some("Bearer realm=\"sessile-admin\""),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "Expected an operator's token or a sign-in, found neither that is valid.",
            )
        }
    }

    /// Somebody is, and has to prove it again (RFC 9470 names the error).
    pub(super) fn too_long_ago() -> Self {
        Self {
            challenge: Some("Bearer realm=\"sessile-admin\", error=\"insufficient_user_authentication\", max_age=600"),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "Ending many sessions needs a proof of who you are from the last ten minutes, and yours is older. Give your \
                 token again, or send it with the request.",
            )
        }
    }

    pub(super) fn too_many(wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many tokens from this address were wrong. Wait for as long as Retry-After says.",
            )
        }
    }

    pub(super) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self { retry_after: Some(STORE_RETRY), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// What an answer that some other layer gave means.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let detail = match status {
            StatusCode::NOT_FOUND => "This address leads nowhere.",
            StatusCode::METHOD_NOT_ALLOWED => {
                "This address does not take this method; the header Allow says which it takes."
            }
            StatusCode::PAYLOAD_TOO_LARGE => "What was sent is larger than the dashboard reads.",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "What was sent is of a kind that this address does not read.",
            StatusCode::SERVICE_UNAVAILABLE => "The session store does not answer. Try again in a moment.",
            status if status.is_client_error() => "What was sent cannot be read.",
            _ => "Something went wrong here. The server's log says what.",
        };
        Self::new(status, detail)
    }

    pub(super) fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }
}

/// What a browser may be told; the log has the rest.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if error.is_unavailable() {
            tracing::error!(?error, "the dashboard could not ask the session store");
            return Self::unavailable("The session store does not answer. Try again in a moment.");
        }
        if error.is_config() {
            return Self::unavailable(error.to_string());
        }
        tracing::error!(?error, "a request to the dashboard failed");
        Self::of_status(StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::More => Self::more_than_confirmed(),
            Refused::Problem(problem) => problem,
        }
    }
}

/// The status and headers; the form follows in `errors`.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response.extensions_mut().insert(self);
        response
    }
}
