//! The virtual clock.
//!
//! Time is a logical clock over happens-before: a thread's clock moves when it sleeps, and when it
//! touches what somebody whose clock is ahead has touched. So times depend on the class of the
//! execution alone and not on the order in which independent steps happened to be run, and every
//! assignment of times is one that real clocks could have shown: who saw another one's deed never
//! has an earlier time than that deed.
//!
//! No two processes read the same: clocks that start together would show the same nanosecond to several processes
//! that draw names from it (a seed of random numbers, a temporary file), which no real one does. Each reading is a
//! few nanoseconds after all that were before it, and those of different processes differ in the remainder by
//! [`READERS`]. In microseconds they are often equal. The times of files do not know of readings: on real systems,
//! too, they are coarser than clocks. Most readings are not calls: they are taken from a [dial](super::dial).

use smallvec::SmallVec;

use super::Arena;
use super::tree::Inode;
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind};

/// Where the clocks stand when an execution begins, in nanoseconds: 2026-01-01T00:00:00Z.
pub(super) const EPOCH_NS: u64 = 1_767_225_600_000_000_000;
/// The same on clocks that count from some start of their own: a machine that has been up for a day.
pub(super) const UPTIME_NS: u64 = 86_400_000_000_000;

/// Where this clock stands then.
pub(super) const fn start_of(clock: i32) -> u64 {
    match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_REALTIME_ALARM | libc::CLOCK_TAI => {
            EPOCH_NS
        }
        _ => UPTIME_NS,
    }
}

/// Processes whose readings of a clock differ.
pub(super) const READERS: u64 = 16;

/// How far somebody has come in time, in nanoseconds since the execution began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Now {
    pub clock_ns: u64,
    /// The latest time that a clock has shown.
    pub shown_ns: u64,
}

impl Now {
    fn max(self, other: Self) -> Self {
        Self { clock_ns: self.clock_ns.max(other.clock_ns), shown_ns: self.shown_ns.max(other.shown_ns) }
    }
}

/// When an object was last accessed in each mode.
type Accessed = SmallVec<[(Mode, Now); 4]>;

/// Time as the clients of one execution see it. All times are nanoseconds since it began.
#[derive(Clone, Debug, Default)]
pub(super) struct VirtualTime {
    objects: Vec<(Object, Accessed)>,
    /// When inodes were last changed, as `stat` tells it.
    stamps: Vec<(Inode, i64)>,
    /// Inodes that the step under way changes. When that is, its whole footprint says.
    touched: SmallVec<[Inode; 2]>,
    /// Somebody has slept, or looked at a clock.
    moves: bool,
    /// A program that clients drive has looked at a clock, in any execution.
    pub looked_at: bool,
    /// Time has passed while somebody was suspended, in any execution.
    pub passed_in_pause: bool,
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
        let client = self.client_index(thread);
        self.read_dial(client);
        let clock_ns = self.threads[thread].nap.clock_ns;
        let now = Now { clock_ns, shown_ns: self.processes[client].shown_ns };
        let now = self.time_after(now, footprint);
        self.threads[thread].nap.clock_ns = now.clock_ns;
        self.processes[client].shown_ns = now.shown_ns;
        for inode in std::mem::take(&mut self.time.touched) {
            self.stamp_as(inode, now.clock_ns.cast_signed());
        }
    }

    /// The time of a step with this footprint by somebody who has come as far as `now`.
    pub(super) fn time_after(&mut self, mut now: Now, footprint: &Footprint) -> Now {
        if !self.time.moves {
            return now;
        }
        // That a client goes on is nothing that anybody could see.
        let mode_of = |access: &Access| match access {
            Access { object: Object { kind: ObjectKind::Liveness, .. }, mode: Mode::Hold } => Mode::Read,
            access => access.mode,
        };
        // Of steps that may change places neither tells the other its time.
        for access in footprint {
            if let Some((_, times)) = self.time.objects.iter().find(|(object, _)| *object == access.object) {
                let before = times.iter().filter(|(mode, _)| mode.conflicts(mode_of(access)));
                now = before.fold(now, |now, (_, time)| now.max(*time));
            }
        }
        for access in footprint {
            let objects = &mut self.time.objects;
            let place = objects.iter().position(|(object, _)| *object == access.object);
            let place = place.unwrap_or_else(|| {
                objects.push((access.object, Accessed::new()));
                objects.len() - 1
            });
            let (times, mode) = (&mut objects[place].1, mode_of(access));
            match times.iter_mut().find(|(known, _)| *known == mode) {
                Some((_, time)) => *time = time.max(now),
                None => times.push((mode, now)),
            }
        }
        now
    }

    /// A thread's clock is moved to this time.
    pub(super) fn advance(&mut self, thread: usize, to_ns: u64) {
        let client = self.client_index(thread);
        let nap = &mut self.threads[thread].nap;
        nap.clock_ns = nap.clock_ns.max(to_ns);
        // Who oversleeps sees that as well.
        let shows_ns =
            to_ns.checked_sub(nap.until_ns).map_or(0, |late_ns| nap.shows_ns.saturating_add(late_ns));
        self.shows(client, shows_ns);
    }

    /// A client has been shown this time.
    pub(super) fn shows(&mut self, client: usize, shown_ns: u64) {
        self.time.moves = true;
        let own = &mut self.processes[client];
        own.shown_ns = own.shown_ns.max(shown_ns);
    }

    /// What a clock shows to a thread that asks for it by a call.
    pub(super) fn read_clock(&mut self, thread: usize, clock: i32) -> u64 {
        let now = if self.is_lookout(thread) {
            // Nobody else is shown what it reads.
            self.threads[thread].nap.clock_ns += READERS;
            self.threads[thread].nap.clock_ns
        } else {
            let client = self.client_index(thread);
            self.read_dial(client);
            let now = self.next_reading(thread);
            self.shows(client, now);
            self.time.looked_at |= !self.processes[self.threads[thread].process].is_root();
            now
        };
        start_of(clock) + now
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
