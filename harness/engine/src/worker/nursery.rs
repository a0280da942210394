//! The nursery: a process that has begun once, and of which clients that stand behind gates are copies.
//!
//! To begin takes milliseconds: the program is loaded, and the specification read. Where a client is
//! killed in every execution, that is most of what an execution takes. So one process begins, with one
//! thread and no gate, and forks whenever the supervisor wants a client. The copy is the supervisor's own
//! child (`CLONE_PARENT`), which it signals and reaps like any other.
//!
//! To install a gate takes the kernel nearly as long as to fork: it translates the filter, and runs it for every call
//! that there is. A client that is born again and again has a cradle, a copy that stands behind the gate of that
//! client and makes all its calls quietly ([`crate::process::quiet`]): what is born there inherits the gate.
//!
//! Not covered: sessions without gates, in which processes begin one by one.

use std::hash::RandomState;
use std::io;
use std::sync::atomic::Ordering;

use super::control::{Control, NurseryLine};
use super::thrift;
use crate::explore::gate;
use crate::process::{die_with_parent, quiet};

/// What a copy is.
pub(super) struct Copy {
    /// The process that it is to be.
    pub index: usize,
    /// Whether it is to be the cradle of that one.
    pub is_cradle: bool,
}

/// Forks whenever it is asked to, for ever. Returns in the copy.
pub(super) fn raise(control: &Control<'_>, parent: u32) -> io::Result<Copy> {
    gate::prepare();
    thrift::economize();
    // To ask the processor what it can do takes long on virtual machines; copies need not ask.
    #[cfg(target_arch = "x86_64")]
    std::hint::black_box(std::is_x86_feature_detected!("avx2"));
    // Nor need they draw the keys of their hash tables, or give their thread a name.
    std::hint::black_box((RandomState::new(), std::thread::current()));
    let line = control.nursery();
    let seen = line.orders_so_far();
    line.born().store(NurseryLine::READY, Ordering::SeqCst);
    let mut is_enlarged = false;
    fork_on_demand(&line, seen, parent, |copy| {
        // Of what is born in a cradle there will be many.
        if copy.is_cradle && !std::mem::replace(&mut is_enlarged, true) {
            thrift::enlarge();
        }
    })
}

/// The same for a cradle, which stands behind its gate: what is done in it before, no copy has to do.
pub(super) fn rock(line: &NurseryLine<'_>, seen: u32, parent: u32) -> io::Result<()> {
    fork_on_demand(line, seen, parent, |_| {}).map(drop)
}

/// Forks whenever there are other orders than those seen, having done something before. Returns in the copy, with
/// what was wanted.
fn fork_on_demand(
    line: &NurseryLine<'_>,
    mut seen: u32,
    parent: u32,
    mut before: impl FnMut(&Copy),
) -> io::Result<Copy> {
    loop {
        seen = line.wait_for_order(seen);
        let (index, is_cradle) = line.wish();
        let wanted = Copy { index, is_cradle };
        before(&wanted);
        match fork_for_parent()? {
            Some(pid) => line.born().store(pid, Ordering::SeqCst),
            None => {
                die_with_parent(parent)?;
                rustix::process::setpgid(None, None)?;
                return Ok(wanted);
            }
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
    #[cfg(target_arch = "x86_64")]
    let last = (place, 0);
    #[cfg(not(target_arch = "x86_64"))]
    let last = (0, place);
    // SAFETY: without CLONE_VM this is fork: the copy goes on here, on a stack of its own. There is one
    // thread, so nobody else holds a lock in what is copied.
    let pid = unsafe { quiet::call(libc::SYS_clone, [flags as u64, 0, 0, last.0, last.1]) }?;
    Ok((pid != 0).then_some(pid as u32))
}
