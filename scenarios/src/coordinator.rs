//! One process owns the state, and everybody else asks it over a Unix socket. Source: the progress.json report,
//! solution 3 (IPC).
//!
//! The owner holds the document in memory and answers one request at a time, in the order in which they
//! came: each has a connection of its own, so the kernel's queue of connections is the order of all changes.
//! Before it acknowledges a change it has replaced the state file as `write-file-atomic` does, so programs that
//! read the file directly see whole documents, and an owner that is started anew goes on from there. A flock
//! on `<file>.owner` keeps a second owner out; it dies with the process.
//!
//! When the owner is killed, a request that was under way has an unknown outcome, every later one
//! fails ("no owner"), and nothing that was acknowledged is lost. Clients connect with each
//! operation, so a restarted owner is found. There is no election: without an owner there is
//! no progress, and none is promised under kill. Who connects and then says nothing keeps everybody
//! waiting for as long as clients have patience.
//!
//! The socket is `<file>.sock`; it is reached through `/proc/self/fd`, since a socket's address is
//! limited to 108 bytes. A message is a length in four bytes, one byte that says what it is, and
//! the document or the element.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use tearproof_core::strategy::{Client, ClientContext, Found, Strategy, StrategyError, StrategyInfo};

use crate::calls::{self, OpenFile, name};
use crate::protocol::{DOCUMENTS, claims, lay_down, read_plainly, with_element};
use crate::temp_name::TempNames;
use crate::temp_rename::write_file_atomic;

/// Strategy `coordinator`.
pub(crate) static COORDINATOR: Coordinator = Coordinator { info: &COORDINATOR_INFO, habit: Habit::Sound };

/// See the module.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub info: &'static StrategyInfo,
    pub habit: Habit,
}

/// What an owner and its clients do, rightly or wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// The owner makes changes, and acknowledges what is in the file.
    Sound,
    /// The owner acknowledges a change, and then writes it down.
    AnswersFirst,
    /// Clients get the document, change it, and have the owner write it down.
    ClientsChange,
}

static COORDINATOR_INFO: StrategyInfo = StrategyInfo {
    name: "coordinator",
    algorithm: "one owner process behind a Unix socket; it replaces the state file atomically before it acknowledges",
    claims: claims![
        AtomicReads: Concurrency Kill;
        NoLostUpdates: Concurrency Kill;
        Linearizable: Concurrency;
        Progress: Concurrency;
        Durability: Kill;
        NoResidue: Concurrency;
        MetadataKept: Concurrency;
    ],
    source: "the progress.json report (solution 3)",
    objects: DOCUMENTS,
    broken: false,
    timed: true,
};

/// How long the owner waits for something before it looks whether it is to stop.
const GLANCE: Duration = Duration::from_millis(5);
/// The longest message in bytes that is believed.
const LENGTH_MAX: u32 = 256 << 20;

const READ: u8 = b'r';
const WRITE: u8 = b'w';
const UPDATE: u8 = b'u';
const DONE: u8 = b'd';
const ABSENT: u8 = b'a';
const FAILED: u8 = b'f';
const UNKNOWN: u8 = b'?';

/// The state directory, open, so that the socket has a short address.
struct Address {
    directory: OpenFile,
    socket: String,
}

impl Address {
    fn of(at: &ClientContext) -> Result<Self, StrategyError> {
        let directory = OpenFile::open(&at.dir, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
        Ok(Self { directory, socket: format!("{}.sock", name(&at.file)) })
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{}", self.directory.fd().as_raw_fd(), self.socket))
    }
}

fn send(mut stream: &UnixStream, kind: u8, body: &[u8]) -> std::io::Result<()> {
    let mut message = Vec::with_capacity(body.len() + 5);
    message.extend_from_slice(&(body.len() as u32).to_le_bytes());
    message.push(kind);
    message.extend_from_slice(body);
    stream.write_all(&message)
}

fn receive(mut stream: &UnixStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if length > LENGTH_MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok((head[4], body))
}

/// What the owner holds in memory: the document as it is in the file.
struct Owned {
    habit: Habit,
    names: TempNames,
    document: Option<Vec<u8>>,
}

impl Owned {
    /// Answers one request.
    fn converse(&mut self, stream: &UnixStream, at: &ClientContext) -> std::io::Result<()> {
        stream.set_read_timeout(Some(at.patience))?;
        let (kind, body) = receive(stream)?;
        let (status, answer) = match kind {
            READ => match &self.document {
                Some(document) => (DONE, &document[..]),
                None => (ABSENT, &[][..]),
            },
            _ => {
                let changed = self.changed(at, kind, &body);
                if self.habit == Habit::AnswersFirst && changed.is_ok() {
                    send(stream, DONE, &[])?;
                }
                let (status, text) = match changed.and_then(|document| self.replace(at, document)) {
                    _ if self.habit == Habit::AnswersFirst => return Ok(()),
                    Ok(()) => (DONE, String::new()),
                    Err(error @ StrategyError::Unknown { .. }) => (UNKNOWN, error.to_string()),
                    Err(error) => (FAILED, error.to_string()),
                };
                return send(stream, status, text.as_bytes());
            }
        };
        send(stream, status, answer)
    }

    /// The document as a request wants it.
    fn changed(&self, at: &ClientContext, kind: u8, body: &[u8]) -> Result<Vec<u8>, StrategyError> {
        match kind {
            WRITE => Ok(body.to_vec()),
            UPDATE => {
                let found = if self.document.is_some() { Found::Present } else { Found::Absent };
                with_element(
                    at,
                    found,
                    self.document.as_deref().unwrap_or_default(),
                    &String::from_utf8_lossy(body),
                )
            }
            _ => Err(StrategyError::failed("the owner does not know this request")),
        }
    }

    fn replace(&mut self, at: &ClientContext, document: Vec<u8>) -> Result<(), StrategyError> {
        let written = write_file_atomic(&mut self.names, at, &at.file, &document);
        // An unknown outcome means that the file is replaced and perhaps not durably so.
        if matches!(written, Ok(()) | Err(StrategyError::Unknown { .. })) {
            self.document = Some(document);
        }
        written
    }
}

impl Strategy for Coordinator {
    fn info(&self) -> &'static StrategyInfo {
        self.info
    }

    fn prepare(&self, context: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        lay_down(context, document)
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        Ok(Box::new(Asker { at: context.clone(), address: Address::of(context)?, habit: self.habit }))
    }

    fn has_server(&self) -> bool {
        true
    }

    fn serve(
        &self,
        context: &ClientContext,
        ready: &mut dyn FnMut(),
        stop: &dyn Fn() -> bool,
    ) -> Result<(), StrategyError> {
        let lock = OpenFile::open(&context.sibling(".owner"), OFlags::RDWR | OFlags::CREATE, 0o644)?;
        lock.lock(FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| StrategyError::busy(format!("another owner is at work: {error}")))?;
        let mut document = Vec::new();
        let found = read_plainly(context, &mut document)?;
        let document = (found == Found::Present).then_some(document);
        let mut owned = Owned { habit: self.habit, names: TempNames::default(), document };

        let address = Address::of(context)?;
        // The socket of an owner that died is still there, and leads to nobody.
        let _ = calls::unlink(&context.sibling(".sock"));
        let failed = |what: &str, error: std::io::Error| {
            StrategyError::failed(format!("{what} {}: {error}", address.socket))
        };
        let listener = UnixListener::bind(address.path()).map_err(|error| failed("bind", error))?;
        set_socket_timeout(&listener, Timeout::Recv, Some(GLANCE))
            .map_err(|error| failed("listen on", error.into()))?;
        ready();

        let result = loop {
            if stop() {
                break Ok(());
            }
            match listener.accept() {
                // Whoever asks and does not wait for the answer loses nothing but that.
                Ok((stream, _)) => drop(owned.converse(&stream, context)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => (),
                Err(error) => break Err(failed("accept on", error)),
            }
        };
        let _ = calls::unlink(&context.sibling(".sock"));
        result
    }

    fn keeps(&self, context: &ClientContext, name: &str) -> bool {
        [".sock", ".owner"]
            .iter()
            .any(|suffix| context.sibling(suffix).file_name().is_some_and(|kept| kept == name))
    }

    fn follows_symlinks(&self) -> bool {
        false
    }
}

struct Asker {
    at: ClientContext,
    address: Address,
    habit: Habit,
}

impl Asker {
    fn connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(self.address.path())?;
        stream.set_read_timeout(Some(self.at.patience))?;
        stream.set_write_timeout(Some(self.at.patience))?;
        Ok(stream)
    }

    /// Asks, and waits for the answer. `into` is the answer's document.
    fn ask(&self, kind: u8, body: &[u8], into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let connection = self.connect().map_err(|error| {
            StrategyError::failed(format!("no owner: connect {}: {error}", self.address.socket))
        })?;
        let answer = send(&connection, kind, body).and_then(|()| receive(&connection));
        let (status, body) = answer.map_err(|error| {
            StrategyError::unknown(format!("the owner went away or did not answer in time: {error}"))
        })?;
        match status {
            DONE => {
                *into = body;
                Ok(Found::Present)
            }
            ABSENT => Ok(Found::Absent),
            UNKNOWN => Err(StrategyError::unknown(String::from_utf8_lossy(&body))),
            FAILED => Err(StrategyError::failed(String::from_utf8_lossy(&body))),
            _ => Err(StrategyError::unknown("the owner gave an answer that is none")),
        }
    }
}

impl Client for Asker {
    fn read(&mut self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        into.clear();
        self.ask(READ, &[], into)
    }

    fn write(&mut self, document: &[u8]) -> Result<(), StrategyError> {
        self.ask(WRITE, document, &mut Vec::new()).map(drop)
    }

    fn update(&mut self, element: &str) -> Result<(), StrategyError> {
        if self.habit == Habit::ClientsChange {
            let mut document = Vec::new();
            let found = self.ask(READ, &[], &mut document)?;
            let document = with_element(&self.at, found, &document, element)?;
            return self.ask(WRITE, &document, &mut Vec::new()).map(drop);
        }
        self.ask(UPDATE, element.as_bytes(), &mut Vec::new()).map(drop)
    }
}
