//! What is actix-web's alone: errors of middlewares further in, and handlers without the middleware.

use actix_web::dev::Service as _;
use actix_web::error::ErrorImATeapot;
use actix_web::{App, HttpResponse, web};
use sessile_actix::{RecentlySignedIn, SessionMiddleware};
use sessile_core::{Config, Error, MemoryStore, Session, Sessions};
use sessile_testkit::http::Browser;

use crate::conformance::serve;

const SECRET: &str = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";

fn sessions() -> Sessions {
    Sessions::new(MemoryStore::new(), Config::express(SECRET).unwrap())
}

async fn visit(session: Session) -> Result<String, Error> {
    session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1).map(|visits| visits.to_string())
}

#[tokio::test]
async fn a_middleware_that_gives_up_does_not_undo_the_handlers_edits() {
    let sessions = sessions();
    let address = serve(move || {
        App::new()
            .route("/", web::get().to(visit))
            .wrap_fn(|request, inner| {
                let fails = request.query_string() == "fail";
                let response = inner.call(request);
                async move { if fails { response.await.and(Err(ErrorImATeapot("no"))) } else { response.await } }
            })
            .wrap(SessionMiddleware::new(sessions.clone()))
    });
    let browser = Browser::new(&address);
    let answer = browser.get("/?fail").send().await;
    assert_eq!((answer.status, answer.text()), (418, "no"));
    assert_eq!((answer.header("vary"), answer.header("cache-control")), (Some("Cookie"), Some("no-store")));
    assert_eq!(browser.get("/").send().await.text(), "2", "the cookie came with the error");
}

#[tokio::test]
async fn the_cookie_is_marked_as_a_secret_for_whoever_prints_headers() {
    let app = App::new().route("/", web::get().to(visit)).wrap(SessionMiddleware::new(sessions()));
    let app = actix_web::test::init_service(app).await;
    let answer = actix_web::test::call_service(&app, actix_web::test::TestRequest::get().to_request()).await;
    assert!(answer.headers().get("set-cookie").unwrap().is_sensitive());
}

#[tokio::test]
async fn a_handler_without_the_middleware_says_what_is_missing_to_the_log_and_not_to_the_browser() {
    let address = serve(|| App::new().route("/", web::get().to(visit)));
    let answer = Browser::new(&address).get("/").send().await;
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("SessionMiddleware"), "{}", answer.text());
}

#[tokio::test]
async fn what_needs_a_recent_sign_in_is_refused_without_one() {
    async fn sign_in(session: Session) -> Result<&'static str, Error> {
        session.sign_in("alice").map(|()| "done")
    }
    async fn close(RecentlySignedIn { owner, .. }: RecentlySignedIn<60>) -> String {
        format!("{owner} may")
    }
    let sessions = sessions();
    let address = serve(move || {
        App::new()
            .route("/sign-in", web::post().to(sign_in))
            .route("/close", web::post().to(close))
            .wrap(SessionMiddleware::new(sessions.clone()))
    });
    let browser = Browser::new(&address);
    assert_eq!(browser.post("/close").send().await.status, 401);
    browser.post("/sign-in").send().await;
    assert_eq!(browser.post("/close").send().await.text(), "alice may");
}

#[tokio::test]
async fn cookies_and_cache_headers_of_a_handler_are_left_as_they_are() {
    async fn own(session: Session) -> Result<HttpResponse, Error> {
        visit(session).await?;
        Ok(HttpResponse::Ok()
            .insert_header(("set-cookie", "theme=dark"))
            .insert_header(("cache-control", "private"))
            .finish())
    }
    let sessions = sessions();
    let address =
        serve(move || App::new().route("/", web::get().to(own)).wrap(SessionMiddleware::new(sessions.clone())));
    let browser = Browser::new(&address);
    let answer = browser.get("/").send().await;
    assert_eq!(answer.header("cache-control"), Some("private"));
    assert_eq!(browser.cookie("theme").as_deref(), Some("dark"));
    assert!(browser.cookie("connect.sid").is_some());
}
