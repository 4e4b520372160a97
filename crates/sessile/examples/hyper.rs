//! Sessile without a framework: hyper 1, and the three calls that every adapter makes.
//!
//! `SESSION_SECRET=$(openssl rand -base64 32) cargo run -p sessile --example hyper`, then `curl -i -X POST
//! http://127.0.0.1:3000/sign-in/ada`. Another address may stand behind the name.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, SET_COOKIE, VARY};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sessile::{Config, Cookie, Error, Exchange, MemoryStore, RequestHead, Secure, Sessions, SetCookie};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[allow(clippy::disallowed_methods, reason = "an application reads its own environment")]
    let secret = std::env::var("SESSION_SECRET")?;
    // Plain HTTP on this machine only; leave the cookie as it is for anything else.
    let config = Config::new(secret)?.cookie(Cookie::new("sid").secure(Secure::Auto))?;
    // Any store will do; this one forgets everything with the process.
    let sessions = Sessions::new(MemoryStore::new(), config);
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        let sessions = sessions.clone();
        let service = service_fn(move |request| answer(sessions.clone(), peer, request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// What Sessile sees of a request.
struct Head<'a> {
    headers: &'a HeaderMap,
    peer: SocketAddr,
}

impl RequestHead for Head<'_> {
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.headers.get_all(name).iter().for_each(|value| visit(value.as_bytes()));
    }

    fn peer(&self) -> Option<IpAddr> {
        Some(self.peer.ip())
    }
}

/// The adapter: `begin` before the handler, `finish` after it and before the response leaves.
async fn answer(
    sessions: Sessions,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<String>, Infallible> {
    let exchange = sessions.begin(&Head { headers: request.headers(), peer });
    let response = handle(&exchange, request.method(), request.uri().path()).await;
    let response = response.unwrap_or_else(|error| failure(&error));
    Ok(match exchange.finish().await {
        Ok(None) => response,
        Ok(Some(cookie)) => with_cookie(response, &cookie),
        // What the handler answered did not happen.
        Err(error) => failure(&error),
    })
}

/// The cookie goes behind every other one, and no cache may keep the response.
fn with_cookie(mut response: Response<String>, cookie: &SetCookie) -> Response<String> {
    let Ok(mut value) = HeaderValue::from_str(cookie.header_value()) else { return response };
    value.set_sensitive(true);
    let headers = response.headers_mut();
    headers.append(SET_COOKIE, value);
    headers.append(VARY, HeaderValue::from_static("Cookie"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The error knows its status and what a client may read of it. Log the error itself where it is 500 or more.
fn failure(error: &Error) -> Response<String> {
    let mut response = Response::new(error.public_json());
    *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = error.retry_after() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The application. What it does not ask for costs nothing: the session is read when somebody wants it.
async fn handle(exchange: &Exchange, method: &Method, path: &str) -> Result<Response<String>, Error> {
    let text = match (method, path) {
        (&Method::GET, "/") => home(exchange).await?,
        (&Method::POST, "/sign-out") => sign_out(exchange).await?,
        (&Method::POST, path) if path.starts_with("/sign-in/") => sign_in(exchange, &path["/sign-in/".len()..]).await?,
        _ => return Ok(not_found()),
    };
    Ok(Response::new(text))
}

async fn home(exchange: &Exchange) -> Result<String, Error> {
    let session = exchange.session().await?;
    let owner = session.owner().ok_or_else(|| Error::unauthenticated("sign in first"))?;
    let visits: u64 = session.get("visits")?.unwrap_or(0) + 1;
    session.insert("visits", &visits)?;
    Ok(format!("visit {visits} of {owner}"))
}

async fn sign_in(exchange: &Exchange, user: &str) -> Result<String, Error> {
    // Check a password here.
    exchange.session().await?.sign_in(user)?;
    Ok(format!("welcome, {user}"))
}

async fn sign_out(exchange: &Exchange) -> Result<String, Error> {
    exchange.session().await?.end()?;
    Ok("goodbye".to_owned())
}

fn not_found() -> Response<String> {
    let mut response = Response::new("there is no such page".to_owned());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
