//! The client of a program that speaks the worker protocol: [`WorkerClient`].
//!
//! Whatever a worker does that the protocol does not foresee, in answer to an operation, leaves
//! its outcome unknown: the process is killed and reaped, and the next operation starts a fresh
//! one. An operation that was never handed over certainly was not applied: a worker that was found
//! dead beforehand is replaced without the operation noticing, unless it held a lock.
//!
//! A worker that cannot be started fails the operation. After [`START_ATTEMPTS`] failures in a row
//! the client gives up for good; [`ChildSlot::defunct`] says so. One that never greeted in time is not
//! tried again: each attempt would cost all of that time.
//!
//! Messages name neither processes nor requests by number, so that equal ones are seen to be equal.

use std::ffi::OsString;
use std::fmt::Write;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tearproof_core::history::Failure;
use tearproof_core::object::Operation;
use tearproof_core::scenario::Lifetime;
use tearproof_core::strategy::{Client, ClientContext, Found, Held, StrategyError};

use super::content::{NoContent, excerpt};
use super::message::{Answer, Argument, Kind, PROTOCOL, write_hello, write_operation, write_stop};
use super::process::{Interruption, Process, describe};
use super::settings::Settings;
use super::slot::ChildSlot;

/// How often in a row a program may fail to start before its client gives up.
pub(super) const START_ATTEMPTS: u32 = 3;

/// How long a worker may take to end after it was told to stop and its standard input was closed.
const STOP_GRACE: Duration = Duration::from_secs(2);

const LINE_HINT: &str = "a worker prints one JSON object a line on its standard output and nothing else; \
                         diagnostics belong on standard error";

/// One client of a program that speaks the worker protocol.
pub(super) struct WorkerClient {
    settings: Settings,
    command: Vec<OsString>,
    lifetime: Lifetime,
    slot: Arc<ChildSlot>,
    worker: Option<Worker>,
    /// Whether the process holds the lock, so that no other process can release it.
    holding: bool,
    failed_starts: u32,
    /// Whether a process of this client has ever become ready.
    has_greeted: bool,
    next_id: u64,
    /// The request on its way; kept so that its memory is used again.
    request: Vec<u8>,
}

struct Worker {
    process: Process,
    /// What it can do; `None`: it did not say.
    operations: Option<Vec<Operation>>,
}

impl WorkerClient {
    /// A client; its process is started at once, unless each operation has one of its own.
    pub fn open(
        settings: Settings,
        command: &[String],
        lifetime: Lifetime,
        slot: Arc<ChildSlot>,
    ) -> Result<Self, StrategyError> {
        let mut client = Self {
            settings,
            command: command.iter().map(OsString::from).collect(),
            lifetime,
            slot,
            worker: None,
            holding: false,
            failed_starts: 0,
            has_greeted: false,
            next_id: 1,
            request: Vec::new(),
        };
        if lifetime == Lifetime::Session {
            while let Err(error) = client.start() {
                if client.slot.defunct().is_some() {
                    return Err(error);
                }
            }
        }
        Ok(client)
    }

    /// Does one operation and returns the answer to it, which is of the kind `ok`.
    fn perform(
        &mut self,
        operation: Operation,
        argument: Argument<'_>,
        allowed: Duration,
    ) -> Result<Answer, StrategyError> {
        if !self.settings.object.operations().contains(&operation) {
            return Err(StrategyError::Unsupported(operation));
        }
        let held = std::mem::take(&mut self.holding);
        let result = self.ask(operation, argument, allowed, held);
        match (&result, operation) {
            (Ok(_), Operation::Acquire) => self.holding = self.worker.is_some(),
            // A holder that was found to be dead does not hold any more.
            _ if held && operation != Operation::Release => self.holding = self.worker.is_some(),
            _ => {}
        }
        let ends = self.lifetime == Lifetime::Operation && !self.holding;
        // What its process does on exit is a part of the operation, which returns when that has ended.
        if ends && self.stop() && result.is_ok() {
            return Err(killed_by_the_harness(operation));
        }
        result
    }

    fn ask(
        &mut self,
        operation: Operation,
        argument: Argument<'_>,
        allowed: Duration,
        held: bool,
    ) -> Result<Answer, StrategyError> {
        let played = self.slot.cue().take_over();
        // One request an operation: locks are nobody else's to play.
        self.next_id += played.done;
        // Twice: the process may die between the look at it and the request.
        for attempt in 0..2 {
            let asked = played.asked && attempt == 0;
            if !asked {
                self.find_worker(operation, held)?;
            }
            let Some(worker) = &mut self.worker else { break };
            if worker.operations.as_ref().is_some_and(|known| !known.contains(&operation)) {
                return Err(StrategyError::Unsupported(operation));
            }
            let id = self.next_id;
            self.next_id += 1;
            write_operation(&mut self.request, id, operation, &self.settings.path, argument);
            let mut sent = if asked { self.request.len() } else { 0 };
            self.slot.cue().note_request(&self.request, worker.process.stdin());
            match worker.process.exchange(&self.request, &mut sent, self.settings.line_limit, allowed) {
                Ok(length) => {
                    let answer = self.parse(operation, id, length)?;
                    return self.accept(operation, answer);
                }
                Err(Interruption::Ended) if sent == 0 && !held && attempt == 0 => self.worker = None,
                Err(interruption) => return Err(self.interrupted(operation, &interruption, allowed)),
            }
        }
        Err(StrategyError::failed(format!(
            "{} died before {operation} could be sent to it",
            self.settings.title
        )))
    }

    /// Makes sure that there is a process which waits for a request.
    fn find_worker(&mut self, operation: Operation, held: bool) -> Result<(), StrategyError> {
        let Some(worker) = &mut self.worker else { return self.start_for(operation) };
        let state = worker.process.check_idle();
        match state {
            Ok(()) if worker.process.output.is_empty() => Ok(()),
            Ok(()) => {
                let stray = excerpt(&worker.process.output);
                let reason = format!("printed {stray} without being asked; {LINE_HINT}");
                let error = self.broken(operation, Failure::Error, reason);
                // The request was not sent. But a holder takes its lock with it.
                Err(if held { error } else { certainly_not_applied(error) })
            }
            Err(interruption) if held => {
                let error = self.interrupted(operation, &interruption, Duration::ZERO);
                Err(prefixed(error, "the process that held the lock is gone: "))
            }
            Err(_) => {
                self.worker = None;
                self.start_for(operation)
            }
        }
    }

    /// Starts a process for an operation, which is cut short with it if a hazard strikes already then.
    fn start_for(&mut self, operation: Operation) -> Result<(), StrategyError> {
        self.start().map_err(|error| match error {
            StrategyError::Failed { failure: Failure::Killed, .. } => {
                certainly_not_applied(killed_by_the_harness(operation))
            }
            other => other,
        })
    }

    /// Starts a process and exchanges greetings with it.
    fn start(&mut self) -> Result<(), StrategyError> {
        if let Some(message) = self.slot.defunct() {
            return Err(StrategyError::failed(message));
        }
        // What it is greeted with is no request of an operation.
        self.slot.cue().forget_request();
        let title = &self.settings.title;
        let directory = &self.settings.directory;
        let started = Process::start(&self.command, directory, true, self.settings.verbose, &self.slot);
        let mut process = match started {
            Ok(process) => process,
            Err(error) => {
                let message = self.settings.spawn_error(&self.command, &error);
                return Err(self.start_failed(message, error.kind() == ErrorKind::NotFound));
            }
        };
        write_hello(&mut self.request, self.settings.client, self.settings.seed);
        let limit = self.settings.start_timeout;
        let outcome = process.exchange(&self.request, &mut 0, self.settings.line_limit, limit);
        let silent = matches!(outcome, Err(Interruption::TimedOut));
        let greeted = match outcome {
            Ok(length) => {
                let line: Vec<u8> = process.output.drain(..=length).collect();
                greeting(&line[..length]).map_err(|reason| format!("did not become ready: {reason}"))
            }
            Err(Interruption::TimedOut) => Err(format!(
                "did not greet within {limit:?}; it must print {{\"t\":\"ready\",\"proto\":{PROTOCOL},…}} on a \
                 line and flush its standard output"
            )),
            Err(other) => Err(format!("did not become ready: {}", self.settings.explain(&other))),
        };
        match greeted {
            Ok(Greeting { operations, reusable }) => {
                process.forget_stderr();
                self.slot.declare_reusable(reusable && self.lifetime == Lifetime::Session);
                self.worker = Some(Worker { process, operations });
                self.has_greeted = true;
                self.failed_starts = 0;
                Ok(())
            }
            Err(reason) => {
                let printed = excerpt(&process.output);
                let exit = process.reap();
                let mut message = format!("{title} {reason}");
                if let Some(exit) = exit {
                    // One that was still alive was killed just now, which is of no interest.
                    if exit.status.code().is_some() || exit.killed_by_hazard {
                        let _ = write!(message, "; it {}", describe(exit.status));
                    }
                }
                if !process.output.is_empty() {
                    let _ = write!(message, "; it had printed {printed}");
                }
                message += &process.stderr_suffix();
                if exit.is_some_and(|exit| exit.killed_by_hazard) {
                    return Err(StrategyError::Failed { failure: Failure::Killed, message });
                }
                Err(self.start_failed(message, silent && !self.has_greeted))
            }
        }
    }

    /// Takes note of a start that failed; `for_good` where another one would do no better.
    fn start_failed(&mut self, message: String, for_good: bool) -> StrategyError {
        self.failed_starts += 1;
        if for_good {
            self.slot.give_up(&message);
        } else if self.failed_starts >= START_ATTEMPTS {
            self.slot.give_up(&format!("{message} (given up after {START_ATTEMPTS} attempts)"));
        }
        StrategyError::failed(message)
    }

    /// The answer in the first `length` bytes of the output, if it is one to this request.
    fn parse(&mut self, operation: Operation, id: u64, length: usize) -> Result<Answer, StrategyError> {
        let Some(worker) = &mut self.worker else {
            return Err(StrategyError::unknown("the worker is gone"));
        };
        let output = &mut worker.process.output;
        let wrong = match serde_json::from_slice::<Answer>(&output[..length]) {
            Ok(answer) if answer.t == Kind::Ready => {
                "answered with `ready` where a result was due".to_owned()
            }
            Ok(answer) if answer.id == Some(id) => {
                // What follows the line was not asked for; the next operation trips over it.
                output.drain(..=length);
                return Ok(answer);
            }
            Ok(answer) => match answer.id {
                Some(_) => "answered with another \"id\" than that of the request".to_owned(),
                None => "answered without the \"id\" of the request".to_owned(),
            },
            Err(error) => {
                format!("printed {}, which is no answer ({error}); {LINE_HINT}", excerpt(&output[..length]))
            }
        };
        Err(self.broken(operation, Failure::Error, wrong))
    }

    /// What an answer to this operation means.
    fn accept(&mut self, operation: Operation, answer: Answer) -> Result<Answer, StrategyError> {
        let failure = match answer.failure {
            _ if answer.busy == Some(true) => Failure::Busy,
            Some(failure) => failure,
            None => Failure::Error,
        };
        let message = |answer: Answer| {
            answer.error.unwrap_or_else(|| match failure {
                Failure::Busy => "busy".to_owned(),
                _ => format!("{operation} failed, and the worker did not say why"),
            })
        };
        match answer.t {
            Kind::Ok => Ok(answer),
            Kind::Fail => Err(match answer.torn {
                Some(kind) if operation == Operation::Read => {
                    StrategyError::Torn { kind, message: message(answer) }
                }
                _ => StrategyError::Failed { failure, message: message(answer) },
            }),
            Kind::Info => Err(StrategyError::Unknown { failure, message: message(answer) }),
            Kind::Skip | Kind::Ready => Err(StrategyError::Unsupported(operation)),
        }
    }

    /// Ends the worker after an operation was interrupted.
    fn interrupted(
        &mut self,
        operation: Operation,
        interruption: &Interruption,
        allowed: Duration,
    ) -> StrategyError {
        let (failure, reason) = match interruption {
            Interruption::Ended => (Failure::Killed, String::new()),
            Interruption::TimedOut => (
                Failure::TimedOut,
                format!(
                    "did not answer within {allowed:?}; is its standard output flushed after every line?"
                ),
            ),
            other => (Failure::Error, self.settings.explain(other)),
        };
        self.broken(operation, failure, reason)
    }

    /// Kills and reaps the worker; the outcome of the operation is unknown. An empty reason means
    /// that its end is the reason.
    fn broken(&mut self, operation: Operation, failure: Failure, reason: String) -> StrategyError {
        let mut message = format!("{} ", self.settings.title);
        let Some(mut worker) = self.worker.take() else {
            return StrategyError::Unknown { failure, message: message + &reason };
        };
        let printed = excerpt(&worker.process.output);
        let exit = worker.process.reap();
        if exit.is_some_and(|exit| exit.killed_by_hazard) {
            return killed_by_the_harness(operation);
        }
        if reason.is_empty() {
            let how = exit.map_or_else(|| "ended".to_owned(), |exit| describe(exit.status));
            let _ = write!(message, "{how} in the middle of {operation}");
            if !worker.process.output.is_empty() {
                let _ = write!(message, " after it had printed {printed}");
            }
        } else {
            let _ = write!(message, "{reason}, in {operation}");
        }
        message += &worker.process.stderr_suffix();
        StrategyError::Unknown { failure, message }
    }

    /// Tells the worker to stop and waits for its end. Returns whether a hazard was its end.
    fn stop(&mut self) -> bool {
        let Some(mut worker) = self.worker.take() else { return false };
        write_stop(&mut self.request);
        // Whatever comes of it, the process is killed unless it has ended by then.
        let _ = worker.process.send(&self.request);
        let ended = worker.process.finish(self.settings.line_limit, STOP_GRACE).is_ok();
        let exit = worker.process.reap();
        ended && exit.is_some_and(|exit| exit.killed_by_hazard && exit.status.code().is_none())
    }
}

impl Client for WorkerClient {
    fn read(&mut self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let answer = self.perform(Operation::Read, Argument::None, self.settings.timeout)?;
        match self.settings.content(answer, into) {
            Ok(found) => Ok(found),
            Err(NoContent::Torn(error)) => Err(error),
            Err(NoContent::Wrong(reason)) => Err(self.broken(Operation::Read, Failure::Error, reason)),
        }
    }

    fn write(&mut self, document: &[u8]) -> Result<(), StrategyError> {
        self.perform(Operation::Write, Argument::Value(document), self.settings.timeout).map(drop)
    }

    fn update(&mut self, element: &str) -> Result<(), StrategyError> {
        self.perform(Operation::Update, Argument::Element(element), self.settings.timeout).map(drop)
    }

    fn append(&mut self, record: &[u8]) -> Result<(), StrategyError> {
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        self.perform(Operation::Append, Argument::Record(record), self.settings.timeout).map(drop)
    }

    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        let timeout_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let allowed = patience.saturating_add(self.settings.timeout);
        let answer = self.perform(Operation::Acquire, Argument::TimeoutMs(timeout_ms), allowed)?;
        Ok(Held { still: answer.held.unwrap_or(true), token: answer.token })
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        self.perform(Operation::Release, Argument::None, self.settings.timeout).map(drop)
    }

    /// The path comes with every request, so a worker can move on; but it was greeted with its
    /// number and may build unique names from it, so it must keep that.
    fn retarget(&mut self, context: &ClientContext) -> bool {
        let same = context.client == self.settings.client
            && (context.format, context.object) == (self.settings.format, self.settings.object)
            && !self.holding
            && self.worker.as_ref().is_none_or(|worker| worker.process.output.is_empty());
        // What is asked is the same each time, to the letter.
        self.next_id = 1;
        same && self.settings.move_to(context).is_ok()
    }
}

impl Drop for WorkerClient {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What became of an operation whose process was killed because a hazard wanted it: the same words
/// whatever the program was about to say.
pub(super) fn killed_by_the_harness(operation: Operation) -> StrategyError {
    StrategyError::Unknown {
        failure: Failure::Killed,
        message: format!("killed by the harness in the middle of {operation}"),
    }
}

/// What a worker says of itself.
struct Greeting {
    /// What it can do; `None`: it did not say.
    operations: Option<Vec<Operation>>,
    reusable: bool,
}

/// What a worker that greeted with this line says of itself.
fn greeting(line: &[u8]) -> Result<Greeting, String> {
    let answer: Answer = serde_json::from_slice(line).map_err(|error| {
        format!("it printed {}, which is no greeting ({error}); {LINE_HINT}", excerpt(line))
    })?;
    if answer.t != Kind::Ready {
        return Err(format!("it greeted with {}, where {{\"t\":\"ready\",…}} was due", excerpt(line)));
    }
    match answer.proto {
        Some(PROTOCOL) => {}
        Some(other) => return Err(format!("it speaks protocol {other}, this harness speaks {PROTOCOL}")),
        None => return Err(format!("its `ready` lacks \"proto\":{PROTOCOL}")),
    }
    // Operations that a later version may know are none of our business.
    let operations = answer.ops.map(|names| names.iter().filter_map(|name| name.parse().ok()).collect());
    Ok(Greeting { operations, reusable: answer.reusable == Some(true) })
}

/// The same error, of an operation that the program never heard of.
fn certainly_not_applied(error: StrategyError) -> StrategyError {
    match error {
        StrategyError::Unknown { failure, message } => StrategyError::Failed { failure, message },
        other => other,
    }
}

fn prefixed(error: StrategyError, prefix: &str) -> StrategyError {
    match error {
        StrategyError::Unknown { failure, message } => {
            StrategyError::Unknown { failure, message: format!("{prefix}{message}") }
        }
        other => other,
    }
}
