//! Waiting at the gate with an end: a client that is gone cannot come there, and the kernel does not
//! always say so.
//!
//! A thread looks whether the supervisor is still in the wait in which it was a while ago, and only
//! then interrupts it by a signal: a signal in the middle of any other call on the gate could lose
//! an answer. For the same reason all other signals are blocked in the supervisor's thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

use crate::process::Undisturbed;

/// A wait that is longer is interrupted.
const PERIOD: Duration = Duration::from_millis(50);
/// Nothing else uses this signal here, and its default is to be ignored.
const SIGNAL: Signal = Signal::SIGURG;

/// Interrupts long waits of the thread that made it, until it is dropped.
#[derive(Debug)]
pub struct Watchdog {
    watched: Arc<Watched>,
    thread: Option<JoinHandle<()>>,
    before: SigSet,
}

#[derive(Debug, Default)]
struct Watched {
    /// Odd while the supervisor waits; changes with every wait.
    waits: AtomicU64,
    over: AtomicBool,
}

impl Watchdog {
    /// Begins to watch the calling thread.
    pub fn begin() -> Self {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(|| {
            extern "C" fn nothing(_: libc::c_int) {}
            // SAFETY: the handler does nothing; without SA_RESTART a call that waits is broken off.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
                libc::sigaction(SIGNAL as libc::c_int, &raw const action, std::ptr::null_mut());
            }
        });
        let watched = Arc::new(Watched::default());
        // SAFETY: takes nothing.
        let (pid, tid) = unsafe { (libc::getpid(), libc::gettid()) };
        let seen = Arc::clone(&watched);
        let thread = std::thread::spawn(move || {
            let _undisturbed = Undisturbed::begin();
            let mut last = 0;
            while !seen.over.load(Ordering::Relaxed) {
                std::thread::park_timeout(PERIOD);
                let now = seen.waits.load(Ordering::Relaxed);
                if now == last && now % 2 == 1 {
                    // SAFETY: takes plain numbers; the thread lives, since it joins this one.
                    unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, SIGNAL as libc::c_int) };
                }
                last = now;
            }
        });
        // After the thread was made: somebody has to hear Ctrl-C.
        let mut all = SigSet::all();
        all.remove(SIGNAL);
        let mut before = SigSet::empty();
        // It cannot fail with these arguments.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&all), Some(&mut before));
        Self { watched, thread: Some(thread), before }
    }

    /// Waits for something, interrupted when it takes long.
    pub fn watch<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.watched.waits.fetch_add(1, Ordering::Relaxed);
        let done = wait();
        self.watched.waits.fetch_add(1, Ordering::Relaxed);
        done
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.watched.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic.
            let _ = thread.join();
        }
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}
