// Example services on the official TypeScript SDK: a greeter, a counter object, and a checkout that sleeps, runs side effects, waits
// for a payment and calls other services. PORT says where to listen (9080).
import * as restate from "@restatedev/restate-sdk";

// A plain service: no state, any number of calls at once.
const greeter = restate.service({
  name: "Greeter",
  handlers: {
    greet: async (ctx, name) => `Hello ${name}!`,
  },
});

// A virtual object: one counter per key, calls to one key run one at a time.
const counter = restate.object({
  name: "Counter",
  handlers: {
    add: async (ctx, amount) => {
      const value = ((await ctx.get("value")) ?? 0) + amount;
      ctx.set("value", value);
      return value;
    },
    get: restate.handlers.object.shared(async (ctx) => (await ctx.get("value")) ?? 0),
  },
});

// Stands for a payment provider: how often each order was charged, so that the demo can show "exactly once".
const ledger = restate.object({
  name: "Ledger",
  handlers: {
    charge: async (ctx, amount) => {
      const entry = (await ctx.get("entry")) ?? { charges: 0, total: 0 };
      ctx.set("entry", { charges: entry.charges + 1, total: entry.total + amount });
    },
    entry: restate.handlers.object.shared(async (ctx) => (await ctx.get("entry")) ?? { charges: 0, total: 0 }),
  },
});

// A workflow: runs once per order. `status` and `pay` may be called while it runs.
const checkout = restate.workflow({
  name: "Checkout",
  handlers: {
    run: async (ctx, order) => {
      ctx.set("status", "reserving");
      const reservation = await ctx.run("reserve stock", () => `R-${Math.floor(Math.random() * 1e9)}`);
      ctx.set("status", "waiting for the warehouse");
      await ctx.sleep(order.sleepMs ?? 3000);
      const { id, promise } = ctx.awakeable();
      ctx.set("approval", id);
      ctx.set("status", "waiting for approval");
      const approval = await promise;
      ctx.set("status", "charging");
      await ctx.objectClient(ledger, ctx.key).charge(order.amount);
      const count = await ctx.objectClient(counter, "orders").add(1);
      const greeting = await ctx.serviceClient(greeter).greet(order.customer);
      await ctx.run("send mail", () => console.log(`[services] mail to ${order.customer} for order ${ctx.key}`));
      ctx.set("status", "done");
      return { order: ctx.key, reservation, approval, orderNumber: count, greeting };
    },
    status: restate.handlers.workflow.shared(async (ctx) => (await ctx.get("status")) ?? "unknown"),
    approval: restate.handlers.workflow.shared(async (ctx) => (await ctx.get("approval")) ?? null),
  },
});

const port = Number(process.env.PORT ?? 9080);
restate
  .endpoint()
  .bind(greeter)
  .bind(counter)
  .bind(ledger)
  .bind(checkout)
  .listen(port)
  .then(() => console.log(`[services] listening on ${port}`));
