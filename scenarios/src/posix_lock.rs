//! `fcntl(2)` locks on a sibling file that stays: those of POSIX, which belong to a process, and
//! those of an open file description.
//!
//! A POSIX lock has two habits that `flock` does not have. Threads of one process do not exclude
//! each other, since the lock is already theirs; so whoever uses it right, as SQLite does, takes a
//! mutex of the process first. And closing *any* descriptor of the file drops the lock, which the
//! mutex also prevents as long as nobody goes around it; see `posix-lock-threads` and
//! `posix-lock-reopened` under `broken`. Open-file-description locks have neither habit.
//!
//! Source: POSIX on `fcntl`; Linux `fcntl(2)`, "Open file description locks".

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::OFlags;
use rustix::io::Errno;
use tearproof_core::claim::Claim;
use tearproof_core::strategy::{ClientContext, StrategyError, StrategyInfo};

use crate::calls::{CallError, OpenFile};
use crate::mutex_registry::MutexRegistry;
use crate::protocol::{DOCUMENTS, Kept, Protocol, claims, read_plainly, with_element};
use crate::temp_name::TempNames;
use crate::temp_rename::write_file_atomic;

/// Strategy `posix-lock`.
pub(crate) static POSIX_LOCK: Kept<PosixLock> = Kept::new();
/// Strategy `ofd-lock`.
pub(crate) static OFD_LOCK: Kept<OfdLock> = Kept::new();

/// What both kinds of lock promise around an atomic and durable replacement.
const LOCKED_AND_ATOMIC: &[Claim] = claims![
    AtomicReads: Concurrency Pause Kill PowerLoss IoError;
    NoLostUpdates: Concurrency Pause Kill;
    Linearizable: Concurrency Kill;
    Progress: Concurrency Kill;
    Durability: Kill PowerLoss;
    ErrorsReported: IoError;
    NoResidue: Concurrency;
    MetadataKept: Concurrency;
];

/// Which of the two kinds of lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `F_SETLKW`: the process holds it.
    Process,
    /// `F_OFD_SETLKW`: the open file description holds it.
    Description,
}

/// Opens `<file>.lock` and locks the whole of it, waiting for as long as it takes. The lock ends
/// when the file is closed.
pub(crate) fn lock_sibling(at: &ClientContext, kind: Kind) -> Result<OpenFile, CallError> {
    let path = at.sibling(".lock");
    let file = OpenFile::open(&path, OFlags::RDWR | OFlags::CREATE, 0o644)?;
    let whole_file = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    file.call("fcntl lock", || {
        let argument = match kind {
            Kind::Process => FcntlArg::F_SETLKW(&whole_file),
            Kind::Description => FcntlArg::F_OFD_SETLKW(&whole_file),
        };
        fcntl(file.fd(), argument).map_err(|errno| Errno::from_raw_os_error(errno as i32))
    })?;
    Ok(file)
}

/// Whether this is the lock file.
pub(crate) fn is_lock_file(at: &ClientContext, name: &str) -> bool {
    at.sibling(".lock").file_name().is_some_and(|lock| lock == name)
}

/// The read-modify-write inside the lock; the lock ends with the descriptor.
pub(crate) fn update_locked(
    names: &mut TempNames,
    at: &ClientContext,
    element: &str,
    kind: Kind,
) -> Result<(), StrategyError> {
    let lock = lock_sibling(at, kind)?;
    let mut document = Vec::new();
    let found = read_plainly(at, &mut document)?;
    let document = with_element(at, found, &document, element)?;
    write_file_atomic(names, at, &at.file, &document)?;
    lock.close().map_err(CallError::perhaps_applied)
}

/// The write inside the lock.
pub(crate) fn write_locked(
    names: &mut TempNames,
    at: &ClientContext,
    document: &[u8],
    kind: Kind,
) -> Result<(), StrategyError> {
    let lock = lock_sibling(at, kind)?;
    write_file_atomic(names, at, &at.file, document)?;
    lock.close().map_err(CallError::perhaps_applied)
}

/// The threads of this process that hold, or wait for, a POSIX lock.
static THREADS: MutexRegistry = MutexRegistry::new();

/// `F_SETLKW` on `<file>.lock` for the whole of a read-modify-write, and a mutex in the process
/// around it, which keeps its threads apart.
#[derive(Default)]
pub(crate) struct PosixLock {
    names: TempNames,
}

static POSIX_LOCK_INFO: StrategyInfo = StrategyInfo {
    name: "posix-lock",
    algorithm: "hold a mutex in the process and an F_SETLKW lock on <file>.lock for the whole read-modify-write, replace the file atomically and durably",
    claims: LOCKED_AND_ATOMIC,
    source: "POSIX, fcntl; SQLite's unix VFS",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for PosixLock {
    fn info() -> &'static StrategyInfo {
        &POSIX_LOCK_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        let _alone = THREADS.lock(&at.file);
        write_locked(&mut self.names, at, document, Kind::Process)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        let _alone = THREADS.lock(&at.file);
        update_locked(&mut self.names, at, element, Kind::Process)
    }

    fn keeps(at: &ClientContext, name: &str) -> bool {
        is_lock_file(at, name)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}

/// `F_OFD_SETLKW` on `<file>.lock`: threads exclude each other as well, and no stray `close` in the
/// process drops the lock.
#[derive(Default)]
pub(crate) struct OfdLock {
    names: TempNames,
}

static OFD_LOCK_INFO: StrategyInfo = StrategyInfo {
    name: "ofd-lock",
    algorithm: "hold an F_OFD_SETLKW lock on <file>.lock for the whole read-modify-write, replace the file atomically and durably",
    claims: LOCKED_AND_ATOMIC,
    source: "Linux, open file description locks; POSIX.1-2024",
    objects: DOCUMENTS,
    broken: false,
    timed: false,
};

impl Protocol for OfdLock {
    fn info() -> &'static StrategyInfo {
        &OFD_LOCK_INFO
    }

    fn write(&mut self, at: &ClientContext, document: &[u8]) -> Result<(), StrategyError> {
        write_locked(&mut self.names, at, document, Kind::Description)
    }

    fn update(&mut self, at: &ClientContext, element: &str) -> Result<(), StrategyError> {
        update_locked(&mut self.names, at, element, Kind::Description)
    }

    fn keeps(at: &ClientContext, name: &str) -> bool {
        is_lock_file(at, name)
    }

    const FOLLOWS_SYMLINKS: bool = false;
}
