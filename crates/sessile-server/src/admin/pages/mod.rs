//! The dashboard's pages: rendered on the server, whole without JavaScript. A GET changes nothing; a POST answers 303.

pub(super) mod audit;
pub(super) mod overview;
pub(super) mod revoke;
pub(super) mod sessions;
