//! How a race is reversed: which steps come before the one that is to come first.
//!
//! In the textbook these are all steps after the race's first one that did not happen after it; the
//! others cannot be had without it. That goes as well where the step that is moved forward touches
//! something else in front: should it conflict there with one of those steps, the two race in the
//! execution that is planned here, and are reversed in their turn.
//!
//! Where it waited for a lock that the race's first step took, others may have had the lock in the
//! meantime, and may not have given it back without what follows from the first step: then it would
//! have to wait for them, and the sequence could not be run. So who takes such a lock is left out,
//! with what follows from that; whoever might have had it before comes after it then, which is a
//! race, and is reversed in its turn.

use smallvec::SmallVec;

use super::super::access::cannot_pass;
use super::trace::Trace;
use super::wakeup::{Sequence, View};
const VARIANT: u32 = 2;

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
    let mut sequence = Sequence::new();
    if !last.may_wait() {
        sequence.extend(free.map(|index| trace.view(index)));
    } else {
        let own = later.map_or_else(|| trace.last_of(last.thread), |later| trace.previous_of(later));
        let mut left_out: SmallVec<[usize; 16]> = SmallVec::new();
        let mut all = Sequence::new();
        for index in free {
            let step = trace.view(index);
            if VARIANT == 1 {
                all.push(step);
            }
            let in_the_way = cannot_pass(step.footprint, last.footprint)
                && own.is_none_or(|own| !trace.happens_before(index, own));
            if in_the_way || left_out.iter().any(|&out| trace.happens_before(out, index)) {
                left_out.push(index);
            } else {
                sequence.push(step);
            }
        }
        if VARIANT == 1 && !left_out.is_empty() {
            sequence.push(*last);
            plan(&mut sequence);
            all.push(*last);
            plan(&mut all);
            return;
        }
    }
    sequence.push(*last);
    plan(&mut sequence);
}
