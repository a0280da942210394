//! What the reader takes, and the defaults that it puts in.

use super::*;

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
    assert_eq!(
        scenario.require.guarantees,
        [Guarantee::AtomicReads, Guarantee::Linearizable, Guarantee::Progress]
    );
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
        assert!(scenario.source.starts_with("field report: ") && !scenario.summary.is_empty(), "{name}");
    }
}

#[test]
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
