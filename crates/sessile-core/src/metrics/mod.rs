//! Figures for a monitoring system, through the `metrics` facade: whichever recorder the application has installed gets
//! them. Install it before stores and sessions are made, for they take their counters then: a request finds them ready and
//! allocates nothing for them.
//!
//! One table, [`declared`], names every metric once, with all labels and all their values. There are no others, so their
//! number is bounded: a user, an address or a handle is never a label.
//!
//! ```
//! use sessile_core::metrics::{Measured, MetricsObserver, describe};
//! use sessile_core::{Config, MemoryStore, Sessions};
//!
//! # let secret = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";
//! describe();
//! let config = Config::new(secret)?.observer(MetricsObserver::default());
//! let sessions = Sessions::new(Measured::new(MemoryStore::new()), config);
//! # Ok::<(), sessile_core::Error>(())
//! ```

mod beside;
mod gauges;
mod measured;
mod observer;
mod operation;

mod table;

pub use gauges::Gauges;
pub use measured::Measured;
pub use observer::MetricsObserver;
pub use table::{Kind, Label, Metric, declared, describe};
