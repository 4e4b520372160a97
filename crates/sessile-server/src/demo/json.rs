//! JSON for reading. Only the white space between tokens changes: a tree of values would reorder keys and round numbers,
//! and the page promises to show what is stored.

/// The same JSON text, indented by two spaces.
pub(super) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut letters = json.chars().peekable();
    while let Some(letter) = letters.next() {
        if in_string {
            out.push(letter);
            in_string = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
            continue;
        }
        match letter {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                out.push(letter);
                while letters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                match letters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_string = letter == '"';
                out.push(letter);
            }
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn only_white_space_between_tokens_changes() {
        let cases = [
            (r#"{"a":1E400,"b":[true,null]}"#, "{\n  \"a\": 1E400,\n  \"b\": [\n    true,\n    null\n  ]\n}"),
            (r#"{ "z" : { } , "a" : [ ] }"#, "{\n  \"z\": {},\n  \"a\": []\n}"),
            (r#""a \"{[,:]}\" \\""#, r#""a \"{[,:]}\" \\""#),
            ("12.50", "12.50"),
        ];
        for (json, expected) in cases {
            assert_eq!(pretty(json), expected);
        }
    }
}
