//! [`Operations`]: the operations of a history with what every checker asks of them, after the
//! history was seen to be well formed.
//!
//! Checkers compare *positions*: 0 is the moment before the first event, and the event with index
//! `i` is at `i + 1`. No two events share one, so there are no ties, whatever the clock showed.

use tearproof_core::history::{MalformedHistory, Payload, Phase, Span};
use tearproof_core::{Event, History, Object, Operation, ValueId};

/// A moment of a history: 0 before the first event, `i + 1` for the event with index `i`.
pub type Position = u32;

/// The moment that never comes: the end of an operation that may take effect at any later time.
pub const NEVER: Position = Position::MAX;

/// How an operation ended, as far as its effect is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned, so it took effect between invocation and return.
    Done,
    /// It certainly did not take effect.
    Failed,
    /// It took effect at some time after its invocation, or never.
    Unknown,
}

/// A well-formed history and its operations, in the order of their invocations.
#[derive(Debug)]
pub struct Operations<'h> {
    /// The history.
    pub history: &'h History,
    /// First and last event of every operation.
    pub spans: Vec<Span>,
}

impl<'h> Operations<'h> {
    /// Pairs the events and looks at the form of each.
    ///
    /// # Errors
    /// When an event has no place in the history: it does not pair, the object does not have such
    /// an operation, what it carries is not what such an event carries, or the clock runs backwards.
    pub fn of(history: &'h History) -> Result<Self, MalformedHistory> {
        let malformed = |event: usize, reason: String| MalformedHistory { event, reason };
        let values = match &history.values {
            tearproof_core::history::Values::Stamps(stamps) => stamps.len(),
            tearproof_core::history::Values::Json(texts) => texts.len(),
        };
        let unknown = |value: ValueId| value.0 as usize >= values;
        if history.initial.is_some_and(unknown) || history.initial_list.iter().any(|&value| unknown(value)) {
            return Err(malformed(0, "the initial state is a value without a name".to_owned()));
        }
        let mut time_ns = 0;
        for (index, event) in history.events.iter().enumerate() {
            if event.time_ns < time_ns {
                let back = time_ns - event.time_ns;
                return Err(malformed(index, format!("the clock goes back by {back} ns")));
            }
            time_ns = event.time_ns;
            if !history.object.operations().contains(&event.operation) {
                let (object, operation) = (history.object, event.operation);
                return Err(malformed(index, format!("a {object} has no operation {operation}")));
            }
            if !carries_its_own(history.object, event) {
                let (phase, operation) = (event.phase, event.operation);
                return Err(malformed(
                    index,
                    format!("the {phase} of a {operation} carries {}", called(&event.payload)),
                ));
            }
            let nameless = match event.payload {
                Payload::Value(value) => unknown(value),
                Payload::Cas { from, to, .. } => unknown(to) || from.is_some_and(unknown),
                Payload::List(list) => history.list(list).iter().any(|&value| unknown(value)),
                _ => false,
            };
            if nameless {
                return Err(malformed(index, "the event carries a value without a name".to_owned()));
            }
        }
        let spans = history.operations()?;
        for span in &spans {
            if span.end == Span::NEVER {
                continue;
            }
            let (invoked, ended) =
                (&history.events[span.invoke as usize].payload, &history.events[span.end as usize].payload);
            let differs = match (invoked, ended) {
                (Payload::Value(asked), Payload::Value(done)) => asked != done,
                (Payload::Cas { from, to, .. }, Payload::Cas { from: seen, to: put, .. }) => {
                    (from, to) != (seen, put)
                }
                _ => false,
            };
            if differs {
                return Err(malformed(
                    span.end as usize,
                    "the operation ends with another value than it was invoked with".to_owned(),
                ));
            }
        }
        Ok(Self { history, spans })
    }

    /// The event that invoked the operation.
    pub fn invocation(&self, span: Span) -> &'h Event {
        &self.history.events[span.invoke as usize]
    }

    /// The event that ended the operation, if there is one.
    pub fn end(&self, span: Span) -> Option<&'h Event> {
        (span.end != Span::NEVER).then(|| &self.history.events[span.end as usize])
    }

    /// How the operation ended.
    pub fn outcome(&self, span: Span) -> Outcome {
        match self.end(span).map(|event| event.phase) {
            Some(Phase::Ok) => Outcome::Done,
            Some(Phase::Fail) => Outcome::Failed,
            _ => Outcome::Unknown,
        }
    }

    /// What a completed read brought; `None` for every other operation.
    pub fn seen(&self, span: Span) -> Option<&'h Payload> {
        let end = self.end(span)?;
        (end.operation == Operation::Read && end.phase == Phase::Ok).then_some(&end.payload)
    }

    /// Milliseconds from the first event to the one with this index.
    pub fn millis_at(&self, event: u32) -> u64 {
        self.nanos_at(event) / 1_000_000
    }

    /// Nanoseconds from the first event to the one with this index.
    pub fn nanos_at(&self, event: u32) -> u64 {
        self.history.events[event as usize].time_ns - self.history.events[0].time_ns
    }
}

/// Where the operation starts.
pub const fn start(span: Span) -> Position {
    span.invoke + 1
}

/// Where the operation returns, given that it did.
pub const fn returned(span: Span) -> Position {
    span.end.saturating_add(1)
}

/// Whether an event carries what such an event can carry.
fn carries_its_own(object: Object, event: &Event) -> bool {
    let payload = &event.payload;
    match (event.phase, event.operation) {
        (Phase::Fail | Phase::Info, _) => !matches!(
            payload,
            Payload::Absent | Payload::Torn(..) | Payload::List(_) | Payload::Entered { .. }
        ),
        (Phase::Invoke, Operation::Read | Operation::Acquire) => matches!(payload, Payload::None),
        (Phase::Invoke, Operation::Write | Operation::Update | Operation::Append) => {
            matches!(payload, Payload::Value(_))
        }
        (_, Operation::Cas) => matches!(payload, Payload::Cas { .. }),
        (_, Operation::Release) => matches!(payload, Payload::None | Payload::Left { .. }),
        (Phase::Ok, Operation::Read) if object == Object::Register => {
            matches!(payload, Payload::Value(_) | Payload::Absent | Payload::Torn(..))
        }
        (Phase::Ok, Operation::Read) => {
            matches!(payload, Payload::List(_) | Payload::Absent | Payload::Torn(..))
        }
        (Phase::Ok, Operation::Acquire) => matches!(payload, Payload::None | Payload::Entered { .. }),
        (Phase::Ok, Operation::Write | Operation::Update | Operation::Append) => {
            matches!(payload, Payload::None | Payload::Value(_))
        }
    }
}

fn called(payload: &Payload) -> &'static str {
    match payload {
        Payload::None => "nothing",
        Payload::Value(_) => "a value",
        Payload::Absent => "the absence of a value",
        Payload::Cas { .. } => "a comparison",
        Payload::Torn(..) => "a torn read",
        Payload::List(_) => "a list",
        Payload::Failed(..) => "a failure",
        Payload::Entered { .. } => "what an acquire brings",
        Payload::Left { .. } => "what a release says",
    }
}
