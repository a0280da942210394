//! Threads that race, as a first check of the claims: short, free-running, and no proof. The
//! engines race processes and look at every order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tearproof_core::claim::{Claim, Guarantee, Hazard};
use tearproof_core::document::{Format, Shape, Stamp};
use tearproof_core::object::Object;
use tearproof_core::set::{SetDocument, element_name, verify_set};
use tearproof_core::strategy::{ClientContext, Strategy};

use super::{context, keepers, play};

/// The strategies that keep this object and promise this when clients run side by side.
fn promising(object: Object, guarantee: Guarantee) -> impl Iterator<Item = &'static dyn Strategy> {
    let claim = Claim::new(guarantee, Hazard::Concurrency);
    keepers(object).filter(move |strategy| strategy.info().claims.contains(&claim))
}

#[test]
fn two_threads_lose_no_update_where_that_is_promised() {
    for strategy in promising(Object::Set, Guarantee::NoLostUpdates) {
        let dir = tempfile::tempdir().expect("a directory");
        let at =
            ClientContext { object: Object::Set, patience: Duration::from_secs(60), ..context(dir.path()) };
        play(strategy, &at, Some(&SetDocument::default().render(Format::Json)), || {
            std::thread::scope(|scope| {
                for number in 1..=2 {
                    let at = ClientContext { client: number, ..at.clone() };
                    scope.spawn(move || {
                        let mut client = strategy.client(&at).expect("opened");
                        for sequence in 1..=15 {
                            client.update(&element_name(Stamp::new(number, sequence))).expect("updated");
                        }
                    });
                }
            });
            let mut seen = Vec::new();
            strategy.client(&at).expect("opened").read(&mut seen).expect("read");
            let elements = verify_set(Format::Json, &seen, true).expect("whole");
            assert_eq!(elements.len(), 30, "{}", strategy.info().name);
        });
    }
}

/// Lets writers write while a reader reads, and gives what each read saw to `judge`.
fn race(strategy: &dyn Strategy, writers: u32, mut judge: impl FnMut(Stamp)) {
    let dir = tempfile::tempdir().expect("a directory");
    let shape = Shape { format: Format::Json, size: 12_000, grow: 5_000 };
    let at = ClientContext { shape, patience: Duration::from_secs(60), ..context(dir.path()) };
    let name = strategy.info().name;
    let value = |stamp| {
        let mut document = Vec::new();
        shape.render(stamp, &mut document);
        document
    };
    play(strategy, &at, Some(&value(Stamp::INITIAL)), || {
        let done = AtomicBool::new(false);
        let mut reader = strategy.client(&ClientContext { client: 99, ..at.clone() }).expect("opened");
        let mut read = || {
            let mut seen = Vec::new();
            reader.read(&mut seen).unwrap_or_else(|error| panic!("{name}: {error}"));
            judge(shape.verify(&seen).unwrap_or_else(|defect| panic!("{name}: {defect:?}")));
        };
        std::thread::scope(|scope| {
            let writing: Vec<_> = (1..=writers)
                .map(|number| {
                    let at = ClientContext { client: number, ..at.clone() };
                    scope.spawn(move || {
                        let mut client = strategy.client(&at).expect("opened");
                        for sequence in 1..=25 {
                            client.write(&value(Stamp::new(number, sequence))).expect("written");
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                // A writer that failed must not leave the reader waiting for its end.
                let ends: Vec<_> = writing.into_iter().map(|writer| writer.join()).collect();
                done.store(true, Ordering::Release);
                assert!(ends.iter().all(Result::is_ok), "{name}: a writer failed");
            });
            while !done.load(Ordering::Acquire) {
                read();
            }
        });
        read();
    });
}

#[test]
fn reads_that_race_two_writers_are_whole_where_that_is_promised() {
    for strategy in promising(Object::Register, Guarantee::AtomicReads) {
        // Two writers in place may leave a mixture for good, which its readers then refuse.
        let writers = if strategy.info().name == "tolerate-checksum" { 1 } else { 2 };
        race(strategy, writers, |_| ());
    }
}

#[test]
fn reads_that_race_one_writer_never_go_back_and_end_at_its_last_value() {
    let alone_linearizable = ["double-buffer", "per-process-files", "tolerate-checksum"];
    for strategy in keepers(Object::Register) {
        let claim = Claim::new(Guarantee::Linearizable, Hazard::Concurrency);
        let info = strategy.info();
        if !info.claims.contains(&claim) && !alone_linearizable.contains(&info.name) {
            continue;
        }
        let mut last = 0;
        race(strategy, 1, |seen| {
            assert!(seen.sequence >= last, "{}: {seen} after {last}", info.name);
            last = seen.sequence;
        });
        assert_eq!(last, 25, "{}", info.name);
    }
}
