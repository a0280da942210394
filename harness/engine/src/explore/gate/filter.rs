//! The filter: which calls stop at the gate.
//!
//! A program for the kernel's classic BPF machine that looks at the number of a call, and for few
//! calls at an argument. It cannot follow pointers, so it stops every call that takes a path; which
//! of them concern the state directory is for the supervisor to tell.

use std::io;
use std::os::fd::RawFd;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

const LOAD: u32 = BPF_LD | BPF_W | BPF_ABS;
const EQUAL: u32 = BPF_JMP | BPF_JEQ | BPF_K;
const AT_LEAST: u32 = BPF_JMP | BPF_JGE | BPF_K;
const MASK: u32 = BPF_ALU | BPF_AND | BPF_K;
const RETURN: u32 = BPF_RET | BPF_K;

/// Offsets into `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn low_word_of_argument(index: u32) -> u32 {
    16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 }
}

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
/// Calls of the x32 interface have this bit in their number.
const X32: u32 = 0x4000_0000;

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
/// and to be closed on exec.
const HARMLESS_REQUESTS: [u32; 4] =
    [libc::TCGETS as u32, libc::TIOCGWINSZ as u32, libc::FIOCLEX as u32, libc::FIONCLEX as u32];

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
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_bind,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
];
#[cfg(target_arch = "x86_64")]
const OLD_WAITS: &[libc::c_long] = &[libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_wait, libc::SYS_pause];
#[cfg(not(target_arch = "x86_64"))]
const OLD_WAITS: &[libc::c_long] = &[];

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
const CHANCE: &[libc::c_long] = &[libc::SYS_getpid, libc::SYS_getppid, libc::SYS_getrandom];

/// Calls that would go past the gate altogether. Runtimes fall back where they do not exist.
const REFUSED: &[libc::c_long] = &[
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
pub fn calls_gated() -> Vec<libc::c_long> {
    [FILES, OLD_FILES, UNCOMMON, WAITS, OLD_WAITS, LIVES, OLD_LIVES, CLOCKS, OLD_CLOCKS, CHANCE].concat()
}

const fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

const fn jump(code: u32, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: yes, jf: no, k }
}

/// The filter as a program.
fn program() -> Vec<sock_filter> {
    const NOTIFY: sock_filter = statement(RETURN, libc::SECCOMP_RET_USER_NOTIF);
    const ALLOW: sock_filter = statement(RETURN, libc::SECCOMP_RET_ALLOW);
    let mut program = vec![
        statement(LOAD, ARCHITECTURE),
        // A program of another architecture shows itself to the supervisor, which cannot follow it.
        jump(EQUAL, NATIVE, 1, 0),
        NOTIFY,
        statement(LOAD, NUMBER),
        jump(AT_LEAST, X32, 0, 1),
        NOTIFY,
    ];
    for &call in REFUSED {
        program.push(jump(EQUAL, call as u32, 0, 1));
        program.push(statement(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32));
    }
    // Memory without a file behind it is nobody else's business.
    program.extend([
        jump(EQUAL, libc::SYS_mmap as u32, 0, 5),
        statement(LOAD, low_word_of_argument(3)),
        statement(MASK, libc::MAP_ANONYMOUS as u32),
        jump(EQUAL, 0, 0, 1),
        NOTIFY,
        ALLOW,
    ]);
    program.extend([
        jump(EQUAL, libc::SYS_ioctl as u32, 0, HARMLESS_REQUESTS.len() as u8 + 3),
        statement(LOAD, low_word_of_argument(1)),
    ]);
    for (request, after) in HARMLESS_REQUESTS.into_iter().zip((1..=HARMLESS_REQUESTS.len() as u8).rev()) {
        program.push(jump(EQUAL, request, after, 0));
    }
    program.extend([NOTIFY, ALLOW]);
    for call in calls_gated() {
        program.push(jump(EQUAL, call as u32, 0, 1));
        program.push(NOTIFY);
    }
    program.push(ALLOW);
    program
}

/// Puts this process, and every thread and process that it will ever start, behind the gate.
/// Returns the descriptor of the listener, which the supervisor has to fetch; from now on no gated
/// call returns before somebody listens.
///
/// # Errors
/// When the kernel has no user notification, or a listener is there already.
pub fn install() -> io::Result<RawFd> {
    let mut program = program();
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: takes plain numbers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // The second flag, of Linux 5.19, keeps a signal from breaking off a call that was received.
    let flags = [
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
    ];
    let mut error = io::Error::from_raw_os_error(libc::ENOSYS);
    for flags in flags {
        // SAFETY: the filter outlives the call, which copies it.
        let listener = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
        };
        if listener >= 0 {
            return Ok(listener as RawFd);
        }
        error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            break;
        }
    }
    Err(error)
}
