//! What everybody reaches of `sessile serve`.

use std::time::Duration;

use sessile_core::Sessions;
use sessile_server::health::Readiness;
use sessile_server::public;
use sessile_testkit::conformance;
use sessile_testkit::http::Browser;

use super::{serve, world};

#[tokio::test]
async fn what_is_for_operators_is_not_there() {
    let (_, _, config) = world();
    let sessions = Sessions::new(sessile_core::MemoryStore::new(), config);
    let browser = Browser::new(&serve(public::router(sessions.clone(), Readiness::new(sessions), None)).await);
    for path in ["/", "/metrics", "/admin", "/admin/", "/admin/api/v1/overview", "/auth/login", "/signed-out"] {
        assert_eq!(browser.get(path).send().await.status, 404, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        let answer = browser.get(path).send().await;
        assert_eq!((answer.status, answer.header("x-content-type-options")), (200, Some("nosniff")), "{path}");
    }
    assert_eq!(browser.get("/devices").send().await.status, 401);
}

#[tokio::test]
async fn users_see_and_end_their_own_sessions_and_nobody_elses() {
    let (_, clock, config) = world();
    let sessions = Sessions::new(sessile_core::MemoryStore::new(), config);
    let app = serve(conformance::router(sessions.clone())).await;
    let public = serve(public::router(sessions.clone(), Readiness::new(sessions), None)).await;
    let sign_in = async |user: &str| {
        let browser = Browser::new(&app);
        let login = browser.post(&format!("/login?user={user}")).send().await;
        let same = Browser::new(&public);
        same.set_cookie("sid", &browser.cookie("sid").unwrap());
        (same, login.json()["handle"].as_str().unwrap().to_owned())
    };
    let (here, here_handle) = sign_in("ada").await;
    let (there, there_handle) = sign_in("ada").await;
    let (_, anothers) = sign_in("grace").await;

    let list = here.get("/devices").send().await.json();
    let handles: Vec<_> =
        list["devices"].as_array().unwrap().iter().map(|one| one["handle"].as_str().unwrap()).collect();
    assert!(handles.len() == 2 && [&here_handle, &there_handle].iter().all(|one| handles.contains(&one.as_str())));
    assert_eq!(here.delete(&format!("/devices/{anothers}")).send().await.status, 404);
    assert_eq!(here.get("/devices?after=nonsense").send().await.status, 400);

    clock.advance(Duration::from_secs(11 * 60));
    assert_eq!(here.delete(&format!("/devices/{there_handle}")).send().await.status, 401, "only after a recent proof");
    assert_eq!(there.get("/devices").send().await.status, 200);
    assert_eq!(here.delete(&format!("/devices/{here_handle}")).send().await.status, 204);
    assert_eq!(here.get("/devices").send().await.status, 401);

    let (again, _) = sign_in("ada").await;
    assert_eq!(again.delete(&format!("/devices/{there_handle}")).send().await.status, 204);
    assert_eq!(there.get("/devices").send().await.status, 401);
}

#[tokio::test]
async fn another_sites_request_ends_nothing() {
    let (_, _, config) = world();
    let sessions = Sessions::new(sessile_core::MemoryStore::new(), config);
    let browser = Browser::new(&serve(public::router(sessions.clone(), Readiness::new(sessions), None)).await);
    let forged = browser.delete("/devices/6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214").header("Sec-Fetch-Site", "cross-site");
    assert_eq!(forged.send().await.status, 403);
}
