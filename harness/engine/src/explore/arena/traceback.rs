//! Where in its program a thread at the gate is, asked of the interpreter.
//!
//! Interpreters that were told so in their environment have a handler for SIGABRT that writes a traceback to
//! standard error and makes no other call. The signal is there when the call at the gate is answered, before the
//! program can go on; what the handler writes stops at the gate and goes no further.
//!
//! The program does not survive it, and the execution cannot go on.

use std::io;

use super::thread::{Pending, State};
use super::{Arena, ArenaError};
use crate::explore::gate::{Answer, Call, Shown};
use crate::explore::system::ThreadId;

/// Writes, and bytes, of a traceback at most.
const WRITES: usize = 100_000;
const BYTES: usize = 1 << 20;

impl Arena<'_> {
    /// The call that a thread stands at the gate with, in the words of a witness, which go on with what it returned.
    pub fn about_to(&mut self, id: ThreadId) -> Option<String> {
        let index = self.threads.iter().position(|thread| thread.id == id)?;
        let State::AtGate(Pending { call, .. }) = &self.threads[index].state else { return None };
        let call = call.clone();
        self.remember_name(id, self.threads[index].process, &call);
        let name = self.names.last().map(|(_, name)| name.as_str());
        Some(Shown { call: &call, name }.to_string())
    }

    /// Has the program of a thread that stands at the gate write where it is. `None`: it does not. Nobody takes a
    /// step any more.
    ///
    /// # Errors
    /// When the program cannot be signalled, or does not come to the gate again.
    pub fn traceback(&mut self, id: ThreadId) -> Result<Option<String>, ArenaError> {
        let Some(index) = self.threads.iter().position(|thread| thread.id == id) else { return Ok(None) };
        let (process, tid) = (self.threads[index].process, self.threads[index].tid);
        let own = &self.processes[process];
        if own.is_root() || !handles_abort(own.pid()) {
            return Ok(None);
        }
        let (client, pid) = (own.client, own.pid());
        let state = std::mem::replace(&mut self.threads[index].state, State::Running);
        let State::AtGate(Pending { notification, .. }) = state else { return Ok(None) };
        // SAFETY: takes plain numbers; the thread waits at the gate, so they are its own.
        if unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, libc::SIGABRT) } != 0 {
            return Err(ArenaError::environment("signalling a program")(io::Error::last_os_error()));
        }
        // Where kernels do not hold the signal back until the answer, nobody waits for one.
        let _ = self.answer(index, &notification, Answer::Errno(libc::EINTR));
        let mut told = Vec::new();
        for _ in 0..WRITES {
            let Some(notification) = self.receive(client)? else { break };
            if notification.tid != tid {
                // Others may wait.
                continue;
            }
            let memory = &self.processes[process].memory;
            let Ok(Call::Write { fd: libc::STDERR_FILENO, from, .. }) = Call::decode(&notification, memory)
            else {
                break;
            };
            let before = told.len();
            for span in from {
                let mut bytes = vec![0; span.length.min(BYTES)];
                memory.read(span.address, &mut bytes).map_err(ArenaError::gate("reading a traceback"))?;
                told.extend(bytes);
            }
            if told.len() > BYTES {
                break;
            }
            self.answer(index, &notification, Answer::Value((told.len() - before) as i64))?;
        }
        Ok(Some(String::from_utf8_lossy(&told).into_owned()))
    }
}

/// Whether a process has a handler for SIGABRT.
fn handles_abort(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    caught & (1 << (libc::SIGABRT - 1)) != 0
}
