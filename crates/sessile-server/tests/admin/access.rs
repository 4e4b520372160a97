//! Who gets in, how far, and for how long.

use sessile_core::Role;
use sessile_testkit::http::Response;

use crate::support::{Desk, WINDOWS, assert_goes_to, assert_problem, assert_shows};

/// Every page for operators.
const PAGES: [&str; 5] = ["/admin", "/admin/sessions", "/admin/users?user=ada", "/admin/revoke", "/admin/audit"];

/// Every question of the API, and its description.
const CALLS: [&str; 8] = [
    "/admin/api/v1/overview",
    "/admin/api/v1/timeline",
    "/admin/api/v1/checks",
    "/admin/api/v1/sessions",
    "/admin/api/v1/users/ada/sessions",
    "/admin/api/v1/audit",
    "/admin/api/openapi.json",
    "/admin/api/docs/",
];

/// Everything that changes something, and what the form says.
async fn changes(desk: &Desk) -> [(String, &'static str); 4] {
    let handle = desk.user("ada", WINDOWS).await;
    [
        (format!("/admin/sessions/{handle}/revoke"), "reason=because"),
        ("/admin/revoke".into(), "user=ada&reason=because"),
        ("/admin/revoke".into(), "before=2040-01-01T00:00&reason=because"),
        ("/admin/prove".into(), "token=wrong"),
    ]
}

#[tokio::test]
async fn the_first_token_is_told_once_and_only_its_hash_is_kept() {
    let desk = Desk::start().await;
    assert_eq!(desk.admin.first_token().await.unwrap(), None);
    let operators = desk.sessions.store().operations().unwrap().operators().await.unwrap();
    let kept = format!("{operators:?}{:?}", operators[0].token_hash);
    assert_eq!((&*operators[0].name, operators[0].role), ("admin", Role::Admin));
    assert!(!kept.contains(&desk.token) && desk.token.len() >= 43, "{kept}");
}

#[tokio::test]
async fn nobody_gets_in_without_a_token() {
    let desk = Desk::start().await;
    for page in PAGES {
        let answer = desk.get(page).await;
        assert_eq!(answer.status, 303, "{page}: {answer:?}");
        assert!(answer.header("location").unwrap().starts_with("/admin/sign-in?next=%2Fadmin"), "{answer:?}");
        assert!(answer.body.is_empty());
    }
    for call in CALLS {
        let answer = desk.get(call).await;
        assert_problem(&answer, 401);
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
    for (path, form) in changes(&desk).await {
        assert_shows(&desk.post(&path, form).await, 401, "Unauthorized");
    }
    assert_eq!(desk.audit().await, [""; 0]);
}

#[tokio::test]
async fn a_token_opens_every_page_and_leads_back_to_where_somebody_was_going() {
    let desk = Desk::start().await;
    let answer = desk.post("/admin/sign-in", &format!("token={}&next=%2Fadmin%2Faudit", desk.token)).await;
    assert_goes_to(&answer, "/admin/audit");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("sessile-admin=") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(cookie.contains("HttpOnly") && !cookie.contains("Secure") && !cookie.contains("Expires"), "{cookie}");
    for page in PAGES {
        assert_shows(&desk.get(page).await, 200, "Sign out");
    }
    for call in CALLS {
        assert_eq!(desk.get(call).await.status, 200, "{call}");
    }
}

#[tokio::test]
async fn over_https_the_cookie_is_bound_to_the_host() {
    let desk = Desk::with(|admin| admin.secure(true)).await;
    let answer = desk.post("/admin/sign-in", &format!("token={}", desk.token)).await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-sessile-admin=") && cookie.contains("Secure"), "{cookie}");
}

#[tokio::test]
async fn the_applications_own_cookie_is_worth_nothing_here() {
    let desk = Desk::start().await;
    let mut cookie = None;
    for name in ["sessile-admin", "__Host-sessile-admin", "__Host-sid"] {
        let exchange = desk.sessions.begin(&NoHead);
        exchange.session().await.unwrap().sign_in("admin").unwrap();
        let set = exchange.finish().await.unwrap().unwrap();
        let value = set.header_value().split(['=', ';']).nth(1).unwrap().to_owned();
        desk.browser.set_cookie(name, &value);
        cookie = Some(value);
    }
    assert!(cookie.is_some());
    assert_eq!(desk.get("/admin").await.status, 303);
    assert_problem(&desk.get("/admin/api/v1/overview").await, 401);
}

struct NoHead;

impl sessile_core::RequestHead for NoHead {
    fn header(&self, _name: &str, _visit: &mut dyn FnMut(&[u8])) {}
}

#[tokio::test]
async fn a_sign_in_ends_when_it_is_not_used_after_eight_hours_and_at_the_sign_out() {
    let desk = Desk::start().await;
    desk.sign_in().await;
    desk.wait(14);
    assert_eq!(desk.get("/admin").await.status, 200);
    desk.wait(16);
    assert_eq!(desk.get("/admin").await.status, 303, "15 minutes without use");

    desk.sign_in().await;
    for _ in 0..48 {
        assert_eq!(desk.get("/admin").await.status, 200);
        desk.wait(10);
    }
    desk.wait(1);
    assert_eq!(desk.get("/admin").await.status, 303, "8 hours");

    desk.sign_in().await;
    let stolen = desk.browser.clone();
    assert_goes_to(&desk.post("/admin/sign-out", "").await, "/admin/sign-in");
    assert_eq!(stolen.get("/admin").send().await.status, 303, "signed out");
}

#[tokio::test]
async fn an_operator_who_was_removed_is_out_at_the_next_request() {
    let desk = Desk::start().await;
    let token = desk.operator("grace", Role::Admin).await;
    desk.sign_in_with(&token).await;
    assert_eq!(desk.get("/admin").await.status, 200);
    desk.sessions.store().operations().unwrap().remove_operator("grace").await.unwrap();
    assert_eq!(desk.get("/admin").await.status, 303);
    assert_problem(&desk.call_as(&token, "GET", "overview").send().await, 401);
    desk.operator("grace", Role::Admin).await;
    assert_eq!(desk.get("/admin").await.status, 303, "another grace, with another token");
}

#[tokio::test]
async fn a_viewer_sees_everything_and_changes_nothing() {
    let desk = Desk::start().await;
    let token = desk.operator("vera", Role::Viewer).await;
    let handle = desk.user("ada", WINDOWS).await;
    desk.sign_in_with(&token).await;
    for page in ["/admin", "/admin/sessions", "/admin/users?user=ada", "/admin/audit"] {
        assert_shows(&desk.get(page).await, 200, "viewer");
    }
    let opened = desk.get(&format!("/admin/sessions/{handle}")).await;
    assert!(opened.status == 200 && !opened.text().contains("/revoke"), "{opened:?}");
    for page in ["/admin/revoke".to_owned(), format!("/admin/sessions/{handle}/revoke")] {
        assert_shows(&desk.get(&page).await, 403, "viewer");
    }
    for (path, form) in changes(&desk).await {
        assert_shows(&desk.post(&path, form).await, 403, "viewer");
    }
    let calls = [
        ("DELETE", format!("sessions/{handle}?reason=because")),
        ("DELETE", "users/ada/sessions?reason=because".to_owned()),
        ("DELETE", "users/ada/sessions?reason=because&dry_run=true".to_owned()),
        ("POST", "revocations".to_owned()),
    ];
    for (method, path) in calls {
        let call = desk.call_as(&token, method, &path).header("Content-Type", "application/json");
        assert_problem(&call.body(r#"{"before":"2040-01-01T00:00:00Z","reason":"because"}"#).send().await, 403);
    }
    assert_eq!(desk.fate(&handle).await, "live");
    assert_goes_to(&desk.post("/admin/sign-out", "").await, "/admin/sign-in");
}

#[tokio::test]
async fn ten_wrong_tokens_a_minute_are_answered_and_then_nobody_is_asked() {
    let desk = Desk::start().await;
    for _ in 0..10 {
        assert_shows(&desk.post("/admin/sign-in", "token=wrong").await, 401, "no operator");
    }
    let refused = |answer: &Response| (answer.status, answer.header("retry-after").is_some());
    let right = format!("token={}", desk.token);
    assert_eq!(refused(&desk.post("/admin/sign-in", &right).await), (429, true));
    assert_eq!(desk.audit().await.len(), 10, "no more is written down than is answered");
    assert_eq!(desk.call("GET", "overview").send().await.status, 200, "a script with a right token goes on");
    desk.wait(1);
    desk.sign_in().await;
    for attempt in 0..12 {
        let answer = desk.call_as("wrong", "GET", "overview").send().await;
        assert_problem(&answer, if attempt < 10 { 401 } else { 429 });
    }
    desk.sign_in().await;
}

#[tokio::test]
async fn forms_from_other_sites_are_refused() {
    let desk = Desk::start().await;
    desk.sign_in().await;
    for (path, form) in changes(&desk).await {
        let sent = desk.form(&path, form).header("Sec-Fetch-Site", "cross-site").send().await;
        assert_shows(&sent, 403, "another site");
        let sent = desk.form(&path, form).header("Origin", "http://evil.example").send().await;
        assert_shows(&sent, 403, "another site");
    }
    let call = desk.browser.delete("/admin/api/v1/users/ada/sessions?reason=because");
    assert_problem(&call.header("Sec-Fetch-Site", "same-site").send().await, 403);
    let sign_in = desk.form("/admin/sign-in", "token=x").header("Sec-Fetch-Site", "cross-site").send().await;
    assert_shows(&sign_in, 403, "another site");
}

#[tokio::test]
async fn a_name_that_somebody_else_may_lead_here_is_refused() {
    let desk = Desk::with(|admin| admin.host("admin.example.com")).await;
    let ask = |host: &str| desk.client.get("/admin/sign-in").header("Host", host).send();
    for host in ["127.0.0.1:1234", "localhost:9090", "[::1]:9090", "admin.example.com", "ADMIN.example.com:443"] {
        assert_eq!(ask(host).await.status, 200, "{host}");
    }
    for host in ["evil.example", "admin.example.com.evil.example", "", "127.0.0.1.evil.example:80"] {
        assert!([400, 421].contains(&ask(host).await.status), "{host:?}");
    }
    let absolute = desk.client.get("http://evil.example/admin/sign-in").header("Host", "localhost").send().await;
    assert_eq!(absolute.status, 421);
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_others_out() {
    let desk = Desk::start().await;
    desk.sign_in().await;
    let paths = ["/admin", "/admin/nowhere", "/admin/assets/admin.js", "/admin/api/v1/overview", "/admin/api/v1/no"];
    for path in paths {
        let answer = desk.get(path).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"));
        let kept = if path.starts_with("/admin/assets/") { "no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), Some(kept), "{path}");
    }
}

#[tokio::test]
async fn an_asset_that_has_not_changed_is_not_sent_again() {
    let desk = Desk::start().await;
    let first = desk.get("/admin/assets/uPlot.js").await;
    assert_eq!((first.status, first.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    let again = desk.browser.get("/admin/assets/uPlot.js").header("If-None-Match", first.header("etag").unwrap());
    let again = again.send().await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(desk.get("/admin/assets/demo.css").await.status, 404);
}

#[tokio::test]
async fn health_is_told_while_the_store_is_down_to_whom_it_knew_lately() {
    let desk = Desk::start().await;
    desk.sign_in().await;
    assert_eq!(desk.get("/admin").await.status, 200);
    assert_eq!(desk.call("GET", "checks").send().await.status, 200);
    desk.store_is_down(true);
    desk.wait(9);
    assert_shows(&desk.get("/admin").await, 200, "The index is missing.");
    assert_eq!(desk.call("GET", "checks").send().await.status, 200);
    assert_eq!(desk.call_as("another", "GET", "checks").send().await.status, 503);
    for closed in ["/admin/sessions", "/admin/audit", "/admin/revoke"] {
        assert_eq!(desk.get(closed).await.status, 503, "{closed}");
    }
    assert_eq!(desk.post("/admin/prove", "token=x").await.status, 503);
    desk.wait(2);
    assert_eq!(desk.get("/admin").await.status, 503, "not for longer");
    desk.store_is_down(false);
    assert_eq!(desk.get("/admin").await.status, 200);
    desk.sessions.store().operations().unwrap().remove_operator("admin").await.unwrap();
    assert_eq!(desk.get("/admin").await.status, 303, "out at once");
    desk.store_is_down(true);
    assert_eq!(desk.get("/admin").await.status, 503, "and not let in again");
}

#[tokio::test]
async fn an_address_that_is_no_utf_8_is_refused_and_not_read_as_another() {
    let desk = Desk::start().await;
    desk.sign_in().await;
    assert_shows(&desk.get("/admin/sessions?user=%ff").await, 400, "UTF-8");
    assert_eq!(desk.call("GET", "sessions?user=%ff").send().await.status, 400);
}
