//! HTTP to the provider: certificates verified, redirects not followed, so much time and so many bytes and no more. A
//! redirect could lead into the network behind this server (SSRF), and no endpoint of a provider needs one.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use sessile_core::Error;
use url::{Host, Url};

use crate::LoginError;

/// How much of the provider is waited for and read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From connecting to the last byte.
    pub(crate) time: Duration,
    pub(crate) bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(10), bytes: 1024 * 1024 }
    }
}

/// Cloning gives another view of the same connections.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    limits: Limits,
}

/// A request, as far as they differ.
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a Url,
    /// What is asked for, in words for errors.
    pub(crate) what: &'static str,
    pub(crate) authorization: Option<String>,
    /// What is posted, as a form.
    pub(crate) form: Option<String>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Http {
    /// Trusts these authorities, or those of the public web.
    pub(crate) fn new(roots: Option<&[CertificateDer<'static>]>, limits: Limits) -> Result<Self, Error> {
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::config("TLS could not be set up").with_source(error))?
            .with_root_certificates(root_store(roots)?)
            .with_no_client_auth();
        // Plain http is for loopback addresses; which URL may be asked is decided where it is learned.
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), limits })
    }

    /// The answer, whatever its status is, unless that is a redirect.
    pub(crate) async fn send(&self, ask: Ask<'_>) -> Result<Answer, LoginError> {
        let Ask { what, url, .. } = ask;
        let limit = self.limits.time;
        match tokio::time::timeout(limit, self.exchange(ask)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(LoginError::unreachable(format!("expected {what} from {url} within {limit:?}, found no end of it")))
            }
        }
    }

    async fn exchange(&self, ask: Ask<'_>) -> Result<Answer, LoginError> {
        let (what, url) = (ask.what, ask.url.clone());
        let unreachable = |error: Box<dyn std::error::Error + Send + Sync>| {
            LoginError::unreachable(format!("{what} could not be fetched from {url}")).with_source(error)
        };
        let response = self.client.request(request(ask)?).await.map_err(|error| unreachable(error.into()))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(LoginError::provider(format!(
                "expected {what} at {url}, found a redirect ({status}); redirects are not followed"
            )));
        }
        let limit = self.limits.bytes;
        let body = Limited::new(response.into_body(), limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                LoginError::provider(format!("expected {what} at {url} to have at most {limit} bytes, found more"))
            } else {
                unreachable(error)
            }
        })?;
        Ok(Answer { status: status.as_u16(), body: body.to_bytes() })
    }

    /// A document that is there for everybody.
    pub(crate) async fn document(&self, what: &'static str, url: &Url) -> Result<serde_json::Value, LoginError> {
        self.send(Ask { url, what, authorization: None, form: None }).await?.document(what, url)
    }
}

impl Answer {
    /// The body as JSON, of an answer that says yes.
    pub(crate) fn document(&self, what: &'static str, url: &Url) -> Result<serde_json::Value, LoginError> {
        match self.status {
            200 => self.json(what, url),
            status @ 500.. => {
                Err(LoginError::unreachable(format!("expected {what} at {url}, found the status {status}")))
            }
            status => Err(LoginError::provider(format!("expected {what} at {url}, found the status {status}"))),
        }
    }

    pub(crate) fn json(&self, what: &'static str, url: &Url) -> Result<serde_json::Value, LoginError> {
        // The parser's own words repeat what they are about.
        serde_json::from_slice(&self.body)
            .map_err(|_| LoginError::provider(format!("expected {what} at {url} to be JSON, found something else")))
    }
}

fn request(ask: Ask<'_>) -> Result<Request<Full<Bytes>>, LoginError> {
    let method = if ask.form.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder()
        .method(method)
        .uri(ask.url.as_str())
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("sessile-oidc/", env!("CARGO_PKG_VERSION")));
    if ask.form.is_some() {
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    if let Some(authorization) = ask.authorization.and_then(|text| HeaderValue::try_from(text).ok()) {
        let mut authorization = authorization;
        authorization.set_sensitive(true);
        request = request.header(AUTHORIZATION, authorization);
    }
    request
        .body(Full::from(ask.form.unwrap_or_default()))
        .map_err(|error| LoginError::provider(format!("{} is no address to ask", ask.url)).with_source(error))
}

fn root_store(roots: Option<&[CertificateDer<'static>]>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    let Some(roots) = roots else {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(store);
    };
    for root in roots {
        store.add(root.clone()).map_err(|error| {
            Error::config("expected certificates of authorities, found one that is not").with_source(error)
        })?;
    }
    Ok(store)
}

/// Whether requests to this address may go out: over TLS, or to this host itself where the issuer is on it too.
pub(crate) fn may_ask(url: &Url, issuer: &Url) -> bool {
    let is_local = |url: &Url| url.scheme() == "http" && is_loopback(url);
    url.username().is_empty() && url.password().is_none() && (is_https(url) || is_local(url) && is_local(issuer))
}

pub(crate) fn is_https(url: &Url) -> bool {
    url.scheme() == "https" && url.host().is_some()
}

/// Whether the host is this one, by name or number.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => Ipv4Addr::is_loopback(&ip),
        Some(Host::Ipv6(ip)) => Ipv6Addr::is_loopback(&ip),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_host() {
        let url = |text: &str| Url::parse(text).unwrap();
        let cases = [
            ("https://a.example/x", "https://a.example", true),
            ("https://other.example/x", "https://a.example", true),
            ("http://a.example/x", "https://a.example", false),
            ("http://127.0.0.1:1/x", "https://a.example", false),
            ("http://127.0.0.1:1/x", "http://127.0.0.1:2", true),
            ("http://[::1]:1/x", "http://localhost:2", true),
            ("http://10.0.0.1/x", "http://127.0.0.1", false),
            ("http://localhost.evil.example/x", "http://localhost", false),
            ("https://user:pass@a.example/x", "https://a.example", false),
            ("file:///etc/passwd", "http://localhost", false),
            ("ftp://localhost/x", "http://localhost", false),
        ];
        for (asked, issuer, expected) in cases {
            assert_eq!(may_ask(&url(asked), &url(issuer)), expected, "{asked} for {issuer}");
        }
    }
}
