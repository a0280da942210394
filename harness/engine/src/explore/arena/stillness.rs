//! Stillness: nobody can go on, and so somebody does whose turn comes only then.
//!
//! Such a step, the end of a long sleep or of a time-out, comes after everything that others did: none of it
//! could be missing, or they could have gone on. It says so ([`crate::explore::system::Step::follows`]). Two
//! need not come before it: who is suspended, or could be, stands still whatever it was going to do; and a kill
//! of somebody who had to wait, or would have slept longer, kept nobody from it.

use super::fate::{Fate, FateKind, Progress};
use super::{Arena, Pending, State};
use crate::explore::access::{Object, ObjectKind};
use crate::explore::system::{ThreadId, Threads};

/// That nobody can go on: whoever rises because of it reads it, a kill that lets others go on ends it.
pub(super) const STILLNESS: Object = Object { kind: ObjectKind::Channel, key: u64::MAX };

impl Arena<'_> {
    /// The threads that could not go on when this one did, whose turn only comes then.
    pub(super) fn who_had_to_stop(&self, index: usize) -> Threads {
        let own = self.threads[index].id;
        let rises = (self.threads[index].nap.end(), own);
        // Whoever is suspended, or could be, stands still whatever it was going to do.
        let stands = |client: usize| {
            let is_paused = |fate: &Fate| fate.kind == FateKind::Pause && fate.progress != Progress::Over;
            self.fates.iter().any(|fate| fate.victim == client && is_paused(fate))
        };
        let others = (0..self.threads.len())
            .filter(|&other| !stands(self.client_index(other)))
            .map(|other| self.threads[other].id)
            .filter(|id| *id != own);
        // Who was killed stands in nobody's way, and would have, had it gone on before.
        let kills = self.fates.iter().filter(|fate| fate.stood.is_some_and(|stood| stood < rises));
        others.chain(kills.filter(|fate| fate.kind == FateKind::Kill).map(Fate::thread)).collect()
    }

    /// All threads of other clients.
    pub(super) fn others_than(&self, client: usize) -> Threads {
        let others = (0..self.threads.len()).filter(|&index| self.client_index(index) != client);
        others.map(|index| self.threads[index].id).collect()
    }

    /// When a client would go on at the latest, whatever others do, and which thread of it.
    pub(super) fn would_go_on(&self, client: usize) -> Option<(u64, ThreadId)> {
        let of = |index: usize| {
            let thread = &self.threads[index];
            match &thread.state {
                State::Parked(_) => self.is_due(index).then_some((0, thread.id)),
                State::Begins(_) => Some((0, thread.id)),
                State::AtGate(Pending { half: Some(_), .. }) => Some((0, thread.id)),
                _ if self.is_asleep(index) && self.may_wake(index) => Some((0, thread.id)),
                _ if self.is_asleep(index) => Some((thread.nap.end(), thread.id)),
                State::AtGate(Pending { call, .. }) => {
                    (!Self::may_have_to_wait(call)).then_some((0, thread.id))
                }
                _ => None,
            }
        };
        self.threads_of(client).filter_map(of).min()
    }
}
