// What an operator changes with the official restatectl: provisioning, settings, states, policies, documents, logs.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { eventually, Node, table } from "./operator.mjs";

describe("provisioning", () => {
  let node;
  before(async () => {
    node = await Node.start({ env: { RESTATE_AUTO_PROVISION: "false", RESTATE_DEFAULT_NUM_PARTITIONS: "2" } });
  });
  after(() => node?.dispose());

  test("an unprovisioned node says so", async () => {
    for (const command of [["status"], ["nodes", "list"]]) {
      const r = await node.ctl(...command);
      assert.equal(r.code, 1);
      assert.match(r.stdout, /^The cluster metadata service was unavailable but the following node\(s\)/);
      assert.deepEqual(table(node.masked(r.stdout), "NODE")[0], {
        NODE: "n/a",
        GEN: "",
        NAME: "-",
        ADDRESS: "http://127.0.0.1:21611/",
        ROLES: "admin | http-ingress | log-server | metadata-server | worker",
      });
      assert.match(r.stderr, /The cluster appears to not be provisioned. You can do so with `restatectl provision`/);
    }
    const health = await node.health();
    assert.deepEqual([health.status, health.node_id, health.metadata_server_status], ["StartingUp", null, "AwaitingProvisioning"]);
  });

  test("a dry run, and no answer to the question, change nothing", async () => {
    const r = await node.ctl("provision");
    assert.equal(r.code, 1);
    assert.match(r.stdout, /├ Number of partitions: 2\n├ Partition replication: \{node: 1\}\n└ Logs Provider: replicated\n/);
    assert.match(r.stdout, /Features to enable:\n  - controlled-idempotent-sharding\n/);
    assert.match(r.stderr, /Error: User aborted/);
    assert.equal((await node.health()).nodes_config_version, 0);
  });

  test("the copies asked for are shown before the question", async () => {
    const r = await node.ctl("provision", "-r", "3");
    assert.equal(r.code, 1);
    assert.match(r.stdout, /├ Partition replication: \{node: 3\}\n└ Logs Provider: replicated\n ├ Log replication: \{node: 3\}/);
    assert.equal((await node.health()).nodes_config_version, 0);
  });

  test("provision brings the node up", async () => {
    const r = await node.run("provision", "-y", "-n", "3");
    assert.match(r, /├ Number of partitions: 3\n/);
    assert.match(r, /✅ Cluster has been successfully provisioned\.\n$/);
    await eventually(async () => (await node.health()).status === "Alive");
    assert.equal((await fetch(`${node.ingress}/restate/health`)).status, 200);
    assert.equal(table(await node.run("partitions", "list"), "ID").length, 3);
  });

  test("a second time it is refused", async () => {
    const r = await node.run("provision", "-y", "-n", "9");
    assert.match(r, /🤷 Cluster has been provisioned by somebody else\.\n$/);
    assert.match(await node.run("config", "get"), /Number of partitions: 3/);
  });
});

describe("changes on a single node", () => {
  let node;
  before(async () => {
    node = await Node.start({ env: { RESTATE_DEFAULT_NUM_PARTITIONS: "2" } });
  });
  after(() => node?.dispose());

  test("config set", async () => {
    assert.match(await node.run("config", "set", "-y", "--log-default-nodeset-size", "3"), /✅ Configuration updated successfully/);
    assert.match(await node.run("config", "get"), / └ Nodeset size: 3\n/);
    assert.match(await node.run("config", "set", "-y", "--log-default-nodeset-size", "3"), /🤷 No changes/);
    const local = await node.ctl("config", "set", "-y", "--log-provider", "local");
    assert.equal(local.code, 1);
    assert.match(local.stderr, /failed read-modify-write operation: changing default provider kind to local is not supported\. Choose 'replicated' instead/);
  });

  test("states of the node", async () => {
    const set = (kind, state, ...more) => node.run("nodes", `set-${kind}-state`, "--node", "1", `--${kind}-state`, state, ...more);
    assert.equal(await set("worker", "draining", "--force"), "N1:2 worker-state has been updated from active to draining\n");
    assert.equal(table(await node.run("nodes", "list", "--extra"), "NODE")[0]["WORKER-STATE"], "draining");
    assert.equal(await set("worker", "active"), "N1:2 worker-state has been updated from draining to active\n");
    assert.equal(await set("storage", "read-only", "--force"), "N1 storage-state has been updated from read-write to read-only\n");
    assert.equal(await set("storage", "read-write"), "N1 storage-state has been updated from read-only to read-write\n");
    assert.equal((await node.metadata("nodes_config")).version, (await node.health()).nodes_config_version);
  });

  test("policies and placement of partitions", async () => {
    assert.equal(await node.run("partitions", "leadership", "freeze", "1", "--reason", "maint"), "Froze leader election for partition 1.\n");
    assert.equal(await node.run("partitions", "leadership", "pin", "1", "--node", "1"), "Pinned partition 1 leader to node N1.\n");
    assert.equal(await node.run("partitions", "placement", "set", "1", "-r", "N1", "--freeze", "hold"), "Set placement for partition 1.\n");
    assert.deepEqual(table(await node.run("partitions", "leadership", "show"), "PARTITION"), [
      { PARTITION: "0", LEADER: "N1", FREEZE: "-" },
      { PARTITION: "1", LEADER: "N1", FREEZE: "FROZEN: maint" },
    ]);
    assert.deepEqual(table(await node.run("partitions", "placement", "show"), "PARTITION"), [
      { PARTITION: "0", CURRENT: "[N1] (v1)", NEXT: "-", "AUTOMATIC PLACEMENT": "ENABLED" },
      { PARTITION: "1", CURRENT: "[N1] (v2)", NEXT: "-", "AUTOMATIC PLACEMENT": "FROZEN: hold" },
    ]);
    await node.run("partitions", "leadership", "unpin", "1");
    await node.run("partitions", "leadership", "unfreeze", "1");
    await node.run("partitions", "placement", "unfreeze", "1");
    const epoch = await node.metadata("pp_epoch_1");
    assert.equal(epoch.leadership_policy, undefined);
    assert.deepEqual([epoch.epoch, epoch.current.version, epoch.next], [2, 2, null]);
  });

  test("policies survive a restart", async () => {
    await node.run("partitions", "leadership", "freeze", "0", "--reason", "night");
    await node.restart();
    await eventually(async () => (await node.health()).status === "Alive");
    assert.equal(table(await node.run("partitions", "leadership", "show", "0"), "PARTITION")[0].FREEZE, "FROZEN: night");
    const epoch = await node.metadata("pp_epoch_0");
    assert.deepEqual([epoch.epoch, epoch.leader_metadata.node_id], [3, [1, 3]]);
  });

  test("documents", async () => {
    const file = join(node.dir, "document.json");
    writeFileSync(file, JSON.stringify({ a: 1, b: [1, 2, 3], c: { x: "y" } }));
    const expected = { version: 1, a: 1, b: [1, 2, 3], c: { x: "y" } };
    assert.deepEqual(JSON.parse(await node.run("metadata", "put", "-k", "demo", file)), expected);
    assert.deepEqual(await node.metadata("demo"), expected);
    await node.run("metadata", "patch", "-k", "demo", "-p", '[{"op":"add","path":"/n","value":-5}]');
    await node.restart();
    assert.deepEqual(await node.metadata("demo"), { ...expected, version: 2, n: -5 });
    const mismatch = await node.ctl("metadata", "put", "-k", "demo", file, "--version", "9");
    assert.equal(mismatch.code, 1);
    assert.match(mismatch.stderr, /Version mismatch: expected v9, got v2 from store/);
  });

  test("a removed node in the configuration disturbs nobody", async () => {
    await node.run("metadata", "patch", "-k", "nodes_config", "-p", '[{"op":"add","path":"/nodes/-","value":[9,"Tombstone"]}]');
    await eventually(async () => (await node.metadata("nodes_config")).nodes.some(([id, state]) => id === 9 && state === "Tombstone"));
    assert.equal(table(await node.run("nodes", "list"), "NODE").length, 1);
    assert.match((await node.ctl("nodes", "set-worker-state", "--nodes", "9", "--worker-state", "active")).stderr, /node N9 has been permanently deleted from config/);
    assert.equal((await node.health()).status, "Alive");
  });

  test("the server's own values cannot be broken", async () => {
    const fingerprint = await node.ctl("metadata", "patch", "-k", "nodes_config", "-p", '[{"op":"replace","path":"/cluster_fingerprint","value":7}]');
    assert.equal(fingerprint.code, 1);
    assert.match(fingerprint.stderr, /fingerprint of a cluster cannot be changed/);
    const nodes = await node.ctl("metadata", "patch", "-k", "nodes_config", "-p", '[{"op":"remove","path":"/nodes"}]');
    assert.match(nodes.stderr, /the nodes configuration is incomplete/);
    const epoch = await node.ctl("metadata", "patch", "-k", "pp_epoch_0", "-p", '[{"op":"replace","path":"/epoch","value":0}]');
    assert.match(epoch.stderr, /the leader of a partition cannot be changed/);
  });

  test("logs trim", async () => {
    const [before] = table(await node.run("logs", "find-tail", "0"), "LOG-ID");
    assert.equal(await node.run("logs", "trim", "0", "-t", "1000"), "Submitted for log 0\n");
    const trimmed = Number(before["TAIL-LSN"]) - 1; // never beyond the tail
    await eventually(async () => (await node.run("logs", "describe", "--extra", "0")).includes(`Trim Point LSN: ${trimmed}\n`));
    assert.match(await node.run("replicated-loglet", "digest", `0_${before.SEGMENT}`), / TRIM POINT +[1-9]/);
    const unknown = await node.ctl("logs", "trim", "9", "-t", "1");
    assert.equal(unknown.code, 0);
    assert.match(unknown.stderr, /Failed to trim log 9: failed to submit trim request/);
    await node.restart(); // and what was trimmed was durable
    assert.ok(table(await node.run("partitions", "list"), "ID").every((r) => r.STATUS === "Active"));
  });

  const tailOf = async (log) => table(await node.run("logs", "find-tail", String(log)), "LOG-ID")[0];

  test("logs reconfigure: a new segment, the same writer, the partition goes on", async () => {
    const before = await tailOf(1);
    const text = await node.run("logs", "reconfigure", "-l", "1");
    assert.match(text, new RegExp(`Segment Index: ${Number(before.SEGMENT) + 1}\n`));
    assert.match(text, new RegExp(`Sealed segment\n ├ Index: ${before.SEGMENT}\n ├ Tail LSN: \\d+\n ├ Provider: replicated\n`));
    const rows = table(await node.run("logs", "list"), "L-ID");
    const sequencers = new Set(rows.map((r) => r.SEQUENCER));
    assert.equal(sequencers.size, 1); // this process writes all logs, the new segment too
    await eventually(async () => (await tailOf(1)).STATE === "OPEN");
    assert.ok(Number((await tailOf(1))["TAIL-LSN"]) >= Number(before["TAIL-LSN"]));
    const sealed = await node.run("replicated-loglet", "info", `1_${before.SEGMENT}`);
    assert.match(sealed, / YES /);
    assert.ok(table(await node.run("partitions", "list"), "ID").every((r) => r.STATUS === "Active"));
  });

  test("logs seal: a marker with its reason; the writer goes on behind it", async () => {
    const before = await tailOf(0);
    const text = await node.run("logs", "seal", "0", "--reason", "because");
    assert.match(text, /✅ log=0 chain has been sealed\n ├ Tail LSN: \d+\n/);
    const tail = Number(/Tail LSN: (\d+)/.exec(text)[1]);
    assert.ok(tail >= Number(before["TAIL-LSN"]));
    await eventually(async () => {
      const now = await tailOf(0);
      return now.STATE === "OPEN" && Number(now["TAIL-LSN"]) >= tail && Number(now.SEGMENT) > Number(before.SEGMENT);
    });
  });

  test("what cannot be changed about logs is refused with a reason", async () => {
    const cases = [
      [["logs", "reconfigure", "-l", "1", "--replication", "3"], /Failed to reconfigure log 1: .*Insufficient writeable nodes in the nodeset/],
      [["logs", "reconfigure", "-l", "1", "-i", "99"], /Failed to reconfigure log 1: .*segment index mismatch/],
      [["logs", "seal", "0", "-i", "99"], /Failed to seal log chain for log=0: .*segment index mismatch/],
    ];
    for (const [command, sentence] of cases) {
      const r = await node.ctl(...command);
      assert.equal(r.code, 0, command.join(" "));
      assert.match(r.stderr, sentence);
    }
  });

  test("what a single node cannot do", async () => {
    const cases = [
      [["snapshots", "create", "0"], 0, /Failed to create snapshot for partition 0: .*no snapshot repository is configured/],
      [["nodes", "remove", "--nodes", "1"], 1, /log server cannot be disabled because it is in read-write state/],
    ];
    for (const [command, code, sentence] of cases) {
      const r = await node.ctl(...command);
      assert.equal(r.code, code, command.join(" "));
      assert.match(r.stderr, sentence);
    }
    assert.equal(await node.run("metadata-server", "add-node", "1"), "Node 'N1' is already a member of the metadata cluster\n");
    assert.match(await node.run("metadata-server", "remove-node", "9"), /^Node 'N9' is not a member of the metadata cluster\n/);
  });
});
