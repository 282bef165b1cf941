// Queues of scopes: pausing and resuming them (spec/admin-api.md §15), and what SQL shows of them and their entries (spec/sql.md §3.13).
import { describe } from "node:test";
import { assert, attach, check, eventually, official, restate, sleep, unique, world } from "./world.mjs";
import { gate, held, seen, tick } from "./services.mjs";

const queued = restate.service({
  name: "Queued",
  handlers: {
    quick: async (ctx, key) => (tick(key), "done"),
    ...held,
    failing: async () => {
      throw new restate.TerminalError("no");
    },
  },
});

const env = {
  RESTATE_EXPERIMENTAL_ENABLE_VQUEUES: "true",
  RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "200ms",
};
const leaks = { differs: "what arrives in a paused queue, or wakes up there, starts nevertheless" };

describe("queues of scopes", () => {
  const w = world({ services: [queued], env });
  const send = async (scope, handler, body, { limitKey, delay } = {}) => {
    const headers = limitKey ? { "x-restate-limit-key": limitKey } : {};
    const r = await w.server.request(`/restate/scope/${scope}/send/Queued/${handler}${delay ? `?delay=${delay}` : ""}`, { body, headers });
    assert.equal(r.status, 202, JSON.stringify(r.body));
    return r.body.invocationId;
  };
  const operate = (operation, id) => w.server.adminRequest(`/vqueues/${id}/${operation}`);
  const meta = async (scope, columns = "*") => (await w.server.sql(`SELECT ${columns} FROM sys_vqueue_meta WHERE scope = '${scope}' ORDER BY limit_key NULLS FIRST`))[0];
  const entry = async (id, columns = "*") => (await w.server.sql(`SELECT ${columns} FROM sys_vqueue_entry_status WHERE entry_id = '${id}'`))[0];
  const stages = async (scope) => {
    const m = await meta(scope, "num_inbox, num_running, num_suspended, num_paused, num_finished");
    return [m.num_inbox, m.num_running, m.num_suspended, m.num_paused, m.num_finished].map(Number);
  };
  // The queue of a scope, known once something was sent there.
  const queueOf = async (scope) => {
    const id = await send(scope, "quick", unique());
    await attach(w.server, id);
    return (await meta(scope, "id")).id;
  };
  const paused = async (scope, is) => eventually(async () => (await meta(scope, "queue_is_paused")).queue_is_paused === is);

  check("Queues: a paused one starts nobody, what runs goes on", async () => {
    const scope = unique("paused");
    const queue = await queueOf(scope);
    const [running, sleeping] = [unique("running"), unique("sleeping")];
    const first = await send(scope, "blocked", running);
    await send(scope, "sleepy", { key: sleeping, ms: 1000 });
    await eventually(async () => seen(running) === 1 && (await stages(scope))[2] === 1);
    assert.deepEqual([(await operate("pause", queue)).status, (await operate("pause", queue)).status], [202, 202]);
    await paused(scope, true);
    const [now, later, other] = [unique("now"), unique("later"), unique("other")];
    const ids = [await send(scope, "quick", now), await send(scope, "quick", later, { delay: "500ms" })];
    const elsewhere = await send(scope, "quick", other, { limitKey: "k" });
    assert.equal((await attach(w.server, elsewhere)).body, "done", "another limit key is another queue");
    gate(running).resolve();
    assert.equal((await attach(w.server, first)).body, "done");
    await sleep(1200);
    assert.deepEqual([seen(now), seen(later), seen(sleeping)], [0, 0, 1]);
    assert.deepEqual(await stages(scope), [3, 0, 0, 0, 2]);
    assert.equal((await meta(scope, "is_active")).is_active, false);
    assert.deepEqual(await w.server.sql(`SELECT id FROM sys_scheduler WHERE id = '${queue}'`), []);
    assert.equal((await operate("resume", queue)).status, 202);
    for (const id of ids) assert.equal((await attach(w.server, id)).body, "done");
    await eventually(() => seen(sleeping) >= 2);
    await paused(scope, false);
  }, leaks);

  check("Queues: pauses survive a crash of the server", async () => {
    const scope = unique("crash");
    const queue = await queueOf(scope);
    const key = unique("held");
    assert.equal((await operate("pause", queue)).status, 202);
    const id = await send(scope, "quick", key);
    await w.server.restart();
    await eventually(async () => (await meta(scope, "queue_is_paused"))?.queue_is_paused === true);
    await sleep(300);
    assert.equal(seen(key), 0);
    assert.equal((await operate("resume", queue)).status, 202);
    assert.equal((await attach(w.server, id)).body, "done");
    await w.server.restart();
    await eventually(async () => (await meta(scope, "queue_is_paused"))?.queue_is_paused === false);
  }, leaks);

  check("Queues: what waits in a paused one can be cancelled and killed", async () => {
    const scope = unique("ended");
    const queue = await queueOf(scope);
    await operate("pause", queue);
    const ids = [await send(scope, "quick", unique()), await send(scope, "quick", unique())];
    assert.ok((await w.server.operate("cancel", ids[0])).status < 300);
    assert.ok((await w.server.operate("kill", ids[1])).status < 300);
    for (const id of ids) assert.equal((await w.server.get(`/restate/invocation/${id}/output`)).status, 404);
    assert.equal((await stages(scope))[0], 0);
    await operate("resume", queue);
  }, leaks);

  check("Queues: unknown ids are taken, malformed ones are not", async () => {
    const unknown = "vq_1bq5Tlc9tQyk6N6u7ROIoxXsqh8cyIEc00";
    assert.equal((await operate("pause", unknown)).status, 202);
    if (!official) {
      const [row] = await w.server.sql(`SELECT * FROM sys_vqueue_meta WHERE id = '${unknown}'`);
      assert.deepEqual([row.queue_is_paused, row.is_active, row.scope, Number(row.num_inbox)], [true, false, undefined, 0]);
    }
    assert.equal((await operate("resume", unknown)).status, 202);
    const bad = { zzz: "bad format", vq_1: "bad length", [`${unknown}x`]: "bad length", dp_11IAuYzvOnVGso0bwkHQ6bL: "id doesn't match the expected type" };
    for (const [id, reason] of Object.entries(bad))
      for (const operation of ["pause", "resume"]) {
        const r = await operate(operation, id);
        assert.equal(r.status, 400);
        assert.deepEqual(r.body, { message: `The request field 'vqueue_id' is invalid. Reason: ${reason}`, restate_code: null });
      }
  });

  check("Queues: entries in SQL, stage by stage", async () => {
    const scope = unique("entries");
    const keys = { blocked: unique("b"), sleepy: unique("s"), later: unique("l") };
    const ids = {
      running: await send(scope, "blocked", keys.blocked),
      suspended: await send(scope, "sleepy", { key: keys.sleepy, ms: 60_000 }),
      scheduled: await send(scope, "quick", unique(), { delay: "100s" }),
      backing: await send(scope, "later", { key: keys.later, seconds: 30 }),
      succeeded: await send(scope, "quick", unique()),
      failed: await send(scope, "failing", null),
      killed: await send(scope, "sleepy", { key: unique(), ms: 60_000 }),
      cancelled: await send(scope, "sleepy", { key: unique(), ms: 60_000 }),
    };
    await eventually(async () => (await entry(ids.killed, "stage")).stage === "suspended" && (await entry(ids.cancelled, "stage")).stage === "suspended");
    assert.equal((await w.server.operate("kill", ids.killed)).status, 200);
    assert.ok((await w.server.operate("cancel", ids.cancelled)).status < 300);
    await eventually(async () => {
      assert.deepEqual((await stages(scope)).join(), "2,1,1,0,4");
      return true;
    });
    const want = {
      running: ["running", "started", 1, 0, 0],
      suspended: ["suspended", "started", 1, 0, 1],
      scheduled: ["inbox", "scheduled", 0, 0, 0],
      backing: ["inbox", "backing-off", 1, 1, 0],
      succeeded: ["finished", "succeeded", 1, 0, 0],
      failed: ["finished", "failed", 1, 0, 0],
      killed: ["finished", "killed", 1, 0, 1],
      cancelled: ["finished", "cancelled", 2, 0, 1],
    };
    const queue = (await meta(scope, "id")).id;
    for (const [name, [stage, status, attempts, errors, suspensions]] of Object.entries(want)) {
      const e = await entry(ids[name]);
      assert.deepEqual(
        [e.vqueue_id, e.stage, e.status, e.num_attempts, e.num_suspensions, e.num_pauses, e.num_yields, e.entry_kind, e.has_lock],
        [queue, stage, status, attempts, suspensions, 0, 0, "invocation", false], name);
      // How often the reference counts a failed attempt depends on who tries again: the invoker or the queue.
      if (!official) assert.equal(e.num_errors, errors, name);
      const [q] = await w.server.sql(`SELECT * FROM sys_vqueues WHERE entry_id = '${ids[name]}'`);
      assert.deepEqual([q.id, q.stage, q.status, q.sequence_number], [queue, stage, status, e.sequence_number]);
      assert.equal(q.run_at, stage === "inbox" ? e.next_at : undefined);
      assert.equal(q.first_attempt_at !== undefined, attempts > 0);
      assert.ok(q.transitioned_at >= q.created_at && (attempts < 2 || q.latest_attempt_at > q.first_attempt_at));
      const [i] = await w.server.sql(`SELECT vqueue_id FROM sys_invocation WHERE id = '${ids[name]}'`);
      assert.equal(i.vqueue_id, queue);
    }
    const scheduled = await entry(ids.scheduled, "first_runnable_at, next_at, created_at");
    assert.ok(Date.parse(scheduled.next_at) - Date.parse(scheduled.created_at) >= 100_000);
    assert.ok(Date.parse(scheduled.next_at) >= Date.parse(scheduled.first_runnable_at));
    const finished = await entry(ids.succeeded, "next_at, transitioned_at");
    const retained = Date.parse(finished.next_at) - Date.parse(finished.transitioned_at);
    assert.ok(Math.abs(retained - 86_400_000) <= 1000, `retained for ${retained} ms`);
    const waiting = await w.server.sql(`SELECT entry_id FROM sys_vqueues WHERE id = '${queue}' AND stage != 'finished'`);
    assert.deepEqual(waiting.map((r) => r.entry_id).sort(), [ids.running, ids.suspended, ids.scheduled, ids.backing].sort());
    const m = await meta(scope);
    assert.deepEqual([m.service_name, m.scope, m.limit_key, m.is_active, m.queue_is_paused], ["Queued", scope, undefined, true, false]);
    assert.ok(m.created_at <= m.last_enqueued_at && m.last_start_at <= m.last_attempt_at && m.last_finish_at > m.created_at);
    gate(keys.blocked).resolve();
    for (const name of ["running", "suspended", "scheduled", "backing"]) await w.server.operate("kill", ids[name]);
  });

  check("Queues: a suspended entry can be paused and resumed", async () => {
    const scope = unique("entry");
    const key = unique("sleeper");
    const id = await send(scope, "sleepy", { key, ms: 2500 });
    await eventually(async () => (await entry(id, "stage")).stage === "suspended");
    assert.equal((await w.server.operate("pause", id)).status, 202);
    await eventually(async () => (await entry(id, "stage")).stage === "paused");
    assert.deepEqual([await stages(scope), (await entry(id, "num_pauses")).num_pauses], [[0, 0, 0, 1, 0], 1]);
    await sleep(2600); // its time comes meanwhile, and nothing happens
    assert.equal((await entry(id, "stage")).stage, "paused");
    assert.equal((await w.server.operate("resume", id)).status, 200);
    assert.equal((await attach(w.server, id)).body, "slept");
  });

  check("Queues: one per service and limit key; those without a scope have none here", async () => {
    const scope = unique("keys");
    for (const limitKey of [undefined, "a", "a/b"]) await attach(w.server, await send(scope, "quick", unique(), { limitKey }));
    const rows = await w.server.sql(`SELECT id, limit_key FROM sys_vqueue_meta WHERE scope = '${scope}' ORDER BY limit_key NULLS FIRST`);
    assert.deepEqual(rows.map((r) => r.limit_key), [undefined, "a", "a/b"]);
    assert.equal(new Set(rows.map((r) => r.id)).size, 3);
    if (official) return; // all invocations go through queues there
    const { invocationId } = await w.server.send("/Queued/quick", unique());
    await attach(w.server, invocationId);
    assert.deepEqual(await w.server.sql(`SELECT vqueue_id FROM sys_invocation WHERE id = '${invocationId}' AND vqueue_id IS NOT NULL`), []);
    assert.deepEqual(await w.server.sql(`SELECT id FROM sys_vqueues WHERE entry_id = '${invocationId}'`), []);
  });
});

describe("queues, switched off", () => {
  const w = world({ services: [queued] });
  check("Queues: pausing is taken although nothing has a scope", async () => {
    const id = "vq_1bq5Tlc9tQyk6N6u7ROIoxXsqh8cyIEcCT";
    for (const operation of ["pause", "resume"]) assert.equal((await w.server.adminRequest(`/vqueues/${id}/${operation}`)).status, 202);
    assert.equal(await w.server.call("/Queued/quick", unique()), "done");
  });
});
