//! A ring of 64-bit words for one producer and one consumer in different processes. Records have
//! any length up to [`LONGEST_RECORD`]; each begins with a header word that holds its length.
//!
//! The positions of both sides count words and only grow. The producer stores the words of a record
//! and then, with release ordering, its new position: a record is there as a whole or not at all,
//! and a producer that is killed at any instruction leaves at worst words that nobody will read. A
//! process that takes its place goes on from the position that was published last. It must not
//! begin before the old producer has been reaped.
//!
//! A full ring never overwrites and never blocks: it refuses the record and counts the refusal.
//!
//! The ring knows its memory through [`Words`] alone. In production that is shared memory; the model
//! checker loom supplies atomics of its own, so the code that is checked is the code that runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where the producer's position is. Its line of the cache is the producer's alone.
pub const HEAD: usize = 0;
/// Where refusals are counted.
pub const REFUSED: usize = 1;
/// Where the consumer's position is, on a line of its own.
pub const TAIL: usize = 8;
/// Words before the first one of a record.
pub const HEADER: usize = 16;

/// Words that a record can have, its header included.
pub const LONGEST_RECORD: usize = (1 << LENGTH_BITS) - 1;
/// Bits of a record's tag, which travels in the header word.
pub const TAG_BITS: u32 = 64 - LENGTH_BITS;
const LENGTH_BITS: u32 = 20;

/// The memory of a ring: [`HEADER`] words and at least one more, all zero at first.
pub trait Words {
    /// How many words there are.
    fn count(&self) -> usize;
    /// Loads a word.
    fn load(&self, index: usize, order: Ordering) -> u64;
    /// Stores a word.
    fn store(&self, index: usize, value: u64, order: Ordering);
    /// Adds one to a word that both sides write.
    fn increment(&self, index: usize);
    /// Sets a word that both sides write to zero; returns what it was.
    fn take(&self, index: usize) -> u64;
}

impl Words for &[AtomicU64] {
    #[inline]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline]
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self[index].load(order)
    }

    #[inline]
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self[index].store(value, order);
    }

    fn increment(&self, index: usize) {
        self[index].fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self, index: usize) -> u64 {
        self[index].swap(0, Ordering::Relaxed)
    }
}

/// The ring has no room for a record. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring of events is full")]
pub struct Full;

/// The words of a ring make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at word {position}: {reason}")]
pub struct Corrupt {
    /// Words that were read before.
    pub position: u64,
    /// What is wrong.
    pub reason: String,
}

/// A ring, before one of its sides is taken.
#[derive(Clone, Copy, Debug)]
pub struct Ring<W> {
    words: W,
}

impl<W: Words> Ring<W> {
    /// The ring in these words.
    ///
    /// # Panics
    /// When there is no room for even one word of a record.
    pub fn new(words: W) -> Self {
        assert!(words.count() > HEADER, "a ring of {} words has no room for records", words.count());
        Self { words }
    }

    /// How many words were ever published.
    pub fn published(&self) -> u64 {
        self.words.load(HEAD, Ordering::Acquire)
    }

    /// The records between two positions that were published, each with its tag, whether they have been read or not.
    /// `None`: they are not there any more, or these are no places where records begin.
    pub fn records(&self, from: u64, to: u64) -> Option<Vec<(u64, Vec<u64>)>> {
        let capacity = self.words.count() - HEADER;
        if to < from || to - from > capacity as u64 {
            return None;
        }
        let mut records = Vec::new();
        let mut place = Place::new(from, capacity);
        while place.position < to {
            let header = self.words.load(place.advance(capacity), Ordering::Relaxed);
            let length = header & LONGEST_RECORD as u64;
            if length == 0 || length - 1 > to - place.position {
                return None;
            }
            let payload = (1..length).map(|_| self.words.load(place.advance(capacity), Ordering::Relaxed));
            records.push((header >> LENGTH_BITS, payload.collect()));
        }
        Some(records)
    }

    /// Passes over whatever was published so far. Nobody may be reading.
    pub fn discard(&self) {
        // Release: a producer that sees this may write over those words.
        self.words.store(TAIL, self.words.load(HEAD, Ordering::Acquire), Ordering::Release);
    }

    /// Takes back whatever was published after this position. There must be no producer now, and nobody has read it.
    pub fn rewind(&self, to: u64) {
        self.words.store(HEAD, to, Ordering::Release);
    }

    /// The side that writes. It takes up where the last producer stopped; there must be none now.
    pub fn producer(self) -> Producer<W> {
        let capacity = self.words.count() - HEADER;
        let head = Place::new(self.words.load(HEAD, Ordering::Acquire), capacity);
        let tail = self.words.load(TAIL, Ordering::Acquire);
        Producer { words: self.words, capacity, head, tail }
    }

    /// The side that reads. It takes up where the last consumer stopped; there must be none now.
    pub fn consumer(self) -> Consumer<W> {
        let capacity = self.words.count() - HEADER;
        let tail = Place::new(self.words.load(TAIL, Ordering::Relaxed), capacity);
        Consumer { words: self.words, capacity, tail, head: tail.position }
    }
}

/// A place in a ring: a position, and the index of its word.
#[derive(Clone, Copy, Debug)]
struct Place {
    position: u64,
    index: usize,
}

impl Place {
    fn new(position: u64, capacity: usize) -> Self {
        Self { position, index: (position % capacity as u64) as usize }
    }

    /// The word here; the place moves on by one.
    #[inline]
    fn advance(&mut self, capacity: usize) -> usize {
        let word = HEADER + self.index;
        self.position += 1;
        self.index += 1;
        if self.index == capacity {
            self.index = 0;
        }
        word
    }
}

/// The side that writes.
#[derive(Debug)]
pub struct Producer<W> {
    words: W,
    capacity: usize,
    /// Where the next record goes.
    head: Place,
    /// The consumer's position when it was last looked at. It may be further by now.
    tail: u64,
}

impl<W: Words> Producer<W> {
    /// Whether records of `count` words in all, headers included, can be written now.
    #[inline]
    pub fn has_room(&mut self, count: usize) -> bool {
        if self.room() < count as u64 {
            // Acquire: the words that are overwritten from here on have been read.
            self.tail = self.words.load(TAIL, Ordering::Acquire);
        }
        self.room() >= count as u64
    }

    #[inline]
    fn room(&self) -> u64 {
        // A tail beyond the head would be corrupt; then nothing is written.
        let used = self.head.position.checked_sub(self.tail).unwrap_or(u64::MAX);
        (self.capacity as u64).saturating_sub(used)
    }

    /// Writes and publishes a record: `tag`, of [`TAG_BITS`] bits, and `payload`.
    ///
    /// # Errors
    /// When there is no room, now or ever. The refusal is counted.
    #[inline]
    pub fn push(&mut self, tag: u64, payload: &[u64]) -> Result<(), Full> {
        debug_assert!(tag >> TAG_BITS == 0, "tag {tag:#x} is too wide");
        let length = payload.len() + 1;
        if length > LONGEST_RECORD || !self.has_room(length) {
            self.refuse();
            return Err(Full);
        }
        let mut head = self.head;
        let word = head.advance(self.capacity);
        self.words.store(word, (tag << LENGTH_BITS) | length as u64, Ordering::Relaxed);
        for &value in payload {
            let word = head.advance(self.capacity);
            self.words.store(word, value, Ordering::Relaxed);
        }
        // Release: whoever sees this position sees the words before it.
        self.words.store(HEAD, head.position, Ordering::Release);
        self.head = head;
        Ok(())
    }

    /// Counts a refusal that the caller decided on.
    pub fn refuse(&self) {
        self.words.increment(REFUSED);
    }
}

/// The side that reads.
#[derive(Debug)]
pub struct Consumer<W> {
    words: W,
    capacity: usize,
    tail: Place,
    /// The producer's position when it was last looked at.
    head: u64,
}

impl<W: Words> Consumer<W> {
    /// Takes the next record: returns its tag and puts its payload into `payload`, replacing what
    /// is there. `None`: there is none yet.
    ///
    /// # Errors
    /// When the words are not a ring's. The position stays.
    pub fn pop(&mut self, payload: &mut Vec<u64>) -> Result<Option<u64>, Corrupt> {
        if self.head == self.tail.position {
            self.head = self.words.load(HEAD, Ordering::Acquire);
            if self.head == self.tail.position {
                return Ok(None);
            }
        }
        let corrupt = |reason: String| Corrupt { position: self.tail.position, reason };
        let there = self.head.checked_sub(self.tail.position).filter(|&there| there <= self.capacity as u64);
        let Some(there) = there else {
            return Err(corrupt(format!("the producer is at {} of a ring of {}", self.head, self.capacity)));
        };
        let mut tail = self.tail;
        let header = self.words.load(tail.advance(self.capacity), Ordering::Relaxed);
        let length = header & LONGEST_RECORD as u64;
        if length == 0 || length > there {
            return Err(corrupt(format!("a record of {length} words where {there} are")));
        }
        payload.clear();
        for _ in 1..length {
            payload.push(self.words.load(tail.advance(self.capacity), Ordering::Relaxed));
        }
        // Release: the producer overwrites these words only after they have been read.
        self.words.store(TAIL, tail.position, Ordering::Release);
        self.tail = tail;
        Ok(Some(header >> LENGTH_BITS))
    }

    /// Words that were read since the ring began.
    pub fn position(&self) -> u64 {
        self.tail.position
    }

    /// How many records were refused since this was last asked.
    pub fn take_refused(&self) -> u64 {
        self.words.take(REFUSED)
    }
}
