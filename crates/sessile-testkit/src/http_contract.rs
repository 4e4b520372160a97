//! What every adapter has to do, as tests: [`http_contract!`](crate::http_contract!) drives the conformance routes over
//! real connections, on two instances that share one store, and turns their clock.
//!
//! ```
//! use sessile_core::{Config, MemoryStore, Sessions};
//! use sessile_testkit::{conformance, http_contract};
//!
//! struct Memory(MemoryStore);
//!
//! impl http_contract::App for Memory {
//!     async fn serve(&self, config: Config) -> String {
//!         conformance::start(Sessions::new(self.0.clone(), config)).await
//!     }
//! }
//!
//! http_contract!(memory, async || Memory(MemoryStore::new()));
//! # fn main() {}
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test tools: what goes wrong here ends the test")]
#![allow(missing_docs, reason = "a clause is documented by its name")]

mod cookies;
mod devices;
mod lives;
mod races;

use std::time::{Duration, UNIX_EPOCH};

use sessile_core::codec::{Keyring, Secret};
use sessile_core::{Config, Cookie};

use crate::clock::ManualClock;
use crate::http::Browser;

pub use cookies::*;
pub use devices::*;
pub use lives::*;
pub use races::*;

/// The conformance routes on one adapter, over one empty store.
pub trait App: Sized {
    /// Serves the routes with these settings and gives the address, like `http://127.0.0.1:4711`. Each call starts
    /// another instance on the same store.
    fn serve(&self, config: Config) -> impl Future<Output = String>;
}

/// The name of the cookie in the clauses.
pub const COOKIE: &str = "__Host-sid";

const FIRST_SECRET: &str = "the first of two secrets that are long enough";
const SECOND_SECRET: &str = "the second of two secrets that are long enough";

/// Two instances over one store, and their clock.
pub struct Pair<A> {
    app: A,
    clock: ManualClock,
    first: String,
    second: String,
}

impl<A: App> Pair<A> {
    async fn start(app: A) -> Self {
        let clock = ManualClock::new(UNIX_EPOCH + crate::contract::NOW);
        let first = app.serve(config(&clock)).await;
        let second = app.serve(config(&clock)).await;
        Self { app, clock, first, second }
    }

    /// A third instance, whose secrets are these.
    async fn signed_by(&self, secrets: &[&str]) -> String {
        self.app.serve(signed_by(&self.clock, secrets)).await
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.first)
    }

    /// The same browser, as the load balancer sends it to the other instance.
    fn elsewhere(&self, browser: &Browser) -> Browser {
        let other = Browser::new(&self.second);
        if let Some(cookie) = browser.cookie(COOKIE) {
            other.set_cookie(COOKIE, &cookie);
        }
        other
    }
}

/// The default settings, with short lives: 1,000 seconds idle, 5,000 in all, touched every 60.
fn config(clock: &ManualClock) -> Config {
    signed_by(clock, &[FIRST_SECRET])
}

fn signed_by(clock: &ManualClock, secrets: &[&str]) -> Config {
    let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(secret).unwrap()).collect();
    Config::new(Keyring::new(secrets).unwrap())
        .unwrap()
        .cookie(Cookie::new(COOKIE))
        .unwrap()
        .idle(Duration::from_secs(1_000))
        .absolute(Duration::from_secs(5_000))
        .clock(clock.clone())
}

async fn read(browser: &Browser, key: &str) -> serde_json::Value {
    browser.get(&format!("/read?k={key}")).send().await.json()["value"].clone()
}

async fn status(browser: &Browser, path: &str) -> u16 {
    browser.get(path).send().await.status
}

/// Expands to a module with one test per clause of the HTTP contract; used like
/// [`store_contract!`](crate::store_contract).
#[macro_export]
macro_rules! http_contract {
    ($module:ident, $app:expr) => {
        mod $module {
            #[allow(unused_imports)]
            use super::*;

            $crate::http_contract! { @clauses $app;
                // cookies
                nothing_is_sent_or_stored_until_something_is_written
                the_first_write_sets_one_cookie_with_every_attribute
                reading_and_writing_again_send_no_cookie
                a_response_with_our_cookie_is_not_cached
                an_unknown_forged_or_damaged_cookie_is_never_adopted
                a_junk_cookie_signs_nobody_out
                only_the_exact_name_is_ours
                a_cookie_signed_by_the_old_secret_is_signed_anew
                a_retired_secret_is_worth_nothing
                no_response_repeats_the_id
                // lives
                whoever_is_not_signed_in_gets_401
                signing_in_keeps_the_cart_and_changes_the_id
                signing_in_as_somebody_else_drops_the_data
                signing_out_forgets_the_cookie_with_the_attributes_it_was_set_with
                the_handle_survives_rotation
                a_removed_value_is_gone_for_good
                a_handlers_failure_does_not_undo_its_edits
                a_rotation_with_a_failing_handler_leaves_one_live_id
                an_unused_session_ends
                a_used_session_goes_on_until_its_absolute_end
                a_value_that_is_too_large_is_refused_and_nothing_is_lost
                every_text_comes_back
                // races
                a_late_write_never_revives_a_session
                a_late_read_never_revives_a_session
                a_late_sign_in_never_revives_a_session
                a_sign_out_ends_the_session_that_a_rotation_moved_meanwhile
                a_late_request_does_not_overwrite_the_browsers_new_cookie
                a_session_that_ended_is_dead_for_the_very_next_request_everywhere
                two_requests_that_change_different_keys_both_count
                many_requests_that_count_are_all_counted
                a_write_under_the_old_id_does_not_bring_it_back
                // devices
                the_devices_of_a_user_are_listed
                a_revoked_device_is_signed_out_for_the_very_next_request_everywhere
                a_device_of_somebody_else_is_not_there
                all_other_devices_are_signed_out_and_this_one_stays
                what_is_in_flight_does_not_undo_a_revocation
                a_limit_holds_however_many_sign_in_at_once
                late_requests_do_not_sign_the_browser_out
            }
        }
    };
    (@clauses $app:expr; $($clause:ident)+) => {
        $(
            #[test]
            fn $clause() {
                $crate::http_contract::run($app, $crate::http_contract::$clause);
            }
        )+
    };
}

/// Runs one clause on an app of its own. For [`http_contract!`](crate::http_contract!).
#[doc(hidden)]
pub fn run<A, Made, Clause>(app: impl FnOnce() -> Made, clause: impl FnOnce(Pair<A>) -> Clause)
where
    A: App,
    Made: Future<Output = A>,
    Clause: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let pair = Pair::start(app().await).await;
        clause(pair).await;
    });
}
