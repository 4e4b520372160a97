//! `sessile printing`.
