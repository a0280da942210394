//! Every fast checker against a search that knows nothing but the definitions: small random
//! histories, with operations that fail, end unknown or never end, and reads that lie.
//!
//! The search tries the orders of the operations one by one. It shares no code with the checkers:
//! it pairs the events, finds the reads that nobody can have written, and applies the operations
//! by itself.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tearproof_check::check;
use tearproof_core::document::TornKind;
use tearproof_core::history::{Failure, Values};
use tearproof_core::jsonl;
use tearproof_core::{
    AnomalyKind, Event, Finding, Guarantee, History, Object, Operation, Payload, Phase, ValueId,
};

/// What the random numbers of one step are used for.
type Tape = Vec<(u8, u8, u8)>;

fn tape(steps: usize) -> impl Strategy<Value = Tape> {
    prop::collection::vec((0u8..3, any::<u8>(), any::<u8>()), steps / 3..steps)
}

/// How a history is made up.
#[derive(Clone, Copy, Debug)]
struct Style {
    object: Object,
    /// Values are drawn from a few instead of being new each time.
    repeats: bool,
    compares: bool,
    initial: bool,
}

fn style(object: Object) -> impl Strategy<Value = Style> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(move |(repeats, compares, initial)| Style {
        object,
        repeats,
        compares: compares && repeats && object == Object::Register,
        initial,
    })
}

#[derive(Clone)]
struct Running {
    operation: Operation,
    payload: Payload,
    done: Option<Payload>,
}

/// Plays clients on a true object, whose reads sometimes lie.
fn play(style: Style, tape: &Tape) -> History {
    let mut history = History::new(style.object, Values::Json((0..40).map(|n| n.to_string()).collect()));
    let mut state: Vec<ValueId> = Vec::new();
    if style.initial {
        state =
            if style.object == Object::Register { vec![ValueId(0)] } else { vec![ValueId(0), ValueId(1)] };
        match style.object {
            Object::Register => history.initial = Some(ValueId(0)),
            _ => history.initial_list.clone_from(&state),
        }
    }
    let mut fresh = 2;
    let mut old: Vec<Vec<ValueId>> = vec![state.clone()];
    // A client that ends unknown is replaced by a new one.
    let mut names = [0u32, 1, 2];
    let mut running: [Option<Running>; 3] = [None, None, None];
    for (step, &(slot, what, choice)) in tape.iter().enumerate() {
        let slot = usize::from(slot);
        let client = names[slot];
        let push = |history: &mut History, phase, operation, payload| {
            history.events.push(Event { time_ns: step as u64 / 2, payload, client, phase, operation });
        };
        let Some(current) = running[slot].clone() else {
            let (operation, payload) = if what % 2 == 0 {
                (Operation::Read, Payload::None)
            } else {
                let value = if style.repeats {
                    ValueId(2 + u32::from(choice % 2))
                } else {
                    fresh += 1;
                    ValueId(fresh - 1)
                };
                match style.object {
                    Object::Register if style.compares && what % 3 == 0 => {
                        let from = match choice / 2 % 4 {
                            0 => None,
                            1 => Some(ValueId(0)),
                            other => Some(ValueId(u32::from(other))),
                        };
                        (Operation::Cas, Payload::Cas { from, to: value, applied: false })
                    }
                    Object::Register => (Operation::Write, Payload::Value(value)),
                    Object::Set => (Operation::Update, Payload::Value(value)),
                    _ => (Operation::Append, Payload::Value(value)),
                }
            };
            push(&mut history, Phase::Invoke, operation, payload);
            running[slot] = Some(Running { operation, payload, done: None });
            continue;
        };
        // Taking effect is a step of its own, so that it can be long before the return.
        let Some(done) = current.done else {
            let done = match current.payload {
                Payload::Value(value) => {
                    if choice % 8 != 0 {
                        match style.object {
                            Object::Register => state = vec![value],
                            Object::Set if state.contains(&value) => {}
                            _ => state.push(value),
                        }
                    }
                    old.push(state.clone());
                    Payload::None
                }
                Payload::Cas { from, to, .. } => {
                    let applied = (state.first().copied() == from) != (choice % 16 == 0);
                    if applied {
                        state = vec![to];
                        old.push(state.clone());
                    }
                    Payload::Cas { from, to, applied }
                }
                _ => {
                    let mut seen = if choice % 2 == 0 {
                        old[usize::from(choice / 2) % old.len()].clone()
                    } else {
                        state.clone()
                    };
                    match choice {
                        250..=252 => seen.push(ValueId(u32::from(choice) - 248)),
                        245..=249 => seen.reverse(),
                        240..=244 => drop(seen.pop()),
                        _ if choice % 8 == 3 && !seen.is_empty() => drop(seen.remove(0)),
                        _ if choice % 8 == 5 => seen.truncate(1),
                        _ => {}
                    }
                    match style.object {
                        _ if choice == 253 => {
                            let note = history.add_note("made up");
                            Payload::Torn(TornKind::Partial, note)
                        }
                        Object::Register => {
                            seen.last().map_or(Payload::Absent, |value| Payload::Value(*value))
                        }
                        _ => {
                            if choice % 3 == 1 && style.object == Object::Set {
                                seen.sort_unstable();
                            }
                            Payload::List(history.add_list(seen))
                        }
                    }
                }
            };
            running[slot] = Some(Running { done: Some(done), ..current });
            continue;
        };
        let phase = match what % 8 {
            0 => Phase::Fail,
            1 => Phase::Info,
            _ => Phase::Ok,
        };
        let payload = if phase == Phase::Ok {
            done
        } else {
            let note = history.add_note("");
            Payload::Failed(Failure::Error, note)
        };
        let payload =
            if current.operation == Operation::Cas && phase != Phase::Ok { current.payload } else { payload };
        push(&mut history, phase, current.operation, payload);
        if phase == Phase::Info {
            names[slot] += 3;
        }
        running[slot] = None;
    }
    history
}

/// An operation as the search sees it.
#[derive(Clone, Debug)]
struct Op {
    payload: Payload,
    result: Option<Payload>,
    start: usize,
    end: usize,
}

/// Pairs the events; leaves out what failed.
fn pair(history: &History) -> Vec<Op> {
    let mut ops = Vec::new();
    for (start, event) in history.events.iter().enumerate().filter(|(_, event)| event.phase == Phase::Invoke)
    {
        let end = history.events[start + 1..].iter().position(|later| later.client == event.client);
        let end = end.map(|offset| start + 1 + offset);
        let phase = end.map(|end| history.events[end].phase);
        if phase == Some(Phase::Fail) {
            continue;
        }
        let result = end.filter(|_| phase == Some(Phase::Ok)).map(|end| history.events[end].payload);
        let end = if result.is_some() { end.unwrap_or_default() } else { usize::MAX };
        ops.push(Op { payload: event.payload, result, start, end });
    }
    ops
}

fn list(history: &History, payload: Payload) -> Option<Vec<ValueId>> {
    match payload {
        Payload::List(list) => Some(history.list(list).to_vec()),
        Payload::Absent if history.object == Object::Register || history.initial_list.is_empty() => {
            Some(vec![])
        }
        Payload::Value(value) => Some(vec![value]),
        _ => None,
    }
}

fn is_read(op: &Op) -> bool {
    op.payload == Payload::None
}

fn adds(op: &Op) -> Option<ValueId> {
    match (op.payload, op.result) {
        (Payload::Value(value), _) => Some(value),
        (Payload::Cas { .. }, Some(Payload::Cas { applied: false, .. })) => None,
        (Payload::Cas { to, .. }, _) => Some(to),
        _ => None,
    }
}

/// Whether a read that returned can have seen what was written by then.
fn is_whole(history: &History, ops: &[Op], read: &Op) -> bool {
    let Some(seen) = read.result.and_then(|result| list(history, result)) else { return false };
    if history.object == Object::Register && seen.is_empty() {
        return history.initial.is_none();
    }
    seen.iter().all(|&value| {
        let initially = history.initial_list.iter().chain(&history.initial).filter(|&&v| v == value).count();
        let added = ops.iter().filter(|op| adds(op) == Some(value) && op.start < read.end).count();
        let most = match history.object {
            Object::Log => initially + added,
            _ => (initially + added).min(1),
        };
        seen.iter().filter(|&&v| v == value).count() <= most
    })
}

/// Whether the remaining operations can follow the ones that led to this state.
fn fits(history: &History, ops: &[Op], placed: &mut Vec<bool>, state: &[ValueId]) -> bool {
    if ops.iter().zip(placed.iter()).all(|(op, placed)| *placed || op.result.is_none()) {
        return true;
    }
    for index in 0..ops.len() {
        let op = &ops[index];
        let too_early = |(other, placed): (&Op, &bool)| !placed && other.end < op.start;
        if placed[index] || ops.iter().zip(placed.iter()).any(too_early) {
            continue;
        }
        let mut next = state.to_vec();
        let valid = match (op.payload, op.result) {
            (Payload::Value(value), _) => {
                match history.object {
                    Object::Register => next = vec![value],
                    Object::Set if next.contains(&value) => {}
                    _ => next.push(value),
                }
                true
            }
            (Payload::Cas { from, to, .. }, result) => {
                let equal = state.first().copied() == from;
                if equal {
                    next = vec![to];
                }
                match result {
                    Some(Payload::Cas { applied, .. }) => applied == equal,
                    _ => true,
                }
            }
            (_, Some(result)) => {
                let mut seen = list(history, result).unwrap_or_default();
                let mut state = state.to_vec();
                if history.object == Object::Set {
                    seen.sort_unstable();
                    state.sort_unstable();
                }
                seen == state
            }
            _ => true,
        };
        if valid {
            placed[index] = true;
            if fits(history, ops, placed, &next) {
                return true;
            }
            placed[index] = false;
        }
    }
    false
}

fn finding(history: &History, guarantee: Guarantee) -> Finding {
    let findings = check(history).expect("well formed");
    findings.into_iter().find(|(which, _)| *which == guarantee).expect("every guarantee is there").1
}

fn compare(history: &History) -> Result<(), TestCaseError> {
    let ops = pair(history);
    let reads = || ops.iter().filter(|op| is_read(op) && op.result.is_some());
    let torn = reads().filter(|read| !is_whole(history, &ops, read)).count() as u64;
    let atomic = finding(history, Guarantee::AtomicReads);
    match &atomic {
        Finding::Violated(anomalies) => {
            prop_assert_eq!(anomalies.iter().map(|anomaly| anomaly.count).sum::<u64>(), torn);
            prop_assert_eq!(anomalies[0].by_kind.values().sum::<u64>(), torn);
        }
        other => prop_assert!(torn == 0 && *other == Finding::Holds, "{:?} with {} torn", other, torn),
    }

    let whole: Vec<Op> = ops
        .iter()
        .filter(|op| !is_read(op) || (op.result.is_some() && is_whole(history, &ops, op)))
        .cloned()
        .collect();
    let state: Vec<ValueId> =
        history.initial.into_iter().chain(history.initial_list.iter().copied()).collect();
    let linearizable = fits(history, &whole, &mut vec![false; whole.len()], &state);
    let found = finding(history, Guarantee::Linearizable);
    match &found {
        Finding::Holds => prop_assert!(linearizable, "a breach is missed"),
        Finding::Violated(anomalies) => {
            prop_assert!(!linearizable, "a false alarm: {:#?}", anomalies);
            for anomaly in anomalies {
                prop_assert!(anomaly.count > 0 && !anomaly.witness.steps.is_empty());
                let marks: BTreeSet<_> = anomaly.witness.steps.iter().filter_map(|step| step.mark).collect();
                prop_assert!(marks.contains(&2), "{:#?}", anomaly);
                if anomaly.kind == AnomalyKind::NonMonotonicRead {
                    prop_assert!(marks.contains(&1), "{:#?}", anomaly);
                }
            }
        }
        other => prop_assert!(false, "{:?}", other),
    }

    if history.object != Object::Register {
        let mut lost = BTreeSet::new();
        for read in reads() {
            let Some(seen) = read.result.and_then(|result| list(history, result)) else { continue };
            let mut owed: BTreeMap<ValueId, usize> = BTreeMap::new();
            let acknowledged =
                ops.iter().filter(|op| op.result.is_some() && op.end < read.start).filter_map(adds);
            for value in history.initial_list.iter().copied().chain(acknowledged) {
                let count = owed.entry(value).or_default();
                *count = if history.object == Object::Set { 1 } else { *count + 1 };
            }
            for (value, count) in owed {
                // A record that nobody can have added so far is not taken for the missing one.
                let had = seen.iter().filter(|&&found| found == value).count();
                lost.extend((had..count).map(|number| (value, number)));
            }
        }
        match finding(history, Guarantee::NoLostUpdates) {
            Finding::Violated(anomalies) => {
                prop_assert!(!lost.is_empty(), "a false alarm: {:#?}", anomalies);
                if anomalies.iter().all(|anomaly| anomaly.kind == AnomalyKind::LostUpdate) {
                    prop_assert_eq!(anomalies[0].count, lost.len() as u64);
                }
            }
            other => prop_assert!(lost.is_empty(), "{:?}, but lost: {:?}", other, lost),
        }
    }
    same_after_a_round_trip(history)
}

fn same_after_a_round_trip(history: &History) -> Result<(), TestCaseError> {
    let mut reader = jsonl::Reader::new();
    for line in jsonl::lines(history) {
        prop_assert_eq!(reader.line(line.as_bytes()), Ok(()));
    }
    let again = reader.finish().expect("whole");
    prop_assert_eq!(check(&again), check(history));
    Ok(())
}

/// The same history with a compare-and-set that is pending at the end and can never apply: it
/// changes nothing, but only the general checker can judge it.
fn for_the_general_checker(mut history: History) -> History {
    let time_ns = history.events.last().map_or(0, |event| event.time_ns);
    let payload = Payload::Cas { from: Some(ValueId(38)), to: ValueId(39), applied: false };
    history.events.push(Event {
        time_ns,
        payload,
        client: 99,
        phase: Phase::Invoke,
        operation: Operation::Cas,
    });
    history
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn registers_are_judged_as_by_trying_all_orders(style in style(Object::Register), tape in tape(36)) {
        compare(&play(style, &tape))?;
    }

    #[test]
    fn the_general_checker_judges_registers_as_by_trying_all_orders(
        style in style(Object::Register), tape in tape(34),
    ) {
        compare(&for_the_general_checker(play(style, &tape)))?;
    }

    #[test]
    fn sets_are_judged_as_by_trying_all_orders(style in style(Object::Set), tape in tape(36)) {
        compare(&play(style, &tape))?;
    }

    #[test]
    fn logs_are_judged_as_by_trying_all_orders(style in style(Object::Log), tape in tape(36)) {
        compare(&play(style, &tape))?;
    }

    #[test]
    fn sections_overlap_where_two_of_them_are_seen_to(
        limited in any::<bool>(),
        tape in prop::collection::vec((0u32..4, any::<u8>()), 0..30),
    ) {
        let mut history = History::new(Object::Lock, Values::Json(Vec::new()));
        history.limit = limited.then(|| "made up".to_owned());
        let mut pending: BTreeMap<u32, Operation> = BTreeMap::new();
        for (step, (client, choice)) in tape.into_iter().enumerate() {
            let (phase, operation, payload) = match pending.remove(&client) {
                None if choice % 2 == 0 => (Phase::Invoke, Operation::Acquire, Payload::None),
                None => (Phase::Invoke, Operation::Release, Payload::Left { refused: choice % 8 == 1 }),
                Some(operation) if choice % 8 == 0 => (Phase::Fail, operation, Payload::None),
                Some(operation) if choice % 8 == 1 => (Phase::Info, operation, Payload::None),
                Some(Operation::Acquire) => {
                    (Phase::Ok, Operation::Acquire, Payload::Entered { held: choice % 8 != 2 })
                }
                Some(operation) => (Phase::Ok, operation, Payload::None),
            };
            if phase == Phase::Invoke {
                pending.insert(client, operation);
            }
            history.events.push(Event { time_ns: step as u64, payload, client, phase, operation });
        }
        // Sections by looking forward from each acquire, unless its client was inside already.
        let mut sections: Vec<(u32, usize, usize, bool)> = Vec::new();
        for (at, event) in history.events.iter().enumerate() {
            let Payload::Entered { held } = event.payload else { continue };
            let inside = sections.iter().any(|&(client, _, end, _)| client == event.client && end > at);
            if inside {
                continue;
            }
            let end = history.events[at..].iter().position(|later| {
                later.client == event.client && later.phase == Phase::Invoke && later.operation == Operation::Release
            });
            let end = end.map_or(usize::MAX, |offset| at + offset);
            sections.push((event.client, at, end, held));
        }
        let refused = |end: usize| {
            history.events.get(end).is_some_and(|event| event.payload == Payload::Left { refused: true })
        };
        sections.retain(|&(_, _, end, _)| !(refused(end) || (limited && end == usize::MAX)));
        let mut expected: BTreeMap<AnomalyKind, u64> = BTreeMap::new();
        for &(client, start, _, held) in &sections {
            let others: Vec<bool> = sections.iter()
                .filter(|other| other.0 != client && other.1 < start && start < other.2)
                .map(|other| other.3)
                .collect();
            if held && others.contains(&true) {
                *expected.entry(AnomalyKind::TwoHolders).or_default() += 1;
            } else if !others.is_empty() {
                *expected.entry(AnomalyKind::UnprotectedSection).or_default() += 1;
            }
        }
        let found: BTreeMap<AnomalyKind, u64> = match finding(&history, Guarantee::MutualExclusion) {
            Finding::Violated(anomalies) => {
                anomalies.into_iter().map(|anomaly| (anomaly.kind, anomaly.count)).collect()
            }
            Finding::Inconclusive(_) => { prop_assert!(limited); BTreeMap::new() }
            other => { prop_assert_eq!(other, Finding::Holds); prop_assert!(!limited); BTreeMap::new() }
        };
        prop_assert_eq!(found, expected);
        same_after_a_round_trip(&history)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_and_the_general_checker_agree_on_longer_registers(
        initial in any::<bool>(), tape in tape(160),
    ) {
        let style = Style { object: Object::Register, repeats: false, compares: false, initial };
        let history = play(style, &tape);
        prop_assume!(history.values == Values::Json((0..40).map(|n| n.to_string()).collect()));
        prop_assume!(history.events.iter().all(|event| match event.payload {
            Payload::Value(value) => value.0 < 38,
            _ => true,
        }));
        let fast = finding(&history, Guarantee::Linearizable);
        let general = finding(&for_the_general_checker(history), Guarantee::Linearizable);
        prop_assert_eq!(fast == Finding::Holds, general == Finding::Holds, "{:#?} {:#?}", fast, general);
    }

    #[test]
    fn what_is_violated_under_a_limit_is_violated_without_it(
        object in prop::sample::select(vec![Object::Register, Object::Set, Object::Log]),
        style in style(Object::Set), tape in tape(40),
    ) {
        let mut history = play(Style { object, compares: false, ..style }, &tape);
        let without = check(&history).expect("well formed");
        history.limit = Some("made up".to_owned());
        for ((guarantee, with), (_, without)) in check(&history).expect("well formed").iter().zip(&without) {
            match with {
                Finding::Violated(_) => prop_assert!(matches!(without, Finding::Violated(_)), "{}", guarantee),
                Finding::NotApplicable => prop_assert_eq!(without, &Finding::NotApplicable),
                Finding::Inconclusive(_) => {}
                Finding::Holds => prop_assert!(false, "{} holds although the history is not whole", guarantee),
            }
        }
    }
}

#[test]
fn the_random_histories_are_of_both_kinds() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    for object in [Object::Register, Object::Set, Object::Log] {
        let strategy = (style(object), tape(36));
        let (mut holds, mut broken) = (0, 0);
        for _ in 0..1000 {
            let (style, tape) = strategy.new_tree(&mut runner).expect("nothing is rejected").current();
            match finding(&play(style, &tape), Guarantee::Linearizable) {
                Finding::Holds => holds += 1,
                _ => broken += 1,
            }
        }
        assert!(holds > 100 && broken > 100, "{object}: {holds} hold and {broken} are broken");
    }
}
