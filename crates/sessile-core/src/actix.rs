//! What only this crate may write, because the traits are actix-web's and the types are ours: how a handler gets its
//! session and what it answers when that fails. No decision is made here.

use std::future::{Future, Ready, ready};
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError};

use crate::{Devices, Error, Exchange, Session};

/// Loads the session: the one place where a request may read the store.
impl FromRequest for Session {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let exchange = exchange(request);
        Box::pin(async move { exchange?.session().await })
    }
}

/// Costs nothing.
impl FromRequest for Exchange {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(exchange(request))
    }
}

/// Costs nothing.
impl FromRequest for Devices {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(exchange(request).map(|exchange| exchange.devices()))
    }
}

fn exchange(request: &HttpRequest) -> Result<Exchange, Error> {
    request.extensions().get::<Exchange>().cloned().ok_or_else(|| {
        Error::misuse("a handler asked for its session, but no SessionMiddleware is around it; wrap the App in one")
    })
}

/// `{"error": "…"}` with the error's status. What a browser may not know is logged instead.
impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        // A poisoned row was logged, with its handle, where it was found.
        if self.status() >= 500 && !self.is_poisoned() {
            tracing::error!(error = ?self, "a request failed for its session");
        }
        let mut response = HttpResponse::build(self.status_code());
        response.content_type("application/json").insert_header((CACHE_CONTROL, "no-store"));
        if let Some(seconds) = self.retry_after() {
            response.insert_header((RETRY_AFTER, seconds));
        }
        response.body(self.public_json())
    }
}
