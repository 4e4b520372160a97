//! Settings of the cookie.

use super::{expect, shown};
use crate::cookie::attributes::{is_domain, is_name, is_path};
use crate::settings::declared::{Declared, Kind};
use crate::settings::gorilla;
use crate::{Priority, SameSite, Secure};

pub(super) static DECLARED: [Declared; 9] = [
    Declared {
        path: "cookie.name",
        variable: "COOKIE_NAME",
        kind: Kind::Text("a cookie name", |values, text| {
            expect(is_name(text), "a cookie name of letters, digits and !#$%&'*+-.^_`|~")?;
            values.cookie.name = text.into();
            Ok(())
        }),
        help: "The name of the cookie. Browsers take a name with `__Host-` only when it is Secure, has `Path=/` and no \
               domain, and one with `__Secure-` only when it is Secure. With `cookie.domain` set and no name of your \
               own the name is `__Secure-sid`.",
        example: r#""__Secure-sid""#,
        secret: false,
        show: |values| values.cookie.name.to_string(),
    },
    Declared {
        path: "cookie.format",
        variable: "COOKIE_FORMAT",
        kind: Kind::Word(&["express", "gorilla", "gorilla-json"], |values, word| {
            values.serializer = gorilla::serializer(word);
        }),
        help: "How the id is written into the cookie: as Express's `cookie-signature` does, or as Go's gorilla/securecookie \
               does, which can encrypt it: with gob, its default, or with its `JSONEncoder`.",
        example: r#""express""#,
        secret: false,
        show: |values| gorilla::format(values.serializer).into(),
    },
    Declared {
        path: "cookie.domain",
        variable: "COOKIE_DOMAIN",
        kind: Kind::Text("a domain", |values, text| {
            expect(is_domain(text), "a domain like example.com, without scheme and port")?;
            values.cookie.domain = Some(text.into());
            Ok(())
        }),
        help: "Shares the cookie with this domain and its subdomains. Not set: only the host that set it.",
        example: r#""example.com""#,
        secret: false,
        show: |values| shown(&values.cookie.domain, "not set"),
    },
    Declared {
        path: "cookie.path",
        variable: "COOKIE_PATH",
        kind: Kind::Text("a path", |values, text| {
            expect(text.starts_with('/') && is_path(text), "a path that begins with / and has no `;`")?;
            values.cookie.path = text.into();
            Ok(())
        }),
        help: "Where on the host the cookie is sent.",
        example: r#""/""#,
        secret: false,
        show: |values| values.cookie.path.to_string(),
    },
    Declared {
        path: "cookie.same_site",
        variable: "COOKIE_SAME_SITE",
        kind: Kind::Word(&["strict", "lax", "none", "unset"], |values, word| {
            values.cookie.same_site = SameSite::parse(word);
        }),
        help: "When requests that other sites cause carry the cookie. `none` means always and needs Secure; `unset` \
               leaves the attribute out.",
        example: r#""lax""#,
        secret: false,
        show: |values| values.cookie.same_site.map_or("unset".into(), |one| one.word().to_ascii_lowercase()),
    },
    Declared {
        path: "cookie.secure",
        variable: "COOKIE_SECURE",
        kind: Kind::Word(&["true", "false", "auto"], |values, word| {
            values.cookie.secure = match word {
                "true" => Secure::Always,
                "false" => Secure::Never,
                _ => Secure::Auto,
            };
        }),
        help: "Whether the cookie is for HTTPS only. `auto`: when the request came over HTTPS, as the connection or a \
               proxy of `trust_proxy` says.",
        example: "true",
        secret: false,
        show: |values| match values.cookie.secure {
            Secure::Always => "true".into(),
            Secure::Never => "false".into(),
            Secure::Auto => "auto".into(),
        },
    },
    Declared {
        path: "cookie.partitioned",
        variable: "COOKIE_PARTITIONED",
        kind: Kind::Word(&["true", "false"], |values, word| values.cookie.partitioned = word == "true"),
        help: "Keeps one cookie per embedding site (CHIPS). Needs Secure.",
        example: "false",
        secret: false,
        show: |values| values.cookie.partitioned.to_string(),
    },
    Declared {
        path: "cookie.priority",
        variable: "COOKIE_PRIORITY",
        kind: Kind::Word(&["low", "medium", "high", "unset"], |values, word| {
            values.cookie.priority = Priority::parse(word);
        }),
        help: "Which cookies Chromium drops first. `unset` leaves the attribute out.",
        example: r#""high""#,
        secret: false,
        show: |values| values.cookie.priority.map_or("unset".into(), |one| one.word().to_ascii_lowercase()),
    },
    Declared {
        path: "cookie.persistent",
        variable: "COOKIE_PERSISTENT",
        kind: Kind::Word(&["true", "false"], |values, word| values.cookie.persistent = word == "true"),
        help: "Whether the browser keeps the cookie when it closes.",
        example: "true",
        secret: false,
        show: |values| values.cookie.persistent.to_string(),
    },
];
