//! Awakeables, cancel and kill.

use crate::state::CounterClient;
use crate::{ms, DAY};
use restate_sdk::prelude::*;

pub struct AwakeableHolder;

#[restate_sdk::object]
impl AwakeableHolder {
    #[handler]
    async fn hold(&self, ctx: ObjectContext<'_>, id: String) -> HandlerResult<()> {
        ctx.set("id", id);
        Ok(())
    }

    #[handler]
    async fn id(&self, ctx: SharedObjectContext<'_>) -> HandlerResult<Json<Option<String>>> {
        Ok(Json(ctx.get::<String>("id").await?))
    }

    #[handler]
    async fn unlock(&self, ctx: ObjectContext<'_>, payload: String) -> HandlerResult<()> {
        let id = ctx.get::<String>("id").await?.ok_or_else(|| TerminalError::new("no awakeable is registered"))?;
        ctx.resolve_awakeable(&id, payload);
        ctx.clear("id");
        Ok(())
    }

    #[handler]
    async fn refuse(&self, ctx: ObjectContext<'_>, reason: String) -> HandlerResult<()> {
        let id = ctx.get::<String>("id").await?.unwrap_or_default();
        ctx.reject_awakeable(&id, TerminalError::new(reason));
        Ok(())
    }
}

pub struct CancelTestBlocking;

#[restate_sdk::object]
impl CancelTestBlocking {
    #[handler]
    async fn block(&self, ctx: ObjectContext<'_>, operation: String) -> HandlerResult<()> {
        let (id, promise) = ctx.awakeable::<String>();
        ctx.object_client::<AwakeableHolderClient>(ctx.key()).hold(id).call().await?;
        promise.await?;
        match operation.as_str() {
            "CALL" => ctx.object_client::<CancelTestBlockingClient>(ctx.key()).block(operation).call().await?,
            "SLEEP" => ctx.sleep(DAY).await?,
            _ => drop(ctx.awakeable::<String>().1.await?),
        }
        Ok(())
    }

    #[handler(name = "isUnlocked")]
    async fn is_unlocked(&self, _ctx: ObjectContext<'_>) -> HandlerResult<()> {
        Ok(())
    }
}

pub struct CancelTestRunner;

#[restate_sdk::object]
impl CancelTestRunner {
    #[handler(name = "startTest")]
    async fn start_test(&self, ctx: ObjectContext<'_>, operation: String) -> HandlerResult<()> {
        match ctx.object_client::<CancelTestBlockingClient>(ctx.key()).block(operation).call().await {
            Err(error) if error.code() == 409 => ctx.set("state", true),
            other => other?,
        }
        Ok(())
    }

    #[handler(name = "verifyTest")]
    async fn verify_test(&self, ctx: ObjectContext<'_>) -> HandlerResult<bool> {
        Ok(ctx.get::<bool>("state").await?.unwrap_or(false))
    }
}

pub struct Cleaner;

#[restate_sdk::service]
impl Cleaner {
    #[handler]
    async fn work(&self, ctx: Context<'_>, key: String) -> HandlerResult<String> {
        match ctx.sleep(DAY).await {
            Ok(()) => Ok("not cancelled".to_string()),
            Err(error) => {
                ctx.sleep(ms(50)).await?;
                let before = ctx.object_client::<CounterClient>(key).add(1).call().await?.into_inner();
                Ok(format!("caught {} after {}", error.code(), before.old_value))
            }
        }
    }
}

pub struct KillTestRunner;

#[restate_sdk::object]
impl KillTestRunner {
    #[handler(name = "startCallTree")]
    async fn start_call_tree(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        Ok(ctx.object_client::<KillTestSingletonClient>(ctx.key()).recursive_call().call().await?)
    }
}

pub struct KillTestSingleton;

#[restate_sdk::object]
impl KillTestSingleton {
    #[handler(name = "recursiveCall")]
    async fn recursive_call(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        let (id, promise) = ctx.awakeable::<String>();
        ctx.object_client::<AwakeableHolderClient>(ctx.key()).hold(id).send();
        promise.await?;
        Ok(ctx.object_client::<KillTestSingletonClient>(ctx.key()).recursive_call().call().await?)
    }

    #[handler(name = "isUnlocked")]
    async fn is_unlocked(&self, _ctx: ObjectContext<'_>) -> HandlerResult<()> {
        Ok(())
    }
}
