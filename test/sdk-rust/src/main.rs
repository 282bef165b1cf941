//! The services of test/sdk-other/suite.test.mjs on the official Rust SDK, served over HTTP/2 on 127.0.0.1:$PORT. Names, handlers and
//! JSON shapes are the contract of that suite (test/sdk-other/README.md); every language has the same.

mod blocking;
mod combinators;
mod failures;
mod state;
mod util;

use restate_sdk::prelude::*;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

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

#[tokio::main]
async fn main() {
    let port: u16 = std::env::var("PORT").expect("PORT").parse().expect("a port");
    let endpoint = Endpoint::builder()
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
        .build();
    HttpServer::new(endpoint).listen_and_serve(([127, 0, 0, 1], port).into()).await;
}
