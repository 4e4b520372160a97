//! The demo, over a real listener, as a browser meets it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what goes wrong in a test ends it")]

use std::time::Duration;

use sessile_core::{Clock, Config, Cookie, MemoryStore, Secure, Sessions, SystemClock};
use sessile_server::demo::{self, DemoInfo};
use sessile_testkit::clock::ManualClock;
use sessile_testkit::http::{Browser, RequestBuilder, Response};
use sessile_testkit::spy::{Call, SpyStore};

const SECRET: &str = "a secret for the tests of the demo server";
const STORE: &str = "memory <&> nothing else";

/// Every page that is reached by a link.
const PAGES: [&str; 5] = ["/", "/session", "/sign-in", "/signed-out", "/e-mail"];

/// Every address that changes something.
const FORMS: [&str; 9] = [
    "/cart",
    "/cart/more",
    "/cart/less",
    "/cart/remove",
    "/cart/empty",
    "/sign-out",
    "/confirm",
    "/session/rotate",
    "/session/clear",
];

/// A demo and a browser that has not been there yet.
struct Demo {
    browser: Browser,
    store: SpyStore<MemoryStore>,
    clock: ManualClock,
}

impl Demo {
    async fn start() -> Demo {
        let (store, clock) = (SpyStore::new(MemoryStore::new()), ManualClock::new(SystemClock.now()));
        let cookie = Cookie::new("sid").secure(Secure::Auto);
        let config = Config::new(SECRET).unwrap().cookie(cookie).unwrap().clock(clock.clone());
        let info = DemoInfo { store: STORE.into(), cookie: "sid".into() };
        let app = demo::router(Sessions::new(store.clone(), config), info);

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let browser = Browser::new(&format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Demo { browser, store, clock }
    }

    async fn get(&self, path: &str) -> Response {
        self.browser.get(path).header("Accept", "text/html,*/*;q=0.8").send().await
    }

    async fn post(&self, path: &str, form: &str) -> Response {
        self.request(path, form).header("Sec-Fetch-Site", "same-origin").send().await
    }

    fn request(&self, path: &str, form: &str) -> RequestBuilder {
        let request = self.browser.post(path).header("Accept", "text/html,*/*;q=0.8");
        request.header("Content-Type", "application/x-www-form-urlencoded").body(form)
    }

    async fn sign_in(&self) {
        let response = self.post("/sign-in", "user=ada&password=analytical").await;
        assert_goes_to(&response, "/");
    }
}

fn assert_goes_to(response: &Response, path: &str) {
    assert_eq!((response.status, response.header("location")), (303, Some(path)), "{response:?}");
}

fn assert_shows(response: &Response, status: u16, text: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(response.text().contains(text), "expected {text:?} in {response:?}");
}

#[tokio::test]
async fn a_plain_visit_stores_nothing_and_sets_no_cookie() {
    let demo = Demo::start().await;
    for path in PAGES.into_iter().chain(["/nowhere", "/favicon.ico"]) {
        let response = demo.get(path).await;
        assert_eq!(response.header("set-cookie"), None, "{path}");
    }
    for path in ["/cart/less", "/cart/remove"] {
        assert_goes_to(&demo.post(path, "product=mug").await, "/#cart");
    }
    assert_goes_to(&demo.post("/cart/empty", "").await, "/#cart");
    assert_goes_to(&demo.post("/session/clear", "").await, "/session");
    assert_goes_to(&demo.post("/session/rotate", "").await, "/session");
    assert_goes_to(&demo.post("/sign-out", "").await, "/signed-out");
    assert_shows(&demo.get("/").await, 200, "No session yet: nothing has been stored.");
    assert_eq!(demo.store.calls(), [], "the store was asked");
    assert_eq!(demo.browser.cookie("sid"), None);
}

#[tokio::test]
async fn the_first_write_makes_one_row_and_one_cookie() {
    let demo = Demo::start().await;
    assert_goes_to(&demo.post("/cart", "product=mug").await, "/");
    assert_eq!(demo.store.calls(), [Call::Insert]);
    assert!(demo.browser.cookie("sid").is_some());
    assert_shows(&demo.get("/session").await, 200, "&#34;mug&#34;: 1");
}

#[tokio::test]
async fn the_cart_counts_up_to_nine_and_down_to_nothing() {
    let demo = Demo::start().await;
    for _ in 0..10 {
        demo.post("/cart", "product=mug").await;
    }
    assert_shows(&demo.get("/").await, 200, "9 of one thing is the most");
    demo.post("/cart/more", "product=mug").await;
    demo.post("/cart/less", "product=mug").await;
    demo.post("/cart", "product=oak").await;
    let page = demo.get("/").await;
    assert_shows(&page, 200, "<b>9</b>");
    assert_shows(&page, 200, "€156.00");
    demo.post("/cart/remove", "product=mug").await;
    demo.post("/cart/less", "product=oak").await;
    assert_shows(&demo.get("/").await, 200, "Nothing in it.");
}

#[tokio::test]
async fn a_message_is_shown_once() {
    let demo = Demo::start().await;
    demo.post("/cart", "product=mug").await;
    let shown = "Barnacle mug is in your cart.";
    assert_shows(&demo.get("/session").await, 200, "The message above is still in it");
    assert!(!demo.get("/session").await.text().contains(shown));
}

#[tokio::test]
async fn the_cart_survives_the_sign_in_and_the_id_does_not() {
    let demo = Demo::start().await;
    demo.post("/cart", "product=mug").await;
    demo.post("/cart", "product=oak").await;
    let thief = demo.browser.clone();
    demo.sign_in().await;
    let page = demo.get("/").await;
    assert_shows(&page, 200, "your cart came along with all 2 things in it");
    assert_shows(&page, 200, "Ada Lovelace");
    assert_ne!(demo.browser.cookie("sid"), thief.cookie("sid"));
    assert!(thief.get("/").send().await.text().contains("No session yet"));
}

#[tokio::test]
async fn another_user_does_not_get_the_cart_of_the_first() {
    let demo = Demo::start().await;
    demo.sign_in().await;
    demo.post("/cart", "product=mug").await;
    assert_goes_to(&demo.post("/sign-in", "user=grace&password=compiler").await, "/");
    let page = demo.get("/").await;
    assert_shows(&page, 200, "what belonged to Ada Lovelace was dropped first");
    assert_shows(&page, 200, "Nothing in it.");
}

#[tokio::test]
async fn after_the_sign_out_the_old_cookie_is_worthless() {
    let demo = Demo::start().await;
    demo.sign_in().await;
    let old = demo.browser.cookie("sid").unwrap();
    assert_goes_to(&demo.post("/sign-out", "").await, "/signed-out");
    assert_eq!(demo.browser.cookie("sid"), None, "the browser was not told to forget it");
    assert_shows(&demo.get("/signed-out").await, 200, "You are signed out");

    demo.browser.set_cookie("sid", &old);
    assert_shows(&demo.get("/").await, 200, "No session yet");
    assert_shows(&demo.get("/e-mail").await, 401, "Sign in first");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let demo = Demo::start().await;
    let forms = ["user=ada&password=nope", "user=bob&password=nope", "user=ada&password=", "user=&password=", ""];
    let pages = forms.map(|form| (form, demo.post("/sign-in", form)));
    let mut answers = Vec::new();
    for (form, answer) in pages {
        let response = answer.await;
        assert_shows(&response, 401, "do not belong together");
        assert_eq!(response.header("set-cookie"), None, "{form}");
        answers.push(response.text().replace("value=\"bob\"", "value=\"ada\""));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(demo.store.calls(), []);
}

#[tokio::test]
async fn only_who_wants_to_be_remembered_gets_a_cookie_that_stays() {
    for (form, stays) in [("", false), ("&remember=yes", true)] {
        let demo = Demo::start().await;
        let response = demo.post("/sign-in", &format!("user=ada&password=analytical{form}")).await;
        let cookie = response.header("set-cookie").unwrap();
        assert_eq!(cookie.contains("Expires="), stays, "{form:?}");
        let ends = if stays { "in 30 days" } else { "in 24 hours" };
        assert_shows(&demo.get("/").await, 200, ends);
    }
}

#[tokio::test]
async fn a_change_of_address_needs_a_recent_sign_in() {
    let demo = Demo::start().await;
    demo.sign_in().await;
    assert_shows(&demo.get("/e-mail").await, 200, "Change your e-mail address");

    demo.clock.advance(Duration::from_secs(61));
    assert_shows(&demo.get("/e-mail").await, 401, "Confirm it is you");
    assert_shows(&demo.post("/e-mail", "email=a@b").await, 401, "Confirm it is you");
    assert_shows(&demo.post("/confirm", "password=compiler").await, 401, "That is not the password");
    assert!(!demo.get("/session").await.text().contains("a@b"));

    let old = demo.browser.cookie("sid");
    assert_goes_to(&demo.post("/confirm", "password=analytical").await, "/e-mail");
    assert_ne!(demo.browser.cookie("sid"), old);
    assert_goes_to(&demo.post("/e-mail", "email=a@b").await, "/session");
    assert_shows(&demo.get("/session").await, 200, "Your e-mail address is a@b now.");
}

#[tokio::test]
async fn nobody_is_asked_for_a_password_before_signing_in() {
    let demo = Demo::start().await;
    assert_shows(&demo.get("/e-mail").await, 401, "Sign in first");
    assert_shows(&demo.post("/confirm", "password=analytical").await, 401, "Sign in first");
}

#[tokio::test]
async fn rotating_keeps_the_handle_and_clearing_keeps_the_owner() {
    let demo = Demo::start().await;
    demo.sign_in().await;
    demo.post("/cart", "product=mug").await;
    let (cookie, handle) = (demo.browser.cookie("sid"), handle_on(&demo.get("/session").await));
    assert_goes_to(&demo.post("/session/rotate", "").await, "/session");
    assert_ne!(demo.browser.cookie("sid"), cookie);

    let cookie = demo.browser.cookie("sid");
    assert_goes_to(&demo.post("/session/clear", "").await, "/session");
    assert_eq!(demo.browser.cookie("sid"), cookie);
    let page = demo.get("/session").await;
    assert_eq!(handle_on(&page), handle);
    assert_shows(&page, 200, "<code>ada</code>");
    assert!(!page.text().contains("mug"));
}

fn handle_on(page: &Response) -> String {
    let (_, after) = page.text().split_once("Handle</th><td><code>").expect("expected the handle on the page");
    after[..after.find('<').unwrap()].to_owned()
}

#[tokio::test]
async fn a_form_from_another_site_is_refused_and_changes_nothing() {
    let demo = Demo::start().await;
    demo.sign_in().await;
    demo.get("/").await;
    demo.store.clear();
    let foreign =
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site"), ("Origin", "https://evil.example")];
    for path in FORMS.into_iter().chain(["/sign-in", "/e-mail"]) {
        for (name, value) in foreign {
            let form = "product=mug&user=ada&password=analytical&email=a@b";
            let response = demo.request(path, form).header(name, value).send().await;
            assert_shows(&response, 403, "This form was sent from a page of another site");
        }
    }
    assert_eq!(demo.store.calls(), []);

    let script = demo.browser.post("/cart").header("Sec-Fetch-Site", "cross-site").send().await;
    assert_eq!(script.status, 403);
    assert!(script.text().starts_with("This form was sent from a page of another site"), "{script:?}");
}

#[tokio::test]
async fn what_changes_something_is_no_link() {
    let demo = Demo::start().await;
    for path in FORMS {
        let response = demo.get(path).await;
        assert_shows(&response, 405, "This address only takes forms");
        assert_eq!(response.header("allow"), Some("POST"), "{path}");
    }
}

#[tokio::test]
async fn security_headers_are_on_every_response() {
    let demo = Demo::start().await;
    let stylesheet = stylesheet_of(&demo.get("/").await);
    let mut responses = Vec::new();
    for path in PAGES.into_iter().chain(["/nowhere", "/cart", &stylesheet]) {
        responses.push((path.to_owned(), demo.get(path).await));
    }
    responses.push(("a refused form".into(), demo.request("/cart", "").header("Origin", "null").send().await));
    responses.push(("an unreadable form".into(), demo.post("/cart", "product=none").await));
    responses.push(("a redirect".into(), demo.post("/cart", "product=mug").await));
    demo.store.fail_next(1);
    responses.push(("a dead store".into(), demo.get("/").await));
    responses.push(("not for people".into(), demo.browser.get("/nowhere").send().await));

    for (what, response) in &responses {
        let expected = [
            (
                "content-security-policy",
                "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ];
        for (name, value) in expected {
            assert_eq!(response.headers(name).collect::<Vec<_>>(), [value], "{what}");
        }
        if *what != stylesheet {
            assert_eq!(response.headers("cache-control").collect::<Vec<_>>(), ["no-store"], "{what}");
        }
    }
}

#[tokio::test]
async fn the_stylesheet_is_kept_for_ever_under_a_name_of_its_content() {
    let demo = Demo::start().await;
    let path = stylesheet_of(&demo.get("/").await);
    let response = demo.get(&path).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(response.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(demo.get("/assets/demo-0.css").await.status, 404);
}

fn stylesheet_of(page: &Response) -> String {
    let (_, after) = page.text().split_once("rel=\"stylesheet\" href=\"").expect("expected a stylesheet");
    after[..after.find('"').unwrap()].to_owned()
}

#[tokio::test]
async fn the_id_and_the_cookie_are_on_no_page() {
    let demo = Demo::start().await;
    demo.post("/cart", "product=mug").await;
    demo.sign_in().await;
    demo.post("/e-mail", "email=a@b").await;
    let cookie = demo.browser.cookie("sid").unwrap();
    let (id, signature) = cookie.trim_start_matches("s%3A").split_once('.').unwrap();
    assert!(id.len() >= 32 && signature.len() >= 32, "expected an id and a signature");
    for path in PAGES.into_iter().chain(["/nowhere", "/cart"]) {
        let page = demo.get(path).await;
        for secret in [id, signature, SECRET] {
            assert!(!page.text().contains(secret), "{path} shows a secret");
        }
    }
}

#[tokio::test]
async fn what_a_visitor_types_is_escaped() {
    let demo = Demo::start().await;
    let hostile = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    let mut pages = vec![
        demo.get("/").await,
        demo.post("/sign-in", &format!("user={hostile}&password=x")).await,
        demo.post("/cart", &format!("product={hostile}")).await,
        demo.get(&format!("/{hostile}")).await,
    ];
    demo.sign_in().await;
    assert_goes_to(&demo.post("/e-mail", &format!("email={hostile}@x")).await, "/session");
    let flash = demo.get("/session").await;
    assert_shows(&flash, 200, "&#60;script&#62;");
    pages.extend([flash, demo.get("/e-mail").await, demo.get("/session").await]);
    pages.push(demo.post("/e-mail", &format!("email={hostile}")).await);
    for page in pages {
        assert!(!page.text().contains("<script"), "{page:?}");
        assert!(!page.text().contains("<&>"), "the store's name is not escaped: {page:?}");
    }
}

#[tokio::test]
async fn a_form_with_something_else_in_it_is_refused() {
    let demo = Demo::start().await;
    for form in ["product=%3Cscript%3E", "product=__proto__", "product=", "", "mug"] {
        assert_shows(&demo.post("/cart", form).await, 422, "This form cannot be read");
    }
    let long = format!("product={}", "x".repeat(20_000));
    assert_shows(&demo.post("/cart", &long).await, 413, "That was too much");
    assert_eq!(demo.store.calls(), []);

    demo.sign_in().await;
    for email in ["", "nobody", "a%00@b", "a+b@c", "@b", &format!("{}@b", "a".repeat(254))] {
        assert_shows(&demo.post("/e-mail", &format!("email={email}")).await, 422, "Expected an address");
    }
}

#[tokio::test]
async fn when_the_store_is_down_a_page_says_so_and_nobody_is_signed_out() {
    let demo = Demo::start().await;
    demo.sign_in().await;
    demo.get("/").await;
    let cookie = demo.browser.cookie("sid");
    for (call, requests) in [(Call::Load, ["/", "/session", "/e-mail"]), (Call::Update, ["/cart", "/cart", "/cart"])] {
        demo.store.fail_all(call);
        for path in requests {
            let response = if path == "/cart" { demo.post(path, "product=mug").await } else { demo.get(path).await };
            assert_shows(&response, 503, "The session store does not answer");
            assert_eq!(response.header("retry-after"), Some("1"));
            assert_eq!(response.header("set-cookie"), None);
        }
        demo.store.work();
    }
    assert_eq!(demo.browser.cookie("sid"), cookie);
    assert_shows(&demo.get("/").await, 200, "Ada Lovelace");

    demo.store.fail_next(1);
    let script = demo.browser.get("/").send().await;
    assert_eq!((script.status, script.header("content-type")), (503, Some("application/json")));
}
