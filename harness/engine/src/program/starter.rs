//! The thread that starts processes for all clients of an agent.
//!
//! The kernel delivers the death signal of a child when the *thread* that started it ends, not the
//! process. Clients come and go with the threads of an execution while their workers stay, so
//! processes are started by a thread that lives as long as the agent: its end is the agent's end.
//!
//! What a child inherits from a thread (CPU affinity, seccomp filters) is therefore what the thread
//! that opened the agent's first client had at that moment. Who confines an agent does it before.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use crate::process::enter_nest;

/// A command, and where to put what became of it.
type Order = (Command, Sender<io::Result<Child>>);

/// The starter and the process that it is a thread of: one that was forked has no other threads.
static STARTER: Mutex<Option<(u32, Sender<Order>)>> = Mutex::new(None);

/// Starts the process.
///
/// # Errors
/// What the kernel said to `fork` or `execve`, or that there can be no thread.
pub(super) fn start(command: Command) -> io::Result<Child> {
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
        let nested = enter_nest();
        for (mut command, reply) in inbox {
            if let Err(error) = &nested {
                let told = io::Error::new(error.kind(), format!("entering a namespace: {error}"));
                // Nobody waits any more: then nobody is missing it.
                let _ = reply.send(Err(told));
                continue;
            }
            // Nobody waits any more: then nobody would reap the child either.
            if let Err(unwanted) = reply.send(command.spawn())
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
