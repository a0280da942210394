//! Copies of clients' descriptors, by which the kernel is asked what a call would find.
//!
//! To fetch one costs as much as several questions. So it is kept for as long as its process is known to have the
//! descriptor itself: one more that leads to the same place changes nothing then. A process gives descriptors up by
//! calls that come to the gate, or by its end, and the copies go first ([`Arena::give_copies_back`]).

use std::cell::{OnceCell, RefCell};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use smallvec::SmallVec;

use super::Arena;
use super::process::Process;
use crate::explore::gate::{Call, Source};

/// Copies that are kept of one process at most.
const MOST: usize = 32;

/// `/dev/random` and `/dev/urandom`.
const DEVICES_OF_CHANCE: [u64; 2] = [libc::makedev(1, 8), libc::makedev(1, 9)];

/// What a descriptor leads to that does not concern the state directory.
#[derive(Debug)]
pub(super) enum Nature {
    /// What is read is there, or never comes: files, and descriptors that were told not to wait.
    Plain,
    /// A read or a write may wait. With a copy of it.
    Channel(Rc<OwnedFd>),
    /// What is read is another thing each time.
    Chance,
}

/// What the kernel says of a descriptor once and for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    /// A read or a write may wait, unless it was told not to.
    MayWait,
    Chance,
}

impl Kind {
    fn of(copy: &OwnedFd) -> Self {
        let Ok(told) = rustix::fs::fstat(copy) else { return Self::File };
        match told.st_mode & libc::S_IFMT {
            libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => Self::File,
            libc::S_IFCHR if DEVICES_OF_CHANCE.contains(&told.st_rdev) => Self::Chance,
            _ => Self::MayWait,
        }
    }
}

#[derive(Debug)]
struct Kept {
    fd: i32,
    copy: Rc<OwnedFd>,
    /// Unless nobody has asked yet.
    kind: Option<Kind>,
}

/// The copies of a process's descriptors that are at hand.
#[derive(Debug, Default)]
pub(super) struct AtHand(RefCell<SmallVec<[Kept; 4]>>);

impl AtHand {
    pub fn forget(&self, is_given_up: impl Fn(i32) -> bool) {
        self.0.borrow_mut().retain(|kept| !is_given_up(kept.fd));
    }
}

impl Process {
    /// A copy of one of its descriptors.
    pub(super) fn fetch_descriptor(&self, fd: i32) -> Option<OwnedFd> {
        // SAFETY: takes plain numbers; what it returns is a new descriptor that nobody else has.
        unsafe {
            let copy = libc::syscall(libc::SYS_pidfd_getfd, self.pidfd().as_raw_fd(), fd, 0);
            (copy >= 0).then(|| OwnedFd::from_raw_fd(copy as i32))
        }
    }

    /// A copy of one of its descriptors, which is kept.
    pub(super) fn copy_of(&self, fd: i32) -> Option<Rc<OwnedFd>> {
        if let Some(kept) = self.at_hand.0.borrow().iter().find(|kept| kept.fd == fd) {
            return Some(Rc::clone(&kept.copy));
        }
        let copy = Rc::new(self.fetch_descriptor(fd)?);
        let mut kept = self.at_hand.0.borrow_mut();
        if kept.len() == MOST {
            kept.remove(0);
        }
        kept.push(Kept { fd, copy: Rc::clone(&copy), kind: None });
        Some(copy)
    }

    pub(super) fn nature_of(&self, fd: i32) -> Nature {
        let Some(copy) = self.copy_of(fd) else { return Nature::Plain };
        let kind = {
            let mut kept = self.at_hand.0.borrow_mut();
            let kept = kept.iter_mut().find(|kept| kept.fd == fd).expect("it was found or put there");
            *kept.kind.get_or_insert_with(|| Kind::of(&copy))
        };
        if kind == Kind::File {
            // Of files there are many, each of which is read a few times.
            self.at_hand.forget(|kept| kept == fd);
            return Nature::Plain;
        }
        // SAFETY: takes plain numbers.
        let flags = unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_GETFL) };
        match kind {
            Kind::Chance => Nature::Chance,
            _ if flags & libc::O_NONBLOCK != 0 => Nature::Plain,
            _ => Nature::Channel(copy),
        }
    }
}

/// Copies of the descriptors that a call waits for, as long as it does. The kernel keeps what a call waits for
/// open just so, even if another thread closes it.
#[derive(Debug, Default)]
pub(super) struct Awaited(OnceCell<SmallVec<[Option<Rc<OwnedFd>>; 4]>>);

impl Awaited {
    /// Of a call that waits for one descriptor.
    pub fn of(copy: Rc<OwnedFd>) -> Self {
        Self(OnceCell::from(SmallVec::from_iter([Some(copy)])))
    }

    /// Whether any of these descriptors of a process has an event that is waited for; errors and ends count always.
    pub fn have_come(&self, process: &Process, sources: &[Source]) -> bool {
        // One that is in the list twice is asked after once, if nothing but its errors is of interest here.
        let repeats = |at: usize| {
            let (fd, events) = sources[at];
            fd < 0 || events == 0 && sources[..at].iter().any(|&(before, _)| before == fd)
        };
        let of = |at: usize| if repeats(at) { None } else { process.copy_of(sources[at].0) };
        let copies = self.0.get_or_init(|| (0..sources.len()).map(of).collect());
        let mut list: SmallVec<[libc::pollfd; 4]> = SmallVec::new();
        for (at, copy) in copies.iter().enumerate() {
            let events = sources[at].1;
            match copy {
                Some(copy) => list.push(libc::pollfd { fd: copy.as_raw_fd(), events, revents: 0 }),
                None if repeats(at) => {}
                // It is not there, and the kernel would say so at once.
                None => return true,
            }
        }
        // SAFETY: so many structures, which outlive the call.
        unsafe { libc::poll(list.as_mut_ptr(), list.len() as libc::nfds_t, 0) > 0 }
    }
}

impl Arena<'_> {
    /// A process makes this call: copies of what it gives up by it are not kept. Others of its family may have its
    /// table of descriptors.
    pub(super) fn give_copies_back(&self, process: usize, call: &Call) {
        let client = self.processes[process].client;
        for own in self.processes.iter().filter(|own| own.client == client) {
            match *call {
                Call::Close { fd } | Call::Duplicate { to: Some(fd), .. } => {
                    own.at_hand.forget(|kept| kept == fd);
                }
                Call::CloseRange { .. } | Call::Exit { .. } | Call::Execute => own.at_hand.forget(|_| true),
                _ => return,
            }
        }
    }

    /// A process has ended, or has become another program: nothing is known of its descriptors.
    pub(super) fn give_all_copies_back(&self, process: usize) {
        self.processes[process].at_hand.forget(|_| true);
    }
}
