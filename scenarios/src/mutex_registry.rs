//! One mutex for each path, for the threads of one process: what programs build when they mean to
//! lock a file and lock their own memory. Source: the progress.json report (`_json_file_locks`) and the index.json fix
//! (`withIndexLock`).
//!
//! The registry knows its mutex and its condition through [`Monitor`] alone. In production they are
//! the standard library's; the model checker loom supplies its own, so the code that is checked is
//! the code that runs.
//!
//! Not covered: other processes, which is the point of the strategies that use it; fairness; and
//! two names for one file.

use std::collections::BTreeSet;
use std::ops::DerefMut;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The paths that are locked, under a mutex, and a condition to wait for.
pub(crate) trait Monitor {
    /// Access to the paths, for one thread at a time. Dropping it ends that.
    type Paths<'a>: DerefMut<Target = BTreeSet<PathBuf>>
    where
        Self: 'a;

    /// Waits until no other thread has access.
    fn enter(&self) -> Self::Paths<'_>;
    /// Gives access up, waits until some other thread calls [`Monitor::wake_all`], and waits for
    /// access again. It may return early.
    fn wait<'a>(&'a self, paths: Self::Paths<'a>) -> Self::Paths<'a>;
    /// Wakes every thread that waits at this moment.
    fn wake_all(&self);
}

/// The standard library's mutex and condition.
#[derive(Debug)]
pub(crate) struct Native {
    locked: Mutex<BTreeSet<PathBuf>>,
    freed: Condvar,
}

impl Monitor for Native {
    type Paths<'a> = MutexGuard<'a, BTreeSet<PathBuf>>;

    // No thread panics while it changes the set, so a poisoned one is whole.
    fn enter(&self) -> Self::Paths<'_> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&'a self, paths: Self::Paths<'a>) -> Self::Paths<'a> {
        self.freed.wait(paths).unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_all(&self) {
        self.freed.notify_all();
    }
}

/// The paths that are locked, and who waits for one of them.
#[derive(Debug)]
pub(crate) struct MutexRegistry<M = Native> {
    // A path is in there exactly while one guard for it lives.
    monitor: M,
}

/// A locked path. Dropping it unlocks.
#[derive(Debug)]
pub(crate) struct PathGuard<'a, M: Monitor = Native> {
    registry: &'a MutexRegistry<M>,
    path: PathBuf,
}

impl MutexRegistry {
    /// A registry in which nothing is locked.
    pub(crate) const fn new() -> Self {
        Self::over(Native { locked: Mutex::new(BTreeSet::new()), freed: Condvar::new() })
    }
}

impl<M> MutexRegistry<M> {
    /// The registry of the paths in this monitor.
    pub(crate) const fn over(monitor: M) -> Self {
        Self { monitor }
    }
}

impl<M: Monitor> MutexRegistry<M> {
    /// Locks a path, waiting until no other thread of this process has it locked.
    pub(crate) fn lock(&self, path: &Path) -> PathGuard<'_, M> {
        let mut locked = self.monitor.enter();
        while locked.contains(path) {
            locked = self.monitor.wait(locked);
        }
        locked.insert(path.to_owned());
        PathGuard { registry: self, path: path.to_owned() }
    }
}

impl<M: Monitor> Drop for PathGuard<'_, M> {
    fn drop(&mut self) {
        self.registry.monitor.enter().remove(&self.path);
        // All are woken, because they wait for different paths on one condition.
        self.registry.monitor.wake_all();
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
        assert!(registry.monitor.enter().is_empty());
    }
}
