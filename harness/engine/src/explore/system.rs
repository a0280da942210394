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
}

/// A thread that is asleep, or will be, and is woken by a change of what it has looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sleeper {
    /// Who.
    pub thread: ThreadId,
    /// By which whoever wakes it comes before its waking up.
    pub nap: Object,
    /// What it has looked at.
    pub seen: Vec<Access>,
    /// Who has changed something of that.
    pub wakers: Wakers,
    /// Whose steps cannot change places with its own until it lies down: what they change does not count before.
    pub kin: Threads,
}

impl Sleeper {
    /// Whether a step of a thread changes something that this one has looked at.
    pub fn is_disturbed(&self, by: ThreadId, footprint: &[Access]) -> bool {
        // What may change places with its own look is none of its business.
        let saw = |access: &Access| {
            let is_it = |seen: &Access| seen.object == access.object && seen.mode.conflicts(access.mode);
            access.mode.changes() && self.seen.iter().any(is_it)
        };
        by != self.thread && !self.kin.contains(&by) && footprint.iter().any(saw)
    }

    /// What such a step touches besides, if it might be the first of its kind: in another execution of the class, or
    /// of one in which this one, which has gone on by now, does so later.
    pub fn woken(&self, by: ThreadId, footprint: &[Access]) -> Option<Access> {
        let wakes = self.is_disturbed(by, footprint) && self.wakers.may_precede_all(by, footprint);
        wakes.then_some(Access { object: self.nap, mode: Mode::Update })
    }

    /// What it touches to go on because of them. It could do so without any one of them if there are others that
    /// might have been the first.
    pub fn wakes_up(&self) -> Access {
        let alone = self.wakers.first.len() == 1;
        Access { object: self.nap, mode: if alone { Mode::Acquire } else { Mode::AcquireShared } }
    }
}

/// Who has changed something that somebody had looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wakers {
    /// All of them.
    by: Threads,
    /// Those that need not come after any other.
    first: Threads,
    /// What they touched.
    touched: Footprint,
}

impl Wakers {
    /// Another one has.
    pub fn add(&mut self, by: ThreadId, footprint: &[Access]) {
        if self.may_precede_all(by, footprint) {
            self.first.push(by);
        }
        add_new(&mut self.by, &[by]);
        add_new(&mut self.touched, footprint);
    }

    /// So have these.
    pub fn join(&mut self, others: &Self) {
        add_new(&mut self.by, &others.by);
        add_new(&mut self.first, &others.first);
        add_new(&mut self.touched, &others.touched);
    }

    /// Whether a step could change places with all of theirs: whether it is so is the same for each execution of a
    /// class.
    fn may_precede_all(&self, by: ThreadId, footprint: &[Access]) -> bool {
        !self.by.contains(&by) && !conflict(&self.touched, footprint)
    }

    /// Those of them that need not come after any other.
    pub fn first(&self) -> &[ThreadId] {
        &self.first
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

    /// The threads that are asleep, or will be, and could be woken by then. What a step touches, and what comes of it,
    /// depends on what happened before it, on these and on who is suspended, unless it yields or comes after others.
    fn sleepers(&self) -> Vec<Sleeper>;

    /// Who is suspended now, if anybody can be: what a step touches may depend on that, too.
    fn suspended(&self) -> Threads;
}
