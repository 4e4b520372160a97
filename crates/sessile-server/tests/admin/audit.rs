//! What operators do is written down, before it is done.

use std::time::Duration;

use sessile_core::Role;
use sessile_testkit::spy::Call;

use crate::support::{Desk, WINDOWS, assert_goes_to, assert_problem, assert_shows};

#[tokio::test]
async fn every_action_is_audited_with_who_what_and_why() {
    let desk = Desk::start().await;
    let [one, ..] = [desk.user("ada", WINDOWS).await, desk.user("ada", WINDOWS).await, desk.user("bob", WINDOWS).await];
    desk.post("/admin/sign-in", "token=a-wrong-token").await;
    desk.sign_in().await;
    desk.post(&format!("/admin/sessions/{one}/revoke"), "reason=lost+phone").await;
    desk.post("/admin/revoke", "user=ada&count=1&reason=left+the+company").await;
    desk.wait(1);
    let now = desk.now();
    desk.post("/admin/revoke", &format!("before={now}&count=1&reason=leak")).await;
    desk.post("/admin/prove", &format!("token={}", desk.token)).await;
    desk.post("/admin/sign-out", "").await;
    let audit = desk.audit().await;
    let expected = [
        "admin operator.sign_out dashboard 0 -",
        "admin operator.prove_again dashboard 0 -",
        "",
        "admin user.revoke ada 1 left the company",
        &format!("admin session.revoke {one} of ada 1 lost phone"),
        "admin operator.sign_in dashboard 0 -",
        "unknown operator.sign_in_failed dashboard 0 -",
    ];
    assert_eq!(audit.len(), expected.len(), "{audit:#?}");
    for (line, expected) in audit.iter().zip(expected).filter(|(_, expected)| !expected.is_empty()) {
        assert_eq!(line, expected);
    }
    assert!(audit[2].starts_with("admin everyone.revoke 20") && audit[2].ends_with("Z 1 leak"), "{}", audit[2]);
    let actions = desk.sessions.store().operations().unwrap().actions(None, 100).await.unwrap();
    assert!(actions.iter().all(|(_, action)| action.ip.is_some() || &*action.actor == "server"));
    assert!(!format!("{actions:?}").contains("a-wrong-token"));
}

#[tokio::test]
async fn what_cannot_be_audited_is_not_done() {
    let desk = Desk::start().await;
    let handle = desk.user("ada", WINDOWS).await;
    desk.sign_in().await;
    desk.wait(1);
    let everyone = format!("before={}&count=1&reason=because", desk.now());
    desk.break_the_audit();
    let forms = [
        (format!("/admin/sessions/{handle}/revoke"), "reason=because"),
        ("/admin/revoke".to_owned(), "user=ada&count=1&reason=because"),
        ("/admin/revoke".to_owned(), everyone.as_str()),
        ("/admin/sign-out".to_owned(), ""),
    ];
    for (path, form) in forms {
        assert_shows(&desk.post(&path, form).await, 503, "Nothing was done");
    }
    assert_problem(&desk.call("DELETE", &format!("sessions/{handle}?reason=because")).send().await, 503);
    assert_eq!(desk.fate(&handle).await, "live");
    assert_eq!(desk.get("/admin").await.status, 200, "still signed in");
    desk.browser.clear();
    assert_eq!(desk.post("/admin/sign-in", &format!("token={}", desk.token)).await.status, 503);
    assert_eq!(desk.post("/admin/sign-in", "token=wrong").await.status, 503);
    assert_eq!(desk.browser.cookie("sessile-admin"), None);
}

#[tokio::test]
async fn many_sessions_end_only_after_a_proof_of_the_last_ten_minutes() {
    let desk = Desk::start().await;
    let handle = desk.user("ada", WINDOWS).await;
    desk.sign_in().await;
    desk.wait(11);
    assert_shows(&desk.get("/admin/revoke?user=ada").await, 401, "Confirm it is you");
    assert_shows(&desk.post("/admin/revoke", "user=ada&reason=because").await, 401, "ten minutes");
    let call = desk.browser.delete("/admin/api/v1/users/ada/sessions?reason=because");
    let refused = call.header("Sec-Fetch-Site", "same-origin").send().await;
    assert_problem(&refused, 401);
    assert!(refused.header("www-authenticate").unwrap().contains("insufficient_user_authentication"));
    assert_eq!(desk.fate(&handle).await, "live");

    let other = desk.operator("grace", Role::Admin).await;
    let back = "next=%2Fadmin%2Frevoke%3Fuser%3Dada";
    assert_shows(&desk.post("/admin/prove", &format!("token={other}&{back}")).await, 401, "not your token");
    assert_goes_to(&desk.post("/admin/prove", &format!("token={}&{back}", desk.token)).await, "/admin/revoke?user=ada");
    assert_shows(&desk.get("/admin/revoke?user=ada").await, 200, "This ends 1 live session");
    assert_goes_to(&desk.post("/admin/revoke", "user=ada&count=1&reason=because").await, "/admin/revoke");
    assert_shows(&desk.get("/admin/revoke").await, 200, "1 session is ended.");
    assert!(!desk.get("/admin/revoke?ended=99999").await.text().contains("ended."), "said once, and by no address");
    assert_eq!(desk.fate(&handle).await, "revoked");
}

#[tokio::test]
async fn one_session_ends_without_another_proof_and_says_why() {
    let desk = Desk::start().await;
    let handle = desk.user("ada", WINDOWS).await;
    desk.sign_in().await;
    desk.wait(11);
    let path = format!("/admin/sessions/{handle}/revoke");
    assert_shows(&desk.post(&path, "reason=++").await, 400, "Say why");
    assert_goes_to(&desk.post(&path, "reason=lost+phone").await, &format!("/admin/sessions/{handle}"));
    assert_shows(&desk.get(&format!("/admin/sessions/{handle}")).await, 200, "The session is ended.");
    assert_shows(&desk.get(&format!("/admin/sessions/{handle}")).await, 200, "Revoked: lost phone");
    assert_goes_to(&desk.post(&path, "reason=again").await, &format!("/admin/sessions/{handle}"));
    assert_eq!(desk.audit().await.iter().filter(|line| line.contains("session.revoke")).count(), 1);
}

#[tokio::test]
async fn the_first_operator_and_who_gave_a_wrong_proof_are_in_the_audit() {
    let desk = Desk::start().await;
    let actions = desk.sessions.store().operations().unwrap().actions(None, 100).await.unwrap();
    let first = &actions[0].1;
    assert_eq!([&*first.actor, &*first.action, &*first.target], ["server", "operator.add", "admin"]);
    desk.sign_in().await;
    assert_eq!(desk.post("/admin/prove", "token=wrong").await.status, 401);
    assert_eq!(desk.audit().await[0], "admin operator.sign_in_failed dashboard 0 -");
}

#[tokio::test]
async fn no_more_sessions_end_than_were_confirmed() {
    let desk = Desk::start().await;
    let one = desk.user("ada", WINDOWS).await;
    desk.sign_in().await;
    let preview = desk.get("/admin/revoke?before=2100-01-01T00:00").await;
    let now = desk.now();
    assert_shows(&preview, 200, &format!("value=\"{now}\""));
    desk.wait(1);
    let other = desk.user("ada", WINDOWS).await;
    for form in ["user=ada&count=1", "user=ada", "before=2100-01-01T00:00&count=1"] {
        let answer = desk.post("/admin/revoke", &format!("{form}&reason=because")).await;
        assert_shows(&answer, 409, "more sessions than you confirmed");
        assert_shows(&answer, 409, "This ends 2 live sessions");
    }
    assert_eq!([desk.fate(&one).await, desk.fate(&other).await], ["live", "live"]);
    assert_goes_to(&desk.post("/admin/revoke", &format!("before={now}&count=1&reason=leak")).await, "/admin/revoke");
    desk.sessions.sweep().await.unwrap();
    assert_eq!(desk.fate(&other).await, "live");
}

#[tokio::test]
async fn everybody_is_signed_out_also_when_nobody_can_count_them() {
    let desk = Desk::start().await;
    let handle = desk.user("ada", WINDOWS).await;
    desk.sign_in().await;
    desk.wait(1);
    desk.spy.fail_all(Call::Search);
    let preview = desk.get("/admin/revoke?before=2100-01-01T00:00").await;
    assert_shows(&preview, 200, "could not be counted in time");
    assert_shows(&preview, 200, "name=\"count\" value=\"all\"");
    let form = format!("before={}&count=all&reason=leak", desk.now());
    assert_goes_to(&desk.post("/admin/revoke", &form).await, "/admin/revoke");
    desk.spy.work();
    assert!(desk.audit().await[0].ends_with("Z (not counted) 0 leak"), "{:?}", desk.audit().await);
    desk.sessions.sweep().await.unwrap();
    assert_eq!(desk.fate(&handle).await, "revoked");
}

#[tokio::test]
async fn what_was_begun_is_done_though_nobody_waits_for_the_answer() {
    let desk = Desk::start().await;
    let handle = desk.user("ada", WINDOWS).await;
    desk.slow_down_the_audit();
    let call = desk.call("DELETE", "users/ada/sessions?reason=leak").send();
    assert!(tokio::time::timeout(Duration::from_millis(100), call).await.is_err());
    for _ in 0..100 {
        if desk.fate(&handle).await == "revoked" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the caller went away, and the session lives");
}
