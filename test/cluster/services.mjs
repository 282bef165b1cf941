// Services of the cluster tests, on the official TypeScript SDK.
import { restate } from "../sdk/harness.mjs";

// Runs that really happened, by name: at least once each, whatever the server does.
export const effects = new Map();

export const counter = restate.object({
  name: "Counter",
  handlers: {
    add: async (ctx, n) => {
      const value = ((await ctx.get("n")) ?? 0) + n;
      ctx.set("n", value);
      return value;
    },
    get: restate.handlers.object.shared(async (ctx) => (await ctx.get("n")) ?? 0),
  },
});

// The register of the official fault suite: a mismatch of `cas` is the terminal error 412.
export const register = restate.object({
  name: "Register",
  handlers: {
    get: async (ctx) => (await ctx.get("v")) ?? null,
    set: async (ctx, v) => ctx.set("v", v),
    cas: async (ctx, [from, to]) => {
      if (((await ctx.get("v")) ?? null) !== from) throw new restate.TerminalError("precondition", { errorCode: 412 });
      ctx.set("v", to);
    },
  },
});

export const set = restate.object({
  name: "Set",
  handlers: {
    add: async (ctx, v) => {
      const all = (await ctx.get("all")) ?? [];
      if (!all.includes(v)) all.push(v);
      ctx.set("all", all);
    },
    get: async (ctx) => (await ctx.get("all")) ?? [],
  },
});

export const greeter = restate.service({
  name: "Greeter",
  handlers: {
    greet: async (ctx, name) => `Hello ${name}!`,
    // Sleeps, then reports to a counter: what a fail-over must neither lose nor double.
    later: async (ctx, { ms, key }) => {
      await ctx.sleep(ms);
      return ctx.objectClient(counter, key).add(1);
    },
    steps: async (ctx, { n, key }) => {
      for (let i = 0; i < n; i++) {
        await ctx.run(`step ${i}`, () => {
          effects.set(`${key}/${i}`, (effects.get(`${key}/${i}`) ?? 0) + 1);
        });
        await ctx.objectClient(counter, key).add(1);
      }
      return n;
    },
  },
});

// One waiter per key: `run` waits for an awakeable whose id `id` tells.
export const waiter = restate.object({
  name: "Waiter",
  handlers: {
    run: async (ctx) => {
      const { id, promise } = ctx.awakeable();
      ctx.set("id", id);
      return promise;
    },
    id: restate.handlers.object.shared(async (ctx) => (await ctx.get("id")) ?? null),
  },
});

export const order = restate.workflow({
  name: "Order",
  handlers: {
    run: async (ctx, { key }) => {
      const approval = await ctx.promise("approval");
      await ctx.objectClient(counter, key).add(1);
      return approval;
    },
    approve: restate.handlers.workflow.shared(async (ctx, by) => ctx.promise("approval").resolve(by)),
  },
});

export const all = [counter, register, set, greeter, waiter, order];
