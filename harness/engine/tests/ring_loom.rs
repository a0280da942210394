//! The ring under the model checker loom, which runs every interleaving of producer and consumer
//! and every value that each load may return:
//!
//! ```text
//! cargo test -p tearproof-engine --release --test ring_loom
//! ```
//!
//! A producer that is killed is one whose stores cease to have effect after any number of them.
//! The words of records are plain cells here: loom reports every access to one that is not ordered
//! after the other side's last, which is stricter than to look at the values that came out.
//! The last tests are canaries: memory that makes a wrong ring of the right one, which loom must
//! find.
//!
//! Loom 0.7 looks for conflicts with the last access of an atomic only, so a producer that loads
//! its own position before it stores it hides that position from the consumer's loads: one
//! interleaving is run, and passes. Producers here remember what they published instead, which is
//! the same number, as nobody else writes it.
#![expect(unsafe_code, reason = "loom's cells are shared between threads so that it can object")]

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use loom::cell::Cell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;
use tearproof_engine::record::ring::{Consumer, HEAD, HEADER, Producer, REFUSED, Ring, TAIL, Words};

/// Three words of records: records of one and two words begin at each of them.
const CAPACITY: usize = 3;

/// The memory of a ring, as loom sees it.
#[derive(Clone)]
struct Memory(Arc<Inside>);

struct Inside {
    head: AtomicU64,
    tail: AtomicU64,
    refused: AtomicU64,
    records: Vec<Cell<u64>>,
}

// SAFETY: loom runs one thread at a time, and fails the model when accesses to a cell are not
// ordered by the atomics beside it.
unsafe impl Sync for Inside {}

// SAFETY: as above.
unsafe impl Send for Inside {}

impl Memory {
    fn new() -> Self {
        Self(Arc::new(Inside {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            records: (0..CAPACITY).map(|_| Cell::new(0)).collect(),
        }))
    }

    fn position(&self, index: usize) -> &AtomicU64 {
        match index {
            HEAD => &self.0.head,
            TAIL => &self.0.tail,
            REFUSED => &self.0.refused,
            _ => panic!("word {index} has no meaning"),
        }
    }
}

impl Words for Memory {
    fn count(&self) -> usize {
        HEADER + CAPACITY
    }

    fn load(&self, index: usize, order: Ordering) -> u64 {
        match index.checked_sub(HEADER) {
            Some(record) => self.0.records[record].get(),
            None => self.position(index).load(order),
        }
    }

    fn store(&self, index: usize, value: u64, order: Ordering) {
        match index.checked_sub(HEADER) {
            Some(record) => self.0.records[record].set(value),
            None => self.position(index).store(value, order),
        }
    }

    fn increment(&self, index: usize) {
        self.position(index).fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self, index: usize) -> u64 {
        self.position(index).swap(0, Ordering::Relaxed)
    }
}

/// The memory of producers that follow each other, of which the first is killed after so many
/// stores.
struct Mortal<'a, W> {
    memory: &'a W,
    published: &'a std::cell::Cell<u64>,
    stores_left: std::cell::Cell<u32>,
}

impl<'a, W> Mortal<'a, W> {
    fn new(memory: &'a W, published: &'a std::cell::Cell<u64>, stores: u32) -> Self {
        Self { memory, published, stores_left: std::cell::Cell::new(stores) }
    }

    fn lives(&self) -> bool {
        let left = self.stores_left.get();
        self.stores_left.set(left.saturating_sub(1));
        left > 0
    }
}

impl<W: Words> Words for Mortal<'_, W> {
    fn count(&self) -> usize {
        self.memory.count()
    }

    fn load(&self, index: usize, order: Ordering) -> u64 {
        if index == HEAD { self.published.get() } else { self.memory.load(index, order) }
    }

    fn store(&self, index: usize, value: u64, order: Ordering) {
        if self.lives() {
            self.memory.store(index, value, order);
            if index == HEAD {
                self.published.set(value);
            }
        }
    }

    fn increment(&self, index: usize) {
        if self.lives() {
            self.memory.increment(index);
        }
    }

    fn take(&self, index: usize) -> u64 {
        self.memory.take(index)
    }
}

/// A canary's memory: stores that publish nothing, in either direction.
struct Unpublished(Memory);

impl Words for Unpublished {
    fn count(&self) -> usize {
        self.0.count()
    }

    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.0.load(index, order)
    }

    fn store(&self, index: usize, value: u64, _: Ordering) {
        self.0.store(index, value, Ordering::Relaxed);
    }

    fn increment(&self, index: usize) {
        self.0.increment(index);
    }

    fn take(&self, index: usize) -> u64 {
        self.0.take(index)
    }
}

/// Another canary's memory: the producer's position is stored before the words of the record.
struct PositionFirst {
    memory: Memory,
    held_back: RefCell<Vec<(usize, u64)>>,
}

impl Words for PositionFirst {
    fn count(&self) -> usize {
        self.memory.count()
    }

    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.memory.load(index, order)
    }

    fn store(&self, index: usize, value: u64, order: Ordering) {
        if index >= HEADER {
            self.held_back.borrow_mut().push((index, value));
            return;
        }
        self.memory.store(index, value, order);
        for (index, value) in self.held_back.borrow_mut().drain(..) {
            self.memory.store(index, value, Ordering::Relaxed);
        }
    }

    fn increment(&self, index: usize) {
        self.memory.increment(index);
    }

    fn take(&self, index: usize) -> u64 {
        self.memory.take(index)
    }
}

/// The n-th record: its number is its tag, and its payload makes a mixture of two records visible.
fn push<W: Words>(producer: &mut Producer<W>, number: u64) -> bool {
    let payload = [number * 100];
    producer.push(number, if number.is_multiple_of(3) { &[] } else { &payload }).is_ok()
}

fn pop<W: Words>(consumer: &mut Consumer<W>) -> Option<u64> {
    let mut payload = Vec::new();
    let number = consumer.pop(&mut payload).expect("a whole record")?;
    let expected = if number.is_multiple_of(3) { vec![] } else { vec![number * 100] };
    assert_eq!(payload, expected, "the payload of record {number}");
    Some(number)
}

const FOR_EVER: u32 = u32::MAX;

/// The producer pushes records 1, 2, … as long as there is room, trying `attempts` times, while the
/// consumer takes some; nothing is lost, doubled, torn or out of order, and refusals are counted.
/// Returns how many records the consumer took in the meantime.
fn exchange<P: Words + Send + 'static, C: Words>(
    attempts: u64,
    produce: impl FnOnce(Memory) -> P,
    consume: impl FnOnce(Memory) -> C,
) -> usize {
    let memory = Memory::new();
    let mut consumer = Ring::new(consume(memory.clone())).consumer();
    let words = produce(memory);
    let producing = thread::spawn(move || {
        let published = std::cell::Cell::new(0);
        let mut producer = Ring::new(Mortal::new(&words, &published, FOR_EVER)).producer();
        let mut number = 1;
        for _ in 0..attempts {
            if push(&mut producer, number) {
                number += 1;
            }
        }
        number - 1
    });
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.extend(pop(&mut consumer));
    }
    let meanwhile = seen.len();
    let pushed = producing.join().expect("the producer");
    while let Some(number) = pop(&mut consumer) {
        seen.push(number);
    }
    assert_eq!(seen, (1..=pushed).collect::<Vec<_>>());
    assert_eq!(consumer.take_refused(), attempts - pushed);
    meanwhile
}

#[test]
fn records_arrive_whole_and_in_order_round_the_end_and_refusals_are_counted() {
    let outcomes = Tally::default();
    let inside = outcomes.clone();
    loom::model(move || inside.add(exchange(4, |memory| memory, |memory| memory)));
    // Loom has to have run these executions, or it has shown nothing.
    assert_eq!(outcomes.seen(), [0, 1, 2, 3]);
}

/// A producer of records of two, two and one words is killed after any number of its stores; then
/// another one goes on. Both while the consumer reads.
#[test]
fn a_producer_that_is_killed_at_any_store_leaves_whole_records_and_a_successor_goes_on() {
    let outcomes = Tally::default();
    for stores in 0..=9 {
        let inside = outcomes.clone();
        loom::model(move || inside.add(succession(stores)));
    }
    assert_eq!(outcomes.seen(), [0, 1, 2, 3]);
}

fn succession(stores: u32) -> usize {
    let memory = Memory::new();
    let mut consumer = Ring::new(memory.clone()).consumer();
    let producing = thread::spawn(move || {
        let published = std::cell::Cell::new(0);
        let mut first = Ring::new(Mortal::new(&memory, &published, stores)).producer();
        let pushed: Vec<u64> = (1..=3).filter(|&number| push(&mut first, number)).collect();
        // The first dies before the supervisor starts the second, which is what orders their
        // stores; one after the other in a thread is the same order.
        let mut second = Ring::new(Mortal::new(&memory, &published, FOR_EVER)).producer();
        (pushed, push(&mut second, 5))
    });
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.extend(pop(&mut consumer));
    }
    let meanwhile = seen.len();
    let (believed, succeeded) = producing.join().expect("the producers");
    while let Some(number) = pop(&mut consumer) {
        seen.push(number);
    }
    assert_eq!(succeeded, seen.last() == Some(&5), "{seen:?}");
    seen.truncate(seen.len() - usize::from(succeeded));
    // What the first one left is a beginning of what it would have left had it lived.
    assert!(believed.starts_with(&seen), "{seen:?} of {believed:?}");
    // Two words and the position: the first record was published by the third store.
    assert_eq!(seen.is_empty(), stores < 3, "{seen:?} after {stores} stores");
    meanwhile
}

/// What happened in the executions of a model.
#[derive(Clone, Default)]
struct Tally(std::sync::Arc<std::sync::Mutex<std::collections::BTreeSet<usize>>>);

impl Tally {
    fn add(&self, outcome: usize) {
        self.0.lock().expect("no panic").insert(outcome);
    }

    fn seen(&self) -> Vec<usize> {
        self.0.lock().expect("no panic").iter().copied().collect()
    }
}

#[test]
#[should_panic(expected = "Causality violation")]
fn canary_a_producer_that_publishes_with_relaxed_ordering_is_caught() {
    loom::model(|| {
        exchange(2, Unpublished, |memory| memory);
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn canary_a_producer_that_publishes_before_it_writes_is_caught() {
    let position_first = |memory| PositionFirst { memory, held_back: RefCell::default() };
    loom::model(move || {
        exchange(2, position_first, |memory| memory);
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn canary_a_consumer_that_frees_with_relaxed_ordering_is_caught() {
    loom::model(|| {
        exchange(4, |memory| memory, Unpublished);
    });
}
