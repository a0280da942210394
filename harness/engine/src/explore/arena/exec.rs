//! A process of a client's family executes another program.
//!
//! Whether it succeeded shows in the next call: the old memory is gone then. Descriptors that do not
//! outlive it are closed, other threads are gone, clocks are silenced anew, and who lent the process its
//! memory has it back.

use super::dial::{Dial, FACE};
use super::lookout::Runtime;
use super::thread::State;
use super::{Arena, ArenaError};
use crate::explore::gate::{Answer, Auxiliary, ClientMemory, Notification, silence_vdso};

impl Arena<'_> {
    /// The descriptors of a process that lead into the state directory and do not outlive an `exec`.
    pub(super) fn closed_by_exec(&self, process: usize) -> Vec<i32> {
        let pid = self.processes[process].pid();
        let closes = |fd: &i32| {
            let told = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
            let flags = told.lines().find_map(|line| line.strip_prefix("flags:"));
            let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
            flags & libc::O_CLOEXEC != 0
        };
        self.processes[process].descriptors.between(0, u32::MAX >> 1).into_iter().filter(closes).collect()
    }

    /// Another program is to be executed: whether it is shows in the next call.
    pub(super) fn execute(&mut self, index: usize, notification: &Notification) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        if self.processes[process].is_root() {
            self.note_escape("a client executed another program in its place");
        }
        self.find_stderr(process);
        self.leave_dial(process);
        let closing = self.closed_by_exec(process);
        self.processes[process].executes = Some(closing);
        self.threads[index].state = State::Running;
        self.answer(index, notification, Answer::Continue)
    }

    /// The first call after an `exec` that was let go on: whether it succeeded, and what follows from it.
    pub(super) fn after_exec(&mut self, index: usize) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        let Some(closing) = self.processes[process].executes.take() else { return Ok(()) };
        if !self.has_new_memory(process) {
            return Ok(());
        }
        let pid = self.processes[process].pid();
        let failed = || ArenaError::environment(format!("following process {pid} into another program"));
        let memory = ClientMemory::open(pid).map_err(failed())?;
        let told = Auxiliary::of(pid).map_err(failed())?;
        let dial = silence_vdso(&told, &memory, Some(FACE)).map_err(failed())?;
        self.tell_chance_of_start(index, &told, &memory).map_err(failed())?;
        let own = &mut self.processes[process];
        own.memory = memory;
        own.dial = Dial::at(dial);
        own.borrows_memory = false;
        own.runtime = Runtime::default();
        own.timers.leave_for_exec();
        self.give_all_copies_back(process);
        for fd in closing {
            if let Some(file) = self.processes[process].descriptors.remove(fd) {
                let mut released = std::mem::take(&mut self.released);
                self.forget(process, file, &mut released);
                self.released = released;
            }
        }
        for other in 0..self.threads.len() {
            if other != index && self.threads[other].process == process {
                self.threads[other].state = State::Gone;
            }
        }
        self.stir(process);
        self.give_back_memory(process);
        Ok(())
    }

    /// Whether a process has executed another program since its memory was opened.
    pub(super) fn has_new_memory(&self, process: usize) -> bool {
        let own = &self.processes[process];
        match own.parent {
            // Its memory was its parent's, who still has it.
            Some(parent) if own.borrows_memory => !same_memory(own.pid(), self.processes[parent].pid()),
            _ => own.memory.is_gone(),
        }
    }

    /// Who lent its memory to a process has it back.
    pub(super) fn give_back_memory(&mut self, process: usize) {
        if let Some(lender) = self.processes[process].lent_by.take()
            && matches!(self.threads[lender].state, State::Lending)
        {
            self.threads[lender].state = State::Running;
            self.note_cause(lender);
        }
    }
}

/// Whether two processes share their memory.
fn same_memory(one: u32, other: u32) -> bool {
    const KCMP_VM: i32 = 1;
    // SAFETY: takes plain numbers.
    let compared = unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0, 0) };
    if compared >= 0 {
        return compared == 0;
    }
    // Without that call: where stack and arguments lie is another place in another program.
    let places = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit(')').next().unwrap_or_default().to_owned();
        let fields: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
        // From the third on: 26 to 28 and 48 to 51 of the file.
        [23, 24, 25, 45, 46, 47, 48].map(|at| fields.get(at).cloned())
    };
    places(one) == places(other)
}
