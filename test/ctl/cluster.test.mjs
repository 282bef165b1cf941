// Every command of the tool against three nodes of this server, all well and then with one of them killed: output and exit code. Run with
// the official restatectl and with ours (tools/test-ctl); that both print the same is in same.test.mjs.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Cluster, send } from "../cluster/harness.mjs";
import { eventually, ours, runTool, table, tool } from "./operator.mjs";

let cluster, one;
before(
  async () => {
    cluster = await new Cluster({ partitions: 4, replication: 2 }).prepare();
    cluster.env = {
      RESTATE_WORKER__SNAPSHOTS__DESTINATION: `file://${cluster.dir}/snapshots`,
    };
    for (const node of cluster.nodes) node.launch();
    await cluster.ready();
    await cluster.spread(); // else the logs move on to larger node sets while they are looked at
    await cluster.serve();
    one = cluster.node(1);
    for (let i = 0; i < 24; i++) assert.equal((await send(`${one.ingress}/Counter/c${i}/add`, { body: 1 })).body, 1);
  },
  { timeout: 100_000 },
);
after(() => cluster?.dispose());

// A command that must do as told: its standard output.
async function good(...args) {
  const r = await one.ctl(...args);
  assert.equal(r.code, 0, `${args.join(" ")}\n${r.stdout}${r.stderr}`);
  assert.equal(r.stderr.replace(/^\d+ rows\. Query took .*\n/, ""), "", args.join(" "));
  return r.stdout;
}
// One that must fail with this sentence.
async function bad(sentence, ...args) {
  const r = await one.ctl(...args);
  assert.equal(r.code, 1, `${args.join(" ")}\n${r.stdout}${r.stderr}`);
  assert.match(r.stderr, sentence);
  return r;
}
// An item that fails: a line on standard error, exit code 0.
async function item(sentence, ...args) {
  const r = await one.ctl(...args);
  assert.equal(r.code, 0, r.stderr);
  assert.match(r.stderr, sentence);
  return r.stdout;
}
const rows = async (first, ...args) => table(await good(...args), first);
const ids = (list) => list.map((row) => row.NODE ?? row["NODE-ID"]);
const sum = (list, column) => list.reduce((n, row) => n + Number(row[column]), 0);

describe("three nodes", () => {
  test("status", async () => {
    await eventually(async () => {
      const nodes = await rows("NODE-ID", "status");
      assert.deepEqual(nodes.map((row) => row["NODE-ID"].split(":")[0]), ["N1", "N2", "N3"]);
      assert.deepEqual(nodes.map((row) => row.METADATA), ["Member", "Member", "Member"]);
      assert.equal(sum(nodes, "LEADER"), 4);
      assert.equal(sum(nodes, "FOLLOWER"), 4);
      assert.equal(sum(nodes, "SEQUENCER"), 4);
      assert.ok(sum(nodes, "NODESET-MEMBER") >= 8);
      return true;
    });
    const extra = await good("status", "--extra");
    for (const title of [/^Node Configuration \(v\d+\)$/m, /^Logs v\d+$/m, /^Alive partition processors \(nodes config v\d+, partition table v1\)$/m, /^Metadata service$/m]) assert.match(extra, title);
  });

  test("nodes list, from every node and with -S", async () => {
    for (const node of cluster.nodes) {
      const list = table(await node.run("nodes", "list", "--extra"), "NODE");
      assert.deepEqual(ids(list), ["N1", "N2", "N3"]);
      assert.deepEqual(list.map((row) => row.STATUS), ["Alive", "Alive", "Alive"]);
    }
    for (const node of cluster.nodes) {
      const single = await runTool(tool, ["-S", node.fabric, "partitions", "list"]);
      assert.equal(single.code, 0, single.stderr);
      assert.equal(table(single.stdout, "ID").length, 8);
    }
  });

  test("logs", async () => {
    const list = await rows("L-ID", "logs", "list");
    assert.deepEqual(list.map((row) => [row["L-ID"], row.KIND, row.REPLICATION]), [0, 1, 2, 3].map((l) => [String(l), "replicated", "{node: 2}"]));
    assert.match(await good("logs", "describe", "0-1", "--extra"), /^Log Id: 0 \(v\d+\)\nTrim Point LSN: \d+\n[^]*(\d+)\/\1 segments shown\.\n\nLog Id: 1 /);
    const tails = await rows("LOG-ID", "logs", "find-tail", "0-3");
    assert.deepEqual(tails.map((row) => row.STATE), ["OPEN", "OPEN", "OPEN", "OPEN"]);
    assert.ok(tails.every((row) => Number(row["TAIL-LSN"]) > 1));
    await bad(/Failed to get log chain/, "logs", "describe", "99");
    await item(/unknown log '9'|Failed to trim log 9/, "logs", "trim", "9", "-t", "1");
  });

  test("partitions list, sorted", async () => {
    for (const sort of ["partition", "node", "active"]) {
      const list = await rows("ID", "partitions", "list", "--sort", sort);
      assert.equal(list.length, 8);
      assert.equal(list.filter((row) => row.MODE === "Leader").length, 4);
    }
  });

  // Whichever node is asked: the leader makes the snapshot and trims.
  test("snapshots and trimming through every node", async () => {
    const lsn = {};
    for (const [k, node] of cluster.nodes.entries()) {
      const out = await node.run("snapshots", "create-snapshot", ...(k === 0 ? [] : ["0-3"]));
      const made = [...out.matchAll(/^Snapshot created for partition (\d): snap_\w+ \(log \1 @ LSN >= (\d+)\)$/gm)];
      assert.equal(made.length, 4, out);
      for (const [, p, n] of made) lsn[p] = Number(n);
    }
    for (const [k, node] of cluster.nodes.entries()) {
      // A leader that has just come to lead may not know yet what is safe: then it trims less, and more when it is asked again.
      await eventually(async () => {
        assert.equal(await node.run("logs", "trim", String(k), "-t", String(lsn[k])), `Submitted for log ${k}\n`);
        const seen = await Promise.all(cluster.nodes.map((other) => other.run("logs", "describe", String(k), "--extra")));
        return seen.every((text) => text.includes(`Trim Point LSN: ${lsn[k]}\n`));
      }, { timeoutMs: 20_000 });
    }
    await good("snapshots", "create", "3", "--trim-log");
    await item(/Failed to create snapshot for partition 0: [^]*Applied LSN below the target LSN/, "snapshots", "create", "0", "--min-lsn", "999999");
    if (ours) await item(/only the partitions 0-3/, "snapshots", "create", "99");
  });

  test("placement", async () => {
    await eventually(async () => (await rows("PARTITION", "partitions", "placement", "show")).every((row) => row.NEXT === "-"));
    assert.equal(await good("partitions", "placement", "set", "1", "-r", "N1,N2,N3", "--freeze", "by hand"), "Set placement for partition 1.\n");
    await eventually(async () => {
      const [row] = await rows("PARTITION", "partitions", "placement", "show", "1");
      return /^\[N1, N2, N3\]/.test(row.CURRENT) && row["AUTOMATIC PLACEMENT"] === "FROZEN: by hand";
    }, { timeoutMs: 30_000 });
    assert.equal(await good("partitions", "placement", "unfreeze", "1"), "Unfroze automatic placement for partition 1.\n");
    assert.equal(await good("partitions", "placement", "freeze", "0-1", "--reason", "hold"), "Froze automatic placement for partition 0.\nFroze automatic placement for partition 1.\n");
    await good("partitions", "placement", "unfreeze", "0-1");
    await item(/Partition 9 does not exist, skipping/, "partitions", "placement", "show", "9");
    await bad(/Partition 9 does not exist/, "partitions", "placement", "set", "9", "-r", "1");
  });

  test("leadership: a pin moves the leader", async () => {
    const leader = async () => Number(/^N(\d)/.exec((await rows("PARTITION", "partitions", "leadership", "show", "1"))[0].LEADER)[1]);
    const next = ((await leader()) % 3) + 1;
    const replicas = async () => (await rows("PARTITION", "partitions", "placement", "show", "1"))[0].CURRENT;
    if ((await replicas()).includes(`N${next}`)) {
      assert.equal(await good("partitions", "leadership", "pin", "1", "--node", `N${next}`), `Pinned partition 1 leader to node N${next}.\n`);
      await eventually(async () => (await leader()) === next, { timeoutMs: 30_000 });
    }
    assert.equal(await good("partitions", "leadership", "freeze", "1", "--reason", "maint"), "Froze leader election for partition 1.\n");
    assert.equal((await rows("PARTITION", "partitions", "leadership", "show", "1"))[0].FREEZE, "FROZEN: maint");
    assert.equal(await good("partitions", "leadership", "unfreeze", "1"), "Unfroze leader election for partition 1.\n");
    assert.equal(await good("partitions", "leadership", "unpin", "1"), "Unpinned leader for partition 1.\n");
    await item(/Node N9 is not part of the cluster|Partition/, "partitions", "leadership", "pin", "7", "--node", "1");
  });

  test("reconfigure and seal", async () => {
    const [, made, sealed] = /^✅ Log reconfiguration \(2\)\n └ Segment Index: (\d+)\n\nSealed segment\n ├ Index: (\d+)\n/.exec(await good("logs", "reconfigure", "-l", "2"));
    assert.equal(Number(made), Number(sealed) + 1);
    assert.match(await good("logs", "seal", "3", "--reason", "test"), /^✅ log=3 chain has been sealed\n ├ Tail LSN: \d+\n\n$/);
    await eventually(async () => (await rows("LOG-ID", "logs", "find-tail", "3"))[0].STATE === "OPEN" || (await send(`${one.ingress}/Counter/x/add`, { body: 1, timeoutMs: 1000 })) === 0, { timeoutMs: 30_000 });
    for (let i = 0; i < 24; i++) assert.equal((await send(`${one.ingress}/Counter/c${i}/add`, { body: 1, timeoutMs: 20_000 })).body, 2);
    await item(/Failed to reconfigure log 77/, "logs", "reconfigure", "-l", "77");
  });

  test("a log is sealed by force, but not with a hole", async () => {
    const [{ "TAIL-LSN": tail }] = await rows("LOG-ID", "logs", "find-tail", "0");
    await bad(/tail LSN must be a valid non-zero value/, "logs", "forced-seal", "0", "0");
    await bad(/User aborted/, "logs", "forced-seal", "0", tail);
    await bad(/ends at LSN \d+: a tail behind that would be a hole/, "logs", "forced-seal", "0", String(Number(tail) + 1000), "--yes");
    const [{ "TAIL-LSN": now }] = await eventually(async () => {
      const tails = await rows("LOG-ID", "logs", "find-tail", "0");
      return tails[0].STATE === "OPEN" && tails;
    }, { timeoutMs: 30_000 });
    assert.match(await good("logs", "forced-seal", "0", now, "--yes", "--reason", "test"), /✅ log=0 chain has been sealed\n ├ Tail LSN: \d+\n/);
    for (let i = 0; i < 24; i++) assert.equal((await send(`${one.ingress}/Counter/c${i}/add`, { body: 0, timeoutMs: 20_000 })).body, 2);
    await eventually(async () => (await rows("ID", "partitions", "list")).every((row) => row["LSN-LAG"] === "0"), { timeoutMs: 20_000 });
  });

  test("configuration and documents", async () => {
    assert.match(await good("config", "get"), /├ Number of partitions: 4\n├ Partition replication: \{node: 2\}\n└ Logs Provider: replicated\n ├ Log replication: \{node: 2\}\n/);
    assert.match(await good("config", "set", "--log-default-nodeset-size", "3", "--yes"), /✅ Configuration updated successfully/);
    assert.match(await good("config", "set", "--log-default-nodeset-size", "3", "--yes"), /No changes/);
    await bad(/does not support repartitioning/, "config", "set", "-n", "7", "--yes");
    const file = join(cluster.dir, "doc.json");
    writeFileSync(file, '{"a":1}');
    assert.equal(await good("metadata", "put", "-k", "doc", file), '{\n  "version": 1,\n  "a": 1\n}\n');
    assert.equal(await good("metadata", "patch", "-k", "doc", "-p", '[{"op":"add","path":"/b","value":2}]'), '{\n  "version": 2,\n  "a": 1,\n  "b": 2\n}\n');
    for (const node of cluster.nodes) assert.equal(await node.run("metadata", "get", "-k", "doc"), '{\n  "version": 2,\n  "a": 1,\n  "b": 2\n}\n');
    writeFileSync(file, '[metadata-client]\ntype = "etcd"\naddresses = ["127.0.0.1:2379"]\n');
    await bad(/Node N\d:\d+ is not running with --metadata-migration-mode; start all nodes with this flag before migrating metadata/, "metadata", "migrate", "--toml", file);
    for (const node of cluster.nodes) {
      const schema = JSON.parse(await node.run("metadata", "get", "-k", "schema_registry"));
      assert.ok(schema.version > 0);
      assert.ok(schema.deployments_v2.some((d) => d.id.startsWith("dp_") && d.services.some((s) => s.name === "Counter" && s.revision >= 1)), JSON.stringify(schema));
    }
    const again = await one.ctl("provision", "--yes");
    assert.equal(again.code, 0);
    assert.match(again.stdout, /Cluster has been provisioned by somebody else/);
  });

  test("stored logs", async () => {
    const loglet = (await rows("L-ID", "logs", "list"))[0]["LOGLET-ID"];
    const info = await good("replicated-loglet", "info", loglet);
    assert.match(info, /Replication: +\{node: 2\}/);
    assert.ok(table(info, "LOCAL-TAIL").length >= 2 || /LOCAL-TAIL/.test(info));
    assert.match(await good("replicated-loglet", "digest", loglet), /OFFSET[^]*LOCAL TAIL[^]*GLOBAL TAIL[^]*TRIM POINT/);
    assert.deepEqual(ids(await rows("NODE", "replicated-loglet", "list-servers")), ["N1", "N2", "N3"]);
    await bad(/loglet 9_9 not found/, "replicated-loglet", "info", "9_9");
  });

  test("metadata servers: one is removed and comes back", async () => {
    assert.deepEqual((await rows("NODE", "metadata-server", "list-servers")).map((row) => `${row.NODE} ${row.STATUS}`), ["N1 Member", "N2 Member", "N3 Member"]);
    await bad(/failed to add unknown node N8 to the metadata cluster/, "metadata-server", "add-node", "8");
    assert.match(await good("metadata-server", "add-node", "2"), /Node 'N2' is already a member of the metadata cluster/);
    assert.match(await good("metadata-server", "remove-node", "3"), /Removed node 'N3' from the metadata cluster/);
    await eventually(async () => (await rows("NODE", "metadata-server", "ls")).find((row) => row.NODE === "N3").STATUS === "Standby", { timeoutMs: 20_000 });
    assert.match(await good("metadata-server", "add-node", "3"), /Added node 'N3' to the metadata cluster/);
    await eventually(async () => (await rows("NODE", "metadata-server", "ls")).every((row) => row.STATUS === "Member"), { timeoutMs: 20_000 });
  });

  test("states of nodes", async () => {
    assert.match(await good("nodes", "set-storage-state", "--nodes", "N3", "--storage-state", "read-only"), /N3 storage-state has been updated from read-write to read-only/);
    assert.match(await good("nodes", "set-storage-state", "--nodes", "N3", "--storage-state", "read-write"), /from read-only to read-write/);
    assert.match(await good("nodes", "set-worker-state", "--nodes", "N3", "--worker-state", "draining"), /^N3:\d+ worker-state has been updated from active to draining/);
    assert.match(await good("nodes", "set-worker-state", "--nodes", "N3", "--worker-state", "active"), /from draining to active/);
    await bad(/It is not safe to disable node[^]*read-write state/, "nodes", "remove", "--nodes", "N3");
  });

  test("sql: rows of all nodes", async () => {
    const count = async (query) => JSON.parse(await good("sql", "--json", query));
    assert.deepEqual(await count("select plain_node_id, state from nodes order by 1"), [1, 2, 3].map((k) => ({ plain_node_id: `N${k}`, state: "alive" })));
    await eventually(async () => (await count("select count(*) as n from partitions where leader_plain_node_id is not null"))[0].n === 4, { timeoutMs: 20_000 });
    assert.ok((await count("select count(*) as n from partition_state"))[0].n >= 8);
    assert.ok((await count("select count(*) as n from partition_replica_set where membership = 'current'"))[0].n >= 8);
    assert.ok((await count("select count(*) as n from logs"))[0].n >= 4);
    assert.equal((await count("select count(*) as n from logs_tail_segments"))[0].n, 4);
    assert.deepEqual(await count("select distinct plain_node_id as n from config order by 1"), ["N1", "N2", "N3"].map((n) => ({ n })));
    assert.ok((await count("select count(*) as n from loglet_workers"))[0].n >= 8);
    assert.ok((await count("select count(*) as n from bifrost_read_streams"))[0].n >= 8);
  });

  test("storage compact", async () => {
    const out = await good("storage", "compact");
    assert.deepEqual(table(out, "NODE").map((row) => `${row.DATABASE} ${row.STATUS}`).sort(), ["db OK", "log-server OK", "replicated-metadata-server OK"].flatMap((r) => [r, r, r]));
    assert.match(out, /Compaction results: 9 succeeded, 0 failed\n$/);
    assert.match(await good("storage", "compact", "-d", "partition-store", "-n", "N2", "--bottommost-level-compaction", "force", "--recalculate-level"), /\n http:\S+ {2}db +OK +1 +\n/);
  });
});

describe("three nodes, one of them killed", () => {
  before(async () => {
    await cluster.node(3).kill();
    await eventually(async () => /☠️ Dead nodes/.test((await one.ctl("partitions", "list")).stdout), { timeoutMs: 30_000 });
    await eventually(async () => (await one.partitions()).filter((row) => row.MODE === "Leader" && row.STATUS === "Active").length === 4, { timeoutMs: 30_000 });
  });

  test("what is shown", async () => {
    const nodes = table((await one.ctl("status")).stdout, "NODE-ID");
    assert.deepEqual(nodes.map((row) => [row["NODE-ID"].split(":")[0], row.UPTIME === "offline"]), [["N1", false], ["N2", false], ["N3", true]]);
    assert.equal(sum(nodes.slice(0, 2), "LEADER"), 4);
    const list = table((await one.ctl("nodes", "list", "--extra")).stdout, "NODE");
    assert.deepEqual(list.map((row) => row.STATUS), ["Alive", "Alive", "Unknown"]);
    assert.equal(list[2].UPTIME, "N/A");
    assert.match(await good("partitions", "list"), /☠️ Dead nodes\n NODE +LAST-SEEN +\n N3 /);
    assert.equal((await rows("L-ID", "logs", "list")).length, 4);
    const servers = await one.ctl("metadata-server", "list-servers");
    assert.equal(servers.code, 0);
    assert.match(servers.stdout, /🔌 Unreachable nodes\n NODE +REASON +\n N3 /);
    const with3 = (await rows("L-ID", "logs", "list")).find((row) => row.NODESET.includes("N3"));
    if (with3) {
      assert.match((await one.ctl("replicated-loglet", "info", with3["LOGLET-ID"])).stdout, /\n N3 +\? +\? /);
      assert.match((await one.ctl("replicated-loglet", "digest", with3["LOGLET-ID"])).stdout, /N3\(E\)/);
    }
    const extra = await one.ctl("status", "--extra");
    assert.equal(extra.code, 0, extra.stderr);
  });

  test("what still works", async () => {
    const tails = await rows("LOG-ID", "logs", "find-tail", "0-3");
    assert.ok(tails.every((row) => ["OPEN", "SEALED"].includes(row.STATE)), JSON.stringify(tails));
    assert.equal([...(await good("snapshots", "create")).matchAll(/Snapshot created/g)].length, 4);
    assert.equal(await good("logs", "trim", "0-3", "-t", "2"), [0, 1, 2, 3].map((l) => `Submitted for log ${l}\n`).join(""));
    assert.match(await good("metadata", "patch", "-k", "doc", "-p", '[{"op":"replace","path":"/b","value":3}]'), /"version": 3/);
    assert.match(await good("config", "get"), /Number of partitions: 4/);
    await good("partitions", "leadership", "freeze", "0", "--reason", "down");
    await good("partitions", "leadership", "unfreeze", "0");
    assert.match(await good("logs", "reconfigure", "-l", "0", "--nodeset", "1,2"), /✅ Log reconfiguration/);
  });

  test("sql: what the dead node has is missing, with a warning", async () => {
    const r = await one.ctl("sql", "--json", "select distinct plain_node_id as n from config order by 1");
    assert.equal(r.code, 0, r.stderr);
    assert.deepEqual(JSON.parse(r.stdout), [{ n: "N1" }, { n: "N2" }]);
    assert.match(r.stderr, /WARNING \(partial results\):\n {2}N3: /);
    assert.deepEqual(JSON.parse(await good("sql", "--json", "select state from nodes where plain_node_id = 'N3'")), [{ state: "dead" }]);
  });

  test("what cannot be done says so", async () => {
    const compact = await bad(/1 compaction operation\(s\) failed/, "storage", "compact", "-d", "partition-store");
    assert.match(compact.stdout, /ERROR: gRPC error/);
    await good("storage", "compact", "-n", "1,2");
    await bad(/failed adding node N3|failed to add|unreachable|unavailable/, "metadata-server", "add-node", "3");
    await bad(/It is not safe to disable node/, "nodes", "remove", "--nodes", "3");
    await bad(/Safety-check failed|lost the ability/, "nodes", "set-storage-state", "--nodes", "1,2", "--storage-state", "read-only");
  });

  test("seeds: a dead one in front does no harm, alone it is an error", async () => {
    const dead = cluster.node(3).fabric;
    const both = await runTool(tool, ["-s", `${dead},${one.fabric}`, "nodes", "list"]);
    assert.equal(both.code, 0, both.stderr);
    const alone = await runTool(tool, ["-s", dead, "nodes", "list"]);
    assert.equal(alone.code, 1);
    assert.match(alone.stderr, /^Error: /);
  });

  test("the node comes back", async () => {
    cluster.node(3).launch();
    await cluster.node(3).alive();
    await eventually(async () => table((await one.ctl("nodes", "list", "--extra")).stdout, "NODE").every((row) => row.STATUS === "Alive"), { timeoutMs: 30_000 });
    await eventually(async () => !/Dead nodes/.test((await one.ctl("partitions", "list")).stdout), { timeoutMs: 30_000 });
  });
});
