//! The middleware: begin before the inner service, finish after it and before the response leaves.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, SET_COOKIE, VARY};
use actix_web::{Error, HttpMessage as _, HttpResponse, ResponseError};
use sessile_core::{Exchange, RequestHead, Sessions, SetCookie};
use tracing::Instrument as _;

/// Gives the handlers inside it their session.
///
/// A request costs nothing until a handler asks for its session, and then one read. What the handler changed is
/// committed before the response leaves. When that fails the response is replaced: 503 with `Retry-After` when the
/// store is down.
///
/// Make the [`Sessions`] once and give each worker a clone: instances that do not share them do not share turns.
#[derive(Clone, Debug)]
pub struct SessionMiddleware {
    sessions: Sessions,
}

impl SessionMiddleware {
    /// A middleware over these sessions.
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }
}

impl<S, B> Transform<S, ServiceRequest> for SessionMiddleware
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = SessionService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(SessionService { sessions: self.sessions.clone(), inner: Rc::new(service) }))
    }
}

/// What [`SessionMiddleware`] makes of a service.
pub struct SessionService<S> {
    sessions: Sessions,
    inner: Rc<S>,
}

impl<S> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

impl<S, B> Service<ServiceRequest> for SessionService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let exchange = self.sessions.begin(&Head(&request));
        request.extensions_mut().insert(exchange.clone());
        let (inner, span) = (self.inner.clone(), exchange.span().clone());
        let response = async move {
            match inner.call(request).await {
                Ok(response) => Ok(finished(&exchange, response).await),
                Err(error) => Err(failed(&exchange, error).await),
            }
        };
        Box::pin(response.instrument(span))
    }
}

async fn finished<B>(exchange: &Exchange, mut response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B>> {
    match exchange.finish().await {
        Ok(None) => {}
        Ok(Some(cookie)) => add_cookie(response.headers_mut(), &cookie),
        Err(error) => return response.into_response(error.error_response().map_into_right_body()),
    }
    response.map_into_left_body()
}

/// A middleware further in gave up, and actix-web makes the response of its error: the cookie goes with that.
async fn failed(exchange: &Exchange, error: Error) -> Error {
    match exchange.finish().await {
        Ok(None) => error,
        Ok(Some(cookie)) => WithCookie { error, cookie }.into(),
        Err(error) => error.into(),
    }
}

struct Head<'a>(&'a ServiceRequest);

impl RequestHead for Head<'_> {
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.0.headers().get_all(name).for_each(|value| visit(value.as_bytes()));
    }

    /// Of the connection: what the client says in its headers is judged in `sessile-core`.
    fn peer(&self) -> Option<IpAddr> {
        self.0.peer_addr().map(|peer: SocketAddr| peer.ip())
    }

    fn is_tls(&self) -> bool {
        self.0.app_config().secure()
    }
}

fn add_cookie(headers: &mut HeaderMap, cookie: &SetCookie) {
    let Ok(mut value) = HeaderValue::from_str(cookie.header_value()) else {
        tracing::error!("the session cookie could not be sent: its attributes are not ASCII");
        return;
    };
    value.set_sensitive(true);
    headers.append(SET_COOKIE, value);
    headers.append(VARY, HeaderValue::from_static("Cookie"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// An error whose response carries the session's cookie too.
#[derive(Debug)]
struct WithCookie {
    error: Error,
    cookie: SetCookie,
}

impl fmt::Display for WithCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for WithCookie {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.error.error_response();
        add_cookie(response.headers_mut(), &self.cookie);
        response
    }
}
