//! The demo, over a real listener, as a browser meets it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what goes wrong in a test ends it")]

use std::net::SocketAddr;
use std::time::Duration;

use sessile_core::{
    AtLimit, Clock, Config, Cookie, Enforcement, Limits, MemoryStore, Page, Rate, Secure, Sessions, Store, SystemClock,
};
use sessile_server::demo::{self, DemoInfo};
use sessile_testkit::clock::ManualClock;
use sessile_testkit::http::{Browser, RequestBuilder, Response};
use sessile_testkit::spy::{Call, SpyStore};

const SECRET: &str = "a secret for the tests of the demo server";
const STORE: &str = "memory <&> nothing else";

/// Every page that is reached by a link.
const PAGES: [&str; 6] = ["/", "/session", "/sign-in", "/signed-out", "/e-mail", "/devices"];

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

/// Every address whose page asks whether to do it. The handle is nobody's.
const QUESTIONS: [&str; 2] = ["/devices/others/sign-out", "/devices/6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214/sign-out"];

const WINDOWS: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                      Version/17.5 Mobile/15E148 Safari/604.1";

/// A demo and a browser that has not been there yet.
struct Demo {
    browser: Browser,
    user_agent: &'static str,
    sessions: Sessions,
    store: SpyStore<MemoryStore>,
    clock: ManualClock,
}

impl Demo {
    async fn start() -> Demo {
        Demo::with(|config| config).await
    }

    async fn with(settings: impl FnOnce(Config) -> Config) -> Demo {
        let (store, clock) = (SpyStore::new(MemoryStore::new()), ManualClock::new(SystemClock.now()));
        let cookie = Cookie::new("sid").secure(Secure::Auto);
        let config = Config::new(SECRET).unwrap().cookie(cookie).unwrap().clock(clock.clone());
        let info = DemoInfo { store: STORE.into(), cookie: "sid".into(), provider: None };
        let sessions = Sessions::new(store.clone(), settings(config));
        let app = demo::router(sessions.clone(), info, None).into_make_service_with_connect_info::<SocketAddr>();

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let browser = Browser::new(&format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Demo { browser, user_agent: WINDOWS, sessions, store, clock }
    }

    /// The same demo in another browser, which has not been there yet and says it is this.
    fn elsewhere(&self, user_agent: &'static str) -> Demo {
        let browser = self.browser.clone();
        browser.clear();
        let (sessions, store, clock) = (self.sessions.clone(), self.store.clone(), self.clock.clone());
        Demo { browser, user_agent, sessions, store, clock }
    }

    async fn get(&self, path: &str) -> Response {
        let request = self.browser.get(path).header("Accept", "text/html,*/*;q=0.8");
        request.header("User-Agent", self.user_agent).send().await
    }

    async fn post(&self, path: &str, form: &str) -> Response {
        self.request(path, form).header("Sec-Fetch-Site", "same-origin").send().await
    }

    fn request(&self, path: &str, form: &str) -> RequestBuilder {
        let request = self.browser.post(path).header("Accept", "text/html,*/*;q=0.8");
        let request = request.header("User-Agent", self.user_agent);
        request.header("Content-Type", "application/x-www-form-urlencoded").body(form)
    }

    async fn sign_in(&self) {
        let response = self.post("/sign-in", "user=ada&password=analytical").await;
        assert_goes_to(&response, "/");
    }

    /// The handle of this browser's session.
    async fn handle(&self) -> String {
        handle_on(&self.get("/session").await)
    }

    /// Turns the clock.
    fn wait(&self, minutes: u64) {
        self.clock.advance(Duration::from_secs(minutes * 60));
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
    for path in PAGES.into_iter().chain(QUESTIONS).chain(["/nowhere", "/favicon.ico"]) {
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
    let wrong = demo.post("/confirm", "password=compiler&next=%2Fe-mail").await;
    assert_shows(&wrong, 401, "That is not the password");
    assert_shows(&wrong, 401, "name=\"next\" value=\"/e-mail\"");
    assert!(!demo.get("/session").await.text().contains("a@b"));

    let old = demo.browser.cookie("sid");
    assert_goes_to(&demo.post("/confirm", "password=analytical&next=%2Fe-mail").await, "/e-mail");
    assert_ne!(demo.browser.cookie("sid"), old);
    assert_goes_to(&demo.post("/e-mail", "email=a@b").await, "/session");
    assert_shows(&demo.get("/session").await, 200, "Your e-mail address is a@b now.");
}

#[tokio::test]
async fn nobody_is_asked_for_a_password_before_signing_in() {
    let demo = Demo::start().await;
    assert_shows(&demo.get("/e-mail").await, 401, "Sign in first");
    assert_shows(&demo.post("/confirm", "password=analytical").await, 401, "Sign in first");
    for path in QUESTIONS {
        assert_shows(&demo.get(path).await, 401, "Sign in first");
        assert_shows(&demo.post(path, "").await, 401, "Sign in first");
    }
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
    for path in FORMS.into_iter().chain(["/sign-in", "/e-mail"]).chain(QUESTIONS) {
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
    for (call, requests) in [(Call::Load, ["/", "/session", "/devices"]), (Call::Update, ["/cart", "/cart", "/cart"])] {
        demo.store.fail_all(call);
        for path in requests {
            let response = if path == "/cart" { demo.post(path, "product=mug").await } else { demo.get(path).await };
            assert_shows(&response, 503, "The session store does not answer");
            assert_eq!(response.header("retry-after"), Some("1"));
            assert_eq!(response.header("set-cookie"), None);
        }
        demo.store.work();
    }
    for call in [Call::List, Call::History] {
        demo.store.fail_all(call);
        assert_shows(&demo.get("/devices").await, 503, "The session store does not answer");
        demo.store.work();
    }
    assert_eq!(demo.browser.cookie("sid"), cookie);
    assert_shows(&demo.get("/").await, 200, "Ada Lovelace");

    demo.store.fail_next(1);
    let script = demo.browser.get("/").send().await;
    assert_eq!((script.status, script.header("content-type")), (503, Some("application/json")));
}

/// The devices on a page of the list: the text of each, one line, without its markup.
fn devices_on(page: &Response) -> Vec<String> {
    assert_eq!(page.status, 200, "{page:?}");
    let items = page.text().split("<li class=\"panel device").skip(1);
    items.map(|item| text_of(&item[item.find('>').unwrap() + 1..item.find("</li>").unwrap()])).collect()
}

/// The history on the first page of the list, in the same way.
fn history_on(page: &Response) -> Vec<String> {
    let (_, history) = page.text().split_once("<ul class=\"panel history\">").unwrap_or_default();
    let (history, _) = history.split_once("</ul>").unwrap_or_default();
    history.split("<li>").skip(1).map(text_of).collect()
}

fn text_of(html: &str) -> String {
    let texts = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    texts.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

fn sign_out_of(handle: &str) -> String {
    format!("/devices/{handle}/sign-out")
}

#[tokio::test]
async fn the_list_begins_with_this_device_and_tells_of_each_what_is_known() {
    let phone = Demo::start().await.elsewhere(IPHONE);
    phone.clock.set(SystemClock.now() - Duration::from_secs(3 * 60 * 60));
    phone.sign_in().await;
    let desk = phone.elsewhere(WINDOWS);
    desk.clock.set(SystemClock.now() - Duration::from_secs(5 * 60));
    desk.sign_in().await;
    phone.get("/").await;

    let page = phone.get("/devices").await;
    let expected = [
        "Safari on iPhone This device IP 127.0.0.1 Signed in 3 hours ago Last active now Sign out",
        "Chrome on Windows IP 127.0.0.1 Signed in 5 minutes ago Last active 5 minutes ago Sign out",
    ];
    assert_eq!(devices_on(&page), expected);
    assert_shows(&page, 200, "<a class=\"own\" href=\"/devices\" aria-current=\"page\">");
    assert_eq!(page.text().matches("<svg viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"M").count(), 2);
    let exact = page.text().matches("<time datetime=\"20").count();
    assert_eq!((exact, page.text().matches(" UTC\">").count()), (3, 3), "each time has the exact one");
    assert!(devices_on(&desk.get("/devices").await)[0].starts_with("Chrome on Windows This device"));
    assert!(history_on(&page).is_empty());
}

#[tokio::test]
async fn the_registry_is_told_how_the_user_signed_in() {
    let demo = Demo::start().await;
    demo.sign_in().await;
    let list = demo.sessions.devices().list(&"ada".into(), &Page::first(9)).await.unwrap();
    let methods: Vec<_> = list.devices.iter().map(|device| device.facts.auth_method.as_deref()).collect();
    assert_eq!(methods, [Some("password")]);
}

#[tokio::test]
async fn a_device_that_is_signed_out_from_another_one_is_gone_at_once() {
    let desk = Demo::start().await;
    desk.sign_in().await;
    let phone = desk.elsewhere(IPHONE);
    phone.sign_in().await;
    let handle = phone.handle().await;

    let question = desk.get(&sign_out_of(&handle)).await;
    assert_shows(&question, 200, "Sign out that device?");
    assert_shows(&question, 200, "Safari on iPhone");
    assert_shows(&question, 200, IPHONE);
    assert_eq!(devices_on(&desk.get("/devices").await).len(), 2, "a question changes nothing");

    assert_goes_to(&desk.post(&sign_out_of(&handle), "").await, "/devices");
    let page = desk.get("/devices").await;
    assert_shows(&page, 200, "That device is signed out.");
    assert_eq!(devices_on(&page).len(), 1);
    let ended = "Safari on iPhone 127.0.0.1, signed in just now Signed out from elsewhere just now : \
                 ended from the list of devices";
    assert_eq!(history_on(&page), [ended]);
    assert_shows(&phone.get("/devices").await, 401, "Sign in first");
    assert_shows(&phone.get("/").await, 200, "No session yet");
    assert_shows(&desk.post(&sign_out_of(&handle), "").await, 404, "There is no such page");
}

#[tokio::test]
async fn all_others_are_signed_out_where_there_are_others() {
    let desk = Demo::start().await;
    let all = "Sign out all others";
    desk.sign_in().await;
    assert!(!desk.get("/devices").await.text().contains(all));
    assert_goes_to(&desk.get("/devices/others/sign-out").await, "/devices");
    assert_goes_to(&desk.post("/devices/others/sign-out", "").await, "/devices");
    assert_shows(&desk.get("/devices").await, 200, "There was no other device to sign out.");

    let (phone, laptop, grace) = (desk.elsewhere(IPHONE), desk.elsewhere(WINDOWS), desk.elsewhere(WINDOWS));
    assert_goes_to(&grace.post("/sign-in", "user=grace&password=compiler").await, "/");
    for (others, said) in [(vec![&phone], "Your other device is"), (vec![&phone, &laptop], "Your 2 other devices are")]
    {
        desk.wait(1);
        for other in &others {
            other.sign_in().await;
        }
        assert_shows(&desk.get("/devices").await, 200, all);
        assert_shows(&desk.get("/devices/others/sign-out").await, 200, "Sign out all others?");
        assert_goes_to(&desk.post("/devices/others/sign-out", "").await, "/devices");
        let page = desk.get("/devices").await;
        assert_shows(&page, 200, &format!("{said} signed out."));
        assert_eq!(devices_on(&page).len(), 1);
        for other in others {
            assert_shows(&other.get("/devices").await, 401, "Sign in first");
        }
    }
    assert_eq!(devices_on(&grace.get("/devices").await).len(), 1, "somebody else is signed out");
}

#[tokio::test]
async fn signing_out_this_device_from_the_list_is_the_ordinary_sign_out() {
    let demo = Demo::start().await;
    demo.sign_in().await;
    demo.wait(11);
    let here = sign_out_of(&demo.handle().await);
    assert_shows(&demo.get(&here).await, 200, "Sign out here?");
    assert_goes_to(&demo.post(&here, "").await, "/signed-out");
    assert_eq!(demo.browser.cookie("sid"), None);
    demo.sign_in().await;
    assert!(history_on(&demo.get("/devices").await)[0].contains("Signed out "));
}

#[tokio::test]
async fn what_is_no_device_of_the_user_is_not_found() {
    let ada = Demo::start().await;
    ada.sign_in().await;
    let grace = ada.elsewhere(IPHONE);
    assert_goes_to(&grace.post("/sign-in", "user=grace&password=compiler").await, "/");
    let shopper = ada.elsewhere(IPHONE);
    shopper.post("/cart", "product=mug").await;

    let (of_grace, anonymous) = (grace.handle().await, shopper.handle().await);
    let upper = ada.handle().await.to_uppercase();
    let unknown = "6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214";
    for handle in [&*of_grace, &anonymous, &upper, unknown, "1", "%FF", "%00", "..%2F..", "%3Cscript%3E", "others%2F"] {
        assert_shows(&ada.get(&sign_out_of(handle)).await, 404, "There is no such page");
        assert_shows(&ada.post(&sign_out_of(handle), "").await, 404, "There is no such page");
    }
    for cursor in ["", "1", "1.x", "x.6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214", "%FF", "%3Cscript%3E"] {
        assert_shows(&ada.get(&format!("/devices?after={cursor}")).await, 404, "There is no such page");
    }
    assert_shows(&grace.get("/").await, 200, "Grace Hopper");
    assert!(shopper.get("/").await.text().contains("Cart <b>1</b>"));
}

#[tokio::test]
async fn signing_out_a_device_needs_a_sign_in_of_the_last_ten_minutes() {
    let desk = Demo::start().await;
    let phone = desk.elsewhere(IPHONE);
    desk.sign_in().await;
    phone.sign_in().await;
    let one = sign_out_of(&phone.handle().await);
    desk.clock.advance(Duration::from_secs(599));
    assert_shows(&desk.get(&one).await, 200, "Sign out that device?");

    desk.clock.advance(Duration::from_secs(2));
    for path in [&*one, "/devices/others/sign-out"] {
        for prompt in [desk.get(path).await, desk.post(path, "").await] {
            assert_shows(&prompt, 401, "Confirm it is you");
            assert_shows(&prompt, 401, &format!("name=\"next\" value=\"{path}\""));
        }
    }
    assert_eq!(devices_on(&desk.get("/devices").await).len(), 2, "the list asks for no password, and nothing ended");

    let form = format!("password=analytical&next={one}");
    assert_goes_to(&desk.post("/confirm", &form).await, &one);
    assert_shows(&desk.get(&one).await, 200, "Sign out that device?");
    assert_goes_to(&desk.post(&one, "").await, "/devices");
    assert_eq!(devices_on(&desk.get("/devices").await).len(), 1);
}

#[tokio::test]
async fn the_password_leads_to_no_other_site() {
    let demo = Demo::start().await;
    demo.sign_in().await;
    for next in ["https://evil.example/", "//evil.example", "/%5Cevil.example", "/%09/evil.example", "evil", ""] {
        assert_goes_to(&demo.post("/confirm", &format!("password=analytical&next={next}")).await, "/");
    }
    let query = "/devices?after=1.6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214";
    assert_goes_to(&demo.post("/confirm", &format!("password=analytical&next={query}")).await, query);
}

#[tokio::test]
async fn a_long_list_is_read_in_parts_and_no_device_is_left_out_or_shown_twice() {
    let oldest = Demo::start().await;
    oldest.sign_in().await;
    let mut handles = vec![oldest.handle().await];
    for _ in 0..44 {
        oldest.clock.advance(Duration::from_secs(1));
        let other = oldest.elsewhere(IPHONE);
        other.sign_in().await;
        handles.push(other.handle().await);
    }
    let (mut path, mut seen, mut sizes) = ("/devices".to_owned(), Vec::new(), Vec::new());
    loop {
        let page = oldest.get(&path).await;
        let on_page: Vec<_> = page.text().split("href=\"/devices/").skip(1).filter_map(|link| link.get(..36)).collect();
        seen.extend(on_page.into_iter().filter(|link| !link.starts_with("others")).map(str::to_owned));
        sizes.push(devices_on(&page).len());
        let here: Vec<_> = devices_on(&page).iter().map(|device| device.contains("This device")).collect();
        assert_eq!(here.iter().position(|here| *here), (path == "/devices").then_some(0), "{path}");
        assert_eq!(page.text().contains("Sign out all others"), path == "/devices");
        let Some((_, after)) = page.text().split_once("href=\"/devices?after=") else { break };
        path = format!("/devices?after={}", after.split_once('"').unwrap().0);
    }
    assert_eq!(sizes, [21, 20, 4]);
    handles[1..].reverse();
    assert_eq!(seen, handles, "this device first, then the latest sign-ins first");
    assert_goes_to(&oldest.post("/devices/others/sign-out", "").await, "/devices");
    assert_eq!(history_on(&oldest.get("/devices").await).len(), 20);
    assert_shows(&oldest.get(&path).await, 200, "There is nothing here any more.");
}

#[tokio::test]
async fn the_history_says_how_each_session_ended() {
    let demo = Demo::with(|config| config.max_sessions_per_user(1, AtLimit::EvictOldest)).await;
    demo.sign_in().await;
    demo.wait(25 * 60);
    demo.store.sweep().unwrap().sweep(demo.clock.now(), 100).await.unwrap();
    demo.sign_in().await;
    demo.wait(1);
    demo.sessions.devices().revoke_all(&"ada".into(), "password <changed>").await.unwrap();
    demo.wait(1);
    demo.sign_in().await;
    demo.wait(1);
    demo.post("/sign-out", "").await;
    demo.elsewhere(IPHONE).sign_in().await;
    demo.wait(1);
    demo.sign_in().await;

    let page = demo.get("/devices").await;
    let history = history_on(&page);
    let expected = ["Replaced by a newer sign-in", "Signed out", "Signed out from elsewhere", "Expired"];
    assert_eq!(history.len(), expected.len(), "{history:?}");
    for (line, end) in history.iter().zip(expected) {
        assert!(line.contains(&format!("{end} in ")), "expected {end} in {line}");
    }
    assert_shows(&page, 200, ": password &#60;changed&#62;");
}

#[tokio::test]
async fn what_a_device_says_it_is_is_escaped() {
    let hostile = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&lt; \u{202e}gnp.exe";
    let desk = Demo::start().await;
    desk.sign_in().await;
    let other = desk.elsewhere(hostile);
    other.sign_in().await;
    let handle = other.handle().await;
    let mut pages = vec![desk.get("/devices").await, other.get("/devices").await];
    pages.push(desk.get(&sign_out_of(&handle)).await);
    desk.post(&sign_out_of(&handle), "").await;
    let escaped = "<bdi>&#34;&#62;&#60;script&#62;alert(1)";
    for page in &pages {
        assert_shows(page, 200, escaped);
        assert_shows(page, 200, "&#38;lt; \u{202e}gnp.exe</bdi>");
    }
    pages.push(desk.get("/devices").await);
    for page in &pages {
        assert_shows(page, 200, "Unknown device");
        assert!(!page.text().contains("<script") && !page.text().contains("<img"), "{page:?}");
    }
}

#[tokio::test]
async fn a_late_request_does_not_log_the_browser_out() {
    let demo = Demo::start().await;
    demo.post("/cart", "product=mug").await;
    let late = demo.browser.clone();
    demo.sign_in().await;
    let signed_in = demo.browser.cookie("sid");
    for path in ["/cart", "/cart/more", "/session/rotate", "/sign-in"].into_iter().cycle().take(20) {
        let request = late.post(path).header("Content-Type", "application/x-www-form-urlencoded");
        let form = "product=oak&user=ada&password=wrong";
        let response = request.header("Sec-Fetch-Site", "same-origin").body(form).send().await;
        assert_eq!(response.header("set-cookie"), None, "{path}: {response:?}");
    }
    assert_eq!(demo.browser.cookie("sid"), signed_in);
    let page = demo.get("/").await;
    assert_shows(&page, 200, "Ada Lovelace");
    assert_shows(&page, 200, "Cart <b>1</b>");
    assert_eq!(devices_on(&demo.get("/devices").await).len(), 1);
}

#[tokio::test]
async fn passwords_cannot_be_tried_without_end() {
    let limits = Limits::new(Enforcement::Enforce).sign_ins(Rate::per_minute(3));
    let demo = Demo::with(|config| config.limits(limits)).await;
    for _ in 0..3 {
        assert_shows(&demo.post("/sign-in", "user=ada&password=wrong").await, 401, "");
    }
    let refused = demo.post("/sign-in", "user=ada&password=analytical").await;
    assert_shows(&refused, 429, "Too much of this at once");
    assert_eq!(refused.header("retry-after"), Some("20"));
    demo.wait(1);
    demo.sign_in().await;
    for status in [401, 401, 429] {
        let answer = demo.post("/confirm", "password=wrong&next=/").await;
        assert_eq!(answer.status, status, "the password is asked for here too: {answer:?}");
    }
}
