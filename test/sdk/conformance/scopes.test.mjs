// Scopes and limit keys (spec/invocation-lifecycle.md §12.4, spec/ingress.md §5.7): what a scope separates, what the handlers see of it,
// what is refused, and that it is off by default.
import { describe } from "node:test";
import { assert, attach, check, eventually, journal, official, restate, row, unique, world } from "./world.mjs";
import { seen, tick } from "./services.mjs";

const json = { inputSerde: restate.serde.json, outputSerde: restate.serde.json };

const scoped = restate.service({
  name: "Scoped",
  handlers: {
    count: async (ctx, key) => tick(key),
    seen: async (ctx) => {
      const { scope, limitKey, idempotencyKey } = ctx.request();
      return { scope: scope ?? null, limitKey: limitKey ?? null, idempotencyKey: idempotencyKey ?? null };
    },
    call: async (ctx, target) => ctx.genericCall({ ...json, parameter: null, ...target }),
    send: async (ctx, target) => ctx.genericSend({ inputSerde: restate.serde.json, parameter: null, ...target }).invocationId,
    tryCall: async (ctx, target) => {
      tick(`try-${target.scope}`);
      return ctx.genericCall({ ...json, parameter: null, ...target });
    },
  },
});
const scopedObject = restate.object({
  name: "ScopedObject",
  handlers: {
    add: async (ctx, n) => {
      const value = ((await ctx.get("value")) ?? 0) + n;
      ctx.set("value", value);
      return value;
    },
    hold: async (ctx, ms) => {
      await ctx.sleep(ms);
      return "held";
    },
    get: restate.handlers.object.shared(async (ctx) => (await ctx.get("value")) ?? null),
    clear: async (ctx) => ctx.clearAll(),
  },
});
const scopedFlow = restate.workflow({
  name: "ScopedFlow",
  handlers: {
    run: async (ctx, input) => {
      ctx.set("input", input);
      return `${input} ${await ctx.promise("go")}`;
    },
    go: async (ctx, value) => ctx.promise("go").resolve(value),
    input: async (ctx) => (await ctx.get("input")) ?? null,
  },
});
const services = [scoped, scopedObject, scopedFlow];
const on = { RESTATE_EXPERIMENTAL_ENABLE_VQUEUES: "true", RESTATE_EXPERIMENTAL_ENABLE_PROTOCOL_V7: "true" };
const inScope = (scope, path, verb = "call") => `/restate/scope/${scope}/${verb}/${path}`;

describe("scopes", () => {
  const w = world({ services, env: on });
  const call = (scope, path, body, headers = {}) => w.server.request(inScope(scope, path), { body, headers });
  const result = async (scope, path, body, headers) => {
    const r = await call(scope, path, body, headers);
    assert.equal(r.status, 200, JSON.stringify(r.body));
    return r.body;
  };

  check("ScopeIsolationTest.sameIdempotencyKeyAcrossScopesIsolates", async () => {
    const key = unique("ik");
    const headers = { "idempotency-key": key };
    const ids = new Set();
    for (const scope of ["tenant-a", "tenant-b"]) {
      const first = await call(scope, "Scoped/count", key + scope, headers);
      const again = await call(scope, "Scoped/count", key + scope, headers);
      assert.deepEqual([first.body, again.body], [1, 1]);
      assert.equal(again.id, first.id);
      assert.equal(seen(key + scope), 1);
      ids.add(first.id);
    }
    const without = await w.server.request("/Scoped/count", { body: key, headers });
    assert.equal(without.body, 1);
    ids.add(without.id);
    assert.equal(ids.size, 3);
  });
  check("Scopes: the identity of an invocation is that of the reference", async () => {
    const r = await call("ten-a", "Scoped/count", "x", { "idempotency-key": "ik-2" });
    assert.equal(r.id.slice(0, 16), "inv_1aL9PPmpBXMC"); // H("ten-a"), spec/invocation-lifecycle.md §2.4
    const found = await w.server.request("/restate/lookup", {
      body: { target: "idempotentInvocation", service: "Scoped", handler: "count", idempotencyKey: "ik-2", scope: "ten-a" },
    });
    assert.equal(found.body.invocationId, r.id);
  });
  check("Scopes: the handler sees scope, limit key and idempotency key", async () => {
    const r = await result("tenant-a", "Scoped/seen", undefined, { "x-restate-limit-key": "user/42", "idempotency-key": "see-1" });
    assert.deepEqual(r, { scope: "tenant-a", limitKey: "user/42", idempotencyKey: "see-1" });
    const byQuery = await w.server.request(inScope("tenant-a", "Scoped/seen?limit-key=user"), {});
    assert.equal(byQuery.body.limitKey, "user");
    assert.equal((await w.server.call("/Scoped/seen")).scope, null);
  });
  check("Scopes: workflows of one key in two scopes are two workflows", async () => {
    const key = unique("wf");
    const ids = {};
    for (const scope of ["tenant-a", "tenant-b"]) ids[scope] = (await w.server.request(inScope(scope, `ScopedFlow/${key}/run`, "send"), { body: scope })).body.invocationId;
    await eventually(async () => (await result("tenant-b", `ScopedFlow/${key}/input`)) === "tenant-b");
    await eventually(async () => (await result("tenant-a", `ScopedFlow/${key}/input`)) === "tenant-a");
    assert.equal(await w.server.call(`/ScopedFlow/${key}/input`), null);
    await result("tenant-a", `ScopedFlow/${key}/go`, "first");
    assert.equal((await attach(w.server, ids["tenant-a"])).body, "tenant-a first");
    const promises = await w.server.sql(`SELECT scope, completed FROM sys_promise WHERE service_name = 'ScopedFlow' AND service_key = '${key}' ORDER BY scope`);
    assert.deepEqual(promises, [
      { scope: "tenant-a", completed: true },
      { scope: "tenant-b", completed: false },
    ]);
    const again = await call("tenant-a", `ScopedFlow/${key}/run`, "again");
    assert.equal(again.status, 409);
    await result("tenant-b", `ScopedFlow/${key}/go`, "second");
    assert.equal((await attach(w.server, ids["tenant-b"])).body, "tenant-b second");
    const found = await w.server.request("/restate/lookup", { body: { target: "workflow", workflowName: "ScopedFlow", workflowKey: key, scope: "tenant-b" } });
    assert.equal(found.body.invocationId, ids["tenant-b"]);
  });
  check("Scopes: calls and sends of handlers carry scope and limit key", async () => {
    const target = { service: "Scoped", method: "seen", scope: "tenant-c", limitKey: "l1/l2" };
    assert.deepEqual(await w.server.call("/Scoped/call", { ...target, idempotencyKey: "from-handler" }), {
      scope: "tenant-c",
      limitKey: "l1/l2",
      idempotencyKey: "from-handler",
    });
    const id = await w.server.call("/Scoped/send", target);
    await eventually(async () => (await attach(w.server, id)).body.scope === "tenant-c"); // on its way until then: 404
    const r = await row(w.server, id, "scope, limit_key, target");
    assert.deepEqual([r.scope, r.limit_key, r.target], ["tenant-c", "l1/l2", "Scoped/seen"]);
    const list = await w.server.sql(`SELECT id FROM sys_invocation_status WHERE scope = 'tenant-c' AND id = '${id}'`);
    assert.equal(list.length, 1);
    const child = await journal(w.server, id);
    assert.ok(child.length >= 1);
  });
  check("Scopes: a call with a limit key and no scope fails its attempt with RT0024", async () => {
    const { invocationId: id } = await w.server.send("/Scoped/tryCall", { service: "Scoped", method: "seen", limitKey: "l1" });
    await eventually(async () => (await row(w.server, id, "last_failure_error_code"))?.last_failure_error_code === "RT0024");
    await w.server.operate("kill", id);
  });
  check("Scopes: what the ingress refuses", async () => {
    const message = async (path, headers) => {
      const r = await w.server.request(path, { headers });
      assert.equal(r.status, 400);
      return r.body.message;
    };
    assert.match(await message(inScope("a%20b", "Scoped/seen")), /bad scope value: value contains characters outside the allowed set/);
    assert.match(await message(inScope("x".repeat(37), "Scoped/seen")), /bad scope value: value too long: 37 bytes \(max 36\)/);
    assert.match(await message(inScope("a", "Scoped/seen"), { "x-restate-limit-key": "a/b/c" }), /too many path components/);
    assert.match(await message("/Scoped/seen", { "x-restate-limit-key": "a" }), /limit-key requires a scope to be set/);
    assert.match(await message(inScope("a", "ScopedObject/k/get")), /scope is not supported for Virtual Object targets/);
  });
});

describe("scoped virtual objects", () => {
  const w = world({ services, env: { ...on, RESTATE_EXPERIMENTAL_ENABLE_SCOPED_VIRTUAL_OBJECTS: "true" } });
  check("Scopes: objects of one key in two scopes have their own state and lock", async () => {
    const key = unique("o");
    const call = (scope, handler, body) => w.server.call(scope ? inScope(scope, `ScopedObject/${key}/${handler}`) : `/ScopedObject/${key}/${handler}`, body);
    assert.equal(await call("a", "add", 1), 1);
    assert.equal(await call("b", "add", 10), 10);
    assert.equal(await call(null, "add", 100), 100);
    assert.equal(await call("a", "add", 1), 2);
    const { invocationId: holder } = (await w.server.request(inScope("a", `ScopedObject/${key}/hold`, "send"), { body: 1500 })).body;
    await eventually(async () => ["running", "suspended"].includes((await row(w.server, holder, "status"))?.status));
    const waiting = (await w.server.request(inScope("a", `ScopedObject/${key}/add`, "send"), { body: 1 })).body.invocationId;
    assert.equal(await call("b", "add", 1), 11); // not behind the lock of scope a
    assert.equal(await call(null, "add", 1), 101);
    assert.equal((await row(w.server, waiting, "status")).status, "pending");
    const locks = await w.server.sql(`SELECT scope, acquired_by FROM sys_locks WHERE lock_name = 'ScopedObject/${key}' AND acquired_by IS NOT NULL`);
    assert.deepEqual(locks, [{ scope: "a", acquired_by: holder }]);
    assert.equal((await attach(w.server, waiting)).body, 3);
    const state = await w.server.sql(`SELECT scope, value_utf8 FROM state WHERE service_name = 'ScopedObject' AND service_key = '${key}' ORDER BY scope NULLS FIRST`);
    assert.deepEqual(state.map((r) => [r.scope ?? null, r.value_utf8]), [
      [null, "101"],
      ["a", "3"],
      ["b", "11"],
    ]);
    await call("a", "clear");
    assert.deepEqual([await call("a", "get"), await call("b", "get")], [null, 11]);
  });
  check("Scopes: a state patch reaches the object of its scope only", async () => {
    const key = unique("p");
    const patch = { object_key: key, scope: "a", new_state: { value: [...Buffer.from("7")] } };
    assert.equal((await w.server.adminRequest("/services/ScopedObject/state", { body: patch })).status, 202);
    await eventually(async () => (await w.server.call(inScope("a", `ScopedObject/${key}/get`))) === 7);
    assert.equal(await w.server.call(`/ScopedObject/${key}/get`), null);
  });
  check("Scopes: state and locks survive a crash of the server", async () => {
    const key = unique("c");
    await w.server.call(inScope("a", `ScopedObject/${key}/add`), 5);
    const { invocationId } = (await w.server.request(inScope("a", `ScopedObject/${key}/hold`, "send"), { body: 1000 })).body;
    const { invocationId: second } = (await w.server.request(inScope("a", `ScopedObject/${key}/add`, "send"), { body: 1 })).body;
    await w.server.restart();
    assert.equal((await attach(w.server, invocationId)).body, "held");
    assert.equal((await attach(w.server, second)).body, 6);
    assert.equal(await w.server.call(`/ScopedObject/${key}/get`), null);
  });
});

describe("scopes switched off", () => {
  const w = world({ services, env: { RESTATE_EXPERIMENTAL_ENABLE_PROTOCOL_V7: "true" } });
  check("Scopes: refused unless experimental-enable-vqueues", async () => {
    const r = await w.server.request(inScope("a", "Scoped/seen"), {});
    assert.equal(r.status, 400);
    assert.match(r.body.message, /scoped invocations require vqueues to be enabled/);
    const { invocationId: id } = await w.server.send("/Scoped/tryCall", { service: "Scoped", method: "seen", scope: "s" });
    await eventually(async () => (await row(w.server, id, "last_failure_error_code"))?.last_failure_error_code === "RT0024");
    await w.server.operate("kill", id);
  });
});
