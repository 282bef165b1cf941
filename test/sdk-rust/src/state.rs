//! State and workflows.

use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub old_value: i64,
    pub new_value: i64,
}

pub struct Counter;

#[restate_sdk::object]
impl Counter {
    #[handler]
    async fn add(&self, ctx: ObjectContext<'_>, amount: i64) -> HandlerResult<Json<Change>> {
        let old_value = ctx.get::<i64>("counter").await?.unwrap_or(0);
        let new_value = old_value + amount;
        ctx.set("counter", new_value);
        Ok(Json(Change { old_value, new_value }))
    }

    #[handler(name = "addThenFail")]
    async fn add_then_fail(&self, ctx: ObjectContext<'_>, amount: i64) -> HandlerResult<()> {
        ctx.set("counter", ctx.get::<i64>("counter").await?.unwrap_or(0) + amount);
        Err(TerminalError::new(ctx.key()).into())
    }

    #[handler]
    async fn get(&self, ctx: SharedObjectContext<'_>) -> HandlerResult<i64> {
        Ok(ctx.get::<i64>("counter").await?.unwrap_or(0))
    }

    #[handler]
    async fn reset(&self, ctx: ObjectContext<'_>) -> HandlerResult<()> {
        ctx.clear("counter");
        Ok(())
    }
}

pub struct ListObject;

#[restate_sdk::object]
impl ListObject {
    #[handler]
    async fn append(&self, ctx: ObjectContext<'_>, value: String) -> HandlerResult<()> {
        let mut list = ctx.get::<Json<Vec<String>>>("list").await?.unwrap_or_default().into_inner();
        list.push(value);
        ctx.set("list", Json(list));
        Ok(())
    }

    #[handler]
    async fn get(&self, ctx: ObjectContext<'_>) -> HandlerResult<Json<Vec<String>>> {
        Ok(ctx.get::<Json<Vec<String>>>("list").await?.unwrap_or_default())
    }
}

#[derive(Serialize, Deserialize)]
pub struct Entry {
    key: String,
    value: String,
}

pub struct MapObject;

#[restate_sdk::object]
impl MapObject {
    #[handler]
    async fn set(&self, ctx: ObjectContext<'_>, entry: Json<Entry>) -> HandlerResult<()> {
        let Entry { key, value } = entry.into_inner();
        ctx.set(&key, value);
        Ok(())
    }

    #[handler]
    async fn get(&self, ctx: ObjectContext<'_>, key: String) -> HandlerResult<String> {
        Ok(ctx.get::<String>(&key).await?.unwrap_or_default())
    }

    #[handler]
    async fn keys(&self, ctx: SharedObjectContext<'_>) -> HandlerResult<Json<Vec<String>>> {
        let mut keys = ctx.get_keys().await?;
        keys.sort();
        Ok(Json(keys))
    }

    #[handler(name = "clearAll")]
    async fn remove_all(&self, ctx: ObjectContext<'_>) -> HandlerResult<Json<Vec<Entry>>> {
        let mut keys = ctx.get_keys().await?;
        keys.sort();
        let mut entries = vec![];
        for key in keys {
            let value = ctx.get::<String>(&key).await?.unwrap_or_default();
            entries.push(Entry { key, value });
        }
        ctx.clear_all();
        Ok(Json(entries))
    }

    #[handler(name = "readYourWrites")]
    async fn read_your_writes(&self, ctx: ObjectContext<'_>) -> HandlerResult<Json<Value>> {
        let before = ctx.get::<String>("old").await?;
        ctx.set("fresh", "new".to_string());
        ctx.clear("old");
        let middle = [ctx.get::<String>("fresh").await?, ctx.get("old").await?, ctx.get("never").await?];
        ctx.clear_all();
        let fresh = ctx.get::<String>("fresh").await?;
        let keys = ctx.get_keys().await?;
        Ok(Json(json!({"before": before, "middle": middle, "after": [fresh, keys]})))
    }
}

pub struct BlockAndWait;

#[restate_sdk::workflow]
impl BlockAndWait {
    #[handler]
    async fn run(&self, ctx: WorkflowContext<'_>, input: String) -> HandlerResult<String> {
        ctx.set("my-state", input);
        let output = ctx.promise::<String>("durable-promise").await?;
        match ctx.peek_promise::<String>("durable-promise").await? {
            Some(_) => Ok(output),
            None => Err(TerminalError::new("the promise should be completed").into()),
        }
    }

    #[handler]
    async fn unblock(&self, ctx: SharedWorkflowContext<'_>, output: String) -> HandlerResult<()> {
        ctx.resolve_promise("durable-promise", output);
        Ok(())
    }

    #[handler]
    async fn refuse(&self, ctx: SharedWorkflowContext<'_>, reason: String) -> HandlerResult<()> {
        ctx.reject_promise("durable-promise", TerminalError::new(reason));
        Ok(())
    }

    #[handler]
    async fn peek(&self, ctx: SharedWorkflowContext<'_>) -> HandlerResult<String> {
        Ok(ctx.peek_promise::<String>("durable-promise").await?.unwrap_or_default())
    }

    #[handler(name = "getState")]
    async fn get_state(&self, ctx: SharedWorkflowContext<'_>) -> HandlerResult<Json<Option<String>>> {
        Ok(Json(ctx.get::<String>("my-state").await?))
    }
}
