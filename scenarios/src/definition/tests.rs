//! What the reader takes and what it refuses, each refusal with its report as people see it.

use super::*;
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::time::Duration;
use tearproof_core::claim::{Guarantee, Hazard};
use tearproof_core::object::Operation;
use tearproof_core::scenario::*;
use tearproof_core::strategy::StrategyInfo;

const REGISTER: &[Object] = &[Object::Register];
const SET: &[Object] = &[Object::Register, Object::Set];
const LOCK: &[Object] = &[Object::Lock];

const fn info(name: &'static str, objects: &'static [Object]) -> StrategyInfo {
    StrategyInfo { name, algorithm: "", claims: &[], source: "", objects, broken: false, timed: false }
}

static IN_PLACE: StrategyInfo = info("in-place-truncate", SET);
static RENAME: StrategyInfo = info("temp-rename", SET);
static ATOMIC: StrategyInfo = info("write-file-atomic", SET);
static END_FILE: StrategyInfo = info("end-file", REGISTER);
static FLOCK: StrategyInfo = info("lock-flock", LOCK);
static APPEND: StrategyInfo = info("append-log", &[Object::Log]);

/// A few strategies, so that the reader is tested without the real ones.
fn known() -> Vec<&'static StrategyInfo> {
    vec![&IN_PLACE, &RENAME, &ATOMIC, &END_FILE, &FLOCK, &APPEND]
}

fn read_text(text: &str) -> Result<Scenario, DefinitionErrors> {
    parse("mine.toml", text, Path::new("/here"), &known())
}

fn accept(text: &str) -> Scenario {
    read_text(text).unwrap_or_else(|errors| panic!("{}", render(&errors)))
}

/// The report as the command line shows it, without colour.
fn render(errors: &DefinitionErrors) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut out = String::new();
    handler.render_report(&mut out, errors).expect("a report renders");
    out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The mistakes, a line each and its help below: `line:column what`.
fn told(text: &str) -> String {
    let errors = read_text(text).expect_err("the definition is wrong");
    let mut out = String::new();
    for error in errors.errors() {
        let DefinitionError { line, column, message, label, help, .. } = error;
        out += &format!("{line}:{column} {message} ({label})\n");
        out += &help.iter().map(|help| format!("    {help}\n")).collect::<String>();
    }
    out
}

/// A definition that is right, with this much of it written otherwise.
fn with(changes: &[(&str, &str)]) -> String {
    let mut text = RIGHT.to_owned();
    for (from, to) in changes {
        assert_eq!(text.matches(from).count(), 1, "`{from}` is in the definition once");
        text = text.replace(from, to);
    }
    text
}

const RIGHT: &str = "\
name = 'mine'
strategies = ['temp-rename']
[state]
file = 'state.json'
object = 'register'
size = '4 KiB'
[[client]]
role = 'writer'
does = { write = 1 }
[[client]]
role = 'reader'
does = { read = 1 }
";

/// The definition that the design gives as the example, word for word.
const EXAMPLE: &str = r#"
name    = "progress"
summary = "a launcher rewrites progress.json while dashboards poll it"
source  = "seed 002"
strategies = ["in-place-truncate", "temp-rename", "mine"]

[state]
file   = "progress.json"     # in a directory made for each execution
format = "json"              # json | yaml | bytes
object = "register"          # register | set | log | lock
size   = "4 KiB"

[[client]]
role = "launcher"
count = 1                    # processes
threads = 1                  # threads in each
does = { write = 1 }         # operations and their weights; `acquire` = acquire, hold, release
hold = "1 ms"                # locks: time inside the critical section
lifetime = "session"         # or "operation": a fresh process each time
rate = "200/s"               # fixed rate; absent: closed loop

[[client]]
role = "dashboard"
count = 3
does = { read = 1 }
strategy = "temp-rename"

[strategy.mine]
worker = ["python3", "store.py"]
claims = ["atomic-reads@concurrency"]

[before]
state = "present"
lock  = "none"

[require]
guarantees = ["atomic-reads"]
hazards    = ["concurrency", "kill"]

[stress]
seconds = 2

[explore]
operations = 2
preemptions = 3
kills = 0
pauses = 0
executions = 1000000
"#;

#[test]
fn the_example_of_the_design_reads_as_it_says() {
    let scenario = accept(EXAMPLE);
    assert_eq!(scenario.name, "progress");
    assert_eq!(scenario.strategies, ["in-place-truncate", "temp-rename", "mine"]);
    assert_eq!((scenario.state.format, scenario.state.size, scenario.state.grow), (Format::Json, 4096, 0));
    let [launcher, dashboard] = &scenario.clients[..] else { panic!("two roles") };
    assert_eq!(launcher.does, [(Operation::Write, 1)]);
    assert_eq!(launcher.rate, Some(200.0));
    assert_eq!((dashboard.count, dashboard.strategy.as_deref()), (3, Some("temp-rename")));
    let [mine] = &scenario.programs[..] else { panic!("one program") };
    assert_eq!(mine.form, ProgramForm::Worker { command: vec!["python3".into(), "store.py".into()] });
    assert_eq!(mine.claims[0].to_string(), "atomic-reads@concurrency");
    assert_eq!(mine.directory, Path::new("/here"));
    assert_eq!(scenario.require.hazards, [Hazard::Concurrency, Hazard::Kill]);
    assert_eq!(scenario.stress, StressLimits { seconds: Some(2.0), ..StressLimits::default() });
    assert_eq!(scenario.explore.preemptions, Some(3));
}

#[test]
fn what_a_definition_leaves_out_gets_a_default() {
    let scenario = accept(RIGHT);
    assert_eq!(scenario.before, Before { state: StateBefore::Present, lock: LockBefore::None });
    assert_eq!(scenario.require.guarantees, [Guarantee::AtomicReads]);
    assert_eq!(scenario.require.hazards, [Hazard::Concurrency]);
    assert_eq!(scenario.stress, StressLimits::default());
    assert_eq!(scenario.explore, ExploreLimits::default());
    let writer = &scenario.clients[0];
    assert_eq!((writer.count, writer.threads, writer.rate, writer.operations), (1, 1, None, None));
    assert_eq!((writer.lifetime, writer.via, writer.hold), (Lifetime::Session, Via::File, Duration::ZERO));
    for (file, format) in [("a.yml", Format::Yaml), ("a.yaml", Format::Yaml), ("a.json.bak", Format::Bytes)] {
        assert_eq!(accept(&with(&[("state.json", file)])).state.format, format, "{file}");
    }
}

#[test]
fn a_lock_starts_free_and_is_held_for_a_millisecond() {
    let lock = accept(LOCK_TEXT);
    assert_eq!(lock.before, Before { state: StateBefore::Absent, lock: LockBefore::None });
    assert_eq!(lock.clients[0].hold, Duration::from_millis(1));
    assert_eq!(lock.require.guarantees, [Guarantee::MutualExclusion, Guarantee::Progress]);
    let text = format!("{LOCK_TEXT}[before]\nlock = '4711'\n");
    assert_eq!(accept(&text).before.lock, LockBefore::Text("4711".into()));
}

const LOCK_TEXT: &str = "\
name = 'lock'
strategies = ['lock-flock']
[state]
file = 'active.lock'
object = 'lock'
[[client]]
role = 'worker'
count = 2
does = { acquire = 1 }
";

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
fn every_limit_of_the_stress_engine_can_be_set() {
    let limits = accept(&format!(
        "{RIGHT}[stress]\nseconds = 0.5\noperations = 7\nexecution = '2 s'\nwarm_up = '0 ms'\nkill_every = '1 ms'\n\
         pause_every = '2 ms'\npause = '40 ms'\nlease = '30 ms'\npatience = '1 s'\nhang = '3 s'\nring = '1 MiB'\n"
    ))
    .stress;
    assert_eq!(
        limits,
        StressLimits {
            seconds: Some(0.5),
            operations: 7,
            execution: Duration::from_secs(2),
            warm_up: Duration::ZERO,
            kill_every: Duration::from_millis(1),
            pause_every: Duration::from_millis(2),
            pause: Duration::from_millis(40),
            lease: Duration::from_millis(30),
            patience: Duration::from_secs(1),
            hang: Duration::from_secs(3),
            ring_bytes: 1 << 20,
        }
    );
}

#[test]
fn every_mistake_is_shown_with_its_place_and_in_the_order_of_the_file() {
    let text = "\
name = \"mine\"
strategies = [\"temp-renmae\", \"lock-flock\"]
[state]
file = \"state.json\"
object = \"register\"
size = \"10 B\"
[[client]]
role = \"writer\"
count = 0
do = { write = 1 }
";
    let errors = read_text(text).unwrap_err();
    assert_eq!(errors.to_string(), "mine.toml: the definition has 6 mistakes");
    assert_eq!(
        (errors.errors()[0].line, errors.errors()[0].column, &errors.errors()[0].file[..]),
        (2, 15, "mine.toml")
    );
    insta::assert_snapshot!(render(&errors), @r#"
      × mine.toml: the definition has 6 mistakes

    Error:
      × unknown strategy `temp-renmae`
       ╭─[mine.toml:2:15]
     1 │ name = "mine"
     2 │ strategies = ["temp-renmae", "lock-flock"]
       ·               ──────┬──────
       ·                     ╰── no such strategy
     3 │ [state]
       ╰────
      help: did you mean `temp-rename`?

    Error:
      × `lock-flock` keeps a lock, and the state file is a register
       ╭─[mine.toml:2:30]
     1 │ name = "mine"
     2 │ strategies = ["temp-renmae", "lock-flock"]
       ·                              ──────┬─────
       ·                                    ╰── cannot keep a register
     3 │ [state]
     4 │ file = "state.json"
     5 │ object = "register"
       ·          ─────┬────
       ·               ╰── what the state file is
     6 │ size = "10 B"
       ╰────
      help: for a register there are for example `in-place-truncate`, `temp-rename`, `write-file-
            atomic`, `end-file`

    Error:
      × a value of 10 B is impossible
       ╭─[mine.toml:6:8]
     5 │ object = "register"
     6 │ size = "10 B"
       ·        ───┬──
       ·           ╰── at least 256 B
     7 │ [[client]]
       ╰────
      help: write a size from `256 B` to `64 MiB`; a value carries its author, its number and its
            checksum

    Error:
      × [[client]] lacks `does`
       ╭─[mine.toml:7:1]
     6 │ size = "10 B"
     7 │ [[client]]
       · ─────┬────
       ·      ╰── no `does` here
     8 │ role = "writer"
       ╰────
      help: add `does = { read = 1 }`

    Error:
      × `count` must be at least 1, and this is 0
        ╭─[mine.toml:9:9]
      8 │ role = "writer"
      9 │ count = 0
        ·         ┬
        ·         ╰── out of bounds
     10 │ do = { write = 1 }
        ╰────
      help: write for example `count = 1`

    Error:
      × unknown key `do` in [[client]]
        ╭─[mine.toml:10:1]
      9 │ count = 0
     10 │ do = { write = 1 }
        · ─┬
        ·  ╰── unknown key
        ╰────
      help: known keys: role, count, threads, does, hold, lifetime, strategy, rate, via, operations
    "#);
}

#[test]
fn a_file_that_is_no_toml_is_refused_at_its_first_mistake() {
    insta::assert_snapshot!(render(&read_text("name = \"mine\nstrategies = [\n").unwrap_err()), @r#"
      × mine.toml: the definition has a mistake

    Error:
      × this is no TOML: invalid basic string, expected `"`
       ╭─[mine.toml:1:13]
     1 │ name = "mine
       ·             ▲
       ·             ╰── here
     2 │ strategies = [
       ╰────
      help: a text stands in quotes, a list in brackets, and every key once in its table
    "#);
    insta::assert_snapshot!(told("name = 'a'\nname = 'b'\n"), @r#"
    2:1 this is no TOML: duplicate key (here)
        a text stands in quotes, a list in brackets, and every key once in its table
    "#);
}

#[test]
fn an_empty_file_is_told_everything_that_it_lacks() {
    insta::assert_snapshot!(told(""), @r#"
    1:1 the definition lacks `name` (no `name` here)
        add `name = "progress"`
    1:1 the definition lacks `state` (no `state` here)
        add `[state]`
    1:1 the definition lacks `client` (no `client` here)
        add `[[client]]`
    1:1 the definition lacks `strategies` (no `strategies` here)
        add `strategies = ["temp-rename", "write-file-atomic"]`
    "#);
    insta::assert_snapshot!(told("[state]\n[[client]]\n"), @r#"
    1:1 the definition lacks `name` (no `name` here)
        add `name = "progress"`
    1:1 [state] lacks `file` (no `file` here)
        add `file = "state.json"`
    1:1 [state] lacks `object` (no `object` here)
        add `object = "register"`, `"set"`, `"log"` or `"lock"`
    1:1 the definition lacks `strategies` (no `strategies` here)
        add `strategies = ["temp-rename", "write-file-atomic"]`
    2:1 [[client]] lacks `role` (no `role` here)
        add `role = "writer"`
    2:1 [[client]] lacks `does` (no `does` here)
        add `does = { read = 1 }`
    "#);
    insta::assert_snapshot!(told(&with(&[("['temp-rename']", "[]")])), @r#"
    2:14 there is no strategy to compare (empty)
        write `strategies = ["temp-rename", "write-file-atomic"]`
    "#);
}

#[test]
fn an_unknown_key_is_told_the_nearest_one_or_its_home() {
    insta::assert_snapshot!(told(&with(&[("size =", "siez =")])), @r#"
    6:1 unknown key `siez` in [state] (unknown key)
        did you mean `size`?
    "#);
    insta::assert_snapshot!(told(&with(&[("name = 'mine'", "name = 'mine'\nsize = '1 KiB'")])), @r#"
    2:1 unknown key `size` in the definition (unknown key)
        `size` belongs in [state]
    "#);
    insta::assert_snapshot!(told(&with(&[("size = '4 KiB'", "name = 'again'\ncolour = 'red'")])), @r#"
    6:1 unknown key `name` in [state] (unknown key)
        `name` belongs at the top, before the first table
    7:1 unknown key `colour` in [state] (unknown key)
        known keys: file, format, object, size, grow, opaque
    "#);
    insta::assert_snapshot!(told(&format!("{RIGHT}[crash]\nkills = 1\n")), @r#"
    13:2 unknown key `crash` in the definition (unknown key)
        known keys: name, summary, source, strategies, state, client, strategy, before, require, stress, explore
    "#);
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    insta::assert_snapshot!(told(&with(&[("'mine'", "7")])), @r#"
    1:8 `name` must be a text, and this is a whole number (a whole number)
        write `name = "progress"`
    "#);
    insta::assert_snapshot!(told(&with(&[("['temp-rename']", "'temp-rename'")])), @r#"
    2:14 `strategies` must be a list of texts, and this is a text (a text)
        write `strategies = ["temp-rename", "write-file-atomic"]`
    "#);
    insta::assert_snapshot!(told(&with(&[("['temp-rename']", "['temp-rename', 3]")])), @r#"
    2:30 `strategies` must hold texts only, and this is a whole number (a whole number)
        write `strategies = ["temp-rename", "write-file-atomic"]`
    "#);
    insta::assert_snapshot!(told(&with(&[("'4 KiB'", "4096")])), @r#"
    6:8 `size` needs its unit (a bare number)
        write `size = "4 KiB"`
    "#);
    insta::assert_snapshot!(told(&with(&[("'4 KiB'", "'4096'")])), @r#"
    6:8 `size` needs its unit (a bare number)
        write `size = "4 KiB"`
    "#);
    insta::assert_snapshot!(told(&with(&[("{ write = 1 }", "['write']")])), @r#"
    9:8 `does` must be a table, and this is a list (a list)
        write `does = { read = 1 }`
    "#);
    insta::assert_snapshot!(told(&with(&[("{ write = 1 }", "{ write = 0.5 }")])), @r#"
    9:18 `write` must be a whole number, and this is a number with a fraction (a number with a fraction)
        write `write = 1`
    "#);
    insta::assert_snapshot!(told("name = 'a'\nstrategies = ['temp-rename']\nstate = 'x'\n[client]\nrole = 'w'\n"), @r#"
    3:9 `state` must be a table, and this is a text (a text)
        write `[state]`
    4:1 `client` must be a list of tables, written `[[client]]`, and this is a table (a table)
        write `[[client]]`
    "#);
}

#[test]
fn names_are_in_kebab_case() {
    insta::assert_snapshot!(told(&with(&[("'mine'", "'My Scenario'")])), @r#"
    1:8 `name` must be in kebab case, and this is `My Scenario` (not a name that tables can show)
        write `my-scenario`: it names files, columns and command-line arguments
    "#);
    insta::assert_snapshot!(told(&with(&[("'writer'", "'-'")])), @r#"
    8:8 `role` must be in kebab case, and this is `-` (not a name that tables can show)
        write lower-case words with hyphens between them, for example `my-store`
    "#);
    insta::assert_snapshot!(told(&with(&[("'temp-rename'", "'My_Store'"), ("[state]", "[strategy.My_Store]\nworker = ['a']\n[state]")])), @r#"
    3:11 the name of a strategy must be in kebab case, and this is `My_Store` (not a name that tables can show)
        write `my-store`: it names files, columns and command-line arguments
    "#);
}

#[test]
fn the_state_file_is_a_plain_name_of_possible_size() {
    for name in ["", "a/b", "..", "../x", "a\\nb"] {
        let told = told(&with(&[("'state.json'", &format!("\"{name}\""))]));
        assert!(told.starts_with("4:8 the name of the state file "), "{told}");
    }
    insta::assert_snapshot!(told(&with(&[("4 KiB", "255 B")])), @r#"
    6:8 a value of 255 B is impossible (at least 256 B)
        write a size from `256 B` to `64 MiB`; a value carries its author, its number and its checksum
    "#);
    insta::assert_snapshot!(told(&with(&[("4 KiB", "65 MiB")])), @r#"
    6:8 a value of 65 MiB is impossible (at most 64 MiB)
        write a size from `256 B` to `64 MiB`; a value carries its author, its number and its checksum
    "#);
    insta::assert_snapshot!(told(&with(&[("4 KiB", "-4 KiB")])), @r#"
    6:8 `size` cannot be negative (negative)
        write for example `size = "4 KiB"`
    "#);
    insta::assert_snapshot!(told(&with(&[("'4 KiB'", "'64 MiB'\ngrow = '1 B'")])), @r#"
    7:8 a value of 67108865 B is impossible (too much to add)
        `size` and `grow` together reach at most `64 MiB`
    "#);
    insta::assert_snapshot!(told(&with(&[("'register'", "'registre'")])), @r#"
    5:10 unknown object `registre` (no such object)
        did you mean `register`? There are: register, set, log, lock
    "#);
    insta::assert_snapshot!(told(&with(&[("'4 KiB'", "'4 KiB'\nopaque = true")])), @r#"
    2:15 `temp-rename` is built in, and the file has a shape of its own (knows the set document of the harness only)
        compare programs of your own on it, or leave `opaque` out
    7:10 only a set can be opaque, and this is a register (the file has a shape of its own)
        leave `opaque` out: the harness makes the initial value and checks values by itself
    "#);
    let log = "name = 'log'\nstrategies = ['append-log']\n[state]\nfile = 'log'\nobject = 'log'\nsize = '47 B'\n\
               [[client]]\nrole = 'a'\ndoes = { append = 1 }\n";
    insta::assert_snapshot!(told(log), @r#"
    6:8 a record of 47 B is impossible (at least 48 B)
        write a size from `48 B` to `64 MiB`; a value carries its author, its number and its checksum
    "#);
    assert_eq!(accept(&log.replace("47 B", "48 B")).state.size, 48);
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
        write a size from `64 KiB` to `1 GiB`; every client has one
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
        of a register one can require: atomic-reads, no-lost-updates, linearizable, progress, durability, errors-reported, no-residue, metadata-kept
    15:12 unknown hazard `flood` (no such hazard)
        there are: concurrency, pause, kill, power-loss, io-error
    "#);
    let text = accept(&format!("{RIGHT}[before]\nstate = \"present\\n\"\n"));
    assert_eq!(text.before.state, StateBefore::Text("present\n".into()));
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

#[test]
fn places_count_characters_and_not_bytes() {
    let text = with(&[
        ("'mine'", "'mine' # größer ✓"),
        ("does = { write = 1 }", "does = { write = 1, 'größe' = 1 }"),
    ]);
    let errors = read_text(&text).unwrap_err();
    assert_eq!((errors.errors()[0].line, errors.errors()[0].column), (9, 21));
}

#[test]
fn every_built_in_definition_is_right_and_says_what_it_is_about() {
    for (name, text) in built_in() {
        // Every strategy that a definition names is taken for one that keeps anything.
        struct Anything;
        impl Known for Anything {
            fn find(&self, name: &str) -> Option<&'static StrategyInfo> {
                static ANY: StrategyInfo = info("any", Object::ALL);
                (!name.is_empty()).then_some(&ANY)
            }
            fn names(&self) -> Vec<&'static str> {
                Vec::new()
            }
        }
        let scenario = load_built_in(name, &Anything)
            .expect("it is there")
            .unwrap_or_else(|errors| panic!("{}", render(&errors)));
        assert_eq!(scenario.name, *name);
        assert!(text.starts_with("# Raced: ") && text.contains("\n# Settled: "), "{name}");
        assert!(scenario.source.starts_with("seed 00") && !scenario.summary.is_empty(), "{name}");
    }
}

#[test]
#[ignore = "until every strategy of the catalogue is in the registry"]
fn every_built_in_definition_names_strategies_that_exist_and_keep_its_object() {
    for (name, _) in built_in() {
        let scenario = load_built_in(name, &Registry).expect("it is there");
        scenario.unwrap_or_else(|errors| panic!("{}", render(&errors)));
    }
}

#[test]
fn every_strategy_of_the_registry_is_compared_in_a_scenario_of_its_object() {
    let mut compared = Vec::new();
    for (name, text) in built_in() {
        let table: toml::Table = toml::from_str(text).expect("a definition is TOML");
        let object: Object = table["state"]["object"].as_str().unwrap().parse().unwrap();
        for strategy in table["strategies"].as_array().unwrap() {
            let strategy = strategy.as_str().unwrap().to_owned();
            if let Some(info) = Registry.find(&strategy) {
                assert!(
                    info.objects.contains(&object),
                    "{name} compares {strategy}, which keeps no {object}"
                );
            }
            compared.push(strategy);
        }
    }
    for name in Registry.names() {
        assert!(compared.iter().any(|compared| compared == name), "no scenario compares {name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_damage_to_a_definition_makes_the_reader_panic(
        from in 0..EXAMPLE.len(), length in 0..40usize, put in "[a-z\\[\\]{}='\"\n0-9ö-]{0,6}",
    ) {
        // The example is plain ASCII, so every cut falls between two characters.
        let to = (from + length).min(EXAMPLE.len());
        let text = [&EXAMPLE[..from], &put, &EXAMPLE[to..]].concat();
        if let Err(errors) = read_text(&text) {
            proptest::prop_assert!(render(&errors).contains("mine.toml:"));
        }
    }
}
