//! Every strategy of the registry keeps what it is given: registers, sets and logs, for one client
//! and for two that take turns, with nothing left behind.

use std::collections::BTreeSet;
use std::path::Path;

use tearproof_core::document::{Format, Shape, Stamp};
use tearproof_core::log::{render_record, verify_log};
use tearproof_core::object::Object;
use tearproof_core::set::{SetDocument, element_name, verify_set};
use tearproof_core::strategy::{Client, ClientContext, Found, Strategy};

use super::{context, keepers, play};

/// The strategies of state files, as the catalogue names them.
const CATALOGUE: [&str; 35] = [
    "in-place-truncate",
    "in-place-overwrite",
    "temp-rename-shared",
    "temp-rename",
    "temp-fsync-rename",
    "temp-rename-dirsync",
    "write-file-atomic",
    "temp-other-dir",
    "flock-in-place",
    "flock-writers-only",
    "flock-replaced-file",
    "flock-sibling",
    "flock-sibling-unlink",
    "posix-lock",
    "posix-lock-reopened",
    "ofd-lock",
    "thread-mutex",
    "thread-mutex-temp-rename",
    "fallback-to-empty",
    "end-file",
    "end-file-atomic",
    "tolerate-retry",
    "tolerate-checksum",
    "cas-compare-rename",
    "cas-versioned-link",
    "per-process-files",
    "coordinator",
    "append-log",
    "double-buffer",
    "symlink-swap",
    "sqlite-rollback",
    "sqlite-wal",
    "lib-atomic-write-file",
    "lib-atomicwrites",
    "lib-tempfile-persist",
];

fn of(at: &ClientContext, object: Object, format: Format) -> ClientContext {
    ClientContext { object, format, shape: Shape { format, ..at.shape }, ..at.clone() }
}

fn open(strategy: &dyn Strategy, at: &ClientContext, client: u32) -> Box<dyn Client> {
    strategy.client(&ClientContext { client, ..at.clone() }).expect("opened")
}

fn value(at: &ClientContext, stamp: Stamp) -> Vec<u8> {
    let mut document = Vec::new();
    at.shape.render(stamp, &mut document);
    document
}

/// What is in the directory and is neither the state file nor meant to stay.
fn residue(strategy: &dyn Strategy, at: &ClientContext) -> Vec<String> {
    std::fs::read_dir(&at.dir)
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .filter(|name| at.dir.join(name) != at.file && !strategy.keeps(at, name))
        .collect()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("listed").count()
}

#[test]
fn every_strategy_of_the_catalogue_is_there_once_and_says_what_it_is() {
    let names: Vec<_> = crate::strategies().iter().map(|strategy| strategy.info().name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name is there twice");
    for name in CATALOGUE {
        assert!(names.contains(&name), "{name} is missing");
    }
    for strategy in crate::strategies() {
        let info = strategy.info();
        assert!(!info.algorithm.is_empty() && !info.source.is_empty(), "{}", info.name);
        assert!(!info.objects.is_empty(), "{}", info.name);
        let claims: BTreeSet<_> = info.claims.iter().collect();
        assert_eq!(claims.len(), info.claims.len(), "{} claims something twice", info.name);
        assert!(info.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", info.name);
    }
    assert!(crate::strategy("no-such-thing").is_none());
}

#[test]
fn a_register_reads_back_what_was_written_last_and_nothing_is_left_behind() {
    for strategy in keepers(Object::Register) {
        for &format in Format::ALL {
            let dir = tempfile::tempdir().expect("a directory");
            let at = of(&context(dir.path()), Object::Register, format);
            let name = strategy.info().name;
            play(strategy, &at, Some(&value(&at, Stamp::INITIAL)), || {
                let (mut first, mut second) = (open(strategy, &at, 1), open(strategy, &at, 2));
                let mut seen = Vec::new();
                assert_eq!(first.read(&mut seen).expect("read"), Found::Present, "{name}");
                assert_eq!(at.shape.verify(&seen), Ok(Stamp::INITIAL), "{name}");
                for sequence in 1..=5 {
                    for (number, writer) in [(1, &mut first), (2, &mut second)] {
                        let stamp = Stamp::new(number, sequence);
                        writer.write(&value(&at, stamp)).unwrap_or_else(|error| panic!("{name}: {error}"));
                        writer.read(&mut seen).expect("read");
                        assert_eq!(at.shape.verify(&seen), Ok(stamp), "{name}");
                    }
                    first.read(&mut seen).expect("read");
                    assert_eq!(at.shape.verify(&seen), Ok(Stamp::new(2, sequence)), "{name}");
                    let mut streamed = Vec::new();
                    let mut stream = first.stream().expect("a stream").expect("something is there");
                    stream.read_to_end(&mut streamed).expect("read");
                    drop(stream);
                    assert_eq!(at.shape.verify(&streamed), Ok(Stamp::new(2, sequence)), "{name}");
                }
            });
            assert_eq!(residue(strategy, &at), [""; 0], "{name}");
        }
    }
}

#[test]
fn a_set_holds_every_element_of_clients_that_take_turns() {
    for strategy in keepers(Object::Set) {
        for &format in Format::ALL {
            let dir = tempfile::tempdir().expect("a directory");
            let at = of(&context(dir.path()), Object::Set, format);
            let name = strategy.info().name;
            let mut initial = SetDocument::default();
            initial.add(&element_name(Stamp::INITIAL));
            play(strategy, &at, Some(&initial.render(format)), || {
                let (mut first, mut second) = (open(strategy, &at, 1), open(strategy, &at, 2));
                let mut expected = BTreeSet::from([Stamp::INITIAL]);
                for sequence in 1..=5 {
                    for (number, client) in [(1, &mut first), (2, &mut second)] {
                        let stamp = Stamp::new(number, sequence);
                        client
                            .update(&element_name(stamp))
                            .unwrap_or_else(|error| panic!("{name} in {format}: {error}"));
                        expected.insert(stamp);
                    }
                    let mut seen = Vec::new();
                    assert_eq!(first.read(&mut seen).expect("read"), Found::Present, "{name}");
                    let elements = verify_set(format, &seen, true)
                        .unwrap_or_else(|defect| panic!("{name} in {format}: {defect:?}"));
                    assert_eq!(elements.into_iter().collect::<BTreeSet<_>>(), expected, "{name}");
                }
            });
            assert_eq!(residue(strategy, &at), [""; 0], "{name}");
        }
    }
}

#[test]
fn a_log_holds_every_record_in_order() {
    for strategy in keepers(Object::Log) {
        let dir = tempfile::tempdir().expect("a directory");
        let at = of(&context(dir.path()), Object::Log, Format::Bytes);
        play(strategy, &at, Some(b""), || {
            let (mut first, mut second) = (open(strategy, &at, 1), open(strategy, &at, 2));
            let mut expected = Vec::new();
            for sequence in 1..=5 {
                for (number, client) in [(1, &mut first), (2, &mut second)] {
                    let stamp = Stamp::new(number, sequence);
                    client.append(&render_record(stamp, 80)).expect("appended");
                    expected.push(stamp);
                }
            }
            let mut seen = Vec::new();
            first.read(&mut seen).expect("read");
            assert_eq!(verify_log(&seen), Ok(expected), "{}", strategy.info().name);
        });
        assert_eq!(residue(strategy, &at), [""; 0]);
    }
}

#[test]
fn an_absent_state_reads_as_absent_and_the_first_change_makes_it() {
    for object in [Object::Register, Object::Set, Object::Log] {
        for strategy in keepers(object) {
            let dir = tempfile::tempdir().expect("a directory");
            let at = of(&context(dir.path()), object, Format::Json);
            let name = strategy.info().name;
            play(strategy, &at, None, || {
                let mut client = open(strategy, &at, 1);
                let mut seen = b"what was there before".to_vec();
                let found = client.read(&mut seen).expect("read");
                // A database without rows is a set without elements.
                let empty_table = object == Object::Set && name.starts_with("sqlite");
                assert_eq!(found == Found::Absent, !empty_table, "{name}");
                match object {
                    Object::Register => client.write(&value(&at, Stamp::new(1, 1))),
                    Object::Set => client.update(&element_name(Stamp::new(1, 1))),
                    _ => client.append(&render_record(Stamp::new(1, 1), 80)),
                }
                .unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(client.read(&mut seen).expect("read"), Found::Present, "{name}");
                let stamps = match object {
                    Object::Register => at.shape.verify(&seen).map(|stamp| vec![stamp]),
                    Object::Set => verify_set(at.format, &seen, true),
                    _ => verify_log(&seen),
                };
                assert_eq!(stamps, Ok(vec![Stamp::new(1, 1)]), "{name}");
            });
            assert_eq!(residue(strategy, &at), [""; 0], "{name}");
        }
    }
}

#[test]
fn an_operation_that_a_strategy_does_not_have_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = context(dir.path());
    let strategy = crate::strategy("temp-rename").expect("known");
    let error = open(strategy, &at, 1).append(b"record\n").unwrap_err();
    assert_eq!(error.to_string(), "append is not supported");
}

/// Whether something comes true before everybody's patience is over.
fn eventually(done: impl Fn() -> bool) -> bool {
    let waits = |_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        done()
    };
    done() || (0..2000).any(waits)
}

/// Counts the descriptors of the whole process, so it runs in a process of its own.
#[test]
fn a_hundred_operations_leave_no_descriptor_open() {
    const ALONE: &str = "TEARPROOF_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let output = std::process::Command::new(std::env::current_exe().expect("a program"))
            .args(["--exact", "--test-threads=1"])
            .arg("tests::round_trips::a_hundred_operations_leave_no_descriptor_open")
            .env(ALONE, "1")
            .output()
            .expect("started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let operate = |strategy: &dyn Strategy, object: Object, dir: &Path, count: u32| {
        let at = of(&context(dir), object, Format::Json);
        play(strategy, &at, None, || {
            let mut client = open(strategy, &at, 1);
            let mut opened = 0;
            for sequence in 1..=count {
                let stamp = Stamp::new(1, sequence);
                match object {
                    Object::Register => client.write(&value(&at, stamp)),
                    Object::Set => client.update(&element_name(stamp)),
                    _ => client.append(&render_record(stamp, 80)),
                }
                .expect("done");
                client.read(&mut Vec::new()).expect("read");
                // After the first operation a client has opened whatever it keeps open. A server closes its end of a
                // conversation when it comes to it.
                match sequence {
                    1 => opened = descriptors(),
                    _ => assert!(eventually(|| descriptors() <= opened), "{}", strategy.info().name),
                }
            }
        });
    };
    for object in [Object::Register, Object::Set, Object::Log] {
        for strategy in keepers(object) {
            let dir = tempfile::tempdir().expect("a directory");
            let before = descriptors();
            operate(strategy, object, dir.path(), 50);
            assert_eq!(descriptors(), before, "{}", strategy.info().name);
        }
    }
}
