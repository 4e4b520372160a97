//! The log of a server, on standard error: lines for people, or an object on each line for whatever collects them. And its
//! traces, where they go anywhere.

use std::io::IsTerminal as _;

use serde_json::json;
use sessile::settings::{LogFormat, Server, variable};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::output;
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
    for part in Levels::of_environment().unknown {
        tracing::warn!(
            part,
            "a part of RUST_LOG is left out; expected a level, or a target and a level like sessile=debug"
        );
    }
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

/// What somebody has to know whatever the levels are: a line like the others, and written once.
pub(crate) fn tell(format: LogFormat, message: &str) {
    match format {
        LogFormat::Text => output::note(message),
        LogFormat::Json => {
            let timestamp = format!("{:.6}", jiff::Timestamp::now());
            let line = json!({ "timestamp": timestamp, "level": "WARN", "message": message, "target": module_path!() });
            output::note(&line.to_string());
        }
    }
}

/// The levels are `RUST_LOG`'s, else `info`.
fn filter() -> EnvFilter {
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    builder.parse_lossy(Levels::of_environment().known)
}

/// `RUST_LOG`, and which parts of it nobody understands.
struct Levels {
    known: String,
    unknown: Vec<String>,
}

impl Levels {
    fn of_environment() -> Self {
        let text = variable("RUST_LOG").unwrap_or_default();
        if EnvFilter::builder().parse(&text).is_ok() {
            return Self { known: text, unknown: Vec::new() };
        }
        let parts = text.split(',').map(str::to_owned);
        let (known, unknown): (Vec<_>, _) = parts.partition(|part| part.parse::<Directive>().is_ok());
        Self { known: known.join(","), unknown }
    }
}
