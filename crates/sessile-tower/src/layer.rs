//! The layer: begin before the inner service, finish after it and before the response leaves.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SET_COOKIE, VARY};
use http::{Extensions, HeaderMap, Request, Response, StatusCode};
use sessile_core::{Error, RequestHead, Sessions, SetCookie};
use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument as _;

/// Gives the handlers inside it their session.
///
/// A request costs nothing until a handler asks for its session, and then one read. What the handler changed is
/// committed before the response leaves. When that fails the response is replaced: 503 with `Retry-After` when the
/// store is down.
///
/// Serve with `into_make_service_with_connect_info::<SocketAddr>()` where a trusted proxy's headers count: without the
/// peer's address nobody is trusted.
#[derive(Clone, Debug)]
pub struct SessionLayer {
    sessions: Sessions,
}

impl SessionLayer {
    /// A layer over these sessions.
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { sessions: self.sessions.clone(), inner }
    }
}

/// What [`SessionLayer`] makes of a service.
#[derive(Clone)]
pub struct SessionService<S> {
    sessions: Sessions,
    inner: S,
}

impl<S> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

impl<S, Req, Res> Service<Request<Req>> for SessionService<S>
where
    S: Service<Request<Req>, Response = Response<Res>> + Clone + Send + 'static,
    S::Future: Send,
    Req: Send + 'static,
    Res: From<String> + Send,
{
    type Response = Response<Res>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Req>) -> Self::Future {
        let exchange = self.sessions.begin(&Head { headers: request.headers(), extensions: request.extensions() });
        request.extensions_mut().insert(exchange.clone());
        // The service that was polled ready must be the one that is called.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let span = exchange.span().clone();
        let response = async move {
            let mut response = inner.call(request).await?;
            match exchange.finish().await {
                Ok(None) => {}
                Ok(Some(cookie)) => add_cookie(response.headers_mut(), &cookie),
                Err(error) => response = failure(&error),
            }
            Ok(response)
        };
        Box::pin(response.instrument(span))
    }
}

struct Head<'a> {
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl RequestHead for Head<'_> {
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.headers.get_all(name).iter().for_each(|value| visit(value.as_bytes()));
    }

    #[cfg(feature = "axum")]
    fn peer(&self) -> Option<IpAddr> {
        use axum::extract::ConnectInfo;
        self.extensions.get::<ConnectInfo<std::net::SocketAddr>>().map(|info| info.0.ip())
    }

    #[cfg(not(feature = "axum"))]
    fn peer(&self) -> Option<IpAddr> {
        self.extensions.get::<std::net::SocketAddr>().map(std::net::SocketAddr::ip)
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
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The response that replaces one whose session could not be written.
fn failure<Res: From<String>>(error: &Error) -> Response<Res> {
    // A poisoned row was logged, with its handle, where it was found.
    if error.status() >= 500 && !error.is_poisoned() {
        tracing::error!(?error, "a request's session could not be written; its response is replaced");
    }
    let mut response = Response::new(Res::from(error.public_json()));
    *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = error.retry_after() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}
