//! Operators and their tokens. A token has 256 random bits, so its SHA-256 needs no salt and no stretching: the hash is all
//! that is kept, and it opens nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sessile_core::{Error, Operations, Operator, Role, Sessions};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::audit;

/// What tokens begin with, so that scanners for leaked secrets know one when they see it.
const PREFIX: &str = "sessile_op_";

/// The first operator's name.
const FIRST: &str = "admin";

/// So long may a name be, in characters.
const LONGEST_NAME: usize = 64;

/// What the store keeps for operators.
pub(super) fn of(sessions: &Sessions) -> Result<&dyn Operations, Error> {
    sessions.store().operations().ok_or_else(|| {
        Error::config("This session store keeps nothing for operators, so nobody can sign in here. Use one that does.")
    })
}

/// Adds an operator; their token, or `None` when the name is taken.
pub(super) async fn add(sessions: &Sessions, name: &str, role: Role) -> Result<Option<String>, Error> {
    let length = name.chars().count();
    if !(1..=LONGEST_NAME).contains(&length) || name.chars().any(char::is_control) {
        return Err(Error::value(format!(
            "expected an operator's name of 1 to {LONGEST_NAME} printable characters, found another; choose one like `ada`"
        )));
    }
    let token = random_token()?;
    let operator = Operator { name: name.into(), role, token_hash: hash(&token), created_at: sessions.now() };
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
    let (hash, mut found) = (hash(token), None);
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
    URL_SAFE_NO_PAD.encode(Sha256::digest(hash(token)))
}

/// Random text of 256 bits.
pub(super) fn random_token() -> Result<String, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::unavailable("the system has no randomness to give for a token").with_source(error))?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
