//! A file of results: there whole, or as it was before. What the previous run brought must not be lost
//! because this one finds the disk full.
//!
//! The strategy is the one that tearproof recommends to others: a temporary file of its own name in the
//! same directory, its data on disk before it is renamed, and the directory after that. Not covered:
//! whoever is killed in between leaves the temporary file, which no later run touches.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::NamedTempFile;

use crate::diagnose::bare;

/// Writes a file: `fill` says what is in it. Directories on the way to it are made.
///
/// # Errors
/// When any of it fails; the file is then what it was, or not there. The message names it once.
pub fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), anyhow::Error> {
    replace(path, fill).with_context(|| format!("writing {}", path.display()))
}

fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // Who has put a link there wants the file that it leads to written, and the link kept.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = directory_of(&path);
    fs::create_dir_all(&directory)?;
    let mut out = BufWriter::new(beside(&directory)?);
    fill(&mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    // Some file systems cannot do this to a directory, and the file is there by now.
    let _ = File::open(&directory).and_then(|directory| directory.sync_all());
    Ok(())
}

/// Finds out whether files can be made in a directory, which is made if need be: better before an hour
/// of work than after it.
///
/// # Errors
/// When they cannot.
pub fn check_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    beside(directory)?.close()
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A temporary file in this directory, with the mode that any new file gets.
fn beside(directory: &Path) -> io::Result<NamedTempFile> {
    let mode = Permissions::from_mode(0o666);
    tempfile::Builder::new()
        .prefix(".tearproof-")
        .suffix(".tmp")
        .permissions(mode)
        .tempfile_in(directory)
        .map_err(|error| io::Error::new(error.kind(), bare(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_fails_half_way_leaves_the_old_file_and_nothing_else() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("run.json");
        write(&path, |out| out.write_all(b"old")).expect("the first");
        let full = write(&path, |out| {
            out.write_all(b"ne")?;
            out.flush()?;
            Err(io::Error::from_raw_os_error(28))
        });
        let said = format!("{:#}", full.expect_err("a full disk"));
        assert!(said.contains("run.json: No space left on device"), "{said}");
        assert_eq!(fs::read(&path).expect("the old file"), b"old");
        assert_eq!(names(place.path()), ["run.json"]);
        write(&path, |out| out.write_all(b"new")).expect("the second");
        assert_eq!(fs::read(&path).expect("the new file"), b"new");
        assert_eq!(names(place.path()), ["run.json"]);
    }

    #[test]
    fn a_link_is_followed_and_the_mode_is_that_of_any_new_file() {
        let place = tempfile::tempdir().expect("a directory");
        let (kept, link) = (place.path().join("kept/run.json"), place.path().join("run.json"));
        write(&kept, |out| out.write_all(b"old")).expect("the first");
        std::os::unix::fs::symlink(&kept, &link).expect("a link");
        write(&link, |out| out.write_all(b"new")).expect("the second");
        assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
        assert_eq!(fs::read(&kept).expect("the file behind it"), b"new");
        fs::write(place.path().join("any"), b"").expect("another file");
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode();
        assert_eq!(mode(&kept), mode(&place.path().join("any")));
    }

    #[test]
    fn a_directory_that_takes_no_files_is_found_out() {
        let place = tempfile::tempdir().expect("a directory");
        assert!(check_directory(&place.path().join("a/b")).is_ok());
        assert_eq!(names(&place.path().join("a/b")), Vec::<String>::new());
        // Not even root may make files there.
        assert!(check_directory(Path::new("/proc")).is_err());
    }
}
