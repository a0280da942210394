//! From the numbers of a system call and the client's memory to a [`Call`].
//!
//! The many forms of a call (`open`, `creat`, `openat`, …) become one. Paths are copied; buffers
//! stay where they are, since most calls are answered without looking into them.

use std::io;

use smallvec::{SmallVec, smallvec};

use super::call::{At, Call, LockKind, LockRequest, Span, StatForm, Target};
use super::listener::Notification;
use super::memory::ClientMemory;
use super::socket::SocketCall;
use super::timer::TimerCall;
use super::wait::Wait;

const AT_FDCWD: i32 = libc::AT_FDCWD;

impl Call {
    /// Decodes a call.
    ///
    /// # Errors
    /// What the kernel would have said to a wrong address: the client gets it as its answer.
    pub fn decode(notification: &Notification, memory: &ClientMemory) -> io::Result<Self> {
        let a = notification.arguments;
        let int = |index: usize| a[index] as i32;
        let word = |index: usize| a[index] as u32;
        let text = |address: u64| -> io::Result<Vec<u8>> {
            let mut path = Vec::with_capacity(128);
            memory.read_text(address, &mut path)?;
            Ok(path)
        };
        let at = |directory: i32, address: u64| Ok::<_, io::Error>(At { directory, path: text(address)? });
        let here = |index: usize| at(AT_FDCWD, a[index]);
        let span = |index: usize| Span { address: a[index], length: a[index + 1] as usize };
        let spans = || -> io::Result<SmallVec<[Span; 1]>> {
            // More than the kernel's own limit would be refused by it.
            let count = (a[2] as usize).min(libc::UIO_MAXIOV as usize);
            let mut spans = SmallVec::new();
            for index in 0..count as u64 {
                let address = memory.read_u64(a[1] + 16 * index)?;
                let length = memory.read_u64(a[1] + 16 * index + 8)? as usize;
                spans.push(Span { address, length });
            }
            Ok(spans)
        };
        // An empty path with AT_EMPTY_PATH is the descriptor itself.
        let target = |directory: i32, address: u64, flags: i32| -> io::Result<Target> {
            let path = if address == 0 { Vec::new() } else { text(address)? };
            if path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 && directory >= 0 {
                return Ok(Target::Fd(directory));
            }
            Ok(Target::Path(At { directory, path }, flags & libc::AT_SYMLINK_NOFOLLOW == 0))
        };
        let follow = |flags: i32| flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        if !notification.native {
            return Ok(Self::Other { number: notification.number, fd: None });
        }
        Ok(match notification.number {
            libc::SYS_openat => Self::Open { at: at(int(0), a[1])?, flags: int(2), mode: word(3) },
            libc::SYS_openat2 => {
                let (flags, mode) = (memory.read_u64(a[2])? as i32, memory.read_u64(a[2] + 8)? as u32);
                Self::Open { at: at(int(0), a[1])?, flags, mode }
            }
            libc::SYS_close => Self::Close { fd: int(0) },
            // Nothing is closed yet.
            libc::SYS_close_range if word(2) & libc::CLOSE_RANGE_CLOEXEC != 0 => {
                Self::Other { number: notification.number, fd: None }
            }
            libc::SYS_close_range => Self::CloseRange { first: word(0), last: word(1), flags: word(2) },
            libc::SYS_dup => Self::Duplicate { fd: int(0), to: None, not_below: 0, close_on_exec: false },
            libc::SYS_dup3 => Self::Duplicate {
                fd: int(0),
                to: Some(int(1)),
                not_below: 0,
                close_on_exec: int(2) & libc::O_CLOEXEC != 0,
            },
            libc::SYS_fcntl => Self::control(int(0), int(1), a[2], memory)?,
            libc::SYS_read => Self::Read { fd: int(0), into: smallvec![span(1)], offset: None },
            libc::SYS_pread64 => Self::Read { fd: int(0), into: smallvec![span(1)], offset: Some(a[3]) },
            libc::SYS_readv => Self::Read { fd: int(0), into: spans()?, offset: None },
            libc::SYS_preadv => Self::Read { fd: int(0), into: spans()?, offset: Some(a[3]) },
            libc::SYS_preadv2 => {
                Self::Read { fd: int(0), into: spans()?, offset: (a[3] as i64 >= 0).then_some(a[3]) }
            }
            libc::SYS_write => Self::Write { fd: int(0), from: smallvec![span(1)], offset: None },
            libc::SYS_pwrite64 => Self::Write { fd: int(0), from: smallvec![span(1)], offset: Some(a[3]) },
            libc::SYS_writev => Self::Write { fd: int(0), from: spans()?, offset: None },
            libc::SYS_pwritev => Self::Write { fd: int(0), from: spans()?, offset: Some(a[3]) },
            libc::SYS_pwritev2 => {
                Self::Write { fd: int(0), from: spans()?, offset: (a[3] as i64 >= 0).then_some(a[3]) }
            }
            libc::SYS_lseek => Self::Seek { fd: int(0), offset: a[1] as i64, whence: int(2) },
            libc::SYS_ftruncate => Self::Truncate { target: Target::Fd(int(0)), length: a[1] as i64 },
            libc::SYS_truncate => {
                Self::Truncate { target: Target::Path(here(0)?, true), length: a[1] as i64 }
            }
            libc::SYS_fallocate => {
                Self::Allocate { fd: int(0), mode: int(1), offset: a[2] as i64, length: a[3] as i64 }
            }
            libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_sync_file_range | libc::SYS_syncfs => {
                Self::Sync { fd: int(0) }
            }
            libc::SYS_flock => Self::flock(int(0), int(1)),
            libc::SYS_fstat => Self::Stat { target: Target::Fd(int(0)), form: StatForm::Stat, buffer: a[1] },
            libc::SYS_newfstatat => {
                Self::Stat { target: target(int(0), a[1], int(3))?, form: StatForm::Stat, buffer: a[2] }
            }
            libc::SYS_statx => Self::Stat {
                target: target(int(0), a[1], int(2))?,
                form: StatForm::Statx(word(3)),
                buffer: a[4],
            },
            libc::SYS_faccessat => Self::Access { at: at(int(0), a[1])?, mode: int(2), follow: true },
            libc::SYS_faccessat2 => {
                Self::Access { at: at(int(0), a[1])?, mode: int(2), follow: follow(int(3)) }
            }
            libc::SYS_readlinkat => Self::ReadLink { at: at(int(0), a[1])?, buffer: span(2) },
            libc::SYS_renameat2 => {
                Self::Rename { from: at(int(0), a[1])?, to: at(int(2), a[3])?, flags: word(4) }
            }
            libc::SYS_linkat => Self::Link { from: at(int(0), a[1])?, to: at(int(2), a[3])?, flags: int(4) },
            libc::SYS_symlinkat => Self::Symlink { text: text(a[0])?, at: at(int(1), a[2])? },
            libc::SYS_unlinkat => {
                Self::Unlink { at: at(int(0), a[1])?, directory: int(2) & libc::AT_REMOVEDIR != 0 }
            }
            libc::SYS_mkdirat => Self::MakeDirectory { at: at(int(0), a[1])?, mode: word(2) },
            libc::SYS_mknodat => Self::MakeNode { at: at(int(0), a[1])?, mode: word(2) },
            libc::SYS_getdents64 => {
                Self::List { fd: int(0), into: Some(Span { address: a[1], length: word(2) as usize }) }
            }
            libc::SYS_fchmod => Self::ChangeMode { target: Target::Fd(int(0)), mode: word(1) },
            libc::SYS_fchmodat => {
                Self::ChangeMode { target: Target::Path(at(int(0), a[1])?, true), mode: word(2) }
            }
            libc::SYS_fchmodat2 => Self::ChangeMode { target: target(int(0), a[1], int(3))?, mode: word(2) },
            number @ (libc::SYS_setxattr | libc::SYS_removexattr) => {
                Self::Attribute { number, target: Target::Path(here(0)?, true), changes: true }
            }
            number @ (libc::SYS_lsetxattr | libc::SYS_lremovexattr) => {
                Self::Attribute { number, target: Target::Path(here(0)?, false), changes: true }
            }
            number @ (libc::SYS_fsetxattr | libc::SYS_fremovexattr) => {
                Self::Attribute { number, target: Target::Fd(int(0)), changes: true }
            }
            number @ (libc::SYS_getxattr | libc::SYS_listxattr | libc::SYS_statfs) => {
                Self::Attribute { number, target: Target::Path(here(0)?, true), changes: false }
            }
            number @ (libc::SYS_lgetxattr | libc::SYS_llistxattr) => {
                Self::Attribute { number, target: Target::Path(here(0)?, false), changes: false }
            }
            number @ (libc::SYS_fgetxattr | libc::SYS_flistxattr) => {
                Self::Attribute { number, target: Target::Fd(int(0)), changes: false }
            }
            libc::SYS_fchown => Self::ChangeOwner { target: Target::Fd(int(0)) },
            libc::SYS_fchownat => Self::ChangeOwner { target: target(int(0), a[1], int(4))? },
            libc::SYS_utimensat if a[1] == 0 => Self::SetTimes { target: Target::Fd(int(0)), times: a[2] },
            libc::SYS_utimensat => Self::SetTimes { target: target(int(0), a[1], int(3))?, times: a[2] },
            libc::SYS_chdir => Self::ChangeDirectory { target: Target::Path(here(0)?, true) },
            libc::SYS_fchdir => Self::ChangeDirectory { target: Target::Fd(int(0)) },
            libc::SYS_umask => Self::SetUmask { mask: word(0) },
            libc::SYS_mmap => Self::Map { fd: int(4), shared: int(3) & libc::MAP_TYPE != libc::MAP_PRIVATE },
            libc::SYS_futex => Self::Futex {
                address: a[0],
                operation: int(1),
                value: word(2),
                timeout: a[3],
                third: word(5),
            },
            libc::SYS_nanosleep => Self::Sleep {
                clock: libc::CLOCK_MONOTONIC,
                nanoseconds: timespec(memory, a[0])?,
                absolute: false,
            },
            libc::SYS_clock_nanosleep => Self::Sleep {
                clock: int(0),
                nanoseconds: timespec(memory, a[2])?,
                absolute: int(1) & libc::TIMER_ABSTIME != 0,
            },
            libc::SYS_sched_yield => Self::Yield,
            libc::SYS_clock_gettime => Self::Clock { clock: int(0), buffer: a[1] },
            libc::SYS_gettimeofday => Self::TimeOfDay { buffer: a[0] },
            libc::SYS_exit => Self::Exit { group: false },
            libc::SYS_exit_group => Self::Exit { group: true },
            libc::SYS_getpid => Self::GetPid { parent: false },
            libc::SYS_getppid => Self::GetPid { parent: true },
            libc::SYS_clone => Self::Spawn { flags: a[0] },
            libc::SYS_clone3 => Self::Spawn { flags: memory.read_u64(a[0])? },
            libc::SYS_execve | libc::SYS_execveat => Self::Execute,
            libc::SYS_getrandom => Self::Random { buffer: a[0], length: a[1] },
            libc::SYS_tgkill => Self::ThreadKill { pid: int(0), tid: int(1), signal: int(2) },
            libc::SYS_kill => Self::Kill { pid: int(0), signal: int(1) },
            number => {
                if let Some(call) = SocketCall::decode(notification, memory)? {
                    return Ok(Self::Socket(call));
                }
                if let Some(call) = TimerCall::decode(notification, memory)? {
                    return Ok(Self::Timer(call));
                }
                match Wait::decode(notification, memory)? {
                    Some(wait) => Self::Wait(wait),
                    None => Self::decode_old(number, notification, memory)?,
                }
            }
        })
    }

    /// The calls that only older architectures have.
    #[cfg(target_arch = "x86_64")]
    fn decode_old(number: i64, notification: &Notification, memory: &ClientMemory) -> io::Result<Self> {
        let a = notification.arguments;
        let int = |index: usize| a[index] as i32;
        let word = |index: usize| a[index] as u32;
        let here = |index: usize| -> io::Result<At> {
            let mut path = Vec::with_capacity(128);
            memory.read_text(a[index], &mut path)?;
            Ok(At { directory: AT_FDCWD, path })
        };
        let path = |follow: bool| Ok::<_, io::Error>(Target::Path(here(0)?, follow));
        Ok(match number {
            libc::SYS_open => Self::Open { at: here(0)?, flags: int(1), mode: word(2) },
            libc::SYS_creat => {
                let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
                Self::Open { at: here(0)?, flags, mode: word(1) }
            }
            libc::SYS_dup2 => {
                Self::Duplicate { fd: int(0), to: Some(int(1)), not_below: 0, close_on_exec: false }
            }
            libc::SYS_stat => Self::Stat { target: path(true)?, form: StatForm::Stat, buffer: a[1] },
            libc::SYS_lstat => Self::Stat { target: path(false)?, form: StatForm::Stat, buffer: a[1] },
            libc::SYS_access => Self::Access { at: here(0)?, mode: int(1), follow: true },
            libc::SYS_readlink => {
                Self::ReadLink { at: here(0)?, buffer: Span { address: a[1], length: a[2] as usize } }
            }
            libc::SYS_rename => Self::Rename { from: here(0)?, to: here(1)?, flags: 0 },
            libc::SYS_renameat => {
                let (from, to) = (At { directory: int(0), ..here(1)? }, At { directory: int(2), ..here(3)? });
                Self::Rename { from, to, flags: 0 }
            }
            libc::SYS_link => Self::Link { from: here(0)?, to: here(1)?, flags: 0 },
            libc::SYS_symlink => Self::Symlink { text: here(0)?.path, at: here(1)? },
            libc::SYS_unlink => Self::Unlink { at: here(0)?, directory: false },
            libc::SYS_rmdir => Self::Unlink { at: here(0)?, directory: true },
            libc::SYS_mknod => Self::MakeNode { at: here(0)?, mode: word(1) },
            libc::SYS_mkdir => Self::MakeDirectory { at: here(0)?, mode: word(1) },
            libc::SYS_getdents => Self::List { fd: int(0), into: None },
            libc::SYS_chmod => Self::ChangeMode { target: path(true)?, mode: word(1) },
            libc::SYS_chown => Self::ChangeOwner { target: path(true)? },
            libc::SYS_lchown => Self::ChangeOwner { target: path(false)? },
            // Their times have other forms. Programs that still use them set the present.
            libc::SYS_utime | libc::SYS_utimes => Self::SetTimes { target: path(true)?, times: 0 },
            libc::SYS_futimesat => {
                let target = Target::Path(At { directory: int(0), ..here(1)? }, true);
                Self::SetTimes { target, times: 0 }
            }
            libc::SYS_time => Self::Time { buffer: a[0] },
            libc::SYS_fork => Self::Spawn { flags: 0 },
            libc::SYS_vfork => Self::Spawn { flags: (libc::CLONE_VFORK | libc::CLONE_VM) as u64 },
            _ => Self::other(notification),
        })
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn decode_old(number: i64, notification: &Notification, memory: &ClientMemory) -> io::Result<Self> {
        let a = notification.arguments;
        if number == libc::SYS_renameat {
            let at = |index: usize| -> io::Result<At> {
                let mut path = Vec::with_capacity(128);
                memory.read_text(a[index + 1], &mut path)?;
                Ok(At { directory: a[index] as i32, path })
            };
            return Ok(Self::Rename { from: at(0)?, to: at(2)?, flags: 0 });
        }
        Ok(Self::other(notification))
    }

    /// A call without a meaning of its own. Those whose first argument is a descriptor say so.
    fn other(notification: &Notification) -> Self {
        let pathless = !matches!(
            notification.number,
            libc::SYS_wait4
                | libc::SYS_waitid
                | libc::SYS_ppoll
                | libc::SYS_unshare
                | libc::SYS_chroot
                | libc::SYS_pivot_root
                | libc::SYS_mount
                | libc::SYS_umount2
                | libc::SYS_process_vm_readv
                | libc::SYS_process_vm_writev
                | libc::SYS_ptrace
                | libc::SYS_pselect6
        );
        let fd = pathless.then_some(notification.arguments[0] as i32);
        Self::Other { number: notification.number, fd }
    }

    fn flock(fd: i32, operation: i32) -> Self {
        let request = match operation & !libc::LOCK_NB {
            libc::LOCK_SH => LockRequest::Shared,
            libc::LOCK_EX => LockRequest::Exclusive,
            _ => LockRequest::Unlock,
        };
        let wait = operation & libc::LOCK_NB == 0;
        Self::Lock { fd, kind: LockKind::Flock, request, wait, start: 0, length: 0 }
    }

    fn control(fd: i32, command: i32, argument: u64, memory: &ClientMemory) -> io::Result<Self> {
        let (kind, query, wait) = match command {
            libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => {
                return Ok(Self::Duplicate {
                    fd,
                    to: None,
                    not_below: argument as i32,
                    close_on_exec: command == libc::F_DUPFD_CLOEXEC,
                });
            }
            libc::F_GETLK => (LockKind::Posix, true, false),
            libc::F_SETLK => (LockKind::Posix, false, false),
            libc::F_SETLKW => (LockKind::Posix, false, true),
            libc::F_OFD_GETLK => (LockKind::OpenFile, true, false),
            libc::F_OFD_SETLK => (LockKind::OpenFile, false, false),
            libc::F_OFD_SETLKW => (LockKind::OpenFile, false, true),
            // Whether a descriptor is closed on exec is its process's own affair, and so are questions.
            libc::F_GETFL | libc::F_GETFD | libc::F_SETFD => {
                return Ok(Self::Other { number: libc::SYS_fcntl, fd: None });
            }
            _ => return Ok(Self::Other { number: libc::SYS_fcntl, fd: Some(fd) }),
        };
        // struct flock: l_type and l_whence, 16 bits each; then, aligned, l_start and l_len.
        let kinds = memory.read_u32(argument)?;
        let (start, length) = (memory.read_u64(argument + 8)? as i64, memory.read_u64(argument + 16)? as i64);
        let request = match ((kinds & 0xffff) as i32, query) {
            (_, true) => LockRequest::Query,
            (libc::F_RDLCK, _) => LockRequest::Shared,
            (libc::F_WRLCK, _) => LockRequest::Exclusive,
            _ => LockRequest::Unlock,
        };
        if kinds >> 16 != 0 && (start, length) != (0, 0) {
            // Relative to the offset or the end: taken for the whole file, which can only add order.
            return Ok(Self::Lock { fd, kind, request, wait, start: 0, length: 0 });
        }
        Ok(Self::Lock { fd, kind, request, wait, start, length })
    }
}

/// A `struct timespec`, or a minute where there is none.
fn timespec(memory: &ClientMemory, address: u64) -> io::Result<u64> {
    let (seconds, nanoseconds) = (memory.read_u64(address)?, memory.read_u64(address + 8)?);
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}
