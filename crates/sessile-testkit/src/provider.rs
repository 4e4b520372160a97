//! An identity provider on a free loopback port that does as it should until it is told to misbehave: OpenID Connect with
//! discovery, the code flow with PKCE, a key set, and an API for plain OAuth 2.0. There is no page: whoever asks is signed
//! in, as the user that the test chose.
//!
//! It notes what it was asked and what it gave out, so that a test can count requests and look for secrets where they
//! must not be.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test tools: what goes wrong here ends the test")]

mod keys;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{AUTHORIZATION, LOCATION};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, extract::State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Frame;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};
use sessile_core::Clock;
use url::form_urlencoded;

use crate::http::Client;

pub use keys::Signature;
use keys::{Keys, base64};

/// The one client that is registered.
pub const CLIENT_ID: &str = "shop";

/// Its secret, with characters that have to be encoded on their way.
pub const CLIENT_SECRET: &str = "a secret: 100%+ for nobody's log & page";

/// How long an ID token holds.
const TOKEN_LIFETIME: u64 = 300;

/// What can be asked of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/.well-known/openid-configuration`
    Metadata,
    /// `/authorize`
    Authorization,
    /// `/token`
    Token,
    /// `/jwks`
    Keys,
    /// `/user`, the API of a plain OAuth 2.0 provider.
    User,
    /// Anything else.
    Other,
}

/// How an endpoint answers instead of doing what it should.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// With a redirect to this URL.
    Redirect(String),
    /// With this status.
    Status(u16),
    /// With 100 MB.
    Huge,
    /// After this time.
    Slow(Duration),
    /// With text that is no JSON.
    Garbage,
    /// With what it was sent, which is no JSON either.
    Echo,
}

/// Changes a document before it is signed or sent.
pub type Change = Box<dyn Fn(&mut Value) + Send + Sync>;

/// How the provider behaves. The default is as it should.
#[allow(missing_docs, reason = "the fields say it")]
pub struct Behaviour {
    pub subject: String,
    pub sid: Option<String>,
    pub signature: Signature,
    pub header: Change,
    pub claims: Change,
    pub metadata: Change,
    pub keys: Change,
    pub tokens: Change,
    pub user: Change,
    pub trouble: HashMap<Endpoint, Trouble>,
    /// What the callback says instead of a code: error and description.
    pub denial: Option<(String, String)>,
    /// What the callback says of the issuer.
    pub callback_issuer: Option<String>,
    pub ignores_pkce: bool,
    /// The client has no secret.
    pub client_is_public: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        let nothing = || -> Change { Box::new(|_| ()) };
        Self {
            subject: "alice".into(),
            sid: Some("session 1".into()),
            signature: Signature::default(),
            header: nothing(),
            claims: nothing(),
            metadata: nothing(),
            keys: nothing(),
            tokens: nothing(),
            user: nothing(),
            trouble: HashMap::new(),
            denial: None,
            callback_issuer: None,
            ignores_pkce: false,
            client_is_public: false,
        }
    }
}

/// A provider that runs as long as the runtime does. Clones are the same provider.
#[derive(Clone)]
pub struct Provider {
    shared: Arc<Shared>,
}

struct Shared {
    issuer: String,
    clock: Box<dyn Clock>,
    keys: Mutex<Keys>,
    behaviour: Mutex<Behaviour>,
    notes: Mutex<Notes>,
    sent: AtomicUsize,
}

#[derive(Default)]
struct Notes {
    requests: Vec<Endpoint>,
    /// What was asked for, by code; a code is worth something once.
    grants: HashMap<String, Form>,
    last_token_request: Form,
    secrets: Vec<String>,
}

/// The pairs of a query or a form.
pub type Form = HashMap<String, String>;

impl Provider {
    /// Starts a provider whose tokens have the times of this clock.
    pub async fn start(clock: impl Clock + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let shared = Shared {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            clock: Box::new(clock),
            keys: Mutex::new(Keys::new("first")),
            behaviour: Mutex::default(),
            notes: Mutex::default(),
            sent: AtomicUsize::new(0),
        };
        let provider = Self { shared: Arc::new(shared) };
        let router = Router::new().fallback(answer).with_state(provider.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        provider
    }

    /// The issuer, which is also where it is: `http://127.0.0.1:PORT`.
    pub fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// Tells it how to behave from here on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour());
    }

    /// It does as it should again.
    pub fn behave_well(&self) {
        *self.behaviour() = Behaviour::default();
    }

    /// Signs with other keys from here on, under names that begin with this.
    pub fn change_keys(&self, name: &str) {
        *self.shared.keys.lock().unwrap() = Keys::new(name);
    }

    /// How often this endpoint was asked.
    pub fn requests(&self, endpoint: Endpoint) -> usize {
        self.notes().requests.iter().filter(|asked| **asked == endpoint).count()
    }

    /// How often anything was asked.
    pub fn all_requests(&self) -> usize {
        self.notes().requests.len()
    }

    /// How many bytes of [`Trouble::Huge`] were taken.
    pub fn bytes_sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// The form that was last posted to the token endpoint.
    pub fn last_token_request(&self) -> Form {
        self.notes().last_token_request.clone()
    }

    /// Everything it gave out or was shown that nobody else may see.
    pub fn secrets(&self) -> Vec<String> {
        self.notes().secrets.clone()
    }

    /// What a browser does that is sent to this URL: it asks, and is sent back. Gives the query of the callback.
    pub async fn visit(&self, url: &str) -> String {
        let path = url.strip_prefix(self.issuer()).expect("a URL of this provider");
        let answer = Client::new(self.issuer()).get(path).send().await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        let location = answer.header("location").expect("a way back").to_owned();
        location.split_once('?').expect("a query").1.to_owned()
    }

    /// A logout token with these claims beside the usual ones; a null takes one away.
    pub fn logout_token(&self, claims: Value) -> String {
        let now = self.seconds();
        let mut usual = json!({
            "iss": self.issuer(), "aud": CLIENT_ID, "iat": now, "exp": now + 120, "jti": random(),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        for (name, value) in claims.as_object().unwrap() {
            match value {
                Value::Null => drop(usual.as_object_mut().unwrap().remove(name)),
                value => usual[name] = value.clone(),
            }
        }
        self.signed(json!({ "typ": "logout+jwt" }), usual)
    }

    /// A token with these claims, signed as the provider does now, with more in its header.
    pub fn signed(&self, more: Value, claims: Value) -> String {
        let (keys, behaviour) = (self.shared.keys.lock().unwrap(), self.behaviour());
        let mut header = keys.header(behaviour.signature);
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        (behaviour.header)(&mut header);
        let token = keys.sign(behaviour.signature, &header, &claims);
        self.notes().secrets.push(token.clone());
        token
    }

    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.shared.behaviour.lock().unwrap()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.shared.notes.lock().unwrap()
    }

    fn now(&self) -> SystemTime {
        self.shared.clock.now()
    }

    fn seconds(&self) -> u64 {
        self.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// A secret that nobody may see but whom it is for.
    fn secret(&self) -> String {
        let secret = random();
        self.notes().secrets.push(secret.clone());
        secret
    }

    fn metadata(&self) -> Response {
        let url = |path: &str| format!("{}{path}", self.issuer());
        self.document(
            json!({
                "issuer": self.issuer(),
                "authorization_endpoint": url("/authorize"),
                "token_endpoint": url("/token"),
                "jwks_uri": url("/jwks"),
                "end_session_endpoint": url("/end_session"),
                "id_token_signing_alg_values_supported": ["none", "HS256", "RS256", "ES256"],
                "code_challenge_methods_supported": ["S256"],
            }),
            |behaviour| &behaviour.metadata,
        )
    }

    fn keys(&self) -> Response {
        let set = self.shared.keys.lock().unwrap().set();
        self.document(set, |behaviour| &behaviour.keys)
    }

    fn document(&self, mut document: Value, change: impl Fn(&Behaviour) -> &Change) -> Response {
        change(&self.behaviour())(&mut document);
        Json(document).into_response()
    }

    fn authorization(&self, query: Form) -> Response {
        self.notes().secrets.extend(query.get("state").cloned());
        self.notes().secrets.extend(query.get("nonce").cloned());
        let mut back = form_urlencoded::Serializer::new(String::new());
        back.extend_pairs(query.get("state").map(|state| ("state", state)));
        let denial = self.behaviour().denial.clone();
        let issuer = self.behaviour().callback_issuer.clone();
        back.extend_pairs(issuer.map(|issuer| ("iss", issuer)));
        match denial {
            Some((error, description)) => {
                back.append_pair("error", &error).append_pair("error_description", &description);
            }
            None => {
                let code = self.secret();
                back.append_pair("code", &code);
                self.notes().grants.insert(code, query.clone());
            }
        }
        let location = format!("{}?{}", query["redirect_uri"], back.finish());
        (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
    }

    fn token(&self, headers: &HeaderMap, form: Form) -> Response {
        self.notes().last_token_request = form.clone();
        self.notes().secrets.extend(form.get("code_verifier").cloned());
        let grant = form.get("code").and_then(|code| self.notes().grants.remove(code));
        if !is_client(headers, &form, self.behaviour().client_is_public) {
            return refused("invalid_client", "this is not the client's secret");
        }
        match grant {
            Some(grant) if form.get("redirect_uri") == grant.get("redirect_uri") && self.is_proved(&form, &grant) => {
                self.tokens(&grant)
            }
            _ => refused("invalid_grant", "the code is not worth anything here"),
        }
    }

    /// PKCE.
    fn is_proved(&self, form: &Form, grant: &Form) -> bool {
        let verifier = form.get("code_verifier").map(|verifier| base64(digest(&SHA256, verifier.as_bytes()).as_ref()));
        self.behaviour().ignores_pkce || verifier.is_some() && verifier.as_ref() == grant.get("code_challenge")
    }

    fn tokens(&self, grant: &Form) -> Response {
        let access_token = self.secret();
        let mut tokens = json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": 300 });
        if grant.get("scope").is_some_and(|scope| scope.split(' ').any(|one| one == "openid")) {
            let claims = self.claims(grant, &access_token);
            tokens["id_token"] = self.signed(json!({}), claims).into();
        }
        self.document(tokens, |behaviour| &behaviour.tokens)
    }

    fn claims(&self, grant: &Form, access_token: &str) -> Value {
        let (now, behaviour) = (self.seconds(), self.behaviour());
        let hash = digest(&SHA256, access_token.as_bytes());
        let mut claims = json!({
            "iss": self.issuer(), "aud": CLIENT_ID, "sub": behaviour.subject, "iat": now, "exp": now + TOKEN_LIFETIME,
            "auth_time": now, "nonce": grant.get("nonce"), "at_hash": base64(&hash.as_ref()[..16]),
            "email": format!("{}@example.com", behaviour.subject),
        });
        if let Some(sid) = &behaviour.sid {
            claims["sid"] = sid.as_str().into();
        }
        if let Some(acr) = grant.get("acr_values") {
            claims["acr"] = acr.split(' ').next().into();
        }
        (behaviour.claims)(&mut claims);
        claims
    }

    fn user(&self, headers: &HeaderMap) -> Response {
        let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if !token.is_some_and(|token| self.secrets().iter().any(|secret| secret == token)) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        self.document(json!({ "id": 583_231, "login": "octocat", "name": "The Octocat" }), |behaviour| &behaviour.user)
    }

    async fn trouble(&self, endpoint: Endpoint, body: &Bytes) -> Option<Response> {
        let trouble = self.behaviour().trouble.get(&endpoint).cloned()?;
        match trouble {
            Trouble::Redirect(to) => Some((StatusCode::FOUND, [(LOCATION, to)]).into_response()),
            Trouble::Status(status) => Some(StatusCode::from_u16(status).unwrap().into_response()),
            Trouble::Huge => Some(Body::new(Huge { left: 100_000_000, shared: self.shared.clone() }).into_response()),
            Trouble::Garbage => Some("<html>".into_response()),
            Trouble::Echo => Some(body.clone().into_response()),
            Trouble::Slow(time) => {
                tokio::time::sleep(time).await;
                None
            }
        }
    }
}

async fn answer(State(provider): State<Provider>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let endpoint = match uri.path() {
        "/.well-known/openid-configuration" => Endpoint::Metadata,
        "/authorize" => Endpoint::Authorization,
        "/token" => Endpoint::Token,
        "/jwks" => Endpoint::Keys,
        "/user" => Endpoint::User,
        _ => Endpoint::Other,
    };
    provider.notes().requests.push(endpoint);
    if let Some(trouble) = provider.trouble(endpoint, &body).await {
        return trouble;
    }
    match endpoint {
        Endpoint::Metadata => provider.metadata(),
        Endpoint::Authorization => provider.authorization(form(uri.query().unwrap_or_default().as_bytes())),
        Endpoint::Token => provider.token(&headers, form(&body)),
        Endpoint::Keys => provider.keys(),
        Endpoint::User => provider.user(&headers),
        Endpoint::Other => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Whether the client showed its secret, in the header or in the form.
fn is_client(headers: &HeaderMap, form: &Form, is_public: bool) -> bool {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let Some(header) = header else {
        let shown = [form.get("client_id"), form.get("client_secret")].map(|part| part.map(String::as_str));
        return shown == [Some(CLIENT_ID), Some(CLIENT_SECRET).filter(|_| !is_public)];
    };
    let decoded = String::from_utf8(STANDARD.decode(header).unwrap_or_default()).unwrap_or_default();
    let decode =
        |text: &str| form_urlencoded::parse(format!("x={text}").as_bytes()).next().map(|(_, value)| value.into_owned());
    decoded.split_once(':').is_some_and(|(id, secret)| {
        (decode(id).as_deref(), decode(secret).as_deref()) == (Some(CLIENT_ID), Some(CLIENT_SECRET))
    })
}

fn form(bytes: &[u8]) -> Form {
    form_urlencoded::parse(bytes).into_owned().collect()
}

fn refused(error: &str, description: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error, "error_description": description }))).into_response()
}

fn random() -> String {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).unwrap();
    base64(&bytes)
}

/// A body that goes on and on, and counts what is taken of it.
struct Huge {
    left: usize,
    shared: Arc<Shared>,
}

impl HttpBody for Huge {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        static SPACES: [u8; 65_536] = [b' '; 65_536];
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let size = self.left.min(SPACES.len());
        self.left -= size;
        self.shared.sent.fetch_add(size, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&SPACES).slice(..size)))))
    }
}
