//! A browser with one cookie, instances of an application over one store, a provider, and a clock that all of them share.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sessile_core::{Config, Exchange, MemoryStore, RequestHead, Session, Sessions, SetCookie, Store};
use sessile_oidc::{Begin, Callback, Identity, LoginError, LoginFlow, LoginFlowBuilder};
use sessile_testkit::clock::ManualClock;
use sessile_testkit::provider::{Behaviour, CLIENT_ID, CLIENT_SECRET, Provider};
use sessile_testkit::spy::SpyStore;
use url::Url;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the provider sends browsers back to.
pub(crate) const CALLBACK: &str = "https://shop.example.com/auth/callback";

pub(crate) const SECRET: &str = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";

/// When the tests happen: 2040-01-01.
pub(crate) fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(2_208_988_800)
}

/// One instance of the application.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) provider: Provider,
    pub(crate) clock: ManualClock,
    pub(crate) store: SpyStore<MemoryStore>,
    pub(crate) sessions: Sessions,
    pub(crate) flow: LoginFlow,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// With more settings.
    pub(crate) async fn with(settings: impl FnOnce(LoginFlowBuilder) -> LoginFlowBuilder) -> Self {
        let clock = ManualClock::new(start());
        let provider = Provider::start(clock.clone()).await;
        let store = SpyStore::new(MemoryStore::new());
        let sessions = sessions(store.clone(), &clock);
        let flow = settings(builder(&provider)).build().unwrap();
        Self { provider, clock, store, sessions, flow }
    }

    /// Another instance, or this one after a restart.
    pub(crate) fn another(&self) -> Self {
        let flow = builder(&self.provider).build().unwrap();
        Self { sessions: sessions(self.store.clone(), &self.clock), flow, ..self.clone() }
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.provider.behave(change);
    }
}

pub(crate) fn sessions(store: impl Store, clock: &ManualClock) -> Sessions {
    Sessions::new(store, Config::new(SECRET).unwrap().clock(clock.clone()))
}

pub(crate) fn builder(provider: &Provider) -> LoginFlowBuilder {
    LoginFlow::builder(provider.issuer(), CLIENT_ID, CALLBACK)
        .client_secret(CLIENT_SECRET)
        .http_timeout(Duration::from_secs(2))
}

/// A request's head: a cookie, or none.
struct Head(Option<String>);

impl RequestHead for Head {
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.0.iter().filter(|_| name == "cookie").for_each(|cookie| visit(cookie.as_bytes()));
    }
}

/// A browser. Cloning copies its cookie.
#[derive(Clone, Default)]
pub(crate) struct Browser {
    pub(crate) cookie: Option<String>,
}

impl Browser {
    pub(crate) fn request(&self, house: &House) -> Exchange {
        house.sessions.begin(&Head(self.cookie.clone()))
    }

    pub(crate) fn receive(&mut self, cookie: Option<SetCookie>) {
        if let Some(cookie) = cookie {
            let header = cookie.header_value();
            self.cookie = (!header.ends_with("; Max-Age=0")).then(|| header.split(';').next().unwrap().to_owned());
        }
    }

    /// A request whose handler needs its session and nothing else.
    pub(crate) async fn visit<R>(&mut self, house: &House, handler: impl FnOnce(&Session) -> R) -> R {
        let exchange = self.request(house);
        let out = handler(&exchange.session().await.unwrap());
        self.receive(exchange.finish().await.unwrap());
        out
    }

    /// `GET /auth/login`.
    pub(crate) async fn try_begin(&mut self, house: &House, begin: Begin) -> Result<Url, LoginError> {
        let exchange = self.request(house);
        let url = house.flow.begin(&exchange.session().await.unwrap(), begin).await;
        self.receive(exchange.finish().await.unwrap());
        url
    }

    /// `GET /auth/login`, and what the provider sends the browser back with.
    pub(crate) async fn begin(&mut self, house: &House) -> String {
        let url = self.try_begin(house, Begin::new("/orders")).await.unwrap();
        house.provider.visit(url.as_str()).await
    }

    /// `GET /auth/callback`. The user is called as the provider calls them.
    pub(crate) async fn complete(&mut self, house: &House, query: &str) -> Result<Identity, LoginError> {
        let exchange = self.request(house);
        let identity = house.flow.complete(&exchange, &Callback::from_query(query)).await;
        if let Ok(identity) = &identity {
            identity.sign_in(&exchange.session().await.unwrap(), identity.subject.as_str()).unwrap();
        }
        self.receive(exchange.finish().await.unwrap());
        identity
    }

    /// A whole sign-in.
    pub(crate) async fn sign_in(&mut self, house: &House) -> Result<Identity, LoginError> {
        let query = self.begin(house).await;
        self.complete(house, &query).await
    }

    pub(crate) async fn owner(&mut self, house: &House) -> Option<String> {
        self.visit(house, |session| session.owner()).await.map(|owner| owner.as_str().to_owned())
    }
}

/// One parameter of a query.
pub(crate) fn param(query: &str, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
}

/// The error of what has to fail.
pub(crate) async fn refused(house: &House) -> LoginError {
    let mut browser = Browser::default();
    let error = browser.sign_in(house).await.expect_err("a sign-in that has to fail");
    assert_eq!(browser.owner(house).await, None);
    error
}
