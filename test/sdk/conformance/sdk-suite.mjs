// The cases of spec/invocation-lifecycle.md §15.1 (the SDK test suite), to be run under several server settings.
import { assert, attach, check, eventually, output, sleep, unique } from "./world.mjs";
import { seen } from "./services.mjs";

const at = (service, key, handler) => `/${service}/${encodeURIComponent(key)}/${handler}`;
const failure = (message, extra = {}) => ({ code: 500, message, source: "invocation", ...extra });

// Cases that may run at the same time: each has keys of its own.
export function concurrentCases(w) {
  const call = (service, key, handler, body, options) => w.server.call(at(service, key, handler), body, options);
  const send = (service, key, handler, body) => w.server.send(at(service, key, handler), body);
  const request = (service, key, handler, body, options) => w.server.request(at(service, key, handler), { body, ...options });
  const util = (handler, body, options) => w.server.call(`/TestUtil/${handler}`, body, options);
  const counterValue = (key, value) => eventually(async () => (await call("Counter", key, "get")) === value);

  for (const oneWay of [
    [true, false, false],
    [false, true, false],
    [false, false, true],
  ])
    check(`CallOrdering.ordering [${oneWay}]`, async () => {
      const key = unique("order");
      const requests = oneWay.map((flag, i) => ({ service: "ListObject", key, handler: "append", message: String(i), oneWay: flag }));
      await w.server.call("/Proxy/manyCalls", requests);
      assert.deepEqual(await eventually(async () => listOf(await call("ListObject", key, "get"), 3)), ["0", "1", "2"]);
    });

  for (const operation of ["CALL", "SLEEP", "AWAKEABLE"]) {
    const blocked = async (key) => {
      const { invocationId } = await send("CancelTestRunner", key, "startTest", operation);
      await eventually(() => call("AwakeableHolder", key, "id"));
      await call("AwakeableHolder", key, "unlock", "cancel");
      return invocationId;
    };
    const verify = async (key) => {
      await eventually(() => call("CancelTestRunner", key, "verifyTest"), { timeoutMs: 20_000 });
      await call("CancelTestBlocking", key, "isUnlocked");
    };
    check(`Cancellation.cancelFromAdminAPI [${operation}]`, async () => {
      const key = unique("cancel");
      const id = await blocked(key);
      let cancelled = false;
      const done = verify(key).then(() => (cancelled = true));
      // The runner is told while it awaits the call; before that it is told and acts later. Repeats must be harmless.
      while (!cancelled) {
        const { status } = await w.server.operate("cancel", id);
        assert.ok([200, 202, 404, 409].includes(status), `cancel: ${status}`);
        await Promise.race([done, sleep(200)]);
      }
      await done;
    });
    check(`Cancellation.cancelFromContext [${operation}]`, async () => {
      const key = unique("cancel");
      const id = await blocked(key);
      await util("cancel", id);
      await verify(key);
    });
  }

  check("Combinators.awakeableOrTimeoutUsingAwaitAny", async () => {
    assert.equal(await call("Combinators", unique(), "awakeableOrTimeoutUsingAwaitAny", 100), "sleep");
  });
  check("Combinators.awakeableOrTimeoutUsingAwakeableTimeoutCommand", async () => {
    assert.equal(await call("Combinators", unique(), "awakeableOrTimeoutUsingAwakeableTimeoutCommand", 100), "await-timeout");
  });
  check("Combinators.firstSuccessfulCompletedAwakeable", async () => {
    const key = unique();
    const { invocationId } = await send("Combinators", key, "firstSuccessfulCompletedAwakeable");
    for (const name of ["a", "b"]) await eventually(() => call("AwakeableHolder", `${key}-${name}`, "id"));
    await call("AwakeableHolder", `${key}-a`, "refuse", "no");
    await sleep(50);
    await call("AwakeableHolder", `${key}-b`, "unlock", "yes");
    assert.equal((await attach(w.server, invocationId)).body, "yes");
  });
  // [handler, signals in order (a value resolves, null rejects), result]
  for (const [handler, steps, expected] of [
    ["signalFirstSuccessfulOrAllFailed", { a: null, b: "two" }, { ok: "two" }],
    ["signalAllSuccessfulOrFirstFailed", { a: "one", b: null }, { error: "b" }],
    ["signalAllCompleted", { c: "three", a: null, b: "two" }, [{ error: "a" }, { ok: "two" }, { ok: "three" }]],
    ["signalFirstCompleted", { b: null }, { error: "b" }],
    ["mixedRunWinsRaceAgainstSignal", {}, "run"],
    ["mixedSignalWinsAfterRunFails", { a: "one" }, "one"],
    ["mixedAllSucceededRunAndSignal", { a: "one" }, ["run", "one"]],
    ["mixedAllCompletedRunSignalAndFailedRun", { a: "one" }, [{ ok: "run" }, { ok: "one" }, { error: "bad failed" }]],
  ])
    check(`Combinators.${handler}`, async () => {
      const { invocationId: id } = await send("Combinators", unique(), handler);
      for (const [name, value] of Object.entries(steps)) {
        await sleep(30);
        assert.equal((await output(w.server, id)).status, 470, "decided too early");
        if (value === null) await util("rejectSignal", { id, name, reason: name });
        else await util("resolveSignal", { id, name, value });
      }
      assert.deepEqual((await attach(w.server, id)).body, expected);
    });
  check("Combinators.nested", async () => {
    const { invocationId: id } = await send("Combinators", unique(), "nested");
    await util("rejectSignal", { id, name: "a", reason: "a" });
    await util("resolveSignal", { id, name: "c", value: "three" });
    await util("resolveSignal", { id, name: "b", value: "two" });
    assert.deepEqual((await attach(w.server, id)).body, { ok: ["two", "three"] });
  });

  check("Ingress.headersPassThrough", async () => {
    const seenHeaders = await util("echoHeaders", undefined, { headers: { "x-my-custom-header": "x-my-custom-value" } });
    assert.equal(seenHeaders["x-my-custom-header"], "x-my-custom-value");
  });
  check("Ingress.rawHandler", async () => {
    const bytes = Uint8Array.from({ length: 4096 }, (_, i) => (i * 7) % 256);
    const response = await fetch(`${w.server.ingress}/TestUtil/rawEcho`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: bytes,
    });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "application/octet-stream");
    assert.deepEqual(new Uint8Array(await response.arrayBuffer()), bytes);
  });

  check("KillInvocation.kill", async () => {
    const key = unique("kill");
    const { invocationId } = await send("KillTestRunner", key, "startCallTree");
    await eventually(() => call("AwakeableHolder", key, "id"));
    await call("AwakeableHolder", key, "unlock", "go");
    assert.ok((await w.server.operate("kill", invocationId)).status < 300);
    const r = await attach(w.server, invocationId);
    assert.deepEqual([r.status, r.body.message], [409, "killed"]);
    await call("KillTestSingleton", key, "isUnlocked");
  });

  for (const handler of ["eitherSleepOrCall", "callDifferentMethod", "backgroundInvokeWithDifferentTargets", "setDifferentKey"])
    check(`NonDeterminismErrors.method [${handler}]`, async () => {
      const key = unique("nd");
      const r = await request("NonDeterministic", key, handler);
      assert.equal(r.status, 570); // journal mismatch
      // The diverging branch comes before the increment, so nothing of it may leak. (The official test says "stays 1" because its
      // service increments before; what counts is that it is not incremented again.)
      await sleep(100);
      assert.equal(await call("Counter", key, "get"), 0);
      assert.equal(seen(`nd-${key}`), 2);
    });

  check("RunFlush.flush", async () => {
    assert.equal(await util("countExecutedSideEffects", 3), w.suspends ? 0 : 3);
  });
  check("RunRetry.withSuccess", async () => {
    const key = unique("run");
    assert.equal(await call("Failing", key, "sideEffectSucceedsAfterGivenAttempts", 3), 3);
    assert.equal(seen(`run-${key}`), 3);
  });
  check("RunRetry.executedOnlyOnce", async () => {
    const key = unique("run");
    assert.equal(await call("Failing", key, "sideEffectSucceedsAfterGivenAttempts", 1), 1);
    assert.equal(seen(`run-${key}`), 1);
  });
  check("RunRetry.withExhaustedAttempts", async () => {
    const key = unique("run");
    assert.ok((await call("Failing", key, "sideEffectFailsAfterGivenAttempts", 2)) >= 2);
    assert.ok(seen(`run-${key}`) >= 2);
  });

  check("ServiceToServiceCommunication.regularCall", async () => {
    const message = "hi there";
    assert.equal(await w.server.call("/Proxy/call", { service: "TestUtil", handler: "echo", message }), message);
  });
  check("ServiceToServiceCommunication.oneWayCall", async () => {
    const key = unique("one-way");
    await w.server.call("/Proxy/oneWayCall", { service: "Counter", key, handler: "add", message: 1 });
    await counterValue(key, 1);
    await sleep(100);
    await counterValue(key, 1);
  });
  check("ServiceToServiceCommunication.oneWayCallWithIdempotencyKey", async () => {
    const key = unique("one-way");
    const message = { service: "Counter", key, handler: "add", message: 2, idempotencyKey: unique("ik") };
    const ids = [];
    for (let i = 0; i < 3; i++) ids.push(await w.server.call("/Proxy/oneWayCall", message));
    await counterValue(key, 2);
    await sleep(100);
    await counterValue(key, 2);
    assert.equal(new Set(ids).size, 1);
  });
  check("ServiceToServiceCommunication.callWithIdempotencyKey", async () => {
    const key = unique("ik");
    const message = { service: "Counter", key, handler: "add", message: 2, idempotencyKey: unique("ik") };
    const results = await Promise.all([1, 2, 3].map(() => w.server.call("/Proxy/call", message)));
    for (const result of results) assert.deepEqual(result, { oldValue: 0, newValue: 2 });
    await counterValue(key, 2);
  });
  check("ServiceToServiceCommunication.oneWayCallWithDelay", async () => {
    const key = unique("delay");
    const start = Date.now();
    await w.server.call("/Proxy/oneWayCall", { service: "Counter", key, handler: "add", message: 1, delay: 500 });
    await counterValue(key, 1);
    assert.ok(Date.now() - start >= 500, "executed too early");
  });

  for (const when of ["before it awaits", "while it awaits"])
    check(`Signals.resolve [${when}]`, async () => {
      const { invocationId: id } = await w.server.send("/TestUtil/waitForSignal", "go");
      if (when !== "before it awaits") await sleep(200);
      await util("resolveSignal", { id, name: "go", value: "went" });
      assert.equal((await attach(w.server, id)).body, "went");
    });
  check("Signals.reject", async () => {
    const { invocationId: id } = await w.server.send("/TestUtil/waitForSignal", "go");
    await util("rejectSignal", { id, name: "go", reason: "stay" });
    const r = await attach(w.server, id);
    assert.deepEqual([r.status, r.body.message], [500, "stay"]);
  });

  check("Sleep.sleep", async () => {
    const start = Date.now();
    assert.ok((await util("sleepThenStamp", 400)) >= 400);
    assert.ok(Date.now() - start >= 400);
  });
  check("Sleep.manySleeps", async () => {
    const durations = Array.from({ length: 20 }, () => 10 + Math.floor(Math.random() * 300));
    await Promise.all(Array.from({ length: 50 }, () => util("sleepConcurrently", durations)));
  });

  check("State.add", async () => {
    const key = unique("state");
    assert.deepEqual(await call("Counter", key, "add", 1), { oldValue: 0, newValue: 1 });
    assert.deepEqual(await call("Counter", key, "add", 2), { oldValue: 1, newValue: 3 });
  });
  check("State.proxyOneWayAdd", async () => {
    const key = unique("state");
    const message = { service: "Counter", key, handler: "add", message: 1 };
    await w.server.call(
      "/Proxy/manyCalls",
      [1, 2, 3].map(() => ({ ...message, oneWay: true })),
    );
    await counterValue(key, 3);
  });
  check("State.listStateAndClearAll", async () => {
    const [key, other] = [unique("map"), unique("map")];
    await call("MapObject", key, "set", { key: "my-key-0", value: "my-value-0" });
    await call("MapObject", key, "set", { key: "my-key-1", value: "my-value-1" });
    await call("MapObject", other, "set", { key: "my-key-0", value: "my-value-2" });
    assert.deepEqual(await call("MapObject", key, "clearAll"), [
      { key: "my-key-0", value: "my-value-0" },
      { key: "my-key-1", value: "my-value-1" },
    ]);
    assert.equal(await call("MapObject", key, "get", "my-key-0"), "");
    assert.equal(await call("MapObject", other, "get", "my-key-0"), "my-value-2");
  });
  check("State.readYourWrites", async () => {
    const key = unique("map");
    await call("MapObject", key, "set", { key: "old", value: "o" });
    assert.deepEqual(await call("MapObject", key, "readYourWrites"), {
      before: "o",
      middle: ["new", null, null],
      after: [null, []],
    });
  });

  const metadata = { "error-key": "error-value", other: "ü" };
  for (const [suffix, meta] of [
    ["", undefined],
    ["WithMetadata", metadata],
  ]) {
    const expected = (message) => failure(message, meta ? { metadata: meta } : {});
    check(`UserErrors.invokeTerminallyFailingCall${suffix}`, async () => {
      const r = await request("Failing", unique(), "terminallyFailingCall", { message: "my error", metadata: meta });
      assert.deepEqual([r.status, r.body], [500, expected("my error")]);
    });
    check(`UserErrors.failSeveralTimes${suffix}`, async () => {
      const key = unique("fail"); // the object stays usable
      for (const message of ["first", "second", "third"])
        assert.deepEqual((await request("Failing", key, "terminallyFailingCall", { message, metadata: meta })).body, expected(message));
    });
    check(`UserErrors.internalCallFailurePropagation${suffix}`, async () => {
      const r = await request("Failing", unique(), "callTerminallyFailingCall", { message: "internal", metadata: meta });
      assert.deepEqual([r.status, r.body], [500, expected("internal")]);
    });
    check(`UserErrors.sideEffectWithTerminalError${suffix}`, async () => {
      const r = await request("Failing", unique(), "terminallyFailingSideEffect", { message: "effect", metadata: meta });
      assert.deepEqual([r.status, r.body], [500, expected("effect")]);
    });
  }
  check("UserErrors.setStateThenFailShouldPersistState", async () => {
    const key = unique("my-failure-state");
    const r = await request("Counter", key, "addThenFail", 1);
    assert.deepEqual([r.status, r.body.message], [500, key]);
    assert.equal(await call("Counter", key, "get"), 1);
  });
  check("UserErrors.invocationWithEventualSuccess", async () => {
    assert.equal(await call("Failing", unique("eventual"), "failingCallWithEventualSuccess"), 4);
  });

  check("WorkflowAPI.setAndResolve", async () => {
    const key = unique("wf");
    const first = await send("BlockAndWait", key, "run", "input");
    assert.equal(first.status, "Accepted");
    await eventually(async () => (await call("BlockAndWait", key, "getState")) === "input");
    await call("BlockAndWait", key, "unblock", "output");
    assert.equal((await w.server.get(at("restate/workflow/BlockAndWait", key, "attach"))).body, "output");
    assert.equal((await w.server.get(at("restate/workflow/BlockAndWait", key, "output"))).body, "output");
    assert.deepEqual(await send("BlockAndWait", key, "run", "input"), { invocationId: first.invocationId, status: "PreviouslyAccepted" });
    assert.equal((await w.server.get(at("restate/workflow/BlockAndWait", key, "output"))).body, "output");
  });

  check("Random seed is stable over attempts", async () => {
    const [a, b] = await util("random");
    assert.ok(a !== b && a >= 0 && a < 1 && b >= 0 && b < 1);
  });
  check("Cancellation is caught and cleaned up after", async () => {
    const key = unique("cleaner");
    const { invocationId } = await w.server.send("/Cleaner/work", key);
    await sleep(100);
    assert.equal((await w.server.operate("cancel", invocationId)).status, 202);
    assert.equal((await attach(w.server, invocationId)).body, "caught 409 Cancelled after 0");
  });
}

// Cases that stop or kill what the others use; run one after the other, last.
export function disruptiveCases(w) {
  const call = (service, key, handler, body) => w.server.call(at(service, key, handler), body);

  for (const [name, how] of [
    ["KillRuntime.startAndKillRuntimeRetainsTheState", "crash"],
    ["StopRuntime.startAndStopRuntimeRetainsTheState", "stop"],
  ])
    check(name, async () => {
      const key = unique("retained");
      assert.deepEqual(await call("Counter", key, "add", 1), { oldValue: 0, newValue: 1 });
      const exit = await w.server[how]();
      if (how === "stop") assert.deepEqual(exit, { code: 0, signal: null });
      await w.server.launch();
      assert.deepEqual(await call("Counter", key, "add", 2), { oldValue: 1, newValue: 3 });
    });

  for (const name of ["sleepAndKillServiceEndpoint", "sleepAndTerminateServiceEndpoint"])
    check(`SleepWithFailures.${name}`, async () => {
      const start = Date.now();
      const pending = w.server.call("/TestUtil/sleepThenStamp", 1000);
      await sleep(300);
      if (name.includes("Kill")) await w.endpoint.kill();
      else await w.endpoint.terminate();
      await sleep(200);
      await w.endpoint.open();
      await pending;
      assert.ok(Date.now() - start >= 1000, "completed too early");
    });
}

function listOf(list, length) {
  return list.length === length ? list : null;
}
