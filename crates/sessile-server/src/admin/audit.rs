//! What operators do, written down in the application's store before it is done. When it cannot be written, it is not done:
//! nobody ends a session unseen.

use sessile_core::{Action, Error, Sessions};

use super::access::Who;
use super::operators;
use super::problem::Problem;
use super::state::Dashboard;

/// What operators do here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    SignIn,
    SignInFailed,
    SignOut,
    ProveAgain,
    RevokeSession,
    RevokeUser,
    RevokeEveryone,
}

impl Deed {
    fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "operator.sign_in",
            Self::SignInFailed => "operator.sign_in_failed",
            Self::SignOut => "operator.sign_out",
            Self::ProveAgain => "operator.prove_again",
            Self::RevokeSession => "session.revoke",
            Self::RevokeUser => "user.revoke",
            Self::RevokeEveryone => "everyone.revoke",
        }
    }
}

/// Writes down what is about to be done to so many sessions.
pub(super) async fn record(
    dashboard: &Dashboard,
    who: &Who,
    deed: Deed,
    target: &str,
    sessions: u64,
    reason: Option<&str>,
) -> Result<(), Problem> {
    let action = Action {
        at: whole_millis(dashboard.now()),
        actor: who.name.clone(),
        action: deed.as_str().into(),
        target: target.into(),
        sessions,
        reason: reason.map(Into::into),
        ip: who.ip,
    };
    operators::of(&dashboard.sessions)?.record(&action).await.map_err(|error| {
        tracing::error!(?error, action = deed.as_str(), "an operator's action could not be audited and was refused");
        Problem::unavailable(
            "What you asked for has to be written into the audit first, and that failed. Nothing was done.",
        )
    })
}

/// Writes down what the server is about to do by itself.
pub(super) async fn record_of_server(sessions: &Sessions, deed: &str, target: &str, reason: &str) -> Result<(), Error> {
    let action = Action {
        at: whole_millis(sessions.now()),
        actor: "server".into(),
        action: deed.into(),
        target: target.into(),
        sessions: 0,
        reason: Some(reason.into()),
        ip: None,
    };
    operators::of(sessions)?.record(&action).await
}

fn whole_millis(time: std::time::SystemTime) -> std::time::SystemTime {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    std::time::UNIX_EPOCH + std::time::Duration::from_millis(since.as_millis().try_into().unwrap_or(u64::MAX))
}
