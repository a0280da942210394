//! All strategies, and how one is found by its name.

use std::sync::LazyLock;

use tearproof_core::strategy::Strategy;

use crate::{
    append_log, broken, cas, coordinator, double_buffer, end_file, flock, library, locks, per_process,
    posix_lock, sqlite, symlink_swap, temp_other_dir, temp_rename, thread_mutex, tolerate,
};

/// The strategies that keep a state file, in the order in which tables show them.
static STATE: &[&dyn Strategy] = &[
    &broken::in_place::IN_PLACE_TRUNCATE,
    &broken::in_place::IN_PLACE_OVERWRITE,
    &broken::temp_rename::TEMP_RENAME_SHARED,
    &temp_rename::TEMP_RENAME,
    &temp_rename::TEMP_FSYNC_RENAME,
    &broken::temp_rename::TEMP_RENAME_DIRSYNC,
    &temp_rename::WRITE_FILE_ATOMIC,
    &temp_other_dir::TEMP_OTHER_DIR,
    &flock::FLOCK_IN_PLACE,
    &broken::flock::FLOCK_WRITERS_ONLY,
    &broken::flock::FLOCK_REPLACED_FILE,
    &flock::FLOCK_SIBLING,
    &broken::flock::FLOCK_SIBLING_UNLINK,
    &posix_lock::POSIX_LOCK,
    &broken::posix_lock::POSIX_LOCK_THREADS,
    &broken::posix_lock::POSIX_LOCK_REOPENED,
    &posix_lock::OFD_LOCK,
    &thread_mutex::THREAD_MUTEX,
    &thread_mutex::THREAD_MUTEX_TEMP_RENAME,
    &broken::fallback::FALLBACK_TO_EMPTY,
    &end_file::END_FILE,
    &end_file::END_FILE_ATOMIC,
    &tolerate::TOLERATE_RETRY,
    &tolerate::TOLERATE_CHECKSUM,
    &broken::cas::CAS_COMPARE_RENAME,
    &cas::CAS_VERSIONED_LINK,
    &per_process::PER_PROCESS_FILES,
    &coordinator::COORDINATOR,
    &broken::coordinator::COORDINATOR_READ_WRITE,
    &broken::coordinator::COORDINATOR_ACK_FIRST,
    &append_log::APPEND_LOG,
    &append_log::APPEND_FSYNC,
    &broken::append::APPEND_SEEK,
    &broken::append::APPEND_SPLIT,
    &double_buffer::DOUBLE_BUFFER,
    &symlink_swap::SYMLINK_SWAP,
    &sqlite::SQLITE_ROLLBACK,
    &sqlite::SQLITE_WAL,
    &library::ATOMIC_WRITE_FILE,
    &library::ATOMICWRITES,
    &library::TEMPFILE_PERSIST,
];

static EVERY: LazyLock<Vec<&'static dyn Strategy>> = LazyLock::new(|| [STATE, locks::ALL].concat());

/// Every built-in strategy: those of state files, then those of locks.
pub fn strategies() -> &'static [&'static dyn Strategy] {
    &EVERY
}

/// The strategy of this name.
pub fn strategy(name: &str) -> Option<&'static dyn Strategy> {
    strategies().iter().find(|strategy| strategy.info().name == name).copied()
}
