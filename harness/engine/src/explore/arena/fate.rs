//! Fates: a kill or a pause of a client, wherever the search places it.
//!
//! Every step of a victim conflicts with what strikes it: so each place between two steps of the
//! victim is another class of executions, and where the others are then is found as for any other
//! conflict.
//!
//! **A kill** is a step of a thread of its own, which goes on only when nobody else can, unless the
//! search has it come earlier; when the victim has finished, it does nothing: that is the execution
//! without it. A killed client gives back what its descriptors hold, and others can see that it is
//! gone; its next steps count as waited for, so that they are tried before the kill. The kernel
//! looks for signals that kill before each page that it writes (`generic_perform_write`,
//! `iomap_write_iter`), and finishes the page: so a write that goes over a page boundary can end there,
//! between its two parts, and leaves the first; a kill within a page waits for the second part.
//!
//! Where a kill comes and where it makes no difference is the matter of [`super::spared`].
//!
//! **A pause** lets time pass while the victim stands still, and matters only where somebody lets
//! time pass. So it has no step of its own: a sleep that would end only when nobody else can go on
//! may end as well when nobody but the victim can. Then the victim has been suspended since its last
//! step, and takes the next one after a step that has it go on, by which its clock has moved on: as if
//! whoever let time pass held a lock that each step of the victim takes for a moment. It lasts as long
//! as a pause of the stress engine, at most, or as one in which somebody comes late. To go on in the middle of what somebody else does without
//! changing anything, as between two rounds of polling, would only be a shorter pause: it goes on
//! after somebody has changed something, until more time passes, and when nobody else can go on.
//!
//! Where nobody waits, time passes only before an operation of somebody who comes late ([`super::late`]). Where not
//! even that is so, a pause has no effect. To who never looks at a clock that is all one; of programs that do, what
//! they would make of a lock that is older than it may be is not known then, and the verdict says so.
//!
//! Not covered: a kill at another page boundary of a write of more than two pages than that at which
//! it is divided.

use smallvec::{SmallVec, smallvec};

use super::stillness::STILLNESS;
use super::time::Now;
use super::tree::digest;
use super::{Act, Arena, ArenaError, Deed, Pending, State};
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind, Potential};
use crate::explore::arena::THREADS_OF_A_CLIENT;
use crate::explore::gate::Call;
use crate::explore::system::{Step, ThreadId, Threads, Waiting};

/// What happens to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FateKind {
    /// SIGKILL.
    Kill,
    /// It is suspended, and goes on later.
    Pause,
    /// It comes late to an operation, when time has passed in which another one was suspended.
    Late,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Ahead,
    /// Its victim is paused.
    Under,
    Over,
}

/// What may happen to one client in an execution, once.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    pub kind: FateKind,
    pub victim: usize,
    pub progress: Progress,
    /// What a kill might have given back, had it come earlier.
    pub had: SmallVec<[Potential; 4]>,
    /// The victim has taken no step, or has changed something by its last one.
    pub visible: bool,
    /// Since the pause began, or time passed in it, somebody has changed something.
    stirred: bool,
    /// Time has passed in the pause when the victim could have gone on already.
    held: bool,
    /// The time to which others have come in the pause, in nanoseconds since the execution began.
    clock_ns: u64,
    /// The time at which it is over.
    pub until_ns: u64,
    /// The step by which the victim was killed.
    struck: Option<u64>,
    /// When the victim would have gone on at the latest, by its clock, and which thread of it, had it not been
    /// killed: at once, where it never has to wait. Not known of who waits for others.
    pub stood: Option<(u64, ThreadId)>,
    /// The ends of its naps that were kept from coming.
    pub slept: SmallVec<[u64; 2]>,
    /// Threads of it that had something to do yet.
    silenced: SmallVec<[Silenced; 4]>,
}

/// A thread that was killed in front of a step, and what it may have had to wait for, if it was the kind of step
/// that waits.
type Silenced = (ThreadId, Option<ObjectKind>);

impl Fate {
    /// The thread that kills, or has go on who was paused.
    pub fn thread(&self) -> ThreadId {
        let number = match self.kind {
            FateKind::Kill => 0,
            FateKind::Pause => 1,
            FateKind::Late => 2,
        };
        ThreadId(ThreadId::RELUCTANT | (self.victim as u16 * THREADS_OF_A_CLIENT + number))
    }

    pub fn is_ahead(&self, kind: FateKind) -> bool {
        self.kind == kind && self.progress == Progress::Ahead
    }
}

/// The process of a thread, or of a fate's victim.
pub fn process_of(thread: ThreadId) -> usize {
    usize::from((thread.0 & !ThreadId::RELUCTANT) / THREADS_OF_A_CLIENT)
}

/// Whether a process is suspended: whoever suspends it has this as a lock.
pub(super) fn pause_of(process: usize) -> Object {
    Object { kind: ObjectKind::Channel, key: digest(&("pause", process)) }
}

/// Whether a process lives: each of its steps depends on that.
fn life_of(process: usize) -> Object {
    Object { kind: ObjectKind::Liveness, key: process as u64 }
}

/// Sees whether a process lives.
pub(super) fn sees_life(process: usize) -> Access {
    Access { object: sight_of(process), mode: Mode::Read }
}

/// The same as others can see it.
fn sight_of(process: usize) -> Object {
    Object { kind: ObjectKind::Liveness, key: digest(&("sight", process)) }
}

/// What a step might touch that was never taken, of which nobody knows more.
pub(super) fn whatever_it_was() -> impl Iterator<Item = Potential> {
    use ObjectKind::{
        Attributes, Birth, Channel, Content, Entry, Listing, Liveness, Lock, Memory, Metadata, Offset,
        Section, WriteGate,
    };
    const ALL: [ObjectKind; 13] = [
        Content, Metadata, Attributes, Entry, Listing, Offset, WriteGate, Lock, Liveness, Birth, Channel,
        Memory, Section,
    ];
    ALL.into_iter().map(|kind| Potential::Any(kind, Mode::Write))
}

/// What a kill is as a step, whatever is given back by it.
pub(super) fn kill_of(victim: usize) -> Footprint {
    [life_of(victim), sight_of(victim)]
        .map(|object| Access { object, mode: Mode::Write })
        .into_iter()
        .collect()
}

impl Arena<'_> {
    /// From the next execution on, these clients, by process, may meet these fates.
    pub fn ordain(&mut self, fates: &[(FateKind, usize)]) {
        let fate = |&(kind, victim): &_| Fate {
            kind,
            victim,
            progress: Progress::Over,
            had: SmallVec::new(),
            visible: true,
            stirred: false,
            held: false,
            clock_ns: 0,
            until_ns: 0,
            struck: None,
            stood: None,
            slept: SmallVec::new(),
            silenced: SmallVec::new(),
        };
        self.fates = fates.iter().map(fate).collect();
    }

    /// The processes that were killed in this execution, and by which step each.
    pub fn fallen(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.fates.iter().filter_map(|fate| Some((fate.victim, fate.struck?)))
    }

    /// Whether a program that clients drive has looked at a clock, in any execution; and whether time has passed
    /// while somebody was suspended.
    pub const fn looks_and_pauses(&self) -> (bool, bool) {
        (self.time.looked_at, self.time.passed_in_pause)
    }

    pub(super) fn has_fates(&self) -> bool {
        !self.fates.is_empty()
    }

    pub(super) fn fates_that_kill(&self) -> impl Iterator<Item = &Fate> {
        self.fates.iter().filter(|fate| fate.kind == FateKind::Kill)
    }

    pub(super) fn begin_fates(&mut self) {
        for fate in &mut self.fates {
            fate.progress = Progress::Ahead;
            (fate.visible, fate.stirred, fate.held) = (true, false, false);
            (fate.clock_ns, fate.until_ns) = (0, 0);
            (fate.struck, fate.stood) = (None, None);
            fate.had.clear();
            fate.slept.clear();
            fate.silenced.clear();
        }
    }

    /// What has not happened in this execution will not.
    pub(super) fn end_fates(&mut self) {
        self.fates.iter_mut().for_each(|fate| fate.progress = Progress::Over);
    }

    /// Whether a process may meet a fate in this execution, or has.
    pub(super) fn is_fated(&self, process: usize) -> bool {
        self.fates.iter().any(|fate| fate.victim == process && fate.kind != FateKind::Late)
    }

    /// A step of a process that a fate may strike depends on that; and who is suspended can go on
    /// because of what others change.
    pub(super) fn with_life(&mut self, process: usize, mut footprint: Footprint) -> Footprint {
        use ObjectKind::{Attributes, Content, Entry, Lock, Metadata, Section};
        footprint.extend(self.life(process));
        let seen = [Attributes, Content, Entry, Lock, Metadata, Section];
        let changes = |access: &Access| access.mode.changes() && seen.contains(&access.object.kind);
        let paused = |fate: &&mut Fate| fate.victim != process && fate.progress == Progress::Under;
        for fate in self.fates.iter_mut().filter(paused) {
            if footprint.iter().any(changes) {
                fate.stirred = true;
                footprint.push(Access { object: pause_of(fate.victim), mode: Mode::Read });
            }
        }
        footprint
    }

    /// What every step of a process depends on: that no fate has struck it.
    pub(super) fn life(&self, process: usize) -> SmallVec<[Access; 2]> {
        let of = |fate: &Fate| -> SmallVec<[Access; 2]> {
            match fate.kind {
                FateKind::Kill => {
                    // A kill just before it would come to the same as one before the step before.
                    let mode = if self.spares(fate) { Mode::Hold } else { Mode::Read };
                    smallvec![Access { object: life_of(process), mode }]
                }
                // As if it took a lock for a moment, which whoever suspends it has.
                FateKind::Pause => [Mode::AcquireShared, Mode::ReleaseShared]
                    .map(|mode| Access { object: pause_of(process), mode })
                    .into(),
                FateKind::Late => SmallVec::new(),
            }
        };
        self.fates.iter().filter(|fate| fate.victim == process).flat_map(of).collect()
    }

    /// Whether a process is suspended now.
    pub(super) fn is_paused(&self, process: usize) -> bool {
        self.fates.iter().any(|fate| fate.victim == process && fate.progress == Progress::Under)
    }

    /// The fates of those who are suspended now.
    pub(super) fn suspended_now(&self) -> impl Iterator<Item = ThreadId> {
        self.fates.iter().filter(|fate| fate.progress == Progress::Under).map(Fate::thread)
    }

    /// Whether a thread's standing still could be a pause.
    pub(super) fn can_be_paused(&self, process: usize) -> bool {
        self.fates.iter().any(|fate| fate.victim == process && fate.is_ahead(FateKind::Pause))
    }

    /// Whether a pause that is under way ends before this time.
    pub(super) fn pause_is_over_by(&self, at_ns: u64) -> bool {
        self.fates.iter().any(|fate| fate.progress == Progress::Under && fate.until_ns < at_ns)
    }

    /// When a pause that is under way is over.
    pub(super) fn end_of_pause(&self) -> Option<u64> {
        let under = self.fates.iter().filter(|fate| fate.progress == Progress::Under);
        under.map(|fate| fate.until_ns).min()
    }

    /// Somebody lets time pass while nobody goes on, or nobody but those who are paused.
    pub(super) fn pause_others(
        &mut self,
        sleeper: usize,
        now_ns: u64,
        footprint: &mut Footprint,
        potential: &mut SmallVec<[Potential; 4]>,
    ) {
        let length_ns = self.specification.plan.scenario.stress.pause.as_nanos() as u64;
        for at in 0..self.fates.len() {
            let Fate { kind, victim, .. } = self.fates[at];
            if kind == FateKind::Pause && victim != sleeper {
                // Who has finished or has to wait is not suspended; but the sleep might have ended sooner.
                let stops = self.threads_of(victim).any(|index| self.is_able(index));
                self.pass_beside(at, stops, length_ns, now_ns, footprint);
                potential.push(Potential::Certain(Access { object: pause_of(victim), mode: Mode::Acquire }));
            }
        }
    }

    /// Whether a client might have been suspended instead of what it did.
    pub(super) fn might_be_suspended(&self, client: usize) -> bool {
        let might = |fate: &Fate| fate.kind == FateKind::Pause && fate.progress == Progress::Ahead;
        self.fates.iter().any(|fate| fate.victim == client && might(fate))
    }

    /// Whether anybody else may be suspended.
    pub(super) fn others_may_pause(&self, client: usize) -> bool {
        self.fates.iter().any(|fate| fate.kind == FateKind::Pause && fate.victim != client)
    }

    /// Somebody might have let time pass, and has not.
    pub(super) fn might_have_paused(
        &self,
        waiting: usize,
        footprint: &mut Footprint,
        potential: &mut SmallVec<[Potential; 4]>,
    ) {
        let others = self.fates.iter().filter(|fate| fate.kind == FateKind::Pause && fate.victim != waiting);
        for Fate { victim, progress, .. } in others {
            let object = pause_of(*victim);
            let modes: &[Mode] = match progress {
                Progress::Ahead => &[Mode::Acquire, Mode::Release],
                Progress::Under => &[],
                Progress::Over => &[Mode::Read],
            };
            footprint.extend(modes.iter().map(|&mode| Access { object, mode }));
            potential.push(Potential::Certain(Access { object, mode: Mode::Acquire }));
        }
    }

    /// Time passes beside who may be suspended: it is for so long, if that stops it and it was not before.
    pub(super) fn pass_beside(
        &mut self,
        at: usize,
        stops: bool,
        length_ns: u64,
        now_ns: u64,
        footprint: &mut Footprint,
    ) {
        let Fate { victim, progress, stirred, .. } = self.fates[at];
        let modes: &[Mode] = match progress {
            Progress::Ahead if stops => &[Mode::Acquire],
            Progress::Ahead => &[Mode::Acquire, Mode::Release],
            Progress::Under if stirred => &[Mode::Hold],
            Progress::Under => &[],
            Progress::Over => &[Mode::Read],
        };
        footprint.extend(modes.iter().map(|&mode| Access { object: pause_of(victim), mode }));
        let since_ns = self.time_of(victim);
        let fate = &mut self.fates[at];
        fate.held |= progress == Progress::Under && stirred;
        fate.stirred = false;
        fate.clock_ns = fate.clock_ns.max(now_ns);
        if progress == Progress::Ahead && stops {
            fate.until_ns = since_ns.saturating_add(length_ns);
            fate.progress = Progress::Under;
            self.time.passed_in_pause = true;
            self.note_fate(ThreadId(victim as u16 * THREADS_OF_A_CLIENT), Act::Pause);
        }
    }

    /// How far a client has come, in nanoseconds since the execution began. Who looks after others has a clock of its
    /// own.
    pub(super) fn time_of(&self, client: usize) -> u64 {
        let own = self.threads_of(client).filter(|&index| !self.is_lookout(index));
        own.map(|index| self.threads[index].nap.clock_ns).max().unwrap_or(0)
    }

    /// The steps of fates that can be taken now.
    pub(super) fn fates_due(&self, into: &mut Vec<ThreadId>) {
        let nobody = into.is_empty();
        let due = |fate: &&Fate| match fate.kind {
            FateKind::Kill => fate.progress == Progress::Ahead && !self.is_spared(fate),
            FateKind::Pause => fate.progress == Progress::Under && (fate.stirred || nobody),
            FateKind::Late => fate.progress == Progress::Ahead && self.can_be_late(fate.victim),
        };
        into.extend(self.fates.iter().filter(due).map(Fate::thread));
    }

    /// Who is suspended, and could have gone on before others let more time pass: that nobody else could go on then is not
    /// why it does when it does.
    pub(super) fn held_up(&self) -> impl Iterator<Item = Waiting> + '_ {
        let held = |fate: &&Fate| fate.progress == Progress::Under && fate.held && !fate.stirred;
        self.fates.iter().filter(held).map(|fate| Waiting {
            thread: fate.thread(),
            footprint: smallvec![Access { object: pause_of(fate.victim), mode: Mode::Release }],
            potential: SmallVec::new(),
            was_free: true,
        })
    }

    /// Threads that were killed before their next step. They wait for ever, as it were: had the kill come
    /// later, they would have taken it, whatever it was.
    pub(super) fn silenced(&self) -> impl Iterator<Item = Waiting> + '_ {
        let of = |fate: &Fate, (thread, waits): Silenced| Waiting {
            thread,
            footprint: std::iter::once(Access { object: life_of(fate.victim), mode: Mode::Read }).collect(),
            potential: whatever_it_was()
                .chain(waits.map(|kind| Potential::Any(kind, Mode::Acquire)))
                .collect(),
            was_free: false,
        };
        self.fates.iter().flat_map(move |fate| fate.silenced.iter().map(move |&silenced| of(fate, silenced)))
    }

    /// The threads of a client that have something to do yet.
    fn unfinished(&self, process: usize) -> SmallVec<[Silenced; 4]> {
        let goes_on = |index: &usize| match self.threads[*index].state {
            State::Parked(_) => self.is_due(*index),
            _ => !self.is_idle(*index),
        };
        let waits = |index: usize| match &self.threads[index].state {
            State::AtGate(Pending { call: Call::Lock { wait: true, .. }, .. }) => Some(ObjectKind::Lock),
            // What a message brings hides nothing that came before it.
            State::AtGate(Pending { call: Call::Socket(_), .. }) => None,
            State::AtGate(Pending { call, .. }) => {
                Self::may_have_to_wait(call).then_some(ObjectKind::WriteGate)
            }
            _ => None,
        };
        let silenced = |index: usize| (self.threads[index].id, waits(index));
        self.threads_of(process).filter(goes_on).map(silenced).collect()
    }

    /// A client is killed, unless it has finished; or goes on.
    pub(super) fn strike(&mut self, id: ThreadId) -> Result<Step, ArenaError> {
        let at = self.fates.iter().position(|fate| fate.thread() == id && fate.progress != Progress::Over);
        let at = at.ok_or_else(|| ArenaError::Confused(format!("{id:?} is nobody's fate")))?;
        let Fate { kind, victim, stirred, .. } = self.fates[at];
        if kind == FateKind::Late {
            self.fates[at].progress = Progress::Over;
            return self.come_late(id, victim);
        }
        // Who is suspended goes on after something has changed, or when nobody else can.
        let last_resort = kind == FateKind::Pause && !stirred;
        let follows = if last_resort { self.others_than(victim) } else { Threads::new() };
        self.fates[at].stood = self.would_go_on(victim);
        self.fates[at].slept = self.ends_of_naps(victim);
        let mut footprint: Footprint = match kind {
            FateKind::Kill => kill_of(victim),
            _ => smallvec![Access { object: pause_of(victim), mode: Mode::Release }],
        };
        let of_itself = footprint.len();
        self.fates[at].progress = Progress::Over;
        let unfinished = self.unfinished(victim);
        let kills = kind == FateKind::Kill && !unfinished.is_empty();
        let first = ThreadId(victim as u16 * THREADS_OF_A_CLIENT);
        if kills {
            self.end_family(victim, &mut footprint)?;
            for file in self.processes[victim].descriptors.take() {
                self.forget(victim, file, &mut footprint);
            }
            // The write that it was in the middle of ends here.
            let threads = &self.threads;
            self.gates.retain(|(inode, holder)| {
                let goes_on = threads[*holder].process != victim;
                if !goes_on {
                    footprint
                        .push(Access { object: inode.object(ObjectKind::WriteGate), mode: Mode::Release });
                }
                goes_on
            });
            if footprint.len() > of_itself {
                // Others may go on because of what it gives back.
                footprint.push(Access { object: STILLNESS, mode: Mode::Write });
            }
            self.kill(victim)?;
            self.fates[at].struck = Some(self.steps);
            self.fates[at].silenced = unfinished;
            self.note_fate(first, Act::Kill);
        } else if kind == FateKind::Pause {
            let late_ns = self.fates[at].clock_ns.saturating_sub(self.time_of(victim));
            self.put_off_deadline(victim, late_ns);
            // Whoever depends on this step comes after that time.
            self.time_after(Now { clock_ns: self.fates[at].clock_ns, shown_ns: 0 }, &footprint);
            self.note_fate(first, Act::Resume);
        }
        let signature = digest(&("fate", id.0, kills, &footprint[..]));
        let mut potential = std::mem::take(&mut self.fates[at].had);
        // Nor had the victim always what it gives back now.
        potential.extend(footprint[of_itself..].iter().map(|&access| Potential::Certain(access)));
        Ok(Step { thread: id, footprint, potential, signature, yields: false, follows })
    }

    /// Who drives a program does not count the time in which it was suspended.
    fn put_off_deadline(&mut self, client: usize, late_ns: u64) {
        if !self.drives(client) {
            return;
        }
        for index in self.threads_of(client).collect::<Vec<_>>() {
            let waits =
                matches!(self.threads[index].state, State::AtGate(Pending { call: Call::Wait(_), .. }));
            if waits && self.processes[self.threads[index].process].is_root() {
                self.threads[index].nap.put_off(late_ns);
            }
        }
    }

    /// Notes that something happened to a client.
    pub(super) fn note_fate(&mut self, thread: ThreadId, what: Act) {
        if let Some(deeds) = &mut self.deeds {
            deeds.push(Deed { step: self.steps, thread, part: 0, what, name: None, returned: None });
        }
    }
}
