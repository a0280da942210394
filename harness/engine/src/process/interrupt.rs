//! Signals: how a run hears that it should stop, and how a client makes sure that it does not
//! outlive its supervisor.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::quiet;

/// Whether somebody asked the run to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for SIGINT, SIGTERM and SIGHUP. The first one asks the run to stop and to write
    /// what it has; a second one ends the process at once (the janitor cleans up).
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn listen() -> io::Result<Self> {
        let interrupt = Self::default();
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupt.0))?;
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(interrupt)
    }

    /// Whether the run should stop.
    pub fn raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks the run to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks the kernel to kill this process when its parent dies, and ends it at once if the parent is
/// dead already.
///
/// # Errors
/// When the kernel refuses.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // It may stand behind a gate already, at which nobody listens yet.
    if quiet::getppid().cast_unsigned() != parent {
        std::process::exit(0);
    }
    Ok(())
}
