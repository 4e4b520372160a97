//! Server-side sessions: the policy, without framework, database or runtime.
//!
//! A browser holds one signed cookie with an opaque id; everything else is a row in a [`Store`]. A request goes down once
//! and up once: [`Sessions::begin`] reads the cookie, [`Exchange::session`] loads the row if a handler asks for it, the
//! handler works on its [`Session`] in memory, and [`Exchange::finish`] makes the one store call that [`plan::plan`]
//! found necessary. Adapters for frameworks carry headers across; stores compare one time and one revision.
//!
//! Applications depend on the `sessile` crate, which re-exports this one.

mod activity;
#[cfg(feature = "actix")]
mod actix;
mod aligned;
#[cfg(feature = "axum")]
mod axum;
mod check;
mod clock;
pub mod codec;
mod commit;
mod config;
mod cookie;
mod data;
mod device;
mod devices;
mod edit;
mod error;
mod event;
mod exchange;
mod explain;
mod id;
mod lifetime;
mod limits;
pub mod manual {
    //! The manual: what the defaults are and why, which attacks are known, how to come from Express.

    #[doc = include_str!("manual/defaults.md")]
    pub mod defaults {}
    #[doc = include_str!("manual/attacks.md")]
    pub mod attacks {}
    #[doc = include_str!("manual/migrating.md")]
    pub mod migrating {}
}
mod memory;
mod meters;
#[cfg(feature = "metrics")]
pub mod metrics;
mod operations;
pub mod plan;
mod proxy;
mod record;
mod registry;
mod secret_use;
mod session;
mod sessions;
#[cfg(feature = "settings")]
pub mod settings;
mod single_use;
mod stats;
mod store;
mod sweeper;
mod transfer;
mod turns;
mod values;

pub use check::{Check, Examine, Verdict};
pub use clock::{Clock, SystemClock};
pub use config::Config;
pub use cookie::{Cookie, Priority, SameSite, Secure};
pub use data::Data;
pub use device::{DeviceNames, RecordIp, Woothee};
pub use devices::{DevicePage, Devices};
pub use error::Error;
pub use event::{Event, EventKind, Observer, Refusal, TracingObserver};
pub use exchange::{Exchange, RequestHead, SetCookie};
pub use explain::Explanation;
pub use id::{Handle, IdForm, KeyForm, SessionId, StoreKey};
pub use lifetime::Lifetime;
pub use limits::{Enforcement, Limits, Rate};
pub use memory::MemoryStore;
pub use meters::SweepRound;
pub use operations::{Action, Operations, Operator, Role, SecretUse};
pub use record::{Record, Revision, UserId};
pub use registry::{
    Alignment, AtLimit, Cursor, CutOff, Device, DeviceFacts, End, EndedSession, Ending, Fate, Limit, Page, Registry,
    Search, Seen, SignIn, SignedIn, Status, Tidied, Tidy,
};
pub use session::{Flash, Session};
pub use sessions::Sessions;
pub use stats::{Interval, Load, Stats, Storage, StoreStats};
pub use store::{Store, Sweep, Swept, Written};
pub use transfer::{Imported, Piece, Place, Transfer};
pub use values::{TableKind, ValuesRow};
