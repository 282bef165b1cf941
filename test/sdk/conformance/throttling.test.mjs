// Token buckets of the node (spec/invocation-lifecycle.md §12.1): how fast invocations may start, and how fast handlers may act.
import { describe } from "node:test";
import { assert, check, restate, world } from "./world.mjs";

const steps = restate.service({
  name: "Steps",
  handlers: {
    once: async () => Date.now(),
    many: async (ctx, n) => {
      for (let i = 0; i < n; i++) await ctx.run(`step ${i}`, () => i);
      return n;
    },
  },
});
const bucket = (which, rate, capacity) => ({
  [`RESTATE_WORKER__INVOKER__${which}_THROTTLING__RATE`]: rate,
  [`RESTATE_WORKER__INVOKER__${which}_THROTTLING__CAPACITY`]: String(capacity),
});
const took = async (what) => {
  const start = Date.now();
  await what();
  return Date.now() - start;
};

describe("invocation-throttling", () => {
  const w = world({ services: [steps], env: bucket("INVOCATION", "10/s", 4) });
  check("Throttling: invocations start at the rate of the bucket", async () => {
    const starts = await Promise.all(Array.from({ length: 12 }, () => w.server.call("/Steps/once")));
    const ms = Math.max(...starts) - Math.min(...starts);
    assert.ok(ms >= 750 && ms < 5000, `twelve starts within ${ms} ms`); // four are saved up, the others 100 ms apart
  });
});

describe("action-throttling", () => {
  const w = world({ services: [steps], env: bucket("ACTION", "20/s", 2) });
  check("Throttling: what handlers do is delayed to the rate of the bucket", async () => {
    const ms = await took(async () => assert.equal(await w.server.call("/Steps/many", 10), 10));
    assert.ok(ms >= 400, `ten steps within ${ms} ms`); // a step is a command, a result, or both
  });
});
