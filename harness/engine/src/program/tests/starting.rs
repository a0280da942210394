//! Programs that do not start, and how long each process lives.

use super::*;

#[test]
fn a_program_that_cannot_start_is_named_and_given_up_soon() {
    let world = World::register();
    let missing = vec!["no-such-program-anywhere".to_owned()];
    let context = world.context();
    let (_, message) = failed(world.strategy(missing, Lifetime::Session).open(&context).map(drop));
    assert_mentions(&message, &["no-such-program-anywhere", "PATH", "os error 2"]);

    let count = world.dir.path().join("count");
    let dying = ["sh", "-c", "echo x >> count; echo broken config >&2; exit 3"].map(str::to_owned).to_vec();
    let (mut client, slot) = world.strategy(dying, Lifetime::Operation).open(&context).unwrap();
    for _ in 0..START_ATTEMPTS + 5 {
        let (_, message) = failed(client.write(b"x"));
        assert_mentions(&message, &["did not become ready", "exited with status 3", "stderr: broken config"]);
    }
    assert_mentions(slot.defunct().expect("given up"), &["given up after 3 attempts"]);
    let started = std::fs::read_to_string(count).unwrap().lines().count();
    assert_eq!(started, START_ATTEMPTS as usize);
}

#[test]
fn a_worker_that_never_greets_is_waited_for_once_and_one_that_dies_is_tried_again() {
    for (script, starts, said) in [
        ("echo x >> count; exec sleep 600", 1, "did not greet within 300ms"),
        ("echo x >> count; exit 3", START_ATTEMPTS as usize, "did not become ready"),
    ] {
        let world = World::register();
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let settings = Settings { start_timeout: Duration::from_millis(300), ..world.settings(&command) };
        let slot = Arc::new(ChildSlot::default());
        let (_, message) =
            failed(WorkerClient::open(settings, &command, Lifetime::Session, Arc::clone(&slot)).map(drop));
        assert_mentions(&message, &[said]);
        assert!(slot.defunct().is_some(), "it would be tried again");
        let count = world.dir.path().join("count");
        assert_eq!(std::fs::read_to_string(count).unwrap().lines().count(), starts, "{script}");
    }
}

#[test]
fn messages_do_not_show_how_the_harness_runs_itself() {
    let world = World::register();
    let own = [super::super::OWN_EXECUTABLE, "speak", "temp-rename", "{\"file\":\"…\"}"].map(str::to_owned);
    assert_eq!(world.settings(&own).title, "`mine` (in a process of its own)");
    assert_eq!(world.settings(&["mytool".to_owned()]).title, "`mine` (mytool)");
}

#[test]
fn greetings_that_are_none_are_refused() {
    let cases = [
        (r#"echo '{"t":"ready","proto":2}'; sleep 600"#, "speaks protocol 2, this harness speaks 1"),
        (r#"echo '{"t":"ready"}'; sleep 600"#, "lacks \"proto\":1"),
        (r#"echo 'Welcome to store 1.0'; sleep 600"#, "`Welcome to store 1.0`, which is no greeting"),
        (r#"echo '{"t":"ok","id":0}'; sleep 600"#, "where {\"t\":\"ready\",…} was due"),
        (r#"printf Wel; sleep 600"#, "did not greet within 100ms; it must print {\"t\":\"ready\""),
        (r#"exec sleep 600"#, "did not greet within 100ms; it must print {\"t\":\"ready\""),
    ];
    for (script, expected) in cases {
        let world = World::register();
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        // A short limit serves those that are silent; those that speak must get the time to.
        let start_timeout = Duration::from_millis(if expected.contains("100ms") { 100 } else { 30_000 });
        let settings = Settings { start_timeout, ..world.settings(&command) };
        let slot = Arc::new(ChildSlot::default());
        let (_, message) =
            failed(WorkerClient::open(settings, &command, Lifetime::Session, Arc::clone(&slot)).map(drop));
        assert_mentions(&message, &[expected, "`mine`"]);
        assert_eq!(slot.pid(), None);
    }
}

#[test]
fn a_worker_for_each_operation_is_a_fresh_process_that_has_ended_afterwards() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let command = world.python(r#"serve(lambda request: {"value": str(os.getpid())})"#);
    let (mut client, slot) = world.strategy(command, Lifetime::Operation).open(&world.context()).unwrap();
    assert_eq!(slot.pid(), None);
    let pids: Vec<u32> = (0..3).map(|_| read(&mut *client).unwrap().1.parse().unwrap()).collect();
    assert!(pids[0] != pids[1] && pids[1] != pids[2]);
    assert!(pids.iter().all(|&pid| !exists(pid)));
    assert_eq!(slot.pid(), None);
}

#[test]
fn a_critical_section_has_one_process() {
    if !python_is_here() {
        return;
    }
    let world = World::new(Object::Lock);
    let command = world.python(LOCK);
    let (mut client, slot) = world.strategy(command, Lifetime::Operation).open(&world.context()).unwrap();
    let patience = Duration::from_millis(10);
    let Held { still, token } = client.acquire(patience).unwrap();
    assert!(still);
    assert_eq!(token, slot.pid().map(u64::from));
    let holder = slot.pid().expect("the holder lives in its section");
    client.release().unwrap();
    assert_eq!(slot.pid(), None);
    assert!(!exists(holder));
    std::fs::write(world.dir.path().join("busy"), "").unwrap();
    assert_eq!(failed(client.acquire(patience)), (Failure::Busy, "held by somebody".to_owned()));
    assert_eq!(slot.pid(), None);
}

#[test]
fn a_worker_outlives_the_thread_that_opened_it() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, slot) = std::thread::scope(|scope| scope.spawn(|| world.open(STORE)).join().unwrap());
    let pid = slot.pid();
    client.write(b"x").unwrap();
    assert_eq!(slot.pid(), pid);
}
