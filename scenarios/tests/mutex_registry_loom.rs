//! The registry of mutexes by path under the model checker loom, which runs every interleaving of
//! the threads that use it:
//!
//! ```text
//! cargo test -p tearproof-scenarios --release --test mutex_registry_loom
//! ```
//!
//! What a mutex protects is a counter here, which is loaded and then stored; two threads inside at
//! once lose an update in one of their interleavings, and a thread that waits for ever is a deadlock
//! to loom. Some models are canaries: registries that are wrong in the ways in which such registries
//! are, and a monitor that is, which loom must find.
//!
//! The counter is an atomic without ordering. One of loom's cells would do as well, but sharing it
//! takes `unsafe`, and only the engine has that. A load without ordering may return any value that
//! was not overwritten *before* it, so a mutex that excludes threads without ordering what they do is
//! found too; there is a canary for that.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
// Not loom's, which does not survive that a model fails.
use std::sync::Arc;
use std::sync::atomic::Ordering::{self, Relaxed};

use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread;

#[path = "../src/mutex_registry.rs"]
mod mutex_registry;

use mutex_registry::{Monitor, MutexRegistry};

/// A name of a file, and which of two files it is.
type Name = (&'static str, usize);

const STATE: Name = ("/state/progress.json", 0);
const OTHER: Name = ("/state/index.json", 1);
/// Two spellings of the path of the first, which mean the same whatever there is on the disk.
const SPELLINGS: [Name; 2] = [("/state//progress.json", 0), ("/state/./progress.json", 0)];

/// Loom's mutex and condition.
#[derive(Default)]
struct Modelled {
    locked: Mutex<BTreeSet<PathBuf>>,
    freed: Condvar,
}

/// The paths. Loom fails a model by a panic in the midst of it, after which it knows no threads any
/// more; guards that are dropped on the way out get a set that nobody sees.
enum Paths<'a> {
    Entered(MutexGuard<'a, BTreeSet<PathBuf>>),
    Failed(BTreeSet<PathBuf>),
}

impl Deref for Paths<'_> {
    type Target = BTreeSet<PathBuf>;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Entered(paths) => paths,
            Self::Failed(paths) => paths,
        }
    }
}

impl DerefMut for Paths<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::Entered(paths) => paths,
            Self::Failed(paths) => paths,
        }
    }
}

impl Monitor for Modelled {
    type Paths<'a> = Paths<'a>;

    fn enter(&self) -> Paths<'_> {
        if std::thread::panicking() {
            return Paths::Failed(BTreeSet::new());
        }
        Paths::Entered(self.locked.lock().expect("loom poisons nothing"))
    }

    fn wait<'a>(&'a self, paths: Paths<'a>) -> Paths<'a> {
        match paths {
            Paths::Entered(paths) => Paths::Entered(self.freed.wait(paths).expect("loom poisons nothing")),
            failed @ Paths::Failed(_) => failed,
        }
    }

    fn wake_all(&self) {
        if !std::thread::panicking() {
            self.freed.notify_all();
        }
    }
}

/// Something that gives each path a mutex, or is meant to.
trait Registry: Send + Sync + 'static {
    fn new() -> Self;
    /// Does something under the mutex of a path.
    fn under(&self, path: &str, inside: impl FnOnce());
}

impl<M: Monitor + Default + Send + Sync + 'static> Registry for MutexRegistry<M> {
    fn new() -> Self {
        Self::over(M::default())
    }

    fn under(&self, path: &str, inside: impl FnOnce()) {
        let _guard = self.lock(Path::new(path));
        inside();
    }
}

type Real = MutexRegistry<Modelled>;

/// Adds one to what the mutex protects, as a program does that reads a file, changes it and writes
/// it back.
fn update(counter: &AtomicUsize) {
    let read = counter.load(Relaxed);
    counter.store(read + 1, Relaxed);
}

/// Threads of which each updates files, one after the other, under the names that it has for them.
/// No update may be lost.
fn update_under<R: Registry>(threads: &'static [&'static [Name]]) {
    loom::model(move || {
        let shared = Arc::new((R::new(), [AtomicUsize::new(0), AtomicUsize::new(0)]));
        let running: Vec<_> = threads
            .iter()
            .map(|names| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (registry, files) = &*shared;
                    for &(path, file) in *names {
                        registry.under(path, || update(&files[file]));
                    }
                })
            })
            .collect();
        for thread in running {
            thread.join().expect("no thread panics");
        }
        let updates = [0, 1].map(|of| threads.concat().iter().filter(|&&(_, file)| file == of).count());
        assert_eq!(shared.1.each_ref().map(|file| file.load(Relaxed)), updates, "an update was lost");
    });
}

#[test]
fn two_threads_that_update_one_file_repeatedly_lose_no_update() {
    update_under::<Real>(&[&[STATE, STATE], &[STATE, STATE]]);
}

#[test]
fn three_threads_that_update_one_file_lose_no_update() {
    update_under::<Real>(&[&[STATE], &[STATE], &[STATE]]);
}

#[test]
fn two_spellings_of_one_path_have_one_mutex() {
    update_under::<Real>(&[&[SPELLINGS[0]], &[SPELLINGS[1]]]);
}

/// What the registry says of itself that it does not do: a test of its documentation, and one more
/// canary.
#[test]
#[should_panic(expected = "an update was lost")]
fn two_names_of_one_file_have_two_mutexes() {
    update_under::<Real>(&[&[STATE], &[("/state/new/../progress.json", 0)]]);
}

#[test]
fn three_threads_that_update_two_files_lose_no_update() {
    update_under::<Real>(&[&[STATE], &[OTHER], &[STATE]]);
}

#[test]
fn two_threads_that_update_two_files_in_opposite_order_lose_no_update() {
    update_under::<Real>(&[&[STATE, OTHER], &[OTHER, STATE]]);
}

#[test]
fn threads_that_update_different_files_are_inside_at_once() {
    let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = most.clone();
    loom::model(move || {
        let shared = Arc::new((Real::new(), AtomicUsize::new(0)));
        let running = [STATE, OTHER].map(|(path, _)| {
            let (shared, seen) = (shared.clone(), seen.clone());
            thread::spawn(move || {
                let (registry, inside) = &*shared;
                registry.under(path, || {
                    seen.fetch_max(inside.fetch_add(1, Relaxed) + 1, Relaxed);
                    inside.fetch_sub(1, Relaxed);
                });
            })
        });
        for thread in running {
            thread.join().expect("no thread panics");
        }
    });
    // A registry with one mutex for everything would be right too, but for this.
    assert_eq!(most.load(Relaxed), 2);
}

/// While one thread waits for a file whose holder is not done, another one gets its own.
fn pass_on<M: Monitor + Default + Send + Sync + 'static>() {
    loom::model(|| {
        let registry = Arc::new(MutexRegistry::<M>::new());
        let lock = |(path, _): Name| {
            let registry = registry.clone();
            thread::spawn(move || registry.under(path, || ()))
        };
        let state = registry.lock(Path::new(STATE.0));
        let other = registry.lock(Path::new(OTHER.0));
        let (of_state, of_other) = (lock(STATE), lock(OTHER));
        drop(other);
        of_other.join().expect("no thread panics");
        drop(state);
        of_state.join().expect("no thread panics");
    });
}

#[test]
fn who_waits_for_one_file_keeps_nobody_from_being_woken_for_another() {
    pass_on::<Modelled>();
}

/// A canary's monitor: it wakes one thread, whatever that one waits for.
#[derive(Default)]
struct WakesOne(Modelled);

impl Monitor for WakesOne {
    type Paths<'a> = Paths<'a>;

    fn enter(&self) -> Paths<'_> {
        self.0.enter()
    }

    fn wait<'a>(&'a self, paths: Paths<'a>) -> Paths<'a> {
        self.0.wait(paths)
    }

    fn wake_all(&self) {
        if !std::thread::panicking() {
            self.0.freed.notify_one();
        }
    }
}

#[test]
#[should_panic(expected = "deadlock")]
fn canary_a_release_that_wakes_one_thread_only_is_caught() {
    pass_on::<WakesOne>();
}

/// A map from paths to mutexes, which the canaries get wrong.
type Mutexes<K> = Mutex<BTreeMap<K, Arc<Mutex<()>>>>;

/// A canary: who finds no mutex makes one, and has let go of the map in between.
struct CheckThenInsert(Mutexes<PathBuf>);

impl Registry for CheckThenInsert {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn under(&self, path: &str, inside: impl FnOnce()) {
        let found = self.0.lock().expect("loom poisons nothing").get(Path::new(path)).cloned();
        let mutex = found.unwrap_or_else(|| {
            let mutex = Arc::new(Mutex::new(()));
            self.0.lock().expect("loom poisons nothing").insert(path.into(), mutex.clone());
            mutex
        });
        let _guard = mutex.lock().expect("loom poisons nothing");
        inside();
    }
}

#[test]
#[should_panic(expected = "an update was lost")]
fn canary_a_registry_that_looks_and_inserts_in_two_steps_is_caught() {
    update_under::<CheckThenInsert>(&[&[STATE], &[STATE]]);
}

/// A canary: who is done removes the mutex, although somebody else may hold it by then or wait for
/// it.
struct DropsEntry(Mutexes<PathBuf>);

impl Registry for DropsEntry {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn under(&self, path: &str, inside: impl FnOnce()) {
        let mutex = self.0.lock().expect("loom poisons nothing").entry(path.into()).or_default().clone();
        let guard = mutex.lock().expect("loom poisons nothing");
        inside();
        drop(guard);
        self.0.lock().expect("loom poisons nothing").remove(Path::new(path));
    }
}

#[test]
#[should_panic(expected = "an update was lost")]
fn canary_a_registry_that_drops_a_mutex_that_is_in_use_is_caught() {
    update_under::<DropsEntry>(&[&[STATE, STATE], &[STATE]]);
}

/// Two threads that update if a flag says that nobody else does, and else do nothing.
fn update_by_flag(acquire: Ordering, release: Ordering) {
    loom::model(move || {
        let shared = Arc::new((AtomicBool::new(false), AtomicUsize::new(0)));
        let running = [(); 2].map(|()| {
            let shared = shared.clone();
            thread::spawn(move || {
                let free = !shared.0.swap(true, acquire);
                if free {
                    update(&shared.1);
                    shared.0.store(false, release);
                }
                free
            })
        });
        let updates = running.map(|thread| usize::from(thread.join().expect("no thread panics")));
        assert_eq!(shared.1.load(Relaxed), updates.iter().sum(), "an update was lost");
    });
}

#[test]
fn a_flag_that_excludes_and_orders_loses_no_update() {
    update_by_flag(Ordering::Acquire, Ordering::Release);
}

#[test]
#[should_panic(expected = "an update was lost")]
fn canary_a_flag_that_excludes_without_ordering_is_caught() {
    update_by_flag(Relaxed, Relaxed);
}

/// A registry that is right but for its keys: paths as they are spelled.
struct BySpelling(Mutexes<OsString>);

impl Registry for BySpelling {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn under(&self, path: &str, inside: impl FnOnce()) {
        let mutex = self.0.lock().expect("loom poisons nothing").entry(path.into()).or_default().clone();
        let _guard = mutex.lock().expect("loom poisons nothing");
        inside();
    }
}

#[test]
#[should_panic(expected = "an update was lost")]
fn canary_a_registry_by_spelling_is_caught() {
    update_under::<BySpelling>(&[&[SPELLINGS[0]], &[SPELLINGS[1]]]);
}

/// Spelled alike, the canaries' kind of registry passes: it is their faults that are caught.
#[test]
fn a_map_that_keeps_its_mutexes_loses_no_update() {
    update_under::<BySpelling>(&[&[STATE, STATE], &[STATE, STATE]]);
}
