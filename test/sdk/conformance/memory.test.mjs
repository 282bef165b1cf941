// Large journals and states, the invoker's memory pool and the limit per invocation (spec/invocation-lifecycle.md §12.2, InvokerMemoryTest of §15.2).
import { describe } from "node:test";
import { assert, attach, check, eventually, events, paused, restate, unique, world } from "./world.mjs";
import { seen, tick } from "./services.mjs";

const KiB = 1024;
const heavy = restate.object({
  name: "Heavy",
  handlers: {
    // Results, and a journal that is replayed, of some size.
    work: async (ctx, size) => {
      const a = await ctx.run("a", () => "a".repeat(size));
      await ctx.sleep(20);
      const b = await ctx.run("b", () => "b".repeat(size));
      return a.length + b.length;
    },
    grow: async (ctx, size) => {
      const state = (await ctx.get("state")) ?? "";
      ctx.set("state", state + "s".repeat(size));
      return state.length + size;
    },
    oversizedRun: async (ctx, size) => {
      tick(ctx.key);
      return (await ctx.run("big", () => "x".repeat(size))).length;
    },
    read: async (ctx) => {
      tick(ctx.key);
      return (await ctx.get("big", restate.serde.binary))?.length ?? 0;
    },
  },
});

const usage = async (server) => {
  const { body } = await server.get("/metrics", { base: server.fabric });
  const values = [...body.matchAll(/^restate_memory_pool_usage_bytes\{[^}]*name="invoker"[^}]*\} ([\d.e+]+)$/gm)].map((m) => Number(m[1]));
  assert.ok(values.length > 0, "no metric of the invoker's pool");
  return values.reduce((a, b) => a + b);
};

const large = restate.object({
  name: "Large",
  handlers: {
    journal: async (ctx, { steps, size }) => {
      let total = 0;
      for (let i = 0; i < steps; i++) total += (await ctx.run(`step ${i}`, () => "j".repeat(size))).length;
      await ctx.sleep(1000); // suspended and replayed
      return total;
    },
    fill: async (ctx, { from, to, size }) => {
      for (let i = from; i < to; i++) ctx.set(`k${i}`, "s".repeat(size));
    },
    sum: async (ctx) => {
      let total = 0;
      for (const key of await ctx.stateKeys()) total += (await ctx.get(key)).length;
      return total;
    },
  },
});

describe("large journals and states", () => {
  const w = world({ services: [large], env: { RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "500ms" } });
  const patient = { timeoutMs: 60_000 }; // also where other programs keep processors and disk busy
  check("Large journal: 40 MiB in 40 steps, replayed", async () => {
    assert.equal(await w.server.call(`/Large/${unique()}/journal`, { steps: 40, size: 1024 * KiB }, patient), 40 * 1024 * KiB);
  }, { timeout: 70_000 });
  check("Large journal: 2,000 steps, replayed", async () => {
    assert.equal(await w.server.call(`/Large/${unique()}/journal`, { steps: 2000, size: 10 }, patient), 20_000);
  }, { timeout: 70_000 });
  const manyKeys = async () => {
    const key = unique();
    for (let from = 0; from < 40; from += 10) await w.server.call(`/Large/${key}/fill`, { from, to: from + 10, size: 1024 * KiB }, patient);
    assert.equal(await w.server.call(`/Large/${key}/sum`, undefined, patient), 40 * 1024 * KiB);
  };
  check("Large state: 40 MiB in 40 keys, more than is sent eagerly", manyKeys, {
    timeout: 110_000,
    differs: "the reference pauses an invocation whose eager state exceeds its memory limit",
  });
});

describe("memory", () => {
  const w = world({
    services: [heavy],
    env: {
      RESTATE_WORKER__INVOKER__MEMORY_LIMIT: "4MiB",
      RESTATE_WORKER__INVOKER__PER_INVOCATION_MEMORY_LIMIT: "256KiB",
      RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "100ms",
      RESTATE_DEFAULT_RETRY_POLICY__MAX_ATTEMPTS: "unlimited",
    },
  });
  const many = (handler, size, n = 60) => Promise.all(Array.from({ length: n }, (_, i) => w.server.call(`/Heavy/${unique(i)}/${handler}`, size)));

  check("InvokerMemoryTest.allInvocationsCompleteUnderMemoryPressure", async () => {
    for (const result of await many("work", 50 * KiB)) assert.equal(result, 100 * KiB);
    await eventually(async () => (await usage(w.server)) === 0);
  });
  check("InvokerMemoryTest.allStatefulInvocationsCompleteUnderMemoryPressure", async () => {
    const keys = Array.from({ length: 30 }, () => unique("state"));
    for (let round = 1; round <= 3; round++)
      await Promise.all(keys.map(async (key) => assert.equal(await w.server.call(`/Heavy/${key}/grow`, 20 * KiB), round * 20 * KiB)));
    await eventually(async () => (await usage(w.server)) === 0);
  });
  check("InvokerMemoryTest.invocationPausedWhenRunExceedsMemoryLimit", async () => {
    const key = unique("run");
    const { invocationId: id } = await w.server.send(`/Heavy/${key}/oversizedRun`, 1024 * KiB);
    await eventually(() => seen(key) >= 1);
    await paused(w.server, id);
    const list = await events(w.server, id);
    if (list) assert.equal(list.at(-1).ty, "Paused");
    assert.equal(seen(key), 1);
    await w.server.operate("kill", id);
    assert.equal((await attach(w.server, id)).body.message, "killed");
    await eventually(async () => (await usage(w.server)) === 0);
  });
  check("InvokerMemoryTest.invocationPausedWhenStateExceedsMemoryLimit", async () => {
    const key = unique("big");
    const new_state = { big: Array.from({ length: 300 * KiB }, () => 120) };
    assert.equal((await w.server.adminRequest("/services/Heavy/state", { body: { object_key: key, new_state } })).status, 202);
    const { invocationId: id } = await w.server.send(`/Heavy/${key}/read`);
    await paused(w.server, id);
    assert.ok(seen(key) <= 2);
    await w.server.operate("kill", id);
    await eventually(async () => (await usage(w.server)) === 0);
  });
});
