//! `sessile export` and `sessile import`: moving to another store without signing anyone out.
//!
//! The file is JSON Lines: a line that says what it is, a line for each piece, and a last line with counts and the SHA-256
//! of all lines before it. So a file that was cut off or changed is found out before anything is written. Neither command
//! holds more than a few hundred pieces in memory.

mod export;
mod format;
mod import;
mod reader;

pub(crate) use export::export;
pub(crate) use import::import;

use anyhow::Context as _;
use sessile::{KeyForm, Sessions, Transfer};

/// So many pieces go in one step.
const STEP: u32 = 500;

fn transfer(sessions: &Sessions) -> anyhow::Result<&dyn Transfer> {
    sessions.store().transfer().context("the sessions of this store cannot be moved")
}

/// How the file calls it.
fn form_in_words(form: KeyForm) -> &'static str {
    match form {
        KeyForm::Raw => "raw",
        KeyForm::Sha256 => "sha256",
    }
}
