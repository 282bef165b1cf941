//! The services of test/sdk-other/suite.test.mjs on the official Rust SDK, served over HTTP/2 on 127.0.0.1:$PORT. Names, handlers and
//! JSON shapes are the contract of that suite (test/sdk-other/README.md); every language has the same.

mod blocking;
mod combinators;
mod failures;
mod state;
mod util;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use restate_sdk::endpoint::{HandleOptions, ProtocolMode};
use restate_sdk::prelude::*;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::TcpListener;

pub const DAY: Duration = Duration::from_secs(24 * 3600);

pub fn ms(amount: u64) -> Duration {
    Duration::from_millis(amount)
}

/// How often user code ran in this process, by key: `tick` counts, TestUtil/seen reads.
static COUNTS: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);

pub fn tick(key: &str) -> u32 {
    let mut counts = COUNTS.lock().unwrap();
    let count = counts.get_or_insert_default().entry(key.to_string()).or_insert(0);
    *count += 1;
    *count
}

pub fn seen(key: &str) -> u32 {
    COUNTS.lock().unwrap().as_ref().and_then(|counts| counts.get(key).copied()).unwrap_or(0)
}

/// The version of this program, from the environment.
pub fn version() -> String {
    std::env::var("VERSION").unwrap_or_default()
}

#[tokio::main]
async fn main() {
    let port: u16 = std::env::var("PORT").expect("PORT").parse().expect("a port");
    let mut endpoint = Endpoint::builder()
        .bind(state::Counter)
        .bind(state::ListObject)
        .bind(state::MapObject)
        .bind(state::BlockAndWait)
        .bind(util::Proxy)
        .bind(util::TestUtil)
        .bind(blocking::AwakeableHolder)
        .bind(blocking::CancelTestBlocking)
        .bind(blocking::CancelTestRunner)
        .bind(blocking::Cleaner)
        .bind(blocking::KillTestRunner)
        .bind(blocking::KillTestSingleton)
        .bind(failures::Failing)
        .bind(failures::NonDeterministic)
        .bind(combinators::Combinators)
        .bind(util::Private)
        .bind(util::Versioned);
    if let Ok(key) = std::env::var("IDENTITY_KEY") {
        endpoint = endpoint.identity_key(&key).expect("an identity key");
    }
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    if std::env::var("REQUEST_RESPONSE").is_ok() {
        serve_request_response(endpoint.build(), address).await;
    } else {
        HttpServer::new(endpoint.build()).listen_and_serve(address).await;
    }
}

/// The SDK's own server knows bidirectional streams over HTTP/2 only; this one has HTTP/1.1 and request-response mode as well.
async fn serve_request_response(endpoint: Endpoint, address: SocketAddr) {
    let listener = TcpListener::bind(address).await.expect("listener can bind");
    while let Ok((stream, _)) = listener.accept().await {
        let endpoint = endpoint.clone();
        let service = service_fn(move |request| {
            let options = HandleOptions { protocol_mode: ProtocolMode::RequestResponse };
            ready(Ok::<_, Infallible>(endpoint.handle_with_options(request, options)))
        });
        tokio::spawn(async move {
            // Its errors are connections that the server under test has cut.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
