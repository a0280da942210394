//! The supervisor's end of the gate: calls come in, answers go out.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::{seccomp_data, seccomp_notif, seccomp_notif_addfd, seccomp_notif_resp};

const MAGIC: u64 = b'!' as u64;

const fn request(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | MAGIC << 8 | number
}
const WRITE: u64 = 1;
const READ_WRITE: u64 = 3;
const RECEIVE: u64 = request(READ_WRITE, 0, size_of::<seccomp_notif>());
const SEND: u64 = request(READ_WRITE, 1, size_of::<seccomp_notif_resp>());
const ID_VALID: u64 = request(WRITE, 2, size_of::<u64>());
const ADD_FD: u64 = request(WRITE, 3, size_of::<seccomp_notif_addfd>());
const SET_FLAGS: u64 = request(WRITE, 4, size_of::<u64>());
const SYNC_WAKE_UP: u64 = 1;
const CONTINUE: u32 = 1;
const ADD_FD_SETFD: u32 = 1;
const ADD_FD_SEND: u32 = 2;

/// A call that stopped at the gate.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    /// By which it is answered.
    pub id: u64,
    /// The thread that makes it, by its number in the supervisor's namespace.
    pub tid: u32,
    /// The number of the call.
    pub number: i64,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// Where the caller goes on.
    pub instruction: u64,
    /// Whether the call was made through this architecture's own interface.
    pub native: bool,
}

/// Why nothing was received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// A signal came first.
    #[error("interrupted")]
    Interrupted,
    /// Everybody behind this gate is gone, or the caller was just killed.
    #[error("the processes behind the gate are gone")]
    Gone,
    /// Something else.
    #[error("receiving from the gate: {0}")]
    Failed(#[from] io::Error),
}

/// How a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The client makes the call itself.
    Continue,
    /// The call returns this.
    Value(i64),
    /// The call fails with this errno.
    Errno(i32),
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    /// Whether the kernel hands the processor over to whoever is answered.
    synchronous: bool,
}

impl Listener {
    /// Takes over a listener.
    pub fn new(fd: OwnedFd) -> Self {
        // Linux 6.6 and later; without it everything works, more slowly.
        // SAFETY: takes plain numbers.
        let synchronous = unsafe { libc::ioctl(fd.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) } == 0;
        Self { fd, synchronous }
    }

    /// Whether the kernel hands the processor over to whoever is answered.
    pub const fn is_synchronous(&self) -> bool {
        self.synchronous
    }

    /// Waits for a call.
    ///
    /// # Errors
    /// When a signal comes first, or nobody is left who could call.
    pub fn receive(&self) -> Result<Notification, ReceiveError> {
        // SAFETY: zero is a value of every field.
        let mut notification: seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes to the structure, whose size is part of the request.
        let received = unsafe { libc::ioctl(self.fd.as_raw_fd(), RECEIVE, &raw mut notification) };
        if received != 0 {
            let error = io::Error::last_os_error();
            return Err(match error.raw_os_error() {
                Some(libc::EINTR) => ReceiveError::Interrupted,
                Some(libc::ENOENT) => ReceiveError::Gone,
                _ => ReceiveError::Failed(error),
            });
        }
        let seccomp_data { nr, arch, args, instruction_pointer } = notification.data;
        let native = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
        Ok(Notification {
            id: notification.id,
            tid: notification.pid,
            number: nr.into(),
            arguments: args,
            instruction: instruction_pointer,
            native: arch == native && nr & 0x4000_0000 == 0,
        })
    }

    /// Whether the caller still waits for an answer.
    pub fn is_waiting(&self, id: u64) -> bool {
        // SAFETY: the kernel reads the number.
        unsafe { libc::ioctl(self.fd.as_raw_fd(), ID_VALID, &raw const id) == 0 }
    }

    /// Answers a call.
    ///
    /// # Errors
    /// ENOENT when the caller was killed meanwhile.
    pub fn answer(&self, id: u64, answer: Answer) -> io::Result<()> {
        let (val, error, flags) = match answer {
            Answer::Continue => (0, 0, CONTINUE),
            Answer::Value(value) => (value, 0, 0),
            Answer::Errno(errno) => (0, -errno, 0),
        };
        let response = seccomp_notif_resp { id, val, error, flags };
        // SAFETY: the kernel reads the structure, whose size is part of the request.
        check(unsafe { libc::ioctl(self.fd.as_raw_fd(), SEND, &raw const response) }).map(drop)
    }

    /// Puts a descriptor into the caller's table, in the lowest free place or in `at`, and answers
    /// the call with its number.
    ///
    /// # Errors
    /// What the client would have got: EMFILE when its table is full. ENOENT when it was killed.
    pub fn answer_with_fd(
        &self,
        id: u64,
        fd: BorrowedFd<'_>,
        close_on_exec: bool,
        at: Option<u32>,
    ) -> io::Result<i32> {
        let request = seccomp_notif_addfd {
            id,
            flags: ADD_FD_SEND | if at.is_some() { ADD_FD_SETFD } else { 0 },
            srcfd: fd.as_raw_fd() as u32,
            newfd: at.unwrap_or(0),
            newfd_flags: if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 },
        };
        // SAFETY: the kernel reads the structure, whose size is part of the request.
        check(unsafe { libc::ioctl(self.fd.as_raw_fd(), ADD_FD, &raw const request) })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn check(returned: libc::c_int) -> io::Result<libc::c_int> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}
