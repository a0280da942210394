//! Calls on sockets whose address is a name in the state directory ([`super::super::wires`]).
//!
//! Connections are accepted in the client's place; it binds and connects itself, so that the
//! other end sees who it is, and what the kernel made of it is looked at afterwards. What is said then is the
//! matter of [`super::message`].

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use smallvec::{SmallVec, smallvec};

use super::message::{at_any_time, never_waits};
use super::{Effect, Ending, Returned, access, returned};
use crate::explore::access::{Footprint, Mode, ObjectKind, Potential};
use crate::explore::arena::descriptors::OpenFile;
use crate::explore::arena::tree::{Destination, Inode, Kind, digest};
use crate::explore::arena::wires::Socket;
use crate::explore::arena::{Arena, ArenaError};
use crate::explore::gate::{Answer, At, Call, SocketAct, SocketCall};

/// What a client was let do itself, and what should have come of it.
#[derive(Debug)]
pub struct Unconfirmed {
    call: &'static str,
    /// A copy of its socket.
    socket: File,
    expected: Returned,
}

impl Arena<'_> {
    /// A read or a write of a socket is a call like those that only sockets have.
    pub(in crate::explore::arena) fn as_socket_call(&self, process: usize, call: Call) -> Call {
        let is_socket = |fd: i32| self.socket_of(process, fd).is_some();
        match call {
            Call::Read { fd, into, offset: None } if is_socket(fd) => {
                Call::Socket(SocketCall { fd, act: SocketAct::Receive { into, flags: 0, message: None } })
            }
            Call::Write { fd, from, offset: None } if is_socket(fd) => {
                Call::Socket(SocketCall { fd, act: SocketAct::Send { from, flags: 0, plain: true } })
            }
            call => call,
        }
    }

    fn socket_of(&self, process: usize, fd: i32) -> Option<Socket> {
        self.processes[process].descriptors.get(fd)?.socket
    }

    pub(super) fn socket(&mut self, thread: usize, call: &SocketCall) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        match &call.act {
            SocketAct::Bind { at: Some(at) } => self.bind(thread, call.fd, at),
            SocketAct::Connect { at: Some(at) } => self.connect(thread, call.fd, at),
            act => {
                let file = self.open_file(process, call.fd);
                let Some(socket) = file.socket else {
                    // The kernel says that it is none.
                    return Ok(Effect::answer(Footprint::new(), Answer::Continue));
                };
                match (act, socket) {
                    (SocketAct::Listen { backlog }, Socket::Acceptor(acceptor)) => {
                        let mut footprint = Footprint::new();
                        self.wires.listen(acceptor, *backlog, &mut footprint);
                        Ok(Effect::answer(footprint, Answer::Continue))
                    }
                    (SocketAct::Accept { address, length, flags }, Socket::Acceptor(acceptor)) => {
                        self.accept(thread, &file, acceptor, [*address, *length], *flags)
                    }
                    (SocketAct::Send { from, flags, plain }, Socket::End { wire, side }) => {
                        self.send(process, &file, (wire, side), from, *flags, *plain)
                    }
                    (SocketAct::Receive { into, flags, message }, Socket::End { wire, side }) => {
                        self.receive_message(thread, &file, (wire, side), into, *flags, *message)
                    }
                    (SocketAct::Shutdown { how }, Socket::End { wire, side }) => {
                        let mut footprint = Footprint::new();
                        self.wires.shut_down(wire, side, *how, &mut footprint);
                        Ok(Effect::answer(footprint, Answer::Continue))
                    }
                    (SocketAct::Shutdown { how }, Socket::Acceptor(acceptor)) => {
                        let mut footprint = Footprint::new();
                        if *how != libc::SHUT_WR {
                            self.wires.listen_no_more(acceptor, &mut footprint);
                        }
                        Ok(Effect::answer(footprint, Answer::Continue))
                    }
                    // The kernel says what is wrong with it.
                    _ => Ok(Effect::answer(Footprint::new(), Answer::Continue)),
                }
            }
        }
    }

    /// A copy of a client's stream socket.
    fn stream_socket(&mut self, process: usize, fd: i32, call: &str) -> Option<File> {
        let copy = File::from(self.processes[process].fetch_descriptor(fd)?);
        if option(&copy, libc::SO_TYPE) == Some(libc::SOCK_STREAM) {
            return Some(copy);
        }
        self.note_escape(&format!(
            "a client used {call} on a file of the state directory with a socket that is no stream, which is not \
             followed"
        ));
        None
    }

    /// Notes that a process has this socket, where there may have been another one.
    fn have_socket(&mut self, thread: usize, fd: i32, file: File, inode: Inode, socket: Socket, at: &At) {
        let process = self.threads[thread].process;
        let client = self.processes[process].client;
        let same = file.metadata().map_or(0, |metadata| std::os::unix::fs::MetadataExt::ino(&metadata));
        let file = self.open_socket(thread, file, inode, socket, name_of(at));
        self.processes[process].descriptors.insert(fd, Rc::clone(&file));
        // It may have been copied, or inherited, before it was anything that others could see.
        let link = format!("socket:[{same}]");
        for member in self.family_of(client).collect::<Vec<_>>() {
            let own = &self.processes[member];
            let copies = if own.has_ended { Vec::new() } else { descriptors_with(own.pid(), &link) };
            for copy in copies.into_iter().filter(|&copy| (member, copy) != (process, fd)) {
                self.processes[member].descriptors.insert(copy, Rc::clone(&file));
            }
        }
    }

    fn open_socket(
        &mut self,
        thread: usize,
        file: File,
        inode: Inode,
        socket: Socket,
        name: String,
    ) -> Rc<OpenFile> {
        self.files += 1;
        let key = digest(&("offset", self.threads[thread].id.0, self.threads[thread].steps));
        let (number, flags) = (self.files, libc::O_RDWR);
        Rc::new(OpenFile { number, inode, file, flags, name, key, socket: Some(socket) })
    }

    fn bind(&mut self, thread: usize, fd: i32, at: &At) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let mut footprint = Footprint::new();
        if self.socket_of(process, fd).is_some() {
            // It has a name, or is connected: the kernel says so.
            return Ok(Effect::answer(footprint, Answer::Errno(libc::EINVAL)));
        }
        let Some(socket) = self.stream_socket(process, fd, "bind") else {
            return Ok(Effect::answer(footprint, Answer::Continue));
        };
        let mut potential: SmallVec<[Potential; 4]> = SmallVec::new();
        let expected = match self.resolve(process, at, false, &mut footprint) {
            Destination::Place(place) => {
                potential.push(Potential::Certain(access(place.entry(), Mode::Write)));
                let listing = place.directory.object(ObjectKind::Listing);
                potential.push(Potential::Certain(access(listing, Mode::Update)));
                if place.inode.is_some() || self.is_gone(place.directory) {
                    self.leaves_entry(&mut footprint, &place);
                    Err(if place.inode.is_some() { libc::EADDRINUSE } else { libc::ENOENT })
                } else {
                    let inode = self.new_inode(thread);
                    self.tree.make(inode, Kind::Special);
                    self.tree.put(place.directory, &place.name, inode);
                    Self::changes_entry(&mut footprint, &place, false, true);
                    self.touch(inode);
                    let acceptor = self.wires.bind(inode);
                    let copy = socket.try_clone().map_err(ArenaError::environment("keeping a socket"))?;
                    self.have_socket(thread, fd, copy, inode, acceptor, at);
                    Ok(0)
                }
            }
            Destination::Nowhere(errno) => Err(errno),
            Destination::Directory(_) => Err(libc::EADDRINUSE),
            Destination::Elsewhere => {
                self.note_escape("a symbolic link leads out of the state directory");
                return Ok(Effect::answer(footprint, Answer::Continue));
            }
        };
        self.unconfirmed = Some(Unconfirmed { call: "bind", socket, expected });
        Ok(Effect { potential, ..Effect::answer(footprint, Answer::Continue) })
    }

    fn connect(&mut self, thread: usize, fd: i32, at: &At) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let mut footprint = Footprint::new();
        match self.socket_of(process, fd) {
            Some(Socket::End { .. }) => return Ok(Effect::answer(footprint, Answer::Errno(libc::EISCONN))),
            Some(Socket::Acceptor(_)) => {
                self.note_escape(
                    "a client connected with a socket that has a name of its own, which is not followed",
                );
                return Ok(Effect::answer(footprint, Answer::Continue));
            }
            None => {}
        }
        let Some(socket) = self.stream_socket(process, fd, "connect") else {
            return Ok(Effect::answer(footprint, Answer::Continue));
        };
        let mut potential: SmallVec<[Potential; 4]> =
            smallvec![Potential::Any(ObjectKind::Attributes, Mode::Read)];
        let mut connected = None;
        let expected = match self.resolve(process, at, true, &mut footprint) {
            Destination::Place(place) => {
                footprint.push(access(place.entry(), Mode::Read));
                match place.inode {
                    Some(inode) => {
                        footprint.push(access(inode.object(ObjectKind::Attributes), Mode::Read));
                        let name = digest(&("wire", self.threads[thread].id.0, self.threads[thread].steps));
                        if self.wires.has_no_room(inode) {
                            self.note_escape(
                                "more clients connected at once than a socket of the state directory has room for, \
                                 which is not followed",
                            );
                            return Ok(Effect::answer(footprint, Answer::Errno(libc::EAGAIN)));
                        }
                        connected = self.wires.connect(inode, name, &mut footprint);
                        if connected.is_some() { Ok(0) } else { Err(libc::ECONNREFUSED) }
                    }
                    None => Err(libc::ENOENT),
                }
            }
            Destination::Nowhere(errno) => Err(errno),
            Destination::Directory(_) => Err(libc::ECONNREFUSED),
            Destination::Elsewhere => {
                self.note_escape("a symbolic link leads out of the state directory");
                return Ok(Effect::answer(footprint, Answer::Continue));
            }
        };
        if connected.is_none() || self.wires.named() > 1 {
            // In another state the name leads to another socket.
            for mode in [Mode::Write, Mode::Release, Mode::Read] {
                potential.push(Potential::Any(ObjectKind::Channel, mode));
            }
        }
        if let Some(end) = connected {
            let copy = socket.try_clone().map_err(ArenaError::environment("keeping a socket"))?;
            let inode = self.new_inode(thread);
            self.have_socket(thread, fd, copy, inode, end, at);
        }
        self.unconfirmed = Some(Unconfirmed { call: "connect", socket, expected });
        Ok(Effect { potential, ..Effect::answer(footprint, Answer::Continue) })
    }

    /// Looks whether the kernel did what it should have, once the client is back.
    pub(in crate::explore::arena) fn confirm(&mut self) -> Result<(), ArenaError> {
        let Some(Unconfirmed { call, socket, expected }) = self.unconfirmed.take() else { return Ok(()) };
        // SAFETY: zero is a value of every field.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        let (fd, into) = (socket.as_raw_fd(), (&raw mut address).cast());
        let done = if call == "bind" {
            // SAFETY: the structure is as long as is said.
            unsafe { libc::getsockname(fd, into, &raw mut length) == 0 && length > 2 }
        } else {
            // SAFETY: the structure is as long as is said.
            unsafe { libc::getpeername(fd, into, &raw mut length) == 0 }
        };
        let answered = if done { Ok(0) } else { Err(expected.err().unwrap_or(libc::EIO)) };
        self.agree(call, expected, answered)
    }

    fn accept(
        &mut self,
        thread: usize,
        file: &OpenFile,
        acceptor: usize,
        [address, length]: [u64; 2],
        flags: i32,
    ) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let mut footprint = Footprint::new();
        let attempt = never_waits(&file.file);
        let Some(end) = self.wires.accept(acceptor, &mut footprint) else {
            if self.wires.is_ready(Socket::Acceptor(acceptor)) {
                // It listens no more.
                return Ok(Effect::answer(footprint, Answer::Errno(libc::EINVAL)));
            }
            return Ok(self.nothing_came(thread, footprint, attempt));
        };
        let attempt = attempt || self.may_give_up(thread);
        if !has_come(&file.file) {
            // The kernel does not know of it.
            self.agree("accept", Ok(0), Err(libc::EAGAIN))?;
        }
        // SAFETY: zero is a value of every field.
        let mut peer: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        let mut room = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        let how = flags & libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: the structure is as long as is said. The connection is there, so nobody waits.
        let fd = unsafe { libc::accept4(file.file.as_raw_fd(), (&raw mut peer).cast(), &raw mut room, how) };
        let accepted = returned(fd);
        self.agree("accept", Ok(0), accepted)?;
        // SAFETY: just made, and nobody else's.
        let taken = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        if address != 0 && length != 0 {
            let memory = &self.processes[process].memory;
            let wanted = memory.read_u32(length).unwrap_or(0).min(room) as usize;
            // SAFETY: a structure of plain numbers, of which this many bytes were set.
            let bytes = unsafe { std::slice::from_raw_parts((&raw const peer).cast::<u8>(), wanted) };
            // A wrong address would have been the client's own mistake.
            let _ = memory.write(address, bytes).and_then(|()| memory.write(length, &room.to_ne_bytes()));
        }
        let inode = self.new_inode(thread);
        let file = self.open_socket(thread, taken, inode, end, file.name.clone());
        let close_on_exec = flags & libc::SOCK_CLOEXEC != 0;
        let footprint = if attempt { at_any_time(footprint) } else { footprint };
        let ending = Ending::Descriptor { file, close_on_exec, at: None };
        Ok(Effect { footprint, potential: SmallVec::new(), ending, yields: false })
    }
}

/// Whether there is something to accept.
fn has_come(socket: &File) -> bool {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
}

/// An option of a socket that is a number.
fn option(socket: &File, name: i32) -> Option<i32> {
    let mut value: i32 = 0;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the number is as long as is said.
    let got = unsafe {
        let into = (&raw mut value).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, into, &raw mut length)
    };
    (got == 0).then_some(value)
}

/// The descriptors of a process that lead to something.
fn descriptors_with(pid: u32, link: &str) -> Vec<i32> {
    let leads = |entry: std::fs::DirEntry| {
        let same = std::fs::read_link(entry.path()).is_ok_and(|found| found.as_os_str() == link);
        same.then(|| entry.file_name().to_str()?.parse().ok())?
    };
    let listed = std::fs::read_dir(format!("/proc/{pid}/fd"));
    listed.into_iter().flatten().filter_map(Result::ok).filter_map(leads).collect()
}

fn name_of(at: &At) -> String {
    String::from_utf8_lossy(at.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()).into_owned()
}
