//! What the search sees of the thing that it searches: threads that take one step at a time.
//!
//! The search knows nothing of processes, and the processes nothing of the search. In tests a
//! system is a toy in memory.

use smallvec::SmallVec;

use super::access::{Footprint, Potential};

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
}
