//! Sessile for actix-web 4: [`SessionMiddleware`] carries headers between an application and
//! [`Sessions`](sessile_core::Sessions), and handlers take [`Session`](sessile_core::Session) as an argument.
//!
//! ```no_run
//! use actix_web::{App, HttpServer, web};
//! use sessile_actix::SessionMiddleware;
//! use sessile_core::{Config, Error, MemoryStore, Session, Sessions};
//!
//! async fn home(session: Session) -> Result<String, Error> {
//!     let visits: u64 = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)?;
//!     Ok(format!("visit {visits}"))
//! }
//!
//! # async fn serve(secret: String) -> std::io::Result<()> {
//! # let config = Config::new(secret).unwrap();
//! let sessions = Sessions::new(MemoryStore::new(), config); // one for all workers
//! HttpServer::new(move || App::new().route("/", web::get().to(home)).wrap(SessionMiddleware::new(sessions.clone())))
//!     .bind("127.0.0.1:8080")?
//!     .run()
//!     .await
//! # }
//! ```
//!
//! The middleware decides nothing: which cookie is sent, what is stored and what fails is decided in `sessile-core`.

mod extract;
mod middleware;

pub use extract::{RecentlySignedIn, SignedIn};
pub use middleware::{SessionMiddleware, SessionService};
