//! One mutex for each path, for the threads of one process: what programs build when they mean to
//! lock a file and lock their own memory. Source: seed 002 (`_json_file_locks`) and seed 004
//! (`withIndexLock`).
//!
//! Not covered: other processes, which is the point of the strategies that use it; fairness; and
//! two names for one file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The paths that are locked, and who waits for one of them.
#[derive(Debug)]
pub(crate) struct MutexRegistry {
    // A path is in here exactly while one guard for it lives.
    locked: Mutex<BTreeSet<PathBuf>>,
    freed: Condvar,
}

/// A locked path. Dropping it unlocks.
#[derive(Debug)]
pub(crate) struct PathGuard<'a> {
    registry: &'a MutexRegistry,
    path: PathBuf,
}

impl MutexRegistry {
    /// A registry in which nothing is locked.
    pub(crate) const fn new() -> Self {
        Self { locked: Mutex::new(BTreeSet::new()), freed: Condvar::new() }
    }

    /// Locks a path, waiting until no other thread of this process has it locked.
    pub(crate) fn lock(&self, path: &Path) -> PathGuard<'_> {
        let mut locked = self.paths();
        while locked.contains(path) {
            locked = self.freed.wait(locked).unwrap_or_else(PoisonError::into_inner);
        }
        locked.insert(path.to_owned());
        PathGuard { registry: self, path: path.to_owned() }
    }

    /// No thread panics while it changes the set, so a poisoned one is whole.
    fn paths(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PathGuard<'_> {
    fn drop(&mut self) {
        self.registry.paths().remove(&self.path);
        // All are woken, because they wait for different paths on one condition.
        self.registry.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn threads_exclude_each_other_on_one_path_and_not_on_two() {
        let registry = MutexRegistry::new();
        let other = registry.lock(Path::new("/other"));
        let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let _guard = registry.lock(Path::new("/state.json"));
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        drop(other);
        assert_eq!(most.into_inner(), 1);
        assert!(registry.paths().is_empty());
    }
}
