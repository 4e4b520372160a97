//! The file from outside: what the file system tells of it, before SQLite is asked.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sessile_core::Check;

/// A write-ahead log is 4 MiB when all is well. Beyond this, and beyond the file itself, something keeps it from going back.
const LARGE_WAL: u64 = 16 * 1024 * 1024;

/// File systems that other hosts share, on which SQLite's locks do not hold.
const SHARED: [&str; 12] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "gfs2"];

/// Whether there is a file; else what is there instead, after which nothing more can be asked.
pub(super) fn is_there(path: &Path) -> Result<Check, Check> {
    let failed = |why: &str, remedy: &str| Check::failed("sqlite.file", format!("{}: {why}", path.display()), remedy);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            Ok(Check::good("sqlite.file", format!("{} is there, with {} bytes", path.display(), metadata.len())))
        }
        Ok(_) => Err(failed("expected a file, found something else", "name a file in DATABASE_URL")),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(failed(
            "expected a file, found none",
            "start the application once, which creates it, or correct DATABASE_URL",
        )),
        Err(error) => Err(failed(&error.to_string(), "let this account read the file and search its directory")),
    }
}

pub(super) fn from_outside(path: &Path) -> Vec<Check> {
    [permissions(path), directory(path), file_system(path)].into_iter().flatten().collect()
}

#[cfg(unix)]
fn permissions(path: &Path) -> Option<Check> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let path = path.display();
    if mode & 0o077 == 0 {
        let found = format!("other accounts may not read the file (mode {mode:04o})");
        return Some(Check::good("sqlite.permissions", found));
    }
    if mode & 0o007 == 0 {
        let found = format!("the file's group may use the sessions (mode {mode:04o}); who is in it was not looked at");
        let remedy = format!("chmod g= '{path}', unless the application needs its group");
        return Some(Check::skipped("sqlite.permissions", found, remedy));
    }
    Some(Check::warning(
        "sqlite.permissions",
        format!("every account on this host may read or write the sessions (mode {mode:04o})"),
        format!("chmod o= '{path}'"),
    ))
}

#[cfg(not(unix))]
fn permissions(_: &Path) -> Option<Check> {
    None
}

/// SQLite puts two files beside this one, and removes them.
fn directory(path: &Path) -> Option<Check> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = directory.display();
    if fs::metadata(directory).ok()?.permissions().readonly() {
        let found = format!("nobody may write to {shown}, where SQLite puts its write-ahead log");
        return Some(Check::failed("sqlite.directory", found, format!("chmod u+w '{shown}'")));
    }
    if !may_write(directory) {
        let found = format!("this account may not write to {shown}, where SQLite puts its write-ahead log");
        let remedy = format!(
            "run this as the account that the application runs as; if it is that one, chown \"$USER\" '{shown}'"
        );
        return Some(Check::failed("sqlite.directory", found, remedy));
    }
    Some(Check::good("sqlite.directory", "this account may write to the directory, as the write-ahead log needs it"))
}

/// Asks the system, without writing.
#[cfg(unix)]
fn may_write(directory: &Path) -> bool {
    use rustix::fs::{Access, access};

    access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(not(unix))]
fn may_write(_: &Path) -> bool {
    true
}

/// Told on Linux alone.
fn file_system(path: &Path) -> Option<Check> {
    let (mounts, path) = (fs::read_to_string("/proc/self/mountinfo").ok()?, fs::canonicalize(path).ok()?);
    let kind = kind_of(&mounts, &path)?;
    if !SHARED.contains(&kind) {
        return Some(Check::good("sqlite.file_system", format!("the file is on this host's own file system ({kind})")));
    }
    Some(Check::failed(
        "sqlite.file_system",
        format!("the file is on a network file system ({kind}), where SQLite's locks do not hold"),
        "move the file to a disk of this host, or the sessions to PostgreSQL with `sessile export` and `sessile import`",
    ))
}

/// The kind of the file system that is mounted closest above this path, the last where several are.
fn kind_of<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let point = PathBuf::from(mount.split(' ').nth(4)?.replace("\\040", " "));
        Some((point, source.split(' ').next()?))
    });
    let above = mounts.filter(|(point, _)| path.starts_with(point));
    above.max_by_key(|(point, _)| point.components().count()).map(|(_, kind)| kind)
}

/// A log that stays long was not put back: a reader holds on to an old state, or nobody came to it. Which one it is only
/// putting it back would tell, and that is a change.
pub(super) fn wal_size(path: &Path) -> Check {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let bytes = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let (wal, file) = (bytes(Path::new(&wal)), bytes(path));
    if wal <= LARGE_WAL.max(file) {
        return Check::good("sqlite.wal_size", format!("the write-ahead log has {wal} bytes"));
    }
    Check::warning(
        "sqlite.wal_size",
        format!(
            "the write-ahead log has {wal} bytes, the file itself {file}: it was not put back, because a program keeps a \
             transaction open, or ended before it closed the file"
        ),
        format!(
            "sqlite3 '{0}' 'PRAGMA wal_checkpoint(TRUNCATE)'\nIf its answer begins with 1, a program keeps a transaction \
             open: find it with `fuser -v '{0}'`, and end that.",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_the_closest_mount_above() {
        let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                      30 22 0:40 / /srv rw - nfs4 server:/export rw\n\
                      31 22 0:41 / /srv/local\\040disk rw - xfs /dev/sdb1 rw\n\
                      32 22 0:42 / /over rw - ext4 /dev/sdc1 rw\n\
                      33 32 0:43 / /over rw - fuse.sshfs host: rw\n";
        for (path, kind) in [
            ("/var/lib/app.sqlite", "ext4"),
            ("/srv/app.sqlite", "nfs4"),
            ("/srvx/app.sqlite", "ext4"),
            ("/srv/local disk/app.sqlite", "xfs"),
            ("/over/app.sqlite", "fuse.sshfs"),
        ] {
            assert_eq!(kind_of(mounts, Path::new(path)), Some(kind), "{path}");
        }
        assert_eq!(kind_of("nonsense\n", Path::new("/a")), None);
    }
}
