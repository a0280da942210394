//! The lookout: the thread by which the runtime of Go looks after its others.
//!
//! It naps for ever (`sysmon`), twenty microseconds to ten milliseconds at a time, and each time that it wakes it
//! looks which threads have stood in a system call for longer than a nap: their turn to run goroutines is given to
//! somebody else. It runs no goroutine itself, now or ever. Were its naps those of a program, each could end
//! before and after each step of its family, and nobody would ever be still.
//!
//! So it goes round when all others of its family stand at the gate or wait: [`ROUNDS`] times, in which whoever can
//! be relieved is, and then not again before somebody of its process has made a call. Whatever goroutine can come to a
//! step has come to it then, however many processors the program thinks that it has. A round is long enough to it,
//! [`ROUND_NS`] on a clock of its own, for everybody to have stood there for too long; to the others no time passes.
//! The end of a round is no step: what follows from it is the affair of the family. The same goes for naps by which
//! other threads of the runtime back off from each other, which come by the same instruction; a program's own sleeps
//! are waits with a limit (`timeout`).
//!
//! Who it is: of a program that bears the mark of Go, the first thread that is started, if the first wait that it has
//! is a nap of twenty microseconds. Should it do anything that takes part in an execution, it is somebody else, and
//! the verdict says so.
//!
//! Not covered: a library in Go in a program of another language, and programs that have started threads before
//! the runtime of Go does. Naps of theirs are those of any program.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::thread::State;
use super::{Arena, ArenaError};
use crate::explore::gate::{Answer, Call, Notification};

/// Rounds after which nothing changes: in the first it sees where everybody is, in the second that they still are.
const ROUNDS: u32 = 2;
/// How long a round is to it at least: after so long it relieves whoever stands in a call, wanted or not.
const ROUND_NS: u64 = 10_000_000;
/// Its first nap, in nanoseconds.
const FIRST_NAP_NS: u64 = 20_000;
/// The section of a program that says how Go has built it.
const MARK: &[u8] = b".go.buildinfo\0";

/// What is known of a process's runtime.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Runtime {
    /// The first thread that was started in it, by its number.
    eldest: Option<u32>,
    /// The thread that looks after the others, by its number, and the instruction by which it naps.
    lookout: Option<(u32, u64)>,
    /// Rounds since any other thread has made a call.
    rounds: u32,
}

impl Runtime {
    /// A thread was started.
    pub fn note_birth(&mut self, tid: u32) {
        self.eldest.get_or_insert(tid);
    }
}

impl Arena<'_> {
    /// Whether a thread is its process's lookout.
    pub(super) fn is_lookout(&self, index: usize) -> bool {
        let thread = &self.threads[index];
        self.processes[thread.process].runtime.lookout.is_some_and(|(tid, _)| tid == thread.tid)
    }

    /// A thread has made a call: what its lookout has seen is over, and its clock is not behind those of others that
    /// have worked before it.
    pub(super) fn keep_up(&mut self, index: usize, call: &Call) {
        let process = self.threads[index].process;
        if self.is_lookout(index) {
            let takes_part = match call {
                Call::Wait(wait) => !wait.is_a_look(),
                call => self.concerns(process, call) || self.asks_for_life(process, call).is_some(),
            };
            if takes_part {
                self.note_escape(
                    "a thread of a program in Go was taken for the one that looks after the others",
                );
            }
            return;
        }
        self.processes[process].runtime.rounds = 0;
        let same = |other: &usize| self.threads[*other].process == process && !self.is_lookout(*other);
        let now_ns = (0..self.threads.len()).filter(same).map(|other| self.threads[other].nap.clock_ns).max();
        self.threads[index].nap.clock_ns = now_ns.unwrap_or(0);
    }

    /// Whether a nap is one of a runtime: whoever has it then goes on when the others are still.
    pub(super) fn is_of_runtime(
        &mut self,
        index: usize,
        notification: &Notification,
        nanoseconds: u64,
    ) -> bool {
        let (process, tid) = (self.threads[index].process, self.threads[index].tid);
        let own = &self.processes[process];
        let Runtime { eldest, lookout, .. } = own.runtime;
        if let Some((_, instruction)) = lookout {
            return instruction == notification.instruction;
        }
        let begins = eldest == Some(tid) && nanoseconds == FIRST_NAP_NS && self.threads[index].nap.count == 0;
        if own.is_root() || !begins || !is_made_by_go(own.pid()) {
            return false;
        }
        self.processes[process].runtime.lookout = Some((tid, notification.instruction));
        true
    }

    /// All others of a client are still: whoever naps in its runtime goes on. `false` if nothing more comes of that.
    pub(super) fn go_round(&mut self, client: usize) -> Result<bool, ArenaError> {
        let naps = |index: &usize| {
            let thread = &self.threads[*index];
            let rounds = self.processes[thread.process].runtime.rounds;
            matches!(thread.state, State::Napping(_)) && (rounds < ROUNDS || !self.is_lookout(*index))
        };
        // Who backs off wants something, and the lookout looks after what is left.
        let next = self.threads_of(client).filter(naps).min_by_key(|&index| (self.is_lookout(index), index));
        let Some(index) = next else { return Ok(false) };
        if self.is_lookout(index) {
            self.processes[self.threads[index].process].runtime.rounds += 1;
            self.threads[index].nap.clock_ns += ROUND_NS;
        }
        let State::Napping(notification) = std::mem::replace(&mut self.threads[index].state, State::Running)
        else {
            return Err(ArenaError::Confused("only who naps can go round".to_owned()));
        };
        self.answer(index, &notification, Answer::Value(0))?;
        Ok(true)
    }
}

/// Whether the program of a process bears the mark of Go.
fn is_made_by_go(pid: u32) -> bool {
    File::open(format!("/proc/{pid}/exe")).is_ok_and(|program| {
        names_of_sections(&program).is_some_and(|names| names.windows(MARK.len()).any(|name| name == MARK))
    })
}

/// The names of the sections of a program (ELF, 64 bits), each with a zero byte at its end.
fn names_of_sections(program: &File) -> Option<Vec<u8>> {
    let number = |at: u64, bytes: usize| {
        let mut number = [0; 8];
        program.read_exact_at(&mut number[..bytes], at).ok()?;
        Some(u64::from_le_bytes(number))
    };
    if number(0, 6)? != u64::from_le_bytes(*b"\x7fELF\x02\x01\0\0") {
        return None;
    }
    let (headers, size, last) = (number(40, 8)?, number(58, 2)?, number(62, 2)?);
    let header = headers.checked_add(size * last)?;
    let (at, length) = (number(header.checked_add(24)?, 8)?, number(header.checked_add(32)?, 8)?);
    let mut names = vec![0; usize::try_from(length).ok().filter(|length| *length < 1 << 20)?];
    program.read_exact_at(&mut names, at).ok()?;
    Some(names)
}
