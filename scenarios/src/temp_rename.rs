//! Write a new file, then rename it over the old one: the family of atomic replacement.
//!
//! A reader that has opened the old file goes on reading the old inode, so no read is ever torn by
//! a writer that runs beside it. What the members differ in is what they make durable, and in
//! which order. Source: the run-info.yaml report (approach A), the progress.json report, the
//! atomic-writes note, and POSIX on `rename`.
//!
//! None of them protects a read-modify-write: two updates that read the same document both
//! succeed, and the second to rename wins.
//!
//! A killed writer leaves its temporary file: no member promises `no-residue` under kill. The
//! target's hard links and extended attributes go with the old inode, which is in the nature of
//! replacement and not looked at.
//!
//! Not covered: the fixed temporary name and the directory fsync without a file fsync, which are
//! wrong and under `broken`.

use std::path::Path;

use tearproof_core::strategy::{ClientContext, StrategyError, StrategyInfo};

use crate::calls::{self, CallError, OpenFile};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims};
use crate::temp_name::TempNames;

/// Strategy `temp-rename`.
pub(crate) static TEMP_RENAME: Kept<TempRename> = Kept::new();
/// Strategy `temp-fsync-rename`.
pub(crate) static TEMP_FSYNC_RENAME: Kept<TempFsyncRename> = Kept::new();
/// Strategy `write-file-atomic`.
pub(crate) static WRITE_FILE_ATOMIC: Kept<WriteFileAtomic> = Kept::new();

/// A temporary file with a name of its own in the same directory, no fsync.
///
/// Breaks at power loss: the rename may reach the disk before the data, so the name leads to
/// zeros (ext4) or to nothing (xfs, btrfs). The new file has the mode of any new file, so the
/// mode of the old one is lost.
#[derive(Default)]
pub(crate) struct TempRename {
    names: TempNames,
}

static TEMP_RENAME_INFO: StrategyInfo = StrategyInfo {
    name: "temp-rename",
    algorithm: "write a temporary file of its own in the same directory, rename it over the state file",
    claims: claims![
        AtomicReads: Concurrency Pause Kill IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        Durability: Kill;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
    ],
    source: "the run-info.yaml report (approach A) and the progress.json report (solution 2), with a unique temporary name",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for TempRename {
    fn info() -> &'static StrategyInfo {
        &TEMP_RENAME_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let temp = self.names.next(at);
        let file = OpenFile::create_new(&temp, 0o644)?;
        let written = file.write_all(document).and_then(|()| file.close());
        Ok(or_remove(&temp, written.and_then(|()| calls::rename(&temp, &at.file)))?)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}

/// As `temp-rename`, with an fsync of the file before the rename.
///
/// After a power loss the name leads to the old document or to the new one, both whole. Which one
/// is open: the rename itself is in no durable directory yet, so an acknowledged write can be gone.
#[derive(Default)]
pub(crate) struct TempFsyncRename {
    names: TempNames,
}

static TEMP_FSYNC_RENAME_INFO: StrategyInfo = StrategyInfo {
    name: "temp-fsync-rename",
    algorithm: "write a temporary file of its own, fsync it, rename it over the state file",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        Durability: Kill;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
    ],
    source: "the widespread form of atomic replacement; the atomic-writes note without its last step",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for TempFsyncRename {
    fn info() -> &'static StrategyInfo {
        &TEMP_FSYNC_RENAME_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let temp = self.names.next(at);
        let file = OpenFile::create_new(&temp, 0o644)?;
        let written = file.write_all(document).and_then(|()| file.sync()).and_then(|()| file.close());
        Ok(or_remove(&temp, written.and_then(|()| calls::rename(&temp, &at.file)))?)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}

/// The whole of it: temporary file, fsync, rename, fsync of the directory. The mode of the old
/// file is kept; a symbolic link is replaced by a file, as in the source.
///
/// When the last step fails the new document is in place and may or may not survive a power loss,
/// so the outcome is reported as unknown rather than as failed.
#[derive(Default)]
pub(crate) struct WriteFileAtomic {
    names: TempNames,
}

static WRITE_FILE_ATOMIC_INFO: StrategyInfo = StrategyInfo {
    name: "write-file-atomic",
    algorithm: "write a temporary file of its own, fsync it, rename it over the state file, fsync the directory; mode kept",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        Durability: Kill PowerLoss;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "the atomic-writes note, WriteFileAtomic",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for WriteFileAtomic {
    fn info() -> &'static StrategyInfo {
        &WRITE_FILE_ATOMIC_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        write_file_atomic(&mut self.names, at, &at.file, document)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}

/// Replaces the file at `target`, durably. The building block of every strategy that adds
/// something of its own (a lock, a server) to atomic replacement.
pub(crate) fn write_file_atomic(
    names: &mut TempNames,
    at: &ClientContext,
    target: &Path,
    document: &[u8],
) -> Result<(), StrategyError> {
    let directory = target.parent().unwrap_or(&at.dir);
    let mode = calls::mode_of(target)?.unwrap_or(0o644);
    let temp = directory.join(names.next_name(at));
    let file = OpenFile::create_new(&temp, 0o600)?;
    let written = file
        .write_all(document)
        .and_then(|()| file.set_mode(mode))
        .and_then(|()| file.sync())
        .and_then(|()| file.close());
    or_remove(&temp, written.and_then(|()| calls::rename(&temp, target)))?;
    calls::sync_directory(directory).map_err(CallError::perhaps_applied)
}

/// Removes the temporary file when it did not become the state file. Its own failure is not
/// reported: the first error is the one that matters.
pub(crate) fn or_remove(temp: &Path, result: Result<(), CallError>) -> Result<(), CallError> {
    result.inspect_err(|_| {
        let _ = calls::unlink(temp);
    })
}
