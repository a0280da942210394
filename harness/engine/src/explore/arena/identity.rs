//! What a client takes for unique and for random: its process id, the time at which it started, and
//! the bytes that the kernel draws for it.
//!
//! All of these are the same in every execution, so that file names and contents that are made of
//! them are, too, whether they ask the kernel, read them from a device or find them where their program
//! begins. Process ids are such as no kernel gives, so they stand for a client wherever they
//! come back: in `kill` and below `/proc`. Random bytes follow from the thread and from how many
//! were drawn in this execution; two threads never get the same.
//!
//! Not covered: what a process has drawn before, and goes on using, is no longer what a new one
//! would draw. That shows as a replay that goes another way, and then every execution gets processes
//! of its own ([`Arena::renew_processes`]).

use std::fs::File;
use std::io::{Seek, Write};

use smallvec::{SmallVec, smallvec};

use super::fate::sees_life;
use super::perform::{Effect, Ending};
use super::tree::digest;
use super::{Arena, ArenaError, Pending, State};
use crate::explore::access::Footprint;
use crate::explore::gate::{Answer, At, Auxiliary, Call, ClientMemory, Notification, Span};

/// The process id that the first client sees. No kernel gives numbers above 2^22.
const FIRST_PID: i32 = 5_000_001;
/// The time at which the first one started, in ticks since the machine did.
const FIRST_START: u64 = 7_000_001;
/// Fields of `/proc/PID/stat` from the state on.
const FIELDS: usize = 50;
/// Random bytes that one call brings at most.
const RANDOM_MAX: usize = 1 << 20;
/// Where in the auxiliary vector the address of 16 random bytes is.
const AT_RANDOM: u64 = 25;

impl Arena<'_> {
    /// The process id that a client sees.
    pub(super) const fn virtual_pid(process: usize) -> i32 {
        FIRST_PID + process as i32
    }

    /// The client that a process id stands for.
    fn who_is(&self, pid: i32) -> Option<usize> {
        usize::try_from(pid.checked_sub(FIRST_PID)?)
            .ok()
            .filter(|&client| client < self.specification.processes.len())
    }

    /// The client that a path below `/proc` is about, and the rest of the path.
    fn asks_after<'p>(&self, asking: usize, at: &'p At) -> Option<(usize, &'p [u8])> {
        let rest = at.path.strip_prefix(b"/proc/")?;
        let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let (who, rest) = rest.split_at(end);
        let process = match who {
            b"self" => asking,
            who => self.who_is(std::str::from_utf8(who).ok()?.parse().ok()?)?,
        };
        // Others of its files are its own affair.
        (who != b"self" || rest == b"/stat").then_some((process, rest))
    }

    /// Whether a call asks whether a client lives, which others may end.
    pub(super) fn asks_for_life(&self, asking: usize, call: &Call) -> Option<usize> {
        match call {
            Call::Kill { pid, .. } | Call::ThreadKill { pid, .. } => self.who_is(*pid),
            Call::Open { at, .. } => self.asks_after(asking, at).map(|(process, _)| process),
            _ => None,
        }
    }

    /// A call about a client's life: at once if nothing can happen to it, and as a step if it may.
    pub(super) fn ask_for_life(
        &mut self,
        index: usize,
        notification: Notification,
        call: Call,
        about: usize,
    ) -> Result<(), ArenaError> {
        if self.is_fated(about) && about != self.threads[index].process {
            self.threads[index].state = State::AtGate(Pending::new(notification, call));
            return Ok(());
        }
        let process = self.threads[index].process;
        self.threads[index].state = State::Running;
        match self.tell_of_life(process, &call)? {
            Ending::Loose(file) => self.hand_over_loose(index, &notification, file).map(drop),
            Ending::Answer(answer) => match self.answer(index, &notification, answer) {
                // It has killed itself: that is seen when nothing more comes.
                Err(ArenaError::Client(_)) if about == process => Ok(()),
                answered => answered,
            },
            other => Err(ArenaError::Confused(format!("{other:?} is no answer to a question"))),
        }
    }

    /// The same as a step.
    pub(super) fn see_life(
        &mut self,
        process: usize,
        call: &Call,
        about: usize,
    ) -> Result<Effect, ArenaError> {
        let footprint: Footprint = smallvec![sees_life(about)];
        let ending = self.tell_of_life(process, call)?;
        Ok(Effect { footprint, potential: SmallVec::new(), ending, yields: false })
    }

    fn tell_of_life(&mut self, process: usize, call: &Call) -> Result<Ending, ArenaError> {
        let errno = |errno| Ok(Ending::Answer(Answer::Errno(errno)));
        match call {
            Call::Kill { pid, signal } | Call::ThreadKill { pid, signal, .. } => {
                let Some(about) = self.who_is(*pid).filter(|&about| self.is_alive(about)) else {
                    return errno(libc::ESRCH);
                };
                if *signal != 0 && about != process {
                    self.note_escape("a client sent a signal to another one");
                }
                let pid = self.processes[about].pid() as i32;
                let tid = if let Call::ThreadKill { tid, .. } = call { Some(*tid) } else { None };
                // SAFETY: takes plain numbers; the process is a child that was not reaped.
                let sent = unsafe {
                    match tid {
                        Some(tid) => libc::syscall(libc::SYS_tgkill, pid, tid, *signal),
                        None => libc::kill(pid, *signal).into(),
                    }
                };
                match sent {
                    0 => Ok(Ending::Answer(Answer::Value(0))),
                    _ => errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EPERM)),
                }
            }
            Call::Open { at, .. } => {
                let Some((about, rest)) = self.asks_after(process, at) else { return errno(libc::ENOENT) };
                if !self.is_alive(about) {
                    return errno(libc::ENOENT);
                }
                if rest != b"/stat" {
                    self.note_escape(
                        "a client read what the kernel tells of another one, other than its stat",
                    );
                    return errno(libc::ENOENT);
                }
                let all = self.drives(self.processes[process].client);
                match stat_of(self.processes[about].pid(), about, all) {
                    Ok(file) => Ok(Ending::Loose(file)),
                    Err(error) => errno(error.raw_os_error().unwrap_or(libc::EIO)),
                }
            }
            other => Err(ArenaError::Confused(format!("{other:?} asks after nobody"))),
        }
    }

    /// Whether a client is told numbers of inodes that are the same in every execution. Programs may compare them with
    /// what they find elsewhere.
    pub(super) fn numbers_inodes(&self, process: usize) -> bool {
        !self.drives(self.processes[process].client)
    }

    /// Random bytes.
    pub(super) fn draw(
        &mut self,
        index: usize,
        notification: &Notification,
        into: &[Span],
    ) -> Result<(), ArenaError> {
        let is_ready = self.keeps_worker(self.client_index(index));
        let mut left = RANDOM_MAX;
        let mut told = Ok(());
        self.threads[index].state = State::Running;
        for span in into {
            let thread = &mut self.threads[index];
            let length = span.length.min(left);
            left -= length;
            let mut bytes: Vec<u8> = Vec::with_capacity(length + 8);
            while bytes.len() < length {
                thread.drawn += 1;
                bytes.extend_from_slice(&digest(&("random", thread.id.0, thread.drawn)).to_ne_bytes());
            }
            let process = thread.process;
            told = told.and(self.write_to(process, span.address, &bytes[..length]));
        }
        let thread = &mut self.threads[index];
        if !is_ready {
            thread.drawn_when_ready = thread.drawn;
        }
        let drawn = (RANDOM_MAX - left) as i64;
        let answer = if told.is_ok() { Answer::Value(drawn) } else { Answer::Errno(libc::EFAULT) };
        self.answer(index, notification, answer)
    }

    /// The bytes that the kernel lays beside the arguments of a program, by which C libraries and languages make
    /// their own chance.
    pub(super) fn tell_chance_of_start(
        &mut self,
        index: usize,
        told: &Auxiliary,
        memory: &ClientMemory,
    ) -> std::io::Result<()> {
        let is_ready = self.keeps_worker(self.client_index(index));
        let thread = &mut self.threads[index];
        // One program after the other may be executed by the same thread.
        thread.drawn += 1;
        if !is_ready {
            thread.drawn_when_ready = thread.drawn;
        }
        let Some(address) = told.value(AT_RANDOM) else { return Ok(()) };
        let half = |number: u32| digest(&("start", thread.id.0, thread.drawn, number)).to_ne_bytes();
        memory.write(address, &[half(0), half(1)].concat())
    }
}

/// What `/proc/PID/stat` says, with the process id and the start that clients see. `all`: with everything else as it is;
/// otherwise with nothing that is another thing each time.
fn stat_of(pid: u32, process: usize, all: bool) -> std::io::Result<File> {
    let (name, mut fields) = if all {
        let text = std::fs::read(format!("/proc/{pid}/stat"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let (name, rest) =
            text.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).unwrap_or(("", ""));
        (name.to_owned(), rest.split_ascii_whitespace().map(str::to_owned).collect())
    } else {
        let mut fields = vec!["0".to_owned(); FIELDS];
        "S".clone_into(&mut fields[0]);
        ("client".to_owned(), fields)
    };
    // The state is the third field of the file and the first one here.
    if let Some(start) = fields.get_mut(22 - 3) {
        *start = (FIRST_START + process as u64).to_string();
    }
    let name_of_file = rustix::fs::memfd_create("stat", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(name_of_file);
    // At once: a file that is written piece by piece is a call for each.
    file.write_all(format!("{} ({name}) {}\n", FIRST_PID + process as i32, fields.join(" ")).as_bytes())?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_stat_keeps_its_form_and_says_who_it_is_about() {
        let real = std::fs::read_to_string("/proc/self/stat").expect("readable");
        for all in [false, true] {
            let mut text = String::new();
            let mut file = stat_of(std::process::id(), 3, all).expect("this process has one");
            file.read_to_string(&mut text).expect("readable");
            let tail = |text: &str| text.rsplit(')').next().expect("a tail").split_whitespace().count();
            assert_eq!(tail(&text), tail(&real));
            assert!(text.starts_with(&format!("{} (", FIRST_PID + 3)));
            let field = |number: usize| {
                let field = text.rsplit(')').next().and_then(|tail| tail.split_whitespace().nth(number));
                field.expect("a field").to_owned()
            };
            assert_eq!(field(19), (FIRST_START + 3).to_string());
            assert_eq!(field(1) == "0", !all, "{text}");
        }
    }
}
