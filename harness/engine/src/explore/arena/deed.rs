//! What came of each step, for witnesses.

use std::io;
use std::time::Duration;

use super::Arena;
use crate::explore::gate::{Call, Shown, Target};
use crate::explore::system::ThreadId;

/// What one step did.
#[derive(Clone, Debug)]
pub enum Act {
    /// A call of a client.
    Call(Call),
    /// A client was killed.
    Kill,
    /// A client was suspended.
    Pause,
    /// It goes on.
    Resume,
    /// A client comes late to an operation, by so much.
    ComesLate(Duration),
}

/// The part of a call that never came to its end.
pub(super) const CUT_SHORT: u8 = 3;

/// What came of one step, for witnesses.
#[derive(Clone, Debug)]
pub struct Deed {
    /// Which step of the execution it was, from 1.
    pub step: u64,
    /// Who.
    pub thread: ThreadId,
    /// Which part of a call that is done in two: 1, 2, or 0 for the whole; 3: it was cut short by a timer.
    pub part: u8,
    /// What was done.
    pub what: Act,
    /// What the descriptor of the call leads to, where it takes one.
    pub name: Option<String>,
    /// What it returned; absent when it goes on, or when the client made the call itself.
    pub returned: Option<Result<i64, i32>>,
}

impl std::fmt::Display for Deed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let call = match &self.what {
            Act::Call(call) => call,
            Act::Kill => return write!(out, "is killed (SIGKILL)"),
            Act::Pause => return write!(out, "is suspended"),
            Act::Resume => return write!(out, "goes on"),
            Act::ComesLate(by) => return write!(out, "comes late, by {by:?}"),
        };
        let shown = Shown { call, name: self.name.as_deref() };
        match self.part {
            1 => write!(out, "{shown}, first part")?,
            2 => write!(out, "{shown}, second part")?,
            CUT_SHORT => return write!(out, "{shown}, until a timer cuts it short"),
            _ => write!(out, "{shown}")?,
        }
        match self.returned {
            Some(Err(errno)) => write!(out, " = {}", io::Error::from_raw_os_error(errno)),
            Some(Ok(bytes)) if matches!(call, Call::Read { .. } | Call::Write { .. }) => {
                write!(out, " = {bytes}")
            }
            _ => Ok(()),
        }
    }
}

impl Arena<'_> {
    /// From the next execution on, remembers what everybody does, or no more.
    pub fn tell(&mut self, wanted: bool) {
        self.deeds = wanted.then(Vec::new);
    }

    /// What everybody did in this execution.
    pub fn deeds(&self) -> &[Deed] {
        self.deeds.as_deref().unwrap_or_default()
    }

    pub(super) fn note(
        &mut self,
        thread: ThreadId,
        part: u8,
        call: &Call,
        returned: Option<Result<i64, i32>>,
    ) {
        if self.deeds.is_none() {
            return;
        }
        let name = self.names.last().filter(|(id, _)| *id == thread).map(|(_, name)| name.clone());
        if let Some(deeds) = &mut self.deeds {
            deeds.push(Deed {
                step: self.steps,
                thread,
                part,
                what: Act::Call(call.clone()),
                name,
                returned,
            });
        }
    }

    /// Notes what the descriptor of a call leads to, before the call may close it.
    pub(super) fn remember_name(&mut self, thread: ThreadId, process: usize, call: &Call) {
        self.names.clear();
        let fd = match call {
            Call::Close { fd }
            | Call::Duplicate { fd, .. }
            | Call::Read { fd, .. }
            | Call::Write { fd, .. }
            | Call::Seek { fd, .. }
            | Call::Allocate { fd, .. }
            | Call::Sync { fd }
            | Call::List { fd, .. }
            | Call::Lock { fd, .. }
            | Call::Map { fd, .. }
            | Call::Truncate { target: Target::Fd(fd), .. }
            | Call::Stat { target: Target::Fd(fd), .. }
            | Call::ChangeMode { target: Target::Fd(fd), .. }
            | Call::Attribute { target: Target::Fd(fd), .. }
            | Call::SetTimes { target: Target::Fd(fd), .. } => *fd,
            Call::Socket(call) => call.fd,
            _ => return,
        };
        if let Some(file) = self.processes[process].descriptors.get(fd) {
            self.names.push((thread, file.name.clone()));
        }
    }
}
