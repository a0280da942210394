//! How a race is reversed: which steps come before the one that is to come first.
//!
//! In the textbook these are all steps after the race's first one that did not happen after it; the
//! others cannot be had without it. That goes as well where the step that is moved forward touches
//! something else in front: should it conflict there with one of those steps, the two race in the
//! execution that is planned here, and are reversed in their turn.
//!
//! Where it waited for a lock that the race's first step took, others may have had the lock in the
//! meantime. They might as well come later, and who does not give the lock back without what
//! follows from the first step has to. Nor is it enough to have them all come later: a thread that
//! sleeps may begin what they begin, and yet not what comes of it. So each selection of them is
//! planned that leaves out, with a step, what happens after it.
//!
//! And somebody may have risen in the meantime because the thread of that step could not go on, which was killed, say: he
//! is planned for once more without that.

use smallvec::SmallVec;

use super::super::access::{Access, Potential, cannot_pass};
use super::trace::Trace;
use super::wakeup::{Sequence, View};

/// Selections that are planned at most. Where there are more, only those are that leave out all who
/// take the lock from some step on.
const SELECTIONS_MAX: usize = 64;

type Indices = SmallVec<[usize; 32]>;

/// Plans what reverses the race between the step at `earlier` and `last`, which is the step at
/// `later`, or one that a thread waits for ever to take.
pub(super) fn reverse<'a>(
    trace: &'a Trace,
    earlier: usize,
    last: &View<'a>,
    later: Option<usize>,
    mut plan: impl FnMut(&mut Sequence<'a>),
) {
    let free = (earlier + 1..trace.len()).filter(|&index| !trace.happens_before(earlier, index));
    let mut put = |left_out: &[usize]| {
        let steps = free.clone().filter(|index| !left_out.contains(index));
        let mut sequence: Sequence<'a> = steps.map(|index| trace.view(index)).collect();
        sequence.push(*last);
        plan(&mut sequence);
    };
    let risen = risen_after(trace, free.clone(), last);
    if !risen.is_empty() {
        put(&risen);
    }
    let optional =
        if last.may_wait() { in_the_way(trace, free.clone(), last, later) } else { Indices::new() };
    if optional.is_empty() {
        return put(&[]);
    }
    let mut selections = Vec::new();
    select(trace, &optional, &mut Indices::new(), &mut selections);
    if selections.len() < SELECTIONS_MAX {
        selections.iter().for_each(|left_out| put(left_out));
    } else {
        (0..=optional.len()).for_each(|kept| put(&optional[kept..]));
    }
}

/// The steps that could be taken only because the thread of `last` could not go on, and those that happen after them. If it
/// can where the race's first step is not there, nobody rises.
fn risen_after(trace: &Trace, free: impl Iterator<Item = usize>, last: &View<'_>) -> Indices {
    let mut risen = Indices::new();
    for index in free {
        let rises = trace.view(index).follows.contains(&last.thread);
        if rises || risen.iter().any(|&other| trace.happens_before(other, index)) {
            risen.push(index);
        }
    }
    risen
}

/// The steps that take a lock for which `last` has to wait while they have it, and those that happen
/// after them, as far as the thread of `last` can do without.
fn in_the_way(
    trace: &Trace,
    free: impl Iterator<Item = usize>,
    last: &View<'_>,
    later: Option<usize>,
) -> Indices {
    let own = later.map_or_else(|| trace.last_of(last.thread), |later| trace.previous_of(later));
    let mut optional = Indices::new();
    for index in free {
        let takes = may_make_wait(trace.view(index).footprint, last)
            && own.is_none_or(|own| !trace.happens_before(index, own));
        if takes || optional.iter().any(|&other| trace.happens_before(other, index)) {
            optional.push(index);
        }
    }
    optional
}

/// Whether `last` may have to wait while what `earlier` took is held, in whatever state.
fn may_make_wait(earlier: &[Access], last: &View<'_>) -> bool {
    cannot_pass(earlier, last.footprint)
        || last.potential.iter().any(|potential| match *potential {
            Potential::Certain(access) => cannot_pass(earlier, &[access]),
            Potential::Any(kind, mode) => earlier
                .iter()
                .filter(|taken| taken.object.kind == kind)
                .any(|taken| cannot_pass(&[*taken], &[Access { mode, ..*taken }])),
        })
}

/// Finds every set of optional steps that can be left out: with a step, those that happen after it.
fn select(trace: &Trace, optional: &[usize], left_out: &mut Indices, into: &mut Vec<Indices>) {
    if into.len() >= SELECTIONS_MAX {
        return;
    }
    let Some((&first, rest)) = optional.split_first() else {
        into.push(left_out.clone());
        return;
    };
    left_out.push(first);
    select(trace, rest, left_out, into);
    left_out.pop();
    if !left_out.iter().any(|&out| trace.happens_before(out, first)) {
        select(trace, rest, left_out, into);
    }
}
