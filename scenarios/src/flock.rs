//! `flock(2)` done right: on the data file that everybody locks, or on a sibling that stays.
//!
//! The kernel gives a dead holder's lock to the next in line, so a kill never leaves a lock behind.
//! All waiting is without a time limit, as in the source. The locks are advisory: a writer that
//! does not take part in them is not kept out, and breaks the promises of those who do.
//!
//! Not covered: locking the wrong inode or not at all where one should, under `broken`.

use std::io::Read;

use rustix::fs::{FlockOperation, OFlags};
use tearproof_core::strategy::{ClientContext, Found, StrategyError, StrategyInfo};

use crate::calls::{CallError, OpenFile};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims, read_plainly, with_element};
use crate::temp_name::TempNames;
use crate::temp_rename::write_file_atomic;

/// Strategy `flock-in-place`.
pub(crate) static FLOCK_IN_PLACE: Kept<FlockInPlace> = Kept::new();
/// Strategy `flock-sibling`.
pub(crate) static FLOCK_SIBLING: Kept<FlockSibling> = Kept::new();

/// Writers lock the data file exclusively and write in place, readers lock it shared.
///
/// The lock is on the inode, and the inode is never replaced, so it is the same lock for all. A
/// writer that dies in the middle leaves half a document and no lock: kills and power loss tear
/// reads. The very first write of an absent file creates it empty before it can be locked; a
/// reader that takes the lock in between finds an empty file and treats it as no document yet,
/// since no writer leaves one.
#[derive(Default)]
pub(crate) struct FlockInPlace;

static FLOCK_IN_PLACE_INFO: StrategyInfo = StrategyInfo {
    name: "flock-in-place",
    algorithm: "writers hold LOCK_EX and readers LOCK_SH on the data file; truncate and write in place",
    claims: claims![
        AtomicReads: Concurrency Pause;
        NoLostUpdates: Concurrency Pause;
        Linearizable: Concurrency;
        Progress: Concurrency;
        NoResidue: Concurrency Kill;
        MetadataKept: Concurrency;
    ],
    source: "the run-info.yaml report (approach B), the progress.json report (solution 1)",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for FlockInPlace {
    fn info() -> &'static StrategyInfo {
        &FLOCK_IN_PLACE_INFO
    }

    fn read(&mut self, at: &ClientContext, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        into.clear();
        let Some(file) = OpenFile::open_to_read(&at.file)? else { return Ok(Found::Absent) };
        file.lock(FlockOperation::LockShared)?;
        file.read_to_end(into)?;
        file.lock(FlockOperation::Unlock)?;
        file.close()?;
        Ok(if into.is_empty() { Found::Absent } else { Found::Present })
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

    fn stream(&mut self, at: &ClientContext) -> Result<Option<Box<dyn Read + Send>>, StrategyError> {
        let Some(file) = OpenFile::open_to_read(&at.file)? else { return Ok(None) };
        file.lock(FlockOperation::LockShared)?;
        if file.length()? == 0 {
            return Ok(None);
        }
        // The lock ends with the descriptor, which is when the reader is dropped.
        Ok(Some(Box::new(file)))
    }
}

/// Opens the data file and locks it exclusively.
pub(crate) fn lock_data_file(at: &ClientContext) -> Result<OpenFile, StrategyError> {
    let file = OpenFile::open(&at.file, OFlags::RDWR | OFlags::CREATE, 0o644)?;
    file.lock(FlockOperation::LockExclusive)?;
    Ok(file)
}

/// The document of a locked data file with one element more. An empty file is one that was
/// created by being opened.
pub(crate) fn read_locked(
    file: &OpenFile,
    at: &ClientContext,
    element: &str,
) -> Result<Vec<u8>, StrategyError> {
    let mut document = Vec::new();
    file.read_to_end(&mut document)?;
    let found = if document.is_empty() { Found::Absent } else { Found::Present };
    with_element(at, found, &document, element)
}

/// Replaces the content of a locked data file and unlocks it.
pub(crate) fn rewrite_and_unlock(file: OpenFile, document: &[u8]) -> Result<(), StrategyError> {
    file.seek_to(0)?;
    file.truncate(0)?;
    file.write_all(document).map_err(CallError::perhaps_applied)?;
    file.lock(FlockOperation::Unlock).map_err(CallError::perhaps_applied)?;
    file.close().map_err(CallError::perhaps_applied)
}

/// `<file>.lock` is locked for the whole of a read-modify-write, and the document is replaced as
/// `write-file-atomic` does it. Readers need no lock.
///
/// The lock file is never removed and never replaced, so all clients lock one inode. It holds
/// nothing, so it need not be durable.
#[derive(Default)]
pub(crate) struct FlockSibling {
    names: TempNames,
}

static FLOCK_SIBLING_INFO: StrategyInfo = StrategyInfo {
    name: "flock-sibling",
    algorithm: "hold LOCK_EX on <file>.lock for the whole read-modify-write, replace the file atomically and durably",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        NoLostUpdates: Concurrency Pause Kill;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        Durability: Kill PowerLoss;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "the atomic-writes note, WithLock around WriteFileAtomic",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for FlockSibling {
    fn info() -> &'static StrategyInfo {
        &FLOCK_SIBLING_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let lock = lock_sibling(at)?;
        let written = write_file_atomic(&mut self.names, at, &at.file, document);
        unlock(lock, written)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let lock = lock_sibling(at)?;
        let mut document = Vec::new();
        let updated = read_plainly(at, &mut document)
            .and_then(|found| with_element(at, found, &document, element))
            .and_then(|document| write_file_atomic(&mut self.names, at, &at.file, &document));
        unlock(lock, updated)
    }

    fn keeps(at: &ClientContext, name: &str) -> bool {
        at.sibling(".lock").file_name().is_some_and(|lock| lock == name)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}

/// Opens the lock file and locks it.
pub(crate) fn lock_sibling(at: &ClientContext) -> Result<OpenFile, CallError> {
    let lock = OpenFile::open(&at.sibling(".lock"), OFlags::RDWR | OFlags::CREATE, 0o644)?;
    lock.lock(FlockOperation::LockExclusive)?;
    Ok(lock)
}

/// Unlocks and passes on how the operation went. A failure to unlock does not undo the operation;
/// closing the descriptor gives the lock back in any case.
pub(crate) fn unlock(lock: OpenFile, result: Result<(), StrategyError>) -> Result<(), StrategyError> {
    let unlocked = lock.lock(FlockOperation::Unlock);
    drop(lock);
    result?;
    unlocked.map_err(CallError::perhaps_applied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_is_the_only_one_kept() {
        let at = crate::tests::context(std::path::Path::new("/nowhere"));
        assert!(FlockSibling::keeps(&at, "state.json.lock"));
        assert!(!FlockSibling::keeps(&at, "state.json.tmp"));
    }
}
