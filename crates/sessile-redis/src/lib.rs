//! Sessions on Redis and Valkey.

mod align;
mod builder;
mod device;
mod failure;
mod homes;
mod link;
mod lists;
mod moves;
mod names;
mod registry;
mod revoke;
mod rows;
mod script;
mod server;
mod sign_in;
mod store;
mod tidy;
mod time;

pub use builder::RedisBuilder;
pub use store::RedisStore;
