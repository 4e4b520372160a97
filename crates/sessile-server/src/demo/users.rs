//! The development users. Their passwords are on the sign-in page; a real application asks its own user table.

use sessile_core::UserId;
use subtle::ConstantTimeEq;

/// Somebody who can sign in.
pub(crate) struct User {
    /// What is typed, and the owner of the session.
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
}

pub(crate) const USERS: [User; 3] = [
    User { id: "ada", name: "Ada Lovelace", password: "analytical" },
    User { id: "grace", name: "Grace Hopper", password: "compiler" },
    User { id: "edsger", name: "Edsger Dijkstra", password: "shortest-path" },
];

/// The user whose name and password these are. Every user is looked at whatever the answer is, so that the time taken
/// does not tell a wrong name from a wrong password.
pub(super) fn verify(id: &str, password: &str) -> Option<&'static User> {
    USERS.iter().fold(None, |found, user| {
        let right = user.id.as_bytes().ct_eq(id.as_bytes()) & user.password.as_bytes().ct_eq(password.as_bytes());
        if bool::from(right) { Some(user) } else { found }
    })
}

/// The user's name; the id of one we do not know, whom another program on the same table has signed in.
pub(crate) fn name(id: &UserId) -> String {
    USERS.iter().find(|user| user.id == id.as_str()).map_or_else(|| id.to_string(), |user| user.name.to_owned())
}
