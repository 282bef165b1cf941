// Statements of spec/invocation-lifecycle.md and spec/service-protocol.md that the other files do not show: order and reach of signals, who is
// given an idempotency key, times of an invocation, eager state that does not fit, retry policies across deployments, slots.
import { after, before, describe } from "node:test";
import { Endpoint, assert, attach, check, eventually, journal, restate, row, sleep, unique, world } from "./world.mjs";
import { seen, tick } from "./services.mjs";

const json = { inputSerde: restate.serde.json, outputSerde: restate.serde.json };

const receiver = restate.service({
  name: "Receiver",
  handlers: {
    // Waits for the last one only: the others are in the journal by then.
    last: async (ctx, name) => ctx.signal(name),
    send: async (ctx, { id, names }) => {
      for (const name of names) ctx.invocation(id).signal(name).resolve(name);
    },
    call: async (ctx, target) => ctx.genericCall({ ...json, parameter: null, ...target }),
    oneWay: async (ctx, target) => ctx.genericSend({ inputSerde: restate.serde.json, parameter: null, ...target }).invocationId,
    nothing: async () => null,
  },
});
const store = restate.object({
  name: "Store",
  handlers: {
    fill: async (ctx, sizes) => Object.entries(sizes).forEach(([key, size]) => ctx.set(key, "x".repeat(size))),
    read: async (ctx, keys) => {
      const lengths = [];
      for (const key of keys) lengths.push((await ctx.get(key))?.length ?? null);
      return lengths;
    },
    keys: async (ctx) => ctx.stateKeys(),
    hold: async (ctx, ms) => ctx.sleep(ms),
  },
});
const flow = restate.workflow({ name: "Flow", handlers: { run: async () => "ran", look: async () => "looked" } });

describe("the rest of the lifecycle", () => {
  const w = world({ services: [receiver, store, flow] });
  const status = async (id) => (await row(w.server, id, "status"))?.status;

  check("Ordering: signals of one handler arrive in order", async () => {
    const names = Array.from({ length: 30 }, (_, i) => `s${i}`);
    const { invocationId: id } = await w.server.send("/Receiver/last", names.at(-1));
    await eventually(async () => ["running", "suspended"].includes(await status(id)));
    await w.server.call("/Receiver/send", { id, names });
    assert.equal((await attach(w.server, id)).body, names.at(-1));
    const rows = await w.server.sql(`SELECT name, entry_type, entry_json FROM sys_journal WHERE id = '${id}' AND entry_type = 'Notification: Signal' ORDER BY index`);
    const arrived = rows.map((r) => r.name ?? JSON.stringify(r.entry_json).match(/s\d+/)[0]);
    assert.deepEqual(arrived, names);
  });
  check("Signals: what comes before the invocation starts is dropped", async () => {
    const { invocationId: id } = await w.server.send("/Receiver/last", "early", { delay: "1s" });
    assert.equal(await status(id), "scheduled");
    await w.server.call("/Receiver/send", { id, names: ["early"] });
    await eventually(async () => ["running", "suspended"].includes(await status(id)));
    await sleep(300);
    assert.ok(["running", "suspended"].includes(await status(id)));
    await w.server.call("/Receiver/send", { id, names: ["early"] });
    assert.equal((await attach(w.server, id)).body, "early");
  });
  check("Idempotency keys: requests to services and objects are given one, workflows and what handlers call are not", async () => {
    const key = unique();
    const given = async (id) => (await row(w.server, id, "idempotency_key"))?.idempotency_key ?? null;
    const byClient = async (path) => given((await w.server.request(path, {})).id);
    assert.ok(await byClient("/Receiver/nothing"));
    assert.ok(await byClient(`/Store/${key}/keys`));
    assert.equal(await byClient(`/Flow/${key}/run`), null);
    assert.equal(await byClient(`/Flow/${key}/look`), null);
    const id = await w.server.call("/Receiver/oneWay", { service: "Receiver", method: "nothing" });
    await eventually(async () => (await status(id)) === "completed");
    assert.equal(await given(id), null);
  });
  check("Idempotency keys: the body of a repetition is not looked at", async () => {
    const [key, headers] = [unique(), { "idempotency-key": unique() }];
    await w.server.call(`/Store/${key}/fill`, { a: 5 });
    const read = (keys) => w.server.call(`/Store/${key}/read`, keys, { headers });
    assert.deepEqual([await read(["a"]), await read(["b", "c"])], [[5], [5]]);
  });
  check("Times: scheduled, waiting for the object, running, completed", async () => {
    const key = unique();
    const begin = Date.now();
    const { invocationId: holder } = await w.server.send(`/Store/${key}/hold`, 1200);
    const { invocationId: id } = await w.server.send(`/Store/${key}/keys`, undefined, { delay: "400ms" });
    await attach(w.server, holder);
    await attach(w.server, id);
    const r = await row(w.server, id, "created_at, scheduled_at, scheduled_start_at, inboxed_at, running_at, completed_at");
    const at = Object.fromEntries(Object.entries(r).map(([name, time]) => [name, Date.parse(time)]));
    assert.equal(at.created_at, at.scheduled_at);
    assert.ok(at.created_at >= begin - 100 && at.scheduled_start_at >= at.created_at + 300, JSON.stringify(r));
    assert.ok(at.inboxed_at >= at.scheduled_start_at - 10 && at.running_at >= at.inboxed_at + 300, JSON.stringify(r));
    assert.ok(at.completed_at >= at.running_at, JSON.stringify(r));
    const held = await row(w.server, holder, "scheduled_at, inboxed_at");
    assert.deepEqual([held.scheduled_at ?? null, held.inboxed_at ?? null], [null, null]);
  });
});

describe("eager state", () => {
  const w = world({ services: [store], env: { RESTATE_WORKER__INVOKER__EAGER_STATE_SIZE_LIMIT: "400" } });
  const reads = async (key, keys) => {
    const r = await w.server.request(`/Store/${key}/read`, { body: keys });
    return [r.body, (await journal(w.server, r.id)).filter((type) => /State/.test(type)).map((type) => type.replace("Command: ", ""))];
  };
  check("Eager state: what does not fit is read lazily, keys in their order", async () => {
    const key = unique();
    await w.server.call(`/Store/${key}/fill`, { a: 150, b: 150, c: 300 });
    const [lengths, commands] = await reads(key, ["a", "b", "c", "d"]);
    assert.deepEqual(lengths, [150, 150, 300, null]);
    const lazy = ["GetLazyState", "Notification: GetLazyState"];
    assert.deepEqual(commands, ["GetEagerState", "GetEagerState", ...lazy, ...lazy]);
    const r = await w.server.request(`/Store/${key}/keys`, {});
    assert.deepEqual(r.body, ["a", "b", "c"]);
    assert.ok((await journal(w.server, r.id)).includes("Command: GetLazyStateKeys"));
  });
  check("Eager state: what fits is complete", async () => {
    const key = unique();
    await w.server.call(`/Store/${key}/fill`, { a: 100 });
    assert.deepEqual(await reads(key, ["a", "b"]), [[100, null], ["GetEagerState", "GetEagerState"]]);
  });
});

const failing = (attempts, options) =>
  restate.service({
    name: "Moving",
    handlers: {
      fail: async (ctx, name) => {
        tick(name);
        throw new Error(`of at most ${attempts}`);
      },
    },
    options: { retryPolicy: { initialInterval: 50, maxInterval: 50, maxAttempts: attempts, onMaxAttempts: "kill", ...options } },
  });

describe("retry policies and slots", () => {
  const w = world({ services: [failing(50, { initialInterval: 300, maxInterval: 300 }), receiver], env: { RESTATE_DEFAULT_NUM_PARTITIONS: "1", RESTATE_WORKER__INVOKER__CONCURRENT_INVOCATIONS_LIMIT: "1" } });
  let next;
  before(async () => {
    next = await Endpoint.start(failing(6));
  });
  after(() => next.kill());
  check("Slots: kept while backing off, given back at the end", async () => {
    const [name, signal] = [unique("slot"), unique("signal")];
    const { invocationId: failing } = await w.server.send("/Moving/fail", name);
    await eventually(() => seen(name) > 0);
    const { invocationId: waiting } = await w.server.send("/Receiver/last", signal);
    await eventually(() => seen(name) > 2);
    assert.equal(await status(waiting), "ready");
    await w.server.operate("kill", failing);
    await eventually(async () => ["running", "suspended"].includes(await status(waiting)));
    await w.server.operate("kill", waiting);
  });
  check("RetryPolicy: of the deployment in use, with the attempts made on another one", async () => {
    const name = unique("moves");
    const { invocationId: id } = await w.server.send("/Moving/fail", name);
    await eventually(() => seen(name) === 3);
    await w.server.register(next);
    const r = await attach(w.server, id);
    assert.deepEqual([r.status, r.body.message], [500, "of at most 6"]);
    assert.equal(seen(name), 6);
  });
  async function status(id) {
    return (await row(w.server, id, "status"))?.status;
  }
});
