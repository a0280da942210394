//! Calls on sockets whose address is a name in the state directory ([`super::super::wires`]).
//!
//! Bytes are moved, and connections accepted, in the client's place; it binds and connects itself, so that the
//! other end sees who it is, and what the kernel made of it is looked at afterwards.
//!
//! Not covered: descriptors and credentials in messages.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use smallvec::{SmallVec, smallvec};

use super::{Effect, Ending, Returned, access, returned};
use crate::explore::access::{Footprint, Mode, Object, ObjectKind, Potential};
use crate::explore::arena::descriptors::OpenFile;
use crate::explore::arena::tree::{Destination, Inode, Kind, digest};
use crate::explore::arena::wires::{Incoming, Socket};
use crate::explore::arena::{Arena, ArenaError, Pending, State};
use crate::explore::gate::{Answer, At, Call, Form, SocketAct, SocketCall, Span, Wait};
use crate::worker::PartKind;

/// Bytes that one call may move.
const LARGEST: usize = 1 << 20;
/// Flags of a message that change nothing about what it is.
const HARMLESS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC;

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

    /// The socket that a process receives from, or accepts at, if it has to wait for that.
    fn waits_on_wire(&self, process: usize, call: &SocketCall) -> Option<Socket> {
        let flags = match call.act {
            SocketAct::Receive { flags, .. } => flags,
            SocketAct::Accept { .. } => 0,
            _ => return None,
        };
        let file = self.processes[process].descriptors.get(call.fd)?;
        let socket = file.socket?;
        let waits =
            !self.wires.is_ready(socket) && flags & libc::MSG_DONTWAIT == 0 && !never_waits(&file.file);
        waits.then_some(socket)
    }

    /// Whether a process has to wait for a message before it can make this call.
    pub(in crate::explore::arena) fn has_no_message(&self, process: usize, call: &SocketCall) -> bool {
        self.waits_on_wire(process, call).is_some()
    }

    /// What it waits for.
    pub(in crate::explore::arena) fn awaited_message(&self, process: usize, call: &SocketCall) -> Footprint {
        let socket = self.waits_on_wire(process, call);
        let awaited = socket.into_iter().flat_map(|socket| self.wires.awaited(socket));
        awaited.map(|object| access(object, Mode::Acquire)).collect()
    }

    /// A thread came to the gate: for how long it is going to wait, if it has to. The harness's own servers only
    /// look around then, whether they are to stop, which nobody tells them here.
    pub(in crate::explore::arena) fn wait_for_message(&mut self, index: usize) {
        let State::AtGate(Pending { call: Call::Socket(call), .. }) = &self.threads[index].state else {
            return;
        };
        let process = self.threads[index].process;
        let serves = self.specification.processes[self.processes[process].client].kind == PartKind::Server;
        let file = self.processes[process].descriptors.get(call.fd);
        let limit = file.filter(|_| !serves).and_then(|file| time_limit(&file.file));
        if matches!(call.act, SocketAct::Receive { .. } | SocketAct::Accept { .. }) {
            self.lie_down(index, libc::CLOCK_MONOTONIC, limit.unwrap_or(0), false);
            self.threads[index].nap.timed = limit.is_some();
        }
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

    fn send(
        &mut self,
        process: usize,
        file: &OpenFile,
        (wire, side): (usize, usize),
        from: &[Span],
        flags: i32,
        plain: bool,
    ) -> Result<Effect, ArenaError> {
        let mut footprint = Footprint::new();
        if !plain || flags & !HARMLESS != 0 {
            self.note_escape(
                "a client sent more than bytes over a socket of the state directory, which is not followed",
            );
            return Ok(Effect::answer(footprint, Answer::Continue));
        }
        let can = self.wires.can_send(wire, side, &mut footprint);
        let wanted = from.iter().map(|span| span.length).sum::<usize>().min(LARGEST);
        let mut bytes = vec![0; wanted];
        let mut filled = 0;
        for span in from {
            let here = span.length.min(wanted - filled);
            if self.processes[process].memory.read(span.address, &mut bytes[filled..filled + here]).is_err() {
                return Ok(Effect::answer(footprint, Answer::Errno(libc::EFAULT)));
            }
            filled += here;
        }
        let how = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the buffer is as long as is said.
        let sent = returned(unsafe {
            libc::send(file.file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), how) as i64
        });
        match sent {
            Err(libc::EPIPE) => {
                self.agree("send", if can { Ok(0) } else { sent }, sent)?;
                // The client calls again, for the signal that comes with it.
                return Ok(Effect::answer(footprint, Answer::Continue));
            }
            Err(libc::EAGAIN) => {
                self.note_escape("a socket of the state directory was full, which is not followed")
            }
            Ok(bytes) => {
                self.agree("send", if can { Ok(0) } else { Err(libc::EPIPE) }, sent)?;
                let all = from.iter().map(|span| span.length).sum::<usize>();
                if (bytes as usize) < all {
                    self.note_escape("a socket of the state directory was full, which is not followed");
                }
                self.wires.send(wire, side, bytes as usize, &mut footprint);
            }
            Err(_) => self.agree("send", Ok(0), sent)?,
        }
        Ok(Effect::answer(footprint, super::answer(sent)))
    }

    fn receive_message(
        &mut self,
        thread: usize,
        file: &OpenFile,
        (wire, side): (usize, usize),
        into: &[Span],
        flags: i32,
        message: Option<u64>,
    ) -> Result<Effect, ArenaError> {
        let process = self.threads[thread].process;
        let mut footprint = Footprint::new();
        if flags & !(HARMLESS | libc::MSG_PEEK) != 0 {
            self.note_escape(
                "a client received from a socket of the state directory in a way that is not followed",
            );
            return Ok(Effect::answer(footprint, Answer::Continue));
        }
        let wanted = into.iter().map(|span| span.length).sum::<usize>().min(LARGEST);
        let peek = flags & libc::MSG_PEEK;
        let attempt = flags & libc::MSG_DONTWAIT != 0 || never_waits(&file.file);
        let incoming = self.wires.receive(wire, side, wanted, peek != 0, &mut footprint);
        if incoming == Incoming::Nothing {
            return Ok(self.nothing_came(thread, footprint, attempt));
        }
        let mut bytes = vec![0; wanted];
        // SAFETY: the buffer is as long as is said.
        let got = returned(unsafe {
            let how = peek | libc::MSG_DONTWAIT;
            libc::recv(file.file.as_raw_fd(), bytes.as_mut_ptr().cast(), wanted, how) as i64
        });
        let expected = match incoming {
            Incoming::Bytes(taken) => Ok(taken as i64),
            Incoming::End { reset: true } if got.is_err() => Err(libc::ECONNRESET),
            _ => Ok(0),
        };
        self.agree("receive", expected, got)?;
        if got.is_ok() && got != expected {
            let told = format!("{got:?} bytes where {expected:?} were sent");
            return Err(ArenaError::Confused(format!("a socket brought {told}")));
        }
        let mut rest = &bytes[..got.unwrap_or(0) as usize];
        let memory = &self.processes[process].memory;
        for span in into {
            let here = rest.len().min(span.length);
            if memory.write(span.address, &rest[..here]).is_err() {
                return Ok(Effect::answer(footprint, Answer::Errno(libc::EFAULT)));
            }
            rest = &rest[here..];
        }
        if let Some(header) = message {
            // Of struct msghdr: no address, nothing but bytes, no flags.
            let none = [(8, &[0; 4][..]), (40, &[0; 8]), (48, &[0; 4])];
            if none.iter().any(|(at, zero)| memory.write(header + at, zero).is_err()) {
                return Ok(Effect::answer(footprint, Answer::Errno(libc::EFAULT)));
            }
        }
        let at_once = attempt || self.may_give_up(thread);
        let footprint = if at_once { at_any_time(footprint) } else { footprint };
        Ok(Effect::answer(footprint, super::answer(got)))
    }

    /// A wait for several things, or a look at them.
    pub(super) fn look_at_wires(&mut self, index: usize, wait: &Wait) -> Result<Effect, ArenaError> {
        let process = self.threads[index].process;
        let wires = self.wires_of(process, wait);
        let came = self.has_come(index, wait);
        if wires.len() > 1 && matches!(wait, Wait::Events { form: Form::Plain, .. }) {
            // It tells them in the order in which they became ready.
            self.note_escape(
                "a client waits with epoll at several sockets of the state directory, which is not followed",
            );
        }
        let mut footprint = Footprint::new();
        let mut ready: SmallVec<[Object; 4]> = SmallVec::new();
        for &(socket, comes) in &wires {
            if let Socket::End { wire, side } = socket {
                self.wires.can_send(wire, side, &mut footprint);
            }
            if comes && self.wires.is_ready(socket) {
                ready.push(self.wires.what_is_ready(socket));
            } else if comes {
                footprint.extend(self.wires.awaited(socket).map(|object| access(object, Mode::Read)));
            }
        }
        // What alone lets it go on comes before it; of several any other would have done as well.
        let alone =
            ready.len() == 1 && wires.len() == 1 && !wait.is_a_look() && self.is_only_source(process, wait);
        let mode = if alone && !self.may_give_up(index) { Mode::Acquire } else { Mode::Read };
        footprint.extend(ready.into_iter().map(|object| access(object, mode)));
        if came || wait.is_a_look() {
            self.stirs += 1;
            return Ok(Effect::answer(footprint, Answer::Continue));
        }
        let over = self.end_wait(index, &Call::Wait(wait.clone()))?;
        footprint.extend(over.footprint);
        Ok(Effect { footprint, ..over })
    }

    /// Whether a wait is for one descriptor, and for what comes there.
    fn is_only_source(&self, process: usize, wait: &Wait) -> bool {
        let Wait::Events { sources, form, .. } = wait else { return false };
        matches!((form, &sources[..]), (Form::Poll(_) | Form::Select(..), [(_, events)]) if *events & libc::POLLOUT == 0)
            && self.processes[process].descriptors.has_sockets()
    }

    /// An attempt that does not wait, or the end of a wait that has a limit.
    fn nothing_came(&mut self, index: usize, mut footprint: Footprint, attempt: bool) -> Effect {
        let mut potential = SmallVec::new();
        if !attempt {
            let until_ns = self.threads[index].nap.end();
            let client = self.client_index(index);
            if !self.may_wake(index) {
                self.pause_others(client, until_ns, &mut footprint, &mut potential);
            }
            let nap = &mut self.threads[index].nap;
            nap.left = nap.left.saturating_sub(1);
            nap.seen.clear();
            self.advance(index, until_ns);
        }
        let answer = Effect::answer(footprint, Answer::Errno(libc::EAGAIN));
        Effect { potential, yields: true, ..answer }
    }
}

/// An attempt can come at any time, and then have another result.
fn at_any_time(mut footprint: Footprint) -> Footprint {
    for access in footprint.iter_mut().filter(|access| access.mode == Mode::Acquire) {
        access.mode = Mode::Write;
    }
    footprint
}

/// Whether calls on a socket fail instead of waiting.
fn never_waits(socket: &File) -> bool {
    // SAFETY: takes plain numbers.
    let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_NONBLOCK != 0
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

/// For how long, in nanoseconds, somebody waits at a socket for something to come; `None`: for ever.
fn time_limit(socket: &File) -> Option<u64> {
    let mut limit = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut length = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: the structure is as long as is said.
    let got = unsafe {
        let into = (&raw mut limit).cast();
        let (level, name) = (libc::SOL_SOCKET, libc::SO_RCVTIMEO);
        libc::getsockopt(socket.as_raw_fd(), level, name, into, &raw mut length)
    };
    let nanoseconds = limit.tv_sec as u64 * 1_000_000_000 + limit.tv_usec as u64 * 1000;
    (got == 0 && nanoseconds > 0).then_some(nanoseconds)
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
