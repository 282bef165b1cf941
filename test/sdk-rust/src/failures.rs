//! Everything that fails. Terminal errors of this SDK have no metadata.

use crate::state::CounterClient;
use crate::{ms, seen, tick};
use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

#[derive(Serialize, Deserialize)]
pub struct Failure {
    message: String,
}

pub struct Failing;

fn failed<T>(attempt: u32) -> HandlerResult<T> {
    Err(format!("failed at attempt {attempt}").into())
}

#[restate_sdk::object]
impl Failing {
    #[handler(name = "terminallyFailingCall")]
    async fn terminally_failing_call(&self, _ctx: ObjectContext<'_>, failure: Json<Failure>) -> HandlerResult<()> {
        Err(TerminalError::new(failure.into_inner().message).into())
    }

    #[handler(name = "callTerminallyFailingCall")]
    async fn call_terminally_failing_call(&self, mut ctx: ObjectContext<'_>, failure: Json<Failure>) -> HandlerResult<()> {
        let key = ctx.rand_uuid().to_string();
        Ok(ctx.object_client::<FailingClient>(key).terminally_failing_call(failure).call().await?)
    }

    #[handler(name = "failingCallWithEventualSuccess")]
    async fn eventual_success(&self, ctx: ObjectContext<'_>) -> HandlerResult<u32> {
        let attempt = tick(&format!("eventual-{}", ctx.key()));
        if attempt < 4 {
            return failed(attempt);
        }
        Ok(attempt)
    }

    #[handler(name = "terminallyFailingOnce")]
    async fn terminally_failing_once(&self, ctx: ObjectContext<'_>) -> HandlerResult<u32> {
        match tick(&format!("once-{}", ctx.key())) {
            1 => Err(TerminalError::new("once").into()),
            attempt => Ok(attempt),
        }
    }

    /// A durable step, then failures until TestUtil/tick has opened the way in this process.
    #[handler(name = "stepThenFail")]
    async fn step_then_fail(&self, ctx: ObjectContext<'_>) -> HandlerResult<Json<Value>> {
        let key = ctx.key().to_string();
        let step = ctx.run(|| async { Ok(tick(&format!("step-{key}"))) }).name("step").await?;
        tick(&format!("fail-{key}"));
        if seen(&format!("open-{key}")) == 0 {
            return Err("not open yet".into());
        }
        Ok(Json(json!({"step": step})))
    }

    #[handler(name = "terminallyFailingSideEffect")]
    async fn terminally_failing_side_effect(&self, ctx: ObjectContext<'_>, failure: Json<Failure>) -> HandlerResult<()> {
        let Failure { message } = failure.into_inner();
        Ok(ctx.run(|| async { Err::<(), HandlerError>(TerminalError::new(message).into()) }).name("fails").await?)
    }

    #[handler(name = "sideEffectSucceedsAfterGivenAttempts")]
    async fn run_succeeds_at(&self, ctx: ObjectContext<'_>, minimum: u32) -> HandlerResult<u32> {
        let key = format!("run-{}", ctx.key());
        let flaky = || async {
            let attempt = tick(&key);
            if attempt < minimum {
                return failed(attempt);
            }
            Ok(attempt)
        };
        Ok(ctx.run(flaky).retry_policy(RunRetryPolicy::new().initial_delay(ms(10))).await?)
    }

    #[handler(name = "sideEffectFailsAfterGivenAttempts")]
    async fn run_fails_after(&self, ctx: ObjectContext<'_>, maximum: u32) -> HandlerResult<u32> {
        let key = format!("run-{}", ctx.key());
        let policy = RunRetryPolicy::new().initial_delay(ms(10)).max_attempts(maximum);
        match ctx.run(|| async { failed::<u32>(tick(&key)) }).retry_policy(policy).await {
            Ok(_) => Ok(0),
            Err(_) => Ok(seen(&key)),
        }
    }
}

/// Takes another path in every attempt; a mismatch is final.
pub struct NonDeterministic;

fn is_odd(ctx: &ObjectContext<'_>) -> bool {
    tick(&format!("nd-{}", ctx.key())) % 2 == 1
}

/// The sleep makes the attempt end, so what follows is reached only by a replay.
async fn suspend_then_increment(ctx: &ObjectContext<'_>) -> HandlerResult<()> {
    ctx.sleep(ms(100)).await?;
    ctx.object_client::<CounterClient>(ctx.key()).add(1).send();
    Ok(())
}

#[restate_sdk::object(
    inactivity_timeout = "0s",
    invocation_retry_policy(max_attempts = 1, on_max_attempts = "kill")
)]
impl NonDeterministic {
    #[handler(name = "eitherSleepOrCall")]
    async fn sleep_or_call(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        if is_odd(&ctx) {
            ctx.sleep(ms(100)).await?;
        } else {
            ctx.object_client::<CounterClient>("abc").get().call().await?;
        }
        suspend_then_increment(&ctx).await
    }

    #[handler(name = "callDifferentMethod")]
    async fn call_different(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        if is_odd(&ctx) {
            ctx.object_client::<CounterClient>("abc").get().call().await?;
        } else {
            ctx.object_client::<CounterClient>("abc").reset().call().await?;
        }
        suspend_then_increment(&ctx).await
    }

    #[handler(name = "backgroundInvokeWithDifferentTargets")]
    async fn send_different(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        if is_odd(&ctx) {
            ctx.object_client::<CounterClient>("abc").get().send();
        } else {
            ctx.object_client::<CounterClient>("abc").reset().send();
        }
        suspend_then_increment(&ctx).await
    }

    #[handler(name = "setDifferentKey")]
    async fn set_different(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        ctx.set(if is_odd(&ctx) { "a" } else { "b" }, "my-state".to_string());
        suspend_then_increment(&ctx).await
    }
}
