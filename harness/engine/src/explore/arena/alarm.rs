//! Alarms: timers whose end is a signal, which cuts a wait short.
//!
//! Programs limit by them how long they wait: `flock -w`, `timeout`, and whoever calls `alarm` before a lock. Timers go
//! by the virtual clock and are the supervisor's: the kernel never hears of them. A thread that waits while a timer of
//! its process is set waits until that ends at most, by the rules of naps (`nap`). Then the process is sent the signal,
//! and what that does to the wait the kernel decides: the call is let go, and fails or begins anew.
//!
//! Where the signal is blocked or ignored, the wait goes on.
//!
//! Not covered: a timer that ends while its process does not wait is heard of when it waits next; at a futex, and at a
//! socket of the state directory, none is heard of, which is told.

use smallvec::SmallVec;

use super::perform::{Effect, Ending, lock_object};
use super::thread::{Pending, Thread};
use super::time::start_of;
use super::told::Told;
use super::{Arena, ArenaError, State};
use crate::explore::access::{Access, Mode, ObjectKind, Potential};
use crate::explore::gate::{
    Answer, Call, LockKind, LockRequest, Notification, TimerCall, TimerForm, TimerId, Wait,
};

/// A timer of a process.
#[derive(Clone, Copy, Debug)]
struct Timer {
    id: TimerId,
    clock: i32,
    /// 0: there is none.
    signal: i32,
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
    fn next_ns(&self) -> Option<u64> {
        self.all.iter().filter(|timer| timer.signal > 0).filter_map(|timer| timer.until_ns).min()
    }

    /// The process executes another program: only the timer of `alarm` goes on.
    pub fn leave_for_exec(&mut self) {
        self.all.retain(|timer| timer.id == TimerId::Alarm);
    }

    fn get(&mut self, id: TimerId) -> Option<&mut Timer> {
        self.all.iter_mut().find(|timer| timer.id == id)
    }

    /// The signals that are due at this time.
    fn ring(&mut self, now_ns: u64) -> SmallVec<[i32; 1]> {
        let mut due = SmallVec::new();
        for timer in &mut self.all {
            let Some(until_ns) = timer.until_ns.filter(|&until_ns| until_ns <= now_ns) else { continue };
            // Those that were missed come to one.
            let next = |interval_ns: u64| until_ns + ((now_ns - until_ns) / interval_ns + 1) * interval_ns;
            timer.until_ns = (timer.interval_ns > 0).then(|| next(timer.interval_ns));
            if timer.signal > 0 {
                due.push(timer.signal);
            }
        }
        due
    }
}

/// When a wait is over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limit {
    /// After how many nanoseconds, if ever.
    pub after_ns: Option<u64>,
    /// An alarm comes then, after which the wait itself might go on.
    pub is_alarm: bool,
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
        if self.processes[process].timers.next_ns().is_some() && self.threads_in(process) > 1 {
            self.note_escape(
                "a process of several threads sets a timer: which of them gets its signal is not followed",
            );
        }
        self.pass(index, notification, answer)
    }

    fn timer_answer(&mut self, index: usize, call: &TimerCall) -> Answer {
        let now_ns = self.threads[index].nap.clock_ns;
        let process = &mut self.processes[self.threads[index].process];
        let fault = Answer::Errno(libc::EFAULT);
        match *call {
            TimerCall::Make { clock, signal, place } => {
                let id = process.timers.made;
                if process.memory.write(place, &id.to_ne_bytes()).is_err() {
                    return fault;
                }
                process.timers.made += 1;
                let timer = Timer { id: TimerId::Made(id), clock, signal, until_ns: None, interval_ns: 0 };
                process.timers.all.push(timer);
                Answer::Value(0)
            }
            TimerCall::Set { id, end_ns, interval_ns, absolute, before } => {
                if id == TimerId::Alarm && process.timers.get(id).is_none() {
                    let (clock, signal) = (libc::CLOCK_MONOTONIC, libc::SIGALRM);
                    process.timers.all.push(Timer { id, clock, signal, until_ns: None, interval_ns: 0 });
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
                let none = Timer { id, clock: 0, signal: 0, until_ns: None, interval_ns: 0 };
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

    fn threads_in(&self, process: usize) -> usize {
        let alive = |thread: &&Thread| thread.process == process && !matches!(thread.state, State::Gone);
        self.threads.iter().filter(alive).count()
    }

    /// The limit of a wait that has this one of its own, in nanoseconds from now on.
    pub(super) fn limit_with_alarm(&self, index: usize, own: Option<u64>) -> Limit {
        let thread = &self.threads[index];
        let next_ns = self.processes[thread.process].timers.next_ns();
        let alarm = next_ns.map(|next_ns| next_ns.saturating_sub(thread.nap.clock_ns));
        match alarm.filter(|&alarm| own.is_none_or(|own| alarm < own)) {
            Some(alarm) => Limit { after_ns: Some(alarm), is_alarm: true },
            None => Limit { after_ns: own, is_alarm: false },
        }
    }

    /// A thread has come to the gate to wait for a lock: until the alarm, if there is one.
    pub(super) fn wait_for_lock(&mut self, index: usize) {
        let State::AtGate(Pending { call: Call::Lock { wait: true, .. }, .. }) = self.threads[index].state
        else {
            return;
        };
        let Limit { after_ns, is_alarm } = self.limit_with_alarm(index, None);
        if is_alarm {
            self.lie_down(index, libc::CLOCK_MONOTONIC, after_ns, false);
            self.wait_as_for_an_answer(index);
        }
        let nap = &mut self.threads[index].nap;
        (nap.timed, nap.is_alarm) = (is_alarm, is_alarm);
    }

    /// Whether a thread has to wait for a lock that somebody else has.
    pub(super) fn lacks_lock(&self, index: usize, call: &Call) -> bool {
        matches!(call, Call::Lock { wait: true, .. }) && !self.lock_is_free(self.threads[index].process, call)
    }

    /// Whether the wait that a thread makes a step of is over because of an alarm.
    pub(super) fn is_cut_short(&self, index: usize, call: &Call) -> bool {
        self.threads[index].nap.is_alarm
            && match call {
                Call::Lock { .. } => self.lacks_lock(index, call),
                Call::Sleep { .. } | Call::Wait(_) => true,
                _ => false,
            }
    }

    /// An alarm comes while a thread waits.
    pub(super) fn ring(
        &mut self,
        index: usize,
        notification: &Notification,
        call: &Call,
    ) -> Result<Effect, ArenaError> {
        let until_ns = self.threads[index].nap.until_ns;
        let (mut footprint, mut potential) = self.end_nap(index, until_ns);
        let process = self.threads[index].process;
        if let Call::Lock { fd, kind, request, .. } = call
            && let Some(file) = self.processes[process].descriptors.get(*fd)
        {
            // Had the lock been given back before, it would have it.
            let object = lock_object(file.inode, *kind == LockKind::Flock);
            let mode = if *request == LockRequest::Shared { Mode::AcquireShared } else { Mode::Acquire };
            footprint.push(Access { object, mode: Mode::Read });
            potential.push(Potential::Certain(Access { object, mode }));
        }
        if self.threads_in(process) > 1 {
            self.note_escape("a timer of a process of several threads ended: which of them gets its signal is not followed");
        }
        let told = Told::of_thread(self.threads[index].tid);
        let signals = self.processes[process].timers.ring(until_ns);
        let kills = signals.iter().any(|&signal| told.dies_of(signal));
        for signal in signals {
            self.send_alarm(process, signal);
        }
        let ending = if kills {
            self.end_descendant(process)?;
            Ending::Gone
        } else if self.is_interrupted(index, call) {
            Ending::Answer(self.cut_short(index, notification, call))
        } else {
            Ending::Waits
        };
        Ok(Effect { footprint, potential, ending, yields: true })
    }

    /// What a call says that a signal has broken off: mostly the kernel says it. What is left of a sleep it does not
    /// know.
    fn cut_short(&self, index: usize, notification: &Notification, call: &Call) -> Answer {
        let Call::Sleep { absolute: false, .. } = call else { return Answer::Continue };
        let Thread { process, nap, .. } = &self.threads[index];
        let left_ns = nap.beyond_ns.unwrap_or(0).saturating_sub(nap.clock_ns);
        let words = [left_ns / 1_000_000_000, left_ns % 1_000_000_000];
        let rest = notification.arguments[if notification.number == libc::SYS_nanosleep { 1 } else { 3 }];
        let bytes: SmallVec<[u8; 16]> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let told = rest == 0 || self.processes[*process].memory.write(rest, &bytes).is_ok();
        Answer::Errno(if told { libc::EINTR } else { libc::EFAULT })
    }

    /// A thread has the lock that it has waited for until an alarm at most, or would have: the alarm might have come
    /// before, at any time or while another one was suspended.
    pub(super) fn might_have_rung(&mut self, index: usize, call: &Call, effect: &mut Effect) {
        if !matches!(call, Call::Lock { wait: true, .. }) || !self.threads[index].nap.is_alarm {
            return;
        }
        let client = self.client_index(index);
        if self.may_give_up(index) || self.others_may_pause(client) {
            let taken = |access: &&mut Access| {
                access.object.kind == ObjectKind::Lock
                    && matches!(access.mode, Mode::Acquire | Mode::AcquireShared)
            };
            for access in effect.footprint.iter_mut().filter(taken) {
                access.mode = Mode::Write;
                effect.potential.push(Potential::Certain(*access));
            }
        }
        self.might_have_paused(client, &mut effect.footprint, &mut effect.potential);
    }

    /// Whether a signal breaks off a wait.
    fn is_interrupted(&self, index: usize, call: &Call) -> bool {
        let blocked = match call {
            Call::Wait(Wait::Signal { blocked, wanted, .. }) => wanted.map(|wanted| !wanted).or(*blocked),
            _ => None,
        };
        Told::of_thread(self.threads[index].tid).due(blocked) != 0
    }

    fn send_alarm(&mut self, process: usize, signal: i32) {
        let pid = self.processes[process].pid();
        // SAFETY: zero is a value of every field.
        let mut told: libc::siginfo_t = unsafe { std::mem::zeroed() };
        (told.si_signo, told.si_code) = (signal, libc::SI_TIMER);
        // SAFETY: the kernel reads one structure.
        let sent = unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid, signal, &raw const told) };
        if sent != 0 {
            let error = std::io::Error::last_os_error();
            self.note_escape(&format!("the signal of a timer could not be sent ({error})"));
        }
        self.signals = true;
        self.stirs += 1;
    }

    /// A wait goes on that a signal did not break off.
    pub(super) fn wait_on(&mut self, index: usize, notification: Notification, call: Call) {
        let nap = &self.threads[index].nap;
        let own = nap.beyond_ns.map(|beyond_ns| beyond_ns.saturating_sub(nap.clock_ns));
        let Limit { after_ns, is_alarm } = self.limit_with_alarm(index, own);
        self.lie_down(index, libc::CLOCK_MONOTONIC, after_ns, false);
        let nap = &mut self.threads[index].nap;
        (nap.timed, nap.is_alarm) = (after_ns.is_some(), is_alarm);
        match &call {
            Call::Wait(wait) => self.rest(index, wait),
            Call::Lock { .. } => self.wait_as_for_an_answer(index),
            _ => {}
        }
        self.threads[index].state = State::AtGate(Pending::new(notification, call));
    }
}

impl super::process::Process {
    /// Tells what is left of a timer. None: at a wrong address.
    fn tell_timer(&self, timer: Timer, now_ns: u64, form: TimerForm) -> Option<Answer> {
        // What is left is not rounded to nothing.
        let left_ns = timer.until_ns.map_or(0, |until_ns| until_ns.saturating_sub(now_ns).max(1));
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
