//! Tracing: which calls any program makes on the files of some directories, as data.
//!
//! ```text
//! launch (fork, seize, filter, exec) -> tracer (ptrace stops) -> Record a call -> algorithm, pattern
//! ```
//!
//! A seccomp filter stops the program at the calls that take paths or descriptors, so that all others
//! run at full speed; those that do not concern a watched directory go on at once, the others stop
//! again when they are done. Needs no privilege. Threads, forks and execs are followed.
//!
//! Not covered: what a program does to a file through mapped memory or `io_uring` (that it does so is
//! noted), programs of another architecture, and paths of a program that has changed its root or its
//! mount namespace.

mod algorithm;
mod filter;
mod launch;
mod names;
mod pattern;
mod record;
mod tracer;

use std::io;
use std::path::PathBuf;

pub use algorithm::{Item, Naming, Step, algorithm};
pub use launch::Program;
pub use pattern::{LockUse, Pattern, Signature, Update, patterns};
pub use record::{Note, Outcome, Process, ProcessEnd, Record, Trace};
pub use tracer::{Watch, trace};

/// Why nothing was traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// There is no such program.
    #[error("there is no program `{}`", program.display())]
    NotFound {
        /// As it was named.
        program: PathBuf,
    },
    /// It may not be executed.
    #[error("`{}` is not an executable file", program.display())]
    NotExecutable {
        /// As it was named.
        program: PathBuf,
    },
    /// The program is there, and the kernel does not execute it.
    #[error("executing {}: {error}", program.display())]
    Exec {
        /// The file.
        program: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The kernel does not let this process trace.
    #[error("tracing is not permitted (ptrace: {error})")]
    NotPermitted {
        /// What it said.
        error: io::Error,
    },
    /// Something else.
    #[error("{what}: {error}")]
    Failed {
        /// What was being done.
        what: &'static str,
        /// What went wrong.
        error: io::Error,
    },
}
