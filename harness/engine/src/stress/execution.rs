//! One execution: a fresh state directory, the clients let loose in it at the same instant, the
//! hazard, the auditor, and the history of it all.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tearproof_core::claim::Hazard;
use tearproof_core::document::{Format, TornKind};
use tearproof_core::history::{Aftermath, Failure, History, Phase};
use tearproof_core::object::{Object, Operation};
use tearproof_core::scenario::{ClientRole, Lifetime, LockBefore, StateBefore};
use tearproof_core::set::SetDocument;

use super::hazard::HazardSource;
use super::probe::Probe;
use super::session::{Session, Trouble, Waited};
use crate::process::Interrupt;
use crate::record::{Death, Drain, RawEvent, RawPayload, SharedMemory, Start, assemble, now_ns, ring_at};
use crate::worker::{Moment, Opener, PartKind, Specification, Step};

/// What one execution brought.
pub struct Executed {
    /// Its history.
    pub history: History,
    /// Its raw events in the order of their times, for latencies.
    pub events: Vec<RawEvent>,
    /// When the clients were let loose.
    pub go_ns: u64,
    /// When the audit began.
    pub audit_ns: u64,
    /// Kills that were delivered.
    pub kills: u64,
    /// Pauses that were delivered.
    pub pauses: u64,
    /// The longest time for which the machine kept a client from running although nobody paused
    /// it. Measured where leases depend on it.
    pub stalled: Duration,
}

/// What is the same for all executions of a session.
pub struct Stage<'a> {
    pub specification: &'a Specification,
    pub memory: &'a SharedMemory,
    pub opener: &'a Opener,
    /// Every strategy that takes part: mixed versions of a tool each keep files of their own.
    pub strategies: &'a [Opener],
    pub interrupt: &'a Interrupt,
}

impl Stage<'_> {
    /// Runs one execution of at most `length`.
    ///
    /// # Errors
    /// When the world cannot be made, or processes keep dying.
    pub fn execute(
        &self,
        session: &mut Session<'_>,
        execution: u32,
        length: Duration,
    ) -> Result<Executed, Trouble> {
        let hang = self.specification.plan.scenario.stress.hang;
        let dir = self.specification.execution_dir(execution);
        self.make_world(execution)?;
        session.number_clients();
        session.control().fence().store(0, Ordering::SeqCst);

        let servers = session.parts(|kind| kind == PartKind::Server);
        let clients = session.parts(|kind| matches!(kind, PartKind::Client(_)));
        self.step(session, execution, Step::Serve, &servers)?;
        self.plant(session, execution)?;
        self.step(session, execution, Step::Open, &clients)?;

        let go_ns = now_ns();
        let deadline_ns = go_ns + length.as_nanos() as u64;
        session.control().deadline_ns().store(deadline_ns, Ordering::SeqCst);
        session.control().advance(Moment::new(execution, Step::Go));
        let mut hazard = HazardSource::new(self.specification, execution, length);
        let end = Instant::now() + length;
        let done = Moment::new(execution, Step::Go);
        loop {
            let now = Instant::now();
            let next = hazard.next().map_or(end, |at| at.min(end));
            if now < next {
                if session.wait(&clients, done, next)? == Waited::Complete {
                    break;
                }
            } else if now < end {
                hazard.strike(session, &clients, &servers, done)?;
            } else {
                hazard.relent(session);
                if session.wait(&clients, done, end + self.patience_of_operations())? == Waited::Complete {
                    break;
                }
                self.end_the_hanging(session, &clients, done)?;
            }
            if self.interrupt.raised() {
                session.control().deadline_ns().store(0, Ordering::SeqCst);
            }
        }
        hazard.relent(session);

        // Who serves in the place of a killed server may not be there yet.
        session.wait(&servers, Moment::new(execution, Step::Serve), Instant::now() + hang)?;
        let audit_ns = now_ns();
        let auditor = session.parts(|kind| kind == PartKind::Auditor);
        self.step_or_kill(session, execution, Step::Audit, &auditor)?;
        self.step_or_kill(session, execution, Step::End, &servers)?;

        let (history, events) = self.collect(session, execution)?;
        let (kills, pauses) = (hazard.kills, hazard.pauses);
        fs::remove_dir_all(&dir).map_err(Trouble::environment(format!("removing {}", dir.display())))?;
        if self.specification.plan.hazard == Hazard::Kill {
            // The next audit is to be made by a process that has not seen this execution either.
            session.kill_and_replace(self.specification.auditor(), Failure::Killed)?;
        }
        if let [planter] = session.parts(|kind| kind == PartKind::Planter)[..]
            && self.specification.plan.scenario.before.lock != LockBefore::LiveHolder
        {
            session.replace(planter)?;
        }
        let stalled = session.longest_stall();
        Ok(Executed { history, events, go_ns, audit_ns, kills, pauses, stalled })
    }

    /// Runs an execution in which nobody plays but the auditor, on a target that was made special:
    /// what becomes of its metadata?
    ///
    /// # Errors
    /// As [`Stage::execute`].
    pub fn probe(
        &self,
        session: &mut Session<'_>,
        execution: u32,
        probe: Probe,
    ) -> Result<Option<Executed>, Trouble> {
        let dir = self.specification.execution_dir(execution);
        self.make_world(execution)?;
        let file = self.specification.context(execution, 0).file;
        let special = match probe.apply(&file) {
            // Somebody else removed it meanwhile: there is nothing to be made special.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            applied => applied.map_err(Trouble::environment(format!("{probe:?} of {}", file.display())))?,
        };
        let executed = if special {
            session.number_clients();
            let servers = session.parts(|kind| kind == PartKind::Server);
            let auditor = session.parts(|kind| kind == PartKind::Auditor);
            self.step(session, execution, Step::Serve, &servers)?;
            let go_ns = now_ns();
            self.step_or_kill(session, execution, Step::Audit, &auditor)?;
            self.step_or_kill(session, execution, Step::End, &servers)?;
            let (mut history, events) = self.collect(session, execution)?;
            history.aftermath.probed = true;
            history.aftermath.drift = probe.drift(&file, self.opener.strategy().follows_symlinks());
            let stalled = Duration::ZERO;
            Some(Executed { history, events, go_ns, audit_ns: go_ns, kills: 0, pauses: 0, stalled })
        } else {
            None
        };
        fs::remove_dir_all(&dir).map_err(Trouble::environment(format!("removing {}", dir.display())))?;
        Ok(executed)
    }

    /// Everything that was recorded in an execution, as a history.
    fn collect(&self, session: &Session<'_>, execution: u32) -> Result<(History, Vec<RawEvent>), Trouble> {
        let mut events = Vec::new();
        let mut full = 0;
        let layout = session.control().layout();
        for thread in 0..layout.threads {
            let mut ring = Drain::new(ring_at(self.memory, layout.ring_start(thread), layout.ring));
            ring.drain(&mut events)
                .map_err(|error| Trouble::Processes(format!("reading what a client recorded: {error}")))?;
            full += ring.take_refused();
            full += u64::from(session.control().thread(thread).stopped_for_room().swap(0, Ordering::SeqCst));
        }
        let start = Start {
            object: self.specification.plan.scenario.state.object,
            initial: self.specification.initial(),
        };
        if matches!(self.specification.plan.scenario.before.state, StateBefore::Empty | StateBefore::Text(_))
        {
            tear_what_came_back(&mut events);
        }
        let mut history = assemble(&mut events, session.deaths(), start)
            .map_err(|error| Trouble::Processes(format!("putting a history together: {error}")))?;
        history.roles = session.roles();
        if full > 0 {
            history.limit = Some(format!(
                "{full} clients filled their ring of {} bytes and stopped before the execution was over",
                layout.ring
            ));
        }
        // What somebody leaves behind whom we ended, or who broke down, is no habit of the strategy's.
        let ended = |death: &Death| death.failure == Failure::TimedOut || death.struck_ns == 0;
        let kills = self.specification.plan.hazard == Hazard::Kill;
        if kills || !session.deaths().iter().any(ended) {
            history.aftermath = self.inspect(execution);
        }
        Ok((history, events))
    }

    pub(crate) fn make_world(&self, execution: u32) -> Result<(), Trouble> {
        let context = self.specification.context(execution, 0);
        let making = || Trouble::environment(format!("making {}", context.dir.display()));
        fs::create_dir_all(&context.dir).map_err(making())?;
        let scenario = &self.specification.plan.scenario;
        let document = self.initial_document();
        self.opener.strategy().prepare(&context, document.as_deref()).map_err(|error| {
            Trouble::Processes(format!(
                "preparing the state for `{}`: {error}",
                self.specification.plan.strategy
            ))
        })?;
        if scenario.before.state == StateBefore::Empty {
            fs::write(&context.file, b"").map_err(making())?;
        }
        if let LockBefore::Text(text) = &scenario.before.lock {
            fs::write(&context.file, text).map_err(making())?;
        }
        Ok(())
    }

    fn initial_document(&self) -> Option<Vec<u8>> {
        let state = &self.specification.plan.scenario.state;
        match &self.specification.plan.scenario.before.state {
            StateBefore::Absent | StateBefore::Empty => None,
            StateBefore::Text(text) => Some(text.clone().into_bytes()),
            StateBefore::Present if state.opaque => None,
            StateBefore::Present => match state.object {
                Object::Register => {
                    let mut document = Vec::new();
                    state.shape().render(tearproof_core::Stamp::INITIAL, &mut document);
                    Some(document)
                }
                Object::Set => {
                    let counted = self.specification.all_built_in() || state.format == Format::Bytes;
                    Some(SetDocument::default().render_as(state.format, counted))
                }
                Object::Log => Some(Vec::new()),
                Object::Lock => None,
            },
        }
    }

    /// Announces a step and waits until these processes have done their part.
    fn step(
        &self,
        session: &mut Session<'_>,
        execution: u32,
        step: Step,
        who: &[usize],
    ) -> Result<(), Trouble> {
        let moment = Moment::new(execution, step);
        session.control().advance(moment);
        let patience = self.specification.step_patience(who);
        match session.wait(who, moment, Instant::now() + patience)? {
            Waited::Complete => Ok(()),
            Waited::Late => {
                let late: Vec<usize> =
                    who.iter().copied().filter(|&process| !session.has_completed(process, moment)).collect();
                let first = late.first().map(|&process| self.specification.title(process));
                let mut said = format!(
                    "{} did not {} within {patience:?}",
                    first.unwrap_or_else(|| "a process".to_owned()),
                    match step {
                        Step::Serve => "begin to serve",
                        Step::Plant => "take the lock beforehand",
                        Step::Open => "open the state",
                        Step::Go | Step::Audit | Step::End => "do its part",
                    }
                );
                if late.len() > 1 {
                    said += &format!(", nor did {} others", late.len() - 1);
                }
                for line in session.complaints() {
                    said += &format!("; {line}");
                }
                Err(Trouble::Processes(said))
            }
        }
    }

    /// As [`Stage::step`], for processes whose hanging is a finding and no trouble of ours.
    fn step_or_kill(
        &self,
        session: &mut Session<'_>,
        execution: u32,
        step: Step,
        who: &[usize],
    ) -> Result<(), Trouble> {
        let moment = Moment::new(execution, step);
        session.control().advance(moment);
        let patience = self.specification.step_patience(who);
        if session.wait(who, moment, Instant::now() + patience)? == Waited::Late {
            self.end_the_hanging(session, who, moment)?;
        }
        Ok(())
    }

    /// How long an operation that was begun in time may go on after that. Where each has a process of its
    /// own, this one may have to greet first.
    fn patience_of_operations(&self) -> Duration {
        let fresh = |role: &ClientRole| role.lifetime == Lifetime::Operation;
        if self.specification.plan.scenario.clients.iter().any(fresh) {
            let clients: Vec<usize> = (0..self.specification.processes.len()).collect();
            self.specification.step_patience(&clients)
        } else {
            self.specification.plan.scenario.stress.hang
        }
    }

    fn end_the_hanging(
        &self,
        session: &mut Session<'_>,
        who: &[usize],
        moment: Moment,
    ) -> Result<(), Trouble> {
        for &process in who {
            if !session.has_completed(process, moment) {
                session.kill(process, Failure::TimedOut)?;
                session.replace_after(process, moment)?;
            }
        }
        Ok(())
    }

    /// Has the lock taken, and its holder killed or its lease run out, as the scenario wants.
    fn plant(&self, session: &mut Session<'_>, execution: u32) -> Result<(), Trouble> {
        let planters = session.parts(|kind| kind == PartKind::Planter);
        let Some(&planter) = planters.first() else { return Ok(()) };
        self.step(session, execution, Step::Plant, &planters)?;
        let scenario = &self.specification.plan.scenario;
        if scenario.before.lock != LockBefore::LiveHolder {
            session.kill(planter, Failure::Killed)?;
        }
        if scenario.before.lock == LockBefore::Expired {
            std::thread::sleep(scenario.stress.lease + scenario.stress.lease / 4);
        }
        Ok(())
    }

    /// What is in the state directory that nobody declared.
    pub(crate) fn inspect(&self, execution: u32) -> Aftermath {
        let context = self.specification.context(execution, 0);
        let keeps = |name: &str| {
            name == self.specification.plan.scenario.state.file
                || self.strategies.iter().any(|opener| opener.strategy().keeps(&context, name))
        };
        let Ok(entries) = fs::read_dir(&context.dir) else { return Aftermath::default() };
        let mut left_behind: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .filter(|name| !keeps(name))
            .collect();
        left_behind.sort_unstable();
        Aftermath { left_behind, drift: Vec::new(), inspected: true, probed: false }
    }
}

/// A state file that is empty at first, or holds a text, reads as no value until the first change
/// is acknowledged. Who finds it like that afterwards saw it emptied, or put back: a torn read.
/// `events` are the recordings of all clients, one after the other.
pub(crate) fn tear_what_came_back(events: &mut [RawEvent]) {
    let changes = |event: &&RawEvent| {
        event.phase == Phase::Ok && !matches!(event.operation, Operation::Read | Operation::Acquire)
    };
    let Some(changed_ns) = events.iter().filter(changes).map(|event| event.time_ns).min() else { return };
    let mut invoked_ns = 0;
    for event in events {
        if event.phase == Phase::Invoke {
            invoked_ns = event.time_ns;
        } else if event.payload == RawPayload::Absent && invoked_ns > changed_ns {
            let text = "what was there before the first change, after that had been acknowledged";
            event.payload = RawPayload::Torn(TornKind::Empty, text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_content_counts_as_no_value_until_it_was_changed() {
        let event = |time_ns, phase, operation, payload| RawEvent {
            time_ns,
            client: 1,
            phase,
            operation,
            intended_ns: None,
            payload,
        };
        let read = |at| {
            [
                event(at, Phase::Invoke, Operation::Read, RawPayload::None),
                event(at + 5, Phase::Ok, Operation::Read, RawPayload::Absent),
            ]
        };
        let write = [
            event(11, Phase::Invoke, Operation::Write, RawPayload::None),
            event(20, Phase::Ok, Operation::Write, RawPayload::None),
        ];
        let mut events = [read(10), write, read(21)].concat();
        tear_what_came_back(&mut events);
        assert_eq!(events[1].payload, RawPayload::Absent);
        assert!(matches!(events[5].payload, RawPayload::Torn(TornKind::Empty, _)));
    }
}
