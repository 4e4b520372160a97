//! Where the user goes after the sign-in. It usually comes out of a query, where anybody can write, so it is a path on this
//! site and nothing else: whatever a browser could take for another site is not taken (RFC 9700 section 4.11).

/// Longest path that is kept, in bytes.
const LONGEST: usize = 2048;

/// The path, if it is one on this site and fit for a `Location` header; `None` otherwise.
///
/// ```
/// # use sessile_oidc::local_path;
/// assert_eq!(local_path("/orders?page=2"), Some("/orders?page=2"));
/// assert_eq!(local_path("//evil.example"), None);
/// assert_eq!(local_path("https://evil.example"), None);
/// ```
pub fn local_path(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    let is_rooted = characters.next() == Some('/') && !matches!(characters.next(), Some('/' | '\\'));
    // Browsers take a backslash for a slash, and drop tabs and line breaks before they look.
    let is_plain = text.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'\\');
    (is_rooted && is_plain && text.len() <= LONGEST).then_some(text)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn a_path_leads_to_this_site_or_is_refused() {
        let kept = [
            "/",
            "/a",
            "/a/b?c=d&e=%20#f",
            "/?next=https://evil.example",
            "/a//b",
            "/.//evil.example",
            "/%2f%2fevil.example",
            "/%5cevil.example",
            "/@evil.example",
            "/:80",
            "/a:b",
        ];
        for path in kept {
            assert_eq!(local_path(path), Some(path));
            let landed = Url::parse("https://app.example/auth/callback").unwrap().join(path).unwrap();
            assert_eq!(landed.origin().ascii_serialization(), "https://app.example", "{path}");
        }
        let refused = [
            "",
            "a",
            "//",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "\\\\evil.example",
            "/a\\b",
            "https://evil.example",
            "http:evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            "\t//evil.example",
            " /a",
            "/a b",
            "/a\r\nSet-Cookie: x=y",
            "/\u{0}",
            "/\u{7f}",
            "/ä",
            "/\u{2028}",
            "?a",
            "#a",
            ".",
            "../a",
            "@evil.example",
        ];
        for path in refused {
            assert_eq!(local_path(path), None, "{path:?}");
        }
        assert!(local_path(&format!("/{}", "a".repeat(LONGEST))).is_none());
    }
}
