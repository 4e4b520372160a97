//! What the real express-session and connect-pg-simple did (`vectors/`), against what the Express profile does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use serde_json::Value;
use serde_json::value::RawValue;
use sessile_core::codec::{CookieCodec, ExpressCodec, Keyring, Secret};
use sessile_core::{
    Config, Cookie, Data, Ending, Error, Fate, KeyForm, Priority, Record, Registry, SameSite, Secure, Session,
    SessionId, Sessions, Store, StoreKey, Written,
};

use crate::support::{Browser, Head, ManualClock, START_MS, Spy, at, block_on, express};

fn read(name: &str) -> Value {
    let path = format!("{}/../../vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))).unwrap()
}

fn rows<'a>(file: &'a Value, table: &str) -> &'a Vec<Value> {
    file[table].as_array().unwrap()
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_else(|| panic!("no text {field:?} in {row}"))
}

fn names(list: &[(&str, &str)]) -> BTreeSet<String> {
    list.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// `{"utf8": …}` or `{"hex": …}`.
fn secret(value: &Value) -> Secret {
    match value["hex"].as_str() {
        None => Secret::dangerous(text(value, "utf8")),
        Some(hex) => {
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            Secret::dangerous((0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>())
        }
    }
}

fn codec(secrets: impl IntoIterator<Item = Secret>) -> ExpressCodec {
    ExpressCodec::new(Keyring::new(secrets).unwrap())
}

/// JavaScript's `encodeURIComponent`, written once more so that the vectors do not judge the code by itself.
fn encode_uri_component(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Ids that no store can hold: nothing, U+0000, more than 512 bytes.
fn is_refused(id: &str) -> bool {
    id.is_empty() || id.contains('\0') || id.len() > 512
}

#[test]
fn every_id_is_signed_as_express_signs_it() {
    let file = read("cookie_signing.json");
    let mut refused = BTreeSet::new();
    for row in rows(&file, "sign") {
        let (name, value) = (text(row, "name"), text(row, "value"));
        let Some(id) = SessionId::parse(value) else {
            assert!(is_refused(value), "{name}");
            refused.insert(name.to_owned());
            continue;
        };
        let encoded = codec([secret(&row["secret"])]).encode("connect.sid", &id, UNIX_EPOCH);
        assert_eq!(encoded, text(row, "cookie_value_encoded"), "{name}");
        assert_eq!(format!("connect.sid={encoded}"), text(row, "set_cookie_pair"), "{name}");
    }
    let expected = [
        "simple/empty",
        "cyrillic/empty",
        "cyrillic/nul",
        "cyrillic/long_1k",
        "bytes_non_utf8/empty",
        "bytes_non_utf8/nul",
        "bytes_non_utf8/long_1k",
    ];
    assert_eq!(refused, expected.map(str::to_owned).into());
}

#[test]
fn every_signature_is_judged_as_express_judges_it() {
    let file = read("cookie_signing.json");
    let (mut accepted, mut rejected) = (0, 0);
    for row in rows(&file, "unsign") {
        let (name, input) = (text(row, "name"), text(row, "input"));
        let codec = codec([secret(&row["secret"])]);
        let expected = row["expected"].as_str().filter(|id| !is_refused(id));
        let encoded = format!("s%3A{}", encode_uri_component(input));
        let quoted = format!("\"{encoded}\"");
        let mut spellings = vec![encoded, quoted];
        if input.is_ascii() && !input.contains('%') && !input.contains('"') {
            spellings.push(format!("s:{input}"));
        }
        for value in spellings {
            let found =
                codec.decode("connect.sid", value.as_bytes(), UNIX_EPOCH).map(|found| found.id.expose().to_owned());
            assert_eq!(found.as_deref(), expected, "{name}: {value}");
        }
        *if expected.is_some() { &mut accepted } else { &mut rejected } += 1;
    }
    assert_eq!((accepted, rejected), (84, 37));
}

#[test]
fn every_cookie_header_leads_to_the_id_that_express_looks_up() {
    const REFUSED: [(&str, &str); 2] = [
        ("nul id encoded", "PostgreSQL's text cannot hold U+0000; Express's query fails on it"),
        ("4 KB id", "longer than any generator makes"),
    ];
    let file = read("cookie_signing.json");
    let mut refused = BTreeSet::new();
    for row in rows(&file, "header") {
        let name = text(row, "name");
        let cookie = Cookie::new(text(row, "cookie_name")).secure(Secure::Never).same_site(None).persistent(false);
        let secrets: Vec<_> = rows(row, "secrets").iter().map(secret).collect();
        let store = Spy::new();
        let sessions = Sessions::new(store.clone(), Config::express(secrets).unwrap().cookie(cookie).unwrap());

        let latin1 = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<u8>>();
        let head = match &row["cookie_header_latin1"] {
            Value::String(line) => Head::with_cookie(latin1(line)),
            Value::Array(lines) => {
                lines.iter().fold(Head::default(), |head, line| head.and("cookie", latin1(line.as_str().unwrap())))
            }
            _ => Head::default(),
        };
        block_on(sessions.begin(&head).session()).unwrap();
        let looked_up: Vec<_> = store.calls().iter().map(|call| call.key.as_str().to_owned()).collect();
        let expected: Vec<_> = row["expected_sid"].as_str().into_iter().collect();
        assert_eq!(expected.len() as u64, row["lookups"].as_u64().unwrap());
        if expected.first().is_some_and(|id| is_refused(id)) {
            assert_eq!(looked_up.len(), 0, "{name}");
            refused.insert(name.to_owned());
        } else {
            assert_eq!(looked_up, expected, "{name}");
        }
    }
    assert_eq!(refused, names(&REFUSED));
}

// Rows.

/// Scenarios of stored_rows.json that cannot be said here, and why.
const NOT_SAID: [(&str, &str); 20] = [
    ("maxAge 15 min resave", "there is no resave: a read writes nothing but its touch"),
    ("maxAge 15 min disableTouch", "a touch is throttled, never switched off"),
    ("saveUninitialized", "nothing is stored until something is written"),
    ("ttl 0", "nought is no word for one day here"),
    ("sameSite Lax", "SameSite is a type: stored in lower case, where Express stores the spelling of its options"),
    ("sameSite true", "SameSite is a type: `strict` is stored, which Express reads alike"),
    ("sameSite false", "SameSite is a type: left out, which Express reads alike"),
    ("sameSite bogus", "SameSite is a type"),
    ("secure+sameSite auto https", "SameSite does not depend on the connection"),
    ("path null", "a cookie has a path; an empty one leaves it out"),
    ("partitioned only", "refused: browsers refuse it too"),
    ("partitioned false", "left out, which Express reads alike"),
    ("priority bogus", "Priority is a type"),
    ("maxAge 0", "memory keeps milliseconds, so the row is gone with the next one; the column's seconds keep it"),
    ("maxAge negative", "a Duration is not negative"),
    ("maxAge only changed on existing, rolling", "a lifetime that a handler sets stays set"),
    ("dynamic cookie options", "the cookie's settings do not depend on the request"),
    ("dynamic cookie options with auto", "the cookie's settings do not depend on the request"),
    ("dynamic cookie options with sameSite auto", "the cookie's settings do not depend on the request"),
    ("unknown cookie option", "there is no such setting"),
];

/// Steps after which we send a cookie and Express does not.
const COOKIE_MORE: [(&str, usize, &str); 5] = [
    ("sameSite none + secure via proxy", 2, "a Secure cookie is sent whatever the proxy said: the browser decides"),
    ("secure true, proxy option true", 2, "a Secure cookie is sent whatever the proxy said: the browser decides"),
    ("secure true, proxy option true", 3, "a Secure cookie is sent whatever the proxy said: the browser decides"),
    ("expires=null on existing", 1, "the browser must learn that its cookie ends with it"),
    ("originalMaxAge=null on existing", 1, "the browser must learn that its cookie ends with it"),
];

/// Steps after which our row ends sooner.
const ENDS_SOONER: [(&str, &str); 2] = [
    ("expires=null on existing", "one setting is both ttl and maxAge: it goes on where the cookie's lifetime stops"),
    (
        "originalMaxAge=null on existing",
        "one setting is both ttl and maxAge: it goes on where the cookie's lifetime stops",
    ),
];

#[test]
fn rows_and_cookies_are_those_that_express_writes() {
    let file = read("stored_rows.json");
    let (mut not_said, mut cookie_more, mut sooner) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for scenario in rows(&file, "scenarios") {
        let name = text(scenario, "name");
        let Some(config) = profile(scenario) else {
            not_said.insert(name.to_owned());
            continue;
        };
        let (store, clock) = (Spy::new(), ManualClock::new());
        let secrets = scenario["options"]["secret"].as_array();
        let secrets: Vec<_> = secrets.map_or(vec!["keyboard cat"], |all| all.iter().flat_map(Value::as_str).collect());
        let codec = codec(secrets.into_iter().map(Secret::dangerous));
        let sessions = Sessions::new(store.clone(), config.clock(clock.clone()).codec(codec.clone()));
        let mut browser = Browser::default();
        for (at_step, step) in rows(scenario, "steps").iter().enumerate() {
            let context = format!("{name}, step {at_step}");
            clock.set(at(step["clock_ms"].as_u64().unwrap()));
            if step["cookie_sent"].is_null() {
                browser = Browser::default();
            }
            let mut head = browser.head();
            head.peer = Some([127, 0, 0, 1].into());
            for (header, value) in step["headers"].as_object().into_iter().flatten() {
                assert_eq!(header, "X-Forwarded-Proto");
                head = head.and("x-forwarded-proto", value.as_str().unwrap());
            }
            let expected_rows = rows(step, "rows");
            let exchange = sessions.begin(&head);
            act(text(step, "action"), &block_on(exchange.session()).unwrap(), &clock, expected_rows);
            browser.receive(block_on(exchange.finish()).unwrap());

            let live: Vec<_> = live(&store);
            assert_eq!(live.len(), expected_rows.len(), "{context}");
            for ((_, record), expected) in live.iter().zip(expected_rows) {
                let document = record.document();
                check_document(&document, &context);
                assert_eq!(without_our_key(&document), text(expected, "sess_text"), "{context}");
                let (ours, theirs) = (ceil_seconds(record.expires_at), expected["expire_epoch"].as_u64().unwrap());
                if ours < theirs {
                    sooner.insert(name.to_owned());
                }
                assert!(ours <= theirs, "{context}: {ours} {theirs}");
            }

            let id = SessionId::parse(live.last().unwrap().0.as_str()).unwrap();
            let ours = format!("connect.sid={}", codec.encode("connect.sid", &id, UNIX_EPOCH));
            let expected = step["set_cookie"][0].as_str();
            let expected = expected.map(|header| format!("{ours}{}", &header[header.find(';').unwrap()..]));
            if expected.is_none() && browser.last.is_some() {
                cookie_more.insert((name.to_owned(), at_step));
            } else {
                assert_eq!(browser.last, expected, "{context}");
            }
        }
    }
    assert_eq!(not_said, names(&NOT_SAID));
    assert_eq!(sooner, names(&ENDS_SOONER));
    assert_eq!(cookie_more, COOKIE_MORE.iter().map(|(name, step, _)| ((*name).to_owned(), *step)).collect());
}

/// The rows that live, under the keys they have, oldest first.
fn live(store: &Spy) -> Vec<(StoreKey, Record)> {
    // Liveness is not the question here: a row may have ended in the very millisecond it was written.
    let load = |key: StoreKey| block_on(store.rows.load(&key, UNIX_EPOCH)).unwrap().map(|record| (key, record));
    store.keys().into_iter().filter_map(load).collect()
}

fn ceil_seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() + u64::from(since.subsec_nanos() > 0)
}

fn without_our_key(document: &str) -> String {
    let mut data = Data::parse(document.into()).unwrap();
    assert!(data.remove("sessile"), "{document}");
    data.to_json()
}

/// The Express profile with these options; `None` where they cannot be said.
fn profile(scenario: &Value) -> Option<Config> {
    if NOT_SAID.iter().any(|(name, _)| *name == text(scenario, "name")) {
        return None;
    }
    let (options, cookie) = (&scenario["options"], &scenario["options"]["cookie"]);
    let mut settings = Cookie::express();
    let mut config = express().touch_every(Duration::ZERO).max_data(1 << 20);
    let mut max_age = None;
    for (option, value) in cookie.as_object().into_iter().flatten() {
        settings = match (option.as_str(), value) {
            ("maxAge" | "originalMaxAge", age) => {
                max_age = Some(Duration::from_secs_f64(age.as_f64()? / 1000.0));
                settings
            }
            ("expires", _) => {
                max_age = Some(Duration::from_millis(386_703_711));
                settings
            }
            ("sameSite", word) => settings.same_site(match word.as_str()? {
                "lax" => SameSite::Lax,
                "none" => SameSite::None,
                _ => return None,
            }),
            ("secure", Value::Bool(true)) => settings.secure(Secure::Always),
            ("secure", word) if word == "auto" => settings.secure(Secure::Auto),
            ("httpOnly", on) => settings.http_only(on.as_bool()?),
            ("domain", domain) => settings.domain(domain.as_str()?),
            ("path", path) => settings.path(path.as_str()?),
            ("partitioned", on) => settings.partitioned(on.as_bool()?),
            ("priority", word) => settings.priority(match word.as_str()? {
                "low" => Priority::Low,
                "medium" => Priority::Medium,
                _ => return None,
            }),
            _ => return None,
        };
    }
    config = config.cookie(settings).ok()?;
    if let Some(ttl) = scenario["store_options"]["ttl"].as_f64() {
        config = config.idle(Duration::from_secs_f64(ttl));
    }
    if max_age.is_some() {
        config = config.max_age(max_age);
    }
    if scenario["express_trust_proxy"].is_number() || options["proxy"] == true {
        config = config.trusted_proxies(["127.0.0.0/8".parse().unwrap()]);
    }
    Some(config.rolling(options["rolling"] == true))
}

/// What the handler of the vectors does, said here.
fn act(action: &str, session: &Session, clock: &ManualClock, expected_rows: &[Value]) {
    use sessile_core::Clock as _;
    let put = |key: &str, json: &str| {
        session.insert(key, &RawValue::from_string(json.to_owned()).unwrap()).unwrap();
    };
    match action {
        "noop" => {}
        "login" => {
            put("userId", "42");
            put("roles", r#"["admin","user"]"#);
        }
        "login+maxAge7d" => {
            put("userId", "42");
            session.set_idle(Duration::from_secs(7 * 86_400)).unwrap();
        }
        "views" => {
            session.update("views", |views: Option<u64>| views.unwrap_or(0) + 1).unwrap();
        }
        "expires=null" | "originalMaxAge=null" => {
            session.forget_on_close().unwrap();
            put("x", "1");
        }
        "expires=Date" => {
            session.set_idle(at(1_769_904_000_250).duration_since(clock.now()).unwrap()).unwrap();
            put("x", "1");
        }
        "regenerate" => {
            session.rotate().unwrap();
            session.clear().unwrap();
            put("after", "\"regen\"");
        }
        "flash" => {
            session.flash("info", "Saved").unwrap();
            session.flash("info", "Twice").unwrap();
        }
        "passport" | "passport_and_messages" | "returnTo" | "big_string" | "deep" => {
            let expected = Data::parse(text(expected_rows.last().unwrap(), "sess_text").into()).unwrap();
            expected.iter().filter(|(key, _)| *key != "cookie").for_each(|(key, json)| put(key, json));
        }
        other => panic!("an action nobody told us of: {other}"),
    }
}

/// Whether an unmodified Express can live with this document.
fn check_document(document: &str, context: &str) {
    const COOKIE_KEYS: [&str; 9] =
        ["originalMaxAge", "partitioned", "priority", "expires", "secure", "httpOnly", "domain", "path", "sameSite"];
    let data = Data::parse(document.into()).unwrap();
    let json = data.get("cookie").unwrap_or_else(|| panic!("{context}: no cookie in {document}"));
    let cookie: BTreeMap<String, Value> = serde_json::from_str(json).unwrap();
    let order: Vec<_> = Data::parse(json.into()).unwrap().iter().map(|(key, _)| key.to_owned()).collect();
    let in_order: Vec<_> = COOKIE_KEYS.iter().filter(|key| cookie.contains_key(**key)).collect();
    assert!(order.iter().eq(in_order), "{context}: the nine keys in their order, found {json}");

    let is_time = |text: &str| {
        let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        shape == "0000-00-00T00:00:00.000Z"
    };
    let of = |key: &str| cookie.get(key);
    let age = of("originalMaxAge").unwrap_or_else(|| panic!("{context}: no originalMaxAge"));
    let expires = of("expires").unwrap_or_else(|| panic!("{context}: no expires"));
    match age {
        Value::Number(_) => assert!(expires.as_str().is_some_and(is_time), "{context}: {json}"),
        Value::Null => assert!(expires.is_null(), "{context}: {json}"),
        Value::Bool(false) => assert_eq!(*expires, false, "{context}: {json}"),
        other => panic!("{context}: originalMaxAge {other}"),
    }
    assert!(of("httpOnly").is_some_and(Value::is_boolean), "{context}: {json}");
    assert!(of("path").is_some_and(|path| path.is_string() || path.is_null()), "{context}: {json}");
    for key in ["secure", "sameSite"] {
        assert!(of(key).is_none_or(|value| value.is_boolean() || value.is_string()), "{context}: {json}");
    }
    assert!(of("partitioned").is_none_or(Value::is_boolean), "{context}: {json}");
    assert!(["domain", "priority"].iter().all(|key| of(key).is_none_or(Value::is_string)), "{context}: {json}");
    let ours: BTreeMap<String, Value> = serde_json::from_str(data.get("sessile").unwrap()).unwrap();
    assert!(ours["handle"].is_string() && ours["created_at"].is_i64(), "{context}: {document}");
}

// Decisions.

/// Actions that a handler cannot do here, and why.
const NO_SUCH_ACTION: [(&str, &str); 13] = [
    ("cookie.domain changed", "a session does not change its cookie's attributes"),
    ("delete req.session", "a session ends by `end`"),
    ("req.session=null", "a session ends by `end`"),
    ("modify + req.session=null", "a session ends by `end`"),
    ("req.sessionID=42", "an id is not the handler's"),
    ("save", "the one write of a request is made before its response leaves"),
    ("save not awaited", "the one write of a request is made before its response leaves"),
    ("reload", "nothing is loaded twice, unless another request wrote first"),
    ("reload + modify", "nothing is loaded twice, unless another request wrote first"),
    ("reload + modify + save", "nothing is loaded twice, unless another request wrote first"),
    ("modify + reload", "nothing is loaded twice, unless another request wrote first"),
    ("write early then modify", "an edit after the response has left is an error"),
    ("cookie.maxAge=null", "see `a lifetime that a handler sets stays set`"),
];

/// Actions with another outcome here, on purpose: who asks, why, and what is done instead.
const DIFFERENT: [(&str, &str); 8] = [
    ("destroy", "the browser is told to forget the cookie it presented"),
    ("destroy not awaited", "the browser is told to forget the cookie it presented"),
    ("modify + destroy", "the browser is told to forget the cookie it presented"),
    ("regenerate", "a session nobody has is not stored for its id alone"),
    ("regenerate twice", "a session nobody has is not stored for its id alone"),
    ("modify + regenerate", "a session nobody has is not stored for its id alone"),
    ("cookie.maxAge changed", "a lifetime that a handler sets stays set, and the browser learns of it"),
    ("cookie.maxAge=null + modify", "the browser must learn that its cookie ends with it"),
];

#[test]
fn every_decision_is_the_one_express_makes_or_one_of_those_named_here() {
    let file = read("decisions_core.json");
    let (mut unsaid, mut different, mut same) = (BTreeSet::new(), BTreeSet::new(), 0);
    for row in rows(&file, "rows").iter().filter(|row| text(row, "unset") == "keep") {
        for rolling in [false, true] {
            let when = format!("resave=0,saveUninitialized=0,rolling={}", u8::from(rolling));
            if row["when"] != "always" && !row["when"].as_array().unwrap().iter().any(|one| *one == when[..]) {
                continue;
            }
            let action = text(row, "action");
            let context = format!("{} | {action} | {} | {when}", text(row, "client"), row["maxAge"]);
            if NO_SUCH_ACTION.iter().any(|(name, _)| *name == action) {
                unsaid.insert(action.to_owned());
                continue;
            }
            let ours = decide(row, rolling, &context);
            let theirs = as_express(row);
            if ours == theirs {
                same += 1;
            } else {
                assert_eq!(Some(&ours), on_purpose(row, &theirs).as_ref(), "{context}: Express did {theirs:?}");
                different.insert(action.to_owned());
            }
        }
    }
    assert_eq!(unsaid, names(&NO_SUCH_ACTION));
    assert_eq!(different, names(&DIFFERENT));
    assert!(same > 150, "{same}");
}

/// Operations, rows afterwards, and whether a cookie came and had an expiry.
type Outcome = (Vec<&'static str>, usize, Option<&'static str>);

const PERSISTENT: &str = "until then";
const TRANSIENT: &str = "with the browser";
const REMOVAL: &str = "removed";

fn decide(row: &Value, rolling: bool, context: &str) -> Outcome {
    let max_age = row["maxAge"].as_u64().map(Duration::from_millis);
    let (store, clock) = (Spy::new(), ManualClock::new());
    let config = express().max_age(max_age).rolling(rolling).touch_every(Duration::ZERO).clock(clock);
    let sessions = Sessions::new(store.clone(), config);
    let expires = if max_age.is_some() { "\"2026-01-15T12:35:56.789Z\"" } else { "null" };
    let age = row["maxAge"].to_string();
    let document =
        format!(r#"{{"cookie":{{"originalMaxAge":{age},"expires":{expires},"httpOnly":true,"path":"/"}},"v":1}}"#);
    let key = StoreKey::new(&SessionId::parse("cli").unwrap(), KeyForm::Raw);
    let planted = Record::stored(&key, document, at(START_MS + 600_000), at(START_MS)).unwrap();
    assert_eq!(block_on(store.insert(&key, &planted)).unwrap(), Written::Done);
    store.ops();

    let cookie = |id: &str, secret: &str| {
        let value =
            codec([Secret::dangerous(secret)]).encode("connect.sid", &SessionId::parse(id).unwrap(), UNIX_EPOCH);
        Some(format!("connect.sid={value}"))
    };
    let cookie = match text(row, "client") {
        "none" => None,
        "existing" => cookie("cli", "keyboard cat"),
        "unknown" => cookie("gone", "keyboard cat"),
        "badsig" => cookie("cli", "another secret"),
        other => panic!("a client nobody told us of: {other}"),
    };
    let mut browser = Browser { cookie, last: None };
    browser.visit(&sessions, |session| do_as_told(text(row, "action"), session));

    let live = live(&store);
    live.iter().filter(|(_, record)| record.data.get("sessile").is_some()).for_each(|(_, record)| {
        check_document(&record.document(), context);
    });
    let sent = browser.last.as_deref().map(|header| match header {
        removal if removal.ends_with("Max-Age=0") => REMOVAL,
        persistent if persistent.contains("Expires=") => PERSISTENT,
        _ => TRANSIENT,
    });
    // Before it makes a session in place of one that it does not find, Sessile asks what became of that.
    let ops = store.ops().into_iter().filter(|op| *op != "fate").collect();
    (ops, live.len(), sent)
}

fn do_as_told(action: &str, session: &Session) {
    let modify = || session.insert("m", &true).unwrap();
    match action {
        "noop" | "touch" => {}
        "assign same value" => {
            if let Some(v) = session.get::<u8>("v").unwrap() {
                session.insert("v", &v).unwrap();
            }
        }
        "assign undefined" => drop(session.remove("u").unwrap()),
        "modify then revert" => {
            modify();
            session.remove("m").unwrap();
        }
        "modify"
        | "modify + save"
        | "modify + save + modify"
        | "modify then write early"
        | "modify + res.send"
        | "modify + redirect"
        | "modify + throw" => modify(),
        "cookie.maxAge changed" => session.set_idle(Duration::from_secs(3_600)).unwrap(),
        "cookie.maxAge changed + modify" => {
            session.set_idle(Duration::from_secs(3_600)).unwrap();
            modify();
        }
        "cookie.maxAge=null + modify" => {
            session.forget_on_close().unwrap();
            modify();
        }
        "regenerate" | "regenerate twice" => {
            session.rotate().unwrap();
            session.clear().unwrap();
            session.rotate().unwrap();
        }
        "regenerate + modify" | "regenerate + modify + save" => {
            session.rotate().unwrap();
            session.clear().unwrap();
            modify();
        }
        "regenerate + copy old data" => {
            session.rotate().unwrap();
            modify();
        }
        "modify + regenerate" => {
            modify();
            session.rotate().unwrap();
            session.clear().unwrap();
        }
        "destroy" | "destroy not awaited" => session.end().unwrap(),
        "modify + destroy" => {
            modify();
            session.end().unwrap();
        }
        other => panic!("an action nobody told us of: {other}"),
    }
}

/// What Express did, in our operations: `set` is an insert or an update, destroy and set of a new id is a rotation,
/// what was never stored need not be destroyed, and a session is written once a request.
fn as_express(row: &Value) -> Outcome {
    let mut ops = Vec::new();
    for op in rows(row, "ops").iter().flat_map(Value::as_str) {
        let (op, id) = op.split_once(':').unwrap();
        let is_new = id.starts_with("new");
        let last = ops.last().copied();
        match (op, last) {
            ("get", _) => ops.push("load"),
            ("destroy", _) if is_new => {}
            ("destroy", _) => ops.push("remove"),
            ("set", Some("remove")) => *ops.last_mut().unwrap() = "rotate",
            ("set" | "touch", Some("insert" | "update" | "rotate")) => {}
            ("set", _) => ops.push(if is_new { "insert" } else { "update" }),
            ("touch", _) => ops.push("touch"),
            other => panic!("{other:?}"),
        }
    }
    let cookie =
        row["setCookie"]["expires"].as_bool().map(|persistent| if persistent { PERSISTENT } else { TRANSIENT });
    (ops, rows(row, "rowsAfter").len(), cookie)
}

/// What we do where we differ.
fn on_purpose(row: &Value, (ops, live, cookie): &Outcome) -> Option<Outcome> {
    let existing = text(row, "client") == "existing";
    let looked: Vec<_> = ops.iter().copied().filter(|op| *op == "load").collect();
    Some(match text(row, "action") {
        "destroy" | "destroy not awaited" | "modify + destroy" => (ops.clone(), *live, Some(REMOVAL)),
        "regenerate" | "regenerate twice" | "modify + regenerate" if !existing => (looked, 1, None),
        "cookie.maxAge changed" if existing => (vec!["load", "update"], 1, Some(PERSISTENT)),
        "cookie.maxAge=null + modify" if existing && cookie.is_none() => (ops.clone(), *live, Some(TRANSIENT)),
        _ => return None,
    })
}

// Rows that others wrote.

/// A table with one row, which holds any text.
#[derive(Clone)]
struct OneRow(Arc<Mutex<(String, SystemTime)>>);

impl OneRow {
    fn text(&self) -> String {
        self.0.lock().unwrap().0.clone()
    }
}

#[async_trait]
impl Store for OneRow {
    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
        assert_eq!(key.as_str(), "cli");
        let (text, expires_at) = self.0.lock().unwrap().clone();
        Record::stored(key, text, expires_at, now).map(Some)
    }

    async fn insert(&self, _: &StoreKey, _: &Record) -> Result<Written, Error> {
        panic!("the row is there")
    }

    async fn update(&self, _: &StoreKey, record: &Record) -> Result<Written, Error> {
        let mut row = self.0.lock().unwrap();
        assert_eq!(record.revision.as_ref().unwrap().as_str(), row.0);
        *row = (record.document(), record.expires_at);
        Ok(Written::Done)
    }

    async fn rotate(&self, _: &StoreKey, _: &StoreKey, _: &Record) -> Result<Written, Error> {
        panic!("nobody asked for another id")
    }

    async fn touch(&self, _: &StoreKey, _: SystemTime, expires_at: SystemTime) -> Result<Written, Error> {
        self.0.lock().unwrap().1 = expires_at;
        Ok(Written::Done)
    }

    async fn remove(&self, _: &StoreKey, _: &Ending) -> Result<bool, Error> {
        panic!("nobody ended it")
    }

    async fn fate(&self, _: &StoreKey) -> Result<Option<Fate>, Error> {
        Ok(None)
    }

    fn registry(&self) -> Option<&dyn Registry> {
        None
    }

    fn description(&self) -> String {
        "one row".into()
    }
}

/// Rows whose keys Express drops when it reads them. We show and keep them, and write no row for a read.
const DROPPED_BY_EXPRESS: [(&str, &str); 5] = [
    ("reserved key id", "a method or field of Express's session object"),
    ("reserved key req", "a method or field of Express's session object"),
    ("reserved method keys", "a method or field of Express's session object"),
    ("Object.prototype keys", "a field of every JavaScript object"),
    ("__proto__ key", "a field of every JavaScript object"),
];

/// Rows that we read and Express does not.
const READ_BY_US_ONLY: [(&str, &str); 1] = [(
    "cookie has maxAge string",
    "keys of the cookie object that Express never writes are not looked at; a write drops them",
)];

/// Rows that Express reads and we do not.
const READ_BY_EXPRESS_ONLY: [(&str, &str); 1] =
    [("cookie array", "an array is no cookie object, and nobody writes one")];

/// Rows that are no session and for which Express makes a new one. We leave them to an operator, as the others.
const NEW_IN_EXPRESS: [(&str, &str); 2] =
    [("sess null", "null is no session"), ("sess string", "a string is no session")];

/// Rows after whose modification our `Set-Cookie` is not Express's.
const ANOTHER_COOKIE: [(&str, &str); 0] = [];

#[test]
fn rows_of_other_writers_are_read_as_express_reads_them_and_kept_byte_for_byte() {
    let file = read("foreign_rows.json");
    let [mut dropped, mut read_by_us, mut express_only, mut new, mut another] = [const { BTreeSet::new() }; 5];
    let (mut read_rows, mut poisoned) = (0, 0);
    for case in rows(&file, "cases").iter().filter(|case| text(case, "column") == "json") {
        let (name, action, written) = (text(case, "name"), text(case, "action"), text(case, "sess_written"));
        let context = format!("{name} | {action}");
        let row = OneRow(Arc::new(Mutex::new((written.to_owned(), at(START_MS + 600_000)))));
        let config = express().max_age(Duration::from_secs(900)).touch_every(Duration::ZERO).clock(ManualClock::new());
        let sessions = Sessions::new(row.clone(), config);
        let id = SessionId::parse("cli").unwrap();
        let value = codec([Secret::dangerous("keyboard cat")]).encode("connect.sid", &id, UNIX_EPOCH);
        let mut browser = Browser { cookie: Some(format!("connect.sid={value}")), last: None };
        let keys = browser.try_visit(&sessions, |session| {
            let keys = session.keys();
            if action == "modify" {
                session.insert("touched", &true).unwrap();
            }
            keys
        });

        let mut found = case["status"] == 200 && case["seen"]["sid"] == "cli";
        if found && keys.is_err() {
            express_only.insert(name.to_owned());
            found = false;
        }
        if !found && keys.is_ok() {
            assert_ne!(case["status"], 200, "{context}");
            read_by_us.insert(name.to_owned());
        } else if !found {
            if case["seen"]["sid"].as_str().is_some_and(|id| id != "cli") {
                new.insert(name.to_owned());
            }
            let error = keys.unwrap_err();
            assert!(error.is_poisoned(), "{context}: {error}");
            assert_eq!((row.text(), &browser.last), (written.to_owned(), &None), "{context}");
            poisoned += 1;
            continue;
        }

        let keys: BTreeSet<_> = keys.unwrap_or_else(|error| panic!("{context}: {error}")).into_iter().collect();
        let seen: BTreeSet<_> = match case["seen"]["keys"].as_array() {
            Some(seen) => seen.iter().flat_map(Value::as_str).filter(|k| *k != "cookie").map(str::to_owned).collect(),
            None => keys.clone(),
        };
        if keys != seen {
            assert!(keys.is_superset(&seen), "{context}");
            dropped.insert(name.to_owned());
        }
        read_rows += 1;
        if action == "noop" {
            assert_eq!(row.text(), written, "{context}: a read changes nothing");
            continue;
        }
        check_document(&row.text(), &context);
        let (before, after) = (Data::parse(written.into()).unwrap(), Data::parse(row.text().into()).unwrap());
        for (key, json) in before.iter().filter(|(key, _)| *key != "cookie") {
            assert_eq!(after.get(key), Some(json), "{context}: {key}");
        }
        let order = |data: &Data| data.iter().map(|(key, _)| key.to_owned()).collect::<Vec<_>>();
        assert_eq!(order(&after)[..before.iter().count()], order(&before), "{context}");
        assert_eq!(after.get("touched"), Some("true"));
        if browser.last.as_deref() != case["set_cookie"][0].as_str() {
            another.insert(name.to_owned());
        }
    }
    assert_eq!(dropped, names(&DROPPED_BY_EXPRESS));
    assert_eq!(read_by_us, names(&READ_BY_US_ONLY));
    assert_eq!(express_only, names(&READ_BY_EXPRESS_ONLY));
    assert_eq!(new, names(&NEW_IN_EXPRESS));
    assert_eq!(another, names(&ANOTHER_COOKIE));
    assert!(read_rows > 60 && poisoned > 10, "{read_rows} {poisoned}");
}
