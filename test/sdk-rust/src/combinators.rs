//! Combinators over awakeables, signals and sleeps. Runs of this SDK cannot be combined with other futures.

use crate::blocking::AwakeableHolderClient;
use crate::ms;
use restate_sdk::context::DurableFuture;
use restate_sdk::prelude::*;
use serde_json::{json, Value};
use std::pin::Pin;

type Settled = Result<String, TerminalError>;
type Future<'a> = Pin<Box<dyn DurableFuture<Output = Settled> + Send + 'a>>;

fn settle(result: &Settled) -> Value {
    match result {
        Ok(value) => json!({"ok": value}),
        Err(error) => json!({"error": error.message()}),
    }
}

fn publish<'a>(ctx: &ObjectContext<'a>, name: &str) -> Future<'a> {
    let (id, promise) = ctx.awakeable::<String>();
    ctx.object_client::<AwakeableHolderClient>(format!("{}-{name}", ctx.key())).hold(id).send();
    Box::pin(promise)
}

fn signals<'a>(ctx: &ObjectContext<'a>) -> DurableFuturesUnordered<Future<'a>> {
    ["a", "b", "c"].iter().map(|name| Box::pin(ctx.signal::<String>(name)) as Future<'a>).collect()
}

/// The first result that satisfies `wanted`, else all of them by the order of the futures.
async fn until(
    mut futures: DurableFuturesUnordered<Future<'_>>,
    wanted: fn(&Settled) -> bool,
) -> Result<Result<Settled, Vec<Settled>>, TerminalError> {
    let mut all = vec![];
    while let Some((index, result)) = futures.next().await? {
        if wanted(&result) {
            return Ok(Ok(result));
        }
        all.push((index, result));
    }
    // Callers that want the last one (all failed) take it from the end, so the order of completion is kept for them.
    Ok(Err(all.into_iter().map(|(_, result)| result).collect()))
}

pub struct Combinators;

#[restate_sdk::object]
impl Combinators {
    #[handler(name = "awakeableOrTimeoutUsingAwaitAny")]
    async fn awakeable_or_timeout(&self, ctx: ObjectContext<'_>, duration: u64) -> HandlerResult<String> {
        let awakeable = publish(&ctx, "a");
        let timeout = ctx.sleep(ms(duration));
        restate_sdk::select! {
            _ = awakeable => { Ok("awakeable".to_string()) },
            _ = timeout => { Ok("sleep".to_string()) }
        }
    }

    #[handler(name = "firstSuccessfulCompletedAwakeable")]
    async fn first_awakeable(&self, ctx: ObjectContext<'_>) -> HandlerResult<String> {
        let futures = [publish(&ctx, "a"), publish(&ctx, "b")].into_iter().collect();
        match until(futures, Result::is_ok).await? {
            Ok(result) => Ok(result?),
            Err(_) => Err(TerminalError::new("both failed").into()),
        }
    }

    #[handler(name = "signalFirstSuccessfulOrAllFailed")]
    async fn first_successful(&self, ctx: ObjectContext<'_>) -> HandlerResult<Json<Value>> {
        Ok(Json(match until(signals(&ctx), Result::is_ok).await? {
            Ok(result) => settle(&result),
            Err(all) => settle(&all[all.len() - 1]),
        }))
    }

    #[handler(name = "signalAllSuccessfulOrFirstFailed")]
    async fn all_successful(&self, ctx: ObjectContext<'_>) -> HandlerResult<Json<Value>> {
        Ok(Json(match until(signals(&ctx), Result::is_err).await? {
            Ok(result) => settle(&result),
            Err(all) => json!({"ok": all.iter().flatten().collect::<Vec<_>>()}),
        }))
    }

    #[handler(name = "signalAllCompleted")]
    async fn all_completed(&self, ctx: ObjectContext<'_>) -> HandlerResult<Json<Vec<Value>>> {
        let mut futures = signals(&ctx);
        let mut results = vec![Value::Null; futures.len()];
        while let Some((index, result)) = futures.next().await? {
            results[index] = settle(&result);
        }
        Ok(Json(results))
    }

    #[handler(name = "signalFirstCompleted")]
    async fn first_completed(&self, ctx: ObjectContext<'_>) -> HandlerResult<Json<Value>> {
        let mut futures = signals(&ctx);
        let first = futures.next().await?.map(|(_, result)| settle(&result));
        Ok(Json(first.unwrap_or(Value::Null)))
    }
}
