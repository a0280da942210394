//! Calls about timers whose end is a signal: `alarm`, `setitimer`, and the timers of POSIX.
//!
//! Not covered, and told ([`super::uncommon`]): timers of processor time, those whose signal goes to one thread, and
//! those that are read from a descriptor.

use std::io;

use super::listener::Notification;
use super::memory::ClientMemory;

/// The clocks of timers that are followed.
pub const CLOCKS_OF_TIMERS: [i32; 6] = [
    libc::CLOCK_REALTIME,
    libc::CLOCK_MONOTONIC,
    libc::CLOCK_BOOTTIME,
    libc::CLOCK_TAI,
    libc::CLOCK_REALTIME_ALARM,
    libc::CLOCK_BOOTTIME_ALARM,
];

/// Which timer of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerId {
    /// That of `alarm` and `setitimer`.
    Alarm,
    /// One that the process has made.
    Made(i32),
}

/// How times are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerForm {
    /// Whole seconds, as the value that the call returns.
    Returned,
    /// `struct itimerval` at an address, which may be 0.
    Microseconds(u64),
    /// `struct itimerspec` at an address, which may be 0.
    Nanoseconds(u64),
}

/// A call about a timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimerCall {
    /// `timer_create`.
    Make {
        /// The clock that it goes by.
        clock: i32,
        /// The signal that comes at its end; 0: none does.
        signal: i32,
        /// What comes with the signal.
        value: u64,
        /// Where its number is told.
        place: u64,
    },
    /// A timer is set, or switched off, and what was left of it is told.
    Set {
        /// Which.
        id: TimerId,
        /// When it ends, in nanoseconds; 0: never.
        end_ns: u64,
        /// After how many nanoseconds it ends again and again; 0: it does not.
        interval_ns: u64,
        /// Whether the end is a point in time.
        absolute: bool,
        /// How what was left is told.
        before: TimerForm,
    },
    /// What is left is told.
    Ask {
        /// Of which.
        id: TimerId,
        /// How it is told.
        into: TimerForm,
    },
    /// `timer_delete`.
    Delete(i32),
    /// `timer_getoverrun`.
    Overruns(i32),
}

impl TimerCall {
    /// Decodes a call; `None` if it is about no timer that is followed.
    ///
    /// # Errors
    /// What the kernel would have said to a wrong address.
    pub fn decode(notification: &Notification, memory: &ClientMemory) -> io::Result<Option<Self>> {
        let a = notification.arguments;
        // An interval and a value, of two words each, the second of which counts so many nanoseconds.
        let times = |address: u64, unit: u64| -> io::Result<[u64; 2]> {
            let [[seconds, rest], [end_seconds, end_rest]] =
                [memory.read_two_u64(address)?, memory.read_two_u64(address + 16)?];
            let whole = |seconds: u64, rest: u64| {
                seconds.saturating_mul(1_000_000_000).saturating_add(rest.saturating_mul(unit))
            };
            Ok([whole(seconds, rest), whole(end_seconds, end_rest)])
        };
        let made = TimerId::Made(a[0] as i32);
        Ok(Some(match notification.number {
            libc::SYS_setitimer if a[0] as i32 == libc::ITIMER_REAL => {
                // Without a value it is switched off, as Linux has it.
                let [interval_ns, end_ns] = if a[1] == 0 { [0; 2] } else { times(a[1], 1000)? };
                let before = TimerForm::Microseconds(a[2]);
                Self::Set { id: TimerId::Alarm, end_ns, interval_ns, absolute: false, before }
            }
            libc::SYS_getitimer if a[0] as i32 == libc::ITIMER_REAL => {
                Self::Ask { id: TimerId::Alarm, into: TimerForm::Microseconds(a[1]) }
            }
            libc::SYS_timer_create => {
                // struct sigevent: a value, the signal, and what is done.
                let (signal, value) = match a[1] {
                    // Of a clock that is not followed nobody knows when it ends.
                    _ if !CLOCKS_OF_TIMERS.contains(&(a[0] as i32)) => (0, 0),
                    0 => (libc::SIGALRM, 0),
                    event if memory.read_u32(event + 12)? as i32 == libc::SIGEV_SIGNAL => {
                        (memory.read_u32(event + 8)? as i32, memory.read_u64(event)?)
                    }
                    _ => (0, 0),
                };
                Self::Make { clock: a[0] as i32, signal, value, place: a[2] }
            }
            libc::SYS_timer_settime => {
                let [interval_ns, end_ns] = times(a[2], 1)?;
                let absolute = a[1] as i32 & libc::TIMER_ABSTIME != 0;
                Self::Set { id: made, end_ns, interval_ns, absolute, before: TimerForm::Nanoseconds(a[3]) }
            }
            libc::SYS_timer_gettime => Self::Ask { id: made, into: TimerForm::Nanoseconds(a[1]) },
            libc::SYS_timer_delete => Self::Delete(a[0] as i32),
            libc::SYS_timer_getoverrun => Self::Overruns(a[0] as i32),
            number => return Ok(Self::decode_old(number, a)),
        }))
    }

    #[cfg(target_arch = "x86_64")]
    fn decode_old(number: i64, a: [u64; 6]) -> Option<Self> {
        (number == libc::SYS_alarm).then(|| Self::Set {
            id: TimerId::Alarm,
            end_ns: u64::from(a[0] as u32) * 1_000_000_000,
            interval_ns: 0,
            absolute: false,
            before: TimerForm::Returned,
        })
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn decode_old(_: i64, _: [u64; 6]) -> Option<Self> {
        None
    }
}
