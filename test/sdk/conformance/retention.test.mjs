// How long results, journals, idempotency keys and workflows are kept (spec/invocation-lifecycle.md §4.5, §4.6).
import { describe } from "node:test";
import { assert, check, eventually, journal, output, phase, restate, row, sleep, unique, world } from "./world.mjs";
import { sdkServices, seen, tick } from "./services.mjs";

const count = async (ctx, name) => tick(name);
const retained = restate.service({
  name: "Retained",
  handlers: {
    none: restate.handlers.handler({ idempotencyRetention: 0, journalRetention: 0 }, count),
    short: restate.handlers.handler({ idempotencyRetention: 2500, journalRetention: 1000 }, count),
    // The journal of an idempotent call is kept no longer than its result.
    capped: restate.handlers.handler({ idempotencyRetention: 2000, journalRetention: 100_000 }, count),
    noJournal: restate.handlers.handler({ journalRetention: 0 }, count),
    sleeps: async (ctx) => {
      await ctx.sleep(20);
      return "slept";
    },
    callsNone: async (ctx, name) => {
      const call = ctx.serviceClient(retained).noJournal(name);
      const id = await call.invocationId;
      await call;
      return id;
    },
    callsDefault: async (ctx, name) => {
      const call = ctx.serviceClient(retained).sleeps(name);
      const id = await call.invocationId;
      await call;
      return id;
    },
  },
});
const brief = restate.workflow({
  name: "Brief",
  handlers: {
    run: async (ctx, input) => {
      ctx.set("input", input);
      ctx.promise("p").resolve(input);
      return tick(`run-${ctx.key}`);
    },
    input: async (ctx) => (await ctx.get("input")) ?? null,
    peek: async (ctx) => (await ctx.promise("p").peek()) ?? null,
  },
  options: { workflowRetention: 1500 },
});

const gone = (server, id) => eventually(async () => (await output(server, id)).status === 404, { timeoutMs: 12_000, everyMs: 100 });

describe("retention", { concurrency: 8 }, () => {
  const w = world({ services: [...sdkServices, retained, brief], env: { RESTATE_WORKER__CLEANUP_INTERVAL: "1s" } });

  check("JournalRetentionTest.journalShouldBeRetained", async () => {
    const r = await w.server.request("/Retained/sleeps");
    const types = await journal(w.server, r.id);
    if (types) assert.deepEqual(types, ["Command: Input", "Command: Sleep", "Notification: Sleep", "Command: Output"]);
    // Without SQL the same is seen by restarts: entry 1 has its completion, entries 0 to 3 exist, 4 does not.
    for (const [from, status] of [
      [1, 200],
      [2, 200],
      [3, 200],
      [4, 400],
    ])
      assert.equal((await w.server.operate("restart-as-new", r.id, `?from=${from}`)).status, status, `from=${from}`);
  });
  check("Retention: none leaves nothing", async () => {
    const name = unique();
    const headers = { "idempotency-key": name };
    const r = await w.server.request("/Retained/none", { body: name, headers });
    assert.equal(r.body, 1);
    assert.equal(await phase(w.server, r.id), "free");
    assert.equal((await w.server.request("/Retained/none", { body: name, headers })).body, 2);
  });
  check("Retention: the journal first, then the result; then the key executes anew", async () => {
    const name = unique();
    const headers = { "idempotency-key": name };
    const r = await w.server.request("/Retained/short", { body: name, headers });
    assert.equal((await w.server.request("/Retained/short", { body: name, headers })).body, 1);
    await eventually(async () => (await w.server.operate("restart-as-new", r.id, "?from=50")).status === 410, { timeoutMs: 6000, everyMs: 100 });
    assert.equal((await output(w.server, r.id)).body, 1);
    await gone(w.server, r.id);
    assert.equal((await w.server.request("/Retained/short", { body: name, headers })).body, 2);
    assert.equal(seen(name), 2);
  });
  check("Retention: the journal is kept no longer than the result", async () => {
    const name = unique();
    const r = await w.server.request("/Retained/capped", { body: name, headers: { "idempotency-key": name } });
    const info = await row(w.server, r.id, "completion_retention, journal_retention");
    if (info) assert.equal(info.completion_retention, info.journal_retention);
    await gone(w.server, r.id);
    assert.equal((await w.server.operate("restart-as-new", r.id)).status, 404);
  });
  check("Retention: no journal, but a result", async () => {
    const name = unique();
    const r = await w.server.request("/Retained/noJournal", { body: name, headers: { "idempotency-key": name } });
    assert.equal((await output(w.server, r.id)).body, 1);
    assert.equal((await w.server.operate("restart-as-new", r.id)).status, 410);
  });
  check("Retention: calls between services without a key", async () => {
    const name = unique();
    assert.equal(await phase(w.server, await w.server.call("/Retained/callsNone", name)), "free");
    assert.equal((await output(w.server, await w.server.call("/Retained/callsDefault", name))).body, "slept");
  });
  check("Retention: a workflow goes with its state and promises, and may run again", async () => {
    const key = unique("wf");
    const first = await w.server.send(`/Brief/${key}/run`, "one");
    await eventually(async () => (await w.server.get(`/restate/workflow/Brief/${key}/output`)).body === 1);
    assert.equal(await w.server.call(`/Brief/${key}/input`), "one");
    await gone(w.server, first.invocationId);
    assert.equal(await w.server.call(`/Brief/${key}/input`), null);
    assert.equal(await w.server.call(`/Brief/${key}/peek`), null);
    assert.equal((await w.server.send(`/Brief/${key}/run`, "two")).status, "Accepted");
    await eventually(async () => (await w.server.get(`/restate/workflow/Brief/${key}/output`)).body === 2);
  });
  check("Retention: the service's options changed by the operator hold for new invocations", async () => {
    const path = "/services/Retained";
    const before = (await w.server.adminRequest(path, { method: "GET" })).body;
    const r = await w.server.adminRequest(path, { method: "PATCH", body: { idempotency_retention: "1s" } });
    assert.equal(r.status, 200);
    assert.notEqual(before.idempotency_retention, r.body.idempotency_retention);
    const done = await w.server.request("/Retained/sleeps", { headers: { "idempotency-key": unique() } });
    await gone(w.server, done.id);
  });
});

describe("retention across a restart", () => {
  const w = world({ services: [retained, brief], env: { RESTATE_WORKER__CLEANUP_INTERVAL: "1s" } });
  check("Retention: what expired while the server was down is gone", async () => {
    const name = unique();
    const headers = { "idempotency-key": name };
    const short = await w.server.request("/Retained/short", { body: name, headers });
    const wf = await w.server.send(`/Brief/${name}/run`, "one");
    await eventually(async () => (await output(w.server, wf.invocationId)).status === 200);
    await w.server.crash();
    await sleep(3000);
    await w.server.launch();
    await gone(w.server, short.id);
    await gone(w.server, wf.invocationId);
    assert.equal(await w.server.call(`/Brief/${name}/input`), null);
    assert.equal((await w.server.request("/Retained/short", { body: name, headers })).body, 2);
  });
});
