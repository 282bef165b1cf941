// Our restate tool against a real server: what a service developer does with it.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Endpoint, eventually, restate, Server } from "../sdk/harness.mjs";
import { cli, home, shell } from "./run.mjs";

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

  test("queries: all columns of every table; times, dates, durations and intervals as the official tool prints them", async () => {
    const tables = (await server.sql("select table_name from information_schema.tables where table_schema = 'public'")).map((r) => r.table_name);
    assert.ok(tables.length > 10);
    for (const table of tables) await good("sql", `select * from ${table}`);
    // captured from the official tool and server
    const values = [
      ["timestamp '2026-11-22 10:00:00'", "2026-11-22T10:00:00"],
      ["timestamp '1960-02-29 00:00:01.5'", "1960-02-29T00:00:01.500"],
      ["timestamp '1969-12-31 23:59:59.000001'", "1969-12-31T23:59:59.000001"],
      ["date '2000-02-29'", "2000-02-29"],
      ["date '1969-12-31'", "1969-12-31"],
      ["timestamp '2026-11-22 10:00:00' - timestamp '2026-11-21 10:00:00'", "PT86400S"],
      ["timestamp '2026-11-22 10:00:00' - timestamp '2026-11-22 10:00:01.5'", "-PT1.5S"],
      ["timestamp '2026-11-22 10:00:00' - timestamp '2026-11-22 10:00:00'", "P0D"],
      ["interval '0 day'", "0 secs"],
      ["interval '14 month'", "14 mons"],
      ["interval '-1 month 3 day'", "-1 mons 3 days"],
      ["interval '1 day 100 hour 2 minute 3.5 seconds'", "1 days 100 hours 2 mins 3.500000000 secs"],
      ["interval '-1.5 seconds'", "-1.500000000 secs"],
    ];
    for (const [sql, text] of values) {
      assert.equal(await good("sql", "--jsonl", `select ${sql} as x`), `{"x":"${text}"}\n`, sql);
      assert.equal((await good("sql", `select ${sql} as x`)).split("\n")[1].trim(), text);
    }
  });

  test("standard streams that are closed, full or early gone; arguments that are no text", async () => {
    const sh = (command) => shell(server.admin, command);
    for (const closed of ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]) assert.equal((await sh(`"$R" services list ${closed}`)).code, 0, closed);
    for (const command of ["services list", "services list --json", "--help", "completions man", 'sql --jsonl "select 1"']) {
      const full = await sh(`"$R" ${command} >/dev/full`);
      assert.equal(full.code, 1, command);
      assert.match(full.err, /Error: cannot write to standard output: No space left on device\n$/);
    }
    const early = await sh(`"$R" completions man | head -c 10`);
    assert.deepEqual([early.code, early.out.length, early.err], [0, 10, ""]);
    const bytes = await sh(`"$R" -y kv clear "$(printf 'Counter/\\377')"`);
    assert.equal(bytes.code, 2);
    assert.match(bytes.err, /^error: invalid UTF-8 was detected in one or more arguments\n/);
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
    assert.equal(
      lost.err,
      "Error: Unable to connect to the Restate server 'http://127.0.0.1:1/'. Please make sure that it is running and reachable.\n  ├─ cannot connect to 127.0.0.1:1: connection refused\n",
    );
    assert.match((await cli("localhost:9070", ["dep", "ls"])).err, /├─ invalid URI 'localhost:9070\/'/);
    assert.match((await cli(server.ingress, ["dep", "ls"])).err, /^Error: What answers at 'http\S+' is not the admin API of a Restate server: 400 to GET \/version, 400 to GET \/health\.\n/);
  });
});
