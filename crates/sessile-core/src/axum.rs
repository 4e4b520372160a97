//! What only this crate may write, because the traits are axum's and the types are ours: how a handler gets its session
//! and what it answers when that fails. No decision is made here.

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::request::Parts;

use crate::{Devices, Error, Exchange, Session};

/// Loads the session: the one place where a request may read the store.
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        exchange(parts)?.clone().session().await
    }
}

/// Costs nothing.
impl<S: Sync> FromRequestParts<S> for Exchange {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        exchange(parts).cloned()
    }
}

/// Costs nothing.
impl<S: Sync> FromRequestParts<S> for Devices {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        exchange(parts).map(Exchange::devices)
    }
}

fn exchange(parts: &Parts) -> Result<&Exchange, Error> {
    parts.extensions.get().ok_or_else(|| {
        Error::misuse("a handler asked for its session, but there is no SessionLayer around it; add one to the router")
    })
}

/// `{"error": "…"}` with the error's status. What a browser may not know is logged instead.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        // A poisoned row was logged, with its handle, where it was found.
        if self.status() >= 500 && !self.is_poisoned() {
            tracing::error!(error = ?self, "a request failed for its session");
        }
        let mut response = Response::new(self.public_json().into());
        *response.status_mut() =
            http::StatusCode::from_u16(self.status()).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
