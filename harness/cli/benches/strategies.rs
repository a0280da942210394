//! What an operation of every strategy costs when nobody else is there, over the size sweep: on
//! tmpfs, where an fsync costs nothing, and on the file system of the target directory, where it is
//! real. The same strategies with and without each fsync stand side by side in the list.
//!
//! `cargo bench --bench strategies -- temp-rename/4KiB` picks a part.

use std::path::Path;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use tearproof_core::document::{Format, Shape, Stamp};
use tearproof_core::log::render_record;
use tearproof_core::object::Object;
use tearproof_core::set::{SetDocument, element_name};
use tearproof_core::strategy::{Client, ClientContext, Strategy};

const SIZES: [(&str, u32); 4] = [("256B", 256), ("4KiB", 4 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20)];

fn context(dir: &Path, object: Object, size: u32) -> ClientContext {
    let shape = Shape { format: Format::Json, size, grow: 0 };
    ClientContext {
        file: dir.join("state.json"),
        dir: dir.to_owned(),
        other_dir: None,
        format: Format::Json,
        object,
        shape,
        client: 1,
        lease: Duration::from_millis(25),
        patience: Duration::from_secs(1),
    }
}

/// Runs `body` with a client in a fresh directory, and with the server that it may need.
fn with_client(
    strategy: &'static dyn Strategy,
    base: &Path,
    object: Object,
    size: u32,
    initial: &[u8],
    body: impl FnOnce(&mut dyn Client),
) {
    let dir = tempfile::tempdir_in(base).expect("a directory");
    let context = context(dir.path(), object, size);
    strategy.prepare(&context, Some(initial)).expect("prepared");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        if strategy.has_server() {
            let (ready, wait) = std::sync::mpsc::channel();
            let context = context.clone();
            let stopped = &stopped;
            scope.spawn(move || {
                strategy
                    .serve(&context, &mut || ready.send(()).expect("a listener"), stopped)
                    .expect("served");
            });
            wait.recv().expect("a server");
        }
        let mut client = strategy.client(&context).expect("a client");
        body(&mut *client);
        drop(client);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

fn register(
    group: &mut BenchmarkGroup<'_, WallTime>,
    strategy: &'static dyn Strategy,
    base: &Path,
    place: &str,
) {
    let name = strategy.info().name;
    for (label, size) in SIZES {
        let mut document = Vec::new();
        let shape = Shape { format: Format::Json, size, grow: 0 };
        shape.render(Stamp::new(1, 1), &mut document);
        group.throughput(Throughput::Bytes(u64::from(size)));
        with_client(strategy, base, Object::Register, size, &document, |client| {
            group.bench_function(format!("{name}/{label}/write/{place}"), |bencher| {
                bencher.iter(|| client.write(&document).expect("a write"));
            });
            let mut buffer = Vec::new();
            group.bench_function(format!("{name}/{label}/read/{place}"), |bencher| {
                bencher.iter(|| client.read(&mut buffer).expect("a read"));
            });
        });
    }
}

fn set(group: &mut BenchmarkGroup<'_, WallTime>, strategy: &'static dyn Strategy, base: &Path, place: &str) {
    let name = strategy.info().name;
    for (label, size) in &SIZES[..3] {
        // An element takes some 13 bytes with its quotes; adding one that is there already rewrites
        // a document of the same length each time.
        let mut document = SetDocument::default();
        for sequence in 1..=size / 13 {
            document.elements.push(element_name(Stamp::new(1, sequence)));
        }
        let initial = document.render(Format::Json);
        let known = document.elements[0].clone();
        group.throughput(Throughput::Bytes(u64::from(*size)));
        with_client(strategy, base, Object::Set, *size, &initial, |client| {
            group.bench_function(format!("{name}/{label}/update/{place}"), |bencher| {
                bencher.iter(|| client.update(&known).expect("an update"));
            });
        });
    }
}

fn log(group: &mut BenchmarkGroup<'_, WallTime>, strategy: &'static dyn Strategy, base: &Path, place: &str) {
    let name = strategy.info().name;
    let record = render_record(Stamp::new(1, 1), 256);
    group.throughput(Throughput::Bytes(256));
    with_client(strategy, base, Object::Log, 256, b"", |client| {
        group.bench_function(format!("{name}/256B/append/{place}"), |bencher| {
            bencher.iter(|| client.append(&record).expect("an append"));
        });
    });
}

fn lock(group: &mut BenchmarkGroup<'_, WallTime>, strategy: &'static dyn Strategy, base: &Path, place: &str) {
    let name = strategy.info().name;
    let dir = tempfile::tempdir_in(base).expect("a directory");
    let context = context(dir.path(), Object::Lock, 256);
    strategy.prepare(&context, None).expect("prepared");
    let mut client = strategy.client(&context).expect("a client");
    group.bench_function(format!("{name}/acquire-release/{place}"), |bencher| {
        bencher.iter(|| {
            client.acquire(Duration::from_secs(1)).expect("acquired");
            client.release().expect("released");
        });
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(40))
        .measurement_time(Duration::from_millis(120))
        .sample_size(10)
        .without_plots()
        .configure_from_args();
    let disk = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut group = criterion.benchmark_group("strategy");
    group.sampling_mode(criterion::SamplingMode::Flat);
    for &strategy in tearproof_scenarios::strategies() {
        for (place, base) in [("tmpfs", Path::new("/dev/shm")), ("disk", disk)] {
            for object in strategy.info().objects {
                match object {
                    Object::Register => register(&mut group, strategy, base, place),
                    Object::Set => set(&mut group, strategy, base, place),
                    Object::Log => log(&mut group, strategy, base, place),
                    Object::Lock => lock(&mut group, strategy, base, place),
                }
            }
        }
    }
    group.finish();
}
