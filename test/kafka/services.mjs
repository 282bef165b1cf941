// Services that remember what came to them.
import * as restate from "@restatedev/restate-sdk";
import { Endpoint } from "../sdk/harness.mjs";

const headersOf = (ctx) => Object.fromEntries([...ctx.request().headers].filter(([name]) => /^(kafka|restate\.sub)/.test(name)));
const textSerde = { contentType: "text/plain", serialize: (v) => new TextEncoder().encode(v), deserialize: (b) => new TextDecoder().decode(b) };

export const remember = restate.object({
  name: "Remember",
  handlers: {
    note: async (ctx, what) => {
      const all = (await ctx.get("all")) ?? [];
      ctx.set("all", [...all, what]);
    },
    all: restate.handlers.object.shared(async (ctx) => (await ctx.get("all")) ?? []),
  },
});
const note = (ctx, key, what) => ctx.objectSendClient({ name: "Remember" }, key).note(what);

// Per key: the sum, the number, and whether each was larger than the one before.
export const sums = restate.object({
  name: "Sums",
  handlers: {
    add: async (ctx, n) => {
      const s = (await ctx.get("s")) ?? { sum: 0, count: 0, last: -1, ordered: true };
      ctx.set("s", { sum: s.sum + n, count: s.count + 1, last: n, ordered: s.ordered && n > s.last });
    },
    get: restate.handlers.object.shared(async (ctx) => (await ctx.get("s")) ?? { sum: 0, count: 0, last: -1, ordered: true }),
  },
});

export const sink = restate.service({
  name: "Sink",
  handlers: {
    take: restate.handlers.handler({ accept: "*/*", input: textSerde }, async (ctx, value) => {
      note(ctx, "service", { value, id: ctx.request().id, headers: headersOf(ctx) });
    }),
    // number n: counted under its own name, so that a repetition shows
    count: async (ctx, n) => ctx.objectSendClient({ name: "Sums" }, `n${n % 10}`).add(n),
  },
});
export const hidden = restate.service({
  name: "Hidden",
  handlers: { take: async (ctx, value) => note(ctx, "hidden", value) },
  options: { ingressPrivate: true },
});
export const box = restate.object({
  name: "Box",
  handlers: {
    put: restate.handlers.object.exclusive({ accept: "*/*", input: textSerde }, async (ctx, value) =>
      note(ctx, "box", { key: ctx.key, value, headers: headersOf(ctx) })),
    see: restate.handlers.object.shared({ accept: "*/*", input: textSerde }, async (ctx, value) =>
      note(ctx, "box-shared", { key: ctx.key, value })),
  },
});
export const flow = restate.workflow({
  name: "Flow",
  handlers: {
    run: async (ctx, value) => {
      note(ctx, "flow", { key: ctx.key, value });
      return await ctx.promise("done");
    },
    finish: restate.handlers.workflow.shared(async (ctx, value) => ctx.promise("done").resolve(value)),
  },
});

export const services = [remember, sums, sink, hidden, box, flow];
export const startServices = () => Endpoint.start(...services);
