//! From what clients recorded to one [`History`]: events of all rings in the order of their times,
//! stamps as numbers, and an end for whatever a death cut short.
//!
//! Where times are equal, invocations come before ends: operations that touch in one nanosecond
//! count as concurrent, so a tie can hide an order but never invent one.
//!
//! A client that died with an operation pending gets its `info` when it was known to be dead. One
//! that died in the critical section left it at some moment between the signal and then; it gets
//! the invocation of a release at the first and its `info` at the second. An operation that never
//! ended for any other reason stays pending.

use std::collections::{HashMap, HashSet};

use tearproof_core::document::Stamp;
use tearproof_core::history::{Event, Failure, History, Payload, Phase, Values};
use tearproof_core::object::{Object, Operation};

use super::event::{RawEvent, RawPayload};
use super::stamps::Stamps;

/// What there is before the first event. Sets, logs and locks begin empty.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// What the state file stands for.
    pub object: Object,
    /// The value of a register; `None` when it is absent.
    pub initial: Option<Stamp>,
}

/// A client's death. Each thread of a process is a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// Who.
    pub client: u32,
    /// A moment at which it certainly was alive: taken just before the signal was sent. From here
    /// on it is no longer taken for a holder of its lock: the kernel may release the lock, and
    /// another client take it, long before anybody gets to reap the process. Zero when nobody
    /// knows, because it died of itself: then the last event that it recorded counts.
    pub struck_ns: u64,
    /// A moment at which it certainly was dead: taken after it was reaped.
    pub time_ns: u64,
    /// What its pending operation ends with.
    pub failure: Failure,
}

/// Events that cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// The events of a client are not in the order of their times.
    #[error("client {client} recorded an event at {time_ns} ns after one at {last_ns} ns")]
    Order {
        /// Who.
        client: u32,
        /// The time of the event.
        time_ns: u64,
        /// The time of the one before.
        last_ns: u64,
    },
    /// A client recorded something when it was dead.
    #[error("client {client} recorded an event at {time_ns} ns, and was dead at {death_ns} ns")]
    AfterDeath {
        /// Who.
        client: u32,
        /// The time of the event.
        time_ns: u64,
        /// The time of its death.
        death_ns: u64,
    },
    /// A client died twice.
    #[error("client {0} died twice")]
    DiedTwice(u32),
    /// An event does not fit what is pending.
    #[error("client {client} recorded the {phase} of {operation} while {pending} was pending")]
    Mismatch {
        /// Who.
        client: u32,
        /// Which moment of the operation.
        phase: Phase,
        /// Which operation.
        operation: Operation,
        /// What was pending: an operation, or `nothing`.
        pending: &'static str,
    },
    /// The lists are too long for a history, which counts listed values with 32 bits.
    #[error("the reads of one execution saw more than 2^32 values in all")]
    TooMuch,
}

/// Where an event belongs among those of others: by time, invocations first.
fn place(event: &RawEvent) -> (u64, bool) {
    (event.time_ns, event.phase != Phase::Invoke)
}

/// Puts `events`, the recordings of all clients one after the other, into the order of their times
/// and makes a history of them. Deaths of clients that recorded nothing are ignored; what the
/// others left unfinished gets its end in the history, not in `events`.
///
/// # Errors
/// When the events contradict each other. `events` may be sorted or not then.
pub fn assemble(events: &mut [RawEvent], deaths: &[Death], start: Start) -> Result<History, AssembleError> {
    let mut clients = Clients::default();
    for event in &*events {
        clients.follow(event)?;
    }
    let ends = clients.bury(deaths)?;
    // Stable, so that the order within a client stays; and quick on runs that are sorted already.
    events.sort_by_key(place);

    let mut writer = Writer::new(start);
    writer.history.events.reserve(events.len() + ends.len());
    let mut ends = ends.iter().peekable();
    for event in &*events {
        while let Some(end) = ends.next_if(|end| place(end) < place(event)) {
            writer.write(end)?;
        }
        writer.write(event)?;
    }
    for end in ends {
        writer.write(end)?;
    }
    Ok(writer.finish())
}

/// How far a client is.
#[derive(Clone, Copy, Debug)]
struct ClientState {
    client: u32,
    last: (u64, bool),
    pending: Option<Operation>,
    inside: bool,
}

/// All clients. Events of one client mostly come in a row, so the last one is looked up first.
#[derive(Default)]
struct Clients {
    states: Vec<ClientState>,
    by_number: HashMap<u32, usize>,
    current: usize,
}

impl Clients {
    fn state(&mut self, client: u32) -> &mut ClientState {
        if self.states.get(self.current).is_none_or(|state| state.client != client) {
            self.current = *self.by_number.entry(client).or_insert_with(|| {
                self.states.push(ClientState { client, last: (0, false), pending: None, inside: false });
                self.states.len() - 1
            });
        }
        &mut self.states[self.current]
    }

    fn follow(&mut self, event: &RawEvent) -> Result<(), AssembleError> {
        let RawEvent { time_ns, client, phase, operation, .. } = *event;
        let state = self.state(client);
        if place(event) < state.last {
            return Err(AssembleError::Order { client, time_ns, last_ns: state.last.0 });
        }
        state.last = place(event);
        let expected = if phase == Phase::Invoke { None } else { Some(operation) };
        if state.pending != expected {
            let pending = state.pending.map_or("nothing", Operation::name);
            return Err(AssembleError::Mismatch { client, phase, operation, pending });
        }
        state.pending = (phase == Phase::Invoke).then_some(operation);
        match (operation, phase) {
            (Operation::Acquire, Phase::Ok) => state.inside = true,
            (Operation::Release, Phase::Invoke) => state.inside = false,
            _ => {}
        }
        Ok(())
    }

    /// What deaths cut short, as events in the order of their times.
    fn bury(&self, deaths: &[Death]) -> Result<Vec<RawEvent>, AssembleError> {
        let mut ends = Vec::new();
        let mut dead = HashSet::new();
        for death in deaths {
            if !dead.insert(death.client) {
                return Err(AssembleError::DiedTwice(death.client));
            }
            if let Some(&index) = self.by_number.get(&death.client) {
                self.states[index].lay_out(death, &mut ends)?;
            }
        }
        ends.sort_by_key(place);
        Ok(ends)
    }
}

impl ClientState {
    fn lay_out(&self, death: &Death, ends: &mut Vec<RawEvent>) -> Result<(), AssembleError> {
        let Self { client, last: (last_ns, _), pending, inside } = *self;
        if last_ns > death.time_ns {
            return Err(AssembleError::AfterDeath { client, time_ns: last_ns, death_ns: death.time_ns });
        }
        let mut add = |time_ns, phase, operation, payload| {
            ends.push(RawEvent { time_ns, client, phase, operation, intended_ns: None, payload });
        };
        let died = || {
            let text = match death.failure {
                Failure::TimedOut => "the process did not come back and was killed",
                Failure::Killed => "the process was killed",
                _ => "the process died",
            };
            RawPayload::Failed(death.failure, text.to_owned())
        };
        let mut left_ns = death.struck_ns.clamp(last_ns, death.time_ns);
        if let Some(operation) = pending {
            // Unknown for ever, so the time of the `info` does not matter to what may have been;
            // only a release that has to follow it must be able to.
            add(if inside { left_ns } else { death.time_ns }, Phase::Info, operation, died());
        }
        if inside {
            // Later than the client's own last end, or its order would be lost. No client can have
            // taken the lock, and returned, in this nanosecond.
            if pending.is_some() || left_ns == last_ns {
                left_ns += 1;
            }
            add(left_ns, Phase::Invoke, Operation::Release, RawPayload::Left { refused: false });
            let ended = match death.failure {
                // It had not come to this release, so this is not one that did not come back; nor a
                // kill that its lock has to survive.
                Failure::TimedOut => {
                    RawPayload::Failed(Failure::Error, "the process was ended inside".to_owned())
                }
                _ => died(),
            };
            add(left_ns.max(death.time_ns), Phase::Info, Operation::Release, ended);
        }
        Ok(())
    }
}

/// Writes events into a history.
struct Writer {
    history: History,
    stamps: Stamps,
    listed: u64,
}

impl Writer {
    fn new(start: Start) -> Self {
        let mut history = History::new(start.object, Values::Stamps(Vec::new()));
        let mut stamps = Stamps::default();
        history.initial = start.initial.map(|stamp| stamps.number(stamp));
        Self { history, stamps, listed: 0 }
    }

    fn write(&mut self, event: &RawEvent) -> Result<(), AssembleError> {
        let payload = match &event.payload {
            RawPayload::None => Payload::None,
            RawPayload::Value(stamp) => Payload::Value(self.stamps.number(*stamp)),
            RawPayload::Absent => Payload::Absent,
            RawPayload::Torn(kind, text) => Payload::Torn(*kind, self.history.add_note(text)),
            RawPayload::List(list) => {
                self.listed += list.len() as u64;
                if self.listed > u64::from(u32::MAX) {
                    return Err(AssembleError::TooMuch);
                }
                let stamps = &mut self.stamps;
                Payload::List(self.history.add_list(list.iter().map(|&stamp| stamps.number(stamp))))
            }
            RawPayload::Failed(failure, text) => Payload::Failed(*failure, self.history.add_note(text)),
            RawPayload::Entered { held } => Payload::Entered { held: *held },
            RawPayload::Left { refused } => Payload::Left { refused: *refused },
        };
        let RawEvent { time_ns, client, phase, operation, .. } = *event;
        self.history.events.push(Event { time_ns, payload, client, phase, operation });
        Ok(())
    }

    fn finish(mut self) -> History {
        self.history.values = Values::Stamps(self.stamps.into_vec());
        self.history
    }
}

#[cfg(test)]
mod tests;
