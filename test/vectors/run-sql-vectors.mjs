// Runs the statements of sql-vectors.json (format: spec/sql.md §16) on a server of its own with the fixture's data: same columns, types
// and nullability as recorded; JSON and Arrow answers agree; the rows that the fixture determines are as they must be; statements that
// are refused are refused in the recorded words.
//
//   node run-sql-vectors.mjs [--only TEXT] [--quiet] [--no-cluster]
//
// The server comes from RESTATE_SERVER (test/sdk/harness.mjs). Needs apache-arrow from npm. Exit status 1 if a vector failed.
import assert from "node:assert/strict";
import fs from "node:fs";
import { DataType, TimeUnit, tableFromIPC } from "apache-arrow";
import { Node, frame } from "../ctl/operator.mjs";
import { buildFixture, fixtureEnvironment } from "./sql-fixture.mjs";

const argument = (name) => process.argv.includes(name);
const only = argument("--only") ? process.argv[process.argv.indexOf("--only") + 1] : "";
const quiet = argument("--quiet");

// ---- Arrow types as the vectors name them ----

const units = { [TimeUnit.SECOND]: "s", [TimeUnit.MILLISECOND]: "ms", [TimeUnit.MICROSECOND]: "us", [TimeUnit.NANOSECOND]: "ns" };
function typeName(t) {
  if (DataType.isNull(t)) return "Null";
  if (DataType.isBool(t)) return "Boolean";
  if (DataType.isInt(t)) return `${t.isSigned ? "Int" : "UInt"}${t.bitWidth}`;
  if (DataType.isFloat(t)) return "Float64";
  if (DataType.isUtf8(t)) return "Utf8";
  if (DataType.isLargeUtf8(t)) return "LargeUtf8";
  if (DataType.isBinary(t)) return "Binary";
  if (DataType.isLargeBinary(t)) return "LargeBinary";
  if (DataType.isDecimal(t)) return `Decimal128(${t.precision}, ${t.scale})`;
  if (DataType.isTimestamp(t)) return `Timestamp(${units[t.unit]}${t.timezone ? `, "${t.timezone}"` : ""})`;
  if (DataType.isDate(t)) return "Date32";
  if (DataType.isDuration(t)) return `Duration(${units[t.unit]})`;
  if (DataType.isInterval(t)) return "Interval(MonthDayNano)";
  if (DataType.isList(t)) return `List(${typeName(t.children[0].type)})`;
  return `? ${t}`;
}
const texts = ["Utf8", "Utf8View", "LargeUtf8"];
function sameType(a, b) {
  const list = /^List\((.*)\)$/;
  if (list.test(a) && list.test(b)) return sameType(list.exec(a)[1], list.exec(b)[1]);
  return a === b || (texts.includes(a) && texts.includes(b)) || (a.endsWith("Binary") && b.endsWith("Binary"));
}

// ---- one statement ----

const post = (server, sql, accept) =>
  fetch(`${server.admin}/query`, { method: "POST", headers: { "content-type": "application/json", ...accept }, body: JSON.stringify({ query: sql }) });

async function runAdmin(server, sql) {
  const json = await post(server, sql, { accept: "application/json" });
  const arrow = await post(server, sql, {});
  assert.equal(arrow.status, json.status, "JSON and Arrow answers differ in status");
  if (json.status !== 200) return { status: json.status, error: (await json.json()).message };
  assert.equal(json.headers.get("content-type"), "application/json");
  assert.equal(arrow.headers.get("content-type"), "application/vnd.apache.arrow.stream");
  const text = await json.text();
  return { status: 200, text, rows: JSON.parse(text).rows, table: tableFromIPC(new Uint8Array(await arrow.arrayBuffer())) };
}

const queryFrame = (sql) => {
  const text = Buffer.from(sql);
  const length = [];
  for (let n = text.length; ; n >>= 7) {
    length.push(n > 127 ? (n & 127) | 128 : n);
    if (n <= 127) break;
  }
  return frame(Buffer.concat([Buffer.from([0x0a, ...length]), text]).toString("hex"));
};
// Field 1 of every response message, in a row.
function encodedParts(data) {
  const parts = [];
  for (let at = 0; at < data.length; ) {
    const end = at + 5 + data.readUInt32BE(at + 1);
    for (let p = at + 5; p < end; ) {
      const tag = data[p++];
      let n = 0;
      for (let shift = 0; ; shift += 7) {
        n += (data[p] & 127) * 2 ** shift;
        if (data[p++] < 128) break;
      }
      if (tag === 0x0a) parts.push(data.subarray(p, p + n));
      p += n;
    }
    at = end;
  }
  return parts;
}
async function runCluster(server, sql) {
  const answer = await server.grpc("/restate.cluster_ctrl.ClusterCtrlSvc/Query", queryFrame(sql));
  if (answer.status !== 0) return { status: answer.status, error: answer.message };
  const table = tableFromIPC(Buffer.concat(encodedParts(answer.data)));
  return { status: 200, table, rows: table.toArray().map((r) => r.toJSON()) };
}

// ---- what must hold ----

function checkColumns(expected, result, exact) {
  const fields = result.table.schema.fields;
  const names = fields.map((f) => f.name);
  assert.deepEqual(names, expected.map((c) => c.name));
  expected.forEach((c, i) => {
    const type = typeName(fields[i].type);
    assert.ok(sameType(type, c.type), `column ${c.name} is ${type} instead of ${c.type}`);
    if (exact) assert.equal(fields[i].nullable, c.nullable, `column ${c.name} nullable`);
  });
}

// Same number of rows, and a value is absent in JSON exactly where it is null in Arrow. (The texts of values are checked by unit tests.)
function checkSameRows(result, moving) {
  if (moving) return;
  assert.equal(result.table.numRows, result.rows.length, "JSON and Arrow have different numbers of rows");
  const names = result.table.schema.fields.map((f) => f.name);
  if (new Set(names).size !== names.length) return;
  result.rows.forEach((row, i) => {
    const arrow = result.table.get(i);
    for (const name of names) assert.equal(name in row, arrow[name] !== null && !Number.isNaN(arrow[name]), `row ${i}, column ${name}`);
  });
}

const column = (name) => (r) => r.rows.map((row) => row[name]);
const count = (n) => (r) => assert.equal(r.rows.length, n);
const only1 = (name, value) => (r) => assert.deepEqual(column(name)(r), [value]);
const textIs = (text) => (r) => assert.equal(r.text, text);
const sorted = (values) => [...values].sort();
const rowsOf = {
  "docs-list-all": (r) => assert.ok(r.rows.length >= 15),
  "docs-status-by-id": only1("status", "paused"),
  "docs-journal": (r) => assert.deepEqual(column("entry_type")(r).slice(0, 2), ["Command: Input", "Command: Run"]),
  "docs-blocking-vo": (r, ids) => assert.deepEqual(r.rows, [{ invocation_id: ids.LOCK }]),
  "docs-invoked-by": textIs('{"rows":[{"invoked_by":"ingress"}]}'),
  "docs-state": only1("value_utf8", "7"),
  "docs-state-key": (r) => assert.deepEqual([r.rows.length, r.rows[0].value, r.rows[0].value_length], [1, "37", 1]),
  "cli-columns-exist": only1("count(*)", 3),
  "cli-describe-inv": (r) => assert.deepEqual(column("pinned_deployment_exists")(r), [true]),
  "cli-journal": (r) => assert.ok(r.rows.every((x) => x.version === 2 && JSON.parse(x.entry_json)) && r.rows.at(-1).index === 0),
  "cli-inbox": textIs('{"rows":[{"service_name":"Counter","service_key":"locked","num_pending":2}]}'),
  "cli-zombie": count(0),
  "cli-batch-select": (r, ids) => assert.deepEqual(r.rows, [{ id: ids.BUSY, target: "Greeter/busy" }]),
  "cli-state-get": textIs('{"rows":[{"key":"count","value":"37"}]}'),
  "cli-rules": count(0),
  "ui-drained": count(0),
  "ui-state-by-value": textIs('{"rows":[{"service_key":"a"}]}'),
  "ui-state-keys": textIs('{"rows":[{"key":"count"}]}'),
  "ui-like-escape": count(0),
  "ui-state-size": textIs('{"rows":[{"service_name":"Counter","size":2}]}'),
  "ui-statuses": (r) => assert.deepEqual(sorted(column("status")(r)), ["paused", "suspended"]),
  "ui-paused-error": (r) => assert.equal(JSON.parse(r.rows[0].event_json).last_failure.error_message, "boom transient"),
  "ui-failed-filter": count(1),
  "gen-literals": textIs('{"rows":[{"i":1,"f":1.5,"s":"x","b":true}]}'),
  "gen-array-agg": (r) => assert.deepEqual(r.rows[0].hs, r.rows[0].s.split(",")),
  "gen-unnest": (r) => assert.deepEqual(sorted(column("svc")(r)), ["Counter", "Flow", "Greeter"]),
  "gen-json-fn": textIs('{"rows":[{"ty":"TransientError","code":500}]}'),
  "gen-cast": textIs('{"rows":[{"a":1,"b":"1","c":1,"d":1.5}]}'),
  "gen-values": textIs('{"rows":[{"column1":1,"column2":"a"},{"column1":2,"column2":"b"}]}'),
  "gen-offset": textIs('{"rows":[{"name":"Flow"},{"name":"Greeter"}]}'),
  "gen-null-order": textIs('{"rows":[{"n":1},{"n":2},{}]}'),
  "gen-u64": (r) => assert.match(r.text, /"m":18446744073709551615,"k":\d+/),
  "gen-list-column": (r) => assert.ok(r.rows.length === 2 && r.rows.every((x) => x.n === x.suspended_waiting_for_signals.length && x.c)),
  "gen-correlated": (r) => assert.ok(r.rows.length === 1 && r.rows[0].n >= 2),
  "meta-tables": (r) => assert.ok(r.rows.length === 18 && r.rows.filter((x) => x.table_type === "VIEW").length === 1),
  "meta-empty-result": textIs('{"rows":[]}'),
  "suite-ready": (r) => assert.equal(typeof r.rows[0]["count(Int64(1))"], "number"),
  "cl-nodes": (r) => assert.deepEqual(column("state")(r), ["alive"]),
  "cl-partitions": (r) => assert.deepEqual(column("leader_plain_node_id")(r), Array(r.rows.length).fill("N1")),
  "cl-config": (r) => assert.deepEqual(r.rows, [{ key: "cluster-name", value: "localcluster" }]),
  "cl-features": (r) => assert.ok(r.rows.length > 0),
};

async function check(server, ids, v) {
  const sql = v.sql.replace(/\$(INV|SUS|DP)/g, (_, name) => ids[name]);
  const result = await (v.name.startsWith("cl-") ? runCluster : runAdmin)(server, sql);
  if (v.expect.error) {
    assert.ok(result.error?.startsWith(v.expect.error), `error is: ${result.error}`);
    assert.equal(result.status, v.expect.status);
    return;
  }
  assert.equal(result.status, 200, result.error);
  checkColumns(v.expect.columns, result, !v.name.startsWith("gen-"));
  checkSameRows(result, v.name.startsWith("cl-"));
  rowsOf[v.name]?.(result, ids);
}

const server = await Node.start({ env: { ...fixtureEnvironment, RESTATE_DEFAULT_NUM_PARTITIONS: "4" } });
let failed = 0, passed = 0, endpoint;
try {
  const fixture = await buildFixture(server);
  endpoint = fixture.endpoint;
  for (const v of JSON.parse(fs.readFileSync(new URL("./sql-vectors.json", import.meta.url)))) {
    if (!v.name.includes(only) || (argument("--no-cluster") && v.name.startsWith("cl-"))) continue;
    try {
      await check(server, fixture.ids, v);
      passed++;
      if (!quiet) console.log(`ok    ${v.name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL  ${v.name}: ${error.message}`);
    }
  }
} finally {
  await endpoint?.kill();
  await server.dispose();
}
console.log(`${passed} statements as recorded, ${failed} failed`);
process.exit(failed ? 1 : 0);
