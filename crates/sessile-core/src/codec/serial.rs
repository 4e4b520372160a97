//! How Go writes a string into a cookie: as gob, or as JSON.

/// How an id is written before it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serializer {
    /// As a gob string: securecookie's default.
    Gob,
    /// As a JSON string with a line break behind it: securecookie's `JSONEncoder`.
    Json,
}

/// The id of the type string in a gob stream, and the byte that stands before a value that is no struct.
const GOB_STRING: [u8; 2] = [0x0c, 0x00];

impl Serializer {
    pub(super) fn write(self, text: &str) -> Vec<u8> {
        match self {
            Self::Gob => gob(text),
            Self::Json => json(text),
        }
    }

    /// The string in these bytes; `None` for what is not one.
    pub(super) fn read(self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Gob => gob_string(bytes),
            Self::Json => serde_json::Deserializer::from_slice(bytes).into_iter().next()?.ok(),
        }
    }
}

fn gob(text: &str) -> Vec<u8> {
    let mut message = GOB_STRING.to_vec();
    push_uint(&mut message, text.len());
    message.extend_from_slice(text.as_bytes());
    let mut out = Vec::with_capacity(message.len() + 4);
    push_uint(&mut out, message.len());
    out.append(&mut message);
    out
}

/// One byte below 128; above, how many bytes follow, negated, and those, the highest first.
fn push_uint(out: &mut Vec<u8>, number: usize) {
    let bytes = number.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|&&byte| byte == 0).count()..];
    match *significant {
        [] => out.push(0),
        [small] if small < 128 => out.push(small),
        // At most eight, so it fits.
        _ => {
            out.push(u8::MAX - (significant.len() as u8 - 1));
            out.extend_from_slice(significant);
        }
    }
}

fn gob_string(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    let length = take_uint(&mut rest)?;
    let mut message = rest.get(..length)?.strip_prefix(&GOB_STRING)?;
    let length = take_uint(&mut message)?;
    let text = message.get(..length).filter(|text| text.len() == message.len())?;
    String::from_utf8(text.to_vec()).ok()
}

fn take_uint(rest: &mut &[u8]) -> Option<usize> {
    let (&first, after) = rest.split_first()?;
    if first < 128 {
        *rest = after;
        return Some(usize::from(first));
    }
    let (number, after) = after.split_at_checked(usize::from(u8::MAX - first) + 1)?;
    let mut bytes = [0; size_of::<usize>()];
    bytes.get_mut(size_of::<usize>().checked_sub(number.len())?..)?.copy_from_slice(number);
    *rest = after;
    Some(usize::from_be_bytes(bytes))
}

/// As Go's `encoding/json` writes it, which also escapes what means something to HTML and JavaScript.
fn json(text: &str) -> Vec<u8> {
    let mut out = serde_json::Value::from(text).to_string();
    for (plain, escaped) in
        [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")]
    {
        if out.contains(plain) {
            out = out.replace(plain, escaped);
        }
    }
    out.push('\n');
    out.into_bytes()
}
