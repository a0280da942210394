//! A system in memory: threads are small programs over variables, pointers, counters and locks.

use std::convert::Infallible;

use smallvec::SmallVec;

use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind, Potential};
use crate::explore::system::{Looks, Sleeper, Step, System, ThreadId, Threads, Waiting, wakes_up};

/// One step of a toy thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Stores a value that nobody else stores.
    Store(u8),
    /// Reads a variable.
    Load(u8),
    /// Reads a variable and gives way, as a client that polls does.
    Poll(u8),
    /// Stores only where the variable was never stored to, as O_EXCL does.
    StoreNew(u8),
    /// Has a pointer lead to a variable, as a rename does.
    Point(u8, u8),
    /// Reads the variable that a pointer leads to.
    Follow(u8),
    /// Stores through a pointer.
    StoreThrough(u8),
    /// Adds to a counter, which commutes.
    Add(u8),
    /// Reads a counter.
    Sum(u8),
    /// Waits for a lock.
    Lock(u8),
    /// The same, with others.
    LockShared(u8),
    /// Takes a lock if it is free.
    TryLock(u8),
    /// Waits for the lock of the variable that a pointer leads to.
    LockThrough(u8),
    /// Stores to a variable under its lock if it was stored to before, as O_TRUNC does; otherwise
    /// stores without. Waits only in the first case.
    Truncate(u8),
    /// Gives a lock back, if it has it.
    Unlock(u8),
    /// Stores and gives a lock back, if it has it, in one step.
    Finish(u8),
    /// Starts a thread that waits to be born.
    Bear(u8),
    /// The same, if a variable was never stored to.
    BearIfNew(u8, u8),
    /// Goes on only when nobody else can but those who rest as well; who last read the least goes first.
    Rest,
    /// Goes on when somebody has changed what it has touched since it last went on from such a nap; or as who rests.
    Nap,
    /// Kills a thread, unless it has finished: the only step of its thread, which keeps nobody from resting.
    Kill(u8),
}

pub type Program = Vec<Op>;

/// What an execution comes to: everything that was read, what is there in the end, and how far
/// each thread came.
pub type Outcome = (Vec<Vec<u32>>, Vec<u32>, Vec<usize>);

/// Variables, pointers, counters and locks that there are of each.
const KEYS: usize = 8;
/// That nobody can go on: a kill ends it if others can go on because of it.
const STILLNESS: u8 = 0;
const NOBODY: usize = usize::MAX;

#[derive(Clone, Debug, Default)]
struct Thread {
    at: usize,
    born: bool,
    read: SmallVec<[u32; 8]>,
    killed: bool,
    /// What it has touched since its last nap, and before the naps that somebody ended.
    looks: Option<Looks>,
    past: Vec<Looks>,
    naps: u8,
    /// Who it was killed in front of: those who rest until later, or everybody who rests.
    stood: Option<(u32, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Locked {
    owner: usize,
    /// A bit for each thread.
    sharers: u32,
}

#[derive(Clone, Debug)]
struct State {
    threads: SmallVec<[Thread; 4]>,
    variables: [u32; KEYS],
    pointers: [u8; KEYS],
    counters: [u32; KEYS],
    locks: [Locked; KEYS],
}

impl State {
    fn new(threads: usize, born: impl Fn(usize) -> bool) -> Self {
        Self {
            threads: (0..threads).map(|thread| Thread { born: born(thread), ..Thread::default() }).collect(),
            variables: [0; KEYS],
            pointers: [0; KEYS],
            counters: [0; KEYS],
            locks: [Locked { owner: NOBODY, sharers: 0 }; KEYS],
        }
    }
}

/// Which untruth a toy tells: canaries, each of which a test has to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untruth {
    /// Reads of this variable are kept secret.
    HidesReadsOf(u8),
    /// What a step reads depends on how often the system was begun.
    Diverges,
    /// The second thread is not there when the system is begun again, but another one that does what it does.
    GivesWorkToOthers,
    /// Who takes a lock says that it writes, not that it waited, and nobody is said to wait: so the
    /// release in front of it looks like a race that can be reversed, and hides the other one who
    /// took it.
    TakesLocksSilently,
    /// Who rises is not said to have needed that nobody could go on.
    HidesStillness,
    /// Who rests is said to come after whoever was killed, though he could not have gone on.
    RestsAfterAnyKill,
    /// Nobody is said to wait.
    HidesWhoWaits,
}

pub struct Toy {
    programs: Vec<Program>,
    state: State,
    pub untruth: Option<Untruth>,
    begun: u32,
}

fn access(kind: ObjectKind, key: u8, mode: Mode) -> Access {
    Access { object: Object { kind, key: key.into() }, mode }
}

impl Toy {
    pub fn new(programs: Vec<Program>) -> Self {
        Self { state: State::new(0, |_| true), programs, untruth: None, begun: 0 }
    }

    pub fn with(programs: Vec<Program>, untruth: Untruth) -> Self {
        Self { untruth: Some(untruth), ..Self::new(programs) }
    }

    pub fn outcome(&self) -> Outcome {
        let state = &self.state;
        let end = (0..KEYS)
            .flat_map(|key| [state.variables[key], state.pointers[key].into(), state.counters[key]])
            .collect();
        let read = state.threads.iter().map(|thread| thread.read.to_vec()).collect();
        (read, end, state.threads.iter().map(|thread| thread.at).collect())
    }

    fn next(&self, thread: usize) -> Option<Op> {
        let known = &self.state.threads[thread];
        self.programs[thread].get(known.at).copied().filter(|_| known.born && !known.killed)
    }

    /// Whether a thread is somebody's fate.
    fn kills(&self, thread: usize) -> Option<usize> {
        match self.programs[thread][..] {
            [Op::Kill(victim)] => Some(victim.into()),
            _ => None,
        }
    }

    /// When a thread has rested, and who it is: the least goes first.
    fn rests_until(&self, thread: usize) -> Option<(u32, usize)> {
        let until = self.state.threads[thread].read.last().copied().unwrap_or(0);
        self.lies_down(thread).then_some((until, thread))
    }

    /// Whether it waits for nobody to be able to go on.
    fn lies_down(&self, thread: usize) -> bool {
        match self.next(thread) {
            Some(Op::Rest) => true,
            Some(Op::Nap) => !self.is_woken(thread),
            _ => false,
        }
    }

    fn is_woken(&self, thread: usize) -> bool {
        self.state.threads[thread].looks.as_ref().is_some_and(|looks| !looks.wakers.is_empty())
    }

    /// What a thread has looked at.
    fn looks_of(&self, thread: usize) -> Looks {
        let looks = self.state.threads[thread].looks.clone();
        looks.unwrap_or_else(|| Looks::new(self.nap_of(thread)))
    }

    fn nap_of(&self, thread: usize) -> Object {
        let Access { object, .. } = access(
            ObjectKind::Channel,
            100 + thread as u8 * 10 + self.state.threads[thread].naps,
            Mode::Read,
        );
        object
    }

    /// Who goes on when nobody else can.
    fn first_to_rise(&self) -> Option<usize> {
        let all = 0..self.programs.len();
        let goes_on = |thread: usize| self.kills(thread).is_none() && self.may_go(thread);
        let first = || all.clone().filter_map(|thread| self.rests_until(thread)).min();
        if all.clone().any(goes_on) { None } else { first().map(|(_, thread)| thread) }
    }

    /// A thread that somebody bears does not live from the beginning.
    fn is_borne(&self, thread: usize) -> bool {
        let bears = |op: &Op| matches!(op, Op::Bear(child) | Op::BearIfNew(_, child) if usize::from(*child) == thread);
        self.programs.iter().flatten().any(bears)
    }

    fn may_go(&self, thread: usize) -> bool {
        let free = |lock: u8| {
            let Locked { owner, sharers } = self.state.locks[usize::from(lock)];
            (owner == NOBODY || owner == thread) && sharers & !(1 << thread) == 0
        };
        match self.next(thread) {
            None | Some(Op::Rest) => false,
            Some(Op::Nap) => self.is_woken(thread),
            Some(Op::Lock(lock)) => free(lock),
            Some(Op::LockThrough(pointer)) => free(self.state.pointers[usize::from(pointer)]),
            Some(Op::Truncate(key)) => self.state.variables[usize::from(key)] == 0 || free(key),
            Some(Op::LockShared(lock)) => {
                let owner = self.state.locks[usize::from(lock)].owner;
                owner == NOBODY || owner == thread
            }
            Some(_) => true,
        }
    }
}

impl System for Toy {
    type Error = Infallible;

    fn begin(&mut self) -> Result<(), Infallible> {
        self.begun += 1;
        if self.begun == 1 {
            self.state = State::new(self.programs.len(), |thread| !self.is_borne(thread));
            return Ok(());
        }
        let mut threads = std::mem::take(&mut self.state.threads);
        for (index, thread) in threads.iter_mut().enumerate() {
            thread.at = 0;
            thread.born = !self.is_borne(index);
            thread.read.clear();
            thread.looks = None;
            thread.past.clear();
            (thread.killed, thread.stood, thread.naps) = (false, None, 0);
        }
        self.state = State { threads, ..State::new(0, |_| true) };
        Ok(())
    }

    fn enabled(&mut self, into: &mut Vec<ThreadId>) -> Result<(), Infallible> {
        into.clear();
        let first = self.first_to_rise();
        let can_go = |&thread: &usize| self.may_go(thread) || first == Some(thread);
        into.extend((0..self.programs.len()).filter(can_go).map(|t| ThreadId(t as u16)));
        if self.untruth == Some(Untruth::GivesWorkToOthers) && self.begun > 1 {
            into.retain(|thread| *thread != ThreadId(1));
        }
        Ok(())
    }

    fn step(&mut self, id: ThreadId) -> Result<Step, Infallible> {
        use ObjectKind::{Birth, Content, Entry, Lock, Metadata};
        let thread = usize::from(id.0);
        let mut op = self.next(thread).expect("it is enabled");
        let at = self.state.threads[thread].at;
        let stamp = (thread as u32 + 1) * 100 + at as u32;
        let mut footprint = Footprint::new();
        if at == 0 && self.is_borne(thread) {
            footprint.push(access(Birth, id.0 as u8, Mode::Acquire));
        }
        if self.is_mortal(thread) {
            footprint.push(access(ObjectKind::Liveness, id.0 as u8, Mode::Read));
        }
        let rises = self.lies_down(thread);
        let follows = if rises { self.follows(thread) } else { Threads::new() };
        let (sleepers, looks) = (self.sleepers(), self.looks_of(thread));
        if let Op::Kill(victim) = op {
            footprint.push(access(ObjectKind::Liveness, victim, Mode::Write));
            self.kill(victim.into(), &mut footprint);
        }
        let state = &mut self.state;
        let mut potential: SmallVec<[Potential; 4]> = SmallVec::new();
        if let Op::Kill(_) = op {
            // What the victim gives back it has not always had.
            let gives_back = footprint.iter().filter(|access| access.object.kind != ObjectKind::Liveness);
            potential.extend(gives_back.map(|&access| Potential::Certain(access)));
        }
        let mut read = None;
        if let Op::LockThrough(pointer) = op {
            footprint.push(access(Entry, pointer, Mode::Read));
            potential.push(Potential::Any(Lock, Mode::Acquire));
            potential.push(Potential::Any(Lock, Mode::ReleaseShared));
            op = Op::Lock(state.pointers[usize::from(pointer)]);
        }
        let taking =
            |mode| if self.untruth == Some(Untruth::TakesLocksSilently) { Mode::Write } else { mode };
        match op {
            Op::Store(key) => {
                footprint.push(access(Content, key, Mode::Write));
                state.variables[usize::from(key)] = stamp;
            }
            Op::Load(key) | Op::Poll(key) => {
                if self.untruth != Some(Untruth::HidesReadsOf(key)) {
                    footprint.push(access(Content, key, Mode::Read));
                }
                read = Some(state.variables[usize::from(key)]);
            }
            Op::StoreNew(key) => {
                potential.push(Potential::Certain(access(Content, key, Mode::Write)));
                let variable = &mut state.variables[usize::from(key)];
                let new = *variable == 0;
                footprint.push(access(Content, key, if new { Mode::Write } else { Mode::Read }));
                if new {
                    *variable = stamp;
                }
                read = Some(u32::from(new));
            }
            Op::Point(pointer, key) => {
                footprint.push(access(Entry, pointer, Mode::Write));
                state.pointers[usize::from(pointer)] = key;
            }
            Op::Follow(pointer) => {
                let key = state.pointers[usize::from(pointer)];
                footprint.push(access(Entry, pointer, Mode::Read));
                footprint.push(access(Content, key, Mode::Read));
                potential.push(Potential::Any(Content, Mode::Read));
                read = Some(state.variables[usize::from(key)]);
            }
            Op::StoreThrough(pointer) => {
                let key = state.pointers[usize::from(pointer)];
                footprint.push(access(Entry, pointer, Mode::Read));
                footprint.push(access(Content, key, Mode::Write));
                potential.push(Potential::Any(Content, Mode::Write));
                state.variables[usize::from(key)] = stamp;
            }
            Op::Add(key) => {
                footprint.push(access(Metadata, key, Mode::Update));
                state.counters[usize::from(key)] += 1;
            }
            Op::Sum(key) => {
                footprint.push(access(Metadata, key, Mode::Read));
                read = Some(state.counters[usize::from(key)]);
            }
            // Locks can be taken again by who has them.
            Op::Lock(key) | Op::LockShared(key) if state.locks[usize::from(key)].owner == thread => {
                footprint.push(access(Lock, key, Mode::Hold));
            }
            Op::Lock(key) => {
                let lock = &mut state.locks[usize::from(key)];
                if lock.sharers & 1 << thread != 0 {
                    footprint.push(access(Lock, key, Mode::ReleaseShared));
                    lock.sharers = 0;
                }
                footprint.push(access(Lock, key, taking(Mode::Acquire)));
                lock.owner = thread;
            }
            Op::LockShared(key) => {
                footprint.push(access(Lock, key, taking(Mode::AcquireShared)));
                state.locks[usize::from(key)].sharers |= 1 << thread;
            }
            Op::TryLock(key) => {
                potential.push(Potential::Certain(access(Lock, key, Mode::Write)));
                let lock = &mut state.locks[usize::from(key)];
                let free = lock.owner == NOBODY && lock.sharers == 0;
                footprint.push(access(Lock, key, if free { Mode::Write } else { Mode::Read }));
                if free {
                    lock.owner = thread;
                }
                read = Some(u32::from(free));
            }
            Op::LockThrough(_) => unreachable!("it was replaced by what it leads to"),
            Op::Truncate(key) => {
                let variable = &mut state.variables[usize::from(key)];
                potential.push(Potential::Certain(access(Lock, key, Mode::Acquire)));
                footprint.push(access(Content, key, Mode::Write));
                let lock = state.locks[usize::from(key)];
                if *variable != 0 && lock.owner == NOBODY && lock.sharers == 0 {
                    footprint.push(access(Lock, key, Mode::Acquire));
                    footprint.push(access(Lock, key, Mode::Release));
                } else if *variable != 0 && lock.owner == thread {
                    footprint.push(access(Lock, key, Mode::Hold));
                } else if *variable != 0 {
                    // Its own share becomes the whole lock for a moment.
                    for mode in [Mode::ReleaseShared, Mode::Acquire, Mode::Release, Mode::AcquireShared] {
                        footprint.push(access(Lock, key, mode));
                    }
                }
                read = Some(u32::from(*variable != 0));
                *variable = stamp;
            }
            Op::Unlock(key) | Op::Finish(key) => {
                if let Op::Finish(key) = op {
                    footprint.push(access(Content, key, Mode::Write));
                    state.variables[usize::from(key)] = stamp;
                }
                let lock = &mut state.locks[usize::from(key)];
                if lock.owner == thread {
                    footprint.push(access(Lock, key, Mode::Release));
                    lock.owner = NOBODY;
                } else if lock.sharers & 1 << thread != 0 {
                    footprint.push(access(Lock, key, Mode::ReleaseShared));
                    lock.sharers &= !(1 << thread);
                }
            }
            Op::Bear(child) => {
                footprint.push(access(Birth, child, Mode::Release));
                state.threads[usize::from(child)].born = true;
            }
            Op::Nap if !rises => footprint.extend(wakes_up(std::iter::once(&looks))),
            Op::Rest | Op::Nap if self.untruth != Some(Untruth::HidesStillness) => {
                footprint.push(access(ObjectKind::Channel, STILLNESS, Mode::Read));
            }
            Op::Rest | Op::Nap | Op::Kill(_) => {}
            Op::BearIfNew(key, child) => {
                potential.push(Potential::Certain(access(Birth, child, Mode::Release)));
                let new = state.variables[usize::from(key)] == 0;
                footprint.push(access(Content, key, Mode::Read));
                if new {
                    footprint.push(access(Birth, child, Mode::Release));
                    state.threads[usize::from(child)].born = true;
                }
                read = Some(u32::from(new));
            }
        }
        let known = &mut state.threads[thread];
        known.read.extend(read);
        known.at += 1;
        let mut looks = looks;
        if op == Op::Nap {
            known.past.extend((!rises).then_some(looks));
            known.naps += 1;
            looks = Looks::new(self.nap_of(thread));
        }
        footprint.iter().for_each(|access| looks.see(*access));
        self.state.threads[thread].looks = Some(looks);
        if !matches!(op, Op::Kill(_)) {
            let own = footprint.clone();
            for sleeper in sleepers {
                let Thread { looks, past, .. } = &mut self.state.threads[usize::from(sleeper.thread.0)];
                let mut all = looks.iter_mut().chain(past);
                if let Some(looks) = all.find(|looks| looks.nap == sleeper.looks.nap)
                    && sleeper.minds(id)
                    && looks.are_disturbed(&own)
                {
                    footprint.extend(looks.woken(id, &own));
                    looks.wakers.add(id, at as u32, &own, false);
                }
            }
        }
        let mut signature = u64::from(stamp) << 32 | u64::from(read.unwrap_or(0));
        if self.untruth == Some(Untruth::Diverges) && self.begun.is_multiple_of(3) {
            signature += 1;
        }
        let yields = matches!(op, Op::Poll(_) | Op::Nap);
        Ok(Step { thread: id, footprint, potential, signature, yields, follows })
    }

    fn sleepers(&self) -> Vec<Sleeper> {
        // Whoever will nap: what has changed by then wakes it as well.
        let will_nap = |&thread: &usize| {
            let Thread { at, born, killed, .. } = self.state.threads[thread];
            born && !killed && self.programs[thread][at..].contains(&Op::Nap)
        };
        let naps = (0..self.programs.len()).filter(will_nap).map(|thread| (thread, self.looks_of(thread)));
        let past =
            |thread: usize| self.state.threads[thread].past.iter().map(move |looks| (thread, looks.clone()));
        let all = naps.chain((0..self.programs.len()).flat_map(past));
        let sleeper =
            |(thread, looks)| Sleeper { thread: ThreadId(thread as u16), looks, kin: Threads::new() };
        all.map(sleeper).collect()
    }

    fn suspended(&self) -> Threads {
        Threads::new()
    }

    fn waiting(&self) -> Vec<Waiting> {
        if matches!(self.untruth, Some(Untruth::HidesWhoWaits | Untruth::TakesLocksSilently)) {
            return Vec::new();
        }
        let waits =
            |&thread: &usize| self.next(thread).is_some() && !self.lies_down(thread) && !self.may_go(thread);
        let silenced = self.silenced();
        (0..self.programs.len())
            .filter(waits)
            .map(|thread| {
                let mut footprint = Footprint::new();
                if self.state.threads[thread].at == 0 && self.is_borne(thread) {
                    footprint.push(access(ObjectKind::Birth, thread as u8, Mode::Acquire));
                }
                if self.is_mortal(thread) {
                    footprint.push(access(ObjectKind::Liveness, thread as u8, Mode::Read));
                }
                use ObjectKind::{Content, Entry, Lock};
                let mut potential: SmallVec<[Potential; 4]> = SmallVec::new();
                let next = match self.next(thread) {
                    Some(Op::LockThrough(pointer)) => {
                        footprint.push(access(Entry, pointer, Mode::Read));
                        potential.push(Potential::Any(Lock, Mode::Acquire));
                        potential.push(Potential::Any(Lock, Mode::ReleaseShared));
                        Some(Op::Lock(self.state.pointers[usize::from(pointer)]))
                    }
                    next => next,
                };
                match next {
                    Some(Op::Lock(key)) => footprint.push(access(Lock, key, Mode::Acquire)),
                    Some(Op::LockShared(key)) => footprint.push(access(Lock, key, Mode::AcquireShared)),
                    Some(Op::Truncate(key)) => {
                        footprint.push(access(Content, key, Mode::Write));
                        footprint.push(access(Lock, key, Mode::Acquire));
                    }
                    _ => {}
                }
                Waiting { thread: ThreadId(thread as u16), footprint, potential, was_free: false }
            })
            .chain(silenced)
            .collect()
    }
}

impl Toy {
    fn is_mortal(&self, thread: usize) -> bool {
        (0..self.programs.len()).any(|other| self.kills(other) == Some(thread))
    }

    /// Who had to be unable to go on before a thread could rise.
    fn follows(&self, thread: usize) -> Threads {
        let until = self.rests_until(thread);
        let had_to = |&other: &usize| match self.kills(other) {
            _ if other == thread => false,
            None => true,
            Some(_) if self.untruth == Some(Untruth::RestsAfterAnyKill) => true,
            Some(victim) => {
                let stood = self.state.threads[victim].stood;
                stood.is_some() && stood < until
            }
        };
        let all = (0..self.programs.len()).filter(had_to).map(|other| ThreadId(other as u16));
        all.collect()
    }

    fn kill(&mut self, victim: usize, footprint: &mut Footprint) {
        let stood = match self.next(victim) {
            // Whether it would still have to wait when somebody rises is not known.
            None | Some(Op::Lock(_) | Op::LockShared(_) | Op::LockThrough(_) | Op::Truncate(_)) => None,
            Some(Op::Rest) => self.rests_until(victim),
            Some(_) => Some((0, 0)),
        };
        let unfinished = self.next(victim).is_some();
        let known = &mut self.state.threads[victim];
        known.stood = stood;
        known.killed = unfinished;
        // What it held is free.
        for (lock, key) in self.state.locks.iter_mut().zip(0..).filter(|_| unfinished) {
            if lock.owner == victim {
                footprint.push(access(ObjectKind::Lock, key, Mode::Release));
                lock.owner = NOBODY;
            } else if lock.sharers & 1 << victim != 0 {
                footprint.push(access(ObjectKind::Lock, key, Mode::ReleaseShared));
                lock.sharers &= !(1 << victim);
            }
        }
        if footprint.iter().any(|access| access.object.kind == ObjectKind::Lock) {
            footprint.push(access(ObjectKind::Channel, STILLNESS, Mode::Write));
        }
    }

    /// Had the kill come later, whoever was killed would have taken its next step, whatever that is.
    fn silenced(&self) -> Vec<Waiting> {
        use ObjectKind::{Birth, Content, Entry, Liveness, Lock, Metadata};
        let killed = (0..self.programs.len()).filter(|&thread| self.state.threads[thread].killed);
        let of = |thread: usize| Waiting {
            thread: ThreadId(thread as u16),
            footprint: std::iter::once(access(Liveness, thread as u8, Mode::Read)).collect(),
            potential: [Content, Metadata, Entry, Birth, Liveness]
                .map(|kind| Potential::Any(kind, Mode::Write))
                .into_iter()
                .chain([Potential::Any(Lock, Mode::Acquire)])
                .collect(),
            was_free: false,
        };
        killed.map(of).collect()
    }
}
