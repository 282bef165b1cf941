// The rest of the acceptance list of spec/admin-api.md §21.1 to §21.6, §21.8 (virtual queues) and §21.9 (what restate.test.mjs does not run): the official `restate`
// CLI 1.7.12 and ours, the same commands, against a real server.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, platform, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, describe, test } from "node:test";
import { Endpoint, Server, eventually, restate } from "../sdk/harness.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const tools = {
  official: createRequire(import.meta.url).resolve(`@restatedev/restate-${platform()}-${arch()}/bin/restate`),
  ours: process.env.RESTATE_CLI ?? join(root, "build/release/bin/restate"),
};

const greeter = restate.service({ name: "Greeter", handlers: { greet: async (ctx, name) => `Hello ${name}!`, other: async () => {} } });
const changed = restate.service({ name: "Greeter", handlers: { greet: async (ctx, name) => `Hi ${name}!`, added: async () => {} } });
const asObject = restate.object({ name: "Greeter", handlers: { greet: async () => {} } });
const counter = restate.object({
  name: "Counter",
  handlers: { add: async (ctx, n) => (ctx.set("n", n), ctx.set("text", "x"), n), park: async (ctx) => ctx.awakeable().promise },
});

for (const [tool, binary] of Object.entries(tools)) {
  describe(`acceptance list, ${tool} CLI`, () => {
    let server, home, first, second, third;
    before(async () => {
      home = mkdtempSync(join(tmpdir(), "restate-cli-"));
      server = await Server.start({ env: { RESTATE_DEFAULT_NUM_PARTITIONS: "2", RESTATE_EXPERIMENTAL_ENABLE_VQUEUES: "true" } });
      first = await Endpoint.start(greeter, counter);
      second = await Endpoint.start(changed);
      third = await Endpoint.with({ services: [asObject], http1: true });
    });
    after(async () => {
      for (const e of [first, second, third]) await e?.kill();
      await server?.dispose();
      rmSync(home, { recursive: true, force: true });
    });

    const cliWith = (env, ...args) =>
      new Promise((resolve) => {
        const child = execFile(
          binary,
          args,
          { env: { PATH: process.env.PATH, HOME: home, RESTATE_ADMIN_URL: server.admin, RESTATE_INGRESS_URL: server.ingress, DO_NOT_TRACK: "1", NO_COLOR: "1", ...env }, timeout: 30_000 },
          (error, stdout, stderr) => resolve({ code: error ? (error.code ?? -1) : 0, stdout, stderr, all: stdout + stderr }),
        );
        child.stdin.end();
      });
    const cli = (...args) => cliWith({}, ...args);
    const run = async (...args) => {
      const r = await cli(...args);
      assert.equal(r.code, 0, `restate ${args.join(" ")}: ${r.all}`);
      return r.all;
    };
    // An editor that replaces `from` by `to`.
    const editor = (from, to) => {
      const file = join(home, `editor-${Math.random().toString(36).slice(2)}.sh`);
      writeFileSync(file, `#!/bin/sh\nsed -i 's/${from}/${to}/' "$1"\n`);
      chmodSync(file, 0o755);
      return { EDITOR: file, VISUAL: file };
    };

    test("whoami; nothing is registered yet", async () => {
      const text = await run("whoami");
      assert.match(text, /is healthy!/);
      assert.ok(text.includes(server.admin));
      assert.match((await cli("deployments", "list")).all, /No deployments were found!/);
      assert.match((await cli("services", "list")).all, /No services were found!/);
      const away = await cliWith({ RESTATE_ADMIN_URL: "http://127.0.0.1:1" }, "whoami");
      assert.match(away.all, /Could not connect|unhealthy/);
    });

    test("deployments register: new, the same again, updated, forced, breaking, headers and metadata", async () => {
      const text = await run("-y", "deployments", "register", first.uri, "--extra-header", "x-api-key=abc", "--metadata", "env=prod");
      assert.match(text, /Greeter +1/);
      assert.match(text, /Counter +1/);
      const [{ id }] = (await server.adminRequest("/deployments", { method: "GET" })).body.deployments;
      const description = await run("dp", "get", id);
      assert.match(description, /x-api-key/);
      assert.match(description, /env[^\n]*prod|prod/);
      assert.match(await run("-y", "dp", "register", first.uri), /already exists|No changes will be made/);
      assert.match(await run("-y", "deployments", "register", first.uri, "--force"), /Greeter/);
      const update = await run("-y", "deployments", "register", second.uri.replace("http://", ""));
      assert.match(update, /UPDATED/);
      assert.match(update, /added/);
      const breaking = await cli("-y", "deployments", "register", third.uri, "--use-http1.1");
      assert.notEqual(breaking.code, 0);
      assert.match(breaking.all, /META0006/);
      assert.match(await run("-y", "deployments", "register", third.uri, "--use-http1.1", "--breaking"), /Greeter/);
      const gone = await cli("-y", "deployments", "register", "http://127.0.0.1:1/");
      assert.notEqual(gone.code, 0);
      assert.match(gone.all, /META0003/);
    });

    test("deployments describe, list, remove", async () => {
      const { deployments } = (await server.adminRequest("/deployments", { method: "GET" })).body;
      const of = (uri) => deployments.find((d) => d.uri === `${uri}/`).id;
      const text = await run("deployments", "describe", of(first.uri));
      assert.match(text, /Counter/);
      assert.match(await run("deployments", "list", "--extra"), /Drained/);
      assert.match(await run("-y", "deployments", "remove", of(second.uri)), /removed successfully/);
      assert.equal((await server.adminRequest(`/deployments/${of(second.uri)}`, { method: "GET" })).status, 404);
      assert.match(await run("-y", "deployments", "rm", of(third.uri), "--force"), /removed successfully/);
      assert.match(await run("-y", "deployments", "register", first.uri, "--force", "--breaking"), /Greeter/);
    });

    test("services describe, config view, patch, edit", async () => {
      assert.match(await run("svc", "describe", "Counter"), /Service type: +\S+/);
      assert.match(await run("services", "list", "--extra"), /Counter/);
      assert.match(await run("services", "config", "view", "Greeter"), /Public/);
      await run("-y", "services", "config", "patch", "Greeter", "--public", "false", "--idempotency-retention", "2days", "--inactivity-timeout", "5min");
      const get = async () => (await server.adminRequest("/services/Greeter", { method: "GET" })).body;
      assert.equal((await get()).public, false);
      assert.equal((await get()).inactivity_timeout, "5m");
      const edited = await cliWith(editor("^#* *public = .*", "public = true"), "-y", "services", "config", "edit", "Greeter");
      assert.equal(edited.code, 0, edited.all);
      assert.equal((await get()).public, true);
      assert.match((await cli("services", "describe", "Nope")).all, /Nope/);
    });

    test("state get, edit, patch with a value that is gone", async () => {
      await server.call("/Counter/a/add", 41);
      assert.match(await run("state", "get", "Counter", "a"), /n +41/);
      const edited = await cliWith(editor("41", "42"), "-y", "kv", "edit", "Counter", "a");
      assert.equal(edited.code, 0, edited.all);
      await eventually(async () => (await server.sql("select value_utf8 from state where service_key = 'a' and key = 'n'"))[0]?.value_utf8 === "42");
      await run("-y", "kv", "patch", "Counter", "a", "-p", '[{"op":"remove","path":"/text"}]');
      await eventually(async () => (await server.sql("select key from state where service_key = 'a'")).length === 1);
      assert.match((await cli("kv", "get", "Greeter", "a")).all, /state|Greeter/); // a service has no state
      await run("-y", "state", "clear", "Counter");
      await eventually(async () => (await server.sql("select key from state where service_name = 'Counter'")).length === 0);
    });

    test("invocations: kill, pause, resume to a deployment, restart; refused without a yes", async () => {
      const { invocationId: id } = await server.send("/Counter/p/park", 1);
      const status = async () => (await server.sql(`select status from sys_invocation where id = '${id}'`))[0]?.status;
      await eventually(async () => (await status()) === "running" || (await status()) === "suspended");
      const refused = await cli("invocations", "kill", id);
      assert.equal(refused.code, 1, refused.all);
      await run("-y", "inv", "pause", id);
      await eventually(async () => (await status()) === "paused");
      assert.match(await run("inv", "list", "--status", "paused"), new RegExp(id));
      await run("-y", "inv", "resume", id, "--deployment", "keep");
      await eventually(async () => (await status()) !== "paused");
      assert.match(await run("inv", "describe", id), /Counter\/p\/park/);
      await run("-y", "inv", "kill", "Counter/p");
      await eventually(async () => (await status()) === "completed");
      assert.match(await run("inv", "list", "--completion-result", "failure"), new RegExp(id));
      await run("-y", "inv", "restart-as-new", id);
      await eventually(async () => (await server.sql("select id from sys_invocation where target = 'Counter/p/park'")).length === 2);
      await run("-y", "inv", "cancel", "--kill", "Counter/p/park");
      await run("-y", "inv", "purge", id);
      await eventually(async () => (await status()) === undefined);
    });

    test("vqueues list, describe; a paused one", async () => {
      assert.match(await run("vqueues", "list"), /No virtual queues found\./);
      for (const user of ["a", "b"]) {
        const scoped = await fetch(`${server.ingress}/restate/scope/acme/call/Greeter/greet`, { method: "POST", headers: { "content-type": "application/json", "x-restate-limit-key": `user/${user}` }, body: '"x"' });
        assert.equal(scoped.status, 200, await scoped.text());
      }
      await eventually(async () => (await server.sql("select num_finished from sys_vqueue_meta")).every((q) => q.num_finished === 1));
      const [{ id }] = await server.sql("select id from sys_vqueue_meta where limit_key = 'user/a'");
      const list = await run("vqueues", "ls");
      assert.match(list, /^ ID +SERVICE +SCOPE +LIMIT-KEY +LOCK +QUEUE-PAUSED +INBOX +RUNNING +SUSPENDED +PAUSED ENTRIES +FINISHED *\n/);
      assert.match(list, new RegExp(`\\n ${id} +Greeter +acme +user/a +- +false +0 +0 +0 +0 +1 *\\n`));
      assert.equal((await run("vqueues", "list", "--limit", "1")).trim().split("\n").length, 2);
      await server.adminRequest(`/vqueues/${id}/pause`, { method: "POST" });
      await eventually(async () => /Paused: +true/.test(await run("vqueues", "get", id)));
      const one = await run("vqueues", "describe", id, "--newest-first", "--limit", "10");
      assert.match(one, /Limit key: +user\/a/);
      assert.match(one, / inv_\w+ +invocation +finished +succeeded +false +1 /);
      assert.match(one, /Showing 1\/1 entries\./);
      const unknown = await cli("vqueues", "describe", "vq_1dTsTd1TAKSz3jIGNYIZ6sbulpOw6n2npn");
      assert.equal(unknown.code, 1);
      assert.match(unknown.all, /Virtual queue vq_\w+ not found!/);
      const malformed = await cli("vqueues", "describe", "vq_10000");
      assert.equal(malformed.code, 2);
      assert.match(malformed.all, /bad length/);
    });

    test("completions, environments, help and versions, usage errors", async () => {
      for (const shell of ["bash", "zsh", "fish"]) assert.ok((await run("completions", "generate", shell)).length > 500, shell);
      assert.match(await run("config", "list-environments"), /local|default/i);
      assert.match(await run("--version"), /restate/);
      for (const command of [[], ["deployments"], ["services"], ["invocations"], ["kv"], ["sql"], ["services", "config"]]) assert.match(await run(...command, "--help"), /Usage: restate/);
      assert.equal((await cli("invocations", "nonsense")).code, 2);
      assert.equal((await cli("deployments", "register")).code, 2);
    });

    if (tool === "ours") test("a man page", async () => assert.match(await run("completions", "man"), /^\.TH|\.SH/m));
  });
}
