//! Writing the file: a new one that only its owner can read, or whatever standard output is, unless that is a terminal.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use sessile::{KeyForm, Piece, Place, Sessions};
use sha2::{Digest as _, Sha256};

use super::{STEP, format, transfer};
use crate::args::ExportArgs;
use crate::output::{self, Misused};
use crate::{progress, store};

pub(crate) async fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let settings = store::settings_without_secret(&args.store)?;
    let Some(path) = &args.output else {
        if io::stdout().is_terminal() {
            bail!(Misused("expected a file to write into, found a terminal; name one with --output FILE".into()));
        }
        let sessions = store::sessions(&args.store).await?;
        return gone_reader_is_no_failure(write(&sessions, settings.key_form(), io::stdout().lock()).await.map(drop));
    };
    let sessions = store::sessions(&args.store).await?;
    let unfinished = Unfinished::create(path)?;
    let counts = write(&sessions, settings.key_form(), &unfinished.file).await?;
    unfinished.finish()?;
    output::note(&format!("{counts}, written into {}", path.display()));
    output::note(
        "Keep that file as you keep the database, and remove it when it is imported: it holds what sessions are made of.",
    );
    Ok(())
}

/// A file that goes away again unless it is finished.
struct Unfinished {
    path: PathBuf,
    file: File,
    is_finished: bool,
}

impl Unfinished {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => anyhow::Error::new(Misused(format!(
                "--output: expected a file that is not there yet, found one at {}; remove it, or choose another name",
                path.display()
            ))),
            _ => anyhow::Error::new(error).context(format!("{} cannot be written", path.display())),
        })?;
        Ok(Self { path: path.to_owned(), file, is_finished: false })
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Reads step by step and writes each step before the next is read.
async fn write(sessions: &Sessions, form: KeyForm, to: impl Write) -> anyhow::Result<Counts> {
    let (transfer, now) = (transfer(sessions)?, sessions.now());
    let bar = progress::bar("exporting", Some(transfer.size().await?));
    let mut lines = Lines { to: BufWriter::new(to), digest: Sha256::new() };
    lines.write(&format::head(form, now))?;
    let (mut counts, mut place) = (Counts::default(), Some(Place::default()));
    while let Some(from) = place {
        let (pieces, next) = transfer.export(&from, now, STEP).await?;
        for piece in &pieces {
            counts.count(piece);
            lines.write(&format::line(piece))?;
        }
        bar.inc(pieces.len() as u64);
        place = next;
    }
    lines.finish(&counts)?;
    bar.finish_and_clear();
    Ok(counts)
}

struct Lines<W: Write> {
    to: BufWriter<W>,
    digest: Sha256,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, line: &Value) -> io::Result<()> {
        let mut line = line.to_string();
        line.push('\n');
        self.digest.update(line.as_bytes());
        self.to.write_all(line.as_bytes())
    }

    fn finish(mut self, counts: &Counts) -> io::Result<()> {
        let mut end = counts.described();
        end["sha256"] = hex(&self.digest.clone().finalize()).into();
        self.write(&json!({ "end": end }))?;
        self.to.flush()
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How much of what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sessions: u64,
    pub(super) devices: u64,
    pub(super) others: u64,
}

impl Counts {
    pub(super) fn count(&mut self, piece: &Piece) {
        match piece {
            Piece::Session { .. } => self.sessions += 1,
            Piece::Device(..) => self.devices += 1,
            _ => self.others += 1,
        }
    }

    pub(super) fn described(&self) -> Value {
        json!({ "sessions": self.sessions, "devices": self.devices, "others": self.others })
    }

    pub(super) fn total(&self) -> u64 {
        self.sessions + self.devices + self.others
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sessions, devices, others } = self;
        write!(f, "sessions: {sessions}, rows of the registry: {devices}, other notes: {others}")
    }
}

/// Whoever reads our output may have seen enough.
fn gone_reader_is_no_failure(done: anyhow::Result<()>) -> anyhow::Result<()> {
    match done {
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) => {
            Ok(())
        }
        done => done.context("the sessions could not be exported"),
    }
}
