//! What single strategies do when something does go wrong, or is about to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tearproof_core::claim::{Claim, Guarantee, Hazard};
use tearproof_core::document::{Format, Shape, Stamp};
use tearproof_core::history::Failure;
use tearproof_core::object::Object;
use tearproof_core::set::{SetDocument, element_name, verify_set};
use tearproof_core::strategy::{ClientContext, Found, Strategy, StrategyError};

use super::{context, play};

fn strategy(name: &str) -> &'static dyn Strategy {
    crate::strategy(name).expect("known")
}

fn sets(at: &ClientContext) -> ClientContext {
    ClientContext { object: Object::Set, patience: Duration::from_millis(5), ..at.clone() }
}

fn set_of(elements: u32) -> Vec<u8> {
    let mut set = SetDocument::default();
    (1..=elements).for_each(|sequence| set.add(&element_name(Stamp::new(9, sequence))));
    set.render(Format::Json)
}

#[test]
fn readers_that_tolerate_give_up_on_damage_that_stays() {
    for name in ["tolerate-retry", "tolerate-checksum"] {
        let dir = tempfile::tempdir().expect("a directory");
        let at = sets(&context(dir.path()));
        let whole = set_of(3);
        fs::write(&at.file, &whole[..whole.len() / 2]).expect("written");
        let mut client = strategy(name).client(&at).expect("opened");
        for error in [client.read(&mut Vec::new()).unwrap_err(), client.update("e-1-1").unwrap_err()] {
            assert!(
                matches!(error, StrategyError::Failed { failure: Failure::RetriesExhausted, .. }),
                "{name}: {error:?}"
            );
        }
    }
}

#[test]
fn a_yaml_prefix_passes_for_a_document_and_a_checksum_catches_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let shape = Shape { format: Format::Yaml, size: 600, grow: 0 };
    let at = ClientContext {
        format: Format::Yaml,
        shape,
        patience: Duration::from_millis(5),
        ..context(dir.path())
    };
    let mut document = Vec::new();
    shape.render(Stamp::new(1, 1), &mut document);
    let cut = document.iter().rposition(|&byte| byte == b'-').expect("a list");
    fs::write(&at.file, &document[..cut]).expect("written");
    let mut seen = Vec::new();
    let mut parsing = strategy("tolerate-retry").client(&at).expect("opened");
    assert_eq!(parsing.read(&mut seen).expect("a prefix parses"), Found::Present);
    assert!(shape.verify(&seen).is_err());
    assert!(strategy("tolerate-checksum").client(&at).expect("opened").read(&mut seen).is_err());
}

#[test]
fn falling_back_to_empty_wipes_the_state_and_failing_does_not() {
    for (name, elements) in [("fallback-to-empty", 1), ("in-place-truncate", 0)] {
        let dir = tempfile::tempdir().expect("a directory");
        let at = sets(&context(dir.path()));
        let whole = set_of(3);
        fs::write(&at.file, &whole[..whole.len() / 2]).expect("written");
        let updated = strategy(name).client(&at).expect("opened").update("e-1-1");
        assert_eq!(updated.is_ok(), elements == 1, "{name}");
        let found = verify_set(Format::Json, &fs::read(&at.file).expect("read"), true);
        assert_eq!(found.ok().map_or(0, |found| found.len()), elements, "{name}");
    }
}

#[test]
fn an_empty_file_is_an_empty_set_to_the_merged_fix_alone() {
    for (name, tolerated) in [("thread-mutex-temp-rename", true), ("temp-rename", false)] {
        let dir = tempfile::tempdir().expect("a directory");
        let at = sets(&context(dir.path()));
        fs::write(&at.file, "").expect("written");
        let updated = strategy(name).client(&at).expect("opened").update("e-1-1");
        assert_eq!(updated.is_ok(), tolerated, "{name}");
    }
}

#[test]
fn the_mode_survives_in_those_that_promise_it_and_in_no_other() {
    let claim = Claim::new(Guarantee::MetadataKept, Hazard::Concurrency);
    for candidate in super::keepers(Object::Register) {
        let dir = tempfile::tempdir().expect("a directory");
        let at = context(dir.path());
        let mut document = Vec::new();
        at.shape.render(Stamp::new(1, 1), &mut document);
        play(candidate, &at, Some(&document), || {
            if !fs::symlink_metadata(&at.file).expect("there").is_file() {
                return;
            }
            fs::set_permissions(&at.file, fs::Permissions::from_mode(0o640)).expect("set");
            candidate.client(&at).expect("opened").write(&document).expect("written");
            let mode = fs::metadata(&at.file).expect("there").permissions().mode() & 0o7777;
            let info = candidate.info();
            assert_eq!(mode == 0o640, info.claims.contains(&claim), "{}: {mode:o}", info.name);
        });
    }
}

#[test]
fn a_writer_that_finds_the_shared_name_gone_does_not_know_the_outcome() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = context(dir.path());
    // A directory in the place of the state file makes the rename fail, late in the write.
    fs::create_dir(&at.file).expect("made");
    for (name, unknown) in
        [("temp-rename-shared", true), ("temp-rename", false), ("write-file-atomic", false)]
    {
        let error = strategy(name).client(&at).expect("opened").write(b"document").unwrap_err();
        assert_eq!(matches!(error, StrategyError::Unknown { .. }), unknown, "{name}: {error:?}");
        assert!(error.to_string().starts_with("rename "), "{error}");
        assert_eq!(fs::read_dir(&at.dir).expect("listed").count(), 1, "{name} left its temporary file");
    }
}

#[test]
fn a_client_that_slept_through_versions_does_not_win_a_number_that_was_used() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = sets(&context(dir.path()));
    let versions = strategy("cas-versioned-link");
    play(versions, &at, Some(&set_of(1)), || {
        let mut sleeper = versions.client(&at).expect("opened");
        sleeper.update("e-1-1").expect("updated");
        let mut busy = versions.client(&ClientContext { client: 2, ..at.clone() }).expect("opened");
        (1..=4).for_each(|sequence| busy.update(&format!("e-2-{sequence}")).expect("updated"));
        sleeper.update("e-1-2").expect("updated");
        let mut seen = Vec::new();
        busy.read(&mut seen).expect("read");
        assert_eq!(verify_set(Format::Json, &seen, true).expect("whole").len(), 7);
        // Every name is still taken; all but the newest hold nothing.
        let length = |version: u32| fs::metadata(at.sibling(&format!(".v{version}"))).expect("there").len();
        assert!((1..=5).all(|version| length(version) == 0));
        assert!(length(6) > 0);
    });
}

#[test]
fn a_streaming_reader_holds_the_shared_lock_until_it_is_dropped() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = context(dir.path());
    fs::write(&at.file, "document").expect("written");
    let stream = strategy("flock-in-place").client(&at).expect("opened").stream().expect("a stream");
    let file = fs::File::open(&at.file).expect("opened");
    assert!(file.try_lock().is_err());
    drop(stream);
    file.try_lock().expect("the lock went with the reader");
}

#[test]
fn one_writer_of_a_double_buffer_falls_back_to_the_slot_that_is_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = ClientContext { patience: Duration::from_millis(5), ..context(dir.path()) };
    let buffer = strategy("double-buffer");
    let value = |sequence| {
        let mut document = Vec::new();
        at.shape.render(Stamp::new(1, sequence), &mut document);
        document
    };
    buffer.prepare(&at, Some(&value(1))).expect("prepared");
    let mut client = buffer.client(&at).expect("opened");
    client.write(&value(2)).expect("written");
    // The second slot, which is the newest, loses a byte.
    let mut bytes = fs::read(&at.file).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&at.file, &bytes).expect("written");
    let mut seen = Vec::new();
    client.read(&mut seen).expect("read");
    assert_eq!(at.shape.verify(&seen), Ok(Stamp::new(1, 1)));
    client.write(&value(3)).expect("written");
    client.read(&mut seen).expect("read");
    assert_eq!(at.shape.verify(&seen), Ok(Stamp::new(1, 3)));
}

#[test]
fn without_an_owner_nothing_is_done_and_a_second_owner_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = context(dir.path());
    let coordinator = strategy("coordinator");
    let mut document = Vec::new();
    at.shape.render(Stamp::new(1, 1), &mut document);
    let mut client = coordinator.client(&at).expect("a client needs no owner yet");
    let error = client.write(&document).unwrap_err();
    assert!(matches!(error, StrategyError::Failed { .. }), "{error:?}");
    assert!(error.to_string().starts_with("no owner: connect state.json.sock: "), "{error}");
    play(coordinator, &at, None, || {
        let second = coordinator.serve(&at, &mut || panic!("two owners"), &|| true);
        assert!(matches!(second, Err(StrategyError::Failed { failure: Failure::Busy, .. })));
        client.write(&document).expect("the owner is found by the next operation");
    });
    assert_eq!(fs::read(&at.file).expect("read"), document);
    assert!(client.write(&document).is_err(), "the owner is gone");
    // An owner that comes later goes on from the file.
    let mut seen = Vec::new();
    play(coordinator, &at, None, || {
        client.read(&mut seen).expect("read");
    });
    assert_eq!(seen, document);
}

#[test]
fn across_two_file_systems_the_other_directory_means_a_plain_copy() {
    let dir = tempfile::tempdir().expect("a directory");
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    let at = ClientContext { other_dir: Some(other.path().to_owned()), ..context(dir.path()) };
    fs::write(&at.file, "old").expect("written");
    let mut client = strategy("temp-other-dir").client(&at).expect("opened");
    client.write(b"new").expect("written");
    assert_eq!(fs::read(&at.file).expect("read"), b"new");
    assert_eq!(fs::read_dir(other.path()).expect("listed").count(), 0);
}
