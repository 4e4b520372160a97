//! What has to happen at the end of a request, decided from facts alone. The whole policy is this one table:
//!
//! | the session | was ended | rotated | changed | its end lags | plan |
//! |---|---|---|---|---|---|
//! | is new | yes | – | – | – | `End` |
//! | is new | no | – | no | – | `Keep` |
//! | is new | no | – | yes | – | `Create` |
//! | is new, and late | no | yes | yes | – | `Create` |
//! | is new, and late | no | otherwise | | – | `Keep` |
//! | has a row | yes | – | – | – | `End` |
//! | has a row | no | yes | – | – | `Rotate` |
//! | has a row | no | no | yes | – | `Update` |
//! | has a row | no | no | no | yes | `Touch` |
//! | has a row | no | no | no | no | `Keep` |
//!
//! A new session that is rotated gets the new id it would have got anyway. A request is *late* when it came
//! with an id that was rotated away a moment ago: what it changed is dropped, so that the browser's new cookie is not
//! overwritten; but a sign-in is meant.
//! Ending a new session means the one that the request's id named, in case it moved; without such an id there is none.

use std::time::SystemTime;

use crate::Lifetime;

/// The facts about a session at the end of a request.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// The end that its row records; `None` for a session that no store knows.
    pub stored: Option<SystemTime>,
    /// The request's id was rotated away a moment ago, and this is a new session in its place.
    pub late: bool,
    /// When the session began, as far as anybody recorded it.
    pub began: Option<SystemTime>,
    /// The handler's edits left something different from what was read.
    pub changed: bool,
    /// A new id was asked for: a sign-in, a rotation.
    pub rotated: bool,
    /// The session was ended.
    pub ended: bool,
}

/// The one thing to do with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Keep,
    /// Insert a row under a new id.
    Create,
    /// Write the row, if it is still as it was read.
    Update,
    /// Write the row under a new id, in one step.
    Rotate,
    /// Move the row's end.
    Touch,
    /// Remove the row.
    End,
}

/// Decides what to do with a session at the end of a request.
pub fn plan(state: &State, lifetime: &Lifetime, now: SystemTime) -> Plan {
    match state.stored {
        None if state.ended => Plan::End,
        None if !state.changed || state.late && !state.rotated => Plan::Keep,
        None => Plan::Create,
        Some(_) if state.ended => Plan::End,
        Some(_) if state.rotated => Plan::Rotate,
        Some(_) if state.changed => Plan::Update,
        Some(recorded) if lifetime.touch_due(recorded, lifetime.expires_at(now, state.began)) => Plan::Touch,
        Some(_) => Plan::Keep,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const LIFETIME: Lifetime = Lifetime {
        idle: Duration::from_secs(1000),
        absolute: Some(Duration::from_secs(5000)),
        touch_every: Duration::from_secs(60),
    };

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    /// Every combination of the facts, against the table in the module's documentation.
    #[test]
    fn every_case_of_the_table() {
        let now = at(100);
        for case in 0..64 {
            let [known, changed, rotated, ended, lags, late] = [1, 2, 4, 8, 16, 32].map(|bit| case & bit != 0);
            let recorded = if lags { at(1040) } else { at(1041) };
            let late = late && !known;
            let state = State { stored: known.then_some(recorded), late, began: Some(at(0)), changed, rotated, ended };
            let expected = match (known, ended, rotated, changed, lags) {
                (false, false, false, ..) if late => Plan::Keep,
                (false, true, ..) => Plan::End,
                (false, false, _, false, _) => Plan::Keep,
                (false, false, _, true, _) => Plan::Create,
                (true, true, ..) => Plan::End,
                (true, false, true, ..) => Plan::Rotate,
                (true, false, false, true, _) => Plan::Update,
                (true, false, false, false, true) => Plan::Touch,
                (true, false, false, false, false) => Plan::Keep,
            };
            assert_eq!(plan(&state, &LIFETIME, now), expected, "{state:?}");
        }
    }

    #[test]
    fn a_session_at_its_absolute_end_is_not_touched_over_and_over() {
        let state = State {
            stored: Some(at(5000)),
            late: false,
            began: Some(at(0)),
            changed: false,
            rotated: false,
            ended: false,
        };
        assert_eq!(plan(&state, &LIFETIME, at(4900)), Plan::Keep);
        assert_eq!(plan(&State { began: None, ..state }, &LIFETIME, at(4900)), Plan::Touch);
    }

    #[test]
    fn a_shorter_lifetime_than_the_recorded_one_is_written_down_too() {
        let state = State {
            stored: Some(at(4000)),
            late: false,
            began: Some(at(0)),
            changed: false,
            rotated: false,
            ended: false,
        };
        assert_eq!(plan(&state, &LIFETIME, at(100)), Plan::Touch);
    }

    #[test]
    fn a_short_idle_lifetime_is_touched_at_a_quarter_of_itself() {
        let lifetime = Lifetime { idle: Duration::from_secs(8), ..LIFETIME };
        let state = State {
            stored: Some(at(8)),
            late: false,
            began: Some(at(0)),
            changed: false,
            rotated: false,
            ended: false,
        };
        assert_eq!(plan(&state, &lifetime, at(1)), Plan::Keep);
        assert_eq!(plan(&state, &lifetime, at(2)), Plan::Touch);
    }
}
