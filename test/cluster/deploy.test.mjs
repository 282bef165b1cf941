// The files of deploy/ do what they say: held to running servers, to the guide's variables and to what the binary needs.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { binary } from "../sdk/harness.mjs";
import { eventually, official, scenario, send } from "./harness.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const read = (path) => readFileSync(join(root, "deploy", path), "utf8");

// The file of node k with this run's ports and directory.
function localised(c, node) {
  const ports = { 5122: "fabric", 9070: "admin", 8080: "ingress" };
  let text = read(`config/node-${node.index}.toml`).replace('"/var/lib/restate"', `"${c.base}"`).replaceAll("0.0.0.0", "127.0.0.1").replace("my-cluster", c.name);
  text = text.replace(/127\.0\.0\.1:(\d?)(5122|9070|8080)/g, (_, k, port) => `127.0.0.1:${c.node(Number(k || 1)).ports[ports[port]]}`);
  return text.replace(/default-num-partitions = \d+/, `default-num-partitions = ${c.partitions}`);
}
const example = (c, node) => ({ env: { RESTATE_LISTEN_MODE: "tcp" }, args: ["--config-file", c.file(`${node.name}.toml`, localised(c, node))] });

scenario("A-1 A-2: deploy/config starts three nodes that serve on every node", { quick: true, recipe: example, only: "ours", why: "its list of roles opens no ingress there (A-19)" }, async (c) => {
  await c.serve();
  for (const node of c.nodes) assert.equal((await send(`${node.ingress}/Greeter/greet`, { body: "file" })).body, "Hello file!");
});

test("A-2: deploy/compose.yaml has the variables of the guide, and the server takes them", { skip: official }, () => {
  const text = read("compose.yaml");
  const env = Object.fromEntries([...text.matchAll(/^ +(RESTATE_\w+): *(?:"([^"]*)"|'([^']*)'|([^ #\n]+))/gm)].map((m) => [m[1], m[2] ?? m[3] ?? m[4]]));
  const guide = [
    "RESTATE_CLUSTER_NAME", "RESTATE_DEFAULT_REPLICATION", "RESTATE_METADATA_CLIENT__ADDRESSES", "RESTATE_NODE_NAME", "RESTATE_FORCE_NODE_ID",
    "RESTATE_ADVERTISED_ADDRESS", "RESTATE_AUTO_PROVISION", "RESTATE_INGRESS__BIND_ADDRESS", "RESTATE_ADMIN__BIND_ADDRESS", "RESTATE_BIND_ADDRESS",
    "RESTATE_WORKER__SNAPSHOTS__DESTINATION", "RESTATE_WORKER__SNAPSHOTS__SNAPSHOT_INTERVAL_NUM_RECORDS", "RESTATE_WORKER__SNAPSHOTS__AWS_REGION",
    "RESTATE_WORKER__SNAPSHOTS__AWS_ENDPOINT_URL", "RESTATE_WORKER__SNAPSHOTS__AWS_ALLOW_HTTP", "RESTATE_WORKER__SNAPSHOTS__AWS_ACCESS_KEY_ID",
    "RESTATE_WORKER__SNAPSHOTS__AWS_SECRET_ACCESS_KEY",
  ];
  assert.deepEqual(guide.filter((key) => !(key in env)), []);
  assert.equal((text.match(/RESTATE_AUTO_PROVISION: "true"/g) ?? []).length, 1, "exactly one node provisions");
  for (const port of ["8080", "9070", "5122", "28080", "29070", "25122", "38080", "39070", "35122"]) assert.match(text, new RegExp(`"${port}:${port}"`));
  const dump = execFileSync(binary, ["--dump-config"], { env, encoding: "utf8" });
  for (const part of ['cluster-name = "restate-cluster"', "s3://restate/snapshots", "http://restate-2:25122", "http://minio:9000"]) assert.ok(dump.includes(part), `${part} in\n${dump}`);
});

test("deploy/Dockerfile installs what the binary links against", { skip: official || !readFileSync("/etc/os-release", "utf8").includes('VERSION_ID="12"') ? "for Debian 12 and this server" : false }, () => {
  const [, build, runtime] = read("Dockerfile").split(/^FROM /m);
  const setup = readFileSync(join(root, "tools", "setup"), "utf8").split("packages=(")[1].split(")")[0];
  const forBuilding = setup.match(/\S+-dev\b/g).filter((p) => !p.startsWith("libclang"));
  assert.deepEqual(forBuilding.filter((p) => !build.split(/\s+/).includes(p)), [], "the build stage has what tools/setup installs");
  const needed = [...execFileSync("readelf", ["-d", binary], { encoding: "utf8" }).matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((m) => m[1]);
  const linked = Object.fromEntries([...execFileSync("ldd", [binary], { encoding: "utf8" }).matchAll(/(\S+) => (\S+)/g)].map((m) => [m[1], m[2]]));
  for (const library of needed) {
    if (/^(libc|libm|ld-linux|libstdc\+\+|libgcc_s|libpthread|libdl)[.-]/.test(library)) continue;
    const owners = [linked[library], linked[library].replace(/^\/lib/, "/usr/lib")].map((path) => {
      try {
        return execFileSync("dpkg-query", ["-S", path], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split(":")[0];
      } catch {
        return null;
      }
    });
    const owner = owners.find(Boolean);
    assert.ok(owner, `${library} belongs to no package`);
    assert.ok(runtime.split(/\s+/).includes(owner), `${library} is in ${owner}, which the image lacks`);
  }
});

scenario("deploy/grafana and deploy/prometheus: every metric they use exists at the node port", { quick: true, nodes: 1, replication: 1, only: "ours", why: "this server's metrics", serve: true }, async (c) => {
  await send(`${c.node(1).ingress}/Counter/x/add`, { body: 1 });
  const used = new Set([...(read("grafana/restate.json") + read("prometheus/restate.rules.yml")).matchAll(/restate_[a-z_]+/g)].map((m) => m[0]));
  assert.ok(used.size >= 7);
  // Some are published about once a second.
  let missing = [...used];
  await eventually(async () => {
    const metrics = (await send(`${c.node(1).fabric}/metrics`, { method: "GET" })).text;
    missing = missing.filter((name) => !new RegExp(`^${name}(\\{| )`, "m").test(metrics));
    return missing.length === 0;
  }).catch(() => assert.deepEqual(missing, []));
});

test("deploy/config and systemd files are complete", () => {
  assert.ok(existsSync(join(root, "deploy", "systemd", "restate-server.service")));
  const provisioning = [1, 2, 3].map((k) => /auto-provision = (\w+)/.exec(read(`config/node-${k}.toml`))[1]);
  assert.deepEqual(provisioning, ["true", "false", "false"]);
});
