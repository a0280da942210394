//! Dials: where programs read the time without coming to the gate (`gate/vdso`).
//!
//! A dial is a word in the memory of a process, which says what the next reading shows, and which each reading moves
//! on. Of a client's family one thread works at a time, so what any of them has been shown, all have. Before a
//! thread goes on, the dial of its process is moved to where its time is, unless it is there. How far it was read is
//! seen when a step is taken, and when another process of the family goes on.
//!
//! A process that borrows its parent's memory reads the dial of its parent. The thread of a runtime that looks after
//! the others has a clock of its own.
//!
//! Not covered: who reads the clock in a loop until some time is over, and does nothing else, does not come to the gate.

use super::Arena;
use super::process::Process;
use super::thread::Thread;
use super::time::{EPOCH_NS, READERS, UPTIME_NS};
use crate::explore::gate::Face;

/// What every dial shows.
pub(super) const FACE: Face = Face { real_ns: EPOCH_NS, up_ns: UPTIME_NS, reading_ns: READERS as u8 };

/// How far the clock of who looks after others is moved on before it goes on, in nanoseconds: past what it has read.
const LOOK_NS: u64 = 100_000;

/// The dial of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dial {
    /// Where it lies. Nowhere: every reading is a call.
    address: Option<u64>,
    /// What it showed when it was looked at, or set, last in this execution.
    showed_ns: Option<u64>,
}

impl Dial {
    pub const fn at(address: Option<u64>) -> Self {
        Self { address, showed_ns: None }
    }

    /// The same of a process that begins as a copy of this one.
    pub const fn of_copy(self) -> Self {
        Self::at(self.address)
    }

    /// It is to be set anew, whatever it shows.
    pub const fn forget(&mut self) {
        self.showed_ns = None;
    }
}

impl Arena<'_> {
    /// Whose dial a process reads: its parent's, as long as it has its memory.
    fn holder_of_dial(&self, process: usize) -> usize {
        match self.processes[process] {
            Process { borrows_memory: true, parent: Some(parent), .. } => self.holder_of_dial(parent),
            _ => process,
        }
    }

    /// What a thread's next reading of a clock shows, beyond where all clocks begin.
    pub(super) fn next_reading(&self, thread: usize) -> u64 {
        let process = self.holder_of_dial(self.threads[thread].process);
        let shown_ns = self.processes[self.processes[process].client].shown_ns;
        let now_ns = self.threads[thread].nap.clock_ns.max(shown_ns);
        (now_ns / READERS + 1) * READERS + process as u64 % READERS
    }

    /// Has the dial of a thread's process show its time: the thread is about to go on.
    pub(super) fn set_dial(&mut self, thread: usize) {
        let process = self.holder_of_dial(self.threads[thread].process);
        let Dial { address: Some(address), showed_ns } = self.processes[process].dial else { return };
        let client = self.processes[process].client;
        if self.is_lookout(thread) {
            self.read_dial(client);
            self.show_lookout(thread, address);
            return;
        }
        let same = self.processes[client].reads == Some(process);
        if same && showed_ns.is_some_and(|showed_ns| self.next_reading(thread) <= showed_ns) {
            return;
        }
        self.read_dial(client);
        if !same {
            self.look_at_dial(process);
        }
        let shows_ns = self.next_reading(thread);
        let own = &mut self.processes[process];
        if own.dial.showed_ns != Some(shows_ns) {
            // Who has ended meanwhile reads nothing any more.
            let is_set = own.memory.write(address, &shows_ns.to_ne_bytes()).is_ok();
            own.dial.showed_ns = is_set.then_some(shows_ns);
        }
        self.processes[client].reads = Some(process);
    }

    /// The clock of the thread that looks after the others is its own: what it reads, nobody else is shown.
    fn show_lookout(&mut self, thread: usize, address: u64) {
        let Thread { process, nap, .. } = &mut self.threads[thread];
        nap.clock_ns += LOOK_NS;
        let own = &mut self.processes[*process];
        // Who has ended meanwhile reads nothing any more.
        let _ = own.memory.write(address, &nap.clock_ns.to_ne_bytes());
        own.dial.forget();
        let client = own.client;
        self.processes[client].reads = None;
    }

    /// A process is about to lose its memory.
    pub(super) fn leave_dial(&mut self, process: usize) {
        if !self.processes[process].borrows_memory {
            self.read_dial(self.processes[process].client);
            self.processes[process].dial.forget();
        }
    }

    /// Looks how far a client's family has read the dial that was set last.
    pub(super) fn read_dial(&mut self, client: usize) {
        if let Some(process) = self.processes[client].reads {
            self.look_at_dial(process);
        }
    }

    /// Looks how far a process's dial was read.
    fn look_at_dial(&mut self, process: usize) {
        let own = &mut self.processes[process];
        let Dial { address: Some(address), showed_ns: Some(showed_ns) } = own.dial else { return };
        // Of who has ended it is not known, nor does it matter.
        let Ok(shows_ns) = own.memory.read_u64(address) else { return };
        if shows_ns > showed_ns {
            own.dial.showed_ns = Some(shows_ns);
            let client = own.client;
            self.time.looked_at |= !own.is_root();
            self.shows(client, shows_ns - READERS);
        }
    }
}
