//! A history: everything that the clients of one execution were seen to do, in real-time order.
//!
//! The order of the events *is* the real-time order; `time_ns` is what a clock showed and may
//! repeat. An operation is an `invoke` followed, later, by `ok`, `fail` or `info` of the same
//! client, or by nothing. A client that is killed does not come back: the process that takes its
//! place is a client with a new number, so that an operation whose outcome is unknown stays
//! pending without blocking anybody.
//!
//! Events are small (values and texts are numbers into tables), so that ten million operations fit
//! in memory.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::document::{Stamp, TornKind};
use crate::names::names;
use crate::object::{Object, Operation};

names! {
    /// Which moment of an operation an event is.
    Phase, "event type" {
        /// The operation is about to begin.
        Invoke = "invoke",
        /// It took effect, and returned.
        Ok = "ok",
        /// It certainly did not take effect.
        Fail = "fail",
        /// It is unknown whether it took effect, or will.
        Info = "info",
    }
}

names! {
    /// Why an operation ended in `fail` or `info`.
    Failure, "reason" {
        /// The lock was held by somebody else for as long as the client was willing to wait.
        Busy = "busy",
        /// The operation gave up after its last retry.
        RetriesExhausted = "retries-exhausted",
        /// The operation did not come back within the harness's own limit.
        TimedOut = "timed-out",
        /// The process died in the middle of it.
        Killed = "killed",
        /// Anything else; the note has the message.
        Error = "error",
    }
}

/// A value, element or record of a history: an index into [`Values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u32);

/// A text of a history: an index into its notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteId(pub u32);

/// A run of values in [`History::list`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListId {
    pub(crate) start: u32,
    pub(crate) length: u32,
}

/// What an event carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: the invocation of a read, the return of a write.
    None,
    /// The value of a write or a completed read of a register, the element of an update, the
    /// record of an append.
    Value(ValueId),
    /// A completed read saw that there is no value: the state before the first write of a
    /// register that starts absent.
    Absent,
    /// A compare-and-set. `applied` is set on its `ok` alone.
    Cas {
        /// What the register must hold; `None` for the initial absence.
        from: Option<ValueId>,
        /// What it is to hold.
        to: ValueId,
        /// Whether the comparison succeeded. `false` means that it was seen to fail.
        applied: bool,
    },
    /// A completed read saw no value: how so, and in words.
    Torn(TornKind, NoteId),
    /// A completed read of a set or a log saw these.
    List(ListId),
    /// Why an operation ended in `fail` or `info`, and in which words.
    Failed(Failure, NoteId),
    /// A completed acquire. `held` is false when the strategy itself had already given the lock
    /// up again at that moment.
    Entered {
        /// Whether the strategy still held its lock when it returned.
        held: bool,
    },
    /// The invocation of a release. `refused` says that the protected resource had refused the
    /// holder's writes since it entered, so that what it did in the section had no effect.
    Left {
        /// Whether the holder's writes were refused.
        refused: bool,
    },
}

/// One event. 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// CLOCK_MONOTONIC in nanoseconds, or whatever clock the recorder used. Not less than that of
    /// the event before.
    pub time_ns: u64,
    /// What the event carries.
    pub payload: Payload,
    /// Who.
    pub client: u32,
    /// Which moment of the operation.
    pub phase: Phase,
    /// Which operation.
    pub operation: Operation,
}

/// The names behind [`ValueId`]s.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Values that the harness made: the stamps, in order of first appearance.
    Stamps(Vec<Stamp>),
    /// Values of a history that another tool recorded: their JSON texts.
    Json(Vec<String>),
}

/// What the state directory looked like when everybody had finished, as far as it is worth
/// reporting. Absent in histories that another tool recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aftermath {
    /// Files that nobody declared and that were not there before, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<String>,
    /// What became of the target's mode, links and type: the anomaly and the evidence in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// Whether the directory was looked at.
    #[serde(default)]
    pub inspected: bool,
    /// Whether the target's metadata was made special before, and looked at.
    #[serde(default)]
    pub probed: bool,
}

/// One change of the target's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Which.
    pub kind: crate::claim::AnomalyKind,
    /// From what to what.
    pub detail: String,
}

/// All events of one execution, in real-time order.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// What the state file stands for.
    pub object: Object,
    /// The value of a register before the first write; `None` when there is none.
    pub initial: Option<ValueId>,
    /// The elements or records that are there before the first update.
    pub initial_list: Vec<ValueId>,
    /// The events.
    pub events: Vec<Event>,
    /// The names of the values.
    pub values: Values,
    /// Whatever ended the recording early, in words: then the absence of an anomaly means nothing.
    pub limit: Option<String>,
    /// The directory afterwards.
    pub aftermath: Aftermath,
    /// The part that a client plays, as far as that is known: `writer`, `auditor`.
    pub roles: BTreeMap<u32, String>,
    lists: Vec<ValueId>,
    notes: Vec<String>,
}

impl History {
    /// A history without events.
    pub fn new(object: Object, values: Values) -> Self {
        Self {
            object,
            initial: None,
            initial_list: Vec::new(),
            events: Vec::new(),
            values,
            limit: None,
            aftermath: Aftermath::default(),
            roles: BTreeMap::new(),
            lists: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Keeps a list for [`Payload::List`].
    pub fn add_list(&mut self, values: impl IntoIterator<Item = ValueId>) -> ListId {
        let start = self.lists.len();
        self.lists.extend(values);
        let fits = "a history holds fewer than 2^32 listed values";
        ListId {
            start: u32::try_from(start).expect(fits),
            length: u32::try_from(self.lists.len() - start).expect(fits),
        }
    }

    /// The values of a list.
    pub fn list(&self, id: ListId) -> &[ValueId] {
        &self.lists[id.start as usize..(id.start + id.length) as usize]
    }

    /// Keeps a text for [`Payload::Torn`] and [`Payload::Failed`].
    pub fn add_note(&mut self, text: impl Into<String>) -> NoteId {
        let text = text.into();
        // The same message tends to come again and again.
        let recent = self.notes.len().saturating_sub(8);
        if let Some(index) = self.notes[recent..].iter().position(|known| *known == text) {
            return NoteId((recent + index) as u32);
        }
        self.notes.push(text);
        NoteId((self.notes.len() - 1) as u32)
    }

    /// The text of a note.
    pub fn note(&self, id: NoteId) -> &str {
        &self.notes[id.0 as usize]
    }

    /// How a value is called in a witness: `c3#17`, `initial`, or its JSON.
    pub fn value_name(&self, id: ValueId) -> String {
        match &self.values {
            Values::Stamps(stamps) => stamps[id.0 as usize].to_string(),
            Values::Json(texts) => texts[id.0 as usize].clone(),
        }
    }

    /// How a client is called in a witness: `writer 3`, or `client 3` where nobody said what it is there
    /// for. The number is that of its values: `c3#17` is a value of writer 3.
    pub fn client_name(&self, client: u32) -> String {
        client_name(client, self.roles.get(&client).map(String::as_str))
    }

    /// The operations, in the order of their invocations.
    ///
    /// # Errors
    /// When an event does not fit: a return without an invocation, a second invocation of a client
    /// that has one pending. The error says which event, counted from 0.
    pub fn operations(&self) -> Result<Vec<Span>, MalformedHistory> {
        let mut spans: Vec<Span> = Vec::with_capacity(self.events.len() / 2);
        let mut pending = PendingByClient::default();
        for (index, event) in self.events.iter().enumerate() {
            let index = u32::try_from(index)
                .map_err(|_| MalformedHistory { event: index, reason: "more than 2^32 events".to_owned() })?;
            let malformed = |reason: String| MalformedHistory { event: index as usize, reason };
            if event.phase == Phase::Invoke {
                if let Some(open) = pending.insert(event.client, spans.len() as u32) {
                    let open = &self.events[spans[open as usize].invoke as usize];
                    return Err(malformed(format!(
                        "client {} invokes {} while its {} is pending",
                        event.client, event.operation, open.operation
                    )));
                }
                spans.push(Span { invoke: index, end: Span::NEVER });
            } else {
                let Some(open) = pending.remove(event.client) else {
                    return Err(malformed(format!(
                        "client {} ends a {} that it never invoked",
                        event.client, event.operation
                    )));
                };
                let invoked = self.events[spans[open as usize].invoke as usize].operation;
                if invoked != event.operation {
                    return Err(malformed(format!(
                        "client {} ends a {} although it invoked a {invoked}",
                        event.client, event.operation
                    )));
                }
                spans[open as usize].end = index;
            }
        }
        Ok(spans)
    }
}

/// How a client with this role, where it has one, is called.
pub fn client_name(client: u32, role: Option<&str>) -> String {
    format!("{} {client}", role.unwrap_or("client"))
}

/// The operation that each client has pending. Clients are mostly small numbers, so this is a
/// table with a map for the rest.
#[derive(Default)]
struct PendingByClient {
    small: Vec<u32>,
    large: HashMap<u32, u32>,
}

impl PendingByClient {
    const SMALL: u32 = 1 << 16;
    const NONE: u32 = u32::MAX;

    fn insert(&mut self, client: u32, span: u32) -> Option<u32> {
        if client >= Self::SMALL {
            return self.large.insert(client, span);
        }
        if self.small.len() <= client as usize {
            self.small.resize(client as usize + 1, Self::NONE);
        }
        let before = std::mem::replace(&mut self.small[client as usize], span);
        (before != Self::NONE).then_some(before)
    }

    fn remove(&mut self, client: u32) -> Option<u32> {
        if client >= Self::SMALL {
            return self.large.remove(&client);
        }
        let slot = self.small.get_mut(client as usize)?;
        let before = std::mem::replace(slot, Self::NONE);
        (before != Self::NONE).then_some(before)
    }
}

/// One operation: the indices of its first and last event. Their order is real-time order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The index of the invocation.
    pub invoke: u32,
    /// The index of the end, or [`Span::NEVER`].
    pub end: u32,
}

impl Span {
    /// The end of an operation that never returned.
    pub const NEVER: u32 = u32::MAX;

    /// Whether this operation had ended before the other began.
    pub const fn precedes(&self, other: &Self) -> bool {
        self.end < other.invoke
    }
}

/// Events that do not make a history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {event}: {reason}")]
pub struct MalformedHistory {
    /// Which event, counted from 0.
    pub event: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "value {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(client: u32, phase: Phase, operation: Operation) -> Event {
        Event { time_ns: 0, payload: Payload::None, client, phase, operation }
    }

    #[test]
    fn an_event_is_small() {
        assert_eq!(size_of::<Event>(), 32);
    }

    #[test]
    fn a_client_is_called_by_its_role_where_it_has_one() {
        let mut history = History::new(Object::Register, Values::Stamps(Vec::new()));
        history.roles.insert(3, "launcher".to_owned());
        assert_eq!(
            (history.client_name(3), history.client_name(4)),
            ("launcher 3".into(), "client 4".into())
        );
    }

    #[test]
    fn operations_pair_by_client() {
        let mut history = History::new(Object::Register, Values::Stamps(Vec::new()));
        history.events = vec![
            event(1, Phase::Invoke, Operation::Write),
            event(70_000, Phase::Invoke, Operation::Read),
            event(70_000, Phase::Ok, Operation::Read),
            event(2, Phase::Invoke, Operation::Read),
            event(1, Phase::Ok, Operation::Write),
        ];
        let spans = history.operations().expect("well formed");
        assert_eq!(
            spans,
            [Span { invoke: 0, end: 4 }, Span { invoke: 1, end: 2 }, Span { invoke: 3, end: Span::NEVER }]
        );
        assert!(spans[1].precedes(&spans[2]) && !spans[0].precedes(&spans[1]));
    }

    #[test]
    fn events_that_do_not_pair_are_refused() {
        let mut history = History::new(Object::Register, Values::Stamps(Vec::new()));
        history.events = vec![event(1, Phase::Ok, Operation::Read)];
        assert_eq!(history.operations().unwrap_err().event, 0);
        history.events =
            vec![event(1, Phase::Invoke, Operation::Read), event(1, Phase::Invoke, Operation::Read)];
        assert_eq!(history.operations().unwrap_err().event, 1);
        history.events =
            vec![event(1, Phase::Invoke, Operation::Read), event(1, Phase::Ok, Operation::Write)];
        assert_eq!(history.operations().unwrap_err().event, 1);
    }
}
