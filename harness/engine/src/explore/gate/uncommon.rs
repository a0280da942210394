//! Calls that are not followed, and what they could do to files that is seen by nobody: copies within
//! the kernel, descriptors that come from elsewhere, other ways to name a file, other meanings of
//! names. And timers of the kernel's own, which end in real time.
//!
//! Few programs make them on files that several processes share. That one did is told, instead of a
//! verdict that knows nothing of it. Copies from file to file are refused instead, as kernels and file systems do that
//! do not have them: `cat`, `cp` and the libraries of most languages then read and write.
//!
//! Not covered: memory that processes share without a file, System V's and POSIX's queues and semaphores,
//! and what takes the rights of an administrator on a whole machine (`swapon`, `acct`, `quotactl`).

use std::io;

use smallvec::{SmallVec, smallvec};

use super::call::{At, Target};
use super::listener::Notification;
use super::memory::ClientMemory;
use super::timer::CLOCKS_OF_TIMERS;

/// Flags of `preadv2` and `pwritev2` that change nothing that others see.
const HARMLESS: u64 = (libc::RWF_HIPRI | libc::RWF_DSYNC | libc::RWF_SYNC) as u64;
/// Descriptors in one message at most (`SCM_MAX_FD`).
const PASSED_MAX: u64 = 253;
const CLOSE_RANGE_UNSHARE: u64 = 2;
/// `linux/fs.h`: what shares the blocks of another file.
const FICLONE: u32 = 0x4004_9409;
const FICLONERANGE: u32 = 0x4020_940d;

/// What a call that is not followed is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncommon {
    /// Its name.
    pub name: &'static str,
    /// The files that it works on.
    pub files: SmallVec<[Target; 2]>,
    /// Whether it could be about any file at all.
    pub anyhow: bool,
    /// Whether time that passes outside of the gate brings what follows.
    pub in_real_time: bool,
    /// What it is answered, where programs are known to do without it.
    pub refusal: Option<i32>,
}

impl Uncommon {
    /// What a call is about; `None` for those that are followed.
    ///
    /// # Errors
    /// What the kernel would have said to a wrong address.
    pub fn look(notification: &Notification, memory: &ClientMemory) -> io::Result<Option<Self>> {
        let a = notification.arguments;
        let fd = |index: usize| Target::Fd(a[index] as i32);
        let path = |directory: i32, address: u64| -> io::Result<Target> {
            let mut path = Vec::with_capacity(128);
            if address != 0 {
                memory.read_text(address, &mut path)?;
            }
            if path.is_empty() && directory >= 0 {
                return Ok(Target::Fd(directory));
            }
            Ok(Target::Path(At { directory, path }, true))
        };
        let on =
            |name, files| Ok(Some(Self { name, files, anyhow: false, in_real_time: false, refusal: None }));
        let refused = |name, files, errno| {
            Ok(Some(Self { name, files, anyhow: false, in_real_time: false, refusal: Some(errno) }))
        };
        let elsewhere = |name, anyhow| {
            Ok(Some(Self { name, files: SmallVec::new(), anyhow, in_real_time: !anyhow, refusal: None }))
        };
        let anyhow = |name| elsewhere(name, true);
        let in_real_time = |name| elsewhere(name, false);
        if !notification.native {
            return Ok(None);
        }
        match notification.number {
            libc::SYS_copy_file_range => refused("copy_file_range", smallvec![fd(0), fd(2)], libc::ENOSYS),
            libc::SYS_splice => on("splice", smallvec![fd(0), fd(2)]),
            libc::SYS_sendfile => refused("sendfile", smallvec![fd(0), fd(1)], libc::EINVAL),
            libc::SYS_ioctl => match a[1] as u32 {
                FICLONE => refused("a clone", smallvec![fd(0), fd(2)], libc::EOPNOTSUPP),
                // The source is in memory, at the beginning of what describes the range.
                FICLONERANGE => {
                    let from = Target::Fd(memory.read_u64(a[2])? as i32);
                    refused("a clone", smallvec![fd(0), from], libc::EOPNOTSUPP)
                }
                _ => on("ioctl", smallvec![fd(0)]),
            },
            libc::SYS_preadv2 if a[5] & !HARMLESS != 0 => on("preadv2 with flags", smallvec![fd(0)]),
            libc::SYS_pwritev2 if a[5] & !HARMLESS != 0 => on("pwritev2 with flags", smallvec![fd(0)]),
            libc::SYS_openat2 if memory.read_u64(a[2] + 16)? != 0 => {
                on("openat2 with rules for its path", smallvec![path(a[0] as i32, a[1])?])
            }
            libc::SYS_faccessat2 if a[3] as i32 & libc::AT_EMPTY_PATH != 0 => {
                on("faccessat2 of a descriptor", smallvec![path(a[0] as i32, a[1])?])
            }
            libc::SYS_name_to_handle_at => on("name_to_handle_at", smallvec![path(a[0] as i32, a[1])?]),
            libc::SYS_inotify_add_watch => on("inotify_add_watch", smallvec![path(libc::AT_FDCWD, a[1])?]),
            libc::SYS_fanotify_mark => on("fanotify_mark", smallvec![path(a[3] as i32, a[4])?]),
            libc::SYS_sendmsg => on("a message with descriptors", passed(memory, a[1])?),
            libc::SYS_close_range if a[2] & CLOSE_RANGE_UNSHARE != 0 => anyhow("close_range (unshare)"),
            libc::SYS_unshare if a[0] as i32 & APART != 0 => anyhow("unshare"),
            // In which namespace of process ids its children live changes no path.
            libc::SYS_setns if a[1] as i32 != libc::CLONE_NEWPID => anyhow("setns"),
            libc::SYS_chroot => anyhow("chroot"),
            libc::SYS_pivot_root => anyhow("pivot_root"),
            libc::SYS_mount => anyhow("mount"),
            libc::SYS_umount2 => anyhow("umount"),
            libc::SYS_move_mount => anyhow("move_mount"),
            libc::SYS_open_tree => anyhow("open_tree"),
            libc::SYS_mount_setattr => anyhow("mount_setattr"),
            libc::SYS_open_by_handle_at => anyhow("open_by_handle_at"),
            libc::SYS_pidfd_getfd => anyhow("pidfd_getfd"),
            libc::SYS_process_vm_readv => anyhow("process_vm_readv"),
            libc::SYS_process_vm_writev => anyhow("process_vm_writev"),
            libc::SYS_ptrace => anyhow("ptrace"),
            libc::SYS_setitimer if a[0] as i32 != libc::ITIMER_REAL && is_set(memory, a[1])? => {
                in_real_time("a timer of processor time (setitimer)")
            }
            libc::SYS_timer_create if !CLOCKS_OF_TIMERS.contains(&(a[0] as i32)) => {
                in_real_time("a timer of processor time (timer_create)")
            }
            libc::SYS_timer_create
                if a[1] != 0 && memory.read_u32(a[1] + 12)? as i32 == libc::SIGEV_THREAD_ID =>
            {
                in_real_time("a timer whose signal goes to one thread (timer_create)")
            }
            libc::SYS_timerfd_settime if is_set(memory, a[2])? => {
                in_real_time("a timer that is read (timerfd)")
            }
            _ => Ok(None),
        }
    }
}

/// What a thread must share with the others of its process.
const APART: i32 = libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_NEWNS;

/// Whether a timer is set by this `itimerval` or `itimerspec`, and not switched off.
fn is_set(memory: &ClientMemory, address: u64) -> io::Result<bool> {
    Ok(address != 0 && memory.read_two_u64(address + 16)? != [0, 0])
}

/// The descriptors that a message carries to another process.
fn passed(memory: &ClientMemory, address: u64) -> io::Result<SmallVec<[Target; 2]>> {
    // struct msghdr ends in the address and the length of what is not data, and flags.
    let (at, length) = (memory.read_u64(address + 32)?, memory.read_u64(address + 40)?);
    let mut files = SmallVec::new();
    // struct cmsghdr: length, level, type; then the data, all aligned to 8 bytes.
    let mut here = 0;
    while here + 16 <= length {
        let size = memory.read_u64(at + here)?;
        let [level, kind] = [8, 12].map(|offset| memory.read_u32(at + here + offset));
        if (level? as i32, kind? as i32) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            let count = (size.saturating_sub(16) / 4).min(PASSED_MAX);
            for index in 0..count {
                files.push(Target::Fd(memory.read_u32(at + here + 16 + 4 * index)? as i32));
            }
        }
        if size < 16 {
            break;
        }
        here = here.saturating_add(size.next_multiple_of(8));
    }
    Ok(files)
}
