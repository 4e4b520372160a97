//! The real Express beside Sessile, for tests: the same database, the same secret, one browser.
//!
//! Needs Node and the packages of this folder's `package.json` (`npm ci`); `./test` sees to both.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test tools: what goes wrong here ends the test")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sessile::codec::{Keyring, Secret};
use sessile::{Config, Cookie, PostgresStore, Sessions};
use sessile_testkit::conformance;
use sessile_testkit::http::{Browser, Response};
use sessile_testkit::postgres::Database;

/// The secret that both sides share unless a test says otherwise: short, as such secrets are.
pub const SECRET: &str = "keyboard cat";

/// A running `express-app.mjs`. Its standard input is a pipe that ends with this value, and the app with it.
#[derive(Debug)]
pub struct Express {
    process: Child,
    /// Where it listens.
    pub url: String,
}

impl Express {
    /// Starts the app with these options; what they leave out is a common set-up.
    pub fn start(database: &Database, options: &Value) -> Self {
        let mut config = json!({
            "database": database.url(), "secrets": [SECRET], "resave": false, "saveUninitialized": false,
        });
        for (name, value) in options.as_object().expect("options as an object") {
            config[name] = value.clone();
        }
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("express-app.mjs");
        let mut process = Command::new("node")
            .arg(app)
            .arg(config.to_string())
            .env("NODE_ENV", "production")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node, which `./test` installs");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("Express to start; is `npm ci` done in interop/?");
        Self { process, url: url.to_owned() }
    }
}

impl Drop for Express {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Express and Sessile on one database, and one browser that visits both.
#[derive(Debug)]
pub struct Both {
    /// The database.
    pub database: Database,
    express: Browser,
    sessile: Browser,
    cookie: String,
    _process: Express,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The real Express.
    Express,
    /// Sessile.
    Sessile,
}

/// Both, each once.
pub const SIDES: [Side; 2] = [Side::Express, Side::Sessile];

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Express => Self::Sessile,
            Self::Sessile => Self::Express,
        }
    }
}

impl Both {
    /// Both with the common set-up: the table as Sessile creates it.
    pub async fn start() -> Self {
        Self::with(Database::new().await, &json!({}), config(&[SECRET])).await
    }

    /// Both on this database, Express with these options and Sessile with these settings.
    pub async fn with(database: Database, options: &Value, config: Config) -> Self {
        let name = |key: &str, default: &str| options[key].as_str().unwrap_or(default).to_owned();
        let builder = PostgresStore::builder(database.url()).table(name("table", "session"));
        let builder = match options["schema"].as_str() {
            Some(schema) => builder.schema(schema),
            None => builder,
        };
        let sessions = Sessions::new(builder.connect().await.unwrap(), config);
        let process = Express::start(&database, options);
        Self {
            express: Browser::new(&process.url),
            sessile: Browser::new(&conformance::start(sessions).await),
            cookie: name("name", "connect.sid"),
            database,
            _process: process,
        }
    }

    /// Another browser without cookies, at the same two.
    pub fn stranger(&self) -> (Browser, Browser) {
        let (express, sessile) = (self.express.clone(), self.sessile.clone());
        express.clear();
        sessile.clear();
        (express, sessile)
    }

    /// A copy of the browser, cookies included, at this side.
    pub fn copy(&self, side: Side) -> Browser {
        self.browser(side).clone()
    }

    /// One request; what it says of the cookie holds for both sides.
    pub async fn request(&self, side: Side, method: &str, path: &str) -> Response {
        self.send(side, self.browser(side).request(method, path)).await
    }

    /// One request with a JSON body and any headers; what it says of the cookie holds for both sides.
    pub async fn send(&self, side: Side, request: sessile_testkit::http::RequestBuilder) -> Response {
        let answer = request.header("x-forwarded-proto", "https").send().await;
        let (here, there) = (self.browser(side), self.browser(side.other()));
        match here.cookie(&self.cookie) {
            Some(value) => there.set_cookie(&self.cookie, &value),
            None => there.clear(),
        }
        answer
    }

    /// `GET`, expected to succeed.
    pub async fn get(&self, side: Side, path: &str) -> Value {
        let answer = self.request(side, "GET", path).await;
        assert_eq!(answer.status, 200, "GET {path} at {side:?}: {}", answer.text());
        answer.json()
    }

    /// `POST`, expected to succeed.
    pub async fn post(&self, side: Side, path: &str) -> Response {
        let answer = self.request(side, "POST", path).await;
        assert_eq!(answer.status, 200, "POST {path} at {side:?}: {}", answer.text());
        answer
    }

    /// Who is signed in, as this side sees it.
    pub async fn whoami(&self, side: Side) -> Option<Value> {
        let answer = self.request(side, "GET", "/whoami").await;
        (answer.status == 200).then(|| answer.json()["user"].clone())
    }

    /// The one row: its document, and the seconds until its end.
    pub async fn row(&self, table: &str) -> (String, f64) {
        let sql = format!(
            "SELECT sess::text, (date_part('epoch', expire::timestamptz) - date_part('epoch', clock_timestamp())) FROM {table}"
        );
        let rows = self.database.client().await.query(&sql, &[]).await.unwrap();
        assert_eq!(rows.len(), 1, "one row in {table}");
        (rows[0].get(0), rows[0].get(1))
    }

    fn browser(&self, side: Side) -> &Browser {
        match side {
            Side::Express => &self.express,
            Side::Sessile => &self.sessile,
        }
    }
}

/// Sessile's Express profile with these secrets, `userId` as Express apps name it, and proxies believed.
pub fn config(secrets: &[&str]) -> Config {
    let secrets = secrets.iter().map(Secret::dangerous);
    Config::express(Keyring::new(secrets).unwrap())
        .unwrap()
        .cookie(Cookie::express())
        .unwrap()
        .user_key("userId")
        .unwrap()
        .touch_every(Duration::ZERO)
        .trusted_proxies(["127.0.0.0/8".parse().unwrap()])
}
