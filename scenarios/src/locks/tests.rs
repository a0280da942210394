//! What every lock strategy does when nothing races: one table of expectations, and each test goes
//! over all of [`ALL`]. Races themselves are the engines' business; the deterministic ones stand
//! beside the strategy that they break.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};

use tearproof_core::document::{Format, Shape};
use tearproof_core::history::Failure;
use tearproof_core::strategy::{Client, ClientContext, Strategy, StrategyError};
use tearproof_core::{Claim, Guarantee, Hazard, Object};

use super::ALL;
use super::holder::start_time;

const LEASE: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(3);
const LONG: Duration = Duration::from_secs(20);

/// A directory with a lock in it.
pub(crate) struct World {
    dir: tempfile::TempDir,
    lease: Duration,
}

impl World {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), lease: LEASE }
    }

    pub fn lock(&self) -> PathBuf {
        self.dir.path().join("active.lock")
    }

    pub fn context(&self, client: u32) -> ClientContext {
        ClientContext {
            dir: self.dir.path().to_owned(),
            file: self.lock(),
            other_dir: None,
            format: Format::Json,
            object: Object::Lock,
            shape: Shape { format: Format::Json, size: 200, grow: 0 },
            client,
            lease: self.lease,
            patience: SHORT,
        }
    }

    pub fn client(&self, strategy: &str, client: u32) -> Box<dyn Client> {
        named(strategy).client(&self.context(client)).unwrap()
    }

    /// Plants the lock of a process that has ended and was reaped.
    pub fn plant_dead_holder(&self) {
        self.plant(&format!("{{\"pid\":{},\"started\":1}}\n", dead_pid()));
    }

    pub fn plant(&self, content: &str) {
        std::fs::write(self.lock(), content).unwrap();
    }

    /// Makes the lock look as if it was last touched long before the lease began.
    pub fn age_lock(&self) {
        let long_ago = Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: long_ago,
        };
        rustix::fs::utimensat(rustix::fs::CWD, self.lock(), &times, rustix::fs::AtFlags::empty()).unwrap();
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn named(name: &str) -> &'static dyn Strategy {
    *ALL.iter().find(|strategy| strategy.info().name == name).unwrap()
}

fn dead_pid() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    pid
}

/// A process that lives until it is dropped.
struct Living(Child);

impl Living {
    fn new() -> Self {
        Self(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn is_busy<T>(result: Result<T, StrategyError>) -> bool {
    matches!(result, Err(StrategyError::Failed { failure: Failure::Busy, .. }))
}

fn promises(strategy: &dyn Strategy, guarantee: Guarantee, hazard: Hazard) -> bool {
    strategy.info().claims.contains(&Claim::new(guarantee, hazard))
}

/// Those whose lock is a file with a record of its holder, by which they judge him.
const JUDGE_BY_PID: [&str; 8] = [
    "lock-check-then-write",
    "lock-stale-unlink",
    "lock-stale-rename",
    "lock-stale-guarded",
    "lock-pid-only",
    "lock-pid-starttime",
    "lock-empty-corpse",
    "lock-empty-corpse-wait",
];

/// Those whose lock is the existence of a name, whatever is in it.
const NEVER_STEAL: [&str; 4] = ["lock-exclusive-create", "lock-mkdir", "lock-link", "lock-released-early"];

/// Those that judge by the age of the lock.
const JUDGE_BY_AGE: [&str; 4] =
    ["lock-age-timeout", "lock-heartbeat", "lock-heartbeat-fenced", "lock-release-unchecked"];

/// Those for which a file means nothing, and only an flock on it does.
const JUDGE_BY_FLOCK: [&str; 2] = ["lock-flock", "lock-flock-unlink"];

#[test]
fn names_are_unique_and_every_strategy_is_in_one_family() {
    let names: BTreeSet<_> = ALL.iter().map(|strategy| strategy.info().name).collect();
    assert_eq!(names.len(), ALL.len());
    let families: [&[&str]; 5] =
        [&JUDGE_BY_PID, &NEVER_STEAL, &JUDGE_BY_AGE, &JUDGE_BY_FLOCK, &["lock-fallback"]];
    assert_eq!(families.concat().into_iter().collect::<BTreeSet<_>>(), names);
    for strategy in ALL {
        assert_eq!(strategy.info().objects, [Object::Lock], "{}", strategy.info().name);
        assert_eq!(
            strategy.info().timed,
            JUDGE_BY_AGE.contains(&strategy.info().name) || strategy.info().name == "lock-fallback"
        );
    }
}

#[test]
fn a_hundred_sections_leave_nothing_behind_but_what_is_kept() {
    for strategy in ALL {
        let name = strategy.info().name;
        let world = World::new();
        let context = world.context(1);
        strategy.prepare(&context, None).unwrap();
        let mut client = strategy.client(&context).unwrap();
        for _ in 0..100 {
            let held = client.acquire(Duration::ZERO).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(held.still, name != "lock-released-early", "{name}");
            assert_eq!(held.token.is_some(), name == "lock-heartbeat-fenced", "{name}");
            client.release().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let kept =
            |file: &String| strategy.keeps(&context, file) || (name == "lock-flock" && file == "active.lock");
        let left: Vec<_> = world.names().into_iter().filter(|file| !kept(file)).collect();
        assert_eq!(left, [""; 0], "{name}");
    }
}

#[test]
fn sections_leave_no_descriptor_open() {
    // Other tests of this process open files too, so only descriptors in the own directory count.
    for strategy in ALL {
        let world = World::new();
        let mut client = strategy.client(&world.context(1)).unwrap();
        for _ in 0..3 {
            client.acquire(Duration::ZERO).unwrap();
            client.release().unwrap();
        }
        let open: Vec<_> = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.starts_with(world.dir.path()))
            .collect();
        assert_eq!(open, Vec::<PathBuf>::new(), "{}", strategy.info().name);
    }
}

#[test]
fn a_second_client_is_kept_out_while_the_first_is_in_and_let_in_after() {
    // The run lock of the review takes a lock with its own PID for its own, and both clients are in this process.
    // Released early: there is nothing to be kept out by. Fallback: has another way in.
    let exceptions = ["lock-check-then-write", "lock-released-early", "lock-fallback"];
    for strategy in ALL {
        let name = strategy.info().name;
        let world = World::new();
        let [mut first, mut second] = [1, 2].map(|client| strategy.client(&world.context(client)).unwrap());
        first.acquire(Duration::ZERO).unwrap();
        for patience in [Duration::ZERO, SHORT] {
            let result = second.acquire(patience);
            assert_eq!(is_busy(result), !exceptions.contains(&name), "{name}");
            if exceptions.contains(&name) {
                second.release().unwrap();
            }
        }
        first.release().unwrap();
        second.acquire(LONG).unwrap_or_else(|error| panic!("{name}: {error}"));
        second.release().unwrap();
    }
}

#[test]
fn a_client_with_endless_patience_gets_the_lock_once_it_is_free() {
    for strategy in ALL {
        let name = strategy.info().name;
        if name == "lock-fallback" {
            continue; // Its first half of for ever has no end either, which the O_EXCL rows show.
        }
        let world = World::new();
        let mut first = strategy.client(&world.context(1)).unwrap();
        first.acquire(Duration::ZERO).unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                let mut second = strategy.client(&world.context(2)).unwrap();
                second.acquire(Duration::MAX).map(|_| second.release())
            });
            first.release().unwrap();
            second.join().unwrap().unwrap_or_else(|error| panic!("{name}: {error}")).unwrap();
        });
    }
}

#[test]
fn the_lock_of_a_dead_process_is_recovered_by_those_that_judge_by_its_pid() {
    for strategy in ALL {
        let name = strategy.info().name;
        let world = World::new();
        world.plant_dead_holder();
        let result = strategy.client(&world.context(1)).unwrap().acquire(SHORT);
        let recovers =
            JUDGE_BY_PID.contains(&name) || JUDGE_BY_FLOCK.contains(&name) || name == "lock-fallback";
        assert_eq!(result.is_ok(), recovers, "{name}");
        assert!(recovers || is_busy(result), "{name}");
    }
}

#[test]
fn a_lock_whose_lease_has_run_out_is_recovered_by_those_that_judge_by_age() {
    for name in JUDGE_BY_AGE {
        let world = World::new();
        world.plant(&format!("{{\"pid\":{}}}", std::process::id()));
        let mut client = world.client(name, 1);
        assert!(is_busy(client.acquire(SHORT)), "{name}");
        world.age_lock();
        assert!(client.acquire(Duration::ZERO).is_ok(), "{name}");
    }
}

#[test]
fn a_lock_that_cannot_be_had_after_a_kill_is_not_promised() {
    for strategy in ALL {
        let stuck = NEVER_STEAL.contains(&strategy.info().name);
        assert!(
            !(stuck && promises(*strategy, Guarantee::Progress, Hazard::Kill)),
            "{}",
            strategy.info().name
        );
    }
}

#[test]
fn a_living_holder_is_respected_be_it_init_or_a_neighbour() {
    let neighbour = Living::new();
    for name in JUDGE_BY_PID {
        for pid in [1, i32::try_from(neighbour.0.id()).unwrap()] {
            let world = World::new();
            world.plant(&format!("{{\"pid\":{pid},\"started\":{}}}\n", start_time(pid).unwrap()));
            let error = world.client(name, 1).acquire(SHORT).expect_err(name);
            assert!(error.to_string().contains(&format!("held by pid {pid}")), "{name}: {error}");
            assert!(is_busy::<()>(Err(error)));
        }
    }
}

#[test]
fn a_pid_that_was_given_out_again_fools_those_that_look_at_nothing_else() {
    let neighbour = Living::new();
    let pid = i32::try_from(neighbour.0.id()).unwrap();
    for name in JUDGE_BY_PID {
        let world = World::new();
        world.plant(&format!("{{\"pid\":{pid},\"started\":{}}}\n", start_time(pid).unwrap() - 1));
        let fooled = ["lock-check-then-write", "lock-stale-unlink", "lock-stale-rename", "lock-pid-only"];
        assert_eq!(is_busy(world.client(name, 1).acquire(SHORT)), fooled.contains(&name), "{name}");
    }
    let claims = |name| promises(named(name), Guarantee::Progress, Hazard::Kill);
    assert!(claims("lock-pid-starttime") && !claims("lock-pid-only"));
}

#[test]
fn an_empty_lock_is_stale_only_to_those_that_never_show_one_or_do_not_care() {
    for name in JUDGE_BY_PID {
        let world = World::new();
        world.plant("");
        let waits = ["lock-stale-unlink", "lock-stale-rename", "lock-empty-corpse-wait"];
        assert_eq!(is_busy(world.client(name, 1).acquire(SHORT)), waits.contains(&name), "{name}");
    }
}

#[test]
fn a_heartbeat_touches_the_lock_that_is_held_and_stops_with_it() {
    for name in ["lock-heartbeat", "lock-heartbeat-fenced"] {
        let mut world = World::new();
        // A quarter of this is the period of the beat. The lease is far too long to run out here.
        world.lease = Duration::from_secs(8);
        let mut client = world.client(name, 1);
        client.acquire(Duration::ZERO).unwrap();
        world.age_lock();
        let planted = std::fs::metadata(world.lock()).unwrap().modified().unwrap();
        let deadline = Instant::now() + LONG;
        while std::fs::metadata(world.lock()).unwrap().modified().unwrap() == planted {
            assert!(Instant::now() < deadline, "{name}: no heartbeat");
            thread::sleep(SHORT);
        }
        assert!(is_busy(world.client(name, 2).acquire(SHORT)), "{name}: the lease was renewed");
        client.release().unwrap();
        assert!(!world.lock().exists(), "{name}");
    }
}

#[test]
fn fencing_tokens_grow_over_releases_and_thefts_and_clients() {
    let world = World::new();
    let mut last = 0;
    let [mut a, mut b] = [1, 2].map(|client| world.client("lock-heartbeat-fenced", client));
    for round in 0..50 {
        let victim = a.acquire(Duration::ZERO).unwrap().token.unwrap();
        assert!(victim > last, "round {round}: {victim} after {last}");
        last = victim;
        if round % 2 == 0 {
            world.age_lock();
            let thief = b.acquire(Duration::ZERO).unwrap().token.unwrap();
            assert!(thief > victim, "round {round}: {thief} stole from {victim}");
            last = thief;
            a.release().unwrap();
            assert!(world.lock().exists(), "the victim leaves the lock of the thief alone");
            b.release().unwrap();
        } else {
            a.release().unwrap();
        }
    }
}

#[test]
fn fencing_tokens_grow_in_the_order_of_the_sections_when_threads_race() {
    let world = World::new();
    let order = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        for client in 0..4 {
            let (world, order) = (&world, &order);
            scope.spawn(move || {
                let mut lock = world.client("lock-heartbeat-fenced", client);
                for _ in 0..10 {
                    let token = lock.acquire(LONG).unwrap().token.unwrap();
                    order.lock().unwrap().push(token);
                    lock.release().unwrap();
                }
            });
        }
    });
    let order = order.into_inner().unwrap();
    assert_eq!(order.len(), 40);
    assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
}

#[test]
fn one_guarded_thief_of_two_gets_the_lock_whatever_both_have_read() {
    let world = World::new();
    world.plant_dead_holder();
    let [a, b] =
        [1, 2].map(|client| super::stale_guarded::StaleGuarded::new(&world.context(client)).unwrap());
    let (seen_by_a, seen_by_b) = (a.corpse().unwrap().unwrap(), b.corpse().unwrap().unwrap());
    assert!(a.steal(&seen_by_a).unwrap());
    assert_eq!(a.publish().unwrap(), Some(()));
    assert!(b.steal(&seen_by_b).unwrap(), "the guard is free");
    assert_eq!(b.publish().unwrap(), None, "the corpse has become the lock of the living");
}

#[test]
fn a_late_holder_leaves_the_lock_of_its_thief_alone() {
    for name in ["lock-age-timeout", "lock-heartbeat", "lock-heartbeat-fenced"] {
        let world = World::new();
        let [mut late, mut thief, mut third] = [1, 2, 3].map(|client| world.client(name, client));
        late.acquire(Duration::ZERO).unwrap();
        world.age_lock();
        thief.acquire(Duration::ZERO).unwrap();
        late.release().unwrap();
        assert!(is_busy(third.acquire(SHORT)), "{name}");
        thief.release().unwrap();
        third.acquire(LONG).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn no_two_threads_are_inside_the_sound_locks() {
    use std::sync::atomic::{AtomicU32, Ordering};
    for strategy in ALL.iter().filter(|it| promises(**it, Guarantee::MutualExclusion, Hazard::Concurrency)) {
        let world = World::new();
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            for client in 0..3 {
                let (world, inside) = (&world, &inside);
                scope.spawn(move || {
                    let name = strategy.info().name;
                    let mut lock = strategy.client(&world.context(client)).unwrap();
                    for _ in 0..10 {
                        lock.acquire(LONG).unwrap_or_else(|error| panic!("{name}: {error}"));
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "{name}");
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        lock.release().unwrap();
                    }
                });
            }
        });
    }
}

#[test]
fn the_fallback_gets_in_by_its_other_door() {
    let world = World::new();
    let [mut first, mut second] = [1, 2].map(|client| world.client("lock-fallback", client));
    first.acquire(Duration::ZERO).unwrap();
    assert!(second.acquire(SHORT).unwrap().still, "both are in");
    assert!(is_busy(world.client("lock-fallback", 3).acquire(SHORT)), "both doors are taken");
    second.release().unwrap();
    first.release().unwrap();
}
