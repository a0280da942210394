//! POSIX locks in programs that forget to whom they belong: to the process, not to the thread, and
//! not to the descriptor.

use tearproof_core::strategy::{ClientContext, StrategyError, StrategyInfo};

use crate::calls::OpenFile;
use crate::posix_lock::{Kind, is_lock_file, lock_sibling, update_locked, write_locked};
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims, read_plainly, with_element};
use crate::temp_name::TempNames;
use crate::temp_rename::write_file_atomic;

/// Strategy `posix-lock-threads`.
pub(crate) static POSIX_LOCK_THREADS: Kept<PosixLockThreads> = Kept::new();
/// Strategy `posix-lock-reopened`.
pub(crate) static POSIX_LOCK_REOPENED: Kept<PosixLockReopened> = Kept::new();

/// `posix-lock`, and while it is held another part of the program looks at the lock file: opens
/// it, closes it.
///
/// That `close` gives the lock up, although the descriptor that took it is still open: POSIX has a
/// process lose its locks on a file when it closes any descriptor of it. From there on two updates
/// run side by side, and one of them is lost. The document itself is replaced atomically, so reads
/// stay whole.
#[derive(Default)]
pub(crate) struct PosixLockReopened {
    names: TempNames,
}

static POSIX_LOCK_REOPENED_INFO: StrategyInfo = StrategyInfo {
    name: "posix-lock-reopened",
    algorithm: "as posix-lock, but the process opens and closes the lock file once more, which drops the lock",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "POSIX, fcntl: \"all locks associated with a file for a given process shall be removed\"",
    objects: DOCUMENTS,
    broken: true,
    timed: false,
};

impl PosixLockReopened {
    fn lock(at: &ClientContext) -> Result<OpenFile, StrategyError> {
        let lock = lock_sibling(at, Kind::Process)?;
        if let Some(glance) = OpenFile::open_to_read(&at.sibling(".lock"))? {
            glance.close()?;
        }
        Ok(lock)
    }
}

impl Protocol for PosixLockReopened {
    fn info() -> &'static StrategyInfo {
        &POSIX_LOCK_REOPENED_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let _lock = Self::lock(at)?;
        write_file_atomic(&mut self.names, at, &at.file, document)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let _lock = Self::lock(at)?;
        let mut document = Vec::new();
        let found = read_plainly(at, &mut document)?;
        let document = with_element(at, found, &document, element)?;
        write_file_atomic(&mut self.names, at, &at.file, &document)
    }

    fn keeps(at: &ClientContext, name: &str) -> bool {
        is_lock_file(at, name)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}

/// `posix-lock` without the mutex of the process.
///
/// The lock that one thread takes is every thread's: the second is given it at once, and when the
/// first closes its descriptor the second has it no more either. Processes of one thread each are
/// kept apart; where one process has several, their updates are lost.
#[derive(Default)]
pub(crate) struct PosixLockThreads {
    names: TempNames,
}

static POSIX_LOCK_THREADS_INFO: StrategyInfo = StrategyInfo {
    name: "posix-lock-threads",
    algorithm: "as posix-lock, but without the mutex that keeps the threads of one process apart",
    claims: claims![
        AtomicReads: Concurrency Pause Kill PowerLoss IoError;
        Linearizable: Concurrency Kill;
        Progress: Concurrency Kill;
        ErrorsReported: IoError;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "POSIX, fcntl: locks belong to the process",
    objects: DOCUMENTS,
    broken: true,
    timed: false,
};

impl Protocol for PosixLockThreads {
    fn info() -> &'static StrategyInfo {
        &POSIX_LOCK_THREADS_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        write_locked(&mut self.names, at, document, Kind::Process)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        update_locked(&mut self.names, at, element, Kind::Process)
    }

    fn keeps(at: &ClientContext, name: &str) -> bool {
        is_lock_file(at, name)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}
