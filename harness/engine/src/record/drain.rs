//! The supervisor's side of a ring: takes what was recorded out of it, event by event.
//!
//! Words that are no event cannot come from a [`super::Recorder`]. They are an error rather than a
//! panic, so that a damaged recording makes an execution inconclusive and nothing else.

use std::sync::atomic::AtomicU64;

use super::event::{RawEvent, decode};
use super::memory::SharedRing;
use super::ring::{Consumer, Corrupt};

/// Words in a ring that are no events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the recording is damaged: {0}")]
pub struct DrainError(#[from] Corrupt);

/// Reads one ring.
#[derive(Debug)]
pub struct Drain<'m> {
    consumer: Consumer<&'m [AtomicU64]>,
    words: Vec<u64>,
}

impl<'m> Drain<'m> {
    /// A reader of this ring. It takes up where the last one stopped; nobody else may be reading.
    pub fn new(ring: SharedRing<'m>) -> Self {
        Self { consumer: ring.consumer(), words: Vec::new() }
    }

    /// Appends everything that has been published to `sink`, in the order of recording; returns how
    /// much it was. The room is free for the producer afterwards.
    ///
    /// # Errors
    /// When the words are no events. Those before them are in `sink`.
    pub fn drain(&mut self, sink: &mut Vec<RawEvent>) -> Result<usize, DrainError> {
        let before = sink.len();
        while let Some(event) = self.next_event()? {
            sink.push(event);
        }
        Ok(sink.len() - before)
    }

    /// Takes one event; `None` when there is none yet.
    ///
    /// # Errors
    /// When the words are no event.
    pub fn next_event(&mut self) -> Result<Option<RawEvent>, DrainError> {
        let position = self.consumer.position();
        let Some(tag) = self.consumer.pop(&mut self.words)? else { return Ok(None) };
        Ok(Some(decode(tag, &self.words).map_err(|reason| Corrupt { position, reason })?))
    }

    /// How many events were refused for want of room since this was last asked.
    pub fn take_refused(&mut self) -> u64 {
        self.consumer.take_refused()
    }
}

#[cfg(test)]
mod tests;
