//! Sessions on Redis and Valkey, on one server or a cluster, with the registry and all of its promises.
//!
//! ```no_run
//! # async fn example() -> Result<(), sessile_core::Error> {
//! use sessile_redis::RedisStore;
//! use std::time::Duration;
//!
//! let store = RedisStore::builder("redis+cluster://10.0.0.1:6379,10.0.0.2:6379")
//!     .wait_replicas(1, Duration::from_millis(500))
//!     .connect()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where what is
//!
//! A cluster runs a script in one slot at a time, and there are no transactions across slots. So everything that has to
//! change together lies together, and what lies apart is written in an order in which each prefix is harmless.
//!
//! - **A session that nobody is signed in to** is one hash under its key: `{p}:k:KEY`. All that happens to it is one script
//!   there.
//! - **A user's session** is one hash at the user's *home*, `{p}:d:HANDLE`, where all of the user's sessions lie, with the
//!   sorted sets of those that live and those that ended, and the user's cut-off. Session and row of the registry are the
//!   same hash, so they cannot differ. It says which key it has. Under that key is only a lead to the home.
//! - **Leads** name the home: from a key, from a handle, from a session of an identity provider. A lead alone means
//!   nothing: who follows it asks the home whether it is so.
//! - **Indexes**, one per partition, name what ends when, what was signed in when, and what ended when: for the sweeper and
//!   for operators. They are written by the same script as the hash.
//! - **Everyone's cut-off** is copied to every partition, so that a read finds it where the row is.
//!
//! A read of an anonymous session is one round trip, of a user's session two.
//!
//! # Why the promises hold
//!
//! *A destroyed session stays dead.* A session is alive if its one hash says so, and only three scripts make one say so:
//! `insert` and `enter`, which do it where nothing of the name is, and `settle` or `arrive`, which do it after the place
//! that the session left said that it has left. All that writes, touches or rotates compares status, key, end and revision
//! in the script that writes. A script that finds the session elsewhere changes nothing.
//!
//! *No lost update.* A write compares the hash of the document that was read with that of the document that is there.
//! Every write has a name of its own that is kept with the row: one that was sent twice, because a connection broke before
//! the answer came, is recognised and not taken for a race that was lost.
//!
//! *An old id never comes back, and there is one live id.* The rotation of a user's session is one script at home; the new
//! lead was written before and means nothing until then. An anonymous session changes its slot with its key: it waits at
//! the new place, leaves the old one in one script, which decides, and is then let in. If the process dies before the
//! second step, the old key is alive and what waits is not. If it dies after it, the old key is dead, and who looks at the
//! new one finds that what waits has left the other place, and lets it in. What waits and never comes is swept.
//!
//! *Limits are exact.* A sign-in with a limit is one script at the home, which compares the sorted set of live sessions with
//! those it was given, and changes nothing unless it was given all. A session that is on its way to the home waits in that
//! set, and counts.
//!
//! *A revocation of all sessions misses none.* One script sets the user's cut-off and says which sessions are in the set.
//! Those end, some at a time, and the revocation is done when all have. One on its way ends where it waits, so it arrives
//! dead. A sign-in that comes after the script meets the cut-off, in the script that lets it in. Whatever prolongs a session
//! prolongs that set, and puts the session back in should it be missing.
//!
//! *A sign-out that was acknowledged is durable* as far as the server is: see [`RedisStore::description`](sessile_core::Store::description)
//! for what it keeps and [`RedisBuilder::wait_replicas`] for failovers.
//!
//! # Time
//!
//! Scripts compare times that they are given. The server's own clock only throws away: rows a week after their end, for the
//! sweeper to find and report first, what says that a session is over after 400 days at most, and the key that a session
//! moved from after two hours. The spans are relative, so no clock that differs from the server's loses a session.

mod align;
mod builder;
mod device;
mod examine;
mod export;
mod failure;
mod figures;
mod homes;
mod import;
mod lane;
mod link;
mod lists;
mod moves;
mod names;
mod operations;
mod registry;
mod replicas;
mod revoke;
mod road;
mod rows;
mod script;
mod server;
mod sign_in;
mod store;
mod tidy;
mod time;

pub use builder::RedisBuilder;
pub use store::RedisStore;
