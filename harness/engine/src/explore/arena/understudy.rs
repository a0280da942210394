//! Understudies: the parts of agents that are played by the supervisor, once it knows them.
//!
//! An agent asks its worker the same in every execution, and records of an answer what it has recorded of the same
//! answer before. Each of its turns costs two stops at the gate and two changes of process. So the supervisor hears
//! what an agent asks, what it is answered and what it records of that. From then on it leaves the agent parked, sends
//! the requests itself by a copy of the agent's end of the pipe, and records what is known of the answer, at the same
//! steps. To everybody else the agent waits for its worker as ever.
//!
//! What the supervisor does not know is the agent's business: an answer that never came before, a worker that ends,
//! complains or says nothing. The agent then goes on in the middle of the operation (`program::cue`), with
//! the answer where it was.
//!
//! Not covered: locks, whose sections have marks; clients of several threads; hazards other than concurrency, which
//! strike agents too. And only workers that live on have agents that are known.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;
use tearproof_core::claim::Hazard;
use tearproof_core::history::Phase;
use tearproof_core::object::Object;

use super::copies::Awaited;
use super::thread::{Pending, State};
use super::{Arena, ArenaError};
use crate::explore::gate::{Answer, Notification, Wait};
use crate::program::PlayedFor;
use crate::record::{Clock, phase_of};
use crate::worker::PartKind;

/// Requests and answers that are longer are the agent's business. A pipe takes so much as a whole, or nothing.
const LONGEST: usize = 4096;
/// Answers that are known to one request at most.
const ANSWERS: usize = 4096;

/// What is known of one client's agent.
#[derive(Debug, Default)]
pub(super) struct Understudy {
    /// What it asks, in the order of its operations.
    turns: Vec<Turn>,
    /// Where it waits for answers, as long as it has the same process.
    desk: Option<Desk>,
    /// The turn that is played in its place.
    plays: Option<usize>,
    /// What it was heard to ask in this execution.
    heard: Vec<Heard>,
    /// How much it had recorded when this execution began.
    began_at: u64,
    /// It was heard to ask something else than before, or to record something else of the same answer.
    is_unfit: bool,
}

/// One of an agent's turns.
#[derive(Debug)]
struct Turn {
    request: Vec<u8>,
    invocation: Record,
    /// What it records of each answer.
    ends: HashMap<Vec<u8>, Record>,
}

/// Something recorded, at whatever time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    tag: u64,
    words: Vec<u64>,
}

impl Record {
    /// The first word of a record is its time.
    fn new((tag, mut words): (u64, Vec<u64>)) -> Self {
        if let Some(time) = words.first_mut() {
            *time = 0;
        }
        Self { tag, words }
    }
}

/// Where an agent waits for answers.
#[derive(Debug)]
struct Desk {
    wait: Wait,
    stdin: i32,
}

impl Desk {
    /// The descriptor of its worker's standard output.
    fn stdout(&self) -> Option<i32> {
        match &self.wait {
            Wait::Events { sources, .. } => sources.first().map(|(fd, _)| *fd),
            _ => None,
        }
    }
}

/// What a worker has answered, and the end of the pipe that it was taken out of.
type Answered = (Vec<u8>, Rc<OwnedFd>);

/// What an agent was heard to ask in one of its operations.
#[derive(Debug)]
struct Heard {
    turn: usize,
    request: Vec<u8>,
    answer: Option<Vec<u8>>,
    /// It has waited more than once, or what came was no answer.
    is_muddled: bool,
}

impl Understudy {
    /// The agent has another process from now on.
    pub fn forget_process(&mut self) {
        self.desk = None;
        self.plays = None;
        self.heard.clear();
    }

    /// Takes in what an agent has recorded of what it was heard to ask.
    fn learn(&mut self, records: &[(u64, Vec<u64>)]) {
        for Heard { turn, request, answer, is_muddled } in self.heard.drain(..) {
            let (Some(answer), Some(invocation), Some(end)) =
                (answer, records.get(2 * turn), records.get(2 * turn + 1))
            else {
                continue;
            };
            // Where nobody knows what became of it, the worker is not what it was.
            if is_muddled || turn > self.turns.len() || phase_of(end.0) == Phase::Info {
                continue;
            }
            let (invocation, end) = (Record::new(invocation.clone()), Record::new(end.clone()));
            if turn == self.turns.len() {
                self.turns.push(Turn {
                    request: request.clone(),
                    invocation: invocation.clone(),
                    ends: HashMap::new(),
                });
            }
            let known = &mut self.turns[turn];
            self.is_unfit |= known.request != request || known.invocation != invocation;
            match known.ends.get(&answer) {
                Some(same) => self.is_unfit |= *same != end,
                None if known.ends.len() < ANSWERS => drop(known.ends.insert(answer, end)),
                None => {}
            }
        }
    }
}

impl Arena<'_> {
    /// Whether an agent has a part that could be played for it.
    fn may_be_played(&self, client: usize) -> bool {
        let part = &self.specification.processes[client];
        matches!(part.kind, PartKind::Client(_))
            && part.threads == 1
            && self.specification.plan.hazard == Hazard::Concurrency
            && self.specification.plan.scenario.state.object != Object::Lock
            && self.drives(client)
            && self.is_reusing()
            && self.keeps_worker(client)
            && !self.understudies[client].is_unfit
    }

    /// An agent is about to begin its part. Whether it is played for it.
    pub(super) fn stands_in(&mut self, index: usize, notification: &Notification) -> bool {
        let client = self.client_index(index);
        let line = self.processes[client].first_line;
        let began_at = self.launch.ring(line).published();
        let understudy = &mut self.understudies[client];
        understudy.heard.clear();
        (understudy.plays, understudy.began_at) = (None, began_at);
        let knows = understudy.desk.is_some();
        if !knows || !self.may_be_played(client) {
            return false;
        }
        // As whoever begins to record does.
        let before = self.look_at_step_clock();
        let asks = self.ask_for(index, notification, 0);
        if !asks {
            self.step_clock().store(before - 1, Ordering::SeqCst);
        }
        asks
    }

    /// Whether a thread is an agent whose part is played for it now.
    pub(super) fn is_played_for(&self, index: usize) -> bool {
        let client = self.client_index(index);
        self.threads[index].process == client
            && self.understudies.get(client).is_some_and(|own| own.plays.is_some())
    }

    /// Sends an agent's request, and has the agent wait for the answer. `false`: it has to do so itself.
    fn ask_for(&mut self, index: usize, notification: &Notification, turn: usize) -> bool {
        let client = self.client_index(index);
        let Understudy { turns, desk: Some(desk), .. } = &self.understudies[client] else { return false };
        let Some(known) = turns.get(turn) else { return false };
        let Wait::Events { sources, .. } = &desk.wait else { return false };
        let process = &self.processes[client];
        let awaited = Awaited::default();
        // It has ended, or says something that nobody has asked for.
        if awaited.have_come(process, sources) {
            return false;
        }
        let Some(stdin) = process.copy_of(desk.stdin) else { return false };
        // A request that fits is taken as a whole.
        if !rustix::io::write(&stdin, &known.request).is_ok_and(|written| written == known.request.len()) {
            return false;
        }
        let wait = desk.wait.clone();
        self.control
            .thread(self.processes[client].first_line)
            .operations()
            .store(turn as u32 + 1, Ordering::SeqCst);
        self.record_for(client, |own| Some(&own.turns.get(turn)?.invocation));
        self.understudies[client].plays = Some(turn);
        // As if it had come to the gate.
        self.processes[client].in_a_row = (self.threads[index].tid, 1);
        self.stir(client);
        self.lie_in_wait(index, *notification, wait, awaited);
        true
    }

    /// Records something in an agent's place, now.
    fn record_for(&self, client: usize, which: impl FnOnce(&Understudy) -> Option<&Record>) {
        let Some(Record { tag, words }) = which(&self.understudies[client]) else { return };
        let now = self.look_at_step_clock();
        let mut words = words.clone();
        words[0] = now;
        // The ring counts its refusals.
        let _ = self.launch.ring(self.processes[client].first_line).producer().push(*tag, &words);
    }

    /// As a recorder takes the time.
    fn look_at_step_clock(&self) -> u64 {
        Clock::Steps(self.step_clock()).now()
    }

    /// Something has come for an agent whose part is played for it.
    pub(super) fn hear_for(&mut self, index: usize, notification: &Notification) -> Result<(), ArenaError> {
        let client = self.client_index(index);
        let understudy = &self.understudies[client];
        let (Some(turn), Some(desk)) = (understudy.plays, &understudy.desk) else {
            return Err(ArenaError::Confused("nobody plays for an agent that waits".to_owned()));
        };
        let heard = self.hear(client, desk)?;
        let is_known = |(answer, _): &Answered| understudy.turns[turn].ends.contains_key(answer);
        if let Some((answer, _)) = heard.as_ref().filter(|heard| is_known(heard)) {
            self.record_for(client, |own| own.turns[turn].ends.get(answer));
        } else {
            let request = understudy.turns[turn].request.clone();
            let is_muddled = heard.is_none();
            let answer =
                heard.map(|(answer, stdout)| put_back(&stdout, &answer).map(|()| answer)).transpose()?;
            self.understudies[client].heard.push(Heard { turn, request, answer, is_muddled });
            return self.call_agent(index, notification, PlayedFor { done: turn as u64, asked: true });
        }
        let PartKind::Client(role) = self.specification.processes[client].kind else {
            return Err(ArenaError::Confused("only clients have parts".to_owned()));
        };
        let all = self.specification.script_length(&self.specification.plan.scenario.clients[role]) as usize;
        let next = turn + 1;
        if next == all {
            self.understudies[client].plays = None;
            self.threads[index].state = State::Parked(*notification);
            self.processes[client].in_a_row = (self.threads[index].tid, 1);
            return Ok(());
        }
        if self.ask_for(index, notification, next) {
            return Ok(());
        }
        self.call_agent(index, notification, PlayedFor { done: next as u64, asked: false })
    }

    /// What a worker has answered, if that is one line and nothing else has come; it is taken out of the pipe.
    fn hear(&self, client: usize, desk: &Desk) -> Result<Option<Answered>, ArenaError> {
        let (Wait::Events { sources, .. }, Some(stdout)) = (&desk.wait, desk.stdout()) else {
            return Ok(None);
        };
        let process = &self.processes[client];
        let others: SmallVec<[_; 4]> = sources.iter().copied().filter(|(fd, _)| *fd != stdout).collect();
        if Awaited::default().have_come(process, &others) {
            return Ok(None);
        }
        let Some(stdout) = process.copy_of(stdout) else { return Ok(None) };
        let length = rustix::io::ioctl_fionread(&stdout).unwrap_or(0) as usize;
        if length == 0 || length > LONGEST {
            return Ok(None);
        }
        let mut answer = vec![0; length];
        let read = rustix::io::read(&stdout, &mut answer);
        answer.truncate(read.map_err(|error| ArenaError::environment("reading an answer")(error.into()))?);
        if answer.iter().position(|&byte| byte == b'\n') == Some(length - 1) {
            return Ok(Some((answer, stdout)));
        }
        put_back(&stdout, &answer)?;
        Ok(None)
    }

    /// An agent goes on with its own part.
    pub(super) fn call_agent(
        &mut self,
        index: usize,
        notification: &Notification,
        played: PlayedFor,
    ) -> Result<(), ArenaError> {
        let client = self.client_index(index);
        self.understudies[client].plays = None;
        let cue = self.control.process(client).cue().load(Ordering::SeqCst);
        let told = self.processes[client].memory.write(cue + PlayedFor::OFFSET, &played.to_bytes());
        told.map_err(ArenaError::environment("telling an agent what was played for it"))?;
        self.threads[index].state = State::Running;
        self.answer(index, notification, Answer::Value(0))
    }

    /// The time of a wait is over in which an agent's part is played for it: it has to see that itself, and waits.
    pub(super) fn recall(&mut self, index: usize) -> Result<(), ArenaError> {
        let client = self.client_index(index);
        let Some(turn) = self.understudies[client].plays else { return Ok(()) };
        let nap = &self.threads[index].nap;
        let (until_ns, shows_ns, count) = (nap.until_ns, nap.shows_ns, nap.count);
        let state = std::mem::replace(&mut self.threads[index].state, State::Running);
        let State::AtGate(Pending { notification, .. }) = state else {
            return Err(ArenaError::Confused("who is played for waits".to_owned()));
        };
        self.call_agent(index, &notification, PlayedFor { done: turn as u64, asked: true })?;
        self.settle(client)?;
        // It has waited since it asked.
        let nap = &mut self.threads[index].nap;
        (nap.until_ns, nap.shows_ns, nap.count) = (until_ns, shows_ns, count);
        Ok(())
    }

    /// An agent waits for an answer: what has it asked?
    pub(super) fn hear_request(&mut self, index: usize, wait: &Wait) {
        let client = self.client_index(index);
        if self.threads[index].process != client || !self.may_be_played(client) {
            return;
        }
        let line = self.control.thread(self.processes[client].first_line);
        let Some(turn) = (line.operations().load(Ordering::SeqCst) as usize).checked_sub(1) else { return };
        let understudy = &mut self.understudies[client];
        if let Some(heard) = understudy.heard.iter_mut().find(|heard| heard.turn == turn) {
            // It may have another worker by now.
            heard.is_muddled = true;
            understudy.desk = None;
            return;
        }
        let cue = self.control.process(client).cue().load(Ordering::SeqCst);
        let memory = &self.processes[client].memory;
        let mut words = [0; 24];
        if cue == 0 || memory.read(cue, &mut words).is_err() {
            return;
        }
        let [address, length, stdin] =
            [0, 8, 16].map(|at| u64::from_ne_bytes(words[at..at + 8].try_into().expect("eight bytes")));
        let mut request = vec![0; length.min(LONGEST as u64) as usize];
        let asks =
            length > 0 && length <= LONGEST as u64 && matches!(wait, Wait::Events { timeout: Some(_), .. });
        if !asks || memory.read(address, &mut request).is_err() || !self.can_put_back(client, wait) {
            return;
        }
        let understudy = &mut self.understudies[client];
        understudy.desk = Some(Desk { wait: wait.clone(), stdin: stdin as i32 });
        understudy.heard.push(Heard { turn, request, answer: None, is_muddled: false });
    }

    /// Whether what a worker has answered can be put back where it was.
    fn can_put_back(&self, client: usize, wait: &Wait) -> bool {
        let Wait::Events { sources, .. } = wait else { return false };
        let stdout = sources.first().and_then(|(fd, _)| self.processes[client].copy_of(*fd));
        stdout.is_some_and(|stdout| other_end(&stdout).is_ok())
    }

    /// An agent is let go on from its wait: what is it answered?
    pub(super) fn hear_answer(&mut self, index: usize) -> Result<(), ArenaError> {
        let client = self.client_index(index);
        if self.threads[index].process != client {
            return Ok(());
        }
        let Some(understudy) = self.understudies.get(client) else { return Ok(()) };
        let (Some(heard), Some(desk)) = (understudy.heard.last(), &understudy.desk) else { return Ok(()) };
        if heard.answer.is_some() || heard.is_muddled {
            return Ok(());
        }
        let answer = self.hear(client, desk)?;
        if let Some((answer, stdout)) = &answer {
            put_back(stdout, answer)?;
        }
        if let Some(heard) = self.understudies[client].heard.last_mut() {
            heard.is_muddled = answer.is_none();
            heard.answer = answer.map(|(answer, _)| answer);
        }
        Ok(())
    }

    /// An agent has played its part, and parks: what has it recorded?
    pub(super) fn hear_the_end(&mut self, client: usize) {
        let Some(understudy) = self.understudies.get_mut(client) else { return };
        if understudy.heard.is_empty() {
            return;
        }
        let ring = self.launch.ring(self.processes[client].first_line);
        match ring.records(understudy.began_at, ring.published()) {
            Some(records) => understudy.learn(&records),
            None => understudy.heard.clear(),
        }
    }
}

/// Puts an answer back into the pipe that it was taken out of, while nobody else is at work.
fn put_back(stdout: &OwnedFd, answer: &[u8]) -> Result<(), ArenaError> {
    let put = other_end(stdout).and_then(|mut pipe| pipe.write_all(answer));
    put.map_err(ArenaError::environment("putting an answer back"))
}

/// The end of a pipe at which one writes.
fn other_end(stdout: &OwnedFd) -> std::io::Result<File> {
    // Each thread that explores has descriptors of its own.
    File::options().write(true).open(format!("/proc/thread-self/fd/{}", stdout.as_raw_fd()))
}
