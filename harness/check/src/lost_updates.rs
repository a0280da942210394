//! `no-lost-updates` for sets and logs: every acknowledged update is in every read that was invoked
//! after its acknowledgement. Initial elements count as acknowledged from the beginning.
//!
//! `lost-update` counts elements that are missing from such a read, each once, however many reads
//! lack it. `wiped-state` counts reads from which most of the state went at once: more than half,
//! and at least two, of the elements that a read-modify-write race cannot explain away. Those are
//! elements that were initial, or seen by an earlier read, or acknowledged before the latest
//! surviving update was even invoked. A writer that overwrites an update made beside it loses that
//! one and is no wipe; one that takes an unreadable file for an empty state is. Elements that went
//! in a wipe are not counted as lost updates again.
//!
//! A register has no such guarantee: an acknowledged write may be overwritten at once, and one that
//! was lost is a stale read.

use tearproof_core::history::Span;
use tearproof_core::{AnomalyKind, Finding, Witness};

use crate::elements::{ElementId, Elements, Resolved, list_of};
use crate::operations::{NEVER, Operations, returned, start};
use crate::witness::{Moment, Tally};

/// Checks a set or a log. Lists that are breaches of `atomic-reads` count by what is in them.
pub fn check(operations: &Operations<'_>, elements: &Elements) -> Finding {
    let acknowledgements = elements.acknowledgements();
    let mut present = vec![0u32; elements.all.len()];
    let mut seen = vec![false; elements.all.len()];
    // The acknowledged elements that are not known to be lost, in the order of acknowledgement.
    let mut kept: Vec<ElementId> = (0u32..)
        .zip(&elements.all)
        .filter(|(_, element)| element.acknowledged != NEVER)
        .map(|(id, _)| id)
        .collect();
    kept.sort_by_key(|&id| elements.all[id as usize].acknowledged);
    let mut lost = vec![false; elements.all.len()];

    let mut tally = Tally::default();
    let mut resolved = Resolved::default();
    let mut looked = false;
    let mut missing: Vec<ElementId> = Vec::new();
    // In the order of their returns, so that an element which an earlier read saw counts as seen.
    let mut reads: Vec<Span> =
        operations.spans.iter().copied().filter(|&span| operations.seen(span).is_some()).collect();
    reads.sort_by_key(|read| read.end);
    for (round, read) in (1u32..).zip(reads) {
        let Some(list) = operations.seen(read).and_then(|seen| list_of(operations, seen)) else { continue };
        elements.resolve(list, returned(read), &mut resolved);
        let invoked = start(read);
        let owed = acknowledgements.partition_point(|&position| position < invoked);
        looked |= owed.checked_sub(1).is_some_and(|last| acknowledgements[last] > 0);
        let mut found = 0;
        let mut latest = 0;
        for &id in &resolved.elements {
            let element = &elements.all[id as usize];
            present[id as usize] = round;
            found += usize::from(element.acknowledged < invoked);
            latest = latest.max(element.start);
        }
        if found < owed {
            missing.clear();
            // What survives is in the list, and what does not leaves `kept`: each step is paid for.
            let end = kept.partition_point(|&id| elements.all[id as usize].acknowledged < invoked);
            missing.extend(kept[..end].iter().filter(|&&id| present[id as usize] != round));
            if !missing.is_empty() {
                let established = |id: ElementId| {
                    let element = &elements.all[id as usize];
                    resolved.elements.is_empty()
                        || element.acknowledged == 0
                        || element.acknowledged < latest
                        || seen[id as usize]
                };
                let before = kept[..end].iter().filter(|&&id| established(id)).count();
                let gone = missing.iter().filter(|&&id| established(id)).count();
                if gone >= 2 && gone * 2 > before {
                    tally
                        .add(AnomalyKind::WipedState, || wiped(operations, elements, read, &missing, before));
                } else {
                    tally.add_some(AnomalyKind::LostUpdate, missing.len() as u64, || {
                        lost_update(operations, elements, read, missing[0])
                    });
                }
                for &id in &missing {
                    lost[id as usize] = true;
                }
                kept.retain(|&id| !lost[id as usize]);
            }
        }
        for &id in &resolved.elements {
            seen[id as usize] = true;
        }
    }
    let updated = acknowledgements.last().is_some_and(|&position| position > 0);
    if tally.is_empty() && updated && !looked {
        return Finding::Inconclusive(
            "no read was invoked after an acknowledged update, so a loss could not be seen".to_owned(),
        );
    }
    tally.finding()
}

/// The operation that acknowledged the element; `None` when it was there from the beginning.
fn acknowledger(operations: &Operations<'_>, elements: &Elements, id: ElementId) -> Option<Span> {
    let at = elements.all[id as usize].acknowledged;
    operations.spans.iter().copied().find(|&span| span.end != Span::NEVER && returned(span) == at)
}

fn lost_update(
    operations: &Operations<'_>,
    elements: &Elements,
    read: Span,
    id: ElementId,
) -> (Option<u64>, Witness) {
    let name = operations.history.value_name(elements.all[id as usize].value);
    let who = operations.who(read);
    let mut moments = vec![Moment::invoked(read), Moment::returned(read).marked(2)];
    let because = match acknowledger(operations, elements, id) {
        Some(update) => {
            moments.extend([Moment::invoked(update), Moment::returned(update).marked(1)]);
            format!("{} was acknowledged (1) before {who}'s read was invoked", operations.named(update))
        }
        None => {
            moments[0] = Moment::invoked(read).marked(1);
            format!("{name} was there from the beginning, and so when {who}'s read was invoked (1)")
        }
    };
    let explanation = format!(
        "{because}, so it must be in what {who}'s read returned; but it is not (2): the update \
         was lost"
    );
    (Some(operations.millis_at(read.end)), operations.witness(explanation, &moments))
}

fn wiped(
    operations: &Operations<'_>,
    elements: &Elements,
    read: Span,
    missing: &[ElementId],
    before: usize,
) -> (Option<u64>, Witness) {
    let who = operations.who(read);
    let values: Vec<_> = missing.iter().map(|&id| elements.all[id as usize].value).collect();
    let mut moments = vec![Moment::invoked(read), Moment::returned(read).marked(2)];
    let last = missing.iter().max_by_key(|&&id| elements.all[id as usize].acknowledged);
    match last.and_then(|&id| acknowledger(operations, elements, id)) {
        Some(update) => moments.push(Moment::returned(update).marked(1)),
        None => moments[0] = Moment::invoked(read).marked(1),
    }
    let explanation = format!(
        "{who}'s read (2) lacks {} elements that were there or acknowledged (1) before it was \
         invoked, most of the {before} that no race between two updates can overwrite: {} went at once",
        missing.len(),
        operations.listed(&values)
    );
    (Some(operations.millis_at(read.end)), operations.witness(explanation, &moments))
}
