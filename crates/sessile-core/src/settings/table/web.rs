//! Settings of what lies around the application: proxies, its address, the identity provider, and the server's listeners.

use ipnet::IpNet;

use super::{expect, host_and_port, shown, web_address};
use crate::settings::LogFormat;
use crate::settings::declared::{Declared, Kind};
use crate::settings::parse::networks;

pub(super) static DECLARED: [Declared; 12] = [
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
