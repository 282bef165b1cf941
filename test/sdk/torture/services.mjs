// The interpreter of torture programs on the official TypeScript SDK, and what it watches on the way.
import { restate, sleep } from "../harness.mjs";
import { resultOf, rng } from "./program.mjs";

const { TerminalError, RestatePromise, TimeoutError, serde, handlers } = restate;

// Seen in this process: a value that user code once got from the journal must never change in a later attempt.
export const violations = [];
const journaled = new Map();
function stable(ctx, step, value) {
  const key = `${ctx.request().id}/${step}`;
  if (!journaled.has(key)) journaled.set(key, value);
  else if (journaled.get(key) !== value) violations.push(`${key}: ${journaled.get(key)} became ${value}`);
  return value;
}
export const chaos = { random: rng(1), failures: 0.02, attempts: 0 };
function maybeFail() {
  if (chaos.random.chance(chaos.failures)) throw new Error("chaos");
}

async function mark(ctx, id) {
  const { count, sum } = (await ctx.get("seen")) ?? { count: 0, sum: 0 };
  ctx.set("seen", { count: count + 1, sum: sum + id });
}
// Messages of one sender to one object arrive in the order of its program.
async function checkOrder(ctx, from) {
  if (!from) return;
  const last = await ctx.get(`from-${from.sender}`);
  if (last !== null && last >= from.seq) violations.push(`${ctx.key}: ${from.sender} sent ${from.seq} after ${last}`);
  ctx.set(`from-${from.sender}`, from.seq);
}

const expectFailure = async (promise, code, message) => {
  try {
    await promise;
  } catch (error) {
    if (!(error instanceof TerminalError)) throw error;
    if (error.code !== code || (message && error.message !== message)) throw new TerminalError(`expected ${code} ${message}, got ${error.code} ${error.message}`);
    return;
  }
  throw new TerminalError(`expected a failure ${code}`);
};
function check(result, program) {
  if (result !== resultOf(program)) throw new TerminalError(`program ${program.id} returned ${result}`);
}

const steps = {
  increment: async () => {},
  crash: async () => {
    if (chaos.random.chance(0.5)) throw new Error("crash");
  },
  random: async (ctx, s) => void stable(ctx, s.id, ctx.rand.random()),
  clear: async (ctx, s) => {
    ctx.set("scratch", s.id);
    ctx.clear("scratch");
    if ((await ctx.get("scratch")) !== null) throw new TerminalError("a cleared key is there");
  },
  run: async (ctx, s) => {
    const value = await ctx.run(
      `run ${s.id}`,
      () => {
        if (s.failures && chaos.random.chance(0.5)) throw new Error("run fails");
        return `${Math.random()}`.padEnd(s.size, ".");
      },
      { initialRetryInterval: 5, maxRetryInterval: 20 },
    );
    stable(ctx, s.id, value);
  },
  sleep: async (ctx, s) => ctx.sleep(s.ms),
  timeout: async (ctx, s) => {
    try {
      await ctx.awakeable().promise.orTimeout(s.ms);
    } catch (error) {
      if (error instanceof TimeoutError) return;
      throw error;
    }
    throw new TerminalError("an awakeable was completed that nobody knows");
  },
  awakeable: async (ctx, s) => {
    const { id, promise } = ctx.awakeable();
    complete(ctx, s.ms, { awakeable: id, value: s.id });
    if ((await promise) !== s.id) throw new TerminalError("wrong value of an awakeable");
  },
  rejected: async (ctx, s) => {
    const { id, promise } = ctx.awakeable();
    complete(ctx, s.ms, { awakeable: id, reason: `no ${s.id}` });
    await expectFailure(promise, 500, `no ${s.id}`);
  },
  signal: async (ctx, s) => {
    complete(ctx, s.ms, { invocation: ctx.request().id, signal: `signal ${s.id}`, value: s.id });
    if ((await ctx.signal(`signal ${s.id}`)) !== s.id) throw new TerminalError("wrong value of a signal");
  },
  workflow: async (ctx, s) => {
    const key = `${ctx.request().id}-${s.id}`;
    const run = ctx.workflowClient(flow, key).run(s.id);
    ctx.workflowSendClient(flow, key).release(s.id);
    if ((await run) !== s.id * 2) throw new TerminalError("wrong value of a workflow");
  },
  call: async (ctx, s, from) => check(await call(ctx, s.program, from()), s.program),
  send: async (ctx, s, from) => void ctx.objectSendClient(interpreter, s.program.key).execute({ program: s.program, from: from() }),
  delayed: async (ctx, s) =>
    void ctx.objectSendClient(interpreter, s.program.key).execute({ program: s.program }, restate.rpc.sendOpts({ delay: s.ms })),
  failing: async (ctx, s, from) =>
    expectFailure(ctx.objectClient(interpreter, s.program.key).execute({ program: s.program, from: from(), fail: true }), 418, `${s.program.id}`),
  idempotent: async (ctx, s) => {
    const options = restate.rpc.opts({ idempotencyKey: `once-${ctx.request().id}-${s.id}` });
    const once = () => ctx.objectClient(interpreter, s.program.key).execute({ program: s.program }, options);
    for (const result of await RestatePromise.all([once(), once()])) check(result, s.program);
    check(await once(), s.program);
  },
  attached: async (ctx, s, from) => {
    const handle = ctx.objectSendClient(interpreter, s.program.key).execute({ program: s.program, from: from() });
    check(await ctx.invocation(await handle.invocationId).attach(), s.program);
  },
  cancelled: async (ctx, s) => {
    const { id, promise } = ctx.awakeable();
    const child = ctx.objectClient(interpreter, s.key).sleepForever({ id: s.id, awakeable: id });
    await promise;
    ctx.invocation(await child.invocationId).cancel();
    await expectFailure(child, 409);
  },
  parallel: async (ctx, s, from) => {
    const calls = s.programs.map((p) => call(ctx, p, from()));
    if (s.wait === "race") await RestatePromise.race(calls);
    else if (s.wait === "allSettled") await RestatePromise.allSettled(calls);
    const results = await RestatePromise.all(calls);
    results.forEach((result, i) => check(result, s.programs[i]));
  },
};
const call = (ctx, program, from) => ctx.objectClient(interpreter, program.key).execute({ program, from });
const complete = (ctx, ms, what) =>
  ctx.serviceSendClient(completer).complete(what, ...(ms > 0 ? [restate.rpc.sendOpts({ delay: ms })] : []));

export const interpreter = restate.object({
  name: "Interpreter",
  handlers: {
    execute: async (ctx, { program, from, fail }) => {
      chaos.attempts++;
      await checkOrder(ctx, from);
      await mark(ctx, program.id);
      let seq = 0;
      for (const s of program.steps) {
        maybeFail();
        await steps[s.kind](ctx, s, () => ({ sender: ctx.request().id, seq: ++seq }));
        maybeFail();
        await mark(ctx, s.id);
      }
      if (fail) throw new TerminalError(`${program.id}`, { errorCode: 418 });
      return resultOf(program);
    },
    sleepForever: async (ctx, { id, awakeable }) => {
      await mark(ctx, id);
      ctx.resolveAwakeable(awakeable);
      await ctx.sleep({ days: 1 });
    },
    seen: handlers.object.shared(async (ctx) => (await ctx.get("seen")) ?? { count: 0, sum: 0 }),
  },
});

export const completer = restate.service({
  name: "Completer",
  handlers: {
    complete: async (ctx, what) => {
      maybeFail();
      if (what.signal) ctx.invocation(what.invocation).signal(what.signal).resolve(what.value);
      else if (what.reason) ctx.rejectAwakeable(what.awakeable, what.reason);
      else ctx.resolveAwakeable(what.awakeable, what.value);
    },
  },
});

export const flow = restate.workflow({
  name: "TortureFlow",
  handlers: {
    run: async (ctx, value) => {
      ctx.set("value", value);
      maybeFail();
      const released = await ctx.promise("release");
      return (await ctx.get("value")) + released;
    },
    release: async (ctx, value) => {
      maybeFail();
      await ctx.promise("release").resolve(value);
    },
  },
});
export { serde, sleep };
