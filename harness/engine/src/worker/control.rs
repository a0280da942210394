//! The page that supervisor and clients share: which execution is on and how far it is, how far
//! each process is, and what the supervisor wants of it.
//!
//! An execution goes through steps ([`Step`]) in one direction. The supervisor publishes
//! `execution × 8 + step` in one word and wakes whoever waits for it; a process publishes the last
//! step that it has completed in a word of its own and writes to an event descriptor. Every word
//! is written by one side only, so a process that dies at any instruction leaves nothing locked.
//!
//! Layout, in 64-byte lines: one for the supervisor, one for the nursery, one a process, one a thread; then the
//! specification as JSON; then, on a page boundary, the rings of events.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rustix::thread::futex;

use crate::process::quiet;
use crate::record::SharedMemory;

const LINE: usize = 64;
const PAGE: usize = 4096;
/// Lines that are nobody's own: the supervisor's, and the nursery's.
const COMMON: usize = 2;
/// Places in a thread's line.
const GO: usize = 16;
const MARK: usize = 20;
const BEGIN: usize = 28;
/// The place in a process's line of what is told to its cradle.
const CRADLE: usize = 40;
/// And of where its agent's cue lies.
const CUE: usize = 56;

/// How far an execution is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Step {
    /// Servers start, and say when clients can connect.
    Serve = 1,
    /// The planter takes the lock that the clients are to find held, or left behind.
    Plant = 2,
    /// Clients open the strategy, and wait.
    Open = 3,
    /// Clients run.
    Go = 4,
    /// Everybody has finished or died; the auditor looks at what is there.
    Audit = 5,
    /// Servers stop.
    End = 6,
}

/// A point in the life of a session: an execution, and a step in it. Ordered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u32);

impl Moment {
    /// This step of this execution; executions count from 1.
    pub const fn new(execution: u32, step: Step) -> Self {
        Self(execution * 8 + step as u32)
    }

    /// The execution.
    pub const fn execution(self) -> u32 {
        self.0 / 8
    }

    /// Whether the step is at least this one.
    pub const fn reached(self, step: Step) -> bool {
        self.0 % 8 >= step as u32
    }
}

/// What the supervisor asks an agent to do to the program that it drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Strike {
    /// SIGKILL.
    Kill = 1,
    /// SIGSTOP.
    Pause = 2,
    /// SIGCONT.
    Resume = 3,
}

/// Sizes that determine where everything is.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Processes: clients, servers and the auditor.
    pub processes: usize,
    /// Threads of all processes.
    pub threads: usize,
    /// Length of the specification in bytes.
    pub specification: usize,
    /// Bytes of each thread's ring, its header included.
    pub ring: usize,
}

impl Layout {
    const fn specification_start(&self) -> usize {
        LINE * (COMMON + self.processes + self.threads)
    }

    const fn rings_start(&self) -> usize {
        (self.specification_start() + self.specification).next_multiple_of(PAGE)
    }

    /// Where the ring of a thread begins.
    pub const fn ring_start(&self, thread: usize) -> usize {
        self.rings_start() + thread * self.ring
    }

    /// Length of the whole in bytes.
    pub const fn bytes(&self) -> usize {
        self.ring_start(self.threads)
    }
}

/// The shared page, seen from either side.
pub struct Control<'m> {
    memory: &'m SharedMemory,
    layout: Layout,
}

impl<'m> Control<'m> {
    /// Begins a page: stores the sizes and the specification.
    pub fn begin(memory: &'m SharedMemory, layout: Layout, specification: &[u8]) -> Self {
        let control = Self { memory, layout };
        let sizes = [layout.processes, layout.threads, layout.specification, layout.ring];
        for (index, size) in sizes.into_iter().enumerate() {
            memory.u64_at(32 + 8 * index).store(size as u64, Ordering::Relaxed);
        }
        memory.write_bytes(layout.specification_start(), specification);
        control
    }

    /// Opens a page that the other side began.
    pub fn open(memory: &'m SharedMemory) -> Self {
        let size = |index: usize| memory.u64_at(32 + 8 * index).load(Ordering::Relaxed) as usize;
        let layout = Layout { processes: size(0), threads: size(1), specification: size(2), ring: size(3) };
        Self { memory, layout }
    }

    /// Where everything is.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The specification as JSON.
    pub fn specification(&self) -> Vec<u8> {
        self.memory.read_bytes(self.layout.specification_start(), self.layout.specification)
    }

    /// How far the session is.
    pub fn moment(&self) -> Moment {
        Moment(self.memory.u32_at(0).load(Ordering::SeqCst))
    }

    /// Goes on to a later moment, and wakes everybody who waits for it.
    pub fn advance(&self, to: Moment) {
        let word = self.memory.u32_at(0);
        word.store(to.0, Ordering::SeqCst);
        // Nobody waiting is no error, and there is none other.
        let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
    }

    /// Waits until the moment is no longer `seen`.
    pub fn wait_past(&self, seen: Moment) -> Moment {
        loop {
            let now = self.moment();
            if now != seen {
                return now;
            }
            // Interrupted or changed already: the loop looks again.
            let _ = futex::wait(self.memory.u32_at(0), futex::Flags::empty(), seen.0, None);
        }
    }

    /// The instant on CLOCK_MONOTONIC, in nanoseconds, after which no client begins an operation.
    pub fn deadline_ns(&self) -> &AtomicU64 {
        self.memory.u64_at(8)
    }

    /// The counter that stands for the clock where clients run one at a time.
    pub fn step_clock(&self) -> &'m AtomicU64 {
        self.memory.u64_at(24)
    }

    /// Where a thread's line begins in the shared memory, in bytes.
    pub const fn thread_line_start(&self, index: usize) -> u64 {
        (LINE * (COMMON + self.layout.processes + index)) as u64
    }

    /// The highest fencing token that the protected resource has seen.
    pub fn fence(&self) -> &AtomicU64 {
        self.memory.u64_at(16)
    }

    /// What the supervisor and the nursery tell each other.
    pub fn nursery(&self) -> NurseryLine<'m> {
        NurseryLine { memory: self.memory, start: LINE }
    }

    /// What the supervisor and the cradle of one process tell each other.
    pub fn cradle(&self, index: usize) -> NurseryLine<'m> {
        NurseryLine { memory: self.memory, start: self.process(index).start + CRADLE }
    }

    /// What the supervisor and one process tell each other.
    pub fn process(&self, index: usize) -> ProcessLine<'m> {
        assert!(index < self.layout.processes, "process {index} of {}", self.layout.processes);
        ProcessLine { memory: self.memory, start: LINE * (COMMON + index) }
    }

    /// What the supervisor and one thread tell each other.
    pub fn thread(&self, index: usize) -> ThreadLine<'m> {
        assert!(index < self.layout.threads, "thread {index} of {}", self.layout.threads);
        ThreadLine { memory: self.memory, start: LINE * (COMMON + self.layout.processes + index) }
    }
}

/// What is told to a process of which clients are copies: to the nursery, or to a cradle.
#[derive(Clone, Copy)]
pub struct NurseryLine<'m> {
    memory: &'m SharedMemory,
    start: usize,
}

impl NurseryLine<'_> {
    /// What [`Self::born`] is until an order is done, and when the nursery is ready for the first one: no
    /// process id that a client could have.
    pub const NOBODY: u32 = 0;
    /// See [`Self::NOBODY`].
    pub const READY: u32 = 1;
    /// Added to an index: a cradle for the process is wanted.
    const A_CRADLE: u32 = 1 << 31;

    /// The process id of the copy that was wanted last.
    pub fn born(&self) -> &AtomicU32 {
        self.memory.u32_at(self.start + 8)
    }

    fn wanted(&self) -> &AtomicU32 {
        self.memory.u32_at(self.start + 4)
    }

    /// The index of the process that is wanted, and whether a cradle for it is.
    pub fn wish(&self) -> (usize, bool) {
        let wanted = self.wanted().load(Ordering::SeqCst);
        ((wanted & !Self::A_CRADLE) as usize, wanted & Self::A_CRADLE != 0)
    }

    fn order_word(&self) -> &AtomicU32 {
        self.memory.u32_at(self.start)
    }

    /// Wants the process with this index, or a cradle for it.
    pub fn order(&self, index: usize, a_cradle: bool) {
        self.born().store(Self::NOBODY, Ordering::SeqCst);
        let wanted = index as u32 | if a_cradle { Self::A_CRADLE } else { 0 };
        self.wanted().store(wanted, Ordering::SeqCst);
        self.order_word().fetch_add(1, Ordering::SeqCst);
        let _ = futex::wake(self.order_word(), futex::Flags::empty(), 1);
    }

    /// The orders so far, to begin [`Self::wait_for_order`] with.
    pub fn orders_so_far(&self) -> u32 {
        self.order_word().load(Ordering::SeqCst)
    }

    /// Waits until there are others than these.
    pub fn wait_for_order(&self, seen: u32) -> u32 {
        loop {
            let now = self.orders_so_far();
            if now != seen {
                return now;
            }
            let word = self.order_word().as_ptr() as u64;
            let arguments = [word, libc::FUTEX_WAIT as u64, u64::from(seen), 0, 0];
            // It may stand behind a gate itself. Whatever the kernel says, the word tells.
            // SAFETY: the kernel reads a word that lives as long as the memory.
            let _ = unsafe { quiet::call(libc::SYS_futex, arguments) };
        }
    }
}

/// One process's line.
#[derive(Clone, Copy)]
pub struct ProcessLine<'m> {
    memory: &'m SharedMemory,
    start: usize,
}

impl ProcessLine<'_> {
    /// The last moment whose work this process has completed.
    pub fn completed(&self) -> Moment {
        Moment(self.memory.u32_at(self.start).load(Ordering::SeqCst))
    }

    /// Publishes it. The supervisor resets it for a process that takes another one's place.
    pub fn set_completed(&self, moment: Moment) {
        self.memory.u32_at(self.start).store(moment.0, Ordering::SeqCst);
    }

    /// The longest stall that the process has noticed, in nanoseconds.
    pub fn stalled_ns(&self) -> &AtomicU64 {
        self.memory.u64_at(self.start + 8)
    }

    /// When the process last said that it runs, as [`now_ns`](crate::record::now_ns) tells it; 0 if
    /// it does not watch.
    pub fn beat_ns(&self) -> &AtomicU64 {
        self.memory.u64_at(self.start + 16)
    }

    /// Counts a stall that still lasts: a process that is never let run again cannot report one.
    /// Beats come once a period.
    pub fn note_stall(&self, now_ns: u64, period: Duration) {
        let beat_ns = self.beat_ns().load(Ordering::SeqCst);
        if beat_ns != 0 {
            let late = now_ns.saturating_sub(beat_ns).saturating_sub(period.as_nanos() as u64);
            self.stalled_ns().fetch_max(late, Ordering::SeqCst);
        }
    }

    /// The number of the listener's descriptor in this process, plus one, once it stands behind its
    /// gate.
    pub fn gate(&self) -> &AtomicU32 {
        self.memory.u32_at(self.start + 24)
    }

    /// Not 0 where the process drives a worker that plays on in the next execution.
    pub fn keeps_worker(&self) -> &AtomicU32 {
        self.memory.u32_at(self.start + 28)
    }

    /// Where the process has mapped the shared memory.
    pub fn base(&self) -> &AtomicU64 {
        self.memory.u64_at(self.start + 32)
    }

    /// Where the cue of the program that the process drives lies in its memory; 0: nowhere.
    pub fn cue(&self) -> &AtomicU64 {
        self.memory.u64_at(self.start + CUE)
    }

    fn strike_word(&self) -> &AtomicU32 {
        self.memory.u32_at(self.start + 4)
    }

    /// Asks an agent to do something to its program.
    pub fn strike(&self, strike: Strike) {
        let word = self.strike_word();
        let count = word.load(Ordering::Relaxed) / 4 + 1;
        word.store(count.wrapping_mul(4) | strike as u32, Ordering::SeqCst);
        let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
    }

    /// The word as it is, to begin [`ProcessLine::wait_for_strike`] with.
    pub fn strikes_so_far(&self) -> u32 {
        self.strike_word().load(Ordering::SeqCst)
    }

    /// Waits until the word is no longer `seen`; returns it and what it asks for.
    pub fn wait_for_strike(&self, seen: u32) -> (u32, Option<Strike>) {
        let word = self.strike_word();
        loop {
            let now = word.load(Ordering::SeqCst);
            if now != seen {
                let strike = match now % 4 {
                    1 => Some(Strike::Kill),
                    2 => Some(Strike::Pause),
                    3 => Some(Strike::Resume),
                    _ => None,
                };
                return (now, strike);
            }
            let _ = futex::wait(word, futex::Flags::empty(), seen, None);
        }
    }
}

/// One thread's line.
#[derive(Clone, Copy)]
pub struct ThreadLine<'m> {
    memory: &'m SharedMemory,
    start: usize,
}

impl ThreadLine<'_> {
    /// The client number that the thread goes by. Set by the supervisor before the thread opens.
    pub fn client(&self) -> &AtomicU32 {
        self.memory.u32_at(self.start)
    }

    /// Whether the client is inside the critical section: 0 or 1.
    pub fn inside(&self) -> &AtomicU32 {
        self.memory.u32_at(self.start + 4)
    }

    /// Executions that the thread ended early because its ring was full.
    pub fn stopped_for_room(&self) -> &AtomicU32 {
        self.memory.u32_at(self.start + 8)
    }

    /// Where the thread parks between two executions: the number of the one that it is to play in.
    pub fn go(&self) -> &AtomicU32 {
        self.memory.u32_at(self.start + GO)
    }

    /// Waits for the next execution.
    pub fn wait_for_go(&self, seen: u32) -> u32 {
        loop {
            let now = self.go().load(Ordering::SeqCst);
            if now != seen {
                return now;
            }
            let _ = futex::wait(self.go(), futex::Flags::empty(), seen, None);
        }
    }

    /// Marks one end of a critical section by a system call that nobody can overlook.
    pub fn mark_section(&self) {
        let word = self.memory.u32_at(self.start + MARK);
        let _ = futex::wake(word, futex::Flags::empty(), 0);
    }

    /// Marks the beginning of an operation in the same way.
    pub fn mark_operation(&self) {
        let word = self.memory.u32_at(self.start + BEGIN);
        let _ = futex::wake(word, futex::Flags::empty(), 0);
    }

    /// Whether an offset in the shared page is that by which some thread marks the beginning of an operation.
    pub const fn is_begin(offset: u64) -> bool {
        offset % LINE as u64 == BEGIN as u64
    }

    /// Operations that the thread has begun in this execution.
    pub fn operations(&self) -> &AtomicU32 {
        self.memory.u32_at(self.start + 24)
    }

    /// Whether the thread has an operation under way: 0 or 1.
    pub fn busy(&self) -> &AtomicU32 {
        self.memory.u32_at(self.start + 12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_ordered_by_execution_and_then_by_step() {
        assert!(Moment::new(1, Step::End) < Moment::new(2, Step::Serve));
        assert!(Moment::new(2, Step::Open) < Moment::new(2, Step::Go));
        assert!(Moment::new(2, Step::Go).reached(Step::Open));
        assert!(!Moment::new(2, Step::Go).reached(Step::Audit));
        assert_eq!(Moment::new(7, Step::Audit).execution(), 7);
    }

    #[test]
    fn a_stall_that_has_not_ended_counts() {
        let layout = Layout { processes: 1, threads: 1, specification: 2, ring: 4096 };
        let memory = SharedMemory::create(layout.bytes()).expect("memory");
        let line = Control::begin(&memory, layout, b"{}").process(0);
        let period = Duration::from_nanos(100);
        line.note_stall(5_000, period);
        assert_eq!(
            line.stalled_ns().load(Ordering::SeqCst),
            0,
            "a process that does not watch has no stalls"
        );
        line.beat_ns().store(1_000, Ordering::SeqCst);
        line.note_stall(1_090, period);
        assert_eq!(line.stalled_ns().load(Ordering::SeqCst), 0, "the next beat is not due yet");
        line.note_stall(1_600, period);
        assert_eq!(line.stalled_ns().load(Ordering::SeqCst), 500);
        line.stalled_ns().store(700, Ordering::SeqCst);
        line.note_stall(1_600, period);
        assert_eq!(line.stalled_ns().load(Ordering::SeqCst), 700, "the longest stall is kept");
    }

    #[test]
    fn both_sides_find_the_same_specification_and_lines() {
        let specification = br#"{"some":"json"}"#;
        let layout = Layout { processes: 3, threads: 5, specification: specification.len(), ring: 4096 };
        let memory = SharedMemory::create(layout.bytes()).expect("memory");
        let supervisor = Control::begin(&memory, layout, specification);
        let worker = Control::open(&memory);
        assert_eq!(worker.specification(), specification);
        supervisor.thread(4).client().store(9, Ordering::Relaxed);
        assert_eq!(worker.thread(4).client().load(Ordering::Relaxed), 9);
        assert_eq!(layout.ring_start(0) % PAGE, 0);
        supervisor.advance(Moment::new(1, Step::Open));
        assert_eq!(worker.wait_past(Moment(0)), Moment::new(1, Step::Open));
    }
}
