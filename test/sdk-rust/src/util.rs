//! Calls to anything, and everything else of one service.

use crate::state::CounterClient;
use crate::blocking::AwakeableHolderClient;
use crate::{ms, seen, tick, version};
use restate_sdk::context::RequestTarget;
use restate_sdk::prelude::*;
use serde::Deserialize;
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    service: String,
    key: Option<String>,
    handler: String,
    message: Option<Value>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    idempotency_key: Option<String>,
    #[serde(default)]
    delay: u64,
    #[serde(default)]
    one_way: bool,
    scope: Option<String>,
    limit_key: Option<String>,
}

fn request<'a>(ctx: &Context<'a>, target: Target) -> Request<'a, Vec<u8>, Vec<u8>> {
    let address = match target.key {
        Some(key) => RequestTarget::object(target.service, key, target.handler),
        None => RequestTarget::service(target.service, target.handler),
    };
    let body = target.message.map(|message| message.to_string().into_bytes()).unwrap_or_default();
    let mut request = ctx.request(address, body);
    for (name, value) in target.headers {
        request = request.header(name, value);
    }
    if let Some(scope) = target.scope {
        request = request.scope(scope);
    }
    if let Some(key) = target.limit_key {
        request = request.limit_key(key);
    }
    match target.idempotency_key {
        Some(key) => request.idempotency_key(key),
        None => request,
    }
}

fn parse(bytes: Vec<u8>) -> Json<Value> {
    Json(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

pub struct Proxy;

#[restate_sdk::service]
impl Proxy {
    #[handler]
    async fn call(&self, ctx: Context<'_>, target: Json<Target>) -> HandlerResult<Json<Value>> {
        Ok(parse(request(&ctx, target.into_inner()).call().await?))
    }

    #[handler(name = "oneWayCall")]
    async fn one_way_call(&self, ctx: Context<'_>, target: Json<Target>) -> HandlerResult<String> {
        let target = target.into_inner();
        let delay = target.delay;
        let request = request(&ctx, target);
        let sent = if delay > 0 { request.send_after(ms(delay)) } else { request.send() };
        Ok(sent.await?.invocation_id().to_string())
    }

    #[handler(name = "manyCalls")]
    async fn many_calls(&self, ctx: Context<'_>, targets: Json<Vec<Target>>) -> HandlerResult<()> {
        let mut awaited = vec![];
        for target in targets.into_inner() {
            let one_way = target.one_way;
            let request = request(&ctx, target);
            if one_way {
                let _ = request.send();
            } else {
                awaited.push(request.call());
            }
        }
        for call in awaited {
            call.await?;
        }
        Ok(())
    }

    #[handler(name = "callAndCatch")]
    async fn call_and_catch(&self, ctx: Context<'_>, target: Json<Target>) -> HandlerResult<Json<Value>> {
        match request(&ctx, target.into_inner()).call().await {
            Ok(bytes) => Ok(Json(json!({"value": parse(bytes).into_inner()}))),
            Err(error) => Ok(Json(json!({"code": error.code(), "message": error.message()}))),
        }
    }

    #[handler(name = "callId")]
    async fn call_id(&self, ctx: Context<'_>, target: Json<Target>) -> HandlerResult<Json<Value>> {
        let call = request(&ctx, target.into_inner()).call();
        let id = call.invocation_handle().await?.invocation_id().to_string();
        Ok(Json(json!({"id": id, "value": parse(call.await?).into_inner()})))
    }
}

#[derive(Deserialize)]
pub struct SignalRequest {
    id: String,
    name: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
pub struct StepRequest {
    key: String,
    ms: u64,
}

async fn now(ctx: &Context<'_>) -> Result<u64, TerminalError> {
    ctx.run(|| async { Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64) }).name("now").await
}

fn random(ctx: &mut Context<'_>) -> f64 {
    (restate_sdk::rand::Rng::next_u64(ctx.rand()) >> 11) as f64 / (1u64 << 53) as f64
}

/// By key: how many steps of TestUtil/work are in progress, and how many were at most.
static WORKING: Mutex<BTreeMap<String, (i32, i32)>> = Mutex::new(BTreeMap::new());

fn enter(key: &str, change: i32) -> i32 {
    let mut all = WORKING.lock().unwrap();
    let (now, most) = all.entry(key.to_string()).or_default();
    *now += change;
    *most = (*most).max(*now);
    *most
}

pub struct TestUtil;

#[restate_sdk::service]
impl TestUtil {
    #[handler]
    async fn echo(&self, _ctx: Context<'_>, value: String) -> HandlerResult<String> {
        Ok(value)
    }

    #[handler(name = "seen")]
    async fn how_often(&self, _ctx: Context<'_>, key: String) -> HandlerResult<u32> {
        Ok(seen(&key))
    }

    #[handler]
    async fn tick(&self, _ctx: Context<'_>, key: String) -> HandlerResult<u32> {
        Ok(tick(&key))
    }

    #[handler]
    async fn version(&self, _ctx: Context<'_>) -> HandlerResult<String> {
        Ok(version())
    }

    /// A step with a result of some size, which is replayed.
    #[handler(name = "bigStep")]
    async fn big_step(&self, ctx: Context<'_>, size: u32) -> HandlerResult<u32> {
        let value = ctx.run(|| async { Ok("x".repeat(size as usize)) }).name("big").await?;
        ctx.sleep(ms(20)).await?;
        Ok(value.len() as u32)
    }

    #[handler(name = "submittedWith")]
    async fn submitted_with(&self, ctx: Context<'_>) -> HandlerResult<Json<Value>> {
        Ok(Json(json!({"scope": ctx.scope(), "limitKey": ctx.limit_key(), "idempotencyKey": ctx.idempotency_key()})))
    }

    #[handler]
    async fn work(&self, ctx: Context<'_>, request: Json<StepRequest>) -> HandlerResult<()> {
        let StepRequest { key, ms: duration } = request.into_inner();
        let step = || async {
            enter(&key, 1);
            tokio::time::sleep(ms(duration)).await;
            enter(&key, -1);
            Ok(())
        };
        Ok(ctx.run(step).name("work").await?)
    }

    #[handler(name = "mostAtOnce")]
    async fn most_at_once(&self, _ctx: Context<'_>, key: String) -> HandlerResult<i32> {
        Ok(enter(&key, 0))
    }

    #[handler(name = "echoHeaders")]
    async fn echo_headers(&self, ctx: Context<'_>) -> HandlerResult<Json<BTreeMap<String, String>>> {
        Ok(Json(ctx.headers().iter().map(|(name, value)| (name.to_string(), value.clone())).collect()))
    }

    #[handler(name = "rawEcho")]
    async fn raw_echo(&self, _ctx: Context<'_>, data: Vec<u8>) -> HandlerResult<Vec<u8>> {
        Ok(data)
    }

    #[handler(name = "sleepConcurrently")]
    async fn sleep_concurrently(&self, ctx: Context<'_>, durations: Json<Vec<u64>>) -> HandlerResult<()> {
        let mut sleeps: DurableFuturesUnordered<_> = durations.into_inner().iter().map(|d| ctx.sleep(ms(*d))).collect();
        while let Some((_, result)) = sleeps.next().await? {
            result?;
        }
        Ok(())
    }

    #[handler(name = "sleepThenStamp")]
    async fn sleep_then_stamp(&self, ctx: Context<'_>, duration: u64) -> HandlerResult<u64> {
        let start = now(&ctx).await?;
        ctx.sleep(ms(duration)).await?;
        Ok(now(&ctx).await? - start)
    }

    #[handler(name = "countExecutedSideEffects")]
    async fn count_executed_side_effects(&self, ctx: Context<'_>, times: u32) -> HandlerResult<u32> {
        let executed = std::sync::atomic::AtomicU32::new(0);
        for _ in 0..times {
            let count = || async {
                executed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(())
            };
            ctx.run(count).name("count").await?;
        }
        Ok(executed.into_inner())
    }

    /// One durable step, then a sleep: the step's value and effect must survive whatever happens meanwhile.
    #[handler(name = "stepThenSleep")]
    async fn step_then_sleep(&self, ctx: Context<'_>, request: Json<StepRequest>) -> HandlerResult<Json<Value>> {
        let StepRequest { key, ms: duration } = request.into_inner();
        let step = ctx.run(|| async { Ok(tick(&key)) }).name("step").await?;
        let counter = || ctx.object_client::<CounterClient>(key.clone()).add(1);
        counter().call().await?;
        ctx.sleep(ms(duration)).await?;
        let value = counter().call().await?.into_inner();
        Ok(Json(json!({"step": step, "counter": value.new_value})))
    }

    #[handler]
    async fn cancel(&self, ctx: Context<'_>, id: String) -> HandlerResult<()> {
        ctx.invocation_handle(id).cancel();
        Ok(())
    }

    #[handler]
    async fn attach(&self, ctx: Context<'_>, id: String) -> HandlerResult<Json<Value>> {
        Ok(ctx.invocation_handle(id).attach::<Json<Value>>().await?)
    }

    #[handler(name = "random")]
    async fn random_numbers(&self, mut ctx: Context<'_>) -> HandlerResult<Json<Value>> {
        let first = random(&mut ctx);
        let uuid = ctx.rand_uuid().to_string();
        ctx.sleep(ms(1)).await?;
        Ok(Json(json!([first, uuid, random(&mut ctx)])))
    }

    #[handler(name = "resolveSignal")]
    async fn resolve_signal(&self, ctx: Context<'_>, request: Json<SignalRequest>) -> HandlerResult<()> {
        let SignalRequest { id, name, value, .. } = request.into_inner();
        ctx.invocation_handle(id).signal(name).resolve(value);
        Ok(())
    }

    #[handler(name = "rejectSignal")]
    async fn reject_signal(&self, ctx: Context<'_>, request: Json<SignalRequest>) -> HandlerResult<()> {
        let SignalRequest { id, name, reason, .. } = request.into_inner();
        ctx.invocation_handle(id).signal(name).reject(TerminalError::new(reason));
        Ok(())
    }

    #[handler(name = "waitForSignal")]
    async fn wait_for_signal(&self, ctx: Context<'_>, name: String) -> HandlerResult<String> {
        Ok(ctx.signal::<String>(&name).await?)
    }
}

pub struct Private;

#[restate_sdk::service]
impl Private {
    #[handler]
    async fn echo(&self, _ctx: Context<'_>, value: String) -> HandlerResult<String> {
        Ok(value)
    }
}

pub struct Versioned;

#[restate_sdk::object]
impl Versioned {
    #[handler]
    async fn wait(&self, ctx: ObjectContext<'_>) -> HandlerResult<String> {
        let first = ctx.run(|| async { Ok(version()) }).name("version").await?;
        let (id, promise) = ctx.awakeable::<String>();
        ctx.object_client::<AwakeableHolderClient>(ctx.key()).hold(id).send();
        let value = promise.await?;
        Ok(format!("{first} then {} with {value}", version()))
    }
}
