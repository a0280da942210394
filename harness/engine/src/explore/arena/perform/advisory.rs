//! Advisory locks of files: `flock`, and `fcntl` for processes and for open files.
//!
//! Who has what is known here ([`super::super::locks`]); the kernel is asked to lock as well, so that
//! both can be compared. Locks of processes are taken by those: who is played for (`double`) has them here alone.

use std::os::fd::AsRawFd;

use super::{Effect, Returned, access, returned};
use crate::explore::access::{Footprint, Mode, Object, ObjectKind, Potential};
use crate::explore::arena::descriptors::OpenFile;
use crate::explore::arena::locks::{Owner, Range};
use crate::explore::arena::tree::{Inode, digest};
use crate::explore::arena::{Arena, ArenaError};
use crate::explore::gate::{Answer, LockKind, LockRequest};

impl Arena<'_> {
    /// Who owns what a lock call on this file takes.
    pub(in crate::explore::arena) fn owner(process: usize, file: &OpenFile, kind: LockKind) -> Owner {
        match kind {
            LockKind::Posix => Owner::Process(process as u32),
            LockKind::Flock | LockKind::OpenFile => Owner::OpenFile(file.number),
        }
    }

    /// Takes or gives back a lock, or asks who has it.
    pub(super) fn lock(
        &mut self,
        process: usize,
        file: &OpenFile,
        (kind, request, wait): (LockKind, LockRequest, bool),
        range: Range,
    ) -> Result<Effect, ArenaError> {
        let mut effect = self.try_lock(process, file, kind, request, range)?;
        if !wait {
            // An attempt can come at any time, and then have another result.
            let object = lock_object(file.inode, kind == LockKind::Flock);
            for access in effect.footprint.iter_mut().filter(|access| access.object == object) {
                if matches!(access.mode, Mode::Acquire | Mode::AcquireShared) {
                    access.mode = Mode::Write;
                }
            }
            effect.potential.push(Potential::Certain(access(object, Mode::Write)));
        }
        Ok(effect)
    }

    fn try_lock(
        &mut self,
        process: usize,
        file: &OpenFile,
        kind: LockKind,
        request: LockRequest,
        range: Range,
    ) -> Result<Effect, ArenaError> {
        let owner = Self::owner(process, file, kind);
        let object = lock_object(file.inode, kind == LockKind::Flock);
        let held = self.locks.holds(file.inode, kind, owner, range);
        let release = match held {
            Some(true) => Some(Mode::Release),
            Some(false) => Some(Mode::ReleaseShared),
            None => None,
        };
        let mut footprint = Footprint::new();
        if request == LockRequest::Query {
            footprint.push(access(object, Mode::Read));
            if self.has_locks_in_name_only() {
                return Err(ArenaError::Unlike("a client asks the kernel who has a lock".to_owned()));
            }
            return Ok(Effect::answer(footprint, Answer::Continue));
        }
        if !self.locks.is_free(file.inode, kind, owner, request, range) {
            // Only an attempt that does not wait gets here. A failed conversion of an flock loses
            // the old lock, says the manual; Linux keeps it as long as it does not wait.
            footprint.push(access(object, Mode::Read));
            let errno = libc::EAGAIN;
            let knows_nothing = kind == LockKind::OpenFile && self.has_locks_in_name_only();
            if kind != LockKind::Posix && !knows_nothing {
                self.ask_kernel(file, kind, request, range, Err(errno))?;
            }
            return Ok(Effect::answer(footprint, Answer::Errno(errno)));
        }
        match request {
            LockRequest::Unlock => footprint.extend(release.map(|mode| access(object, mode))),
            LockRequest::Exclusive | LockRequest::Shared => {
                // A lock that is changed is given back and taken anew.
                footprint.extend(release.map(|mode| access(object, mode)));
                let mode = match request {
                    LockRequest::Exclusive => Mode::Acquire,
                    _ => Mode::AcquireShared,
                };
                footprint.push(access(object, mode));
            }
            LockRequest::Query => {}
        }
        self.locks.grant(file.inode, kind, owner, request, range);
        let answer = if kind == LockKind::Posix {
            // The lock is to be the client's own, so the client takes it; it need not wait.
            self.lock_in_name_only(process);
            Answer::Continue
        } else {
            self.ask_kernel(file, kind, request, range, Ok(0))?;
            Answer::Value(0)
        };
        Ok(Effect::answer(footprint, answer))
    }

    /// Has the kernel lock or unlock an open file without waiting, and compares what it says.
    fn ask_kernel(
        &self,
        file: &OpenFile,
        kind: LockKind,
        request: LockRequest,
        range: Range,
        expected: Returned,
    ) -> Result<(), ArenaError> {
        let fd = file.file.as_raw_fd();
        let done = if kind == LockKind::Flock {
            let operation = match request {
                LockRequest::Exclusive => libc::LOCK_EX,
                LockRequest::Shared => libc::LOCK_SH,
                _ => libc::LOCK_UN,
            };
            // SAFETY: takes plain numbers.
            returned(unsafe { libc::flock(fd, operation | libc::LOCK_NB) })
        } else {
            // SAFETY: zero is a value of every field.
            let mut lock: libc::flock = unsafe { std::mem::zeroed() };
            lock.l_type = match request {
                LockRequest::Exclusive => libc::F_WRLCK,
                LockRequest::Shared => libc::F_RDLCK,
                _ => libc::F_UNLCK,
            } as i16;
            (lock.l_start, lock.l_len) = range.start_and_length();
            // SAFETY: the structure is the one that the call reads.
            returned(unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &raw const lock) })
        };
        self.agree("lock", expected, done)
    }
}

/// The lock of an inode: `flock` and `fcntl` know nothing of each other.
pub(in crate::explore::arena) fn lock_object(inode: Inode, flock: bool) -> Object {
    Object { kind: ObjectKind::Lock, key: digest(&(inode.0, flock)) }
}
