// Operator actions (spec/invocation-lifecycle.md §8): cancel, kill, purge, purge-journal, pause, resume, restart as new, on invocations
// of every status. Includes PauseResumeTest, PauseResumeChangingDeploymentTest and RestartAsNewInvocationTest of §15.2.
import { describe } from "node:test";
import { Endpoint, assert, attach, check, eventually, journal, official, output, paused, phase, restate, row, sleep, unique, world } from "./world.mjs";
import { gate, sdkServices, seen, tick } from "./services.mjs";

const { TerminalError, handlers } = restate;
const unknownId = "inv_1gUqbbJvKD0166GWwoTHJwuqxqEiYmWmOp";
const operations = ["cancel", "kill", "purge", "purge-journal", "pause", "resume", "restart-as-new"];

// One service that can be brought into any status, and an object whose handler does the same under its lock.
const behaviors = {
  // Blocks in a durable wait: suspended once the server asks it to.
  wait: async (ctx, name) => ctx.signal(name ?? "go"),
  // Waits until the test opens the gate: running.
  hold: async (ctx, name) => {
    tick(`hold-${name}`);
    await gate(name).promise;
    return "held";
  },
  // Fails until the test opens the gate, after a first durable step: backing off, or paused.
  fail: async (ctx, name) => {
    const step = await ctx.run("step", () => tick(`step-${name}`));
    tick(`fail-${name}`);
    if (!gate(name).open) throw new Error("still closed");
    return `passed after step ${step}`;
  },
  failUnpinned: async (ctx, name) => {
    tick(`fail-${name}`);
    if (!gate(name).open) throw new Error("still closed");
    return "passed";
  },
  slowStep: async (ctx, name) => {
    const value = await ctx.run("slow", async () => {
      tick(`slow-${name}`);
      await gate(name).promise;
      return "stepped";
    });
    return `${value} ${await ctx.run("after", () => tick(`after-${name}`))}`;
  },
};
const randomOf = new Map(); // what the first attempt of `steps` drew, by key
const service = restate.service({ name: "Ops", handlers: { ...behaviors, plain: async (ctx, value) => value } });
const slowRetry = restate.service({
  name: "OpsSlowRetry",
  handlers: { fail: behaviors.fail },
  options: { retryPolicy: { initialInterval: 10_000, maxInterval: 10_000 } },
});
const object = restate.object({
  name: "OpsObject",
  handlers: {
    ...behaviors,
    free: async () => true,
    id: handlers.object.shared(async (ctx) => (await ctx.get("id")) ?? null),
    steps: async (ctx, input) => {
      ctx.set("n", ((await ctx.get("n")) ?? 0) + 1);
      const random = ctx.rand.random();
      if (!randomOf.has(ctx.key)) randomOf.set(ctx.key, random);
      const step = await ctx.run("step", () => tick(`step-${ctx.key}`));
      ctx.objectSendClient({ name: "Counter" }, ctx.key).add(1);
      if (tick(`steps-${ctx.key}`) === 1) throw new TerminalError("first time");
      return { input, step, random, n: await ctx.get("n") };
    },
    n: handlers.object.shared(async (ctx) => (await ctx.get("n")) ?? 0),
  },
});
const open = (name) => {
  gate(name).open = true;
  gate(name).resolve();
};

// Brings an invocation into a status. Returns its id and how to let it finish.
async function make(w, status) {
  const name = unique(status);
  const send = (handler) => w.server.send(`/Ops/${handler}`, name);
  switch (status) {
    case "scheduled":
      return { name, id: (await w.server.send("/Ops/plain", name, { delay: "1h" })).invocationId };
    case "inboxed": {
      const holder = await w.server.send(`/OpsObject/${name}/hold`, name);
      await eventually(() => seen(`hold-${name}`));
      return { name, id: (await w.server.send(`/OpsObject/${name}/free`)).invocationId, holder: holder.invocationId };
    }
    case "running": {
      const { invocationId: id } = await send("hold");
      await eventually(() => seen(`hold-${name}`));
      return { name, id };
    }
    case "suspended": {
      const { invocationId: id } = await send("wait");
      await sleep(400); // inactivity timeout 200 ms
      return { name, id };
    }
    case "backing-off": {
      const { invocationId: id } = await send("fail");
      await eventually(() => seen(`fail-${name}`) >= 2);
      return { name, id };
    }
    case "paused": {
      const { invocationId: id } = await send("fail");
      await eventually(() => seen(`fail-${name}`) >= 1);
      assert.ok([200, 202].includes((await w.server.operate("pause", id)).status));
      await paused(w.server, id);
      return { name, id };
    }
    case "completed": {
      const r = await w.server.request("/Ops/plain", { body: name });
      return { name, id: r.id };
    }
  }
}

describe("operations on every status", { concurrency: 4 }, () => {
  const w = world({
    services: [...sdkServices, service, slowRetry, object],
    env: { RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "200ms", RESTATE_DEFAULT_RETRY_POLICY__MAX_ATTEMPTS: "unlimited" },
  });

  // Expected status codes of one operation on each status; [code, expected phase afterwards].
  const table = {
    cancel: { scheduled: 200, inboxed: 200, running: 202, suspended: 202, "backing-off": 202, paused: 202, completed: 409 },
    kill: { scheduled: 200, inboxed: 200, running: 200, suspended: 200, "backing-off": 200, paused: 200, completed: 409 },
    purge: { scheduled: 409, inboxed: 409, running: 409, suspended: 409, "backing-off": 409, paused: 409, completed: 200 },
    "purge-journal": { scheduled: 409, inboxed: 409, running: 409, suspended: 409, "backing-off": 409, paused: 409, completed: 200 },
    pause: { scheduled: 409, inboxed: 409, running: 202, suspended: 200, "backing-off": 202, paused: 200, completed: 409 },
    resume: { scheduled: 425, inboxed: 425, running: 200, suspended: 200, "backing-off": 200, paused: 200, completed: 409 },
    "restart-as-new": { scheduled: 425, inboxed: 425, running: 409, suspended: 409, "backing-off": 409, paused: 409, completed: 200 },
  };
  for (const operation of operations)
    check(`Operations.${operation} on every status`, async () => {
      for (const [status, expected] of Object.entries(table[operation])) {
        const { id, name } = await make(w, status);
        const r = await w.server.operate(operation, id);
        assert.equal(r.status, expected, `${operation} of ${status}: ${r.status} ${JSON.stringify(r.body)}`);
        if (r.status >= 400) {
          assert.equal(r.body.restate_code ?? null, null);
          assert.match(r.body.message, new RegExp(id));
        }
        open(name);
      }
      const r = await w.server.operate(operation, unknownId);
      assert.equal(r.status, 404);
      assert.deepEqual(r.body, { message: `The requested invocation '${unknownId}' does not exist`, restate_code: null });
      assert.equal((await w.server.operate(operation, "inv_nonsense")).status, 400);
    });

  check("Operations.DELETE with a mode is accepted for unknown invocations", async () => {
    for (const mode of ["cancel", "kill", "purge"])
      assert.equal((await w.server.adminRequest(`/invocations/${unknownId}?mode=${mode}`, { method: "DELETE" })).status, 202);
    const { id } = await make(w, "suspended");
    assert.equal((await w.server.adminRequest(`/invocations/${id}?mode=kill`, { method: "DELETE" })).status, 202);
    assert.equal((await attach(w.server, id)).body.message, "killed");
  });

  for (const [operation, message] of [
    ["cancel", "canceled"],
    ["kill", "killed"],
  ]) {
    check(`${operation}: before its start it ends without a record, and its key runs anew`, async () => {
      const key = unique();
      await w.server.send(`/OpsObject/${key}/hold`, key);
      await eventually(() => seen(`hold-${key}`));
      const headers = { "idempotency-key": unique("ik") };
      const waiting = w.server.request(`/OpsObject/${key}/free`, { headers });
      const { invocationId: id } = await eventually(async () => {
        const r = await w.server.send(`/OpsObject/${key}/free`, undefined, { headers });
        return r.status === "PreviouslyAccepted" ? r : null;
      });
      assert.equal((await w.server.operate(operation, id)).status, 200);
      const r = await waiting;
      assert.deepEqual([r.status, r.body.message], [409, message]);
      assert.equal((await attach(w.server, id)).status, 404);
      assert.equal((await w.server.send(`/OpsObject/${key}/free`, undefined, { headers })).status, "Accepted");
      open(key);
      assert.equal((await attach(w.server, id)).body, true);
    });
    check(`${operation}: others in the inbox keep their order`, async () => {
      const key = unique();
      const holder = await w.server.send(`/OpsObject/${key}/hold`, key);
      await eventually(() => seen(`hold-${key}`));
      const list = [];
      for (let i = 0; i < 4; i++) list.push(await w.server.send(`/ListObject/${key}/append`, i));
      assert.equal((await w.server.operate(operation, holder.invocationId)).status < 300, true);
      open(key);
      await eventually(async () => (await w.server.call(`/ListObject/${key}/get`)).length === 4);
    });
    check(`${operation}: a delayed call that was ${message} never runs`, async () => {
      const key = unique();
      const { invocationId: id } = await w.server.send(`/Counter/${key}/add`, 1, { delay: "400ms" });
      assert.equal((await w.server.operate(operation, id)).status, 200);
      await sleep(600);
      assert.equal(await w.server.call(`/Counter/${key}/get`), 0);
      assert.equal(await phase(w.server, id), "free");
    });
  }

  check("cancel: propagates to awaited calls only", async () => {
    const key = unique("family");
    const { invocationId } = await w.server.send("/Family/parent", key);
    const ids = await Promise.all(["sent", "called"].map((kind) => eventually(() => w.server.call(`/FamilyChild/${key}-${kind}/id`))));
    assert.equal((await w.server.operate("cancel", invocationId)).status, 202);
    const parent = await attach(w.server, invocationId);
    assert.deepEqual([parent.status, parent.body.message], [409, "Cancelled"]);
    const called = await attach(w.server, ids[1]);
    assert.deepEqual([called.status, called.body.message], [409, "Cancelled"]);
    assert.equal(await phase(w.server, ids[0]), "in flight");
    const types = await journal(w.server, invocationId);
    if (types) assert.ok(types.includes("Command: SendSignal") && types.at(-1) === "Command: Output", types.join());
    await w.server.operate("kill", ids[0]);
  });

  check("kill: propagates to calls and sends, and frees their objects", async () => {
    const key = unique("family");
    const { invocationId } = await w.server.send("/Family/parent", key);
    const ids = await Promise.all(["sent", "called"].map((kind) => eventually(() => w.server.call(`/FamilyChild/${key}-${kind}/id`))));
    assert.equal((await w.server.operate("kill", invocationId)).status, 200);
    for (const id of [invocationId, ...ids]) {
      const r = await attach(w.server, id);
      assert.deepEqual([r.status, r.body.message], [409, "killed"]);
    }
    for (const kind of ["sent", "called"]) assert.equal(await w.server.call(`/FamilyChild/${key}-${kind}/isUnlocked`), true);
  });

  check("purge: the result is gone, the state of an object stays", async () => {
    const key = unique();
    const r = await w.server.request(`/Counter/${key}/add`, { body: 1 });
    assert.equal((await output(w.server, r.id)).status, 200);
    assert.equal((await w.server.operate("purge", r.id)).status, 200);
    assert.deepEqual((await output(w.server, r.id)).body, { code: 404, message: "invocation not found", source: "ingress" });
    assert.deepEqual((await attach(w.server, r.id)).body, { code: 404, message: "not found", source: "invocation" });
    assert.equal((await w.server.operate("purge", r.id)).status, 404);
    assert.equal(await w.server.call(`/Counter/${key}/get`), 1);
  });

  check("purge: of a workflow deletes its state and promises; it may run again", async () => {
    const path = `/BlockAndWait/${unique("wf")}`;
    const { invocationId } = await w.server.send(`${path}/run`, "in");
    await eventually(async () => (await w.server.call(`${path}/getState`)) === "in");
    const shared = await w.server.request(`${path}/unblock`, { body: "out" });
    assert.equal((await attach(w.server, invocationId)).body, "out");
    assert.equal((await w.server.operate("purge", invocationId)).status, 200);
    assert.equal(await w.server.call(`${path}/getState`), null);
    assert.equal(await w.server.call(`${path}/peek`), null);
    assert.equal((await output(w.server, shared.id)).status, 200, "records of shared handlers stay");
    const again = await w.server.send(`${path}/run`, "again");
    assert.deepEqual(again, { invocationId, status: "Accepted" });
    await w.server.call(`${path}/unblock`, "other");
    assert.equal((await attach(w.server, invocationId)).body, "other");
  });

  check("purge-journal: the result stays, the journal is gone", async () => {
    const r = await w.server.request("/Ops/plain", { body: "value" });
    assert.equal((await w.server.operate("purge-journal", r.id)).status, 200);
    assert.equal((await w.server.operate("purge-journal", r.id)).status, 200);
    assert.equal((await output(w.server, r.id)).body, "value");
    const restarted = await w.server.operate("restart-as-new", r.id);
    assert.equal(restarted.status, 410);
    assert.match(restarted.body.message, /the input is not available/);
    const types = await journal(w.server, r.id);
    if (types) assert.deepEqual(types, []);
  });

  // ---- pause and resume ----

  check("PauseResumeTest.pauseAndResumeInvocation", async () => {
    const { name, id } = await make(w, "backing-off");
    assert.equal((await w.server.operate("pause", id)).status, 202);
    await paused(w.server, id);
    const attempts = seen(`fail-${name}`);
    await sleep(300);
    assert.equal(seen(`fail-${name}`), attempts, "a paused invocation must not be retried");
    open(name);
    assert.equal((await w.server.operate("resume", id)).status, 200);
    assert.equal((await attach(w.server, id)).body, "passed after step 1");
    assert.equal(seen(`step-${name}`), 1);
  });

  check("pause: a running handler ends its step first", async () => {
    const name = unique("slow");
    const { invocationId: id } = await w.server.send("/Ops/slowStep", name);
    await eventually(() => seen(`slow-${name}`));
    assert.equal((await w.server.operate("pause", id)).status, 202);
    open(name);
    await paused(w.server, id);
    await sleep(200);
    assert.equal(seen(`after-${name}`), 0);
    assert.equal((await w.server.operate("resume", id)).status, 200);
    assert.equal((await attach(w.server, id)).body, "stepped 1");
    assert.equal(seen(`slow-${name}`), 1);
  });

  check("pause: keeps the object locked; signals wait; cancel wakes it", async () => {
    const key = unique("paused");
    const { invocationId: id } = await w.server.send(`/OpsObject/${key}/fail`, key);
    await eventually(() => seen(`fail-${key}`));
    await w.server.operate("pause", id);
    await paused(w.server, id);
    const { invocationId: next } = await w.server.send(`/OpsObject/${key}/free`);
    await sleep(200);
    assert.equal(await phase(w.server, next), "waiting");
    assert.equal((await w.server.operate("cancel", id)).status, 202);
    open(key); // the handler ignores the cancellation: its next attempt passes
    assert.ok([200, 409].includes((await attach(w.server, id)).status));
    assert.equal((await attach(w.server, next)).body, true);
  });

  check("pause: a notification for a paused invocation is stored and found at its resume", async () => {
    const { invocationId: id } = await w.server.send("/Ops/wait", "go");
    assert.ok([200, 202].includes((await w.server.operate("pause", id)).status));
    await sleep(400);
    await w.server.call("/TestUtil/resolveSignal", { id, name: "go", value: "late" });
    await w.server.operate("resume", id);
    assert.equal((await attach(w.server, id)).body, "late");
  });

  check("resume: retries a backing-off invocation at once", async () => {
    const name = unique("backoff");
    const { invocationId: id } = await w.server.send("/OpsSlowRetry/fail", name);
    await eventually(() => seen(`fail-${name}`) === 1);
    open(name);
    await sleep(200);
    const start = Date.now();
    assert.equal((await w.server.operate("resume", id)).status, 200);
    assert.equal((await attach(w.server, id)).body, "passed after step 1");
    assert.ok(Date.now() - start < 3000);
  });

  check("resume: malformed, unknown and impossible deployments", async () => {
    const { name, id } = await make(w, "paused");
    for (const [value, reason] of [
      ["dp_1", "bad length"],
      ["nonsense", "bad format"],
    ]) {
      const r = await w.server.operate("resume", id, `?deployment=${value}`);
      assert.deepEqual([r.status, r.body.message], [400, `The query parameter 'deployment' is invalid. Reason: ${reason}`]);
    }
    assert.equal((await w.server.operate("resume", id, "?deployment=dp_14O5c0wK76FlHa8A28ixkS5")).status, 400);
    const running = await make(w, "running");
    assert.equal((await w.server.operate("resume", running.id, `?deployment=${w.deployment.id}`)).status, 409);
    assert.equal((await w.server.operate("resume", running.id, "?deployment=keep")).status, 200);
    open(running.name);
    open(name);
    assert.equal((await w.server.operate("resume", id, `?deployment=${w.deployment.id}`)).status, 200);
    assert.equal((await attach(w.server, id)).status, 200);
  });

  check("resume: an invocation that never was pinned takes the latest deployment, an explicit one is refused", async () => {
    const name = unique("unpinned");
    const { invocationId: id } = await w.server.send("/Ops/failUnpinned", name);
    await eventually(() => seen(`fail-${name}`));
    await w.server.operate("pause", id);
    await paused(w.server, id);
    assert.equal((await w.server.operate("resume", id, `?deployment=${w.deployment.id}`)).status, 409);
    open(name);
    assert.equal((await w.server.operate("resume", id, "?deployment=latest")).status, 200);
    assert.equal((await attach(w.server, id)).body, "passed");
  });

  // ---- restart as new ----

  check("RestartAsNewInvocationTest.restartCompletedWithTerminalException", async () => {
    const key = unique("restart");
    const r = await w.server.request(`/OpsObject/${key}/steps`, { body: "in" });
    assert.equal(r.status, 500);
    const restarted = await w.server.operate("restart-as-new", r.id);
    assert.equal(restarted.status, 200);
    const id = restarted.body.new_invocation_id;
    assert.notEqual(id, r.id);
    const result = (await attach(w.server, id)).body;
    assert.deepEqual([result.input, result.step, result.n], ["in", 2, 2]);
    assert.equal((await output(w.server, r.id)).status, 500, "the old one is untouched");
    await eventually(async () => (await w.server.call(`/Counter/${key}/get`)) === 2);
    const info = await row(w.server, id, "invoked_by, restarted_from, idempotency_key");
    if (info) assert.deepEqual([info.invoked_by, info.restarted_from, info.idempotency_key ?? null], ["restart_as_new", r.id, null]);
  });

  check("RestartAsNewInvocationTest.restartFromPrefix", async () => {
    const name = unique("prefix");
    const { invocationId } = await w.server.send("/Ops/fail", name);
    await eventually(() => seen(`fail-${name}`));
    await w.server.operate("cancel", invocationId);
    await w.server.operate("kill", invocationId);
    assert.equal((await attach(w.server, invocationId)).status, 409);
    open(name);
    const restarted = await w.server.operate("restart-as-new", invocationId, "?from=1");
    assert.equal(restarted.status, 200, JSON.stringify(restarted.body));
    assert.equal((await attach(w.server, restarted.body.new_invocation_id)).body, "passed after step 1");
    assert.equal(seen(`step-${name}`), 1, "the copied command is not executed again");
  });

  check("restart-as-new: commands of the prefix are not applied again", async () => {
    const key = unique("prefix");
    const r = await w.server.request(`/OpsObject/${key}/steps`, { body: "in" });
    assert.equal(r.status, 500);
    await eventually(async () => (await w.server.call(`/Counter/${key}/get`)) === 1);
    // 0 Input, 1 GetEagerState, 2 SetState, 3 Run, 4 Run completion, 5 OneWayCall, 6 CallInvocationId, 7 Output
    const restarted = await w.server.operate("restart-as-new", r.id, "?from=5");
    assert.equal(restarted.status, 200, JSON.stringify(restarted.body));
    const result = (await attach(w.server, restarted.body.new_invocation_id)).body;
    assert.deepEqual([result.step, result.n], [1, 1]);
    await sleep(100);
    assert.equal(await w.server.call(`/Counter/${key}/get`), 1);
    assert.equal(await w.server.call(`/OpsObject/${key}/n`), 1);
  });

  check(
    "restart-as-new: random decisions inside the copied prefix stay the same",
    async () => {
      const key = unique("random");
      const r = await w.server.request(`/OpsObject/${key}/steps`, { body: "in" });
      assert.equal(r.status, 500);
      const restarted = await w.server.operate("restart-as-new", r.id, "?from=5");
      assert.equal((await attach(w.server, restarted.body.new_invocation_id)).body.random, randomOf.get(key));
    },
    { differs: "the copy gets a seed of its own id (spec/invocation-lifecycle.md §2.7)" },
  );

  check("restart-as-new: refusals", async () => {
    const wf = `/BlockAndWait/${unique("wf")}`;
    const { invocationId } = await w.server.send(`${wf}/run`, "in");
    await w.server.call(`${wf}/unblock`, "out");
    await attach(w.server, invocationId);
    assert.equal((await w.server.operate("restart-as-new", invocationId)).status, 422);
    const done = await make(w, "completed");
    assert.equal((await w.server.operate("restart-as-new", done.id, "?from=99")).status, 400);
    assert.equal((await w.server.operate("restart-as-new", done.id, "?from=-1")).status, 400);
    assert.equal((await w.server.operate("restart-as-new", done.id, "?deployment=dp_1")).status, 400);
    assert.equal((await w.server.operate("restart-as-new", done.id, "?deployment=dp_14O5c0wK76FlHa8A28ixkS5")).status, 400);
    // A sleep that was pending when the invocation was killed has no completion.
    const { invocationId: asleep } = await w.server.send("/Family/parent", unique("killed"));
    await sleep(200);
    await w.server.operate("kill", asleep);
    const r = await w.server.operate("restart-as-new", asleep, "?from=3");
    assert.equal(r.status, 400);
    assert.match(r.body.message, /without respective Completions/);
  });

  check("restart-as-new: goes through the lock of its object", async () => {
    const key = unique("locked");
    const done = await w.server.request(`/OpsObject/${key}/free`);
    const holder = await w.server.send(`/OpsObject/${key}/hold`, key);
    await eventually(() => seen(`hold-${key}`));
    const { new_invocation_id: id } = (await w.server.operate("restart-as-new", done.id)).body;
    await sleep(100);
    assert.equal(await phase(w.server, id), "waiting");
    open(key);
    assert.equal((await attach(w.server, holder.invocationId)).body, "held");
    assert.equal((await attach(w.server, id)).body, true);
  });
});

// The same code in two versions: the first one has a bug.
describe("operations that change the deployment", () => {
  const w = world({ services: sdkServices, env: { RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "200ms" } });
  const version = (n, works) =>
    restate.service({
      name: "Versioned",
      handlers: {
        work: async (ctx, name) => {
          const step = await ctx.run("step", () => `${n}-${tick(`versioned-${name}`)}`);
          if (!works) throw new Error(`version ${n} is broken`);
          return `version ${n} after step ${step}`;
        },
        fails: async () => {
          if (!works) throw new TerminalError(`version ${n} is broken`);
          return `version ${n}`;
        },
      },
      options: { retryPolicy: { initialInterval: 10, maxAttempts: 2, onMaxAttempts: "pause" } },
    });

  check("PauseResumeChangingDeploymentTest.pauseAndResumeInvocation", async () => {
    const endpoints = [await Endpoint.start(version(1, false)), await Endpoint.start(version(2, true))];
    try {
      const one = await w.server.register(endpoints[0]);
      const names = [unique("v"), unique("v"), unique("v")];
      const ids = [];
      for (const name of names) ids.push((await w.server.send("/Versioned/work", name)).invocationId);
      for (const id of ids) await paused(w.server, id);
      const failed = await w.server.request("/Versioned/fails");
      assert.equal(failed.status, 500);
      const two = await w.server.register(endpoints[1]);

      assert.equal((await w.server.operate("resume", ids[0])).status, 200); // keep: the bug is still there
      await paused(w.server, ids[0]);
      for (const [i, deployment] of [["latest"], [two.id], ["latest"]].entries()) {
        assert.equal((await w.server.operate("resume", ids[i], `?deployment=${deployment}`)).status, 200);
        assert.equal((await attach(w.server, ids[i])).body, "version 2 after step 1-1");
        const info = await row(w.server, ids[i], "pinned_deployment_id, pinned_service_protocol_version");
        if (info) assert.equal(info.pinned_deployment_id, two.id);
      }

      for (const [query, expected] of [
        ["", "version 2"],
        ["?deployment=latest", "version 2"],
        [`?deployment=${two.id}`, "version 2"],
        ["?deployment=keep", "version 1 is broken"],
        [`?deployment=${one.id}`, "version 1 is broken"],
      ]) {
        const r = await w.server.operate("restart-as-new", failed.id, query);
        assert.equal(r.status, 200);
        const result = await attach(w.server, r.body.new_invocation_id);
        assert.equal(result.body.message ?? result.body, expected, query);
      }
    } finally {
      for (const endpoint of endpoints) await endpoint.kill();
    }
  });
});
