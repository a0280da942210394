//! What a trace consists of: one record a call, one entry a process, and what could not be seen.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::explore::gate::Call;

/// A call that was made.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was made: nanoseconds since the program was started.
    pub at_ns: u64,
    /// How long it took, as the tracer sees it: stops included, waiting included.
    pub took_ns: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The kernel's name of the call.
    pub name: &'static str,
    /// What it asks for.
    pub call: Call,
    /// The file that it is about, as an absolute path; of a rename or link, the old name.
    pub path: Option<PathBuf>,
    /// Of a rename, link or copy: the new name.
    pub path2: Option<PathBuf>,
    /// Of an open that may create: whether the name was there just before.
    pub existed: Option<bool>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned this.
    Returned(i64),
    /// It failed with this errno.
    Failed(i32),
    /// It never returned: the process died first.
    Never,
}

impl Outcome {
    /// What it returned, if it did not fail.
    pub const fn value(self) -> Option<i64> {
        match self {
            Self::Returned(value) => Some(value),
            Self::Failed(_) | Self::Never => None,
        }
    }
}

impl Record {
    /// The bytes that a read, a write or a copy has moved.
    pub fn bytes(&self) -> Option<u64> {
        let moves = matches!(self.call, Call::Read { .. } | Call::Write { .. })
            || matches!(self.name, "copy_file_range" | "sendfile" | "splice");
        self.outcome.value().filter(|_| moves).and_then(|value| value.try_into().ok())
    }

    /// The name of the error that it ended in.
    pub fn errno_name(&self) -> Option<String> {
        match self.outcome {
            Outcome::Failed(errno) => Some(format!("{:?}", nix::errno::Errno::from_raw(errno))),
            _ => None,
        }
    }

    /// Whether it is about this file, under its old or its new name.
    pub fn concerns(&self, path: &Path) -> bool {
        self.path.as_deref() == Some(path) || self.path2.as_deref() == Some(path)
    }
}

/// A process that was seen.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Who started it; `None` of the program itself.
    pub parent: Option<u32>,
    /// Its arguments, those of its last exec. Empty when it never did one.
    pub command: Vec<OsString>,
    /// How it ended; `None` when that was not seen.
    pub end: Option<ProcessEnd>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEnd {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// Something that happened past the tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// A process makes calls of another architecture.
    Foreign,
    /// A process uses `io_uring`, whose operations are no calls.
    IoUring,
    /// There were more calls than are kept.
    TooMany,
}

/// A trace.
#[derive(Debug, Default)]
pub struct Trace {
    /// The calls, in the order in which they were made.
    pub records: Vec<Record>,
    /// The processes, in the order in which they were born.
    pub processes: Vec<Process>,
    /// What is missing, each once.
    pub notes: Vec<Note>,
    /// Whether it was broken off.
    pub interrupted: bool,
}

impl Trace {
    /// How the program itself ended.
    pub fn end(&self) -> Option<ProcessEnd> {
        self.processes.first()?.end
    }
}
