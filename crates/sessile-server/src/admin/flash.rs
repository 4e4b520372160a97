//! What was just done, said once on the page that follows. It is kept in the dashboard's own session, so no address can make a
//! page say it.

use sessile_core::{Error, Exchange};

/// Leaves a sentence for the page at this path.
pub(super) async fn leave(exchange: &Exchange, path: &str, sentence: &str) -> Result<(), Error> {
    exchange.session().await?.flash(path, sentence)
}

/// What was left for the page at this path; it is said this once, and what was left for another is dropped.
pub(super) async fn take(exchange: &Exchange, path: &str) -> Result<Option<String>, Error> {
    if !exchange.has_cookie() {
        return Ok(None);
    }
    let left = exchange.session().await?.take_flashes()?;
    Ok(left.into_iter().rfind(|flash| flash.kind == path).map(|flash| flash.text))
}
