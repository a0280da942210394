//! What an undisturbed run costs and how often its reads are torn: latency histograms, rates,
//! torn reads, and the messages of operations that failed.
//!
//! With a fixed rate, latency counts from the *intended* start of an operation, so that a client
//! which is kept waiting cannot hide it by asking less often (coordinated omission). Operations
//! that ended in `fail` or `info` are counted as errors and left out of latencies.

use std::collections::{BTreeMap, HashMap};

use hdrhistogram::Histogram;
use tearproof_core::claim::Hazard;
use tearproof_core::history::{Failure, Phase};
use tearproof_core::object::Operation;
use tearproof_core::run::{ErrorCount, Latency, TornReads};

use crate::record::{RawEvent, RawPayload};

/// The most different messages that are kept apart.
const MESSAGES: usize = 64;

/// What has been measured so far.
pub struct Measurements {
    /// Nothing that happened before counts, but for errors: CLOCK_MONOTONIC in nanoseconds.
    since_ns: u64,
    latency: BTreeMap<Operation, Histogram<u64>>,
    torn: TornReads,
    errors: HashMap<(Operation, Hazard, String), u64>,
    /// By client: when its operation under way was due, and which it is.
    pending: HashMap<u32, (u64, Operation)>,
    tried: BTreeMap<Operation, Tried>,
}

/// What became of the attempts at one operation.
#[derive(Default)]
struct Tried {
    succeeded: u64,
    /// Refusals that are an answer to what others do, as of a busy lock.
    refused: u64,
    /// Failures that are no such answer, deaths included; and how the first was put.
    failed: u64,
    first: String,
}

impl Measurements {
    /// Counts what happens from this instant on.
    pub fn since(since_ns: u64) -> Self {
        Self {
            since_ns,
            latency: BTreeMap::new(),
            torn: TornReads { reads: 0, torn: 0, writes: 0, elapsed_ns: 0 },
            errors: HashMap::new(),
            pending: HashMap::new(),
            tried: BTreeMap::new(),
        }
    }

    /// Adds one execution: its events in the order of their times. What came before the clients
    /// were let loose, or after the audit had begun, is no work of theirs and does not count.
    pub fn add(&mut self, events: &[RawEvent], go_ns: u64, audit_ns: u64, hazard: Hazard) {
        self.pending.clear();
        let mut last_ns = go_ns;
        for event in events.iter().filter(|event| (go_ns..audit_ns).contains(&event.time_ns)) {
            self.count(event);
            last_ns = last_ns.max(event.time_ns);
            match event.phase {
                Phase::Invoke => {
                    let due_ns = event.intended_ns.unwrap_or(event.time_ns);
                    self.pending.insert(event.client, (due_ns, event.operation));
                }
                Phase::Ok => {
                    let Some((begun_ns, _)) = self.pending.remove(&event.client) else { continue };
                    if begun_ns >= self.since_ns {
                        self.completed(event, begun_ns);
                    }
                }
                Phase::Fail | Phase::Info => {
                    self.pending.remove(&event.client);
                    self.failed(event, hazard);
                }
            }
        }
        for (_, operation) in self.pending.drain().map(|(_, pending)| pending) {
            self.tried.entry(operation).or_default().fail("it never returned");
        }
        self.torn.elapsed_ns += last_ns.saturating_sub(go_ns.max(self.since_ns));
    }

    fn count(&mut self, event: &RawEvent) {
        let failure = match (event.phase, &event.payload) {
            (Phase::Fail | Phase::Info, RawPayload::Failed(failure, message)) => Some((failure, message)),
            _ => None,
        };
        match (event.phase, failure) {
            (Phase::Ok, _) => self.tried.entry(event.operation).or_default().succeeded += 1,
            // That nobody answered is no answer to what others do either.
            (_, Some((Failure::Error | Failure::TimedOut, message))) => {
                self.tried.entry(event.operation).or_default().fail(message)
            }
            (_, Some((Failure::Killed, message))) => {
                self.tried.entry(event.operation).or_default().fail(message);
            }
            (_, Some((Failure::Busy, _))) => self.tried.entry(event.operation).or_default().refused += 1,
            _ => {}
        }
    }

    /// An operation that was tried and never once succeeded, in words: nothing that was not seen
    /// says anything then. A release is none, since the lock had been taken before it; and who was
    /// refused for what others did, and then killed, has been answered.
    pub fn fruitless(&self) -> Option<String> {
        let (operation, tried) = self.tried.iter().find(|(operation, tried)| {
            **operation != Operation::Release
                && tried.succeeded == 0
                && tried.failed > 0
                && tried.refused == 0
        })?;
        Some(format!("none of {} attempts at {operation} succeeded: {}", tried.failed, tried.first))
    }

    fn completed(&mut self, event: &RawEvent, begun_ns: u64) {
        let histogram = self
            .latency
            .entry(event.operation)
            .or_insert_with(|| Histogram::new(3).expect("three significant digits are possible"));
        // A histogram without bounds grows; it cannot refuse a value.
        let _ = histogram.record(event.time_ns.saturating_sub(begun_ns));
        match event.operation {
            Operation::Read => {
                self.torn.reads += 1;
                self.torn.torn += u64::from(matches!(event.payload, RawPayload::Torn(..)));
            }
            Operation::Write | Operation::Cas | Operation::Update | Operation::Append => {
                self.torn.writes += 1
            }
            Operation::Acquire | Operation::Release => {}
        }
    }

    fn failed(&mut self, event: &RawEvent, hazard: Hazard) {
        let message = match &event.payload {
            RawPayload::Failed(Failure::Busy, _) => "the lock was held for too long".to_owned(),
            RawPayload::Failed(_, message) => without_numbers(message),
            _ => "no message".to_owned(),
        };
        let key = (event.operation, hazard, message);
        if self.errors.len() < MESSAGES || self.errors.contains_key(&key) {
            *self.errors.entry(key).or_default() += 1;
        }
    }

    /// Latency by operation.
    pub fn latency(&self) -> BTreeMap<Operation, Latency> {
        let latency = |histogram: &Histogram<u64>| Latency {
            count: histogram.len(),
            min_ns: histogram.min(),
            p50_ns: histogram.value_at_quantile(0.5),
            p90_ns: histogram.value_at_quantile(0.9),
            p99_ns: histogram.value_at_quantile(0.99),
            p99_9_ns: histogram.value_at_quantile(0.999),
            max_ns: histogram.max(),
            mean_ns: histogram.mean(),
        };
        self.latency.iter().map(|(&operation, histogram)| (operation, latency(histogram))).collect()
    }

    /// Completed operations a second, over all clients.
    pub fn throughput_per_s(&self) -> BTreeMap<Operation, f64> {
        let seconds = self.torn.elapsed_ns as f64 / 1e9;
        let rate = |histogram: &Histogram<u64>| histogram.len() as f64 / seconds;
        let rates = self.latency.iter().map(|(&operation, histogram)| (operation, rate(histogram)));
        rates.filter(|(_, rate)| rate.is_finite()).collect()
    }

    /// How many reads were torn, if there was any read.
    pub fn torn_reads(&self) -> Option<TornReads> {
        (self.torn.reads > 0).then_some(self.torn)
    }

    /// The messages of failed operations, most frequent first.
    pub fn errors(&self) -> Vec<ErrorCount> {
        let mut errors: Vec<ErrorCount> = self
            .errors
            .iter()
            .map(|((operation, hazard, message), &count)| ErrorCount {
                operation: *operation,
                hazard: *hazard,
                message: message.clone(),
                count,
            })
            .collect();
        errors.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.message.cmp(&b.message)));
        errors
    }
}

impl Tried {
    fn fail(&mut self, message: &str) {
        if self.failed == 0 {
            message.clone_into(&mut self.first);
        }
        self.failed += 1;
    }
}

/// A message with `#` in place of the numbers of names that differ from operation to operation, so
/// that the same error counts as the same. Short numbers stay: they are error codes and positions.
fn without_numbers(message: &str) -> String {
    let mut kept = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = rest[start..].bytes().take_while(u8::is_ascii_digit).count();
        kept.push_str(&rest[..start]);
        let named = kept.ends_with(['-', '#', '/', '.']) || digits > 3;
        kept.push_str(if named { "#" } else { &rest[start..start + digits] });
        rest = &rest[start + digits..];
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time_ns: u64, phase: Phase, operation: Operation, intended_ns: Option<u64>) -> RawEvent {
        RawEvent { time_ns, client: 1, phase, operation, intended_ns, payload: RawPayload::None }
    }

    #[test]
    fn latency_counts_from_the_intended_start() {
        let mut measurements = Measurements::since(0);
        let events = [
            event(1_000, Phase::Invoke, Operation::Write, Some(400)),
            event(1_500, Phase::Ok, Operation::Write, None),
        ];
        measurements.add(&events, 0, 9_000, Hazard::Concurrency);
        assert_eq!(measurements.latency()[&Operation::Write].max_ns, 1_100);
    }

    #[test]
    fn the_warm_up_and_the_auditor_do_not_count() {
        let mut measurements = Measurements::since(1_200);
        let events = [
            event(1_000, Phase::Invoke, Operation::Write, None),
            event(1_500, Phase::Ok, Operation::Write, None),
            event(1_600, Phase::Invoke, Operation::Write, None),
            event(1_700, Phase::Ok, Operation::Write, None),
        ];
        measurements.add(&events, 900, 9_000, Hazard::Concurrency);
        assert_eq!(measurements.latency()[&Operation::Write].count, 1);
        let mut audited = Measurements::since(0);
        audited.add(&events, 900, 1_000, Hazard::Concurrency);
        assert!(audited.latency().is_empty());
        let mut planted = Measurements::since(0);
        planted.add(&events, 1_600, 9_000, Hazard::Concurrency);
        assert_eq!(planted.latency()[&Operation::Write].count, 1);
    }

    #[test]
    fn an_operation_that_never_succeeds_is_found_and_a_busy_lock_is_none() {
        let failed = |failure, operation| RawEvent {
            payload: RawPayload::Failed(failure, "no".to_owned()),
            ..event(20, Phase::Fail, operation, None)
        };
        let mut measurements = Measurements::since(0);
        let invoked = event(10, Phase::Invoke, Operation::Acquire, None);
        let busy = failed(Failure::Busy, Operation::Acquire);
        measurements.add(&[invoked, busy], 0, 100, Hazard::Concurrency);
        assert_eq!(measurements.fruitless(), None);
        let read = event(10, Phase::Invoke, Operation::Read, None);
        measurements.add(&[read, failed(Failure::Error, Operation::Read)], 0, 100, Hazard::Concurrency);
        assert_eq!(measurements.fruitless().as_deref(), Some("none of 1 attempts at read succeeded: no"));
    }

    #[test]
    fn what_timed_out_was_killed_or_is_still_pending_never_succeeded_either() {
        let ended = |failure, phase| RawEvent {
            payload: RawPayload::Failed(failure, "no answer within 5s".to_owned()),
            ..event(20, phase, Operation::Update, None)
        };
        let invoked = || event(10, Phase::Invoke, Operation::Update, None);
        for hazard in [Hazard::Concurrency, Hazard::Kill] {
            for last in [
                vec![ended(Failure::TimedOut, Phase::Info)],
                vec![ended(Failure::Killed, Phase::Info)],
                vec![],
            ] {
                let mut measurements = Measurements::since(0);
                // That others could read says nothing of updates.
                let read = [
                    event(1, Phase::Invoke, Operation::Read, None),
                    event(2, Phase::Ok, Operation::Read, None),
                    invoked(),
                ];
                let events: Vec<RawEvent> = read.into_iter().chain(last.clone()).collect();
                measurements.add(&events, 0, 100, hazard);
                let said = measurements.fruitless().expect("no update succeeded");
                assert!(said.starts_with("none of 1 attempts at update succeeded: "), "{said}");
                let done = [invoked(), event(20, Phase::Ok, Operation::Update, None)];
                measurements.add(&done, 0, 100, hazard);
                assert_eq!(measurements.fruitless(), None);
            }
        }
    }

    #[test]
    fn messages_that_differ_in_names_alone_are_one() {
        assert_eq!(
            without_numbers("rename .state.json.tmp-1-44 to state.json: No such file (os error 2)"),
            "rename .state.json.tmp-#-# to state.json: No such file (os error 2)"
        );
        assert_eq!(without_numbers("line 1 column 1 (char 0)"), "line 1 column 1 (char 0)");
    }
}
