//! What operators look for, as addresses say it: read once, for pages and API alike. A field of a form that was left empty
//! counts as not there.

use std::net::IpAddr;
use std::time::SystemTime;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use sessile_core::{Cursor, End, Handle, Page, Search, Status, UserId};

use super::problem::Problem;

/// The most that one part of a list has.
pub(super) const MOST: u32 = 200;

/// The longest reason, in characters.
pub(super) const LONGEST_REASON: usize = 200;

/// Refuses an address whose parameters are no UTF-8: they would be read as something else.
pub(super) async fn check_address(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if percent_decode_str(query).decode_utf8().is_err() {
        return Problem::bad_request("Expected an address in UTF-8, found another.").into_response();
    }
    next.run(request).await
}

/// A search for sessions, as it was asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) user: String,
    pub(super) handle: String,
    pub(super) ip: String,
    pub(super) status: String,
    pub(super) since: String,
    pub(super) after: String,
    pub(super) limit: String,
}

impl Asked {
    /// What to search for; `None` when no session can be meant, because a user cannot be called so.
    pub(super) fn search(&self) -> Result<Option<Search>, Problem> {
        if !self.user.is_empty() && !UserId::is_name(&self.user) {
            return Ok(None);
        }
        Ok(Some(Search {
            owner: given(&self.user).map(UserId::from),
            handle: given(&self.handle).map(handle).transpose()?,
            network: given(&self.ip).map(network).transpose()?,
            status: given(&self.status).map(status).transpose()?,
            since: given(&self.since).map(time).transpose()?,
            before: None,
        }))
    }

    /// Which part of what is found, of so many unless somebody says otherwise.
    pub(super) fn page(&self, usual: u32) -> Result<Page, Problem> {
        part(&self.after, &self.limit, usual)
    }
}

/// Which part of a list.
pub(super) fn part(after: &str, limit: &str, usual: u32) -> Result<Page, Problem> {
    let limit = given(limit).map_or(Ok(usual), |text| in_bounds(text.trim().parse().unwrap_or(0)))?;
    Ok(Page { limit, after: given(after).map(cursor).transpose()? })
}

pub(super) fn cursor(text: &str) -> Result<Cursor, Problem> {
    text.parse()
        .map_err(|_| Problem::bad_request("Expected `after` to be a cursor from an earlier part, found another."))
}

pub(super) fn in_bounds(limit: u32) -> Result<u32, Problem> {
    let detail = "Expected `limit` to be a whole number from 1 to 200, found something else.";
    if (1..=MOST).contains(&limit) { Ok(limit) } else { Err(Problem::bad_request(detail)) }
}

pub(super) fn handle(text: &str) -> Result<Handle, Problem> {
    let detail = "Expected a handle like 6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214, found something else.";
    Handle::parse(text.trim()).ok_or_else(|| Problem::bad_request(detail))
}

/// Why sessions are ended: what the registry and the audit will say. What turns the direction of text around is refused: a
/// line of the audit reads as it was written.
pub(super) fn reason(text: &str) -> Result<&str, Problem> {
    let text = text.trim();
    let is_hidden = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let is_reason = (1..=LONGEST_REASON).contains(&text.chars().count()) && !text.chars().any(is_hidden);
    let detail = "Expected a reason of 1 to 200 printable characters, found none or another; say why, for the audit.";
    if is_reason { Ok(text) } else { Err(Problem::bad_request(detail)) }
}

/// A time with its zone, as the API wants it, or one without, which counts as UTC, as a form sends it.
pub(super) fn time(text: &str) -> Result<SystemTime, Problem> {
    let text = text.trim();
    let with_zone = || text.parse::<Timestamp>().ok();
    let without = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let detail = "Expected a time like 2026-01-31T12:00:00Z, found something else.";
    with_zone().or_else(without).map(SystemTime::from).ok_or_else(|| Problem::bad_request(detail))
}

pub(super) fn network(text: &str) -> Result<IpNet, Problem> {
    let text = text.trim();
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let detail = "Expected an address or a network like 203.0.113.0/24, found something else.";
    text.parse().ok().or_else(address).ok_or_else(|| Problem::bad_request(detail))
}

pub(super) fn status(word: &str) -> Result<Status, Problem> {
    match word {
        "live" => Ok(Status::Live),
        "ended" => Ok(Status::Ended),
        word => End::parse(word).map(Status::EndedBy).ok_or_else(|| {
            Problem::bad_request(
                "Expected `status` to be live, ended, logged_out, revoked, expired or evicted, found another word.",
            )
        }),
    }
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_zone_or_are_utc() {
        let expected = time("2026-01-31T12:00:00Z").unwrap();
        for text in ["2026-01-31T13:00:00+01:00", "2026-01-31T12:00", " 2026-01-31T12:00:00.000Z "] {
            assert_eq!(time(text).unwrap(), expected, "{text}");
        }
        assert!(time("yesterday").is_err());
    }

    #[test]
    fn a_reason_is_printable_and_not_empty() {
        assert!(reason("lost phone").is_ok() && reason(&"ä".repeat(200)).is_ok());
        assert_eq!(reason("  lost phone ").unwrap(), "lost phone");
        for refused in ["", " \t ", "a\0b", "a\nb", "a\u{202e}b", &"a".repeat(201)] {
            assert!(reason(refused).is_err());
        }
    }

    #[test]
    fn what_is_left_empty_is_not_asked() {
        assert_eq!(Asked::default().search().unwrap(), Some(Search::default()));
        assert_eq!(Asked { user: "a\0".into(), ..Asked::default() }.search().unwrap(), None);
    }
}
