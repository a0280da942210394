//! What is no history, and what is too much: each gives an error or `inconclusive`, never a panic
//! and never a silent pass.

use tearproof_check::{check, check_within};
use tearproof_core::history::{Failure, Values};
use tearproof_core::{Event, Finding, Guarantee, History, Object, Operation, Payload, Phase, ValueId};

fn history(object: Object, events: &[(u64, u32, Phase, Operation, Payload)]) -> History {
    let mut history = History::new(object, Values::Json((0..8).map(|n| n.to_string()).collect()));
    history.events = events
        .iter()
        .map(|&(time_ns, client, phase, operation, payload)| Event {
            time_ns,
            payload,
            client,
            phase,
            operation,
        })
        .collect();
    history
}

#[test]
fn events_that_make_no_history_are_refused_with_their_number() {
    use Operation::{Acquire, Read, Update, Write};
    use Phase::{Invoke, Ok};
    let value = Payload::Value(ValueId(1));
    for (object, events, event, reason) in [
        (Object::Register, vec![(0, 0, Ok, Read, value)], 0, "never invoked"),
        (Object::Register, vec![(0, 0, Invoke, Update, value)], 0, "a register has no operation update"),
        (Object::Lock, vec![(0, 0, Invoke, Read, Payload::None)], 0, "a lock has no operation read"),
        (Object::Register, vec![(0, 0, Invoke, Write, Payload::None)], 0, "carries nothing"),
        (Object::Register, vec![(0, 0, Invoke, Write, Payload::Value(ValueId(8)))], 0, "without a name"),
        (
            Object::Register,
            vec![(5, 0, Invoke, Read, Payload::None), (4, 0, Ok, Read, value)],
            1,
            "the clock goes back by 1 ns",
        ),
        (
            Object::Register,
            vec![(0, 0, Invoke, Write, value), (0, 0, Ok, Write, Payload::Value(ValueId(2)))],
            1,
            "another value than it was invoked with",
        ),
        (
            Object::Set,
            vec![(0, 0, Invoke, Read, Payload::None), (0, 0, Ok, Read, value)],
            1,
            "the ok of a read carries a value",
        ),
        (
            Object::Lock,
            vec![(0, 0, Invoke, Acquire, Payload::None), (0, 0, Invoke, Acquire, Payload::None)],
            1,
            "while its acquire is pending",
        ),
    ] {
        let error = check(&history(object, &events)).expect_err(reason);
        assert_eq!(error.event, event, "{error}");
        assert!(error.reason.contains(reason), "{error}");
    }
}

#[test]
fn the_general_checker_that_runs_out_of_steps_says_so() {
    let mut events = Vec::new();
    // Twelve writes of one of two values at once, and a read that no order of theirs explains.
    for client in 0..12u32 {
        let value = Payload::Value(ValueId(client % 2));
        events.push((0, client, Phase::Invoke, Operation::Write, value));
    }
    for client in 0..12 {
        events.push((1, client, Phase::Ok, Operation::Write, Payload::None));
    }
    for seen in [0, 1] {
        events.push((2, 99, Phase::Invoke, Operation::Read, Payload::None));
        events.push((2, 99, Phase::Ok, Operation::Read, Payload::Value(ValueId(seen))));
    }
    let history = history(Object::Register, &events);
    let order = |steps| {
        let findings = check_within(&history, steps).expect("well formed");
        findings.into_iter().find(|(guarantee, _)| *guarantee == Guarantee::Linearizable).expect("is there").1
    };
    let Finding::Inconclusive(reason) = order(100) else { panic!("{:?}", order(100)) };
    assert!(reason.contains("within 100 steps"), "{reason}");
    assert!(matches!(order(1_000_000), Finding::Violated(_)));
}

#[test]
fn ten_thousand_unknown_writes_do_not_slow_the_general_checker_down() {
    let mut events = vec![];
    for number in 0..10_000 {
        let value = Payload::Value(ValueId(number % 7));
        // Every one is killed in a write that nobody reads.
        events.push((0, number, Phase::Invoke, Operation::Write, value));
        events.push((0, 20_000, Phase::Invoke, Operation::Read, Payload::None));
        events.push((0, 20_000, Phase::Ok, Operation::Read, Payload::Absent));
    }
    let findings = check(&history(Object::Register, &events)).expect("well formed");
    assert_eq!(findings[2], (Guarantee::Linearizable, Finding::Holds));
}

#[test]
fn an_empty_history_breaks_nothing() {
    for &object in Object::ALL {
        for (guarantee, finding) in check(&history(object, &[])).expect("well formed") {
            assert!(matches!(finding, Finding::Holds | Finding::NotApplicable), "{guarantee}: {finding:?}");
        }
    }
}

#[test]
fn a_limit_leaves_nothing_that_holds() {
    let mut history =
        history(Object::Set, &[(0, 0, Phase::Invoke, Operation::Update, Payload::Value(ValueId(1)))]);
    let note = history.add_note("signal 9");
    history.events.push(Event {
        time_ns: 1,
        payload: Payload::Failed(Failure::Killed, note),
        client: 0,
        phase: Phase::Info,
        operation: Operation::Update,
    });
    history.aftermath.inspected = true;
    history.aftermath.probed = true;
    history.limit = Some("the ring of client 0 was full".to_owned());
    for (guarantee, finding) in check(&history).expect("well formed") {
        let expected = match guarantee {
            Guarantee::MutualExclusion => Finding::NotApplicable,
            _ => Finding::Inconclusive("the ring of client 0 was full".to_owned()),
        };
        assert_eq!(finding, expected, "{guarantee}");
    }
}
