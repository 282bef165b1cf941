// Scopes, limit keys and concurrency rules (spec/invocation-lifecycle.md §12.4, §12.5) as SDKs see and send them. What the server does
// with them in general is in test/sdk/conformance (scopes.test.mjs, limits.test.mjs).
import { after, before, describe } from "node:test";
import assert from "node:assert/strict";
import { Server, eventually } from "../sdk/harness.mjs";
import { Program, language } from "./program.mjs";
import { check, client, quick, unique } from "./world.mjs";
import { disposeOf } from "./server-cases.mjs";

const env = { ...quick, RESTATE_EXPERIMENTAL_ENABLE_VQUEUES: "true", RESTATE_EXPERIMENTAL_ENABLE_PROTOCOL_V7: "true" };

// `wanted` tells whether a setting is to be run.
export function scopeSuites(wanted) {
  for (const [suite, programEnv] of Object.entries({ scopes: {}, "scopes requestResponse": { REQUEST_RESPONSE: "1" } })) {
    if (!wanted(suite)) continue;
    describe(`${language}, ${suite}`, () => {
      const w = { suite };
      before(
        async () => {
          w.program = await Program.start(programEnv);
          w.server = await Server.start({ env });
          await w.server.register(w.program);
        },
        { timeout: 60_000 },
      );
      after(() => disposeOf(w), { timeout: 30_000 });
      fromIngress(w, client(w));
      fromHandlers(w, client(w));
      rules(w, client(w));
    });
  }
}

const scoped = (scope, path, verb = "call") => `/restate/scope/${scope}/${verb}/${path}`;

function fromIngress(w, c) {
  const call = async (scope, path, body, headers = {}) => {
    const r = await w.server.request(scoped(scope, path), { body, headers });
    assert.equal(r.status, 200, JSON.stringify(r.body));
    return r;
  };
  check(w, "ScopeIsolationTest.sameIdempotencyKeyAcrossScopesIsolates", async () => {
    const headers = { "idempotency-key": unique("ik") };
    const ids = new Set();
    for (const scope of ["tenant-a", "tenant-b"]) {
      const key = unique(scope);
      const [first, again] = [await call(scope, "TestUtil/tick", key, headers), await call(scope, "TestUtil/tick", key, headers)];
      assert.deepEqual([first.body, again.body, again.id], [1, 1, first.id]);
      ids.add(first.id);
    }
    ids.add((await w.server.request("/TestUtil/tick", { body: unique(), headers })).id);
    assert.equal(ids.size, 3);
  });
  check(w, "Scopes: the handler sees scope, limit key and idempotency key", async () => {
    const { body } = await call("tenant-a", "TestUtil/submittedWith", undefined, { "x-restate-limit-key": "user/42", "idempotency-key": "see-1" });
    assert.deepEqual(body, { scope: "tenant-a", limitKey: "user/42", idempotencyKey: "see-1" });
    assert.equal((await c.util("submittedWith")).scope, null);
  });
  check(w, "Scopes: workflows of one key in two scopes are two workflows", async () => {
    const key = unique("wf");
    const ids = {};
    for (const scope of ["tenant-a", "tenant-b"]) {
      const r = await w.server.request(scoped(scope, `BlockAndWait/${key}/run`, "send"), { body: scope });
      ids[scope] = r.body.invocationId;
    }
    for (const scope of ["tenant-a", "tenant-b"])
      await eventually(async () => (await call(scope, `BlockAndWait/${key}/getState`)).body === scope);
    assert.ok(!(await c.call("BlockAndWait", key, "getState")));
    await call("tenant-a", `BlockAndWait/${key}/unblock`, "first");
    assert.equal((await c.attach(ids["tenant-a"])).body, "first");
    assert.equal((await c.output(ids["tenant-b"])).status, 470);
    await call("tenant-b", `BlockAndWait/${key}/unblock`, "second");
    assert.equal((await c.attach(ids["tenant-b"])).body, "second");
  });
}

function fromHandlers(w, c) {
  const target = { service: "TestUtil", handler: "submittedWith", scope: "tenant-c", limitKey: "l1/l2" };
  check(w, "Scopes: calls and sends of handlers carry scope and limit key", async () => {
    const submitted = { ...target, idempotencyKey: unique("from-handler") };
    const { scope, limitKey, idempotencyKey } = submitted;
    assert.deepEqual(await w.server.call("/Proxy/call", submitted), { scope, limitKey, idempotencyKey });
    const id = await w.server.call("/Proxy/oneWayCall", target);
    const sent = await eventually(async () => (({ status, body }) => status === 200 && body)(await c.attach(id))); // on its way until then
    assert.deepEqual(sent, { scope, limitKey, idempotencyKey: null });
    const [row] = await w.server.sql(`SELECT scope, limit_key FROM sys_invocation WHERE id = '${id}'`);
    assert.deepEqual(row, { scope, limit_key: limitKey });
  });
  check(w, "Scopes: one idempotency key in two scopes, by handlers", async () => {
    const [key, idempotencyKey] = [unique("tick"), unique("ik")];
    const tick = { service: "TestUtil", handler: "tick", message: key, idempotencyKey };
    const times = [];
    for (const scope of ["tenant-a", "tenant-a", "tenant-b", undefined]) times.push(await w.server.call("/Proxy/call", { ...tick, scope }));
    assert.deepEqual(times, [1, 1, 2, 3]);
  });
}

function rules(w, c) {
  const limit = (pattern, concurrency) => c.admin("/limits/rules", [{ pattern, limits: { concurrency } }], "PUT");
  check(w, "ConcurrencyLimitTest.concurrencyLimitIsRespected", async () => {
    const [scope, key] = [unique("limit"), unique("work")];
    assert.equal((await limit(scope, 2)).status, 200);
    const submit = () => w.server.request(scoped(scope, "TestUtil/work", "send"), { body: { key, ms: 150 } });
    const sent = await Promise.all(Array.from({ length: 6 }, submit));
    for (const { body } of sent) assert.equal((await c.attach(body.invocationId)).status, 200);
    assert.equal(await c.util("mostAtOnce", key), 2);
  });
  check(w, "ServiceToServiceScopeConcurrency.scopeAndLimitKeyArePropagatedOnServiceToServiceCalls", async () => {
    const [scope, key] = [unique("s2s"), unique("work")];
    await limit(`${scope}/*`, 2);
    const request = { service: "TestUtil", handler: "work", message: { key, ms: 150 }, scope, limitKey: "tenant" };
    await w.server.call("/Proxy/manyCalls", Array(6).fill(request));
    assert.equal(await c.util("mostAtOnce", key), 2);
  });
}
