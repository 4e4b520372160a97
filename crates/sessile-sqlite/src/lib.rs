//! Sessions in one SQLite file: a store without a server, for one host.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! # let directory = std::env::temp_dir().join(format!("sessile-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory).unwrap();
//! # let path = directory.join("app.sqlite");
//! use sessile_core::{Config, Sessions};
//! use sessile_sqlite::SqliteStore;
//!
//! let store = SqliteStore::open(&path).await?;
//! let sessions = Sessions::new(store, Config::new("gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds")?);
//! # std::fs::remove_dir_all(&directory).unwrap();
//! # Ok::<(), sessile_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! The table is connect-pg-simple's, so the SQL that answers a question on PostgreSQL answers it here:
//!
//! ```sql
//! CREATE TABLE "session" ("sid" TEXT NOT NULL PRIMARY KEY, "sess" TEXT NOT NULL, "expire" TEXT NOT NULL);
//! CREATE INDEX "IDX_session_expire" ON "session" ("expire");
//!
//! SELECT count(*) FROM session WHERE expire >= datetime('now') AND sess->>'userId' = 'alice';
//! ```
//!
//! `expire` is UTC, as `YYYY-MM-DD HH:MM:SS`.
//!
//! Or it is the columns table, which services in Go and others share: see
//! [`table_kind`](SqliteBuilder::table_kind). There the user is a column, and so are a session's beginning and its end:
//!
//! ```sql
//! SELECT id, created_at FROM sessions WHERE user_id = 'alice' AND expires_at >= datetime('now');
//! ```
//!
//! Several processes on one host may share the file. Over a network file system SQLite's locks do not hold: use PostgreSQL.
//!
//! # How it works
//!
//! Reads run where they are asked for: a row by its key is a matter of microseconds, less than handing it to another
//! thread would take. Writes go to one thread, which puts all that are waiting into one transaction and answers them when
//! it is on the disk: 64 tasks that write at once wait for one flush and not for 64, so every write is durable
//! (`synchronous=FULL`) at the price of one that is not.

mod aside;
mod builder;
mod change;
mod entries;
mod examine;
mod export;
mod failure;
mod figures;
mod import;
mod layout;
mod lists;
mod operations;
mod readers;
mod registry;
mod registry_table;
mod rows;
mod statements;
mod store;
mod table;
mod tidy;
mod times;
mod writer;

pub use builder::SqliteBuilder;
pub use store::SqliteStore;
