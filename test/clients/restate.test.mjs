// The official `restate` CLI 1.7.12 from npm, with the commands that ask by SQL (spec/admin-api.md §21, §22), against a real server with
// invocations in every status.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, platform, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Server, eventually } from "../sdk/harness.mjs";
import { buildFixture, fixtureEnvironment } from "../vectors/sql-fixture.mjs";

const binary = createRequire(import.meta.url).resolve(`@restatedev/restate-${platform()}-${arch()}/bin/restate`);

describe("the official restate CLI", () => {
  let server, fixture, home, ids;
  before(async () => {
    home = mkdtempSync(join(tmpdir(), "restate-cli-"));
    server = await Server.start({ env: { ...fixtureEnvironment, RESTATE_DEFAULT_NUM_PARTITIONS: "3" } });
    fixture = await buildFixture(server);
    ids = fixture.ids;
  });
  after(async () => {
    await fixture?.endpoint.kill();
    await server?.dispose();
    rmSync(home, { recursive: true, force: true });
  });

  const cli = (...args) =>
    new Promise((resolve) => {
      const env = { PATH: process.env.PATH, HOME: home, RESTATE_ADMIN_URL: server.admin, RESTATE_INGRESS_URL: server.ingress, DO_NOT_TRACK: "1", NO_COLOR: "1" };
      const child = execFile(binary, args, { env, timeout: 30_000 }, (error, stdout, stderr) => resolve({ code: error ? (error.code ?? -1) : 0, stdout, stderr, all: stdout + stderr }));
      child.stdin.end();
    });
  const run = async (...args) => {
    const r = await cli(...args);
    assert.equal(r.code, 0, `restate ${args.join(" ")}: ${r.all}`);
    return r.all;
  };
  const status = async (id) => (await server.sql(`select status from sys_invocation where id = '${id}'`))[0]?.status;

  test("services list, describe, status", async () => {
    const list = await run("services", "list");
    assert.match(list, /\[public\] +Counter +1 +virtual object +HTTP +dp_/);
    assert.match(list, /\[public\] +Flow +1 +workflow/);
    const service = await run("services", "describe", "Greeter");
    assert.match(service, /Service type: +Service/);
    assert.match(service, /SDK Version +restate-sdk-typescript/);
    const all = await run("services", "status");
    assert.match(all, /\n +add +2 +- +- +- +- +- /);
    assert.match(all, /\n +lock +- +- +- +- +- +1 /);
    assert.match(all, /\n +locked +2 +inv_\w+ \(suspended\) +lock/);
    const one = await run("services", "status", "Counter");
    assert.match(one, /Recent Invocations/);
  });

  test("invocations list: filters, counts, order", async () => {
    const active = await run("invocations", "list");
    for (const id of [ids.INV, ids.SUS, ids.AWK, ids.SLEEP, ids.BUSY, ids.LATER, ids.FLOW, ids.LOCK]) assert.ok(active.includes(id), id);
    assert.match(active, /Showing 10\/10 invocations/);
    assert.match(await run("invocations", "list", "--status", "paused"), /Showing 1\/1 invocations/);
    assert.match(await run("invocations", "list", "--service", "Counter", "--key", "locked"), /Showing 3\/3 invocations/);
    assert.match(await run("invocations", "list", "--all", "--limit", "2", "--oldest-first"), /Showing 2\/\d+\+ invocations/);
    const failed = await run("invocations", "list", "--completion-result", "failure");
    assert.match(failed, /Greeter\/fail/);
    assert.match(failed, /nope, not today/);
    assert.match(await run("invocations", "list", "--virtual-objects-only"), /Showing 3\/3 invocations/);
    assert.match(await run("invocations", "list", "--zombie"), /Showing 0\/0 invocations|No invocations/);
    assert.match(await run("invocations", "list", "--deployment", ids.DP), /dp_\w+ \[required\]/);
  });

  test("invocations describe: journal, caller, errors", async () => {
    const text = await run("invocations", "describe", ids.INV);
    assert.match(text, /Status: +paused/);
    assert.match(text, /#0 \[.*\] Command: Input/);
    assert.match(text, /#1 \[.*\] Command: Run \[flaky\]/);
    assert.match(await run("invocations", "describe", ids.SLEEP), /Command: Sleep.*until/);
    const [called] = await server.sql("select id from sys_invocation where invoked_by = 'service' limit 1");
    assert.match(await run("invocations", "describe", called.id), /Greeter\/chain inv_/);
    const absent = await cli("invocations", "describe", ids.INV.slice(0, -2) + "00");
    assert.notEqual(absent.code, 0);
    const malformed = await cli("invocations", "describe", "inv_nonsense");
    assert.match(malformed.all, /non valid invocation id/);
  });

  test("sql: table, JSON, JSON lines, errors", async () => {
    const table = await run("sql", "select service_key, value, value_length from state where service_name = 'Counter' and service_key = 'a'");
    assert.match(table, /SERVICE_KEY +VALUE +VALUE_LENGTH *\n +a +37 +1 /);
    assert.match(table, /1 rows?\. Query took/);
    const json = await cli("sql", "--json", "select 1 as a, null as b, array[1, 2] as l, timestamp '2026-11-22 10:00:00' as t");
    assert.deepEqual(JSON.parse(json.stdout), [{ a: 1, l: [1, 2], t: "2026-11-22T10:00:00" }]);
    const lines = await cli("sql", "--jsonl", "select status, count(*) as n from sys_invocation group by status order by status");
    assert.ok(lines.stdout.trim().split("\n").map(JSON.parse).some((r) => r.status === "paused" && r.n === 1));
    const refused = await cli("sql", "selec");
    assert.equal(refused.code, 1);
    assert.match(refused.all, /Expected: an SQL statement, found: selec/);
  });

  test("kv get, patch, clear", async () => {
    assert.match(await run("kv", "get", "Counter", "a"), /count +7/);
    assert.equal((await cli("kv", "get", "-p", "Counter", "a")).stdout.trim(), '{"count":7}');
    await run("-y", "kv", "patch", "Counter", "a", "-p", '[{"op":"replace","path":"/count","value":70}]');
    await eventually(async () => (await server.sql("select value_utf8 from state where service_key = 'a'"))[0]?.value_utf8 === "70");
    await run("-y", "kv", "clear", "Counter/chained");
    await eventually(async () => (await server.sql("select key from state where service_key = 'chained'")).length === 0);
  });

  test("deployments list, describe; one in use is not removed", async () => {
    const list = await run("deployments", "list", "--extra");
    assert.match(list, /Active +\d+ +dp_\w+/);
    assert.match(await run("deployments", "describe", ids.DP, "--extra"), /Greeter/);
    const refused = await cli("-y", "deployments", "remove", ids.DP);
    assert.notEqual(refused.code, 0);
  });

  test("rules: list, set, disable, enable, delete", async () => {
    assert.match(await run("rules", "list"), /No rules defined/);
    assert.match(await run("rules", "set", "acme/*", "--concurrency", "3", "--description", "hello"), /\[OK\]: Created rule 'acme\/\*' \(version v\d+\)/);
    assert.match(await run("rules", "set", "acme/*", "--concurrency", "4"), /\[OK\]: Updated rule 'acme\/\*'/);
    assert.match(await run("rules", "list", "--extra"), /acme\/\* +4 +no +hello/);
    assert.match(await run("rules", "disable", "acme/*"), /Rule 'acme\/\*' disabled/);
    assert.match(await run("rules", "disable", "acme/*"), /already disabled/);
    assert.match(await run("rules", "enable", "acme/*"), /Rule 'acme\/\*' enabled/);
    assert.match(await run("rules", "set", "acme/*", "--unlimited"), /Updated/);
    assert.match(await run("rules", "list"), /acme\/\* +unlimited +no/);
    assert.match((await cli("rules", "set", "a b", "--concurrency", "1")).all, /Invalid rule pattern/);
    assert.match(await run("-y", "rules", "delete", "acme/*"), /Deleted rule/);
    assert.match(await run("rules", "list"), /No rules defined/);
  });

  test("operators: resume, pause, cancel, kill, restart-as-new, purge", async () => {
    assert.match(await run("-y", "invocations", "resume", ids.INV), /Resumed 1 invocations/);
    await eventually(async () => (await status(ids.INV)) !== "paused");
    assert.match(await run("-y", "invocations", "pause", ids.INV), /Paused 1 invocations/);
    assert.match(await run("-y", "invocations", "cancel", "Greeter/awk"), /Cancelled 1 invocations/);
    await eventually(async () => (await status(ids.AWK)) === "completed");
    assert.match(await run("-y", "invocations", "kill", "Greeter"), /Killed [3-9] invocations/);
    await eventually(async () => (await status(ids.BUSY)) === "completed");
    const [failed] = await server.sql("select id from sys_invocation where target = 'Greeter/fail'");
    assert.match(await run("-y", "invocations", "restart-as-new", failed.id), /Restarted 1 invocations/);
    assert.match(await run("-y", "invocations", "purge", failed.id), /Purged 1 invocations/);
    await eventually(async () => (await status(failed.id)) === undefined);
    const none = await cli("-y", "invocations", "cancel", "Nobody");
    assert.match(none.all, /No invocations found/);
    assert.equal(none.code, 1);
  });
});
