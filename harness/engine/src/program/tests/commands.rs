//! A command for each operation.

use super::*;

#[test]
fn exit_codes_say_what_became_of_an_operation() {
    let world = World::register();
    let cases = [("exit 75", false), ("echo no space >&2; exit 1", true), ("kill -9 $$", true)];
    for (script, is_unknown) in cases {
        let (mut client, slot) = world.commands(&[(Operation::Write, &["sh", "-c", script])]);
        let result = client.write(b"x");
        assert_eq!(slot.pid(), None);
        if is_unknown {
            let (failure, message) = unknown(result);
            if script.starts_with("kill") {
                assert_eq!(failure, Failure::Killed);
                assert_mentions(&message, &["SIGKILL"]);
            } else {
                assert_mentions(&message, &["exited with status 1", "stderr: no space"]);
            }
        } else {
            assert_mentions(&failed(result).1, &["exited with status 75"]);
        }
    }
}

#[test]
fn commands_get_what_their_placeholders_say_and_print_the_value() {
    let world = World::register();
    let (mut client, _slot) = world.commands(&[
        (
            Operation::Write,
            &["sh", "-c", "mv \"$1\" \"$2\"; test \"$3\" = 3", "sh", "{value_file}", "{path}", "{client}"],
        ),
        (Operation::Read, &["cat", "{dir}/state.json"]),
    ]);
    let (failure, _) = unknown(read(&mut *client));
    assert_eq!(failure, Failure::Error);
    let document = "x".repeat(300_000);
    client.write(document.as_bytes()).unwrap();
    assert_eq!(read(&mut *client).unwrap(), (Found::Present, document));

    let (mut client, _slot) = world.commands(&[(
        Operation::Write,
        &["sh", "-c", "printf %s \"$1\" > \"$2\"", "sh", "{value}", "{path}"],
    )]);
    client.write(b"short").unwrap();
    assert_eq!(read(&mut *client).unwrap(), (Found::Present, "short".to_owned()), "read plainly");
    std::fs::remove_file(world.context().file).unwrap();
    assert_eq!(read(&mut *client).unwrap().0, Found::Absent);
    assert_mentions(&failed(client.write(&[b'x'; 200_000])).1, &["{value_file}"]);
}

#[test]
fn an_opaque_set_is_printed_one_element_a_line() {
    let world = World::new(Object::Set);
    let commands = vec![
        (
            Operation::Update,
            ["sh", "-c", "echo \"$1\" >> \"$2\"", "sh", "{element}", "{path}"].map(str::to_owned).to_vec(),
        ),
        (Operation::Read, ["cat", "{path}"].map(str::to_owned).to_vec()),
    ];
    let program = world.program(ProgramForm::Commands { commands, fail_codes: Vec::new() });
    let strategy = ProgramStrategy::new(&program, Lifetime::Operation, Object::Set, 7).opaque(true);
    let (mut client, _slot) = strategy.open(&world.context()).unwrap();
    client.update("e-3-1").unwrap();
    client.update("e-3-2").unwrap();
    let mut bytes = Vec::new();
    client.read(&mut bytes).unwrap();
    assert_eq!(verify_set(Format::Json, &bytes, true), Ok(vec![Stamp::new(3, 1), Stamp::new(3, 2)]));
}

#[test]
fn a_lock_of_commands_is_busy_where_its_code_says_so() {
    let world = World::new(Object::Lock);
    let (mut client, _slot) = world.commands(&[
        (Operation::Acquire, &["sh", "-c", "mkdir \"$1\" || exit 75", "sh", "{path}"]),
        (Operation::Release, &["rmdir", "{path}"]),
    ]);
    let patience = Duration::from_millis(10);
    client.acquire(patience).unwrap();
    assert_eq!(failed(client.acquire(patience)).0, Failure::Busy);
    client.release().unwrap();
    client.acquire(patience).unwrap();
}

#[test]
fn a_command_that_hangs_is_killed_with_its_descendants() {
    let mut world = World::register();
    world.timeout = Duration::from_millis(100);
    let (mut client, slot) = world.commands(&[(Operation::Write, &["sh", "-c", "sleep 600 & wait"])]);
    assert_eq!(unknown(client.write(b"x")).0, Failure::TimedOut);
    assert_eq!(slot.pid(), None);
    // A background process that keeps the pipe open does not keep the operation open.
    let world = World::register();
    let (mut client, _slot) = world.commands(&[(Operation::Write, &["sh", "-c", "sleep 600 & exit 0"])]);
    client.write(b"x").unwrap();
}

#[test]
fn a_command_that_is_not_there_is_given_up() {
    let world = World::register();
    std::fs::write(world.dir.path().join("plain"), "").unwrap();
    std::fs::set_permissions(world.dir.path().join("plain"), PermissionsExt::from_mode(0o644)).unwrap();
    let (mut client, slot) = world.commands(&[(Operation::Write, &["./plain"])]);
    assert_mentions(&failed(client.write(b"x")).1, &["./plain", "executable?"]);
    for _ in 1..START_ATTEMPTS {
        assert!(slot.defunct().is_none());
        failed(client.write(b"x"));
    }
    assert!(slot.defunct().is_some());
}
