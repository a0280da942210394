//! Atomic replacement with one step wrong: a temporary name that all writers share, or the fsync
//! of the wrong thing.

use rustix::fs::OFlags;
use tearproof_core::strategy::{ClientContext, StrategyError, StrategyInfo};

use crate::calls::{self, CallError, OpenFile};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims};
use crate::temp_name::TempNames;
use crate::temp_rename::or_remove;

/// Strategy `temp-rename-shared`.
pub(crate) static TEMP_RENAME_SHARED: Kept<TempRenameShared> = Kept::new();
/// Strategy `temp-rename-dirsync`.
pub(crate) static TEMP_RENAME_DIRSYNC: Kept<TempRenameDirsync> = Kept::new();

/// The fixed name `<file>.tmp`, renamed over the state file.
///
/// With one writer it is `temp-rename`. With two, both write through the same name: one renames
/// what the other has only begun to write (a torn read), and the slower one finds its temporary
/// file gone (ENOENT). That error says nothing about the outcome: the other's rename may have
/// published these very bytes. On any failure the temporary file is removed, as the progress.json report does,
/// which may take away another writer's.
///
/// No temporary file outlives the operations: whoever creates one goes on to rename or remove
/// whatever has that name.
#[derive(Default)]
pub(crate) struct TempRenameShared;

static TEMP_RENAME_SHARED_INFO: StrategyInfo = StrategyInfo {
    name: "temp-rename-shared",
    algorithm: "write <file>.tmp, a name that all writers share, rename it over the state file",
    claims: claims![Progress: Concurrency; NoResidue: Concurrency],
    source: "the run-info.yaml report (approach A), the progress.json report and the index.json fix, as written",
    objects: DOCUMENTS,
    broken: true,
    timed: false,
};

impl Protocol for TempRenameShared {
    fn info() -> &'static StrategyInfo {
        &TEMP_RENAME_SHARED_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        write_by_shared_temp(at, document)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}

/// Writes `<file>.tmp` and renames it. Once the shared file is open another writer may publish it
/// at any moment, so every failure from then on leaves the outcome unknown.
pub(crate) fn write_by_shared_temp(at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
    let temp = at.sibling(".tmp");
    let file = OpenFile::open(&temp, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, 0o644)?;
    let written = file.write_all(document).and_then(|()| file.close());
    or_remove(&temp, written.and_then(|()| calls::rename(&temp, &at.file)))
        .map_err(CallError::perhaps_applied)
}

/// An fsync of the directory and none of the file: the name becomes durable, the data need not.
///
/// After a power loss the name leads to zeros or to an empty file, and lastingly so. The order of
/// the two is why this is worse than no fsync at all.
#[derive(Default)]
pub(crate) struct TempRenameDirsync {
    names: TempNames,
}

static TEMP_RENAME_DIRSYNC_INFO: StrategyInfo = StrategyInfo {
    name: "temp-rename-dirsync",
    algorithm: "write a temporary file of its own, rename it over the state file, fsync the directory but never the file",
    claims: claims![
        AtomicReads: Concurrency Pause Kill IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        Durability: Kill;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
    ],
    source: "a common half of the atomic-writes note",
    objects: DOCUMENTS,
    broken: true,
    timed: false,
};

impl Protocol for TempRenameDirsync {
    fn info() -> &'static StrategyInfo {
        &TEMP_RENAME_DIRSYNC_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let temp = self.names.next(at);
        let file = OpenFile::create_new(&temp, 0o644)?;
        let written = file.write_all(document).and_then(|()| file.close());
        or_remove(&temp, written.and_then(|()| calls::rename(&temp, &at.file)))?;
        calls::sync_directory(&at.dir).map_err(CallError::perhaps_applied)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}
