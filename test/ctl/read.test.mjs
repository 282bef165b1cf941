// What an operator reads from a healthy single node with the official restatectl: the tables of spec/restatectl-vectors.md §6, with the
// numbers of this server.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Endpoint, restate } from "../sdk/harness.mjs";
import { eventually, Node, table } from "./operator.mjs";

const ROLES = "admin | http-ingress | log-server | metadata-server | worker";
const greeter = restate.service({ name: "Greeter", handlers: { greet: async (ctx, name) => `Hi ${name}` } });

describe("reading commands on a single node", () => {
  let node, endpoint;
  before(async () => {
    node = await Node.start({ env: { RESTATE_DEFAULT_NUM_PARTITIONS: "2", RESTATE_CLUSTER_NAME: "vec" } });
    endpoint = await Endpoint.start(greeter);
    await node.register(endpoint);
    for (let i = 0; i < 20; i++) assert.equal(await node.call("/Greeter/greet", `n${i}`), `Hi n${i}`);
  });
  after(async () => {
    await endpoint?.kill();
    await node?.dispose();
  });

  test("status", async () => {
    const text = await node.run("status");
    assert.match(text, /^Node Configuration \(v\d+\)\n/);
    const [row, ...more] = table(text, "NODE-ID");
    assert.equal(more.length, 0);
    assert.match(row.UPTIME, /^(n\/a|\d+s)$/);
    delete row.UPTIME;
    assert.deepEqual(row, {
      "NODE-ID": "N1:2",
      NAME: "node-1",
      METADATA: "Member",
      LEADER: "2",
      FOLLOWER: "0",
      "NODESET-MEMBER": "2",
      SEQUENCER: "2",
      ROLES,
    });
  });

  test("status --extra has the four sections", async () => {
    const text = await node.run("status", "--extra");
    const [row] = table(text, "NODE");
    assert.match(row.UPTIME, /now|second/);
    delete row.UPTIME;
    for (const column of ["NODES", "LOGS"]) {
      assert.match(row[column], /^v[1-9]\d*$/);
      delete row[column];
    }
    assert.deepEqual(row, {
      NODE: "N1",
      GEN: "2",
      NAME: "node-1",
      ADDRESS: "http://127.0.0.1:21611/",
      ROLES,
      LOCATION: "",
      "STORAGE-STATE": "read-write",
      "WORKER-STATE": "active",
      STATUS: "Alive",
      ADMIN: "Ready",
      WORKER: "Ready",
      "LOG-SERVER": "Ready",
      META: "Member",
      SCHEMA: "v1",
      "P-TABLE": "v1",
    });
    assert.match(text, /\n\nLogs v\d+\n└ Logs Provider: replicated\n ├ Log replication: \{node: 1\}\n └ Nodeset size: 0\n L-ID/);
    assert.match(text, /\n\nAlive partition processors \(nodes config v\d+, partition table v1\)\n ID/);
    assert.match(text, /\n\nMetadata service\n NODE/);
  });

  test("nodes list", async () => {
    assert.deepEqual(table(await node.run("nodes", "list"), "NODE"), [
      { NODE: "N1", GEN: "2", NAME: "node-1", ADDRESS: "http://127.0.0.1:21611/", ROLES },
    ]);
  });

  test("logs list", async () => {
    const row = (id) => ({
      "L-ID": String(id),
      SEGMENTS: "1",
      FROM: "1",
      KIND: "replicated",
      "LOGLET-ID": `${id}_0`,
      REPLICATION: "{node: 1}",
      SEQUENCER: "N1:2",
      NODESET: "[N1]",
    });
    assert.deepEqual(table(await node.run("logs", "list"), "L-ID"), [row(0), row(1)]);
  });

  test("logs describe --extra", async () => {
    const text = await node.run("logs", "describe", "--extra", "0");
    assert.match(text, /^Log Id: 0 \(v\d+\)\nTrim Point LSN: \d+\n/);
    assert.match(text, /IDX  FROM-LSN  KIND        LOGLET-ID  REPLICATION  SEQUENCER  EFF-NODESET  CREATED-AT  PARAMS/);
    assert.match(
      text,
      /▶︎ 0    1         replicated  0_0        \{node: 1\}    N1:2       \[N1\]         [^{]* \{"loglet_id":0,"sequencer":"N1:2","replication":\{"node":1\},"nodeset":\[1\]\}/,
    );
    assert.match(text, /---\n1\/1 segments shown\.\n\n$/);
  });

  test("find-tail, partitions list and the loglet agree on the tail", async () => {
    const rows = await eventually(async () => {
      const tails = table(await node.run("logs", "find-tail", "0-1"), "LOG-ID");
      const partitions = table(await node.run("partitions", "list"), "ID");
      return tails.every((t, i) => Number(t["TAIL-LSN"]) === Number(partitions[i].APPLIED) + 1) && { tails, partitions };
    });
    assert.ok(rows.tails.some((t) => Number(t["TAIL-LSN"]) > 10));
    for (const [i, tail] of rows.tails.entries()) {
      assert.deepEqual([tail["LOG-ID"], tail.SEGMENT, tail.STATE], [String(i), "0", "OPEN"]);
      const p = rows.partitions[i];
      assert.match(p.UPDATED, / ago$/);
      assert.ok(Number(p.DURABLE) <= Number(p.APPLIED));
      assert.deepEqual(
        [p.ID, p.NODE, p.MODE, p.STATUS, p.EPOCH, p.ARCHIVED, p["LSN-LAG"], p.SCHEMA, p["RULE-BOOK"], p.FEATURES],
        [String(i), "N1:2", "Leader", "Active", "e2", "-", "0", "v1", "-", "journal_v2"],
      );
      const info = await node.run("replicated-loglet", "info", `${i}_0`);
      assert.match(info, new RegExp(`Used in: +LogId=${i} at Segment=0 `));
      assert.match(info, /Sequencer: +N1:2 /);
      assert.match(info, new RegExp(`\n N1  ${tail["TAIL-LSN"]} +${tail["TAIL-LSN"]} +\\d+ +NO `));
    }
  });

  test("replicated-loglet digest: every record once, up to the tail", async () => {
    const text = await node.run("replicated-loglet", "digest", "1_0");
    const [tail] = table(await node.run("logs", "find-tail", "1"), "LOG-ID");
    const offsets = [...text.matchAll(/^ (\d+) +X +$/gm)].map((m) => Number(m[1]));
    assert.equal(offsets.at(-1), Number(tail["TAIL-LSN"]) - 1);
    assert.deepEqual(
      offsets,
      offsets.map((_, i) => offsets[0] + i),
    );
    assert.match(text, new RegExp(` LOCAL TAIL +${tail["TAIL-LSN"]} `));
    assert.match(text, new RegExp(` Observed Global Tail: +${tail["TAIL-LSN"]} `));
  });

  test("replicated-loglet servers", async () => {
    const text = await node.run("replicated-loglet", "servers");
    assert.match(text, /^Node configuration v\d+\nLog chain v\d+\n/);
    assert.deepEqual(table(text, "NODE"), [
      { NODE: "N1", GEN: "N1:2", "STORAGE-STATE": "read-write", "HISTORICAL-LOGLETS": "2", "ACTIVE-LOGLETS": "2" },
    ]);
  });

  test("config get", async () => {
    assert.equal(
      await node.run("config", "get"),
      "⚙️ Cluster Configuration\n├ Number of partitions: 2\n├ Partition replication: {node: 1}\n└ Logs Provider: replicated\n" +
        " ├ Log replication: {node: 1}\n └ Nodeset size: 0\n\n",
    );
  });

  test("metadata get: the four kinds, an absent key", async () => {
    const nodes = await node.metadata("nodes_config");
    assert.equal(nodes.cluster_name, "vec");
    assert.deepEqual(nodes.features, ["controlled-idempotent-sharding"]);
    assert.deepEqual(nodes.name_lookup, { "node-1": 1 });
    const [[id, { Node: me }]] = nodes.nodes;
    assert.equal(id, 1);
    assert.deepEqual(
      { ...me, address: node.masked(me.address) },
      {
        address: "http://127.0.0.1:21611/",
        binary_version: "1.7.12",
        current_generation: [1, 2],
        location: "",
        log_server_config: { storage_state: "read-write" },
        metadata_server_config: { metadata_server_state: "member" },
        name: "node-1",
        roles: ["http-ingress", "admin", "worker", "log-server", "metadata-server"],
        worker_config: { worker_state: "active" },
      },
    );
    const table = await node.run("metadata", "get", "-k", "partition_table");
    assert.match(table, /"end": 9223372036854775807,\n +"start": 0\n/);
    assert.match(table, /"end": 18446744073709551615,\n +"start": 9223372036854775808\n/);
    const logs = await node.metadata("bifrost_config");
    assert.deepEqual(logs.config, { default_provider: { replicated: { replication_property: "{node: 1}", target_nodeset_size: 0 } } });
    const epoch = await node.metadata("pp_epoch_0");
    assert.ok(Math.abs(epoch.current.modified_at - Date.now()) < 60_000);
    delete epoch.current.modified_at;
    assert.deepEqual(epoch, {
      version: 2,
      current: { context: {}, replica_set: [1], replication: "{node: 1}", version: 1 },
      epoch: 2,
      leader_metadata: { node_id: [1, 2], partition_id: 0 },
      next: null,
    });
    assert.equal(await node.run("metadata", "get", "-k", "nothing-here"), "null\n");
  });

  test("metadata-server list-servers", async () => {
    const text = await node.run("metadata-server", "list-servers");
    assert.match(text, /^Metadata service\n/);
    const [row] = table(text, "NODE");
    assert.deepEqual([row.NODE, row.STATUS, row.LEADER, row.MEMBERS], ["N1", "Member", "N1", "[N1]"]);
  });

  test("what does not exist is said to", async () => {
    const unknownLog = await node.ctl("logs", "describe", "99");
    assert.equal(unknownLog.code, 1);
    assert.match(unknownLog.stderr, /Failed to get log chain/);
    assert.match((await node.ctl("logs", "find-tail", "99")).stdout, /Client specified an invalid argument: Unknown log-id/);
    assert.match((await node.ctl("replicated-loglet", "info", "9_9")).stderr, /loglet 9_9 not found/);
  });

  test("a new process is a new generation, epoch and sequencer", async () => {
    await node.restart();
    await eventually(async () => {
      const [status] = table(await node.run("status"), "NODE-ID"); // Alive comes before the partitions lead
      return status["NODE-ID"] === "N1:3" && status.LEADER === "2" && status.SEQUENCER === "2";
    });
    const rows = table(await node.run("partitions", "list"), "ID");
    assert.ok(rows.every((r) => r.NODE === "N1:3" && r.EPOCH === "e3" && r.MODE === "Leader"));
    assert.ok(table(await node.run("logs", "list"), "L-ID").every((r) => r.SEQUENCER === "N1:3" && r.SEGMENTS === "2"));
  });
});
