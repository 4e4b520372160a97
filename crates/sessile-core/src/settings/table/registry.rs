//! Settings of the registry, of who is signed in where, and of what one client may do how often.

use super::{in_ms, shown};
use crate::settings::declared::{Declared, Kind};
use crate::{AtLimit, Enforcement, RecordIp};

pub(super) static DECLARED: [Declared; 10] = [
    Declared {
        path: "registry.max_sessions_per_user",
        variable: "MAX_SESSIONS_PER_USER",
        kind: Kind::CountOrNone(|values, sessions| values.max_sessions = sessions),
        help: "How many live sessions one user may have. `none` for any number.",
        example: "10",
        secret: false,
        show: |values| shown(&values.max_sessions, "none"),
    },
    Declared {
        path: "registry.at_limit",
        variable: "AT_SESSION_LIMIT",
        kind: Kind::Word(&["evict_oldest", "deny"], |values, word| {
            values.at_limit = if word == "deny" { AtLimit::Deny } else { AtLimit::EvictOldest };
        }),
        help: "What happens when a user with as many sessions signs in once more: the oldest one ends, or the sign-in \
               is refused.",
        example: r#""evict_oldest""#,
        secret: false,
        show: |values| match values.at_limit {
            AtLimit::EvictOldest => "evict_oldest".into(),
            AtLimit::Deny => "deny".into(),
        },
    },
    Declared {
        path: "registry.history",
        variable: "SESSION_HISTORY",
        kind: Kind::Milliseconds(|values, span| values.history = span),
        help: "How long the registry keeps sessions that ended, in milliseconds.",
        example: "7776000000",
        secret: false,
        show: |values| in_ms(values.history),
    },
    Declared {
        path: "registry.record_ip",
        variable: "RECORD_IP",
        kind: Kind::Word(&["full", "network", "never"], |values, word| {
            values.record_ip = match word {
                "network" => RecordIp::Network,
                "never" => RecordIp::Never,
                _ => RecordIp::Full,
            };
        }),
        help: "How much of a client's address is kept with its session: all of it, its network (24 bits of IPv4, 48 of \
               IPv6), or nothing.",
        example: r#""full""#,
        secret: false,
        show: |values| match values.record_ip {
            RecordIp::Full => "full".into(),
            RecordIp::Network => "network".into(),
            RecordIp::Never => "never".into(),
        },
    },
    Declared {
        path: "registry.record_user_agent",
        variable: "RECORD_USER_AGENT",
        kind: Kind::Word(&["true", "false"], |values, word| values.record_user_agent = word == "true"),
        help: "Whether a client's `User-Agent` header, and the name of the device made from it, are kept with its \
               session.",
        example: "true",
        secret: false,
        show: |values| values.record_user_agent.to_string(),
    },
    Declared {
        path: "registry.count_requests",
        variable: "SESSION_COUNT_REQUESTS",
        kind: Kind::Word(&["true", "false"], |values, word| values.count_requests = word == "true"),
        help: "Whether the registry says how many requests used each session. They are counted in memory and written \
               along with the time of the last use.",
        example: "false",
        secret: false,
        show: |values| values.count_requests.to_string(),
    },
    Declared {
        path: "limits.mode",
        variable: "LIMITS_MODE",
        kind: Kind::Word(&["off", "log", "enforce"], |values, word| {
            values.enforcement = match word {
                "log" => Some(Enforcement::LogOnly),
                "enforce" => Some(Enforcement::Enforce),
                _ => None,
            };
        }),
        help: "What happens to a client that does too much of something: nothing is counted (`off`), it is logged, or it is \
               refused with 429. A client is an IPv4 address or an IPv6 /64. Behind a proxy set `trust_proxy` first, or \
               all clients are one.",
        example: r#""off""#,
        secret: false,
        show: |values| match values.enforcement {
            None => "off".into(),
            Some(Enforcement::LogOnly) => "log".into(),
            Some(Enforcement::Enforce) => "enforce".into(),
        },
    },
    Declared {
        path: "limits.forged",
        variable: "LIMITS_FORGED",
        kind: Kind::Count(|values, count| values.forged = count),
        help: "How many requests with a forged cookie a client may make a minute.",
        example: "30",
        secret: false,
        show: |values| values.forged.to_string(),
    },
    Declared {
        path: "limits.created",
        variable: "LIMITS_CREATED",
        kind: Kind::Count(|values, count| values.created = count),
        help: "How many new sessions a client may have a minute.",
        example: "60",
        secret: false,
        show: |values| values.created.to_string(),
    },
    Declared {
        path: "limits.sign_ins",
        variable: "LIMITS_SIGN_INS",
        kind: Kind::Count(|values, count| values.sign_ins = count),
        help: "How many times a minute a client, and a session, may try to sign in.",
        example: "10",
        secret: false,
        show: |values| values.sign_ins.to_string(),
    },
];
