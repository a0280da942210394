//! Alarms: the ends of timers ([`super::timers`]), which cut waits short.
//!
//! Programs limit by them how long they wait: `flock -w`, `timeout`, and whoever calls `alarm` before a lock. A thread that
//! waits while a timer of its process is set waits until that ends at most, by the rules of naps (`nap`). Then it is
//! sent the signal, and what that does to the wait the kernel decides: the call is let go, and fails or begins anew. Who
//! has come past the end otherwise, in a pause, is sent it before its next step. Where the signal is
//! blocked or ignored, the wait goes on.
//!
//! Not covered, and told: alarms at futexes, at sockets of the state directory, and in processes of several threads; a
//! lock that is converted, which an alarm cuts short. A timer that ends again and again lets an execution of who waits for
//! ever go on for ever, until that is told.

use smallvec::SmallVec;

use super::copies::Awaited;
use super::futex::FUTEX_COMMANDS;
use super::locks::Range;
use super::perform::{Effect, Ending, lock_object};
use super::thread::{Pending, Thread};
use super::timers::Ring;
use super::told::Told;
use super::{Arena, ArenaError, State};
use crate::explore::access::{Access, Mode, ObjectKind, Potential};
use crate::explore::gate::{Answer, Call, LockKind, LockRequest, Notification, Wait};

/// When a wait is over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limit {
    /// After how many nanoseconds, if ever.
    pub after_ns: Option<u64>,
    /// An alarm comes then, after which the wait itself might go on.
    pub is_alarm: bool,
}

impl Arena<'_> {
    /// Of several threads of a process nobody knows which one hears an alarm.
    pub(super) fn note_company(&mut self, process: usize) {
        let alive = |thread: &&Thread| thread.process == process && !matches!(thread.state, State::Gone);
        if self.threads.iter().filter(alive).count() > 1 {
            self.note_escape(
                "a process of several threads sets a timer: which of them gets its signal is not followed",
            );
        }
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
                Call::Wait(wait) => !self.has_come(index, wait, &Awaited::default()),
                Call::Sleep { .. } => true,
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
        if let Call::Lock { fd, kind, request, start, length, .. } = call
            && let Some(file) = self.processes[process].descriptors.get(*fd)
        {
            // Had the lock been given back before, it would have it.
            let object = lock_object(file.inode, *kind == LockKind::Flock);
            let mode = if *request == LockRequest::Shared { Mode::AcquireShared } else { Mode::Acquire };
            footprint.push(Access { object, mode: Mode::Read });
            potential.push(Potential::Certain(Access { object, mode }));
            let owner = Self::owner(process, file, *kind);
            if self.locks.holds(file.inode, *kind, owner, Range::new(*start, *length)).is_some() {
                self.note_escape("an alarm cut short the conversion of a lock, which is not followed");
            }
        }
        self.note_company(process);
        let ending = if self.send_what_is_due(index, until_ns)? {
            footprint.extend(std::mem::take(&mut self.released));
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
    pub(super) fn cut_short(&self, index: usize, notification: &Notification, call: &Call) -> Answer {
        let Call::Sleep { absolute, .. } = call else { return Answer::Continue };
        if *absolute {
            return Answer::Errno(libc::EINTR);
        }
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
                effect.potential.push(Potential::Certain(*access));
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

    /// Sends a thread the signals of all timers of its process that have ended by now. Whether the process dies of one.
    fn send_what_is_due(&mut self, index: usize, now_ns: u64) -> Result<bool, ArenaError> {
        let process = self.threads[index].process;
        let told = Told::of_thread(self.threads[index].tid);
        let rings = self.processes[process].timers.ring(now_ns);
        for ring in &rings {
            self.send_alarm(index, *ring);
        }
        let dies = rings.iter().any(|ring| told.dies_of(ring.signal));
        if dies {
            // Not every signal that ends a process ends a call that stands at the gate.
            self.processes[process].strike();
            self.end_descendant(process)?;
        }
        Ok(dies)
    }

    fn send_alarm(&mut self, index: usize, Ring { signal, made }: Ring) {
        let Thread { tid, process, .. } = self.threads[index];
        let pid = self.processes[process].pid();
        // struct siginfo: the signal, an errno, where it comes from; then the timer, how often it ended
        // besides, and its value.
        let mut told = [0_u32; 32];
        (told[0], told[2]) = (signal.cast_unsigned(), libc::SI_TIMER.cast_unsigned());
        if let Some((id, value)) = made {
            told[4] = id.cast_unsigned();
            let [low, high] = [value as u32, (value >> 32) as u32];
            (told[6], told[7]) = if cfg!(target_endian = "big") { (high, low) } else { (low, high) };
        }
        // SAFETY: the kernel reads 128 bytes.
        let sent = unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signal, told.as_ptr()) };
        if sent != 0 {
            let error = std::io::Error::last_os_error();
            self.note_escape(&format!("the signal of a timer could not be sent ({error})"));
        }
        self.signals_family(process);
    }

    /// A thread is about to take a step: it may have come past the end of a timer, in a pause, and hears that before.
    /// Whether its process dies of it.
    pub(super) fn hear_what_is_overdue(&mut self, index: usize) -> Result<bool, ArenaError> {
        let process = self.threads[index].process;
        let Some(next_ns) = self.processes[process].timers.next_ns() else { return Ok(false) };
        // As far as it was suspended, that has moved its clock on.
        let life = self.life(self.client_index(index)).into_iter().collect();
        self.pass_time(index, &life);
        let now_ns = self.threads[index].nap.clock_ns;
        if next_ns >= now_ns {
            return Ok(false);
        }
        self.send_what_is_due(index, now_ns)
    }

    /// Alarms that a call will not hear.
    pub(super) fn note_deafness(&mut self, index: usize, call: &Call) {
        let process = self.threads[index].process;
        if self.processes[process].timers.next_ns().is_none() {
            return;
        }
        let waits = match call {
            Call::Futex { operation, .. } => {
                matches!(operation & FUTEX_COMMANDS, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET)
            }
            Call::Socket(call) => call.wait().is_some(),
            Call::Wait(wait) => !self.wires_of(process, wait).is_empty(),
            _ => false,
        };
        if waits {
            self.note_escape(
                "a client waits at a futex or a socket while a timer is set, whose end is not followed there",
            );
        }
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
