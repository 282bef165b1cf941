// Starts clusters of real server processes for the tests in this directory, in the forms in which the official guide, the official fault
// suite and the official end-to-end suite start theirs (spec/cluster.md §9.1, §9.2, §10.1, §10.4), waits for them the way those do, and
// does to them what those do: kill, stop, pause, cut, wipe. TARGET=official runs the official server from npm instead.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { binary, Endpoint, eventually, freePort, official, sleep } from "../sdk/harness.mjs";
import { Node, table } from "../ctl/operator.mjs";
import { send } from "./client.mjs";
import { Network, unavailable } from "./net.mjs";
import * as services from "./services.mjs";

export { Endpoint, eventually, freePort, official, send, services, sleep, table };

const full = process.env.FULL === "1";
const list = (addresses) => `[${addresses.join(",")}]`;

// ---- How each source configures a node: environment, flags and configuration file of node k of cluster c. ----

const common = {
  DO_NOT_TRACK: "1",
  RESTATE_LOG_FORMAT: "compact",
  RESTATE_LOG_DISABLE_ANSI_CODES: "true",
};

export const recipes = {
  // The guide "local cluster with Docker" (§10.1), one shared data directory.
  guide: (c, node) => ({
    env: {
      RESTATE_CLUSTER_NAME: c.name,
      RESTATE_DEFAULT_REPLICATION: String(c.replication),
      RESTATE_DEFAULT_NUM_PARTITIONS: String(c.partitions),
      RESTATE_METADATA_CLIENT__ADDRESSES: JSON.stringify(c.metadataAddresses),
      RESTATE_NODE_NAME: node.name,
      RESTATE_FORCE_NODE_ID: String(node.index),
      RESTATE_ADVERTISED_ADDRESS: node.fabric,
      RESTATE_AUTO_PROVISION: String(node.index === 1 && c.autoProvision),
      RESTATE_INGRESS__BIND_ADDRESS: `${node.host}:${node.ports.ingress}`,
      RESTATE_ADMIN__BIND_ADDRESS: `${node.host}:${node.ports.admin}`,
      RESTATE_BIND_ADDRESS: `${node.host}:${node.ports.fabric}`,
      RESTATE_BASE_DIR: c.base,
    },
    args: [],
  }),
  // The official fault suite (§9.1): a mounted configuration file with keys that are old by now, flags, unquoted lists.
  jepsen: (c, node) => ({
    env: {
      RESTATE_DEFAULT_NUM_PARTITIONS: String(c.partitions),
      RESTATE_METADATA_CLIENT__ADDRESSES: list(c.metadataAddresses),
      RESTATE_ADVERTISED_ADDRESS: node.fabric,
      RESTATE_LISTEN_MODE: "tcp",
      RESTATE_BIND_ADDRESS: `${node.host}:${node.ports.fabric}`,
      RESTATE_INGRESS__BIND_ADDRESS: `${node.host}:${node.ports.ingress}`,
      RESTATE_ADMIN__BIND_ADDRESS: `${node.host}:${node.ports.admin}`,
    },
    args: [
      "--config-file", c.file("jepsen.toml", jepsenToml(c)),
      "--base-dir", c.base,
      "--cluster-name", c.name,
      "--node-name", node.name,
      "--force-node-id", String(node.index),
      "--auto-provision", String(node.index === 1 && c.autoProvision),
    ],
  }),
  // The end-to-end suite (§9.2). The later nodes know only the first one's address.
  endToEnd: (c, node) => ({
    env: {
      RESTATE_CLUSTER_NAME: c.name,
      RESTATE_NODE_NAME: node.name,
      RESTATE_AUTO_PROVISION: String(node.index === 1 && c.autoProvision),
      RESTATE_BIFROST__DEFAULT_PROVIDER: "replicated",
      RESTATE_BIFROST__REPLICATED_LOGLET__DEFAULT_LOG_REPLICATION: String(c.replication),
      RESTATE_ROLES: list(["worker", "http-ingress", "log-server", "admin", "metadata-server"]),
      RESTATE_METADATA_SERVER__TYPE: "replicated",
      RESTATE_METADATA_CLIENT__ADDRESSES: list([c.nodes[0].fabric]),
      RESTATE_ADVERTISED_ADDRESS: node.fabric,
      RESTATE_BASE_DIR: c.base,
      RESTATE_NETWORKING__HTTP2_KEEP_ALIVE_INTERVAL: "4s",
      RESTATE_NETWORKING__HTTP2_KEEP_ALIVE_TIMEOUT: "20s",
      RESTATE_DEFAULT_NUM_PARTITIONS: String(c.partitions),
      RESTATE_LISTEN_MODE: "tcp",
      RESTATE_BIND_ADDRESS: `${node.host}:${node.ports.fabric}`,
      RESTATE_INGRESS__BIND_ADDRESS: `${node.host}:${node.ports.ingress}`,
      RESTATE_ADMIN__BIND_ADDRESS: `${node.host}:${node.ports.admin}`,
    },
    args: [],
  }),
  // The seed document (§10.4): one file per node, nothing else.
  seed: (c, node) => ({
    env: {},
    args: ["--config-file", c.file(`${node.name}.toml`, seedToml(c, node))],
  }),
};

// These two set only the replication of logs. In 1.7.12 partitions then have one replica; this server takes the key of older releases for
// both, as those did.
for (const recipe of ["endToEnd", "seed"]) recipes[recipe].partitionReplication = official ? 1 : 2;

function jepsenToml(c) {
  return `
default-replication = ${c.replication}
log-filter = "info"

[worker.storage]
persist-lsn-interval = "5s"
persist-lsn-threshold = 1000

[admin]
heartbeat-interval = "1s"
log-trim-check-interval = "5s"
log-tail-update-interval = "5s"

[common]
metadata-sync-interval = "3s"

[metadata-server]
type = "replicated"

[bifrost]
default-provider = "replicated"
seal-retry-interval = "1s"
auto-recovery-interval = "10s"

[networking]
connect-timeout = "1s"
handshake-timeout = "1s"
${c.toml ?? ""}`;
}

export function seedToml(c, node) {
  return `
roles = ["metadata-server", "admin", "worker", "log-server"]
node-name = "${node.name}"
cluster-name = "${c.name}"
bind-address = "${node.host}:${node.ports.fabric}"
advertised-address = "${node.fabric}"
auto-provision = ${node.index === 1 && c.autoProvision}
base-dir = "${c.base}"
default-num-partitions = ${c.partitions}
listen-mode = "tcp"

[bifrost]
default-provider = "replicated"

[bifrost.replicated-loglet]
default-log-replication = ${c.replication}

[metadata-server]
type = "replicated"

[metadata-client]
addresses = [${c.metadataAddresses.map((a) => `"${a}"`).join(", ")}]

[admin]
bind-address = "${node.host}:${node.ports.admin}"

[ingress]
bind-address = "${node.host}:${node.ports.ingress}"

[admin.query-engine]
pgsql-bind-address = "${node.host}:${node.ports.pgsql}"
`;
}

// ---- A node of a cluster: a process that can be killed, stopped, paused and started again. ----

export class ClusterNode extends Node {
  constructor(cluster, index) {
    super();
    this.cluster = cluster;
    this.index = index;
    this.name = `node-${index}`;
    this.host = cluster.network?.address(index) ?? "127.0.0.1";
    this.env = {};
    this.args = [];
  }
  async allocate() {
    this.ports = { ingress: await freePort(), admin: await freePort(), fabric: await freePort(), pgsql: await freePort() };
    this.ingress = `http://${this.host}:${this.ports.ingress}`;
    this.admin = `http://${this.host}:${this.ports.admin}`;
    this.fabric = `http://${this.host}:${this.ports.fabric}`;
  }
  get dir() {
    return join(this.cluster.base, this.name);
  }
  get logFile() {
    return join(this.cluster.dir, `${this.name}.log`);
  }
  get running() {
    return this.process !== undefined && this.process.exitCode === null && this.process.signalCode === null;
  }

  // Starts the process; does not wait for anything.
  launch(args = []) {
    const recipe = this.cluster.recipe(this.cluster, this);
    const log = openSync(this.logFile, "a");
    const argv = [...(this.cluster.network?.enter(this.index) ?? []), binary, ...recipe.args, ...this.args, ...args];
    const env = { PATH: process.env.PATH, HOME: this.cluster.dir, ...common, ...recipe.env, ...this.cluster.env, ...this.env };
    for (const [key, value] of Object.entries(env)) if (value === null) delete env[key];
    this.process = spawn(argv[0], argv.slice(1), { stdio: ["ignore", log, log], env });
    const child = this.process;
    this.exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
    return this;
  }
  async kill() {
    this.process.kill("SIGKILL");
    return this.exited;
  }
  async terminate({ timeoutMs = 30_000 } = {}) {
    this.process.kill("SIGTERM");
    const how = await Promise.race([this.exited, sleep(timeoutMs, null, { ref: false })]);
    if (!how) throw new Error(`${this.name} did not end within ${timeoutMs} ms after SIGTERM`);
    return how;
  }
  pause() {
    this.process.kill("SIGSTOP");
  }
  resume() {
    this.process.kill("SIGCONT");
  }
  // What an official deployer waits for: ingress and admin answer (200 ms polling there).
  async alive({ timeoutMs = 60_000 } = {}) {
    let gone = null;
    this.exited.then((how) => (gone = how));
    await eventually(
      async () => {
        if (gone) throw new Error(`${this.name} exited: ${JSON.stringify(gone)}\n${this.tail()}`);
        const [i, a] = await Promise.all([
          send(`${this.ingress}/restate/health`, { method: "GET", timeoutMs: 2000 }),
          send(`${this.admin}/health`, { method: "GET", timeoutMs: 2000 }),
        ]);
        return i.status === 200 && a.status === 200;
      },
      { timeoutMs, everyMs: 50 },
    );
  }
  tail(lines = 30) {
    if (!existsSync(this.logFile)) return "(no log)";
    return readFileSync(this.logFile, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
  }
  // Rows of `restatectl partitions list` as this node sees them.
  async partitions() {
    const r = await this.ctl("partitions", "list");
    return r.code === 0 && / MODE /.test(r.stdout) ? table(r.stdout, "ID") : [];
  }
}

// ---- A cluster ----

const defaults = { nodes: 3, partitions: 4, replication: 2, recipe: "guide", autoProvision: true, env: {}, net: false };

export class Cluster {
  constructor(options = {}) {
    Object.assign(this, defaults, options);
    if (typeof this.recipe === "string") this.recipe = recipes[this.recipe];
    this.partitionReplication ??= this.recipe.partitionReplication ?? this.replication;
    this.dir = mkdtempSync(join(tmpdir(), "restate-cluster-"));
    this.base = join(this.dir, "data");
    mkdirSync(this.base);
    this.name = options.name ?? "test-cluster";
    this.size = this.nodes;
    this.nodes = [];
    this.endpoints = [];
    this.extras = [];
    if (this.net) this.network = new Network(this.size);
  }
  // Nodes exist, nothing runs.
  async prepare() {
    for (let k = 1; k <= this.size; k++) this.nodes.push(new ClusterNode(this, k));
    for (const node of this.nodes) await node.allocate();
    return this;
  }
  // Another node, not started.
  async grow() {
    const node = new ClusterNode(this, this.nodes.length + 1);
    if (this.network) this.network.add(node.index);
    await node.allocate();
    this.nodes.push(node);
    return node;
  }
  async start() {
    await this.prepare();
    for (const node of this.nodes) node.launch();
    await this.ready();
    return this;
  }
  get metadataAddresses() {
    return this.addresses ?? this.nodes.map((n) => n.fabric);
  }
  get running() {
    return this.nodes.filter((n) => n.running);
  }
  node(k) {
    return this.nodes[k - 1];
  }
  // Writes a configuration file and gives its path.
  file(name, text) {
    const path = join(this.dir, name);
    writeFileSync(path, text);
    return path;
  }

  // As the official deployers: health of every node, members of the metadata store, then leaders and followers of all partitions.
  async ready({ nodes = this.running, members = this.members ?? nodes.length, followers, timeoutMs = 90_000 } = {}) {
    const deadline = Date.now() + timeoutMs;
    const left = () => Math.max(deadline - Date.now(), 1);
    await Promise.all(nodes.map((n) => n.alive({ timeoutMs: left() })));
    await eventually(async () => (await nodes[0].clusterHealth()).metadata_cluster_health.members.length === members, {
      timeoutMs: left(),
      everyMs: 100,
    });
    const wanted = followers ?? this.partitions * (Math.min(this.partitionReplication, nodes.length) - 1);
    let seen = "";
    await eventually(
      async () => {
        const r = await nodes[0].ctl("partitions", "list");
        seen = r.stdout + r.stderr;
        const count = (pattern) => seen.split("\n").filter((line) => pattern.test(line)).length;
        return count(/Leader.*Active/) === this.partitions && count(/Follower.*Active/) === wanted;
      },
      { timeoutMs: left(), everyMs: 200 },
    ).catch((error) => {
      throw new Error(`${this.partitions} active leaders and ${wanted} active followers were wanted; seen:\n${seen}`, { cause: error });
    });
  }

  // Every log's last segment may lose as many nodes as promised: the first ones know only the nodes that came first, and a failure
  // before they are improved (the official server: 8 to 15 s) would say nothing about a cluster of so many nodes.
  async spread({ timeoutMs = 30_000 } = {}) {
    let seen = "";
    await eventually(
      async () => {
        seen = (await this.running[0].ctl("logs", "list")).stdout;
        const wanted = Math.min(this.running.length, 2 * this.replication - 1);
        const logs = table(seen, "L-ID");
        return logs.length === this.partitions && logs.every((log) => (log.NODESET.match(/N\d+/g) ?? []).length >= wanted);
      },
      { timeoutMs, everyMs: 200 },
    ).catch((error) => {
      throw new Error(`node sets do not grow to what ${this.replication} copies need; seen:\n${seen}`, { cause: error });
    });
  }

  // {partition: index of the node that leads it} as node `from` sees it.
  async leaders(from = this.running[0]) {
    const rows = (await from.partitions()).filter((row) => row.MODE === "Leader" && row.STATUS === "Active");
    return Object.fromEntries(rows.map((row) => [row.ID, Number(/^N(\d+)/.exec(row.NODE)[1])]));
  }
  async metadataLeader(from = this.running[0]) {
    const rows = table((await from.ctl("metadata-server", "list-servers")).stdout, "NODE");
    return Number(/N(\d+)/.exec(rows.find((row) => row.LEADER && row.LEADER !== "-").LEADER)[1]);
  }
  // The node that leads most partitions (or none if nobody does), not among `except`.
  async busiest({ except = [], from } = {}) {
    const count = new Map();
    for (const k of Object.values(await this.leaders(from))) count.set(k, (count.get(k) ?? 0) + 1);
    const ranked = [...count].filter(([k]) => !except.includes(k)).sort((a, b) => b[1] - a[1]);
    return ranked.length ? this.node(ranked[0][0]) : null;
  }

  // Serves `list` and registers it at one node, then waits until every node's ingress knows it.
  async serve(list = services.all, { at = this.running[0], probe = "/Greeter/greet" } = {}) {
    const endpoint = await Endpoint.with({ services: list, host: this.network?.host });
    this.endpoints.push(endpoint);
    await eventually(() => at.register(endpoint, { force: true }), { timeoutMs: 30_000, everyMs: 200 });
    for (const node of this.running)
      await eventually(async () => (await send(node.ingress + probe, { body: "probe", timeoutMs: 5000 })).status === 200, { timeoutMs: 30_000 });
    return endpoint;
  }

  report() {
    return this.nodes.map((n) => `--- ${n.name} (${n.running ? "running" : `ended: ${n.process?.signalCode ?? n.process?.exitCode}`}), ${n.logFile}\n${n.tail()}`).join("\n");
  }
  async dispose() {
    for (const extra of this.extras) await extra.stop?.();
    for (const node of this.nodes) if (node.running) await node.kill();
    for (const endpoint of this.endpoints) await endpoint.kill();
    this.network?.dispose();
    for (const undo of this.undo ?? []) undo();
    if (!process.env.KEEP) rmSync(this.dir, { recursive: true, force: true });
  }
}

ClusterNode.prototype.clusterHealth = async function () {
  return (await send(`${this.admin}/cluster-health`, { method: "GET", timeoutMs: 3000 })).body;
};

// ---- Cases ----

// One case on a cluster of its own. `name` begins with the items of spec/cluster.md that it shows. Options besides those of Cluster:
//   quick      part of the subset that CI runs (others run with FULL=1, or by name)
//   started    false: the body starts the nodes itself
//   serve      register the services of services.mjs first
//   missing    a reason to skip the case: something that it needs is not installed
//   only       "ours" or "official": the other server cannot show this (a reason is in `why`)
export function scenario(name, options, body) {
  const { quick = false, started = true, serve = false, only, why, missing, timeoutMs = 180_000, ...shape } = options;
  if (!quick && !full) return;
  const skip = only && (only === "official") !== official ? `${why ?? `only for ${only}`}` : missing ? missing : shape.net ? (unavailable() ?? false) : false;
  test(name, { timeout: timeoutMs, skip }, async (t) => {
    const cluster = await new Cluster(shape).prepare();
    try {
      if (started) {
        for (const node of cluster.nodes) node.launch();
        await cluster.ready();
        await cluster.spread();
        if (serve) await cluster.serve();
      }
      // A case that takes too long ends here, with its load and its processes.
      const late = new Promise((_, reject) => t.signal.addEventListener("abort", () => reject(new Error(`${name}: too long`)), { once: true }));
      await Promise.race([body(cluster, t), late]);
    } catch (error) {
      console.error(`${name}: failed: ${error.stack}\n${cluster.report()}`);
      throw error;
    } finally {
      await cluster.dispose();
    }
  });
}
