//! [`Elements`]: the elements of a set or the records of a log, each with the moment it was first
//! asked for and the moment it was acknowledged.
//!
//! Adding to a set what is there already changes nothing, so all updates with one value are one
//! element: asked for by the first, acknowledged by the first that returned. Appending an equal
//! record again adds another, so the records with one value are told apart by their number: the
//! n-th occurrence in a read needs n invocations, and must be there after n acknowledgements.

use tearproof_core::history::{Payload, Values};
use tearproof_core::{Object, ValueId};

use crate::operations::{NEVER, Operations, Outcome, Position, returned, start};

/// An element: an index into the table.
pub type ElementId = u32;

/// When an element was asked for and acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its value.
    pub value: ValueId,
    /// The first moment at which it may have been there.
    pub start: Position,
    /// The moment from which on it must be there; [`NEVER`] if it was not acknowledged.
    pub acknowledged: Position,
}

/// What is wrong with a list that a read returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListDefect {
    /// The value is there although nobody had begun to add it.
    NeverAdded(ValueId),
    /// The value is there more often than it was added.
    Repeated(ValueId),
}

/// The elements of a history.
#[derive(Debug)]
pub struct Elements {
    /// All of them, grouped by value.
    pub all: Vec<Element>,
    /// Whether a log holds a value more than once, so that a read does not tell which it saw.
    pub ambiguous: bool,
    /// Where the elements of each value begin.
    first: Vec<u32>,
}

/// What a read saw, resolved. Reused from one read to the next.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The elements, in the order of the list.
    pub elements: Vec<ElementId>,
    /// The first thing wrong with the list.
    pub defect: Option<ListDefect>,
    counts: Vec<(u32, u32)>,
    round: u32,
}

impl Elements {
    /// Collects the elements.
    pub fn of(operations: &Operations<'_>) -> Self {
        let history = operations.history;
        let values = match &history.values {
            Values::Stamps(stamps) => stamps.len(),
            Values::Json(texts) => texts.len(),
        };
        let mut all: Vec<Element> =
            history.initial_list.iter().map(|&value| Element { value, start: 0, acknowledged: 0 }).collect();
        for &span in &operations.spans {
            if let Payload::Value(value) = operations.invocation(span).payload {
                let acknowledged = match operations.outcome(span) {
                    Outcome::Failed => continue,
                    Outcome::Done => returned(span),
                    Outcome::Unknown => NEVER,
                };
                all.push(Element { value, start: start(span), acknowledged });
            }
        }
        all.sort_by_key(|element| (element.value, element.start));
        let mut ambiguous = false;
        if history.object == Object::Set {
            all.dedup_by(|later, kept| {
                let same = later.value == kept.value;
                if same {
                    kept.acknowledged = kept.acknowledged.min(later.acknowledged);
                }
                same
            });
        } else {
            for group in all.chunk_by_mut(|one, other| one.value == other.value) {
                ambiguous |= group.len() > 1;
                let mut acknowledged: Vec<Position> =
                    group.iter().map(|element| element.acknowledged).collect();
                acknowledged.sort_unstable();
                for (element, acknowledged) in group.iter_mut().zip(acknowledged) {
                    element.acknowledged = acknowledged;
                }
            }
        }
        let mut first = vec![0; values + 1];
        for element in &all {
            first[element.value.0 as usize + 1] += 1;
        }
        for value in 0..values {
            first[value + 1] += first[value];
        }
        Self { all, ambiguous, first }
    }

    /// Finds the elements in a list that a read returned at this position.
    pub fn resolve(&self, list: &[ValueId], returned: Position, into: &mut Resolved) {
        into.elements.clear();
        into.defect = None;
        into.counts.resize(self.first.len(), (0, 0));
        into.round += 1;
        for &value in list {
            let slot = &mut into.counts[value.0 as usize];
            if slot.0 != into.round {
                *slot = (into.round, 0);
            }
            let (begin, end) = (self.first[value.0 as usize], self.first[value.0 as usize + 1]);
            let element = begin + slot.1;
            if element < end && self.all[element as usize].start < returned {
                slot.1 += 1;
                into.elements.push(element);
            } else if slot.1 == 0 {
                into.defect.get_or_insert(ListDefect::NeverAdded(value));
            } else {
                into.defect.get_or_insert(ListDefect::Repeated(value));
            }
        }
    }

    /// How many elements had been acknowledged before each position, as sorted positions.
    pub fn acknowledgements(&self) -> Vec<Position> {
        let mut sorted: Vec<Position> = self
            .all
            .iter()
            .map(|element| element.acknowledged)
            .filter(|&position| position != NEVER)
            .collect();
        sorted.sort_unstable();
        sorted
    }
}

/// The list that a completed read of a set or log brought: absence is the empty list where the
/// object may be empty. `None` when it was torn.
pub fn list_of<'h>(operations: &Operations<'h>, seen: &Payload) -> Option<&'h [ValueId]> {
    match *seen {
        Payload::List(list) => Some(operations.history.list(list)),
        Payload::Absent if operations.history.initial_list.is_empty() => Some(&[]),
        _ => None,
    }
}
