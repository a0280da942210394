//! What the search sees of the thing that it searches: threads that take one step at a time.
//!
//! The search knows nothing of processes, and the processes nothing of the search. In tests a
//! system is a toy in memory.

use smallvec::SmallVec;

use super::access::{Access, Footprint, Mode, Object, Potential, conflict};

/// A thread, numbered so that it has the same number in every execution in which it exists. Numbers
/// are small and may have gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId(pub u16);

impl ThreadId {
    /// Threads with this bit go on only when nobody else can, unless a search wants it otherwise.
    /// They come after all others.
    pub const RELUCTANT: u16 = 1 << 15;

    /// Whether the thread is one of those.
    pub const fn is_reluctant(self) -> bool {
        self.0 & Self::RELUCTANT != 0
    }
}

/// One step that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who.
    pub thread: ThreadId,
    /// What it touched.
    pub footprint: Footprint,
    /// What it could have touched in some other state; empty when that is the footprint. Together
    /// with the footprint a superset over all states.
    pub potential: SmallVec<[Potential; 4]>,
    /// A digest of what was done and what came of it. The same step after the same prefix has the
    /// same one, or the system is not under control.
    pub signature: u64,
    /// The thread gave way of itself (it slept, or polled): to let another one go on costs no
    /// preemption.
    pub yields: bool,
    /// Threads whose steps so far all had to come before this one, whatever they touched: it could be taken
    /// only because they could not go on.
    pub follows: Threads,
}

/// Some threads.
pub type Threads = SmallVec<[ThreadId; 4]>;

/// A thread that waits, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who.
    pub thread: ThreadId,
    /// What its next step would touch, as far as it has to do with the wait.
    pub footprint: Footprint,
    /// What it could touch in some other state, in which it might not wait.
    pub potential: SmallVec<[Potential; 4]>,
    /// It need not have waited before the last step, perhaps, and goes on when nobody else can.
    pub was_free: bool,
}

/// What somebody looks at who naps until it changes. As long as it counts, and after it has, changes of it are ordered
/// with the end of the nap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looks {
    /// What those who change it touch, and whoever they wake.
    pub nap: Object,
    /// What was looked at.
    pub seen: Vec<Access>,
    /// Who has changed something of that.
    pub wakers: Wakers,
}

impl Looks {
    /// At nothing yet.
    pub fn new(nap: Object) -> Self {
        Self { nap, seen: Vec::new(), wakers: Wakers::default() }
    }

    /// Adds what was touched.
    pub fn see(&mut self, access: Access) {
        if !self.seen.contains(&access) {
            self.seen.push(access);
        }
    }

    /// Whether a step of somebody else changes something of it.
    pub fn are_disturbed(&self, footprint: &[Access]) -> bool {
        // What may change places with the look is none of its business.
        footprint.iter().filter(|access| access.mode.changes()).any(|access| {
            self.seen.iter().any(|seen| seen.object == access.object && seen.mode.conflicts(access.mode))
        })
    }

    /// What such a step touches besides, if it might be the first of its kind: in another execution of the class, or
    /// of one in which the nap is over later.
    pub fn woken(&self, by: ThreadId, footprint: &[Access]) -> Option<Access> {
        let wakes = self.are_disturbed(footprint) && self.wakers.may_precede_all(by, footprint);
        wakes.then_some(Access { object: self.nap, mode: Mode::Update })
    }
}

/// What somebody touches who goes on because somebody has changed what was looked at. That could be without any one of
/// them if there are others that might have been the first.
pub fn wakes_up<'a>(looks: impl Iterator<Item = &'a Looks> + Clone) -> impl Iterator<Item = Access> {
    let alone = only_waker(looks.clone()).is_some();
    looks.map(move |looks| {
        let needs = alone && !looks.wakers.first.is_empty();
        Access { object: looks.nap, mode: if needs { Mode::Acquire } else { Mode::AcquireShared } }
    })
}

/// The step by which somebody has changed something of what was looked at, if only one might have been the first; and
/// whether its client might have been suspended instead.
pub fn only_waker<'a>(mut looks: impl Iterator<Item = &'a Looks> + Clone) -> Option<(ThreadId, bool)> {
    let mut first = looks.clone().flat_map(|looks| &looks.wakers.first);
    let one = first.next()?;
    let suspendable = looks.any(|looks| looks.wakers.first_might_be_suspended);
    first.all(|other| other == one).then_some((one.0, suspendable))
}

/// A thread that sleeps until something changes that was looked at, or will, or has: then it could still do so later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sleeper {
    /// Who.
    pub thread: ThreadId,
    /// What was looked at.
    pub looks: Looks,
    /// Of its own client, those whose steps do not count for it: before it lies down those of its process, which cannot
    /// change places with its own, and those of other processes of a program.
    pub kin: Threads,
}

impl Sleeper {
    /// Whether a thread may disturb it.
    pub fn minds(&self, by: ThreadId) -> bool {
        by != self.thread && !self.kin.contains(&by)
    }

    /// What a step touches besides, if it wakes this one, or could have.
    pub fn woken(&self, by: ThreadId, footprint: &[Access]) -> Option<Access> {
        self.looks.woken(by, footprint).filter(|_| self.minds(by))
    }
}

/// Who has changed something that somebody had looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wakers {
    /// All of them.
    by: Threads,
    /// Those steps that need not come after any other, by their numbers.
    first: SmallVec<[(ThreadId, u32); 2]>,
    /// The client of the very first might have been suspended instead.
    first_might_be_suspended: bool,
    /// What they touched.
    touched: Footprint,
}

impl Wakers {
    /// Another one has, by the step of this number; its client might have been suspended instead, perhaps.
    pub fn add(&mut self, by: ThreadId, step: u32, footprint: &[Access], might_be_suspended: bool) {
        if self.first.is_empty() {
            self.first_might_be_suspended = might_be_suspended;
        }
        if self.may_precede_all(by, footprint) {
            self.first.push((by, step));
        }
        add_new(&mut self.by, &[by]);
        add_new(&mut self.touched, footprint);
    }

    /// Whether a step could change places with all of theirs: whether it is so is the same for each execution of a
    /// class.
    fn may_precede_all(&self, by: ThreadId, footprint: &[Access]) -> bool {
        !self.by.contains(&by) && !conflict(&self.touched, footprint)
    }

    /// Whether nobody has.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

fn add_new<A: smallvec::Array<Item: Copy + PartialEq>>(to: &mut SmallVec<A>, from: &[A::Item]) {
    for one in from {
        if !to.contains(one) {
            to.push(*one);
        }
    }
}

/// Something whose interleavings can be searched.
pub trait System {
    /// What can go wrong. Ends the search.
    type Error;

    /// Ends the execution under way, wherever it is, and begins another one from the initial state.
    ///
    /// # Errors
    /// When that is not possible.
    fn begin(&mut self) -> Result<(), Self::Error>;

    /// The threads that can take a step now, in ascending order. None: the execution is complete.
    fn enabled(&mut self, into: &mut Vec<ThreadId>) -> Result<(), Self::Error>;

    /// Has a thread that is enabled take its next step.
    ///
    /// # Errors
    /// When the system cannot go on.
    fn step(&mut self, thread: ThreadId) -> Result<Step, Self::Error>;

    /// The threads that wait for what somebody else has; when the execution is complete, for ever.
    fn waiting(&self) -> Vec<Waiting>;

    /// The threads that are asleep, will be or were, and could be woken by then. What a step touches, and what comes of it,
    /// depends on what happened before it, on these and on who is suspended, unless it yields or comes after others.
    fn sleepers(&self) -> Vec<Sleeper>;

    /// Who is suspended now, if anybody can be: what a step touches may depend on that, too.
    fn suspended(&self) -> Threads;
}
