//! What was done here is written down in the store, beside what operators do on the dashboard.
//!
//! The command has no sign-in of its own: whoever may reach the database may do everything. So the actor is the name of the
//! account on this host, as the environment tells it, with `@cli` behind it. It is a note for honest people, no proof.

use sessile::settings::variable;
use sessile::{Action, Error, Sessions};

use crate::output;

/// Writes down what was done to how many sessions. What is done is done: a store that cannot keep it is a warning.
pub(crate) async fn record(sessions: &Sessions, action: &str, target: &str, count: u64, reason: Option<&str>) {
    let Some(operations) = sessions.store().operations() else { return };
    let action = Action {
        at: sessions.now(),
        actor: actor().into(),
        action: action.into(),
        target: target.into(),
        sessions: count,
        reason: reason.map(Into::into),
        ip: None,
    };
    if let Err(error) = operations.record(&action).await {
        output::warn(&format!("it is done, but could not be written into the audit: {}", with_causes(&error)));
    }
}

fn actor() -> String {
    let account = ["USER", "LOGNAME"].into_iter().find_map(variable);
    format!("{}@cli", account.as_deref().unwrap_or("unknown"))
}

fn with_causes(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
