//! The Redis store on real servers: Redis, Valkey, and a cluster of six.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "what goes wrong here fails the test"
)]

mod contract;
mod examine;
mod failover;
mod failures;
mod figures;
mod http;
mod kept;
mod relay;
mod replicas;
mod roads;
mod sessions;
mod tls;
