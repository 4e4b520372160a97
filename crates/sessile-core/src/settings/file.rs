//! `sessile.toml` to texts, each with its line. What the texts mean is said in one place for all sources.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Origin, Problem};

/// A value as it was written.
#[derive(Clone)]
pub(super) enum Written {
    /// One text; where a list is wanted, its items stand between commas.
    Text(String),
    /// An array of texts, each exactly as it stands.
    List(Vec<String>),
}

/// What a file says: paths with their values, and what could not be read.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) values: Vec<(String, Written, Origin)>,
    pub(super) problems: Vec<Problem>,
    /// Whether the syntax is broken, so that something may be missing from the values.
    pub(super) is_broken: bool,
}

/// Reads TOML. Where the syntax is broken the rest is read all the same.
pub(super) fn read(path: &Path, text: &str) -> Contents {
    let (table, errors) = DeTable::parse_recoverable(text);
    let line = |at: usize| text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
    let origin = |at: usize| Origin::File(path.to_owned(), line(at));
    let mut contents = Contents { is_broken: !errors.is_empty(), ..Contents::default() };
    // The parser's own rendering quotes the line, which may hold a secret. One fault a line is told; the parser often
    // stumbles on over the rest of it.
    let mut told = None;
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        if told.replace(line(at)) != Some(line(at)) {
            let message = format!("{} is not TOML: {}", origin(at), error.message());
            contents.problems.push(Problem::between([], message));
        }
    }
    walk(table.get_ref(), "", &origin, &mut contents);
    contents
}

fn walk(table: &DeTable<'_>, prefix: &str, origin: &dyn Fn(usize) -> Origin, contents: &mut Contents) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        let origin_here = origin(key.span().start);
        match value.get_ref() {
            DeValue::Table(table) => walk(table, &format!("{path}."), origin, contents),
            other => match written(other) {
                Ok(value) => contents.values.push((path, value, origin_here)),
                Err(found) => {
                    let message = format!("expected a text, a whole number, true or false; found {found}");
                    contents.problems.push(Problem::new(path, origin_here, message));
                }
            },
        }
    }
}

/// The value as it would stand in an environment variable, or the type that no setting has.
fn written(value: &DeValue<'_>) -> Result<Written, &'static str> {
    match value {
        DeValue::String(text) => Ok(Written::Text(text.to_string())),
        DeValue::Integer(number) => Ok(Written::Text(
            // Too large a number stays as it is, for the setting to refuse.
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or(number.to_string(), |number| number.to_string()),
        )),
        DeValue::Boolean(truth) => Ok(Written::Text(truth.to_string())),
        DeValue::Array(items) => items.iter().map(text_of).collect::<Result<_, _>>().map(Written::List),
        DeValue::Float(_) => Err("a number with a fraction"),
        DeValue::Datetime(_) => Err("a date or time"),
        DeValue::Table(_) => Err("a table"),
    }
}

fn text_of(item: &Spanned<DeValue<'_>>) -> Result<String, &'static str> {
    item.get_ref().as_str().map(str::to_owned).ok_or("an array with something other than texts")
}
