//! The first page: health in plain sentences, then figures. The plots are drawn by a script from the JSON API; the same
//! figures stand here as tables, for whoever has no script or does not see plots.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use sessile_core::{Check, StoreStats, Verdict};

use crate::admin::access::Who;
use crate::admin::figures::SweepRound;
use crate::admin::overview::{self, Point, Span};
use crate::admin::page::{Frame, page};
use crate::admin::problem::Problem;
use crate::admin::state::Dashboard;
use crate::demo::times::Moment;

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct OverviewPage {
    frame: Frame,
    store: String,
    checks: Arc<Vec<Check>>,
    stats: Arc<Option<StoreStats>>,
    /// Why there are no figures.
    lacking: Option<String>,
    sweep: Option<(Moment, SweepRound)>,
    span: Span,
    lines: Vec<Line>,
}

/// One step of the timeline, as the table shows it.
struct Line {
    at: String,
    counts: [String; 6],
    latency: [String; 2],
}

impl Line {
    fn of(point: &Point) -> Self {
        let count = |count: Option<u64>| count.map_or_else(|| "–".to_owned(), |count| count.to_string());
        let kept = point.kept;
        let counts = [
            kept.map(|kept| kept.active),
            kept.map(|kept| kept.signed_in),
            kept.map(|kept| kept.logged_out),
            kept.map(|kept| kept.revoked),
            kept.map(|kept| kept.expired + kept.evicted),
            point.counted.refused,
        ];
        let at = jiff::Timestamp::try_from(point.at).unwrap_or_default().strftime("%Y-%m-%d %H:%M").to_string();
        let latency = [point.counted.p50, point.counted.p99].map(|took| took.map_or_else(|| "–".to_owned(), millis));
        Self { at, counts: counts.map(count), latency }
    }
}

impl OverviewPage {
    fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// Those that need somebody, and what nobody looked at.
    fn troubles(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.verdict != Verdict::Good)
    }

    fn good(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.verdict == Verdict::Good)
    }

    /// Health in one sentence.
    fn health(&self) -> String {
        match (self.count(Verdict::Failed), self.count(Verdict::Warning)) {
            (0, 0) if self.checks.is_empty() => "Overview".to_owned(),
            (0, 0) if self.count(Verdict::Skipped) > 0 => "What was looked at is well.".to_owned(),
            (0, 0) => "All is well.".to_owned(),
            (0, 1) => "It works, and one thing will hurt some day.".to_owned(),
            (0, warnings) => format!("It works, and {warnings} things will hurt some day."),
            (1, _) => "One thing is broken.".to_owned(),
            (failed, _) => format!("{failed} things are broken."),
        }
    }

    fn spans(&self) -> [Span; 3] {
        Span::ALL
    }

    fn number(&self, number: &u64) -> String {
        in_groups(*number)
    }

    fn bytes(&self, bytes: &u64) -> String {
        size(*bytes)
    }

    fn millis(&self, took: &Duration) -> String {
        millis(*took)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Way {
    span: String,
}

pub(crate) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    Query(way): Query<Way>,
) -> Result<Response, Problem> {
    let span = Span::parse(&way.span).unwrap_or_default();
    let now = dashboard.now();
    // The page is for the hour when the store is down, too: what fails then is said in its place, and waited for at once.
    let (checks, stats, timeline) =
        tokio::join!(dashboard.checks(), dashboard.stats(), overview::timeline(&dashboard, span));
    let (stats, lacking) = match stats {
        Ok(stats) => (stats, None),
        Err(error) => (Arc::new(None), Some(Problem::from(error).detail.into_owned())),
    };
    let points = match timeline {
        Ok(timeline) => timeline.points,
        Err(error) => {
            tracing::warn!(?error, "the timeline could not be read");
            Vec::new()
        }
    };
    let lines = points.iter().rev().map(Line::of).collect();
    let sweep = dashboard.figures.last_sweep().map(|round| (Moment::seen_at(now, round.at), round));
    let frame = Frame::of(&who, "/admin");
    let store = dashboard.sessions.store().description();
    Ok(page(StatusCode::OK, &OverviewPage { frame, store, checks, stats, lacking, sweep, span, lines }))
}

/// A size for people.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

/// A short time for people: `1.25 ms`.
fn millis(took: Duration) -> String {
    format!("{:.2} ms", took.as_secs_f64() * 1000.0)
}

/// A number with its thousands apart.
fn in_groups(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_what_people_read() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(in_groups), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([17, 2_048, 3_670_016].map(size), ["17 B", "2.0 KiB", "3.5 MiB"]);
    }
}
