//! `sessile.toml` to texts, each with its line. What the texts mean is said in one place for all sources.

use std::collections::BTreeMap;
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

/// Reads TOML. Where the syntax is broken the rest is read all the same, as far as the parser finds its way; what it
/// makes of the broken lines does not count.
pub(super) fn read(path: &Path, text: &str) -> Contents {
    let (table, errors) = DeTable::parse_recoverable(text);
    let line = |at: usize| text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
    // The parser's own rendering quotes the line, which may hold a secret. It often stumbles on over the rest of a line,
    // so the first fault of each is told.
    let mut broken = BTreeMap::new();
    for error in &errors {
        broken.entry(line(error.span().map_or(0, |span| span.start))).or_insert_with(|| error.message());
    }
    let mut contents = Contents { is_broken: !errors.is_empty(), ..Contents::default() };
    contents.problems.extend(broken.iter().map(|(line, message)| {
        let origin = Origin::File(path.to_owned(), *line);
        Problem::between([], format!("{origin} is not TOML: {message}"))
    }));
    let origin = |at: usize| {
        Some(line(at)).filter(|line| !broken.contains_key(line)).map(|line| Origin::File(path.to_owned(), line))
    };
    walk(table.get_ref(), "", &origin, &mut contents);
    contents
}

/// `origin` is `None` for what stands on a broken line.
fn walk(table: &DeTable<'_>, prefix: &str, origin: &dyn Fn(usize) -> Option<Origin>, contents: &mut Contents) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        if let DeValue::Table(table) = value.get_ref() {
            walk(table, &format!("{path}."), origin, contents);
            continue;
        }
        let Some(origin) = origin(key.span().start) else { continue };
        match written(value.get_ref()) {
            Ok(value) => contents.values.push((path, value, origin)),
            Err(found) => {
                let message = format!("expected a text, a whole number, true or false; found {found}");
                contents.problems.push(Problem::new(path, origin, message));
            }
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
