//! What the API says, as types: the JSON and its description are both made from these. Names are the library's own.

use serde::Serialize;
use sessile_core::{Action, Check, Device, DevicePage, Interval, StoreStats};
use std::collections::BTreeMap;
use std::time::SystemTime;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use super::time;
use crate::admin::figures::SweepRound;
use crate::admin::inside::Key;
use crate::admin::overview::{Point, Timeline};
use crate::admin::shown;

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "for the description; the layer in `errors` writes it")]
pub(super) struct ProblemDetails {
    /// `about:blank`: the status says what kind of problem it is.
    r#type: String,
    /// The status in words.
    title: String,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What was expected, what was found and what to do.
    detail: String,
}

/// What every address may answer instead.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let refusals = [
            ("400", "A parameter cannot be read."),
            ("401", "No valid token and no sign-in; or, where many sessions end, the sign-in is too long ago."),
            ("403", "The operator's role is viewer, or the request was sent from another site."),
            ("404", "There is no such thing."),
            ("421", "The request is for a name that the dashboard is not configured with."),
            ("429", "Too many tokens from this address were wrong."),
            ("500", "A failure that the server's log describes."),
            ("503", "The store, or the audit in it, cannot be reached. Nothing was done."),
        ];
        refusals.into_iter().map(|(status, why)| (status.to_owned(), problem(why))).collect()
    }
}

/// What an address that reads a body may answer too.
pub(super) struct BodyRefusals;

impl IntoResponses for BodyRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let refusals = [
            ("413", "The body is too large."),
            ("415", "The body is not said to be JSON."),
            ("422", "The body lacks a member, or has one of another type."),
        ];
        refusals.into_iter().map(|(status, why)| (status.to_owned(), problem(why))).collect()
    }
}

fn problem(why: &str) -> RefOr<Response> {
    let details = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDetails"))).build();
    ResponseBuilder::new().description(why).content("application/problem+json", details).build().into()
}

/// The store's figures.
#[derive(Serialize, ToSchema)]
pub(super) struct Figures {
    /// Sessions that live, anonymous ones included.
    active: u64,
    /// Those of them that somebody is signed in to.
    signed_in: u64,
    /// Rows that have expired and wait for a sweep.
    expired: u64,
    #[schema(format = DateTime)]
    oldest_expiry: Option<String>,
    #[schema(format = DateTime)]
    newest_expiry: Option<String>,
    /// How many sessions end within each of the next 60 minutes, the coming one first.
    expiring: Vec<u64>,
    /// The average size of a session's document, in bytes.
    average_bytes: Option<u64>,
    /// What 99 of 100 documents do not exceed, in bytes.
    p99_bytes: Option<u64>,
    /// The users with the most live sessions, the most first.
    top_users: Vec<TopUser>,
    /// What the sessions take on disk.
    storage: Option<Storage>,
}

/// A user and how many live sessions they have.
#[derive(Serialize, ToSchema)]
pub(super) struct TopUser {
    user: String,
    sessions: u64,
}

/// What a store takes on disk.
#[derive(Serialize, ToSchema)]
pub(super) struct Storage {
    table_bytes: u64,
    index_bytes: u64,
    total_bytes: u64,
    dead_rows: Option<u64>,
    #[schema(format = DateTime)]
    last_vacuum: Option<String>,
    #[schema(format = DateTime)]
    last_autovacuum: Option<String>,
    /// The share of updates that left the indexes alone.
    #[schema(minimum = 0, maximum = 1)]
    hot_ratio: Option<f64>,
}

impl Figures {
    pub(super) fn of(stats: &StoreStats) -> Self {
        let top =
            |(owner, sessions): &(sessile_core::UserId, u64)| TopUser { user: owner.to_string(), sessions: *sessions };
        Self {
            active: stats.active,
            signed_in: stats.signed_in,
            expired: stats.expired,
            oldest_expiry: stats.oldest_expiry.map(time::text),
            newest_expiry: stats.newest_expiry.map(time::text),
            expiring: stats.expiring.clone(),
            average_bytes: stats.average_bytes,
            p99_bytes: stats.p99_bytes,
            top_users: stats.top_owners.iter().map(top).collect(),
            storage: stats.storage.as_ref().map(Storage::of),
        }
    }
}

impl Storage {
    fn of(storage: &sessile_core::Storage) -> Self {
        Self {
            table_bytes: storage.table_bytes,
            index_bytes: storage.index_bytes,
            total_bytes: storage.total_bytes,
            dead_rows: storage.dead_rows,
            last_vacuum: storage.last_vacuum.map(time::text),
            last_autovacuum: storage.last_autovacuum.map(time::text),
            hot_ratio: storage.hot_ratio,
        }
    }
}

/// The last round of this process's sweeper.
#[derive(Serialize, ToSchema)]
pub(super) struct Sweep {
    #[schema(format = DateTime)]
    at: String,
    took_ms: f64,
    removed: u64,
}

impl Sweep {
    pub(super) fn of(round: SweepRound) -> Self {
        Self { at: time::text(round.at), took_ms: round.took.as_secs_f64() * 1000.0, removed: round.removed }
    }
}

/// The sessions at a glance.
#[derive(Serialize, ToSchema)]
pub(super) struct Overview {
    #[schema(format = DateTime)]
    pub(super) now: String,
    /// The store in words.
    pub(super) store: String,
    /// The worst verdict of all checks.
    pub(super) health: Verdict,
    /// `null` for a store that does not count.
    pub(super) figures: Option<Figures>,
    /// `null` when this process has not swept.
    pub(super) sweep: Option<Sweep>,
}

/// How something is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Good,
    /// It was not looked at.
    Skipped,
    Warning,
    Failed,
}

impl Verdict {
    pub(super) fn of(verdict: sessile_core::Verdict) -> Self {
        match verdict {
            sessile_core::Verdict::Good => Self::Good,
            sessile_core::Verdict::Skipped => Self::Skipped,
            sessile_core::Verdict::Warning => Self::Warning,
            sessile_core::Verdict::Failed => Self::Failed,
        }
    }
}

/// One thing that was looked at.
#[derive(Serialize, ToSchema)]
pub(super) struct CheckLine {
    /// A stable name, for probes.
    name: String,
    verdict: Verdict,
    /// What was found.
    finding: String,
    /// What to do about it.
    remedy: Option<String>,
}

impl CheckLine {
    pub(super) fn of(check: &Check) -> Self {
        Self {
            name: check.name.to_owned(),
            verdict: Verdict::of(check.verdict),
            finding: check.finding.clone(),
            remedy: check.remedy.clone(),
        }
    }
}

/// All checks, the worst first.
#[derive(Serialize, ToSchema)]
pub(super) struct Checks {
    pub(super) checks: Vec<CheckLine>,
}

/// What happened in a span of time.
#[derive(Serialize, ToSchema)]
pub(super) struct TimelineShape {
    /// How long one step is.
    step_seconds: u64,
    /// One for each step, the oldest first. The last step is still going on.
    points: Vec<PointShape>,
}

/// What happened in one step. `null` is what nobody counted.
#[derive(Serialize, ToSchema)]
pub(super) struct PointShape {
    /// When the step begins.
    #[schema(format = DateTime)]
    at: String,
    /// Sessions that somebody was signed in to at its end.
    active: Option<u64>,
    signed_in: Option<u64>,
    logged_out: Option<u64>,
    revoked: Option<u64>,
    expired: Option<u64>,
    evicted: Option<u64>,
    /// Cookies and sign-ins that this process refused.
    refused: Option<u64>,
    /// What half of the store's answers to this process did not exceed.
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl TimelineShape {
    pub(super) fn of(timeline: &Timeline) -> Self {
        Self { step_seconds: timeline.step.as_secs(), points: timeline.points.iter().map(PointShape::of).collect() }
    }
}

impl PointShape {
    fn of(point: &Point) -> Self {
        let kept = |count: fn(Interval) -> u64| point.kept.map(count);
        let millis = |took: std::time::Duration| took.as_secs_f64() * 1000.0;
        Self {
            at: time::text(point.at),
            active: kept(|kept| kept.active),
            signed_in: kept(|kept| kept.signed_in),
            logged_out: kept(|kept| kept.logged_out),
            revoked: kept(|kept| kept.revoked),
            expired: kept(|kept| kept.expired),
            evicted: kept(|kept| kept.evicted),
            refused: point.counted.refused,
            p50_ms: point.counted.p50.map(millis),
            p99_ms: point.counted.p99.map(millis),
        }
    }
}

/// How a session is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum StatusShape {
    Live,
    LoggedOut,
    Revoked,
    Expired,
    Evicted,
}

/// One session, as the registry has it.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionShape {
    #[schema(format = "uuid")]
    handle: String,
    user: String,
    status: StatusShape,
    /// A name for people, made from the `User-Agent`.
    device: Option<String>,
    /// What the client says it is. Anybody can write anything there.
    user_agent: Option<String>,
    ip: Option<String>,
    /// How the user proved who they are, as the application calls it.
    auth_method: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    authenticated_at: Option<String>,
    #[schema(format = DateTime)]
    last_seen_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// How many requests used it, as far as they are counted and written down; 0 where they are not.
    requests: u64,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// Why it ended, in words for people.
    reason: Option<String>,
}

impl SessionShape {
    pub(super) fn of(device: &Device, now: SystemTime) -> Self {
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        let facts = &device.facts;
        Self {
            handle: device.handle.to_string(),
            user: device.owner.to_string(),
            status: StatusShape::of(shown::status(device, now)),
            device: text(&facts.device),
            user_agent: text(&facts.user_agent),
            ip: facts.ip.map(|ip| ip.to_string()),
            auth_method: text(&facts.auth_method),
            created_at: time::text(device.created_at),
            authenticated_at: device.authenticated_at.map(time::text),
            last_seen_at: time::text(device.last_seen_at),
            expires_at: time::text(device.expires_at),
            requests: device.requests,
            ended_at: device.ended.as_ref().map(|ending| time::text(ending.at)),
            reason: device.ended.as_ref().and_then(|ending| text(&ending.reason)),
        }
    }
}

impl StatusShape {
    fn of(word: &str) -> Self {
        match word {
            "live" => Self::Live,
            "logged_out" => Self::LoggedOut,
            "revoked" => Self::Revoked,
            "evicted" => Self::Evicted,
            _ => Self::Expired,
        }
    }
}

/// A part of a list of sessions, the latest sign-in first.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionsPart {
    sessions: Vec<SessionShape>,
    /// `after` for the next part; `null` when this is the last.
    next: Option<String>,
}

impl SessionsPart {
    pub(super) fn of(page: &DevicePage, now: SystemTime) -> Self {
        Self {
            sessions: page.devices.iter().map(|device| SessionShape::of(device, now)).collect(),
            next: page.next.as_ref().map(ToString::to_string),
        }
    }

    pub(super) fn empty() -> Self {
        Self { sessions: Vec::new(), next: None }
    }
}

/// One session and what is inside it.
#[derive(Serialize, ToSchema)]
pub(super) struct OpenSession {
    pub(super) session: SessionShape,
    /// Why it is alive or over, in sentences.
    pub(super) explanation: Vec<String>,
    /// What the application stored, without the values; `null` where there is no row to read any more.
    pub(super) data: Option<Vec<KeyShape>>,
}

/// One key of a session's data.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyShape {
    key: String,
    /// The size of the value as JSON text.
    bytes: u64,
}

impl KeyShape {
    pub(super) fn of(key: Key) -> Self {
        Self { key: key.name, bytes: key.bytes }
    }
}

/// What became of a request to end sessions.
#[derive(Serialize, ToSchema)]
pub(super) struct Ended {
    /// How many sessions ended, or would have; `null` for everybody's that could not be counted in time.
    pub(super) sessions: Option<u64>,
    /// Nothing was done.
    pub(super) dry_run: bool,
}

/// Something that an operator did.
#[derive(Serialize, ToSchema)]
pub(super) struct ActionShape {
    number: i64,
    #[schema(format = DateTime)]
    at: String,
    actor: String,
    action: String,
    target: String,
    sessions: u64,
    reason: Option<String>,
    ip: Option<String>,
}

impl ActionShape {
    pub(super) fn of((number, action): (i64, Action)) -> Self {
        Self {
            number,
            at: time::text(action.at),
            actor: action.actor.into(),
            action: action.action.into(),
            target: action.target.into(),
            sessions: action.sessions,
            reason: action.reason.map(Into::into),
            ip: action.ip.map(|ip| ip.to_string()),
        }
    }
}

/// A part of the audit, the latest first.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditPart {
    pub(super) actions: Vec<ActionShape>,
    /// `before` for the next part; `null` when this is the last.
    pub(super) next: Option<i64>,
}
