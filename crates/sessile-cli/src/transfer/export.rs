//! Writing the file: a new one that only its owner can read, or whatever standard output is, unless that is a terminal.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use sessile::settings::Settings;
use sessile::{Piece, Place, Sessions};
use sha2::{Digest as _, Sha256};

use super::format::{self, Head};
use super::{STEP, transfer};
use crate::args::ExportArgs;
use crate::output::{self, Misused};
use crate::serving::Stop;
use crate::{progress, store};

pub(crate) async fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let settings = store::settings_without_secret(&args.store)?;
    let head = Head { form: settings.key_form(), secrets: secrets(args, &settings)? };
    let Some(path) = &args.output else {
        if io::stdout().is_terminal() {
            bail!(Misused("expected a file to write into, found a terminal; name one with --output FILE".into()));
        }
        warn_of_readers();
        let sessions = store::sessions(&args.store).await?;
        return gone_reader_is_no_failure(
            write(&sessions, &head, settings.user_key(), io::stdout().lock()).await.map(drop),
        );
    };
    let mut stop = Stop::heed()?;
    let sessions = store::sessions(&args.store).await?;
    let unfinished = Unfinished::create(path)?;
    let counts = tokio::select! {
        written = write(&sessions, &head, settings.user_key(), &unfinished.file) => written?,
        () = stop.told() => bail!("the export was stopped; nothing was written"),
    };
    unfinished.finish()?;
    output::note(&format!("{counts}, written into {}", path.display()));
    output::note(
        "Keep that file as you keep the database, and remove it when it is imported: it holds what sessions are made of.",
    );
    Ok(())
}

/// The fingerprints of the secrets that are set here, if any are: cookies stay as they are, so the other side needs one.
fn secrets(args: &ExportArgs, settings: &Settings) -> anyhow::Result<Vec<Box<str>>> {
    let is_set = store::settings(&args.store)?.is_set("session.secret");
    Ok(if is_set { settings.config().fingerprints().to_vec() } else { Vec::new() })
}

/// The shell made the file, and it made it for everybody.
fn warn_of_readers() {
    if is_readable_by_others() {
        output::warn(
            "other accounts of this host may read the file that standard output goes to, and it holds what sessions are \
             made of; chmod 600 it, or use --output FILE, which makes one for you alone",
        );
    }
}

#[cfg(unix)]
fn is_readable_by_others() -> bool {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::PermissionsExt as _;

    let metadata = io::stdout().as_fd().try_clone_to_owned().and_then(|file| File::from(file).metadata());
    metadata.is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_others() -> bool {
    false
}

/// A file under another name, that gets its own when it is whole and else goes away again. Who is killed on the way leaves
/// that other name behind, which is in nobody's way.
struct Unfinished {
    path: PathBuf,
    unfinished: PathBuf,
    file: File,
}

impl Unfinished {
    fn create(path: &Path) -> anyhow::Result<Self> {
        if path.symlink_metadata().is_ok() {
            bail!(there_already(path));
        }
        let mut unfinished = OsString::from(path);
        unfinished.push(format!(".{}.part", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&unfinished).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self { path: path.to_owned(), unfinished, file })
    }

    /// A link fails where another process was first; a file system without links takes a rename.
    fn finish(self) -> anyhow::Result<()> {
        self.file.sync_all()?;
        match fs::hard_link(&self.unfinished, &self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(there_already(&self.path)),
            Err(_) => Ok(fs::rename(&self.unfinished, &self.path)?),
            Ok(()) => Ok(()),
        }
    }
}

fn there_already(path: &Path) -> Misused {
    Misused(format!(
        "--output: expected a file that is not there yet, found one at {}; remove it, or choose another name",
        path.display()
    ))
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// Reads step by step and writes each step before the next is read.
async fn write(sessions: &Sessions, head: &Head, user_key: Option<&str>, to: impl Write) -> anyhow::Result<Counts> {
    let (transfer, now) = (transfer(sessions)?, sessions.now());
    let user_key = if transfer.has_owner_column().await? { None } else { user_key };
    let bar = progress::bar("exporting", Some(transfer.size().await?));
    let mut lines = Lines { to: BufWriter::new(to), digest: Sha256::new() };
    lines.write(&format::head(head, now))?;
    let (mut counts, mut place) = (Counts::default(), Some(Place::default()));
    while let Some(from) = place {
        let (pieces, next) = transfer.export(&from, now, STEP).await?;
        bar.inc(pieces.len() as u64);
        for piece in pieces {
            let piece = match user_key {
                Some(key) => piece.owned_under(key)?,
                None => piece,
            };
            counts.count(&piece);
            lines.write(&format::line(&piece))?;
        }
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
