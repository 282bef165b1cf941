// Our restate tool against a real server: what a service developer does with it.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Endpoint, eventually, restate, Server } from "../sdk/harness.mjs";
import { cli, home } from "./run.mjs";

const greeter = restate.service({ name: "Greeter", handlers: { greet: async (ctx, name) => `Hi ${name}`, slow: async (ctx) => ctx.sleep(600_000) } });
const counter = restate.object({
  name: "Counter",
  handlers: {
    add: async (ctx, n) => {
      const v = ((await ctx.get("count")) ?? 0) + n;
      ctx.set("count", v);
      return v;
    },
  },
});

describe("the restate tool and a server", () => {
  let server, endpoint;
  before(async () => {
    server = await Server.start({ env: { RESTATE_DEFAULT_NUM_PARTITIONS: "2" } });
    endpoint = await Endpoint.start(greeter, counter);
  });
  after(async () => {
    await endpoint?.kill();
    await server?.dispose();
  });
  const run = (...args) => cli(server.admin, args);
  async function good(...args) {
    const r = await run(...args);
    assert.equal(r.code, 0, `${args.join(" ")}\n${r.out}${r.err}`);
    return r.out;
  }

  test("whoami", async () => {
    const out = await good("whoami");
    assert.match(out, /\[OK\]: Admin Service 'http:\/\/127\.0\.0\.1:\d+\/' is healthy!/);
    const lost = await cli("http://127.0.0.1:1", ["whoami"]);
    assert.equal(lost.code, 0);
    assert.match(lost.err, /\[ERR\]: Could not connect to Admin Service/);
  });

  test("register, list, describe, settings, remove", async () => {
    const empty = await run("deployments", "list");
    assert.match(empty.err, /No deployments were found!/);
    const uri = endpoint.url ?? endpoint.uri;
    const out = await good("deployments", "register", "--yes", uri);
    const [id] = out.match(/dp_\w+/);
    assert.match(out, /SERVICES THAT WILL BE ADDED/);
    assert.match(await good("deployments", "register", "--yes", uri), /Deployment already exists with id/);
    assert.match((await run("deployments", "register", uri, "--force")).err, /already known to the server[^]*Error: User aborted/);
    const list = JSON.parse(await good("deployments", "list", "--json"));
    assert.equal(list.deployments[0].id, id);
    assert.match(await good("deployments", "describe", id), /Protocol Style: {2}Bidirectional Stream/);
    assert.match(await good("services", "list", "--extra"), / \[public\] {2}Counter {2}1 {9}virtual object {2}HTTP/);
    assert.match(await good("services", "describe", "Greeter"), / Handlers:\n―+\n HANDLER {2}INPUT/);
    await good("services", "config", "patch", "--yes", "Greeter", "--public", "false", "--journal-retention", "2h");
    const view = await good("services", "config", "view", "Greeter");
    assert.match(view, /Public: {2}false/);
    assert.match(view, /Journal retention: {2}2h/);
    const editor = join(home, "editor.sh");
    writeFileSync(editor, '#!/bin/sh\nsed -i "s/public = false/public = true/" "$1"\n', { mode: 0o755 });
    const edited = await cli(server.admin, ["services", "config", "edit", "--yes", "Greeter"], { EDITOR: editor });
    assert.equal(edited.out, " Public:  true \nAre you sure you want to apply these changes? Auto-confirming --yes is set.\n", edited.err);
    const unknown = await run("services", "describe", "Nope");
    assert.match(unknown.err, /^Error: .*Nope.*\n {2}-> Http status code 404 Not Found at 'http/);
  });

  test("invocations, state and queries", async () => {
    await fetch(`${server.ingress}/Greeter/slow/send`, { method: "POST" });
    assert.equal(await server.call("/Counter/k/add", 5), 5);
    const id = await eventually(async () => {
      const rows = JSON.parse(await good("invocations", "list", "--service", "Greeter", "--json"));
      return rows[0]?.id;
    });
    assert.match(await good("invocations", "describe", id), /Command: Sleep/);
    assert.match(await good("services", "status"), /Greeter/);
    assert.match(await good("invocations", "kill", "--yes", "Greeter/slow"), /\[OK\]: Killed 1 invocations/);
    await eventually(async () => (await good("kv", "get", "-p", "Counter", "k")) === '{"count":5}\n');
    await good("kv", "patch", "--yes", "Counter", "k", "-p", '[{"op":"replace","path":"/count","value":41}]');
    await eventually(async () => (await good("kv", "get", "-p", "Counter", "k")) === '{"count":41}\n');
    await good("kv", "clear", "--yes", "Counter/k");
    await eventually(async () => (await good("kv", "get", "-p", "Counter", "k")) === "{}\n");
    const broken = await run("sql", "select nope from sys_invocation");
    assert.equal(broken.code, 1);
    assert.match(broken.err, /^Error: [^]*-> Http status code \d+ .* at 'http/);
    const rows = JSON.parse(await good("sql", "--json", "select target, status from sys_invocation where target = 'Counter/k/add'"));
    assert.deepEqual(rows, [{ target: "Counter/k/add", status: "completed" }]);
  });

  test("rules: list, set, disable, enable, delete", async () => {
    assert.match(await good("rules", "list"), /No rules defined/);
    assert.match(await good("rules", "set", "acme/*", "--concurrency", "3", "--description", "hello"), /\[OK\]: Created rule 'acme\/\*' \(version v\d+\)/);
    assert.match(await good("rules", "set", "acme/*", "--concurrency", "4"), /\[OK\]: Updated rule 'acme\/\*'/);
    assert.match(await good("rules", "list", "--extra"), /acme\/\* +4 +no +hello/);
    assert.match(await good("rules", "disable", "acme/*"), /Rule 'acme\/\*' disabled/);
    assert.match(await good("rules", "disable", "acme/*"), /already disabled/);
    assert.match(await good("rules", "enable", "acme/*"), /Rule 'acme\/\*' enabled/);
    assert.match(await good("rules", "set", "acme/*", "--unlimited"), /Updated/);
    assert.match(await good("rules", "list"), /acme\/\* +unlimited +no/);
    const bad = await run("rules", "set", "a b", "--concurrency", "1");
    assert.equal(bad.code, 1);
    assert.match(bad.err, /^Error: Invalid rule pattern 'a b': invalid component: value contains characters outside/);
    const deleted = await good("rules", "delete", "acme/*", "--yes");
    assert.match(deleted, /Concurrency: +unlimited/);
    assert.match(deleted, /Description: +hello/);
    assert.match(await good("rules", "list"), /No rules defined/);
  });

  test("environments of the configuration file", async () => {
    const dir = join(home, "conf");
    const env = { RESTATE_CLI_CONFIG_HOME: dir, RESTATE_ADMIN_URL: "" };
    const editor = join(home, "write.sh");
    writeFileSync(editor, `#!/bin/sh\nprintf '[test]\\nadmin_base_url = "${server.admin}" # here\\n' > "$1"\n`, { mode: 0o755 });
    assert.equal((await cli("", ["config", "edit"], { ...env, EDITOR: editor })).code, 0);
    assert.match((await cli("", ["config", "list-environments"], env)).out, / \* {8}local {2}http:\/\/127\.0\.0\.1:9070\/ +\n {10}test/);
    assert.equal((await cli("", ["-e", "test", "services", "list"], env)).code, 0);
    assert.equal((await cli("", ["config", "use-environment", "test"], env)).code, 0);
    assert.equal(readFileSync(join(dir, "environment"), "utf8"), "test");
    assert.equal((await cli("", ["services", "list"], env)).code, 0);
    assert.match((await cli("", ["-e", "nope", "services", "list"], env)).err, /Environment 'nope' is not in/);
  });

  test("what is not part of this tool says so", async () => {
    for (const args of [["cloud", "login"], ["example", "x"], ["dev"], ["lambda"]]) {
      const r = await run(...args);
      assert.equal(r.code, 1);
      assert.match(r.err, /^Error: .*(not part of this tool|not downloaded by this tool|contains no server)/);
    }
    const lost = await cli("http://127.0.0.1:1", ["dep", "ls"]);
    assert.equal(lost.err, "Error: Unable to connect to the Restate server 'http://127.0.0.1:1/'. Please make sure that it is running and reachable.\n");
  });
});
