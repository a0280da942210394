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
//! What is known is not taken for granted: in one execution out of [`ONE_IN`], and wherever it is to be told what happened,
//! all clients play their parts themselves, and whoever does something else after the same is never played for again.
//!
//! Not covered: users' programs and whatever has more than one thread; calls that the client itself has to do, such as
//! locks that belong to its process, and whatever leads out of the state directory. A client that comes to one is called.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::repertoire::{Arrival, Deeds, Learned, Repertoire, Reply, SceneId, Told, TurnId};
use super::thread::State;
use super::{Arena, ArenaError};
use crate::explore::gate::{Answer, Call, LockKind, LockRequest, Notification, Target, WAKE_PRIVATELY};
use crate::worker::PartKind;

/// In so many executions clients play their parts themselves once.
const ONE_IN: u32 = 64;
/// More bytes are not kept of one write.
const LONGEST: usize = 1 << 20;

/// What is known of a client, and who plays its part.
#[derive(Debug, Default)]
pub(super) struct Double {
    repertoire: Repertoire,
    part: Part,
    /// What the call under way has written into the client's memory: where, and how many bytes.
    written: SmallVec<[(u64, usize); 2]>,
    bytes: Vec<u8>,
    /// How often the supervisor has played the part to its end.
    performances: u64,
}

/// Who plays a client's part in this execution.
#[derive(Debug, Default)]
enum Part {
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
struct Watched {
    at: SceneId,
    /// It was told something, and is on its way to the gate.
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    told: Told,
    since: Since,
}

/// Where things stood when a client was told something.
#[derive(Debug)]
struct Since {
    /// The descriptor that it was given.
    descriptor: Option<i32>,
    clock: u64,
    recorded: u64,
}

#[derive(Debug)]
struct Played {
    at: SceneId,
    thread: usize,
    /// Where the client really is.
    parked: Notification,
    /// How much it had recorded when the execution began.
    recorded: u64,
    lines: Vec<Line>,
    /// The descriptor that it was given last.
    given: Option<i32>,
}

/// What a client that is played was told.
#[derive(Debug)]
struct Line {
    turn: TurnId,
    written: SmallVec<[(u64, usize); 2]>,
    clock: u64,
    /// The descriptor that it was given, and the open file's number.
    descriptor: Option<(i32, u32)>,
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

    /// Whether a client is told numbers of inodes that are the same in every execution. Programs may compare them with
    /// what they find elsewhere.
    pub(super) fn numbers_inodes(&self, process: usize) -> bool {
        !self.drives(self.processes[process].client)
    }

    /// A parked client is about to begin its part: from now on it is watched, or played.
    pub(super) fn cast(&mut self, index: usize, parked: &Notification) {
        let client = self.client_index(index);
        let part = if !self.may_have_double(client) {
            Part::Unseen
        } else if self.doubles[client].repertoire.is_sound()
            && !self.generation.is_multiple_of(ONE_IN)
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

    fn told(&mut self, process: usize, answer: Reply) -> (Told, SmallVec<[(u64, usize); 2]>) {
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

    /// A client that is watched is told something.
    fn watch_answer(&mut self, process: usize, answer: Reply) {
        let (told, _) = self.told(process, answer);
        let clock = self.step_clock().load(Ordering::SeqCst);
        let recorded = self.launch.ring(self.processes[process].first_line).published();
        let Double { repertoire, part: Part::Watched(watched), .. } = &mut self.doubles[process] else {
            return;
        };
        let call = repertoire.scene(watched.at).cue.as_ref().map(|(_, call)| call);
        // What comes of a call that the client does itself is not seen; of these it is known.
        let is_known = matches!(
            call,
            Some(
                Call::Close { .. }
                    | Call::CloseRange { .. }
                    | Call::Sync { .. }
                    | Call::Lock { kind: LockKind::Posix, .. }
                    | Call::Other { number: libc::SYS_fcntl, fd: None }
                    | Call::Yield
            )
        );
        if answer == Reply::Plain(Answer::Continue) && !is_known {
            self.doubles[process].look_away();
            return;
        }
        watched.under_way = Some(UnderWay { told, since: Since { descriptor: None, clock, recorded } });
    }

    /// A client was given this descriptor.
    pub(super) fn watch_descriptor(&mut self, process: usize, fd: i32) {
        if let Some(Double { part: Part::Watched(Watched { under_way: Some(under_way), .. }), .. }) =
            self.doubles.get_mut(process)
        {
            under_way.since.descriptor = Some(fd);
        }
    }

    /// Nobody watches a client any more, since it is told what is not followed.
    pub(super) fn look_away(&mut self, process: usize) {
        if let Some(double) = self.doubles.get_mut(process) {
            double.look_away();
        }
    }

    /// What a client has done since it was told something, if that is known.
    fn deeds_of(&self, process: usize, since: &Since) -> Option<Deeds> {
        let line = self.control.thread(self.processes[process].first_line);
        let ring = self.launch.ring(self.processes[process].first_line);
        let mut records = ring.records(since.recorded, ring.published())?;
        for (_, words) in &mut records {
            let time = words.first_mut()?;
            *time = time.checked_sub(since.clock)?;
        }
        Some(Deeds {
            descriptor: since.descriptor,
            records,
            ticks: self.step_clock().load(Ordering::SeqCst).checked_sub(since.clock)?,
            operations: line.operations().load(Ordering::SeqCst),
            inside: line.inside().load(Ordering::SeqCst),
            fence: self.control.fence().load(Ordering::SeqCst),
        })
    }

    /// A client that is watched comes to the gate.
    ///
    /// # Errors
    /// When it was relied on, and does something else after the same.
    pub(super) fn watch_arrival(
        &mut self,
        index: usize,
        notification: &Notification,
        call: &Call,
    ) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        let Some(Double { part: Part::Watched(watched), .. }) = self.doubles.get_mut(process) else {
            return Ok(());
        };
        let at = watched.at;
        let Some(under_way) = watched.under_way.take() else {
            self.look_away(process);
            return Ok(());
        };
        let parks = self.parks(process, call);
        let came = if parks { None } else { self.arrival(process, notification, call) };
        let deeds = self.deeds_of(process, &under_way.since);
        let (true, Some(deeds)) = (parks || came.is_some(), deeds) else {
            self.look_away(process);
            return Ok(());
        };
        let double = &mut self.doubles[process];
        let goes_on = came.as_ref().is_some_and(|came| came.playable);
        let was_sound = double.repertoire.is_sound();
        double.part = match double.repertoire.learn(at, under_way.told, deeds, came) {
            Learned::At(at) if goes_on => Part::Watched(Watched { at, under_way: None }),
            Learned::At(_) => {
                double.repertoire.note_rehearsal();
                Part::Unseen
            }
            Learned::Otherwise if was_sound => {
                double.part = Part::Unseen;
                return Err(self.unlike(process));
            }
            Learned::Full | Learned::Otherwise => Part::Unseen,
        };
        Ok(())
    }

    /// Whether a client comes to its parking place.
    fn parks(&self, process: usize, call: &Call) -> bool {
        match call {
            Call::Futex { address, operation, .. } => {
                operation & super::futex::FUTEX_COMMANDS == libc::FUTEX_WAIT
                    && self.processes[process].line_at(*address).is_some()
            }
            _ => false,
        }
    }

    fn arrival(&self, process: usize, notification: &Notification, call: &Call) -> Option<Arrival> {
        let mut brings = Vec::new();
        if let Call::Write { from, .. } = call {
            let length: usize = from.iter().map(|span| span.length).sum();
            if length > LONGEST {
                return None;
            }
            brings.resize(length, 0);
            let mut rest = &mut brings[..];
            for span in from {
                let (here, after) = rest.split_at_mut(span.length);
                self.processes[process].memory.read(span.address, here).ok()?;
                rest = after;
            }
        }
        Some(Arrival {
            notification: *notification,
            call: call.clone(),
            brings: brings.into(),
            playable: self.is_playable(process, call),
        })
    }

    /// Whether a call can be done in the place of a client that is not there.
    fn is_playable(&self, process: usize, call: &Call) -> bool {
        match call {
            Call::Close { .. }
            | Call::CloseRange { .. }
            | Call::Sleep { .. }
            | Call::Clock { .. }
            | Call::TimeOfDay { .. }
            | Call::Time { .. }
            | Call::Random { .. }
            | Call::GetPid { parent: false }
            // What asks for the flags of a descriptor, or has it closed when its process executes another program.
            | Call::Other { number: libc::SYS_fcntl, fd: None }
            | Call::Yield => true,
            // It has no other thread that could be woken.
            Call::Futex { operation: WAKE_PRIVATELY, .. } => true,
            // The marks at either end of a critical section.
            Call::Futex { address, .. } => {
                let own = &self.processes[process];
                own.line_at(*address).is_some() && !own.begins_at(*address)
            }
            Call::Kill { signal: 0, .. } => self.asks_for_life(process, call).is_some(),
            Call::Open { .. } => self.concerns(process, call) || self.asks_for_life(process, call).is_some(),
            Call::Lock { request, .. } => *request != LockRequest::Query && self.concerns(process, call),
            call if self.is_on_loose_file(process, call) => true,
            Call::Read { .. }
            | Call::Write { .. }
            | Call::Seek { .. }
            | Call::Truncate { .. }
            | Call::Allocate { .. }
            | Call::Sync { .. }
            | Call::Stat { .. }
            | Call::Access { .. }
            | Call::ReadLink { .. }
            | Call::Rename { .. }
            | Call::Link { .. }
            | Call::Symlink { .. }
            | Call::Unlink { .. }
            | Call::MakeDirectory { .. }
            | Call::ChangeMode { target: Target::Fd(_) | Target::Path(_, true), .. }
            | Call::List { into: Some(_), .. } => self.concerns(process, call),
            _ => false,
        }
    }

    /// A client that was played goes on by itself, and is watched: it is brought to where it stands, at the gate. Returns
    /// the call that it stands there with.
    pub(super) fn call(&mut self, index: usize) -> Result<Notification, ArenaError> {
        let process = self.threads[index].process;
        let called = self.call_once(index);
        if let Err(ArenaError::Unlike(_)) = called {
            // Where it stands is of no use to anybody.
            self.respawn(process)?;
        }
        called
    }

    fn call_once(&mut self, index: usize) -> Result<Notification, ArenaError> {
        let process = self.threads[index].process;
        let part = std::mem::take(&mut self.doubles[process].part);
        let Part::Played(played) = part else {
            return Err(ArenaError::Confused("only who is played can be called".to_owned()));
        };
        (self.processes[process].plays, self.processes[process].used) = (true, true);
        let clock = self.step_clock().load(Ordering::SeqCst);
        let fence = self.control.fence().load(Ordering::SeqCst);
        let ring = self.launch.ring(self.processes[process].first_line);
        let recorded = ring.published();
        // What was recorded in its place it records itself.
        ring.rewind(played.recorded);
        let own = self.control.thread(self.processes[process].first_line);
        own.operations().store(0, Ordering::SeqCst);
        own.inside().store(0, Ordering::SeqCst);
        let (mut real, mut call) = (played.parked, None);
        for (at, line) in played.lines.iter().enumerate() {
            self.step_clock().store(line.clock, Ordering::SeqCst);
            let fence = self.doubles[process].repertoire.turn(line.turn).1.fence;
            self.control.fence().store(fence, Ordering::SeqCst);
            let published = self.launch.ring(self.processes[process].first_line).published();
            let descriptor = line.descriptor.map(|(fd, _)| fd);
            let since = Since { descriptor, clock: line.clock, recorded: published };
            self.tell_again(process, &real, call.as_ref(), line)?;
            self.threads[index].state = State::Running;
            let Some(notification) = self.receive(process)? else { return Err(self.unlike(process)) };
            if self.deeds_of(process, &since).as_ref()
                != Some(self.doubles[process].repertoire.deeds(line.turn))
            {
                return Err(self.unlike(process));
            }
            let next =
                played.lines.get(at + 1).map(|line| self.doubles[process].repertoire.turn(line.turn).0);
            let next = next.unwrap_or(played.at);
            (real, call) = (notification, Some(self.check(process, &notification, next)?));
        }
        let ring = self.launch.ring(self.processes[process].first_line);
        if ring.published() != recorded {
            return Err(self.unlike(process));
        }
        self.step_clock().store(clock, Ordering::SeqCst);
        self.control.fence().store(fence, Ordering::SeqCst);
        // What the call under way has come to so far.
        let double = &self.doubles[process];
        self.lay_out(process, played.at, call.as_ref(), &double.written, &double.bytes)?;
        self.doubles[process].part = Part::Watched(Watched { at: played.at, under_way: None });
        Ok(real)
    }

    /// Whether a client that was called has come to the gate with what it is known to come with.
    fn check(
        &self,
        process: usize,
        notification: &Notification,
        expected: SceneId,
    ) -> Result<Call, ArenaError> {
        let unlike = || self.unlike(process);
        let mut call = Call::decode(notification, &self.processes[process].memory).map_err(|_| unlike())?;
        self.spell_out(process, &mut call);
        let scene = self.doubles[process].repertoire.scene(expected);
        let came = self.arrival(process, notification, &call).ok_or_else(unlike)?;
        match &scene.cue {
            Some((_, known)) if known.is_same_elsewhere(&call) && scene.brings == came.brings => Ok(call),
            _ => Err(unlike()),
        }
    }

    /// Answers a call as it was answered to who was played.
    fn tell_again(
        &self,
        process: usize,
        real: &Notification,
        call: Option<&Call>,
        line: &Line,
    ) -> Result<(), ArenaError> {
        let (scene, told) = self.doubles[process].repertoire.turn(line.turn);
        self.lay_out(process, scene, call, &line.written, &told.bytes)?;
        let own = &self.processes[process];
        let Reply::Plain(answer) = told.answer else {
            let (fd, number) = line.descriptor.ok_or_else(|| self.unlike(process))?;
            let flags = if let Some(Call::Open { flags, .. }) = call { *flags } else { 0 };
            let close_on_exec = flags & libc::O_CLOEXEC != 0;
            let still = own.descriptors.get(fd).filter(|file| file.number == number).map(|file| &file.file);
            let loose = || own.loose_file(fd).filter(|loose| loose.number == number).map(|loose| &loose.file);
            let given = match still.or_else(loose) {
                Some(file) => own.listener.answer_with_fd(real.id, file.as_fd(), close_on_exec, None),
                // It is closed before it is used again.
                None => open_nothing(flags).and_then(|nothing| {
                    own.listener.answer_with_fd(real.id, nothing.as_fd(), close_on_exec, None)
                }),
            };
            let given = given.map_err(|error| self.unanswered(process, error))?;
            return if given == fd { Ok(()) } else { Err(self.unlike(process)) };
        };
        let answer = match (call, answer) {
            // The file may be another one by now, and the lock another one's.
            (Some(Call::Sync { .. } | Call::Lock { .. }), Answer::Continue) => Answer::Value(0),
            (_, answer) => answer,
        };
        own.listener.answer(real.id, answer).map_err(|error| self.unanswered(process, error))
    }

    /// Writes into a client's memory what was written for it while it was played. Where it wants that is its own matter.
    fn lay_out(
        &self,
        process: usize,
        scene: SceneId,
        call: Option<&Call>,
        written: &[(u64, usize)],
        bytes: &[u8],
    ) -> Result<(), ArenaError> {
        let known = self.doubles[process].repertoire.scene(scene).cue.as_ref();
        let (Some((_, known)), Some(call)) = (known, call) else { return Ok(()) };
        let (from, to) = (known.outputs(), call.outputs());
        let mut rest = bytes;
        for &(address, length) in written {
            let (here, after) = rest.split_at(length);
            let place = from.iter().position(|known| *known == address).and_then(|at| to.get(at));
            let place = place.ok_or_else(|| self.unlike(process))?;
            self.processes[process].memory.write(*place, here).map_err(|_| self.unlike(process))?;
            rest = after;
        }
        Ok(())
    }

    fn unlike(&self, process: usize) -> ArenaError {
        let strategy = &self.specification.processes[process].strategy;
        ArenaError::Unlike(format!(
            "client process {process} ({strategy}) does something else after the same"
        ))
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

/// A file in the place of one that is not open any more, with the same flags.
fn open_nothing(flags: i32) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let is_directory = flags & libc::O_DIRECTORY != 0 && flags & libc::O_TMPFILE != libc::O_TMPFILE;
    let (nothing, directory) = if is_directory { ("/", libc::O_DIRECTORY) } else { ("/dev/null", 0) };
    let access = flags & libc::O_ACCMODE;
    let mut options = File::options();
    options.read(access != libc::O_WRONLY).write(access != libc::O_RDONLY);
    let kept = libc::O_APPEND | libc::O_NONBLOCK | libc::O_SYNC | libc::O_DSYNC;
    options.custom_flags(flags & kept | directory).open(nothing)
}
