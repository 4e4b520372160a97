//! A secret for who has none: random, and where a file is named, kept there.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sessile::codec::Secret;

/// 32 random bytes in hexadecimal.
pub(crate) fn random() -> std::io::Result<String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The secret in this file, which is made when it is missing.
pub(crate) fn kept(path: &Path) -> anyhow::Result<String> {
    let secret = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(path).with_context(|| format!("the demo's secret could not be kept in {}", path.display()))?
        }
        read => read.with_context(|| format!("the demo's secret in {} cannot be read", path.display()))?,
    };
    let secret = secret.trim().to_owned();
    let advice = || format!("{} holds no usable secret; remove it and a new one is made", path.display());
    Secret::new(&secret).with_context(advice)?;
    Ok(secret)
}

/// Writes a new secret under another name and gives it its own with a link, which fails when another process was first:
/// nobody ever reads half a secret, and all processes have the same one.
fn create(path: &Path) -> std::io::Result<String> {
    let secret = random()?;
    let mut unfinished = OsString::from(path);
    unfinished.push(format!(".{}", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let written = write_private(&unfinished, &secret).and_then(|()| fs::hard_link(&unfinished, path));
    let _ = fs::remove_file(&unfinished);
    match written {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::read_to_string(path),
        Err(error) => Err(error),
    }
}

/// Creates a file that only its owner can read.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
