//! `sessile explain`. What it can say is tested with the library; here is how it is told.

use sessile_testkit::http::Browser;

use crate::support::{Place, sign_in};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_explained_to_people_and_to_programs() {
    for place in Place::both().await {
        let demo = place.demo();
        assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
        let handle = place.listed(&["list"])[0]["handle"].as_str().unwrap().to_owned();
        let told = &place.listed(&["explain", &handle])[0];
        assert_eq!((&told["handle"], &told["alive"]), (&handle.as_str().into(), &true.into()));
        assert_eq!(told["next"]["limit"], "idle timeout");
        assert!(place.prints(&["explain", &handle]).starts_with("alive\nUser ada signed in at "));

        assert_eq!(place.run(&["revoke", &handle, "--yes", "--reason", "two\nlines\u{1b}"]).0, Some(0));
        let told = &place.listed(&["explain", &handle])[0];
        assert_eq!((&told["alive"], &told["next"]), (&false.into(), &serde_json::Value::Null));
        let shown = place.prints(&["explain", &handle]);
        assert!(shown.starts_with("over\n") && shown.contains("two\\nlines\\u{1b}"), "{shown}");
        let unknown = "00000000-0000-4000-8000-000000000000";
        assert_eq!(place.run(&["explain", unknown]), (Some(1), String::new(), "nothing matched\n".into()));
        let (code, _, err) = place.run(&["explain", "x"]);
        assert!(code == Some(2) && err.contains("expected a handle like"), "{err}");
    }
}
