//! The cookie on the wire: a byte-exact reader of `Cookie` and one renderer of `Set-Cookie` for setting and removing.

pub(crate) mod attributes;
pub(crate) mod header;

pub use attributes::{Priority, SameSite};
