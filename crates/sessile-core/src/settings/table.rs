//! The table of all settings: names, meaning, and where each value goes. The profile stands first, for it gives the others
//! their defaults.

use std::time::Duration;

use ipnet::IpNet;

use super::LogFormat;
use super::declared::{Declared, Kind, Values};
use super::parse::{Expected, is_url, networks, secrets, without_password};
use crate::cookie::attributes::{is_domain, is_name, is_path};
use crate::edit::check_key;
use crate::{AtLimit, Enforcement, Error, IdForm, KeyForm, Priority, RecordIp, SameSite, Secure, TableKind};

pub(super) static DECLARED: [Declared; 48] = [
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
        path: "trust_proxy",
        variable: "TRUST_PROXY",
        kind: Kind::List("networks between commas, or an array", |values, texts| {
            values.trusted_proxies = networks(texts)?;
            Ok(())
        }),
        help: "The proxies whose `Forwarded` and `X-Forwarded-*` headers are believed: networks, addresses, and \
               Express's words `loopback`, `linklocal` and `uniquelocal`.",
        example: r#"["loopback", "10.0.0.0/8"]"#,
        secret: false,
        show: |values| match &values.trusted_proxies[..] {
            [] => "no proxy".into(),
            networks => networks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", "),
        },
    },
    Declared {
        path: "public_url",
        variable: "PUBLIC_URL",
        kind: Kind::Text("a URL", |values, text| {
            let is_bare = text.split("://").nth(1).is_none_or(|host| !host.trim_end_matches('/').contains('/'));
            expect(is_bare, "an address without a path, like https://shop.example.com")?;
            web_address(text.trim_end_matches('/'), &mut values.public_url)
        }),
        help: "Where browsers find this server, without a path: what an identity provider sends them back to.",
        example: r#""https://shop.example.com""#,
        secret: false,
        show: |values| shown(&values.public_url, "not set"),
    },
    Declared {
        path: "oidc.issuer",
        variable: "OIDC_ISSUER",
        kind: Kind::Text("a URL", |values, text| web_address(text, &mut values.oidc.issuer)),
        help: "The identity provider that users sign in with, letter by letter as it calls itself. Not set: none.",
        example: r#""https://id.example.com""#,
        secret: false,
        show: |values| shown(&values.oidc.issuer, "not set"),
    },
    Declared {
        path: "oidc.client_id",
        variable: "OIDC_CLIENT_ID",
        kind: Kind::Text("the client's id", |values, text| {
            expect(!text.is_empty(), "the id that the provider gave at registration")?;
            values.oidc.client_id = Some(text.into());
            Ok(())
        }),
        help: "What the identity provider calls this application.",
        example: r#""shop""#,
        secret: false,
        show: |values| shown(&values.oidc.client_id, "not set"),
    },
    Declared {
        path: "oidc.client_secret",
        variable: "OIDC_CLIENT_SECRET",
        kind: Kind::Text("the client's secret", |values, text| {
            expect(!text.is_empty(), "the secret that the provider gave at registration")?;
            values.oidc.client_secret = Some(text.into());
            Ok(())
        }),
        help: "What this application proves itself to the identity provider with. Not set: a public client.",
        example: r#""from-the-provider""#,
        secret: true,
        show: |values| if values.oidc.client_secret.is_some() { "set, hidden" } else { "not set" }.into(),
    },
    Declared {
        path: "oidc.scopes",
        variable: "OIDC_SCOPES",
        kind: Kind::List("scopes between commas, or an array", |values, texts| {
            values.oidc.scopes = texts.iter().map(|&text| text.to_owned()).collect();
            Ok(())
        }),
        help: "What is asked of the identity provider beside `openid`. Nothing is the least.",
        example: r#"["profile"]"#,
        secret: false,
        show: |values| if values.oidc.scopes.is_empty() { "none".into() } else { values.oidc.scopes.join(", ") },
    },
    Declared {
        path: "oidc.preset",
        variable: "OIDC_PRESET",
        kind: Kind::Word(&["cognito", "google", "entra", "keycloak", "auth0", "github"], |values, word| {
            values.oidc.preset = Some(word.into());
        }),
        help: "The ways of a known provider. Needed for `cognito`, which signs out in a form of its own, and for `github`, \
               which is no OpenID provider.",
        example: r#""keycloak""#,
        secret: false,
        show: |values| shown(&values.oidc.preset, "not set"),
    },
    Declared {
        path: "database.url",
        variable: "DATABASE_URL",
        kind: Kind::Text("a URL", |values, text| {
            expect(is_url(text), "a URL like postgres://user:password@host:5432/database or sqlite:PATH")?;
            values.database_url = Some(text.into());
            Ok(())
        }),
        help: "The database that holds the sessions: `postgres://user:password@host:5432/database`, or `sqlite:PATH` for a file.",
        example: r#""postgres://app:password@localhost:5432/app""#,
        secret: true,
        show: |values| shown(&values.database_url.as_deref().map(without_password), "not set"),
    },
    Declared {
        path: "pool.max",
        variable: "POOL_MAX",
        kind: Kind::Count(|values, connections| values.pool.max = connections),
        help: "The most connections that writes use at once. On PostgreSQL the reads of all requests share two more.",
        example: "10",
        secret: false,
        show: |values| values.pool.max.to_string(),
    },
    Declared {
        path: "pool.idle_timeout",
        variable: "POOL_IDLE_TIMEOUT",
        kind: Kind::Milliseconds(|values, span| values.pool.idle_timeout = span),
        help: "How long an unused connection stays open, in milliseconds.",
        example: "30000",
        secret: false,
        show: |values| in_ms(values.pool.idle_timeout),
    },
    Declared {
        path: "pool.connect_timeout",
        variable: "POOL_CONNECT_TIMEOUT",
        kind: Kind::Milliseconds(|values, span| values.pool.connect_timeout = span),
        help: "How long a connection may take to open, in milliseconds.",
        example: "2000",
        secret: false,
        show: |values| in_ms(values.pool.connect_timeout),
    },
    Declared {
        path: "table.name",
        variable: "SESSION_TABLE",
        kind: Kind::Text("a table's name", |values, text| identifier(text, &mut values.table)),
        help: "The table that holds the sessions. `schema.table` sets `table.schema` too.",
        example: r#""session""#,
        secret: false,
        show: |values| values.table.clone(),
    },
    Declared {
        path: "table.schema",
        variable: "SESSION_SCHEMA",
        kind: Kind::Text("a schema's name", |values, text| identifier(text, values.schema.get_or_insert_default())),
        help: "The schema of the table. Not set: the first of the connection's `search_path`.",
        example: r#""public""#,
        secret: false,
        show: |values| shown(&values.schema, "not set"),
    },
    Declared {
        path: "table.kind",
        variable: "SESSION_TABLE_KIND",
        kind: Kind::Word(&["express", "columns"], |values, word| {
            values.table_kind = Some(if word == "columns" { TableKind::Columns } else { TableKind::Express });
        }),
        help: "What the table is like: `express` has connect-pg-simple's columns `sid`, `sess` and `expire`; `columns` \
               has `id`, `user_id`, `values`, `created_at` and `expires_at`, as services in Go keep sessions. Not set: \
               as it is found, and `express` when it is made.",
        example: r#""express""#,
        secret: false,
        show: |values| {
            match values.table_kind {
                None => "not set",
                Some(TableKind::Express) => "express",
                Some(TableKind::Columns) => "columns",
            }
            .into()
        },
    },
    Declared {
        path: "table.registry",
        variable: "SESSION_REGISTRY",
        kind: Kind::Text("a table's name", |values, text| identifier(text, values.registry.get_or_insert_default())),
        help: "The table that records who is signed in where, in the same schema. Not set: `sessions` beside a table \
               called `session`, else the table's name and `_registry`.",
        example: r#""sessions""#,
        secret: false,
        show: |values| shown(&values.registry, "not set"),
    },
    Declared {
        path: "sweep.interval",
        variable: "SWEEP_INTERVAL",
        kind: Kind::MillisecondsOrNone(|values, span| values.sweep_interval = span),
        help: "How often expired sessions are removed, in milliseconds, give or take a fifth. `none` when something \
               else removes them.",
        example: "60000",
        secret: false,
        show: |values| in_ms_or_none(values.sweep_interval),
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
    Declared {
        path: "server.listen",
        variable: "SERVER_LISTEN",
        kind: Kind::Text("HOST:PORT", |values, text| {
            values.server.listen = host_and_port(text)?;
            Ok(())
        }),
        help: "Where `sessile serve` listens for everybody. Port 0 takes any free one.",
        example: r#""127.0.0.1:8080""#,
        secret: false,
        show: |values| values.server.listen.clone(),
    },
    Declared {
        path: "server.admin_listen",
        variable: "ADMIN_LISTEN",
        kind: Kind::Text("HOST:PORT or none", |values, text| {
            values.server.admin_listen =
                if text.trim().eq_ignore_ascii_case("none") { None } else { Some(host_and_port(text)?) };
            Ok(())
        }),
        help: "Where `sessile serve` listens for operators and for Prometheus. An address that others than this computer \
               reach needs `server.admin_host`, too. `none` for no such listener.",
        example: r#""127.0.0.1:9090""#,
        secret: false,
        show: |values| shown(&values.server.admin_listen, "none"),
    },
    Declared {
        path: "server.admin_host",
        variable: "ADMIN_HOST",
        kind: Kind::Text("a host", |values, text| {
            let holds = !text.is_empty() && !text.contains(['/', ':', '@', '?', '#', ' ']);
            expect(holds, "a host like admin.example.com, without scheme, port and path")?;
            values.server.admin_host = Some(text.into());
            Ok(())
        }),
        help: "The host under which operators' browsers find the dashboard. Any but `localhost` means that they reach it over \
               HTTPS, through a proxy. Not set: only this computer's own names.",
        example: r#""admin.example.com""#,
        secret: false,
        show: |values| shown(&values.server.admin_host, "not set"),
    },
    Declared {
        path: "server.log_format",
        variable: "LOG_FORMAT",
        kind: Kind::Word(&["text", "json"], |values, word| {
            values.server.log_format = if word == "json" { LogFormat::Json } else { LogFormat::Text };
        }),
        help: "How servers write their log to standard error: `text` for people, or `json` with an object on each line. \
               How much of it, `RUST_LOG` says; without it what is worth `info`.",
        example: r#""text""#,
        secret: false,
        show: |values| match values.server.log_format {
            LogFormat::Text => "text".into(),
            LogFormat::Json => "json".into(),
        },
    },
    Declared {
        path: "server.otlp_endpoint",
        variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
        kind: Kind::Text("a URL", |values, text| {
            web_address(text.trim_end_matches('/'), &mut values.server.otlp_endpoint)
        }),
        help: "The collector that servers send their traces to, over OTLP and HTTP; `/v1/traces` is added. Not set: none. \
               Only in a command that was built with the feature `otlp`.",
        example: r#""http://127.0.0.1:4318""#,
        secret: false,
        show: |values| shown(&values.server.otlp_endpoint, "not set"),
    },
];

/// Ok when it holds, else what was expected.
fn expect(holds: bool, expected: &str) -> Result<(), Expected> {
    holds.then_some(()).ok_or_else(|| expected.to_owned())
}

/// What may name a table or a schema: PostgreSQL cuts names off at 63 bytes.
fn identifier(text: &str, target: &mut String) -> Result<(), Expected> {
    let holds = (1..=63).contains(&text.len()) && !text.contains(['\0', '.']);
    expect(holds, "a name of 1 to 63 bytes without dots")?;
    *target = text.to_owned();
    Ok(())
}

fn shown<T: ToString>(value: &Option<T>, absent: &str) -> String {
    value.as_ref().map_or(absent.to_owned(), T::to_string)
}

fn in_ms(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}

fn in_ms_or_none(span: Option<Duration>) -> String {
    span.map_or("none".into(), in_ms)
}

/// Where to listen: a name or an address, and a port.
fn host_and_port(text: &str) -> Result<String, Expected> {
    let text = text.trim();
    let holds = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    expect(holds, "HOST:PORT, like 127.0.0.1:8080")?;
    Ok(text.to_owned())
}

/// A web address, as browsers and other servers are sent to it.
fn web_address(text: &str, value: &mut Option<String>) -> Result<(), Expected> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_address = host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '?', '#', ' ']));
    expect(is_address, "an address like https://shop.example.com, without user, query and fragment")?;
    *value = Some(text.into());
    Ok(())
}
