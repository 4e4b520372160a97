//! Reading the file: line by line, each checked, and in the end against the counts and the SHA-256 of the last line.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};

use anyhow::Context as _;
use serde_json::Value;
use sessile::{Clock as _, KeyForm, Piece, SystemClock};
use sha2::{Digest as _, Sha256};

use super::export::{Counts, hex};
use super::{form_in_words, format};
use crate::output::Misused;

/// No line is longer: the largest document a session may have, escaped, and room to spare.
const LONGEST: u64 = 64 * 1024 * 1024;

/// The lines after the first, until the last.
pub(super) struct Reader {
    lines: Lines,
    pub(super) counts: Counts,
    /// The fingerprints of the secrets that its cookies were signed with; none where the export did not know them.
    pub(super) secrets: Vec<Box<str>>,
    is_done: bool,
}

impl Reader {
    /// Reads the first line, which says whether the file can be imported where keys have this form.
    pub(super) fn open(mut file: File, form: KeyForm) -> anyhow::Result<Self> {
        file.seek(SeekFrom::Start(0)).context("the file cannot be read twice")?;
        let mut lines = Lines { file: BufReader::new(file), number: 0, digest: Sha256::new() };
        let head = lines.next()?;
        check_head(&head, form)?;
        let secrets = format::secrets(&head);
        Ok(Self { lines, counts: Counts::default(), secrets, is_done: false })
    }

    /// The next piece; `None` after the last, when the whole file is found to be as it was written.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Piece>> {
        if self.is_done {
            return Ok(None);
        }
        let digest = self.lines.digest.clone();
        let line = self.lines.next()?;
        if let Some(end) = line.get("end") {
            self.check_end(end, &hex(&digest.finalize()))?;
            self.is_done = true;
            return Ok(None);
        }
        let piece = format::piece(&line)
            .map_err(|expected| self.lines.fault(&format!("expected {expected}, found something else")))?;
        piece.check().map_err(|error| self.lines.fault(&error.to_string()))?;
        if piece.cuts_off_after(SystemClock.now()) {
            return Err(self
                .lines
                .fault("expected sign-ins to be cut off before now, found a time that is still to come")
                .into());
        }
        self.counts.count(&piece);
        Ok(Some(piece))
    }

    fn check_end(&mut self, end: &Value, digest: &str) -> Result<(), Misused> {
        let mut counted = self.counts.described();
        counted["sha256"] = digest.into();
        if counted != *end {
            return Err(self.lines.fault("the lines before it are not those that were written; export them again"));
        }
        if self.lines.file.fill_buf().is_ok_and(|more| !more.is_empty()) {
            return Err(self.lines.fault("expected this to be the last line, found more; export them again"));
        }
        Ok(())
    }
}

struct Lines {
    file: BufReader<File>,
    number: u64,
    digest: Sha256,
}

impl Lines {
    fn next(&mut self) -> anyhow::Result<Value> {
        self.number += 1;
        let mut line = Vec::new();
        self.file.by_ref().take(LONGEST).read_until(b'\n', &mut line).context("the file cannot be read")?;
        if line.last() != Some(&b'\n') {
            return Err(self.fault("the file ends here, before its last line; it was cut off, export it again").into());
        }
        self.digest.update(&line);
        Ok(serde_json::from_slice(&line).map_err(|_| self.fault("expected JSON, found something else"))?)
    }

    fn fault(&self, what: &str) -> Misused {
        Misused(format!("line {}: {what}", self.number))
    }
}

fn check_head(head: &Value, form: KeyForm) -> Result<(), Misused> {
    if head["format"] != format::FORMAT {
        return Err(Misused("line 1: expected a file that `sessile export` wrote, found another".into()));
    }
    if head["version"] != format::VERSION {
        let expected = format::VERSION;
        return Err(Misused(format!(
            "line 1: expected version {expected} of the format, found another; import it with the sessile that wrote it"
        )));
    }
    let (expected, found) = (form_in_words(form), head["keys"].as_str().unwrap_or_default());
    if found != expected {
        return Err(Misused(format!(
            "line 1: expected keys in the form {expected}, as session.profile has them here, found {found:?}; set the \
             session.profile that the other store is used with"
        )));
    }
    Ok(())
}
