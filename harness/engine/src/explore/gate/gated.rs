//! Which calls stop at the gate, and which are refused.
//!
//! Everything that could touch a file, wait, tell the time, begin or end a life, or bring something else
//! each time. What `mmap` and `ioctl` are asked decides of them, in the filter itself.

/// Calls that take a path or a descriptor of a file.
const FILES: &[libc::c_long] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_writev,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_truncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_getdents64,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_umask,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_statfs,
    libc::SYS_fchmodat2,
];

/// The older forms of them, which newer architectures never had.
#[cfg(target_arch = "x86_64")]
const OLD_FILES: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_dup2,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_getdents,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_FILES: &[libc::c_long] = &[libc::SYS_renameat];

/// Calls by which files could be reached in ways that are not followed ([`super::uncommon`]).
const UNCOMMON: &[libc::c_long] = &[
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_inotify_add_watch,
    libc::SYS_fanotify_mark,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
];

/// What `ioctl` is mostly asked, and says nothing of the bytes of a file: whether it is a terminal,
/// to be closed on exec, and to wait.
pub(super) const HARMLESS_REQUESTS: [u32; 5] = [
    libc::TCGETS as u32,
    libc::TIOCGWINSZ as u32,
    libc::FIOCLEX as u32,
    libc::FIONCLEX as u32,
    libc::FIONBIO as u32,
];

/// Calls that wait, or end a wait.
const WAITS: &[libc::c_long] = &[
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
];
#[cfg(target_arch = "x86_64")]
const OLD_WAITS: &[libc::c_long] = &[libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_wait, libc::SYS_pause];
#[cfg(not(target_arch = "x86_64"))]
const OLD_WAITS: &[libc::c_long] = &[];

/// Calls about timers.
const TIMERS: &[libc::c_long] = &[
    libc::SYS_setitimer,
    libc::SYS_getitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_delete,
    libc::SYS_timer_getoverrun,
    libc::SYS_timerfd_settime,
];
#[cfg(target_arch = "x86_64")]
const OLD_TIMERS: &[libc::c_long] = &[libc::SYS_alarm];
#[cfg(not(target_arch = "x86_64"))]
const OLD_TIMERS: &[libc::c_long] = &[];

/// Calls that begin or end threads and processes, or ask after them.
const LIVES: &[libc::c_long] = &[
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_kill,
    libc::SYS_tgkill,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_pidfd_send_signal,
    // The first call of a thread, by which it is noticed.
    libc::SYS_set_robust_list,
    libc::SYS_gettid,
];
#[cfg(target_arch = "x86_64")]
const OLD_LIVES: &[libc::c_long] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const OLD_LIVES: &[libc::c_long] = &[];

/// Calls that tell the time.
const CLOCKS: &[libc::c_long] = &[libc::SYS_clock_gettime, libc::SYS_gettimeofday];
#[cfg(target_arch = "x86_64")]
const OLD_CLOCKS: &[libc::c_long] = &[libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CLOCKS: &[libc::c_long] = &[];

/// Calls that bring something else each time.
const CHANCE: &[libc::c_long] = &[libc::SYS_getppid, libc::SYS_getrandom];

/// Who is behind a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client that is a strategy itself. It is told a number for its own.
    Strategy,
    /// A program, and the client that drives it. Their numbers are those of their namespace.
    Program,
}

/// Calls that would go past the gate altogether. Runtimes fall back where they do not exist.
pub(super) const REFUSED: &[libc::c_long] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_setup,
    libc::SYS_io_submit,
    SYS_SETXATTRAT,
    SYS_SETXATTRAT + 1,
    SYS_SETXATTRAT + 2,
    SYS_SETXATTRAT + 3,
    SYS_FILE_GETATTR,
    SYS_FILE_GETATTR + 1,
];
/// `setxattrat`, `getxattrat`, `listxattrat`, `removexattrat` (Linux 6.13).
const SYS_SETXATTRAT: libc::c_long = 463;
/// `file_getattr`, `file_setattr` (Linux 6.17).
const SYS_FILE_GETATTR: libc::c_long = 468;

/// Every call that stops at the gate whatever its arguments are, by number.
pub fn calls_gated(caller: Caller) -> Vec<libc::c_long> {
    let own_number: &[libc::c_long] = match caller {
        Caller::Strategy => &[libc::SYS_getpid],
        Caller::Program => &[],
    };
    let always = [
        FILES, OLD_FILES, UNCOMMON, WAITS, OLD_WAITS, LIVES, OLD_LIVES, TIMERS, OLD_TIMERS, CLOCKS,
        OLD_CLOCKS, CHANCE,
    ];
    [&always.concat(), own_number].concat()
}
