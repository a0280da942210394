//! Which calls stop for the tracer: those that take a path or a descriptor, by their own names.
//!
//! The filter is a program for the kernel's classic BPF machine, as that of the explore engine's
//! gate, but answers with `SECCOMP_RET_TRACE`: a call that is not listed costs next to nothing, which
//! is what makes tracing through seccomp so much cheaper than stopping at every call.
//!
//! Not covered: calls of another architecture (a 32-bit program) are let through and noticed, calls
//! through `io_uring` as well.

use std::io;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long, sock_filter,
};

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
/// Calls of the x32 interface have this bit in their number.
const X32: u32 = 0x4000_0000;

macro_rules! calls {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

const CALLS: &[(c_long, &str)] = calls![
    SYS_openat SYS_openat2 SYS_close SYS_close_range SYS_dup SYS_dup3 SYS_fcntl
    SYS_read SYS_pread64 SYS_readv SYS_preadv SYS_preadv2
    SYS_write SYS_pwrite64 SYS_writev SYS_pwritev SYS_pwritev2
    SYS_lseek SYS_ftruncate SYS_truncate SYS_fallocate
    SYS_fsync SYS_fdatasync SYS_sync_file_range SYS_syncfs SYS_sync SYS_flock
    SYS_fstat SYS_newfstatat SYS_statx SYS_faccessat SYS_faccessat2 SYS_readlinkat
    SYS_renameat2 SYS_linkat SYS_symlinkat SYS_unlinkat SYS_mkdirat SYS_mknodat SYS_getdents64
    SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_utimensat
    SYS_copy_file_range SYS_sendfile SYS_splice SYS_chdir SYS_fchdir
    SYS_setxattr SYS_lsetxattr SYS_fsetxattr SYS_removexattr SYS_lremovexattr SYS_fremovexattr
    SYS_io_uring_setup
];

/// The older forms of them, which newer architectures never had.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[(c_long, &str)] = calls![
    SYS_open SYS_creat SYS_dup2 SYS_stat SYS_lstat SYS_access SYS_readlink SYS_rename SYS_renameat
    SYS_link SYS_symlink SYS_unlink SYS_rmdir SYS_mkdir SYS_mknod SYS_getdents SYS_chmod SYS_chown
    SYS_lchown SYS_utime SYS_utimes SYS_futimesat
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[(c_long, &str)] = calls![SYS_renameat];

/// The kernel's name of a call that is traced.
pub(super) fn name_of(number: i64) -> &'static str {
    let named = CALLS.iter().chain(OLD_CALLS).find(|(traced, _)| *traced == number);
    match named {
        Some((_, name)) => &name["SYS_".len()..],
        None if number == libc::SYS_mmap => "mmap",
        None => "unknown",
    }
}

const LOAD: u32 = BPF_LD | BPF_W | BPF_ABS;
const EQUAL: u32 = BPF_JMP | BPF_JEQ | BPF_K;
const AT_LEAST: u32 = BPF_JMP | BPF_JGE | BPF_K;
const MASK: u32 = BPF_ALU | BPF_AND | BPF_K;
const RETURN: u32 = BPF_RET | BPF_K;
/// Offsets into `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const LOW_WORD_OF_FLAGS: u32 = 16 + 8 * 3;

const fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

const fn jump(code: u32, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: yes, jf: no, k }
}

/// The filter as a program.
pub(super) fn program() -> Vec<sock_filter> {
    const TRACE: sock_filter = statement(RETURN, libc::SECCOMP_RET_TRACE);
    const ALLOW: sock_filter = statement(RETURN, libc::SECCOMP_RET_ALLOW);
    let mut program = vec![
        statement(LOAD, ARCHITECTURE),
        jump(EQUAL, NATIVE, 1, 0),
        // The tracer cannot decode it, and says so.
        TRACE,
        statement(LOAD, NUMBER),
        jump(AT_LEAST, X32, 0, 1),
        TRACE,
        // Memory without a file behind it is nobody else's business.
        jump(EQUAL, libc::SYS_mmap as u32, 0, 5),
        statement(LOAD, LOW_WORD_OF_FLAGS),
        statement(MASK, libc::MAP_ANONYMOUS as u32),
        jump(EQUAL, 0, 0, 1),
        TRACE,
        ALLOW,
    ];
    for &(call, _) in CALLS.iter().chain(OLD_CALLS) {
        program.push(jump(EQUAL, call as u32, 0, 1));
        program.push(TRACE);
    }
    program.push(ALLOW);
    program
}

/// Puts this process, and all that it will ever start, behind the filter. Does not allocate, so that
/// it may be called between fork and exec.
pub(super) fn install(program: &mut [sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let install = || {
        // SAFETY: the filter outlives the call, which copies it.
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) }
    };
    if install() == 0 {
        return Ok(());
    }
    // Without privilege the kernel wants a promise first. Whoever has it keeps set-uid programs as
    // they are.
    // SAFETY: takes plain numbers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 || install() != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_its_own_name_and_one_place() {
        let mut numbers: Vec<c_long> = CALLS.iter().chain(OLD_CALLS).map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), CALLS.len() + OLD_CALLS.len());
        assert_eq!((name_of(libc::SYS_flock), name_of(libc::SYS_getpid)), ("flock", "unknown"));
    }
}
