//! Reading the file into a store. The file is read twice: first to see that it is whole, before anything is written. A store
//! never overwrites and leaves what has ended ended, so an import that broke off is simply begun again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::json;
use sessile::{Imported, KeyForm, Piece, Sessions};

use super::export::Counts;
use super::reader::Reader;
use super::{STEP, transfer};
use crate::args::ImportArgs;
use crate::output::{self, Found, Misused};
use crate::{audit, confirm, progress, secret, store};

/// And so much of their documents, where those are large.
const STEP_BYTES: usize = 4 * 1024 * 1024;

pub(crate) async fn import(args: &ImportArgs) -> anyhow::Result<Found> {
    let settings = store::settings_without_secret(&args.store)?;
    let form = settings.key_form();
    let file = open(&args.file)?;
    let (counts, secrets) = verify(&file, form)?;
    if store::settings(&args.store)?.is_set("session.secret") {
        warn_of_other_secrets(&secrets, settings.config().fingerprints());
    }
    if args.dry_run {
        return said(args, &counts, None);
    }
    confirm::agreed(args.yes, &format!("import what is not there yet: {counts}"))?;
    let sessions = store::open(&settings).await?;
    let imported = write(&sessions, &file, form, &counts).await?;
    let target = format!("{} pieces, {} written", counts.total(), imported.written);
    audit::record(&sessions, "sessions.import", &target, counts.sessions, args.reason.as_deref()).await;
    said(args, &counts, Some(imported))
}

/// Cookies stay as they are: under other secrets they are worth nothing, and everybody is signed out.
fn warn_of_other_secrets(theirs: &[Box<str>], ours: &[Box<str>]) {
    if !theirs.is_empty() && !theirs.iter().any(|secret| ours.contains(secret)) {
        output::warn(&format!(
            "expected one of the secrets here to be one of those that the file's cookies are signed with ({}), found none \
             of them: nobody will stay signed in. Add the other side's secret to SESSION_SECRET, behind a comma",
            theirs.join(", ")
        ));
    }
}

fn said(args: &ImportArgs, counts: &Counts, imported: Option<Imported>) -> anyhow::Result<Found> {
    if args.output.json {
        let mut said = counts.described();
        if let Some(Imported { written, present }) = imported {
            said["written"] = json!(written);
            said["present"] = json!(present);
        }
        output::print_json(&said)?;
        return Ok(Found::Something);
    }
    output::print(&match imported {
        None => format!("the file is whole; {counts}\n"),
        Some(Imported { written, present }) => {
            format!("{counts}; written: {written}, there already or over: {present}\n")
        }
    })?;
    Ok(Found::Something)
}

/// The file, which can be read more than once: what comes from standard input is kept in one until we end.
fn open(path: &Path) -> anyhow::Result<File> {
    if path == Path::new("-") {
        return kept(io::stdin().lock())
            .context("standard input could not be kept in a file of the system's temporary folder");
    }
    match File::open(path) {
        Ok(file) if file.metadata().is_ok_and(|data| data.is_file()) => Ok(file),
        Ok(_) => {
            bail!(Misused(format!("expected a file, found something else at {}; give a pipe as -", path.display())))
        }
        Err(error) => {
            bail!(Misused(format!(
                "expected a file that `sessile export` wrote, found none to read at {}: {error}",
                path.display()
            )))
        }
    }
}

/// A file that has no name any more, which only this process can read.
fn kept(mut from: impl io::Read) -> anyhow::Result<File> {
    let path = std::env::temp_dir().join(format!("sessile-import-{}", secret::random()?));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path)?;
    fs::remove_file(&path)?;
    io::copy(&mut from, &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// Reads all of it and says what is in it.
fn verify(file: &File, form: KeyForm) -> anyhow::Result<(Counts, Vec<Box<str>>)> {
    let bar = progress::bar("checking", None);
    let mut reader = Reader::open(file.try_clone()?, form)?;
    while reader.next()?.is_some() {
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((reader.counts, reader.secrets))
}

async fn write(sessions: &Sessions, file: &File, form: KeyForm, counts: &Counts) -> anyhow::Result<Imported> {
    let transfer = transfer(sessions)?;
    let bar = progress::bar("importing", Some(counts.total()));
    let mut reader = Reader::open(file.try_clone()?, form)?;
    let mut imported = Imported::default();
    loop {
        let step = step(&mut reader)?;
        if step.is_empty() {
            break;
        }
        let done = transfer.import(&step).await?;
        imported.written += done.written;
        imported.present += done.present;
        bar.inc(step.len() as u64);
    }
    bar.finish_and_clear();
    Ok(imported)
}

fn step(reader: &mut Reader) -> anyhow::Result<Vec<Piece>> {
    let (mut step, mut bytes) = (Vec::new(), 0);
    while step.len() < STEP as usize && bytes < STEP_BYTES {
        let Some(piece) = reader.next()? else { break };
        if let Piece::Session { document, .. } = &piece {
            bytes += document.len();
        }
        step.push(piece);
    }
    Ok(step)
}
