//! The REST reader: a server that streams the state file in chunks over HTTP while it may be
//! replaced or rewritten, and a client that checks what arrives.
//!
//! The server opens the state as the strategy's own readers do ([`Client::stream`]) and sends it in
//! small chunks, giving way between them, as a server under load does. It announces no length: the
//! body ends where the file ended when it got there. The client takes whatever arrives as one
//! read.
//!
//! [`Client::stream`]: tearproof_core::strategy::Client::stream

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tearproof_core::strategy::{Client, ClientContext, Found, Strategy, StrategyError, StrategyInfo};
use tokio::net::TcpListener;

/// Bytes of one chunk of the body.
const CHUNK: usize = 96;
/// How often the server looks whether it should stop.
const POLL: Duration = Duration::from_millis(2);

/// A strategy whose readers ask a server.
pub struct OverHttp {
    inner: Arc<dyn Strategy>,
}

impl OverHttp {
    /// The same state, read over HTTP.
    pub fn new(inner: Arc<dyn Strategy>) -> Self {
        Self { inner }
    }
}

/// Where the server writes its address: beside the state directory, not in it.
fn address_file(context: &ClientContext) -> PathBuf {
    context.dir.with_file_name("http-address")
}

impl Strategy for OverHttp {
    fn info(&self) -> &'static StrategyInfo {
        self.inner.info()
    }

    fn prepare(&self, context: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        self.inner.prepare(context, document)
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        let address_file = address_file(context);
        let url = url_of_server(&address_file)?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(5)))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Ok(Box::new(HttpReader { agent, address_file, url }))
    }

    fn has_server(&self) -> bool {
        true
    }

    fn serve(
        &self,
        context: &ClientContext,
        ready: &mut dyn FnMut(),
        stop: &dyn Fn() -> bool,
    ) -> Result<(), StrategyError> {
        let failed = |what: &str, error: io::Error| StrategyError::failed(format!("{what}: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed("starting the server's runtime", error))?;
        runtime.block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0))
                .await
                .map_err(|error| failed("listening on 127.0.0.1", error))?;
            let address = listener.local_addr().map_err(|error| failed("asking for the port", error))?;
            let path = address_file(context);
            // A client may look while a server that replaces a killed one says where it is.
            let draft = path.with_extension("draft");
            std::fs::write(&draft, address.to_string())
                .and_then(|()| std::fs::rename(&draft, &path))
                .map_err(|error| failed(&format!("writing {}", path.display()), error))?;
            let state = Arc::new(Source { strategy: Arc::clone(&self.inner), context: context.clone() });
            let router = Router::new().route("/state", get(stream_state)).with_state(state);
            let server = tokio::spawn(async move { axum::serve(listener, router).await });
            ready();
            while !stop() && !server.is_finished() {
                tokio::time::sleep(POLL).await;
            }
            server.abort();
            Ok(())
        })
    }
}

struct Source {
    strategy: Arc<dyn Strategy>,
    context: ClientContext,
}

async fn stream_state(State(source): State<Arc<Source>>) -> Response {
    let opened = source.strategy.client(&source.context).and_then(|mut client| {
        let reader = client.stream()?;
        // A lock that the reader holds may belong to the client.
        Ok(reader.map(|reader| (reader, client)))
    });
    match opened {
        Ok(Some((reader, client))) => chunked(reader, client),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

fn chunked(reader: Box<dyn Read + Send>, client: Box<dyn Client>) -> Response {
    let chunks = chunks_of(reader, client);
    Response::new(Body::from_stream(chunks))
}

/// The file as a stream of chunks. Between two of them everybody else may run. A read that fails
/// breaks the connection off, so that nobody takes what arrived for the whole file.
fn chunks_of(
    reader: Box<dyn Read + Send>,
    client: Box<dyn Client>,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
    futures_util::stream::unfold((reader, client), |(mut reader, client)| async move {
        tokio::task::yield_now().await;
        let mut chunk = vec![0; CHUNK];
        match reader.read(&mut chunk) {
            Ok(0) => None,
            Ok(read) => {
                chunk.truncate(read);
                Some((Ok(Bytes::from(chunk)), (reader, client)))
            }
            Err(error) => Some((Err(error), (reader, client))),
        }
    })
}

/// Where the server is now.
fn url_of_server(address_file: &Path) -> Result<String, StrategyError> {
    let address = std::fs::read_to_string(address_file)
        .map_err(|error| StrategyError::failed(format!("reading {}: {error}", address_file.display())))?;
    Ok(format!("http://{address}/state"))
}

struct HttpReader {
    agent: ureq::Agent,
    address_file: PathBuf,
    url: String,
}

impl Client for HttpReader {
    fn read(&mut self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let found = self.get(into);
        if found.is_err() {
            // Another server may have taken the place of one that was killed.
            self.url = url_of_server(&self.address_file)?;
        }
        found
    }
}

impl HttpReader {
    fn get(&self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        into.clear();
        let failed =
            |error: &dyn std::fmt::Display| StrategyError::failed(format!("GET {}: {error}", self.url));
        let mut response = self.agent.get(&self.url).call().map_err(|error| failed(&error))?;
        match response.status().as_u16() {
            200 => {
                response.body_mut().as_reader().read_to_end(into).map_err(|error| failed(&error))?;
                Ok(Found::Present)
            }
            404 => Ok(Found::Absent),
            other => {
                let text = response.body_mut().read_to_string().unwrap_or_default();
                Err(failed(&format!("status {other}: {text}")))
            }
        }
    }
}
