// Retry policies (server default, manifest of service and handler), what happens at the last attempt, delays that the handler asks for,
// time-outs, and the journal events about it (spec/invocation-lifecycle.md §9, spec/service-protocol.md §9).
import { describe } from "node:test";
import { assert, attach, check, eventually, events, paused, restate, row, sleep, unique, world } from "./world.mjs";
import { gate, sdkServices, seen, tick } from "./services.mjs";

const { RetryableError, PauseError } = restate;
const broken = async (ctx, name) => {
  throw new Error(`attempt ${tick(name)}`);
};
const policy = (maxAttempts, onMaxAttempts, initialInterval = 10) => ({ initialInterval, maxInterval: 100, maxAttempts, onMaxAttempts });
const killing = restate.service({
  name: "Killing",
  handlers: {
    broken,
    patient: restate.handlers.handler({ retryPolicy: { maxAttempts: 5 } }, broken),
    gentle: restate.handlers.handler({ retryPolicy: { onMaxAttempts: "pause" } }, broken),
  },
  options: { retryPolicy: policy(3, "kill") },
});
const pausing = restate.service({
  name: "Pausing",
  handlers: {
    broken,
    // One new step per attempt: progress does not reset the count (a suspension would).
    progressing: restate.handlers.handler({ inactivityTimeout: 60_000 }, async (ctx, name) => {
      for (let i = 0; i < 100; i++) {
        await ctx.run(`step ${i}`, () => i);
        if (seen(name) <= i) throw new Error(`after ${tick(name) - 1}`);
      }
    }),
    // A suspension in between resets it.
    suspending: async (ctx, name) => {
      if (tick(name) <= 2) throw new Error("before");
      await ctx.sleep(500);
      if (tick(`${name}-after`) <= 2) throw new Error("after");
      return "passed";
    },
    // The closure asks for its own delay, which does not consume attempts.
    delays: async (ctx, name) =>
      ctx.run("delayed", () => {
        if (tick(name) < 8) throw RetryableError.from(new Error("later"), { retryAfter: 20 });
        return seen(name);
      }),
    asksToPause: async (ctx, name) => ctx.run("pauses", () => (tick(name) === 1 ? Promise.reject(new PauseError("look at me")) : "resumed")),
  },
  options: { retryPolicy: policy(3, "pause"), inactivityTimeout: 100 },
});
const once = restate.service({ name: "Once", handlers: { broken }, options: { retryPolicy: policy(1, "kill") } });
const plain = restate.service({
  name: "Plain",
  handlers: {
    broken,
    stuck: restate.handlers.handler({ inactivityTimeout: 200, abortTimeout: 300 }, async (ctx, name) => {
      if (tick(name) === 1) await gate(name).promise;
      return `attempt ${seen(name)}`;
    }),
    busy: restate.handlers.handler({ inactivityTimeout: 100, abortTimeout: 5000 }, async (ctx, name) =>
      ctx.run("busy", async () => {
        await sleep(600);
        return `attempt ${tick(name)}`;
      }),
    ),
    ...Object.fromEntries(["limited", "nothing", 500, 404, 413, 415, 502].map((what) => [`answers${what}`, async () => "let in"])),
  },
});
const mismatch = (name, behavior) =>
  restate.service({
    name,
    handlers: {
      diverge: async (ctx, name) => {
        if (tick(name) === 1) await ctx.run("one", () => 1);
        else await ctx.sleep(1);
        if (seen(name) === 1) throw new Error("again");
      },
    },
    options: { onJournalMismatchErrors: behavior, retryPolicy: policy(4, "kill") },
  });

const services = [...sdkServices, killing, pausing, once, plain, mismatch("MismatchPause", "pause"), mismatch("MismatchFail", "fail"), mismatch("MismatchRetry", "retry")];

function cases(w) {
  check("RetryPolicy: kill after max-attempts of the service; the last error is the result", async () => {
    const name = unique();
    const r = await w.server.request("/Killing/broken", { body: name });
    assert.deepEqual([r.status, r.body.message, seen(name)], [500, "attempt 3", 3]);
  });
  check("RetryPolicy: a handler's fields win over the service's, one by one", async () => {
    const [five, gentle] = [unique(), unique()];
    const r = await w.server.request("/Killing/patient", { body: five });
    assert.deepEqual([r.body.message, seen(five)], ["attempt 5", 5]);
    const { invocationId: id } = await w.server.send("/Killing/gentle", gentle);
    await eventually(() => seen(gentle) === 3);
    await paused(w.server, id);
    assert.equal(seen(gentle), 3);
  });
  check("RetryPolicy: one attempt means no retry", async () => {
    const name = unique();
    assert.equal((await w.server.request("/Once/broken", { body: name })).status, 500);
    assert.equal(seen(name), 1);
  });
  check("RetryPolicy: the server's default, pause at the end", async () => {
    const name = unique();
    const { invocationId: id } = await w.server.send("/Plain/broken", name);
    await eventually(() => seen(name) === 4);
    await paused(w.server, id);
    assert.equal(seen(name), 4);
    assert.equal((await w.server.operate("resume", id)).status, 200);
    await eventually(() => seen(name) === 8, { timeoutMs: 5000 });
    await paused(w.server, id);
    const list = await events(w.server, id);
    if (list) {
      const last = list.at(-1);
      assert.deepEqual([last.ty, last.last_failure.error_message, last.last_failure.restate_doc_error_code], ["Paused", "attempt 8", "RT0007"]);
    }
  });
  check("RetryPolicy: progress does not reset the attempts; events after each new step", async () => {
    const name = unique();
    const { invocationId: id } = await w.server.send("/Pausing/progressing", name);
    await eventually(() => seen(name) === 3);
    await paused(w.server, id);
    assert.equal(seen(name), 3);
    const list = await events(w.server, id);
    if (list)
      assert.deepEqual(
        list.map((e) => [e.ty, e.after, e.error_message ?? e.last_failure.error_message]),
        [
          ["TransientError", 2, "after 0"],
          ["TransientError", 4, "after 1"],
          ["Paused", 6, "after 2"],
        ],
      );
  });
  check("RetryPolicy: suspension resets the attempts", async () => {
    const name = unique();
    assert.equal(await w.server.call("/Pausing/suspending", name), "passed");
    assert.equal(seen(`${name}-after`), 3);
  });
  check("RetryPolicy: a delay that the handler asks for consumes no attempt", async () => {
    assert.equal(await w.server.call("/Pausing/delays", unique()), 8);
  });
  check("RetryPolicy: the handler asks for a pause", async () => {
    const name = unique();
    const { invocationId: id } = await w.server.send("/Pausing/asksToPause", name);
    await eventually(() => seen(name) === 1);
    await paused(w.server, id);
    await sleep(100);
    assert.equal(seen(name), 1);
    assert.equal((await w.server.operate("resume", id)).status, 200);
    assert.equal((await attach(w.server, id)).body, "resumed");
  });
  check("RetryPolicy: equal failures are one event", async () => {
    const { invocationId: id } = await w.server.send("/MismatchRetry/diverge", unique());
    await attach(w.server, id);
    const list = await events(w.server, id);
    if (list) assert.ok(list.filter((e) => e.error_code === 570).length <= 1);
  });
  check("NonDeterminismErrors.onJournalMismatchErrors {retry, pause, fail}", async () => {
    const names = [unique(), unique(), unique()];
    const retried = await w.server.request("/MismatchRetry/diverge", { body: names[0] });
    assert.deepEqual([retried.status, seen(names[0])], [570, 4]);
    const { invocationId } = await w.server.send("/MismatchPause/diverge", names[1]);
    const failed = await w.server.request("/MismatchFail/diverge", { body: names[2] });
    assert.equal(failed.status, 570);
    assert.equal(seen(names[2]), w.v7 ? 2 : 4);
    if (w.v7) {
      await eventually(() => seen(names[1]) === 2);
      await paused(w.server, invocationId);
      assert.equal(seen(names[1]), 2);
    } else assert.equal((await attach(w.server, invocationId)).status, 570);
  });
  check("Retry-After of 429 and 503 is obeyed and consumes no attempt", async () => {
    w.answers.answerslimited = [429, 503, 429, 503, 429, 503];
    assert.equal(await w.server.call("/Plain/answerslimited"), "let in");
  });
  for (const [status, code] of [
    [500, "RT0012"],
    [404, "RT0012"],
    [413, "RT0019"],
    [415, "RT0015"],
    [502, "RT0010"],
  ])
    check(`Endpoint answers ${status}: retried`, async () => {
      w.answers[`answers${status}`] = [status, status];
      const { invocationId: id } = await w.server.send(`/Plain/answers${status}`);
      assert.equal((await attach(w.server, id)).body, "let in");
      const list = await events(w.server, id);
      if (list) assert.equal(list[0].restate_doc_error_code, code);
    });
  check("Endpoint answers an Error without fields: code 0 is shown", async () => {
    w.answers.answersnothing = Array(3).fill("nothing");
    const { invocationId: id } = await w.server.send("/Plain/answersnothing");
    await eventually(async () => (await row(w.server, id, "last_failure"))?.last_failure === "[0] ", { everyMs: 5 });
    assert.equal((await attach(w.server, id)).body, "let in");
    const [event] = await events(w.server, id);
    assert.deepEqual([event.error_code, event.error_message, event.restate_doc_error_code], [0, "", "RT0007"]);
  });
  check("Abort timeout: the attempt is given up and retried", async () => {
    const name = unique();
    assert.equal(await w.server.call("/Plain/stuck", name), "attempt 2");
    gate(name).resolve();
  });
  check("Inactivity timeout: a handler in a step goes on", async () => {
    const name = unique();
    assert.equal(await w.server.call("/Plain/busy", name), "attempt 1");
    assert.equal(seen(name), 1);
  });
}

const errorWithoutFields = Buffer.from("0002000000000000", "hex"); // a message of the protocol (spec/service-protocol.md §4.1)

for (const v7 of [false, true])
  describe(v7 ? "retries on protocol V7" : "retries", { concurrency: 8 }, () => {
    const w = world({
      services,
      env: {
        RESTATE_DEFAULT_RETRY_POLICY__MAX_ATTEMPTS: "4",
        ...(v7 ? { RESTATE_EXPERIMENTAL_ENABLE_PROTOCOL_V7: "true" } : {}),
      },
      endpoint: {
        onRequest(request, response) {
          const status = w.answers[request.url.split("/").at(-1)]?.pop();
          if (status === "nothing") response.writeHead(200, { "content-type": request.headers.accept }).end(errorWithoutFields);
          else if (status) response.writeHead(status, { "retry-after": "0" }).end();
          return status !== undefined;
        },
      },
    });
    w.answers = {};
    w.v7 = v7;
    cases(w);
  });
