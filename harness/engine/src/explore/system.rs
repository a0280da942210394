//! What the search sees of the thing that it searches: threads that take one step at a time.
//!
//! The search knows nothing of processes, and the processes nothing of the search. In tests a
//! system is a toy in memory.

use smallvec::SmallVec;

use super::access::{Access, Footprint, Mode, Object, Potential};

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
    /// Who has woken it already. It has not gone on yet.
    pub woken_by: Threads,
    /// Whose steps cannot change places with its own until it lies down: what they change does not count before.
    pub kin: Threads,
}

impl Sleeper {
    /// What a step of a thread touches besides, if it wakes this one. The first who does makes the waking up possible;
    /// it is ordered with those that come after.
    pub fn woken(&self, by: ThreadId, footprint: &[Access]) -> Option<Access> {
        // What may change places with its own look is none of its business.
        let saw = |access: &Access| {
            let is_it = |seen: &Access| seen.object == access.object && seen.mode.conflicts(access.mode);
            access.mode.changes() && self.seen.iter().any(is_it)
        };
        let is_new = by != self.thread && !self.woken_by.contains(&by) && !self.kin.contains(&by);
        let mode = if self.woken_by.is_empty() { Mode::Release } else { Mode::Read };
        (is_new && footprint.iter().any(saw)).then_some(Access { object: self.nap, mode })
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
