//! Advisory locks as the supervisor knows them: who holds what, and who would have to wait.
//!
//! The kernel keeps its own locks and stays the judge: every lock that this table says is free is
//! asked of the kernel without waiting, and a refusal is a mismatch. The table is there because
//! whether a thread can go on must be known without asking at every step.
//!
//! Not covered: deadlock detection of POSIX locks (EDEADLK), which the kernel does.

use super::tree::Inode;
use crate::explore::gate::{LockKind, LockRequest};

/// Who holds a lock: an open file for `flock` and OFD locks, a process for POSIX locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// An open file, numbered by the supervisor.
    OpenFile(u32),
    /// A process, numbered by the supervisor.
    Process(u32),
}

/// Bytes of a file, the end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    start: i64,
    end: i64,
}

impl Range {
    /// From `start`; a length of 0 reaches to the end of the file.
    pub const fn new(start: i64, length: i64) -> Self {
        Self { start, end: if length == 0 { i64::MAX } else { start.saturating_add(length) } }
    }

    /// As `struct flock` has it.
    pub const fn start_and_length(self) -> (i64, i64) {
        (self.start, if self.end == i64::MAX { 0 } else { self.end - self.start })
    }

    const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    inode: Inode,
    /// `flock` locks know nothing of the other two families.
    flock: bool,
    owner: Owner,
    exclusive: bool,
    range: Range,
}

/// All locks that are held.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    held: Vec<Held>,
}

impl Locks {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.held.clear();
    }

    /// Whether this request could be granted now.
    pub fn is_free(
        &self,
        inode: Inode,
        kind: LockKind,
        owner: Owner,
        request: LockRequest,
        range: Range,
    ) -> bool {
        if matches!(request, LockRequest::Unlock | LockRequest::Query) {
            return true;
        }
        !self.held.iter().any(|held| {
            held.inode == inode
                && held.flock == (kind == LockKind::Flock)
                && held.owner != owner
                && held.range.overlaps(range)
                && (held.exclusive || request == LockRequest::Exclusive)
        })
    }

    /// What the owner has of this range: `None`, or whether it has any of it for itself alone.
    pub fn holds(&self, inode: Inode, kind: LockKind, owner: Owner, range: Range) -> Option<bool> {
        let mine = self.held.iter().filter(|held| {
            held.inode == inode
                && held.flock == (kind == LockKind::Flock)
                && held.owner == owner
                && held.range.overlaps(range)
        });
        mine.map(|held| held.exclusive).max()
    }

    /// Notes that a request was granted.
    pub fn grant(&mut self, inode: Inode, kind: LockKind, owner: Owner, request: LockRequest, range: Range) {
        if request == LockRequest::Query {
            return;
        }
        let flock = kind == LockKind::Flock;
        let mut rest = Vec::new();
        self.held.retain(|held| {
            let replaced = held.inode == inode
                && held.flock == flock
                && held.owner == owner
                && held.range.overlaps(range);
            if replaced {
                // What the new range leaves over on either side stays as it was.
                let pieces = [
                    Range { start: held.range.start, end: range.start },
                    Range { start: range.end, end: held.range.end },
                ];
                let left = pieces.into_iter().filter(|piece| piece.start < piece.end);
                rest.extend(left.map(|range| Held { range, ..*held }));
            }
            !replaced
        });
        self.held.append(&mut rest);
        if matches!(request, LockRequest::Exclusive | LockRequest::Shared) {
            let exclusive = request == LockRequest::Exclusive;
            self.held.push(Held { inode, flock, owner, exclusive, range });
        }
    }

    /// Takes everything away from an owner that `which` names, and returns on which inodes: whether
    /// `flock`, and whether exclusively.
    pub fn drop_of(&mut self, owner: Owner, on: Option<Inode>) -> Vec<(Inode, bool, bool)> {
        let mut dropped = Vec::new();
        self.held.retain(|held| {
            let drop = held.owner == owner && on.is_none_or(|inode| held.inode == inode);
            if drop {
                dropped.push((held.inode, held.flock, held.exclusive));
            }
            !drop
        });
        dropped
    }

    /// Whether one of these owners holds anything on the inode.
    pub fn any_of(&self, inode: Inode, owners: [Owner; 2]) -> bool {
        self.held.iter().any(|held| held.inode == inode && owners.contains(&held.owner))
    }

    /// Whether anybody holds anything.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LockKind::{Flock, OpenFile, Posix};
    use LockRequest::{Exclusive, Shared, Unlock};

    const FILE: Inode = Inode(7);
    const ALL: Range = Range::new(0, 0);
    const A: Owner = Owner::Process(1);
    const B: Owner = Owner::Process(2);

    #[test]
    fn an_exclusive_lock_keeps_everybody_out_and_a_shared_one_only_writers() {
        let mut locks = Locks::default();
        locks.grant(FILE, Posix, A, Shared, ALL);
        assert!(locks.is_free(FILE, Posix, B, Shared, ALL));
        assert!(!locks.is_free(FILE, Posix, B, Exclusive, ALL));
        assert!(locks.is_free(FILE, Posix, A, Exclusive, ALL), "nobody waits for himself");
        locks.grant(FILE, Posix, A, Exclusive, ALL);
        assert!(!locks.is_free(FILE, Posix, B, Shared, ALL));
        assert!(locks.is_free(Inode(8), Posix, B, Exclusive, ALL));
        locks.grant(FILE, Posix, A, Unlock, ALL);
        assert!(locks.is_empty());
    }

    #[test]
    fn flock_and_fcntl_do_not_see_each_other_but_posix_and_ofd_do() {
        let mut locks = Locks::default();
        locks.grant(FILE, Flock, Owner::OpenFile(1), Exclusive, ALL);
        assert!(locks.is_free(FILE, Posix, A, Exclusive, ALL));
        locks.grant(FILE, OpenFile, Owner::OpenFile(1), Exclusive, ALL);
        assert!(!locks.is_free(FILE, Posix, A, Exclusive, ALL));
    }

    #[test]
    fn unlocking_the_middle_leaves_both_ends() {
        let mut locks = Locks::default();
        locks.grant(FILE, Posix, A, Exclusive, Range::new(0, 100));
        locks.grant(FILE, Posix, A, Unlock, Range::new(40, 20));
        assert!(locks.is_free(FILE, Posix, B, Exclusive, Range::new(40, 20)));
        assert!(!locks.is_free(FILE, Posix, B, Exclusive, Range::new(30, 20)));
        assert!(!locks.is_free(FILE, Posix, B, Exclusive, Range::new(59, 2)));
        assert!(locks.is_free(FILE, Posix, B, Exclusive, Range::new(100, 0)));
        assert_eq!(locks.drop_of(A, Some(FILE)).len(), 2);
        assert!(locks.is_empty());
    }
}
