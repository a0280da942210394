//! The virtual clock.
//!
//! Time is a logical clock over happens-before: a thread's clock moves when it sleeps, and when it
//! touches what somebody whose clock is ahead has touched. So times depend on the class of the
//! execution alone and not on the order in which independent steps happened to be run, and every
//! assignment of times is one that real clocks could have shown: who saw another one's deed never
//! has an earlier time than that deed.
//!
//! No two processes read the same: clocks that start together would show the same nanosecond to several processes
//! that draw names from it (a seed of random numbers, a temporary file), which no real one does. Readings of
//! one thread differ by a few nanoseconds, those of different processes in the remainder by
//! [`READERS`]. In microseconds they are often equal.

use smallvec::SmallVec;

use super::Arena;
use super::tree::Inode;
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind};

/// Where the clocks stand when an execution begins, in nanoseconds: 2026-01-01T00:00:00Z.
pub(super) const EPOCH_NS: u64 = 1_767_225_600_000_000_000;
/// The same on clocks that count from some start of their own: a machine that has been up for a day.
pub(super) const UPTIME_NS: u64 = 86_400_000_000_000;

/// Processes whose readings of a clock differ.
const READERS: u64 = 16;

/// Time as the clients of one execution see it. All times are nanoseconds since it began.
#[derive(Clone, Debug, Default)]
pub(super) struct VirtualTime {
    /// By object: the time of the last change, and of the last access of any kind.
    objects: Vec<(Object, u64, u64)>,
    /// When inodes were last changed, as `stat` tells it.
    stamps: Vec<(Inode, i64)>,
    /// Inodes that the step under way changes. When that is, its whole footprint says.
    touched: SmallVec<[Inode; 2]>,
    /// Nobody has slept yet: all clocks stand at the beginning.
    moves: bool,
}

impl VirtualTime {
    pub fn clear(&mut self) {
        self.objects.clear();
        self.stamps.clear();
        self.touched.clear();
        self.moves = false;
    }
}

impl Arena<'_> {
    /// The time by which a thread comes after a step with this footprint.
    pub(super) fn pass_time(&mut self, thread: usize, footprint: &Footprint) {
        let now = self.time_after(self.threads[thread].nap.clock_ns, footprint);
        self.threads[thread].nap.clock_ns = now;
        for inode in std::mem::take(&mut self.time.touched) {
            self.stamp_as(inode, now.cast_signed());
        }
    }

    /// The time of a step with this footprint by somebody whose clock stands at `now`.
    pub(super) fn time_after(&mut self, mut now: u64, footprint: &Footprint) -> u64 {
        if !self.time.moves {
            return now;
        }
        // That a client goes on is nothing that anybody could see.
        let reads = |access: &Access| {
            access.mode == Mode::Read
                || access.mode == Mode::Hold && access.object.kind == ObjectKind::Liveness
        };
        for access in footprint {
            if let Some((_, changed, touched)) =
                self.time.objects.iter().find(|(object, ..)| *object == access.object)
            {
                now = now.max(if reads(access) { *changed } else { *touched });
            }
        }
        for access in footprint {
            let changes = !reads(access);
            match self.time.objects.iter_mut().find(|(object, ..)| *object == access.object) {
                Some((_, changed, touched)) => {
                    *touched = (*touched).max(now);
                    if changes {
                        *changed = (*changed).max(now);
                    }
                }
                None => self.time.objects.push((access.object, if changes { now } else { 0 }, now)),
            }
        }
        now
    }

    /// A thread's clock is moved to this time.
    pub(super) fn advance(&mut self, thread: usize, to_ns: u64) {
        self.time.moves = true;
        let clock = &mut self.threads[thread].nap.clock_ns;
        *clock = (*clock).max(to_ns);
    }

    /// What a clock shows to a thread.
    pub(super) fn read_clock(&mut self, thread: usize, clock: i32) -> u64 {
        let own = self.threads[thread].process as u64 % READERS;
        let nap = &mut self.threads[thread].nap;
        nap.readings += 1;
        // The next time that belongs to this process.
        let now = (nap.clock_ns / READERS + nap.readings) * READERS + own;
        match clock {
            libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => EPOCH_NS + now,
            _ => UPTIME_NS + now,
        }
    }

    /// Notes that the step under way changes an inode.
    pub(super) fn touch(&mut self, inode: Inode) {
        self.time.touched.push(inode);
    }

    fn stamp_as(&mut self, inode: Inode, at: i64) {
        match self.time.stamps.iter_mut().find(|(known, _)| *known == inode) {
            Some((_, stamp)) => *stamp = at,
            None => self.time.stamps.push((inode, at)),
        }
    }

    /// What `stat` tells of an inode's times. What was there before the start is as old as the
    /// scenario says.
    pub(super) fn stamp(&self, inode: Inode) -> u64 {
        let age = self.launch.age_of_world_ns as i64;
        let stamp =
            self.time.stamps.iter().find(|(known, _)| *known == inode).map_or(-age, |(_, stamp)| *stamp);
        EPOCH_NS.saturating_add_signed(stamp)
    }

    /// `utimensat`: two times, the second of which is that of the last change. No address: now.
    pub(super) fn set_times(&mut self, thread: usize, inode: Inode, address: u64) {
        let memory = &self.processes[self.threads[thread].process].memory;
        let wanted = (address != 0)
            .then(|| Some((memory.read_u64(address + 16).ok()?, memory.read_u64(address + 24).ok()?)))
            .flatten();
        match wanted {
            Some((_, nanoseconds)) if nanoseconds as i64 == libc::UTIME_OMIT => {}
            Some((seconds, nanoseconds)) if nanoseconds as i64 != libc::UTIME_NOW => {
                let at = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
                self.stamp_as(inode, at.cast_signed().wrapping_sub(EPOCH_NS.cast_signed()));
            }
            _ => self.touch(inode),
        }
    }
}
