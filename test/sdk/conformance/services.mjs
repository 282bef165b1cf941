// The services behind the conformance cases. They do what the services of the official test suites do, by the names of
// spec/invocation-lifecycle.md §15; what user code did and how often is counted in `seen`, in this process.
import { restate, sleep } from "../harness.mjs";

const { TerminalError, RestatePromise, serde, handlers } = restate;
const json = { inputSerde: serde.json, outputSerde: serde.json };
const shared = handlers.object.shared;

// Executions of user code by key: `tick` counts, `seen` reads.
const counts = new Map();
export const tick = (key) => {
  counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts.get(key);
};
export const seen = (key) => counts.get(key) ?? 0;

// Gates let a test hold user code (outside the journal) until it says go.
const gates = new Map();
export const gate = (key) => {
  if (!gates.has(key)) gates.set(key, Promise.withResolvers());
  return gates.get(key);
};

// Handlers that hold an invocation in a state, for services of tests: running, suspended, backing off.
export const held = {
  // Runs until the test opens the gate.
  blocked: async (ctx, key) => {
    tick(key);
    await ctx.run("wait", () => gate(key).promise);
    return "done";
  },
  sleepy: async (ctx, { key, ms }) => {
    tick(key);
    await ctx.sleep(ms);
    tick(key);
    return "slept";
  },
  // Fails the first time, to be tried again after some seconds.
  later: async (ctx, { key, seconds }) => {
    if (tick(key) === 1) throw new restate.RetryableError("not yet", { retryAfter: { seconds } });
    return "at last";
  },
};

export const counter = restate.object({
  name: "Counter",
  handlers: {
    add: async (ctx, amount) => {
      const oldValue = (await ctx.get("counter")) ?? 0;
      const newValue = oldValue + amount;
      ctx.set("counter", newValue);
      return { oldValue, newValue };
    },
    addThenFail: async (ctx, amount) => {
      ctx.set("counter", ((await ctx.get("counter")) ?? 0) + amount);
      throw new TerminalError(ctx.key);
    },
    get: shared(async (ctx) => (await ctx.get("counter")) ?? 0),
    reset: async (ctx) => ctx.clear("counter"),
  },
});

export const listObject = restate.object({
  name: "ListObject",
  handlers: {
    append: async (ctx, value) => ctx.set("list", [...((await ctx.get("list")) ?? []), value]),
    get: async (ctx) => (await ctx.get("list")) ?? [],
  },
});

export const mapObject = restate.object({
  name: "MapObject",
  handlers: {
    set: async (ctx, { key, value }) => ctx.set(key, value),
    get: async (ctx, key) => (await ctx.get(key)) ?? "",
    keys: shared(async (ctx) => (await ctx.stateKeys()).sort()),
    clearAll: async (ctx) => {
      const entries = [];
      for (const key of (await ctx.stateKeys()).sort()) entries.push({ key, value: (await ctx.get(key)) ?? "" });
      ctx.clearAll();
      return entries;
    },
    // Reads of own writes, of cleared keys, and of what was there before.
    readYourWrites: async (ctx) => {
      const before = await ctx.get("old");
      ctx.set("fresh", "new");
      ctx.clear("old");
      const middle = [await ctx.get("fresh"), await ctx.get("old"), await ctx.get("never")];
      ctx.clearAll();
      return { before, middle, after: [await ctx.get("fresh"), await ctx.stateKeys()] };
    },
  },
});

// A request to any handler: {service, key?, handler, message, headers?, idempotencyKey?, delay?}.
const target = ({ service, key, handler, message, headers, idempotencyKey }) => ({
  ...json,
  service,
  key,
  method: handler,
  parameter: message,
  headers,
  idempotencyKey,
});
export const proxy = restate.service({
  name: "Proxy",
  handlers: {
    call: async (ctx, request) => ctx.genericCall(target(request)),
    oneWayCall: async (ctx, request) =>
      ctx.genericSend({ ...target(request), ...(request.delay ? { delay: request.delay } : {}) }).invocationId,
    manyCalls: async (ctx, requests) => {
      const awaited = [];
      for (const { oneWay, ...request } of requests) {
        if (oneWay) ctx.genericSend(target(request));
        else awaited.push(ctx.genericCall(target(request)));
      }
      return awaited.length ? RestatePromise.all(awaited) : [];
    },
    callAndCatch: async (ctx, request) => {
      try {
        return { value: await ctx.genericCall(target(request)) };
      } catch (error) {
        if (!(error instanceof TerminalError)) throw error;
        return { code: error.code, message: error.message, metadata: error.metadata };
      }
    },
    callId: async (ctx, request) => {
      const call = ctx.genericCall(target(request));
      const id = await call.invocationId;
      return { id, value: await call };
    },
  },
});

// ---- cancel and kill: a runner calls an object that blocks on an operation ----

export const awakeableHolder = restate.object({
  name: "AwakeableHolder",
  handlers: {
    hold: async (ctx, id) => ctx.set("id", id),
    id: shared(async (ctx) => (await ctx.get("id")) ?? null),
    unlock: async (ctx, payload) => {
      const id = await ctx.get("id");
      if (!id) throw new TerminalError("no awakeable is registered");
      ctx.resolveAwakeable(id, payload);
      ctx.clear("id");
    },
    refuse: async (ctx, reason) => ctx.rejectAwakeable(await ctx.get("id"), reason),
  },
});

export const blocker = restate.object({
  name: "CancelTestBlocking",
  handlers: {
    block: async (ctx, operation) => {
      const { id, promise } = ctx.awakeable();
      await ctx.objectClient(awakeableHolder, ctx.key).hold(id);
      await promise;
      switch (operation) {
        case "CALL":
          await ctx.objectClient(blocker, ctx.key).block(operation);
          break;
        case "SLEEP":
          await ctx.sleep({ days: 1 });
          break;
        case "AWAKEABLE":
          await ctx.awakeable().promise;
          break;
      }
    },
    isUnlocked: async () => {},
  },
});

export const cancelRunner = restate.object({
  name: "CancelTestRunner",
  handlers: {
    startTest: async (ctx, operation) => {
      try {
        await ctx.objectClient(blocker, ctx.key).block(operation);
      } catch (error) {
        if (error instanceof TerminalError && error.code === 409) ctx.set("state", true);
        else throw error;
      }
    },
    verifyTest: async (ctx) => (await ctx.get("state")) ?? false,
  },
});

// Looks after its own clean-up: catches the cancellation, then goes on durably.
export const cleaner = restate.service({
  name: "Cleaner",
  handlers: {
    work: async (ctx, key) => {
      try {
        await ctx.sleep({ days: 1 });
      } catch (error) {
        if (!(error instanceof TerminalError)) throw error;
        await ctx.sleep(50);
        const before = await ctx.objectClient(counter, key).add(1);
        return `caught ${error.code} ${error.message} after ${before.oldValue}`;
      }
    },
  },
});

export const killRunner = restate.object({
  name: "KillTestRunner",
  handlers: {
    startCallTree: async (ctx) => ctx.objectClient(killSingleton, ctx.key).recursiveCall(),
  },
});
export const killSingleton = restate.object({
  name: "KillTestSingleton",
  handlers: {
    recursiveCall: async (ctx) => {
      const { id, promise } = ctx.awakeable();
      ctx.objectSendClient(awakeableHolder, ctx.key).hold(id);
      await promise;
      await ctx.objectClient(killSingleton, ctx.key).recursiveCall();
    },
    isUnlocked: async () => {},
  },
});
// A parent with one awaited and one not awaited child that both block for good.
export const family = restate.service({
  name: "Family",
  handlers: {
    parent: async (ctx, key) => {
      ctx.objectSendClient(family2, `${key}-sent`).child();
      await ctx.objectClient(family2, `${key}-called`).child();
    },
  },
});
export const family2 = restate.object({
  name: "FamilyChild",
  handlers: {
    child: async (ctx) => {
      ctx.set("id", ctx.request().id);
      await ctx.sleep({ days: 1 });
    },
    id: shared(async (ctx) => (await ctx.get("id")) ?? null),
    isUnlocked: async () => true,
  },
});

// ---- failures ----

const metadataOf = (metadata) => (metadata ? { metadata } : {});
export const failing = restate.object({
  name: "Failing",
  handlers: {
    terminallyFailingCall: async (ctx, { message, metadata }) => {
      throw new TerminalError(message, metadataOf(metadata));
    },
    callTerminallyFailingCall: async (ctx, { message, metadata }) => {
      await ctx.objectClient(failing, ctx.rand.uuidv4()).terminallyFailingCall({ message, metadata });
      throw new Error("not reached");
    },
    failingCallWithEventualSuccess: async (ctx) => {
      const attempt = tick(`eventual-${ctx.key}`);
      if (attempt >= 4) return attempt;
      throw new Error(`failed at attempt ${attempt}`);
    },
    terminallyFailingSideEffect: async (ctx, { message, metadata }) => {
      await ctx.run("fails", () => {
        throw new TerminalError(message, metadataOf(metadata));
      });
    },
    sideEffectSucceedsAfterGivenAttempts: async (ctx, minimum) =>
      ctx.run(
        "flaky",
        () => {
          const attempt = tick(`run-${ctx.key}`);
          if (attempt < minimum) throw new Error(`failed at attempt ${attempt}`);
          return attempt;
        },
        { initialRetryInterval: 10, retryIntervalFactor: 1 },
      ),
    sideEffectFailsAfterGivenAttempts: async (ctx, maximum) => {
      try {
        await ctx.run(
          "hopeless",
          () => {
            throw new Error(`failed at attempt ${tick(`run-${ctx.key}`)}`);
          },
          { initialRetryInterval: 10, retryIntervalFactor: 1, maxRetryAttempts: maximum },
        );
      } catch (error) {
        if (error instanceof TerminalError) return seen(`run-${ctx.key}`);
        throw error;
      }
    },
  },
});

// Takes another path in every attempt; service options say that a mismatch is final.
export const nonDeterministic = restate.object({
  name: "NonDeterministic",
  handlers: {
    eitherSleepOrCall: async (ctx) => {
      if (tick(`nd-${ctx.key}`) % 2 === 1) await ctx.sleep(100);
      else await ctx.objectClient(counter, "abc").get();
      await suspendThenIncrement(ctx);
    },
    callDifferentMethod: async (ctx) => {
      if (tick(`nd-${ctx.key}`) % 2 === 1) await ctx.objectClient(counter, "abc").get();
      else await ctx.objectClient(counter, "abc").reset();
      await suspendThenIncrement(ctx);
    },
    backgroundInvokeWithDifferentTargets: async (ctx) => {
      if (tick(`nd-${ctx.key}`) % 2 === 1) ctx.objectSendClient(counter, "abc").get();
      else ctx.objectSendClient(counter, "abc").reset();
      await suspendThenIncrement(ctx);
    },
    setDifferentKey: async (ctx) => {
      if (tick(`nd-${ctx.key}`) % 2 === 1) ctx.set("a", "my-state");
      else ctx.set("b", "my-state");
      await suspendThenIncrement(ctx);
    },
  },
  options: { retryPolicy: { maxAttempts: 1, onMaxAttempts: "kill" }, inactivityTimeout: 0 },
});
// The sleep makes the attempt end (this service runs in request-response mode), so what follows is reached only by a replay.
async function suspendThenIncrement(ctx) {
  await ctx.sleep(100);
  ctx.objectSendClient(counter, ctx.key).add(1);
}

// ---- the rest of the SDK suite ----

export const testUtil = restate.service({
  name: "TestUtil",
  handlers: {
    echo: async (ctx, input) => input,
    uppercaseEcho: async (ctx, input) => input.toUpperCase(),
    echoHeaders: async (ctx) => Object.fromEntries(ctx.request().headers),
    attemptHeaders: async (ctx) => Object.fromEntries(ctx.request().attemptHeaders),
    rawEcho: handlers.handler({ input: serde.binary, output: serde.binary, accept: "*/*" }, async (ctx, bytes) => bytes),
    sleepConcurrently: async (ctx, durations) => {
      await RestatePromise.all(durations.map((ms) => ctx.sleep(ms)));
    },
    sleepThenStamp: async (ctx, ms) => {
      const start = await ctx.date.now();
      await ctx.sleep(ms);
      return (await ctx.date.now()) - start;
    },
    countExecutedSideEffects: async (ctx, times) => {
      let executed = 0;
      for (let i = 0; i < times; i++) await ctx.run("count", () => void executed++);
      return executed;
    },
    cancel: async (ctx, id) => ctx.cancel(id),
    random: async (ctx) => {
      const first = ctx.rand.random();
      await ctx.sleep(1);
      return [first, ctx.rand.random()];
    },
    resolveSignal: async (ctx, { id, name, value }) => ctx.invocation(id).signal(name).resolve(value),
    rejectSignal: async (ctx, { id, name, reason }) => ctx.invocation(id).signal(name).reject(reason),
    attach: async (ctx, id) => ctx.invocation(id).attach(),
    waitForSignal: async (ctx, name) => ctx.signal(name),
  },
});

export const workflow = restate.workflow({
  name: "BlockAndWait",
  handlers: {
    run: async (ctx, input) => {
      ctx.set("my-state", input);
      const output = await ctx.promise("durable-promise");
      if (!(await ctx.promise("durable-promise").peek())) throw new TerminalError("the promise should be completed");
      return output;
    },
    unblock: async (ctx, output) => ctx.promise("durable-promise").resolve(output),
    refuse: async (ctx, reason) => ctx.promise("durable-promise").reject(reason),
    peek: async (ctx) => (await ctx.promise("durable-promise").peek()) ?? null,
    wait: async (ctx, name) => ctx.promise(name),
    resolve: async (ctx, { name, value }) => ctx.promise(name).resolve(value),
    getState: async (ctx) => (await ctx.get("my-state")) ?? null,
  },
});

// Combinators over awakeables, signals, sleeps and runs. What is awaited is a tree on protocol V7 and a flat list before.
const settle = (results) => results.map((r) => (r.status === "fulfilled" ? { ok: r.value } : { error: r.reason.message }));
const ok = (ctx, name, value) => ctx.run(name, () => value);
const bad = (ctx, name) =>
  ctx.run(name, () => {
    throw new TerminalError(`${name} failed`);
  });
const signals = (ctx, names) => names.map((name) => ctx.signal(name));
const publish = async (ctx, keys) => {
  const awakeables = keys.map(() => ctx.awakeable());
  for (const [i, { id }] of awakeables.entries()) ctx.objectSendClient(awakeableHolder, `${ctx.key}-${keys[i]}`).hold(id);
  return awakeables.map((a) => a.promise);
};
const caught = async (promise) => {
  try {
    return { ok: await promise };
  } catch (error) {
    if (!(error instanceof TerminalError) && !(error instanceof AggregateError)) throw error;
    return { error: error.message };
  }
};
export const combinators = restate.object({
  name: "Combinators",
  handlers: {
    awakeableOrTimeoutUsingAwaitAny: async (ctx, ms) => {
      const [awakeable] = await publish(ctx, ["a"]);
      return RestatePromise.race([awakeable.map(() => "awakeable"), ctx.sleep(ms).map(() => "sleep")]);
    },
    awakeableOrTimeoutUsingAwakeableTimeoutCommand: async (ctx, ms) => {
      const [awakeable] = await publish(ctx, ["a"]);
      try {
        return await awakeable.orTimeout(ms);
      } catch (error) {
        if (error instanceof restate.TimeoutError) return "await-timeout";
        throw error;
      }
    },
    firstSuccessfulCompletedAwakeable: async (ctx) => RestatePromise.any(await publish(ctx, ["a", "b"])),
    signalFirstSuccessfulOrAllFailed: async (ctx) => caught(RestatePromise.any(signals(ctx, ["a", "b", "c"]))),
    signalAllSuccessfulOrFirstFailed: async (ctx) => caught(RestatePromise.all(signals(ctx, ["a", "b", "c"]))),
    signalAllCompleted: async (ctx) => settle(await RestatePromise.allSettled(signals(ctx, ["a", "b", "c"]))),
    signalFirstCompleted: async (ctx) => caught(RestatePromise.race(signals(ctx, ["a", "b", "c"]))),
    mixedRunWinsRaceAgainstSignal: async (ctx) => RestatePromise.race([ctx.signal("never"), ok(ctx, "run", "run")]),
    mixedSignalWinsAfterRunFails: async (ctx) => RestatePromise.any([bad(ctx, "run"), ctx.signal("a")]),
    mixedAllSucceededRunAndSignal: async (ctx) => RestatePromise.all([ok(ctx, "run", "run"), ctx.signal("a")]),
    mixedAllCompletedRunSignalAndFailedRun: async (ctx) =>
      settle(await RestatePromise.allSettled([ok(ctx, "run", "run"), ctx.signal("a"), bad(ctx, "bad")])),
    nested: async (ctx) =>
      caught(
        RestatePromise.all([
          RestatePromise.any([ctx.signal("a"), ctx.signal("b")]),
          RestatePromise.race([ctx.signal("c"), ctx.sleep({ days: 1 }).map(() => "sleep")]),
        ]),
      ),
    sleeps: async (ctx, durations) => {
      tick(`sleeps-${ctx.key}`);
      await RestatePromise.all(durations.map((ms) => ctx.sleep(ms)));
    },
  },
});

export const sdkServices = [
  counter,
  listObject,
  mapObject,
  proxy,
  awakeableHolder,
  blocker,
  cancelRunner,
  cleaner,
  killRunner,
  killSingleton,
  family,
  family2,
  failing,
  nonDeterministic,
  testUtil,
  workflow,
  combinators,
];
export { sleep };
