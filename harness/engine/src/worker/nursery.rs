//! The nursery: a process that has begun once, and of which clients that stand behind gates are copies.
//!
//! To begin takes milliseconds: the program is loaded, and the specification read. Where a client is
//! killed in every execution, that is most of what an execution takes. So one process begins, with one
//! thread and no gate, and forks whenever the supervisor wants a client. The copy is the supervisor's own
//! child (`CLONE_PARENT`), which it signals and reaps like any other.
//!
//! Not covered: sessions without gates, in which processes begin one by one.

use std::io;
use std::sync::atomic::Ordering;

use super::control::NurseryLine;
use crate::explore::gate;
use crate::process::die_with_parent;

/// Forks whenever it is asked to, for ever. Returns in the copy, which is the process with this index.
pub(super) fn raise(line: &NurseryLine<'_>, parent: u32) -> io::Result<usize> {
    gate::prepare();
    // To ask the processor what it can do takes long on virtual machines; copies need not ask.
    #[cfg(target_arch = "x86_64")]
    std::hint::black_box(std::is_x86_feature_detected!("avx2"));
    let mut seen = line.orders_so_far();
    line.born().store(NurseryLine::READY, Ordering::SeqCst);
    loop {
        seen = line.wait_for_order(seen);
        let index = line.wanted().load(Ordering::SeqCst) as usize;
        match fork_for_parent() {
            Ok(Some(pid)) => line.born().store(pid, Ordering::SeqCst),
            Ok(None) => {
                die_with_parent(parent)?;
                rustix::process::setpgid(None, None)?;
                return Ok(index);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Forks so that the new process is a sibling of this one. `None` in the new one.
fn fork_for_parent() -> io::Result<Option<u32>> {
    const PR_GET_TID_ADDRESS: libc::c_int = 40;
    // The C library keeps the number of its thread where the kernel was told to clear it when the thread
    // ends. There the copy has its own. Where the kernel does not say, it keeps the old one, which matters only to
    // who signals himself.
    let mut place: u64 = 0;
    // SAFETY: the kernel writes one pointer to `place`.
    let told = unsafe { libc::prctl(PR_GET_TID_ADDRESS, &raw mut place) } == 0 && place != 0;
    let own = libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    let flags = libc::CLONE_PARENT | libc::SIGCHLD | if told { own } else { 0 };
    let none = std::ptr::null::<u8>();
    #[cfg(target_arch = "x86_64")]
    let last = (place, none);
    #[cfg(not(target_arch = "x86_64"))]
    let last = (none, place);
    // SAFETY: without CLONE_VM this is fork: the copy goes on here, on a stack of its own. There is one
    // thread, so nobody else holds a lock in what is copied.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags as i64, none, none, last.0, last.1) };
    match pid {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some(pid as u32)),
        _ => Err(io::Error::last_os_error()),
    }
}
