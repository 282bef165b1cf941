// What our restate tool asks for: an admin API that answers from tables and keeps the requests. The SQL texts must be those of the official
// tool (test/vectors/admin-vectors.json, cli-sql-*), because servers are tested with these.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { cli, home, start } from "./run.mjs";

// How many looks at the same thing came before the tool was ended; at least three, or the test's time limit ends it.
async function watched(admin, args) {
  const child = start(admin.url, args);
  admin.requests = [];
  while (admin.requests.filter((q) => q.path === admin.requests.at(-1).path).length < 3) await new Promise((resolve) => setTimeout(resolve, 10));
  child.kill();
  await new Promise((resolve) => child.once("close", resolve));
  return admin.requests.filter((q) => q.path === admin.requests.at(-1).path).length;
}

const collapsed = (sql) => sql.replace(/\s+/g, " ").trim();
const vectors = JSON.parse(readFileSync(new URL("../vectors/admin-vectors.json", import.meta.url)));
const official = Object.fromEntries(
  vectors.filter((v) => v.name.startsWith("cli-sql-")).map((v) => [v.name.slice(8, 10), collapsed(JSON.parse(v.request.body).query)]),
);

class Admin {
  routes = {}; // "METHOD path" -> body or [status, body] or function
  rows = []; // [regular expression, rows]
  version = { version: "1.7.12", min_admin_api_version: 2, max_admin_api_version: 4, features: {} };
  requests = [];
  async start() {
    this.server = createServer((request, response) => {
      const chunks = [];
      request.on("data", (c) => chunks.push(c));
      request.on("end", () => this.answer(request, Buffer.concat(chunks).toString(), response));
    });
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${this.server.address().port}`;
  }
  answer(request, body, response) {
    const send = (status, json) => {
      const text = typeof json === "string" ? json : JSON.stringify(json);
      response.writeHead(status, { "content-type": "application/json" }).end(text);
    };
    this.requests.push({ method: request.method, path: request.url, headers: request.headers, body });
    if (request.url === "/version") return this.version ? send(200, this.version) : send(404, "{}");
    if (this.silent) return;
    if (request.url === "/v4/query") {
      const sql = collapsed(JSON.parse(body).query);
      const found = this.rows.find(([pattern]) => pattern.test(sql));
      return found ? send(200, { rows: found[1] }) : send(500, { message: `no rows for ${sql}` });
    }
    const route = this.routes[`${request.method} ${request.url}`];
    if (route === undefined) return send(404, { message: `no route ${request.method} ${request.url}`, restate_code: "X0001" });
    return Array.isArray(route) ? send(route[0], route[1]) : send(200, route);
  }
  // SQL texts since the last look.
  sql() {
    const texts = this.requests.filter((r) => r.path === "/v4/query").map((r) => collapsed(JSON.parse(r.body).query));
    this.requests = [];
    return texts;
  }
}

const service = (name, ty, handlers, extra = {}) => ({
  name,
  ty,
  handlers: handlers.map((h) => ({ name: h, input_description: "application/json", output_description: "application/json" })),
  deployment_id: "dp_13lvCWWoY8ZmF5Rv9mtTDhL",
  revision: 1,
  ...extra,
});
const services = [service("Greeter", "Service", ["greet"]), service("Counter", "VirtualObject", ["add"]), service("Wf", "Workflow", ["run"])];
const deployment = {
  id: "dp_13lvCWWoY8ZmF5Rv9mtTDhL",
  uri: "http://127.0.0.1:9080/",
  protocol_type: "BidiStream",
  http_version: "HTTP/2.0",
  created_at: "2026-11-22T17:16:05.645000000Z",
  min_protocol_version: 5,
  max_protocol_version: 7,
  sdk_version: "restate-sdk-typescript/1.17.2",
  services,
};
const backingOff = {
  id: "inv_1jtjwkneGSG94bvrDJL60kSyK0hQybL6vr",
  target: "Counter/k4/boom",
  target_service_ty: "virtual_object",
  idempotency_key: "01M8251BC8Q0X63PP5Z57R48J7",
  status: "backing-off",
  created_at: "2026-11-22T17:32:05.895Z",
  state_modified_at: "2026-11-22T17:32:05.895Z",
  num_retries: 6,
  last_failure_message: "[500 Internal] kaboom",
  last_attempt_deployment_id: "dp_13lvCWWoY8ZmF5Rv9mtTDhL",
  last_attempt_server: "restate-sdk-typescript/1.17.2",
  next_retry_at: "2026-11-22T17:32:42.525Z",
  last_start_at: "2026-11-22T17:32:22.953Z",
  pinned_deployment_exists: false,
};

const queue = {
  id: "vq_1dTsTd1TAKSz3jIGNYIZ6sbulpOw6n2npn",
  is_active: true,
  queue_is_paused: true,
  service_name: "Greeter",
  scope: "acme",
  limit_key: "user/42",
  created_at: "2026-11-22T17:32:05.895Z",
  num_inbox: 3,
  num_running: 2,
  num_suspended: 1,
  num_paused: 0,
  num_finished: 7,
};

describe("requests of the restate tool", () => {
  const admin = new Admin();
  before(async () => {
    await admin.start();
    admin.routes = {
      "GET /v4/services": { services },
      "GET /v4/services/Counter": services[1],
      "GET /v4/services/Greeter": services[0],
      "GET /v4/deployments": { deployments: [deployment] },
      "GET /v4/deployments/dp_13lvCWWoY8ZmF5Rv9mtTDhL": deployment,
    };
    admin.rows = [
      [/^SELECT COUNT/, [{ "count(Int64(1))": 7 }]],
      [/^SELECT id FROM sys_invocation inv/, [{ id: backingOff.id }]],
      [/^SELECT inv\.id/, [backingOff]],
      [/FROM sys_journal/, [{ index: 1, entry_type: "Command: Call", version: 2, entry_json: '{"Command":{"Call":{"request":{"invocation_id":"inv_1x","invocation_target":{"VirtualObject":{"name":"Counter","key":"k1","handler":"add"}}}}}}' }, { index: 0, entry_type: "Command: Input", version: 2 }]],
      [/^SELECT id, target FROM sys_invocation_status WHERE target LIKE 'Nothing/, []],
      [/^SELECT id, target FROM sys_invocation_status/, [{ id: "inv_1a", target: "Greeter/greet" }, { id: "inv_1b", target: "Greeter/greet" }]],
      [/^(SELECT target_service_name|SELECT service_name, service_key, COUNT)/, []],
      [/^select key, value from state/, [{ key: "last", value: "7b226e223a377d" }, { key: "count", value: "37" }]],
      [/FROM state WHERE/, [{ service_name: "Counter", service_key: "s1", key: "count", value: "37" }]],
      [/FROM sys_rules/, []],
      [/FROM sys_vqueue_meta/, [queue]],
      [/FROM sys_vqueues/, [{ entry_id: "inv_1a", entry_kind: "invocation", stage: "inbox", status: "new", has_lock: false, num_attempts: 0, created_at: "2026-11-22T17:32:05.895Z" }]],
    ];
  });
  after(() => admin.server.close());
  const run = (...args) => cli(admin.url, args);

  test("the version comes first, then everything below its prefix, with the headers of the official tool", async () => {
    const r = await run("services", "list");
    assert.equal(r.code, 0, r.err);
    assert.deepEqual(
      admin.requests.map((q) => `${q.method} ${q.path}`),
      ["GET /version", "GET /v4/services", "GET /v4/deployments"],
    );
    assert.match(admin.requests[1].headers["user-agent"], /^restate-cli\/1\.7\.12 linux-/);
    assert.equal(admin.requests[1].headers.authorization, undefined);
    admin.requests = [];
    await cli(admin.url, ["services", "list"], { RESTATE_AUTH_TOKEN: "secret" });
    assert.ok(admin.requests.every((q) => q.headers.authorization === "Bearer secret"));
    admin.requests = [];
  });

  test("API versions: the highest that both know, or none", async () => {
    const original = admin.version;
    for (const [min, max, prefix] of [
      [2, 2, "/v2"],
      [3, 3, "/v3"],
      [2, 5, "/v4"],
      [1, 1, null],
      [5, 6, null],
    ]) {
      admin.version = { ...original, min_admin_api_version: min, max_admin_api_version: max };
      admin.requests = [];
      const r = await run("services", "list");
      assert.equal(r.code, prefix === "/v4" ? 0 : 1); // only /v4 has routes here
      assert.equal(admin.requests[1]?.path ?? null, prefix && `${prefix}/services`);
      if (!prefix) assert.match(r.err, /speaks the admin API versions/);
    }
    admin.version = original;
    admin.requests = [];
  });

  test("queries are those of the official tool", async () => {
    const cases = [
      [["invocations", "list"], ["01", "02"]],
      [["invocations", "list", "--all", "--limit", "2"], ["08", "07"]],
      [["invocations", "list", "--completion-result", "failure"], ["12", "13"]],
      [["invocations", "list", "--status", "running", "--limit", "1"], ["43", "44"]],
      [
        ["inv", "ls", "--service", "Greeter,Counter", "--handler", "greet,add", "--key", "k2", "--virtual-objects-only", "--zombie", "--deployment", "dp_13lvCWWoY8ZmF5Rv9mtTDhL", "--status", "pending,running", "--oldest-first", "--limit", "5"],
        ["10", "11"],
      ],
      [["invocations", "describe", "inv_1hLKp50a4Xti2Zi0n1iV09ADvBFD3rTCCB"], ["15", "19"]],
      [["invocations", "pause", "inv_1ceQMii6q8iL1NrTQU1LYklj1DmfDx9M5i"], ["20"]],
      [["invocations", "resume", "inv_1bN5WliQ6Y3N6j0r35MF3CnEsawnHchi41"], ["21"]],
      [["invocations", "resume", "Counter/k4"], ["22"]],
      [["invocations", "cancel", "Greeter"], ["24"]],
      [["invocations", "kill", "inv_1bN5WliQ6Y3N6j0r35MF3CnEsawnHchi41"], ["23"]],
      [["invocations", "purge", "Greeter/failTerminal"], ["26"]],
      [["invocations", "restart-as-new", "inv_198TuCFvvxhq6ikl4i10SVKcOZ5bKDsBSU"], ["27"]],
      [["deployments", "list", "--extra"], ["05"]],
      [["deployments", "describe", "--extra", "dp_13lvCWWoY8ZmF5Rv9mtTDhL"], ["38"]],
      [["state", "get", "Counter", "s1"], ["34"]],
      [["state", "clear", "Counter/s1"], ["35"]],
      [["state", "clear", "Counter"], ["36"]],
      [["rules", "list"], ["03"]],
      [["rules", "delete", "scope1/*"], ["37"]],
      [["vqueues", "list"], ["04"]],
      [["vqueues", "describe", queue.id], ["40", "42"]],
      [["vqueues", "get", "--newest-first", "--limit", "3", queue.id], ["41"]],
    ];
    for (const [args, ids] of cases) {
      await run(...args);
      const sent = admin.sql();
      for (const id of ids) assert.ok(sent.includes(official[id]), `${args.join(" ")}: cli-sql-${id}\n  wanted ${official[id]}\n  sent ${sent.join("\n       ")}`);
    }
    await run("services", "status");
    const sent = admin.sql().map((sql) => sql.replace(/'(Counter|Greeter|Wf)'/g, "S"));
    for (const id of ["28", "29", "30", "31"]) assert.ok(sent.includes(official[id].replace(/'(Counter|Greeter|Wf)'/g, "S")), id);
  });

  test("invocations: what is shown", async () => {
    const list = await run("invocations", "list");
    assert.match(list.out, /^ {2}❯ \[2026-11-22 17:32:05\.895 \+00:00\] inv_1jtjwkneGSG94bvrDJL60kSyK0hQybL6vr\n {5}Target: {11}Counter\/k4\/boom/);
    assert.match(list.out, /Status: +backing-off {2}\(.*Retried 6 time\(s\)\. Next retry in /);
    assert.match(list.out, /Error: +\[2026-11-22 17:32:22\.953 \+00:00\] *\n +\[500 Internal\] kaboom/);
    assert.match(list.err, /^Showing 1\/7 invocations\. Query took /);
    const one = await run("invocations", "describe", "inv_1x");
    assert.match(one.out, /└──\(this\)─> Counter\/k4\/boom\n {5}▸\n {5}├──── #0 Command: Input *\n {5}├──── #1 Command: Call Counter\/k1\/add inv_1x\n {5}└────>> backing-off\n/);
    assert.deepEqual(JSON.parse((await run("invocations", "list", "--json")).out), [backingOff]);
    admin.requests = [];
  });

  test("invocations: which completed ones are wanted is said once", async () => {
    for (const other of [["--all"], ["--status", "running"]]) {
      const { code, err } = await run("invocations", "list", "--completion-result", "failure", ...other);
      assert.equal(code, 2);
      assert.match(err, /cannot be used with/);
    }
  });

  test("changes of invocations: every answer counts", async () => {
    admin.routes["PATCH /v4/invocations/inv_1a/cancel"] = [202, ""];
    admin.routes["PATCH /v4/invocations/inv_1b/cancel"] = [409, { message: "The invocation 'inv_1b' was already completed.", restate_code: null }];
    const r = await run("invocations", "cancel", "-y", "Greeter");
    assert.equal(r.code, 1);
    assert.match(r.out, /\[OK\]: Cancelled 1 invocations\n/);
    assert.match(r.out, / ID {6}REASON[^\n]*\n inv_1b {2}<UNKNOWN> The invocation 'inv_1b' was already completed\./);
    assert.match(r.err, /\[WARNING\]: Failed to cancel:\nError: 1 of 2 invocations failed\n$/);
    for (const [id, n] of [["inv_1a", 1], ["inv_1b", 2]]) admin.routes[`PATCH /v4/invocations/${id}/restart-as-new`] = { new_invocation_id: `inv_new${n}` };
    const restarted = await run("invocations", "restart", "-y", "Greeter");
    assert.equal(restarted.code, 0, restarted.err);
    assert.match(restarted.out, /\[OK\]: Restarted 2 invocations:\n OLD ID {2}NEW ID {3}\n inv_1a {2}inv_new1 \n inv_1b {2}inv_new2 \n/);
    for (const id of ["inv_1a", "inv_1b"]) admin.routes[`PATCH /v4/invocations/${id}/resume?deployment=latest`] = "";
    assert.match((await run("invocations", "resume", "-y", "Greeter", "--deployment", "latest")).out, /Resumed 2 invocations/);
    const none = await run("invocations", "cancel", "-y", "Nothing");
    assert.equal(none.code, 1);
    assert.match(none.err, /^Error: No invocations found for query Nothing! /);
    const no = await run("invocations", "kill", "Greeter");
    assert.match(no.err, /^Error: User aborted/);
    admin.requests = [];
  });

  test("virtual queues: what is shown", async () => {
    const list = await run("vqueues", "ls");
    assert.match(list.out, /^ ID +SERVICE +SCOPE +LIMIT-KEY +LOCK +QUEUE-PAUSED +INBOX +RUNNING +SUSPENDED +PAUSED ENTRIES +FINISHED \n vq_\w+ +Greeter +acme +user\/42 +- +true +3 +2 +1 +0 +7 +\n$/);
    assert.equal(JSON.parse((await run("vqueues", "list", "--json")).out).vqueues[0].limit_key, "user/42");
    const one = await run("vqueues", "describe", queue.id);
    assert.match(one.out, /^\n Virtual Queue Information:\n―+\n ID: +vq_\w+ *\n Service: +Greeter *\n Scope: +acme *\n Limit key: +user\/42 *\n Lock: +- *\n Active: +true *\n Paused: +true *\n/);
    assert.match(one.out, / Created at: +Sun 22 Nov 2026 17:32:05 \+00:00 *\n Last enqueued at: +- *\n/);
    assert.match(one.out, / inv_1a +invocation +inbox +new +false +0 +Sun 22 Nov 2026 17:32:05 \+00:00 +- *\n$/);
    assert.equal(one.err, "Showing 1/13 entries.\n");
    const malformed = await run("vqueues", "describe", "vq_10000");
    assert.equal(malformed.code, 2);
    assert.match(malformed.err, /^error: invalid value 'vq_10000' for '<VQUEUE_ID>': bad length\n/);
    const rows = admin.rows;
    admin.rows = [[/FROM sys_vqueue_meta/, []]];
    assert.equal((await run("vqueues", "list")).out, "No virtual queues found.\n");
    const absent = await run("vqueues", "describe", queue.id);
    assert.equal(absent.code, 1);
    assert.equal(absent.err, `Error: Virtual queue ${queue.id} not found!\n`);
    admin.rows = rows;
    admin.requests = [];
  });

  test("services status: so many active keys, and how long they have been locked", async () => {
    const rows = admin.rows;
    const lock = (i) => ({ service_name: "Counter", service_key: `k${i}`, invocation_status: "running", invocation_holding_lock: `inv_1${i}`, invocation_method_holding_lock: "add", modified_at: new Date(Date.now() - 60_000).toISOString(), last_start_at: new Date(Date.now() - 30_000).toISOString(), num_pending: 0, num_retries: 1 });
    admin.rows = [[/FIRST_VALUE|num_pending DESC/, []], [/first_value\(id\) as invocation_holding_lock/, [0, 1, 2, 3, 4, 5, 6].map(lock)], ...rows];
    const keys = async (...options) => [...(await run("services", "status", "Counter", ...options)).out.matchAll(/^ {3}k\d .*$/gm)].map((m) => m[0]);
    assert.equal((await keys()).length, 5);
    assert.equal((await keys("--locked-keys-limit", "2")).length, 2);
    assert.match((await keys())[0], /in-flight for 30 seconds.*\. It's been holding the lock for 1 minute/);
    assert.doesNotMatch((await keys("--locked-key-held-threshold-second", "100"))[0], /holding the lock/);
    const json = JSON.parse((await run("services", "status", "Counter", "--json")).out);
    assert.deepEqual(json.active_keys.map((row) => `${row.service}/${row.key}`), [0, 1, 2, 3, 4, 5, 6].map((i) => `Counter/k${i}`));
    assert.deepEqual([json.summary.length, json.summary[0].service, json.summary[0].handler, json.summary[0].running], [1, "Counter", "add", "0"]);
    admin.requests = [];
    await run("services", "status", "Counter", "--sample-invocations-limit", "3");
    assert.ok(admin.sql().some((sql) => /^SELECT id FROM sys_invocation inv .* LIMIT 3$/.test(sql)));
    admin.rows = rows;
  });

  test("Kafka: properties from files", async () => {
    const file = (name, text) => (writeFileSync(join(home, name), text), join(home, name));
    const sent = () => JSON.parse(admin.requests.findLast((q) => q.method !== "GET").body);
    admin.routes["POST /v4/kafka-clusters"] = [201, { name: "c" }];
    admin.routes["POST /v4/subscriptions"] = [201, { id: "sub_1" }];
    admin.routes["PATCH /v4/kafka-clusters/c"] = [200, {}];
    admin.routes["GET /v4/kafka-clusters/c"] = { name: "c", properties: { "bootstrap.servers": "old:9092", "client.id": "x" } };
    for (const [flag, name] of [["--from-file", "k.toml"], ["-f", "k.toml"], ["--from-file", "k.properties"], ["--file", "k.properties"]]) {
      file("k.toml", 'title = "not a property"\n[properties]\n"bootstrap.servers" = "b:9092"\n"client.id" = "é"\n');
      file("k.properties", "# brokers\nbootstrap.servers=b:9092\nclient.id = é\n");
      const r = await run("kafka-clusters", "create", "-y", flag, join(home, name), "c");
      assert.equal(r.code, 0, r.err);
      assert.deepEqual(sent(), { name: "c", properties: { "bootstrap.servers": "b:9092", "client.id": "é" } });
    }
    // the file is the new base, --set and --unset come after it
    const patched = await run("kafka-clusters", "patch", "-y", "c", "-f", join(home, "k.properties"), "--unset", "client.id", "--set", "acks=all");
    assert.equal(patched.code, 0, patched.err);
    assert.deepEqual(sent(), { properties: { "bootstrap.servers": "b:9092", acks: "all" } });
    for (const name of ["s.toml", "s.conf"]) {
      file("s.toml", 'source = "kafka://c/t"\nsink = "service://Greeter/greet"\n[options]\n"group.id" = "g"\n');
      file("s.conf", "source=kafka://c/t\nsink=service://Greeter/greet\ngroup.id=g\n");
      assert.equal((await run("subscriptions", "create", "-y", "-f", join(home, name))).code, 0);
      assert.deepEqual(sent(), { source: "kafka://c/t", sink: "service://Greeter/greet", options: { "group.id": "g" } });
      assert.equal((await run("subscriptions", "create", "-y", "-f", join(home, name), "kafka://c/other", "service://Greeter/more")).code, 0);
      assert.deepEqual(sent(), { source: "kafka://c/other", sink: "service://Greeter/more", options: { "group.id": "g" } });
    }
    const bad = async (code, pattern, ...args) => {
      const r = await run("-y", ...args);
      assert.equal(r.code, code, r.err);
      assert.match(r.err, pattern);
    };
    admin.requests = [];
    await bad(1, /no-such-file/, "kafka-clusters", "create", "-f", join(home, "no-such-file"), "c");
    await bad(1, /the table `\[properties\]` is missing/, "kafka-clusters", "create", "-f", file("no.toml", 'a = "b"'), "c");
    await bad(1, /is no TOML/, "kafka-clusters", "create", "-f", file("no.toml", "[properties"), "c");
    await bad(1, /the value of `retries` must be a text/, "kafka-clusters", "create", "-f", file("no.toml", "[properties]\nretries = 3"), "c");
    await bad(1, /a name with dots needs quotes/, "subscriptions", "create", "-f", file("no.toml", '[options]\ngroup.id = "3"'), "kafka://c/t", "service://G/g");
    await bad(2, /`source` is required/, "subscriptions", "create");
    await bad(2, /`sink` is required/, "subscriptions", "create", "kafka://c/t");
    assert.ok(admin.requests.every((q) => q.method === "GET"));
    admin.requests = [];
  });

  test("-w repeats every list, -n alone does not", async () => {
    admin.routes["GET /v4/subscriptions"] = { subscriptions: [] };
    admin.routes["GET /v4/kafka-clusters"] = { clusters: [] };
    for (const command of [["rules", "list"], ["vqueues", "list"], ["kafka-clusters", "list"], ["subscriptions", "list"], ["services", "list"]]) {
      admin.requests = [];
      assert.equal((await run(...command, "-n", "0.01")).code, 0);
      assert.equal(admin.requests.filter((q) => q.path !== "/version").length, command[0] === "services" ? 2 : 1);
      assert.ok((await watched(admin, [...command, "-w", "-n", "0.01"])) >= 3, command.join(" "));
    }
    admin.requests = [];
  });

  test("a rule that lets nothing run is refused", async () => {
    const r = await run("rules", "set", "acme", "--concurrency", "0");
    assert.equal(r.code, 2);
    assert.match(r.err, /invalid value '0' for '--concurrency <CONCURRENCY>'/);
  });

  test("state: bodies and versions", async () => {
    admin.routes["POST /v4/services/Counter/state"] = [202, ""];
    const r = await run("state", "patch", "-y", "Counter", "s1", "-p", '[{"op":"replace","path":"/count","value":9}]');
    assert.equal(r.code, 0, r.err);
    let post = admin.requests.find((q) => q.method === "POST" && q.path.endsWith("/state"));
    assert.deepEqual(JSON.parse(post.body), {
      version: "7_yDAmqniFsZP3QJCFmIMMH2xt60O_oTCe6ppl2tTGA",
      object_key: "s1",
      new_state: { count: [57], last: [...Buffer.from('{"n":7}')] },
    });
    admin.requests = [];
    await run("state", "clear", "-y", "-f", "Counter/s1");
    post = admin.requests.find((q) => q.method === "POST" && q.path.endsWith("/state"));
    assert.deepEqual(JSON.parse(post.body), { version: null, object_key: "s1", new_state: {} });
    assert.equal((await run("state", "get", "-p", "Counter", "s1")).out, '{"count":7,"last":{"n":7}}\n');
    assert.match((await run("state", "get", "Greeter", "s1")).err, /^Error: Only virtual objects and workflows support state/);
    admin.requests = [];
  });

  test("settings of a service: all six keys", async () => {
    admin.routes["PATCH /v4/services/Greeter"] = services[0];
    const r = await run("services", "config", "patch", "-y", "Greeter", "--public", "false", "--idempotency-retention", "2d", "--journal-retention", "1h", "--inactivity-timeout", "30s", "--abort-timeout", "2m");
    assert.equal(r.code, 0, r.err);
    assert.equal(
      admin.requests.at(-1).body,
      '{"public":false,"idempotency_retention":"2d","workflow_completion_retention":null,"journal_retention":"1h","inactivity_timeout":"30s","abort_timeout":"2m"}',
    );
    admin.requests = [];
    assert.equal((await run("services", "config", "patch", "Greeter")).out, "No changes requested\n");
    assert.equal(admin.requests.length, 0);
  });

  test("register: a dry run, then the same for real", async () => {
    admin.routes["POST /v4/deployments"] = [201, { id: "dp_1new", services: [service("Greeter", "Service", ["greet"])] }];
    const r = await run("deployments", "register", "-y", "127.0.0.1:9080", "--extra-header", "x-api-key=abc", "--metadata", "env=prod");
    assert.equal(r.code, 0, r.err);
    const bodies = admin.requests.filter((q) => q.method === "POST").map((q) => q.body);
    assert.equal(
      bodies[0],
      '{"uri":"http://127.0.0.1:9080/","additional_headers":{"x-api-key":"abc"},"metadata":{"env":"prod"},"use_http_11":false,"breaking":false,"force":false,"dry_run":true}',
    );
    assert.equal(bodies[1], bodies[0].replace('"dry_run":true', '"dry_run":false'));
    assert.match(r.out, /SERVICES THAT WILL BE ADDED:\n {2}- Greeter\n[^]*\[OK\]: DEPLOYMENT:\nDeployment ID: {2}dp_1new\n SERVICE {2}REV \n Greeter {2}1 {3}\n/);
    admin.routes["POST /v4/deployments"] = [409, { message: "[META0006] detected a breaking change", restate_code: "META0006" }];
    const breaking = await run("deployments", "register", "-y", "http://127.0.0.1:9080/");
    assert.equal(breaking.code, 1);
    assert.match(breaking.out, /Breaking changes detected:\n {2}META0006 /);
    assert.match(breaking.out, /restate deployment register http:\/\/127\.0\.0\.1:9080\/ --breaking/);
    admin.requests = [];
  });

  test("a server that says nothing: every request ends in time, a query too", async () => {
    for (const command of [["services", "list"], ["sql", "select 1"], ["rules", "list"]]) {
      admin.silent = true;
      const r = await run("--request-timeout", "200", ...command);
      assert.equal(r.code, 1);
      assert.match(r.err, /no answer within the time limit/, command.join(" "));
    }
    admin.silent = false;
    admin.requests = [];
  });

  test("errors of the API", async () => {
    const r = await run("services", "describe", "Nope");
    assert.equal(r.code, 1);
    assert.equal(r.err, `Error: X0001 no route GET /v4/services/Nope\n  -> Http status code 404 Not Found at '${admin.url}/v4/services/Nope'\n`);
    admin.requests = [];
  });
});
