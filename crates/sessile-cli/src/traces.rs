//! Traces to a collector, over OTLP and HTTP: the spans of requests and of calls of the store, and nothing else, so that no
//! text of a failure or of a visitor leaves the process this way.
//!
//! The exporter has a thread of its own and knows no runtime; what it sends is sent on this process's, with the HTTP client
//! that is there already. A collector that is away costs nothing but the traces.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

/// What is sent.
const SPANS: &str = "off,sessile::trace=debug";

/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// The way to the collector. What has gathered is sent when it is dropped.
pub(crate) struct Traces(SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        // Whoever stops a server does not want to hear that the collector is away.
        let _ = self.0.shutdown();
    }
}

/// Sends spans to the collector at this address from now on.
pub(crate) fn to<S>(endpoint: &str) -> anyhow::Result<(impl Layer<S> + use<S>, Traces)>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Http::new())
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_timeout(PATIENCE)
        .build()
        .context("server.otlp_endpoint (OTEL_EXPORTER_OTLP_ENDPOINT)")?;
    let resource = Resource::builder().with_service_name("sessile").build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let layer = tracing_opentelemetry::layer().with_location(false).with_threads(false).with_tracked_inactivity(false);
    let layer = layer.with_tracer(provider.tracer("sessile")).with_filter(EnvFilter::new(SPANS));
    Ok((layer, Traces(provider)))
}

/// Requests of the exporter, on the runtime of this process.
#[derive(Clone, Debug)]
struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
}

impl Http {
    fn new() -> Self {
        let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        Self { client: Client::builder(TokioExecutor::new()).build(connector), runtime: Handle::current() }
    }

    async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.client.request(request.map(Full::new)).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LONGEST).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.clone().send(request);
        self.runtime.spawn(async move { tokio::time::timeout(PATIENCE, sent).await? }).await?
    }
}
