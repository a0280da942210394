//! What recording costs: the loop of `temp-rename` on tmpfs, bare and recorded, taking turns in one
//! run so that whatever else the machine does hits both alike. Prints the ratio of their
//! throughputs, with its spread, beside criterion's times a write.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::Criterion;
use tearproof_core::document::{Format, Shape, Stamp};
use tearproof_core::object::{Object, Operation};
use tearproof_core::strategy::{Client, ClientContext};
use tearproof_engine::record::{Drain, RawPayload, Recorder, SharedMemory, now_ns, ring_at};

const SHAPE: Shape = Shape { format: Format::Json, size: 4096, grow: 0 };
const RING_BYTES: usize = 1 << 22;
/// Writes of one turn. Few enough for the ring, many enough for the clock.
const TURN: u32 = 2_000;
const TURNS: usize = 60;

fn client(dir: &Path) -> Box<dyn Client> {
    let strategy = tearproof_scenarios::strategy("temp-rename").expect("a built-in strategy");
    let context = ClientContext {
        dir: dir.to_owned(),
        file: dir.join("state.json"),
        other_dir: None,
        format: SHAPE.format,
        object: Object::Register,
        shape: SHAPE,
        client: 1,
        lease: Duration::from_millis(25),
        patience: Duration::from_secs(1),
    };
    strategy.client(&context).expect("a client")
}

fn bare(client: &mut dyn Client, document: &[u8], writes: u32) {
    for _ in 0..writes {
        black_box(client.write(black_box(document))).expect("a write");
    }
}

fn recorded(client: &mut dyn Client, recorder: &mut Recorder<'_>, document: &[u8], writes: u32) {
    for sequence in 1..=writes {
        recorder.invoke(Operation::Write, Some(Stamp::new(1, sequence)), None);
        black_box(client.write(black_box(document))).expect("a write");
        recorder.ok_at(now_ns(), Operation::Write, &RawPayload::None);
    }
}

fn main() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("tmpfs at /dev/shm");
    let mut client = client(dir.path());
    let memory = SharedMemory::create(RING_BYTES).expect("memory");
    let ring = || ring_at(&memory, 0, RING_BYTES);
    let mut recorder = Recorder::new(ring().producer(), 1);
    let mut drain = Drain::new(ring());
    let mut sink = Vec::new();
    let mut document = Vec::new();
    SHAPE.render(Stamp::new(1, 1), &mut document);

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("temp-rename 4 KiB on tmpfs");
    group.bench_function("bare", |bencher| bencher.iter(|| bare(&mut *client, &document, 1)));
    group.bench_function("recorded", |bencher| {
        bencher.iter_custom(|writes| {
            let mut spent = Duration::ZERO;
            let mut left = writes as u32;
            while left > 0 {
                let turn = left.min(TURN);
                let begun = Instant::now();
                recorded(&mut *client, &mut recorder, &document, turn);
                spent += begun.elapsed();
                sink.clear();
                drain.drain(&mut sink).expect("events");
                left -= turn;
            }
            spent
        });
    });
    group.finish();

    let mut ratios: Vec<f64> = (0..TURNS)
        .map(|turn| {
            let mut timed = |recording: bool| {
                let begun = Instant::now();
                if recording {
                    recorded(&mut *client, &mut recorder, &document, TURN);
                } else {
                    bare(&mut *client, &document, TURN);
                }
                let spent = begun.elapsed();
                sink.clear();
                drain.drain(&mut sink).expect("events");
                spent.as_secs_f64()
            };
            // Whoever comes first finds the caches as the other left them, so they take turns.
            let (bare, recorded) = if turn % 2 == 0 {
                let bare = timed(false);
                (bare, timed(true))
            } else {
                let recorded = timed(true);
                (timed(false), recorded)
            };
            bare / recorded
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "throughput of the recorded loop over the bare one: {:.3} (quartiles {:.3} to {:.3}, {TURNS} pairs of {TURN} writes)",
        ratios[TURNS / 2],
        ratios[TURNS / 4],
        ratios[TURNS * 3 / 4]
    );
}
