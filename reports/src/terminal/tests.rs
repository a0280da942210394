//! Runs as people see them: snapshots at two widths, and what holds of every run at every width.

use insta::assert_snapshot;
use tearproof_core::claim::{AnomalyKind, Claim, Guarantee, Hazard};
use tearproof_core::run::{Directory, Outcome};
use tearproof_core::verdict::{StandardError, Verdict};

use super::*;
use crate::sample;
use crate::style::columns_of;

fn shown(run: &Run, width: usize, details: Details) -> String {
    render(run, Style { width, color: false }, details, Some(Path::new("target/tearproof/run.json")))
}

fn without_colour(text: &str) -> String {
    let mut plain = String::new();
    let mut pieces = text.split('\u{1b}');
    plain.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        plain.push_str(piece.split_once('m').expect("a colour ends in m").1);
    }
    plain
}

/// A run with everything at its longest.
fn sprawling() -> Run {
    let mut first = sample::index();
    first.name =
        "a-scenario-of-my-own-with-a-name-that-does-not-want-to-end-at-any-reasonable-column".to_owned();
    first.directory = "/very/long".repeat(20);
    let looked = sample::claims(Guarantee::ALL, Hazard::ALL);
    let mut all = sample::strategy("一个很长很长的策略名字一个很长很长的策略名字一个很长", &looked, &looked);
    for &kind in AnomalyKind::ALL {
        all = sample::breaks(all, kind, u64::MAX / 40, &[Hazard::Concurrency, Hazard::IoError]);
    }
    all.torn_reads = None;
    all.problems.push("\u{1b}[31mred\nand a\tword-".to_owned() + &"x".repeat(300));
    first.strategies.push(all);
    first.strategies[0].name =
        "in-place-truncate-with-a-name-that-is-longer-than-half-a-line-of-80".to_owned();
    first.requires = looked;
    let mut run = sample::run(vec![first, sample::index(), sample::index()]);
    run.interrupted = true;
    run
}

#[test]
fn at_100_columns() {
    let run = sample::run(vec![sample::index()]);
    assert_snapshot!(shown(&run, 100, Details::Summary), @r#"
    ━━ index ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ ext4 ━━
    three agents register themselves in one index in the same instant (the index.json fix)
    required*  atomic-reads, no-lost-updates under concurrency, kill

                             atomic  no lost   linear-            no       metadata
                             reads*  updates*  izable   progress  residue  kept
       strategy              C P K   C P K     C P K    C P K     C P K    C P K
    ───────────────────────────────────────────────────────────────────────────────
     recommended: kept all that is required *
       flock-sibling         ~ ~ ~   ~ ~ ~     ~ ~ ~    ~ ~ ~     ~ ~ ~    ~ ~ ~
       sqlite-wal            ✓ ~ ~   ~ ~ ~     ~ ~ ~    ~ ~ ~     ~ ~ ~    ~ ~ ~
     undecided: something required could not be decided
       coordinator           ~ ~ ~   ~ ~ ?     ~ ~ ~    ~ ~ ~     ~ ~ ~    ~ ~ ~
     not recommended: wrong on purpose †, though nothing required broke
       temp-rename-shared †  ~ ~ ~   ~ ~ ~     ~ ~ ~    ~ ~ ~     ~ ~ ~    ~ ~ ~
     not recommended: broke something required *
       in-place-truncate †   ✗ ~ ✗   ✗ ✗ ✗     ~ ~ ~    ~ ~ ~     ~ ~ ~    ~ ~ ~
       temp-rename           ~ ~ ~   ✗ ✗ ~     ~ ~ ~    ~ ~ ~     - ~ ~    ~ ~ ~
       cas-versioned-link    ~ ~ ~   ~ ~ ✗!    ~ ~ ~    ~ ~ ~     ~ ~ ~    ~ ~ ~
    ✗! violated ALTHOUGH CLAIMED   ✓ verified   ~ not observed broken   ✗ violated, not claimed
    ? inconclusive   - not applicable   C concurrency   P pause   K kill   † wrong on purpose
    sampled    of each strategy: 41 executions, 174,420 operations under concurrency; 41 executions,
               174,420 operations under pause; 41 executions, 174,420 operations under kill

                             update, under concurrency  read, under concurrency
       strategy                  p50     p99  per s         p50      p99  per s
    ───────────────────────────────────────────────────────────────────────────
       flock-sibling         41.3 µs  372 µs  23.1k     6.12 µs  55.1 µs   151k
       sqlite-wal            41.3 µs  372 µs  23.1k     6.12 µs  55.1 µs   151k
       coordinator           41.3 µs  372 µs  23.1k     6.12 µs  55.1 µs   151k
       temp-rename-shared †  41.3 µs  372 µs  23.1k     6.12 µs  55.1 µs   151k
       in-place-truncate †   41.3 µs  372 µs  23.1k     6.12 µs  55.1 µs   151k
       temp-rename           41.3 µs  372 µs  23.1k     6.12 µs  55.1 µs   151k
       cas-versioned-link    41.3 µs  372 µs  23.1k     6.12 µs  55.1 µs   151k

                             torn reads, under concurrency (95 % confidence)
       strategy                per million reads      race window per write
    ────────────────────────────────────────────────────────────────────────
       flock-sibling                   0 (<2.44)               0 (<0.11 ns)
       sqlite-wal                      0 (<2.44)               0 (<0.11 ns)
       coordinator                     0 (<2.44)               0 (<0.11 ns)
       temp-rename-shared †            0 (<2.44)               0 (<0.11 ns)
       in-place-truncate †   26.6k (26.4k–26.9k)  1.15 µs (1.14 µs–1.17 µs)
       temp-rename                     0 (<2.44)               0 (<0.11 ns)
       cas-versioned-link              0 (<2.44)               0 (<0.11 ns)

    ✗! Broken claims: these strategies promise what they do not keep

       cas-versioned-link: lost-update × 3 under kill, first after 3 ms (stress)
         it claims no-lost-updates@kill
         Client 1 was told that its update e-1-4 had succeeded, and client 3 began to read after that;
         yet the set that it read has 41 elements and e-1-4 is not among them. Update e-2-9 of client 2,
         which began before e-1-4 was acknowledged and ended after it, wrote back the state from before
         it.
             … 2 steps left out
             14.6 µs  client 3  update e-3-2 invoked
             21.9 µs  client 1  update e-1-3 invoked
             29.2 µs  client 2  update e-2-4 invoked
             36.5 µs  client 3  update e-3-5 invoked
         (1) 43.8 µs  client 1  update e-1-6 invoked
             51.1 µs  client 2  update e-2-7 invoked
             58.4 µs  client 3  update e-3-8 invoked
         (2) 71.2 µs  client 3  read returned 41 elements without e-1-4
         reproduce  tearproof run index --strategy cas-versioned-link --seed 7

    ✗ Weaknesses: seen broken, but not claimed, so they do not fail the run
       in-place-truncate: torn-read × 80,642: 40,321 under concurrency, first after 3 ms;
           40,321 under kill, first after 3 ms (stress)
         empty × 80,640, partial × 2; race window per write 1.15 µs (1.14 µs–1.17 µs)
         Client 3 read 0 bytes. The state file existed all the time and was never empty, so no value
         that anybody wrote reads like this: the read fell into write c1#17, which had truncated the
         file and not yet filled it.
             … 2 steps left out
             14.6 µs  client 3  update e-3-2 invoked
             21.9 µs  client 1  update e-1-3 invoked
             29.2 µs  client 2  update e-2-4 invoked
             36.5 µs  client 3  update e-3-5 invoked
         (1) 43.8 µs  client 1  update e-1-6 invoked
             51.1 µs  client 2  update e-2-7 invoked
             58.4 µs  client 3  update e-3-8 invoked
         (2) 71.2 µs  client 3  read returned 0 bytes (empty)
       in-place-truncate: lost-update × 2,436: 812 under concurrency, first after 3 ms;
           812 under pause, first after 3 ms; 812 under kill, first after 3 ms (stress)
         example: see index/cas-versioned-link above; --full shows each
       temp-rename: lost-update × 2,408: 1,204 under concurrency, first after 3 ms;
           1,204 under pause, first after 3 ms (stress)
         example: see index/cas-versioned-link above; --full shows each

    Errors: what clients were told when an operation did not succeed
       in-place-truncate: update × 312 under concurrency: read: Expecting value: line 1 column 1 (char
           0)

    ? Inconclusive: what kept it from being decided
       the budget of 2 s ended: coordinator (no-lost-updates under kill)

    ? Problems: what did not run as it should have
       coordinator: the server did not come back within 5 s after it was killed

    ━━ result ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ tearproof 0.1.0, 61.2 s ━━
    index  use flock-sibling, sqlite-wal (fastest update: flock-sibling, p50 41.3 µs); undecided:
           coordinator

    claims      63 looked at: 61 held (1 verified, 60 not observed broken), 1 violated, 1 inconclusive
      ✗! index/cas-versioned-link no-lost-updates@kill (stress)
      ?  index/coordinator no-lost-updates@kill (stress): the budget of 2 s ended
    not tested  1 claim that no engine looked at: durability@power-loss × 1

    exit        1: 1 claim was violated
    everything  target/tearproof/run.json
    more        --full shows every witness at full length
    again       tearproof run index --strategy NAME --seed 7
    "#);
}

#[test]
fn at_80_columns() {
    let mut scenario = sample::index();
    scenario.strategies.truncate(3);
    assert_snapshot!(shown(&sample::run(vec![scenario]), 80, Details::Summary), @r#"
    ━━ index ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ ext4 ━━
    three agents register themselves in one index in the same instant (the
    index.json fix)
    required*  atomic-reads, no-lost-updates under concurrency, kill

                            atomic  no lost   linear-            no       metadata
                            reads*  updates*  izable   progress  residue  kept
       strategy             C P K   C P K     C P K    C P K     C P K    C P K
    ──────────────────────────────────────────────────────────────────────────────
     recommended: kept all that is required *
       flock-sibling        ~ ~ ~   ~ ~ ~     ~ ~ ~    ~ ~ ~     ~ ~ ~    ~ ~ ~
     not recommended: broke something required *
       in-place-truncate †  ✗ ~ ✗   ✗ ✗ ✗     ~ ~ ~    ~ ~ ~     ~ ~ ~    ~ ~ ~
       temp-rename          ~ ~ ~   ✗ ✗ ~     ~ ~ ~    ~ ~ ~     - ~ ~    ~ ~ ~
    ~ not observed broken   ✗ violated, not claimed   - not applicable
    C concurrency   P pause   K kill   † wrong on purpose
    sampled    of each strategy: 41 executions, 174,420 operations
               under concurrency; 41 executions, 174,420 operations under pause;
               41 executions, 174,420 operations under kill

                            update, under concurrency  read, under concurrency
       strategy                 p50     p99  per s         p50      p99  per s
    ──────────────────────────────────────────────────────────────────────────
       flock-sibling        41.3 µs  372 µs  23.1k     6.12 µs  55.1 µs   151k
       in-place-truncate †  41.3 µs  372 µs  23.1k     6.12 µs  55.1 µs   151k
       temp-rename          41.3 µs  372 µs  23.1k     6.12 µs  55.1 µs   151k

                            torn reads, under concurrency (95 % confidence)
       strategy               per million reads      race window per write
    ───────────────────────────────────────────────────────────────────────
       flock-sibling                  0 (<2.44)               0 (<0.11 ns)
       in-place-truncate †  26.6k (26.4k–26.9k)  1.15 µs (1.14 µs–1.17 µs)
       temp-rename                    0 (<2.44)               0 (<0.11 ns)

    ✗ Weaknesses: seen broken, but not claimed, so they do not fail the run
       in-place-truncate: torn-read × 80,642:
           40,321 under concurrency, first after 3 ms;
           40,321 under kill, first after 3 ms (stress)
         empty × 80,640, partial × 2; race window per write
           1.15 µs (1.14 µs–1.17 µs)
         Client 3 read 0 bytes. The state file existed all the time and was never
         empty, so no value that anybody wrote reads like this: the read fell into
         write c1#17, which had truncated the file and not yet filled it.
             … 2 steps left out
             14.6 µs  client 3  update e-3-2 invoked
             21.9 µs  client 1  update e-1-3 invoked
             29.2 µs  client 2  update e-2-4 invoked
             36.5 µs  client 3  update e-3-5 invoked
         (1) 43.8 µs  client 1  update e-1-6 invoked
             51.1 µs  client 2  update e-2-7 invoked
             58.4 µs  client 3  update e-3-8 invoked
         (2) 71.2 µs  client 3  read returned 0 bytes (empty)
       in-place-truncate: lost-update × 2,436:
           812 under concurrency, first after 3 ms;
           812 under pause, first after 3 ms; 812 under kill, first after 3 ms
           (stress)
         Client 1 was told that its update e-1-4 had succeeded, and client 3 began
         to read after that; yet the set that it read has 41 elements and e-1-4 is
         not among them. Update e-2-9 of client 2, which began before e-1-4 was
         acknowledged and ended after it, wrote back the state from before it.
             … 2 steps left out
             14.6 µs  client 3  update e-3-2 invoked
             21.9 µs  client 1  update e-1-3 invoked
             29.2 µs  client 2  update e-2-4 invoked
             36.5 µs  client 3  update e-3-5 invoked
         (1) 43.8 µs  client 1  update e-1-6 invoked
             51.1 µs  client 2  update e-2-7 invoked
             58.4 µs  client 3  update e-3-8 invoked
         (2) 71.2 µs  client 3  read returned 41 elements without e-1-4
       temp-rename: lost-update × 2,408: 1,204 under concurrency, first after 3 ms;
           1,204 under pause, first after 3 ms (stress)
         example: see index/in-place-truncate above; --full shows each

    Errors: what clients were told when an operation did not succeed
       in-place-truncate: update × 312 under concurrency: read: Expecting value:
           line 1 column 1 (char 0)

    ━━ result ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ tearproof 0.1.0, 61.2 s ━━
    index  use flock-sibling

    claims      24 looked at: 24 held (0 verified, 24 not observed broken),
                0 violated, 0 inconclusive

    exit        0: every claim that was looked at held
    everything  target/tearproof/run.json
    more        --full shows every witness at full length
    again       tearproof run index --strategy NAME --seed 7
    "#);
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for run in [sprawling(), sample::run(vec![sample::index()]), sample::run(Vec::new())] {
        for details in [Details::Summary, Details::Full] {
            for width in [60, 72, 80, 93, 100, 120, 200] {
                for line in shown(&run, width, details).lines() {
                    assert!(columns_of(line) <= width, "{} columns of {width}: {line}", columns_of(line));
                    assert!(!line.contains(char::is_control), "{line:?}");
                }
            }
        }
    }
}

#[test]
fn colour_adds_nothing_but_colour() {
    for run in [sprawling(), sample::run(vec![sample::index()])] {
        let style = Style { width: 100, color: true };
        let coloured = render(&run, style, Details::Full, None);
        let plain = render(&run, Style { color: false, ..style }, Details::Full, None);
        assert_ne!(coloured, plain);
        assert_eq!(without_colour(&coloured), plain);
    }
}

#[test]
fn a_broken_claim_is_told_from_a_known_weakness() {
    let run = sample::run(vec![sample::index()]);
    let shown = shown(&run, 100, Details::Summary);
    let row = |name: &str| shown.lines().find(|line| line.trim_start().starts_with(name)).expect("a row");
    assert!(row("cas-versioned-link").contains("✗!"));
    assert!(row("in-place-truncate").contains('✗') && !row("in-place-truncate").contains("✗!"));
    let (claims, weaknesses) = shown.split_once("✗ Weaknesses").expect("both parts");
    let (_, claims) = claims.split_once("✗! Broken claims").expect("both parts");
    assert!(claims.contains("cas-versioned-link: lost-update × 3"));
    assert!(claims.contains("tearproof run index --strategy cas-versioned-link --seed 7"));
    assert!(!claims.contains("in-place-truncate") && !weaknesses.contains("cas-versioned-link: "));
}

#[test]
fn the_last_screen_says_how_the_command_exits() {
    let with = |verdict: Verdict| {
        let looked = [Claim::new(Guarantee::AtomicReads, Hazard::Kill)];
        let mut strategy = sample::strategy("mine", &looked, &looked);
        if verdict == Verdict::Violated {
            strategy = sample::breaks(strategy, AnomalyKind::TornRead, 5, &[Hazard::Kill]);
        } else {
            sample::set(&mut strategy, Guarantee::AtomicReads, Hazard::Kill, verdict);
        }
        let run = sample::run(vec![sample::scenario("index", looked.to_vec(), vec![strategy])]);
        (run.outcome(), shown(&run, 100, Details::Summary))
    };
    for (verdict, outcome, exit, advice) in [
        (
            Verdict::NotObserved,
            Outcome::Held,
            "exit        0: every claim that was looked at held",
            "index  use mine",
        ),
        (
            Verdict::Verified,
            Outcome::Held,
            "exit        0: every claim that was looked at held",
            "index  use mine",
        ),
        (
            Verdict::Violated,
            Outcome::Violated,
            "exit        1: 1 claim was violated",
            "index  nothing to recommend",
        ),
        (
            Verdict::Inconclusive,
            Outcome::Inconclusive,
            "exit        3: 1 claim stayed inconclusive",
            "index  nothing to recommend; undecided: mine",
        ),
        (
            Verdict::NotApplicable,
            Outcome::Held,
            "exit        0: no claim was looked at",
            "index  nothing to recommend",
        ),
    ] {
        let (actual, text) = with(verdict);
        assert_eq!(actual, outcome);
        assert!(text.lines().any(|line| line == exit), "{text}");
        assert!(text.lines().any(|line| line == advice), "{advice} is missing from\n{text}");
    }
}

#[test]
fn runs_in_several_directories_are_told_apart() {
    let mut run = sample::run(vec![sample::index(), sample::index()]);
    for (scenario, (filesystem, path)) in
        run.scenarios.iter_mut().zip([("ext4", "/work"), ("tmpfs", "/dev/shm")])
    {
        scenario.filesystem = filesystem.to_owned();
        scenario.directory = path.to_owned();
        let directory = Directory { path: path.to_owned(), filesystem: filesystem.to_owned(), named: None };
        run.host.directories.push(directory);
    }
    let told = shown(&run, 100, Details::Summary);
    assert!(told.contains("index on tmpfs  use flock-sibling"), "{told}");
    assert!(told.contains("--strategy cas-versioned-link --dir /dev/shm --seed 7"), "{told}");
    // Two of one type have only their paths.
    run.scenarios[0].filesystem = "tmpfs".to_owned();
    let told = shown(&run, 100, Details::Summary);
    assert!(told.contains("index on /dev/shm  use") && told.contains("index on /work  "), "{told}");
}

#[test]
fn a_command_runs_the_same_again_as_it_was_run() {
    let mut run = sample::run(vec![sample::index()]);
    assert_eq!(
        super::command(&run, Some(&run.scenarios[0]), Some("mine")),
        "tearproof run index --strategy mine --seed 7"
    );
    let named = Some("/mnt/my disk".to_owned());
    let place = Directory { path: "/mnt/my disk".to_owned(), filesystem: "ext4".to_owned(), named };
    run.host.directories.push(place);
    run.options = ["--engine", "explore", "--budget", "30s"].map(str::to_owned).to_vec();
    run.scenarios[0].directory = "/mnt/my disk".to_owned();
    run.scenarios[0].definition = Some("stores/mine.toml".to_owned());
    assert_eq!(
        super::command(&run, Some(&run.scenarios[0]), None),
        "tearproof run stores/mine.toml --strategy NAME --dir '/mnt/my disk' --engine explore --budget 30s --seed 7"
    );
    run.scenarios[0].strategies.truncate(1);
    let only = run.scenarios[0].strategies[0].name.clone();
    let again = format!("run stores/mine.toml --strategy {only} --dir '/mnt/my disk'");
    assert!(shown(&run, 400, Details::Summary).contains(&again));
    run.scenarios.push(sample::index());
    assert!(super::command(&run, None, None).starts_with("tearproof run SCENARIO --strategy NAME --dir"));
}

#[test]
fn a_thin_sample_is_marked_and_not_simply_recommended() {
    let looked = [Claim::new(Guarantee::AtomicReads, Hazard::Concurrency)];
    let mut strategy = sample::strategy("mine", &looked, &looked);
    strategy.verdicts[0].scope.executions = 1;
    strategy.verdicts[0].scope.operations = Some(19);
    let run = sample::run(vec![sample::scenario("index", looked.to_vec(), vec![strategy])]);
    let text = shown(&run, 100, Details::Summary);
    assert!(text.contains("~°") && text.contains("fewer than 3 executions or 200 operations"), "{text}");
    assert!(text.contains("nothing to recommend; hardly tested (give it more --budget): mine"), "{text}");
    assert!(text.contains("sampled    1 execution, 19 operations under concurrency"), "{text}");
}

#[test]
fn a_decision_names_at_most_three_the_least_weak_and_then_the_cheapest_first() {
    let required = Claim::new(Guarantee::AtomicReads, Hazard::Concurrency);
    let other = Claim::new(Guarantee::NoLostUpdates, Hazard::Concurrency);
    let mut strategies: Vec<_> = ["weak", "slow", "slower", "quick", "slowest"]
        .map(|name| sample::strategy(name, &[required, other], &[]))
        .into();
    for (strategy, ns) in strategies.iter_mut().zip([1, 30, 40, 20, 50]) {
        let latency = strategy.latency.get_mut(&tearproof_core::object::Operation::Update);
        latency.expect("the sample has updates").p50_ns = ns;
    }
    strategies[0] = sample::breaks(strategies[0].clone(), AnomalyKind::LostUpdate, 1, &[Hazard::Concurrency]);
    let run = sample::run(vec![sample::scenario("index", vec![required], strategies)]);
    let text = shown(&run, 100, Details::Summary);
    assert!(text.contains("index  use quick, slow, slower and 2 more"), "{text}");
}

#[test]
fn an_example_of_each_kind_is_given_once_and_referred_to_afterwards() {
    let mut second = sample::index();
    second.name = "second".to_owned();
    let run = sample::run(vec![sample::index(), second]);
    let text = shown(&run, 100, Details::Summary);
    let place = "example: see index/in-place-truncate above; --full shows each";
    assert_eq!(text.matches(place).count(), 1, "torn reads of the second: {text}");
    assert_eq!(text.matches("for example in-place-truncate:").count(), 1, "{text}");
    // A broken claim is an example as well, and is itself never only referred to.
    let claim = "example: see index/cas-versioned-link above; --full shows each";
    assert_eq!(text.matches(claim).count(), 2, "lost updates that nobody denied, twice: {text}");
    assert_eq!(text.matches("cas-versioned-link: lost-update × 3").count(), 2, "{text}");
}

#[test]
fn with_few_strategies_an_example_of_each_kind_is_given_once_as_well() {
    let run = sample::run(vec![sample::index()]);
    let text = shown(&run, 100, Details::Summary);
    let (_, weaknesses) = text.split_once("✗ Weaknesses").expect("weaknesses");
    assert!(!weaknesses.contains("Client 1 was told that its update"), "told above: {weaknesses}");
    assert_eq!(weaknesses.matches("example: see index/cas-versioned-link above").count(), 2, "{weaknesses}");
    // Whoever asks for everything gets it.
    let full = shown(&run, 100, Details::Full);
    assert!(!full.contains("example: see"), "{full}");
    assert_eq!(full.matches("Client 1 was told that its update").count(), 3, "{full}");
}

#[test]
fn the_whole_distribution_of_latencies_is_there_for_who_wants_it() {
    let run = sample::run(vec![sample::index()]);
    let full = shown(&run, 100, Details::Full);
    let row = full.lines().find(|line| line.starts_with("   temp-rename  ") && line.contains("µs"));
    let row = row.unwrap_or_else(|| panic!("a row of costs in\n{full}"));
    for (name, value) in
        [("p50", "41.3 µs"), ("p90", "82.6 µs"), ("p99", "372 µs"), ("p99.9", "826 µs"), ("max", "2.93 ms")]
    {
        assert!(full.lines().any(|line| line.split_whitespace().any(|word| word == name)), "{name}: {full}");
        assert!(row.contains(value), "{name} is {value}: {row}");
    }
    assert!(!shown(&run, 100, Details::Summary).contains("p99.9"));
}

#[test]
fn a_step_names_the_part_that_its_client_plays() {
    let mut run = sample::run(vec![sample::index()]);
    for strategy in &mut run.scenarios[0].strategies {
        for anomaly in strategy.verdicts.iter_mut().flat_map(|cell| &mut cell.anomalies) {
            for step in &mut anomaly.witness.steps {
                step.role = (step.client < 3).then(|| "agent".to_owned());
            }
        }
    }
    let text = shown(&run, 100, Details::Summary);
    assert!(text.contains("\n         29.2 µs  agent 2   update e-2-4 invoked\n"), "{text}");
    assert!(text.contains("\n         36.5 µs  client 3  update e-3-5 invoked\n"), "{text}");
}

#[test]
fn a_witness_shows_source_lines_and_the_end_of_each_standard_error() {
    let mut run = sample::run(vec![sample::index()]);
    for strategy in &mut run.scenarios[0].strategies {
        for anomaly in strategy.verdicts.iter_mut().flat_map(|cell| &mut cell.anomalies) {
            let witness = &mut anomaly.witness;
            witness.steps[6].source = Some("store.py:12 in update".to_owned());
            witness.stderr = vec![StandardError {
                client: 2,
                role: Some("agent".to_owned()),
                left_out: 1,
                lines: ["one", "two", "three", "four"].map(str::to_owned).to_vec(),
            }];
        }
    }
    let text = shown(&run, 100, Details::Summary);
    assert!(
        text.contains(
            "\n     (1) 43.8 µs  client 1  update e-1-6 invoked\n                              store.py:12 in update\n"
        ),
        "{text}"
    );
    let end = "\n                two\n                three\n                four\n";
    assert!(text.contains(&format!("\n     stderr     agent 2 (… 2 lines before){end}")), "{text}");
    let text = shown(&run, 100, Details::Full);
    assert!(
        text.contains(&format!("\n     stderr     agent 2 (… 1 line before)\n                one{end}")),
        "{text}"
    );
}

#[test]
fn what_a_canary_leaves_open_is_said_and_does_not_decide_the_exit_code() {
    let looked = sample::claims(&[Guarantee::MutualExclusion, Guarantee::Progress], &[Hazard::Concurrency]);
    let mut canary = sample::strategy("stuck", &looked, &looked[..1]);
    canary.broken = true;
    sample::set(&mut canary, Guarantee::MutualExclusion, Hazard::Concurrency, Verdict::Inconclusive);
    let unexposed = sample::run(vec![sample::scenario("lock", looked.clone(), vec![canary.clone()])]);
    let text = shown(&unexposed, 100, Details::Summary);
    assert!(text.contains("exit        3: 1 claim stayed inconclusive"), "{text}");
    let canary = sample::breaks(canary, AnomalyKind::StuckLock, 1, &[Hazard::Concurrency]);
    let sound = sample::strategy("sound", &looked, &looked);
    let run = sample::run(vec![sample::scenario("lock", looked, vec![canary, sound])]);
    let text = shown(&run, 100, Details::Summary);
    assert!(
        text.contains("1 inconclusive\n            (1 of a canary †, found broken as it should be)"),
        "{text}"
    );
    assert!(text.contains("?  lock/stuck † mutual-exclusion@concurrency (stress)"), "{text}");
    assert!(
        text.contains("exit        0: every claim that was looked at held, but for 1 of a canary †"),
        "{text}"
    );
}

#[test]
fn a_program_whose_claim_nobody_looked_at_ends_inconclusive_in_so_many_words() {
    let looked = [Claim::new(Guarantee::AtomicReads, Hazard::Concurrency)];
    let power = Claim::new(Guarantee::Durability, Hazard::PowerLoss);
    let mut strategy = sample::strategy("mine", &looked, &[power]);
    strategy.origin = tearproof_core::run::Origin::Command;
    let mut run = sample::run(vec![sample::scenario("index", looked.to_vec(), vec![strategy])]);
    let text = shown(&run, 100, Details::Summary);
    assert!(text.contains("exit        3: no engine of this run looks at 1 claim of your program"), "{text}");
    run.interrupted = true;
    assert!(shown(&run, 100, Details::Summary).contains("exit        3: the run was interrupted"));
}
