//! A session's data: an ordered map of key to raw JSON text.
//!
//! A row that was read keeps one copy of its text, and every key and value is a piece of it until it is changed. So a
//! read parses nothing but the outermost braces, and what another program wrote is written back byte for byte: `1E400`,
//! lone surrogates and deep nesting survive, which they would not in a tree of Rust values.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Error;

/// Deepest nesting of a row that is taken for data; a deeper one is an attack on whoever parses it next.
const MAX_DEPTH: usize = 1024;

/// An ordered map of key to raw JSON text. Later duplicates replace earlier ones in place, as in JavaScript.
#[derive(Clone, Default)]
pub struct Data {
    source: Option<Arc<str>>,
    entries: Vec<(Text, Text)>,
}

/// A piece of the text that was read, or text of its own.
#[derive(Clone)]
enum Text {
    Source(Range<usize>),
    Own(Box<str>),
}

impl Data {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// When the text is not one JSON object, or nested deeper than 1,024 levels. The message never quotes the text.
    pub fn parse(text: Arc<str>) -> Result<Self, Error> {
        check_depth(&text)?;
        let mut parser = serde_json::Deserializer::from_str(&text);
        let entries = parser
            .deserialize_map(Entries { source: &text })
            .and_then(|entries| parser.end().map(|()| entries))
            .map_err(|error| {
                Error::poisoned(format!(
                    "expected the row to be one JSON object; {:?} error at line {} column {}",
                    error.classify(),
                    error.line(),
                    error.column()
                ))
            })?;
        let mut data = Self { source: Some(text), entries };
        data.merge_duplicates();
        Ok(data)
    }

    /// The raw JSON text under this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.position(key).map(|at| self.text(&self.entries[at].1))
    }

    /// Puts raw JSON text under this key: in place if the key exists, else at the end.
    pub fn insert(&mut self, key: &str, json: impl Into<Box<str>>) {
        let value = Text::Own(json.into());
        match self.position(key) {
            Some(at) => self.entries[at].1 = value,
            None => self.entries.push((Text::Own(key.into()), value)),
        }
    }

    /// Puts raw JSON text under this key: in place if the key exists, else before everything.
    pub(crate) fn insert_first(&mut self, key: &str, json: impl Into<Box<str>>) {
        match self.position(key) {
            Some(_) => self.insert(key, json),
            None => self.entries.insert(0, (Text::Own(key.into()), Text::Own(json.into()))),
        }
    }

    /// Removes the key; says whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let found = self.position(key);
        if let Some(at) = found {
            self.entries.remove(at);
        }
        found.is_some()
    }

    /// Removes every key that the test refuses.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let Self { source, entries } = self;
        entries.retain(|(key, _)| keep(key.resolve(source.as_deref())));
    }

    /// Keys and raw JSON texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.entries.iter().map(|(key, value)| (self.text(key), self.text(value)))
    }

    /// The data as the JSON text of one object.
    pub fn to_json(&self) -> String {
        written(self.iter())
    }

    /// The same, without this key.
    pub(crate) fn to_json_without(&self, left_out: &str) -> String {
        written(self.iter().filter(|(key, _)| *key != left_out))
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.entries.iter().position(|(own, _)| self.text(own) == key)
    }

    fn text<'a>(&'a self, text: &'a Text) -> &'a str {
        text.resolve(self.source.as_deref())
    }

    fn merge_duplicates(&mut self) {
        // A few keys are sooner compared than hashed, and a row has a few.
        let is_again =
            |at: usize| self.entries[..at].iter().any(|(own, _)| self.text(own) == self.text(&self.entries[at].0));
        if self.entries.len() <= 16 && !(1..self.entries.len()).any(is_again) {
            return;
        }
        let mut first_at: HashMap<&str, usize> = HashMap::new();
        let mut duplicates = Vec::new();
        for (at, (key, _)) in self.entries.iter().enumerate() {
            let key = key.resolve(self.source.as_deref());
            match first_at.get(key) {
                Some(&first) => duplicates.push((first, at)),
                None => drop(first_at.insert(key, at)),
            }
        }
        for &(first, again) in &duplicates {
            self.entries[first].1 = self.entries[again].1.clone();
        }
        for &(_, again) in duplicates.iter().rev() {
            self.entries.remove(again);
        }
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len() && self.iter().eq(other.iter())
    }
}

/// Keys only: a value may be anything a user told the application.
impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(key, _)| key)).finish()
    }
}

/// The JSON text of an object with these keys and raw values.
fn written<'a>(entries: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> String {
    let size: usize = entries.clone().map(|(key, value)| key.len() + value.len() + 4).sum();
    let mut out = String::with_capacity(size + 2);
    out.push('{');
    for (at, (key, value)) in entries.enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_json_string(&mut out, key);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    out
}

impl Text {
    fn resolve<'a>(&'a self, source: Option<&'a str>) -> &'a str {
        match self {
            Self::Own(text) => text,
            Self::Source(range) => source.and_then(|source| source.get(range.clone())).unwrap_or_default(),
        }
    }
}

struct Entries<'a> {
    source: &'a str,
}

impl<'de> Visitor<'de> for Entries<'de> {
    type Value = Vec<(Text, Text)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::with_capacity(8);
        while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            let key = match key {
                std::borrow::Cow::Borrowed(key) => self.piece(key),
                std::borrow::Cow::Owned(key) => Text::Own(key.into()),
            };
            entries.push((key, self.piece(value.get())));
        }
        Ok(entries)
    }
}

impl Entries<'_> {
    /// Where this piece lies in the source it was borrowed from.
    fn piece(&self, part: &str) -> Text {
        let start = part.as_ptr().addr() - self.source.as_ptr().addr();
        Text::Source(start..start + part.len())
    }
}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

/// Appends a JSON string as `JSON.stringify` would write it.
fn push_json_string(out: &mut String, text: &str) {
    // A string always serialises.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

fn check_depth(text: &str) -> Result<(), Error> {
    if text.len() <= 2 * MAX_DEPTH || depth(text) <= MAX_DEPTH {
        return Ok(());
    }
    Err(Error::poisoned(format!("expected a row nested at most {MAX_DEPTH} levels deep, found a deeper one")))
}

fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Data {
        Data::parse(text.into()).unwrap()
    }

    #[test]
    fn what_was_read_is_written_back_byte_for_byte() {
        for text in [
            r#"{"cookie":{"path":"/"},"a":1E400,"b":"\ud83d","é":[ 1,  2 ],"n":-0.0,"big":12345678901234567890123}"#,
            r#"{"":null,"a\"b":"\u0000","__proto__":{}}"#,
            "{}",
        ] {
            assert_eq!(parse(text).to_json(), text);
        }
    }

    #[test]
    fn edits_keep_the_order_and_the_neighbours() {
        let mut data = parse(r#"{"a": 1,"b":{"x" : 2},"c":3}"#);
        data.insert("b", "true");
        data.insert("d", "4");
        assert!(data.remove("a"));
        assert!(!data.remove("a"));
        data.insert_first("z", "0");
        assert_eq!(data.to_json(), r#"{"z":0,"b":true,"c":3,"d":4}"#);
        assert_eq!(data.get("c"), Some("3"));
        assert_eq!(data.get("a"), None);
    }

    #[test]
    fn the_last_of_several_equal_keys_counts_in_the_place_of_the_first() {
        assert_eq!(parse(r#"{"a":1,"b":2,"a":3,"a":4}"#).to_json(), r#"{"a":4,"b":2}"#);
    }

    #[test]
    fn what_is_not_one_object_is_poisoned_and_not_quoted() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        for text in ["", "null", "[]", "secret", "{\"secret\":", "{} secret", "\"secret\"", &deep] {
            let error = Data::parse(text.into()).unwrap_err();
            assert!(error.is_poisoned());
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn brackets_inside_strings_are_not_depth() {
        let text = format!("{{\"a\":\"{}\\\"[\"}}", "[".repeat(5_000));
        assert_eq!(parse(&text).to_json(), text);
    }

    #[test]
    fn debug_shows_keys_and_no_values() {
        assert_eq!(format!("{:?}", parse(r#"{"card":"4111"}"#)), r#"{"card"}"#);
    }
}
