// Snapshots and log trimming of one node with the official restatectl and an S3 server that checks every signature: a partition store that
// is lost comes back from the snapshot (S-10), also when the newest one is damaged (B3); trimming follows what is archived.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { Endpoint, restate } from "../sdk/harness.mjs";
import { FakeS3 } from "../s3/fake.mjs";
import { eventually, Node, table } from "./operator.mjs";

const counter = restate.object({
  name: "Counter",
  handlers: {
    add: async (ctx, n) => {
      const sum = ((await ctx.get("sum")) ?? 0) + n;
      ctx.set("sum", sum);
      ctx.set("large", "x".repeat(5000));
      return sum;
    },
  },
});
const keys = Array.from({ length: 12 }, (_, i) => `c${i}`);

let endpoint, s3, node;
before(async () => {
  endpoint = await Endpoint.start(counter);
});
after(() => endpoint?.terminate());

async function start(env = {}) {
  s3 = await FakeS3.start();
  node = await Node.start({ env: { RESTATE_DEFAULT_NUM_PARTITIONS: "2", ...s3.env(), ...env } });
  await active();
  await node.register(endpoint);
}
async function active() {
  await eventually(async () => {
    const rows = table(await node.run("partitions", "list"), "ID");
    return rows.length === 2 && rows.every((row) => row.STATUS === "Active" && row.MODE === "Leader");
  });
}
afterEach(async () => {
  await node?.dispose();
  await s3?.dispose();
  node = s3 = undefined;
});

async function addAll(n, expected) {
  for (const key of keys) assert.equal(await node.call(`/Counter/${key}/add`, n), expected);
}
// {partition: lsn}
async function createAll(...args) {
  const out = await node.run("snapshots", "create", ...args);
  const found = [...out.matchAll(/Snapshot created for partition (\d+): (snap_1\w{22}) \(log (\d+) @ LSN >= (\d+)\)/g)];
  assert.equal(found.length, 2, out);
  for (const f of found) assert.equal(f[1], f[3]);
  return found.map((f) => ({ id: f[2], lsn: Number(f[4]) }));
}
async function trimPoints() {
  return Promise.all([0, 1].map(async (log) => Number(/Trim Point LSN: (\d+)/.exec(await node.run("logs", "describe", String(log), "--extra"))[1])));
}
async function archived() {
  return table(await node.run("partitions", "list"), "ID").map((row) => row.ARCHIVED);
}
async function loseStore() {
  assert.deepEqual(await node.stop(), { code: 0, signal: null });
  rmSync(join(node.dir, "data", "node-1", "db"), { recursive: true });
}
async function relaunch() {
  await node.launch();
  await active();
}

describe("snapshots", () => {
  test("a lost partition store comes back from the snapshot behind a trimmed log", async () => {
    await start();
    await addAll(1, 1);
    assert.deepEqual(await archived(), ["-", "-"]);
    const made = await createAll("--trim-log");
    await eventually(async () => assert.deepEqual(await trimPoints(), made.map((m) => m.lsn)) ?? true);
    await eventually(async () => assert.deepEqual(await archived(), made.map((m) => String(m.lsn))) ?? true);
    for (const [p, m] of made.entries()) {
      const latest = s3.json(`prefix/${p}/latest.json`);
      assert.equal(latest.version, "V2");
      assert.equal(latest.snapshot_id, m.id);
      assert.equal(latest.min_applied_lsn, m.lsn);
      assert.equal(latest.node_name, "node-1");
      assert.match(latest.path, /^lsn_\d{20}-snap_1\w{22}$/);
      assert.deepEqual(latest.retained_snapshots.length, 1);
      assert.ok(s3.keys(`prefix/${p}/${latest.path}/`).includes(`prefix/${p}/${latest.path}/metadata.json`));
    }
    await addAll(1, 2); // in the log only
    await loseStore();
    await relaunch();
    for (const [p, m] of made.entries()) assert.match(node.log, new RegExp(`partition ${p} was restored from snapshot ${m.id} at LSN ${m.lsn}`));
    await addAll(1, 3);
    assert.deepEqual(await archived(), made.map((m) => String(m.lsn)));
  });

  test("a damaged newest snapshot falls back to the older one, and the log has the rest", async () => {
    await start({ RESTATE_WORKER__SNAPSHOTS__NUM_RETAINED: "2" });
    await addAll(1, 1);
    const first = await createAll("--trim-log");
    await addAll(1, 2);
    const second = await createAll();
    assert.deepEqual(await archived(), first.map((m) => String(m.lsn))); // the oldest that is retained
    await addAll(1, 3);
    await loseStore();
    await s3.stop();
    s3.damage(s3.keys("prefix/0/").find((k) => k.includes(second[0].id) && k.endsWith("/000000.data")));
    s3.remove(s3.keys("prefix/1/").find((k) => k.includes(second[1].id) && k.endsWith("/000000.data")));
    await s3.start();
    await relaunch();
    assert.match(node.log, /partition 0 in s3:\/\/bucket\/prefix cannot be used: the checksum of file \/000000.data is wrong/);
    assert.match(node.log, /partition 1 in s3:\/\/bucket\/prefix cannot be used: there is no /);
    for (const [p, m] of first.entries()) assert.match(node.log, new RegExp(`partition ${p} was restored from snapshot ${m.id}`));
    await addAll(1, 4);
    assert.deepEqual((await createAll()).filter((m, p) => m.lsn <= second[p].lsn), []); // goes on
  });

  test("without a usable snapshot it says so, waits, and heals when there is one", async () => {
    await start();
    await addAll(1, 1);
    await createAll("--trim-log");
    await loseStore();
    await s3.stop(); // hidden for a while
    const env = node.env;
    node.env = { ...env, RESTATE_WORKER__SNAPSHOTS__DESTINATION: "s3://bucket/elsewhere" };
    await s3.start();
    await node.launch();
    await eventually(() => node.log.match(/A log trim gap was encountered, but no snapshot is available for this partition!/g)?.length >= 2);
    assert.deepEqual(table(await node.run("partitions", "list"), "ID").map((row) => row.STATUS), ["Starting", "Starting"]);
    await node.stop();
    for (const name of Object.keys(env).filter((n) => n.startsWith("RESTATE_WORKER__SNAPSHOTS"))) delete node.env[name];
    await node.launch();
    await eventually(() => node.log.includes("A log trim gap was encountered, but no snapshot repository is configured!"));
    await node.stop();
    node.env = env;
    await relaunch();
    await addAll(1, 2);
  });

  test("requests: targets, what exists already, and a repository that is away", async () => {
    await start({ RESTATE_WORKER__SNAPSHOTS__OBJECT_STORE_RETRY_POLICY: "{type=fixed-delay,interval=50ms,max-attempts=2}" });
    await addAll(1, 1);
    const high = await node.ctl("snapshots", "create", "1", "--min-lsn", "999999");
    assert.match(high.stderr, /SnapshotCreationFailed\(.*export error: precondition failed: Applied LSN below the target LSN: \d+ < 999999 for partition 1/);
    const made = await createAll();
    await addAll(1, 2);
    assert.deepEqual(await createAll("--min-lsn", String(Math.min(...made.map((m) => m.lsn)))), made); // as good
    assert.notDeepEqual(await createAll(), made);
    await s3.stop();
    const away = await node.ctl("snapshots", "create", "0");
    assert.match(away.stderr, /Failed to create snapshot for partition 0: .*SnapshotCreationFailed/);
    await addAll(1, 3); // S-19
    await s3.start();
    await createAll();
    const log = await s3.log();
    const writes = log.filter(([method, path]) => method === "PUT" && path.endsWith("/latest.json"));
    assert.ok(writes.length >= 2 && writes.every(([, , , , c]) => c["If-Match"] || c["If-None-Match"] === "*"));
  });

  test("the log is trimmed to what is archived, by itself", async () => {
    await start({ RESTATE_WORKER__DURABILITY_MODE: "snapshot-and-replica-set", RESTATE_WORKER__TRIM_DELAY_INTERVAL: "1s" });
    await addAll(1, 1);
    const made = await createAll();
    await eventually(async () => assert.deepEqual(await trimPoints(), made.map((m) => m.lsn)) ?? true, { timeoutMs: 25_000 });
    await addAll(1, 2);
  });

  test("destinations that cannot be used are refused at the start", async () => {
    for (const [destination, what] of [
      ["gs://bucket/prefix", /the scheme of 'gs:\/\/bucket\/prefix' is not supported/],
      ["az://bucket/prefix", /the scheme of 'az:\/\/bucket\/prefix' is not supported/],
      ["bucket/prefix", /'bucket\/prefix' is not a URL/],
    ]) {
      node = Object.assign(new Node(), {
        dir: mkdtempSync(join(tmpdir(), "restate-test-")),
        ports: { ingress: 0, admin: 0, fabric: 0 },
        env: { RESTATE_WORKER__SNAPSHOTS__DESTINATION: destination },
        args: [],
      });
      node.process = node.spawn();
      const [code] = await once(node.process, "exit");
      assert.equal(code, 1);
      assert.match(node.log, what);
      await node.dispose();
    }
  });
});
