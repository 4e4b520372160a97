//! Traces, as a collector gets them.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use sessile_testkit::http::Client;

use super::{Directory, SECRET, Server};

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_gets_spans_and_no_secret() {
    let received = Arc::new(Mutex::new(Vec::<u8>::new()));
    let sink = received.clone();
    let collect = async move |headers: HeaderMap, body: Bytes| {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        sink.lock().unwrap_or_else(PoisonError::into_inner).extend(body);
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", post(collect))).await });

    let directory = Directory::new();
    let server = Server::start(directory.serve(&[]).env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector));
    let forged = "s%3Amallorys-forged-cookie.mallory";
    let client = Client::new(&server.url);
    let answer =
        client.get("/devices").header("Cookie", format!("sid={forged}")).header("User-Agent", "mallory").send();
    assert_eq!(answer.await.status, 401);
    assert_eq!(client.get("/readyz").send().await.status, 200);
    let stopped = tokio::task::spawn_blocking(|| server.stop());
    assert_eq!(stopped.await.unwrap().0, Some(0));

    let received = received.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = String::from_utf8_lossy(&received);
    for name in ["service.name", "sessile.request", "sessile.store", "operation", "outcome", "load", "read"] {
        assert!(text.contains(name), "{name} is not in {text}");
    }
    for secret in [SECRET, "mallory", "127.0.0.1", "/devices"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[test]
fn a_collector_that_is_away_keeps_nobody_waiting() {
    let directory = Directory::new();
    let nowhere = format!("http://127.0.0.1:{}", sessile_testkit::http::free_port());
    let server = Server::start(directory.serve(&[]).env("OTEL_EXPORTER_OTLP_ENDPOINT", nowhere));
    assert_eq!(server.stop().0, Some(0));
}
