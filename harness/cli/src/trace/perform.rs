//! The hidden role in which this binary does the operations of a strategy one after the other, alone,
//! so that each can be traced.
//!
//! Standard output is a file in memory. A line goes there, by one write, before each operation and at
//! the end: the tracer sees these writes between the calls of the operations. A strategy with a server
//! is served by a thread of the same process.

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tearproof_core::document::Stamp;
use tearproof_core::log::render_record;
use tearproof_core::object::{Object, Operation};
use tearproof_core::set::element_name;
use tearproof_core::strategy::{Client, ClientContext, Strategy, StrategyError};

/// What an operation begins with, on standard output.
pub(super) const BEGIN: &str = "begin ";
/// What came of it, where it failed.
pub(super) const FAILED: &str = "failed ";
/// The thread that serves.
pub(super) const SERVER: &str = "server ";

/// The operations on an object, in the order in which they are done.
pub(super) const fn operations(object: Object) -> &'static [Operation] {
    match object {
        Object::Register => &[Operation::Write, Operation::Read],
        Object::Set => &[Operation::Update],
        Object::Log => &[Operation::Append, Operation::Read],
        Object::Lock => &[Operation::Acquire, Operation::Release],
    }
}

/// Does the operations of a strategy in the surroundings that `context` describes.
pub fn perform(name: &str, context: &str) -> ExitCode {
    let context: Option<ClientContext> = serde_json::from_str(context).ok();
    let (Some(strategy), Some(context)) = (tearproof_scenarios::strategy(name), context) else {
        return ExitCode::from(2);
    };
    match serve_and_play(strategy, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) -> io::Result<()> {
    // One line is one write, and a file in memory takes all of it.
    rustix::io::write(rustix::stdio::stdout(), format!("{}\n", line.replace('\n', " ")).as_bytes())?;
    Ok(())
}

fn serve_and_play(strategy: &'static dyn Strategy, context: &ClientContext) -> io::Result<()> {
    if !strategy.has_server() {
        return play(strategy, context);
    }
    let stop = AtomicBool::new(false);
    let (say_ready, ready) = mpsc::channel();
    std::thread::scope(|scope| {
        let own = ClientContext { client: 0, ..context.clone() };
        let stop = &stop;
        let serving = scope.spawn(move || {
            let tid = rustix::thread::gettid().as_raw_nonzero();
            say(&format!("{SERVER}{tid}")).map_err(|error| StrategyError::failed(error.to_string()))?;
            let mut ready = || {
                // Nobody hears it any more only when everything is over.
                let _ = say_ready.send(());
            };
            strategy.serve(&own, &mut ready, &|| stop.load(Ordering::Relaxed))
        });
        let played = match ready.recv_timeout(Duration::from_secs(20)) {
            Ok(()) => play(strategy, context),
            Err(_) => Err(io::Error::other("the server does not come up")),
        };
        stop.store(true, Ordering::Relaxed);
        let served = serving.join().map_err(|_| io::Error::other("the server panicked"))?;
        played?;
        served.map_err(|error| io::Error::other(format!("serving: {error}")))
    })
}

fn play(strategy: &dyn Strategy, context: &ClientContext) -> io::Result<()> {
    say(&format!("{BEGIN}open"))?;
    let mut client = match strategy.client(context) {
        Ok(client) => client,
        Err(error) => return say(&format!("{FAILED}{error}")),
    };
    let mut document = Vec::new();
    context.shape.render(Stamp::new(context.client, 1), &mut document);
    let record = render_record(Stamp::new(context.client, 1), context.shape.size);
    for &operation in operations(context.object) {
        say(&format!("{BEGIN}{operation}"))?;
        if let Err(error) = once(&mut *client, operation, context, &document, &record) {
            say(&format!("{FAILED}{error}"))?;
        }
    }
    say(&format!("{BEGIN}close"))?;
    drop(client);
    say(BEGIN)
}

fn once(
    client: &mut dyn Client,
    operation: Operation,
    context: &ClientContext,
    document: &[u8],
    record: &[u8],
) -> Result<(), StrategyError> {
    match operation {
        Operation::Read => client.read(&mut Vec::new()).map(drop),
        Operation::Write => client.write(document),
        Operation::Update => client.update(&element_name(Stamp::new(context.client, 1))),
        Operation::Append => client.append(record),
        Operation::Acquire => client.acquire(context.patience).map(drop),
        Operation::Release => client.release(),
        Operation::Cas => Err(StrategyError::Unsupported(operation)),
    }
}
