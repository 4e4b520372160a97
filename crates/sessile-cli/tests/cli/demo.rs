//! `sessile demo`.

use std::fs;
use std::net::TcpListener;

use sessile_testkit::http::Browser;
use sessile_testkit::postgres::Database;

use crate::support::{Demo, Directory, SECRET, sign_in, stderr};

#[tokio::test]
async fn the_demo_needs_nothing_and_a_restart_signs_nobody_out() {
    let directory = Directory::new();
    let start = || Demo::start(&mut directory.sessile(&["demo", "--listen", "127.0.0.1:0"]));
    let demo = start();
    let log = demo.log.join("\n");
    assert!(log.contains("session store: SQLite") && log.contains("cookie sid, Path=/, Secure over HTTPS"), "{log}");
    let browser = Browser::new(&demo.url);
    assert_eq!(sign_in(&browser).await.status, 303);
    let (code, said) = demo.stop();
    assert_eq!(code, Some(0));
    assert!(said.contains("stopping"), "{said}");

    let again = start();
    let same_browser = Browser::new(&again.url);
    same_browser.set_cookie("sid", &browser.cookie("sid").unwrap());
    assert!(same_browser.get("/").send().await.text().contains("Ada Lovelace"));

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let secret = fs::metadata(directory.0.join("sessile-demo.secret")).unwrap();
        assert_eq!(secret.permissions().mode() & 0o777, 0o600);
    }
    let left = fs::read_dir(&directory.0).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        !name.starts_with("sessile-demo.sqlite") && name != "sessile-demo.secret"
    });
    assert_eq!(left.count(), 0, "nothing else is left behind");
}

#[tokio::test]
async fn the_demo_keeps_its_sessions_in_the_configured_database() {
    let (directory, database) = (Directory::new(), Database::new().await);
    let client = database.client().await;
    client.batch_execute("CREATE SCHEMA auth").await.unwrap();
    let mut command = directory.sessile(&["demo", "--listen", "127.0.0.1:0"]);
    command.env("DATABASE_URL", database.url()).env("SESSION_TABLE", "auth.user_sessions");
    command.env("SESSION_SECRET", SECRET).env("COOKIE_NAME", "shop");
    let demo = Demo::start(&mut command);
    let browser = Browser::new(&demo.url);
    assert_eq!(sign_in(&browser).await.status, 303);
    assert!(browser.cookie("shop").is_some());
    let rows: i64 = client.query_one("SELECT count(*) FROM auth.user_sessions", &[]).await.unwrap().get(0);
    assert_eq!(rows, 1);
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0, "neither a SQLite file nor a secret is made");
}

const OIDC: [(&str, &str); 2] = [("OIDC_ISSUER", "https://id.example.com"), ("OIDC_CLIENT_ID", "shop")];

#[tokio::test]
async fn the_demo_says_what_a_provider_has_to_know_and_offers_it() {
    let directory = Directory::new();
    let mut command = directory.sessile(&["demo", "--listen", "127.0.0.1:0"]);
    command.envs(OIDC).env("PUBLIC_URL", "https://shop.example.com/").env("COOKIE_DOMAIN", ".example.com");
    let demo = Demo::start(&mut command);
    let log = demo.log.join("\n");
    for words in [
        "register its client with the redirect URL https://shop.example.com/auth/callback, the post-logout redirect URL \
         https://shop.example.com/signed-out and the back-channel logout URL \
         https://shop.example.com/auth/backchannel-logout",
        "the cookie is named __Secure-sid, because cookie.domain is set",
        "session cookie __Secure-sid, Path=/, Domain=.example.com, Secure, HttpOnly",
    ] {
        assert!(log.contains(words), "{words:?} is not in\n{log}");
    }
    let page = Browser::new(&demo.url).get("/sign-in").send().await;
    assert!(page.text().contains("Sign in with id.example.com"), "{}", page.text());
    let without = Demo::start(&mut directory.sessile(&["demo", "--listen", "127.0.0.1:0"]));
    assert!(!Browser::new(&without.url).get("/sign-in").send().await.text().contains("/auth/login"));
    assert_eq!(Browser::new(&without.url).get("/auth/login").send().await.status, 404);
}

#[tokio::test]
async fn the_demos_own_provider_signs_its_users_in() {
    let directory = Directory::new();
    let demo = Demo::start(&mut directory.sessile(&["demo", "--idp", "--listen", "127.0.0.1:0"]));
    let browser = Browser::new(&demo.url);
    let login = browser.get("/auth/login?return_to=/devices").send().await;
    let location = login.header("location").unwrap();
    let (issuer, request) = location.split_at(location.find("/authorize").unwrap());
    assert!(issuer.starts_with("http://127.0.0.1:") && demo.log.join("\n").contains(issuer), "{issuer}");
    let form = Browser::new(issuer).post(request).header("Content-Type", "application/x-www-form-urlencoded");
    let back = form.body("user=ada").send().await;
    let callback = back.header("location").unwrap().strip_prefix(&demo.url).unwrap().to_owned();
    assert_eq!(browser.get(&callback).send().await.header("location"), Some("/devices"));
    assert!(browser.get("/devices").send().await.text().contains("Ada Lovelace"));
}

#[test]
fn the_demo_says_why_it_cannot_start() {
    let directory = Directory::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let unusable = directory.0.join("weak");
    fs::create_dir(&unusable).unwrap();
    fs::write(unusable.join("sessile-demo.secret"), "hunter2").unwrap();
    for (arguments, variables, code, told) in [
        (
            ["--listen", &taken].as_slice(),
            [].as_slice(),
            1,
            "is taken by another program; choose another port with --listen",
        ),
        (&["--listen", "here"], &[], 1, "expected HOST:PORT"),
        (
            &["--listen", "127.0.0.1:0"],
            &[("DATABASE_URL", "mysql://db")],
            2,
            "database.url: expected postgres://…, redis://… or sqlite:PATH, found mysql:…",
        ),
        (&["--listen", "127.0.0.1:0"], &[("COOKIE_SECURE", "yes")], 2, "expected true, false or auto"),
        (&["--idp", "--listen", "127.0.0.1:0"], &OIDC, 1, "expected --idp or oidc.issuer, found both"),
        (
            &["--listen", "127.0.0.1:0"],
            &OIDC[..1],
            2,
            "expected oidc.client_id beside it, found none; set OIDC_CLIENT_ID",
        ),
        (
            &["--idp", "--listen", "127.0.0.1:0"],
            &[("PUBLIC_URL", "http://shop.example.com")],
            2,
            "public_url (PUBLIC_URL): expected the redirect URL to be an https URL",
        ),
        (&["--store", "sqlite:weak/x.sqlite"], &[], 2, "weak/sessile-demo.secret holds no usable secret; remove it"),
    ] {
        let mut command = directory.sessile(&["demo"]);
        let output = command.args(arguments).envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(told) && !stderr(&output).contains("hunter2"), "{}", stderr(&output));
    }
}
