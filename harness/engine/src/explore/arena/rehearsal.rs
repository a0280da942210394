//! Rehearsals: a client that plays its part itself is watched, so that it is known what it does for what it is told.
//!
//! What cannot be seen ends the rehearsal there: an answer that the client gives itself, a call that nobody can make in
//! its place.

use std::sync::atomic::Ordering;

use super::double::{Double, Part, Since, UnderWay, Watched};
use super::repertoire::{Arrival, Deeds, Learned, Reply};
use super::{Arena, ArenaError};
use crate::explore::gate::{Answer, Call, LockKind, LockRequest, Notification, Target, WAKE_PRIVATELY};

/// More bytes are not kept of one write.
const LONGEST: usize = 1 << 20;

impl Arena<'_> {
    /// A client that is watched is told something.
    pub(super) fn watch_answer(&mut self, process: usize, answer: Reply) {
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
    pub(super) fn deeds_of(&self, process: usize, since: &Since) -> Option<Deeds> {
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

    pub(super) fn arrival(
        &self,
        process: usize,
        notification: &Notification,
        call: &Call,
    ) -> Option<Arrival> {
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
}
