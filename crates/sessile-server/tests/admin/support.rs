//! A dashboard over a store in memory whose audit can be broken, users who sign in to the application, and an operator's
//! browser.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use sessile_core::{
    Action, Check, Clock, Config, Ending, Error, Examine, Fate, Handle, MemoryStore, Operations, Operator, Record,
    Registry, RequestHead, Role, SecretUse, Sessions, Stats, Store, StoreKey, SystemClock, Written,
};
use sessile_server::admin::{self, Admin, Figures};
use sessile_testkit::clock::ManualClock;
use sessile_testkit::http::{Browser, Client, RequestBuilder, Response};
use sessile_testkit::spy::SpyStore;

const SECRET: &str = "a secret for the tests of the dashboard";
pub(crate) const WINDOWS: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

/// A store in memory whose audit fails when it is told to.
#[derive(Clone)]
pub(crate) struct Audited {
    store: SpyStore<MemoryStore>,
    broken: Arc<AtomicBool>,
    /// Whoever writes into the audit waits a little.
    slow: Arc<AtomicBool>,
    /// What is kept for operators is out of reach.
    down: Arc<AtomicBool>,
}

/// A dashboard, the application's sessions behind it, and an operator's browser that has not been there yet.
pub(crate) struct Desk {
    pub(crate) browser: Browser,
    pub(crate) client: Client,
    pub(crate) sessions: Sessions,
    pub(crate) admin: Admin,
    pub(crate) clock: ManualClock,
    pub(crate) figures: Figures,
    pub(crate) token: String,
    /// The registry, watched.
    pub(crate) spy: SpyStore<MemoryStore>,
    store: Audited,
}

impl Desk {
    pub(crate) async fn start() -> Desk {
        Desk::with(|admin| admin).await
    }

    pub(crate) async fn with(settings: impl FnOnce(Admin) -> Admin) -> Desk {
        let clock = ManualClock::new(SystemClock.now());
        let spy = SpyStore::new(MemoryStore::new());
        let (broken, slow, down) = Default::default();
        let store = Audited { store: spy.clone(), broken, slow, down };
        let figures = Figures::new(clock.clone());
        let config = Config::new(SECRET).unwrap().clock(clock.clone()).observer(figures.clone());
        let sessions = Sessions::new(store.clone(), config);
        let admin = settings(Admin::new(sessions.clone()).unwrap().figures(figures.clone()));
        let token = admin.first_token().await.unwrap().unwrap();
        let app = admin::router(admin.clone()).into_make_service_with_connect_info::<SocketAddr>();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let (browser, client) = (Browser::new(&address), Client::new(&address));
        Desk { browser, client, sessions, admin, clock, figures, token, spy, store }
    }

    /// Another operator's token.
    pub(crate) async fn operator(&self, name: &str, role: Role) -> String {
        self.admin.add_operator(name, role).await.unwrap().unwrap()
    }

    pub(crate) fn break_the_audit(&self) {
        self.store.broken.store(true, Ordering::SeqCst);
    }

    pub(crate) fn slow_down_the_audit(&self) {
        self.store.slow.store(true, Ordering::SeqCst);
    }

    /// Operators cannot be asked for, while it is true.
    pub(crate) fn store_is_down(&self, down: bool) {
        self.store.down.store(down, Ordering::SeqCst);
    }

    /// Somebody signs in to the application.
    pub(crate) async fn user(&self, user: &str, user_agent: &str) -> Handle {
        let exchange = self.sessions.begin(&Visitor(user_agent));
        let session = exchange.session().await.unwrap();
        session.sign_in_by("password", user).unwrap();
        session.insert("cart", "a very secret value").unwrap();
        let handle = session.handle();
        assert!(exchange.finish().await.unwrap().is_some());
        handle
    }

    /// The session's end in the registry, in its word; `live` while there is none.
    pub(crate) async fn fate(&self, handle: &Handle) -> String {
        let answer = self.call("GET", &format!("sessions/{handle}")).send().await;
        answer.json()["session"]["status"].as_str().unwrap().to_owned()
    }

    /// A request to the API with the first operator's token.
    pub(crate) fn call(&self, method: &str, path: &str) -> RequestBuilder {
        self.call_as(&self.token, method, path)
    }

    pub(crate) fn call_as(&self, token: &str, method: &str, path: &str) -> RequestBuilder {
        let request = self.client.request(method, &format!("/admin/api/v1/{path}"));
        request.header("Authorization", format!("Bearer {token}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.browser.get(path).header("Accept", "text/html").send().await
    }

    /// A form of the dashboard's own page.
    pub(crate) async fn post(&self, path: &str, form: &str) -> Response {
        self.form(path, form).header("Sec-Fetch-Site", "same-origin").send().await
    }

    pub(crate) fn form(&self, path: &str, form: &str) -> RequestBuilder {
        self.browser.post(path).header("Content-Type", "application/x-www-form-urlencoded").body(form)
    }

    pub(crate) async fn sign_in(&self) {
        self.sign_in_with(&self.token).await;
    }

    pub(crate) async fn sign_in_with(&self, token: &str) {
        let answer = self.post("/admin/sign-in", &format!("token={token}")).await;
        assert_goes_to(&answer, "/admin");
    }

    /// The time as forms and calls say it.
    pub(crate) fn now(&self) -> String {
        jiff::Timestamp::try_from(self.sessions.now()).unwrap().to_string()
    }

    pub(crate) fn wait(&self, minutes: u64) {
        self.clock.advance(Duration::from_secs(60 * minutes));
    }

    /// What the audit says of operators, the latest first: who did what to whom.
    pub(crate) async fn audit(&self) -> Vec<String> {
        let operations = self.sessions.store().operations().unwrap();
        let actions = operations.actions(None, 100).await.unwrap();
        let line = |action: &Action| {
            let reason = action.reason.as_deref().unwrap_or("-");
            format!("{} {} {} {} {reason}", action.actor, action.action, action.target, action.sessions)
        };
        actions.iter().filter(|(_, action)| &*action.actor != "server").map(|(_, action)| line(action)).collect()
    }
}

pub(crate) fn assert_goes_to(response: &Response, path: &str) {
    assert_eq!((response.status, response.header("location")), (303, Some(path)), "{response:?}");
}

pub(crate) fn assert_shows(response: &Response, status: u16, text: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"), "{response:?}");
    assert!(response.text().contains(text), "expected {text:?} in {response:?}");
}

/// Problem details, with this status.
pub(crate) fn assert_problem(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{response:?}");
    let details = response.json();
    assert_eq!(details["status"], status);
    assert!(details["title"].is_string() && details["detail"].is_string() && details["type"] == "about:blank");
}

struct Visitor<'a>(&'a str);

impl RequestHead for Visitor<'_> {
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        if name == "user-agent" {
            visit(self.0.as_bytes());
        }
    }

    fn peer(&self) -> Option<IpAddr> {
        "203.0.113.7".parse().ok()
    }
}

#[async_trait]
impl Store for Audited {
    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
        self.store.load(key, now).await
    }

    async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.store.insert(key, record).await
    }

    async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.store.update(key, record).await
    }

    async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.store.rotate(from, to, record).await
    }

    async fn touch(&self, key: &StoreKey, seen_at: SystemTime, expires_at: SystemTime) -> Result<Written, Error> {
        self.store.touch(key, seen_at, expires_at).await
    }

    async fn remove(&self, key: &StoreKey, ending: &Ending) -> Result<bool, Error> {
        self.store.remove(key, ending).await
    }

    async fn fate(&self, key: &StoreKey) -> Result<Option<Fate>, Error> {
        self.store.fate(key).await
    }

    fn registry(&self) -> Option<&dyn Registry> {
        self.store.registry()
    }

    fn stats(&self) -> Option<&dyn Stats> {
        Store::stats(&self.store)
    }

    fn examine(&self) -> Option<&dyn Examine> {
        Some(self)
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    fn description(&self) -> String {
        self.store.description()
    }
}

#[async_trait]
impl Examine for Audited {
    async fn examine(&self, _now: SystemTime) -> Vec<Check> {
        vec![
            Check::good("test.reachable", "It answers."),
            Check::skipped("test.rows", "There are too many rows to compare.", "Compare at a quiet hour."),
            Check::warning("test.backlog", "Much <has> expired.", "sessile sweep"),
            Check::failed("test.index", "The index is missing.", "sessile migrate"),
        ]
    }
}

#[async_trait]
impl Operations for Audited {
    async fn add_operator(&self, operator: &Operator) -> Result<bool, Error> {
        self.kept().add_operator(operator).await
    }

    async fn operators(&self) -> Result<Vec<Operator>, Error> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the store is down, as the test wants it"));
        }
        self.kept().operators().await
    }

    async fn remove_operator(&self, name: &str) -> Result<bool, Error> {
        self.kept().remove_operator(name).await
    }

    async fn record(&self, action: &Action) -> Result<(), Error> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the audit is broken, as the test wants it"));
        }
        if self.slow.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        self.kept().record(action).await
    }

    async fn actions(&self, before: Option<i64>, limit: u32) -> Result<Vec<(i64, Action)>, Error> {
        self.kept().actions(before, limit).await
    }

    async fn note_secrets(&self, uses: &[SecretUse]) -> Result<(), Error> {
        self.kept().note_secrets(uses).await
    }

    async fn secrets(&self) -> Result<Vec<SecretUse>, Error> {
        self.kept().secrets().await
    }
}

impl Audited {
    fn kept(&self) -> &dyn Operations {
        self.store.operations().unwrap()
    }
}
