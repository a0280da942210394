//! Wake-up trees (Abdulla, Aronis, Jonsson & Sagonas, POPL 2014): the sequences that are still to
//! be run from one point of the search, and that no other one there stands for.
//!
//! Two things are not known when a sequence is planned, both of its last step, which was seen in
//! another order only: what it will touch, and whether its thread will have to wait. A branch that
//! may fail therefore keeps what it stands for, and one that is there because of what some step
//! might touch stands for nothing but itself.

use std::sync::Arc;

use smallvec::SmallVec;

use super::super::access::{Access, Footprint, Mode, ObjectKind, Potential, conflict, may_conflict};
use super::super::system::{Step, ThreadId, Threads};
use super::trace::mask_of;

/// One step of a sequence, with what it is known to touch.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub thread: ThreadId,
    pub footprint: Footprint,
    /// Whether it touches that and nothing else. What was seen in another order only may not.
    certain: bool,
    /// If not, what it may touch then, as far as that is known.
    potential: SmallVec<[Potential; 4]>,
    mask: u64,
    follows: Threads,
}

impl Planned {
    /// A step of which nobody asks what it touches before it was taken.
    pub fn next_of(thread: ThreadId) -> Self {
        Self {
            thread,
            footprint: Footprint::new(),
            certain: true,
            potential: SmallVec::new(),
            mask: 0,
            follows: Threads::new(),
        }
    }

    /// Notes what the step did touch, now that it was taken.
    pub fn seen(&mut self, Step { footprint, follows, .. }: &Step) {
        self.footprint.clone_from(footprint);
        self.follows.clone_from(follows);
        self.potential.clear();
        self.certain = true;
        self.mask = mask_of(footprint);
    }

    pub fn view(&self) -> View<'_> {
        View {
            thread: self.thread,
            footprint: &self.footprint,
            certain: self.certain,
            potential: &self.potential,
            mask: self.mask,
            follows: &self.follows,
        }
    }
}

/// A step that somebody else has.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub thread: ThreadId,
    pub footprint: &'a [Access],
    pub certain: bool,
    pub potential: &'a [Potential],
    /// Steps whose masks share no bit touch nothing in common.
    pub mask: u64,
    /// See [`Step::follows`].
    pub follows: &'a [ThreadId],
}

/// A sequence that is to be run.
pub(super) type Sequence<'a> = SmallVec<[View<'a>; 32]>;

impl View<'_> {
    /// Whether the two might conflict. In doubt they do: that costs an execution, and loses none.
    pub fn may_conflict(&self, other: &View<'_>) -> bool {
        self.mask & other.mask != 0 && conflict(self.footprint, other.footprint)
            || !self.potential.is_empty() && may_conflict(self.potential, other.footprint)
            || !other.potential.is_empty() && may_conflict(other.potential, self.footprint)
            || self.potential.iter().any(|one| other.potential.iter().any(|other| clash(*one, *other)))
            || self.follows.contains(&other.thread)
            || other.follows.contains(&self.thread)
    }

    /// Whether the thread may have to wait before it can take the step.
    pub fn may_wait(&self) -> bool {
        may_wait(self.footprint, self.potential) || !self.follows.is_empty()
    }

    fn own(&self) -> Planned {
        Planned {
            thread: self.thread,
            footprint: Footprint::from_slice(self.footprint),
            certain: self.certain,
            potential: SmallVec::from_slice(self.potential),
            mask: self.mask,
            follows: Threads::from_slice(self.follows),
        }
    }
}

/// Whether a thread may have to wait before it can take a step.
pub(super) fn may_wait(footprint: &[Access], potential: &[Potential]) -> bool {
    let waits = |mode| matches!(mode, Mode::Acquire | Mode::AcquireShared);
    footprint.iter().any(|access| waits(access.mode))
        || potential.iter().any(|potential| match *potential {
            Potential::Certain(access) => waits(access.mode),
            Potential::Any(_, mode) => waits(mode),
        })
}

/// Whether the state decides if a thread has to wait for a lock before it can take a step. To be born, woken or
/// resumed is nothing that depends on it.
pub(super) fn may_wait_for_locks(footprint: &[Access], potential: &[Potential]) -> bool {
    let by_state = |access: &&Access| !matches!(access.object.kind, ObjectKind::Birth | ObjectKind::Channel);
    let locks: Footprint = footprint.iter().filter(by_state).copied().collect();
    may_wait(&locks, potential)
}

fn clash(one: Potential, other: Potential) -> bool {
    match (one, other) {
        (Potential::Certain(one), Potential::Certain(other)) => {
            one.object == other.object && one.mode.conflicts(other.mode)
        }
        (Potential::Any(kind, mode), Potential::Certain(access))
        | (Potential::Certain(access), Potential::Any(kind, mode)) => {
            kind == access.object.kind && mode.conflicts(access.mode)
        }
        (Potential::Any(one, mode), Potential::Any(other, with)) => one == other && mode.conflicts(with),
    }
}

/// A step, and the sequences that go on after it, in the order in which they are to be run.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub step: Planned,
    pub rest: Vec<Branch>,
    /// Sequences that were not added because of this branch: what is to be run instead should its
    /// thread have to wait.
    pub instead: Vec<Rest>,
    /// Whether what the step or one that is to be run before touches was uncertain: then somebody
    /// may still sleep when it is taken.
    doubtful: bool,
}

impl Branch {
    pub fn leaf(step: Planned) -> Self {
        Self { step, rest: Vec::new(), instead: Vec::new(), doubtful: false }
    }

    fn chain(sequence: &[View<'_>], doubtful: bool) -> Vec<Self> {
        let mut rest = Vec::new();
        for step in sequence.iter().rev() {
            rest = vec![Self { rest, doubtful: doubtful || !step.certain, ..Self::leaf(step.own()) }];
        }
        rest
    }
}

/// What is left of a sequence. There are as many of one as it has steps, so they share these.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    whole: Arc<[Planned]>,
    /// A bit for each step that is not left.
    taken: SmallVec<[u64; 4]>,
}

impl Rest {
    fn of(sequence: &[View<'_>]) -> Self {
        Self { whole: sequence.iter().map(View::own).collect(), taken: SmallVec::new() }
    }

    fn take(&mut self, at: usize) {
        let (word, bit) = (at / 64, at % 64);
        if self.taken.len() <= word {
            self.taken.resize(word + 1, 0);
        }
        self.taken[word] |= 1 << bit;
    }

    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        let is_left = |at: &usize| self.taken.get(at / 64).is_none_or(|marks| marks >> (at % 64) & 1 == 0);
        (0..self.whole.len()).filter(is_left).map(|at| self.whole[at].view())
    }
}

/// Whether a thread could begin a sequence that is equivalent to `sequence`, or to one that goes on
/// from it, if its next step is `candidate` (a weak initial).
pub(super) fn is_weak_initial(candidate: &View<'_>, sequence: &[View<'_>]) -> bool {
    let at = sequence.iter().position(|step| step.thread == candidate.thread);
    let before = &sequence[..at.unwrap_or(sequence.len())];
    // Were it not the same step in both places, something in between would conflict with it.
    let step = match at {
        Some(at) if !candidate.certain => &sequence[at],
        _ => candidate,
    };
    before.iter().all(|other| !other.may_conflict(step))
}

/// Adds a sequence, unless one that is there stands for it.
///
/// A leaf stands for whatever goes on from it, since no thread sleeps any more when it is reached:
/// that is what it was put there for. Where a step may yet turn out to touch less than was feared,
/// somebody may still sleep, and the rest of the sequence is added below.
pub(super) fn insert(tree: &mut Vec<Branch>, mut sequence: &mut [View<'_>]) {
    let mut level = tree;
    let mut doubtful = false;
    // What was left when the first branch was come to that may have to wait, and the places in it of what still is.
    let mut kept: Option<(Rest, SmallVec<[usize; 32]>)> = None;
    loop {
        let first = level.iter().position(|branch| is_weak_initial(&branch.step.view(), sequence));
        let before = &level[..first.unwrap_or(level.len())];
        doubtful |= before.iter().any(|branch| !branch.step.certain);
        let Some(index) = first else {
            level.extend(Branch::chain(sequence, doubtful));
            return;
        };
        let branch = &mut level[index];
        if branch.step.view().may_wait() {
            let all = || (Rest::of(sequence), (0..sequence.len()).collect());
            branch.instead.push(kept.get_or_insert_with(all).0.clone());
        }
        doubtful |= branch.doubtful;
        let thread = branch.step.thread;
        if let Some(at) = sequence.iter().position(|step| step.thread == thread) {
            // Mostly it is the first one, and hundreds follow.
            sequence[..=at].rotate_right(1);
            sequence = &mut sequence[1..];
            if let Some((rest, places)) = &mut kept {
                rest.take(places.remove(at));
            }
        }
        if sequence.is_empty() || branch.rest.is_empty() && !doubtful {
            return;
        }
        level = &mut branch.rest;
    }
}
