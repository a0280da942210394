//! Tracing, on programs whose calls are known: those of a shell, and the strategies themselves.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::command::Place;

/// The calls of a program on the files of a place: name, last component of the path, errno.
fn calls(place: &Place, options: &[&str], script: &str) -> Vec<(String, String, Option<String>)> {
    let run = place.run(&[&["trace", "--json"], options, &["--", "sh", "-c", script]].concat());
    assert_eq!(run.code(), 0, "{}", run.stderr());
    let last = |value: &Value| {
        let path = value.as_str().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default().to_owned()
    };
    run.stdout()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|call| {
            let errno = call["errno"].as_str().map(str::to_owned);
            (call["call"].as_str().expect("a name").to_owned(), last(&call["path"]), errno)
        })
        .collect()
}

fn told(place: &Place, script: &str) -> String {
    let run = place.run(&["trace", "--", "sh", "-c", script]);
    assert_eq!(run.code(), 0, "{}", run.stderr());
    run.stdout()
}

#[test]
fn a_file_that_a_shell_replaces_is_told_as_steps_and_as_a_pattern() {
    let place = Place::new();
    place.file("state.json", "old");
    let told = told(&place, "echo new > state.json.tmp; mv -f state.json.tmp state.json");
    for line in [
        "create state.json.tmp\n",
        "write state.json.tmp, 4 bytes\n",
        "rename state.json.tmp → state.json\n",
        "replaces state.json by rename; the temporary file is not synced before the rename, the directory is not synced after it",
    ] {
        assert!(told.contains(line), "`{line}` is not in\n{told}");
    }
    // A canary: what was not done is not told.
    assert!(
        !told.contains("fsync") && !told.contains("in place") && !told.contains("`temp-fsync-rename`"),
        "{told}"
    );
}

#[test]
fn patterns_that_differ_in_one_call_are_told_apart() {
    let place = Place::new();
    place.file("state.json", "old");
    let truncates = told(&place, "echo new > state.json");
    assert!(
        truncates.contains("truncates state.json in place") && truncates.contains("`in-place-truncate`"),
        "{truncates}"
    );
    assert!(!truncates.contains("overwrites"), "{truncates}");
    let appends = told(&place, "echo new >> state.json");
    assert!(
        appends.contains("appends to state.json by O_APPEND") && !appends.contains("truncates"),
        "{appends}"
    );
    let creates = told(&place, "echo new > other");
    assert!(creates.contains("- creates other") && !creates.contains("truncates"), "{creates}");
    let takes = told(&place, "set -C; mkdir held; mkdir held || true; rmdir held");
    assert!(takes.contains("takes held by mkdir, and removes it in the end"), "{takes}");
    assert!(takes.contains("make the directory held (mkdir) → EEXIST"), "{takes}");
}

#[test]
fn only_the_watched_directory_is_shown_whatever_way_leads_to_it() {
    let place = Place::new();
    std::fs::create_dir_all(place.path().join("in/deep")).expect("made");
    std::fs::create_dir(place.path().join("out")).expect("made");
    std::os::unix::fs::symlink("in", place.path().join("alias")).expect("linked");
    let script =
        "echo 1 > out/no; echo 2 > alias/a; cd in/deep; echo 3 > ../b; echo 4 > ../../in/c; echo 5 > d";
    let seen = calls(&place, &["--dir", "in"], script);
    let mut written: Vec<&str> =
        seen.iter().filter(|(call, ..)| call == "write").map(|(_, path, _)| path.as_str()).collect();
    written.sort_unstable();
    assert_eq!(written, ["a", "b", "c", "d"], "{seen:?}");
    let all = calls(&place, &["--dir", "in", "--all"], script);
    assert!(all.iter().any(|(call, path, _)| call == "write" && path == "no"), "{all:?}");
}

#[test]
fn children_are_followed_and_exit_codes_handed_on() {
    let place = Place::new();
    let seen = calls(&place, &[], "(sh -c 'echo 1 > a' &) ; sh -c 'echo 2 > b'; exec sh -c 'echo 3 > c'");
    for file in ["a", "b", "c"] {
        let writes = seen.iter().filter(|(call, path, _)| call == "write" && path == file).count();
        assert_eq!(writes, 1, "{file}: {seen:?}");
    }
    assert_eq!(place.run(&["trace", "--", "sh", "-c", "exit 7"]).code(), 7);
    assert_eq!(place.run(&["trace", "--", "sh", "-c", "kill -9 $$"]).code(), 128 + 9);
    assert_eq!(
        place.run(&["trace", "--", "sh", "-c", "trap 'exit 5' USR1; kill -USR1 $$; exit 6"]).code(),
        5
    );
}

#[test]
fn what_a_program_prints_is_no_part_of_the_result() {
    let place = Place::new();
    let run = place.run(&["trace", "--json", "--", "sh", "-c", "echo printed; echo 1 > a"]);
    assert!(!run.stdout().contains("printed") && run.stderr().contains("printed"));
    let run = place.run(&["trace", "--output", "result", "--", "sh", "-c", "echo printed; echo 1 > b"]);
    assert_eq!(run.stdout(), "printed\n");
    let result = std::fs::read_to_string(place.path().join("result")).expect("a result");
    assert!(result.contains("create b\n"), "{result}");
}

#[test]
fn a_call_that_signals_break_off_is_shown_once() {
    let place = Place::new();
    // Whoever waits in `open` for the other end of a fifo is stopped there and goes on: the kernel makes the
    // call again.
    let script = "mkfifo fifo; (for i in 1 2 3 4 5; do kill -STOP $$; kill -CONT $$; done; \
                  echo word > fifo) & read line < fifo; wait";
    let seen = calls(&place, &[], script);
    let opened = seen.iter().filter(|(call, path, _)| call.starts_with("open") && path == "fifo");
    // Once to read, once to write.
    assert_eq!(opened.count(), 2, "{seen:?}");
}

#[test]
fn a_trace_that_is_interrupted_kills_the_program_and_prints_what_was_seen() {
    let place = Place::new();
    let mut child = place
        .command(&["trace", "--", "sh", "-c", "echo 1 > a; echo ready >&2; exec sleep 1000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut ready = String::new();
    let stderr = child.stderr.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stderr), &mut ready).expect("a line");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("create a\n") && told.contains("Interrupted"), "{told}");
}

#[test]
fn usage_errors_say_what_to_write_instead() {
    let place = Place::new();
    for (arguments, hint) in [
        (&["trace", "--", "no-such-program"][..], "PATH"),
        (&["trace", "temp-renam"], "`temp-rename`"),
        (&["trace"], "tearproof trace -- COMMAND"),
        (&["trace", "--dir", "nowhere", "--", "true"], "--dir"),
    ] {
        let run = place.run(arguments);
        assert_eq!(run.code(), 2, "{arguments:?}");
        assert!(run.stderr().contains(hint), "{arguments:?}: {}", run.stderr());
    }
    place.file("text", "no program");
    let run = place.run(&["trace", "--", "./text"]);
    assert_eq!(run.code(), 2);
    assert!(run.stderr().contains("chmod +x"), "{}", run.stderr());
}

#[test]
fn strategies_are_told_operation_by_operation() {
    let place = Place::new();
    let run = place.run(&["trace", "flock-sibling", "lock-exclusive-create", "coordinator"]);
    assert_eq!(run.code(), 0, "{}", run.stderr());
    let told = run.stdout();
    for part in [
        "  write\n   1. create state.json.lock\n   2. lock state.json.lock exclusively (flock), waits\n",
        "  release\n   1. remove active.lock (unlink)\n",
        "takes active.lock by O_EXCL, and removes it in the end",
        "server: rename .state.json.tmp-0-1 → state.json",
    ] {
        assert!(told.contains(part), "`{part}` is not in\n{told}");
    }
}

/// A strategy that is traced as if it were anybody's program is recognised, and is taken for no other.
#[test]
fn strategies_are_recognised_by_their_calls() {
    let place = Place::new();
    let mut recognised: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let documents = [
        "in-place-truncate",
        "in-place-overwrite",
        "temp-rename",
        "temp-fsync-rename",
        "temp-rename-dirsync",
        "write-file-atomic",
        "flock-in-place",
        "flock-sibling",
        "posix-lock",
        "ofd-lock",
    ];
    let logs = ["append-log", "append-fsync"];
    let locks = ["lock-exclusive-create", "lock-mkdir", "lock-link"];
    let named = documents.map(|name| (name, "register")).into_iter();
    let named = named.chain(logs.map(|name| (name, "log"))).chain(locks.map(|name| (name, "lock")));
    for (name, object) in named {
        let dir = place.path().join(name);
        std::fs::create_dir(&dir).expect("made");
        let file = dir.join("state.json");
        if object != "lock" {
            std::fs::write(&file, if object == "log" { "" } else { "{\"old\": 1}" }).expect("written");
        }
        let time = json!({"secs": 5, "nanos": 0});
        let context = json!({
            "dir": dir, "file": file, "other_dir": null, "format": "json", "object": object,
            "shape": {"format": "json", "size": 600, "grow": 0}, "client": 1, "lease": time, "patience": time,
        });
        let program = env!("CARGO_BIN_EXE_tearproof");
        let dir = dir.to_str().expect("text");
        let run = place.run(&["trace", "--dir", dir, "--", program, "perform", name, &context.to_string()]);
        assert_eq!(run.code(), 0, "{name}: {}", run.stderr());
        let told = run.stdout();
        let hints = told.lines().filter_map(|line| line.trim().strip_prefix("as `")?.split('`').next());
        recognised.insert(name, hints.map(str::to_owned).collect());
    }
    let wrong: Vec<_> = recognised.iter().filter(|(name, hints)| **hints != [(**name).to_owned()]).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
