//! A strategy behind the protocol behaves as it does in our own process.

use super::*;

/// Keeps everything in memory, one execution long.
struct InMemory;

static IN_MEMORY: StrategyInfo = StrategyInfo {
    name: "in-memory",
    algorithm: "a test's own",
    claims: &[],
    source: "this test",
    objects: Object::ALL,
    broken: false,
    timed: false,
};

impl Strategy for InMemory {
    fn info(&self) -> &'static StrategyInfo {
        &IN_MEMORY
    }

    fn prepare(&self, _: &ClientContext, _: Option<&[u8]>) -> Result<(), StrategyError> {
        Ok(())
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        Ok(Box::new(Memory { kept: None, number: context.client, reads: 0 }))
    }
}

struct Memory {
    kept: Option<Vec<u8>>,
    number: u32,
    reads: u32,
}

impl Client for Memory {
    fn read(&mut self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        self.reads += 1;
        if self.reads == 4 {
            return Err(StrategyError::Torn { kind: TornKind::Mixed, message: "two halves".to_owned() });
        }
        into.clear();
        Ok(match &self.kept {
            Some(kept) => {
                into.extend_from_slice(kept);
                Found::Present
            }
            None => Found::Absent,
        })
    }

    fn write(&mut self, document: &[u8]) -> Result<(), StrategyError> {
        if document == b"number" {
            return Err(StrategyError::retries_exhausted(format!("I am {}", self.number)));
        }
        if document == b"unknown" {
            return Err(StrategyError::unknown("perhaps"));
        }
        self.kept = Some(document.to_vec());
        Ok(())
    }

    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        if patience.is_zero() {
            Err(StrategyError::busy("taken"))
        } else {
            Ok(Held { still: false, token: Some(9) })
        }
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        Ok(())
    }

    fn append(&mut self, record: &[u8]) -> Result<(), StrategyError> {
        self.kept.get_or_insert_default().extend_from_slice(record);
        Ok(())
    }
}

/// The test binary runs this test as a worker, see [`served`]. On its own it has nothing to do.
#[test]
fn serving() {
    let Some(object) = std::env::var_os("TEARPROOF_TEST_SERVES") else { return };
    let object: Object = object.to_str().and_then(|name| name.parse().ok()).expect("an object");
    // The test harness has printed to standard output already, so the protocol uses copies.
    let context = World::new(object).context();
    let input = std::fs::File::open("/dev/fd/8").expect("input");
    let output = std::fs::OpenOptions::new().write(true).open("/dev/fd/9").expect("output");
    serve_stdio(&InMemory, context, BufReader::new(input), output).expect("served");
}

/// A client of a worker that serves [`InMemory`] in a process of its own.
fn served(world: &World) -> (Box<dyn Client>, Arc<ChildSlot>) {
    let binary = std::env::current_exe().expect("the test binary");
    let script = format!(
        "exec 8<&0 9>&1; TEARPROOF_TEST_SERVES={} exec '{}' --exact program::tests::serving::serving >/dev/null",
        world.object,
        binary.display()
    );
    let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    world.strategy(command, Lifetime::Session).open(&world.context()).expect("a served strategy")
}

#[test]
fn a_served_strategy_behaves_as_it_does_in_our_own_process() {
    let world = World::register();
    let (mut client, _slot) = served(&world);
    assert_eq!(read(&mut *client).unwrap(), (Found::Absent, String::new()));
    client.write("ä\n\"".as_bytes()).unwrap();
    assert_eq!(read(&mut *client).unwrap(), (Found::Present, "ä\n\"".to_owned()));
    client.write(&[0xff, 0, 1]).unwrap();
    let mut bytes = Vec::new();
    client.read(&mut bytes).unwrap();
    assert_eq!(bytes, [0xff, 0, 1]);
    match client.read(&mut bytes) {
        Err(StrategyError::Torn { kind: TornKind::Mixed, message }) => assert_eq!(message, "two halves"),
        other => panic!("{other:?}"),
    }
    assert_eq!(failed(client.write(b"number")), (Failure::RetriesExhausted, "I am 3".to_owned()));
    assert_eq!(unknown(client.write(b"unknown")), (Failure::Error, "perhaps".to_owned()));

    let world = World::new(Object::Lock);
    let (mut client, _slot) = served(&world);
    let held = client.acquire(Duration::from_millis(5)).unwrap();
    assert_eq!((held.still, held.token), (false, Some(9)));
    client.release().unwrap();
    assert_eq!(failed(client.acquire(Duration::ZERO)), (Failure::Busy, "taken".to_owned()));

    let world = World::new(Object::Log);
    let (mut client, _slot) = served(&world);
    client.append(b"r-3-1 one\n").unwrap();
    client.append(b"r-3-2 two\n").unwrap();
    assert_eq!(read(&mut *client).unwrap(), (Found::Present, "r-3-1 one\nr-3-2 two\n".to_owned()));

    let world = World::new(Object::Set);
    let (mut client, _slot) = served(&world);
    assert!(matches!(client.update("e-3-1"), Err(StrategyError::Unsupported(Operation::Update))));
}

#[test]
fn serving_ends_with_stop_with_the_end_of_input_and_with_nonsense() {
    let world = World::register();
    let serve = |input: &[u8]| {
        let mut output = Vec::new();
        let result = serve_stdio(&InMemory, world.context(), input, &mut output);
        (result.map_err(|error| error.kind()), String::from_utf8(output).unwrap())
    };
    assert_eq!(serve(b""), (Ok(()), String::new()));
    let ready = "{\"t\":\"ready\",\"proto\":1,\"name\":\"in-memory\",\"ops\":[\"read\",\"write\",\"cas\"]}\n";
    let greeted = b"{\"t\":\"hello\",\"proto\":1,\"client\":3,\"seed\":7}\n{\"t\":\"stop\"}\nleft over";
    assert_eq!(serve(greeted), (Ok(()), ready.to_owned()));
    assert_eq!(serve(b"nonsense\n").0, Err(std::io::ErrorKind::InvalidData));
}
