//! Who starts processes for the clients of an agent.
//!
//! The kernel delivers the death signal of a child when the *thread* that started it ends, not the
//! process. Clients come and go with the threads of an execution while their workers stay, so
//! processes are started by a thread that lives as long as the agent: its end is the agent's end. Behind a gate
//! the threads of the clients themselves live as long ([`start_from_here`]).
//!
//! What a child inherits from a thread (CPU affinity, seccomp filters) is therefore what the thread
//! that opened the agent's first client had at that moment. Who confines an agent does it before. Behind a gate it is
//! what the client's own thread has.
//!
//! Children that live in a nest end with it, and need no death signal. Without one the C library starts them
//! by `vfork`, which copies nothing of the agent.

use std::cell::Cell;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Signal, getpid, set_parent_process_death_signal};

use crate::process::{enter_nest, quiet};

/// A command, and where to put what became of it.
type Order = (Command, Sender<io::Result<Child>>);

/// The starter and the process that it is a thread of: one that was forked has no other threads.
static STARTER: Mutex<Option<(u32, Sender<Order>)>> = Mutex::new(None);

/// How a thread starts processes.
#[derive(Clone, Copy)]
enum Place {
    /// The starter does it in its place.
    Elsewhere,
    /// It is going to itself, for the first time.
    Here,
    /// It has done so; its children live in a nest, or do not.
    Known { nested: bool },
}

thread_local! {
    static PLACE: Cell<Place> = const { Cell::new(Place::Elsewhere) };
}

/// From now on the calling thread, which lives as long as its process, starts processes itself. Once it has, it
/// can start no other threads.
pub fn start_from_here() {
    PLACE.set(Place::Here);
}

/// Whether the calling thread stands behind a gate.
pub(super) fn is_gated() -> bool {
    !matches!(PLACE.get(), Place::Elsewhere)
}

/// Starts the process.
///
/// # Errors
/// What the kernel said to `fork` or `execve`, or that there can be no thread.
pub(super) fn start(command: Command) -> io::Result<Child> {
    let nested = match PLACE.get() {
        Place::Elsewhere => return start_elsewhere(command),
        Place::Here => enter()?,
        Place::Known { nested } => nested,
    };
    PLACE.set(Place::Known { nested });
    spawn(command, nested)
}

/// Has the children of the calling thread live in the nest, if there is one.
fn enter() -> io::Result<bool> {
    enter_nest().map_err(|error| io::Error::new(error.kind(), format!("entering a namespace: {error}")))
}

fn spawn(mut command: Command, nested: bool) -> io::Result<Child> {
    if !nested {
        let agent = getpid();
        let before_exec = move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The agent may have died before the line above took effect.
            if quiet::getppid() == agent.as_raw_nonzero().get() {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(libc::ESRCH))
            }
        };
        #[expect(unsafe_code, reason = "the standard library knows no other way to set the death signal")]
        // SAFETY: between fork and exec the closure makes two system calls, allocates nothing and
        // takes no lock.
        unsafe {
            command.pre_exec(before_exec);
        }
    }
    command.spawn()
}

fn start_elsewhere(command: Command) -> io::Result<Child> {
    let (reply, child) = channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    orders()?.send((command, reply)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

fn orders() -> io::Result<Sender<Order>> {
    let mut starter = STARTER.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if let Some((owner, orders)) = &*starter
        && *owner == process
    {
        return Ok(orders.clone());
    }
    let (orders, inbox) = channel::<Order>();
    std::thread::Builder::new().name("starter".to_owned()).spawn(move || {
        let nested = enter();
        for (command, reply) in inbox {
            let started = match &nested {
                Ok(nested) => spawn(command, *nested),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            // Nobody waits any more: then nobody would reap the child either.
            if let Err(unwanted) = reply.send(started)
                && let Ok(mut child) = unwanted.0
            {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    })?;
    *starter = Some((process, orders.clone()));
    Ok(orders)
}
