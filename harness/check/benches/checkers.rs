//! What checking costs, from 10³ to 10⁶ operations: one writer and three readers on a register, and
//! the same on a set whose reads are short, on a lock, and on a register whose values repeat, which
//! only the general checker can judge.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tearproof_check::check;
use tearproof_core::history::Values;
use tearproof_core::{Event, History, Object, Operation, Payload, Phase, Stamp, ValueId};

const CLIENTS: usize = 4;

/// Makes a history of so many operations.
type Make = fn(usize) -> History;

/// Clients take turns at random; a write takes effect at its return, a read sees what was there when
/// it was invoked, so every history is linearizable.
fn register(operations: usize, values: Option<u32>) -> History {
    let mut rng = SmallRng::seed_from_u64(7);
    let stamps = values.unwrap_or(operations as u32 + 1);
    let mut history =
        History::new(Object::Register, Values::Stamps((0..stamps).map(|n| Stamp::new(1, n)).collect()));
    history.initial = Some(ValueId(0));
    let mut current = 0;
    let mut written = 0;
    let mut pending: [Option<(Operation, u32)>; CLIENTS] = [None; CLIENTS];
    let mut time_ns = 0;
    while history.events.len() < operations * 2 {
        let client = rng.random_range(0..CLIENTS);
        time_ns += rng.random_range(0..1000u64);
        let (phase, operation, payload) = match pending[client].take() {
            None if client == 0 => {
                written += 1;
                let value = values.map_or(written, |values| written % values);
                pending[client] = Some((Operation::Write, value));
                (Phase::Invoke, Operation::Write, Payload::Value(ValueId(value)))
            }
            None => {
                pending[client] = Some((Operation::Read, current));
                (Phase::Invoke, Operation::Read, Payload::None)
            }
            Some((Operation::Write, value)) => {
                current = value;
                (Phase::Ok, Operation::Write, Payload::None)
            }
            Some((operation, value)) => (Phase::Ok, operation, Payload::Value(ValueId(value))),
        };
        history.events.push(Event { time_ns, payload, client: client as u32, phase, operation });
    }
    history
}

/// Updates one after the other, and a read of everything ten times in all.
fn set(operations: usize) -> History {
    let mut history =
        History::new(Object::Set, Values::Stamps((0..operations as u32).map(|n| Stamp::new(1, n)).collect()));
    for number in 0..operations as u32 {
        let mut push = |phase, operation, payload| {
            history.events.push(Event { time_ns: u64::from(number), payload, client: 0, phase, operation });
        };
        push(Phase::Invoke, Operation::Update, Payload::Value(ValueId(number)));
        push(Phase::Ok, Operation::Update, Payload::None);
        if (number as usize + 1).is_multiple_of(operations / 10) {
            push(Phase::Invoke, Operation::Read, Payload::None);
            let list = history.add_list((0..=number).map(ValueId));
            history.events.push(Event {
                time_ns: u64::from(number),
                payload: Payload::List(list),
                client: 0,
                phase: Phase::Ok,
                operation: Operation::Read,
            });
        }
    }
    history
}

fn lock(operations: usize) -> History {
    let mut history = History::new(Object::Lock, Values::Stamps(Vec::new()));
    for number in 0..operations / 2 {
        for (phase, operation, payload) in [
            (Phase::Invoke, Operation::Acquire, Payload::None),
            (Phase::Ok, Operation::Acquire, Payload::Entered { held: true }),
            (Phase::Invoke, Operation::Release, Payload::Left { refused: false }),
            (Phase::Ok, Operation::Release, Payload::None),
        ] {
            let client = (number % CLIENTS) as u32;
            history.events.push(Event { time_ns: number as u64, payload, client, phase, operation });
        }
    }
    history
}

fn checkers(criterion: &mut Criterion) {
    let kinds: [(&str, Make); 4] = [
        ("register", |operations| register(operations, None)),
        ("register-repeated", |operations| register(operations, Some(8))),
        ("set", set),
        ("lock", lock),
    ];
    for (name, make) in kinds {
        let mut group = criterion.benchmark_group(format!("check/{name}"));
        group.sample_size(10);
        for operations in [1_000, 10_000, 100_000, 1_000_000] {
            let history = make(operations);
            group.throughput(Throughput::Elements(operations as u64));
            group.bench_with_input(BenchmarkId::from_parameter(operations), &history, |bencher, history| {
                bencher.iter(|| check(black_box(history)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, checkers);
criterion_main!(benches);
