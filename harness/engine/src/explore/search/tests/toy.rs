//! A system in memory: threads are small programs over variables, pointers, counters and locks.

use std::collections::BTreeMap;
use std::convert::Infallible;

use smallvec::{SmallVec, smallvec};

use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind, Potential};
use crate::explore::system::{Step, System, ThreadId, Waiting};

/// One step of a toy thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Stores a value that nobody else stores.
    Store(u8),
    /// Reads a variable.
    Load(u8),
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
    /// Gives a lock back, if it has it.
    Unlock(u8),
}

pub type Program = Vec<Op>;

/// What an execution comes to: everything that was read, and what is there in the end.
pub type Outcome = (Vec<Vec<u32>>, Vec<u32>, Vec<usize>);

#[derive(Clone, Debug, Default)]
struct State {
    at: Vec<usize>,
    read: Vec<Vec<u32>>,
    variables: BTreeMap<u8, u32>,
    pointers: BTreeMap<u8, u8>,
    counters: BTreeMap<u8, u32>,
    locks: BTreeMap<u8, (Option<usize>, Vec<usize>)>,
}

pub struct Toy {
    programs: Vec<Program>,
    state: State,
    /// A conflict that is kept secret: a canary.
    pub hides_reads_of: Option<u8>,
    /// What a step reads depends on how often the system was begun: a canary.
    pub diverges: bool,
    begun: u32,
}

fn object(kind: ObjectKind, key: u8) -> Object {
    Object { kind, key: key.into() }
}

fn access(kind: ObjectKind, key: u8, mode: Mode) -> Access {
    Access { object: object(kind, key), mode }
}

impl Toy {
    pub fn new(programs: Vec<Program>) -> Self {
        Self { programs, state: State::default(), hides_reads_of: None, diverges: false, begun: 0 }
    }

    pub fn outcome(&self) -> Outcome {
        let state = &self.state;
        let mut end: Vec<u32> = Vec::new();
        for key in 0..8 {
            end.push(state.variables.get(&key).copied().unwrap_or(0));
            end.push(state.pointers.get(&key).copied().unwrap_or(0).into());
            end.push(state.counters.get(&key).copied().unwrap_or(0));
        }
        (state.read.clone(), end, state.at.clone())
    }

    fn next(&self, thread: usize) -> Option<Op> {
        self.programs[thread].get(self.state.at[thread]).copied()
    }

    fn may_go(&self, thread: usize) -> bool {
        let held = |lock: u8| self.state.locks.get(&lock).cloned().unwrap_or_default();
        match self.next(thread) {
            None => false,
            Some(Op::Lock(lock)) => {
                let (owner, sharers) = held(lock);
                owner.is_none_or(|owner| owner == thread) && sharers.iter().all(|sharer| *sharer == thread)
            }
            Some(Op::LockShared(lock)) => held(lock).0.is_none_or(|owner| owner == thread),
            Some(_) => true,
        }
    }
}

impl System for Toy {
    type Error = Infallible;

    fn begin(&mut self) -> Result<(), Infallible> {
        self.begun += 1;
        let threads = self.programs.len();
        self.state = State { at: vec![0; threads], read: vec![Vec::new(); threads], ..State::default() };
        Ok(())
    }

    fn enabled(&mut self, into: &mut Vec<ThreadId>) -> Result<(), Infallible> {
        into.clear();
        into.extend((0..self.programs.len()).filter(|&t| self.may_go(t)).map(|t| ThreadId(t as u16)));
        Ok(())
    }

    fn step(&mut self, id: ThreadId) -> Result<Step, Infallible> {
        use ObjectKind::{Content, Entry, Lock, Metadata};
        let thread = usize::from(id.0);
        let op = self.next(thread).expect("it is enabled");
        let stamp = (thread as u32 + 1) * 100 + self.state.at[thread] as u32;
        let state = &mut self.state;
        let mut footprint = Footprint::new();
        let mut potential: SmallVec<[Potential; 4]> = SmallVec::new();
        let mut read = None;
        match op {
            Op::Store(key) => {
                footprint.push(access(Content, key, Mode::Write));
                state.variables.insert(key, stamp);
            }
            Op::Load(key) => {
                if self.hides_reads_of != Some(key) {
                    footprint.push(access(Content, key, Mode::Read));
                }
                read = Some(state.variables.get(&key).copied().unwrap_or(0));
            }
            Op::StoreNew(key) => {
                potential.push(Potential::Certain(access(Content, key, Mode::Write)));
                let old = state.variables.get(&key).copied();
                let mode = if old.is_none() { Mode::Write } else { Mode::Read };
                footprint.push(access(Content, key, mode));
                if old.is_none() {
                    state.variables.insert(key, stamp);
                }
                read = Some(u32::from(old.is_none()));
            }
            Op::Point(pointer, key) => {
                footprint.push(access(Entry, pointer, Mode::Write));
                state.pointers.insert(pointer, key);
            }
            Op::Follow(pointer) => {
                let key = state.pointers.get(&pointer).copied().unwrap_or(0);
                footprint.push(access(Entry, pointer, Mode::Read));
                footprint.push(access(Content, key, Mode::Read));
                potential.push(Potential::Any(Content, Mode::Read));
                read = Some(state.variables.get(&key).copied().unwrap_or(0));
            }
            Op::StoreThrough(pointer) => {
                let key = state.pointers.get(&pointer).copied().unwrap_or(0);
                footprint.push(access(Entry, pointer, Mode::Read));
                footprint.push(access(Content, key, Mode::Write));
                potential.push(Potential::Any(Content, Mode::Write));
                state.variables.insert(key, stamp);
            }
            Op::Add(key) => {
                footprint.push(access(Metadata, key, Mode::Update));
                *state.counters.entry(key).or_default() += 1;
            }
            Op::Sum(key) => {
                footprint.push(access(Metadata, key, Mode::Read));
                read = Some(state.counters.get(&key).copied().unwrap_or(0));
            }
            // Locks can be taken again by who has them.
            Op::Lock(key) | Op::LockShared(key) if state.locks.entry(key).or_default().0 == Some(thread) => {
                footprint.push(access(Lock, key, Mode::Hold));
            }
            Op::Lock(key) => {
                if state.locks.entry(key).or_default().1.contains(&thread) {
                    footprint.push(access(Lock, key, Mode::ReleaseShared));
                    state.locks.entry(key).or_default().1.clear();
                }
                footprint.push(access(Lock, key, Mode::Acquire));
                state.locks.entry(key).or_default().0 = Some(thread);
            }
            Op::LockShared(key) => {
                footprint.push(access(Lock, key, Mode::AcquireShared));
                state.locks.entry(key).or_default().1.push(thread);
            }
            Op::TryLock(key) => {
                potential.push(Potential::Certain(access(Lock, key, Mode::Write)));
                let (owner, sharers) = state.locks.entry(key).or_default();
                let free = owner.is_none() && sharers.is_empty();
                footprint.push(access(Lock, key, if free { Mode::Write } else { Mode::Read }));
                if free {
                    *owner = Some(thread);
                }
                read = Some(u32::from(free));
            }
            Op::Unlock(key) => {
                let (owner, sharers) = state.locks.entry(key).or_default();
                if *owner == Some(thread) {
                    footprint.push(access(Lock, key, Mode::Release));
                    *owner = None;
                } else if let Some(at) = sharers.iter().position(|sharer| *sharer == thread) {
                    footprint.push(access(Lock, key, Mode::ReleaseShared));
                    sharers.remove(at);
                }
            }
        }
        state.read[thread].extend(read);
        state.at[thread] += 1;
        let mut signature = u64::from(stamp) << 32 | u64::from(read.unwrap_or(0));
        if self.diverges && self.begun % 3 == 0 {
            signature += 1;
        }
        Ok(Step { thread: id, footprint, potential, signature, yields: false })
    }

    fn waiting(&self) -> Vec<Waiting> {
        let waits = |&thread: &usize| self.next(thread).is_some() && !self.may_go(thread);
        (0..self.programs.len())
            .filter(waits)
            .map(|thread| {
                let footprint: Footprint = match self.next(thread) {
                    Some(Op::Lock(key)) => smallvec![access(ObjectKind::Lock, key, Mode::Acquire)],
                    Some(Op::LockShared(key)) => {
                        smallvec![access(ObjectKind::Lock, key, Mode::AcquireShared)]
                    }
                    _ => Footprint::new(),
                };
                Waiting { thread: ThreadId(thread as u16), footprint }
            })
            .collect()
    }
}
