// Metadata outside of the cluster's nodes, in etcd or an object store: spec/cluster.md §2.7. No node runs a metadata server then.
import assert from "node:assert/strict";
import { chainsUnder, pick, restartAny } from "./chain.mjs";
import { Etcd, etcdMissing } from "./etcd.mjs";
import { eventually, scenario, send, sleep } from "./harness.mjs";
import { S3 } from "./s3.mjs";
import { Writers } from "./workload.mjs";

const external = { only: "ours", why: "the official server is not compared here", started: false };
const etcdOnly = { ...external, missing: etcdMissing };

async function onEtcd(c, size = 1) {
  const etcd = await Etcd.start(size);
  c.extras.push(etcd);
  c.env = { ...c.env, ...etcd.env() };
  c.members = 0;
  return etcd;
}
async function onObjectStore(c) {
  const s3 = await S3.start("metadata");
  c.extras.push(s3);
  c.env = {
    ...c.env,
    RESTATE_METADATA_CLIENT__TYPE: "object-store",
    RESTATE_METADATA_CLIENT__PATH: `s3://${s3.bucket}/clusters/one`,
    RESTATE_METADATA_CLIENT__AWS_REGION: "local",
    RESTATE_METADATA_CLIENT__AWS_ENDPOINT_URL: s3.endpoint,
    RESTATE_METADATA_CLIENT__AWS_ALLOW_HTTP: "true",
    RESTATE_METADATA_CLIENT__AWS_ACCESS_KEY_ID: "minioadmin",
    RESTATE_METADATA_CLIENT__AWS_SECRET_ACCESS_KEY: "minioadmin",
    RESTATE_AUTO_PROVISION: "true", // on every node: the store arbitrates
  };
  c.members = 0;
  return s3;
}
async function start(c) {
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.spread();
}

// Nodes are killed under load; the store is away and comes back; nothing is lost. `store` has away(), back() and version(key).
async function survives(c, t, store) {
  await start(c);
  const metadata = (node) => node.ctl("metadata", "get", "-k", "nodes_config");
  const nodes = JSON.parse((await metadata(c.node(1))).stdout);
  assert.equal(nodes.nodes.length, 3);
  assert.equal(await store.version("nodes_config"), nodes.version);
  for (const [, entry] of nodes.nodes) assert.equal(entry.Node.metadata_server_config.metadata_server_state, "standby");
  assert.deepEqual((await c.node(1).clusterHealth()).metadata_cluster_health.members, []);
  await c.serve();

  const writers = new Writers(c).start();
  await writers.progress(5);
  const victim = await eventually(() => c.busiest());
  const killed = performance.now();
  await victim.kill();
  await writers.progress(5);
  const gap = writers.gap(killed);
  victim.launch();
  await victim.alive();
  await writers.progress(5);

  // Without the store what needs no new leader goes on.
  await store.away();
  await writers.progress(20);
  await sleep(2000);
  await writers.progress(20);
  await store.back();
  await eventually(async () => (await metadata(c.node(1))).code === 0, { timeoutMs: 20_000, everyMs: 200 });

  // A leader that dies while the store is away is replaced when it is back.
  await store.away();
  const second = await c.busiest({ except: [victim.index] });
  await second.kill();
  await sleep(3000);
  await store.back();
  await writers.progress(5, { timeoutMs: 60_000 });
  second.launch();
  await second.alive();
  await writers.progress(5);
  await writers.finish();
  t.diagnostic(`${writers.total} requests; the longest gap after a leader was killed: ${Math.round(gap)} ms`);

  for (const node of c.nodes) assert.deepEqual(await node.terminate(), { code: 0, signal: null });
  await start(c); // all from what the store and the logs hold
  await writers.finish(); // compares again
}

scenario("§2.7 etcd: three nodes provision at once; nothing is lost when nodes and etcd are killed", { ...etcdOnly, quick: true, timeoutMs: 240_000 }, async (c, t) => {
  const etcd = await onEtcd(c);
  const [member] = etcd.members;
  await survives(c, t, {
    away: () => etcd.kill(member),
    back: () => etcd.restart(member),
    version: async (key) => (await etcd.value(`${key}::version`)).readUInt32LE(0),
  });
});

scenario("§2.7 object store: three nodes provision at once; nothing is lost when nodes are killed and the store is down", { ...external, quick: true, timeoutMs: 240_000 }, async (c, t) => {
  const s3 = await onObjectStore(c);
  await survives(c, t, {
    away: async () => (s3.down = true),
    back: async () => (s3.down = false),
    version: async (key) => {
      const { body } = s3.objects.get(`clusters/one/${key}`);
      assert.equal(body.toString("latin1", 0, 2), "e\x01");
      return body.readUInt32LE(10);
    },
  });
  assert.ok(s3.objects.has("clusters/one/schema!2Fhead"));
});

scenario("§2.7 M-1 M-2 object store: chains of compare-and-swap under restarts of nodes and a store that refuses now and then", { ...external, timeoutMs: 240_000 }, async (c, t) => {
  const s3 = await onObjectStore(c);
  await start(c);
  await chainsUnder(async () => {
    s3.down = true;
    await sleep(Math.random() * 1000);
    s3.down = false;
    await restartAny(c);
  }, c, t, { ms: 30_000 });
});

scenario("§2.7 object store: a directory, one node, deletions leave tombstones", { ...external, quick: true, nodes: 1, replication: 1 }, async (c) => {
  const [node] = c.nodes;
  c.members = 0;
  c.env = { RESTATE_METADATA_CLIENT__TYPE: "object-store", RESTATE_METADATA_CLIENT__PATH: `file://${c.dir}/metadata` };
  await start(c);
  const endpoint = await c.serve();
  const { deployments } = (await send(`${node.admin}/deployments`, { method: "GET" })).body;
  assert.equal((await send(`${node.admin}/deployments/${deployments[0].id}?force=true`, { method: "DELETE" })).status, 202);
  assert.deepEqual(await node.terminate(), { code: 0, signal: null });
  await start(c);
  assert.deepEqual((await send(`${node.admin}/deployments`, { method: "GET" })).body.deployments, []);
  await node.register(endpoint, { force: true });
  assert.equal((await send(`${node.ingress}/Greeter/greet`, { body: "again" })).status, 200);
});

scenario("§2.7 M-1 M-2 etcd of three members: chains of compare-and-swap; nodes and members are killed, members stopped", { ...etcdOnly, quick: true, timeoutMs: 240_000 }, async (c, t) => {
  const etcd = await onEtcd(c, 3);
  await start(c);
  await chainsUnder(async (progress) => {
    const kind = Math.random();
    const member = pick(etcd.members);
    if (kind < 0.35) {
      await etcd.kill(member);
      await progress(); // two of three are there
      await etcd.restart(member);
    } else if (kind < 0.6) {
      member.process.kill("SIGSTOP"); // connected, but silent
      await progress();
      member.process.kill("SIGCONT");
    } else {
      await restartAny(c);
    }
  }, c, t, { ms: process.env.FULL === "1" ? 40_000 : 12_000 });
});

scenario("§2.7 etcd: manual provisioning; another cluster's name; a node that would do nothing", { ...etcdOnly, nodes: 2 }, async (c) => {
  await onEtcd(c);
  c.env.RESTATE_AUTO_PROVISION = "false";
  c.node(1).launch();
  await eventually(() => /Waiting for the cluster 'test-cluster' to be provisioned.*`restatectl provision`/.test(c.node(1).tail(50)), { timeoutMs: 20_000 });
  const provisioned = await c.node(1).ctl("provision", "--yes", "--num-partitions", "4", "--replication", "1");
  assert.equal(provisioned.code, 0, provisioned.stdout + provisioned.stderr);
  await c.node(1).alive();
  c.node(2).env = { RESTATE_CLUSTER_NAME: "another" };
  c.node(2).launch();
  assert.equal((await c.node(2).exited).code, 1);
  assert.match(c.node(2).tail(), /cluster name mismatch: this node is configured for cluster 'another', the metadata belongs to 'test-cluster'/);
  c.node(2).env = { RESTATE_ROLES: "[metadata-server]" };
  c.node(2).launch();
  assert.equal((await c.node(2).exited).code, 1);
  assert.match(c.node(2).tail(), /only role is metadata-server has nothing to do/);
  // Values that etcd holds are those of any other store.
  const put = await c.node(1).ctl("metadata", "put", "-k", "mine", c.file("mine.json", '{"a":1}'));
  assert.equal(put.code, 0, put.stderr);
  const patch = await c.node(1).ctl("metadata", "patch", "-k", "mine", "-p", '[{"op":"replace","path":"/a","value":2}]');
  assert.equal(patch.code, 0, patch.stderr);
  assert.deepEqual(JSON.parse((await c.node(1).ctl("metadata", "get", "-k", "mine")).stdout), { a: 2, version: 2 });
  const stale = await c.node(1).ctl("metadata", "put", "-k", "mine", c.file("mine.json", '{"a":3}'), "--version", "1");
  assert.notEqual(stale.code, 0);
});

// The metadata of a running cluster moves from the nodes to a store outside; nothing of what was there is lost.
async function migrates(c, env, toml) {
  for (const node of c.nodes) node.launch();
  c.members = undefined;
  await c.ready();
  await c.spread();
  await c.serve();
  const writers = new Writers(c).start();
  await writers.progress(10);
  await writers.finish();
  const [one] = c.nodes;
  const file = c.file("target.toml", toml);
  const migrate = (...args) => one.ctl("metadata", "migrate", "--toml", file, ...args);
  const refused = await migrate();
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /Node N\d:\d+ is not running with --metadata-migration-mode; start all nodes with this flag before migrating metadata/);

  for (const node of c.nodes) await node.terminate();
  for (const node of c.nodes) node.args = ["--metadata-migration-mode"];
  for (const node of c.nodes) node.launch();
  await eventually(async () => (await one.ctl("metadata", "get", "-k", "nodes_config")).code === 0, { timeoutMs: 30_000, everyMs: 200 });
  const roles = async () => JSON.parse((await one.ctl("metadata", "get", "-k", "nodes_config")).stdout).nodes.map(([, entry]) => entry.Node.roles.toSorted().join());
  await eventually(async () => (await roles()).every((r) => r === "admin,metadata-server"), { timeoutMs: 30_000, everyMs: 200 });
  await eventually(async () => /admin API|Admin API/.test(one.tail(10)), { timeoutMs: 30_000, everyMs: 100 });
  const done = await migrate();
  assert.equal(done.code, 0, done.stdout + done.stderr);
  assert.match(done.stdout + done.stderr, /Metadata migration completed/);
  const again = await migrate();
  assert.notEqual(again.code, 0);
  assert.match(again.stderr, /the target store holds metadata already, key '[^']+': use --force to overwrite it/);
  assert.equal((await migrate("--force")).code, 0);
  const before = JSON.parse((await one.ctl("metadata", "get", "-k", "nodes_config")).stdout);

  for (const node of c.nodes) assert.deepEqual(await node.terminate(), { code: 0, signal: null });
  for (const node of c.nodes) node.args = [];
  c.env = { ...c.env, ...env };
  c.members = 0;
  await start(c);
  const after = JSON.parse((await one.ctl("metadata", "get", "-k", "nodes_config")).stdout);
  assert.equal(after.cluster_fingerprint, before.cluster_fingerprint);
  assert.ok(after.version > before.version);
  for (const [, entry] of after.nodes) assert.equal(entry.Node.metadata_server_config.metadata_server_state, "standby");
  await writers.finish(); // every counter has what was acknowledged
  const more = new Writers(c, { prefix: "after" }).start();
  await more.progress(5);
  await c.nodes[1].kill();
  await more.progress(5);
  await more.finish();
}

scenario("§2.7 migration to etcd: nothing is lost, refused without the mode and over what is there", { ...etcdOnly, quick: true, timeoutMs: 240_000 }, async (c) => {
  const etcd = await Etcd.start();
  c.extras.push(etcd);
  await migrates(c, etcd.env(), `[metadata-client]\ntype = "etcd"\naddresses = ["${etcd.members[0].client.replace("http://", "")}"]\n`);
});

scenario("§2.7 migration to an object store", { ...external, timeoutMs: 240_000 }, async (c) => {
  const s3 = await onObjectStore(c);
  const { env } = c;
  c.env = {};
  const lines = Object.entries(env)
    .filter(([key]) => key.startsWith("RESTATE_METADATA_CLIENT__"))
    .map(([key, value]) => `${key.slice(25).toLowerCase().replaceAll("_", "-")} = ${value === "true" ? value : JSON.stringify(value)}`);
  await migrates(c, env, `[metadata-client]\n${lines.join("\n")}\n`);
  assert.ok(s3.objects.has("clusters/one/pp_epoch_0"));
});
