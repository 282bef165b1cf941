// The operator services below the tool: captured request frames (zstd) decode, faults get the statuses of spec/restatectl.md §3 and
// spec/restatectl-vectors.md §5.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { gunzipSync, gzipSync, zstdDecompressSync } from "node:zlib";
import { frame, Node } from "./operator.mjs";

const IDENT = "/restate.node_ctl_svc.NodeCtlSvc/GetIdent";
const METADATA = "/restate.node_ctl_svc.NodeCtlSvc/GetMetadata";
const PROXY = "/restate.metadata_proxy_svc.MetadataProxySvc/";
const STORE = "/restate.metadata_server_svc.MetadataServerSvc/";
const CTRL = "/restate.cluster_ctrl.ClusterCtrlSvc/";
const hex = (text) => Buffer.from(text).toString("hex");

describe("the node port", () => {
  let node;
  before(async () => {
    node = await Node.start({ env: { RESTATE_DEFAULT_NUM_PARTITIONS: "2" } });
  });
  after(() => node?.dispose());

  test("captured requests of the tool are understood", async () => {
    const vectors = JSON.parse(readFileSync(new URL("../vectors/restatectl-frames.json", import.meta.url)));
    // Values of another cluster and a version that is not there are refused; so is what a single node cannot do.
    const expected = { A7: 6, B6: 13, B12: 12, B15: 3, C4: 3, C5: 9, D3: 6, D4: 13, D5: 13, D6: 13, D7: 0, D8: 7, D9: 7 };
    for (const v of vectors) {
      const compressed = v.frame.startsWith("01") ? { "grpc-encoding": "zstd", "grpc-accept-encoding": "zstd,gzip,identity" } : {};
      const r = await node.grpc(v.path, Buffer.from(v.frame, "hex"), compressed);
      assert.equal(r.status, expected[v.id] ?? 0, `${v.id} ${v.path}: ${r.status} ${r.message}`);
    }
  });

  test("gzip and plain requests", async () => {
    const message = gzipSync(Buffer.alloc(0));
    const head = Buffer.from([1, 0, 0, 0, message.length]);
    assert.equal((await node.grpc(IDENT, Buffer.concat([head, message]), { "grpc-encoding": "gzip" })).status, 0);
    // Answers in what the client accepts first and the server knows.
    for (const [accept, unpack] of [["zstd,gzip,identity", zstdDecompressSync], ["snappy, gzip", gunzipSync]]) {
      const c = await node.grpc(METADATA, frame("1001"), { "grpc-accept-encoding": accept });
      assert.equal(c.status, 0);
      assert.equal(c.headers["grpc-encoding"], accept.startsWith("zstd") ? "zstd" : "gzip");
      assert.equal(c.data.readUInt8(0), 1);
      assert.match(unpack(c.data.subarray(5)).toString("latin1"), /cluster_fingerprint/);
    }
    const r = await node.grpc(IDENT, frame(""));
    assert.equal(r.status, 0);
    assert.equal(r.data.readUInt8(0), 0);
    assert.equal(r.data.readUInt32BE(1), r.data.length - 5);
  });

  test("a call ends when its deadline has passed", async () => {
    const r = await node.grpc(IDENT, Buffer.alloc(0), { "grpc-timeout": "1n" });
    assert.ok([4, 13].includes(r.status), r.message); // 13: it was seen to be empty first
    assert.equal((await node.grpc(IDENT, frame(""), { "grpc-timeout": "10S" })).status, 0);
  });

  test("reflection: what there is to call", async () => {
    const INFO = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    const text = (number, value) => Buffer.concat([Buffer.from([(number << 3) | 2, value.length]), Buffer.from(value)]).toString("hex");
    const list = await node.grpc(INFO, frame(text(7, "*")));
    assert.equal(list.status, 0);
    for (const name of ["restate.node_ctl_svc.NodeCtlSvc", "restate.cluster_ctrl.ClusterCtrlSvc", "restate.log_server.LogServerSvc", "restate.metadata_proxy_svc.MetadataProxySvc", "restate.metadata_server_svc.MetadataServerSvc", "grpc.reflection.v1.ServerReflection"])
      assert.ok(list.data.includes(name), name);
    // Every method that is described is there, and every file that is imported.
    for (const service of ["NodeCtlSvc", "ClusterCtrlSvc", "LogServerSvc", "MetadataProxySvc", "MetadataServerSvc"]) {
      const full = /restate\.\w+\.(\w+)/g;
      const name = [...list.data.toString("latin1").matchAll(full)].map((m) => m[0]).find((n) => n.endsWith(`.${service}`));
      const file = await node.grpc(INFO, frame(text(4, name)));
      assert.equal(file.status, 0);
      const described = file.data.toString("latin1");
      for (const [, imported] of described.matchAll(/((?:restate|google\/protobuf)\/\w+\.proto)/g))
        assert.ok((await node.grpc(INFO, frame(text(3, imported)))).data.length > imported.length + 30, imported);
    }
    const unknown = await node.grpc(INFO, frame(text(4, "restate.nope.NopeSvc")));
    assert.match(unknown.data.toString("latin1"), /no such symbol: 'restate\.nope\.NopeSvc'/);
    assert.equal((await node.grpc("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", frame(""))).http, 404);
  });

  test("faults of transport", async () => {
    const cases = [
      [IDENT, frame(""), { "grpc-encoding": "deflate" }, 12, /^Content is compressed with `deflate` which isn't supported$/],
      [IDENT, Buffer.from("0100000000", "hex"), {}, 13, /received message with compressed-flag but no grpc-encoding was specified/],
      [IDENT, Buffer.from("0002800000", "hex"), {}, 11, /found 41943040 bytes, the limit is: 34603008 bytes/],
      [IDENT, Buffer.alloc(0), {}, 13, /^Missing request message\.$/],
      [CTRL + "Nope", frame(""), {}, 12, undefined],
    ];
    for (const [path, body, headers, status, sentence] of cases) {
      const r = await node.grpc(path, body, headers);
      assert.equal(r.status, status, r.message);
      if (sentence) assert.match(r.message, sentence);
      else assert.equal(r.message, undefined);
    }
    const lost = await node.grpc("/restate.nope.NopeSvc/Nope", frame(""));
    assert.equal(lost.http, 404);
    assert.equal(lost.data.toString(), "Are you lost? Maybe visit https://restate.dev instead!");
  });

  test("refusals of methods", async () => {
    const key = `0a04${hex("demo")}`;
    const absent = `0a04${hex("none")}`;
    const value = "12060a02080112" + "00"; // version 1, no bytes
    const cases = [
      [METADATA, "", 3, "unknown metadata kind"],
      ["/restate.node_ctl_svc.NodeCtlSvc/ProvisionCluster", "10f0a204", 3, "Restate only supports running up to 65535 partitions."],
      ["/restate.node_ctl_svc.NodeCtlSvc/ProvisionCluster", "22027a7a", 3, "Unknown provider kind"],
      ["/restate.node_ctl_svc.NodeCtlSvc/ProvisionCluster", "3a0109", 3, "unknown cluster feature id 9"],
      ["/restate.node_ctl_svc.NodeCtlSvc/ProvisionCluster", "2a040a027b7d", 3, "Invalid replication property syntax"],
      ["/restate.node_ctl_svc.NodeCtlSvc/ProvisionCluster", "30c801", 3, "node set size is too big, please keep it under 128"],
      ["/restate.node_ctl_svc.NodeCtlSvc/ProvisionCluster", "", 6, "The cluster has already been provisioned"],
      ["/restate.node_ctl_svc.NodeCtlSvc/TriggerCompaction", "0a0100", 3, "database kind 'unspecified' is not a valid selection"],
      [CTRL + "DescribeLog", "0863", 5, "Log id 99 not found"],
      [CTRL + "TrimLog", "0809", 13, "unknown log '9'"],
      [CTRL + "FindTail", "0809", 3, "Unknown log-id"],
      [CTRL + "SealChain", "0809", 13, "Unknown log id"],
      [CTRL + "CreatePartitionSnapshot", "08f0a204", 3, "Invalid partition id: out of range integral type conversion attempted"],
      [CTRL + "CreatePartitionSnapshot", "0807", 13, "Can not find a suitable node to take snapshot of partition 7"],
      [CTRL + "SetClusterConfiguration", "", 3, "cluster_configuration is a required field"],
      [CTRL + "SetClusterConfiguration", "0a020802", 3, "default_provider is a required field"],
      [CTRL + "MigrateMetadata", "12017b", 3, /^invalid target metadata store configuration: /],
      [CTRL + "MigrateMetadata", "120e" + hex('{"type":"etc"}'), 12, /can not be migrated to a store of type 'etc'/],
      [CTRL + "MigrateMetadata", "120f" + hex('{"type":"etcd"}'), 3, "invalid target metadata store configuration: missing field `addresses` (key \"metadata-client.addresses\")"],
      [CTRL + "MigrateMetadata", "121d" + hex('{"type":"etcd","address":[1]}'), 3, /^invalid target metadata store configuration: `address`: invalid type/],
      [CTRL + "MigrateMetadata", "1224" + hex('{"type":"object-store","paths":"x"}'.padEnd(36)), 3, "invalid target metadata store configuration: unknown field `paths`"],
      [CTRL + "MigrateMetadata", "1228" + hex('{"type":"etcd","addresses":["h:2379"]}'.padEnd(40)), 9, /^Node N1:\d+ is not running with --metadata-migration-mode; start all nodes with this flag before migrating metadata$/],
      [PROXY + "Put", key, 3, "value is required"],
      [PROXY + "Put", key + value, 3, "precondition is required"],
      [PROXY + "Put", key + value + "1a00", 3, "invalid data 'unknown precondition kind'"],
      [PROXY + "Put", key + "1200" + "1a020801", 3, "missing field 'version'"],
      [PROXY + "Delete", key, 3, "precondition is required"],
      [PROXY + "Delete", `0a0c${hex("nodes_config")}12020801`, 3, /cannot be deleted/],
      [PROXY + "Put", absent + value + "1a0608031202" + "0801", 9, /^\[http:\/\/127\.0\.0\.1:\d+\/\] expected version 'v1' but found version 'None'$/],
      [STORE + "Put", absent + value + "1a0608031202" + "0801", 9, "expected version 'v1' but found version 'None'"],
      [STORE + "RemoveNode", "0801", 13, "failed to remove node: cannot remove the only member 'N1' of the metadata cluster"],
      [STORE + "Get", absent + "1005", 7, /cluster fingerprint mismatch: expected [0-9a-zA-Z]{11}, got 0qC7BL0mtTa$/],
      [STORE + "Get", absent + "1a05" + hex("other"), 7, /cluster name mismatch: expected localcluster, got other$/],
    ];
    for (const [path, message, status, sentence] of cases) {
      const r = await node.grpc(path, frame(message));
      assert.equal(r.status, status, `${path} ${message}: ${r.message}`);
      if (typeof sentence === "string") assert.equal(r.message, sentence);
      else assert.match(r.message, sentence);
    }
  });

  test("values of operators: put, conflict, version, delete", async () => {
    const key = `0a03${hex("own")}`;
    const put = (version, precondition) => node.grpc(PROXY + "Put", frame(`${key}12080a0208${version}1202aabb1a${precondition}`));
    assert.equal((await put("04", "020802")).status, 0);
    const exists = await put("05", "020802");
    assert.equal(exists.status, 9);
    assert.match(exists.message, /key-value pair already exists$/);
    const other = await put("05", "0608031202" + "0801");
    assert.match(other.message, /expected version 'v1' but found version 'Some\(v4\)'$/);
    assert.equal((await put("07", "0608031202" + "0804")).status, 0); // a jump
    assert.equal((await node.grpc(PROXY + "Get", frame(key))).data.toString("hex"), "000000000a0a080a0208071202aabb");
    assert.equal((await node.grpc(PROXY + "GetVersion", frame(key))).data.toString("hex"), "00000000040a020807");
    assert.equal((await node.grpc(PROXY + "Delete", frame(key + "12020801"))).status, 0);
    assert.equal((await node.grpc(PROXY + "Delete", frame(key + "12020801"))).status, 0);
    assert.equal((await node.grpc(PROXY + "Get", frame(key))).data.toString("hex"), "0000000000");
  });
});

describe("the node port before provisioning", () => {
  let node;
  before(async () => {
    node = await Node.start({ env: { RESTATE_AUTO_PROVISION: "false" } });
  });
  after(() => node?.dispose());

  test("services that are not ready say so", async () => {
    const cases = [
      [CTRL + "GetClusterState", 14, "svc is not ready yet"],
      ["/restate.log_server.LogServerSvc/GetLogletInfo", 14, "svc is not ready yet"],
      ["/restate.node_ctl_svc.NodeCtlSvc/ClusterHealth", 14, "The cluster does not seem to be provisioned yet. Try again later."],
      [STORE + "Get", 14, "Metadata store has not been provisioned yet"],
      [PROXY + "Get", 14, /^other error: \[retryable\] \[http:\S+\] The service is currently unavailable: Metadata store has not been provisioned yet$/],
    ];
    for (const [path, status, sentence] of cases) {
      const r = await node.grpc(path, frame(""));
      assert.equal(r.status, status, `${path}: ${r.message}`);
      if (typeof sentence === "string") assert.equal(r.message, sentence);
      else assert.match(r.message, sentence);
    }
    for (const kind of ["1001", "1002", "1003", "1004"]) {
      assert.equal((await node.grpc(METADATA, frame(kind))).status, 0);
    }
  });
});
