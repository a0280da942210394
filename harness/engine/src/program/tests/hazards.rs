//! Kills and pauses hit the program and not its client.

use super::*;

#[test]
fn a_worker_that_died_between_operations_is_replaced_unnoticed() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    let (mut client, slot) = world.open(STORE);
    let first = slot.pid().expect("a process");
    client.write(b"x").unwrap();
    assert!(slot.kill());
    while slot.is_alive() {
        std::thread::yield_now();
    }
    client.write(b"y").unwrap();
    assert_ne!(slot.pid(), Some(first));
    assert_eq!(read(&mut *client).unwrap(), (Found::Present, "y".to_owned()));
}

#[test]
fn a_kill_in_the_middle_of_an_operation_hits_the_program_and_not_us() {
    if !python_is_here() {
        return;
    }
    let world = World::register();
    // The shell stands for wrappers: its child is hit as well.
    let mut command = vec!["sh".to_owned(), "-c".to_owned(), "python3 store.py; true".to_owned()];
    world.python(
        r#"
def on(request):
    if not os.path.exists("begun"):
        with open("begun.tmp", "w") as file:
            file.write(str(os.getpid()))
        os.rename("begun.tmp", "begun")
        time.sleep(600)
serve(on)
"#,
    );
    let (mut client, slot) =
        world.strategy(std::mem::take(&mut command), Lifetime::Session).open(&world.context()).unwrap();
    let begun = world.dir.path().join("begun");
    let killer = {
        let slot = Arc::clone(&slot);
        let begun = begun.clone();
        std::thread::spawn(move || {
            while !begun.exists() {
                std::thread::yield_now();
            }
            slot.kill()
        })
    };
    let (failure, message) = unknown(client.write(b"x"));
    assert!(killer.join().unwrap());
    assert_eq!(failure, Failure::Killed);
    assert_eq!(message, "killed by the harness in the middle of write");
    let grandchild: u32 = std::fs::read_to_string(begun).unwrap().parse().unwrap();
    // It was reparented; whoever inherits it reaps it in their own time.
    let gone = Instant::now() + Duration::from_secs(20);
    let dead = || {
        std::fs::read_to_string(format!("/proc/{grandchild}/stat")).map_or(true, |stat| stat.contains(") Z "))
    };
    while !dead() && Instant::now() < gone {
        std::thread::yield_now();
    }
    assert!(dead(), "the grandchild outlived the kill");
    client.write(b"x").expect("the next operation has a fresh process");
}

#[test]
fn a_pause_does_not_count_against_the_time_out() {
    if !python_is_here() {
        return;
    }
    let mut world = World::register();
    world.timeout = Duration::from_secs(1);
    let (mut client, slot) = world.open("serve(lambda request: None)");
    assert!(slot.pause());
    let (sender, resumed) = mpsc::channel();
    let waker = {
        let slot = Arc::clone(&slot);
        std::thread::spawn(move || {
            let () = resumed.recv().unwrap();
            // Longer than the time-out: the operation must still be waiting.
            std::thread::sleep(Duration::from_millis(1500));
            slot.resume()
        })
    };
    sender.send(()).unwrap();
    client.write(b"x").expect("the pause is not the program's fault");
    assert!(waker.join().unwrap());
}

#[test]
fn a_holder_that_was_killed_is_not_replaced_to_release() {
    if !python_is_here() {
        return;
    }
    let world = World::new(Object::Lock);
    let (mut client, slot) = world.open(LOCK);
    client.acquire(Duration::from_millis(10)).unwrap();
    assert!(slot.kill());
    while slot.is_alive() {
        std::thread::yield_now();
    }
    let (failure, message) = unknown(client.release());
    assert_eq!(failure, Failure::Killed);
    assert_mentions(&message, &["the process that held the lock is gone"]);
    client.acquire(Duration::from_millis(10)).expect("a fresh process");
    client.release().unwrap();
}
