//! System calls that no gate stops: what an agent does with its own ends of the pipes to a program, and what the
//! process does of which clients are copies.
//!
//! An agent stands behind the same gate as the program that it drives, since a process inherits the filter
//! of who starts it. But what it reads from its own pipes and how it looks after its child concerns nobody, and
//! a stop costs as much as ten such calls. So they are made by one instruction of this module, and the filter
//! lets that instruction pass ([`instruction`]). Programs cannot come there: `exec` leaves nothing of an
//! agent's memory.
//!
//! A client must not make a call that waits here: nobody would know that its thread waits. And what it brings about
//! is seen by others only when its thread comes to the gate the next time.
//!
//! Where there is no gate, these are calls like any other.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::PollFd;
use rustix::process::Pid;

// The number of a call and five arguments, as C passes them; and the place after the instruction, which is
// what a filter is told.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl tearproof_quiet_call",
    ".globl tearproof_quiet_instruction",
    "tearproof_quiet_call:",
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov rdx, rcx",
    "mov r10, r8",
    "mov r8, r9",
    "syscall",
    "tearproof_quiet_instruction:",
    "ret",
);
#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".globl tearproof_quiet_call",
    ".globl tearproof_quiet_instruction",
    "tearproof_quiet_call:",
    "mov x8, x0",
    "mov x0, x1",
    "mov x1, x2",
    "mov x2, x3",
    "mov x3, x4",
    "mov x4, x5",
    "svc #0",
    "tearproof_quiet_instruction:",
    "ret",
);

unsafe extern "C" {
    fn tearproof_quiet_call(number: i64, a: u64, b: u64, c: u64, d: u64, e: u64) -> i64;
    fn tearproof_quiet_instruction();
}

/// Where the instruction returns to, as a filter is told of it.
pub fn instruction() -> u64 {
    tearproof_quiet_instruction as *const () as u64
}

/// Makes a call.
///
/// # Errors
/// What the kernel says.
///
/// # Safety
/// As the call itself.
pub unsafe fn call(number: libc::c_long, arguments: [u64; 5]) -> io::Result<u64> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: it keeps to the conventions of C; the call is what the caller answers for.
    let returned = unsafe { tearproof_quiet_call(number, a, b, c, d, e) };
    u64::try_from(returned).map_err(|_| io::Error::from_raw_os_error(-returned as i32))
}

/// One end of a pipe that never waits. It is closed by a call that the gate stops: who keeps a copy of it has to
/// know.
#[derive(Debug)]
pub struct Pipe(OwnedFd);

impl Pipe {
    /// This end of a pipe. The flag belongs to it alone; the other end stays as programs expect it.
    ///
    /// # Errors
    /// When it is no pipe.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&end, true)?;
        Ok(Self(end))
    }

    /// As [`io::Read::read`].
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let (address, length) = (into.as_mut_ptr() as u64, into.len() as u64);
        // SAFETY: the kernel writes into the slice, and no more than it has room for.
        unsafe { call(libc::SYS_read, [self.0.as_raw_fd() as u64, address, length, 0, 0]) }
            .map(|read| read as usize)
    }

    /// As [`io::Write::write`].
    ///
    /// # Errors
    /// `WouldBlock` when there is no room.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let (address, length) = (bytes.as_ptr() as u64, bytes.len() as u64);
        // SAFETY: the kernel reads the slice.
        unsafe { call(libc::SYS_write, [self.0.as_raw_fd() as u64, address, length, 0, 0]) }
            .map(|written| written as usize)
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Looks what is ready, without waiting.
///
/// # Errors
/// What the kernel says.
pub fn look(list: &mut [PollFd<'_>]) -> io::Result<()> {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let (address, length) = (list.as_mut_ptr() as u64, list.len() as u64);
    // SAFETY: `PollFd` is the kernel's `struct pollfd`; the kernel writes to so many of them, and reads one time.
    unsafe { call(libc::SYS_ppoll, [address, length, &raw const now as u64, 0, 0]) }.map(drop)
}

/// The number of who has started this process. Behind a gate the call would tell another one.
pub fn getppid() -> i32 {
    // SAFETY: takes nothing.
    unsafe { call(libc::SYS_getppid, [0; 5]) }.map_or(0, |number| number as i32)
}

/// Whether a child has ended. It is not reaped.
pub fn has_ended(child: Pid) -> bool {
    // SAFETY: zero is a value of every field.
    let mut told: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
    let number = child.as_raw_nonzero().get() as u64;
    let (wanted, place) = (u64::from(libc::P_PID), &raw mut told as u64);
    // SAFETY: the kernel writes to one structure.
    let asked = unsafe { call(libc::SYS_waitid, [wanted, number, place, options as u64, 0]) };
    // SAFETY: the kernel has written it, or it is zero still.
    asked.is_err() || unsafe { told.si_pid() } != 0
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use rustix::event::PollFlags;

    use super::*;

    #[test]
    fn an_end_of_a_pipe_reads_writes_never_waits_and_closes() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let ours = Pipe::new(ours.into()).expect("an end");
        let nothing = ours.read(&mut [0; 8]).expect_err("nothing is there");
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        let is_ready = |ours: &Pipe| {
            let mut list = [PollFd::new(ours, PollFlags::IN)];
            look(&mut list).expect("a look");
            !list[0].revents().is_empty()
        };
        assert!(!is_ready(&ours));
        theirs.write_all(b"question").expect("room");
        assert!(is_ready(&ours));
        let mut text = [0; 16];
        assert_eq!(ours.read(&mut text).expect("a text"), 8);
        assert_eq!(&text[..8], b"question");
        assert_eq!(ours.write(b"answer").expect("room"), 6);
        drop(ours);
        let mut rest = String::new();
        theirs.read_to_string(&mut rest).expect("the end");
        assert_eq!(rest, "answer");
    }

    #[test]
    fn a_child_is_seen_to_end_and_is_not_reaped() {
        let mut child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        let pid = Pid::from_child(&child);
        assert!(!has_ended(pid));
        drop(child.stdin.take());
        while !has_ended(pid) {
            std::thread::yield_now();
        }
        assert!(has_ended(pid));
        assert!(child.wait().expect("its end").success());
        assert!(has_ended(pid), "there is none any more");
    }
}
