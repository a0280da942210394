//! Doubles: clients whose part the supervisor plays, once it knows it.
//!
//! A stop at the gate and two changes of process for each call cost more than everything that the supervisor has to do
//! for it. And of the executions of a plan most differ only in the order in which clients do what each of them has done
//! before. So the supervisor watches what a client does for what it is told (`repertoire`). From then on it leaves the
//! client parked, and takes its steps as if it had come to the gate with them: the calls are done in the kernel as ever,
//! what comes of them is told to nobody, and what the client records of that is recorded. To everybody else, and to the
//! search, the client is there.
//!
//! When a client is told something that it was never told after the same, it has to say itself what it does then. It is
//! *called*: it goes through its part up to that place, where its calls are answered as they were and not done once
//! more, and goes on by itself. A client that is killed while it is played for stays parked, and is as good as new.
//!
//! What is known is not taken for granted: in some executions ([`are_asked_themselves`]), and wherever it is to be told
//! what happened, all clients play their parts themselves, and whoever does something else after the same is never
//! played for again.
//!
//! Not covered: users' programs and whatever has more than one thread; calls that the client itself has to do, such as to
//! begin a thread, and whatever leads out of the state directory. A client that comes to one is called. Locks that belong to
//! a process are known to the supervisor alone as long as it is played.

use std::io;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::repertoire::{Repertoire, Reply, SceneId, Told, TurnId};
use super::thread::State;
use super::{Arena, ArenaError};
use crate::explore::gate::Notification;
use crate::worker::PartKind;

/// In so many executions clients play their parts themselves once; at first more often ([`are_asked_themselves`]).
const ONE_IN: u32 = 256;

/// What is known of a client, and who plays its part.
#[derive(Debug, Default)]
pub(super) struct Double {
    pub repertoire: Repertoire,
    pub part: Part,
    /// What the call under way has written into the client's memory: where, and how many bytes.
    pub written: SmallVec<[(u64, usize); 2]>,
    pub bytes: Vec<u8>,
    /// How often the supervisor has played the part to its end.
    pub performances: u64,
}

/// Who plays a client's part in this execution.
#[derive(Debug, Default)]
pub(super) enum Part {
    /// The client, and nobody watches.
    #[default]
    Unseen,
    /// The client, and what it does is taken in.
    Watched(Watched),
    /// The supervisor.
    Played(Box<Played>),
    /// Nobody: it was killed while the supervisor played it, and this thread of it is parked there.
    Felled(usize, Notification),
}

#[derive(Debug)]
pub(super) struct Watched {
    pub at: SceneId,
    /// It was told something, and is on its way to the gate.
    pub under_way: Option<UnderWay>,
}

#[derive(Debug)]
pub(super) struct UnderWay {
    pub told: Told,
    pub since: Since,
}

/// Where things stood when a client was told something.
#[derive(Debug)]
pub(super) struct Since {
    /// The descriptor that it was given.
    pub descriptor: Option<i32>,
    pub clock: u64,
    pub recorded: u64,
}

#[derive(Debug)]
pub(super) struct Played {
    pub at: SceneId,
    pub thread: usize,
    /// Where the client really is.
    pub parked: Notification,
    /// How much it had recorded when the execution began.
    pub recorded: u64,
    pub lines: Vec<Line>,
    /// The descriptor that it was given last.
    pub given: Option<i32>,
}

/// What a client that is played was told.
#[derive(Debug)]
pub(super) struct Line {
    pub turn: TurnId,
    pub written: SmallVec<[(u64, usize); 2]>,
    pub clock: u64,
    /// The descriptor that it was given, and the open file's number.
    pub descriptor: Option<(i32, u32)>,
}

impl Double {
    pub const fn is_felled(&self) -> bool {
        matches!(self.part, Part::Felled(..))
    }

    /// Nobody watches any more.
    pub fn look_away(&mut self) {
        if let Part::Watched(_) = self.part {
            self.part = Part::Unseen;
        }
    }
}

impl Arena<'_> {
    /// Whether the supervisor plays the parts of clients that it knows, from the next execution on. Where it does not, the
    /// one under way is over.
    pub fn play_known_parts(&mut self, wanted: bool) {
        self.plays_known_parts = wanted;
        if !wanted {
            self.forget_parts();
        }
    }

    /// Whether it does.
    pub const fn plays_known_parts(&self) -> bool {
        self.plays_known_parts
    }

    /// Whether somebody was played in this execution, for a part of it at least.
    pub const fn plays_somebody(&self) -> bool {
        self.plays_somebody
    }

    /// Whether all clients are to play their parts themselves, and be watched.
    pub const fn ask_everybody(&mut self, wanted: bool) {
        self.asks_everybody = wanted;
    }

    /// How often the supervisor has played somebody's part to its end.
    pub fn performances(&self) -> u64 {
        self.doubles.iter().map(|double| double.performances).sum()
    }

    /// Whether a client's part could be played for it.
    fn may_have_double(&self, client: usize) -> bool {
        let part = &self.specification.processes[client];
        self.plays_known_parts
            && self.deeds.is_none()
            && matches!(part.kind, PartKind::Client(_) | PartKind::Auditor)
            && part.threads == 1
            && !self.drives(client)
            && self.doubles[client].repertoire.is_of_use()
    }

    /// A parked client is about to begin its part: from now on it is watched, or played.
    pub(super) fn cast(&mut self, index: usize, parked: &Notification) {
        let client = self.client_index(index);
        let part = if !self.may_have_double(client) {
            Part::Unseen
        } else if self.doubles[client].repertoire.is_sound()
            && !are_asked_themselves(self.generation)
            && !self.asks_everybody
        {
            let recorded = self.launch.ring(self.processes[client].first_line).published();
            Part::Played(Box::new(Played {
                at: SceneId::PARKED,
                thread: index,
                parked: *parked,
                recorded,
                lines: Vec::new(),
                given: None,
            }))
        } else {
            Part::Watched(Watched { at: SceneId::PARKED, under_way: None })
        };
        // Who is played does nothing that it could remember.
        let played = matches!(part, Part::Played(_));
        self.processes[client].plays = !played;
        self.processes[client].used |= !played;
        self.plays_somebody |= played;
        let double = &mut self.doubles[client];
        double.part = part;
        double.written.clear();
        double.bytes.clear();
    }

    /// What was learned of clients that remember what they did before is of no use any more.
    pub(super) fn forget_parts(&mut self) {
        for process in 0..self.doubles.len() {
            self.raise(process);
            self.doubles[process] = Double::default();
        }
    }

    fn played(&self, process: usize) -> Option<&Played> {
        match &self.doubles.get(process)?.part {
            Part::Played(played) => Some(played),
            _ => None,
        }
    }

    /// Whether the supervisor plays a client now.
    pub(super) fn is_played(&self, client: usize) -> bool {
        self.played(client).is_some()
    }

    /// The thread of a client that is played and is to come to the gate.
    pub(super) fn on_its_way_as_double(&self, client: usize) -> Option<usize> {
        let thread = self.played(client)?.thread;
        matches!(self.threads[thread].state, State::Running).then_some(thread)
    }

    /// A client that is played comes to the gate.
    pub(super) fn enter(&mut self, index: usize) -> Result<(), ArenaError> {
        let client = self.client_index(index);
        let Some(&Played { at, parked, .. }) = self.played(client) else {
            return Err(ArenaError::Confused("nobody plays this client".to_owned()));
        };
        match &self.doubles[client].repertoire.scene(at).cue {
            None => {
                self.doubles[client].part = Part::Unseen;
                self.doubles[client].repertoire.note_end();
                self.doubles[client].performances += 1;
                // It may have left something open, which nobody has.
                self.processes[client].descriptors.clear();
                self.processes[client].loose.clear();
                self.park(index, parked);
                Ok(())
            }
            Some((notification, call)) => {
                let notification = Notification { tid: self.threads[index].tid, ..*notification };
                let call = call.clone();
                self.stand_at_gate(index, notification, call)
            }
        }
    }

    /// What a client that is played wants written.
    pub(super) fn brought(&self, process: usize) -> Option<&[u8]> {
        let at = self.played(process)?.at;
        Some(&self.doubles[process].repertoire.scene(at).brings)
    }

    /// Writes an answer, or a part of it, into a client's memory.
    ///
    /// # Errors
    /// EFAULT when there is no room.
    pub(super) fn write_to(&mut self, process: usize, address: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(double) = self.doubles.get_mut(process) else {
            return self.processes[process].memory.write(address, bytes);
        };
        if !matches!(double.part, Part::Unseen) {
            double.written.push((address, bytes.len()));
            double.bytes.extend_from_slice(bytes);
        }
        match double.part {
            Part::Played(_) => Ok(()),
            _ => self.processes[process].memory.write(address, bytes),
        }
    }

    /// A client's call is about to be answered. Returns what is to be answered in fact: nothing, if the client is played.
    pub(super) fn whom_to_answer(
        &mut self,
        index: usize,
        notification: &Notification,
        answer: Reply,
    ) -> Result<Option<Notification>, ArenaError> {
        let process = self.threads[index].process;
        match self.doubles.get(process).map(|double| &double.part) {
            None | Some(Part::Unseen | Part::Felled(..)) => return Ok(Some(*notification)),
            Some(Part::Played(_)) => {
                if self.goes_on_as_known(process, answer) {
                    return Ok(None);
                }
                let real = self.call(index)?;
                self.watch_answer(process, answer);
                return Ok(Some(real));
            }
            Some(Part::Watched(_)) => {}
        }
        self.watch_answer(process, answer);
        Ok(Some(*notification))
    }

    pub(super) fn told(&mut self, process: usize, answer: Reply) -> (Told, SmallVec<[(u64, usize); 2]>) {
        let fence = self.control.fence().load(Ordering::SeqCst);
        let double = &mut self.doubles[process];
        let bytes = std::mem::take(&mut double.bytes);
        (Told { answer, bytes, fence }, std::mem::take(&mut double.written))
    }

    /// Whether a client that is played is known to do something when it is told this; then it has done so.
    fn goes_on_as_known(&mut self, process: usize, answer: Reply) -> bool {
        let (told, written) = self.told(process, answer);
        let clock = self.step_clock().load(Ordering::SeqCst);
        let line = self.control.thread(self.processes[process].first_line);
        let fence = self.control.fence();
        let Double { repertoire, part: Part::Played(played), .. } = &mut self.doubles[process] else {
            return false;
        };
        let known = repertoire.after(played.at, &told);
        let leads_on = known.as_ref().filter(|(.., next)| repertoire.scene(*next).playable);
        let Some(&(turn, deeds, next)) = leads_on else {
            let is_known = known.is_some();
            repertoire.note_call(is_known);
            let double = &mut self.doubles[process];
            (double.bytes, double.written) = (told.bytes, written);
            return false;
        };
        let ring = self.launch.ring(self.processes[process].first_line);
        let mut producer = ring.producer();
        for (tag, words) in &deeds.records {
            let mut words: SmallVec<[u64; 16]> = SmallVec::from_slice(words);
            if let Some(time) = words.first_mut() {
                *time += clock;
            }
            // The ring counts its refusals.
            let _ = producer.push(*tag, &words);
        }
        line.operations().store(deeds.operations, Ordering::SeqCst);
        line.inside().store(deeds.inside, Ordering::SeqCst);
        fence.store(deeds.fence, Ordering::SeqCst);
        let ticks = deeds.ticks;
        played.given = deeds.descriptor;
        played.lines.push(Line { turn, written, clock, descriptor: None });
        played.at = next;
        // The room is used again.
        self.doubles[process].bytes = told.bytes;
        self.doubles[process].bytes.clear();
        self.step_clock().store(clock + ticks, Ordering::SeqCst);
        true
    }

    /// The number of the descriptor that a client which is played was given for an open file.
    pub(super) fn take_descriptor(&mut self, process: usize, number: u32) -> Option<i32> {
        let Part::Played(played) = &mut self.doubles[process].part else { return None };
        let given = played.given.take()?;
        played.lines.last_mut()?.descriptor = Some((given, number));
        Some(given)
    }

    /// Locks of processes that are known here and not to the kernel, since who has taken them was played.
    pub(super) const fn has_locks_in_name_only(&self) -> bool {
        self.locks_in_name_only
    }

    /// A process takes a lock.
    pub(super) fn lock_in_name_only(&mut self, process: usize) {
        self.locks_in_name_only |= self.played(process).is_some();
    }

    /// A client that is played is killed: the process stays where it is.
    pub(super) fn fell(&mut self, process: usize) -> bool {
        let Some(played) = self.played(process) else { return false };
        self.doubles[process].part = Part::Felled(played.thread, played.parked);
        true
    }

    /// Who was played, and has not come to the end of its part, is to begin anew.
    pub(super) fn raise(&mut self, process: usize) -> bool {
        let (thread, parked) = match &self.doubles[process].part {
            Part::Played(played) => (played.thread, played.parked),
            Part::Felled(thread, parked) => (*thread, *parked),
            Part::Unseen | Part::Watched(_) => return false,
        };
        self.doubles[process].part = Part::Unseen;
        if !self.processes[process].is_alive() {
            return false;
        }
        self.threads[thread].state = State::Parked(parked);
        self.processes[process].descriptors.clear();
        self.processes[process].loose.clear();
        true
    }
}

/// Whether all clients play their parts themselves in the execution with this number.
const fn are_asked_themselves(execution: u32) -> bool {
    execution.is_multiple_of(ONE_IN) || execution.is_power_of_two()
}
