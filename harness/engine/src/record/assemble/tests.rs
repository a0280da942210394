//! Order, ties, deaths and successors.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const REGISTER: Start = Start { object: Object::Register, initial: Some(Stamp::INITIAL) };
const LOCK: Start = Start { object: Object::Lock, initial: None };

fn event(time_ns: u64, client: u32, phase: Phase, operation: Operation, payload: RawPayload) -> RawEvent {
    RawEvent { time_ns, client, phase, operation, intended_ns: None, payload }
}

fn invoke(time_ns: u64, client: u32, operation: Operation) -> RawEvent {
    event(time_ns, client, Phase::Invoke, operation, RawPayload::None)
}

fn ok(time_ns: u64, client: u32, operation: Operation) -> RawEvent {
    event(time_ns, client, Phase::Ok, operation, RawPayload::None)
}

fn entered(time_ns: u64, client: u32) -> RawEvent {
    event(time_ns, client, Phase::Ok, Operation::Acquire, RawPayload::Entered { held: true })
}

fn killed(client: u32, struck_ns: u64, time_ns: u64) -> Death {
    Death { client, struck_ns, time_ns, failure: Failure::Killed }
}

fn shape(history: &History) -> Vec<(u64, u32, Phase, Operation)> {
    history.operations().expect("well formed");
    history.events.iter().map(|e| (e.time_ns, e.client, e.phase, e.operation)).collect()
}

#[test]
fn operations_that_touch_in_a_nanosecond_are_concurrent() {
    let mut events = vec![
        invoke(5, 1, Operation::Write),
        ok(9, 1, Operation::Write),
        invoke(9, 2, Operation::Read),
        ok(9, 2, Operation::Read),
        invoke(10, 2, Operation::Read),
    ];
    let history = assemble(&mut events, &[], REGISTER).expect("a history");
    let spans = history.operations().expect("well formed");
    assert!(!spans[0].precedes(&spans[1]) && !spans[1].precedes(&spans[0]));
    assert!(spans[0].precedes(&spans[2]) && spans[1].precedes(&spans[2]));
    assert_eq!(history.value_name(history.initial.expect("a value")), "initial");
}

#[test]
fn values_lists_and_notes_keep_their_content() {
    let (first, second) = (Stamp::new(1, 1), Stamp::new(2, 1));
    let mut events = vec![
        event(1, 1, Phase::Invoke, Operation::Append, RawPayload::Value(first)),
        ok(2, 1, Operation::Append),
        invoke(3, 1, Operation::Read),
        event(4, 1, Phase::Ok, Operation::Read, RawPayload::List(vec![second, first, second])),
        invoke(5, 1, Operation::Read),
        event(
            6,
            1,
            Phase::Ok,
            Operation::Read,
            RawPayload::Torn(tearproof_core::TornKind::Mixed, "so".into()),
        ),
    ];
    let history =
        assemble(&mut events, &[], Start { object: Object::Log, initial: None }).expect("a history");
    let Payload::List(list) = history.events[3].payload else { panic!("no list") };
    let names: Vec<String> = history.list(list).iter().map(|&value| history.value_name(value)).collect();
    assert_eq!(names, ["c2#1", "c1#1", "c2#1"]);
    let Payload::Torn(_, note) = history.events[5].payload else { panic!("not torn") };
    assert_eq!(history.note(note), "so");
}

#[test]
fn who_dies_in_an_operation_leaves_it_unknown_and_a_successor_goes_on() {
    let mut events = vec![
        invoke(5, 1, Operation::Write),
        // The successor wrote to the same ring.
        invoke(30, 7, Operation::Read),
        ok(40, 7, Operation::Read),
        invoke(6, 2, Operation::Read),
        ok(50, 2, Operation::Read),
    ];
    let history =
        assemble(&mut events, &[killed(1, 10, 20), killed(99, 10, 20)], REGISTER).expect("a history");
    let Payload::Failed(Failure::Killed, note) = history.events[2].payload else { panic!("not killed") };
    assert_eq!(history.note(note), "the process was killed");
    assert_eq!(
        shape(&history),
        [
            (5, 1, Phase::Invoke, Operation::Write),
            (6, 2, Phase::Invoke, Operation::Read),
            (20, 1, Phase::Info, Operation::Write),
            (30, 7, Phase::Invoke, Operation::Read),
            (40, 7, Phase::Ok, Operation::Read),
            (50, 2, Phase::Ok, Operation::Read),
        ]
    );
}

#[test]
fn an_operation_that_nobody_ended_stays_pending() {
    let history = assemble(&mut [invoke(5, 1, Operation::Write)], &[], REGISTER).expect("a history");
    assert_eq!(history.operations().expect("well formed")[0].end, tearproof_core::history::Span::NEVER);
}

#[test]
fn a_holder_that_was_struck_is_not_inside_any_more_when_another_enters_before_it_is_reaped() {
    let mut events = vec![
        invoke(1, 1, Operation::Acquire),
        entered(2, 1),
        invoke(3, 2, Operation::Acquire),
        // The kernel gave the lock away at once; the supervisor reaped at 20.
        entered(12, 2),
    ];
    let history = assemble(&mut events, &[killed(1, 10, 20)], LOCK).expect("a history");
    assert_eq!(
        shape(&history)[2..],
        [
            (3, 2, Phase::Invoke, Operation::Acquire),
            (10, 1, Phase::Invoke, Operation::Release),
            (12, 2, Phase::Ok, Operation::Acquire),
            (20, 1, Phase::Info, Operation::Release),
        ]
    );
}

#[test]
fn a_holder_that_was_ended_for_staying_too_long_has_no_release_that_hangs() {
    let mut events = vec![invoke(1, 1, Operation::Acquire), entered(2, 1)];
    let ended = Death { failure: Failure::TimedOut, ..killed(1, 10, 20) };
    let history = assemble(&mut events, &[ended], LOCK).expect("a history");
    let last = history.events.last().expect("an event");
    assert!(matches!(last.payload, Payload::Failed(Failure::Error, _)), "{last:?}");
}

#[test]
fn a_holder_that_died_of_itself_counts_until_its_last_event() {
    let mut events = vec![invoke(1, 1, Operation::Acquire), entered(2, 1)];
    let history = assemble(&mut events, &[killed(1, 0, 2)], LOCK).expect("a history");
    assert_eq!(
        shape(&history)[1..],
        [
            (2, 1, Phase::Ok, Operation::Acquire),
            (3, 1, Phase::Invoke, Operation::Release),
            (3, 1, Phase::Info, Operation::Release),
        ]
    );
}

#[test]
fn who_dies_inside_in_the_middle_of_something_else_leaves_both_unknown() {
    let mut events = vec![invoke(1, 1, Operation::Acquire), entered(2, 1), invoke(3, 1, Operation::Read)];
    let history = assemble(&mut events, &[killed(1, 10, 10)], LOCK).expect("a history");
    assert_eq!(
        shape(&history)[3..],
        [
            (10, 1, Phase::Info, Operation::Read),
            (11, 1, Phase::Invoke, Operation::Release),
            (11, 1, Phase::Info, Operation::Release),
        ]
    );
    let mut events = vec![
        invoke(1, 1, Operation::Acquire),
        entered(2, 1),
        event(3, 1, Phase::Invoke, Operation::Release, RawPayload::Left { refused: false }),
    ];
    let history = assemble(&mut events, &[killed(1, 10, 20)], LOCK).expect("a history");
    assert_eq!(shape(&history)[3..], [(20, 1, Phase::Info, Operation::Release)]);
}

#[test]
fn events_that_cannot_have_happened_are_refused() {
    let refused = |mut events: Vec<RawEvent>, deaths: &[Death]| {
        assemble(&mut events, deaths, REGISTER).expect_err("cannot be").to_string()
    };
    assert_eq!(
        refused(vec![invoke(5, 1, Operation::Read)], &[killed(1, 0, 4)]),
        "client 1 recorded an event at 5 ns, and was dead at 4 ns"
    );
    assert_eq!(refused(vec![], &[killed(1, 0, 4), killed(1, 0, 9)]), "client 1 died twice");
    assert_eq!(
        refused(vec![invoke(5, 1, Operation::Read), ok(4, 1, Operation::Read)], &[]),
        "client 1 recorded an event at 4 ns after one at 5 ns"
    );
    // An invocation in the nanosecond of the end before it could be sorted before that end.
    let touching =
        vec![invoke(4, 1, Operation::Read), ok(5, 1, Operation::Read), invoke(5, 1, Operation::Read)];
    assert_eq!(refused(touching, &[]), "client 1 recorded an event at 5 ns after one at 5 ns");
    assert_eq!(
        refused(vec![ok(5, 1, Operation::Read)], &[]),
        "client 1 recorded the ok of read while nothing was pending"
    );
    assert_eq!(
        refused(vec![invoke(5, 1, Operation::Read), ok(6, 1, Operation::Write)], &[]),
        "client 1 recorded the ok of write while read was pending"
    );
    assert_eq!(
        refused(vec![invoke(5, 1, Operation::Read), invoke(6, 1, Operation::Write)], &[]),
        "client 1 recorded the invoke of write while read was pending"
    );
}

proptest! {
    /// Whatever two operations of different clients did, the history orders them exactly when one
    /// had ended, by the clock, before the other began.
    #[test]
    fn one_operation_precedes_another_exactly_when_the_clock_says_so(
        clients in vec(vec((1..3_u64, 0..3_u64), 1..12), 1..5),
    ) {
        let mut events = Vec::new();
        let mut intervals = Vec::new();
        for (client, operations) in (1..).zip(&clients) {
            let mut now = 0;
            for &(pause, length) in operations {
                let begin = now + pause;
                now = begin + length;
                let stamp = Stamp::new(client, intervals.len() as u32);
                events.push(event(begin, client, Phase::Invoke, Operation::Write, RawPayload::Value(stamp)));
                events.push(ok(now, client, Operation::Write));
                intervals.push((begin, now));
            }
        }
        let history = assemble(&mut events, &[], REGISTER).expect("a history");
        prop_assert!(history.events.is_sorted_by_key(|event| event.time_ns));
        let Values::Stamps(stamps) = &history.values else { panic!("not stamps") };
        let spans = history.operations().expect("well formed");
        prop_assert_eq!(spans.len(), intervals.len());
        let interval = |span: &tearproof_core::history::Span| {
            let Payload::Value(value) = history.events[span.invoke as usize].payload else { panic!("no value") };
            intervals[stamps[value.0 as usize].sequence as usize]
        };
        for one in &spans {
            for other in &spans {
                prop_assert_eq!(one.precedes(other), interval(one).1 < interval(other).0);
            }
        }
    }
}
