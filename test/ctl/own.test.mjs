// What our restatectl does beyond the official one (docs/restatectl.md): it honours the address flags everywhere, never writes in a dry
// run, can make failures of items count, refuses unknown partitions itself, prints JSON, watches, completes, documents itself.
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { eventually, Node, ours, ownCtl, runTool, table } from "./operator.mjs";

describe("our restatectl", { skip: !ours }, () => {
  let node;
  before(async () => {
    node = await Node.start({ env: { RESTATE_DEFAULT_NUM_PARTITIONS: "2", RESTATE_LISTEN_MODE: "all" } });
  });
  after(() => node?.dispose());
  const run = (args, ...more) => runTool(ownCtl, args, ...more);

  test("addresses: every spelling, the environment, a unix socket, several", async () => {
    const plain = (await run(["-s", node.fabric, "nodes", "list"])).stdout;
    assert.match(plain, /N1/);
    for (const args of [
      ["nodes", "list", "--addresses", `${node.fabric}/`],
      ["nodes", "list", `--address=${node.fabric}`],
      ["--server", `127.0.0.1:${node.ports.fabric}`, "nodes", "list"],
      ["nodes", "list", "-S", node.fabric],
      ["nodes", "list", "-s", `http://127.0.0.1:1,${node.fabric}`],
      ["nodes", "list", "-s", `unix:${join(node.dir, "data", "node-1", "fabric.sock")}`],
    ]) {
      const r = await run(args);
      assert.equal(r.stdout, plain, `${args.join(" ")}: ${r.stderr}`);
      assert.equal(r.code, 0);
    }
    assert.equal((await run(["nodes", "list"], { RESTATECTL_ADDRESS: node.fabric })).stdout, plain);
    // The reference's sql and provision look at --address only.
    const provision = await run(["provision", "-S", node.fabric, "--dry-run"]);
    assert.match(provision.stdout, /Number of partitions: 2/);
    const sql = await run(["sql", "-S", "http://127.0.0.1:1", "select 1"]);
    assert.match(sql.stderr, /^Error: Failed to run query\n {2}├─ code: 'The service is currently unavailable'/);
  });

  test("-v and -q; sql asks the next seed", async () => {
    const seeds = ["-s", `http://127.0.0.1:1,${node.fabric}`];
    const loud = await run([...seeds, "-v", "nodes", "list"]);
    assert.match(loud.stderr, /^\S+Z {2}WARN restatectl::call: http:\/\/127\.0\.0\.1:1\/ \/restate\.node_ctl_svc\.NodeCtlSvc\/GetIdent: The service is currently unavailable: [^\n]+ \(\d+ ms\)\n$/);
    assert.match((await run([...seeds, "-vv", "nodes", "list"])).stderr, / INFO restatectl::call: \S+ \/restate\.node_ctl_svc\.NodeCtlSvc\/GetMetadata: \d+ ms\n/);
    const failing = ["-s", node.fabric, "logs", "trim", "9", "-t", "1"];
    assert.match((await run(failing)).stderr, /Failed to trim log 9/);
    assert.equal((await run([...failing, "-q"])).stderr, "");
    assert.equal((await run([...failing, "-q", "--strict"])).code, 1);
    const sql = await run([...seeds, "sql", "--json", "select 1 as a"]);
    assert.equal(sql.stdout, '[{"a":1}]');
  });

  test("https addresses: files and pairs", async () => {
    assert.match((await run(["-s", "https://127.0.0.1:1", "--tls-cert", "x", "nodes", "list"])).stderr, /--tls-cert and --tls-key are given together/);
    // The node port speaks no TLS: a handshake with it fails, also when any certificate would do.
    const r = await run(["-s", `https://127.0.0.1:${node.ports.fabric}`, "--insecure-skip-tls-verify", "nodes", "list"]);
    assert.equal(r.code, 1);
    assert.match(r.stderr, /TLS|closed|handshake/i);
  });

  test("-S asks for the role first", async () => {
    const r = await run(["-S", node.fabric, "partitions", "list"]);
    assert.equal(r.code, 0, r.stderr);
  });

  test("dry runs write nothing", async () => {
    const file = join(node.dir, "dry.json");
    writeFileSync(file, '{"a":1}');
    const put = await run(["-s", node.fabric, "metadata", "put", "-k", "dry", file, "--dry-run"]);
    assert.equal(put.stdout, '{\n  "version": 1,\n  "a": 1\n}\n');
    const stdin = await run(["-s", node.fabric, "metadata", "put", "-k", "dry", "-", "-n"], {}, '{"b":2}');
    assert.equal(stdin.stdout, '{\n  "version": 1,\n  "b": 2\n}\n');
    assert.equal((await run(["-s", node.fabric, "metadata", "get", "-k", "dry"])).stdout, "null\n");
  });

  test("--strict: failures of items count", async () => {
    for (const args of [
      ["logs", "trim", "9", "-t", "1"],
      ["logs", "find-tail", "0", "9"],
      ["snapshots", "create", "99"],
      ["partitions", "leadership", "freeze", "9", "--reason", "x"],
      ["provision", "-y"],
    ]) {
      assert.equal((await run(["-s", node.fabric, ...args])).code, 0, args.join(" "));
      assert.equal((await run(["-s", node.fabric, "--strict", ...args])).code, 1, args.join(" "));
    }
    assert.equal((await run(["-s", node.fabric, "--strict", "logs", "find-tail", "0"])).code, 0);
  });

  test("a snapshot of an unknown partition fails at once", async () => {
    const begin = Date.now();
    const r = await run(["-s", node.fabric, "snapshots", "create", "7"]);
    assert.match(r.stderr, /Failed to create snapshot for partition 7: the cluster has only the partitions 0-1/);
    assert.ok(Date.now() - begin < 2000);
  });

  test("--json", async () => {
    const status = JSON.parse((await run(["-s", node.fabric, "status", "--json"])).stdout);
    assert.equal(status.nodes[0].node_id, "N1:2");
    const extra = JSON.parse((await run(["-s", node.fabric, "status", "--extra", "--json"])).stdout);
    assert.deepEqual(Object.keys(extra), ["nodes", "logs", "partitions", "metadata_servers"]);
    const tails = JSON.parse((await run(["-s", node.fabric, "logs", "find-tail", "0-1", "--json"])).stdout);
    assert.deepEqual(tails.tails.map((t) => t.state), ["OPEN", "OPEN"]);
    const loglet = JSON.parse((await run(["-s", node.fabric, "replicated-loglet", "info", "0_0", "--json"])).stdout);
    assert.equal(loglet.loglet.Sequencer, "N1:2");
  });

  test("status --watch refreshes until it is ended", async () => {
    const child = spawn(ownCtl, ["-s", node.fabric, "status", "--watch", "--interval", "100ms"], { env: { NO_COLOR: "1" } });
    let out = "";
    child.stdout.on("data", (d) => (out += d));
    await eventually(() => out.split("NODE-ID").length > 3);
    child.kill("SIGINT");
    await once(child, "exit");
    assert.equal(table(out, "NODE-ID")[0].NAME, "node-1");
    assert.ok(!out.includes("\u001b"), "no escape sequences into a pipe");
  });

  test("tables adapt to the terminal, colours only there", async () => {
    const script = (columns) =>
      execFileSync("script", ["-qec", `stty cols ${columns}; ${ownCtl} -s ${node.fabric} nodes list --extra`, "/dev/null"], {
        env: { PATH: process.env.PATH, TERM: "xterm", SHELL: "/bin/sh" },
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      });
    const text = script(120);
    assert.ok(text.includes("\u001b[1m"), "headers are bold on a terminal");
    const plain = text.replace(/\u001b\[[0-9;]*m/g, "").split(/\r?\n/);
    assert.ok(plain.every((line) => line.length <= 120), "no line is wider than the terminal");
    assert.ok(!(await run(["-s", node.fabric, "nodes", "list"])).stdout.includes("\u001b"));
  });

  test("help, completion, man page", async () => {
    const help = (await run(["provision", "--help"])).stdout;
    assert.match(help, /Examples:\n {2}restatectl provision --address http:\/\/localhost:5122\/ --yes\n/);
    assert.match((await run(["help", "logs", "trim"])).stdout, /Usage: restatectl logs trim/);
    assert.equal((await run([])).code, 2);
    assert.match((await run(["--version"])).stdout, /^restatectl 1\.7\.12 /);
    const bash = (await run(["completions", "generate", "bash"])).stdout;
    const words = (line) =>
      execFileSync("bash", ["-c", `${bash}\nCOMP_WORDS=(${line} ""); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _restatectl; echo "\${COMPREPLY[@]}"`], { encoding: "utf8" });
    assert.match(words("restatectl"), /\bprovision\b.*\bstatus\b/);
    assert.match(words("restatectl partitions leadership"), /\bpin\b.*\bunpin\b/);
    assert.match(words("restatectl partitions list --sort"), /^partition node active$/m);
    assert.match((await run(["completions", "generate", "fish"])).stdout, /complete -c restatectl .* -a status /);
    assert.match((await run(["completions", "generate", "zsh"])).stdout, /^#compdef restatectl/);
    assert.match((await run(["completions", "man"])).stdout, /^\.TH restatectl 1[^]*\.SS "partitions leadership pin"/);
    const home = mkdtempSync(join(tmpdir(), "ctl-home-"));
    try {
      assert.equal((await run(["completions", "install", "bash"], { HOME: home })).code, 0);
      assert.equal(readFileSync(join(home, ".local/share/bash-completion/completions/restatectl"), "utf8"), bash);
    } finally {
      rmSync(home, { recursive: true });
    }
  });

  test("a node that does not answer in time", async () => {
    const { createServer } = await import("node:net");
    const silent = createServer(() => {});
    await new Promise((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const r = await run(["-s", `http://127.0.0.1:${silent.address().port}`, "--request-timeout", "300", "status"]);
    silent.close();
    assert.equal(r.code, 1);
    assert.match(r.stderr, /The operation was cancelled: Timeout expired/);
  });
});

describe("an unprovisioned node, ours", { skip: !ours }, () => {
  test("the examples of the documentation", async () => {
    const node = await Node.start({ env: { RESTATE_AUTO_PROVISION: "false", RESTATE_DEFAULT_NUM_PARTITIONS: "2" } });
    try {
      const before = await runTool(ownCtl, ["status", "--addresses", `${node.fabric}/`]);
      assert.equal(before.code, 1);
      assert.match(before.stderr, /appears to not be provisioned/);
      const refused = await runTool(ownCtl, ["provision", "--address", `${node.fabric}/`]);
      assert.match(refused.stderr, /^Error: User aborted/);
      const done = await runTool(ownCtl, ["provision", "--address", `${node.fabric}/`, "--yes"]);
      assert.match(done.stdout, /✅ Cluster has been successfully provisioned\.\n$/);
      await eventually(async () => (await runTool(ownCtl, ["status", "--addresses", `${node.fabric}/`])).code === 0);
    } finally {
      await node.dispose();
    }
  });
});
