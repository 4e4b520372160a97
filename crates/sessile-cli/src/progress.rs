//! How far long work has come: on standard error, and only where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar moves that nothing pushes.
const TICK: Duration = Duration::from_millis(250);

/// A bar up to a total, which may turn out to be another; without one a count. It goes away with the last of it.
pub(crate) fn bar(what: &'static str, total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = match total {
        Some(_) => "{msg} {bar:30} {human_pos} of about {human_len}, {per_sec}, {eta} left",
        None => "{spinner} {msg} {human_pos}, {per_sec}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    if !bar.is_hidden() {
        bar.enable_steady_tick(TICK);
    }
    bar
}
