//! Calls that wait for something other than a file of the state directory: for a pipe or a socket, a
//! child, a signal.
//!
//! Such a call is held at the gate until the kernel would answer it at once. So no thread of a client
//! ever waits in the kernel, and whoever is not at a gate is running.
//!
//! Not covered: System V and POSIX message queues and semaphores, and `io_getevents`.

use std::io;

use smallvec::{SmallVec, smallvec};

use super::listener::Notification;
use super::memory::ClientMemory;

/// Descriptors that one call waits for at most, as much as programs have open by default.
const MOST: usize = 1024;

/// A descriptor, and the events of `poll` that are waited for.
pub type Source = (i32, i16);

/// How a time-out is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `struct pollfd`s at an address.
    Poll(u64),
    /// Three sets of so many descriptors.
    Select(i32, [u64; 3]),
    /// By the returned value alone.
    Plain,
}

/// What a call waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// One of these to become ready, or for the time to be over: nanoseconds.
    Events {
        /// What for.
        sources: SmallVec<[Source; 4]>,
        /// Absent: for ever.
        timeout: Option<u64>,
        /// How a time-out is told.
        form: Form,
    },
    /// A child to end: as `wait4` names it, or by a descriptor of the process.
    Child {
        /// 0 and negative numbers as in `wait4`.
        pid: i32,
        /// Instead of a number.
        pidfd: Option<i32>,
    },
    /// A signal that this set does not block. Absent: the set that the thread has.
    Signal {
        /// A bit for each signal.
        blocked: Option<u64>,
        /// A set that is waited for, in place of one that is not blocked.
        wanted: Option<u64>,
        /// Absent: for ever.
        timeout: Option<u64>,
    },
}

impl Wait {
    /// One descriptor to become ready.
    pub fn ready(fd: i32, events: i16) -> Self {
        Self::Events { sources: smallvec![(fd, events)], timeout: None, form: Form::Plain }
    }

    /// Whether it only looks.
    pub fn is_a_look(&self) -> bool {
        self.timeout() == Some(0)
    }

    /// For how long, in nanoseconds, if not for ever.
    pub const fn timeout(&self) -> Option<u64> {
        match self {
            Self::Events { timeout, .. } | Self::Signal { timeout, .. } => *timeout,
            Self::Child { .. } => None,
        }
    }

    /// Decodes a call; `None` if it is no such wait. One with no time at all gets what there is.
    ///
    /// # Errors
    /// What the kernel would have said to a wrong address.
    pub fn decode(notification: &Notification, memory: &ClientMemory) -> io::Result<Option<Self>> {
        let a = notification.arguments;
        let fd = a[0] as i32;
        let milliseconds = |value: u64| match value as i32 {
            limit if limit < 0 => None,
            limit => Some(u64::from(limit.unsigned_abs()) * 1_000_000),
        };
        let timespec = |address: u64| -> io::Result<Option<u64>> {
            if address == 0 {
                return Ok(None);
            }
            let [seconds, nanoseconds] = memory.read_two_u64(address)?;
            Ok(Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)))
        };
        let set = |address: u64| if address == 0 { Ok(None) } else { memory.read_u64(address).map(Some) };
        let wait = match notification.number {
            libc::SYS_ppoll => Self::poll(memory, a[0], a[1], timespec(a[2])?)?,
            libc::SYS_pselect6 => Self::select(memory, fd, [a[1], a[2], a[3]], timespec(a[4])?)?,
            libc::SYS_epoll_pwait => Self::epoll(fd, milliseconds(a[3])),
            libc::SYS_epoll_pwait2 => Self::epoll(fd, timespec(a[3])?),
            libc::SYS_wait4 if a[2] as i32 & libc::WNOHANG == 0 => Self::Child { pid: fd, pidfd: None },
            libc::SYS_waitid if a[3] as i32 & libc::WNOHANG == 0 => match a[0] as u32 {
                libc::P_PID => Self::Child { pid: a[1] as i32, pidfd: None },
                libc::P_PIDFD => Self::Child { pid: -1, pidfd: Some(a[1] as i32) },
                _ => Self::Child { pid: -1, pidfd: None },
            },
            libc::SYS_rt_sigsuspend => Self::Signal { blocked: set(a[0])?, wanted: None, timeout: None },
            libc::SYS_rt_sigtimedwait => {
                Self::Signal { blocked: None, wanted: set(a[0])?, timeout: timespec(a[2])? }
            }
            number => return Self::decode_old(number, notification, memory),
        };
        Ok(Some(wait))
    }

    #[cfg(target_arch = "x86_64")]
    fn decode_old(
        number: i64,
        notification: &Notification,
        memory: &ClientMemory,
    ) -> io::Result<Option<Self>> {
        let a = notification.arguments;
        let milliseconds = |value: u64| u64::try_from(value as i32).ok().map(|limit| limit * 1_000_000);
        let wait = match number {
            libc::SYS_poll => Self::poll(memory, a[0], a[1], milliseconds(a[2]))?,
            libc::SYS_select => {
                let timeout = match a[4] {
                    0 => None,
                    address => Some(
                        memory.read_u64(address)?.saturating_mul(1_000_000_000)
                            + memory.read_u64(address + 8)?.saturating_mul(1000),
                    ),
                };
                Self::select(memory, a[0] as i32, [a[1], a[2], a[3]], timeout)?
            }
            libc::SYS_epoll_wait => Self::epoll(a[0] as i32, milliseconds(a[3])),
            libc::SYS_pause => Self::Signal { blocked: None, wanted: None, timeout: None },
            _ => return Ok(None),
        };
        Ok(Some(wait))
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn decode_old(_: i64, _: &Notification, _: &ClientMemory) -> io::Result<Option<Self>> {
        Ok(None)
    }

    fn epoll(fd: i32, timeout: Option<u64>) -> Self {
        Self::Events { sources: smallvec![(fd, libc::POLLIN)], timeout, form: Form::Plain }
    }

    fn poll(memory: &ClientMemory, address: u64, count: u64, timeout: Option<u64>) -> io::Result<Self> {
        let mut list: SmallVec<[u8; 64]> = smallvec![0; 8 * count.min(MOST as u64) as usize];
        memory.read(address, &mut list)?;
        let (entries, _) = list.as_chunks::<8>();
        let source = |&[a, b, c, d, e, f, ..]: &[u8; 8]| {
            (i32::from_ne_bytes([a, b, c, d]), i16::from_ne_bytes([e, f]))
        };
        let sources = entries.iter().map(source).collect();
        Ok(Self::Events { sources, timeout, form: Form::Poll(address) })
    }

    fn select(memory: &ClientMemory, count: i32, sets: [u64; 3], timeout: Option<u64>) -> io::Result<Self> {
        let mut sources: SmallVec<[Source; 4]> = SmallVec::new();
        for (address, events) in sets.into_iter().zip([libc::POLLIN, libc::POLLOUT, libc::POLLPRI]) {
            if address == 0 {
                continue;
            }
            for fd in 0..count.clamp(0, MOST as i32) {
                let mut byte = [0];
                memory.read(address + fd as u64 / 8, &mut byte)?;
                if byte[0] & 1 << (fd % 8) != 0 {
                    sources.push((fd, events));
                }
            }
        }
        Ok(Self::Events { sources, timeout, form: Form::Select(count, sets) })
    }

    /// Writes down that the time is over.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn tell_time_out(&self, memory: &ClientMemory) -> io::Result<()> {
        let Self::Events { sources, form, .. } = self else { return Ok(()) };
        match *form {
            Form::Poll(address) => {
                (0..sources.len() as u64).try_for_each(|index| memory.write(address + 8 * index + 6, &[0; 2]))
            }
            Form::Select(count, sets) => {
                let length = (count.clamp(0, MOST as i32) as usize).div_ceil(64) * 8;
                let there = sets.into_iter().filter(|address| *address != 0);
                there.into_iter().try_for_each(|address| memory.write(address, &vec![0; length]))
            }
            Form::Plain => Ok(()),
        }
    }

    /// What the call returns when the time is over.
    pub const fn timed_out(&self) -> Result<i64, i32> {
        match self {
            Self::Signal { .. } => Err(libc::EAGAIN),
            _ => Ok(0),
        }
    }
}
