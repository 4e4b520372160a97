//! The only place that prints. A reader that goes away early, like `head`, is no failure; control characters are
//! written as escapes, because names and paths come from others and a terminal obeys them.

use std::fmt::{self, Write as _};
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use sessile::settings::SettingsError;

/// What wrong settings end with, like wrong arguments.
const WRONG_SETTINGS: u8 = 2;

/// What a store that cannot be reached ends with.
const UNAVAILABLE: u8 = 3;

/// Something that was typed or set does not fit; ends with 2.
#[derive(Debug)]
pub(crate) struct Misused(pub(crate) String);

impl fmt::Display for Misused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misused {}

/// Whether there was anything to print or to do.
#[must_use = "it decides the exit code"]
pub(crate) enum Found {
    Something,
    Nothing,
}

impl From<Found> for ExitCode {
    fn from(found: Found) -> Self {
        match found {
            Found::Something => Self::SUCCESS,
            Found::Nothing => {
                note("nothing matched");
                Self::FAILURE
            }
        }
    }
}

/// A word beside the output, for people.
pub(crate) fn note(text: &str) {
    // Where standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{}", harmless(text));
}

pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(harmless(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// Says what went wrong, with its causes, and what the process ends with.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    note(&format!("error: {error:#}"));
    let is_unavailable = error.chain().filter_map(|cause| cause.downcast_ref()).any(sessile::Error::is_unavailable);
    match (error.is::<SettingsError>() || error.is::<Misused>(), is_unavailable) {
        (true, _) => ExitCode::from(WRONG_SETTINGS),
        (_, true) => ExitCode::from(UNAVAILABLE),
        _ => ExitCode::FAILURE,
    }
}

/// Rows as aligned columns.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a `String` cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
