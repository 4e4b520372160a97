//! The table of all metrics. What is counted elsewhere is named by the constants here, the page of the manual is made from
//! it, and dashboards and alerts are checked against it.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

use super::operation::{Operation, Outcome};
use crate::EventKind;
use crate::event::Refusal;
use crate::meters;
use crate::registry::End;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0 at the start of the process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Many values, counted by size.
    Histogram,
}

/// A label and everything that it can be.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: &'static [&'static str],
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, with its unit at the end as Prometheus wants it.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it counts or measures in; `None` for things.
    pub unit: Option<Unit>,
    /// Its labels.
    pub labels: &'static [Label],
    /// What it means.
    pub help: &'static str,
}

pub(super) const OPERATIONS: &str = "sessile_store_operations_total";
pub(super) const OPERATION_SECONDS: &str = "sessile_store_operation_seconds";
pub(super) const EVENTS: &str = "sessile_events_total";
pub(super) const ENDED: &str = "sessile_sessions_ended_total";
pub(super) const REFUSED: &str = "sessile_refusals_total";
pub(super) const STORE_UP: &str = "sessile_store_up";
pub(super) const ACTIVE: &str = "sessile_sessions_active";
pub(super) const SIGNED_IN: &str = "sessile_sessions_signed_in";
pub(super) const EXPIRED: &str = "sessile_sessions_expired";
pub(super) const OLDEST_EXPIRED: &str = "sessile_oldest_expired_age_seconds";
pub(super) const TABLE_BYTES: &str = "sessile_table_bytes";
pub(super) const INDEX_BYTES: &str = "sessile_index_bytes";
pub(super) const STORAGE_BYTES: &str = "sessile_storage_bytes";
pub(super) const CONNECTIONS: &str = "sessile_store_connections";
pub(super) const CONNECTIONS_MAX: &str = "sessile_store_connections_max";
pub(super) const CONNECTION_WAITERS: &str = "sessile_store_connection_waiters";
pub(super) const READS: &str = "sessile_store_reads";
pub(super) const ACTIVITY_WAITING: &str = "sessile_registry_queue";
pub(super) const CLOCK_SKEW: &str = "sessile_clock_skew_seconds";

const ENDS: [&str; 4] = [End::LoggedOut.as_str(), End::Revoked.as_str(), End::Expired.as_str(), End::Evicted.as_str()];

const EVENT_KINDS: [&str; 4] = [
    EventKind::Created.as_str(),
    EventKind::SignedIn.as_str(),
    EventKind::AuthenticatedAgain.as_str(),
    EventKind::Rotated.as_str(),
];

const REFUSALS: [&str; Refusal::ALL.len()] = [
    Refusal::Forged.as_str(),
    Refusal::Reused.as_str(),
    Refusal::Late.as_str(),
    Refusal::CutOff.as_str(),
    Refusal::Full.as_str(),
    Refusal::RateLimited.as_str(),
];

static DECLARED: [Metric; 25] = [
    counter(
        meters::REQUESTS,
        &[Label { name: "outcome", values: &meters::Outcome::WORDS }],
        "Requests that passed the session layer, by what became of their session: `anonymous` did not ask for it, `read` changed \
         nothing, `dropped` changed one that had ended meanwhile, `refused` got an answer of 4xx for it, `failed` one of 5xx.",
    ),
    counter(
        meters::COOKIES,
        &[Label { name: "secret", values: &meters::SECRETS }],
        "Cookies with a good signature, by which secret of the list made it. When none but the first counts up any more, the \
         others can go.",
    ),
    counter(
        OPERATIONS,
        &[OPERATION, Label { name: "outcome", values: &Outcome::WORDS }],
        "Calls of the store, by how they ended. `none`, `gone` and `stale` are answers: there is no such session, it had ended, \
         another request wrote first. `refused` is a sign-in that was. `unavailable` and `failed` are errors.",
    ),
    Metric {
        name: OPERATION_SECONDS,
        kind: Kind::Histogram,
        unit: Some(Unit::Seconds),
        labels: &[OPERATION],
        help: "How long calls of the store took, those that failed included.",
    },
    counter(EVENTS, &[Label { name: "event", values: &EVENT_KINDS }], "What happened to sessions."),
    counter(
        ENDED,
        &[Label { name: "reason", values: &ENDS }],
        "Signed-in sessions that ended, and anonymous ones that their visitor ended, as far as this process ended them.",
    ),
    counter(
        REFUSED,
        &[Label { name: "reason", values: &REFUSALS }],
        "Cookies and sign-ins that were not accepted: `forged` has no good signature, `reused_after_end` names a session that \
         ended, `late` came under an id that had just been replaced, `cut_off` came after a revocation, `too_many_sessions` is one \
         over the limit, `rate_limited` is more than one client may do, where that is only logged, too.",
    ),
    counter(
        meters::SWEEPS,
        &[Label { name: "outcome", values: &meters::ENDINGS }],
        "Rounds of the sweeper in this process.",
    ),
    counter(meters::SWEPT, &[], "Expired sessions that this process removed."),
    Metric {
        name: meters::SWEEP_SECONDS,
        kind: Kind::Histogram,
        unit: Some(Unit::Seconds),
        labels: &[],
        help: "How long the sweeper's rounds took, their pauses included.",
    },
    Metric {
        name: meters::LAST_SWEEP,
        kind: Kind::Gauge,
        unit: Some(Unit::Seconds),
        labels: &[],
        help: "When the last round of the sweeper ended well, in seconds since 1970. `time()` minus this is its age.",
    },
    gauge(CLOCK_SKEW, Some(Unit::Seconds), &[], "How far this host's clock is from the store's, where that has one."),
    gauge(STORE_UP, None, &[], "1 when the store answered when it was last asked for its figures, else 0."),
    gauge(ACTIVE, None, &[], "Sessions that live, anonymous ones included."),
    gauge(SIGNED_IN, None, &[], "Those of them that somebody is signed in to."),
    gauge(EXPIRED, None, &[], "Sessions that have expired and wait for the sweeper."),
    gauge(
        OLDEST_EXPIRED,
        Some(Unit::Seconds),
        &[],
        "For how long the first of those that wait has been over; 0 when none waits.",
    ),
    gauge(TABLE_BYTES, Some(Unit::Bytes), &[], "What the table of sessions takes on disk."),
    gauge(INDEX_BYTES, Some(Unit::Bytes), &[], "What its indexes take."),
    gauge(STORAGE_BYTES, Some(Unit::Bytes), &[], "What everything of Sessile's takes, the registry included."),
    gauge(
        CONNECTIONS,
        None,
        &[Label { name: "state", values: &["idle", "in_use"] }],
        "Connections that writes use, by what they do.",
    ),
    gauge(CONNECTIONS_MAX, None, &[], "How many of them there may be."),
    gauge(CONNECTION_WAITERS, None, &[], "Calls that wait for one."),
    gauge(
        READS,
        None,
        &[Label { name: "state", values: &["under_way", "waiting"] }],
        "Reads on the shared connections: sent and not answered yet, or waiting to be sent together.",
    ),
    gauge(ACTIVITY_WAITING, None, &[], "Uses of sessions that are gathered and not written to the registry yet."),
];

const OPERATION: Label = Label { name: "operation", values: &Operation::WORDS };

const fn counter(name: &'static str, labels: &'static [Label], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: None, labels, help }
}

const fn gauge(name: &'static str, unit: Option<Unit>, labels: &'static [Label], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, labels, help }
}

/// Every metric, in the order of the documentation.
pub fn declared() -> &'static [Metric] {
    &DECLARED
}

/// Tells the recorder what each metric means.
pub fn describe() {
    for Metric { name, kind, unit, help, .. } in DECLARED {
        let unit = unit.unwrap_or(Unit::Count);
        match kind {
            Kind::Counter => describe_counter!(name, unit, help),
            Kind::Gauge => describe_gauge!(name, unit, help),
            Kind::Histogram => describe_histogram!(name, unit, help),
        }
    }
}
