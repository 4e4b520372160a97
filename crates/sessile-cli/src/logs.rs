//! The log of a server, on standard error: lines for people, or an object on each line for whatever collects them. And its
//! traces, where they go anywhere.

use std::io::IsTerminal as _;

use sessile::settings::{LogFormat, Server};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

#[cfg(feature = "otlp")]
use crate::traces::{self, Traces};

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Without the feature there is nowhere to send traces to.
#[cfg(not(feature = "otlp"))]
pub(crate) struct Traces;

/// Starts the log, with times in UTC, and the traces, which are sent as long as what is returned lives.
pub(crate) fn start(server: &Server) -> anyhow::Result<Option<Traces>> {
    let (mut layers, mut guard) = (vec![lines(server.log_format)], None);
    if let Some(endpoint) = &server.otlp_endpoint {
        let (layer, traces) = traces_to(endpoint)?;
        layers.extend(layer);
        guard = traces;
    }
    Registry::default().with(layers).init();
    if server.otlp_endpoint.is_some() && guard.is_none() {
        tracing::warn!(
            "server.otlp_endpoint is set and this command cannot send traces; build it with the feature otlp"
        );
    }
    Ok(guard)
}

#[cfg(feature = "otlp")]
fn traces_to(endpoint: &str) -> anyhow::Result<(Option<BoxedLayer>, Option<Traces>)> {
    let (layer, traces) = traces::to(endpoint)?;
    Ok((Some(layer.boxed()), Some(traces)))
}

#[cfg(not(feature = "otlp"))]
#[allow(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
fn traces_to(_endpoint: &str) -> anyhow::Result<(Option<BoxedLayer>, Option<Traces>)> {
    Ok((None, None))
}

fn lines(format: LogFormat) -> BoxedLayer {
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter()).boxed(),
        LogFormat::Json => {
            let json = fmt::format().json().flatten_event(true).with_current_span(false).with_span_list(true);
            lines.with_ansi(false).event_format(json).fmt_fields(JsonFields::new()).with_filter(filter()).boxed()
        }
    }
}

/// The level is `RUST_LOG`'s, else `info`.
fn filter() -> EnvFilter {
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy()
}
