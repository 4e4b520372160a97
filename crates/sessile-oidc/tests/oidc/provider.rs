//! Providers that redirect, flood, dawdle or say that they are somebody else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sessile_oidc::{BackChannel, Begin};
use sessile_testkit::provider::{Endpoint, Provider, Trouble};

use crate::support::{Browser, HOUR, House, builder, refused};

fn trouble(house: &House, endpoint: Endpoint, trouble: Trouble) {
    house.behave(|provider| drop(provider.trouble.insert(endpoint, trouble)));
}

/// What a provider can be asked for, each for the first time.
const ASKED: [Endpoint; 3] = [Endpoint::Metadata, Endpoint::Token, Endpoint::Keys];

/// A sign-in that has to fail, wherever, and not because one failed a moment ago.
async fn failing(house: &House) -> sessile_oidc::LoginError {
    house.clock.advance(Duration::from_secs(5));
    let mut browser = Browser::default();
    match browser.try_begin(house, Begin::new("/")).await {
        Err(error) => error,
        Ok(url) => {
            let query = house.provider.visit(url.as_str()).await;
            browser.complete(house, &query).await.expect_err("a sign-in that has to fail")
        }
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    for endpoint in ASKED {
        let house = House::new().await;
        let inside = Provider::start(house.clock.clone()).await;
        trouble(&house, endpoint, Trouble::Redirect(format!("{}/jwks", inside.issuer())));
        let error = failing(&house).await;
        assert_eq!((error.code(), error.status()), ("provider_unusable", 502), "{endpoint:?}");
        assert!(error.to_string().contains("redirect"));
        assert_eq!(inside.all_requests(), 0, "{endpoint:?}");
    }
}

#[tokio::test]
async fn an_answer_of_a_hundred_megabytes_is_cut_at_one() {
    for endpoint in ASKED {
        let house = House::new().await;
        trouble(&house, endpoint, Trouble::Huge);
        let error = failing(&house).await;
        assert!(error.to_string().contains("at most 1048576 bytes"), "{endpoint:?}: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let sent = house.provider.bytes_sent();
        assert!(sent < 20_000_000, "{endpoint:?}: {sent} bytes, which sockets may hold");
    }
}

#[tokio::test]
async fn a_provider_that_dawdles_is_not_waited_for() {
    for endpoint in ASKED {
        let house = House::with(|builder| builder.http_timeout(Duration::from_millis(200))).await;
        trouble(&house, endpoint, Trouble::Slow(Duration::from_secs(30)));
        let began = Instant::now();
        let error = failing(&house).await;
        assert!(error.is_unavailable() && error.code() == "provider_unreachable", "{endpoint:?}: {error:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{endpoint:?}");
    }
}

#[tokio::test]
async fn a_provider_in_trouble_is_said_to_be() {
    for (answer, code) in [
        (Trouble::Status(500), "provider_unreachable"),
        (Trouble::Status(503), "provider_unreachable"),
        (Trouble::Status(404), "provider_unusable"),
        (Trouble::Status(204), "provider_unusable"),
        (Trouble::Garbage, "provider_unusable"),
    ] {
        for endpoint in ASKED {
            let house = House::new().await;
            trouble(&house, endpoint, answer.clone());
            assert_eq!(failing(&house).await.code(), code, "{endpoint:?} {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_said_to_be_and_asked_again() {
    let house = House::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let flow = sessile_oidc::LoginFlow::builder(nowhere, "shop", crate::support::CALLBACK).build().unwrap();
    let error = failing(&House { flow, ..house.clone() }).await;
    assert!(error.is_unavailable());
    assert!(std::error::Error::source(&error).is_some(), "the log has the system's own words");

    trouble(&house, Endpoint::Metadata, Trouble::Status(500));
    assert!(failing(&house).await.is_unavailable());
    house.provider.behave_well();
    house.clock.advance(Duration::from_secs(5));
    Browser::default().sign_in(&house).await.unwrap();
}

#[tokio::test]
async fn a_provider_that_never_answered_is_asked_every_five_seconds() {
    for endpoint in [Endpoint::Metadata, Endpoint::Keys] {
        let house = House::new().await;
        trouble(&house, endpoint, Trouble::Status(500));
        for round in 1..=2 {
            let mut references = std::collections::HashSet::new();
            for _ in 0..20 {
                let mut browser = Browser::default();
                let error = match browser.try_begin(&house, Begin::new("/")).await {
                    Ok(url) => browser.complete(&house, &house.provider.visit(url.as_str()).await).await.unwrap_err(),
                    Err(error) => error,
                };
                assert!(error.is_unavailable() && references.insert(error.reference().to_owned()), "{error:?}");
            }
            assert_eq!(house.provider.requests(endpoint), round, "{endpoint:?}");
            house.clock.advance(Duration::from_secs(5));
        }
        house.provider.behave_well();
        Browser::default().sign_in(&house).await.unwrap();
    }
}

#[tokio::test]
async fn metadata_are_asked_for_once_an_hour_and_outlive_a_failure() {
    let house = House::new().await;
    for _ in 0..3 {
        Browser::default().sign_in(&house).await.unwrap();
    }
    assert_eq!(house.provider.requests(Endpoint::Metadata), 1);
    house.clock.advance(HOUR);
    trouble(&house, Endpoint::Metadata, Trouble::Status(500));
    Browser::default().sign_in(&house).await.unwrap();
    Browser::default().sign_in(&house).await.unwrap();
    assert_eq!(house.provider.requests(Endpoint::Metadata), 2, "and not with every sign-in while it fails");
    house.provider.behave_well();
    house.clock.advance(Duration::from_secs(30));
    Browser::default().sign_in(&house).await.unwrap();
    assert_eq!(house.provider.requests(Endpoint::Metadata), 3);
}

#[tokio::test]
async fn metadata_of_another_issuer_are_refused() {
    let house = House::new().await;
    let own = house.provider.issuer().to_owned();
    for issuer in
        [format!("{own}/"), own.replace("127.0.0.1", "localhost"), "https://evil.example".into(), String::new()]
    {
        house.behave(|provider| {
            let issuer = issuer.clone();
            provider.metadata = Box::new(move |metadata| metadata["issuer"] = issuer.clone().into());
        });
        let error = failing(&house).await;
        assert!(error.is_issuer_mismatch(), "{issuer}: {error:?}");
        assert!(error.what_to_check().contains("slash"));
    }
}

#[tokio::test]
async fn endpoints_that_are_not_safe_are_not_used() {
    let house = House::new().await;
    for (name, url) in [
        ("authorization_endpoint", json!("http://id.example.com/authorize")),
        ("token_endpoint", json!("http://169.254.169.254/token")),
        ("jwks_uri", json!("http://10.0.0.1/jwks")),
        ("jwks_uri", json!("file:///etc/passwd")),
        ("end_session_endpoint", json!("javascript:alert(1)")),
        ("token_endpoint", json!("/token")),
        ("token_endpoint", Value::Null),
        ("authorization_endpoint", json!(["https://id.example.com"])),
    ] {
        let case = format!("{name} {url}");
        house.behave(|provider| provider.metadata = Box::new(move |metadata| metadata[name] = url.clone()));
        assert_eq!(failing(&house).await.code(), "provider_unusable", "{case}");
    }
}

#[tokio::test]
async fn a_client_that_the_provider_does_not_know_is_said_to_be() {
    let house = House::with(|builder| builder.client_secret("a wrong secret")).await;
    let error = refused(&house).await;
    assert_eq!(error.refusal().unwrap().error, "invalid_client");
    assert!(error.what_to_check().contains("invalid_client"));
    assert_eq!((error.code(), error.status(), error.public_message()), ("provider_unusable", 502, "internal error"));
}

#[tokio::test]
async fn a_provider_without_s256_is_refused_where_it_is_required() {
    for (announced, is_used) in
        [(json!(["plain"]), false), (json!([]), false), (json!(["S256"]), true), (Value::Null, true)]
    {
        let house = House::with(|builder| builder.require_s256(true)).await;
        let case = announced.to_string();
        house.behave(|provider| {
            provider.metadata =
                Box::new(move |metadata| metadata["code_challenge_methods_supported"] = announced.clone());
        });
        match Browser::default().try_begin(&house, Begin::new("/")).await {
            Ok(_) => assert!(is_used, "{case}"),
            Err(error) => assert_eq!((is_used, error.code()), (false, "provider_unusable"), "{case}"),
        }
    }
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_one_fetch_in_thirty_seconds() {
    let house = House::new().await;
    Browser::default().sign_in(&house).await.unwrap();
    house.behave(|provider| provider.header = Box::new(|header| header["kid"] = "unknown".into()));
    let receiver = std::sync::Arc::new(BackChannel::new(house.flow.clone(), |_: &str, _: &str| None));
    for round in 1..=3 {
        let flood: Vec<_> = (0..100)
            .map(|_| {
                let (token, receiver) = (house.provider.logout_token(json!({ "sub": "alice" })), receiver.clone());
                let sessions = house.sessions.clone();
                tokio::spawn(async move { receiver.receive(&sessions, &token).await.unwrap_err().failed_check() })
            })
            .collect();
        for refused in flood {
            assert_eq!(refused.await.unwrap(), Some("kid"));
        }
        // The first round falls into the half minute after the sign-in's own fetch.
        assert_eq!(house.provider.requests(Endpoint::Keys), round);
        house.clock.advance(Duration::from_secs(30));
    }
}

/// The certificate of the provider counts: one of an authority that nobody named does not do.
#[tokio::test]
async fn certificates_are_verified() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let der = certified.cert.der().to_vec();
    let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone().into()], key)
        .unwrap();
    let issuer = tls_server(config);
    let flow = |roots: Option<Vec<u8>>| {
        let builder = sessile_oidc::LoginFlow::builder(issuer.clone(), "shop", crate::support::CALLBACK);
        match roots {
            Some(root) => builder.root_certificates([root]),
            None => builder,
        }
        .build()
        .unwrap()
    };
    let house = House::new().await;
    let stranger = failing(&House { flow: flow(None), ..house.clone() }).await;
    assert!(stranger.is_unavailable() && format!("{stranger:?}").contains("UnknownIssuer"), "{stranger:?}");
    let known = failing(&House { flow: flow(Some(der)), ..house.clone() }).await;
    assert_eq!(known.code(), "provider_unusable", "it was reached, and says 404: {known:?}");
    drop(builder(&house.provider));
}

/// A server on a thread of its own that answers 404 over TLS, whatever is asked.
fn tls_server(config: rustls::ServerConfig) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let config = std::sync::Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls = rustls::Stream::new(&mut connection, &mut stream);
            let mut request = [0; 4096];
            if tls.read(&mut request).is_ok() {
                let _ = tls.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        }
    });
    issuer
}
