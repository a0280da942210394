//! The search for interleavings: one algorithm a file, all of them against
//! [`System`](super::system::System), none of them with any idea of processes.
//!
//! Every execution is begun anew and the steps that led to a choice are taken again. A replayed step
//! that is not what it was is a [`Divergence`]: something is not under control.

pub mod brute;
pub mod dpor;
pub mod pct;
pub mod preemption;
mod reversal;
pub mod schedule;
mod territory;
pub mod trace;
mod wakeup;

use std::time::Instant;

use super::system::ThreadId;
pub use trace::Trace;

/// Whether the search is to go on after an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continue {
    /// It is.
    Yes,
    /// It is not: what was looked for is found.
    Stop,
}

/// How far a search may go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Executions at most.
    pub executions: u64,
    /// Not longer than until then.
    pub deadline: Option<Instant>,
}

impl Limits {
    /// None.
    pub const NONE: Self = Self { executions: u64::MAX, deadline: None };

    fn reached(&self, executions: u64) -> Option<End> {
        if executions >= self.executions {
            return Some(End::Executions(self.executions));
        }
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline).then_some(End::Time)
    }
}

/// Why a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// There is nothing more.
    Exhausted,
    /// This limit on executions was reached.
    Executions(u64),
    /// The time was over.
    Time,
    /// The observer had seen enough.
    Stopped,
    /// A replayed step was not what it had been.
    Diverged(Divergence),
}

/// A replayed step that was not what it had been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// After how many steps.
    pub after: usize,
    /// Who took it, or was to take it.
    pub thread: ThreadId,
    /// Whether the thread was not even enabled.
    pub disabled: bool,
}

/// What a search brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Searched {
    /// Complete executions.
    pub executions: u64,
    /// Executions that were broken off because others stand for them.
    pub redundant: u64,
    /// Sequences that could not be run to their end.
    pub infeasible: u64,
    /// Why it ended.
    pub end: End,
}

/// Who goes first where nothing else is wanted: who ran last goes on, which costs no preemption.
fn default_choice(enabled: &[ThreadId], last: Option<ThreadId>) -> Option<ThreadId> {
    last.filter(|last| !last.is_reluctant() && enabled.contains(last)).or_else(|| enabled.first().copied())
}

#[cfg(test)]
mod tests;
