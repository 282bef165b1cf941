// What operators do: grow, shrink, change replication, snapshots, trimming (spec/cluster.md §6, §7, §10.1, §10.2), always under load.
import assert from "node:assert/strict";
import { eventually, official, scenario, send, sleep, table } from "./harness.mjs";
import { S3 } from "./s3.mjs";
import { Writers } from "./workload.mjs";

const value = async (node, key) => (await send(`${node.ingress}/Counter/${key}/get`, { timeoutMs: 20_000 })).body;
const ctl = async (node, ...args) => {
  const r = await node.ctl(...args);
  assert.equal(r.code, 0, `restatectl ${args.join(" ")}\n${r.stdout}${r.stderr}`);
  return r.stdout + r.stderr;
};

async function withRepository(c) {
  const s3 = await S3.start();
  c.extras.push(s3);
  Object.assign((c.env = { ...c.env }), s3.env(c.name));
  return s3;
}

// Things that are on their way: state, a sleeping handler, a delayed send, an awakeable, a workflow that waits.
async function leaveTraces(node, tag, sleepMs) {
  for (let i = 0; i < 40; i++) assert.equal((await send(`${node.ingress}/Counter/${tag}-${i}/add`, { body: i })).body, i);
  assert.equal((await send(`${node.ingress}/Greeter/later/send`, { body: { ms: sleepMs, key: `${tag}-slept` } })).status, 202);
  assert.equal((await send(`${node.ingress}/Counter/${tag}-delayed/add/send?delay=${sleepMs}ms`, { body: 1 })).status, 202);
  assert.equal((await send(`${node.ingress}/Waiter/${tag}/run/send`, { headers: { "idempotency-key": tag } })).status, 202);
  assert.equal((await send(`${node.ingress}/Order/${tag}/run/send`, { body: { key: `${tag}-orders` } })).status, 202);
  return eventually(async () => (await send(`${node.ingress}/Waiter/${tag}/id`)).body);
}
async function tracesAreThere(nodes, tag, awakeable) {
  const any = (i) => nodes[i % nodes.length];
  for (let i = 0; i < 40; i++) assert.equal(await value(any(i), `${tag}-${i}`), i);
  assert.ok((await send(`${any(1).ingress}/restate/awakeables/${awakeable}/resolve`, { body: "woken" })).status < 300);
  const woken = await eventually(async () => {
    const r = await send(`${any(2).ingress}/Waiter/${tag}/run`, { headers: { "idempotency-key": tag }, timeoutMs: 10_000 });
    return r.status === 200 && r.body;
  }, { timeoutMs: 30_000 });
  assert.equal(woken, "woken");
  assert.equal((await send(`${any(0).ingress}/Order/${tag}/approve`, { body: "yes" })).status, 200);
  for (const what of ["slept", "delayed", "orders"]) await eventually(async () => (await value(any(1), `${tag}-${what}`)) >= 1, { timeoutMs: 60_000, everyMs: 200 });
  await sleep(500);
  for (const what of ["slept", "delayed", "orders"]) assert.equal(await value(any(0), `${tag}-${what}`), 1);
}

// Every log's last segment replicates to `copies` nodes out of node sets that have (or lack) certain nodes.
async function logsSettle(c, { copies, has = [], lacks = [], timeoutMs = 60_000 }) {
  let seen = "";
  await eventually(
    async () => {
      seen = (await c.running[0].ctl("logs", "list")).stdout;
      const logs = table(seen, "L-ID");
      return logs.length === c.partitions && logs.every((log) => log.REPLICATION === `{node: ${copies}}` && has.every((k) => log.NODESET.includes(`N${k}`)) && lacks.every((k) => !log.NODESET.includes(`N${k}`)));
    },
    { timeoutMs, everyMs: 500 },
  ).catch(() => {
    throw new Error(`logs do not settle on ${copies} copies (with ${has}, without ${lacks}):\n${seen}`);
  });
}

scenario(
  "A-3 A-8 M-a M-b M-c M-d M-e M-f M-g M-h §7.1: one node grows to three; state, sleeps, timers, awakeables and workflows from before are there",
  { quick: true, nodes: 1, replication: 1, started: false, timeoutMs: 300_000 },
  async (c) => {
    const s3 = await withRepository(c);
    const first = c.node(1);
    first.launch();
    await c.ready();
    await c.serve();
    const awakeable = await leaveTraces(first, "before", 25_000);
    // M-a, M-b
    const servers = table(await ctl(first, "metadata-server", "list-servers"), "NODE");
    assert.deepEqual(servers.map((r) => `${r.NODE} ${r.STATUS}`), ["N1 Member"]);
    assert.match(await ctl(first, "config", "get"), /\{node: 1\}/);
    await ctl(first, "config", "set", "--log-provider", "replicated", "--log-replication", "1", "--yes");
    // M-d
    const snapshots = await ctl(first, "snapshots", "create", "--trim-log");
    assert.equal((snapshots.match(/Snapshot created for partition/g) ?? []).length, c.partitions, snapshots);
    assert.equal(s3.keys().filter((k) => k.endsWith("/latest.json")).length, c.partitions);
    // M-e
    for (let i = 0; i < 2; i++) {
      const node = await c.grow();
      c.addresses = [first.fabric];
      node.launch();
    }
    await c.ready({ members: 3, followers: 0 });
    // M-f: all addresses everywhere, one restart after the other
    c.addresses = undefined;
    const writers = new Writers(c, { count: 6, attemptTimeoutMs: 15_000 }).start();
    await writers.progress(3);
    for (const node of c.nodes) {
      await node.terminate();
      node.launch();
      await node.alive();
      await writers.progress(2, { timeoutMs: 40_000 });
    }
    // M-g
    await ctl(first, "config", "set", "--log-replication", "2", "--partition-replication", "2", "--yes");
    c.partitionReplication = 2;
    await c.ready();
    await logsSettle(c, { copies: 2, has: [1, 2, 3] });
    // M-h: any node may go, the first one too
    assert.match(await ctl(first, "status"), /N3/);
    await writers.progress(2);
    await first.kill();
    await writers.progress(3, { timeoutMs: 40_000 });
    await tracesAreThere([c.node(2), c.node(3)], "before", awakeable);
    first.launch();
    await c.ready();
    await writers.finish();
  },
);

scenario("A-8 G-8: a node is added after the logs were trimmed, without a repository: the cluster goes on undisturbed", { nodes: 2, replication: 2, serve: true }, async (c) => {
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(20);
  for (const row of (await c.node(1).partitions()).filter((r) => r.MODE === "Leader"))
    await c.node(1).ctl("logs", "trim", row.ID, "--trim-point", String(Math.max(1, Number(row.DURABLE || 0))));
  const third = await c.grow();
  third.launch();
  await third.alive();
  await writers.progress(20);
  await sleep(5000);
  await writers.progress(20);
  await writers.finish();
});

scenario("§7.3 A-6: a fourth node: member at once, in node sets and replica sets soon, partitions stay on two nodes each", { serve: true, timeoutMs: 240_000, partitions: 8 }, async (c, t) => {
  const writers = new Writers(c, { attemptTimeoutMs: 10_000, through: [...c.nodes] }).start();
  await writers.progress(5);
  const from = performance.now();
  const fourth = await c.grow();
  fourth.launch();
  await fourth.alive();
  await eventually(async () => (await c.node(1).clusterHealth()).metadata_cluster_health.members.length === 4, { timeoutMs: 20_000 });
  t.diagnostic(`metadata member after ${((performance.now() - from) / 1000).toFixed(1)} s`);
  await eventually(async () => (await c.node(1).partitions()).some((row) => row.NODE.startsWith("N4")), { timeoutMs: 60_000, everyMs: 500 });
  t.diagnostic(`first replica on it after ${((performance.now() - from) / 1000).toFixed(1)} s`);
  await c.ready();
  // A partition that is being moved shows the nodes of both sets for a moment.
  await eventually(async () => {
    const rows = await c.node(1).partitions();
    return [...Array(c.partitions).keys()].every((p) => rows.filter((row) => row.ID === String(p)).length === 2);
  }, { timeoutMs: 30_000, everyMs: 300 });
  await writers.progress(5, { timeoutMs: 30_000 });
  assert.deepEqual(Object.keys(writers.errors()), []);
  await writers.finish();
});

scenario("§7.4 §1.10 S-18 L-11: a node is removed by the recipe; refused before; restarted with its old data it disturbs nobody", { nodes: 4, started: false, timeoutMs: 420_000 }, async (c) => {
  await withRepository(c);
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.serve();
  const writers = new Writers(c, { attemptTimeoutMs: 10_000, through: [c.node(1), c.node(3), c.node(4)] }).start();
  await writers.progress(10);
  const early = await c.node(1).ctl("nodes", "remove", "--nodes", "N2");
  assert.match(early.stdout + early.stderr, /read-write state|cannot be disabled/);
  await ctl(c.node(1), "nodes", "set-storage-state", "--nodes", "N2", "--storage-state", "read-only");
  await ctl(c.node(1), "nodes", "set-worker-state", "--nodes", "N2", "--worker-state", "draining");
  await eventually(async () => (await c.node(1).ctl("metadata-server", "remove-node", "N2")).code === 0, { timeoutMs: 30_000, everyMs: 1000 });
  await eventually(async () => !(await c.node(1).partitions()).some((row) => row.NODE.startsWith("N2:")), { timeoutMs: 60_000, everyMs: 500 });
  await logsSettle(c, { copies: 2, lacks: [2], timeoutMs: 120_000 });
  // Old segments with N2 vanish as the logs are trimmed; the first trim can leave the segment that was the tail.
  let removed = "";
  await eventually(
    async () => {
      await writers.progress(2);
      await c.node(1).ctl("snapshots", "create", "--trim-log");
      await sleep(1000);
      const r = await c.node(1).ctl("nodes", "set-storage-state", "--nodes", "N2", "--storage-state", "disabled");
      const s = await c.node(1).ctl("nodes", "remove", "--nodes", "N2");
      removed = r.stdout + r.stderr + s.stdout + s.stderr;
      return /Successfully removed nodes \[N2\]/.test(removed);
    },
    { timeoutMs: 120_000, everyMs: 2000 },
  ).catch(() => {
    throw new Error(`N2 cannot be removed: ${removed}`);
  });
  if (c.node(2).running) {
    const how = await Promise.race([c.node(2).exited, sleep(20_000)]);
    assert.equal(how?.code, 1, `a removed node stops\n${c.node(2).tail()}`);
  }
  const configuration = await c.node(1).metadata("nodes_config");
  assert.deepEqual(configuration.nodes.find(([id]) => id === 2), [2, "Tombstone"]);
  await writers.progress(5);
  // S-18: with its old data again
  const members = async () => (await c.node(1).clusterHealth()).metadata_cluster_health.members.length;
  c.node(2).launch();
  const how = await Promise.race([c.node(2).exited, sleep(15_000)]);
  await writers.progress(5);
  if (!official) {
    assert.ok(how && how.code === 1, `it must refuse\n${c.node(2).tail()}`);
    assert.equal(await members(), 3, "no zombie member");
  }
  if (c.node(2).running) await c.node(2).kill();
  await writers.finish();
});

scenario("§7.2 A-25 L-2: replication of logs and partitions raised to 3 and lowered to 2 under load; no record lacks copies", { serve: true, timeoutMs: 240_000 }, async (c) => {
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(5);
  for (const copies of [3, 2]) {
    await ctl(c.node(1), "config", "set", "--log-replication", String(copies), "--partition-replication", String(copies), "--yes");
    c.partitionReplication = copies;
    await c.ready();
    await logsSettle(c, { copies });
    await writers.progress(5);
    for (const log of table((await c.node(1).ctl("logs", "list")).stdout, "L-ID")) {
      const digest = await ctl(c.node(1), "replicated-loglet", "digest", log["LOGLET-ID"]);
      const rows = digest.split("\n").filter((line) => /^ *\d+ /.test(line));
      // Records in flight may lack copies for a moment; what is below the global tail never does.
      const bar = digest.split("\n").findIndex((line) => line.includes("────"));
      const lines = digest.split("\n");
      for (const row of rows) if (bar >= 0 && lines.indexOf(row) < bar) assert.ok((row.match(/X/g) ?? []).length >= copies, `${log["LOGLET-ID"]}: ${row}`);
    }
  }
  await writers.finish();
});

scenario("A-26 A-29 G-7: five nodes, replication 3: two failures are tolerated, reads and writes", { nodes: 5, replication: 3, serve: true, timeoutMs: 300_000 }, async (c) => {
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(5);
  const chief = await c.metadataLeader();
  const second = (await c.busiest({ except: [chief] })) ?? c.node((chief % 5) + 1);
  await Promise.all([c.node(chief).kill(), second.kill()]);
  await writers.progress(5, { timeoutMs: 60_000 });
  c.node(chief).launch();
  second.launch();
  await c.ready();
  await writers.finish();
});

scenario("A-5 A-7: both replicas of a partition die: a third node restores the snapshot and leads", { nodes: 5, started: false, timeoutMs: 300_000 }, async (c, t) => {
  const s3 = await withRepository(c);
  // Logs on three nodes each, partitions on two.
  c.env.RESTATE_BIFROST__REPLICATED_LOGLET__DEFAULT_LOG_REPLICATION = "3";
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.serve();
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(20);
  await eventually(async () => (((await c.node(1).ctl("snapshots", "create", "--trim-log")).stdout.match(/Snapshot created/g) ?? []).length === c.partitions), { timeoutMs: 60_000, everyMs: 2000 });
  const gets = s3.requests.filter((r) => r.startsWith("GET") && r.includes("/lsn_")).length;
  const rows = (await c.node(1).partitions()).filter((row) => row.ID === "0");
  const replicas = rows.map((row) => Number(/^N(\d+)/.exec(row.NODE)[1]));
  await Promise.all(replicas.map((k) => c.node(k).kill()));
  await writers.progress(5, { timeoutMs: 90_000 });
  t.diagnostic(`replicas ${replicas} of partition 0 killed; objects read from the repository: ${s3.requests.filter((r) => r.startsWith("GET") && r.includes("/lsn_")).length - gets}`);
  const leader = (await c.leaders())["0"];
  assert.ok(leader && !replicas.includes(leader), `partition 0 is led by ${leader}`);
  for (const k of replicas) c.node(k).launch();
  await c.ready();
  await writers.finish();
});

scenario("A-5 G-6 T-b: snapshots by hand: one line per partition, documents as specified; no repository, no automatic trimming", { quick: true, started: false }, async (c) => {
  const s3 = await withRepository(c);
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.serve();
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(5);
  const said = await ctl(c.node(2), "snapshots", "create");
  const lines = said.split("\n").filter((line) => /^Snapshot created for partition \d+: snap_\w+ \(log \d+ @ LSN >= \d+\)/.test(line.trim()));
  assert.equal(lines.length, c.partitions, said);
  const fingerprint = (await c.node(1).metadata("nodes_config")).cluster_fingerprint;
  for (let p = 0; p < c.partitions; p++) {
    const latest = s3.json(`${c.name}/${p}/latest.json`);
    assert.equal(latest.version, "V2");
    assert.equal(latest.partition_id, p);
    assert.equal(latest.log_id, p);
    assert.equal(latest.cluster_name, c.name);
    assert.equal(latest.cluster_fingerprint, fingerprint);
    assert.match(latest.snapshot_id, /^snap_1\w{22}$/);
    assert.match(latest.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.equal(latest.path, `lsn_${String(latest.min_applied_lsn).padStart(20, "0")}-${latest.snapshot_id}`);
    const metadata = s3.json(`${c.name}/${p}/${latest.path}/metadata.json`);
    assert.equal(metadata.version, "V1");
    assert.equal(metadata.snapshot_id, latest.snapshot_id);
    assert.ok(metadata.files.length > 0);
    for (const file of metadata.files) {
      const object = s3.objects.get(`${c.name}/${p}/${latest.path}${file.name.startsWith("/") ? "" : "/"}${file.name}`);
      assert.ok(object, `${file.name} in ${s3.keys(`${c.name}/${p}/`)}`);
      assert.equal(object.body.length, file.size);
    }
  }
  await writers.progress(3);
  await ctl(c.node(3), "snapshots", "create", "0");
  const retained = s3.json(`${c.name}/0/latest.json`).retained_snapshots;
  assert.ok(retained.length >= 1);
  for (const r of retained) assert.ok(s3.json(`${c.name}/0/${r.path}/metadata.json`), "a retained snapshot is complete");
  await eventually(async () => (await c.node(1).partitions()).filter((row) => row.MODE === "Leader").every((row) => row.ARCHIVED !== "-"), { timeoutMs: 20_000, everyMs: 300 });
  const high = await c.node(1).ctl("snapshots", "create", "0", "--min-lsn", "999999999");
  assert.match(high.stdout + high.stderr, /below the target LSN/);
  await writers.finish();
});

scenario("S-10 TR-11 B3: a node whose stores are gone starts from a snapshot when the log is trimmed", { started: false, timeoutMs: 240_000 }, async (c, t) => {
  const { rmSync } = await import("node:fs");
  const s3 = await withRepository(c);
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.serve();
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(20);
  await c.node(3).kill();
  await writers.progress(5, { timeoutMs: 40_000 });
  const said = await ctl(c.node(1), "snapshots", "create", "--trim-log");
  assert.equal((said.match(/Snapshot created/g) ?? []).length, c.partitions, said);
  rmSync(`${c.node(3).dir}/db`, { recursive: true });
  const reads = s3.requests.length;
  c.node(3).launch();
  await c.ready({ timeoutMs: 120_000 });
  await writers.progress(5);
  await c.node(1).kill();
  await writers.progress(5, { timeoutMs: 40_000 });
  t.diagnostic(`objects read: ${s3.requests.slice(reads).filter((r) => r.startsWith("GET") && r.includes("/lsn_")).length}`);
  c.node(1).launch();
  await c.ready();
  await writers.finish();
});

scenario("S-19: the repository is down: processing goes on, snapshots fail with a reason, and work again later", { started: false }, async (c) => {
  const s3 = await withRepository(c);
  c.env.RESTATE_WORKER__SNAPSHOTS__OBJECT_STORE_RETRY_POLICY__MAX_ATTEMPTS = "2";
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.serve();
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  s3.down = true;
  const refused = await c.node(1).ctl("snapshots", "create", "0");
  assert.doesNotMatch(refused.stdout, /Snapshot created/);
  await writers.progress(10);
  s3.down = false;
  await eventually(async () => /Snapshot created/.test((await c.node(1).ctl("snapshots", "create", "0")).stdout), { timeoutMs: 60_000, everyMs: 1000 });
  await writers.finish();
});

scenario("A-5: automatic snapshots by number of records", { started: false, timeoutMs: 240_000, partitions: 1 }, async (c) => {
  const s3 = await withRepository(c);
  c.env.RESTATE_WORKER__SNAPSHOTS__SNAPSHOT_INTERVAL_NUM_RECORDS = "100";
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.serve();
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await eventually(() => s3.keys().some((k) => k.endsWith("latest.json")), { timeoutMs: 120_000, everyMs: 500 });
  const first = s3.json(`${c.name}/0/latest.json`).min_applied_lsn;
  await eventually(() => s3.json(`${c.name}/0/latest.json`).min_applied_lsn > first, { timeoutMs: 60_000, everyMs: 500 });
  await writers.finish();
});

scenario("A-5 S-20: logs trimmed by hand beyond the snapshots: a replica that needs them waits and heals with the next snapshot", { started: false, timeoutMs: 300_000 }, async (c) => {
  const { rmSync } = await import("node:fs");
  await withRepository(c);
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.serve();
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(10);
  await c.node(3).kill();
  await writers.progress(10, { timeoutMs: 40_000 });
  const logs = Array.from({ length: c.partitions }, (_, i) => String(i));
  for (const log of logs) {
    const row = (await c.node(1).partitions()).find((r) => r.ID === log && r.MODE === "Leader");
    await c.node(1).ctl("logs", "trim", log, "--trim-point", String(Math.max(1, Number(row.APPLIED) - 2)));
  }
  rmSync(`${c.node(3).dir}/db`, { recursive: true });
  c.node(3).launch();
  await writers.progress(10, { timeoutMs: 40_000 });
  await eventually(async () => ((await c.node(1).ctl("snapshots", "create")).stdout.match(/Snapshot created/g) ?? []).length === c.partitions, { timeoutMs: 60_000, everyMs: 2000 });
  await c.ready({ timeoutMs: 120_000 });
  await writers.finish();
});
