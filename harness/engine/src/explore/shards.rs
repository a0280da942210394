//! Several plans explored at the same time, one on each processor.
//!
//! A supervisor and its clients hand one processor to each other, so a plan keeps one busy and gains
//! nothing from a second one. Plans wait in one queue, and each shard, a thread that is bound to its
//! processor, takes the next one.
//!
//! What plans share would show in their results. A shard has a table of descriptors, a current directory
//! and a mask for new files of its own: with a common table, a client that one shard is about to
//! start would have, until it executes its program, copies of the files in which another shard's
//! clients hold their locks, and a lock that is given back would still be there. Where the kernel
//! denies a table of its own, there is one shard.
//!
//! Not covered: memory bandwidth and the file system, which shards compete for. They cost time, and
//! change no result, since clients take their steps in turn.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::{CpuSet, UnshareFlags};

use crate::process::Undisturbed;

/// A thread that explores plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which one, from 0.
    pub number: usize,
}

/// Has every piece of work done by one of so many shards, and returns what came of it, piece by
/// piece. No shard takes a piece up when `stop` says so; what was not taken up is `None`.
///
/// A descriptor that is opened in a shard means nothing outside of it, and one that is opened outside
/// while shards work means nothing to them: neither must be in a piece or in a result. What lies
/// in `/proc/self/fd` belongs to none of them.
///
/// # Panics
/// When the work panics.
pub fn in_shards<P: Sync, R: Send>(
    shards: usize,
    pieces: &[P],
    stop: impl Fn() -> bool + Sync,
    work: impl Fn(Shard, &P) -> R + Sync,
) -> Vec<Option<R>> {
    let processors = processors();
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<R>>> = Mutex::new(pieces.iter().map(|_| None).collect());
    let _undisturbed = Undisturbed::begin();
    let take = |shard: Shard| {
        while !stop() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = pieces.get(index) else { break };
            let result = work(shard, piece);
            results.lock().expect("nobody panics while storing a result")[index] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..shards.clamp(1, pieces.len().max(1)))
            .map(|number| {
                let take = &take;
                let processor = processors.get(number % processors.len().max(1)).copied();
                scope.spawn(move || {
                    if let Some(processor) = processor {
                        bind(processor);
                    }
                    // The first shard works in any case: alone it has nobody to share with.
                    if own_tables().is_ok() || number == 0 {
                        take(Shard { number });
                    }
                })
            })
            .collect();
        for handle in handles {
            if let Err(panic) = handle.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    results.into_inner().expect("nobody panics while storing a result")
}

/// The processors that this process may use, the last one first: interrupts like the first one.
fn processors() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).rev().filter(|&processor| allowed.is_set(processor)).collect()
}

/// Has this thread, and what it starts, run on one processor. It works on any, only slower.
fn bind(processor: usize) {
    let mut one = CpuSet::new();
    one.set(processor);
    let _ = rustix::thread::sched_setaffinity(None, &one);
}

/// The same, on the one that the first shard has.
pub(super) fn bind_as_the_first_one() {
    if let Some(&processor) = processors().first() {
        bind(processor);
    }
}

/// Gives this thread a table of descriptors, a current directory and a mask for new files that no
/// other thread shares.
pub(super) fn own_tables() -> io::Result<()> {
    // SAFETY: the thread has just begun. It owns no descriptor yet and is given none later, which is
    // what `in_shards` asks of its callers; the standard streams are in every table.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FILES | UnshareFlags::FS) }.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn every_piece_is_done_once_and_results_keep_their_places() {
        for shards in [1, 2, 3, 7] {
            let pieces: Vec<u64> = (0..50).collect();
            let results = in_shards(shards, &pieces, || false, |_, piece| piece * piece);
            let squares: Vec<Option<u64>> = pieces.iter().map(|piece| Some(piece * piece)).collect();
            assert_eq!(results, squares, "{shards} shards");
        }
        assert_eq!(in_shards(2, &[] as &[u8], || false, |_, _| ()), []);
    }

    #[test]
    fn what_is_not_taken_up_has_no_result() {
        let done = AtomicUsize::new(0);
        let count = |_, _: &u8| done.fetch_add(1, Ordering::Relaxed);
        let results = in_shards(1, &[0; 5], || done.load(Ordering::Relaxed) == 2, count);
        assert_eq!(results, [Some(0), Some(1), None, None, None]);
    }

    #[test]
    fn no_shard_sees_a_descriptor_of_another_one() {
        // Both shards have a file open at the same time; each looks for the other one's.
        let meeting = Barrier::new(2);
        let open = Mutex::new(Vec::new());
        let look = |shard: Shard, _: &u8| {
            let file = tempfile::tempfile().expect("a file");
            let mine = rustix::fs::fstat(&file).expect("its status").st_ino;
            open.lock().expect("no panic").push((shard.number, mine));
            meeting.wait();
            let seen = (0..1024).filter_map(|number| {
                let path = format!("/proc/thread-self/fd/{number}");
                rustix::fs::stat(path).ok().map(|status| status.st_ino)
            });
            let seen: Vec<u64> = seen.collect();
            meeting.wait();
            let others = open.lock().expect("no panic");
            assert!(seen.contains(&mine), "{} is open", file.as_raw_fd());
            others.iter().filter(|(_, inode)| *inode != mine && seen.contains(inode)).count()
        };
        // Where it is denied, there is one shard.
        if own_tables_are_allowed() {
            assert_eq!(in_shards(2, &[0, 1], || false, look), [Some(0), Some(0)]);
        }
    }

    fn own_tables_are_allowed() -> bool {
        std::thread::spawn(|| own_tables().is_ok()).join().expect("no panic")
    }

    #[test]
    fn shards_run_where_they_are_bound_to() {
        let allowed = processors();
        let bound = in_shards(2, &[0, 1, 2, 3], || false, |shard, _| (shard.number, processors()));
        for (number, on) in bound.into_iter().flatten() {
            assert_eq!(on, [allowed[number % allowed.len()]]);
        }
    }

    #[test]
    #[should_panic(expected = "a piece that cannot be done")]
    fn a_panic_is_not_swallowed() {
        in_shards(2, &[1, 2], || false, |_, piece| assert_ne!(*piece, 2, "a piece that cannot be done"));
    }
}
