//! A real process records as fast as it can and is killed by SIGKILL at no particular moment, many
//! times over on one ring: whatever it had published is there, whole and in order, and nothing else.

use std::io;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use tearproof_core::document::{Stamp, TornKind};
use tearproof_core::history::{Failure, Phase};
use tearproof_core::object::Operation;
use tearproof_engine::record::{
    Drain, OPERATION_WORDS, RawEvent, RawPayload, Recorder, SharedMemory, now_ns, ring_at,
};

/// Not a divisor of anything: records begin at every word of the ring.
const RING_BYTES: usize = 8 * 49_999;
const ROUNDS: u32 = 30;
const CLIENT: &str = "TEARPROOF_TEST_RECORDING_CLIENT";

/// What the n-th operation of a client returns: records of many lengths.
fn payload(client: u32, sequence: u32) -> RawPayload {
    match sequence % 5 {
        0 => RawPayload::List((0..sequence % 40).map(|n| Stamp::new(n % 3, sequence + n)).collect()),
        1 => RawPayload::Torn(TornKind::Mixed, "z".repeat(sequence as usize % 90)),
        2 => RawPayload::Absent,
        _ => RawPayload::Value(Stamp::new(client, sequence)),
    }
}

/// The process that is killed: this test, executed again.
#[test]
fn child_that_records_until_it_is_killed() {
    let Some(client) = std::env::var(CLIENT).ok().and_then(|text| text.parse().ok()) else { return };
    let descriptor = io::stdin().as_fd().try_clone_to_owned().expect("a descriptor");
    let memory = SharedMemory::from_fd(descriptor).expect("shared memory");
    let mut recorder = Recorder::new(ring_at(&memory, 0, RING_BYTES).producer(), client);
    for sequence in 1.. {
        while !recorder.has_room(2 * OPERATION_WORDS) {
            std::thread::yield_now();
        }
        assert!(recorder.invoke(Operation::Read, Some(Stamp::new(client, sequence)), None));
        if sequence % 7 == 0 {
            recorder.fail_at(now_ns(), Operation::Read, Failure::Busy, "held by somebody");
        } else {
            recorder.ok_at(now_ns(), Operation::Read, &payload(client, sequence));
        }
    }
}

/// Asserts that these are the events that a client records first, whole and without a gap.
fn check(client: u32, events: &[RawEvent], before_ns: &mut u64) {
    for (index, event) in (0_u32..).zip(events) {
        let sequence = index / 2 + 1;
        let (phase, expected) = match (index % 2, sequence % 7) {
            (0, _) => (Phase::Invoke, RawPayload::Value(Stamp::new(client, sequence))),
            (_, 0) => (Phase::Fail, RawPayload::Failed(Failure::Busy, "held by somebody".to_owned())),
            _ => (Phase::Ok, payload(client, sequence)),
        };
        assert_eq!((event.client, event.phase, &event.payload), (client, phase, &expected), "event {index}");
        let later =
            if phase == Phase::Invoke { event.time_ns > *before_ns } else { event.time_ns >= *before_ns };
        assert!(later, "event {index} at {} after {before_ns}", event.time_ns);
        *before_ns = event.time_ns;
    }
}

#[test]
fn what_a_killed_client_had_published_is_all_there_and_its_successor_goes_on() {
    let memory = SharedMemory::create(RING_BYTES).expect("shared memory");
    let program = std::env::current_exe().expect("this program");
    let mut before_ns = 0;
    let mut recorded = 0;
    let mut interrupted = 0;
    for client in 1..=ROUNDS {
        let mut child = Command::new(&program)
            .args(["--exact", "child_that_records_until_it_is_killed", "--nocapture"])
            .env(CLIENT, client.to_string())
            .stdin(Stdio::from(memory.as_fd().try_clone_to_owned().expect("a descriptor")))
            .stdout(Stdio::null())
            .spawn()
            .expect("a child");
        let mut drain = Drain::new(ring_at(&memory, 0, RING_BYTES));
        let mut events = Vec::new();
        // Killed after so many events or some more; how many more is up to the scheduler.
        while events.len() < 8_000 + 371 * client as usize {
            match drain.next_event().expect("no damage") {
                Some(event) => events.push(event),
                None => {
                    assert_eq!(child.try_wait().expect("a child"), None, "the child ended by itself");
                    std::thread::yield_now();
                }
            }
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("a dead child");
        drain.drain(&mut events).expect("no damage");
        assert_eq!(drain.next_event(), Ok(None));
        assert_eq!(drain.take_refused(), 0);
        check(client, &events, &mut before_ns);
        recorded += events.len();
        interrupted += events.len() % 2;
    }
    assert!(recorded > 100_000, "{recorded} events");
    println!("{recorded} events, {interrupted} of {ROUNDS} clients killed within an operation");
}
