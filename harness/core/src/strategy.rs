//! The trait that every way of keeping shared state implements, and what a strategy says of
//! itself.
//!
//! A [`Strategy`] is a recipe and holds no state. A process opens one [`Client`] a thread; all
//! state of the algorithm (descriptors, held locks, generation numbers) lives there. The same code
//! runs under every engine: a strategy never knows whether it is being raced, explored, killed or
//! cut off, does nothing at random and asks no clock but to wait or to judge a lease.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::document::{Format, Shape, TornKind};
use crate::history::Failure;
use crate::object::{Object, Operation};

/// What a strategy says of itself: everything `list strategies` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrategyInfo {
    /// Its name in definitions and tables, in kebab case.
    pub name: &'static str,
    /// The algorithm in one line.
    pub algorithm: &'static str,
    /// What it promises. An algorithm that is wrong on purpose does not promise what it is known
    /// to break.
    pub claims: &'static [Claim],
    /// Where it comes from: a document, a paper, a published crate, folklore.
    pub source: &'static str,
    /// The objects that it can keep.
    pub objects: &'static [Object],
    /// Whether it is here as a canary: wrong on purpose, to be caught.
    pub broken: bool,
    /// Whether clients depend on time-outs or leases, so that a pause is a hazard of its own.
    pub timed: bool,
}

/// Everything that a client needs to know of its surroundings. The same for all clients of an
/// execution but for `client`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientContext {
    /// The directory made for this execution.
    pub dir: PathBuf,
    /// The state file, in `dir`.
    pub file: PathBuf,
    /// A directory on another file system than `dir`'s, where this machine has one.
    pub other_dir: Option<PathBuf>,
    /// How documents are spelt.
    pub format: Format,
    /// What the file stands for.
    pub object: Object,
    /// The shape of a register's values.
    pub shape: Shape,
    /// Unique among all clients of the execution, those that replaced killed ones included. Serves
    /// where a program would use its process id to make a name unique.
    pub client: u32,
    /// The time after which a lease or a heartbeat counts as expired.
    pub lease: Duration,
    /// How long an operation on a state file may retry or wait before it gives up.
    pub patience: Duration,
}

impl ClientContext {
    /// `<file><suffix>`, next to the state file.
    pub fn sibling(&self, suffix: &str) -> PathBuf {
        with_suffix(&self.file, suffix)
    }
}

/// `path` with `suffix` appended to its last component.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Why an operation of a strategy did not complete.
#[derive(Debug, thiserror::Error)]
pub enum StrategyError {
    /// It certainly did not take effect.
    #[error("{message}")]
    Failed {
        /// Why, for people.
        failure: Failure,
        /// The message of the program, with path, call and errno where there are any.
        message: String,
    },
    /// It may have taken effect, or may still.
    #[error("{message}")]
    Unknown {
        /// Why, for people.
        failure: Failure,
        /// The message of the program, with path, call and errno where there are any.
        message: String,
    },
    /// A read looked at the state and found none of the values in it: the client's own parser or
    /// checksum refused what was there. The read returned, and what it saw is a torn read; the
    /// message is its note. A strategy whose readers notice damage and go on to something else
    /// (a retry, an error of their own) answers with that instead.
    #[error("{message}")]
    Torn {
        /// How the state was not whole.
        kind: TornKind,
        /// The message of the program.
        message: String,
    },
    /// The strategy has no such operation.
    #[error("{0} is not supported")]
    Unsupported(Operation),
}

impl StrategyError {
    /// Certainly not applied, because of an error.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed { failure: Failure::Error, message: message.into() }
    }

    /// Perhaps applied.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::Unknown { failure: Failure::Error, message: message.into() }
    }

    /// The lock is held by somebody else.
    pub fn busy(message: impl Into<String>) -> Self {
        Self::Failed { failure: Failure::Busy, message: message.into() }
    }

    /// The last retry failed; the operation was not applied.
    pub fn retries_exhausted(message: impl Into<String>) -> Self {
        Self::Failed { failure: Failure::RetriesExhausted, message: message.into() }
    }

    /// The same error, of an operation that may have taken effect already.
    pub fn now_unknown(self) -> Self {
        match self {
            Self::Failed { failure, message } => Self::Unknown { failure, message },
            other => other,
        }
    }
}

/// Whether a read found a state at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The buffer holds what the file held.
    Present,
    /// There is no state file.
    Absent,
}

/// What an acquire brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whether the lock is still held at the moment of return. A strategy that gives it up after
    /// its set-up says `false`.
    pub still: bool,
    /// The fencing token that came with the lock, if the strategy has them. Greater than every
    /// token before.
    pub token: Option<u64>,
}

/// A way of keeping shared state.
pub trait Strategy: Send + Sync {
    /// What the strategy says of itself.
    fn info(&self) -> &'static StrategyInfo;

    /// Makes the world that the clients start in. `document` is the initial state as bytes, `None`
    /// when the state is absent. The directory is empty. Called once an execution, before any
    /// client is opened, by a process that is no client.
    fn prepare(&self, context: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError>;

    /// Opens a client. Called in the process and on the thread that will use it.
    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError>;

    /// Runs the process that the clients talk to, where the strategy has one; returns when
    /// `stop` says so or its socket is gone. `ready` is called once clients can connect.
    fn serve(
        &self,
        context: &ClientContext,
        ready: &mut dyn FnMut(),
        stop: &dyn Fn() -> bool,
    ) -> Result<(), StrategyError> {
        let _ = (context, ready, stop);
        Ok(())
    }

    /// Whether [`Strategy::serve`] has to run while the clients do.
    fn has_server(&self) -> bool {
        false
    }

    /// Whether a file of this name, in the state directory, is meant to outlive the operations.
    /// The state file itself always is.
    fn keeps(&self, context: &ClientContext, name: &str) -> bool {
        let _ = (context, name);
        false
    }

    /// Whether the target is meant to remain a symbolic link when it was one (`true`: writes
    /// follow it), or to be replaced by a file.
    fn follows_symlinks(&self) -> bool {
        true
    }
}

/// One thread's handle on the state. Operations that a strategy does not have answer
/// [`StrategyError::Unsupported`].
pub trait Client: Send {
    /// Reads the whole state into `into`, replacing what is there: the document of a register or
    /// a set, or the records of a log.
    fn read(&mut self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let _ = into;
        Err(StrategyError::Unsupported(Operation::Read))
    }

    /// Replaces the document of a register.
    fn write(&mut self, document: &[u8]) -> Result<(), StrategyError> {
        let _ = document;
        Err(StrategyError::Unsupported(Operation::Write))
    }

    /// Adds one element to a set: a read-modify-write.
    fn update(&mut self, element: &str) -> Result<(), StrategyError> {
        let _ = element;
        Err(StrategyError::Unsupported(Operation::Update))
    }

    /// Appends one record, newline included, to a log.
    fn append(&mut self, record: &[u8]) -> Result<(), StrategyError> {
        let _ = record;
        Err(StrategyError::Unsupported(Operation::Append))
    }

    /// Enters the critical section, waiting at most `patience`.
    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        let _ = patience;
        Err(StrategyError::Unsupported(Operation::Acquire))
    }

    /// Leaves the critical section.
    fn release(&mut self) -> Result<(), StrategyError> {
        Err(StrategyError::Unsupported(Operation::Release))
    }

    /// Moves on to the directory of another execution, under another client number; `false` when a
    /// fresh client has to be opened instead. Only clients that cost much to open take this up.
    fn retarget(&mut self, context: &ClientContext) -> bool {
        let _ = context;
        false
    }

    /// Opens the state for somebody who reads it piece by piece over some time, as a server that
    /// streams it does. `None`: nothing is there. A strategy whose readers lock keeps the lock
    /// for as long as the reader lives.
    fn stream(&mut self) -> Result<Option<Box<dyn Read + Send>>, StrategyError> {
        let mut bytes = Vec::new();
        Ok(match self.read(&mut bytes)? {
            Found::Present => Some(Box::new(std::io::Cursor::new(bytes))),
            Found::Absent => None,
        })
    }
}
