//! What is refused of the strategies compared, built in or the user's own.

use super::*;

#[test]
fn an_opaque_set_of_a_program_starts_from_nothing() {
    let text = "\
name = 'opaque'
strategies = ['store']
[state]
file = 'index.db'
object = 'set'
opaque = true
[[client]]
role = 'agent'
does = { update = 1, read = 0 }
[strategy.store]
read = ['store', 'list', '{path}']
update = ['store', 'add', '{path}', '{element}']
fail_codes = [75]
keeps = ['*.wal']
timeout = '2 s'
";
    let scenario = accept(text);
    assert!(scenario.state.opaque);
    assert_eq!(scenario.before.state, StateBefore::Absent);
    assert_eq!(scenario.clients[0].does, [(Operation::Update, 1)]);
    let store = &scenario.programs[0];
    assert_eq!((store.timeout, &store.keeps[..]), (Duration::from_secs(2), &["*.wal".to_owned()][..]));
    let ProgramForm::Commands { commands, fail_codes } = &store.form else { panic!("commands") };
    assert_eq!((commands.len(), &fail_codes[..]), (2, &[75][..]));
    insta::assert_snapshot!(told(&text.replace("read = ['store', 'list', '{path}']\n", "")), @r#"
    10:1 `store` has no command for `read` (add `read = […]`)
        write for example `read = ["mytool", "read", "{path}"]`
    "#);
    insta::assert_snapshot!(told(&text.replace("'store']\n[state]", "'temp-rename', 'store']\n[state]")), @r#"
    2:15 `temp-rename` is built in, and the file has a shape of its own (knows the set document of the harness only)
        compare programs of your own on it, or leave `opaque` out
    "#);
    insta::assert_snapshot!(told(&format!("{text}[before]\nstate = '[]'\n")), @r#"
    17:9 an opaque file has no initial text (its shape is known to its own program only)
        write `state = "absent"` or `"empty"`
    "#);
}

#[test]
fn a_strategy_must_exist_and_keep_the_object() {
    insta::assert_snapshot!(told(&with(&[("temp-rename", "mutex")])), @r#"
    2:15 unknown strategy `mutex` (no such strategy)
        `tearproof list strategies` shows those there are; [strategy.mutex] would make one
    "#);
    insta::assert_snapshot!(render(&read_text(&with(&[("temp-rename", "lock-flock")])).unwrap_err()), @r#"
      × mine.toml: the definition has a mistake

    Error:
      × `lock-flock` keeps a lock, and the state file is a register
       ╭─[mine.toml:2:15]
     1 │ name = 'mine'
     2 │ strategies = ['lock-flock']
       ·               ──────┬─────
       ·                     ╰── cannot keep a register
     3 │ [state]
     4 │ file = 'state.json'
     5 │ object = 'register'
       ·          ─────┬────
       ·               ╰── what the state file is
     6 │ size = '4 KiB'
       ╰────
      help: for a register there are for example `in-place-truncate`, `temp-rename`, `write-file-
            atomic`, `end-file`
    "#);
    insta::assert_snapshot!(told(&LOCK_TEXT.replace("lock-flock", "temp-rename")), @r#"
    2:15 `temp-rename` keeps a register or a set, and the state file is a lock (cannot keep a lock)
        for a lock there are for example `lock-flock`
    "#);
    insta::assert_snapshot!(told(&with(&[("['temp-rename']", "['temp-rename', 'temp-rename']")])), @r#"
    2:30 `temp-rename` is listed twice (again)
        each strategy is compared once
    "#);
    insta::assert_snapshot!(told(&with(&[("role = 'reader'", "role = 'reader'\nstrategy = 'lock-flokc'")])), @r#"
    12:12 unknown strategy `lock-flokc` (no such strategy)
        did you mean `lock-flock`?
    "#);
    insta::assert_snapshot!(told(&with(&[("role = 'reader'", "role = 'reader'\nstrategy = 'append-log'")])), @r#"
    12:12 `append-log` keeps a log, and the state file is a register (cannot keep a register)
        for a register there are for example `in-place-truncate`, `temp-rename`, `write-file-atomic`, `end-file`
    "#);
}

/// The right definition with a strategy of the user's own, `store`, in place of the built-in one.
fn with_store(table: &str) -> String {
    format!("{}[strategy.store]\n{table}\n", RIGHT.replace("'temp-rename'", "'store'"))
}

#[test]
fn a_strategy_of_ones_own_is_a_worker_or_has_the_commands_that_are_needed() {
    insta::assert_snapshot!(told(&with_store("claims = []")), @r#"
    13:1 `store` has neither a worker nor commands (nothing to run)
        add `worker = ["python3", "store.py"]`, or a command for each operation: `write = ["mytool", "set", "{path}", "{value}"]`
    "#);
    insta::assert_snapshot!(told(&with_store("worker = ['a']\nwrite = ['b', '{value}']")), @r#"
    15:9 `store` has both a worker and commands (a command for one operation)
        keep one of the two; to compare them, make two strategies
    "#);
    insta::assert_snapshot!(told(&with_store("worker = []")), @r#"
    14:10 the command of `worker` names no program (nothing to run)
        write for example `worker = ["python3", "store.py"]`
    "#);
    insta::assert_snapshot!(told(&with_store("worker = ['']\nfail_codes = [75]")), @r#"
    14:10 the command of `worker` names no program (nothing to run)
        write for example `worker = ["python3", "store.py"]`
    15:14 `fail_codes` belongs to commands, and this is a worker (a worker does not exit)
        leave it out: a worker answers `{"t":"fail", …}`
    "#);
    insta::assert_snapshot!(render(&read_text(&with_store("read = ['cat', '{path}']")).unwrap_err()), @r#"
      × mine.toml: the definition has a mistake

    Error:
      × `store` has no command for `write`
        ╭─[mine.toml:13:1]
      8 │ role = 'writer'
      9 │ does = { write = 1 }
        ·        ──────┬──────
        ·              ╰── clients do it here
     10 │ [[client]]
     11 │ role = 'reader'
     12 │ does = { read = 1 }
     13 │ [strategy.store]
        · ────────┬───────
        ·         ╰── add `write = […]`
     14 │ read = ['cat', '{path}']
        ╰────
      help: write for example `write = ["mytool", "write", "{path}", "{value}"]`
    "#);
    insta::assert_snapshot!(told(&with_store("write = ['a', '{valeu}', '{element}', 'x{y}']")), @r#"
    14:15 unknown placeholder `{valeu}` (would stay as it is)
        did you mean `{value}`?
    14:26 the command of `write` is not given `{element}` (would stay as it is)
        it can hold `{path}`, `{dir}`, `{client}`, `{timeout_ms}`, `{value}`, `{value_file}`
    "#);
    insta::assert_snapshot!(told(&with_store("write = ['a']\nfail_codes = [0, 300]\ntimeout = '0 s'\nkeeps = ['a/b']")), @r#"
    15:15 exit code 0 means that the operation was done (here)
        list the codes that mean: certainly not applied
    15:18 an exit code is a whole number from 1 to 255 (here)
        write `fail_codes = [75]`
    16:11 `timeout` must be longer than no time at all (zero)
        write for example `timeout = "1 ms"`
    17:10 a name of a kept file contains a slash (here)
        write names in the state directory, with `*` for anything: `*.lock`
    "#);
    let lock = LOCK_TEXT.replace("'lock-flock'", "'store'");
    insta::assert_snapshot!(told(&format!("{lock}[strategy.store]\nacquire = ['take', '{{path}}']\n")), @r#"
    10:1 `store` has no command for `release` (add `release = […]`)
        write for example `release = ["mytool", "release", "{path}"]`
    "#);
    // Without a `read` command the harness reads by itself.
    assert_eq!(accept(&with_store("write = ['put', '{path}', '{value}']")).programs.len(), 1);
}

#[test]
fn a_claim_names_a_guarantee_and_a_hazard() {
    insta::assert_snapshot!(told(&with_store("worker = ['a']\nclaims = ['atomic-reads', 'atomic-read@flood', 'progress@kill', 'progress@kill']")), @r#"
    15:11 `atomic-reads` is no claim (not `guarantee@hazard`)
        write what is promised and against what: `atomic-reads@concurrency`
    15:27 unknown guarantee `atomic-read` (no such guarantee)
        did you mean `atomic-reads`? There are: atomic-reads, no-lost-updates, linearizable, mutual-exclusion, progress, durability, errors-reported, no-residue, metadata-kept
    15:27 unknown hazard `flood` (no such hazard)
        there are: concurrency, pause, kill, power-loss, io-error
    15:65 `progress@kill` is claimed twice (again)
        once is enough
    "#);
    insta::assert_snapshot!(told(&with_store("worker = ['a']\nclaims = ['errors-reported@kill']")), @"
    13:11 `store` claims `errors-reported@kill`, which nothing can break there (nobody could look at it)
        what it can claim is `errors-reported@io-error`
    ");
}

#[test]
fn a_strategy_of_ones_own_is_used_and_hides_no_other() {
    insta::assert_snapshot!(told(&format!("{RIGHT}[strategy.store]\nworker = ['a']\n")), @r#"
    13:11 the strategy `store` is never used (defined, and not compared)
        add "store" to `strategies`, or take the table out: what is not compared would look as if it had passed
    "#);
    insta::assert_snapshot!(told(&format!("{RIGHT}[strategy.temp-rename]\nworker = ['a']\n")), @r#"
    13:11 `temp-rename` is a built-in strategy already (hides the built-in one)
        give it a name of its own, for example `my-temp-rename`
    "#);
    let role = with(&[("role = 'reader'", "role = 'reader'\nstrategy = 'store'")]);
    assert_eq!(accept(&format!("{role}[strategy.store]\nworker = ['a']\n")).programs.len(), 1);
}
