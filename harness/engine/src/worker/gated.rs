//! A client whose system calls are chosen for it: it parks between executions at a word of the
//! shared page, and plays the same script in each.
//!
//! Everything is done before the gate is installed that has to be done once. From then on the
//! supervisor sees every call; the futex of the parking place is one of them, so that it knows when
//! a client has come to its end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::personality::{self, Persona};
use nix::sys::signal::SigSet;
use tearproof_core::claim::Hazard;
use tearproof_core::scenario::ClientRole;

use super::client::{Player, Seat};
use super::{Opener, PartKind, Session, nursery, or_die};
use crate::explore::gate;
use crate::program::{ChildSlot, start_from_here};

/// Executions share one state directory, which the supervisor puts back as it was.
pub const EXECUTION: u32 = 0;

impl Session<'_> {
    /// Installs the gate and plays for ever. A cradle never plays itself, but has copies do so; it is given its
    /// supervisor.
    pub(super) fn play_behind_gate(&self, cradle_of: Option<u32>) -> io::Result<Infallible> {
        let part = &self.specification.processes[self.index];
        let line = self.control.process(self.index);
        line.base().store(self.memory.address(), Ordering::SeqCst);
        let mut caller = gate::Caller::Strategy;
        if let Opener::Driven(_) = self.opener {
            caller = gate::Caller::Program;
            // Where things lie in memory is the same in every process of a program.
            personality::set(personality::get()? | Persona::ADDR_NO_RANDOMIZE)?;
            // The supervisor blocks signals; a program is to get its own.
            SigSet::empty().thread_set_mask()?;
        }
        let seat = self.seat(EXECUTION, 0);
        let cradle = self.control.cradle(self.index);
        // There are no orders before the supervisor has the listener.
        let seen = cradle.orders_so_far();
        let listener = gate::install(caller)?;
        line.gate().store(listener as u32 + 1, Ordering::SeqCst);
        if let Some(supervisor) = cradle_of {
            nursery::rock(&cradle, seen, supervisor)?;
        }
        if part.threads == 1 {
            return or_die(|| Ok(self.play_for_ever(&seat)));
        }
        std::thread::scope(|scope| {
            for thread in 1..part.threads {
                scope.spawn(move || or_die(|| self.play_for_ever(&self.seat(EXECUTION, thread))));
            }
            Ok(or_die(|| self.play_for_ever(&seat)))
        })
    }

    fn play_for_ever(&self, seat: &Seat) -> io::Result<Infallible> {
        let part = &self.specification.processes[self.index];
        let line = self.control.thread(seat.line);
        let mut seen = line.go().load(Ordering::SeqCst);
        let mut _held = None;
        start_from_here();
        loop {
            seen = line.wait_for_go(seen);
            match part.kind {
                PartKind::Client(role) => {
                    let role = &self.specification.plan.scenario.clients[role];
                    let operations = self.specification.script_length(role);
                    self.play_once(seat, |player| player.play_script(role, operations))?;
                }
                PartKind::Auditor => self.play_once(seat, |player| {
                    let audit = self.specification.audit();
                    // If nobody can have died, there is nothing to recover from: a look is enough.
                    let recovers = self.specification.plan.hazard == Hazard::Kill;
                    for &operation in if recovers { audit } else { &audit[..1] } {
                        player.perform(operation, None, Duration::ZERO);
                    }
                })?,
                // Whoever planted it is killed while it has it.
                PartKind::Planter => _held = Some(self.take_lock(EXECUTION)?),
                PartKind::Server => self.serve_gated()?,
            }
        }
    }

    fn play_once(&self, seat: &Seat, play: impl FnOnce(&mut Player<'_>)) -> io::Result<()> {
        let mut player = self.player(seat)?;
        let stays = |slot: &Option<Arc<ChildSlot>>| slot.as_ref().is_some_and(|slot| slot.is_reusable());
        let keeps = self.control.process(self.index);
        keeps.keeps_worker().store(u32::from(stays(&player.slot)), Ordering::SeqCst);
        let cue = player.slot.as_ref().map_or(0, |slot| std::ptr::from_ref(slot.cue()) as u64);
        keeps.cue().store(cue, Ordering::SeqCst);
        play(&mut player);
        // A program that remembers an execution would have its next one depend on it: it ends here, unless it has
        // said that it does not.
        let Player { mut client, slot, .. } = player;
        // One that has ended is replaced in an execution of its own.
        let lives = slot.as_ref().is_some_and(|slot| slot.is_alive());
        let stays = stays(&slot) && lives && client.retarget(&seat.context);
        keeps.keeps_worker().store(u32::from(stays), Ordering::SeqCst);
        if stays {
            self.put_back(seat.thread, client, slot);
        }
        Ok(())
    }

    fn serve_gated(&self) -> io::Result<()> {
        let context = self.specification.context(EXECUTION, 0);
        self.opener
            .strategy()
            .serve(&context, &mut || {}, &|| false)
            .map_err(|error| io::Error::other(format!("serving: {error}")))
    }
}

impl super::Specification {
    /// How many operations a client of this role does in one execution.
    pub fn script_length(&self, role: &ClientRole) -> u32 {
        let most = self.plan.scenario.explore.operations;
        role.operations.map_or(most, |own| own.min(most))
    }
}
