//! What an agent behind a gate and its supervisor tell each other of requests to a worker: [`Cue`].
//!
//! What an agent asks is the same in every execution. So the supervisor, once it has heard an agent's requests, may
//! ask the worker in its place, and answer for it as the agent did when it got the same answer. As soon as anything
//! else comes, the agent takes its part over, in the middle of an operation.
//!
//! The cue lies in the agent's memory, which the supervisor reads and writes.

use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// The requests of one client.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Cue {
    /// Where the request lies that was sent last, how long it is, and by which descriptor it was sent.
    request: AtomicU64,
    length: AtomicU64,
    stdin: AtomicU64,
    /// Operations of this execution that were done in the agent's place.
    done: AtomicU64,
    /// Whether the one after them was begun in its place, and its request was sent.
    asked: AtomicU64,
}

/// How far an agent's part was played in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayedFor {
    /// So many of its operations are done.
    pub done: u64,
    /// The next one was begun, and its request was sent.
    pub asked: bool,
}

impl PlayedFor {
    /// Where [`Self::to_bytes`] are to be written, from where the cue begins.
    pub const OFFSET: u64 = offset_of!(Cue, done) as u64;

    /// As they lie in a cue.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.done.to_ne_bytes());
        bytes[8..].copy_from_slice(&u64::from(self.asked).to_ne_bytes());
        bytes
    }

    /// Whether anything was.
    pub const fn is_nothing(self) -> bool {
        self.done == 0 && !self.asked
    }
}

impl Cue {
    /// Notes a request, as long as it lies where it is.
    pub(super) fn note_request(&self, request: &[u8], stdin: Option<BorrowedFd<'_>>) {
        self.request.store(request.as_ptr() as u64, Ordering::SeqCst);
        self.length.store(request.len() as u64, Ordering::SeqCst);
        // No descriptor: minus one, as the kernel has it.
        let stdin = stdin.map_or(-1, |stdin| stdin.as_raw_fd());
        self.stdin.store(i64::from(stdin).cast_unsigned(), Ordering::SeqCst);
    }

    /// There is none any more.
    pub(super) fn forget_request(&self) {
        self.length.store(0, Ordering::SeqCst);
    }

    /// The length of the request, if there is one.
    #[cfg(test)]
    pub(super) fn request_length(&self) -> u64 {
        self.length.load(Ordering::SeqCst)
    }

    /// How far the agent's part was played for it when it is to go on. What it asks next comes after that.
    pub fn played_for(&self) -> PlayedFor {
        let done = self.done.load(Ordering::SeqCst);
        PlayedFor { done, asked: self.asked.load(Ordering::SeqCst) != 0 }
    }

    /// The same, once: from now on the agent plays itself.
    pub fn take_over(&self) -> PlayedFor {
        let played = self.played_for();
        self.done.store(0, Ordering::SeqCst);
        self.asked.store(0, Ordering::SeqCst);
        played
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_played_is_taken_over_once() {
        let cue = Cue::default();
        assert!(cue.played_for().is_nothing());
        let played = PlayedFor { done: 2, asked: true };
        let bytes = played.to_bytes();
        let words = [&cue.done, &cue.asked];
        for (word, bytes) in words.into_iter().zip(bytes.as_chunks::<8>().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::SeqCst);
        }
        let from = (&raw const cue) as u64;
        assert_eq!((&raw const cue.done) as u64 - from, PlayedFor::OFFSET);
        assert_eq!(cue.played_for(), played);
        assert_eq!(cue.take_over(), played);
        assert!(cue.take_over().is_nothing());
    }
}
