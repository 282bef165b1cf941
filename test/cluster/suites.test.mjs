// The official fault and end-to-end suites' workloads on three nodes (spec/cluster.md §9.1 to §9.3), with checkers of our own.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { eventually, official, scenario, send, services, sleep } from "./harness.mjs";
import { checkRegisters, checkSet } from "./linear.mjs";
import { Clients, Writers } from "./workload.mjs";

const seconds = Number(process.env.SECONDS_OF_FAULTS ?? 20);
const pick = (list) => list[Math.floor(Math.random() * list.length)];

// 5 s on, 5 s off, as the official suite does it; everything is whole again at the end.
const nemeses = {
  none: async (c, untilMs) => sleep(untilMs - performance.now()),
  "kill-random-node": (c, untilMs) => cycle(untilMs, pickNode(c), (n) => n.kill(), (n) => n.launch()),
  "pause-random-node": (c, untilMs) => cycle(untilMs, pickNode(c), (n) => n.pause(), (n) => n.resume()),
  "partition-random-node": (c, untilMs) => cycle(untilMs, pickNode(c), (n) => c.network.isolate(n.index), () => c.network.heal()),
  "nuke-partition-state": (c, untilMs) =>
    cycle(untilMs, pickNode(c), (n) => n.kill(), (n) => {
      rmSync(join(n.dir, "db"), { recursive: true, force: true });
      n.launch();
    }),
};
const pickNode = (c) => () => pick(c.nodes);
async function cycle(untilMs, choose, begin, end) {
  while (performance.now() < untilMs) {
    const victim = choose();
    await begin(victim);
    await sleep(5000);
    await end(victim);
    await sleep(5000);
  }
}

// Some operations on each key, then the next key, so that histories stay short enough to be judged.
function registerOperations(perKey) {
  let n = 0;
  let unique = 0;
  return (process) => {
    const key = `r${Math.floor(n++ / perKey)}`;
    const path = (what) => `/Register/${key}/${what}`;
    const f = pick(["get", "set", "cas", "get"]);
    if (f === "get") return { f, key, path: path("get") };
    const value = `${process}.${unique++}`;
    if (f === "set") return { f, key, value, path: path("set"), body: value };
    const from = pick([null, `${process}.${unique - 2}`, `${(process + 1) % 6}.${unique - 2}`]);
    return { f, key, value: [from, value], path: path("cas"), body: [from, value] };
  };
}
function setOperations() {
  let unique = 0;
  return () => (Math.random() < 0.5 ? { f: "add", value: unique, path: "/Set/s/add", body: unique++ } : { f: "get", path: "/Set/s/get" });
}

async function jepsen(c, t, workload, nemesis) {
  const next = workload === "register-vo" ? registerOperations(60) : setOperations();
  const clients = new Clients(c, next, { perNode: 2 }).start();
  await nemeses[nemesis](c, performance.now() + seconds * 1000);
  await sleep(10_000); // the official suite's load after the last heal
  const tails = clients.badTails();
  const history = await clients.finish();
  const count = (type) => history.filter((op) => op.type === type).length;
  // A 404 is allowed while a restarted node does not know the services yet; executed it must not be, which the checkers see (TR-9).
  const unknown = history.filter((op) => op.status === 404).length;
  t.diagnostic(`${history.length} operations: ${count("ok")} ok, ${count("fail")} failed (${unknown} by 404), ${count("info")} unknown`);
  assert.deepEqual(tails, [], "tail-ok: the last five operations of every node succeed");
  assert.deepEqual(workload === "register-vo" ? checkRegisters(history) : checkSet(history), []);
  assert.ok(count("ok") > 100);
}

for (const workload of ["register-vo", "set-vo"])
  for (const nemesis of Object.keys(nemeses)) {
    const quick = (workload === "register-vo" && nemesis === "kill-random-node") || (workload === "set-vo" && nemesis === "partition-random-node");
    scenario(
      `JEPSEN ${workload} ${nemesis}`,
      { quick, recipe: "jepsen", partitions: 1, serve: true, net: nemesis === "partition-random-node", timeoutMs: 300_000 },
      (c, t) => jepsen(c, t, workload, nemesis),
    );
  }

scenario("CHAOS §9.3: random SIGKILL and SIGTERM of random nodes, the idempotent counter is right after every response", { quick: true, timeoutMs: 400_000 }, async (c, t) => {
  await c.node(1).ctl("config", "set", "--partition-replication", "3", "--yes");
  c.partitionReplication = 3;
  await c.ready();
  await c.serve();
  const writers = new Writers(c, { count: 6, attemptTimeoutMs: 5000 }).start();
  await writers.progress(2);
  const until = performance.now() + (process.env.FULL === "1" ? 60_000 : 20_000);
  let rounds = 0;
  for (; performance.now() < until; rounds++) {
    const victim = pick(c.nodes);
    const how = pick(["kill", "terminate"]);
    await victim[how]();
    victim.launch();
    await victim.alive({ timeoutMs: 30_000 });
    await writers.progress(1, { timeoutMs: 30_000 });
  }
  t.diagnostic(`${rounds} restarts, ${writers.total} increments, longest gap ${(writers.gap(0) / 1000).toFixed(2)} s`);
  await c.ready();
  await writers.finish();
});

scenario("E2E AwakeableLeaderTransfer: 30 awakeables resolved while the leader moves all the time", { quick: true, serve: true, recipe: "endToEnd", timeoutMs: 240_000 }, async (c, t) => {
  const set = await c.node(1).ctl("config", "set", "--yes", "--partition-replication", "3");
  assert.equal(set.code, 0, set.stderr);
  c.partitionReplication = 3;
  await c.ready();
  const keys = Array.from({ length: 30 }, (_, i) => `a${i}`);
  for (const key of keys) assert.equal((await send(`${pick(c.nodes).ingress}/Waiter/${key}/run/send`, { headers: { "idempotency-key": key } })).status, 202);
  const ids = await Promise.all(keys.map((key) => eventually(async () => (await send(`${pick(c.nodes).ingress}/Waiter/${key}/id`, { timeoutMs: 5000 })).body, { timeoutMs: 30_000 })));
  let moving = true;
  let moves = 0;
  const mover = (async () => {
    for (let k = 1; moving; k = (k % 3) + 1, moves++) for (const p of [0, 1, 2, 3]) if (moving) await c.node(1).ctl("partition", "leader", "pin", String(p), "--node", String(k));
  })();
  const resolved = [];
  for (const [i, id] of ids.entries()) {
    const r = await send(`${pick(c.nodes).ingress}/restate/awakeables/${id}/resolve`, { body: `done ${i}`, timeoutMs: 30_000 }).catch((error) => error);
    if (r.status >= 200 && r.status < 300) resolved.push(i);
    await sleep(100);
  }
  const outcomes = await Promise.all(
    resolved.map((i) =>
      eventually(
        async () => {
          const r = await send(`${pick(c.nodes).ingress}/Waiter/${keys[i]}/run`, { headers: { "idempotency-key": keys[i] }, timeoutMs: 10_000 });
          return r.status === 200 && r.body;
        },
        { timeoutMs: 60_000, everyMs: 200 },
      ).catch(() => "lost"),
    ),
  );
  moving = false;
  await mover;
  t.diagnostic(`${resolved.length} of 30 resolved, ${moves} rounds of pinning`);
  assert.deepEqual(outcomes.filter((o, n) => o !== `done ${resolved[n]}`), [], "what was resolved with success completes");
  assert.ok(resolved.length >= 25);
});

scenario("B10 TR-8: timers, sleeps, steps, workflows and promises across a fail-over happen once", { quick: true, serve: true }, async (c) => {
  const n = 24;
  const tag = `t${Date.now()}`;
  const through = (i) => c.nodes[i % 3].ingress;
  for (let i = 0; i < n; i++) {
    assert.equal((await send(`${through(i)}/Greeter/later/send`, { body: { ms: 1500 + i * 100, key: `${tag}-later` } })).status, 202);
    assert.equal((await send(`${through(i)}/Counter/${tag}-delayed/add/send?delay=${2000 + i * 50}ms`, { body: 1 })).status, 202);
    assert.equal((await send(`${through(i)}/Greeter/steps/send`, { body: { n: 5, key: `${tag}-steps${i}` } })).status, 202);
    assert.equal((await send(`${through(i)}/Order/${tag}-${i}/run/send`, { body: { key: `${tag}-orders` } })).status, 202);
  }
  const victim = (await c.busiest()) ?? c.node(1);
  await victim.kill();
  const others = c.nodes.filter((x) => x !== victim);
  for (let i = 0; i < n; i++)
    await eventually(async () => (await send(`${others[i % 2].ingress}/Order/${tag}-${i}/approve`, { body: "yes", timeoutMs: 10_000 })).status === 200, { timeoutMs: 40_000, everyMs: 100 });
  victim.launch();
  await c.ready();
  const value = async (key) => (await send(`${others[0].ingress}/Counter/${key}/get`, { timeoutMs: 20_000 })).body;
  for (const [key, wanted] of [[`${tag}-later`, n], [`${tag}-delayed`, n], [`${tag}-orders`, n], ...Array.from({ length: n }, (_, i) => [`${tag}-steps${i}`, 5])])
    await eventually(async () => (await value(key)) >= wanted, { timeoutMs: 60_000, everyMs: 100 });
  await sleep(1500);
  for (const [key, wanted] of [[`${tag}-later`, n], [`${tag}-delayed`, n], [`${tag}-orders`, n]]) assert.equal(await value(key), wanted, key);
  for (let i = 0; i < n; i++) {
    assert.equal(await value(`${tag}-steps${i}`), 5);
    for (let s = 0; s < 5; s++) assert.ok(services.effects.get(`${tag}-steps${i}/${s}`) >= 1);
  }
});

scenario("VERSIONS B10: 404 never follows a registration on another node for long (TR-9, §2.6)", { quick: true }, async (c, t) => {
  await c.serve();
  const from = performance.now();
  for (const node of c.nodes) await eventually(async () => (await send(`${node.ingress}/Counter/fresh/get`)).status === 200, { timeoutMs: 15_000 });
  t.diagnostic(`known everywhere ${Math.round(performance.now() - from)} ms after the first node answered`);
  if (!official) assert.ok(performance.now() - from < 1500);
});
