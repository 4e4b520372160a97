//! Signing in with an identity provider: OAuth 2.0 and OpenID Connect, with their state in the session.
//!
//! With sessions in memory a sign-in fails as soon as there are two instances or a restart: the browser comes back from the
//! provider to a server that never sent it there. Here what is under way lies in the session's row, so any instance can
//! complete what another one began, and it works once, on all of them.
//!
//! [`LoginFlow::begin`] gives the URL to send the browser to, [`LoginFlow::complete`] says who came back, and
//! [`Identity::sign_in`] signs them in. [`LoginFlow::logout_url`] and [`BackChannel`] are for signing out.
//!
//! # What it costs
//!
//! On PostgreSQL a sign-in is one statement to begin and four to complete, each one round trip: the session is read, the
//! state is taken from it, it is asked whether the provider's session ended meanwhile, and the user is signed in. Where the
//! provider names no session of its own (`sid`) it is three. In a session that was there already, to begin is two. A limit
//! on the sessions of one user makes the last statement a transaction of five. The provider is asked for its metadata and its
//! keys once an hour, and for tokens once a sign-in.
//!
//! # What is defended against
//!
//! | | threat, with its source | how | tests |
//! |---|---|---|---|
//! | O-1 | open redirects (RFC 9700 4.1) | the redirect URL is a setting; `return_to` is a [local path](local_path) | `a_path_leads_to_this_site_or_is_refused`, `a_sign_in_ends_where_it_was_meant_to_and_on_this_site` |
//! | O-2 | stolen codes (RFC 7636) | PKCE with S256 always, 256 random bits | `the_challenge_is_that_of_the_specification`, `ten_thousand_verifiers_are_distinct_and_of_the_form_that_the_rfc_wants`, `the_provider_sees_the_verifier_of_its_challenge` |
//! | O-3 | PKCE downgrade (RFC 9700 4.8) | the verifier is sent whatever the provider says; a provider without S256 can be refused | `a_provider_that_ignores_pkce_gets_the_verifier_all_the_same`, `a_provider_without_s256_is_refused_where_it_is_required` |
//! | O-4 | mix-up (RFC 9207) | `iss` is compared before the code goes anywhere, and required where it was announced | `a_callback_of_another_issuer_costs_no_token_request`, `a_callback_without_the_announced_issuer_is_refused`, `a_sign_in_begun_at_one_provider_is_not_completed_by_another` |
//! | O-5 | code injection, CSRF (RFC 9700 4.5, 4.7) | the state must be in the browser's own session, and is taken from it before anything else | `another_browser_cannot_complete_a_sign_in`, `a_callback_works_once_even_while_the_first_one_hangs` |
//! | O-6 | redirects after a POST (RFC 9700 4.12) | not of this crate: answer a POST with 303 | – |
//! | O-7 | headers of a proxy (RFC 9700 4.13) | no header is read here; see `Config::trusted_proxies` | – |
//! | O-8 | refresh tokens | none is kept: a session does not need one | `nothing_secret_is_logged_or_printed` |
//! | O-9 | forged and borrowed ID tokens (OpenID Connect Core 3.1.3.7) | each step is checked | `each_check_of_an_id_token_refuses_what_it_is_for` |
//! | O-10 | a nonce of another browser (15.5.2) | the nonce lies in the session, which the browser's cookie alone opens | `another_browser_cannot_complete_a_sign_in` |
//! | O-11 | another's metadata; floods of unknown keys | the issuer is compared; keys are fetched every 30 s at most, and after a first failure every 5 s | `metadata_of_another_issuer_are_refused`, `a_flood_of_unknown_keys_costs_one_fetch_in_thirty_seconds`, `a_provider_that_never_answered_is_asked_every_five_seconds` |
//! | O-12 | forged and repeated logout tokens | each check of Back-Channel Logout 1.0; a token works once | `each_check_of_a_logout_token_refuses_what_it_is_for`, `a_logout_token_works_once_on_all_instances` |
//! | O-13 | front-channel logout | not offered: it needs cookies that browsers no longer send from a frame | – |
//! | O-14 | open redirects at the sign-out | the browser comes back to the site of the redirect URL only | `a_sign_out_leads_back_to_this_site_alone` |
//! | O-15 | a sign-in under way when the user is signed out | it counts from its beginning; that a session of the provider ended is noted | `a_sign_in_under_way_does_not_outlive_a_revocation`, `a_sign_in_under_way_does_not_outlive_a_logout_at_the_provider` |
//! | O-16 | a provider that remembers the user, taken for a fresh proof (ASVS 7.5.1) | `auth_time` counts, and none is none | `a_user_whom_the_provider_remembered_has_not_just_proved_who_they_are`, `a_proof_from_before_the_sign_in_is_refused_where_a_new_one_was_asked_for` |
//!
//! Not offered, too: the implicit and the hybrid flow, `response_mode=form_post` (a cookie with `SameSite=Lax` does not come
//! along with another site's POST), request objects, encrypted tokens, client authentication by private key.

mod back_channel;
mod cache;
mod callback;
mod claims;
mod error;
mod flow;
mod http;
mod id_token;
mod identity;
mod jwks;
mod jws;
mod logout;
mod pending;
mod preset;
mod profile;
mod provider;
mod return_to;
mod secret;
mod settings;
mod tame;
mod token;

pub use back_channel::{BackChannel, LoggedOut, Users};
pub use callback::Callback;
pub use claims::Claims;
pub use error::{LoginError, Refusal};
pub use flow::{Begin, LoginFlow};
pub use identity::{Identity, KEY as SESSION_KEY};
pub use jws::Algorithm;
pub use pending::KEY as PENDING_KEY;
pub use preset::{LogoutForm, PlainOauth, Preset};
pub use profile::{Api, Profile};
pub use return_to::local_path;
pub use settings::LoginFlowBuilder;
