//! The JSON API.

use std::time::Duration;

use serde_json::{Value, json};
use sessile_core::Seen;

use crate::support::{Desk, WINDOWS, assert_problem, assert_shows};

async fn get(desk: &Desk, path: &str) -> Value {
    let answer = desk.call("GET", path).send().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn the_overview_and_the_timeline_have_the_figures_of_registry_and_process() {
    let desk = Desk::start().await;
    let handle = desk.user("ada", WINDOWS).await;
    desk.figures.record_latency(Duration::from_micros(300));
    desk.figures.record_sweep(Duration::from_millis(12), 7);
    desk.sessions.begin(&Forged).session().await.unwrap();
    desk.call("DELETE", &format!("sessions/{handle}?reason=because")).send().await;
    desk.user("ada", WINDOWS).await;
    let overview = get(&desk, "overview").await;
    assert_eq!(overview["figures"]["active"], 1, "{overview}");
    assert_eq!((&overview["health"], &overview["sweep"]["removed"]), (&json!("failed"), &json!(7)));
    let timeline = get(&desk, "timeline").await;
    let points = timeline["points"].as_array().unwrap();
    assert_eq!((points.len(), &timeline["step_seconds"]), (60, &json!(60)));
    let last = points.last().unwrap();
    let counted = ["active", "signed_in", "revoked", "refused"].map(|name| last[name].as_u64().unwrap());
    assert_eq!(counted, [1, 2, 1, 1], "{last}");
    assert_eq!(last["p50_ms"], 0.32);
    assert_eq!(points[0]["refused"], Value::Null, "before this process began nobody counted");
    for (span, steps) in [("day", 96), ("week", 84)] {
        assert_eq!(get(&desk, &format!("timeline?span={span}")).await["points"].as_array().unwrap().len(), steps);
    }
}

struct Forged;

impl sessile_core::RequestHead for Forged {
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        if name == "cookie" {
            visit(b"__Host-sid=s%3Aforged.signature");
        }
    }
}

#[tokio::test]
async fn checks_come_with_their_remedies_the_worst_first() {
    let desk = Desk::start().await;
    let checks = get(&desk, "checks").await;
    let verdicts: Vec<_> = checks["checks"].as_array().unwrap().iter().map(|check| &check["verdict"]).collect();
    assert_eq!(verdicts, ["failed", "warning", "skipped", "good"]);
    assert_eq!(checks["checks"][0]["remedy"], "sessile migrate");
}

#[tokio::test]
async fn lists_are_paged_with_cursors() {
    let desk = Desk::start().await;
    for user in ["ada", "bob", "ada"] {
        desk.user(user, WINDOWS).await;
        desk.clock.advance(Duration::from_millis(5));
    }
    let first = get(&desk, "sessions?limit=2").await;
    assert_eq!(first["sessions"].as_array().unwrap().len(), 2);
    let rest = get(&desk, &format!("sessions?limit=2&after={}", first["next"].as_str().unwrap())).await;
    assert_eq!((rest["sessions"][0]["user"].as_str(), &rest["next"]), (Some("ada"), &Value::Null));
    assert_eq!(get(&desk, "users/ada/sessions").await["sessions"].as_array().unwrap().len(), 2);
    for _ in 0..2 {
        desk.call("DELETE", "users/bob/sessions?reason=because").send().await;
    }
    let audit = get(&desk, "audit?limit=2").await;
    assert_eq!(audit["actions"].as_array().unwrap().len(), 2);
    let rest = get(&desk, &format!("audit?limit=2&before={}", audit["next"])).await;
    assert_eq!((rest["actions"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
}

#[tokio::test]
async fn requests_are_told_where_they_are_counted() {
    let desk = Desk::start().await;
    let [ada, bob] = [desk.user("ada", WINDOWS).await, desk.user("bob", WINDOWS).await];
    let at = desk.sessions.now();
    let seen = Seen { handle: ada.clone(), at, expires_at: at + Duration::from_secs(60), requests: 41 };
    desk.sessions.store().registry().unwrap().seen(&[seen]).await.unwrap();
    assert_eq!(get(&desk, &format!("sessions/{ada}")).await["session"]["requests"], 41);
    assert_eq!(get(&desk, &format!("sessions/{bob}")).await["session"]["requests"], 0);
    desk.sign_in().await;
    assert_shows(&desk.get(&format!("/admin/sessions/{ada}")).await, 200, "<dt>Requests</dt><dd>41</dd>");
    let uncounted = desk.get(&format!("/admin/sessions/{bob}")).await;
    assert!(uncounted.status == 200 && !uncounted.text().contains("Requests"), "nobody counts");
}

#[tokio::test]
async fn sessions_end_with_a_reason_and_a_dry_run_only_counts() {
    let desk = Desk::start().await;
    let [ada, other] = [desk.user("ada", WINDOWS).await, desk.user("ada", WINDOWS).await];
    let delete = async |path: String| desk.call("DELETE", &path).send().await;
    let dry = delete("users/ada/sessions?reason=why&dry_run=true".into()).await;
    assert_eq!(dry.json(), json!({"sessions": 2, "dry_run": true}));
    assert_eq!(desk.fate(&ada).await, "live");
    assert_problem(&delete(format!("sessions/{ada}")).await, 400);
    assert_problem(&delete(format!("sessions/{ada}?reason=")).await, 400);
    let one = delete(format!("sessions/{ada}?reason=lost%20phone")).await;
    assert_eq!(one.json(), json!({"sessions": 1, "dry_run": false}));
    let opened = get(&desk, &format!("sessions/{ada}")).await;
    assert_eq!((&opened["session"]["reason"], &opened["data"]), (&json!("lost phone"), &Value::Null));
    let kept = delete(format!("users/ada/sessions?reason=why&keep={other}")).await;
    assert_eq!(kept.json()["sessions"], 0);
    assert_eq!(get(&desk, &format!("sessions/{other}")).await["data"], json!([{"key": "cart", "bytes": 21}]));
    assert_eq!(desk.audit().await.len(), 2, "a dry run is no action");
    assert_eq!(delete("users/a%00b/sessions?reason=why".into()).await.json()["sessions"], 0);
    assert_eq!(desk.audit().await.len(), 2, "nobody is called so");
}

#[tokio::test]
async fn everybody_can_be_signed_out_from_before_a_time() {
    let desk = Desk::start().await;
    let early = desk.user("ada", WINDOWS).await;
    desk.wait(1);
    let now = jiff::Timestamp::try_from(desk.sessions.now()).unwrap();
    desk.wait(1);
    let late = desk.user("bob", WINDOWS).await;
    let body = |dry_run| json!({"before": now.to_string(), "reason": "leak", "dry_run": dry_run}).to_string();
    let post = async |body: String| {
        desk.call("POST", "revocations").header("Content-Type", "application/json").body(body).send().await
    };
    assert_eq!(post(body(true)).await.json(), json!({"sessions": 1, "dry_run": true}));
    assert_eq!(desk.fate(&early).await, "live");
    assert_eq!(post(body(false)).await.json(), json!({"sessions": 1, "dry_run": false}));
    desk.sessions.sweep().await.unwrap();
    assert_eq!([desk.fate(&early).await, desk.fate(&late).await], ["revoked", "live"]);
}

#[tokio::test]
async fn every_error_is_problem_details() {
    let desk = Desk::start().await;
    let ask = async |method: &str, path: &str, kind: &str, body: &str| {
        desk.call(method, path).header("Content-Type", kind).body(body).send().await
    };
    let json = "application/json";
    let cases = [
        ("GET", "sessions?limit=0", json, "", 400),
        ("GET", "sessions?limit=201", json, "", 400),
        ("GET", "sessions?unknown=1", json, "", 400),
        ("GET", "sessions?after=elsewhere", json, "", 400),
        ("GET", "sessions?since=soon", json, "", 400),
        ("GET", "sessions?user=a&user=b", json, "", 400),
        ("GET", "sessions/nonsense", json, "", 404),
        ("GET", "sessions/6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214", json, "", 404),
        ("GET", "nowhere", json, "", 404),
        ("PUT", "sessions", json, "", 405),
        ("POST", "revocations", "text/plain", "{}", 415),
        ("POST", "revocations", json, "{", 400),
        ("POST", "revocations", json, "{}", 422),
        ("POST", "revocations", json, r#"{"before":"2026-01-01T00:00:00Z","reason":"a","more":1}"#, 422),
        ("POST", "revocations", json, r#"{"before":"soon","reason":"a"}"#, 400),
    ];
    for (method, path, kind, body, status) in cases {
        assert_problem(&ask(method, path, kind, body).await, status);
    }
    assert_problem(&ask("POST", "revocations", json, &" ".repeat(20_000)).await, 413);
    let refused = ask("PUT", "sessions", json, "").await;
    assert!(refused.header("allow").is_some());
    assert_problem(&desk.client.get("/admin/api/v1/overview").header("Authorization", "Basic eA==").send().await, 401);
}

#[tokio::test]
async fn the_description_names_every_route_and_what_it_answers() {
    let desk = Desk::start().await;
    let description =
        desk.client.get("/admin/api/openapi.json").header("Authorization", format!("Bearer {}", desk.token));
    let description = description.send().await.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths: Vec<_> = description["paths"].as_object().unwrap().iter().collect();
    assert_eq!(paths.len(), 8);
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            for status in ["200", "400", "401", "403", "429", "503"] {
                assert!(operation["responses"][status]["content"].is_object(), "{method} {path} {status}");
            }
        }
    }
}

#[tokio::test]
async fn the_docs_page_needs_nothing_from_elsewhere() {
    let desk = Desk::start().await;
    desk.sign_in().await;
    let page = desk.get("/admin/api/docs/").await;
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("http://") && !page.text().contains("https://"), "{page:?}");
    let settings = desk.get("/admin/api/docs/swagger-initializer.js").await;
    assert!(settings.text().contains("/admin/api/openapi.json"));
}
