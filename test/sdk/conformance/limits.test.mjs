// Concurrency rules on scopes and limit keys (spec/invocation-lifecycle.md §12.5, spec/admin-api.md §14): who may run at once, who is
// next, what survives, and the API of the rules.
import { describe } from "node:test";
import { assert, attach, check, eventually, official, restate, row, sleep, unique, world } from "./world.mjs";
import { gate, held, seen } from "./services.mjs";

const json = { inputSerde: restate.serde.json, outputSerde: restate.serde.json };
const running = new Map(); // by group: how many now, how many at most, in which order they began
const groupOf = (name) => {
  if (!running.has(name)) running.set(name, { now: 0, most: 0, order: [] });
  return running.get(name);
};

const limited = restate.service({
  name: "Limited",
  handlers: {
    // Works for a while outside of the journal.
    work: async (ctx, { group, ms, tag }) => {
      const g = groupOf(group);
      await ctx.run("work", async () => {
        g.now++;
        g.most = Math.max(g.most, g.now);
        g.order.push(tag);
        await sleep(ms);
        g.now--;
      });
      return tag ?? null;
    },
    ...held,
    fanOut: async (ctx, { n, target }) => {
      const calls = Array.from({ length: n }, () => ctx.genericCall({ ...json, ...target }));
      return (await restate.RestatePromise.all(calls)).length;
    },
  },
});

const env = {
  RESTATE_EXPERIMENTAL_ENABLE_VQUEUES: "true",
  RESTATE_EXPERIMENTAL_ENABLE_PROTOCOL_V7: "true",
  RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "200ms",
};
const putRules = (server, ...rules) => server.adminRequest("/limits/rules", { method: "PUT", body: rules });
const rule = (pattern, concurrency) => ({ pattern, limits: concurrency ? { concurrency } : {} });
const deleteRules = (server, ...patterns) =>
  server.adminRequest("/limits/rules/bulk-delete", { body: patterns.map((pattern) => (typeof pattern === "string" ? { pattern } : pattern)) });
const send = async (server, scope, handler, body, limitKey) => {
  const headers = limitKey ? { "x-restate-limit-key": limitKey } : {};
  const r = await server.request(`/restate/scope/${scope}/send/Limited/${handler}`, { body, headers });
  assert.equal(r.status, 202, JSON.stringify(r.body));
  return r.body.invocationId;
};
const statuses = async (server, scope) => {
  const rows = await server.sql(`SELECT status FROM sys_invocation WHERE scope = '${scope}'`);
  const by = {};
  for (const { status } of rows) by[status] = (by[status] ?? 0) + 1;
  return by;
};

describe("concurrency rules", () => {
  const w = world({ services: [limited], env });

  check("ConcurrencyLimitTest.concurrencyLimitIsRespected", async () => {
    const scope = unique("limit");
    assert.equal((await putRules(w.server, rule(scope, 2))).status, 200);
    const keys = Array.from({ length: 5 }, (_, i) => unique(`c${i}`));
    const ids = await Promise.all(keys.map((key) => send(w.server, scope, "blocked", key)));
    await eventually(async () => (await statuses(w.server, scope)).running === 2);
    await sleep(300);
    assert.deepEqual(await statuses(w.server, scope), { running: 2, pending: 3 });
    assert.equal(keys.filter((key) => seen(key)).length, 2);
    keys.forEach((key) => gate(key).resolve());
    for (const id of ids) assert.equal((await attach(w.server, id)).body, "done");
    await deleteRules(w.server, scope);
  });

  check("ServiceToServiceScopeConcurrency.scopeAndLimitKeyArePropagatedOnServiceToServiceCalls", async () => {
    const scope = unique("s2s");
    const group = unique("g");
    await putRules(w.server, rule(`${scope}/*`, 2));
    const target = { service: "Limited", method: "work", scope, limitKey: "tenant", parameter: { group, ms: 100 } };
    assert.equal(await w.server.call("/Limited/fanOut", { n: 6, target }), 6);
    assert.equal(groupOf(group).most, 2);
    await deleteRules(w.server, `${scope}/*`);
  });

  check("Limits: the three depths are counters of their own", async () => {
    const scope = unique("depth");
    const [a, b] = [unique("a"), unique("b")];
    await putRules(w.server, rule(scope, 3), rule(`${scope}/a`, 1), rule(`${scope}/*/x`, 1));
    const all = [];
    for (let i = 0; i < 4; i++) all.push(await send(w.server, scope, "work", { group: a, ms: 60 }, "a"));
    for (let i = 0; i < 4; i++) all.push(await send(w.server, scope, "work", { group: b, ms: 60 }, i % 2 ? "b/x" : "b/y"));
    for (const id of all) assert.equal((await attach(w.server, id)).status, 200);
    assert.equal(groupOf(a).most, 1);
    assert.ok(groupOf(b).most <= 2);
    await deleteRules(w.server, scope, `${scope}/a`, `${scope}/*/x`);
  });

  check("Limits: without a rule everything runs at once", async () => {
    const scope = unique("free");
    const group = unique("g");
    const ids = await Promise.all(Array.from({ length: 5 }, () => send(w.server, scope, "work", { group, ms: 300 })));
    for (const id of ids) await attach(w.server, id);
    assert.equal(groupOf(group).most, 5);
  });

  check("Limits: what sleeps lets others run", async () => {
    const scope = unique("sleep");
    const key = unique("k");
    await putRules(w.server, rule(scope, 1));
    const sleeper = await send(w.server, scope, "sleepy", { key, ms: 1500 });
    await eventually(async () => (await row(w.server, sleeper, "status"))?.status === "suspended");
    const other = await send(w.server, scope, "work", { group: key, ms: 10 });
    assert.equal((await attach(w.server, other)).status, 200);
    assert.equal((await row(w.server, sleeper, "status")).status, "suspended");
    assert.equal((await attach(w.server, sleeper)).body, "slept");
    await deleteRules(w.server, scope);
  });

  check("Limits: what backs off for long lets others run, also over a crash of the server", async () => {
    const scope = unique("yield");
    const key = unique("k");
    await putRules(w.server, rule(scope, 1));
    const failing = await send(w.server, scope, "later", { key, seconds: 4 });
    await eventually(() => seen(key) === 1);
    const others = [];
    for (let i = 0; i < 2; i++) others.push(await send(w.server, scope, "work", { group: key, ms: 10 }));
    for (const id of others) assert.equal((await attach(w.server, id)).status, 200);
    assert.equal(seen(key), 1);
    await w.server.restart();
    assert.equal((await attach(w.server, failing)).body, "at last");
    assert.equal(seen(key), 2);
    await deleteRules(w.server, scope);
  });

  check("Limits: raising and removing a limit starts what waits", async () => {
    const scope = unique("raise");
    await putRules(w.server, rule(scope, 1));
    const keys = Array.from({ length: 4 }, (_, i) => unique(`r${i}`));
    const ids = await Promise.all(keys.map((key) => send(w.server, scope, "blocked", key)));
    await eventually(async () => (await statuses(w.server, scope)).running === 1);
    await putRules(w.server, rule(scope, 2));
    await eventually(async () => (await statuses(w.server, scope)).running === 2);
    await putRules(w.server, { ...rule(scope, 2), disabled: true });
    await eventually(async () => (await statuses(w.server, scope)).running === 4);
    await putRules(w.server, rule(scope, 1)); // soft: what runs goes on
    await sleep(200);
    assert.equal((await statuses(w.server, scope)).running, 4);
    keys.forEach((key) => gate(key).resolve());
    for (const id of ids) assert.equal((await attach(w.server, id)).body, "done");
    await deleteRules(w.server, scope);
  });

  check("Limits: one that waits can be canceled, not paused", async () => {
    const scope = unique("cancel");
    const [first, second] = [unique("f"), unique("s")];
    await putRules(w.server, rule(scope, 1));
    const holder = await send(w.server, scope, "blocked", first);
    await eventually(() => seen(first) === 1);
    const waiting = await send(w.server, scope, "blocked", second);
    await eventually(async () => (await row(w.server, waiting, "status"))?.status === "pending");
    assert.equal((await w.server.operate("pause", waiting)).status, 409);
    assert.equal((await w.server.operate("cancel", waiting)).status, 200);
    assert.equal((await attach(w.server, waiting)).status, 404);
    gate(first).resolve();
    assert.equal((await attach(w.server, holder)).body, "done");
    assert.equal(seen(second), 0);
    await deleteRules(w.server, scope);
  });

  check("Limits: flows of a scope take turns", async () => {
    const scope = unique("fair");
    const group = unique("g");
    await putRules(w.server, rule(scope, 1));
    const first = await send(w.server, scope, "work", { group, ms: 400, tag: "first" });
    await eventually(() => groupOf(group).now === 1);
    const ids = [first];
    for (let i = 0; i < 8; i++) ids.push(await send(w.server, scope, "work", { group, ms: 5, tag: "many" }, "many"));
    for (let i = 0; i < 2; i++) ids.push(await send(w.server, scope, "work", { group, ms: 5, tag: "few" }, "few"));
    for (const id of ids) await attach(w.server, id);
    const { order } = groupOf(group);
    assert.equal(order.length, 11);
    assert.ok(order.lastIndexOf("few") <= 5, `the few waited for the many: ${order}`);
    await deleteRules(w.server, scope);
  });

  const crash = async () => {
    const scope = unique("crash");
    await putRules(w.server, rule(scope, 2));
    const keys = Array.from({ length: 5 }, (_, i) => unique(`x${i}`));
    const ids = await Promise.all(keys.map((key) => send(w.server, scope, "blocked", key)));
    await eventually(async () => (await statuses(w.server, scope)).running === 2);
    await w.server.restart();
    await eventually(async () => (await statuses(w.server, scope)).running === 2);
    await sleep(300);
    assert.deepEqual(await statuses(w.server, scope), { running: 2, pending: 3 });
    keys.forEach((key) => gate(key).resolve());
    for (const id of ids) assert.equal((await attach(w.server, id)).body, "done");
    await deleteRules(w.server, scope);
  };
  check("Limits: they hold over a crash of the server", crash, {
    differs: "after a restart the reference starts more than the limit: what ran before counts no more (two ready, two running)",
  });

  check("Limits: counters and lines in SQL", async () => {
    const scope = unique("sql");
    const keys = [unique("q"), unique("q"), unique("q")];
    await putRules(w.server, rule(`${scope}/*`, 1));
    const ids = [];
    for (const key of keys) ids.push(await send(w.server, scope, "blocked", key, "t1/u1"));
    await eventually(async () => (await statuses(w.server, scope)).running === 1 && seen(keys[0]) === 1);
    const counters = await w.server.sql(
      `SELECT scope, l1, l2, level, usage, concurrency_limit, rule_pattern, available FROM sys_user_limits WHERE scope = '${scope}' AND level = 'Level1'`,
    );
    assert.deepEqual(counters, [{ scope, l1: "t1", level: "Level1", usage: 1, concurrency_limit: 1, rule_pattern: `${scope}/*`, available: 0 }]);
    const lines = await w.server.sql(`SELECT num_inbox, status, head_entry_id, blocked_on, blocked_on_json FROM sys_scheduler WHERE head_entry_id = '${ids[1]}'`);
    assert.equal(lines.length, 1);
    assert.equal(Number(lines[0].num_inbox), 2);
    assert.deepEqual([lines[0].status, lines[0].blocked_on], ["blocked", "limit-key-concurrency"]);
    assert.deepEqual(JSON.parse(lines[0].blocked_on_json), {
      resource: "limit-key-concurrency",
      scope,
      limit_key: "t1/u1",
      blocked_level: "level1",
      blocked_rule: `${scope}/*`,
    });
    const held = async () => {
      const { body } = await w.server.get("/metrics", { base: w.server.fabric });
      return [...body.matchAll(/^restate_scope_held_invocations\{[^}]*\} (\d+)$/gm)].reduce((sum, m) => sum + Number(m[1]), 0);
    };
    if (!official) await eventually(async () => (await held()) === 2);
    keys.forEach((key) => gate(key).resolve());
    for (const id of ids) await attach(w.server, id);
    if (!official) await eventually(async () => (await held()) === 0);
    await deleteRules(w.server, `${scope}/*`);
  });
});

describe("rules", () => {
  const w = world({ services: [limited], env });
  const rows = (where) => w.server.sql(`SELECT pattern, concurrency, description, disabled, version FROM sys_rules ${where} ORDER BY pattern`);

  check("Rules: versions of the book and of the rules", async () => {
    const [first] = (await putRules(w.server, { ...rule("v1/*", 1), description: "one" })).body;
    assert.equal(first.pattern, "v1/*");
    assert.deepEqual(first.limits, { concurrency: 1 });
    const [second] = (await putRules(w.server, rule("v2"))).body;
    assert.equal(second.version, first.version + 1); // a new rule has the version of the book
    assert.deepEqual(second.limits, {});
    const changed = (await putRules(w.server, { ...rule("v1/*", 2), description: "one" })).body[0];
    assert.equal(changed.version, first.version + 1);
    const described = (await putRules(w.server, { ...rule("v1/*", 2), description: "two" })).body[0];
    assert.deepEqual([described.version, described.description], [changed.version, "two"]);
    assert.equal(described.last_modified_millis_since_epoch, changed.last_modified_millis_since_epoch);
    const same = (await putRules(w.server, { ...rule("v1/*", 2), description: "two" })).body[0];
    assert.deepEqual(same, described);
    assert.deepEqual(await rows("WHERE pattern LIKE 'v%'"), [
      { pattern: "v1/*", concurrency: 2, description: "two", disabled: false, version: described.version },
      { pattern: "v2", disabled: false, version: second.version },
    ]);
    assert.deepEqual((await deleteRules(w.server, "v2", "nope", "v1/*")).body, ["v2", "v1/*"]);
    assert.deepEqual(await rows("WHERE pattern LIKE 'v%'"), []);
  });

  check("Rules: preconditions, all or none", async () => {
    const [a] = (await putRules(w.server, rule("p/a", 1))).body;
    const text = async (r) => [(await r).status, (await r).body.message];
    assert.deepEqual(await text(putRules(w.server, rule("p/b", 1), { ...rule("p/a", 2), precondition: { type: "does_not_exist" } })), [
      409,
      `rule precondition DoesNotExist for pattern p/a failed (actual version: Some(v${a.version}))`,
    ]);
    assert.deepEqual((await rows("WHERE pattern LIKE 'p/%'")).map((r) => r.pattern), ["p/a"]);
    assert.deepEqual(await text(putRules(w.server, { ...rule("p/c", 2), precondition: { type: "matches", version: 3 } })), [
      409,
      "rule precondition Matches(v3) for pattern p/c failed (actual version: None)",
    ]);
    const good = await putRules(w.server, { ...rule("p/a", 2), precondition: { type: "matches", version: a.version } });
    assert.equal(good.body[0].version, a.version + 1);
    assert.equal((await deleteRules(w.server, { pattern: "p/a", expected_version: a.version })).status, 409);
    assert.deepEqual((await deleteRules(w.server, { pattern: "p/a", expected_version: a.version + 1 })).body, ["p/a"]);
  });

  check("Rules: what is refused", async () => {
    for (const [body, message] of [
      [rule("", 1), /\[0\]\.pattern: pattern cannot be empty/],
      [rule("a/b/c/d", 1), /too many path components \(max 3\)/],
      [rule("a b", 1), /invalid component: value contains characters outside the allowed set/],
      [{ pattern: "x", limits: { concurrency: 0 } }, /\[0\]\.limits\.concurrency: invalid value: integer `0`, expected a nonzero u32/],
      [{ pattern: "x", limits: {}, precondition: { type: "matches" } }, /\[0\]\.precondition: missing field `version`/],
      [{ pattern: "x", limits: {}, precondition: { type: "foo" } }, /unknown variant `foo`, expected one of `none`, `matches`, `does_not_exist`/],
      [{ limits: {} }, /\[0\]: missing field `pattern`/],
    ]) {
      const r = await putRules(w.server, body);
      assert.equal(r.status, 422);
      assert.match(r.body, message);
    }
    assert.equal((await w.server.adminRequest("/limits/rules", { method: "PUT", body: {} })).status, 422);
    assert.equal((await w.server.adminRequest("/limits/rules", { method: "GET" })).status, 405);
  });
});
