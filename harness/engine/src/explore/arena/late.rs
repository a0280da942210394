//! Coming late: a client begins an operation after much time, in which another one was suspended.
//!
//! A pause matters where somebody lets time pass ([`super::fate`]). A program that gives up at once when another one
//! has the lock, or waits in the kernel, never does; but whoever starts it may do so an hour later, and to such a one
//! a lock of somebody who is suspended is an hour old. So where somebody may be suspended, each other client that
//! drives a program stands still before each of its operations, and goes on in one of two ways: at once, or late.
//! It is late once in an execution.
//!
//! To come late is a step of a thread of its own, which goes on when nobody else can, unless the search has it come
//! earlier; when its client has no more operations, it does nothing. It can be taken only while its client is
//! between two operations, and only while nobody else is in the middle of one but who is suspended by it: to stand
//! still there would be another pause. So each client has a door, which is a lock: its own while it has an operation
//! under way, and taken for a moment by whoever comes late.
//!
//! Who comes late comes before the pause is over ([`lateness`]): what is left of it is for what a program does before
//! it takes a lock that it has found to be old. The time has passed for all threads of the client.
//!
//! Not covered: definitions in which not every client drives a program, by one thread, or in which somebody else keeps a
//! lock alive; and who comes late while a third one waits for ever for who is suspended.

use std::time::Duration;

use smallvec::{SmallVec, smallvec};
use tearproof_core::claim::Hazard;
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{ClientRole, LockBefore, StressLimits};

use super::fate::{Fate, FateKind, Progress, pause_of};
use super::time::Now;
use super::tree::digest;
use super::{Act, Arena, ArenaError, State, THREADS_OF_A_CLIENT};
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind, Potential};
use crate::explore::gate::{Answer, Notification};
use crate::explore::system::{Step, ThreadId, Threads, Waiting};
use crate::worker::PartKind;

/// How long a program may be suspended, if the definition does not say how long a pause is.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// What is left of a pause at most when somebody comes late: enough to look twice at what is old before it is taken, and
/// not more than who polls for ever can spend.
const LEFT_OF_A_PAUSE: Duration = Duration::from_secs(10);

/// What a client has while it has an operation under way.
fn door_of(client: usize) -> Object {
    Object { kind: ObjectKind::Channel, key: digest(&("door", client)) }
}

fn goes_through(client: usize) -> [Access; 2] {
    [Mode::Acquire, Mode::Release].map(|mode| Access { object: door_of(client), mode })
}

/// Whether clients may come late to an operation: all of them drive programs, each by one thread, and nobody is there who
/// keeps a lock alive meanwhile.
pub fn may_come_late(plan: &Plan) -> bool {
    let scenario = &plan.scenario;
    let drives = |role: &ClientRole| {
        let strategy = role.strategy.as_ref().unwrap_or(&plan.strategy);
        role.threads == 1 && scenario.program(strategy).is_some()
    };
    plan.hazard == Hazard::Pause
        && scenario.before.lock != LockBefore::LiveHolder
        && scenario.clients.iter().all(drives)
}

/// How long a pause lasts at most: as long as one of the stress engine. Programs have time-outs that nobody knows, so
/// beside who comes late it is longer where the definition leaves that length as it is.
pub fn longest_pause(plan: &Plan) -> Duration {
    match plan.scenario.stress.pause {
        usual if usual == StressLimits::default().pause && may_come_late(plan) => LONGEST_PAUSE,
        set => set,
    }
}

/// How late is who comes late beside one who is suspended.
fn lateness(plan: &Plan) -> Duration {
    let pause = longest_pause(plan);
    pause.saturating_sub(LEFT_OF_A_PAUSE.min(pause / 2))
}

impl Arena<'_> {
    /// Whether clients stand still before their operations. It is the same in a replay, where everybody may be
    /// suspended and may come late.
    fn knows_lateness(&self) -> bool {
        self.has_fates() && may_come_late(&self.specification.plan)
    }

    /// Whether a process has a door.
    fn has_door(&self, process: usize) -> bool {
        let part = self.specification.processes.get(process);
        part.is_some_and(|part| matches!(part.kind, PartKind::Client(_)))
    }

    /// A client is about to begin an operation.
    pub(super) fn come_to_door(
        &mut self,
        index: usize,
        notification: Notification,
    ) -> Result<(), ArenaError> {
        let client = self.client_index(index);
        if !self.knows_lateness() || !self.has_door(client) {
            return self.pass(index, &notification, Answer::Value(0));
        }
        self.open_door(client);
        self.threads[index].state = State::Begins(notification);
        Ok(())
    }

    /// A client has no operation under way any more.
    pub(super) fn open_door(&mut self, client: usize) {
        // Before anybody has taken a step all doors are open.
        if self.acting.is_some() && self.knows_lateness() && self.has_door(client) {
            self.released.push(Access { object: door_of(client), mode: Mode::Release });
        }
    }

    /// A client goes through its door at once.
    pub(super) fn begin_operation(
        &mut self,
        index: usize,
        cause: Option<Object>,
    ) -> Result<Step, ArenaError> {
        let (id, client) = (self.threads[index].id, self.client_index(index));
        let State::Begins(notification) = std::mem::replace(&mut self.threads[index].state, State::Running)
        else {
            return Err(ArenaError::Confused("only who is at its door can go through".to_owned()));
        };
        let takes = smallvec![Access { object: door_of(client), mode: Mode::Acquire }];
        let mut footprint = self.with_life(client, self.with_memory(client, takes));
        self.pass_time(index, &footprint);
        self.answer(index, &notification, Answer::Value(0))?;
        self.settle(client)?;
        footprint.extend(std::mem::take(&mut self.released));
        let signature = digest(&("begin", id.0));
        self.add_causes(cause, &mut footprint);
        self.threads[index].steps += 1;
        let (potential, follows) = (SmallVec::new(), Threads::new());
        Ok(Step { thread: id, footprint, potential, signature, yields: false, follows })
    }

    /// Whether a client is between two operations, or has none left. And whether another one comes.
    fn at_door(&self, client: usize) -> Option<bool> {
        let mut own = self.threads_of(client).map(|index| &self.threads[index].state);
        own.find_map(|state| match state {
            State::Begins(_) => Some(true),
            State::Parked(_) => Some(false),
            _ => None,
        })
    }

    /// The others whose doors whoever is late has to find open.
    fn who_may_not_stand_still(&self, late: usize) -> impl Iterator<Item = usize> + '_ {
        let may_be_suspended = |client: usize| {
            self.fates.iter().any(|fate| fate.kind == FateKind::Pause && fate.victim == client)
        };
        (0..self.specification.processes.len())
            .filter(move |&client| client != late && self.has_door(client) && !may_be_suspended(client))
    }

    /// Whether a client could come late now.
    pub(super) fn can_be_late(&self, late: usize) -> bool {
        match self.at_door(late) {
            None => false,
            Some(false) => true,
            Some(true) => self.who_may_not_stand_still(late).all(|client| self.at_door(client).is_some()),
        }
    }

    /// What it could touch to come late in another state.
    fn potential_of_lateness(&self, late: usize) -> SmallVec<[Potential; 4]> {
        let victims = self.fates.iter().filter(|fate| fate.kind == FateKind::Pause && fate.victim != late);
        let suspends = victims.map(|fate| pause_of(fate.victim));
        let doors = self.who_may_not_stand_still(late).map(door_of);
        let object = suspends.chain(doors);
        object.map(|object| Potential::Certain(Access { object, mode: Mode::Acquire })).collect()
    }

    /// Those who could come late if their doors, or those of others, were open.
    pub(super) fn late_and_waiting(&self) -> impl Iterator<Item = Waiting> + '_ {
        let waits =
            self.fates.iter().filter(|fate| fate.is_ahead(FateKind::Late) && !self.can_be_late(fate.victim));
        waits.map(|fate| Waiting {
            thread: fate.thread(),
            footprint: smallvec![Access { object: door_of(fate.victim), mode: Mode::Acquire }],
            potential: self.potential_of_lateness(fate.victim),
            was_free: false,
        })
    }

    /// A client comes late to its next operation, if there is one.
    pub(super) fn come_late(&mut self, id: ThreadId, late: usize) -> Result<Step, ArenaError> {
        let mut footprint: Footprint = goes_through(late).into_iter().collect();
        let potential = self.potential_of_lateness(late);
        let goes_on = self.at_door(late) == Some(true);
        if goes_on {
            footprint.extend(self.who_may_not_stand_still(late).flat_map(goes_through));
            let own_ns = self.time_of(late);
            let mut now_ns = own_ns.saturating_add(nanoseconds(lateness(&self.specification.plan)));
            let beside =
                |at: &usize| self.fates[*at].kind == FateKind::Pause && self.fates[*at].victim != late;
            for at in (0..self.fates.len()).filter(beside).collect::<SmallVec<[usize; 4]>>() {
                now_ns = self.suspend_beside(at, now_ns, &mut footprint).max(own_ns);
            }
            for index in self.threads_of(late).collect::<Vec<_>>() {
                if !self.is_lookout(index) {
                    let nap = &mut self.threads[index].nap;
                    nap.clock_ns = nap.clock_ns.max(now_ns);
                }
            }
            self.shows(late, now_ns);
            // Whoever depends on this step comes after that time.
            self.time_after(Now { clock_ns: now_ns, shown_ns: 0 }, &footprint);
            let by = Duration::from_nanos(now_ns - own_ns);
            self.note_fate(ThreadId(late as u16 * THREADS_OF_A_CLIENT), Act::ComesLate(by));
        }
        let signature = digest(&("late", id.0, goes_on, &footprint[..]));
        Ok(Step { thread: id, footprint, potential, signature, yields: false, follows: Threads::new() })
    }

    /// Somebody wants to come late, at this time. Who may be suspended is, if it is in the middle of an operation and does
    /// not have to wait. When the latecomer really comes: so late by the victim's time as well, and not after its pause.
    fn suspend_beside(&mut self, at: usize, now_ns: u64, footprint: &mut Footprint) -> u64 {
        let Fate { victim, progress, until_ns, .. } = self.fates[at];
        let goes_on = self.threads_of(victim).any(|index| self.is_able(index) || self.is_asleep(index));
        let stops = goes_on && self.at_door(victim).is_none();
        let plan = &self.specification.plan;
        let [length_ns, late_ns] = [longest_pause(plan), lateness(plan)].map(nanoseconds);
        let now_ns = match progress {
            Progress::Ahead if stops => {
                let since_ns = self.time_of(victim);
                now_ns.max(since_ns.saturating_add(late_ns)).min(since_ns.saturating_add(length_ns))
            }
            Progress::Under => now_ns.min(until_ns),
            _ => now_ns,
        };
        self.pass_beside(at, stops, length_ns, now_ns, footprint);
        now_ns
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
