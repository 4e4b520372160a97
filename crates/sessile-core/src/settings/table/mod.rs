//! The table of all settings: names, meaning, and where each value goes. The profile stands first, for it gives the others
//! their defaults.

mod cookie;
mod registry;
mod session;
mod store;
mod web;

use std::time::Duration;

use crate::settings::declared::Declared;
use crate::settings::parse::Expected;

/// The settings by what they are about.
pub(super) static SECTIONS: [&[Declared]; 5] =
    [&session::DECLARED, &cookie::DECLARED, &registry::DECLARED, &web::DECLARED, &store::DECLARED];

/// Ok when it holds, else what was expected.
fn expect(holds: bool, expected: &str) -> Result<(), Expected> {
    holds.then_some(()).ok_or_else(|| expected.to_owned())
}

/// What may name a table or a schema: PostgreSQL cuts names off at 63 bytes.
fn identifier(text: &str, target: &mut String) -> Result<(), Expected> {
    let holds = (1..=63).contains(&text.len()) && !text.contains(['\0', '.']);
    expect(holds, "a name of 1 to 63 bytes without dots")?;
    *target = text.to_owned();
    Ok(())
}

fn shown<T: ToString>(value: &Option<T>, absent: &str) -> String {
    value.as_ref().map_or(absent.to_owned(), T::to_string)
}

fn in_ms(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}

fn in_ms_or_none(span: Option<Duration>) -> String {
    span.map_or("none".into(), in_ms)
}

/// Where to listen: a name or an address, and a port.
fn host_and_port(text: &str) -> Result<String, Expected> {
    let text = text.trim();
    let holds = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    expect(holds, "HOST:PORT, like 127.0.0.1:8080")?;
    Ok(text.to_owned())
}

/// A web address, as browsers and other servers are sent to it.
fn web_address(text: &str, value: &mut Option<String>) -> Result<(), Expected> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_address = host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '?', '#', ' ']));
    expect(is_address, "an address like https://shop.example.com, without user, query and fragment")?;
    *value = Some(text.into());
    Ok(())
}
