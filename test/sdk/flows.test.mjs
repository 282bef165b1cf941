// The main job on official TypeScript SDK services: every kind of service, and everything that must survive a SIGKILL of the server.
import { test, before, after, describe } from "node:test";
import assert from "node:assert/strict";
import { Endpoint, Server, eventually, restate, sleep } from "./harness.mjs";

const runs = new Map(); // how often a side effect's closure ran, by name
const count = (name) => runs.set(name, (runs.get(name) ?? 0) + 1);

const greeter = restate.service({
  name: "Greeter",
  handlers: {
    greet: async (ctx, name) => `Hello ${name}!`,
    fail: async (ctx, message) => {
      throw new restate.TerminalError(message, { errorCode: 418 });
    },
    flaky: async (ctx, { name, failures }) => {
      count(name);
      if (runs.get(name) <= failures) throw new Error(`failure ${runs.get(name)}`);
      return runs.get(name);
    },
    step: async (ctx, { name, ms }) => {
      const value = await ctx.run("side effect", () => {
        count(name);
        return Math.random();
      });
      await ctx.sleep(ms);
      return value;
    },
    chain: async (ctx, { key, times }) => {
      let last = 0;
      for (let i = 0; i < times; i++) last = await ctx.objectClient(counter, key).add(1);
      ctx.objectSendClient(counter, key).add(100);
      return last;
    },
    wait: async (ctx, key) => {
      const { id, promise } = ctx.awakeable();
      ctx.objectSendClient(counter, key).remember(id);
      return promise;
    },
    idempotent: async (ctx, { key, ik }) =>
      ctx.genericCall({
        service: "Counter",
        method: "add",
        key,
        parameter: 1,
        idempotencyKey: ik,
        inputSerde: restate.serde.json,
        outputSerde: restate.serde.json,
      }),
    headers: async (ctx) => Object.fromEntries(ctx.request().headers),
  },
});

const counter = restate.object({
  name: "Counter",
  handlers: {
    add: async (ctx, amount) => {
      const value = ((await ctx.get("value")) ?? 0) + amount;
      ctx.set("value", value);
      return value;
    },
    slowAdd: async (ctx, { amount, ms }) => {
      const value = ((await ctx.get("value")) ?? 0) + amount;
      await ctx.sleep(ms);
      ctx.set("value", value);
      return value;
    },
    get: restate.handlers.object.shared(async (ctx) => (await ctx.get("value")) ?? 0),
    remember: async (ctx, text) => ctx.set("text", text),
    recall: restate.handlers.object.shared(async (ctx) => (await ctx.get("text")) ?? null),
    append: async (ctx, text) => ctx.set("list", [...((await ctx.get("list")) ?? []), text]),
    list: restate.handlers.object.shared(async (ctx) => (await ctx.get("list")) ?? []),
    keys: restate.handlers.object.shared(async (ctx) => ctx.stateKeys()),
    clear: async (ctx) => ctx.clearAll(),
    big: async (ctx, size) => ctx.set("big", "x".repeat(size)),
    bigLength: restate.handlers.object.shared(async (ctx) => (await ctx.get("big"))?.length ?? 0),
  },
});

const flow = restate.workflow({
  name: "Flow",
  handlers: {
    run: async (ctx, input) => {
      ctx.set("state", "waiting");
      const released = await ctx.promise("release");
      await ctx.sleep(50);
      ctx.set("state", "done");
      return { input, released };
    },
    release: async (ctx, value) => ctx.promise("release").resolve(value),
    state: restate.handlers.workflow.shared(async (ctx) => (await ctx.get("state")) ?? null),
  },
});

describe("flows of official SDK services", () => {
  let server, endpoint;
  before(async () => {
    endpoint = await Endpoint.start(greeter, counter, flow);
    server = await Server.start({
      env: {
        RESTATE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL: "20ms",
        RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "300ms",
      },
    });
    await server.register(endpoint);
  });
  after(async () => {
    await server?.dispose();
    await endpoint?.kill();
  });

  test("a service answers", async () => {
    assert.equal(await server.call("/Greeter/greet", "Ada"), "Hello Ada!");
  });

  test("a terminal error reaches the client with its code", async () => {
    const r = await server.request("/Greeter/fail", { body: "teapot" });
    assert.equal(r.status, 418);
    assert.deepEqual(r.body, { code: 418, message: "teapot", source: "invocation" });
  });

  test("an attempt that fails is retried until it succeeds", async () => {
    assert.equal(await server.call("/Greeter/flaky", { name: "flaky-1", failures: 3 }), 4);
  });

  test("object calls to one key run one at a time and in order", async () => {
    const results = await Promise.all(
      Array.from({ length: 20 }, () => server.call("/Counter/parallel/slowAdd", { amount: 1, ms: 1 })),
    );
    assert.deepEqual(results.sort((a, b) => a - b), Array.from({ length: 20 }, (_, i) => i + 1));
  });

  test("sends are executed once, in order, after a delay if asked", async () => {
    for (const text of ["a", "b", "c"]) await server.send("/Counter/order/append", text);
    await server.send("/Counter/order/append", "late", { delay: "300ms" });
    await eventually(async () => (await server.call("/Counter/order/list")).length >= 3);
    assert.deepEqual(await server.call("/Counter/order/list"), ["a", "b", "c"]);
    await eventually(async () => (await server.call("/Counter/order/list")).length === 4);
  });

  test("calls between services: a chain, and a send after it", async () => {
    assert.equal(await server.call("/Greeter/chain", { key: "chained", times: 5 }), 5);
    await eventually(async () => (await server.call("/Counter/chained/get")) === 105);
  });

  test("state: keys, clear, large values", async () => {
    await server.call("/Counter/state/add", 1);
    await server.call("/Counter/state/remember", "x");
    assert.deepEqual((await server.call("/Counter/state/keys")).sort(), ["text", "value"]);
    await server.call("/Counter/state/clear");
    assert.deepEqual(await server.call("/Counter/state/keys"), []);
    await server.call("/Counter/state/big", 3_000_000);
    assert.equal(await server.call("/Counter/state/bigLength"), 3_000_000);
  });

  test("an idempotency key executes once, and later calls get the stored answer", async () => {
    const headers = { "idempotency-key": "ik-1" };
    const first = await server.request("/Counter/idempotent/add", { body: 7, headers });
    const second = await server.request("/Counter/idempotent/add", { body: 9, headers });
    assert.deepEqual([first.body, second.body], [7, 7]);
    assert.equal(first.id, second.id);
    assert.ok(second.headers.get("idempotency-expires"));
    assert.equal(await server.call("/Counter/idempotent/get"), 7);
    const calls = await Promise.all([1, 2, 3].map(() => server.call("/Greeter/idempotent", { key: "ik", ik: "k" })));
    assert.deepEqual(calls, [1, 1, 1]);
  });

  test("awakeable: resolved and rejected from outside", async () => {
    for (const [verb, body] of [
      ["resolve", "yes"],
      ["reject", "no"],
    ]) {
      const key = `awakeable-${verb}`;
      const { invocationId } = await server.send("/Greeter/wait", key);
      const id = await eventually(() => server.call(`/Counter/${key}/recall`));
      const r = await server.request(`/restate/awakeables/${id}/${verb}`, { body });
      assert.equal(r.status, 202);
      const result = await server.get(`/restate/invocation/${invocationId}/attach`);
      if (verb === "resolve") assert.equal(result.body, "yes");
      else assert.equal(result.status, 500);
    }
  });

  test("workflow: runs once, promises, shared handlers, attach and output", async () => {
    const first = await server.send("/Flow/w1/run", "in");
    assert.equal(first.status, "Accepted");
    assert.equal((await server.send("/Flow/w1/run", "again")).status, "PreviouslyAccepted");
    assert.equal((await server.request("/Flow/w1/run", { body: "again" })).status, 409);
    await eventually(async () => (await server.call("/Flow/w1/state")) === "waiting");
    assert.equal((await server.get("/restate/workflow/Flow/w1/output")).status, 470);
    await server.call("/Flow/w1/release", "go");
    assert.equal((await server.request("/Flow/w1/release", { body: "twice" })).status, 409);
    assert.deepEqual((await server.get("/restate/workflow/Flow/w1/attach")).body, { input: "in", released: "go" });
    assert.deepEqual((await server.get("/restate/workflow/Flow/w1/output")).body, { input: "in", released: "go" });
    assert.equal(await server.call("/Flow/w1/state"), "done");
  });

  test("cancel reaches a sleeping handler; kill ends it at once; the object is free afterwards", async () => {
    for (const operation of ["cancel", "kill"]) {
      const path = `/Counter/${operation}/slowAdd`;
      const { invocationId } = await server.send(path, { amount: 1, ms: 60_000 });
      await eventually(async () => (await server.operate(operation, invocationId)).status < 300);
      const r = await server.get(`/restate/invocation/${invocationId}/attach`);
      assert.equal(r.status, 409);
      assert.equal(r.body.message, operation === "kill" ? "killed" : "Cancelled");
      assert.equal(await server.call(`/Counter/${operation}/add`, 1), 1);
    }
    assert.equal((await server.operate("cancel", "inv_1gUqbbJvKD0166GWwoTHJwuqxqEiYmWmOp")).status, 404);
  });

  test("headers of the request reach the handler", async () => {
    const seen = await server.call("/Greeter/headers", undefined, { headers: { "x-custom": "One" } });
    assert.equal(seen["x-custom"], "One");
    assert.equal(seen["x-restate-ingress-path"], "/Greeter/headers");
  });

  test("SIGKILL in the middle: sleeps, side effects, delayed sends, locks and inboxes survive, nothing runs twice", async () => {
    const step = await server.send("/Greeter/step", { name: "survivor", ms: 1500 });
    const flowing = await server.send("/Flow/crash/run", 1);
    const holder = await server.send("/Counter/crash/slowAdd", { amount: 1, ms: 1200 });
    const waiting = await server.send("/Counter/crash/add", 10);
    await server.send("/Counter/crash-delayed/add", 5, { delay: "1s" });
    const { invocationId: awaiting } = await server.send("/Greeter/wait", "crash-awakeable");
    const awakeable = await eventually(() => server.call("/Counter/crash-awakeable/recall"));
    await eventually(() => runs.get("survivor") === 1);
    await server.restart();
    assert.equal((await server.request(`/restate/awakeables/${awakeable}/resolve`, { body: "after" })).status, 202);
    await server.call("/Flow/crash/release", "go");
    await server.restart();
    const attach = async (id) => (await server.get(`/restate/invocation/${id}/attach`)).body;
    assert.equal(await attach(awaiting), "after");
    assert.deepEqual(await attach(flowing.invocationId), { input: 1, released: "go" });
    assert.equal(await attach(holder.invocationId), 1);
    assert.equal(await attach(waiting.invocationId), 11);
    assert.equal(typeof (await attach(step.invocationId)), "number");
    assert.equal(runs.get("survivor"), 1);
    await eventually(async () => (await server.call("/Counter/crash-delayed/get")) === 5);
  });

  test("the endpoint dies during a call and comes back: the call completes", async () => {
    const pending = server.call("/Greeter/step", { name: "endpoint", ms: 700 });
    await eventually(() => runs.get("endpoint") === 1);
    await endpoint.kill();
    await sleep(300);
    await endpoint.open();
    assert.equal(typeof (await pending), "number");
    assert.equal(runs.get("endpoint"), 1);
  });

  test("acknowledged adds survive repeated SIGKILLs exactly once", async () => {
    let acknowledged = 0;
    let stop = false;
    const clients = Array.from({ length: 8 }, async (_, client) => {
      for (let i = 0; !stop; i++) {
        const headers = { "idempotency-key": `c${client}-${i}` };
        for (;;) {
          try {
            const r = await server.request("/Counter/torture/add", { body: 1, headers, timeoutMs: 5000 });
            if (r.status === 200) break;
          } catch {
            await sleep(20); // the server is down: same key again
          }
        }
        acknowledged++;
      }
    });
    for (let round = 0; round < 4; round++) {
      await sleep(400);
      await server.restart();
    }
    await sleep(300);
    stop = true;
    await Promise.all(clients);
    assert.equal(await server.call("/Counter/torture/get"), acknowledged);
    assert.ok(acknowledged > 50, `only ${acknowledged} adds`);
  });

  test("SIGTERM lets a running call finish and exits clean", async () => {
    const pending = server.request("/Greeter/step", { body: { name: "graceful", ms: 500 } });
    await eventually(() => runs.get("graceful") === 1);
    const how = await server.stop();
    assert.equal((await pending).status, 200);
    assert.deepEqual(how, { code: 0, signal: null });
    await server.launch();
    assert.equal(await server.call("/Counter/parallel/get"), 20);
  });
});
