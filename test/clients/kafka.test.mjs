// Kafka clusters and subscriptions with the `restate` CLI (spec/admin-api.md §21.7): the official one 1.7.12 from npm, and ours, against a
// real server. No broker is needed for what they do.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, platform, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Endpoint, Server, binary as serverBinary, restate } from "../sdk/harness.mjs";

const programs = {
  "the official CLI": createRequire(import.meta.url).resolve(`@restatedev/restate-${platform()}-${arch()}/bin/restate`),
  "our CLI": process.env.RESTATE_CLI ?? join(dirname(serverBinary), "restate"),
};

for (const [name, program] of Object.entries(programs))
  describe(`${name}: kafka-clusters and subscriptions`, () => {
    let server, endpoint, home;
    before(async () => {
      home = mkdtempSync(join(tmpdir(), "restate-cli-"));
      server = await Server.start();
      endpoint = await Endpoint.start(restate.service({ name: "Greeter", handlers: { greet: async () => "hello" } }));
      await server.register(endpoint);
    });
    after(async () => {
      await endpoint?.kill();
      await server?.dispose();
      rmSync(home, { recursive: true, force: true });
    });
    const cli = (...args) =>
      new Promise((resolve) => {
        const env = { PATH: process.env.PATH, HOME: home, RESTATE_ADMIN_URL: server.admin, RESTATE_INGRESS_URL: server.ingress, DO_NOT_TRACK: "1", NO_COLOR: "1" };
        const child = execFile(program, args, { env, timeout: 30_000 }, (error, stdout, stderr) => resolve({ code: error ? (error.code ?? -1) : 0, all: stdout + stderr }));
        child.stdin.end();
      });
    const run = async (...args) => {
      const r = await cli(...args);
      assert.equal(r.code, 0, `restate ${args.join(" ")}: ${r.all}`);
      return r.all;
    };

    test("clusters and subscriptions from creation to deletion", async () => {
      assert.match(await run("kafka-clusters", "list"), /No Kafka clusters registered/);
      assert.match(await run("subscriptions", "list"), /No subscriptions registered/);
      assert.match(await run("kafka-clusters", "create", "-y", "kc", "bootstrap.servers=127.0.0.1:1", "sasl.password=s3cret"), /Kafka cluster kc created/);
      assert.match(await run("kc", "list"), /kc +127\.0\.0\.1:1 +2 /);
      const created = await run("subscriptions", "create", "-y", "kafka://kc/orders", "service://Greeter/greet", "auto.offset.reset=earliest");
      const id = /Subscription (sub_1\w+) created/.exec(created)?.[1];
      assert.ok(id, created);
      assert.match(await run("sub", "list"), new RegExp(`${id} +kafka://kc/orders +service://Greeter/greet +3`));
      assert.match(await run("sub", "list", "--source", "kafka://kc/other"), /No subscriptions registered/);
      const described = await run("sub", "describe", id);
      assert.match(described, /127\.0\.0\.1:1/);
      assert.match(described, /group\.id +sub_1/);
      const cluster = await run("kc", "describe", "kc");
      assert.match(cluster, /sasl\.password +\*\*\*/);
      assert.ok(cluster.includes(id) && !cluster.includes("s3cret"), cluster);
      const refused = await cli("kc", "delete", "-y", "kc");
      assert.notEqual(refused.code, 0);
      const patched = await cli("kc", "patch", "-y", "kc", "--set", "bootstrap.servers=127.0.0.1:2");
      assert.notEqual(patched.code, 0, "a secret that is not shown cannot be sent back");
      assert.match(await run("kc", "patch", "-y", "kc", "--set", "bootstrap.servers=127.0.0.1:2", "--set", "sasl.password=other"), /Kafka cluster kc updated/);
      assert.match(await run("kc", "list"), /127\.0\.0\.1:2/);
      assert.match(await run("sub", "delete", "-y", id), new RegExp(`Subscription ${id} deleted`));
      assert.match(await run("sub", "list"), /No subscriptions registered/);
      assert.match(await run("kc", "delete", "-y", "kc"), /Kafka cluster kc deleted/);
      assert.match(await run("kc", "list"), /No Kafka clusters registered/);
      const unknown = await cli("sub", "create", "-y", "kafka://kc/orders", "service://Greeter/greet");
      assert.notEqual(unknown.code, 0);
      assert.match(unknown.all, /Kafka cluster 'kc' not found/);
    });
  });
