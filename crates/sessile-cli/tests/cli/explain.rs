//! `sessile explain`.
