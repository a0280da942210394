//! The other end of the worker protocol: [`serve_stdio`] makes a worker of any
//! [`Strategy`], which is how built-in strategies run in a fresh process for each operation.

use std::io::{self, BufRead, ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use tearproof_core::history::Failure;
use tearproof_core::object::Operation;
use tearproof_core::strategy::{Client, ClientContext, Found, Strategy, StrategyError};

use super::base64;
use super::message::{Answer, Kind, PROTOCOL, Request, Wanted, write_answer};

/// Answers requests from `input` on `output` until the harness says stop or hangs up.
///
/// The number of the client comes with the greeting and the path of the state file with each
/// request; both replace what is in `context`. The client is opened by the first operation that
/// needs it. A strategy that cannot open one makes that operation fail and is asked again by the
/// next.
///
/// # Errors
/// When a stream fails, or when a line is no request.
pub fn serve_stdio(
    strategy: &dyn Strategy,
    context: ClientContext,
    mut input: impl BufRead,
    mut output: impl Write,
) -> io::Result<()> {
    let mut served = Served { strategy, context, client: None, document: Vec::new() };
    let mut line = Vec::new();
    let mut answer = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let request: Request = serde_json::from_slice(&line)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, format!("no request: {error}")))?;
        let reply = match request.t {
            Wanted::Stop => return Ok(()),
            Wanted::Hello => served.greet(&request),
            Wanted::Op => served.answer(request),
        };
        write_answer(&mut answer, &reply);
        output.write_all(&answer)?;
        output.flush()?;
    }
}

struct Served<'a> {
    strategy: &'a dyn Strategy,
    context: ClientContext,
    client: Option<Box<dyn Client>>,
    document: Vec<u8>,
}

impl Served<'_> {
    fn greet(&mut self, hello: &Request) -> Answer {
        // Another version finds ours in the answer and can judge for itself.
        let _ = hello.proto;
        if let Some(client) = hello.client {
            self.context.client = client;
        }
        let operations = self.context.object.operations().iter();
        Answer {
            proto: Some(PROTOCOL),
            name: Some(self.strategy.info().name.to_owned()),
            ops: Some(operations.map(|operation| operation.name().to_owned()).collect()),
            ..Answer::new(Kind::Ready, None)
        }
    }

    fn answer(&mut self, request: Request) -> Answer {
        let id = request.id;
        self.perform(request).unwrap_or_else(|error| refusal(id, error))
    }

    fn perform(&mut self, request: Request) -> Result<Answer, StrategyError> {
        let mut answer = Answer::new(Kind::Ok, request.id);
        let name = request.op.as_deref().unwrap_or_default();
        let operation: Operation = name
            .parse()
            .map_err(|error| StrategyError::failed(format!("request without effect: {error}")))?;
        let lacks = |what: &str| StrategyError::failed(format!("{operation} without {what}"));
        self.open(request.path.as_deref())?;
        let Some(client) = &mut self.client else { return Err(lacks("a client")) };
        match operation {
            Operation::Read => match client.read(&mut self.document)? {
                Found::Absent => answer.missing = Some(true),
                Found::Present => match std::str::from_utf8(&self.document) {
                    Ok(text) => answer.value = Some(text.to_owned()),
                    Err(_) => {
                        let mut encoded = Vec::new();
                        base64::encode(&self.document, &mut encoded);
                        answer.value_base64 = String::from_utf8(encoded).ok();
                    }
                },
            },
            Operation::Write => {
                let value = bytes(request.value, request.value_base64).ok_or_else(|| lacks("a value"))?;
                client.write(&value)?;
            }
            Operation::Update => client.update(&request.element.ok_or_else(|| lacks("an element"))?)?,
            Operation::Append => {
                let mut record =
                    bytes(request.record, request.record_base64).ok_or_else(|| lacks("a record"))?;
                record.push(b'\n');
                client.append(&record)?;
            }
            Operation::Acquire => {
                let patience = request.timeout_ms.map_or(self.context.patience, Duration::from_millis);
                let held = client.acquire(patience)?;
                answer.held = (!held.still).then_some(false);
                answer.token = held.token;
            }
            Operation::Release => client.release()?,
            Operation::Cas => return Err(StrategyError::Unsupported(operation)),
        }
        Ok(answer)
    }

    /// Makes sure that there is a client for the file at this path.
    fn open(&mut self, path: Option<&str>) -> Result<(), StrategyError> {
        if let Some(path) = path.map(Path::new).filter(|path| *path != self.context.file) {
            self.client = None;
            self.context.file = path.to_owned();
            if let Some(dir) = path.parent() {
                self.context.dir = dir.to_owned();
            }
        }
        if self.client.is_none() {
            self.client = Some(self.strategy.client(&self.context)?);
        }
        Ok(())
    }
}

fn refusal(id: Option<u64>, error: StrategyError) -> Answer {
    let mut answer = Answer::new(Kind::Fail, id);
    let failure = match error {
        StrategyError::Failed { failure, message } => {
            answer.error = Some(message);
            failure
        }
        StrategyError::Unknown { failure, message } => {
            answer.t = Kind::Info;
            answer.error = Some(message);
            failure
        }
        StrategyError::Torn { kind, message } => {
            answer.torn = Some(kind);
            answer.error = Some(message);
            Failure::Error
        }
        StrategyError::Unsupported(operation) => {
            answer.t = Kind::Skip;
            answer.reason = Some(format!("{operation} is not supported"));
            Failure::Error
        }
    };
    answer.busy = (failure == Failure::Busy).then_some(true);
    answer.failure = (failure != Failure::Error && failure != Failure::Busy).then_some(failure);
    answer
}

fn bytes(text: Option<String>, encoded: Option<String>) -> Option<Vec<u8>> {
    text.map(String::into_bytes).or_else(|| base64::decode(&encoded?))
}
