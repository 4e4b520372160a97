//! Sessions in PostgreSQL, in connect-pg-simple's table to the letter, or in a table with columns for what a session is
//! about, as services in Go keep them.
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

mod align;
mod builder;
mod catalogue;
mod columns;
mod connect;
mod depth;
mod examine;
mod export;
mod failure;
mod guard;
mod import;
mod lanes;
mod lease;
mod migrate;
mod names;
mod operations;
mod primary;
mod private;
mod reads;
mod registry;
mod registry_table;
mod request_column;
mod rows;
mod search;
mod servers;
mod shape;
mod sign_in;
mod sql;
mod stats;
mod store;
mod stored;
mod table;
mod tidy;
mod tidy_sql;
mod time;
mod tls;
mod transaction;

pub use builder::PostgresBuilder;
pub use depth::Depth;
pub use guard::UserKeyFit;
pub use migrate::Migration;
pub use store::PostgresStore;
