//! What recording costs a client: a loop that reads the clock around an empty operation, against
//! the same loop recorded. The difference, halved, is the cost of an event.
//!
//! The ring is emptied in between by the same thread, and its cost is not counted; what two CPUs
//! that share the ring's lines pay on top is not measured here.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tearproof_core::document::Stamp;
use tearproof_core::history::Phase;
use tearproof_core::object::{Object, Operation};
use tearproof_engine::record::{
    Drain, RawEvent, RawPayload, Recorder, SharedMemory, Start, assemble, now_ns, ring_at,
};

const RING_BYTES: usize = 1 << 20;
/// Operations between two emptyings: seven words each, so that the ring never fills.
const BATCH: u64 = 10_000;

fn recording(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recorder");
    group.throughput(Throughput::Elements(1));
    group.bench_function("bare operation", |bencher| {
        bencher.iter(|| black_box(()));
    });
    group.bench_function("clock", |bencher| bencher.iter(now_ns));
    group.bench_function("operation with two clock reads", |bencher| {
        bencher.iter(|| {
            black_box(now_ns());
            black_box(now_ns());
        });
    });

    let memory = SharedMemory::create(RING_BYTES).expect("shared memory");
    memory.prefault(0, RING_BYTES).expect("a kernel since 5.14");
    let mut recorder = Recorder::new(ring_at(&memory, 0, RING_BYTES).producer(), 1);
    let mut drain = Drain::new(ring_at(&memory, 0, RING_BYTES));
    let mut events = Vec::new();
    let mut sequence = 0_u32;
    group.bench_function("recorded operation", |bencher| {
        bencher.iter_custom(|operations| {
            let mut taken = Duration::ZERO;
            let mut left = operations;
            while left > 0 {
                let batch = left.min(BATCH);
                left -= batch;
                let begin = Instant::now();
                for _ in 0..batch {
                    sequence = sequence.wrapping_add(1);
                    assert!(recorder.invoke(Operation::Write, Some(Stamp::new(1, sequence)), None));
                    black_box(());
                    recorder.ok_at(now_ns(), Operation::Write, &RawPayload::None);
                }
                taken += begin.elapsed();
                events.clear();
                drain.drain(&mut events).expect("no damage");
            }
            taken
        });
    });
    group.finish();
}

fn assembling(criterion: &mut Criterion) {
    const CLIENTS: u32 = 8;
    const OPERATIONS: u32 = 12_500;
    let recorded: Vec<RawEvent> = (1..=CLIENTS)
        .flat_map(|client| {
            (1..=OPERATIONS).flat_map(move |sequence| {
                let event = |time_ns, phase, payload| {
                    let operation = Operation::Write;
                    RawEvent { time_ns, client, phase, operation, intended_ns: None, payload }
                };
                let begin_ns = u64::from(sequence) * 1000 + u64::from(client) * 37;
                let value = RawPayload::Value(Stamp::new(client, sequence));
                [event(begin_ns, Phase::Invoke, value), event(begin_ns + 700, Phase::Ok, RawPayload::None)]
            })
        })
        .collect();
    let mut group = criterion.benchmark_group("assemble");
    group.throughput(Throughput::Elements(recorded.len() as u64)).sample_size(20);
    let start = Start { object: Object::Register, initial: Some(Stamp::INITIAL) };
    group.bench_function("200 000 events of 8 clients", |bencher| {
        bencher.iter_batched(
            || recorded.clone(),
            |mut events| assemble(&mut events, &[], start).expect("a history"),
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, recording, assembling);
criterion_main!(benches);
