//! Calls on stream sockets: how two processes that share nothing but a name come to talk.
//!
//! Decoded whatever their socket is. Those on sockets that are followed are done in the client's place or as
//! steps; of the others only matters whether they would wait.
//!
//! Not covered: `sendmmsg` and `recvmmsg`, which are told.

use std::io;

use smallvec::{SmallVec, smallvec};

use super::call::{At, Span};
use super::listener::Notification;
use super::memory::ClientMemory;
use super::wait::Wait;

/// Pieces of memory that one message may be made of.
const PIECES_MAX: u64 = libc::UIO_MAXIOV as u64;

/// What is done with a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the calls in their manual pages")]
pub enum SocketAct {
    /// `at`: the name, where the address is one in the file system.
    Bind {
        at: Option<At>,
    },
    Listen {
        backlog: i32,
    },
    /// See `Bind`.
    Connect {
        at: Option<At>,
    },
    /// Where the address of the peer is to be written, and its length; `flags` as of `accept4`.
    Accept {
        address: u64,
        length: u64,
        flags: i32,
    },
    /// `plain`: there is nothing with it but bytes, and no address.
    Send {
        from: SmallVec<[Span; 1]>,
        flags: i32,
        plain: bool,
    },
    /// `message`: the header that says what else came, of `recvmsg`.
    Receive {
        into: SmallVec<[Span; 1]>,
        flags: i32,
        message: Option<u64>,
    },
    /// One direction or both are over, as `shutdown` says it.
    Shutdown {
        how: i32,
    },
}

/// A call on a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketCall {
    /// The socket.
    pub fd: i32,
    /// What is done with it.
    pub act: SocketAct,
}

impl SocketCall {
    /// Decodes a call; `None` if it is none on a socket.
    ///
    /// # Errors
    /// What the kernel would have said to a wrong address.
    pub fn decode(notification: &Notification, memory: &ClientMemory) -> io::Result<Option<Self>> {
        let a = notification.arguments;
        let span = Span { address: a[1], length: a[2] as usize };
        let act = match notification.number {
            libc::SYS_bind => SocketAct::Bind { at: name(memory, a[1], a[2])? },
            libc::SYS_listen => SocketAct::Listen { backlog: a[1] as i32 },
            libc::SYS_connect => SocketAct::Connect { at: name(memory, a[1], a[2])? },
            libc::SYS_accept => SocketAct::Accept { address: a[1], length: a[2], flags: 0 },
            libc::SYS_accept4 => SocketAct::Accept { address: a[1], length: a[2], flags: a[3] as i32 },
            libc::SYS_sendto => {
                SocketAct::Send { from: smallvec![span], flags: a[3] as i32, plain: a[4] == 0 }
            }
            libc::SYS_sendmsg => {
                let plain = memory.read_u64(a[1])? == 0 && memory.read_u64(a[1] + 40)? == 0;
                SocketAct::Send { from: pieces(memory, a[1])?, flags: a[2] as i32, plain }
            }
            libc::SYS_recvfrom => {
                SocketAct::Receive { into: smallvec![span], flags: a[3] as i32, message: None }
            }
            libc::SYS_recvmsg => {
                SocketAct::Receive { into: pieces(memory, a[1])?, flags: a[2] as i32, message: Some(a[1]) }
            }
            libc::SYS_shutdown => SocketAct::Shutdown { how: a[1] as i32 },
            _ => return Ok(None),
        };
        Ok(Some(Self { fd: a[0] as i32, act }))
    }

    /// What it would wait for, unless it does not want to.
    pub fn wait(&self) -> Option<Wait> {
        let patient = |flags: i32| flags & libc::MSG_DONTWAIT == 0;
        let events = match &self.act {
            SocketAct::Accept { .. } => libc::POLLIN,
            SocketAct::Receive { flags, .. } if patient(*flags) => libc::POLLIN,
            SocketAct::Send { flags, .. } if patient(*flags) => libc::POLLOUT,
            _ => return None,
        };
        Some(Wait::ready(self.fd, events))
    }

    /// The name in the file system that it takes.
    pub const fn at(&self) -> Option<&At> {
        match &self.act {
            SocketAct::Bind { at } | SocketAct::Connect { at } => at.as_ref(),
            _ => None,
        }
    }

    /// The same, to be spelled in another way.
    pub const fn at_mut(&mut self) -> Option<&mut At> {
        match &mut self.act {
            SocketAct::Bind { at } | SocketAct::Connect { at } => at.as_mut(),
            _ => None,
        }
    }
}

/// The name of a socket in the file system, if the address has one.
fn name(memory: &ClientMemory, address: u64, length: u64) -> io::Result<Option<At>> {
    let mut bytes = [0; size_of::<libc::sockaddr_un>()];
    let length = bytes.len().min(length as usize);
    if address == 0 || length <= 2 {
        return Ok(None);
    }
    memory.read(address, &mut bytes[..length])?;
    // A name that begins with a zero byte is not in the file system.
    if u16::from_ne_bytes([bytes[0], bytes[1]]) != libc::AF_UNIX as u16 || bytes[2] == 0 {
        return Ok(None);
    }
    let path = bytes[2..length].split(|byte| *byte == 0).next().unwrap_or_default();
    // Addresses are short, so long ones go through a descriptor of their directory.
    let through = [&b"/proc/self/fd/"[..], b"/proc/thread-self/fd/"];
    let through = through.into_iter().find_map(|prefix| path.strip_prefix(prefix));
    if let Some(slash) = through.and_then(|rest| rest.iter().position(|byte| *byte == b'/'))
        && let Some(rest) = through
        && let Some(directory) = std::str::from_utf8(&rest[..slash]).ok().and_then(|text| text.parse().ok())
    {
        return Ok(Some(At { directory, path: rest[slash + 1..].to_vec() }));
    }
    Ok(Some(At { directory: libc::AT_FDCWD, path: path.to_vec() }))
}

/// The memory that a `struct msghdr` names: its address and number of pieces follow those of the address.
fn pieces(memory: &ClientMemory, message: u64) -> io::Result<SmallVec<[Span; 1]>> {
    let (at, count) = (memory.read_u64(message + 16)?, memory.read_u64(message + 24)?);
    let piece = |index: u64| -> io::Result<Span> {
        let address = memory.read_u64(at + 16 * index)?;
        Ok(Span { address, length: memory.read_u64(at + 16 * index + 8)? as usize })
    };
    (0..count.min(PIECES_MAX)).map(piece).collect()
}
