//! Sessions in PostgreSQL, in connect-pg-simple's table to the letter.
//!
//! Reads run on a few shared connections, pipelined: many requests have their statement under way on one connection at
//! once, which costs the server half of what a checkout pool costs it. Writes wait for the disk, so each takes a
//! connection of a small pool for itself. A lost connection is replaced, a statement the server forgot is prepared again.
//!
//! ```no_run
//! # async fn example() -> Result<(), sessile_core::Error> {
//! use sessile_postgres::PostgresStore;
//!
//! let store = PostgresStore::builder("postgres://app@db.internal/app?sslmode=verify-full")
//!     .schema("schema_system")
//!     .table("user_sessions")
//!     .connect()
//!     .await?;
//! # Ok(()) }
//! ```

mod builder;
mod connect;
mod failure;
mod lanes;
mod lease;
mod private;
mod reads;
mod store;
mod table;
mod tls;

pub use builder::PostgresBuilder;
pub use store::PostgresStore;
