//! The only place that prints. A reader that goes away early, like `head`, is no failure. What others wrote, like names and
//! paths, is made harmless first, because a terminal obeys control characters and a reader's eye obeys invisible ones.
//! Colours are for terminals whose user did not say `NO_COLOR`, and nothing is said by a colour alone.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::LazyLock;

use anstyle::{AnsiColor, Style};
use serde_json::Value;
use sessile::settings::{SettingsError, variable};

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

/// Whether there was anything to print or to do, and all is well.
#[must_use = "it decides the exit code"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Something,
    Nothing,
    /// A check failed, and that is said already.
    Fault,
    /// The store cannot be reached, and that is said already.
    Unreachable,
}

impl From<Found> for ExitCode {
    fn from(found: Found) -> Self {
        match found {
            Found::Something => Self::SUCCESS,
            Found::Nothing => {
                note("nothing matched");
                Self::FAILURE
            }
            Found::Fault => Self::FAILURE,
            Found::Unreachable => Self::from(UNAVAILABLE),
        }
    }
}

/// How a piece of text stands out on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Head,
    Faint,
    Good,
    Warning,
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Head => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Good => colour(AnsiColor::Green),
            Self::Warning => colour(AnsiColor::Yellow),
            Self::Bad => colour(AnsiColor::Red).bold(),
        }
    }
}

/// Text for standard output, in which no escape is anybody's but ours.
#[derive(Default)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn say(&mut self, text: &str) -> &mut Self {
        self.0.push_str(&harmless(text));
        self
    }

    pub(crate) fn paint(&mut self, tone: Tone, text: &str) -> &mut Self {
        self.0.push_str(&painted(tone, text, *COLOURS));
        self
    }

    pub(crate) fn append(&mut self, other: Self) -> &mut Self {
        self.0.push_str(&other.0);
        self
    }

    /// One value on a line of its own.
    pub(crate) fn json(value: &Value) -> Self {
        Self(format!("{}\n", harmless_json(&value.to_string())))
    }

    pub(crate) fn print(&self) -> anyhow::Result<()> {
        write(self.0.as_bytes()).map(drop)
    }

    /// The same, and says whether anybody still reads: for what would be printed without end.
    pub(crate) fn print_to_reader(&self) -> anyhow::Result<bool> {
        write(self.0.as_bytes())
    }
}

static COLOURS: LazyLock<bool> = LazyLock::new(|| are_colours_wanted(io::stdout().is_terminal()));

fn are_colours_wanted(is_terminal: bool) -> bool {
    is_terminal && variable("NO_COLOR").is_none() && variable("TERM").as_deref() != Some("dumb")
}

fn painted(tone: Tone, text: &str, colours: bool) -> String {
    let style = if colours { tone.style() } else { Style::new() };
    format!("{style}{}{style:#}", harmless(text))
}

/// A word beside the output, for people.
pub(crate) fn note(text: &str) {
    // Where standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{}", harmless(text));
}

/// Something that goes on, but that somebody has to know.
pub(crate) fn warn(text: &str) {
    beside(Tone::Warning, "warning", text);
}

fn beside(tone: Tone, what: &str, text: &str) {
    let head = painted(tone, &format!("{what}:"), are_colours_wanted(io::stderr().is_terminal()));
    let _ = writeln!(io::stderr(), "{head} {}", harmless(text));
}

pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    write(harmless(text).as_bytes()).map(drop)
}

/// One value on a line of its own.
pub(crate) fn print_json(value: &Value) -> anyhow::Result<()> {
    Text::json(value).print()
}

/// What a program reads that understands nothing else: a script for a shell, a page for `man`.
pub(crate) fn print_as_it_is(bytes: &[u8]) -> anyhow::Result<()> {
    write(bytes).map(drop)
}

fn write(bytes: &[u8]) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        done => Ok(done.map(|()| true)?),
    }
}

/// How wide the terminal is; `None` where the output goes elsewhere.
pub(crate) fn width() -> Option<u16> {
    console::Term::stdout().size_checked().map(|(_, columns)| columns).filter(|_| io::stdout().is_terminal())
}

/// Wipes the terminal, for a screen that is drawn again and again. Elsewhere one screen follows the other.
pub(crate) fn clear() -> anyhow::Result<()> {
    if io::stdout().is_terminal() { Ok(console::Term::stdout().clear_screen()?) } else { Ok(()) }
}

/// Says what went wrong, with its causes, and what the process ends with.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    beside(Tone::Bad, "error", &format!("{error:#}"));
    match (is_misuse(error), is_unavailable(error)) {
        (true, _) => ExitCode::from(WRONG_SETTINGS),
        (_, true) => ExitCode::from(UNAVAILABLE),
        _ => ExitCode::FAILURE,
    }
}

/// What was typed or set does not fit, in our own eyes or in the store's.
fn is_misuse(error: &anyhow::Error) -> bool {
    let in_the_stores = |error: &sessile::Error| error.is_config() || error.is_value();
    let from_the_store = error.chain().filter_map(|cause| cause.downcast_ref()).any(in_the_stores);
    error.is::<SettingsError>() || error.is::<Misused>() || from_the_store
}

pub(crate) fn is_unavailable(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref()).any(sessile::Error::is_unavailable)
}

/// Text for people: what a terminal would obey, and what nobody would see, is written as an escape.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_tricky(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// The same for one cell, which has no lines.
pub(crate) fn harmless_cell(text: &str) -> String {
    harmless(text).replace('\n', "\\n")
}

/// The same in JSON's own way, so that it means what it meant. Outside strings there is nothing to escape.
fn harmless_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_tricky(c) {
            out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// Control characters, and format characters that turn the direction of text, have no width, or end a line.
fn is_tricky(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const EVIL: &str = "a\u{1b}[2J\u{9b}\u{202e}b\u{200b}\u{feff}\u{e0041}\u{7f}é漢";

    #[test]
    fn what_a_terminal_would_obey_and_what_nobody_would_see_is_escaped() {
        let shown = harmless(EVIL);
        assert_eq!(shown, "a\\u{1b}[2J\\u{9b}\\u{202e}b\\u{200b}\\u{feff}\\u{e0041}\\u{7f}é漢");
        assert_eq!(harmless_cell("two\nlines"), "two\\nlines");
    }

    #[test]
    fn in_json_it_still_means_the_same() {
        let shown = harmless_json(&Value::from(EVIL).to_string());
        assert!(!shown.chars().any(is_tricky), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), EVIL);
    }

    #[test]
    fn colours_are_around_the_text_and_only_where_they_are_wanted() {
        assert_eq!(painted(Tone::Bad, "x\u{1b}", true), "\u{1b}[1m\u{1b}[31mx\\u{1b}\u{1b}[0m");
        assert_eq!(painted(Tone::Bad, "x", false), "x");
        assert!(!are_colours_wanted(false));
    }
}
