// The way back after more was lost than the replication covers (BETTER B13, docs/operations.md "When too much is lost"), on real processes and
// with both tools of this server; the official one has neither.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ownCtl } from "../ctl/operator.mjs";
import { binary } from "../sdk/harness.mjs";
import { eventually, scenario, send, sleep } from "./harness.mjs";
import { Writers } from "./workload.mjs";

const only = { only: "ours", why: "no such tool there" };
const recover = (node, ...args) =>
  spawnSync(binary, ["recover", "metadata", "--base-dir", node.cluster.base, "--node-name", node.name, "--cluster-name", node.cluster.name, ...args], { encoding: "utf8" });
const own = (node, ...args) => spawnSync(ownCtl, ["-s", node.fabric, ...args], { encoding: "utf8" });
const ctl = async (node, ...args) => {
  const r = await node.ctl(...args);
  assert.equal(r.code, 0, `restatectl ${args.join(" ")}\n${r.stdout}${r.stderr}`);
  return r.stdout;
};
const lost = (node) => rmSync(node.dir, { recursive: true });
const values = async (node, writers) => {
  const out = {};
  for (const w of writers.writers) out[w.key] = (await send(`${node.ingress}/Counter/${w.key}/get`, { timeoutMs: 20_000 })).body;
  return out;
};

scenario("B13 B4: two of three disks lost: metadata rebuilt from the survivor, logs ended where they end, the state is there, the loss is told", { serve: true, timeoutMs: 300_000, ...only }, async (c, t) => {
  const writers = new Writers(c, { attemptTimeoutMs: 5000 }).start();
  await writers.progress(20);
  const [survivor, ...others] = c.nodes;
  const running = recover(survivor, "--yes");
  assert.equal(running.status, 1);
  assert.match(running.stderr, /in use by another restate-server/);
  await writers.finish();
  const well = own(survivor, "logs", "recover", "--yes");
  assert.equal(well.status, 0, well.stderr);
  assert.equal(well.stdout, "Enough log-servers of every segment answer: nothing is lost\n");
  const expected = await values(survivor, writers);
  await sleep(500);
  await Promise.all(c.nodes.map((n) => n.kill()));
  others.forEach(lost);

  // A look changes nothing.
  const file = join(survivor.dir, "replicated-metadata-server", "raft.log");
  const before = readFileSync(file);
  const dry = recover(survivor);
  assert.equal(dry.status, 0, dry.stderr);
  assert.match(dry.stdout, /members so far +N1:\w+, N2:\w+, N3:\w+/);
  assert.match(dry.stdout, /Nothing was changed/);
  assert.ok(readFileSync(file).equals(before));
  const done = recover(survivor, "--yes");
  assert.equal(done.status, 0, done.stderr);
  const backup = readdirSync(join(survivor.dir, "replicated-metadata-server")).find((f) => f.includes("before-recovery"));
  assert.ok(readFileSync(join(survivor.dir, "replicated-metadata-server", backup)).equals(before), "the backup is the file as it was");
  assert.match(recover(survivor, "--yes").stderr, /nothing is lost/, "twice is once");

  survivor.launch();
  await eventually(async () => /N1 +Member/.test((await survivor.ctl("metadata-server", "list-servers")).stdout), { timeoutMs: 20_000, everyMs: 300 });
  await ctl(survivor, "config", "set", "--log-replication", "1", "--partition-replication", "1", "--yes");
  await ctl(survivor, "nodes", "set-storage-state", "--nodes", "N2,N3", "--storage-state", "data-loss", "--force");
  const look = own(survivor, "logs", "recover", "--dry-run");
  assert.equal(look.status, 0, look.stderr);
  for (let log = 0; log < c.partitions; log++) assert.match(look.stdout, new RegExp(`log ${log}, segment \\d+ .*the last: not enough of its log-servers answer`));
  assert.match(look.stdout, /Nothing was changed/);
  assert.equal(own(survivor, "logs", "recover").status, 1, "asks first");
  const went = own(survivor, "logs", "recover", "--yes");
  assert.equal(went.status, 0, went.stdout + went.stderr);
  assert.equal((went.stdout.match(/✅ log=\d+ chain has been sealed/g) ?? []).length, c.partitions, went.stdout);
  t.diagnostic(went.stdout.split("\n").slice(0, 5).join(" | "));
  c.partitionReplication = 1;
  await c.ready({ nodes: [survivor], members: 1, followers: 0, timeoutMs: 30_000 });
  // Nothing of what was acknowledged was on the lost disks only: waves go to all three.
  assert.deepEqual(await values(survivor, writers), expected);
  assert.match(own(survivor, "logs", "recover").stdout, /log \d+, segment \d+|nothing is lost/);

  // It is a cluster again: new nodes, replication 2, and a node may go.
  const grown = [];
  for (let i = 0; i < 2; i++) {
    const node = await c.grow();
    c.addresses = [survivor.fabric, ...grown.map((n) => n.fabric), node.fabric];
    node.launch();
    grown.push(node);
  }
  c.nodes = [survivor, ...grown];
  await c.ready({ nodes: c.nodes, members: 3, followers: 0 });
  const more = new Writers(c, { attemptTimeoutMs: 10_000, prefix: "after-" }).start();
  await more.progress(3);
  await ctl(survivor, "config", "set", "--log-replication", "2", "--partition-replication", "2", "--yes");
  c.partitionReplication = 2;
  await c.ready({ nodes: c.nodes, members: 3 });
  await c.spread();
  await more.progress(3);
  await grown[0].kill();
  await more.progress(3, { timeoutMs: 40_000 });
  await more.finish();
  assert.deepEqual(await values(survivor, writers), expected);
});

scenario("B13 B4: records whose copies are all lost: which ones is told, the log goes on in front of them, the rest is right", { serve: true, timeoutMs: 300_000, ...only }, async (c, t) => {
  const [survivor, second, third] = c.nodes;
  const writers = new Writers(c, { attemptTimeoutMs: 5000 }).start();
  await writers.progress(10);
  await writers.finish();
  const kept = await values(survivor, writers);
  // What follows is stored by the two others alone.
  await survivor.kill();
  const gone = new Writers(c, { attemptTimeoutMs: 5000, prefix: "gone-", count: 8, through: [second, third] }).start();
  await gone.progress(5, { timeoutMs: 30_000 });
  await gone.finish({ from: second });
  await Promise.all([second.kill(), third.kill()]);
  rmSync(join(second.dir, "log-store"), { recursive: true });
  rmSync(join(third.dir, "log-store"), { recursive: true });
  for (const node of [second, third]) rmSync(join(node.dir, "db"), { recursive: true, force: true });
  // The metadata is whole: all three start. Of the two without a log store the one that comes last waits (B14): what both had is gone.
  for (const node of c.nodes) node.launch();
  await eventually(() => [second, third].some((node) => /This node waits and does not start its log-server: it has lost its disk/.test(node.tail(100))), { timeoutMs: 20_000, everyMs: 200 });
  // Then the rest of both disks goes too, and the majority of the metadata with them.
  await Promise.all([second.kill(), third.kill()]);
  assert.equal(recover(second).status, 0, "a look at the storage of a stopped member works everywhere");
  await survivor.kill();
  for (const node of [second, third]) lost(node);
  assert.equal(recover(survivor, "--yes").status, 0);
  survivor.launch();
  await eventually(async () => /N1 +Member/.test((await survivor.ctl("metadata-server", "list-servers")).stdout), { timeoutMs: 20_000, everyMs: 300 });
  await ctl(survivor, "config", "set", "--log-replication", "1", "--partition-replication", "1", "--yes");
  const look = own(survivor, "logs", "recover", "--dry-run");
  assert.equal(look.status, 0, look.stderr);
  t.diagnostic(look.stdout.replaceAll("\n", " | "));
  assert.match(look.stdout, /LOST/);
  const went = own(survivor, "logs", "recover", "--yes");
  assert.equal(went.status, 0, went.stdout + went.stderr);
  c.partitionReplication = 1;
  await c.ready({ nodes: [survivor], members: 1, followers: 0, timeoutMs: 40_000 });
  assert.deepEqual(await values(survivor, writers), kept, "what the survivor had is right");
  const after = new Writers(c, { attemptTimeoutMs: 10_000, prefix: "after-", through: [survivor] }).start();
  await after.progress(3);
  await after.finish({ from: survivor });
});
