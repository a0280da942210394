//! Bad input and bad luck: each gives a clear error or an inconclusive verdict, and nothing that was
//! measured is lost.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::{Place, verdicts};

fn definition(strategy: &str, extra: &str) -> String {
    format!(
        r#"
name    = "mine"
summary = "a test"
source  = "a test"
strategies = ["{strategy}"]

[state]
file   = "state.json"
format = "json"
object = "register"
size   = "1 KiB"

[[client]]
role = "writer"
does = {{ write = 1 }}

[[client]]
role  = "reader"
count = 2
does  = {{ read = 1 }}
{extra}
"#
    )
}

#[test]
fn a_directory_that_is_not_there_is_bad_usage() {
    let place = Place::new();
    let finished = place.run(&["run", "progress", "--dir", "no/such/dir"]);
    assert_eq!(finished.code(), 2);
    assert!(finished.stderr().contains("no/such/dir"), "{}", finished.stderr());
    assert!(finished.stderr().contains("No such file or directory"), "{}", finished.stderr());
}

#[test]
fn a_directory_that_cannot_be_written_to_is_named() {
    let place = Place::new();
    // Root may write anywhere but where the kernel makes all files.
    let finished = place.run(&["run", "progress", "--dir", "/proc"]);
    assert_eq!(finished.code(), 4, "{}", finished.stderr());
    assert!(finished.stderr().contains("/proc"), "{}", finished.stderr());
    // Nor does it cost what was measured elsewhere: nothing has run by then.
    let truncating = ["run", "progress", "--strategy", "in-place-truncate", "--histories", "--out", "out"];
    let directories = ["--budget", "1s", "--dir", ".", "--dir", "/proc"];
    let finished = place.run(&[&truncating[..], &directories[..]].concat());
    assert_eq!(finished.code(), 4, "{}", finished.stderr());
    assert!(!place.path().join("out/histories").exists());
    if !rustix::process::geteuid().is_root() {
        let closed = place.path().join("closed");
        std::fs::create_dir(&closed).expect("a directory");
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o555)).expect("a mode");
        let finished = place.run(&["run", "progress", "--dir", "closed"]);
        assert_eq!(finished.code(), 4, "{}", finished.stderr());
        assert!(finished.stderr().contains("closed"), "{}", finished.stderr());
    }
}

#[test]
fn a_wrong_definition_is_refused_before_anything_starts() {
    let place = Place::new();
    let text = definition("temp-rename", "")
        .replace("count = 2", "count = 0")
        .replace("size   = \"1 KiB\"", "size = \"3 B\"");
    place.file("mine.toml", &text);
    let finished = place.run(&["run", "mine.toml"]);
    assert_eq!(finished.code(), 2);
    let said = finished.stderr();
    // All errors at once, each with file and line.
    assert!(said.contains("mine.toml:11") && said.contains("mine.toml:19"), "{said}");
    assert!(!place.path().join("target").exists(), "nothing was started");
}

#[test]
fn a_thousand_clients_run_and_more_are_refused_in_so_many_words() {
    let place = Place::new();
    let many = definition("temp-rename", "");
    place.file("many.toml", &many.replace("count = 2", "count = 999"));
    let finished = place.run(&["run", "many.toml", "--budget", "1s"]);
    assert!(matches!(finished.code(), 0 | 3), "exit {}: {}", finished.code(), finished.stderr());
    assert_eq!(place.left_behind(), Vec::<String>::new());
    place.file("more.toml", &many.replace("count = 2", "count = 1000"));
    let refused = place.run(&["run", "more.toml"]);
    assert_eq!(refused.code(), 2);
    assert!(refused.stderr().contains("1,001 client processes are too many"), "{}", refused.stderr());
}

#[test]
fn a_full_ring_is_inconclusive_and_says_so() {
    let place = Place::new();
    place.file("mine.toml", &definition("temp-rename", "[stress]\nring = \"4 KiB\"\nseconds = 0.3"));
    let finished = place.run(&["run", "mine.toml"]);
    assert_eq!(finished.code(), 3, "{}\n{}", finished.stdout(), finished.stderr());
    let run = place.run_json();
    assert!(
        verdicts(&run)
            .iter()
            .any(|(cell, verdict)| cell.ends_with("atomic-reads@concurrency") && verdict == "inconclusive")
    );
    assert!(run.to_string().contains("filled their ring of 4096 bytes"));
}

#[test]
fn a_state_file_that_somebody_deletes_is_seen_as_missing() {
    let place = Place::new();
    place.file("mine.toml", &definition("in-place-overwrite", "[stress]\nseconds = 1.5"));
    let mut child = place
        .command(&["run", "mine.toml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // Whoever sees the file removes it, for as long as the run lasts.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut removed = 0;
    while child.try_wait().expect("a child").is_none() && Instant::now() < deadline {
        for root in place.left_behind() {
            let Ok(executions) = std::fs::read_dir(place.path().join(root)) else { continue };
            for execution in executions.filter_map(Result::ok) {
                removed += u32::from(std::fs::remove_file(execution.path().join("state/state.json")).is_ok());
            }
        }
        std::thread::yield_now();
    }
    let status = child.wait().expect("a child");
    assert!(removed > 0, "no file was ever there");
    assert!(status.code().is_some_and(|code| code != 4), "{status}");
    let run = place.run_json();
    assert!(run.to_string().contains("\"missing\""), "the missing file was not seen: {run:#}");
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

/// A tmpfs that is soon full.
struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts one, where this machine lets us.
    fn mount(place: &Path, size: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("not shown here: only root can mount the small tmpfs that this needs");
            return None;
        }
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(place)
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            println!("not shown here: this machine does not let root mount a tmpfs");
        }
        mounted.then(|| Self { place: place.to_owned() })
    }

    /// Unmounts it, which fails while anything on it is open.
    fn unmount(&self) -> bool {
        Command::new("umount").arg(&self.place).status().is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What a failed test leaves open goes when it is closed.
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_full_file_system_is_reported_and_ends_well() {
    let place = Place::new();
    let small = place.path().join("small");
    std::fs::create_dir(&small).expect("a directory");
    let Some(mounted) = SmallDisk::mount(&small, "64k") else { return };
    let text = definition("temp-rename", "[stress]\nseconds = 0.3").replace("1 KiB", "48 KiB");
    place.file("mine.toml", &text);
    let finished = place.run(&["run", "mine.toml", "--dir", "small"]);
    assert!(mounted.unmount(), "something was left open on the file system");
    assert!(matches!(finished.code(), 0 | 1 | 3), "{}", finished.stderr());
    assert!(place.run_json().to_string().contains("No space left on device"), "{}", finished.stdout());
}

const ONE: [&str; 6] = ["run", "progress", "--strategy", "temp-rename", "--budget", "1s"];

#[test]
fn a_result_that_cannot_be_kept_is_printed_all_the_same() {
    let place = Place::new();
    // In the way of the file is something that cannot be replaced by one.
    std::fs::create_dir_all(place.path().join("target/tearproof/run.json/in-the-way")).expect("a directory");
    let finished = place.run(&ONE);
    assert_eq!(finished.code(), 4, "{}", finished.stderr());
    assert!(finished.stdout().contains("temp-rename"), "the table is lost: {}", finished.stdout());
    assert_eq!(finished.stderr().matches("run.json").count(), 1, "{}", finished.stderr());
}

#[test]
fn a_full_disk_costs_neither_the_table_nor_the_result_of_the_run_before() {
    let place = Place::new();
    let out = place.path().join("out");
    std::fs::create_dir(&out).expect("a directory");
    let Some(mounted) = SmallDisk::mount(&out, "256k") else { return };
    let arguments = [&ONE[..], &["--out", "out"]].concat();
    assert_eq!(place.run(&arguments).code(), 0);
    let before = std::fs::read(out.join("run.json")).expect("the result of the run before");
    let filler = std::fs::File::create(out.join("filler")).expect("a file");
    let mut filler = std::io::BufWriter::with_capacity(1, filler);
    while std::io::Write::write_all(&mut filler, b"full").is_ok() {}
    let finished = place.run(&arguments);
    let after = std::fs::read(out.join("run.json")).expect("the result of the run before");
    let names = std::fs::read_dir(&out).expect("the directory").count();
    drop(filler);
    drop(mounted);
    assert_eq!(finished.code(), 4, "{}", finished.stderr());
    assert!(finished.stderr().contains("No space left on device"), "{}", finished.stderr());
    assert!(finished.stdout().contains("temp-rename"), "the table is lost: {}", finished.stdout());
    assert!(before == after, "the result of the run before is not what it was");
    assert_eq!(names, 2, "something was left behind");
}

#[test]
fn results_that_can_go_nowhere_are_noticed_before_anything_runs() {
    let place = Place::new();
    let began = Instant::now();
    let finished = place.run(&["run", "--out", "/proc/out"]);
    assert_eq!(finished.code(), 4, "{}", finished.stderr());
    assert!(finished.stderr().contains("/proc/out"), "{}", finished.stderr());
    assert!(began.elapsed() < Duration::from_secs(20), "the whole run came first");
}

#[test]
fn a_history_that_was_cut_off_is_inconclusive_and_a_malformed_one_is_refused_by_line() {
    let place = Place::new();
    let whole = "{\"format\":1,\"object\":\"register\",\"initial\":null}\n\
                 {\"time_ns\":1,\"client\":0,\"type\":\"invoke\",\"op\":\"write\",\"value\":4}\n\
                 {\"time_ns\":2,\"client\":0,\"type\":\"ok\",\"op\":\"write\",\"value\":4}\n\
                 {\"time_ns\":3,\"client\":0,\"type\":\"invoke\",\"op\":\"read\"}\n\
                 {\"time_ns\":4,\"client\":0,\"type\":\"ok\",\"op\":\"read\",\"value\":4}\n";
    place.file("whole.jsonl", whole);
    assert_eq!(place.run(&["check", "whole.jsonl"]).code(), 0);
    place.file("cut.jsonl", &whole[..whole.len() - 20]);
    let cut = place.run(&["check", "cut.jsonl"]);
    assert_eq!(cut.code(), 3, "{}", cut.stdout());
    assert!(cut.stderr().contains("line 5"), "{}", cut.stderr());
    place.file("bad.jsonl", &whole.replace("\"ok\"", "\"okay\""));
    let bad = place.run(&["check", "bad.jsonl"]);
    assert_eq!(bad.code(), 2);
    assert!(bad.stderr().contains("line 3"), "{}", bad.stderr());
    let missing = place.run(&["check", "none.jsonl"]);
    assert_eq!(missing.code(), 2);
    assert!(missing.stderr().contains("none.jsonl"), "{}", missing.stderr());
}

#[test]
fn an_unknown_scenario_or_strategy_is_told_with_what_there_is() {
    let place = Place::new();
    let scenario = place.run(&["run", "progess"]);
    assert_eq!(scenario.code(), 2);
    assert!(scenario.stderr().contains("progress"), "{}", scenario.stderr());
    assert!(scenario.stderr().contains("did you mean `progress`?"), "{}", scenario.stderr());
    let strategy = place.run(&["run", "progress", "--strategy", "temp-renam"]);
    assert_eq!(strategy.code(), 2);
    assert!(strategy.stderr().contains("did you mean `temp-rename`?"), "{}", strategy.stderr());
    let lock = place.run(&["run", "progress", "--strategy", "lock-flock"]);
    assert_eq!(lock.code(), 2);
    let said: String = lock.stderr().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("`lock-flock` keeps a lock, and the object of `progress` is a register"), "{said}");
    assert!(said.contains("`run-lock`"), "{said}");
}

#[test]
fn a_path_that_cannot_be_used_is_named_once_and_the_exit_code_says_whose_fault_it_is() {
    let place = Place::new();
    let file = place.file("some-file", "{}");
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    // What was misspelt, or is of another kind than was meant.
    for arguments in [
        &["check", "."][..],
        &["check", "some-where"],
        &["run", "progress", "--dir", "some-where"],
        &["run", "progress", "--dir", &name],
        &["run", "progress", "--out", &name],
        &["run", "some-where.toml"],
    ] {
        let finished = place.run(arguments);
        assert_eq!(finished.code(), 2, "{arguments:?}: {}", finished.stderr());
        let named = finished.stderr().matches("some-").count();
        assert_eq!(named, usize::from(arguments[1] != "."), "{arguments:?}: {}", finished.stderr());
    }
    // What the system does not let anybody do.
    for arguments in [["run", "progress", "--dir", "/proc"], ["run", "progress", "--out", "/proc/some-out"]] {
        let finished = place.run(&arguments);
        assert_eq!(finished.code(), 4, "{arguments:?}: {}", finished.stderr());
        assert_eq!(finished.stderr().matches(arguments[3]).count(), 1, "{}", finished.stderr());
        assert!(finished.stderr().contains("help: "), "{}", finished.stderr());
    }
}

#[test]
fn what_is_named_twice_runs_once() {
    let place = Place::new();
    place.file("mine.toml", &definition("temp-rename", "[stress]\nseconds = 0.3"));
    let finished = place.run(&["run", "mine.toml", "./mine.toml", "--dir", ".", "--dir", "./."]);
    assert_eq!(finished.code(), 0, "{}", finished.stderr());
    assert_eq!(place.run_json()["scenarios"].as_array().map(Vec::len), Some(1));
    place.file("other.toml", &definition("temp-rename", ""));
    let finished = place.run(&["run", "mine.toml", "other.toml"]);
    assert_eq!(finished.code(), 2);
    assert!(finished.stderr().contains("both called `mine`"), "{}", finished.stderr());
}

#[test]
fn a_program_that_never_answers_is_not_recommended() {
    let place = Place::new();
    place.file(
        "silent.py",
        "import sys, time, json\nsys.stdin.readline()\nprint(json.dumps({'t': 'ready', 'proto': 1, 'name': 'silent', 'ops': ['read', 'update']}), flush=True)\ntime.sleep(1000)\n",
    );
    place.file(
        "silent.toml",
        r#"
name    = "silent"
summary = "a worker that greets and never answers"
source  = "a test"
strategies = ["mine"]

[state]
file   = "index.json"
format = "json"
object = "set"

[[client]]
role  = "agent"
count = 2
does  = { update = 1 }

[strategy.mine]
worker  = ["python3", "silent.py"]
claims  = ["no-lost-updates@concurrency"]
timeout = "300 ms"

[stress]
hang = "500 ms"
"#,
    );
    let finished = place.run(&["run", "silent.toml", "--budget", "2s"]);
    assert_eq!(finished.code(), 3, "{}{}", finished.stdout(), finished.stderr());
    assert!(finished.stdout().contains("succeeded"), "{}", finished.stdout());
}
