//! What is said over sockets whose address is a name in the state directory, and the waits for it
//! ([`super::super::wires`]). Bytes are moved in the client's place.
//!
//! Not covered: descriptors and credentials in messages.

use std::fs::File;
use std::os::fd::AsRawFd;

use smallvec::SmallVec;

use super::{Effect, access, returned};
use crate::explore::access::{Footprint, Mode, Object};
use crate::explore::arena::copies::Awaited;
use crate::explore::arena::descriptors::OpenFile;
use crate::explore::arena::wires::{Incoming, Socket};
use crate::explore::arena::{Arena, ArenaError, Pending, State};
use crate::explore::gate::{Answer, Call, Form, SocketAct, SocketCall, Span, Wait};
use crate::worker::PartKind;

/// Bytes that one call may move.
const LARGEST: usize = 1 << 20;
/// Flags of a message that change nothing about what it is.
const HARMLESS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC;

impl Arena<'_> {
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
        let State::AtGate(Pending { call, .. }) = &self.threads[index].state else { return };
        if let Call::Wait(wait) = call {
            let limit = wait.timeout();
            self.lie_down(index, libc::CLOCK_MONOTONIC, limit, false);
            self.threads[index].nap.timed = limit.is_some();
            self.wait_as_for_an_answer(index);
            return;
        }
        let Call::Socket(call) = call else { return };
        let process = self.threads[index].process;
        let serves = self.specification.processes[self.processes[process].client].kind == PartKind::Server;
        let file = self.processes[process].descriptors.get(call.fd);
        let limit = file.filter(|_| !serves).and_then(|file| time_limit(&file.file));
        if matches!(call.act, SocketAct::Receive { .. } | SocketAct::Accept { .. }) {
            self.lie_down(index, libc::CLOCK_MONOTONIC, limit, false);
            self.threads[index].nap.timed = limit.is_some();
            self.wait_as_for_an_answer(index);
        }
    }

    pub(super) fn send(
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

    pub(super) fn receive_message(
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
        let came = self.has_come(index, wait, &Awaited::default());
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
        let alone = match wait {
            Wait::Events { sources, form: Form::Poll(_) | Form::Select(..), .. } => {
                matches!(sources[..], [(_, events)] if events & libc::POLLOUT == 0)
            }
            _ => false,
        };
        let waited = !wait.is_a_look() && !self.may_give_up(index);
        let mode = if alone && waited { Mode::Acquire } else { Mode::Read };
        footprint.extend(ready.into_iter().map(|object| access(object, mode)));
        if came || wait.is_a_look() {
            self.stir(self.threads[index].process);
            return Ok(Effect::answer(footprint, Answer::Continue));
        }
        let over = self.end_wait(index, &Call::Wait(wait.clone()))?;
        footprint.extend(over.footprint);
        Ok(Effect { footprint, ..over })
    }

    /// An attempt that does not wait, or the end of a wait that has a limit.
    pub(super) fn nothing_came(&mut self, index: usize, mut footprint: Footprint, attempt: bool) -> Effect {
        let mut potential = SmallVec::new();
        if !attempt {
            let until_ns = self.threads[index].nap.end();
            let client = self.client_index(index);
            if !self.may_wake(index) {
                self.pause_others(client, until_ns, &mut footprint, &mut potential);
            }
            let nap = &mut self.threads[index].nap;
            nap.left = nap.left.saturating_sub(1);
            nap.ended += 1;
            (nap.woken, nap.rests) = (false, false);
            self.end_watch(index);
            self.advance(index, until_ns);
        }
        let answer = Effect::answer(footprint, Answer::Errno(libc::EAGAIN));
        Effect { potential, yields: true, ..answer }
    }
}

/// An attempt can come at any time, and then have another result.
pub(super) fn at_any_time(mut footprint: Footprint) -> Footprint {
    for access in footprint.iter_mut().filter(|access| access.mode == Mode::Acquire) {
        access.mode = Mode::Write;
    }
    footprint
}

/// Whether calls on a socket fail instead of waiting.
pub(super) fn never_waits(socket: &File) -> bool {
    // SAFETY: takes plain numbers.
    let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_NONBLOCK != 0
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
