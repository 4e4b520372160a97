//! What Sessile's own tests, and the tests of new stores and adapters, are made of.

pub mod clock;
pub mod conformance;
pub mod contract;
pub mod http;
pub mod http_contract;
pub mod postgres;
pub mod provider;
pub mod redis;
pub mod spy;
mod throwaway;
