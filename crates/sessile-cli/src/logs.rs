//! The log of a server, on standard error: lines for people, or an object on each line for whatever collects them.

use std::io::IsTerminal as _;

use sessile::settings::{LogFormat, Server};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt};

/// Starts the log. Times are in UTC.
pub(crate) fn start(server: &Server) -> anyhow::Result<()> {
    let lines = match server.log_format {
        LogFormat::Text => fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).boxed(),
        LogFormat::Json => {
            let json = fmt::format().json().flatten_event(true).with_current_span(false).with_span_list(true);
            fmt::layer().event_format(json).fmt_fields(JsonFields::new()).with_writer(std::io::stderr).boxed()
        }
    };
    Registry::default().with(lines.with_filter(filter())).init();
    Ok(())
}

/// The level is `RUST_LOG`'s, else `info`.
fn filter() -> EnvFilter {
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy()
}
