//! What a client does in one execution: it opens the strategy, waits for the start, performs
//! operations until the time or its share is over, and records each of them.
//!
//! Nothing is computed between an invocation and the system calls of the operation, nor between
//! its return and the clock; whether a read was whole is judged afterwards.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tearproof_core::claim::Hazard;
use tearproof_core::document::{Defect, Stamp};
use tearproof_core::history::Failure;
use tearproof_core::log::{render_record, verify_log};
use tearproof_core::object::{Object, Operation};
use tearproof_core::scenario::{ClientRole, StateBefore};
use tearproof_core::set::{element_name, verify_set};
use tearproof_core::strategy::{Client, ClientContext, Found, StrategyError};

use super::control::{Moment, Step};
use super::{Opener, PartKind, Session, Unusable};
use crate::program::ChildSlot;
use crate::record::{Clock, OPERATION_WORDS, RawPayload, Recorder, ring_at};

/// A critical section shorter than this is spent spinning: a sleep would be longer.
const SHORTEST_SLEEP: Duration = Duration::from_micros(60);

impl Session<'_> {
    /// One thread of a client in one execution.
    pub(super) fn thread(&self, execution: u32, thread: usize, others: Option<&Barrier>) -> io::Result<()> {
        let PartKind::Client(role) = self.specification.processes[self.index].kind else {
            return Err(io::Error::other("only clients play"));
        };
        let role = &self.specification.plan.scenario.clients[role];
        let seat = self.seat(execution, thread);
        let mut player = self.player(&seat)?;
        let last = others.is_none_or(|barrier| barrier.wait().is_leader());
        if last {
            self.complete(execution, Step::Open)?;
        }
        let go = Moment::new(execution, Step::Go);
        let mut now = self.control.moment();
        while now < go {
            now = self.control.wait_past(now);
        }
        player.play(role)?;
        let Player { client, slot, .. } = player;
        self.put_back(thread, client, slot);
        let last = others.is_none_or(|barrier| barrier.wait().is_leader());
        if last {
            self.complete(execution, Step::Go)?;
        }
        Ok(())
    }

    /// What the auditor does.
    pub(super) fn perform_audit(&self, execution: u32) -> io::Result<()> {
        let seat = self.seat(execution, 0);
        let mut player = self.player(&seat)?;
        for &operation in self.specification.audit() {
            player.perform(operation, None, Duration::ZERO);
        }
        let Player { client, slot, .. } = player;
        self.put_back(0, client, slot);
        Ok(())
    }

    /// Acquires the lock and keeps it.
    pub(super) fn take_lock(&self, execution: u32) -> io::Result<Box<dyn Client>> {
        let seat = self.seat(execution, 0);
        let mut player = self.player(&seat)?;
        player.recorder.invoke(Operation::Acquire, None, None);
        let answer = player.client.acquire(seat.context.patience);
        let returned = player.clock.now();
        match answer {
            Ok(held) => {
                let payload = RawPayload::Entered { held: held.still };
                player.recorder.ok_at(returned, Operation::Acquire, &payload);
                Ok(player.client)
            }
            Err(error) => Err(io::Error::other(format!("taking the lock beforehand: {error}"))),
        }
    }

    /// The place of a thread in an execution.
    pub(super) fn seat(&self, execution: u32, thread: usize) -> Seat {
        let line = self.specification.processes[self.index].first_thread + thread;
        let number = self.control.thread(line).client().load(Ordering::SeqCst);
        let seed = self.specification.plan.seed_for(&[u64::from(execution), u64::from(number)]);
        Seat {
            thread,
            line,
            context: self.specification.context(execution, number),
            random: SmallRng::seed_from_u64(seed),
            lenient: !self.specification.all_built_in(),
        }
    }

    /// Opens a client there.
    pub(super) fn player<'s>(&'s self, seat: &'s Seat) -> io::Result<Player<'s>> {
        let (client, slot) = self.open(seat.thread, &seat.context).map_err(|error| match &self.opener {
            Opener::Driven(_) => Unusable::error(error.to_string()),
            Opener::Inside(_) => io::Error::other(format!("opening: {error}")),
        })?;
        let clock = match self.specification.gated {
            true => Clock::Steps(self.control.step_clock()),
            false => Clock::Monotonic,
        };
        let layout = self.control.layout();
        let producer = ring_at(self.memory, layout.ring_start(seat.line), layout.ring).producer();
        let number = seat.context.client;
        let played = slot.as_ref().map(|slot| slot.cue().played_for()).unwrap_or_default();
        let recorder = match played.is_nothing() {
            true => Recorder::with_clock(producer, number, clock),
            false => Recorder::taking_over(producer, number, clock, played.asked),
        };
        Ok(Player {
            session: self,
            seat,
            recorder,
            clock,
            client,
            slot,
            sequence: 0,
            buffer: Vec::new(),
            document: Vec::new(),
            random: seat.random.clone(),
        })
    }
}

/// What is known of a thread's part in an execution before anything of it was done.
pub(super) struct Seat {
    /// Which thread of its process.
    pub(super) thread: usize,
    /// Its line of the shared memory.
    pub(super) line: usize,
    pub(super) context: ClientContext,
    random: SmallRng,
    /// Documents may be spelt differently.
    lenient: bool,
}

/// A client at work.
pub(super) struct Player<'s> {
    session: &'s Session<'s>,
    seat: &'s Seat,
    clock: Clock<'s>,
    recorder: Recorder<'s>,
    pub(super) client: Box<dyn Client>,
    pub(super) slot: Option<Arc<ChildSlot>>,
    sequence: u32,
    buffer: Vec<u8>,
    document: Vec<u8>,
    random: SmallRng,
}

/// The operation that comes at this place of a script: each kind as often in a row as it weighs, those
/// that change something first.
fn nth(role: &ClientRole, count: u32) -> Operation {
    let weights: u32 = role.does.iter().map(|&(_, weight)| weight).sum();
    let mut left = count % weights.max(1);
    let reads = |operation: Operation| operation == Operation::Read;
    let first = role.does.iter().filter(|(operation, _)| !reads(*operation));
    for &(operation, weight) in first.chain(role.does.iter().filter(|(operation, _)| reads(*operation))) {
        if left < weight {
            return operation;
        }
        left -= weight;
    }
    role.does[0].0
}

impl Player<'_> {
    /// # Errors
    /// When the program that this client drives cannot be started any more: going on is pointless.
    fn play(&mut self, role: &ClientRole) -> io::Result<()> {
        let limits = &self.session.specification.plan.scenario.stress;
        let most = role.operations.unwrap_or(limits.operations);
        let weights: u32 = role.does.iter().map(|&(_, weight)| weight).sum();
        let period_ns = role.rate.map(|rate| (1e9 / rate) as u64);
        let begun_ns = self.clock.now();
        for count in 0..most {
            let deadline_ns = self.session.control.deadline_ns().load(Ordering::SeqCst);
            let intended_ns = period_ns.map(|period_ns| begun_ns + u64::from(count) * period_ns);
            if intended_ns.unwrap_or(0).max(self.clock.now()) >= deadline_ns {
                break;
            }
            // A section is two operations.
            if !self.recorder.has_room(2 * OPERATION_WORDS) {
                self.session.control.thread(self.seat.line).stopped_for_room().fetch_add(1, Ordering::SeqCst);
                break;
            }
            if let Some(why) = self.slot.as_ref().and_then(|slot| slot.defunct()) {
                return Err(Unusable::error(why));
            }
            if let Some(intended_ns) = intended_ns {
                let early = intended_ns.saturating_sub(self.clock.now());
                if early > 0 {
                    std::thread::sleep(Duration::from_nanos(early));
                }
            }
            let operation = self.choose(role, weights);
            self.perform(operation, intended_ns, role.hold);
        }
        Ok(())
    }

    fn choose(&mut self, role: &ClientRole, weights: u32) -> Operation {
        if let [(operation, _)] = role.does[..] {
            return operation;
        }
        let mut left = self.random.random_range(0..weights);
        for &(operation, weight) in &role.does {
            if left < weight {
                return operation;
            }
            left -= weight;
        }
        unreachable!("the weights add up")
    }

    fn next_stamp(&mut self) -> Stamp {
        self.sequence += 1;
        Stamp::new(self.seat.context.client, self.sequence)
    }

    /// Plays a fixed number of operations, each kind in its turn.
    pub(super) fn play_script(&mut self, role: &ClientRole, operations: u32) {
        let line = self.session.control.thread(self.seat.line);
        let played = self.slot.as_ref().map(|slot| slot.cue().played_for()).unwrap_or_default();
        for count in 0..operations {
            if u64::from(count) < played.done {
                self.pass_over(nth(role, count));
                continue;
            }
            line.operations().store(count + 1, Ordering::SeqCst);
            // Who drives a program may come late where another one is suspended.
            if self.slot.is_some() && self.session.specification.plan.hazard == Hazard::Pause {
                line.mark_operation();
            }
            let operation = nth(role, count);
            self.perform(operation, None, role.hold);
        }
        if let Some(slot) = &self.slot {
            // Whatever became of it, it is over.
            slot.cue().take_over();
        }
    }

    /// An operation was done in this client's place.
    fn pass_over(&mut self, operation: Operation) {
        if operation != Operation::Read {
            self.next_stamp();
        }
    }

    pub(super) fn perform(&mut self, operation: Operation, intended_ns: Option<u64>, hold: Duration) {
        match operation {
            Operation::Read => {
                self.recorder.invoke(operation, None, intended_ns);
                let answer = self.client.read(&mut self.buffer);
                let returned = self.clock.now();
                match answer {
                    Ok(found) => {
                        let seen = self.seen(found);
                        self.recorder.ok_at(returned, operation, &seen);
                    }
                    Err(error) => self.failed(returned, operation, error),
                }
            }
            Operation::Write | Operation::Cas => {
                let stamp = self.next_stamp();
                self.seat.context.shape.render(stamp, &mut self.document);
                self.recorder.invoke(Operation::Write, Some(stamp), intended_ns);
                let answer = self.client.write(&self.document);
                self.changed(self.clock.now(), Operation::Write, answer);
            }
            Operation::Update => {
                let stamp = self.next_stamp();
                let element = element_name(stamp);
                self.recorder.invoke(operation, Some(stamp), intended_ns);
                let answer = self.client.update(&element);
                self.changed(self.clock.now(), operation, answer);
            }
            Operation::Append => {
                let stamp = self.next_stamp();
                let record = render_record(stamp, self.seat.context.shape.size);
                self.recorder.invoke(operation, Some(stamp), intended_ns);
                let answer = self.client.append(&record);
                self.changed(self.clock.now(), operation, answer);
            }
            Operation::Acquire | Operation::Release => self.section(intended_ns, hold),
        }
    }

    /// Acquire, hold, release. In the section the client writes to a protected resource, once at
    /// either end: one that knows fencing tokens refuses whoever comes with an old one.
    fn section(&mut self, intended_ns: Option<u64>, hold: Duration) {
        self.recorder.invoke(Operation::Acquire, None, intended_ns);
        let answer = self.client.acquire(self.seat.context.patience);
        let held = match answer {
            Ok(held) => held,
            Err(error) => return self.failed(self.clock.now(), Operation::Acquire, error),
        };
        let holder = self.slot.as_ref().and_then(|slot| slot.pid());
        self.mark_section();
        let accepted = self.write_protected(held.token);
        let entered = self.clock.now();
        self.recorder.ok_at(entered, Operation::Acquire, &RawPayload::Entered { held: held.still });
        let inside = self.session.control.thread(self.seat.line);
        inside.inside().store(1, Ordering::SeqCst);
        if hold >= SHORTEST_SLEEP {
            std::thread::sleep(hold);
        } else {
            let until = entered + hold.as_nanos() as u64;
            while matches!(self.clock, Clock::Monotonic) && self.clock.now() < until {
                std::hint::spin_loop();
            }
        }
        self.mark_section();
        let accepted = accepted && self.write_protected(held.token);
        let left = self.clock.now();
        // A program that died in the section lost its lock at a moment that nobody knows: it cannot
        // be blamed for whoever came in since. Asked after the time was taken, not before.
        let died = holder.is_some()
            && self.slot.as_ref().is_some_and(|slot| slot.pid() != holder || !slot.is_alive());
        inside.inside().store(0, Ordering::SeqCst);
        let payload = RawPayload::Left { refused: !accepted || died };
        self.recorder.invoke_at(left, Operation::Release, &payload);
        let answer = self.client.release();
        self.changed(self.clock.now(), Operation::Release, answer);
    }

    /// Where clients run one at a time, either end of the section is a step of its own.
    fn mark_section(&self) {
        if self.session.specification.gated {
            self.session.control.thread(self.seat.line).mark_section();
        }
    }

    /// Whether the protected resource takes a write that comes with this token. Without tokens it
    /// takes everything.
    fn write_protected(&self, token: Option<u64>) -> bool {
        let Some(token) = token else { return true };
        self.session.control.fence().fetch_max(token, Ordering::SeqCst) <= token
    }

    fn changed(&mut self, returned: u64, operation: Operation, answer: Result<(), StrategyError>) {
        match answer {
            Ok(()) => self.recorder.ok_at(returned, operation, &RawPayload::None),
            Err(error) => self.failed(returned, operation, error),
        }
    }

    fn failed(&mut self, returned: u64, operation: Operation, error: StrategyError) {
        match error {
            StrategyError::Failed { failure, message } => {
                self.recorder.fail_at(returned, operation, failure, &message);
            }
            StrategyError::Unknown { failure, message } => {
                self.recorder.info_at(returned, operation, failure, &message);
            }
            StrategyError::Unsupported(what) => {
                let message = format!("{what} is not supported");
                self.recorder.fail_at(returned, operation, Failure::Error, &message);
            }
            StrategyError::Torn { kind, message } => {
                self.recorder.ok_at(returned, operation, &RawPayload::Torn(kind, message));
            }
        }
    }

    /// What a completed read saw.
    fn seen(&self, found: Found) -> RawPayload {
        if found == Found::Absent {
            return RawPayload::Absent;
        }
        // What was there at the start is no value, and no defect of whoever writes.
        let initial = match &self.session.specification.plan.scenario.before.state {
            StateBefore::Empty => self.buffer.is_empty(),
            StateBefore::Text(text) => self.buffer == text.as_bytes(),
            StateBefore::Present | StateBefore::Absent => false,
        };
        let torn = |defect: Defect| match initial {
            true => RawPayload::Absent,
            false => RawPayload::Torn(defect.kind, defect.detail),
        };
        let context = &self.seat.context;
        match context.object {
            Object::Register => {
                let verified = if self.seat.lenient {
                    context.shape.verify_content(&self.buffer)
                } else {
                    context.shape.verify(&self.buffer)
                };
                verified.map_or_else(torn, RawPayload::Value)
            }
            Object::Set => {
                let counted = !self.seat.lenient;
                verify_set(context.format, &self.buffer, counted).map_or_else(torn, RawPayload::List)
            }
            Object::Log => verify_log(&self.buffer).map_or_else(torn, RawPayload::List),
            Object::Lock => RawPayload::None,
        }
    }
}
