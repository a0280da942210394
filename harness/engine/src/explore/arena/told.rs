//! What the kernel tells of a thread in its `status` below `/proc`.

use std::fs::File;
use std::io::{self, Read};

/// In bytes. It is longer only on machines with many processors.
const USUAL_LENGTH: usize = 4096;

/// The text of a file that the kernel makes up, such as those below `/proc`. Its length is not known before, and each piece that
/// is asked for can take the kernel as long as all of it.
pub(super) fn text_of(path: &str) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut text = vec![0; USUAL_LENGTH];
    let mut length = 0;
    loop {
        length += file.read(&mut text[length..])?;
        // It had room for more.
        if length < text.len() {
            break;
        }
        text.resize(2 * length, 0);
    }
    text.truncate(length);
    // A name may be cut in the middle of a letter.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The text, a name and a value a line.
pub(super) struct Told(String);

impl Told {
    /// Of a thread that may have ended: then it says nothing.
    pub fn of_thread(tid: u32) -> Self {
        Self::by_tid(tid).unwrap_or_else(|_| Self(String::new()))
    }

    /// Of a thread that is there.
    pub fn by_tid(tid: u32) -> io::Result<Self> {
        text_of(&format!("/proc/{tid}/status")).map(Self)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }

    /// A number; of several, the last one.
    fn number(&self, name: &str) -> u32 {
        self.value(name).and_then(|value| value.split_whitespace().last()?.parse().ok()).unwrap_or(0)
    }

    /// A set of signals, a bit for each.
    fn signals(&self, name: &str) -> u64 {
        self.value(name).and_then(|value| u64::from_str_radix(value.trim(), 16).ok()).unwrap_or(0)
    }

    /// The process that the thread belongs to.
    pub fn process(&self) -> u32 {
        self.number("Tgid")
    }

    /// The process that started this one.
    pub fn parent(&self) -> u32 {
        self.number("PPid")
    }

    /// The process's number in the innermost namespace.
    pub fn inner(&self) -> u32 {
        self.number("NStgid")
    }

    /// The thread's own number in the innermost namespace.
    pub fn thread_inside(&self) -> u32 {
        self.number("NSpid")
    }

    /// Signals that wait to be delivered.
    pub fn pending(&self) -> u64 {
        self.signals("SigPnd") | self.signals("ShdPnd")
    }

    /// Whether this signal would end its process: it is neither caught, nor blocked, nor ignored.
    pub fn dies_of(&self, signal: i32) -> bool {
        const HARMLESS: [i32; 8] = [
            libc::SIGCHLD,
            libc::SIGCONT,
            libc::SIGURG,
            libc::SIGWINCH,
            libc::SIGSTOP,
            libc::SIGTSTP,
            libc::SIGTTIN,
            libc::SIGTTOU,
        ];
        let cared_for = self.signals("SigCgt") | self.signals("SigBlk") | self.signals("SigIgn");
        !HARMLESS.contains(&signal) && cared_for & 1 << (signal - 1) == 0
    }

    /// Those of them that would break off a call, if these are blocked in place of the thread's own set.
    pub fn due(&self, blocked: Option<u64>) -> u64 {
        self.pending() & !blocked.unwrap_or_else(|| self.signals("SigBlk")) & !self.signals("SigIgn")
    }
}
