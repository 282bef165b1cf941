// A node whose disk is lost comes back by itself, under its name and id, when the other copies suffice; else it waits and says once what to do
// (BETTER B14, docs/operations.md "A disk is lost"). The official server stops as `data-loss` and leaves the rest to its operator.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ownCtl } from "../ctl/operator.mjs";
import { eventually, scenario, sleep, table } from "./harness.mjs";
import { Writers } from "./workload.mjs";

const only = { only: "ours", why: "it stays away" };
const waits = /This node waits and does not start its log-server: .*/g;
const said = (node) => readFileSync(node.logFile, "utf8").match(waits) ?? [];
const ctl = async (node, ...args) => {
  const r = await node.ctl(...args);
  assert.equal(r.code, 0, `restatectl ${args.join(" ")}\n${r.stdout}${r.stderr}`);
  return r.stdout;
};
const row = async (from, node) => table((await from.ctl("nodes", "list", "--extra")).stdout, "NODE").find((n) => n.NAME === node.name);
// Segments in which node k was, of which it has nothing any more, stay in the chains until they are trimmed.
const trimmed = async (c, from, atLeast) => {
  let made, list;
  await eventually(
    async () => {
      made = await from.ctl("snapshots", "create", "--trim-log");
      list = (await from.ctl("logs", "list")).stdout;
      const chains = table(list, "L-ID");
      return chains.length === c.partitions && chains.every((l) => !(l["L-ID"] in atLeast) || (l.SEGMENTS === "1" && Number(/_(\d+)/.exec(l["LOGLET-ID"])[1]) > atLeast[l["L-ID"]]));
    },
    { timeoutMs: 60_000, everyMs: 500 },
  ).catch(async (error) => {
    throw new Error(`segments stay: ${JSON.stringify(atLeast)}\n${made.stdout}${made.stderr}\n${list}\n${(await from.ctl("partitions", "list")).stdout}`, { cause: error });
  });
};
const lastSegments = async (from) => Object.fromEntries(table((await from.ctl("logs", "list")).stdout, "L-ID").map((l) => [l["L-ID"], Number(/_(\d+)/.exec(l["LOGLET-ID"])[1])]));
const snapshots = (c) => (c.env.RESTATE_WORKER__SNAPSHOTS__DESTINATION = `file://${join(c.dir, "snapshots")}`);

async function start(c) {
  snapshots(c);
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.spread();
  await c.serve();
  // As the guide says for a cluster that exists: a node that may come back with an empty disk must not provision another one.
  for (const node of c.nodes) node.env.RESTATE_AUTO_PROVISION = "false";
}

scenario("B14 S-8 S-9: the whole disk of each node lost in turn under load: it comes back by itself, nothing is lost", { quick: true, started: false, timeoutMs: 300_000, env: {}, ...only }, async (c, t) => {
  await start(c);
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(5);
  for (const node of c.nodes) {
    const other = c.nodes.find((n) => n !== node);
    const before = await row(other, node), last = await lastSegments(other);
    await node.kill();
    rmSync(node.dir, { recursive: true });
    const from = performance.now();
    node.launch();
    await c.ready({ members: 3 });
    const took = performance.now() - from;
    await writers.progress(5);
    const after = await row(other, node);
    t.diagnostic(`${node.name}: ${before["GEN-NODE-ID"] ?? before.NODE} is back as a whole after ${(took / 1000).toFixed(1)} s, longest gap ${(writers.gap(from) / 1000).toFixed(2)} s`);
    assert.equal(after.NODE, before.NODE);
    assert.equal(after["STORAGE-STATE"], "read-write");
    assert.match(node.tail(400), /its disk was lost. storage-state is `data-loss`/);
    assert.match(node.tail(400), /as its next storage generation/);
    assert.deepEqual(said(node), []);
    // It holds copies again: every log moves on to a segment that has it.
    await eventually(async () => Object.entries(await lastSegments(other)).every(([log, index]) => index > last[log]), { timeoutMs: 30_000, everyMs: 300 });
    await c.spread();
    await trimmed(c, other, last);
  }
  // They hold what they say: with any one of them gone all goes on.
  await c.node(1).kill();
  await writers.progress(5, { timeoutMs: 40_000 });
  c.node(1).launch();
  await c.ready();
  await writers.finish();
});

scenario("B14: a second disk lost before what the first had is trimmed: the node waits, says once why and what to do, and comes back when that is done", { started: false, timeoutMs: 300_000, env: {}, ...only }, async (c, t) => {
  await start(c);
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(5);
  const last = await lastSegments(c.node(1));
  await c.node(3).kill();
  rmSync(c.node(3).dir, { recursive: true });
  c.node(3).launch();
  await c.ready({ members: 3 });
  await eventually(async () => Object.entries(await lastSegments(c.node(1))).every(([log, index]) => index > last[log]), { timeoutMs: 30_000, everyMs: 300 });
  await writers.progress(5);
  // Records of the first segments may have been on 2 and 3 only.
  await c.node(2).kill();
  rmSync(c.node(2).dir, { recursive: true });
  c.node(2).launch();
  const pid = c.node(2).process.pid;
  await eventually(() => said(c.node(2)).length > 0, { timeoutMs: 20_000, everyMs: 100 });
  await writers.progress(5, { timeoutMs: 30_000 });
  await sleep(5000);
  assert.equal(c.node(2).process.pid, pid);
  assert.ok(c.node(2).running, c.node(2).tail());
  t.diagnostic(said(c.node(2)).join(" | "));
  assert.equal(said(c.node(2)).length, 1, "once");
  assert.match(said(c.node(2))[0], /it has lost its disk, and records of log \d+, segment \d+_\d+.* may have had no other copy: replication {node: 2} on the nodes N1, N2, N3, of which N1 still has what was stored.*snapshots create/);
  assert.equal((await row(c.node(1), c.node(2)))["STORAGE-STATE"], "data-loss");
  await trimmed(c, c.node(1), last);
  await c.ready({ members: 3 });
  assert.equal((await row(c.node(1), c.node(2)))["STORAGE-STATE"], "read-write");
  await writers.progress(3);
  await writers.finish();
});

scenario("B14: logs with one copy: the node that had it waits and says what to do; the rest goes on when that is done, and then it comes back", { started: false, timeoutMs: 300_000, replication: 1, env: {}, ...only }, async (c, t) => {
  await start(c);
  const other = c.node(1);
  await ctl(other, "config", "set", "--partition-replication", "2", "--yes");
  c.partitionReplication = 2;
  await c.ready();
  const writers = new Writers(c, { attemptTimeoutMs: 5000, through: [other] }).start();
  await writers.progress(5);
  await writers.finish();
  // The states of both replicas have all of it; only the log's copy will be gone.
  await eventually(async () => (await other.partitions()).every((p) => p["LSN-LAG"] === "0"), { timeoutMs: 20_000, everyMs: 200 });
  // The first logs of a young cluster may know only the first node, and are moved on later.
  let logs, node;
  await eventually(
    async () => {
      logs = table(await ctl(other, "logs", "list"), "L-ID");
      node = c.nodes.find((n) => n !== other && logs.some((l) => l.NODESET.includes(`N${n.index}`)));
      return node && logs.every((l) => l.NODESET.includes(","));
    },
    { timeoutMs: 40_000, everyMs: 200 },
  );
  const all = await lastSegments(other);
  const last = Object.fromEntries(logs.filter((l) => l.NODESET.includes(`N${node.index}`)).map((l) => [l["L-ID"], all[l["L-ID"]]]));
  await node.kill();
  rmSync(node.dir, { recursive: true });
  node.launch();
  await eventually(() => said(node).length > 0, { timeoutMs: 20_000, everyMs: 100 });
  await sleep(2000);
  assert.ok(node.running, node.tail());
  assert.equal(said(node).length, 1, "once");
  t.diagnostic(said(node)[0]);
  assert.match(said(node)[0], /replication {node: 1} on the nodes .*logs recover/);
  // And those who would write on say what they wait for.
  const others = () => c.nodes.filter((n) => n !== node).map((n) => readFileSync(n.logFile, "utf8")).join("");
  await eventually(() => new RegExp(`log \\d+, segment \\d+_\\d+ cannot be sealed: no answer from N${node.index}\\. `).test(others()), { timeoutMs: 30_000, everyMs: 200 });
  // What it says to do.
  const went = spawnSync(ownCtl, ["-s", other.fabric, "logs", "recover", "--yes"], { encoding: "utf8" });
  assert.equal(went.status, 0, went.stdout + went.stderr);
  t.diagnostic(went.stdout.split("\n").slice(0, 4).join(" | "));
  await trimmed(c, other, last);
  await c.ready({ members: 3, followers: c.partitions });
  assert.equal((await row(other, node))["STORAGE-STATE"], "read-write");
  const after = new Writers(c, { attemptTimeoutMs: 10_000, prefix: "after-" }).start();
  await after.progress(3);
  await after.finish();
});

scenario("B14 N-5: an old disk that turns up again is not used", { started: false, timeoutMs: 300_000, env: {}, ...only }, async (c) => {
  await start(c);
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(5);
  const node = c.node(3), aside = `${node.dir}-old`, newer = `${node.dir}-new`;
  await node.kill();
  renameSync(node.dir, aside);
  node.launch();
  await c.ready({ members: 3 });
  await writers.progress(5);
  await node.kill();
  renameSync(node.dir, newer);
  renameSync(aside, node.dir);
  node.launch();
  await eventually(() => said(node).length > 0, { timeoutMs: 20_000, everyMs: 100 });
  assert.match(said(node)[0], /from before the node came back with an empty disk/);
  await writers.progress(5, { timeoutMs: 30_000 });
  await sleep(1000);
  assert.ok(node.running, node.tail());
  await node.terminate();
  renameSync(node.dir, aside);
  renameSync(newer, node.dir);
  node.launch();
  await c.ready({ members: 3 });
  await writers.progress(5);
  await writers.finish();
});

scenario("B14: two of three disks lost, and the majority of the metadata with them: the empty nodes say what to do and provision nothing", { started: false, timeoutMs: 120_000, env: {}, ...only }, async (c) => {
  await start(c);
  const empty = [c.node(1), c.node(2)];
  await Promise.all(empty.map((n) => n.kill()));
  for (const node of empty) {
    rmSync(node.dir, { recursive: true });
    node.launch();
  }
  for (const node of empty)
    await eventually(() => node.tail(5).includes(`${c.node(3).fabric}/ belongs to it, but no majority of them answers`) && /recover metadata.*Do not provision/.test(node.tail(5)), { timeoutMs: 30_000, everyMs: 200 });
  for (const node of empty) assert.ok(node.running, node.tail());
});
