//! Settings of the session: its profile, its secrets, how long it lives and what it may hold.

use super::{expect, in_ms, in_ms_or_none, shown};
use crate::edit::check_key;
use crate::settings::declared::{Declared, Kind, Values};
use crate::settings::gorilla;
use crate::settings::parse::secrets;
use crate::{Error, IdForm, KeyForm};

pub(super) static DECLARED: [Declared; 10] = [
    Declared {
        path: "session.profile",
        variable: "SESSION_PROFILE",
        kind: Kind::Word(&["default", "express"], |values, word| {
            if word == "express" {
                *values = Values::express();
            }
        }),
        help: "What the other settings start from: Sessile's safe defaults, or those of `express-session` for sharing \
               sessions with an Express app.",
        example: r#""default""#,
        secret: false,
        show: |values| if values.express { "express" } else { "default" }.into(),
    },
    Declared {
        path: "session.secret",
        variable: "SESSION_SECRET",
        kind: Kind::List("secrets between commas, or an array", |values, texts| {
            values.secrets = secrets(texts)?;
            Ok(())
        }),
        help: "The secrets that sign the cookie, each random and of at least 32 bytes. The first signs, all verify: to \
               replace a secret, put the new one in front and drop the old one when the last session signed with it \
               has ended. Spaces around a comma do not count; a secret that contains a comma can only stand in an \
               array. Required. Make one with `openssl rand -base64 32`.",
        example: r#"["change-me: openssl rand -base64 32"]"#,
        secret: true,
        show: |values| match values.secrets.len() {
            0 => "not set".into(),
            1 => "1 secret, hidden".into(),
            many => format!("{many} secrets, hidden"),
        },
    },
    Declared {
        path: "session.encryption_keys",
        variable: "SESSION_ENCRYPTION_KEYS",
        kind: Kind::List("keys between commas, or an array", |values, texts| {
            values.encryption_keys = gorilla::encryption_keys(texts)?;
            Ok(())
        }),
        help: "The keys that encrypt cookies of gorilla's format, of 16, 24 or 32 bytes each: the first belongs to the first \
               secret, and so on. `base64:` before one gives its bytes in base64; so it does before a secret in that \
               format. Empty: cookies are signed and not encrypted. Make one with `openssl rand -base64 32`.",
        example: "[]",
        secret: true,
        show: |values| match values.encryption_keys.len() {
            0 => "not set".into(),
            1 => "1 key, hidden".into(),
            many => format!("{many} keys, hidden"),
        },
    },
    Declared {
        path: "session.timeout",
        variable: "SESSION_TIMEOUT",
        kind: Kind::Milliseconds(|values, span| values.lifetime.idle = span),
        help: "How long a session lives without being used, in milliseconds.",
        example: "86400000",
        secret: false,
        show: |values| in_ms(values.lifetime.idle),
    },
    Declared {
        path: "session.absolute_timeout",
        variable: "SESSION_ABSOLUTE_TIMEOUT",
        kind: Kind::MillisecondsOrNone(|values, span| values.lifetime.absolute = span),
        help: "How long a session lives at most, used or not, in milliseconds from the sign-in. `none` for no limit.",
        example: "1209600000",
        secret: false,
        show: |values| in_ms_or_none(values.lifetime.absolute),
    },
    Declared {
        path: "session.touch_every",
        variable: "SESSION_TOUCH_EVERY",
        kind: Kind::Milliseconds(|values, span| values.lifetime.touch_every = span),
        help: "How far the recorded end of a session may lag behind its use, in milliseconds. Longer means fewer \
               writes; at most a quarter of `session.timeout` counts.",
        example: "60000",
        secret: false,
        show: |values| in_ms(values.lifetime.touch_every),
    },
    Declared {
        path: "session.max_data",
        variable: "SESSION_MAX_DATA",
        kind: Kind::Count(|values, bytes| values.max_data = bytes),
        help: "The most data one session may hold, in bytes of JSON.",
        example: "65536",
        secret: false,
        show: |values| format!("{} bytes", values.max_data),
    },
    Declared {
        path: "session.user_key",
        variable: "SESSION_USER_KEY",
        kind: Kind::Text("a key of the session's data", |values, text| {
            let problem = |error: Error| format!("a key of the application's own; {error}");
            expect(!text.is_empty(), "a key of the session's data")?;
            check_key(text).map_err(problem)?;
            values.user_key = Some(text.into());
            Ok(())
        }),
        help: "The top-level key under which an Express app keeps the signed-in user. Sessile then reads and writes \
               the owner of a session there.",
        example: r#""userId""#,
        secret: false,
        show: |values| shown(&values.user_key, "not set"),
    },
    Declared {
        path: "session.id_form",
        variable: "SESSION_ID_FORM",
        kind: Kind::Word(&["base64url", "base32", "uuid"], |values, word| {
            values.id_form = match word {
                "base32" => IdForm::Base32,
                "uuid" => IdForm::Uuid,
                _ => IdForm::Base64Url,
            };
        }),
        help: "What new session ids look like: 32 characters of base64url, as Express makes them; 52 of base32, as \
               gorilla's stores do; or a UUID. Ids of every form are read.",
        example: r#""base64url""#,
        secret: false,
        show: |values| {
            match values.id_form {
                IdForm::Base64Url => "base64url",
                IdForm::Base32 => "base32",
                IdForm::Uuid => "uuid",
            }
            .into()
        },
    },
    Declared {
        path: "session.key_form",
        variable: "SESSION_KEY_FORM",
        kind: Kind::Word(&["raw", "sha256"], |values, word| {
            values.key_form = Some(if word == "raw" { KeyForm::Raw } else { KeyForm::Sha256 });
        }),
        help: "Whether the table's keys are the session ids as they are, as a program that shares the table expects, or \
               their SHA-256, so that whoever reads the table cannot sign in with what is there. A change signs \
               everyone out.",
        example: r#""sha256""#,
        secret: false,
        show: |values| {
            match values.key_form.unwrap_or(if values.express { KeyForm::Raw } else { KeyForm::Sha256 }) {
                KeyForm::Raw => "raw",
                KeyForm::Sha256 => "sha256",
            }
            .into()
        },
    },
];
