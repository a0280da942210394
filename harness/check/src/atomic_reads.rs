//! `atomic-reads`: a read that returns, returns exactly one value that was written, whole.
//!
//! Torn reads that the recorder saw are counted by kind. To them come reads of a value that nobody
//! had begun to write when the read returned, or that only failed writes ever carried (`foreign`),
//! reads of absence where there was a state from the beginning (`missing`), and lists in which an
//! element is found more often than it was added (`mixed`).
//!
//! Not covered: whether the value was the right one at the time; that is `linearizable`.

use tearproof_core::document::TornKind;
use tearproof_core::history::{Payload, Span};
use tearproof_core::{AnomalyKind, Finding, Object, ValueId};

use crate::elements::{Elements, ListDefect, Resolved, list_of};
use crate::operations::{Operations, returned};
use crate::origins::Origins;
use crate::witness::{Moment, Tally};

/// Checks the reads of a register.
pub fn check_register(operations: &Operations<'_>, origins: &Origins) -> Finding {
    let history = operations.history;
    let mut tally = Tally::default();
    for &span in &operations.spans {
        let Some(seen) = operations.seen(span) else { continue };
        if origins.explain(span, seen) {
            continue;
        }
        match *seen {
            Payload::Torn(kind, note) => {
                count(operations, &mut tally, span, kind, || history.note(note).to_owned());
            }
            Payload::Absent => count(operations, &mut tally, span, TornKind::Missing, absent),
            // Under a limit the write may be among what is missing.
            Payload::Value(value) if history.limit.is_none() => {
                let begun = origins.has(value);
                count(operations, &mut tally, span, TornKind::Foreign, || {
                    unwritten(operations, value, begun, "write")
                });
            }
            _ => {}
        }
    }
    tally.finding()
}

/// Checks the reads of a set or a log.
pub fn check_lists(operations: &Operations<'_>, elements: &Elements) -> Finding {
    let history = operations.history;
    let is_set = history.object == Object::Set;
    let mut tally = Tally::default();
    let mut resolved = Resolved::default();
    for &span in &operations.spans {
        let Some(seen) = operations.seen(span) else { continue };
        let Some(list) = list_of(operations, seen) else {
            match *seen {
                Payload::Torn(kind, note) => {
                    count(operations, &mut tally, span, kind, || history.note(note).to_owned());
                }
                _ => count(operations, &mut tally, span, TornKind::Missing, absent),
            }
            continue;
        };
        elements.resolve(list, returned(span), &mut resolved);
        match resolved.defect {
            // Under a limit the invocation may be among what is missing.
            Some(ListDefect::NeverAdded(value)) if history.limit.is_none() => {
                let verb = if is_set { "update" } else { "append" };
                count(operations, &mut tally, span, TornKind::Foreign, || {
                    let begun = elements.all.iter().any(|element| element.value == value);
                    unwritten(operations, value, begun, verb)
                });
            }
            // No number of updates puts an element into a set twice.
            Some(ListDefect::Repeated(value)) if is_set || history.limit.is_none() => {
                count(operations, &mut tally, span, TornKind::Mixed, || {
                    let name = history.value_name(value);
                    let times = list.iter().filter(|&&found| found == value).count();
                    format!("{name} is there {times} times, which is more often than it was added")
                });
            }
            _ => {}
        }
    }
    tally.finding()
}

fn absent() -> String {
    "there was nothing, although there was a state from the beginning".to_owned()
}

fn unwritten(operations: &Operations<'_>, value: ValueId, begun: bool, verb: &str) -> String {
    let name = operations.history.value_name(value);
    let attempted =
        operations.spans.iter().any(|&span| operations.invocation(span).payload == Payload::Value(value));
    if begun {
        format!("{name} is there, but the first {verb} of it was invoked only after the read returned")
    } else if attempted {
        format!("{name} is there, but every {verb} of it failed")
    } else {
        format!("{name} is there, but nobody ever invoked a {verb} of it")
    }
}

fn count(
    operations: &Operations<'_>,
    tally: &mut Tally,
    read: Span,
    kind: TornKind,
    detail: impl FnOnce() -> String,
) {
    tally.add(AnomalyKind::TornRead, || {
        let who = operations.who(read);
        let detail = detail();
        let because = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        let explanation = format!(
            "{who}'s read was invoked (1) and returned (2) what is not one written value, \
             whole ({kind}){because}"
        );
        let moments = [Moment::invoked(read).marked(1), Moment::returned(read).marked(2)];
        (Some(operations.millis_at(read.end)), operations.witness(explanation, &moments))
    });
    tally.name(AnomalyKind::TornRead, kind.name());
}
