//! The PostgreSQL store on a real PostgreSQL server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "what goes wrong here fails the test"
)]

mod columns;
mod columns_shared;
mod contract;
mod examine;
mod failover;
mod failures;
mod http;
mod migrate;
mod operations;
mod pgbouncer;
mod reads;
mod registry;
mod registry_tables;
mod signed_in;
mod statements;
mod stats;
mod table;
mod time;
mod tls;

use sessile_core::codec::{Keyring, Secret};
use sessile_core::{Config, Cookie, KeyForm, Sessions, Store};
use sessile_testkit::http::Browser;

/// The conformance app over this store, as a browser sees it.
async fn browser(store: impl Store) -> Browser {
    Browser::new(&sessile_testkit::conformance::start(sessions(store)).await)
}

fn sessions(store: impl Store) -> Sessions {
    let secret = Keyring::new([Secret::dangerous("keyboard cat")]).unwrap();
    Sessions::new(store, Config::express(secret).unwrap().cookie(Cookie::express()).unwrap().key_form(KeyForm::Raw))
}
