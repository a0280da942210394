//! A call as a reader of manual pages would write it, with the names of files in place of numbers.

use std::fmt;

use super::call::{At, Call, LockKind, LockRequest, Target};
use super::socket::SocketAct;
use super::wait::Wait;

/// A call on a file of this name.
pub struct Shown<'c> {
    /// The call.
    pub call: &'c Call,
    /// What its descriptor leads to, where it takes one.
    pub name: Option<&'c str>,
}

/// The last component of a path: the directory is the same everywhere.
fn last(path: &[u8]) -> String {
    let name = path.rsplit(|byte| *byte == b'/').find(|name| !name.is_empty()).unwrap_or(path);
    String::from_utf8_lossy(name).into_owned()
}

fn name(at: &At) -> String {
    last(&at.path)
}

fn flags(flags: i32) -> String {
    let mut names = vec![match flags & libc::O_ACCMODE {
        libc::O_WRONLY => "O_WRONLY",
        libc::O_RDWR => "O_RDWR",
        _ => "O_RDONLY",
    }];
    for (flag, name) in [
        (libc::O_CREAT, "O_CREAT"),
        (libc::O_EXCL, "O_EXCL"),
        (libc::O_TRUNC, "O_TRUNC"),
        (libc::O_APPEND, "O_APPEND"),
        (libc::O_TMPFILE, "O_TMPFILE"),
        (libc::O_DIRECTORY, "O_DIRECTORY"),
        (libc::O_NOFOLLOW, "O_NOFOLLOW"),
    ] {
        // A file without a name is made in a directory.
        if flags & flag == flag && !(name == "O_DIRECTORY" && names.contains(&"O_TMPFILE")) {
            names.push(name);
        }
    }
    names.join("|")
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.name.unwrap_or("?");
        let target = |target: &Target| match target {
            Target::Fd(_) => file.to_owned(),
            Target::Path(at, _) => name(at),
        };
        match self.call {
            Call::Open { at, flags: how, .. } => write!(out, "open({}, {})", name(at), flags(*how)),
            Call::Close { .. } => write!(out, "close({file})"),
            Call::CloseRange { first, last, .. } => write!(out, "close_range({first}, {last})"),
            Call::Duplicate { .. } => write!(out, "dup({file})"),
            Call::Read { offset: None, .. } => write!(out, "read({file})"),
            Call::Read { offset: Some(at), .. } => write!(out, "pread({file}, at {at})"),
            Call::Write { from, offset, .. } => {
                let bytes: usize = from.iter().map(|span| span.length).sum();
                match offset {
                    None => write!(out, "write({file}, {bytes} bytes)"),
                    Some(at) => write!(out, "pwrite({file}, {bytes} bytes, at {at})"),
                }
            }
            Call::Seek { offset, .. } => write!(out, "lseek({file}, {offset})"),
            Call::Truncate { target: what, length } => write!(out, "truncate({}, {length})", target(what)),
            Call::Allocate { length, .. } => write!(out, "fallocate({file}, {length})"),
            Call::Sync { .. } => write!(out, "fsync({file})"),
            Call::Stat { target: what, .. } => write!(out, "stat({})", target(what)),
            Call::Access { at, .. } => write!(out, "access({})", name(at)),
            Call::ReadLink { at, .. } => write!(out, "readlink({})", name(at)),
            Call::Rename { from, to, .. } => write!(out, "rename({}, {})", name(from), name(to)),
            Call::Link { from, to, .. } => write!(out, "link({}, {})", name(from), name(to)),
            Call::Symlink { text, at } => write!(out, "symlink({}, {})", last(text), name(at)),
            Call::Unlink { at, directory: false } => write!(out, "unlink({})", name(at)),
            Call::Unlink { at, directory: true } => write!(out, "rmdir({})", name(at)),
            Call::MakeDirectory { at, .. } => write!(out, "mkdir({})", name(at)),
            Call::MakeNode { at, .. } => write!(out, "mknod({})", name(at)),
            Call::Attribute { target: what, changes, .. } => {
                let how = if *changes { "change" } else { "read" };
                write!(out, "{how} an attribute of {}", target(what))
            }
            Call::List { .. } => write!(out, "getdents({file})"),
            Call::ChangeMode { target: what, mode } => write!(out, "chmod({}, {mode:o})", target(what)),
            Call::ChangeOwner { target: what } => write!(out, "chown({})", target(what)),
            Call::SetTimes { target: what, .. } => write!(out, "utimens({})", target(what)),
            Call::Lock { kind, request, wait, .. } => {
                let how = match request {
                    LockRequest::Exclusive => "exclusive",
                    LockRequest::Shared => "shared",
                    LockRequest::Unlock => "unlock",
                    LockRequest::Query => "query",
                };
                let call = match kind {
                    LockKind::Flock => "flock",
                    LockKind::Posix => "fcntl lock",
                    LockKind::OpenFile => "OFD lock",
                };
                let at_once = if *wait || *request == LockRequest::Unlock { "" } else { ", without waiting" };
                write!(out, "{call}({file}, {how}{at_once})")
            }
            Call::Map { .. } => write!(out, "mmap({file})"),
            Call::Futex { operation, .. } if operation & 0x7f == libc::FUTEX_WAKE => {
                write!(out, "an end of the critical section")
            }
            Call::Futex { .. } => write!(out, "wait for another thread"),
            Call::Sleep { nanoseconds, absolute: false, .. } => {
                write!(out, "sleep for {:?}", std::time::Duration::from_nanos(*nanoseconds))
            }
            Call::Sleep { .. } => write!(out, "sleep"),
            Call::ChangeDirectory { target: what } => write!(out, "chdir({})", target(what)),
            Call::GetPid { .. } => write!(out, "getpid()"),
            Call::Spawn { flags } if flags & libc::CLONE_THREAD as u64 != 0 => write!(out, "a new thread"),
            Call::Spawn { .. } => write!(out, "fork"),
            Call::Execute => write!(out, "exec"),
            Call::Wait(Wait::Child { .. }) => write!(out, "wait for a child"),
            Call::Wait(Wait::Events { sources, timeout: Some(limit), .. }) if sources.is_empty() => {
                write!(out, "sleep for {:?}", std::time::Duration::from_nanos(*limit))
            }
            Call::Wait(wait @ (Wait::Signal { .. } | Wait::Events { .. })) => {
                let signal = matches!(wait, Wait::Signal { .. });
                write!(out, "wait for {}", if signal { "a signal" } else { "a pipe or socket" })?;
                match wait.timeout() {
                    Some(limit) => write!(out, ", at most {:?}", std::time::Duration::from_nanos(limit)),
                    None => Ok(()),
                }
            }
            Call::Socket(call) => match &call.act {
                SocketAct::Bind { at: Some(at) } => write!(out, "bind({})", name(at)),
                SocketAct::Bind { at: None } => write!(out, "bind"),
                SocketAct::Connect { at: Some(at) } => write!(out, "connect({})", name(at)),
                SocketAct::Connect { at: None } => write!(out, "connect"),
                SocketAct::Listen { .. } => write!(out, "listen({file})"),
                SocketAct::Accept { .. } => write!(out, "accept({file})"),
                SocketAct::Send { from, .. } => {
                    let bytes: usize = from.iter().map(|span| span.length).sum();
                    write!(out, "send({file}, {bytes} bytes)")
                }
                SocketAct::Receive { .. } => write!(out, "receive({file})"),
                SocketAct::Shutdown { .. } => write!(out, "shutdown({file})"),
            },
            Call::Timer(_) => write!(out, "a timer"),
            Call::Random { length, .. } => write!(out, "{length} random bytes"),
            Call::ThreadKill { pid, tid, signal } => write!(out, "tgkill({pid}, {tid}, {signal})"),
            Call::Kill { pid, signal } => write!(out, "kill({pid}, {signal})"),
            Call::Other { number, .. } => write!(out, "system call {number} on {file}"),
            Call::Exit { group: true } => write!(out, "exit"),
            Call::Exit { group: false } => write!(out, "end of a thread"),
            Call::Yield => write!(out, "sched_yield()"),
            Call::Clock { .. } | Call::TimeOfDay { .. } | Call::Time { .. } => write!(out, "what time it is"),
            Call::SetUmask { mask } => write!(out, "umask({mask:03o})"),
        }
    }
}
