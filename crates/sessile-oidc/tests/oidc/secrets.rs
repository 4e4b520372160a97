//! Whatever happens, nobody reads a secret in a log or in a value that is printed.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use serde_json::json;
use sessile_oidc::{BackChannel, Begin, Callback, Users};
use sessile_testkit::provider::{CLIENT_SECRET, Endpoint, Signature, Trouble};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Browser, House, builder, param};

/// A log that is kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// Everything that can be logged is, by whichever library.
fn log_everything() -> Log {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).with_ansi(false).init();
    log
}

#[tokio::test]
async fn nothing_secret_is_logged_or_printed() {
    let log = log_everything();
    let house = House::with(|builder| builder.scopes(["email"])).await;
    let printed = std::cell::RefCell::new(String::new());
    let mut known =
        vec![CLIENT_SECRET.to_owned(), url::form_urlencoded::byte_serialize(CLIENT_SECRET.as_bytes()).collect()];
    let note = |thing: &dyn std::fmt::Debug| writeln!(printed.borrow_mut(), "{thing:?} {thing:#?}").unwrap();
    // A sign-in, and a sign-out of each kind.
    let mut browser = Browser::default();
    let begin = Begin::new("/orders");
    note(&begin);
    let url = browser.try_begin(&house, begin).await.unwrap();
    known.extend(["state", "nonce", "code_challenge"].map(|name| param(url.query().unwrap(), name).unwrap()));
    let query = house.provider.visit(url.as_str()).await;
    note(&Callback::from_query(&query));
    let identity = browser.complete(&house, &query).await.unwrap();
    note(&(&identity, &house.flow, builder(&house.provider), &identity.claims));
    known.push(browser.cookie.clone().unwrap().split_once('=').unwrap().1.to_owned());
    let exchange = browser.request(&house);
    house.flow.logout_url(&exchange.session().await.unwrap(), "https://shop.example.com/", None).await.unwrap();
    let users = |_: &str, subject: &str| Some(sessile_core::UserId::from(subject));
    let _: &dyn Users = &users;
    let receiver = BackChannel::new(house.flow.clone(), users);
    let token = house.provider.logout_token(json!({ "sub": "alice" }));
    note(&receiver.receive(&house.sessions, &token).await);
    let replayed = receiver.receive(&house.sessions, &token).await.unwrap_err();
    let refused = receiver.receive(&house.sessions, "no token").await.unwrap_err();
    for error in [&replayed, &refused] {
        assert!(!error.public_message().contains("sign in"), "a provider reads it: {error:?}");
        assert!(
            log.text()
                .lines()
                .any(|line| { line.contains(error.reference()) && line.contains("a logout token was refused: ") })
        );
    }
    note(&(replayed, refused));
    // Each way in which a sign-in fails.
    let mut failures = Vec::new();
    for signature in [Signature::None, Signature::ForeignKey, Signature::Hs256WithThePublicKey] {
        house.behave(|provider| provider.signature = signature);
        failures.push(Browser::default().sign_in(&house).await.unwrap_err());
    }
    house.provider.behave_well();
    for claim in ["nonce", "iss", "aud", "sub", "exp", "at_hash"] {
        house.behave(|provider| {
            provider.claims = Box::new(move |claims| {
                let secret = claims["nonce"].clone();
                claims[claim] = json!([secret]);
            });
        });
        failures.push(Browser::default().sign_in(&house).await.unwrap_err());
    }
    house.provider.behave_well();
    // An answer that is not understood repeats what it was about.
    house.behave(|provider| provider.tokens = Box::new(|tokens| *tokens = tokens["access_token"].clone()));
    failures.push(Browser::default().sign_in(&house).await.unwrap_err());
    house.provider.behave_well();
    for trouble in [Trouble::Status(500), Trouble::Echo, Trouble::Redirect("https://evil.example".into())] {
        house.behave(|provider| drop(provider.trouble.insert(Endpoint::Token, trouble)));
        failures.push(Browser::default().sign_in(&house).await.unwrap_err());
    }
    house.provider.behave_well();
    let mut other = Browser::default();
    let query = other.begin(&house).await;
    failures.push(Browser::default().complete(&house, &query).await.unwrap_err());
    failures.push(other.complete(&house, &format!("{query}&code=again")).await.unwrap_err());
    // What an application makes itself.
    for error in [sessile_core::Error::unavailable("down"), sessile_core::Error::value("a value")] {
        failures.push(error.into());
    }
    failures.push(sessile_oidc::LoginError::provider("the application does not like this user"));
    for failure in &failures {
        note(failure);
        let words =
            format!("{} {failure} {} {}", failure.reference(), failure.public_message(), failure.what_to_check());
        printed.borrow_mut().push_str(&words);
    }
    // What was written down.
    let (logged, printed) = (log.text(), printed.into_inner());
    known.extend(house.provider.secrets());
    known.extend(param(&query, "code"));
    assert!(known.len() > 40 && logged.len() > 10_000, "{} secrets, {} bytes", known.len(), logged.len());
    for failure in &failures {
        let lines = logged.lines().filter(|line| line.contains(failure.reference()));
        assert_eq!(lines.count(), 1, "the log names each failure once: {failure:?}");
    }
    for secret in known {
        let parts = secret.split('.').filter(|part| part.len() > 12).map(str::to_owned);
        for part in parts.chain([secret.clone()]) {
            assert!(!logged.contains(&part), "logged: {part}\n{}", surroundings(&logged, &part));
            assert!(!printed.contains(&part), "printed: {part}\n{}", surroundings(&printed, &part));
        }
    }
}

fn surroundings(text: &str, part: &str) -> String {
    let at = text.find(part).unwrap_or_default();
    text[..at].lines().last().unwrap_or_default().to_owned()
}
