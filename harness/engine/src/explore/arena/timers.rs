//! The timers of processes whose end is a signal: they go by the virtual clock and are the supervisor's, and the
//! kernel never hears of them. What comes of their end is the matter of `alarm`.
//!
//! A child has none of its parent's; an `exec` leaves only that of `alarm`.

use smallvec::SmallVec;

use super::process::Process;
use super::time::start_of;
use super::{Arena, ArenaError};
use crate::explore::gate::{Answer, Notification, TimerCall, TimerForm, TimerId};

/// There are no signals above.
const LAST_SIGNAL: i32 = 64;

/// A timer of a process.
#[derive(Clone, Copy, Debug)]
struct Timer {
    id: TimerId,
    clock: i32,
    /// 0: there is none.
    signal: i32,
    /// What comes with it.
    value: u64,
    /// When it ends, in nanoseconds since the execution began, if it is set.
    until_ns: Option<u64>,
    /// After how many nanoseconds again; 0: it does not.
    interval_ns: u64,
}

/// The timers of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    all: SmallVec<[Timer; 1]>,
    made: i32,
}

impl Timers {
    /// When the first signal comes.
    pub fn next_ns(&self) -> Option<u64> {
        self.all.iter().filter(|timer| timer.signal > 0).filter_map(|timer| timer.until_ns).min()
    }

    /// The process executes another program: only the timer of `alarm` goes on.
    pub fn leave_for_exec(&mut self) {
        self.all.retain(|timer| timer.id == TimerId::Alarm);
    }

    fn get(&mut self, id: TimerId) -> Option<&mut Timer> {
        self.all.iter_mut().find(|timer| timer.id == id)
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The signals that are due at this time.
    pub fn ring(&mut self, now_ns: u64) -> SmallVec<[Ring; 1]> {
        let mut due = SmallVec::new();
        for timer in &mut self.all {
            let Some(until_ns) = timer.until_ns.filter(|&until_ns| until_ns <= now_ns) else { continue };
            // Those that were missed come to one.
            let next = |interval_ns: u64| {
                let missed = (now_ns - until_ns) / interval_ns;
                until_ns.saturating_add(interval_ns.saturating_mul(missed.saturating_add(1)))
            };
            timer.until_ns = (timer.interval_ns > 0).then(|| next(timer.interval_ns));
            if timer.signal > 0 {
                let made = match timer.id {
                    TimerId::Alarm => None,
                    TimerId::Made(id) => Some((id, timer.value)),
                };
                due.push(Ring { signal: timer.signal, made });
            }
        }
        due
    }
}

/// A signal that a timer sends, and the value that comes with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    pub signal: i32,
    /// Which timer, and what it was made with; none for that of `alarm`.
    pub made: Option<(i32, u64)>,
}

impl Arena<'_> {
    /// A call about a timer.
    pub(super) fn set_timer(
        &mut self,
        index: usize,
        notification: &Notification,
        call: &TimerCall,
    ) -> Result<(), ArenaError> {
        let process = self.threads[index].process;
        let answer = self.timer_answer(index, call);
        if self.processes[process].timers.next_ns().is_some() {
            self.note_company(process);
        }
        self.pass(index, notification, answer)
    }

    fn timer_answer(&mut self, index: usize, call: &TimerCall) -> Answer {
        let now_ns = self.threads[index].nap.clock_ns;
        let process = &mut self.processes[self.threads[index].process];
        let fault = Answer::Errno(libc::EFAULT);
        match *call {
            TimerCall::Make { signal, .. } if !(0..=LAST_SIGNAL).contains(&signal) => {
                Answer::Errno(libc::EINVAL)
            }
            TimerCall::Make { clock, signal, value, place } => {
                let id = process.timers.made;
                if process.memory.write(place, &id.to_ne_bytes()).is_err() {
                    return fault;
                }
                process.timers.made += 1;
                let id = TimerId::Made(id);
                let timer = Timer { id, clock, signal, value, until_ns: None, interval_ns: 0 };
                process.timers.all.push(timer);
                Answer::Value(0)
            }
            TimerCall::Set { id, end_ns, interval_ns, absolute, before } => {
                if id == TimerId::Alarm && process.timers.get(id).is_none() {
                    let (clock, signal) = (libc::CLOCK_MONOTONIC, libc::SIGALRM);
                    process.timers.all.push(Timer {
                        id,
                        clock,
                        signal,
                        value: 0,
                        until_ns: None,
                        interval_ns: 0,
                    });
                }
                let Some(timer) = process.timers.get(id) else { return Answer::Errno(libc::EINVAL) };
                let old = *timer;
                let until_ns = match absolute {
                    true => end_ns.saturating_sub(start_of(timer.clock)).max(now_ns),
                    false => now_ns.saturating_add(end_ns),
                };
                (timer.until_ns, timer.interval_ns) = ((end_ns > 0).then_some(until_ns), interval_ns);
                process.tell_timer(old, now_ns, before).unwrap_or(fault)
            }
            TimerCall::Ask { id, into } => {
                let none = Timer { id, clock: 0, signal: 0, value: 0, until_ns: None, interval_ns: 0 };
                let timer = process.timers.get(id).map(|timer| *timer);
                match timer.or_else(|| (id == TimerId::Alarm).then_some(none)) {
                    Some(timer) => process.tell_timer(timer, now_ns, into).unwrap_or(fault),
                    None => Answer::Errno(libc::EINVAL),
                }
            }
            TimerCall::Delete(id) => {
                let known = process.timers.all.len();
                process.timers.all.retain(|timer| timer.id != TimerId::Made(id));
                if process.timers.all.len() < known { Answer::Value(0) } else { Answer::Errno(libc::EINVAL) }
            }
            TimerCall::Overruns(id) => match process.timers.get(TimerId::Made(id)) {
                Some(_) => Answer::Value(0),
                None => Answer::Errno(libc::EINVAL),
            },
        }
    }
}

impl Process {
    /// Tells what is left of a timer. None: at a wrong address.
    fn tell_timer(&self, timer: Timer, now_ns: u64, form: TimerForm) -> Option<Answer> {
        // What is left is not rounded to nothing, unless nobody is told of the end.
        let least = u64::from(timer.signal > 0);
        let left_ns = timer.until_ns.map_or(0, |until_ns| until_ns.saturating_sub(now_ns).max(least));
        let told = |unit: u64| {
            let left_ns = left_ns.next_multiple_of(unit);
            let words =
                [timer.interval_ns, left_ns].map(|ns| [ns / 1_000_000_000, ns % 1_000_000_000 / unit]);
            words.concat().iter().flat_map(|word| word.to_ne_bytes()).collect::<SmallVec<[u8; 32]>>()
        };
        let (address, bytes) = match form {
            TimerForm::Returned if left_ns > 0 => {
                return Some(Answer::Value(
                    (left_ns.saturating_add(500_000_000) / 1_000_000_000).max(1) as i64
                ));
            }
            TimerForm::Returned | TimerForm::Microseconds(0) | TimerForm::Nanoseconds(0) => {
                return Some(Answer::Value(0));
            }
            TimerForm::Microseconds(address) => (address, told(1000)),
            TimerForm::Nanoseconds(address) => (address, told(1)),
        };
        self.memory.write(address, &bytes).is_ok().then_some(Answer::Value(0))
    }
}
