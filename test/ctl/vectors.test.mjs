// What our restatectl puts on the wire, and what it makes of recorded answers: a server that speaks from
// test/vectors/restatectl-exchanges.json (captured from release 1.7.12). Requests must be the captured bytes.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { ours, ownCtl, runTool } from "./operator.mjs";

const exchanges = Object.fromEntries(JSON.parse(readFileSync(new URL("../vectors/restatectl-exchanges.json", import.meta.url))).map((e) => [e.id, e]));
const CTRL = "/restate.cluster_ctrl.ClusterCtrlSvc/";
const PROXY = "/restate.metadata_proxy_svc.MetadataProxySvc/";
const varint = (n) => (n < 128 ? Buffer.from([n]) : Buffer.concat([Buffer.from([(n & 127) | 128]), varint(n >> 7)]));
const field = (number, bytes) => Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);

// `answers`: path -> exchange id, or {replies, status, message}; GetMetadata by kind. `encoding` of the replies.
class Recorded {
  answers = {};
  encoding = "zstd";
  requests = [];
  async start() {
    this.server = createServer();
    this.server.on("session", (s) => s.on("error", () => {}));
    this.server.on("stream", (stream, headers) => {
      const chunks = [];
      stream.on("data", (c) => chunks.push(c));
      stream.on("end", () => this.answer(stream, headers, Buffer.concat(chunks)));
    });
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.address = `http://127.0.0.1:${this.server.address().port}`;
  }
  answer(stream, headers, body) {
    const path = headers[":path"];
    assert.equal(headers["content-type"], "application/grpc");
    assert.equal(headers.te, "trailers");
    assert.equal(body.readUInt32BE(1), body.length - 5);
    assert.equal(headers["grpc-encoding"], "zstd"); // of those that get smaller by it
    const message = (body[0] ? zstdDecompressSync(body.subarray(5)) : body.subarray(5)).toString("hex");
    this.requests.push({ path, message });
    const metadata = { "1001": "A3", "1004": "A4", "1003": "A5" };
    const id = this.answers[path] ?? (path.endsWith("/GetIdent") ? "A2" : path.endsWith("/GetMetadata") ? metadata[message] : undefined);
    const e = typeof id === "string" ? exchanges[id] : (id ?? { status: 12, message: "" });
    if (e.status !== undefined) {
      stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": String(e.status), "grpc-message": e.message }, { endStream: true });
      return;
    }
    const pack = { zstd: zstdCompressSync, gzip: gzipSync }[this.encoding];
    stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-encoding": this.encoding }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    for (const reply of e.replies) {
      const payload = pack ? pack(Buffer.from(reply, "hex")) : Buffer.from(reply, "hex");
      const head = Buffer.alloc(5);
      head[0] = pack ? 1 : 0;
      head.writeUInt32BE(payload.length, 1);
      stream.write(head);
      stream.write(payload.subarray(0, 7)); // frames need not come in one piece
      stream.write(payload.subarray(7));
    }
    stream.end();
  }
  // Requests to that method since the last look.
  sent(path) {
    const found = this.requests.filter((r) => r.path === path).map((r) => r.message);
    this.requests = [];
    return found;
  }
}

describe("recorded exchanges", { skip: !ours }, () => {
  const server = new Recorded();
  let dir;
  before(async () => {
    await server.start();
    dir = mkdtempSync(join(tmpdir(), "ctl-vectors-"));
  });
  after(() => {
    server.server.close();
    rmSync(dir, { recursive: true });
  });
  async function run(answers, ...args) {
    server.answers = answers;
    const r = await runTool(ownCtl, ["-S", server.address, ...args]);
    return { ...r, text: r.stdout.replaceAll(/ +$/gm, "") };
  }
  async function sends(id, method, ...args) {
    const r = await run({ [method]: id }, ...args);
    assert.equal(r.code, 0, r.stderr);
    assert.deepEqual(server.sent(method), [exchanges[id].request], id);
    return r.text;
  }

  test("status, partitions: A2, A3, A4, B1, D1", async () => {
    const r = await run({ [CTRL + "GetClusterState"]: "B1" }, "partitions", "list");
    assert.match(r.text, /^Alive partition processors \(nodes config v4, partition table v1\)\n ID {2}NODE {2}MODE {4}STATUS {2}EPOCH {2}APPLIED {2}DURABLE {2}ARCHIVED {2}LSN-LAG {2}SCHEMA {2}RULE-BOOK {2}FEATURES {4}UPDATED\n 0 {3}N1:2 {2}Leader {2}Active {2}e2 {5}2 {8}0 {8}- {9}0 {8}v0 {6}- {10}journal_v2 /);
    assert.deepEqual(server.sent(CTRL + "GetClusterState"), [""]);
    const three = await run({ [CTRL + "GetClusterState"]: "B2" }, "partitions", "list", "--sort", "node");
    assert.match(three.text, /\n☠️ Dead nodes\n NODE {2}LAST-SEEN\n N3 /);
    assert.equal(three.text.match(/ (N1:2|N2:1) {2}(Leader|Follower) /g).length, 6);
    const logs = await run({}, "logs", "list");
    assert.match(logs.text, / 0 {5}1 {9}1 {5}replicated {2}0_0 {8}\{node: 1\} {4}N1:2 {7}\[N1\]\n 1 /);
  });

  test("replies in each encoding", async () => {
    for (const encoding of ["identity", "gzip", "zstd"]) {
      server.encoding = encoding;
      const r = await run({}, "nodes", "list");
      assert.match(r.text, /^Node Configuration \(v4\)\n[^]*\n N1 {4}2 {4}n1 {4}http:\/\/127\.0\.0\.1:21611\//, `${encoding}: ${r.stderr}`);
    }
  });

  test("values as JSON, as another server might send them", async () => {
    const json = (value) => ({ replies: [field(1, Buffer.from("\u0005" + value)).toString("hex")] });
    const nodes = `{"version":4,"cluster_name":"mock","nodes":[[1,{"Node":{"name":"m1","current_generation":[1,4],"address":"${server.address}/","roles":["admin","worker","log-server","metadata-server"]}}],[2,"Tombstone"]],"name_lookup":{"m1":1},"cluster_fingerprint":18151188892343686012}`;
    const r = await run({ "/restate.node_ctl_svc.NodeCtlSvc/GetMetadata": json(nodes) }, "nodes", "list");
    assert.match(r.text, /^Node Configuration \(v4\)\n[^]*\n N1 {4}4 {4}m1 {4}http/, r.stderr);
    const broken = await run({ "/restate.node_ctl_svc.NodeCtlSvc/GetMetadata": json('{"nodes":[]}') }, "nodes", "list");
    assert.match(broken.stderr, /^Error: Failed to decode metadata from node http:\S+: missing field `version`/);
  });

  test("logs: B3 to B8", async () => {
    const described = await run({ [CTRL + "DescribeLog"]: "B3" }, "logs", "describe", "--extra", "0");
    assert.deepEqual(server.sent(CTRL + "DescribeLog"), [""]);
    assert.match(described.text, /^Log Id: 0 \(v2\)\nTrim Point LSN: 0\n/);
    assert.match(await sends("B4", CTRL + "FindTail", "logs", "find-tail", "1"), / 1 {7}0 {8}OPEN {3}3/);
    assert.equal(await sends("B5", CTRL + "TrimLog", "logs", "trim", "0", "-t", "2"), "Submitted for log 0\n");
    assert.equal(
      await sends("B6", CTRL + "CreatePartitionSnapshot", "snapshots", "create", "0"),
      "Snapshot created for partition 0: snap_137yEZITIY1Pjt9vJRp2a0V (log 0 @ LSN >= 2)\n",
    );
    assert.equal(
      await sends("B7", CTRL + "SealAndExtendChain", "logs", "reconfigure", "-l", "1"),
      "✅ Log reconfiguration (1)\n └ Segment Index: 1\n\nSealed segment\n ├ Index: 0\n ├ Tail LSN: 3\n ├ Provider: replicated\n ├ Loglet ID: 1_0\n" +
        " ├ Sequencer: N1:2\n ├ Replication: {node: 1}\n └ Node Set: [N1]\n\n",
    );
    assert.equal(await sends("B8", CTRL + "SealChain", "logs", "seal", "0", "--reason", "why"), "✅ log=0 chain has been sealed\n ├ Tail LSN: 3\n\n");
  });

  test("configuration: A6, A7, B9, B10", async () => {
    const provision = "/restate.node_ctl_svc.NodeCtlSvc/ProvisionCluster";
    const r = await run({ [provision]: "A6" }, "provision", "-y");
    assert.equal(r.code, 0, r.stderr);
    assert.deepEqual(server.sent(provision), [exchanges.A6.request, exchanges.A7.request]);
    assert.match(r.text, /Features to enable:\n {2}- controlled-idempotent-sharding\nProvision cluster with this configuration\? Auto-confirming --yes is set\.\n✅/);
    const set = await run({ [CTRL + "GetClusterConfiguration"]: "B9", [CTRL + "SetClusterConfiguration"]: "B10" }, "config", "set", "-y", "--log-default-nodeset-size", "3");
    assert.equal(set.code, 0, set.stderr);
    assert.match(set.text, /\n - └ Nodeset size: 0\n \+ └ Nodeset size: 3\n/);
    assert.deepEqual(server.sent(CTRL + "SetClusterConfiguration"), [exchanges.B10.request]);
  });

  test("sql: B13, B14, B15", async () => {
    assert.equal(await sends("B13", CTRL + "Query", "sql", "select 1 as a"), " A\n 1\n\n");
    assert.equal(await sends("B13", CTRL + "Query", "sql", "select 1 as a", "--json"), '[{"a":1}]');
    assert.equal(await sends("B14", CTRL + "Query", "sql", "select 1 where false"), "");
    const r = await run({ [CTRL + "Query"]: "B15" }, "sql", "selec");
    assert.equal(r.code, 1);
    assert.equal(
      r.stderr,
      "Error: Failed to run query\n  ├─ code: 'Client specified an invalid argument', message: \"SQL error: ParserError(\\\"Expected: an SQL statement, found: selec at Line: 1, Column: 1\\\")\"\n",
    );
  });

  test("metadata: C1 to C4", async () => {
    assert.match(await sends("C1", PROXY + "Get", "metadata", "get", "-k", "pp_epoch_0"), /^\{\n {2}"version": 2,\n {2}"current": \{\n {4}"context": \{\},\n {4}"modified_at": 1795369739387,/);
    assert.equal(await sends("C2", PROXY + "Get", "metadata", "get", "-k", "demo"), "null\n");
    const file = join(dir, "d1.json");
    writeFileSync(file, '{"a":1,"b":[1,2,3],"c":{"x":"y"}}');
    let r = await run({ [PROXY + "Get"]: "C2", [PROXY + "Put"]: "C3" }, "metadata", "put", "-k", "demo", file);
    assert.equal(r.code, 0, r.stderr);
    assert.deepEqual(server.sent(PROXY + "Put"), [exchanges.C3.request]);
    // The nodes configuration of A3, read through the proxy: the edit of C4 but for the time of the change.
    const a3 = Buffer.from(exchanges.A3.replies[0], "hex").subarray(3);
    const get = { replies: [field(1, Buffer.concat([Buffer.from("0a020804", "hex"), field(2, a3)])).toString("hex")] };
    r = await run({ [PROXY + "Get"]: get, [PROXY + "Put"]: "C4" }, "nodes", "set-worker-state", "--node", "1", "--worker-state", "draining", "--force");
    assert.equal(r.stdout, "N1:2 worker-state has been updated from active to draining\n", r.stderr);
    const [put] = server.sent(PROXY + "Put");
    const at = exchanges.C4.request.indexOf("010080e4355cfc08");
    assert.equal(put.slice(0, at) + "010080e4355cfc08" + put.slice(at + 16), exchanges.C4.request);
  });

  test("leadership: B11", async () => {
    const r = await run({ [PROXY + "Get"]: "C1", [PROXY + "Put"]: "C3", [CTRL + "SyncEpochMetadata"]: "B11" }, "partitions", "leadership", "freeze", "0", "--reason", "maint");
    assert.equal(r.stdout, "Froze leader election for partition 0.\n", r.stderr);
    assert.deepEqual(server.sent(CTRL + "SyncEpochMetadata"), ["0a0100"]);
  });

  test("migration: B12, and the steps that are left to do", async () => {
    const file = join(dir, "target.toml");
    writeFileSync(file, '[metadata-client]\ntype = "replicated"\naddresses = ["http://127.0.0.1:21698"]\n');
    const refused = await run({ [CTRL + "MigrateMetadata"]: "B12" }, "metadata", "migrate", "--toml", file);
    assert.equal(refused.code, 1);
    assert.deepEqual(server.sent(CTRL + "MigrateMetadata"), [exchanges.B12.request]);
    writeFileSync(file, '[metadata-client]\ntype = "object-store"\npath = "s3://b/p"\naws-allow-http = true\n');
    const done = await run({ [CTRL + "MigrateMetadata"]: { replies: [""] } }, "metadata", "migrate", "--toml", file, "--force");
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.text, /^\n\n ✅ {2}Metadata migration completed\n 1\. [^]*\n {5}\[metadata-client\]\n {5}type = "object-store"\n {5}path = "s3:\/\/b\/p"\n {5}aws-allow-http = true\n/);
    assert.match(Buffer.from(server.sent(CTRL + "MigrateMetadata")[0], "hex").toString(), /^\x08\x01[^]*\{"type":"object-store","path":"s3:\/\/b\/p","aws-allow-http":true,"object-store-retry-policy":/);
    for (const [toml, what] of [
      ['type = "etcd"', /missing field `metadata-client`/],
      ['[metadata-client]\ntype = "etcd"', /missing field `addresses` of a `metadata-client` of type etcd/],
      ['[metadata-client]\ntype = "paper"', /unknown type 'paper'/],
      ["[x", /TOML parse error at line 1, column 3/],
    ]) {
      writeFileSync(file, toml);
      const r = await run({}, "metadata", "migrate", "--toml", file);
      assert.equal(r.code, 1);
      assert.match(r.stderr, what);
    }
  });

  test("storage: A8", async () => {
    // Per-node calls go to the advertised address of the recorded cluster, where nobody listens here.
    const r = await run({}, "storage", "compact", "-d", "metadata-server");
    assert.equal(r.code, 1);
    assert.match(r.text, /http:\/\/127\.0\.0\.1:21611\/ {2}- {9}ERROR: gRPC error: code: 'The service is currently unavailable'/);
  });
});
