//! What a worker may answer, and what it may not.

use super::*;

#[test]
fn a_worker_reads_writes_and_finds_nothing_where_nothing_is() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, slot) = world.open(STORE);
    assert_eq!(read(&mut *client).unwrap(), (Found::Absent, String::new()));
    let mut document = Vec::new();
    world.context().shape.render(Stamp::new(3, 1), &mut document);
    client.write(&document).unwrap();
    let mut back = Vec::new();
    assert_eq!(client.read(&mut back).unwrap(), Found::Present);
    assert_eq!(back, document);
    assert!(matches!(client.update("e-3-1"), Err(StrategyError::Unsupported(Operation::Update))));
    let pid = slot.pid().expect("a process");
    drop(client);
    assert!(!exists(pid), "the worker outlived its client");
}

#[test]
fn a_value_larger_than_a_pipe_passes_both_ways() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, _slot) = world.open(STORE);
    let document = "0123456789abcde\n".repeat(200_000);
    client.write(document.as_bytes()).unwrap();
    assert_eq!(read(&mut *client).unwrap(), (Found::Present, document));
}

#[test]
fn bytes_that_are_no_text_travel_as_base64() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, _slot) = world.open(
        r#"
kept = None
def on(request):
    global kept
    if request["op"] == "write":
        kept = request["value_base64"]
    else:
        return {"value_base64": kept}
serve(on)
"#,
    );
    let bytes: Vec<u8> = (0..=255).collect();
    client.write(&bytes).unwrap();
    let mut back = Vec::new();
    assert_eq!(client.read(&mut back).unwrap(), Found::Present);
    assert_eq!(back, bytes);
}

#[test]
fn elements_become_a_counted_document_and_foreign_ones_are_evidence() {
    if !python_is_here() {
        return;
    }
    let world = World::new(Object::Set);
    let (mut client, _slot) = world.open(
        r#"
kept = []
def on(request):
    if request["op"] == "update":
        kept.append(request["element"])
    else:
        return {"elements": kept}
serve(on, ops=["read", "update", "something-new"])
"#,
    );
    let mut bytes = Vec::new();
    client.read(&mut bytes).unwrap();
    assert_eq!(verify_set(Format::Json, &bytes, true), Ok(vec![]));
    client.update("e-3-1").unwrap();
    client.update("e-3-2").unwrap();
    client.read(&mut bytes).unwrap();
    assert_eq!(verify_set(Format::Json, &bytes, true), Ok(vec![Stamp::new(3, 1), Stamp::new(3, 2)]));
    client.update("\"quoted").unwrap();
    match client.read(&mut bytes) {
        Err(StrategyError::Torn { kind: TornKind::Foreign, message }) => {
            assert_mentions(&message, &["\"quoted"])
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn refusals_keep_their_meaning() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, _slot) = world.open(
        r#"
answers = iter([
    {"t": "fail", "error": "disk full"},
    {"t": "fail", "error": "gave up", "failure": "retries-exhausted"},
    {"t": "info", "error": "who knows"},
    {"t": "skip", "reason": "not here"},
    {"t": "fail", "error": "Expecting value: line 1 column 1 (char 0)", "torn": "empty"},
])
serve(lambda request: next(answers))
"#,
    );
    assert_eq!(failed(client.write(b"x")), (Failure::Error, "disk full".to_owned()));
    assert_eq!(failed(client.write(b"x")), (Failure::RetriesExhausted, "gave up".to_owned()));
    assert_eq!(unknown(client.write(b"x")), (Failure::Error, "who knows".to_owned()));
    assert!(matches!(client.write(b"x"), Err(StrategyError::Unsupported(Operation::Write))));
    match read(&mut *client) {
        Err(StrategyError::Torn { kind: TornKind::Empty, message }) => {
            assert_eq!(message, "Expecting value: line 1 column 1 (char 0)");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_operation_that_a_worker_did_not_announce_is_not_asked_for() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, _slot) = world.open(r#"serve(lambda request: sys.exit("asked"), ops=["read"])"#);
    assert!(matches!(client.write(b"x"), Err(StrategyError::Unsupported(Operation::Write))));
}

#[test]
fn answers_that_are_none_leave_the_outcome_unknown_and_a_fresh_worker_follows() {
    if !python_is_here() {
        return;
    }
    let cases: [(&str, &[&str]); 8] = [
        (r#"print("hello world", flush=True)"#, &["hello world", "no answer", "standard error"]),
        (r#"send(t="ok", id=request["id"] + 1)"#, &["answered with another \"id\" than that of the request"]),
        (r#"send(t="ok")"#, &["without the \"id\""]),
        (r#"send(t="ready", id=request["id"], proto=1)"#, &["`ready` where a result was due"]),
        (r#"sys.exit("on purpose")"#, &["exited with status 1", "in the middle of write", "on purpose"]),
        (r#"print("par", end="", flush=True); os.kill(os.getpid(), 9)"#, &["signal 9 (SIGKILL)", "`par`"]),
        (r#"os.close(1); os.close(0); time.sleep(600)"#, &["closed its standard output"]),
        (r#"os.write(1, b"x" * 3000); time.sleep(600)"#, &["more than 2000 bytes"]),
    ];
    for (misbehaviour, expected) in cases {
        let world = World::register();
        let command = world.python(&format!(
            r#"
def on(request):
    if not os.path.exists("misbehaved"):
        open("misbehaved", "w").close()
        {misbehaviour}
        time.sleep(600)
serve(on)
"#
        ));
        let slot = Arc::new(ChildSlot::default());
        let settings = Settings { line_limit: 2000, ..world.settings(&command) };
        let mut client =
            WorkerClient::open(settings, &command, Lifetime::Session, Arc::clone(&slot)).unwrap();
        let first = slot.pid().expect("a process");
        let (_, message) = unknown(client.write(b"x"));
        assert_mentions(&message, expected);
        assert_mentions(&message, &["`mine` (python3 store.py)"]);
        assert!(!exists(first), "the worker was not reaped: {message}");
        client.write(b"x").expect("a fresh worker behaves");
        assert_ne!(slot.pid(), Some(first));
    }
}

#[test]
fn a_read_without_content_is_no_answer() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, _slot) = world.open("serve(lambda request: {})");
    let (failure, message) = unknown(read(&mut *client));
    assert_eq!(failure, Failure::Error);
    assert_mentions(&message, &["\"missing\":true"]);
}

#[test]
fn silence_ends_in_the_time_out() {
    if !python_is_here() {
        return;
    }
    let mut world = World::register();
    world.timeout = Duration::from_millis(100);
    let (mut client, slot) = world.open(r#"serve(lambda request: time.sleep(600))"#);
    let pid = slot.pid().expect("a process");
    let (failure, message) = unknown(client.write(b"x"));
    assert_eq!(failure, Failure::TimedOut);
    assert_mentions(&message, &["within 100ms", "flushed"]);
    assert!(!exists(pid));
}

#[test]
fn what_was_printed_without_being_asked_fails_the_next_operation_only() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, _slot) = world.open(
        r#"
def on(request):
    if not os.path.exists("misbehaved"):
        open("misbehaved", "w").close()
        os.write(1, b'{"t":"ok","id":1}\ndebug\n')
        time.sleep(600)
serve(on)
"#,
    );
    client.write(b"x").unwrap();
    let (_, message) = failed(client.write(b"x"));
    assert_mentions(&message, &["debug", "without being asked"]);
    client.write(b"x").unwrap();
}

#[test]
fn a_worker_moves_on_to_the_next_execution_under_its_own_number() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, slot) = world.open(STORE);
    let pid = slot.pid();
    client.write(b"x").unwrap();
    let next = World::register();
    assert!(client.retarget(&next.context()));
    assert_eq!(read(&mut *client).unwrap().0, Found::Absent);
    client.write(b"y").unwrap();
    assert_eq!(std::fs::read(next.context().file).unwrap(), b"y");
    assert_eq!(slot.pid(), pid);
    assert!(!client.retarget(&ClientContext { client: 4, ..next.context() }));
}

#[test]
fn what_a_worker_is_greeted_with_is_no_request() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, slot) = world.open(
        r#"
if os.path.exists("again"):
    sys.exit(4)
def on(request):
    open("again", "w").close()
    os._exit(3)
serve(on)
"#,
    );
    assert_eq!(slot.cue().request_length(), 0);
    client.write(b"{}").expect_err("it ends in the middle");
    assert!(slot.cue().request_length() > 0);
    client.read(&mut Vec::new()).expect_err("another one is greeted, and ends");
    assert_eq!(slot.cue().request_length(), 0);
}
