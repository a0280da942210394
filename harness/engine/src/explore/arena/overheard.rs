//! What programs of users write to their standard error, overheard at the gate; and what they say of themselves when
//! they were told so in their environment.
//!
//! It is a pipe whose other end their client has. Which one shows when the client's child executes the program;
//! whoever of the family writes into the same pipe, by whatever descriptor, writes to standard error.
//!
//! Not covered: what is sent into it by other calls than those that write, and a pipe of the family's own that
//! somebody empties into it without any.

use std::collections::HashMap;
use std::path::PathBuf;

use super::Arena;
use super::process::Process;
use crate::explore::gate::Call;
use crate::explore::source_line::NOBODYS;
use crate::explore::system::ThreadId;

/// Bytes that are listened to in one execution.
const MOST: usize = 1 << 20;

/// What was overheard in an execution.
#[derive(Debug, Default)]
pub(super) struct Overheard {
    /// The pipe that a process which a client itself has started had as its standard error.
    pipes: HashMap<usize, PathBuf>,
    /// Who wrote what, in order.
    said: Vec<(ThreadId, Vec<u8>)>,
    /// What was written to a descriptor that nobody has, by process.
    to_nobody: Vec<(usize, Vec<u8>)>,
    bytes: usize,
}

impl Overheard {
    /// Another execution begins. Programs may live on.
    pub fn clear(&mut self) {
        self.said.clear();
        self.to_nobody.clear();
        self.bytes = 0;
    }
}

impl Process {
    /// What a descriptor leads to, as the kernel names it.
    fn link_of(&self, fd: i32) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/fd/{fd}", self.pid())).ok()
    }
}

impl Arena<'_> {
    /// What programs wrote to their standard error in this execution, in order.
    pub fn overheard(&self) -> &[(ThreadId, Vec<u8>)] {
        &self.overheard.said
    }

    /// What the process of a thread wrote to the descriptor that nobody has in this execution.
    pub fn said_to_nobody(&self, id: ThreadId) -> Vec<u8> {
        let process = self.threads.iter().find(|thread| thread.id == id).map(|thread| thread.process);
        let own = self.overheard.to_nobody.iter().filter(|(by, _)| Some(*by) == process);
        own.flat_map(|(_, text)| text).copied().collect()
    }

    /// A process is about to execute a program: if a client has started it, that is the user's.
    pub(super) fn find_stderr(&mut self, process: usize) {
        let own = &self.processes[process];
        if own.parent == Some(own.client) && self.deeds.is_some() {
            let pipe = own.link_of(libc::STDERR_FILENO);
            self.overheard.pipes.extend(pipe.map(|pipe| (process, pipe)));
        }
    }

    /// Takes down what a call writes to standard error, or to nobody.
    pub(super) fn overhear(&mut self, index: usize, call: &Call) {
        let Call::Write { fd, from, .. } = call else { return };
        let (id, process) = (self.threads[index].id, self.threads[index].process);
        let own = &self.processes[process];
        if self.deeds.is_none() || own.is_root() || self.overheard.bytes >= MOST {
            return;
        }
        let is_stderr = |link: PathBuf| {
            let mut pipes = self.overheard.pipes.iter();
            pipes.any(|(first, pipe)| *pipe == link && self.processes[*first].client == own.client)
        };
        let to_nobody = *fd == NOBODYS;
        if !to_nobody && !own.link_of(*fd).is_some_and(is_stderr) {
            return;
        }
        let mut text = Vec::new();
        for span in from {
            let mut bytes = vec![0; span.length.min(MOST)];
            // At a wrong address there is nothing.
            if own.memory.read(span.address, &mut bytes).is_ok() {
                text.extend(bytes);
            }
        }
        self.overheard.bytes += text.len();
        if to_nobody {
            self.overheard.to_nobody.push((process, text));
        } else {
            self.overheard.said.push((id, text));
        }
    }
}
