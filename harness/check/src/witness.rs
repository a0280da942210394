//! Evidence: [`Moment`]s of operations become the steps of a [`Witness`], and [`Tally`] counts
//! anomalies by kind and keeps the evidence for the first of each.
//!
//! Explanations follow Elle (Kingsbury & Alvaro, VLDB 2020): what came before what, because of
//! which two events, and why that cannot be.

use std::collections::BTreeMap;

use tearproof_core::history::{Payload, Phase, Span};
use tearproof_core::{Anomaly, AnomalyKind, Event, Finding, Operation, Step, Witness};

use crate::operations::Operations;

/// One end of an operation, as a step of a witness.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    span: Span,
    end: bool,
    mark: Option<u8>,
}

impl Moment {
    /// The moment of invocation.
    pub const fn invoked(span: Span) -> Self {
        Self { span, end: false, mark: None }
    }

    /// The moment of return, given that it returned.
    pub const fn returned(span: Span) -> Self {
        Self { span, end: true, mark: None }
    }

    /// The same moment as one of the two that conflict.
    pub const fn marked(self, mark: u8) -> Self {
        Self { mark: Some(mark), ..self }
    }

    const fn event(self) -> u32 {
        if self.end { self.span.end } else { self.span.invoke }
    }
}

impl Operations<'_> {
    /// A witness of these moments, put in order. A moment that is given twice appears once.
    pub fn witness(&self, explanation: String, moments: &[Moment]) -> Witness {
        let mut moments = moments.to_vec();
        moments.sort_by_key(|moment| (moment.event(), moment.mark.is_none()));
        moments.dedup_by_key(|moment| moment.event());
        let steps = moments
            .into_iter()
            .map(|moment| {
                let event = &self.history.events[moment.event() as usize];
                Step {
                    time_ns: self.nanos_at(moment.event()),
                    client: event.client,
                    role: self.history.roles.get(&event.client).cloned(),
                    what: self.told(moment.span, event),
                    mark: moment.mark,
                    source: None,
                }
            })
            .collect();
        Witness { explanation, steps, replay: None, stderr: Vec::new() }
    }

    /// Who did it: `client 3`, or `writer 3` where roles are known.
    pub fn who(&self, span: Span) -> String {
        self.history.client_name(self.invocation(span).client)
    }

    /// The operation in words: `client 3's write of c3#17`.
    pub fn named(&self, span: Span) -> String {
        let event = self.invocation(span);
        let who = self.who(span);
        match (event.operation, self.argument(event)) {
            (Operation::Read, _) => match self.seen(span) {
                Some(seen) => format!("{who}'s read of {}", self.brought(seen)),
                None => format!("{who}'s read"),
            },
            (operation, Some(argument)) => format!("{who}'s {operation} of {argument}"),
            (operation, None) => format!("{who}'s {operation}"),
        }
    }

    /// A list of values, shortened to what a person reads.
    pub fn listed(&self, values: &[tearproof_core::ValueId]) -> String {
        const SHOWN: usize = 6;
        let names: Vec<String> =
            values.iter().take(SHOWN).map(|&value| self.history.value_name(value)).collect();
        match values.len() {
            more if more > SHOWN => format!("[{}, … {more} in all]", names.join(", ")),
            _ => format!("[{}]", names.join(", ")),
        }
    }

    fn argument(&self, event: &Event) -> Option<String> {
        match event.payload {
            Payload::Value(value) => Some(self.history.value_name(value)),
            Payload::Cas { from, to, .. } => {
                let from = from.map_or_else(|| "absence".to_owned(), |from| self.history.value_name(from));
                Some(format!("{from} to {}", self.history.value_name(to)))
            }
            _ => None,
        }
    }

    fn brought(&self, seen: &Payload) -> String {
        match *seen {
            Payload::Value(value) => self.history.value_name(value),
            Payload::Absent => "nothing (absent)".to_owned(),
            Payload::Torn(kind, note) => match self.history.note(note) {
                "" => format!("a torn value ({kind})"),
                note => format!("a torn value ({kind}: {note})"),
            },
            Payload::List(list) => self.listed(self.history.list(list)),
            _ => "an unknown outcome".to_owned(),
        }
    }

    fn told(&self, span: Span, event: &Event) -> String {
        let operation = event.operation;
        let subject = match self.argument(self.invocation(span)) {
            Some(argument) => format!("{operation} {argument}"),
            None => operation.to_string(),
        };
        match event.phase {
            Phase::Invoke => match event.payload {
                Payload::Left { refused: true } => format!("{subject} invoked, its writes were refused"),
                _ => format!("{subject} invoked"),
            },
            Phase::Ok if operation == Operation::Read => {
                format!("{subject} returned {}", self.brought(&event.payload))
            }
            Phase::Ok => match event.payload {
                Payload::Cas { applied: true, .. } => format!("{subject} returned: applied"),
                Payload::Cas { applied: false, .. } => {
                    format!("{subject} returned: the comparison failed")
                }
                Payload::Entered { held: false } => {
                    format!("{subject} returned, the lock already given up")
                }
                _ => format!("{subject} returned"),
            },
            Phase::Fail | Phase::Info => {
                let how = if event.phase == Phase::Fail { "failed" } else { "ended unknown" };
                match event.payload {
                    Payload::Failed(failure, note) => match self.history.note(note) {
                        "" => format!("{subject} {how} ({failure})"),
                        note => format!("{subject} {how} ({failure}: {note})"),
                    },
                    _ => format!("{subject} {how}"),
                }
            }
        }
    }
}

/// Anomalies of one guarantee: how many of each kind, and the evidence for the first.
#[derive(Debug, Default)]
pub struct Tally {
    anomalies: Vec<Anomaly>,
}

impl Tally {
    /// Counts one more of this kind. `witness` makes the evidence, and is called for the first of
    /// its kind alone; with it goes when that was seen, in milliseconds after the first event.
    pub fn add(&mut self, kind: AnomalyKind, witness: impl FnOnce() -> (Option<u64>, Witness)) {
        self.add_some(kind, 1, witness);
    }

    /// Counts `count` more of this kind.
    pub fn add_some(
        &mut self,
        kind: AnomalyKind,
        count: u64,
        witness: impl FnOnce() -> (Option<u64>, Witness),
    ) {
        if let Some(known) = self.anomalies.iter_mut().find(|anomaly| anomaly.kind == kind) {
            known.count += count;
            return;
        }
        let (first_after_ms, witness) = witness();
        self.anomalies.push(Anomaly { kind, count, first_after_ms, by_kind: BTreeMap::new(), witness });
    }

    /// Counts one more under this name within the kind.
    pub fn name(&mut self, kind: AnomalyKind, name: &str) {
        if let Some(known) = self.anomalies.iter_mut().find(|anomaly| anomaly.kind == kind) {
            *known.by_kind.entry(name.to_owned()).or_insert(0) += 1;
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.anomalies.is_empty()
    }

    /// What the guarantee comes to.
    pub fn finding(self) -> Finding {
        if self.anomalies.is_empty() { Finding::Holds } else { Finding::Violated(self.anomalies) }
    }
}
