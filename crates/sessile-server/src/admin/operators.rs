//! Operators and their tokens. Of a token its hash is all that is kept, and it opens nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sessile_core::{Error, Operations, Operator, Role, Sessions};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::audit;

/// The first operator's name.
const FIRST: &str = "admin";

/// What the store keeps for operators.
pub(super) fn of(sessions: &Sessions) -> Result<&dyn Operations, Error> {
    sessions.store().operations().ok_or_else(|| {
        Error::config("This session store keeps nothing for operators, so nobody can sign in here. Use one that does.")
    })
}

/// Adds an operator; their token, or `None` when the name is taken.
pub(super) async fn add(sessions: &Sessions, name: &str, role: Role) -> Result<Option<String>, Error> {
    let (operator, token) = Operator::new(name, role, sessions.now())?;
    Ok(of(sessions)?.add_operator(&operator).await?.then_some(token))
}

/// The first operator, where there is none yet. Nobody asked for it by name, so the audit says that the server did it.
pub(super) async fn add_first(sessions: &Sessions) -> Result<Option<String>, Error> {
    if !of(sessions)?.operators().await?.is_empty() {
        return Ok(None);
    }
    audit::record_of_server(sessions, "operator.add", FIRST, Role::Admin.as_str()).await?;
    add(sessions, FIRST, Role::Admin).await
}

/// Whose token this is. Every operator's is compared, each in constant time.
pub(super) async fn by_token(sessions: &Sessions, token: &str) -> Result<Option<Operator>, Error> {
    let (hash, mut found) = (Operator::hash(token), None);
    for operator in of(sessions)?.operators().await? {
        if bool::from(operator.token_hash.ct_eq(&hash)) {
            found = Some(operator);
        }
    }
    Ok(found)
}

/// The operator of this name, if their token is still the one with this fingerprint.
pub(super) async fn by_name(sessions: &Sessions, name: &str, token: &str) -> Result<Option<Operator>, Error> {
    let operators = of(sessions)?.operators().await?;
    Ok(operators.into_iter().find(|operator| &*operator.name == name && fingerprint(operator) == token))
}

/// What the dashboard's own session remembers of the token: somebody who was removed and added again is somebody else.
pub(super) fn fingerprint(operator: &Operator) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(operator.token_hash))
}

/// The same, of a token as it came.
pub(super) fn fingerprint_of(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(Operator::hash(token)))
}
