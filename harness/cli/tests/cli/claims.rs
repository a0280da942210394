//! What a user's own program promises is not believed because nobody saw it broken: where nothing could
//! have shown a breach, or no engine looked, the command does not end well.

use crate::command::Place;

/// A definition of a register, or with `object` of something else, that compares `mine` alone.
fn definition(object: &str, change: &str, mine: &str) -> String {
    format!(
        r#"
name    = "mine"
summary = "a test"
source  = "a test"
strategies = ["mine"]
[state]
file   = "state.json"
format = "json"
object = "{object}"
[[client]]
role  = "writer"
count = 2
does  = {{ {change} = 1 }}
[[client]]
role = "reader"
does = {{ read = 1 }}
[strategy.mine]
{mine}
[stress]
hang    = "500 ms"
seconds = 1
"#
    )
}

#[test]
fn a_command_that_never_ends_is_not_recommended_although_reads_succeed() {
    let place = Place::new();
    let mine =
        "write   = [\"sleep\", \"1000\"]\ntimeout = \"300 ms\"\nclaims  = [\"atomic-reads@concurrency\"]";
    place.file("mine.toml", &definition("register", "write", mine));
    let finished = place.run(&["run", "mine.toml", "--budget", "2s"]);
    assert_eq!(finished.code(), 3, "{}{}", finished.stdout(), finished.stderr());
    assert!(finished.stdout().contains("attempts at write succeeded"), "{}", finished.stdout());
    assert!(!finished.stdout().contains("use mine"), "{}", finished.stdout());
}

#[test]
fn a_write_that_does_nothing_breaks_what_a_register_requires_by_default() {
    let place = Place::new();
    place.file("mine.toml", &definition("register", "write", "write = [\"true\"]"));
    let finished = place.run(&["run", "mine.toml", "--budget", "3s"]);
    let shown = finished.stdout();
    assert!(
        shown.contains("atomic-reads, linearizable, progress under concurrency (the defaults"),
        "{shown}"
    );
    assert!(shown.contains("stale-read") && shown.contains("nothing to recommend"), "{shown}");
}

#[test]
fn a_claim_of_ones_own_that_no_engine_looks_at_is_no_success() {
    let place = Place::new();
    let mine = "write  = [\"cp\", \"{value_file}\", \"{path}\"]\nclaims = [\"durability@power-loss\"]";
    place.file("mine.toml", &definition("register", "write", mine));
    let finished = place.run(&["run", "mine.toml", "--budget", "1s"]);
    assert_eq!(finished.code(), 3, "{}{}", finished.stdout(), finished.stderr());
    assert!(finished.stdout().contains("no engine of this run looks at 1 claim"), "{}", finished.stdout());
    // What tearproof claims of its own strategies nobody asked about.
    let built_in = ["run", "progress", "--strategy", "write-file-atomic", "--budget", "1s"];
    let finished = place.run(&built_in);
    assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
    assert!(finished.stdout().contains("durability@power-loss"), "{}", finished.stdout());
}

#[test]
fn what_a_canary_leaves_open_because_it_is_stuck_does_not_fail_the_run() {
    let place = Place::new();
    let finished = place.run(&["run", "run-lock-reuse", "--budget", "2s"]);
    let shown = finished.stdout();
    assert!(shown.contains("?  run-lock-reuse/lock-pid-only † mutual-exclusion@concurrency"), "{shown}");
    assert!(shown.contains("found broken as it should be"), "{shown}");
    assert_eq!(finished.code(), 0, "{shown}{}", finished.stderr());
}

#[test]
fn a_stuck_lock_of_ones_own_leaves_its_claim_open() {
    let place = Place::new();
    place.file(
        "mine.toml",
        r#"
name    = "mine"
summary = "a test"
source  = "a test"
strategies = ["mine"]
[state]
file   = "active.lock"
object = "lock"
[[client]]
role  = "command"
count = 2
does  = { acquire = 1 }
[strategy.mine]
acquire = ["false"]
release = ["true"]
fail_codes = [1]
claims = ["mutual-exclusion@concurrency"]
"#,
    );
    let finished = place.run(&["run", "mine.toml", "--budget", "1s"]);
    assert_eq!(finished.code(), 3, "{}{}", finished.stdout(), finished.stderr());
    assert!(
        finished.stdout().contains("exit        3: 1 claim stayed inconclusive"),
        "{}",
        finished.stdout()
    );
}

#[test]
fn a_claim_that_says_nothing_of_the_object_is_refused() {
    let place = Place::new();
    let mine = "write  = [\"cp\", \"{value_file}\", \"{path}\"]\nclaims = [\"no-lost-updates@concurrency\"]";
    place.file("mine.toml", &definition("register", "write", mine));
    let finished = place.run(&["run", "mine.toml", "--budget", "1s"]);
    assert_eq!(finished.code(), 2, "{}", finished.stdout());
    assert!(finished.stderr().contains("says nothing of a register"), "{}", finished.stderr());
}

#[test]
fn a_history_that_could_not_have_shown_a_breach_is_not_said_to_hold() {
    let place = Place::new();
    let unread = "{\"format\":1,\"object\":\"register\",\"initial\":null}\n\
                  {\"time_ns\":1,\"client\":0,\"type\":\"invoke\",\"op\":\"write\",\"value\":4}\n\
                  {\"time_ns\":2,\"client\":0,\"type\":\"ok\",\"op\":\"write\",\"value\":4}\n";
    place.file("unread.jsonl", unread);
    let finished = place.run(&["check", "unread.jsonl"]);
    assert_eq!(finished.code(), 3, "{}{}", finished.stdout(), finished.stderr());
    assert!(finished.stdout().contains("not one read completed"), "{}", finished.stdout());
}

#[test]
fn the_width_of_what_is_no_terminal_is_what_columns_says() {
    let place = Place::new();
    let widest = |columns: &str| {
        let output = place
            .command(&["list", "guarantees"])
            .env("COLUMNS", columns)
            .output()
            .expect("the command starts");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
    };
    assert!(widest("70") <= 70 && widest("140") > 100, "{} and {}", widest("70"), widest("140"));
    assert!(widest("nonsense") <= 100);
}
