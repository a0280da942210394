//! [`Origins`]: from when on each value of a register may have been there.
//!
//! A value has its origin in the initial state or in a write or compare-and-set that was not seen
//! to fail. A read that returns a value before its origin, or without any, returned what nobody had
//! written: that is a torn read, and says nothing about the order of the writes.

use tearproof_core::history::{Payload, Span};
use tearproof_core::{Operation, ValueId};

use crate::operations::{NEVER, Operations, Outcome, Position, returned, start};

/// The origins of a register's values.
#[derive(Debug)]
pub struct Origins {
    first: Vec<Position>,
    absent: bool,
    /// Whether some value was written twice, or as a compare-and-set, so that a read does not tell
    /// which write it saw.
    pub ambiguous: bool,
    /// Whether there is any compare-and-set.
    pub compares: bool,
}

impl Origins {
    /// Collects the origins.
    pub fn of(operations: &Operations<'_>) -> Self {
        let history = operations.history;
        let values = match &history.values {
            tearproof_core::history::Values::Stamps(stamps) => stamps.len(),
            tearproof_core::history::Values::Json(texts) => texts.len(),
        };
        let mut origins = Self {
            first: vec![NEVER; values],
            absent: history.initial.is_none(),
            ambiguous: false,
            compares: false,
        };
        if let Some(initial) = history.initial {
            origins.first[initial.0 as usize] = 0;
        }
        for &span in &operations.spans {
            let Some(value) = written(operations, span) else {
                origins.compares |= operations.invocation(span).operation == Operation::Cas
                    && operations.outcome(span) != Outcome::Failed;
                continue;
            };
            let first = &mut origins.first[value.0 as usize];
            origins.ambiguous |= *first != NEVER;
            *first = start(span).min(*first);
            origins.compares |= operations.invocation(span).operation == Operation::Cas;
        }
        origins
    }

    /// How many values there are.
    pub fn values(&self) -> usize {
        self.first.len()
    }

    /// Whether this completed read returned what had been there, or may have been.
    pub fn explain(&self, read: Span, seen: &Payload) -> bool {
        match seen {
            Payload::Value(value) => self.first[value.0 as usize] < returned(read),
            Payload::Absent => self.absent,
            _ => false,
        }
    }

    /// Whether anybody ever began to write the value, without being seen to fail.
    pub fn has(&self, value: ValueId) -> bool {
        self.first[value.0 as usize] != NEVER
    }
}

/// The value that an operation put into the register, or may have put there.
pub fn written(operations: &Operations<'_>, span: Span) -> Option<ValueId> {
    let outcome = operations.outcome(span);
    if outcome == Outcome::Failed {
        return None;
    }
    match operations.invocation(span).payload {
        Payload::Value(value) => Some(value),
        Payload::Cas { to, .. } => {
            let refused = outcome == Outcome::Done
                && matches!(operations.end(span)?.payload, Payload::Cas { applied: false, .. });
            (!refused).then_some(to)
        }
        _ => None,
    }
}
