//! `flock(2)` done wrong: readers that do not lock, a lock on an inode that is about to be
//! replaced, and a lock file that is removed while others wait for it.

use rustix::fs::FlockOperation;
use tearproof_core::strategy::{ClientContext, Found, StrategyError, StrategyInfo};

use crate::calls::{self, OpenFile};
use crate::flock::{lock_data_file, lock_sibling, read_locked, rewrite_and_unlock, unlock};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims, read_plainly, with_element};
use crate::temp_name::TempNames;
use crate::temp_rename::write_file_atomic;

/// Strategy `flock-writers-only`.
pub(crate) static FLOCK_WRITERS_ONLY: Kept<FlockWritersOnly> = Kept::new();
/// Strategy `flock-replaced-file`.
pub(crate) static FLOCK_REPLACED_FILE: Kept<FlockReplacedFile> = Kept::new();
/// Strategy `flock-sibling-unlink`.
pub(crate) static FLOCK_SIBLING_UNLINK: Kept<FlockSiblingUnlink> = Kept::new();

/// Writers lock the data file and write in place; readers were never told.
///
/// The lock is advisory, so a reader that does not ask for it sees the file between the truncation
/// and the write. Updates are protected all the same: they are writers.
#[derive(Default)]
pub(crate) struct FlockWritersOnly;

static FLOCK_WRITERS_ONLY_INFO: StrategyInfo = StrategyInfo {
    name: "flock-writers-only",
    algorithm: "writers hold LOCK_EX on the data file and write in place; readers do not lock",
    claims: claims![
        NoLostUpdates: Concurrency Pause;
        Progress: Concurrency;
        NoResidue: Concurrency Kill;
        MetadataKept: Concurrency;
    ],
    source: "the run-info.yaml report (approach B) without its reader change",
    objects: DOCUMENTS,
    broken: true,
    timed: false,
};

impl Protocol for FlockWritersOnly {
    fn info() -> &'static StrategyInfo {
        &FLOCK_WRITERS_ONLY_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let file = lock_data_file(at)?;
        rewrite_and_unlock(file, document)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let file = lock_data_file(at)?;
        let document = read_locked(&file, at, element)?;
        rewrite_and_unlock(file, &document)
    }
}

/// Locks the data file, reads it through the locked descriptor, and renames a new file over it.
///
/// A lock belongs to an inode, and the rename gives the name to another one. Whoever waited gets
/// the lock of an inode that no name leads to, reads the document of the past through it, and
/// overwrites what has happened since; whoever comes now locks the new inode at the same time.
/// Reads are never torn. An absent file cannot be locked, and is simply created.
#[derive(Default)]
pub(crate) struct FlockReplacedFile {
    names: TempNames,
}

static FLOCK_REPLACED_FILE_INFO: StrategyInfo = StrategyInfo {
    name: "flock-replaced-file",
    algorithm: "hold LOCK_EX on the data file itself, then replace it by rename",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "folklore: the two halves of the run-info.yaml report (approaches A and B) put together",
    objects: DOCUMENTS,
    broken: true,
    timed: false,
};

impl FlockReplacedFile {
    fn lock(at: &ClientContext) -> Result<Option<OpenFile>, StrategyError> {
        let Some(file) = OpenFile::open_to_read(&at.file)? else { return Ok(None) };
        file.lock(FlockOperation::LockExclusive)?;
        Ok(Some(file))
    }
}

impl Protocol for FlockReplacedFile {
    fn info() -> &'static StrategyInfo {
        &FLOCK_REPLACED_FILE_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        // The lock ends with the descriptor, when this function returns.
        let _locked = Self::lock(at)?;
        write_file_atomic(&mut self.names, at, &at.file, document)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let locked = Self::lock(at)?;
        let mut document = Vec::new();
        let found = match &locked {
            Some(file) => file.read_to_end(&mut document).map(|()| Found::Present)?,
            None => Found::Absent,
        };
        let document = with_element(at, found, &document, element)?;
        write_file_atomic(&mut self.names, at, &at.file, &document)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}

/// `flock-sibling` that tidies up: the lock file is removed before it is unlocked.
///
/// A waiter has the removed file open and gets its lock; a newcomer creates the file anew and gets
/// the lock of that one. Both are inside. Nothing is left lying about, which is what this was for.
#[derive(Default)]
pub(crate) struct FlockSiblingUnlink {
    names: TempNames,
}

static FLOCK_SIBLING_UNLINK_INFO: StrategyInfo = StrategyInfo {
    name: "flock-sibling-unlink",
    algorithm: "as flock-sibling, and the lock file is removed on release",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "the atomic-writes note with a tidy-up that many tools have",
    objects: DOCUMENTS,
    broken: true,
    timed: false,
};

impl FlockSiblingUnlink {
    fn release(
        at: &ClientContext,
        lock: OpenFile,
        result: Result<(), StrategyError>,
    ) -> Result<(), StrategyError> {
        // Somebody else may have removed it already, which is what is wrong here, and no error.
        let _ = calls::unlink(&at.sibling(".lock"));
        unlock(lock, result)
    }
}

impl Protocol for FlockSiblingUnlink {
    fn info() -> &'static StrategyInfo {
        &FLOCK_SIBLING_UNLINK_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let lock = lock_sibling(at)?;
        let written = write_file_atomic(&mut self.names, at, &at.file, document);
        Self::release(at, lock, written)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let lock = lock_sibling(at)?;
        let mut document = Vec::new();
        let updated = read_plainly(at, &mut document)
            .and_then(|found| with_element(at, found, &document, element))
            .and_then(|document| write_file_atomic(&mut self.names, at, &at.file, &document));
        Self::release(at, lock, updated)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}
