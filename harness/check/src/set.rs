//! `linearizable` for sets that only grow.
//!
//! Reads of such a set, in the order in which they took effect, see more and more: what they
//! returned forms a chain under inclusion. The chain fixes the order of everything: an element
//! comes before the reads that have it and after those that lack it. The history is linearizable
//! when the returned sets form a chain and nothing in it goes against real time, which comes down
//! to three questions about each read: is an element missing that was acknowledged before the read
//! was invoked, or before an element that it does have was even asked for; and had a read that saw
//! more returned before this one was invoked?
//!
//! The cost is the total length of the lists, and a logarithm for each read. Lists that are breaches
//! of `atomic-reads` are left out. A read that contradicts earlier ones is blamed and left out of
//! what later ones are compared with.

use std::collections::BTreeSet;

use tearproof_core::history::Span;
use tearproof_core::{AnomalyKind, Finding, Witness};

use crate::client_table::ClientTable;
use crate::elements::{ElementId, Elements, Resolved, list_of};
use crate::operations::{Operations, Position, returned, start};
use crate::witness::{Moment, Tally};

/// Why a read cannot be where real time puts it.
#[derive(Clone, Copy)]
enum Contradiction {
    /// It lacks an element acknowledged before it was invoked, or before another was asked for.
    Lacks { before: Position },
    /// The two reads lack elements of each other, or the other saw more and had returned before.
    Differs(Span),
    /// It and the accepted read of this size lack elements of each other.
    OffChain(usize),
}

/// A read that was taken into the chain: how many elements, which read, and when it returned.
#[derive(Clone, Copy)]
struct Accepted {
    size: usize,
    read: Span,
}

/// Checks a set.
pub fn check(operations: &Operations<'_>, elements: &Elements) -> Finding {
    let acknowledgements = elements.acknowledgements();
    // The size of the smallest accepted read that has the element.
    let mut rank = vec![usize::MAX; elements.all.len()];
    let mut sizes: BTreeSet<usize> = BTreeSet::new();
    // The accepted reads that saw more than all that returned before them, in order.
    let mut records: Vec<Accepted> = Vec::new();
    let mut accepted: Vec<Accepted> = Vec::new();
    let mut last_of = ClientTable::new(None::<Accepted>);
    let mut resolved = Resolved::default();
    let mut tally = Tally::default();

    let mut reads: Vec<Span> =
        operations.spans.iter().copied().filter(|&span| operations.seen(span).is_some()).collect();
    reads.sort_unstable_by_key(|read| read.end);
    for read in reads {
        let Some(list) = operations.seen(read).and_then(|seen| list_of(operations, seen)) else { continue };
        elements.resolve(list, returned(read), &mut resolved);
        if resolved.defect.is_some() {
            continue;
        }
        let client = operations.invocation(read).client;
        let size = resolved.elements.len();
        let before = resolved
            .elements
            .iter()
            .map(|&id| elements.all[id as usize].start)
            .fold(start(read), Position::max);
        let owed = acknowledgements.partition_point(|&position| position < before);
        let found =
            resolved.elements.iter().filter(|&&id| elements.all[id as usize].acknowledged < before).count();
        let earlier = records.partition_point(|known| known.read.end < read.invoke);
        let largest = earlier.checked_sub(1).map(|index| records[index]);
        let contradiction = if found < owed {
            Some(Contradiction::Lacks { before })
        } else if let Some(larger) = largest.filter(|larger| larger.size > size) {
            Some(Contradiction::Differs(larger.read))
        } else {
            off_chain(&sizes, &rank, &resolved.elements).map(Contradiction::OffChain)
        };
        let Some(contradiction) = contradiction else {
            sizes.insert(size);
            for &id in &resolved.elements {
                let rank = &mut rank[id as usize];
                *rank = size.min(*rank);
            }
            let this = Accepted { size, read };
            accepted.push(this);
            if records.last().is_none_or(|known| size > known.size) {
                records.push(this);
            }
            last_of.set(client, Some(this));
            continue;
        };
        // The elements of an accepted read are those whose rank is at most its size.
        let shrunk = last_of.get(client).is_some_and(|last| {
            resolved.elements.iter().filter(|&&id| rank[id as usize] <= last.size).count() < last.size
        });
        let kind = if shrunk { AnomalyKind::NonMonotonicRead } else { AnomalyKind::StaleRead };
        tally.add(kind, || {
            let contradiction = match last_of.get(client) {
                Some(last) if shrunk => Contradiction::Differs(last.read),
                _ => match contradiction {
                    Contradiction::OffChain(size) => accepted
                        .iter()
                        .find(|known| known.size == size)
                        .map_or(contradiction, |known| Contradiction::Differs(known.read)),
                    known => known,
                },
            };
            let witness = explain(operations, elements, read, &resolved.elements, &contradiction);
            (Some(operations.millis_at(read.end)), witness)
        });
    }
    tally.finding()
}

/// The size of an accepted read that neither contains these elements nor is contained in them.
fn off_chain(sizes: &BTreeSet<usize>, rank: &[usize], elements: &[ElementId]) -> Option<usize> {
    let size = elements.len();
    if let Some(&smaller) = sizes.range(..=size).next_back() {
        let shared = elements.iter().filter(|&&id| rank[id as usize] <= smaller).count();
        if shared < smaller {
            return Some(smaller);
        }
    }
    let &larger = sizes.range(size + 1..).next()?;
    let inside = elements.iter().all(|&id| rank[id as usize] <= larger);
    (!inside).then_some(larger)
}

fn explain(
    operations: &Operations<'_>,
    elements: &Elements,
    read: Span,
    seen: &[ElementId],
    contradiction: &Contradiction,
) -> Witness {
    let name = |id: ElementId| operations.history.value_name(elements.all[id as usize].value);
    let who = operations.who(read);
    let mut moments = vec![Moment::invoked(read), Moment::returned(read).marked(2)];
    let has = |id: ElementId| seen.contains(&id);
    let explanation = match *contradiction {
        Contradiction::Lacks { before } => {
            let (lacked, element) = (0u32..)
                .zip(&elements.all)
                .filter(|&(id, element)| element.acknowledged < before && !has(id))
                .min_by_key(|(_, element)| element.acknowledged)
                .expect("an element is missing");
            let lacked = name(lacked);
            let update = operations
                .spans
                .iter()
                .copied()
                .find(|&span| span.end != Span::NEVER && returned(span) == element.acknowledged);
            let was = match update {
                Some(update) => {
                    moments.push(Moment::returned(update).marked(1));
                    format!("{} had returned (1)", operations.named(update))
                }
                None => {
                    moments[0] = Moment::invoked(read).marked(1);
                    format!("{lacked} was there from the beginning (1)")
                }
            };
            if element.acknowledged < start(read) {
                format!(
                    "{lacked} came before {who}'s read, because {was} before the read was \
                     invoked; but the read came before {lacked}, because it lacks it (2): a contradiction"
                )
            } else {
                let later = seen
                    .iter()
                    .copied()
                    .find(|&id| elements.all[id as usize].start > element.acknowledged)
                    .expect("a later element is there");
                if let Some(&span) =
                    operations.spans.iter().find(|&&span| start(span) == elements.all[later as usize].start)
                {
                    moments.push(Moment::invoked(span));
                }
                let later = name(later);
                format!(
                    "{lacked} came before {later}, because {was} before {later} was asked for; but \
                     {later} came before {lacked}, because {who}'s read has the first and lacks \
                     the second (2): a contradiction"
                )
            }
        }
        Contradiction::OffChain(size) => {
            format!("{who}'s read (2) and another one of {size} elements (1) lack elements of each other")
        }
        Contradiction::Differs(other) => {
            let mut theirs = Resolved::default();
            if let Some(list) = operations.seen(other).and_then(|payload| list_of(operations, payload)) {
                elements.resolve(list, returned(other), &mut theirs);
            }
            moments.extend([Moment::invoked(other), Moment::returned(other).marked(1)]);
            let first = operations.who(other);
            let lacked = theirs.elements.iter().copied().find(|&id| !has(id)).map(name);
            let extra = seen.iter().copied().find(|id| !theirs.elements.contains(id)).map(name);
            let lacked = lacked.unwrap_or_else(|| "an element".to_owned());
            match extra {
                Some(extra) if !other.precedes(&read) => format!(
                    "{lacked} came before {extra}, because {first}'s read (1) has the first and \
                     lacks the second; but {extra} came before {lacked}, because {who}'s read (2) \
                     has {extra} and lacks {lacked}: a contradiction"
                ),
                _ => format!(
                    "{} came first, because it had returned (1) before {} was invoked; but it came second, \
                     because it has {lacked}, which the other lacks (2): a contradiction",
                    operations.named(other),
                    operations.named(read)
                ),
            }
        }
    };
    operations.witness(explanation, &moments)
}
