//! What operators do is written down, before it is done.

use sessile_core::Role;

use crate::support::{Desk, WINDOWS, assert_goes_to, assert_problem, assert_shows};

#[tokio::test]
async fn every_action_is_audited_with_who_what_and_why() {
    let desk = Desk::start().await;
    let [one, ..] = [desk.user("ada", WINDOWS).await, desk.user("ada", WINDOWS).await, desk.user("bob", WINDOWS).await];
    desk.post("/admin/sign-in", "token=a-wrong-token").await;
    desk.sign_in().await;
    desk.post(&format!("/admin/sessions/{one}/revoke"), "reason=lost+phone").await;
    desk.post("/admin/revoke", "user=ada&reason=left+the+company").await;
    desk.wait(1);
    desk.post("/admin/revoke", "before=2100-01-01T00:00&reason=leak").await;
    desk.post("/admin/prove", &format!("token={}", desk.token)).await;
    desk.post("/admin/sign-out", "").await;
    let audit = desk.audit().await;
    let expected = [
        "admin operator.sign_out dashboard 0 -",
        "admin operator.prove_again dashboard 0 -",
        "",
        "admin user.revoke ada 1 left the company",
        &format!("admin session.revoke {one} 1 lost phone"),
        "admin operator.sign_in dashboard 0 -",
        "unknown operator.sign_in_failed dashboard 0 -",
    ];
    assert_eq!(audit.len(), expected.len(), "{audit:#?}");
    for (line, expected) in audit.iter().zip(expected).filter(|(_, expected)| !expected.is_empty()) {
        assert_eq!(line, expected);
    }
    assert!(audit[2].starts_with("admin everyone.revoke 20") && audit[2].ends_with("Z 1 leak"), "{}", audit[2]);
    let actions = desk.sessions.store().operations().unwrap().actions(None, 100).await.unwrap();
    assert!(actions.iter().all(|(_, action)| action.ip.is_some()));
    assert!(!format!("{actions:?}").contains("a-wrong-token"));
}

#[tokio::test]
async fn what_cannot_be_audited_is_not_done() {
    let desk = Desk::start().await;
    let handle = desk.user("ada", WINDOWS).await;
    desk.sign_in().await;
    desk.break_the_audit();
    let forms = [
        (format!("/admin/sessions/{handle}/revoke"), "reason=because"),
        ("/admin/revoke".to_owned(), "user=ada&reason=because"),
        ("/admin/revoke".to_owned(), "before=2100-01-01T00:00&reason=because"),
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
    assert_goes_to(&desk.post("/admin/revoke", "user=ada&reason=because").await, "/admin/revoke?ended=1");
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
    assert_goes_to(&desk.post(&path, "reason=lost+phone").await, &format!("/admin/sessions/{handle}?done=revoked"));
    assert_shows(&desk.get(&format!("/admin/sessions/{handle}")).await, 200, "Revoked: lost phone");
    assert_goes_to(&desk.post(&path, "reason=again").await, &format!("/admin/sessions/{handle}"));
    assert_eq!(desk.audit().await.iter().filter(|line| line.contains("session.revoke")).count(), 1);
}
