//! Any event reads back as it was, and damaged words are refused rather than misread.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn stamp() -> impl Strategy<Value = Stamp> {
    // Near each other, so that runs are common; now and then at the end of what there is.
    prop_oneof![
        8 => (0..3_u32, 0..20_u32).prop_map(|(client, sequence)| Stamp::new(client, sequence)),
        1 => any::<u64>().prop_map(Stamp::unpack),
        1 => Just(Stamp::new(u32::MAX, u32::MAX)),
    ]
}

fn list() -> impl Strategy<Value = Vec<Stamp>> {
    let run = (stamp(), 1..30_u32).prop_map(|(first, length)| {
        let last = first.sequence.saturating_add(length - 1);
        (first.sequence..=last).map(|sequence| Stamp::new(first.client, sequence)).collect::<Vec<_>>()
    });
    prop_oneof![vec(stamp(), 0..60), vec(run, 0..8).prop_map(|runs| runs.concat())]
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

pub(in crate::record) fn payload() -> impl Strategy<Value = RawPayload> {
    prop_oneof![
        Just(RawPayload::None),
        stamp().prop_map(RawPayload::Value),
        Just(RawPayload::Absent),
        (select(TornKind::ALL), text()).prop_map(|(kind, text)| RawPayload::Torn(kind, text)),
        list().prop_map(RawPayload::List),
        (select(Failure::ALL), text()).prop_map(|(failure, text)| RawPayload::Failed(failure, text)),
        any::<bool>().prop_map(|held| RawPayload::Entered { held }),
        any::<bool>().prop_map(|refused| RawPayload::Left { refused }),
    ]
}

pub(in crate::record) fn event() -> impl Strategy<Value = RawEvent> {
    let numbers = (any::<u64>(), any::<u32>(), option::of(any::<u64>()));
    let names = (select(Phase::ALL), select(Operation::ALL));
    (numbers, names, payload()).prop_map(|((time_ns, client, intended_ns), (phase, operation), payload)| {
        RawEvent { time_ns, client, phase, operation, intended_ns, payload }
    })
}

pub(in crate::record) fn spell(event: &RawEvent, words: &mut Vec<u64>) -> u64 {
    let &RawEvent { time_ns, client, phase, operation, intended_ns, .. } = event;
    encode(&Moment { time_ns, client, phase, operation, intended_ns }, (&event.payload).into(), words)
}

proptest! {
    #[test]
    fn an_event_reads_back_as_it_was(event in event()) {
        let mut words = Vec::new();
        let tag = spell(&event, &mut words);
        prop_assert!(matches!(event.payload, RawPayload::List(_)) || words.len() < LONGEST_PLAIN);
        prop_assert_eq!(tag >> super::super::ring::TAG_BITS, 0);
        prop_assert_eq!(decode(tag, &words), Ok(event));
    }

    #[test]
    fn arbitrary_words_are_refused_or_read_but_never_panic(
        tag in 0..1_u64 << super::super::ring::TAG_BITS,
        words in vec(prop_oneof![any::<u64>(), 0..2000_u64], 0..40),
    ) {
        // A run of 2^32 values is well-formed; no test needs that much memory.
        prop_assume!(tag >> KIND & 15 != RUNS);
        if let Ok(event) = decode(tag, &words) {
            let mut again = Vec::new();
            let tag = spell(&event, &mut again);
            prop_assert_eq!(decode(tag, &again), Ok(event));
        }
    }
}

#[test]
fn a_long_text_is_cut_between_characters() {
    for letter in ["x", "é", "語", "🦀"] {
        let event = RawEvent {
            time_ns: 1,
            client: 2,
            phase: Phase::Fail,
            operation: Operation::Write,
            intended_ns: None,
            payload: RawPayload::Failed(Failure::Error, format!("a{}", letter.repeat(400))),
        };
        let mut words = Vec::new();
        let tag = spell(&event, &mut words);
        let RawPayload::Failed(_, text) = decode(tag, &words).expect("an event").payload else {
            panic!("another payload")
        };
        assert!(text.len() <= LONGEST_TEXT && text.len() > LONGEST_TEXT - letter.len());
        assert!(text[1..].chars().all(|c| letter.starts_with(c)));
    }
}

#[test]
fn a_run_of_consecutive_values_takes_two_words() {
    let stamps: Vec<Stamp> = (1..=1000).map(|sequence| Stamp::new(4, sequence)).collect();
    let mut words = Vec::new();
    assert_eq!(push_list(&stamps, &mut words), RUNS);
    assert_eq!(words, [Stamp::new(4, 1).pack(), 1000]);
}

#[test]
fn a_run_beyond_the_last_sequence_is_refused() {
    let mut words = [Stamp::new(4, u32::MAX).pack(), 2].into_iter();
    assert!(take_runs(&mut words).is_err());
    let mut words = [Stamp::new(4, u32::MAX).pack(), 1].into_iter();
    assert_eq!(take_runs(&mut words), Ok(vec![Stamp::new(4, u32::MAX)]));
    assert!(take_runs(&mut [Stamp::new(4, 1).pack(), 0].into_iter()).is_err());
}
