//! Reads the `Cookie` header byte for byte.
//!
//! Names are never decoded, unquoted or trimmed of anything but spaces and tabs, and what is not ours is skipped
//! whatever its bytes: a cookie called `__%48ost-sid` is not `__Host-sid`, and one bad byte in a neighbour's cookie
//! signs nobody out (RFC 6265bis section 5.7 says names are compared as bytes).

/// The values of every cookie with exactly this name, in the order the browser sent them.
pub(crate) fn values<'a>(header: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    header.split(|&byte| byte == b';').filter_map(move |pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        (trim(&pair[..at]) == name.as_bytes()).then(|| trim(&pair[at + 1..]))
    })
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<'a>(header: &'a [u8], name: &'a str) -> Vec<&'a [u8]> {
        values(header, name).collect()
    }

    #[test]
    fn only_the_exact_name_is_ours() {
        let good: &[u8] = b"v";
        assert_eq!(read(b"__Host-sid=v", "__Host-sid"), [good]);
        for hostile in [
            b"__%48ost-sid=v".as_slice(),
            "\u{2000}__Host-sid=v".as_bytes(),
            b"\x85__Host-sid=v",
            b"\xa0__Host-sid=v",
            b"\x0b__Host-sid=v",
            b"=__Host-sid=v",
            b"__HOST-SID=v",
            b"\"__Host-sid\"=v",
            b"$Version=1, __Host-sid=v",
            b"__Host-sid\0=v",
            b"__Host-sid",
            b"",
            b";;;",
        ] {
            assert_eq!(read(hostile, "__Host-sid"), Vec::<&[u8]>::new(), "{hostile:?}");
        }
    }

    #[test]
    fn junk_beside_ours_does_not_hide_it() {
        let header = b"a=\xff\xfe; \xc3\xa9; =x; ; b=%FF;\tsid =\t good ;c=\"; sid=second";
        assert_eq!(read(header, "sid"), [b"good".as_slice(), b"second"]);
    }

    proptest! {
        #[test]
        fn ours_is_found_between_any_other_cookies(before: Vec<u8>, after: Vec<u8>) {
            let mut header = before.clone();
            header.extend(b"; sid=token; ");
            header.extend(&after);
            let found = read(&header, "sid");
            prop_assert!(found.contains(&b"token".as_slice()));
        }
    }
}
