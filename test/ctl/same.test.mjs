// Ours and the official restatectl print the same: both run against one server, outputs compared after masking ages, log times and
// durations. Commands that change something are given so that the second run changes nothing or the same thing again.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Node, officialCtl, ownCtl, runTool, sleep } from "./operator.mjs";

const UNITS = "(?:years?|months?|weeks?|days?|hours?|minutes?|seconds?|ms)";
const AGE = new RegExp(`\\d+ ${UNITS}(?:(?:,| and) \\d+ ${UNITS})* ago`, "g");

function masked(text) {
  return text
    .replace(AGE, "<age>")
    .replace(/now ago/g, "<age>")
    .replace(/ (PT\d+S|P0D) /g, " <uptime> ")
    .replace(/ (now|\d+ seconds|n\/a|\d+s)( +)(?=Alive|Member)/g, " <uptime> ")
    .replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z ERROR/gm, "<time> ERROR")
    .replace(/ {2,}/g, "  ") // padding follows the widest age
    .replace(/ +(\u001b\[\d+m)/g, " $1")
    .replace(/─+/g, "─")
    .replace(/ +$/gm, "")
    .replace(/took [\d.]+(?:ms|s|µs)/, "took <duration>");
}

describe("the same command, ours and the official one", () => {
  let node, file;
  before(async () => {
    node = await Node.start({ env: { RESTATE_DEFAULT_NUM_PARTITIONS: "2", RESTATE_CLUSTER_NAME: "vec" } });
    file = join(node.dir, "doc.json");
    writeFileSync(file, '{"a":1,"b":[1,2,3],"c":{"x":"y"},"big":18446744073709551615,"neg":-5,"f":1.5,"t":true,"n":null}');
  });
  after(() => node?.dispose());

  // The server moves on between the two runs (a store becomes durable): only a difference that stays counts.
  async function both(args, { env = {}, attempts = 4 } = {}) {
    const official = await runTool(officialCtl, ["-s", node.fabric, ...args], env);
    const own = await runTool(ownCtl, ["-s", node.fabric, ...args], env);
    const what = args.join(" ");
    try {
      assert.equal(masked(own.stdout), masked(official.stdout), what);
      assert.equal(masked(own.stderr), masked(official.stderr), what);
      assert.equal(own.code, official.code, what);
    } catch (difference) {
      if (attempts === 1) throw difference;
      await sleep(300);
      return both(args, { env, attempts: attempts - 1 });
    }
    return own;
  }
  function cases(name, list) {
    test(name, async () => {
      for (const args of list) await both(args);
    });
  }

  cases("nodes and status", [
    ["status"],
    ["status", "--extra"],
    ["nodes", "list"],
    ["nodes", "ls", "--extra"],
    ["--table-style", "borders", "nodes", "list"],
    ["--time-format", "iso8601", "nodes", "list", "--extra"],
    ["nodes", "set-storage-state", "--node", "1", "--storage-state", "read-only"],
    ["nodes", "set-storage-state", "--nodes", "9", "--storage-state", "read-only"],
    ["nodes", "set-worker-state", "--node", "1", "--worker-state", "draining"],
    ["nodes", "set-worker-state", "--node", "1", "--worker-state", "active"],
    ["nodes", "remove", "--nodes", "1"],
    ["nodes", "remove", "--nodes", "N7"],
  ]);
  cases("logs", [
    ["logs", "list"],
    ["logs", "describe"],
    ["logs", "describe", "--extra", "0"],
    ["logs", "describe", "0", "--skip", "5"],
    ["logs", "describe", "99"],
    ["logs", "find-tail", "0-3"],
    ["--table-style", "borders", "logs", "find-tail", "0", "9"],
    ["logs", "trim", "0", "-t", "1"],
    ["logs", "reconfigure", "-l", "9"],
    ["logs", "reconfigure", "-l", "1", "-p", "local"],
    ["logs", "seal", "9"],
    ["replicated-loglet", "info", "0_0"],
    ["replicated-loglet", "info", "9_9"],
    ["replicated-loglet", "digest", "1_0"],
    ["replicated-loglet", "servers"],
  ]);
  cases("partitions", [
    ["partitions", "list"],
    ["partitions", "list", "--sort", "node"],
    ["partitions", "placement", "show", "0", "9"],
    ["partitions", "leadership", "freeze", "1", "--reason", "maint"],
    ["partitions", "leadership", "pin", "1", "--node", "1"],
    ["partitions", "leadership", "pin", "1", "--node", "4"],
    ["partitions", "leadership", "show"],
    ["partitions", "placement", "freeze", "0-1", "--reason", "hold"],
    ["partitions", "placement", "freeze", "7", "--reason", "hold"],
    ["partitions", "placement", "show"],
    ["partitions", "placement", "unfreeze", "0-1"],
    ["partitions", "placement", "set", "9", "-r", "1"],
    ["partitions", "placement", "set", "1", "-r", "1,1"],
    ["partitions", "placement", "set", "1", "-r", "4"],
    ["partitions", "leadership", "unpin", "1"],
    ["partitions", "leadership", "unfreeze", "0", "1"],
    ["partitions", "generate-metadata", "-n", "3", "--pretty"],
    ["partitions", "generate-metadata", "-n", "24"],
    ["logs", "generate-metadata", "-r", "2", "--nodeset", "N1,N2", "--sequencer", "N1:1", "-n", "1", "--pretty"],
  ]);
  cases("configuration and metadata", [
    ["config", "get"],
    ["config", "set", "--log-default-nodeset-size", "2"],
    ["config", "set", "-y", "-n", "5"],
    ["config", "set", "--log-provider", "local"],
    ["config", "set", "-y", "--log-replication", "1"],
    ["metadata", "get", "-k", "nodes_config"],
    ["metadata", "get", "-k", "bifrost_config"],
    ["metadata", "get", "-k", "partition_table"],
    ["metadata", "get", "-k", "pp_epoch_0"],
    ["metadata", "get", "-k", "nothing"],
    ["metadata", "patch", "-k", "demo", "-p", "["],
    ["metadata-server", "ls"],
    ["metadata-server", "add-node", "1"],
    ["metadata-server", "add-node", "8"],
    ["metadata-server", "remove-node", "9"],
    ["storage", "compact", "-d", "metadata-server"],
    ["storage", "compact", "-n", "5"],
    ["provision", "-y"],
    ["provision", "--log-provider", "local", "-n", "2", "--disable-feature", "controlled-idempotent-sharding"],
  ]);
  cases("command lines that are not understood", [
    ["bogus"],
    ["stats"],
    ["nodes", "bogus"],
    ["nodes", "remove"],
    ["nodes", "remove", "--nodes", "x"],
    ["logs", "trim", "x", "-t", "1"],
    ["logs", "trim", "0"],
    ["logs", "trim", "0", "-t"],
    ["logs", "find-tail"],
    ["logs", "find-tail", "5-2"],
    ["status", "--foo"],
    ["status", "extra"],
    ["status", "--table-style", "x"],
    ["--connect-timeout", "abc", "status"],
    ["sql"],
    ["metadata", "get"],
    ["config", "set", "-r", "1", "--log-replication", "2"],
    ["config", "set", "--log-provider", "xx"],
    ["storage", "compact", "-d", "foo"],
    ["provision", "-r", "0"],
    ["provision", "-n", "70000"],
  ]);

  test("documents: what one tool writes the other reads, byte for byte", async () => {
    for (const [key, tool] of [
      ["a", officialCtl],
      ["b", ownCtl],
    ]) {
      const put = await runTool(tool, ["-s", node.fabric, "metadata", "put", "-k", key, file]);
      assert.equal(put.code, 0, put.stderr);
      const patch = await runTool(tool, ["-s", node.fabric, "metadata", "patch", "-k", key, "-p", '[{"op":"move","from":"/c/x","path":"/b/0"},{"op":"test","path":"/n","value":null}]']);
      assert.equal(patch.code, 0, patch.stderr);
    }
    const a = await both(["metadata", "get", "-k", "a"]);
    const b = await both(["metadata", "get", "-k", "b"]);
    assert.equal(a.stdout, b.stdout);
    assert.match(a.stdout, /"version": 2,\n  "a": 1,\n[^]*"big": 18446744073709551615/);
  });

  test("with colours", async () => {
    for (const args of [["status"], ["nodes", "list"], ["partitions", "list"], ["logs", "describe", "0"]]) {
      await both(args, { env: { CLICOLOR_FORCE: "1", NO_COLOR: "" } });
    }
  });

  test("no node answers", async () => {
    const r = { own: await runTool(ownCtl, ["-s", "http://127.0.0.1:1,http://127.0.0.1:2", "status"]), official: await runTool(officialCtl, ["-s", "http://127.0.0.1:1,http://127.0.0.1:2", "status"]) };
    const shape = (text) => text.replace(/: [^:\n]*(connect|refused)[^\n]*/gi, ": <refused>");
    assert.equal(shape(r.own.stderr), shape(r.official.stderr));
    assert.equal(r.own.code, 1);
  });
});
