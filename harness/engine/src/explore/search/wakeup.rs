//! Wake-up trees (Abdulla, Aronis, Jonsson & Sagonas, POPL 2014): the sequences that are still to
//! be run from one point of the search, and that no other one there stands for.

use smallvec::SmallVec;

use super::super::access::{Footprint, Potential, conflict, may_conflict};
use super::super::system::ThreadId;

/// One step of a sequence, with what it is known to touch.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub thread: ThreadId,
    pub footprint: Footprint,
    /// Set for a step that was seen in another order only: it may touch something else then.
    pub potential: Option<SmallVec<[Potential; 4]>>,
}

impl Planned {
    /// Whether the two might conflict. In doubt they do: that costs an execution, and loses none.
    pub fn may_conflict(&self, other: &Self) -> bool {
        conflict(&self.footprint, &other.footprint)
            || self.potential.as_ref().is_some_and(|potential| may_conflict(potential, &other.footprint))
            || other.potential.as_ref().is_some_and(|potential| may_conflict(potential, &self.footprint))
    }
}

/// A step, and the sequences that go on after it, in the order in which they are to be run.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub step: Planned,
    pub rest: Vec<Branch>,
}

impl Branch {
    pub fn leaf(step: Planned) -> Self {
        Self { step, rest: Vec::new() }
    }

    fn chain(steps: impl DoubleEndedIterator<Item = Planned>) -> Vec<Self> {
        let mut rest = Vec::new();
        for step in steps.rev() {
            rest = vec![Self { step, rest }];
        }
        rest
    }
}

/// Whether a thread whose next step is `candidate` could begin a sequence that is equivalent to `sequence`
/// or to one that goes on from it (a weak initial).
pub(super) fn is_weak_initial(candidate: &Planned, sequence: &[Planned]) -> bool {
    match sequence.iter().position(|step| step.thread == candidate.thread) {
        Some(at) => sequence[..at].iter().all(|step| !step.may_conflict(&sequence[at])),
        None => sequence.iter().all(|step| !step.may_conflict(candidate)),
    }
}

/// Adds a sequence, unless one that is there stands for it.
///
/// A leaf stands for whatever goes on from it, since no thread sleeps any more when it is reached:
/// that is what it was put there for. Where a step on the way to it may yet turn out to touch less
/// than was feared, somebody may still sleep, and the rest of the sequence is added below.
pub(super) fn insert(tree: &mut Vec<Branch>, mut sequence: Vec<Planned>) {
    let mut level = tree;
    let mut certain = true;
    loop {
        let mut next = None;
        for (index, branch) in level.iter().enumerate() {
            match sequence.iter().position(|step| step.thread == branch.step.thread) {
                Some(at) => {
                    if sequence[..at].iter().all(|step| !step.may_conflict(&sequence[at])) {
                        sequence.remove(at);
                        next = Some(index);
                        break;
                    }
                }
                None => {
                    if sequence.iter().all(|step| !step.may_conflict(&branch.step)) {
                        next = Some(index);
                        break;
                    }
                }
            }
        }
        match next {
            None => {
                level.extend(Branch::chain(sequence.into_iter()));
                return;
            }
            Some(index) => {
                certain &= level[index].step.potential.is_none();
                if sequence.is_empty() || certain && level[index].rest.is_empty() {
                    return;
                }
                level = &mut level[index].rest;
            }
        }
    }
}
