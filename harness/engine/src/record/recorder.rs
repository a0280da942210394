//! The recorder of one client: stamps what the client does with the time and publishes it to a ring.
//!
//! An invocation is published before the call returns, so an operation whose effect can be seen was
//! recorded. The time of an end is taken by the caller, at once, and passed in: what a read saw is
//! judged afterwards, outside of the operation.
//!
//! Not covered: reading it back ([`super::Drain`]).

use std::sync::atomic::AtomicU64;

use tearproof_core::document::Stamp;
use tearproof_core::history::{Failure, Phase};
use tearproof_core::object::Operation;

use super::clock::Clock;
use super::event::{Carried, LONGEST_PLAIN, Moment, RawPayload, encode};
use super::ring::Producer;

/// Words of a ring that one operation may need, invocation and end together, but for the lists
/// that reads of sets and logs return.
pub const OPERATION_WORDS: usize = 2 * LONGEST_PLAIN;

/// Records what one client does, from one thread.
#[derive(Debug)]
pub struct Recorder<'m> {
    producer: Producer<&'m [AtomicU64]>,
    client: u32,
    /// The time of the last event. A recorder's events are in the order of their times, and an
    /// invocation is later than the end before it, so that times alone tell the order.
    last_ns: u64,
    /// Set when an event was refused. What comes after a gap would not fit what came before it, so
    /// nothing does.
    silent: bool,
    words: Vec<u64>,
    clock: Clock<'m>,
    /// The invocation of the next operation is in the ring already.
    is_invoked: bool,
}

impl<'m> Recorder<'m> {
    /// A recorder for `client`, from [`super::ring_at`]`(…).producer()`. Whoever takes a killed
    /// client's place uses the same ring, after that one was reaped, and another number.
    pub fn new(producer: Producer<&'m [AtomicU64]>, client: u32) -> Self {
        Self::with_clock(producer, client, Clock::Monotonic)
    }

    /// The same, with times from another clock.
    pub fn with_clock(producer: Producer<&'m [AtomicU64]>, client: u32, clock: Clock<'m>) -> Self {
        let words = Vec::with_capacity(LONGEST_PLAIN);
        Self { producer, client, last_ns: clock.now(), silent: false, words, clock, is_invoked: false }
    }

    /// The same, for a client some of whose operations were recorded in its place. It has looked at no clock by then.
    /// Whether the invocation of its next operation is among them, the last argument says.
    pub fn taking_over(
        producer: Producer<&'m [AtomicU64]>,
        client: u32,
        clock: Clock<'m>,
        is_invoked: bool,
    ) -> Self {
        let words = Vec::with_capacity(LONGEST_PLAIN);
        Self { producer, client, last_ns: 0, silent: false, words, clock, is_invoked }
    }

    /// The client that events are recorded for.
    pub fn client(&self) -> u32 {
        self.client
    }

    /// Records for another client from now on: the program that this thread drives was replaced.
    /// The last operation of the old one stays pending.
    pub fn become_client(&mut self, client: u32) {
        self.client = client;
        self.last_ns = self.last_ns.max(self.clock.now());
    }

    /// Whether `words` more can be recorded; asked before an operation begins, so that a client
    /// stops in good order. One operation needs [`OPERATION_WORDS`] at most; an acquire and its
    /// release need them twice.
    #[inline]
    pub fn has_room(&mut self, words: usize) -> bool {
        !self.silent && self.producer.has_room(words)
    }

    /// Records that an operation is about to begin; `value` is what it writes or adds.
    /// `intended_ns` is when it was due, if it was due at a certain time.
    ///
    /// `false` when there is no room for the invocation and an end, which cannot be where
    /// [`Recorder::has_room`] was asked. The operation must not be carried out then: nobody would
    /// know of it. The refusal is counted, and the recorder is silent from then on.
    #[inline]
    pub fn invoke(&mut self, operation: Operation, value: Option<Stamp>, intended_ns: Option<u64>) -> bool {
        self.begin(operation, value.map_or(Carried::None, Carried::Value), intended_ns)
    }

    /// The same with any payload: the invocation of a release says whether the holder's writes were
    /// refused.
    pub fn invoke_with(
        &mut self,
        operation: Operation,
        payload: &RawPayload,
        intended_ns: Option<u64>,
    ) -> bool {
        self.begin(operation, payload.into(), intended_ns)
    }

    /// As [`Recorder::invoke_with`], for an invocation at a time that the caller took before it knew
    /// what the payload would be.
    pub fn invoke_at(&mut self, time_ns: u64, operation: Operation, payload: &RawPayload) -> bool {
        if !self.make_room() {
            return false;
        }
        debug_assert!(time_ns >= self.last_ns, "an invocation before the end of the last operation");
        // Later than the end before it, as every invocation, and still before the operation begins.
        self.record(time_ns.max(self.last_ns + 1), Phase::Invoke, operation, None, payload.into());
        true
    }

    /// Records that the operation returned at `time_ns`, took effect, and saw `payload`. When there
    /// is no room, which happens to lists only, the operation stays pending, the refusal is counted
    /// and the recorder is silent from then on.
    #[inline]
    pub fn ok_at(&mut self, time_ns: u64, operation: Operation, payload: &RawPayload) {
        self.end(time_ns, Phase::Ok, operation, payload.into());
    }

    /// Records that the operation returned at `time_ns` and certainly had no effect.
    pub fn fail_at(&mut self, time_ns: u64, operation: Operation, failure: Failure, message: &str) {
        self.end(time_ns, Phase::Fail, operation, Carried::Failed(failure, message));
    }

    /// Records that the operation was over at `time_ns` and may have taken effect, or may still.
    pub fn info_at(&mut self, time_ns: u64, operation: Operation, failure: Failure, message: &str) {
        self.end(time_ns, Phase::Info, operation, Carried::Failed(failure, message));
    }

    #[inline]
    fn make_room(&mut self) -> bool {
        let room = self.has_room(OPERATION_WORDS);
        if !room {
            self.producer.refuse();
            self.silent = true;
        }
        room
    }

    #[inline]
    fn begin(&mut self, operation: Operation, carried: Carried<'_>, intended_ns: Option<u64>) -> bool {
        if std::mem::take(&mut self.is_invoked) {
            return true;
        }
        if !self.make_room() {
            return false;
        }
        let mut time_ns = self.clock.now();
        while time_ns <= self.last_ns {
            std::hint::spin_loop();
            time_ns = self.clock.now();
        }
        self.record(time_ns, Phase::Invoke, operation, intended_ns, carried);
        true
    }

    #[inline]
    fn end(&mut self, time_ns: u64, phase: Phase, operation: Operation, carried: Carried<'_>) {
        // An end that is later than it was only makes the operation longer, which is always safe.
        self.record(time_ns.max(self.last_ns), phase, operation, None, carried);
    }

    #[inline]
    fn record(
        &mut self,
        time_ns: u64,
        phase: Phase,
        operation: Operation,
        intended_ns: Option<u64>,
        carried: Carried<'_>,
    ) {
        if self.silent {
            return;
        }
        let moment = Moment { time_ns, client: self.client, phase, operation, intended_ns };
        let tag = encode(&moment, carried, &mut self.words);
        self.last_ns = time_ns;
        // The ring counts its refusals.
        self.silent = self.producer.push(tag, &self.words).is_err();
    }
}
