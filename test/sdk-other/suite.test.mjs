// The cases of spec/invocation-lifecycle.md §15 with services written in another language (test/sdk-<language>), under several settings
// of the server. Not part of `make test`: run by `make test-sdk-<language>`. README.md here is the contract of the services.
// SUITE=<name> runs one setting, REPORT=<file> appends a line per case for docs/conformance.md, and "# all" at the end.
import { after, before, describe } from "node:test";
import { appendFileSync } from "node:fs";
import assert from "node:assert/strict";
import { Server, eventually, sleep } from "../sdk/harness.mjs";
import { Program, language } from "./program.mjs";
import { at, check, client, quick, unique } from "./world.mjs";
import { scopeSuites } from "./scope-cases.mjs";
import { deploymentCases, disposeOf, ingressCases, memorySuite, operationCases, signingSuite } from "./server-cases.mjs";

const suspending = { RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "0s" };
const lazy = { RESTATE_WORKER__INVOKER__DISABLE_EAGER_STATE: "true" };
const v7 = { RESTATE_EXPERIMENTAL_ENABLE_PROTOCOL_V7: "true" };
const settings = {
  default: {},
  alwaysSuspending: { env: suspending },
  lazyState: { env: lazy },
  lazyStateAlwaysSuspending: { env: { ...suspending, ...lazy } },
  singleThreadSinglePartition: { env: { RESTATE_DEFAULT_NUM_PARTITIONS: "1", RESTATE_DEFAULT_THREAD_POOL_SIZE: "1" } },
  persistedTimers: { env: { RESTATE_WORKER__NUM_TIMERS_IN_MEMORY_LIMIT: "1" } },
  protocolV7: { env: v7 },
  protocolV7AlwaysSuspending: { env: { ...v7, ...suspending } },
  requestResponse: { programEnv: { REQUEST_RESPONSE: "1" } },
  requestResponseV7: { programEnv: { REQUEST_RESPONSE: "1" }, env: v7 },
  http1: { programEnv: { REQUEST_RESPONSE: "1" }, registration: { use_http_11: true } },
};

const wanted = (suite) => !process.env.SUITE || process.env.SUITE === suite;

for (const [suite, { env = {}, programEnv = {}, registration = {} }] of Object.entries(settings)) {
  if (!wanted(suite)) continue;
  describe(`${language}, ${suite}`, () => {
    const w = { suite, programEnv, registration };
    w.suspends = "RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT" in env || "REQUEST_RESPONSE" in programEnv;
    before(
      async () => {
        w.program = await Program.start(programEnv);
        w.server = await Server.start({ env: { ...quick, ...env } });
        w.deployment = await w.server.register(w.program, registration);
      },
      { timeout: 60_000 },
    );
    after(() => disposeOf(w), { timeout: 30_000 });
    describe("concurrent", { concurrency: 6 }, () => concurrentCases(w));
    describe("disruptive", () => disruptiveCases(w));
    describe("deployments", () => deploymentCases(w, client(w)));
  });
}
scopeSuites(wanted);
if (wanted("memory")) memorySuite();
if (wanted("signed requests")) signingSuite();
after(() => process.env.REPORT && appendFileSync(process.env.REPORT, "# all\n"));

// Cases that may run at the same time: each has keys of its own.
function concurrentCases(w) {
  const c = client(w);
  orderAndCancellation(w, c);
  combinatorCases(w, c);
  communication(w, c);
  stateAndSleep(w, c);
  failures(w, c);
  workflowAndRest(w, c);
  ingressCases(w, c);
  operationCases(w, c);
}

function orderAndCancellation(w, c) {
  for (const oneWay of [
    [true, false, false],
    [false, true, false],
    [false, false, true],
  ])
    check(w, `CallOrdering.ordering [${oneWay}]`, async () => {
      const key = unique("order");
      const requests = oneWay.map((flag, i) => ({ service: "ListObject", key, handler: "append", message: String(i), oneWay: flag }));
      await w.server.call("/Proxy/manyCalls", requests);
      const list = await eventually(async () => {
        const values = await c.call("ListObject", key, "get");
        return values.length === 3 && values;
      });
      assert.deepEqual(list, ["0", "1", "2"]);
    });

  for (const operation of ["CALL", "SLEEP", "AWAKEABLE"]) {
    const blocked = async (key) => {
      const { invocationId } = await c.send("CancelTestRunner", key, "startTest", operation);
      await eventually(() => c.call("AwakeableHolder", key, "id"));
      await c.call("AwakeableHolder", key, "unlock", "cancel");
      return invocationId;
    };
    const verify = async (key) => {
      await eventually(() => c.call("CancelTestRunner", key, "verifyTest"), { timeoutMs: 20_000 });
      await c.call("CancelTestBlocking", key, "isUnlocked");
    };
    check(w, `Cancellation.cancelFromAdminAPI [${operation}]`, async () => {
      const key = unique("cancel");
      const id = await blocked(key);
      let cancelled = false;
      const done = verify(key).then(() => (cancelled = true));
      while (!cancelled) {
        const { status } = await w.server.operate("cancel", id);
        assert.ok([200, 202, 404, 409].includes(status), `cancel: ${status}`);
        await Promise.race([done, sleep(200)]);
      }
      await done;
    });
    check(w, `Cancellation.cancelFromContext [${operation}]`, async () => {
      const key = unique("cancel");
      const id = await blocked(key);
      await c.util("cancel", id);
      await verify(key);
    });
  }
  check(w, "Cancellation is caught and cleaned up after", async () => {
    const { invocationId } = await w.server.send("/Cleaner/work", unique("cleaner"));
    await sleep(100);
    assert.equal((await w.server.operate("cancel", invocationId)).status, 202);
    assert.equal((await c.attach(invocationId)).body, "caught 409 after 0");
  });
  check(w, "KillInvocation.kill", async () => {
    const key = unique("kill");
    const { invocationId } = await c.send("KillTestRunner", key, "startCallTree");
    await eventually(() => c.call("AwakeableHolder", key, "id"));
    await c.call("AwakeableHolder", key, "unlock", "go");
    assert.ok((await w.server.operate("kill", invocationId)).status < 300);
    const r = await c.attach(invocationId);
    assert.deepEqual([r.status, r.body.message], [409, "killed"]);
    await c.call("KillTestSingleton", key, "isUnlocked");
  });
}

function combinatorCases(w, c) {
  check(w, "Combinators.awakeableOrTimeoutUsingAwaitAny", async () => {
    assert.equal(await c.call("Combinators", unique(), "awakeableOrTimeoutUsingAwaitAny", 100), "sleep");
  });
  check(w, "Combinators.awakeableOrTimeoutUsingAwakeableTimeoutCommand", () => assert.fail("no services for it"));
  check(w, "Combinators.firstSuccessfulCompletedAwakeable", async () => {
    const key = unique();
    const { invocationId } = await c.send("Combinators", key, "firstSuccessfulCompletedAwakeable");
    for (const name of ["a", "b"]) await eventually(() => c.call("AwakeableHolder", `${key}-${name}`, "id"));
    await c.call("AwakeableHolder", `${key}-a`, "refuse", "no");
    await sleep(50);
    await c.call("AwakeableHolder", `${key}-b`, "unlock", "yes");
    assert.equal((await c.attach(invocationId)).body, "yes");
  });
  // [handler, signals in order (a value resolves, null rejects), result]
  for (const [handler, steps, expected] of [
    ["signalFirstSuccessfulOrAllFailed", { a: null, b: "two" }, { ok: "two" }],
    ["signalFirstSuccessfulOrAllFailed", { a: null, b: null, c: null }, { error: "c" }],
    ["signalAllSuccessfulOrFirstFailed", { a: "one", b: null }, { error: "b" }],
    ["signalAllCompleted", { c: "three", a: null, b: "two" }, [{ error: "a" }, { ok: "two" }, { ok: "three" }]],
    ["signalFirstCompleted", { b: null }, { error: "b" }],
    ["mixedRunWinsRaceAgainstSignal", {}, "run"],
    ["mixedSignalWinsAfterRunFails", { a: "one" }, "one"],
    ["mixedAllSucceededRunAndSignal", { a: "one" }, ["run", "one"]],
    ["mixedAllCompletedRunSignalAndFailedRun", { a: "one" }, [{ ok: "run" }, { ok: "one" }, { error: "bad failed" }]],
  ])
    check(w, `Combinators.${handler}${Object.keys(steps).length > 2 && handler.includes("First") ? " [all fail]" : ""}`, async () => {
      const { invocationId: id } = await c.send("Combinators", unique(), handler);
      for (const [name, value] of Object.entries(steps)) {
        await sleep(50);
        assert.equal((await c.output(id)).status, 470, "decided too early");
        if (value === null) await c.util("rejectSignal", { id, name, reason: name });
        else await c.util("resolveSignal", { id, name, value });
      }
      assert.deepEqual((await c.attach(id)).body, expected);
    });

  for (const when of ["before it awaits", "while it awaits"])
    check(w, `Signals.resolve [${when}]`, async () => {
      const { invocationId: id } = await w.server.send("/TestUtil/waitForSignal", "go");
      if (when !== "before it awaits") await sleep(200);
      await c.util("resolveSignal", { id, name: "go", value: "went" });
      assert.equal((await c.attach(id)).body, "went");
    });
  check(w, "Signals.reject", async () => {
    const { invocationId: id } = await w.server.send("/TestUtil/waitForSignal", "go");
    await c.util("rejectSignal", { id, name: "go", reason: "stay" });
    const r = await c.attach(id);
    assert.deepEqual([r.status, r.body.message], [500, "stay"]);
  });
}

function communication(w, c) {
  check(w, "Ingress.headersPassThrough", async () => {
    const headers = await c.util("echoHeaders", undefined, { headers: { "x-my-custom-header": "x-my-custom-value" } });
    assert.equal(headers["x-my-custom-header"], "x-my-custom-value");
  });
  check(w, "Ingress.rawHandler", async () => {
    const bytes = Uint8Array.from({ length: 4096 }, (_, i) => (i * 7) % 256);
    const response = await fetch(`${w.server.ingress}/TestUtil/rawEcho`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: bytes,
    });
    assert.equal(response.status, 200);
    assert.deepEqual(new Uint8Array(await response.arrayBuffer()), bytes);
    assert.equal(response.headers.get("content-type"), "application/octet-stream");
  });
  check(w, "Large values: 4 MiB in and out, in a step that is replayed, in state", async () => {
    const size = 4 << 20;
    const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 31) % 251);
    const headers = { "content-type": "application/octet-stream" };
    const r = await fetch(`${w.server.ingress}/TestUtil/rawEcho`, { method: "POST", headers, body: bytes });
    assert.equal(r.status, 200);
    assert.ok(Buffer.from(await r.arrayBuffer()).equals(Buffer.from(bytes)), "the bytes came back changed");
    assert.equal(await c.util("bigStep", size), size);
    const [key, value] = [unique("large"), "v".repeat(size)];
    await c.call("MapObject", key, "set", { key: "large", value });
    assert.equal(await c.call("MapObject", key, "get", "large"), value);
  });
  check(w, "ServiceToServiceCommunication.regularCall", async () => {
    const message = "hi there";
    assert.equal(await w.server.call("/Proxy/call", { service: "TestUtil", handler: "echo", message }), message);
  });
  check(w, "ServiceToServiceCommunication.callHeaders", async () => {
    const headers = { "x-from": "caller" };
    assert.equal((await w.server.call("/Proxy/call", { service: "TestUtil", handler: "echoHeaders", headers }))["x-from"], "caller");
  });
  check(w, "ServiceToServiceCommunication.callId", async () => {
    const { id, value } = await w.server.call("/Proxy/callId", { service: "TestUtil", handler: "echo", message: "x" });
    assert.match(id, /^inv_/);
    assert.equal(value, "x");
  });
  check(w, "ServiceToServiceCommunication.oneWayCall", async () => {
    const key = unique("one-way");
    await w.server.call("/Proxy/oneWayCall", { service: "Counter", key, handler: "add", message: 1 });
    await c.counterValue(key, 1);
    await sleep(100);
    await c.counterValue(key, 1);
  });
  check(w, "ServiceToServiceCommunication.oneWayCallWithIdempotencyKey", async () => {
    const key = unique("one-way");
    const message = { service: "Counter", key, handler: "add", message: 2, idempotencyKey: unique("ik") };
    const ids = [];
    for (let i = 0; i < 3; i++) ids.push(await w.server.call("/Proxy/oneWayCall", message));
    await c.counterValue(key, 2);
    await sleep(100);
    await c.counterValue(key, 2);
    assert.equal(new Set(ids).size, 1);
  });
  check(w, "ServiceToServiceCommunication.callWithIdempotencyKey", async () => {
    const key = unique("ik");
    const message = { service: "Counter", key, handler: "add", message: 2, idempotencyKey: unique("ik") };
    const results = await Promise.all([1, 2, 3].map(() => w.server.call("/Proxy/call", message)));
    for (const result of results) assert.deepEqual(result, { oldValue: 0, newValue: 2 });
    await c.counterValue(key, 2);
  });
  check(w, "ServiceToServiceCommunication.oneWayCallWithDelay", async () => {
    const key = unique("delay");
    const start = Date.now();
    await w.server.call("/Proxy/oneWayCall", { service: "Counter", key, handler: "add", message: 1, delay: 500 });
    await c.counterValue(key, 1);
    assert.ok(Date.now() - start >= 500, "executed too early");
  });
  check(w, "Attach and output", async () => {
    const { invocationId: id } = await w.server.send("/TestUtil/sleepThenStamp", 300);
    assert.equal((await c.output(id)).status, 470);
    const attached = await c.util("attach", id); // by a handler
    assert.ok(attached >= 300);
    assert.equal((await c.attach(id)).body, attached);
    assert.equal((await c.output(id)).body, attached);
  });
}

function stateAndSleep(w, c) {
  check(w, "Sleep.sleep", async () => {
    const start = Date.now();
    assert.ok((await c.util("sleepThenStamp", 400)) >= 390);
    assert.ok(Date.now() - start >= 400);
  });
  check(w, "Sleep.manySleeps", async () => {
    const durations = Array.from({ length: 20 }, () => 10 + Math.floor(Math.random() * 300));
    await Promise.all(Array.from({ length: 20 }, () => c.util("sleepConcurrently", durations)));
  });
  check(w, "State.add", async () => {
    const key = unique("state");
    assert.deepEqual(await c.call("Counter", key, "add", 1), { oldValue: 0, newValue: 1 });
    assert.deepEqual(await c.call("Counter", key, "add", 2), { oldValue: 1, newValue: 3 });
  });
  check(w, "State.proxyOneWayAdd", async () => {
    const key = unique("state");
    const message = { service: "Counter", key, handler: "add", message: 1, oneWay: true };
    await w.server.call("/Proxy/manyCalls", [message, message, message]);
    await c.counterValue(key, 3);
  });
  check(w, "State.listStateAndClearAll", async () => {
    const [key, other] = [unique("map"), unique("map")];
    await c.call("MapObject", key, "set", { key: "my-key-0", value: "my-value-0" });
    await c.call("MapObject", key, "set", { key: "my-key-1", value: "my-value-1" });
    await c.call("MapObject", other, "set", { key: "my-key-0", value: "my-value-2" });
    assert.deepEqual(await c.call("MapObject", key, "keys"), ["my-key-0", "my-key-1"]);
    assert.deepEqual(await c.call("MapObject", key, "clearAll"), [
      { key: "my-key-0", value: "my-value-0" },
      { key: "my-key-1", value: "my-value-1" },
    ]);
    assert.equal(await c.call("MapObject", key, "get", "my-key-0"), "");
    assert.equal(await c.call("MapObject", other, "get", "my-key-0"), "my-value-2");
  });
  check(w, "State.readYourWrites", async () => {
    const key = unique("map");
    await c.call("MapObject", key, "set", { key: "old", value: "o" });
    assert.deepEqual(await c.call("MapObject", key, "readYourWrites"), {
      before: "o",
      middle: ["new", null, null],
      after: [null, []],
    });
  });
}

function failures(w, c) {
  for (const handler of ["eitherSleepOrCall", "callDifferentMethod", "backgroundInvokeWithDifferentTargets", "setDifferentKey"])
    check(w, `NonDeterminismErrors.method [${handler}]`, async () => {
      const key = unique("nd");
      const r = await c.request("NonDeterministic", key, handler);
      assert.equal(r.status, 570, JSON.stringify(r.body)); // journal mismatch
      await sleep(100);
      assert.equal(await c.call("Counter", key, "get"), 0); // nothing of the diverging branch leaks
      assert.equal(await c.seen(`nd-${key}`), 2);
    });

  check(w, "RunFlush.flush", async () => {
    assert.equal(await c.util("countExecutedSideEffects", 3), w.suspends ? 0 : 3);
  });
  check(w, "RunRetry.withSuccess", async () => {
    const key = unique("run");
    assert.equal(await c.call("Failing", key, "sideEffectSucceedsAfterGivenAttempts", 3), 3);
    assert.equal(await c.seen(`run-${key}`), 3);
  });
  check(w, "RunRetry.executedOnlyOnce", async () => {
    const key = unique("run");
    assert.equal(await c.call("Failing", key, "sideEffectSucceedsAfterGivenAttempts", 1), 1);
    assert.equal(await c.seen(`run-${key}`), 1);
  });
  check(w, "RunRetry.withExhaustedAttempts", async () => {
    const key = unique("run");
    assert.ok((await c.call("Failing", key, "sideEffectFailsAfterGivenAttempts", 2)) >= 2);
    assert.ok((await c.seen(`run-${key}`)) >= 2);
  });

  const metadata = { "error-key": "error-value", other: "ü" };
  for (const [suffix, meta] of [
    ["", undefined],
    ["WithMetadata", metadata],
  ]) {
    const expected = (message) => ({ code: 500, message, source: "invocation", ...(meta ? { metadata: meta } : {}) });
    check(w, `UserErrors.invokeTerminallyFailingCall${suffix}`, async () => {
      const r = await c.request("Failing", unique(), "terminallyFailingCall", { message: "my error", metadata: meta });
      assert.deepEqual([r.status, r.body], [500, expected("my error")]);
    });
    check(w, `UserErrors.failSeveralTimes${suffix}`, async () => {
      const key = unique("fail"); // the object stays usable
      for (const message of ["first", "second", "third"])
        assert.deepEqual((await c.request("Failing", key, "terminallyFailingCall", { message, metadata: meta })).body, expected(message));
    });
    check(w, `UserErrors.internalCallFailurePropagation${suffix}`, async () => {
      const r = await c.request("Failing", unique(), "callTerminallyFailingCall", { message: "internal", metadata: meta });
      assert.deepEqual([r.status, r.body], [500, expected("internal")]);
    });
    check(w, `UserErrors.sideEffectWithTerminalError${suffix}`, async () => {
      const r = await c.request("Failing", unique(), "terminallyFailingSideEffect", { message: "effect", metadata: meta });
      assert.deepEqual([r.status, r.body], [500, expected("effect")]);
    });
    check(w, `UserErrors.callAndCatch${suffix}`, async () => {
      const key = unique();
      const message = { message: "caught", metadata: meta };
      const r = await w.server.call("/Proxy/callAndCatch", { service: "Failing", key, handler: "terminallyFailingCall", message });
      assert.deepEqual([r.code, r.message, r.metadata ?? undefined], [500, "caught", meta]);
    });
  }
  check(w, "UserErrors.setStateThenFailShouldPersistState", async () => {
    const key = unique("my-failure-state");
    const r = await c.request("Counter", key, "addThenFail", 1);
    assert.deepEqual([r.status, r.body.message], [500, key]);
    assert.equal(await c.call("Counter", key, "get"), 1);
  });
  check(w, "UserErrors.invocationWithEventualSuccess", async () => {
    assert.equal(await c.call("Failing", unique("eventual"), "failingCallWithEventualSuccess"), 4);
  });
  check(w, "UserErrors.retryAfterOfTheSdk", async () => {
    const start = Date.now();
    assert.equal(await c.call("Failing", unique("delayed"), "failingWithRetryAfter", 600), 2);
    assert.ok(Date.now() - start >= 600, "retried too early");
  });
}

function workflowAndRest(w, c) {
  const view = (key, what) => w.server.get(at("restate/workflow/BlockAndWait", key, what));
  check(w, "WorkflowAPI.setAndResolve", async () => {
    const key = unique("wf");
    const first = await c.send("BlockAndWait", key, "run", "input");
    assert.equal(first.status, "Accepted");
    await eventually(async () => (await c.call("BlockAndWait", key, "getState")) === "input");
    assert.equal(await c.call("BlockAndWait", key, "peek"), "");
    assert.equal((await view(key, "output")).status, 470);
    await c.call("BlockAndWait", key, "unblock", "output");
    assert.equal((await view(key, "attach")).body, "output");
    assert.equal((await view(key, "output")).body, "output");
    assert.equal(await c.call("BlockAndWait", key, "peek"), "output");
    assert.deepEqual(await c.send("BlockAndWait", key, "run", "input"), { invocationId: first.invocationId, status: "PreviouslyAccepted" });
    assert.equal((await view(key, "output")).body, "output");
    const again = await c.request("BlockAndWait", key, "unblock", "again"); // the Rust SDK does not await the refusal
    assert.equal(again.status, language === "rust" ? 200 : 409);
  });
  check(w, "WorkflowAPI.rejectedPromise", async () => {
    const key = unique("wf");
    await c.send("BlockAndWait", key, "run", "input");
    await c.call("BlockAndWait", key, "refuse", "no way");
    const r = await view(key, "attach");
    assert.deepEqual([r.status, r.body.message], [500, "no way"]);
  });
  check(w, "Random seed is stable over attempts", async () => {
    const [a, uuid, b] = await c.util("random");
    assert.ok(a !== b && a >= 0 && a < 1 && b >= 0 && b < 1);
    assert.match(uuid, /^[0-9a-f-]{36}$/);
  });
}

// Cases that stop or kill what the others use; run one after the other, last.
function disruptiveCases(w) {
  const c = client(w);

  for (const [name, how] of [
    ["KillRuntime.startAndKillRuntimeRetainsTheState", "crash"],
    ["StopRuntime.startAndStopRuntimeRetainsTheState", "stop"],
  ])
    check(w, name, async () => {
      const key = unique("retained");
      assert.deepEqual(await c.call("Counter", key, "add", 1), { oldValue: 0, newValue: 1 });
      await w.server[how]();
      await w.server.launch();
      assert.deepEqual(await c.call("Counter", key, "add", 2), { oldValue: 1, newValue: 3 });
    });

  check(w, "KillRuntime.inFlightInvocationsResume", async () => {
    const invocations = [];
    for (let i = 0; i < 5; i++) {
      const key = unique("in-flight");
      invocations.push([key, (await w.server.send("/TestUtil/stepThenSleep", { key, ms: 1500 })).invocationId]);
    }
    const wf = unique("wf");
    await c.send("BlockAndWait", wf, "run", "input");
    await eventually(async () => (await c.call("BlockAndWait", wf, "getState")) === "input");
    for (const [key] of invocations) await c.counterValue(key, 1);
    await w.server.restart();
    for (const [key, id] of invocations) {
      const { status, body } = await c.attach(id);
      assert.equal(status, 200, JSON.stringify(body));
      assert.equal(body.counter, 2); // each of the two calls took effect once
      assert.equal(await c.seen(key), 1); // the step ran once
    }
    await c.call("BlockAndWait", wf, "unblock", "after the crash");
    assert.equal((await w.server.get(at("restate/workflow/BlockAndWait", wf, "attach"))).body, "after the crash");
  });

  for (const [name, signal] of [
    ["sleepAndKillServiceEndpoint", "SIGKILL"],
    ["sleepAndTerminateServiceEndpoint", "SIGTERM"],
  ])
    check(w, `SleepWithFailures.${name}`, async () => {
      const start = Date.now();
      const pending = c.util("sleepThenStamp", 1000);
      await sleep(300);
      await w.program.kill(signal);
      await sleep(200);
      await w.program.launch();
      await pending;
      assert.ok(Date.now() - start >= 1000, "completed too early");
    });

  check(w, "Both die in the middle of things", async () => {
    const key = unique("both");
    const { invocationId } = await w.server.send("/TestUtil/stepThenSleep", { key, ms: 1000 });
    await c.counterValue(key, 1);
    await Promise.all([w.server.crash(), w.program.kill()]);
    await w.program.launch();
    await w.server.launch();
    const { status, body } = await c.attach(invocationId);
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.counter, 2);
    assert.equal(await c.seen(key), 0); // not run again by the new process
  });
}
