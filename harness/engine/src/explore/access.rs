//! What a step touches, and when two steps conflict: the relation that the search reduces by.
//!
//! A step is one system call of one thread, or one part of a call that the kernel does not do in
//! one piece. While it is executed, everything is noted that its behaviour depends on (reads) and
//! that it changes (writes), after the model of RacePro (Laadan et al., SOSP 2011): the contents
//! and the metadata of inodes, entries of directories, offsets of open files, locks, the life of
//! processes. Two steps of different threads are independent, and may change places without
//! anybody noticing, unless both touch one object in modes that [`Mode::conflicts`].
//!
//! Objects are named so that one object has the same name in every execution: an inode by the step
//! that made it, not by its number.
//!
//! Not covered: how calls are translated to accesses, which is the gate's knowledge.

use smallvec::SmallVec;

/// What kind of thing is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// The bytes of an inode.
    Content,
    /// Size, times and link count of an inode.
    Metadata,
    /// Mode and owner of an inode.
    Attributes,
    /// One name in one directory, whether it exists or not.
    Entry,
    /// All names of a directory together. Adding or removing one is an [`Mode::Update`].
    Listing,
    /// The offset of an open file, which descriptors may share.
    Offset,
    /// The kernel's own lock of an inode that keeps writers apart while one writes.
    WriteGate,
    /// An advisory lock: flock, fcntl or OFD, one object for each inode and family.
    Lock,
    /// Whether a process lives, as others can see it.
    Liveness,
    /// The birth of a thread or process: its first step comes after the step that made it.
    Birth,
    /// A pipe, a socket, a futex: what one end does, the other can see.
    Channel,
    /// The memory that threads of one process share and no gate sees.
    Memory,
    /// The critical section that a lock protects.
    Section,
}

/// One thing that steps can touch. The key tells things of a kind apart and is the same in every
/// execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// Which one.
    pub key: u64,
}

/// In which way a step touches an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// The step depends on it. A failed attempt to take a lock reads the lock.
    Read,
    /// The step changes it. So does an attempt to take a lock that does not wait and succeeds.
    Write,
    /// The step changes it in a way that commutes with other updates, as adding two names to a
    /// directory does.
    Update,
    /// The step takes a lock for itself alone. The thread is not enabled before it can.
    Acquire,
    /// The step takes a lock together with others.
    AcquireShared,
    /// The step goes on under a lock that it has.
    Hold,
    /// The step gives a lock back.
    Release,
    /// The step gives its share of a lock back.
    ReleaseShared,
}

impl Mode {
    /// Whether two accesses of one object in these modes, by different threads, may not change
    /// places.
    ///
    /// `x`: they conflict.
    ///
    /// ```text
    ///                Read Write Update Acquire AcquireShared Hold Release ReleaseShared
    /// Read           -    x     x      x       x             -    x       x
    /// Write          x    x     x      x       x             x    x       x
    /// Update         x    x     -      x       x             x    x       x
    /// Acquire        x    x     x      x       x             x    x       x
    /// AcquireShared  x    x     x      x       -             x    x       -
    /// Hold           -    x     x      x       x             x    x       x
    /// Release        x    x     x      x       x             x    x       x
    /// ReleaseShared  x    x     x      x       -             x    x       -
    /// ```
    pub const fn conflicts(self, other: Self) -> bool {
        use Mode::{AcquireShared, Hold, Read, ReleaseShared, Update};
        match (self, other) {
            (Read, Read) | (Update, Update) => false,
            // Who merely goes on changes nothing that a failed attempt could see.
            (Read, Hold) | (Hold, Read) => false,
            (AcquireShared | ReleaseShared, AcquireShared | ReleaseShared) => false,
            _ => true,
        }
    }

    /// Whether an access in the mode `later` was impossible just before one in this mode: the lock
    /// was still held, or nothing had changed that somebody waits for.
    const fn blocks(self, later: Self) -> bool {
        use Mode::{Acquire, AcquireShared, Hold, Release, ReleaseShared, Update};
        match later {
            // Who is woken by one of several comes after it by what it takes; they come in any order.
            Acquire => matches!(self, Release | ReleaseShared | Hold | Update),
            AcquireShared => matches!(self, Release | Hold),
            _ => false,
        }
    }

    /// Whether the mode changes the object.
    pub const fn changes(self) -> bool {
        !matches!(self, Self::Read | Self::Hold)
    }
}

/// One access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Access {
    /// Of what.
    pub object: Object,
    /// How.
    pub mode: Mode,
}

/// An access that a call could make in some other state, in which a name leads to another inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Potential {
    /// Of this object.
    Certain(Access),
    /// Of any object of this kind.
    Any(ObjectKind, Mode),
}

/// The accesses of one step. An object can appear more than once.
pub type Footprint = SmallVec<[Access; 6]>;

/// Whether steps with these footprints, by different threads, conflict.
pub fn conflict(one: &[Access], other: &[Access]) -> bool {
    one.iter().any(|a| other.iter().any(|b| a.object == b.object && a.mode.conflicts(b.mode)))
}

/// Whether a step that could do this might conflict with one that did that.
pub fn may_conflict(potential: &[Potential], footprint: &[Access]) -> bool {
    potential.iter().any(|potential| {
        footprint.iter().any(|access| match *potential {
            Potential::Certain(other) => other.object == access.object && other.mode.conflicts(access.mode),
            Potential::Any(kind, mode) => kind == access.object.kind && mode.conflicts(access.mode),
        })
    })
}

/// Whether `later`, which was executed after `earlier` and conflicts with it, could not have been
/// executed just before it: it had to wait for a lock that `earlier` held when it began, or for its
/// own birth.
pub fn cannot_precede(earlier: &[Access], later: &[Access]) -> bool {
    earlier.iter().enumerate().any(|(index, a)| {
        let took = |access: &Access| {
            access.object == a.object && matches!(access.mode, Mode::Acquire | Mode::AcquireShared)
        };
        // Who takes a lock and gives it back in one step did not hold it when the step began.
        !earlier[..index].iter().any(took)
            && later.iter().any(|b| a.object == b.object && a.mode.blocks(b.mode))
    })
}

/// Whether a thread that takes `later` may have to wait while what `earlier` took is held.
pub fn cannot_pass(earlier: &[Access], later: &[Access]) -> bool {
    earlier.iter().any(|a| {
        later.iter().any(|b| {
            a.object == b.object
                && match b.mode {
                    Mode::Acquire => !matches!(a.mode, Mode::Read | Mode::Update),
                    Mode::AcquireShared => matches!(a.mode, Mode::Acquire | Mode::Write | Mode::Hold),
                    _ => false,
                }
        })
    })
}

/// Whether the two conflict in nothing but locks that `later` waits for. Whether it could have had
/// them before `earlier` depends on who held them then, so what came before that is to be looked at
/// as well.
pub fn conflict_only_by_waiting(earlier: &[Access], later: &[Access]) -> bool {
    let waited_for = |object: Object| {
        later.iter().any(|b| b.object == object && matches!(b.mode, Mode::Acquire | Mode::AcquireShared))
    };
    earlier
        .iter()
        .filter(|a| later.iter().any(|b| a.object == b.object && a.mode.conflicts(b.mode)))
        .all(|a| waited_for(a.object))
}

#[cfg(test)]
mod tests;
