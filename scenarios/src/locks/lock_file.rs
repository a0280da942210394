//! The single steps on a lock file: create, publish, read, remove. Each is one or a few system
//! calls in a straight line; the strategies put them in order.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, link, open, unlink};
use rustix::io::{Errno, read, retry_on_intr, write};

use tearproof_core::strategy::StrategyError;

use super::Holder;

/// The error of a call that certainly had no effect.
pub(crate) fn failed(path: &Path, call: &str, why: impl fmt::Display) -> StrategyError {
    StrategyError::failed(format!("{}: {call}: {why}", path.display()))
}

/// The first bytes of a lock file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    bytes: [u8; 512],
    length: usize,
}

impl Default for Content {
    fn default() -> Self {
        Self { bytes: [0; 512], length: 0 }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Content {
    /// What was read.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The record, unless it is empty, half written, or something else altogether.
    pub fn holder(&self) -> Option<Holder> {
        serde_json::from_slice(self.as_bytes()).ok()
    }
}

/// A lock file by its path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockFile<'a> {
    path: &'a Path,
}

impl<'a> LockFile<'a> {
    /// The lock file at `path`.
    pub fn new(path: &'a Path) -> Self {
        Self { path }
    }

    /// open(2) with `O_CREAT|O_EXCL`; `None` when there is a lock already. The file is empty.
    pub fn create(self) -> Result<Option<OwnedFd>, StrategyError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        match retry_on_intr(|| open(self.path, flags, Mode::from_raw_mode(0o644))) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::EXIST) => Ok(None),
            Err(errno) => Err(failed(self.path, "open O_EXCL", errno)),
        }
    }

    /// Creates the lock and then writes `record` into it; `None` when there is a lock already.
    /// For a moment the file is empty, and for ever if the client is killed in that moment.
    pub fn create_with(self, record: &[u8]) -> Result<Option<OwnedFd>, StrategyError> {
        let Some(fd) = self.create()? else { return Ok(None) };
        match self.sign(&fd, record) {
            Ok(()) => Ok(Some(fd)),
            Err(error) => match self.remove() {
                Ok(()) => Err(error),
                Err(_) => Err(error.now_unknown()),
            },
        }
    }

    /// Writes `record` into the lock that `fd` is open on.
    pub fn sign(self, fd: &OwnedFd, mut record: &[u8]) -> Result<(), StrategyError> {
        while !record.is_empty() {
            match retry_on_intr(|| write(fd, record)) {
                Ok(0) => return Err(failed(self.path, "write", "nothing was written")),
                Ok(written) => record = &record[written..],
                Err(errno) => return Err(failed(self.path, "write", errno)),
            }
        }
        Ok(())
    }

    /// Makes the lock appear with its record in it: a file of another name is written first and
    /// then linked in place, which fails if there is a lock. Nobody ever sees this lock without
    /// its record. `false` when there is a lock already.
    pub fn publish(self, draft: &Path, record: &[u8]) -> Result<bool, StrategyError> {
        let draft_file = LockFile::new(draft);
        if draft_file.create_with(record)?.is_none() {
            return Err(failed(draft, "open O_EXCL", Errno::EXIST));
        }
        let published = match link(draft, self.path) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(failed(self.path, "link", errno)),
        };
        match (draft_file.remove(), &published) {
            (Ok(()), _) | (Err(_), Err(_)) => published,
            // The lock is there, or certainly not; but something else is, too.
            (Err(error), Ok(true)) => Err(error.now_unknown()),
            (Err(error), Ok(false)) => Err(error),
        }
    }

    /// Reads the lock; `false` when there is none.
    pub fn read(self, into: &mut Content) -> Result<bool, StrategyError> {
        let fd = match retry_on_intr(|| open(self.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(failed(self.path, "open", errno)),
        };
        into.length = 0;
        while into.length < into.bytes.len() {
            match retry_on_intr(|| read(&fd, &mut into.bytes[into.length..])) {
                Ok(0) => break,
                Ok(count) => into.length += count,
                Err(errno) => return Err(failed(self.path, "read", errno)),
            }
        }
        Ok(true)
    }

    /// unlink(2). A lock that is not there is as good as removed.
    pub fn remove(self) -> Result<(), StrategyError> {
        match unlink(self.path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed(self.path, "unlink", errno)),
        }
    }
}
