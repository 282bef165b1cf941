// The process around the job: start-up errors an operator meets, health, metrics.
import { test, describe } from "node:test";
import assert from "node:assert/strict";
import { connect } from "node:net";
import { readFileSync, readdirSync, writeFileSync, openSync, writeSync, closeSync, statSync } from "node:fs";
import { join } from "node:path";
import { Endpoint, Server, eventually, restate } from "./harness.mjs";

// The exit code of a process that must end by itself.
const exitOf = (child) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error("the process did not exit"));
    }, 10_000);
    child.once("exit", (code) => {
      clearTimeout(timer);
      resolve(code);
    });
  });

describe("a node as its operator sees it", () => {
  test("a second server on the same directory is refused with a clear message", async () => {
    const server = await Server.start();
    try {
      const second = server.spawn(["--bind-port", "0"]);
      assert.equal(await exitOf(second), 1);
      assert.match(server.log, /is in use by another restate-server process/);
      assert.equal((await fetch(`${server.ingress}/restate/health`)).status, 200);
    } finally {
      await server.dispose();
    }
  });

  test("a taken port is an error that names service and address", async () => {
    const server = await Server.start();
    try {
      const other = server.spawn(["--node-name", "other"]);
      assert.equal(await exitOf(other), 1);
      assert.match(server.log, /failed binding/);
      assert.match(server.log, /RT0004/);
    } finally {
      await server.dispose();
    }
  });

  test("another cluster's data directory is refused", async () => {
    const server = await Server.start();
    try {
      await server.stop();
      const other = server.spawn(["--cluster-name", "other"]);
      assert.equal(await exitOf(other), 1);
      assert.match(server.log, /data directory belonging to cluster 'localcluster' as cluster 'other'/);
    } finally {
      await server.dispose();
    }
  });

  test("metadata in a store that is not supported is refused by name, and stores without their place", async () => {
    const server = await Server.start();
    try {
      await server.stop();
      for (const type of ["dynamo-db"]) {
        server.env.RESTATE_METADATA_CLIENT__TYPE = type;
        assert.equal(await exitOf(server.spawn()), 1);
        assert.match(server.log, new RegExp(`metadata in \`${type}\` is not supported.*key "metadata-client.type"`));
      }
      server.env.RESTATE_METADATA_CLIENT__TYPE = "object-store";
      for (const [path, problem] of [
        [null, /missing field `path` \(key "metadata-client.path"\)/],
        ["ftp://x/y", /\(key "metadata-client.path"\): /],
      ]) {
        if (path) server.env.RESTATE_METADATA_CLIENT__PATH = path;
        assert.equal(await exitOf(server.spawn()), 1);
        assert.match(server.log, problem);
      }
      server.env.RESTATE_METADATA_CLIENT__TYPE = "etcd";
      for (const [addresses, problem] of [
        ["[]", /missing field `addresses` \(key "metadata-client.addresses"\)/],
        ['["10.0.0.1"]', /`10.0.0.1` \(key "metadata-client.addresses"\): an address of etcd is host:port/],
      ]) {
        server.env.RESTATE_METADATA_CLIENT__ADDRESSES = addresses;
        assert.equal(await exitOf(server.spawn()), 1);
        assert.match(server.log, problem);
      }
    } finally {
      await server.dispose();
    }
  });

  test("started with closed standard streams it serves and stops like any other", async () => {
    for (const closed of ["<&-", "<&- >&- 2>&-"]) {
      const server = await Server.start({ wrapper: ["/bin/sh", "-c", `exec "$0" "$@" ${closed}`] });
      try {
        assert.equal((await fetch(`${server.ingress}/restate/health`)).status, 200);
        assert.deepEqual(await server.stop(), { code: 0, signal: null });
      } finally {
        await server.dispose();
      }
    }
  });

  test("every series has the kind and the labels that docs/metrics.md says", async () => {
    const documented = new Map();
    const rows = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8").matchAll(/^\| `(restate_\w+)`[ *]*\| (\w+) \| ([^|]*)\|/gm);
    for (const [, name, kind, labels] of rows) {
      assert.ok(!documented.has(name), `${name} stands in the list twice`);
      documented.set(name, { kind, labels: new Set([...labels.matchAll(/`(\w+)[`=]/g)].map((m) => m[1])) });
    }
    const server = await Server.start();
    try {
      const metrics = (await server.get("/metrics", { base: server.fabric })).body;
      for (const [, name, kind] of metrics.matchAll(/^# TYPE (\w+) (\w+)$/gm)) assert.equal(documented.get(name)?.kind, kind, name);
      let n = 0;
      for (const [, name, labels] of metrics.matchAll(/^(restate_\w+)\{([^}]*)\} /gm)) {
        const row = documented.get(name) ?? documented.get(name.replace(/_(sum|count)$/, ""));
        const [cluster, node, ...own] = [...labels.matchAll(/(\w+)="/g)].map((m) => m[1]);
        assert.deepEqual([cluster, node], ["cluster_name", "node_name"], name);
        for (const label of own) assert.ok(row.labels.has(label) || (row.kind === "summary" && label === "quantile"), `${name}: ${label}`);
        n++;
      }
      assert.ok(n > 100, `${n} series`);
    } finally {
      await server.dispose();
    }
  });

  test("health and metrics of the node port", async () => {
    const server = await Server.start();
    try {
      const health = (await server.get("/health", { base: server.fabric })).body;
      assert.equal(health.status, "Alive");
      assert.equal(health.node_id, "N1:2");
      const metrics = (await server.get("/metrics", { base: server.fabric })).body;
      assert.match(metrics, /restate_ingress_requests_total\{cluster_name="localcluster",node_name="node-1",status="admitted"\} \d+/);
      await server.restart();
      assert.equal((await server.get("/health", { base: server.fabric })).body.node_id, "N1:3");
    } finally {
      await server.dispose();
    }
  });

  test("malformed requests get 400 and leave the server standing", async () => {
    const server = await Server.start();
    try {
      for (const port of Object.values(server.ports)) {
        const answer = await new Promise((resolve, reject) => {
          const socket = connect(port, "127.0.0.1", () => socket.write("\x00\x01 nonsense\r\n\r\n"));
          let text = "";
          socket.on("data", (data) => (text += data));
          socket.on("close", () => resolve(text));
          socket.on("error", reject);
        });
        assert.match(answer, /^HTTP\/1\.[01] 400 /);
      }
      assert.equal((await fetch(`${server.ingress}/restate/health`)).status, 200);
    } finally {
      await server.dispose();
    }
  });

  test("a torn tail of the log is cut; corruption in its middle stops the node with file and offset", async () => {
    const counter = restate.object({
      name: "Counter",
      handlers: {
        add: async (ctx, n) => {
          const value = ((await ctx.get("n")) ?? 0) + n;
          ctx.set("n", value);
          return value;
        },
      },
    });
    const endpoint = await Endpoint.start(counter);
    const server = await Server.start();
    try {
      await server.register(endpoint);
      for (let i = 1; i <= 30; i++) assert.equal(await server.call("/Counter/k/add", 1), i);
      await server.crash();
      const dir = join(server.dir, "data", "node-1", "log-store");
      const segment = join(dir, readdirSync(dir).filter((name) => name.startsWith("segment-")).sort().at(-1));
      const content = readFileSync(segment);
      let end = content.length;
      while (end > 0 && content[end - 1] === 0) end--;
      const garbage = Buffer.alloc(300, 0xa5);
      const tail = Math.ceil(end / 4096) * 4096;
      const write = (offset, bytes) => {
        const fd = openSync(segment, "r+");
        writeSync(fd, bytes, 0, bytes.length, offset);
        closeSync(fd);
      };
      // A whole device block: a commit is padded to one, and the padding carries nothing.
      const middle = Math.floor(tail / 8192) * 4096;
      write(middle, Buffer.alloc(4096, 0xa5));
      assert.equal(await exitOf(server.spawn()), 1);
      assert.match(server.log, /segment-\d+/);
      write(middle, content.subarray(middle, middle + 4096));
      write(tail, garbage);
      await server.launch();
      assert.equal(await server.call("/Counter/k/add", 1), 31);
      await server.restart();
      assert.equal(await server.call("/Counter/k/add", 1), 32);
    } finally {
      await server.dispose();
      await endpoint.kill();
    }
  });

  test("the configuration file is reloaded", async () => {
    const server = await Server.start();
    try {
      await server.stop();
      const file = join(server.dir, "restate.toml");
      writeFileSync(file, 'default-journal-retention = "1h"\n');
      server.args = ["--config-file", file];
      await server.launch();
      writeFileSync(file, 'default-journal-retention = "nonsense"\n');
      await eventually(() => /config was not updated: .*default-journal-retention/.test(server.log));
      writeFileSync(file, 'default-journal-retention = "2h"\n');
      await eventually(() => server.log.match(/Detected configuration file changes/g)?.length >= 2);
      assert.ok(statSync(file).size > 0);
    } finally {
      await server.dispose();
    }
  });
});
