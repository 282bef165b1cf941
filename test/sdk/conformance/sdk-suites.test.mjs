// Section 15.1 of spec/invocation-lifecycle.md under the server settings of its suites.
import { describe } from "node:test";
import { assert, check, eventually, events, row, unique, world } from "./world.mjs";
import { sdkServices, seen } from "./services.mjs";
import { concurrentCases, disruptiveCases } from "./sdk-suite.mjs";

const suspending = { RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "0s" };
const lazy = { RESTATE_WORKER__INVOKER__DISABLE_EAGER_STATE: "true" };
const suites = {
  default: {},
  alwaysSuspending: suspending,
  lazyState: lazy,
  lazyStateAlwaysSuspending: { ...suspending, ...lazy },
  singleThreadSinglePartition: { RESTATE_DEFAULT_NUM_PARTITIONS: "1", RESTATE_DEFAULT_THREAD_POOL_SIZE: "1" },
  persistedTimers: { RESTATE_WORKER__NUM_TIMERS_IN_MEMORY_LIMIT: "1" },
  protocolV7: { RESTATE_EXPERIMENTAL_ENABLE_PROTOCOL_V7: "true" },
  protocolV7AlwaysSuspending: { RESTATE_EXPERIMENTAL_ENABLE_PROTOCOL_V7: "true", ...suspending },
};

for (const [suite, env] of Object.entries(suites)) {
  if (process.env.SUITE && process.env.SUITE !== suite) continue;
  describe(suite, () => {
    const w = world({ env, services: sdkServices });
    w.suspends = "RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT" in env;
    describe("concurrent", { concurrency: 6 }, () => concurrentCases(w));
    describe("disruptive", () => disruptiveCases(w));
    if (suite.startsWith("protocolV7"))
      describe("only here", () => {
        check("Combinators.oneResume", async () => {
          // The tree says that both sleeps are needed: one resume on V7, two before (spec/service-protocol.md §8.2).
          const key = unique("sleeps");
          await w.server.call(`/Combinators/${key}/sleeps`, [300, 600]);
          if (w.suspends) assert.equal(seen(`sleeps-${key}`), 2);
        });
        check("AwaitingOn: what a running invocation awaits is shown", async () => {
          const { invocationId: id } = await w.server.send(`/Combinators/${unique("sleeps")}/sleeps`, [1500, 1600]);
          const column = w.suspends ? "suspended_waiting_future_json" : "last_awaiting_on_future_json";
          const shown = await eventually(async () => (await row(w.server, id, column))?.[column]);
          const single = (kind, index) => ({ Single: { [kind]: index } });
          const all = { AllSucceededOrFirstFailed: [single("CompletionId", 1), single("CompletionId", 2)] };
          assert.deepEqual(JSON.parse(shown), { FirstCompleted: [single("SignalIndex", 1), all] });
        });
        check("Suspension: the event tells what is awaited", async () => {
          const { id } = await w.server.request(`/Combinators/${unique("sleeps")}/sleeps`, { body: [100, 200] });
          const single = (kind, index) => ({ Single: { [kind]: index } });
          const all = { AllSucceededOrFirstFailed: [single("CompletionId", 1), single("CompletionId", 2)] };
          const suspended = { ty: "Suspended", awaiting_on: { FirstCompleted: [single("SignalIndex", 1), all] }, after: 2 };
          assert.deepEqual(await events(w.server, id), w.suspends ? [suspended] : []);
        });
      });
  });
}
