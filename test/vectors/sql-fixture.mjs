// The services and calls that sql-vectors.json talks about (spec/sql.md §16), on a fresh server: invocations in every status, state,
// inboxes, locks, promises. Used by run-sql-vectors.mjs and the tests of the PostgreSQL endpoint and the command line.
import { Endpoint, eventually, restate } from "../sdk/harness.mjs";

const { CombineablePromise } = restate;
// What the server needs so that waiting invocations suspend soon.
export const fixtureEnvironment = { RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "300ms" };
const never = () => new Promise(() => {});

const greeter = restate.service({
  name: "Greeter",
  handlers: {
    greet: async (ctx, name) => ctx.run("make-greeting", () => `Hello ${name}`),
    fail: async () => {
      throw new restate.TerminalError("nope, not today", { errorCode: 418 });
    },
    retry: async (ctx) => {
      await ctx.run("flaky", () => {
        throw new Error("boom transient");
      });
    },
    sleepy: async (ctx) => ctx.sleep(3_600_000),
    busy: async (ctx) => ctx.run("busy", never),
    awk: async (ctx) => ctx.awakeable().promise,
    comb: async (ctx) => restate.RestatePromise.race([ctx.sleep(3_600_000), ctx.awakeable().promise]),
    chain: async (ctx) => {
      ctx.objectSendClient(counter, "chained").add(1);
      return ctx.serviceClient(greeter).greet("chain");
    },
  },
});
const counter = restate.object({
  name: "Counter",
  handlers: {
    add: async (ctx, n) => {
      const sum = ((await ctx.get("count")) ?? 0) + n;
      ctx.set("count", sum);
      return sum;
    },
    lock: async (ctx) => ctx.awakeable().promise,
    get: restate.handlers.object.shared(async (ctx) => (await ctx.get("count")) ?? 0),
  },
});
const flow = restate.workflow({
  name: "Flow",
  handlers: {
    run: async (ctx) => ctx.promise("approval"),
    approve: async (ctx) => ctx.promise("approval").resolve("yes"),
    reject: async (ctx) => ctx.promise("approval").reject("rejected!"),
    status: async (ctx) => (await ctx.promise("approval").peek()) ?? null,
  },
});

// Everything is in the status it stays in when this returns: {endpoint, ids}.
export async function buildFixture(server) {
  const endpoint = await Endpoint.start(greeter, counter, flow);
  const deployment = await server.register(endpoint);
  const ids = { DP: deployment.id };
  const send = async (path, body, options) => (await server.send(path, body, options)).invocationId;
  const status = async (id) => (await server.sql(`select status from sys_invocation where id = '${id}'`))[0]?.status;
  const becomes = (id, wanted) => eventually(async () => (await status(id)) === wanted, { timeoutMs: 20_000, everyMs: 50 });

  await server.call("/Counter/a/add", 3);
  await server.call("/Counter/a/add", 4);
  await server.call("/Greeter/greet", "sql", { headers: { "idempotency-key": "sql-1" } });
  await server.call("/Greeter/chain", null);
  await server.request("/Greeter/fail", { body: null });
  ids.LOCK = await send("/Counter/locked/lock", null);
  await becomes(ids.LOCK, "suspended");
  await send("/Counter/locked/add", 1);
  await send("/Counter/locked/add", 2);
  ids.SUS = await send("/Greeter/comb", null);
  ids.AWK = await send("/Greeter/awk", null);
  ids.SLEEP = await send("/Greeter/sleepy", null);
  ids.BUSY = await send("/Greeter/busy", null);
  ids.LATER = await send("/Greeter/greet", "later", { delay: "1h" });
  ids.FLOW = await send("/Flow/wf1/run", null);
  const approved = await send("/Flow/wf2/run", null);
  await server.call("/Flow/wf2/approve", null);
  await becomes(approved, "completed");
  await becomes(ids.SUS, "suspended");
  await becomes(ids.AWK, "suspended");
  await becomes(ids.SLEEP, "suspended");
  await becomes(ids.FLOW, "suspended");
  await becomes(ids.BUSY, "running");
  ids.INV = await send("/Greeter/retry", null);
  await eventually(async () => (await server.sql(`select retry_count from sys_invocation where id = '${ids.INV}'`))[0]?.retry_count > 1);
  await eventually(async () => {
    await server.operate("pause", ids.INV);
    return (await status(ids.INV)) === "paused";
  });
  return { endpoint, ids };
}
