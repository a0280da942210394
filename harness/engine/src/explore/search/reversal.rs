//! How a race is reversed: which steps come before the one that is to come first.
//!
//! In the textbook these are all steps after the race's first one that did not happen after it; the
//! others cannot be had without it. That is not enough where the step that is moved forward is not
//! the same in front:
//!
//! - It may touch something else, and so come before or after a step of which it was independent.
//!   If that step were always put in front, and its thread slept there, the other order would be
//!   lost.
//! - It may have been waiting for a lock that the race's first step took. While it waited, others
//!   may have had the lock, who might as well come later; and who did not give it back without the
//!   first step is not to have it at all.
//!
//! So each selection of such steps that keeps their own order is planned.

use smallvec::SmallVec;

use super::super::access::{Mode, Potential};
use super::trace::Trace;
use super::wakeup::{Sequence, View};

/// Selections that are planned at most. Where there are more, only those are that leave out
/// everything from some step on.
const SELECTIONS_MAX: usize = 64;

type Indices = SmallVec<[usize; 64]>;

/// Plans what reverses the race between the step at `earlier` and `last`, which is the step at
/// `later`, or one that a thread waits for ever to take.
pub(super) fn reverse<'a>(
    trace: &'a Trace,
    earlier: usize,
    last: &View<'a>,
    later: Option<usize>,
    mut plan: impl FnMut(&mut Sequence<'a>),
) {
    let free: Indices =
        (earlier + 1..trace.len()).filter(|&index| !trace.happens_before(earlier, index)).collect();
    let waited = takes_what_is_waited_for(&view(trace, earlier), last);
    let mut put = |left_out: &[usize]| {
        let steps = free.iter().filter(|index| !left_out.contains(index));
        let mut sequence: Sequence<'a> = steps.map(|&index| view(trace, index)).collect();
        sequence.push(*last);
        plan(&mut sequence);
    };
    if last.certain() && !waited {
        return put(&[]);
    }
    let own = later.map_or_else(|| trace.last_of(last.thread), |later| trace.previous_of(later));
    let needed = |index: usize| own.is_some_and(|own| trace.happens_before(index, own));
    let ordered = |index: usize| later.is_some_and(|later| trace.happens_before(index, later));
    let mut optional = Indices::new();
    for &index in &free {
        if !needed(index)
            && ((waited || !ordered(index)) && view(trace, index).may_conflict(last)
                || optional.iter().any(|&other| trace.happens_before(other, index)))
        {
            optional.push(index);
        }
    }
    let mut selections = Vec::new();
    select(trace, &optional, &mut Indices::new(), &mut selections);
    if selections.len() < SELECTIONS_MAX {
        selections.iter().for_each(|left_out| put(left_out));
    } else {
        (0..=optional.len()).for_each(|kept| put(&optional[kept..]));
    }
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

fn view(trace: &Trace, index: usize) -> View<'_> {
    let event = &trace.events()[index];
    View { thread: event.step.thread, footprint: &event.step.footprint, potential: &[], mask: event.mask() }
}

/// Whether a step takes something, and keeps it, that another one may have to wait for.
fn takes_what_is_waited_for(earlier: &View<'_>, last: &View<'_>) -> bool {
    let waits = |mode| matches!(mode, Mode::Acquire | Mode::AcquireShared);
    earlier.footprint.iter().enumerate().any(|(index, access)| {
        let given_back = |other: &&super::super::access::Access| {
            other.object == access.object && matches!(other.mode, Mode::Release | Mode::ReleaseShared)
        };
        matches!(access.mode, Mode::Acquire | Mode::AcquireShared | Mode::Write)
            && !earlier.footprint[index..].iter().any(|other| given_back(&other))
            && (last.footprint.iter().any(|other| other.object == access.object && waits(other.mode))
                || last.potential.iter().any(|potential| match *potential {
                    Potential::Certain(other) => other.object == access.object && waits(other.mode),
                    Potential::Any(kind, mode) => kind == access.object.kind && waits(mode),
                }))
    })
}
