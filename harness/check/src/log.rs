//! `linearizable` for logs that only grow.
//!
//! Every read returns a prefix of the one order of records, so the longest read fixes that order
//! and all others must begin it. Four questions about each read then decide: does it agree with
//! the records known so far; is a record missing that was acknowledged before the read was invoked
//! or before a record that it has was asked for; does a record stand behind one that was asked for
//! only after it had been acknowledged; and had a longer read returned before this one was invoked?
//!
//! The cost is the total length of the lists. Where equal records were appended more than once, a
//! read does not tell which it saw, and the general checker ([`crate::wgl`]) decides. Lists that are
//! breaches of `atomic-reads` are left out; a read that contradicts earlier ones is blamed and
//! ignored from then on.

use tearproof_core::history::{Payload, Span};
use tearproof_core::{AnomalyKind, Finding, Witness};

use crate::client_table::ClientTable;
use crate::elements::{ElementId, Elements, Resolved, list_of};
use crate::operations::{NEVER, Operations, Outcome, Position, returned, start};
use crate::sequential_spec::{Log, LogOp};
use crate::wgl::{Answer, Call, linearize};
use crate::witness::{Moment, Tally};

/// Why a read cannot be where real time puts it.
enum Contradiction {
    /// A record that it should have.
    Lacks(ElementId),
    /// The first stands before the second although the second was acknowledged first.
    Order(ElementId, ElementId),
    /// A read that had returned before was longer.
    Shorter(Span),
    /// The records differ from those of another read at this index.
    Diverges(Span, usize),
    /// The records differ at this index from those that were there from the beginning.
    NotInitial(usize),
}

/// Checks a log. The general checker, where it is needed, takes at most `steps` steps.
pub fn check(operations: &Operations<'_>, elements: &Elements, steps: u64) -> Finding {
    if elements.ambiguous {
        check_generally(operations, elements, steps)
    } else {
        check_unique(operations, elements)
    }
}

fn check_unique(operations: &Operations<'_>, elements: &Elements) -> Finding {
    let acknowledgements = elements.acknowledgements();
    let mut resolved = Resolved::default();
    elements.resolve(&operations.history.initial_list, 1, &mut resolved);
    let mut order: Vec<ElementId> = resolved.elements.clone();
    let mut longest: Option<Span> = None;
    // The accepted reads that were longer than all that returned before them.
    let mut records: Vec<(usize, Span)> = Vec::new();
    let mut last_of = ClientTable::new(None::<(usize, Span)>);
    let mut tally = Tally::default();
    for read in reads_by_return(operations) {
        let Some(list) = operations.seen(read).and_then(|seen| list_of(operations, seen)) else { continue };
        elements.resolve(list, returned(read), &mut resolved);
        if resolved.defect.is_some() {
            continue;
        }
        let seen = &resolved.elements;
        let client = operations.invocation(read).client;
        let earlier = records.partition_point(|(_, known)| known.end < read.invoke);
        let longer =
            earlier.checked_sub(1).map(|index| records[index]).filter(|&(length, _)| length > seen.len());
        let differs = order.iter().zip(seen).position(|(known, found)| known != found);
        let contradiction = match (differs, longest, longer) {
            (Some(index), Some(other), _) => Some(Contradiction::Diverges(other, index)),
            (Some(index), None, _) => Some(Contradiction::NotInitial(index)),
            (_, _, Some((_, other))) => Some(Contradiction::Shorter(other)),
            _ => misplaced(elements, &acknowledgements, read, seen),
        };
        let Some(contradiction) = contradiction else {
            if seen.len() > order.len() || longest.is_none() {
                order.clone_from(seen);
                longest = Some(read);
                records.push((seen.len(), read));
            }
            last_of.set(client, Some((seen.len(), read)));
            continue;
        };
        let last = last_of
            .get(client)
            .filter(|&(length, _)| length > seen.len() || order[..length] != seen[..length]);
        let kind = if last.is_some() { AnomalyKind::NonMonotonicRead } else { AnomalyKind::StaleRead };
        tally.add(kind, || {
            let contradiction = match last {
                Some((_, other)) if differs.is_none() => Contradiction::Shorter(other),
                _ => contradiction,
            };
            (Some(operations.millis_at(read.end)), explain(operations, elements, read, &contradiction))
        });
    }
    tally.finding()
}

fn reads_by_return(operations: &Operations<'_>) -> Vec<Span> {
    let mut reads: Vec<Span> =
        operations.spans.iter().copied().filter(|&span| operations.seen(span).is_some()).collect();
    reads.sort_unstable_by_key(|read| read.end);
    reads
}

/// Whether records are missing from the read, or stand in an order that real time forbids.
fn misplaced(
    elements: &Elements,
    acknowledgements: &[Position],
    read: Span,
    seen: &[ElementId],
) -> Option<Contradiction> {
    let mut before = 0;
    let mut latest = None;
    for &id in seen {
        let element = &elements.all[id as usize];
        if element.acknowledged < before {
            return latest.map(|earlier| Contradiction::Order(earlier, id));
        }
        if element.start > before {
            before = element.start;
            latest = Some(id);
        }
    }
    let before = before.max(start(read));
    let owed = acknowledgements.partition_point(|&position| position < before);
    let found = seen.iter().filter(|&&id| elements.all[id as usize].acknowledged < before).count();
    if found == owed {
        return None;
    }
    (0u32..)
        .zip(&elements.all)
        .filter(|&(id, element)| element.acknowledged < before && !seen.contains(&id))
        .min_by_key(|(_, element)| element.acknowledged)
        .map(|(id, _)| Contradiction::Lacks(id))
}

fn explain(
    operations: &Operations<'_>,
    elements: &Elements,
    read: Span,
    contradiction: &Contradiction,
) -> Witness {
    let element = |id: ElementId| elements.all[id as usize];
    let name = |id: ElementId| operations.history.value_name(element(id).value);
    let at = |position: Position, end: bool| {
        operations.spans.iter().copied().find(|&span| {
            if end { span.end != Span::NEVER && returned(span) == position } else { start(span) == position }
        })
    };
    let who = operations.who(read);
    let mut moments = vec![Moment::invoked(read), Moment::returned(read).marked(2)];
    let explanation = match *contradiction {
        Contradiction::Lacks(id) => {
            let lacked = name(id);
            match at(element(id).acknowledged, true) {
                Some(append) => moments.push(Moment::returned(append).marked(1)),
                None => moments[0] = Moment::invoked(read).marked(1),
            }
            let than = if element(id).acknowledged < start(read) {
                format!("{who}'s read was invoked")
            } else {
                "a record that the read has was asked for".to_owned()
            };
            format!(
                "{lacked} came first, because it had been acknowledged (1) before {than}; but it did not come \
                 first, because {who}'s read lacks it (2): a contradiction"
            )
        }
        Contradiction::Order(first, second) => {
            moments
                .extend(at(element(second).acknowledged, true).map(|span| Moment::returned(span).marked(1)));
            moments.extend(at(element(first).start, false).map(Moment::invoked));
            let (first, second) = (name(first), name(second));
            format!(
                "{second} came before {first}, because it had been acknowledged (1) before {first} was asked \
                 for; but {first} came before {second}, because it stands before it in {who}'s \
                 read (2): a contradiction"
            )
        }
        Contradiction::Shorter(other) => {
            moments.push(Moment::returned(other).marked(1));
            format!(
                "{} came first, because it had returned (1) before {} was invoked; but it came second, \
                 because it has records that the other lacks (2): a contradiction",
                operations.named(other),
                operations.named(read)
            )
        }
        Contradiction::NotInitial(index) => {
            moments[0] = Moment::invoked(read).marked(1);
            let first = operations.history.value_name(operations.history.initial_list[index]);
            format!(
                "{first} was record {index} before {who}'s read was invoked (1); but the read has \
                 another one there (2)"
            )
        }
        Contradiction::Diverges(other, index) => {
            moments.push(Moment::returned(other).marked(1));
            let first = operations.who(other);
            let found = |span: Span| {
                let list = operations.seen(span).and_then(|seen| list_of(operations, seen));
                list.and_then(|list| list.get(index)).map(|&value| operations.history.value_name(value))
            };
            let (theirs, ours) = (found(other).unwrap_or_default(), found(read).unwrap_or_default());
            format!(
                "{theirs} came before {ours}, because it is record {index} of {first}'s read (1); but \
                 {ours} came before {theirs}, because it is record {index} of {who}'s read (2): a \
                 contradiction"
            )
        }
    };
    operations.witness(explanation, &moments)
}

fn check_generally(operations: &Operations<'_>, elements: &Elements, mut steps: u64) -> Finding {
    let budget = steps;
    let mut resolved = Resolved::default();
    let mut spans = Vec::new();
    let mut calls = Vec::new();
    for &span in &operations.spans {
        let outcome = operations.outcome(span);
        let done = outcome == Outcome::Done;
        let (op, ret) = match operations.invocation(span).payload {
            _ if outcome == Outcome::Failed => continue,
            Payload::Value(record) => (LogOp::Append(record), done.then_some(None)),
            _ => {
                let Some(list) = operations.seen(span).and_then(|seen| list_of(operations, seen)) else {
                    continue;
                };
                elements.resolve(list, returned(span), &mut resolved);
                if resolved.defect.is_some() {
                    continue;
                }
                (LogOp::Read, Some(Some(list.to_vec())))
            }
        };
        spans.push(span);
        calls.push(Call { op, ret, start: start(span), end: if done { returned(span) } else { NEVER } });
    }
    let mut tally = Tally::default();
    loop {
        match linearize(&Log(operations.history.initial_list.clone()), &calls, &mut steps) {
            Answer::Linearizable => return tally.finding(),
            Answer::OutOfSteps if tally.is_empty() => {
                return Finding::Inconclusive(format!(
                    "no order of the {} operations was found, and not all were tried, within {budget} steps",
                    calls.len()
                ));
            }
            Answer::OutOfSteps => return tally.finding(),
            Answer::Stuck(culprit) => {
                let read = spans[culprit];
                tally.add(AnomalyKind::StaleRead, || {
                    let explanation = format!(
                        "{}'s read was invoked (1) and returned (2) what no order of the appends that \
                         respects real time and the reads before it can have led to",
                        operations.who(read)
                    );
                    let moments = [Moment::invoked(read).marked(1), Moment::returned(read).marked(2)];
                    (Some(operations.millis_at(read.end)), operations.witness(explanation, &moments))
                });
                spans.remove(culprit);
                calls.remove(culprit);
            }
        }
    }
}
