//! What the pages show.

use std::time::Duration;

use crate::support::{Desk, WINDOWS, assert_shows};

const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)>";

#[tokio::test]
async fn the_overview_says_what_is_wrong_first_and_what_to_do() {
    let desk = Desk::start().await;
    desk.user("ada", WINDOWS).await;
    desk.sign_in().await;
    let page = desk.get("/admin").await;
    assert_shows(&page, 200, "One thing is broken.");
    let place = |text: &str| page.text().find(text).unwrap_or_else(|| panic!("expected {text:?} in {page:?}"));
    let order =
        ["The index is missing.", "sessile migrate", "Much &#60;has&#62; expired.", "It answers.", "Active sessions"];
    assert!(order.is_sorted_by_key(|text| place(text)), "{page:?}");
}

#[tokio::test]
async fn a_search_finds_by_user_handle_network_status_and_time() {
    let desk = Desk::start().await;
    let ada = desk.user("ada", WINDOWS).await;
    desk.wait(60);
    let bob = desk.user("bob", WINDOWS).await;
    desk.sign_in().await;
    let since = jiff::Timestamp::try_from(desk.sessions.now() - Duration::from_secs(60)).unwrap().to_string();
    desk.call("DELETE", &format!("sessions/{ada}?reason=because")).send().await;
    let cases = [
        ("user=ada".to_owned(), (true, false)),
        (format!("handle={bob}"), (false, true)),
        ("ip=203.0.113.0/24".to_owned(), (true, true)),
        ("ip=203.0.113.8".to_owned(), (false, false)),
        ("status=live".to_owned(), (false, true)),
        ("status=revoked&user=&handle=".to_owned(), (true, false)),
        (format!("since={since}"), (false, true)),
        ("user=nobody".to_owned(), (false, false)),
        ("user=a%00b".to_owned(), (false, false)),
    ];
    for (query, expected) in cases {
        let page = desk.get(&format!("/admin/sessions?{query}")).await;
        let shows = |handle| page.text().contains(&format!("/admin/sessions/{handle}\""));
        assert_eq!((shows(&ada), shows(&bob)), expected, "{query}: {page:?}");
    }
    assert_shows(&desk.get("/admin/sessions?ip=here").await, 400, "Expected an address");
}

#[tokio::test]
async fn a_long_list_is_paged_without_loss_or_repetition() {
    let desk = Desk::start().await;
    for _ in 0..60 {
        desk.user("ada", WINDOWS).await;
        desk.clock.advance(Duration::from_millis(1));
    }
    desk.sign_in().await;
    let (mut seen, mut next) = (std::collections::BTreeSet::new(), "/admin/sessions?user=ada".to_owned());
    for on_page in [25, 25, 10] {
        let page = desk.get(&next).await;
        let links = page.text().split("href=\"/admin/sessions/").skip(1);
        let found: Vec<_> = links.map(|link| link[..36].to_owned()).collect();
        assert_eq!(found.len(), on_page);
        seen.extend(found);
        let further = page.text().split("rel=\"next\"").next().unwrap().rsplit("href=\"").next().unwrap();
        next = further.split('"').next().unwrap().replace("&#38;", "&");
    }
    assert_eq!(seen.len(), 60);
}

#[tokio::test]
async fn what_strangers_wrote_stays_text_and_what_users_stored_stays_hidden() {
    let desk = Desk::start().await;
    let handle = desk.user(HOSTILE, HOSTILE).await;
    desk.sign_in().await;
    let hostile = percent_encoding::utf8_percent_encode(HOSTILE, percent_encoding::NON_ALPHANUMERIC).to_string();
    desk.post(&format!("/admin/sessions/{handle}/revoke"), &format!("reason={hostile}")).await;
    let pages = [
        "/admin".to_owned(),
        format!("/admin/sessions?user={hostile}"),
        format!("/admin/sessions/{handle}"),
        format!("/admin/sessions/{handle}/revoke"),
        format!("/admin/users?user={hostile}"),
        format!("/admin/revoke?user={hostile}"),
        "/admin/audit".to_owned(),
    ];
    for path in pages {
        let page = desk.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text().contains("<script>alert") && !page.text().contains("<img src=x"), "{path}: {page:?}");
        assert!(!page.text().contains("a very secret value"), "{path}");
    }
    let next = desk.get("/admin/sign-in?next=%22%3E%3Cscript%3Ealert(1)").await;
    assert!(!next.text().contains("<script>alert"), "{next:?}");
}

#[tokio::test]
async fn an_open_session_shows_its_timeline_and_the_size_of_its_data() {
    let desk = Desk::start().await;
    let handle = desk.user("ada", WINDOWS).await;
    desk.sign_in().await;
    let page = desk.get(&format!("/admin/sessions/{handle}")).await;
    for text in ["Chrome on Windows", "203.0.113.7", "Signed in", "Ends, unless it is used before", "cart", ">21<"] {
        assert_shows(&page, 200, text);
    }
    for unknown in ["6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214", "nonsense"] {
        assert_shows(&desk.get(&format!("/admin/sessions/{unknown}")).await, 404, "no session of this handle");
    }
}

#[tokio::test]
async fn a_preview_counts_exactly_and_ends_nothing() {
    let desk = Desk::start().await;
    let early = desk.user("ada", WINDOWS).await;
    desk.wait(2);
    let between = jiff::Timestamp::try_from(desk.sessions.now()).unwrap();
    desk.wait(2);
    let late = [desk.user("ada", WINDOWS).await, desk.user("bob", WINDOWS).await];
    desk.sign_in().await;
    let counts = [
        ("user=ada".to_owned(), "This ends 2 live sessions"),
        (format!("user=ada&keep={early}"), "This ends 1 live session<"),
        ("user=nobody".to_owned(), "This ends 0 live sessions"),
        (format!("before={between}"), "This ends 1 live session<"),
        ("before=2100-01-01T00%3A00".to_owned(), "This ends 3 live sessions"),
    ];
    for (query, expected) in counts {
        assert_shows(&desk.get(&format!("/admin/revoke?{query}")).await, 200, expected);
    }
    assert_shows(&desk.get("/admin/revoke?before=soon").await, 400, "Expected a time");
    for handle in late.iter().chain([&early]) {
        assert_eq!(desk.fate(handle).await, "live");
    }
    desk.post("/admin/revoke", &format!("user=ada&keep={early}&count=1&reason=because")).await;
    assert_eq!([desk.fate(&early).await, desk.fate(&late[0]).await], ["live", "revoked"]);
}
