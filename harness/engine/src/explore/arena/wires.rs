//! Wires: stream sockets by which processes talk whose address is a name in the state directory.
//!
//! Whether somebody has to wait for a message must be known without asking, and what a message has to do with
//! others, too: each thing that is sent, and each attempt to connect, is an object of its own, which whoever
//! receives it first comes after ([`Mode::Release`], [`Mode::Acquire`]). What comes along with that, or would have,
//! had it been there, is read by who asks for more; that nothing more comes is another object. So to send something while something else is still unread is independent
//! of whoever reads that. Who sends in one direction, and who receives, are ordered among themselves.
//!
//! The kernel carries the bytes; what it answers is compared with what is known here.
//!
//! Not covered: sockets with other addresses, datagrams, and senders that have to wait for room
//! ([`super::perform`] says so when it sees them).

use std::collections::VecDeque;

use super::tree::{Inode, digest};
use crate::explore::access::{Access, Footprint, Mode, Object, ObjectKind};

/// What an open socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// It has a name, and others can connect to it once it listens.
    Acceptor(usize),
    /// One of the two ends of a wire: 0 for who connected.
    End {
        /// Which wire.
        wire: usize,
        /// Which end.
        side: usize,
    },
}

/// A queue of what was sent and not received yet, with the names of what is in it.
#[derive(Clone, Debug)]
struct Flow<T> {
    name: u64,
    /// How many things were ever sent.
    sent: u32,
    unread: VecDeque<(u32, T)>,
    /// Nothing more comes: that is the last thing that was sent.
    ended: bool,
    /// The other end went away without reading everything.
    reset: bool,
}

impl<T> Flow<T> {
    const fn new(name: u64) -> Self {
        Self { name, sent: 0, unread: VecDeque::new(), ended: false, reset: false }
    }

    fn object(&self, what: &str) -> Object {
        Object { kind: ObjectKind::Channel, key: digest(&(what, self.name)) }
    }

    /// The thing with this number, whether it was sent already or not.
    fn thing(&self, number: u32) -> Object {
        Object { kind: ObjectKind::Channel, key: digest(&("sent", self.name, number)) }
    }

    fn send(&mut self, thing: T, footprint: &mut Footprint) {
        footprint.push(Access { object: self.object("tail"), mode: Mode::Write });
        footprint.push(Access { object: self.thing(self.sent), mode: Mode::Release });
        self.unread.push_back((self.sent, thing));
        self.sent += 1;
    }

    fn end(&mut self, footprint: &mut Footprint) {
        if !self.ended {
            self.ended = true;
            footprint.push(Access { object: self.object("tail"), mode: Mode::Write });
            footprint.push(Access { object: self.object("end"), mode: Mode::Release });
        }
    }

    fn is_ready(&self) -> bool {
        self.ended || !self.unread.is_empty()
    }

    /// What whoever receives next waits for, either of them: the next thing, or that there is none.
    fn next(&self) -> [Object; 2] {
        let number = self.unread.front().map_or(self.sent, |(number, _)| *number);
        [self.thing(number), self.object("end")]
    }
}

/// Two ends that are connected.
#[derive(Clone, Debug)]
struct Wire {
    /// Bytes, by the end that sends them.
    flows: [Flow<usize>; 2],
    /// Ends that nobody has any more, or that take nothing more.
    closed: [bool; 2],
}

/// A socket that has a name.
#[derive(Clone, Debug)]
struct Acceptor {
    inode: Inode,
    listens: bool,
    /// How many may wait to be accepted, and one more.
    backlog: usize,
    /// Wires whose other end nobody has taken yet.
    queue: Flow<usize>,
}

/// What a receiver gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// So many bytes, at most.
    Bytes(usize),
    /// Nothing more, ever.
    End {
        /// Or that the other end went away too early.
        reset: bool,
    },
    /// Nothing yet.
    Nothing,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Wires {
    acceptors: Vec<Acceptor>,
    wires: Vec<Wire>,
}

impl Wires {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.acceptors.clear();
        self.wires.clear();
    }

    /// A socket got a name, which leads to this inode.
    pub fn bind(&mut self, inode: Inode) -> Socket {
        let queue = Flow::new(digest(&("queue", inode.0)));
        self.acceptors.push(Acceptor { inode, listens: false, backlog: 0, queue });
        Socket::Acceptor(self.acceptors.len() - 1)
    }

    /// How many got one.
    pub const fn named(&self) -> usize {
        self.acceptors.len()
    }

    /// Whether anybody can be connected to.
    pub fn anybody_listens(&self) -> bool {
        self.acceptors.iter().any(|acceptor| acceptor.listens)
    }

    fn listens(inode: Inode) -> Object {
        Object { kind: ObjectKind::Channel, key: digest(&("listens", inode.0)) }
    }

    /// Others can connect from now on.
    pub fn listen(&mut self, acceptor: usize, backlog: i32, footprint: &mut Footprint) {
        let acceptor = &mut self.acceptors[acceptor];
        acceptor.listens = true;
        // A negative one is as many as there may be.
        acceptor.backlog = usize::try_from(backlog).unwrap_or(usize::MAX - 1);
        footprint.push(Access { object: Self::listens(acceptor.inode), mode: Mode::Write });
    }

    /// Nobody can connect any more, and who accepts gets those who have, and then an error.
    pub fn listen_no_more(&mut self, acceptor: usize, footprint: &mut Footprint) {
        let acceptor = &mut self.acceptors[acceptor];
        acceptor.listens = false;
        footprint.push(Access { object: Self::listens(acceptor.inode), mode: Mode::Write });
        acceptor.queue.end(footprint);
    }

    /// Whether too many wait already to be accepted by the socket with this inode.
    pub fn has_no_room(&self, inode: Inode) -> bool {
        let full = |acceptor: &Acceptor| acceptor.queue.unread.len() > acceptor.backlog;
        self.acceptors.iter().any(|acceptor| acceptor.inode == inode && acceptor.listens && full(acceptor))
    }

    /// Somebody connects to the socket with this inode. `None`: nobody is there. `name` is that of the new wire.
    pub fn connect(&mut self, inode: Inode, name: u64, footprint: &mut Footprint) -> Option<Socket> {
        footprint.push(Access { object: Self::listens(inode), mode: Mode::Read });
        let wire = self.wires.len();
        let known = self.acceptors.iter_mut().find(|acceptor| acceptor.inode == inode && acceptor.listens)?;
        known.queue.send(wire, footprint);
        let flow = |side: u8| Flow::new(digest(&("flow", name, side)));
        self.wires.push(Wire { flows: [flow(0), flow(1)], closed: [false; 2] });
        Some(Socket::End { wire, side: 0 })
    }

    /// The other end of the wire that was connected first, if there is one.
    pub fn accept(&mut self, acceptor: usize, footprint: &mut Footprint) -> Option<Socket> {
        let queue = &mut self.acceptors[acceptor].queue;
        footprint.push(Access { object: queue.object("head"), mode: Mode::Write });
        let Some((number, wire)) = queue.unread.pop_front() else {
            if queue.ended {
                footprint.push(Access { object: queue.object("end"), mode: Mode::Acquire });
                return None;
            }
            footprint.extend(queue.next().map(|object| Access { object, mode: Mode::Read }));
            return None;
        };
        footprint.push(Access { object: queue.thing(number), mode: Mode::Acquire });
        Some(Socket::End { wire, side: 1 })
    }

    /// Whether this end could send something now that would arrive.
    pub fn can_send(&self, wire: usize, side: usize, footprint: &mut Footprint) -> bool {
        footprint.push(Access { object: self.closed(wire, 1 - side), mode: Mode::Read });
        let wire = &self.wires[wire];
        !wire.closed[1 - side] && !wire.flows[side].ended
    }

    /// This end has sent so many bytes.
    pub fn send(&mut self, wire: usize, side: usize, bytes: usize, footprint: &mut Footprint) {
        if bytes > 0 {
            self.wires[wire].flows[side].send(bytes, footprint);
        }
    }

    /// What this end would receive, if it asks for so many bytes. `peek`: and leaves it there.
    pub fn receive(
        &mut self,
        wire: usize,
        side: usize,
        wanted: usize,
        peek: bool,
        footprint: &mut Footprint,
    ) -> Incoming {
        let flow = &mut self.wires[wire].flows[1 - side];
        footprint.push(Access { object: flow.object("head"), mode: Mode::Write });
        if flow.unread.is_empty() {
            if flow.ended {
                footprint.push(Access { object: flow.object("end"), mode: Mode::Acquire });
                return Incoming::End { reset: flow.reset };
            }
            footprint.extend(flow.next().map(|object| Access { object, mode: Mode::Read }));
            return Incoming::Nothing;
        }
        let mut taken = 0;
        let mut at = 0;
        while taken < wanted && at < flow.unread.len() {
            let (number, bytes) = flow.unread[at];
            let here = bytes.min(wanted - taken);
            // The first one is enough to go on.
            let mode = if taken == 0 { Mode::Acquire } else { Mode::Read };
            footprint.push(Access { object: flow.thing(number), mode });
            taken += here;
            match (peek, here == bytes) {
                (true, _) => at += 1,
                (false, true) => drop(flow.unread.pop_front()),
                (false, false) => flow.unread[at].1 -= here,
            }
        }
        if taken < wanted {
            // More would have come along, had it been there.
            footprint.push(Access { object: flow.thing(flow.sent), mode: Mode::Read });
        }
        Incoming::Bytes(taken)
    }

    /// Whether who receives from this socket, or accepts, gets something.
    pub fn is_ready(&self, socket: Socket) -> bool {
        match socket {
            Socket::Acceptor(acceptor) => self.acceptors[acceptor].queue.is_ready(),
            Socket::End { wire, side } => self.wires[wire].flows[1 - side].is_ready(),
        }
    }

    /// Because of what it is ready.
    pub fn what_is_ready(&self, socket: Socket) -> Object {
        fn of<T>(flow: &Flow<T>) -> Object {
            let [thing, end] = flow.next();
            if flow.unread.is_empty() { end } else { thing }
        }
        match socket {
            Socket::Acceptor(acceptor) => of(&self.acceptors[acceptor].queue),
            Socket::End { wire, side } => of(&self.wires[wire].flows[1 - side]),
        }
    }

    /// What who receives from it, or accepts, waits for.
    pub fn awaited(&self, socket: Socket) -> [Object; 2] {
        match socket {
            Socket::Acceptor(acceptor) => self.acceptors[acceptor].queue.next(),
            Socket::End { wire, side } => self.wires[wire].flows[1 - side].next(),
        }
    }

    fn closed(&self, wire: usize, side: usize) -> Object {
        self.wires[wire].flows[side].object("closed")
    }

    /// This end sends nothing more, or takes nothing more.
    pub fn shut_down(&mut self, wire: usize, side: usize, how: i32, footprint: &mut Footprint) {
        if how == libc::SHUT_WR || how == libc::SHUT_RDWR {
            self.wires[wire].flows[side].end(footprint);
        }
        if how == libc::SHUT_RD || how == libc::SHUT_RDWR {
            footprint.push(Access { object: self.closed(wire, side), mode: Mode::Write });
            let wire = &mut self.wires[wire];
            wire.closed[side] = true;
            wire.flows[1 - side].end(footprint);
        }
    }

    /// Nobody has this socket any more.
    pub fn close(&mut self, socket: Socket, footprint: &mut Footprint) {
        match socket {
            Socket::Acceptor(acceptor) => {
                let acceptor = &mut self.acceptors[acceptor];
                acceptor.listens = false;
                footprint.push(Access { object: Self::listens(acceptor.inode), mode: Mode::Write });
                for (_, wire) in std::mem::take(&mut acceptor.queue.unread) {
                    self.wires[wire].flows[1].reset = true;
                    self.close(Socket::End { wire, side: 1 }, footprint);
                }
            }
            Socket::End { wire, side } => {
                footprint.push(Access { object: self.closed(wire, side), mode: Mode::Write });
                let wire = &mut self.wires[wire];
                wire.closed[side] = true;
                let unread = !wire.flows[1 - side].unread.is_empty();
                wire.flows[side].reset |= unread;
                wire.flows[side].end(footprint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::access::{cannot_precede, conflict};

    /// A wire, and both of its ends.
    fn connected() -> (Wires, usize) {
        let mut wires = Wires::default();
        let Socket::Acceptor(acceptor) = wires.bind(Inode(7)) else { unreachable!("it has a name") };
        let mut none = Footprint::new();
        assert_eq!(wires.connect(Inode(7), 1, &mut none), None, "nobody listens yet");
        wires.listen(acceptor, 8, &mut none);
        assert_eq!(wires.connect(Inode(7), 1, &mut none), Some(Socket::End { wire: 0, side: 0 }));
        assert_eq!(wires.accept(acceptor, &mut none), Some(Socket::End { wire: 0, side: 1 }));
        assert_eq!(wires.accept(acceptor, &mut none), None);
        (wires, 0)
    }

    fn sent(wires: &mut Wires, wire: usize, side: usize, bytes: usize) -> Footprint {
        let mut footprint = Footprint::new();
        assert!(wires.can_send(wire, side, &mut footprint));
        wires.send(wire, side, bytes, &mut footprint);
        footprint
    }

    fn received(wires: &mut Wires, wire: usize, side: usize, wanted: usize) -> (Incoming, Footprint) {
        let mut footprint = Footprint::new();
        (wires.receive(wire, side, wanted, false, &mut footprint), footprint)
    }

    #[test]
    fn whoever_receives_all_that_he_wants_does_not_care_what_else_is_sent() {
        let (mut wires, wire) = connected();
        let first = sent(&mut wires, wire, 0, 10);
        let second = sent(&mut wires, wire, 0, 20);
        let (head, touched) = received(&mut wires, wire, 1, 4);
        assert_eq!(head, Incoming::Bytes(4));
        assert!(cannot_precede(&first, &touched));
        assert!(!conflict(&second, &touched));
        let (rest, touched) = received(&mut wires, wire, 1, 100);
        assert_eq!(rest, Incoming::Bytes(26));
        assert!(conflict(&second, &touched), "it got some of that");
        assert!(!cannot_precede(&second, &touched), "it would have got less");
        let third = sent(&mut wires, wire, 0, 1);
        assert!(conflict(&touched, &third), "it would have got more");
    }

    #[test]
    fn what_one_end_sends_is_nothing_to_the_other_direction() {
        let (mut wires, wire) = connected();
        let there = sent(&mut wires, wire, 0, 10);
        let back = sent(&mut wires, wire, 1, 10);
        assert!(!conflict(&there, &back));
        assert_eq!(received(&mut wires, wire, 0, 10).0, Incoming::Bytes(10));
        assert_eq!(received(&mut wires, wire, 0, 10).0, Incoming::Nothing);
    }

    #[test]
    fn an_end_that_goes_away_is_seen_after_what_it_has_sent() {
        let (mut wires, wire) = connected();
        sent(&mut wires, wire, 0, 10);
        let mut closing = Footprint::new();
        wires.close(Socket::End { wire, side: 0 }, &mut closing);
        assert_eq!(received(&mut wires, wire, 1, 100).0, Incoming::Bytes(10));
        let (end, touched) = received(&mut wires, wire, 1, 100);
        assert_eq!(end, Incoming::End { reset: false });
        assert!(cannot_precede(&closing, &touched));
        let mut sending = Footprint::new();
        assert!(!wires.can_send(wire, 1, &mut sending));
        assert!(conflict(&closing, &sending));
    }

    #[test]
    fn an_end_that_goes_away_before_it_has_read_everything_breaks_the_wire() {
        let (mut wires, wire) = connected();
        sent(&mut wires, wire, 0, 10);
        wires.close(Socket::End { wire, side: 1 }, &mut Footprint::new());
        assert_eq!(received(&mut wires, wire, 0, 1).0, Incoming::End { reset: true });
    }

    #[test]
    fn whoever_connects_is_lost_when_nobody_is_left_to_accept() {
        let mut wires = Wires::default();
        let socket = wires.bind(Inode(7));
        let Socket::Acceptor(acceptor) = socket else { unreachable!("it has a name") };
        let (mut first, mut second, mut closing) = (Footprint::new(), Footprint::new(), Footprint::new());
        wires.listen(acceptor, 8, &mut Footprint::new());
        wires.connect(Inode(7), 1, &mut first).expect("it listens");
        wires.connect(Inode(7), 2, &mut second).expect("it listens");
        assert!(conflict(&first, &second), "who is accepted first depends on their order");
        wires.close(socket, &mut closing);
        assert!(conflict(&first, &closing));
        assert_eq!(received(&mut wires, 0, 0, 1).0, Incoming::End { reset: true });
        assert_eq!(wires.connect(Inode(7), 3, &mut Footprint::new()), None);
    }
}
