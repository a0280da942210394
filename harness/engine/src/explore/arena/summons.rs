//! Summonses: a client that was played goes on by itself, from where it is taken to stand.
//!
//! It goes through its part from the beginning, and its calls are answered as they were answered while it was played. None of
//! them is done once more. It has to come to the gate with the same calls, and to record the same.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use super::double::{Line, Part, Since, Watched};
use super::repertoire::{Reply, SceneId};
use super::thread::State;
use super::{Arena, ArenaError};
use crate::explore::gate::{Answer, Call, Notification};

impl Arena<'_> {
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

    pub(super) fn unlike(&self, process: usize) -> ArenaError {
        let strategy = &self.specification.processes[process].strategy;
        ArenaError::Unlike(format!(
            "client process {process} ({strategy}) does something else after the same"
        ))
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
