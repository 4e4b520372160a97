//! The settings as tables: what was written, what came of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::{Cookie, Error, SameSite, Secure, Verdict};

const SECRET: &str = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";
const OTHER_SECRET: &str = "8JH2mzkV5qWnY0cTtRfLxPa9uBdEsG3o";

/// A builder that lacks nothing.
fn builder() -> Builder {
    Settings::builder().fallback("session.secret", SECRET)
}

fn value(settings: &Settings, name: &str) -> (String, Origin) {
    settings.explain().find(|one| one.name == name).map(|one| (one.value, one.origin)).unwrap()
}

fn problems(builder: Builder) -> Vec<String> {
    builder.resolve().map_or_else(|error| error.problems().iter().map(Problem::to_string).collect(), |_| Vec::new())
}

/// A file of this test's own, removed with its directory at the end.
struct File(PathBuf);

impl File {
    fn new(test: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sessile-settings-{}-{test}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl AsRef<Path> for File {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn every_setting_has_one_path_and_one_variable() {
    let mut names: Vec<&str> = declared().flat_map(|one| [one.path(), one.variable()]).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    assert_eq!(declared().next().unwrap().path(), "session.profile", "it gives the others their defaults");
}

#[test]
fn every_setting_can_be_set_from_every_source_and_shows_it() {
    for (path, written, shown) in [
        ("session.profile", "express", "express"),
        ("session.timeout", "1800000", "1800000 ms"),
        ("session.absolute_timeout", "604800000", "604800000 ms"),
        ("session.absolute_timeout", "none", "none"),
        ("session.touch_every", "5000", "5000 ms"),
        ("session.max_data", "1024", "1024 bytes"),
        ("session.user_key", "userId", "userId"),
        ("cookie.name", "sid", "sid"),
        ("cookie.domain", "example.com", "example.com"),
        ("cookie.same_site", "Strict", "strict"),
        ("cookie.same_site", "unset", "unset"),
        ("cookie.partitioned", "true", "true"),
        ("cookie.priority", "high", "high"),
        ("cookie.persistent", "false", "false"),
        ("trust_proxy", "loopback, 10.1.2.3/8,::ffff:192.0.2.1", "127.0.0.0/8, ::1/128, 10.0.0.0/8, 192.0.2.1/32"),
        ("database.url", "postgres://app:p%40ss@db/app", "postgres://app:***@db/app"),
        ("database.url", "sqlite:/srv/p@ss/app.sqlite", "sqlite:/srv/p@ss/app.sqlite"),
        ("pool.max", "3", "3"),
        ("registry.max_sessions_per_user", "5", "5"),
        ("registry.max_sessions_per_user", "None", "none"),
        ("registry.at_limit", "deny", "deny"),
        ("registry.history", "86400000", "86400000 ms"),
        ("registry.record_ip", "Network", "network"),
        ("registry.record_ip", "never", "never"),
        ("registry.record_user_agent", "false", "false"),
        ("registry.count_requests", "true", "true"),
        ("table.registry", "who", "who"),
        ("limits.mode", "Enforce", "enforce"),
        ("limits.mode", "log", "log"),
        ("limits.forged", "5", "5"),
        ("limits.created", "6", "6"),
        ("limits.sign_ins", "7", "7"),
        ("pool.idle_timeout", "1000", "1000 ms"),
        ("pool.connect_timeout", "500", "500 ms"),
        ("table.name", "user_sessions", "user_sessions"),
        ("table.schema", "auth", "auth"),
        ("sweep.interval", "900000", "900000 ms"),
        ("sweep.interval", "none", "none"),
    ] {
        let setting = declared().find(|one| one.path() == path).unwrap();
        let file = File::new(&format!("every-{path}"), &format!("{path} = '{written}'\n"));
        for (builder, origin) in [
            (builder().set(path, written), Origin::Code),
            (builder().variables([(setting.variable(), written)]), Origin::Variable(setting.variable().into())),
            (builder().file(&file), Origin::File(file.0.clone(), 1)),
            (builder().fallback(path, written), Origin::Fallback),
        ] {
            let settings = builder.resolve().unwrap();
            assert_eq!(value(&settings, path), (shown.into(), origin));
        }
    }
}

#[test]
fn the_nearest_source_wins_whatever_the_order_of_the_calls() {
    let file = File::new("nearest", "[cookie]\nname = 'from-file'\npath = '/file'\n[pool]\nmax = 7\n");
    let settings = builder()
        .file(&file)
        .set("cookie.name", "from-code")
        .variables([("COOKIE_NAME", "from-environment"), ("COOKIE_PATH", "/environment"), ("POOL_MAX", "")])
        .fallback("pool.max", 5)
        .resolve()
        .unwrap();
    assert_eq!(value(&settings, "cookie.name"), ("from-code".into(), Origin::Code));
    assert_eq!(value(&settings, "cookie.path"), ("/environment".into(), Origin::Variable("COOKIE_PATH".into())));
    // An empty variable counts as not set.
    assert_eq!(value(&settings, "pool.max"), ("7".into(), Origin::File(file.0.clone(), 5)));
    assert_eq!(value(&settings, "pool.connect_timeout"), ("2000 ms".into(), Origin::Default));
    assert_eq!(settings.pool().max, 7);
}

#[test]
fn without_settings_the_configuration_is_the_default_one() {
    let describe = |config: Config| (config.description(), config.max_data, config.trusted_proxies);
    let settings = builder().resolve().unwrap();
    assert_eq!(describe(settings.config()), describe(Config::new(SECRET).unwrap()));
    let express = builder().set("session.profile", "express").resolve().unwrap();
    assert_eq!(describe(express.config()), describe(Config::express(SECRET).unwrap()));
    assert_eq!(express.cookie_name(), "connect.sid");
    assert!(settings.warnings().is_empty() && express.warnings().is_empty());
}

#[test]
fn the_applications_defaults_give_way_to_a_profile_that_was_chosen() {
    let app = || builder().fallback("cookie.name", "app").fallback("pool.max", 3);
    let name_of = |builder: Builder| builder.resolve().unwrap().cookie_name().to_owned();
    assert_eq!(name_of(app().variables([("SESSION_PROFILE", "default")])), "app");
    assert_eq!(name_of(app().variables([("SESSION_PROFILE", "express"), ("COOKIE_NAME", "sid")])), "sid");
    assert_eq!(name_of(app().fallback("session.profile", "express")), "app");
    let chosen = app().variables([("SESSION_PROFILE", "express")]).resolve().unwrap();
    assert_eq!(value(&chosen, "cookie.name"), ("connect.sid".into(), Origin::Default));
    assert_eq!(chosen.pool().max, 3);
}

#[test]
fn the_configuration_has_what_was_set() {
    let settings = builder()
        .variables([
            ("SESSION_SECRET", format!("{SECRET} ,{OTHER_SECRET},")),
            ("SESSION_TIMEOUT", "1800000".into()),
            ("SESSION_ABSOLUTE_TIMEOUT", "None".into()),
            ("SESSION_USER_KEY", "userId".into()),
            ("COOKIE_NAME", "sid".into()),
            ("COOKIE_SAME_SITE", "none".into()),
            ("COOKIE_SECURE", "auto".into()),
            ("TRUST_PROXY", "uniquelocal,linklocal".into()),
            ("SESSION_TABLE", "auth.user_sessions".into()),
            ("SWEEP_INTERVAL", "none".into()),
        ])
        .resolve()
        .unwrap();
    let config = settings.config();
    assert_eq!(config.fingerprints().len(), 2);
    assert_eq!(config.lifetime.idle, Duration::from_secs(30 * 60));
    assert_eq!(config.lifetime.absolute, None);
    assert_eq!(config.user_key.as_deref(), Some("userId"));
    assert_eq!(config.cookie, Cookie::new("sid").same_site(SameSite::None).secure(Secure::Auto));
    assert_eq!(config.trusted_proxies.len(), 6);
    assert_eq!((settings.schema(), settings.table()), (Some("auth"), "user_sessions"));
    assert_eq!(value(&settings, "table.schema").1, Origin::Variable("SESSION_TABLE".into()));
    assert_eq!(settings.sweep_interval(), None);
}

#[test]
fn a_table_without_a_name_is_called_what_its_kind_usually_is() {
    for (kind, name, table) in [
        (None, None, "session"),
        (Some("express"), None, "session"),
        (Some("columns"), None, "sessions"),
        (Some("columns"), Some("of_go"), "of_go"),
    ] {
        let set = [("table.kind", kind), ("table.name", name)];
        let builder = Settings::builder().set("session.secret", SECRET);
        let builder = set.into_iter().fold(builder, |builder, (path, value)| match value {
            Some(value) => builder.set(path, value),
            None => builder,
        });
        assert_eq!(builder.resolve().unwrap().table(), table);
    }
}

#[test]
fn one_wrong_value_is_told_with_its_source_what_was_expected_and_what_to_do() {
    for (path, written, told) in [
        ("session.profile", "rails", "expected default or express, found \"rails\""),
        ("session.timeout", "30min", "expected a whole number of milliseconds, found \"30min\"; write 1800000"),
        ("session.timeout", "-1", "expected a whole number of milliseconds, found \"-1\""),
        ("session.timeout", "0", "expected more than 0 milliseconds, found \"0\""),
        ("session.timeout", "none", "expected a whole number of milliseconds, found \"none\""),
        (
            "session.absolute_timeout",
            "0",
            "expected milliseconds or none, found \"0\"; 0 would mean at once, write none for no limit",
        ),
        ("session.max_data", "64K", "expected a whole number above 0, found \"64K\""),
        (
            "session.user_key",
            "cookie",
            "expected a key of the application's own, found \"cookie\"; the key \"cookie\" keeps the session's own \
             facts; choose another name",
        ),
        ("cookie.name", "my sid", "expected a cookie name of letters, digits and !#$%&'*+-.^_`|~, found \"my sid\""),
        (
            "cookie.domain",
            "https://example.com",
            "expected a domain like example.com, without scheme and port, found \"https://example.com\"",
        ),
        ("cookie.path", "app", "expected a path that begins with / and has no `;`, found \"app\""),
        ("cookie.same_site", "loose", "expected strict, lax, none or unset, found \"loose\""),
        ("cookie.secure", "yes", "expected true, false or auto, found \"yes\""),
        ("cookie.partitioned", "1", "expected true or false, found \"1\""),
        (
            "trust_proxy",
            "1",
            "expected networks like 10.0.0.0/8, addresses, or the words loopback, linklocal and uniquelocal; found \
             \"1\"; name the proxies' networks, a number of hops or `true` cannot be checked",
        ),
        (
            "database.url",
            "host=db password=hunter2",
            "expected a URL like postgres://user:password@host:5432/database, redis://host:6379 or sqlite:PATH, found something else, not shown here",
        ),
        ("pool.max", "0", "expected a whole number above 0, found \"0\""),
        ("registry.max_sessions_per_user", "0", "expected a whole number above 0 or none, found \"0\""),
        ("registry.at_limit", "evict", "expected evict_oldest or deny, found \"evict\""),
        ("table.name", "a.b.c", "expected a name of 1 to 63 bytes without dots, found \"b.c\""),
        ("table.schema", "", "expected a name of 1 to 63 bytes without dots, found \"\""),
    ] {
        assert_eq!(problems(builder().set(path, written)), [format!("{path} (code): {told}")]);
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    let file = File::new("at-once", "[cookie]\nsamesite = 'lax'\npath = 1.5\n\n[pool]\nmax = 'many'\n");
    let told = problems(
        Settings::builder()
            .set("cookie.colour", "blue")
            .variables([("COOKIE_SECURE", "yes"), ("SESSION_TIMEOUT", "soon"), ("TRUST_PROXY", "all,10.0.0.1,x/8")])
            .file(&file),
    );
    let file = file.0.display();
    let expected = [
        "cookie.colour (code): expected the name of a setting, found an unknown one; `sessile config reference` lists \
         all settings"
            .to_owned(),
        format!(
            "cookie.path ({file}:3): expected a text, a whole number, true or false; found a number with a fraction"
        ),
        format!(
            "cookie.samesite ({file}:2): expected the name of a setting, found an unknown one; did you mean \
             cookie.same_site?"
        ),
        "session.timeout (environment variable SESSION_TIMEOUT): expected a whole number of milliseconds, found \
         \"soon\""
            .into(),
        "cookie.secure (environment variable COOKIE_SECURE): expected true, false or auto, found \"yes\"".into(),
    ];
    for one in &expected {
        assert!(told.contains(one), "{one} is not among\n{}", told.join("\n"));
    }
    assert_eq!(told.iter().filter(|one| one.starts_with("trust_proxy")).count(), 2, "one for each wrong network");
    assert!(told.iter().any(|one| one.starts_with(&format!("pool.max ({file}:6): "))));
    assert!(told.last().unwrap().starts_with("session.secret: expected at least one secret"));
    assert_eq!(told.len(), 9);
}

#[test]
fn settings_that_do_not_go_together_are_told_with_all_their_sources() {
    for (variables, told) in [
        (
            [("COOKIE_NAME", "__Host-sid"), ("COOKIE_DOMAIN", "example.com")].as_slice(),
            "cookie.domain (environment variable COOKIE_DOMAIN), cookie.name (environment variable COOKIE_NAME): a \
             cookie named __Host-sid cannot have a Domain; name it __Secure-… or drop the domain",
        ),
        (
            &[("COOKIE_SECURE", "false")],
            "cookie.secure (environment variable COOKIE_SECURE): a cookie named __Host-sid must be Secure; set Secure \
             to true or choose another name",
        ),
        (
            &[("COOKIE_NAME", "sid"), ("COOKIE_SECURE", "false"), ("COOKIE_SAME_SITE", "none")],
            "cookie.name (environment variable COOKIE_NAME), cookie.same_site (environment variable \
             COOKIE_SAME_SITE), cookie.secure (environment variable COOKIE_SECURE): SameSite=None needs Secure; set \
             it to true or auto",
        ),
        (
            &[("SESSION_TABLE", "a.t"), ("SESSION_SCHEMA", "b")],
            "table.name (environment variable SESSION_TABLE), table.schema (environment variable SESSION_SCHEMA): \
             expected one schema, found \"a\" before the table's name and \"b\"; drop one",
        ),
    ] {
        assert_eq!(problems(builder().variables(variables.iter().copied())), [told]);
    }
    let nearer = builder().variables([("SESSION_TABLE", "a.t")]).fallback("table.schema", "b").resolve().unwrap();
    assert_eq!(nearer.schema(), Some("a"));
}

#[test]
fn a_cookie_with_a_domain_and_no_name_of_its_own_is_renamed_and_the_settings_say_so() {
    let settings = builder().set("cookie.domain", "example.com").resolve().unwrap();
    assert_eq!(settings.cookie_name(), "__Secure-sid");
    assert!(settings.warnings()[0].contains("__Secure-sid"));
    let express = builder().set("cookie.domain", "example.com").set("session.profile", "express").resolve().unwrap();
    assert_eq!(express.cookie_name(), "connect.sid");
}

#[test]
fn what_would_keep_users_from_signing_in_at_a_provider_is_said() {
    const OIDC: [(&str, &str); 3] = [
        ("OIDC_ISSUER", "https://id.example.com"),
        ("OIDC_CLIENT_ID", "shop"),
        ("PUBLIC_URL", "https://shop.example.com"),
    ];
    for (variables, expected) in [
        ([].as_slice(), None),
        (&[("OIDC_CLIENT_ID", "")], Some("oidc.issuer")),
        (&[("OIDC_ISSUER", "")], Some("oidc.client_id")),
        (&[("OIDC_ISSUER", "id.example.com")], Some("oidc.issuer")),
        (&[("PUBLIC_URL", "https://shop.example.com/shop")], Some("public_url")),
        (&[("PUBLIC_URL", "https://shop.example.com/")], None),
        (&[("COOKIE_SAME_SITE", "strict")], Some("cookie.same_site")),
        (&[("COOKIE_DOMAIN", "example.com")], None),
        (&[("COOKIE_DOMAIN", ".shop.example.com")], None),
        (&[("COOKIE_DOMAIN", "other.com")], Some("cookie.domain")),
        (&[("COOKIE_DOMAIN", "hop.example.com")], Some("cookie.domain")),
        (&[("PUBLIC_URL", "http://shop.example.com")], Some("cookie.secure")),
        (&[("PUBLIC_URL", "http://127.0.0.1:8080")], None),
    ] {
        let all: BTreeMap<_, _> = OIDC.into_iter().chain(variables.iter().copied()).collect();
        let found = builder().variables(all).resolve();
        let about = found.err().map(|error| error.problems()[0].sources()[0].0.clone());
        assert_eq!(about.as_deref(), expected, "{variables:?}");
    }
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    for (variables, warning) in [
        (
            [("SESSION_TIMEOUT", "1800")].as_slice(),
            "session.timeout is 1800 milliseconds; if seconds were meant, write 1800000",
        ),
        (
            &[("COOKIE_SAMESITE", "lax"), ("PATH", "/bin")],
            "the environment variable COOKIE_SAMESITE is not read; did you mean COOKIE_SAME_SITE?",
        ),
        (
            &[("COOKIE_NAME", "sid"), ("COOKIE_SECURE", "false"), ("COOKIE_DOMAIN", "example.com")],
            "the cookie is not Secure and goes to every host of example.com over plain HTTP",
        ),
        (
            &[("TRUST_PROXY", "0.0.0.0/0")],
            "trust_proxy names every address, so every client can claim to have come over HTTPS",
        ),
        (&[("COOKIE_NAME", "sid"), ("COOKIE_SECURE", "false"), ("COOKIE_DOMAIN", "app.localhost")], ""),
        (&[("SESSION_MANAGER", "local/host"), ("DATABASE_URL_FILE", "/dev/null"), ("DATABASE_URL", "")], ""),
    ] {
        let settings = builder().set("database.url", "sqlite:x").variables(variables.iter().copied()).resolve();
        assert_eq!(settings.unwrap().warnings().join("|"), warning);
    }
}

#[test]
fn no_secret_is_shown_whether_right_or_wrong() {
    let wrong = "hunter2-short";
    let file = File::new(
        "hidden",
        &format!("database.url = 'postgres://app:hunter2@db/app'\nsession.secret = ['{wrong}', '{SECRET}']\n"),
    );
    let told = problems(Settings::builder().file(&file)).join("\n");
    assert!(told.contains(":2): secret 1 of 2: expected a secret of at least 32 bytes, found 13"), "{told}");
    // Broken TOML is told by its line and not quoted.
    let broken =
        File::new("broken", &format!("[session]\nsecret = '{SECRET}\ntimeout = 60000 ms\n[cookie]\nname = 'x y'"));
    let error = Settings::builder().file(&broken).resolve().unwrap_err();
    let all = format!("{error}{error:?}{:?}", Error::from(error.clone()));
    assert!(all.contains(":2 is not TOML") && all.contains("cookie.name"), "{all}");
    assert_eq!(error.problems().len(), 3, "each broken line once, and the name: {all}");
    assert!(!all.contains("expected at least one secret"), "it may be on the broken line: {all}");
    assert!(!all.contains(SECRET) && !told.contains("hunter2"), "{all}{told}");

    let settings = Settings::builder()
        .set("session.secret", SECRET)
        .set("database.url", "postgres://app:hunter2@db/app")
        .resolve()
        .unwrap();
    let all = format!("{settings:?}{:?}", settings.explain().collect::<Vec<_>>());
    assert!(!all.contains(SECRET) && !all.contains("hunter2"), "{all}");
}

#[test]
fn a_url_loses_every_password_and_nothing_else() {
    for (url, shown) in [
        ("postgres://app@db/app", "postgres://app@db/app"),
        ("postgres://db:5432/app?sslmode=require", "postgres://db:5432/app?sslmode=require"),
        ("postgres://app:p@ss/w:rd@db:5432/app", "postgres://app:***@db:5432/app"),
        ("postgres://app:p?x@db/app", "postgres:…"),
        ("postgres:///app?host=/run&Password=x&user=y", "postgres:///app?host=/run&Password=***&user=y"),
        ("sqlite:sessions.sqlite", "sqlite:sessions.sqlite"),
    ] {
        assert_eq!(parse::without_password(url), shown);
    }
}

#[test]
fn secrets_may_stand_in_an_array_with_commas_or_in_a_file() {
    let comma = "a,secret,with,commas-0123456789-abcdefghij";
    let array = File::new("array", &format!("session.secret = ['{comma}', '{SECRET}']"));
    assert_eq!(Settings::builder().file(&array).resolve().unwrap().config().fingerprints().len(), 2);

    let file = File::new("docker-secret", &format!("{SECRET}\n"));
    let path = file.0.to_str().unwrap();
    let settings = Settings::builder().variables([("SESSION_SECRET_FILE", path)]).resolve().unwrap();
    let config = settings.config();
    // The line break at the end is not part of the secret.
    let id = crate::SessionId::generate().unwrap();
    let encoded = config.codec.encode("sid", &id, std::time::UNIX_EPOCH);
    assert_eq!(encoded, Config::new(SECRET).unwrap().codec.encode("sid", &id, std::time::UNIX_EPOCH));

    let both = [("SESSION_SECRET_FILE", path), ("SESSION_SECRET", SECRET)];
    assert_eq!(problems(Settings::builder().variables(both)).len(), 1);
    let missing = problems(Settings::builder().variables([("SESSION_SECRET_FILE", "/nowhere/at/all")]));
    assert!(missing.len() == 1 && missing[0].contains("/nowhere/at/all"), "{missing:?}");
}

#[test]
fn a_named_file_has_to_be_there_and_be_readable() {
    let told = problems(builder().file("/nowhere/sessile.toml"));
    assert!(
        told.len() == 1 && told[0].starts_with("expected a readable file, found /nowhere/sessile.toml: "),
        "{told:?}"
    );
    // The default one need not be: the tests run where there is none.
    assert!(builder().default_file().resolve().is_ok());
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_told_and_others_do_not_matter() {
    use std::os::unix::ffi::OsStringExt as _;
    let odd = || OsString::from_vec(vec![b'x', 0xFF]);
    let told = problems(builder().variables([(OsString::from("COOKIE_NAME"), odd()), (odd(), odd())]));
    assert_eq!(told, ["cookie.name (environment variable COOKIE_NAME): expected UTF-8, found other bytes"]);
}

#[test]
fn typing_errors_find_what_was_meant() {
    let candidates = ["cookie.same_site", "cookie.secure", "session.timeout", "pool.max"];
    for (typed, meant) in [
        ("cookie.sameSite", Some("cookie.same_site")),
        ("coookie.secure", Some("cookie.secure")),
        ("session.timeuot", Some("session.timeout")),
        ("SESSION_TIMEOUT", Some("session.timeout")),
        ("cookie.colour", None),
    ] {
        assert_eq!(parse::nearest(typed, candidates.into_iter()), meant, "{typed}");
    }
}

/// What the doctor says that is not good, by name and in one text.
fn troubles(builder: Builder) -> Vec<(&'static str, Verdict, String)> {
    let checks = builder.resolve().unwrap().examine();
    let bad = checks.into_iter().filter(|check| check.verdict != Verdict::Good);
    bad.map(|check| (check.name, check.verdict, format!("{} {}", check.finding, check.remedy.unwrap_or_default())))
        .collect()
}

#[test]
fn healthy_settings_get_no_warning() {
    let https = || builder().set("public_url", "https://shop.example.com").set("trust_proxy", "loopback");
    for healthy in [
        builder(),
        builder().set("session.profile", "express"),
        builder().set("session.secret", format!("{SECRET},{OTHER_SECRET}")),
        builder().set("public_url", "http://localhost:3000"),
        builder().set("public_url", "http://127.0.0.1:3000"),
        https(),
        https().set("cookie.domain", "example.com"),
        https().set("cookie.domain", ".Example.com"),
        https().set("cookie.domain", "shop.example.com"),
        https().set("cookie.same_site", "strict"),
        https().set("cookie.same_site", "none"),
        https().set("cookie.name", "sid").set("cookie.secure", "auto"),
        builder().set("session.absolute_timeout", "none"),
    ] {
        assert_eq!(troubles(healthy), []);
    }
    let two = builder().set("session.secret", format!("{SECRET},{OTHER_SECRET}")).resolve().unwrap().examine();
    let old = two.iter().find(|check| check.name == "settings.old_secrets").unwrap();
    assert!(old.finding.contains("`sessile keys list`"), "{old:?}");
    let timeouts = two.iter().find(|check| check.name == "settings.timeouts").unwrap();
    assert!(timeouts.finding.contains("after 24 h"), "{timeouts:?}");
    assert!(!format!("{two:?}").contains(SECRET) && !format!("{two:?}").contains(OTHER_SECRET));
    assert!(two[0].finding.contains("2 secrets, the shortest of 32 bytes"), "{:?}", two[0]);
    let express = builder().set("session.profile", "express").resolve().unwrap().examine();
    assert!(express.iter().any(|check| check.name == "settings.profile" && check.finding.contains("ids are stored")));
}

#[test]
fn settings_that_do_not_work_together_are_named() {
    use Verdict::{Failed, Warning};

    let https = || builder().set("public_url", "https://shop.example.com");
    let proxied = || https().set("trust_proxy", "loopback");
    let cases = [
        (builder().set("session.secret", format!("{SECRET},{SECRET}")), "settings.secret", Warning, "twice"),
        (proxied().set("cookie.domain", "example.org"), "settings.cookie_domain", Failed, "shop.example.com"),
        (proxied().set("cookie.domain", "hop.example.com"), "settings.cookie_domain", Failed, "refuse"),
        (proxied().set("cookie.domain", "www.shop.example.com"), "settings.cookie_domain", Failed, "refuse"),
        (
            builder().set("cookie.name", "sid").set("cookie.same_site", "none").set("cookie.secure", "auto"),
            "settings.same_site",
            Warning,
            "COOKIE_SECURE=true",
        ),
        (
            builder()
                .set("oidc.issuer", "https://id.example.com")
                .set("oidc.client_id", "shop")
                .set("cookie.same_site", "strict"),
            "settings.same_site",
            Failed,
            "COOKIE_SAME_SITE=lax",
        ),
        (
            proxied().set("cookie.name", "sid").set("cookie.secure", "false"),
            "settings.secure",
            Warning,
            "COOKIE_SECURE=true",
        ),
        (builder().set("public_url", "http://shop.example.com"), "settings.secure", Failed, "do not keep it"),
        (https(), "settings.proxy", Warning, "TRUST_PROXY="),
        (
            https().set("cookie.name", "sid").set("cookie.secure", "auto"),
            "settings.proxy",
            Warning,
            "the cookie is not Secure",
        ),
        (
            builder().set("session.timeout", 7_200_000).set("session.absolute_timeout", 3_600_000),
            "settings.timeouts",
            Warning,
            "never counts",
        ),
    ];
    for (number, (builder, name, verdict, text)) in cases.into_iter().enumerate() {
        let found = troubles(builder);
        let [(found_name, found_verdict, found_text)] = &found[..] else {
            panic!("case {number}: expected {name} alone, found {found:?}")
        };
        assert_eq!((*found_name, *found_verdict), (name, verdict), "case {number}");
        assert!(found_text.contains(text), "case {number}: {found_text}");
    }
}

#[test]
fn cookies_in_gorillas_format() {
    use crate::SessionId;
    use crate::codec::{CookieCodec as _, GorillaCodec, KeyPair, Secret, Serializer};
    let (key, now) = ("0123456789abcdef", std::time::SystemTime::UNIX_EPOCH);
    let pair = || KeyPair::new(Secret::new(SECRET).unwrap()).unwrap();
    let id = SessionId::parse("MZXW6YTBOI").unwrap();
    let codec_of = |builder: Builder| builder.resolve().unwrap().config().codec;
    let gorilla = || builder().set("cookie.format", "gorilla");
    let written = codec_of(gorilla()).encode("sid", &id, now);
    let peer = GorillaCodec::new([pair()]).unwrap();
    assert!(peer.decode("sid", written.as_bytes(), now).is_some_and(|decoded| decoded.id == id));
    assert!(codec_of(builder()).decode("sid", written.as_bytes(), now).is_none(), "Express's is another format");

    let encrypted = codec_of(gorilla().set("session.encryption_keys", key)).encode("sid", &id, now);
    assert!(peer.decode("sid", encrypted.as_bytes(), now).is_none());
    let peer = GorillaCodec::new([pair().encrypting(key).unwrap()]).unwrap();
    assert!(peer.decode("sid", encrypted.as_bytes(), now).is_some());

    let days = |days: u64| std::time::Duration::from_secs(days * 24 * 60 * 60);
    let is_read = |builder, after| codec_of(builder).decode("sid", written.as_bytes(), now + after).is_some();
    assert!(is_read(gorilla(), days(29)) && !is_read(gorilla(), days(31)), "as in Go");
    let long = || gorilla().set("session.timeout", days(60).as_millis().to_string());
    assert!(is_read(long(), days(59)) && !is_read(long(), days(61)), "as long as a session may be left alone");

    let json = builder().set("cookie.format", "gorilla-json");
    let json = json.set("session.secret", format!("base64:{}", "Z1VuWFJQenJrdVEwckR0QlNIWG1GSkMyQWJWQnY0RHM="));
    let json = json.set("session.encryption_keys", "base64:MDEyMzQ1Njc4OWFiY2RlZg==");
    let written = codec_of(json).encode("sid", &id, now);
    assert!(peer.serializer(Serializer::Json).decode("sid", written.as_bytes(), now).is_some(), "the same keys");
}

#[test]
fn keys_of_gorillas_format_that_do_not_fit() {
    let gorilla = || builder().set("cookie.format", "gorilla");
    let told = |builder| problems(builder).concat();
    let short = told(gorilla().set("session.encryption_keys", "0123456789"));
    assert!(short.contains("16, 24 or 32 bytes, found one of 10"), "{short}");
    assert!(!short.contains("0123456789"), "a key is not quoted");
    let two = told(gorilla().set("session.encryption_keys", "0123456789abcdef,0123456789abcdeF"));
    assert!(two.contains("at most one for each of the 1 secrets, found 2"), "{two}");
    let alone = told(builder().set("session.encryption_keys", "0123456789abcdef"));
    assert!(alone.contains("expected cookie.format to be gorilla"), "{alone}");
    let express = told(gorilla().set("session.profile", "express"));
    assert!(express.contains("an Express app could not read the cookie"), "{express}");
    let secret = told(gorilla().set("session.secret", format!("base64:{SECRET}!")));
    assert!(secret.contains("expected base64 with padding"), "{secret}");
}

#[test]
fn ids_keys_and_the_table_take_the_form_that_is_asked_for() {
    let asked = builder().set("session.id_form", "base32").set("session.key_form", "raw").set("table.kind", "columns");
    let settings = asked.resolve().unwrap();
    let forms = (settings.config().id_form, settings.key_form(), settings.table_kind());
    assert_eq!(forms, (crate::IdForm::Base32, KeyForm::Raw, Some(TableKind::Columns)));
    let usual = builder().resolve().unwrap();
    let forms = (usual.config().id_form, usual.key_form(), usual.table_kind());
    assert_eq!(forms, (crate::IdForm::Base64Url, KeyForm::Sha256, None));
    let express = builder().set("session.profile", "express").resolve().unwrap();
    assert_eq!(express.key_form(), KeyForm::Raw);
    assert_eq!(value(&express, "session.key_form").0, "raw");
}
