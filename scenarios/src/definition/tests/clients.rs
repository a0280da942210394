//! What is refused of clients, of their times and of their world.

use super::*;

#[test]
fn clients_are_some_and_not_too_many() {
    insta::assert_snapshot!(told(&with(&[("role = 'writer'", "role = 'writer'\ncount = 0\nthreads = 0")])), @r#"
    9:9 `count` must be at least 1, and this is 0 (out of bounds)
        write for example `count = 1`
    10:11 `threads` must be at least 1, and this is 0 (out of bounds)
        write for example `threads = 1`
    "#);
    insta::assert_snapshot!(told(&with(&[("role = 'writer'", "role = 'writer'\ncount = -3")])), @r#"
    9:9 `count` must be at least 1, and this is -3 (out of bounds)
        write for example `count = 1`
    "#);
    insta::assert_snapshot!(told(&with(&[("role = 'writer'", "role = 'writer'\ncount = 1000")])), @r#"
    9:9 1,001 client processes are too many (most of them here)
        at most 1,000 client processes in all roles together; a race needs few
    "#);
    insta::assert_snapshot!(told(&with(&[("role = 'writer'", "role = 'writer'\nthreads = 99999999999999999999999")])), @r#"
    9:11 `threads` must be at most 4294967295, and this is 99999999999999999999999 (out of bounds)
        write for example `threads = 1`
    "#);
    insta::assert_snapshot!(told(&with(&[("role = 'writer'", "role = 'writer'\ncount = 100\nthreads = 100")])), @r#"
    10:11 10,001 threads are too many (most of them here)
        at most 4,000 threads in all roles together; a race needs few
    "#);
    assert_eq!(accept(&with(&[("role = 'writer'", "role = 'writer'\ncount = 999")])).processes(), 1000);
    insta::assert_snapshot!(told(&with(&[("'reader'", "'writer'")])), @r#"
    11:8 there are two roles called `writer` (again)
        give each a name of its own: witnesses name the clients by it
    "#);
    insta::assert_snapshot!(told(&with(&[("role = 'writer'", "role = 'writer'\nthreads = 2\nlifetime = 'operation'")])), @r#"
    9:11 a process that lives for one operation has one thread (2 threads)
        write `threads = 1`, or `lifetime = "session"`; `count` gives more processes
    "#);
}

#[test]
fn clients_do_what_the_object_has() {
    insta::assert_snapshot!(told(&with(&[("{ write = 1 }", "{ acquire = 1 }")])), @r#"
    9:10 a register has no `acquire` (not an operation of a register)
        clients of a register do `read` and `write`
    "#);
    insta::assert_snapshot!(told(&with(&[("{ write = 1 }", "{ wriet = 1, cas = 1 }")])), @r#"
    9:10 unknown operation `wriet` (no such operation)
        did you mean `write`?
    9:21 a register has no `cas` (not an operation of a register)
        no strategy offers one; histories that other tools recorded may hold them
    "#);
    insta::assert_snapshot!(told(&LOCK_TEXT.replace("acquire = 1", "acquire = 1, release = 1")), @r#"
    9:23 a client cannot release alone (not an operation of a lock)
        write `acquire` alone: it stands for acquire, hold, release
    "#);
    insta::assert_snapshot!(told(&with(&[("{ write = 1 }", "{ write = 0 }")])), @r#"
    9:8 a client of this role never does anything (no operation with a positive weight)
        write for example `does = { read = 1 }`; weights say how often each operation is chosen
    "#);
    insta::assert_snapshot!(told(&with(&[("{ write = 1 }", "{}")])), @r#"
    9:8 a client of this role never does anything (no operation with a positive weight)
        write for example `does = { read = 1 }`; weights say how often each operation is chosen
    "#);
    insta::assert_snapshot!(told(&with(&[("{ write = 1 }", "{ write = -1 }")])), @r#"
    9:18 `write` must be at least 0, and this is -1 (out of bounds)
        write for example `write = 1`
    "#);
    insta::assert_snapshot!(told(&with(&[("{ write = 1 }", "{ read = 2 }")])), @r#"
    9:8 every client only reads, so there is nothing to race (nobody changes the state file)
        add a role with `does = { write = 1 }`
    "#);
    insta::assert_snapshot!(told(&with(&[("{ write = 1 }", "{ write = 1, read = 1 }\nvia = 'http'")])), @r#"
    10:7 a client that goes through the HTTP server only reads (the server streams the file, and takes nothing)
        write `does = { read = 1 }`, or leave `via` out
    "#);
}

#[test]
fn rates_and_lengths_of_time_are_positive_and_have_units() {
    let writer = |line: &str| told(&with(&[("role = 'writer'", &format!("role = 'writer'\n{line}"))]));
    insta::assert_snapshot!(writer("rate = '0/s'"), @r#"
    9:8 `rate` must be more than nothing a second (nothing would ever happen)
        write for example `rate = "200/s"`, or leave it out: then one operation follows the other
    "#);
    insta::assert_snapshot!(writer("rate = 200"), @r#"
    9:8 `rate` needs its unit (a bare number)
        write `rate = "200/s"`
    "#);
    insta::assert_snapshot!(writer("rate = 'often'"), @r#"
    9:8 `rate`: `often` is no rate (here)
        write `200/s`
    "#);
    insta::assert_snapshot!(writer("hold = '-1 ms'"), @r#"
    9:8 `hold` cannot be negative (negative)
        write for example `hold = "1 ms"`
    "#);
    insta::assert_snapshot!(writer("hold = 5"), @r#"
    9:8 `hold` needs its unit (a bare number)
        write `hold = "5 ms"` or `"5 s"`
    "#);
    let stress = |line: &str| told(&format!("{RIGHT}[stress]\n{line}\n"));
    insta::assert_snapshot!(stress("execution = '0 ms'\nhang = 'soon'\nseconds = 0"), @r#"
    14:13 `execution` must be longer than no time at all (zero)
        write for example `execution = "1 ms"`
    15:8 `hang`: `soon` is no length of time (here)
        write `250 us`, `1 ms` or `2 s`
    16:11 `seconds` must be more than no time at all (here)
        write for example `seconds = 2`; without it the budget of the run decides
    "#);
    insta::assert_snapshot!(stress("pause = '25 ms'"), @r#"
    14:9 `pause` must be longer than `lease` (`pause` is 25.0 ms)
        `pause` is 25.0 ms, `lease` is 25.0 ms by default: otherwise a pause ends before any lease has run out
    "#);
    insta::assert_snapshot!(stress("lease = '1 s'\npause = '500 ms'\npatience = '5 s'\nring = '1 B'"), @r#"
    15:9 `pause` must be longer than `lease` (`pause` is 500 ms)
        `pause` is 500 ms, `lease` is 1.00 s: otherwise a pause ends before any lease has run out
    16:12 `hang` must be longer than `patience` (`patience` is 5.00 s)
        `hang` is 5.00 s by default, `patience` is 5.00 s: otherwise an operation that still waits counts as hanging
    17:8 a ring of events of this size is impossible (out of bounds)
        write a size from `4 KiB` to `1 GiB`; every client has one
    "#);
    insta::assert_snapshot!(told(&format!("{RIGHT}[explore]\noperations = 0\npreemptions = -1\nexecutions = 0\n")), @r#"
    14:14 `operations` must be at least 1, and this is 0 (out of bounds)
        write for example `operations = 1`
    15:15 `preemptions` must be at least 0, and this is -1 (out of bounds)
        write for example `preemptions = 1`
    16:14 `executions` must be at least 1, and this is 0 (out of bounds)
        write for example `executions = 1`
    "#);
}

#[test]
fn the_world_before_and_what_must_hold_fit_the_object() {
    insta::assert_snapshot!(told(&format!("{RIGHT}[before]\nlock = 'dead-holder'\nstate = 'presnt'\n")), @r#"
    14:8 a lock before the start, and the state file is a register (no lock here)
        leave it out, or write `object = "lock"` in [state]
    15:9 `presnt` is nearly `present` (a slip, or a literal text?)
        write `present`; a literal text as near as this needs a line break at its end
    "#);
    insta::assert_snapshot!(told(&format!("{LOCK_TEXT}[before]\nstate = 'empty'\n")), @r#"
    11:9 the state file is a lock, and `lock` says what it is before the start (here)
        write `lock = "…"` with `none`, `dead-holder`, `expired`, `live-holder` or a literal text
    "#);
    insta::assert_snapshot!(told(&format!("{RIGHT}[require]\nguarantees = ['atomic-read', 'mutual-exclusion']\nhazards = ['flood']\n")), @r#"
    14:15 unknown guarantee `atomic-read` (no such guarantee)
        did you mean `atomic-reads`? There are: atomic-reads, no-lost-updates, linearizable, mutual-exclusion, progress, durability, errors-reported, no-residue, metadata-kept
    14:30 `mutual-exclusion` says nothing of a register (no strategy could be recommended)
        of a register one can require: atomic-reads, linearizable, progress, durability, errors-reported, no-residue, metadata-kept
    15:12 unknown hazard `flood` (no such hazard)
        there are: concurrency, pause, kill, power-loss, io-error
    "#);
    insta::assert_snapshot!(told(&format!("{RIGHT}[require]\nguarantees = ['atomic-reads', 'errors-reported', 'durability']\nhazards = ['concurrency', 'pause']\n")), @"
    14:31 nothing can break `errors-reported` under concurrency, pause (would be required of nobody)
        add to `hazards` what can: io-error
    14:50 nothing can break `durability` under concurrency, pause (would be required of nobody)
        add to `hazards` what can: kill, power-loss
    ");
    let fits = "[require]\nguarantees = ['errors-reported']\nhazards = ['concurrency', 'io-error']\n";
    assert_eq!(accept(&format!("{RIGHT}{fits}")).require.claims().len(), 1);
    let text = accept(&format!("{RIGHT}[before]\nstate = \"present\\n\"\n"));
    assert_eq!(text.before.state, StateBefore::Text("present\n".into()));
}
