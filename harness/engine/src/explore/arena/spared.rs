//! Where kills come, and where they would make no difference.
//!
//! To be killed after a step that changed nothing which anybody else can see, neither files nor locks nor what
//! its client has recorded, comes to the same as to be killed before it. So a kill comes at the beginning, or
//! after a step that did change something ([`Fate::visible`]). A step before which it does not come goes on under
//! the life of its client ([`Mode::Hold`]); the search puts the kill before an earlier one instead.
//!
//! What a kill gives back depends on where it comes, and the search has to know what that could be ([`Fate::had`]).

use super::fate::{Fate, FateKind, kill_of};
use super::stillness::STILLNESS;
use super::{Arena, Pending, State};
use crate::explore::access::{Access, Footprint, Mode, ObjectKind, Potential};
use crate::explore::system::Waiting;

impl Fate {
    /// The victim has taken a step: what it may have since then, which it would give back.
    fn note_what_it_has(&mut self, step: &Footprint, talks: bool) {
        let mut has = |potential: Potential| {
            if !self.had.contains(&potential) {
                self.had.push(potential);
            }
        };
        for access in step {
            let mode = match (access.object.kind, access.mode) {
                (ObjectKind::Lock, Mode::AcquireShared) => Mode::ReleaseShared,
                (ObjectKind::Lock | ObjectKind::WriteGate, Mode::Acquire | Mode::Write) => Mode::Release,
                _ => continue,
            };
            has(Potential::Certain(Access { object: access.object, mode }));
            has(Potential::Certain(Access { object: STILLNESS, mode: Mode::Write }));
        }
        if talks {
            has(Potential::Any(ObjectKind::Channel, Mode::Write));
            has(Potential::Any(ObjectKind::Channel, Mode::Release));
        }
    }
}

impl Arena<'_> {
    /// Whether a kill has to wait for the second part of a write, or comes to the same as one before.
    pub(super) fn is_spared(&self, fate: &Fate) -> bool {
        self.spares(fate) || self.is_writing(fate.victim)
    }

    pub(super) fn spares(&self, fate: &Fate) -> bool {
        !fate.visible && !self.kills_everywhere
    }

    /// From now on kills come everywhere: to see that nothing is lost where they do not.
    pub fn kill_everywhere(&mut self) {
        self.kills_everywhere = true;
    }

    /// How much a client that a kill may strike has recorded.
    pub(super) fn recorded(&self, client: usize) -> Option<u64> {
        let may_be_killed = |fate: &Fate| fate.victim == client && fate.is_ahead(FateKind::Kill);
        self.fates.iter().any(may_be_killed).then(|| {
            let own = &self.processes[client];
            self.launch.recorded(own.first_line..own.first_line + own.line_count)
        })
    }

    /// A client has taken a step: whether it changed something that anybody else can see. Its memory, and where it
    /// is in its files, go with it.
    pub(super) fn note_visibility(
        &mut self,
        client: usize,
        step: &Footprint,
        was_recorded: Option<u64>,
        talks: bool,
    ) {
        if was_recorded.is_none() {
            return;
        }
        let own = |kind: ObjectKind| matches!(kind, ObjectKind::Memory | ObjectKind::Offset);
        // That somebody woke it is its own affair; that it has received something, its peer's as well.
        let wakes_up = |access: &Access| {
            let takes = matches!(access.mode, Mode::Acquire | Mode::AcquireShared);
            !talks && access.object.kind == ObjectKind::Channel && takes
        };
        let changes =
            |access: &Access| access.mode.changes() && !own(access.object.kind) && !wakes_up(access);
        let visible = step.iter().any(changes) || self.recorded(client) != was_recorded;
        for fate in self.fates.iter_mut().filter(|fate| fate.victim == client) {
            fate.visible = visible;
            fate.note_what_it_has(step, talks);
        }
    }

    /// The kills that have to wait.
    pub(super) fn kills_waiting(&self) -> impl Iterator<Item = Waiting> + '_ {
        let held_up = |fate: &&Fate| fate.is_ahead(FateKind::Kill) && self.is_spared(fate);
        self.fates.iter().filter(held_up).map(|fate| Waiting {
            thread: fate.thread(),
            footprint: kill_of(fate.victim),
            potential: fate.had.clone(),
            was_free: false,
        })
    }

    /// Whether a process is in the middle of writing to a page.
    pub(super) fn is_writing(&self, process: usize) -> bool {
        self.threads_of(process).any(|index| {
            let half = match &self.threads[index].state {
                State::AtGate(Pending { half, .. }) => half.as_ref(),
                _ => None,
            };
            half.is_some_and(|half| !half.can_be_the_end())
        })
    }
}
