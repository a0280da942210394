//! What is refused of a file as a whole, of names, types and sizes.

use super::*;

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
fn places_count_characters_and_not_bytes() {
    let text = with(&[
        ("'mine'", "'mine' # größer ✓"),
        ("does = { write = 1 }", "does = { write = 1, 'größe' = 1 }"),
    ]);
    let errors = read_text(&text).unwrap_err();
    assert_eq!((errors.errors()[0].line, errors.errors()[0].column), (9, 21));
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
