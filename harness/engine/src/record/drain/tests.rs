//! Events through a ring in shared memory: any capacity, any number of times round it, overflow,
//! and changes of hands on either side.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use proptest::collection::vec;
use proptest::prelude::*;
use tearproof_core::document::Stamp;
use tearproof_core::object::Operation;

use super::super::event::tests::{event, spell};
use super::super::event::{LONGEST_PLAIN, RawPayload};
use super::super::memory::{SharedMemory, ring_at};
use super::super::recorder::{OPERATION_WORDS, Recorder};
use super::super::ring::{HEAD, HEADER};
use super::*;

proptest! {
    #[test]
    fn what_went_in_comes_out_in_order_whatever_the_capacity(
        events in vec((event(), 0..4_u8), 1..80),
        capacity in 1..120_usize,
    ) {
        let memory = SharedMemory::create(8 * (HEADER + capacity)).expect("memory");
        let ring = || ring_at(&memory, 0, memory.bytes());
        let (mut producer, mut drain) = (ring().producer(), Drain::new(ring()));
        let (mut inside, mut refused, mut used) = (VecDeque::new(), 0, 0);
        let mut words = Vec::new();
        for (event, also) in events {
            let tag = spell(&event, &mut words);
            let length = words.len() + 1;
            let fits = used + length <= capacity;
            prop_assert_eq!(producer.has_room(length), fits);
            prop_assert_eq!(producer.push(tag, &words).is_ok(), fits);
            if fits {
                inside.push_back(event);
                used += length;
            } else {
                refused += 1;
            }
            match also {
                0 => {
                    let mut sink = Vec::new();
                    prop_assert_eq!(drain.drain(&mut sink), Ok(inside.len()));
                    prop_assert_eq!(sink, inside.drain(..).collect::<Vec<_>>());
                    used = 0;
                }
                1 => {
                    let next = inside.pop_front();
                    if let Some(event) = &next {
                        spell(event, &mut words);
                        used -= words.len() + 1;
                    }
                    prop_assert_eq!(drain.next_event(), Ok(next));
                }
                2 => producer = ring().producer(),
                _ => drain = Drain::new(ring()),
            }
        }
        prop_assert_eq!(drain.take_refused(), refused);
        prop_assert_eq!(drain.take_refused(), 0);
    }
}

#[test]
fn a_full_ring_refuses_counts_and_stays_silent_but_loses_nothing_that_it_took() {
    let memory = SharedMemory::create(4096).expect("memory");
    let ring = || ring_at(&memory, 0, memory.bytes());
    let mut recorder = Recorder::new(ring().producer(), 3);
    let mut drain = Drain::new(ring());
    let mut writes = 0;
    while recorder.has_room(OPERATION_WORDS) {
        writes += 1;
        assert!(recorder.invoke(Operation::Write, Some(Stamp::new(3, writes)), None));
        recorder.ok_at(crate::record::now_ns(), Operation::Write, &RawPayload::None);
    }
    assert!(writes > 10);
    assert!(!recorder.invoke(Operation::Read, None, None));
    recorder.ok_at(crate::record::now_ns(), Operation::Read, &RawPayload::Absent);
    assert_eq!(drain.take_refused(), 1);
    let mut events = Vec::new();
    assert_eq!(drain.drain(&mut events), Ok(2 * writes as usize));
    assert!(events.iter().all(|event| event.operation == Operation::Write));
    assert!(events.is_sorted_by_key(|event| event.time_ns));
    // There is room again, but also a gap.
    assert!(!recorder.has_room(1));
    assert!(!recorder.invoke(Operation::Read, None, None));
    let mut successor = Recorder::new(ring().producer(), 4);
    assert!(successor.has_room(OPERATION_WORDS) && successor.invoke(Operation::Read, None, Some(17)));
    let event = drain.next_event().expect("no damage").expect("an event");
    assert_eq!((event.client, event.intended_ns), (4, Some(17)));
}

#[test]
fn a_list_that_is_too_long_leaves_its_read_pending() {
    let memory = SharedMemory::create(8 * (HEADER + 100)).expect("memory");
    let mut recorder = Recorder::new(ring_at(&memory, 0, memory.bytes()).producer(), 1);
    assert!(recorder.invoke(Operation::Read, None, None));
    let list = (0..200).map(|client| Stamp::new(client, 1)).collect();
    recorder.ok_at(crate::record::now_ns(), Operation::Read, &RawPayload::List(list));
    let mut drain = Drain::new(ring_at(&memory, 0, memory.bytes()));
    let mut events = Vec::new();
    assert_eq!(drain.drain(&mut events), Ok(1));
    assert_eq!(drain.take_refused(), 1);
    assert!(!recorder.has_room(LONGEST_PLAIN));
}

#[test]
fn damaged_words_are_an_error() {
    let memory = SharedMemory::create(4096).expect("memory");
    let ring = || ring_at(&memory, 0, memory.bytes());
    memory.u64_at(8 * HEAD).store(5, Ordering::Relaxed);
    let error = Drain::new(ring()).drain(&mut Vec::new()).expect_err("no record has no words");
    assert_eq!(error.to_string(), "the recording is damaged: at word 0: a record of 0 words where 5 are");
    memory.u64_at(8 * HEAD).store(5000, Ordering::Relaxed);
    assert!(Drain::new(ring()).drain(&mut Vec::new()).is_err());
    memory.u64_at(8 * HEAD).store(2, Ordering::Relaxed);
    // One word of payload, and 15 as its kind.
    memory.u64_at(8 * HEADER).store((15 << 37) << 20 | 2, Ordering::Relaxed);
    let error = Drain::new(ring()).drain(&mut Vec::new()).expect_err("there is no such kind");
    assert!(error.to_string().ends_with("15 is no kind of payload"), "{error}");
}
