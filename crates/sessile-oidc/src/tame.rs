//! What strangers wrote, before it is repeated: in a log that people read on a terminal, and on a page.

/// So much of it is repeated, in characters.
const REPEATED: usize = 200;

/// The text, bounded, without control characters or what turns the direction of text. A page escapes it all the same.
pub(crate) fn tame(text: &str) -> String {
    let is_wild = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut tamed: String = text.chars().take(REPEATED).map(|c| if is_wild(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(REPEATED).is_some() {
        tamed.push('…');
    }
    tamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_write_is_bounded_and_tame() {
        assert_eq!(tame("access_denied"), "access_denied");
        assert_eq!(tame("a\r\nb\u{1b}[31m\u{202e}"), "a\u{fffd}\u{fffd}b\u{fffd}[31m\u{fffd}");
        assert_eq!(tame(&"ä".repeat(201)).chars().count(), 201);
        assert!(tame(&"x".repeat(100_000)).len() < 1_000);
    }
}
