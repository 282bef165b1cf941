// A network of its own for a cluster: one network namespace per node, joined by a bridge, so that links between nodes can be cut in
// silence while clients still reach every node. A cut is a permanent neighbour entry that points to a hardware address nobody has: frames
// in that direction vanish, as behind a dead switch, and no error comes back. Needs root and `ip` (iproute2), nothing else.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";

function ip(...args) {
  execFileSync("ip", args, { stdio: ["ignore", "pipe", "pipe"] });
}

// Why namespaces cannot be used here, or null.
export function unavailable() {
  if (process.getuid?.() !== 0) return "network namespaces need root";
  if (!["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"].some(existsSync)) return "network namespaces need `ip` (iproute2)";
  const probe = `rp${process.pid}`;
  try {
    ip("netns", "add", probe);
    ip("netns", "del", probe);
    return null;
  } catch (error) {
    return `network namespaces are refused here: ${String(error.stderr ?? error).trim()}`;
  }
}

const mac = (k) => `02:00:00:00:00:${k.toString(16).padStart(2, "0")}`;
const nowhere = "02:00:00:00:00:ff";
const hostIndex = 254;

let instances = 0;

export class Network {
  // Namespaces for nodes 1..n. The third byte of the addresses keeps concurrent runs apart.
  constructor(n) {
    this.id = `${(process.pid % 100_000).toString(36)}${instances++}`;
    this.subnet = `10.${(process.pid >> 6) % 200 + 20}.${(process.pid * 4 + instances) % 250 + 1}`;
    this.bridge = `rb${this.id}`;
    this.nodes = [];
    ip("link", "add", this.bridge, "type", "bridge");
    ip("link", "set", this.bridge, "address", mac(hostIndex));
    ip("addr", "add", `${this.address(hostIndex)}/24`, "dev", this.bridge);
    ip("link", "set", this.bridge, "up");
    for (let k = 1; k <= n; k++) this.add(k);
  }
  address(k) {
    return `${this.subnet}.${k}`;
  }
  get host() {
    return this.address(hostIndex);
  }
  namespace(k) {
    return `rn${this.id}-${k}`;
  }
  add(k) {
    const [ns, outer, inner] = [this.namespace(k), `rv${this.id}-${k}`, `ri${this.id}-${k}`];
    ip("netns", "add", ns);
    ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", ns);
    ip("link", "set", outer, "master", this.bridge, "up");
    ip("-n", ns, "link", "set", inner, "name", "eth0");
    ip("-n", ns, "link", "set", "eth0", "address", mac(k));
    ip("-n", ns, "addr", "add", `${this.address(k)}/24`, "dev", "eth0");
    ip("-n", ns, "link", "set", "eth0", "up");
    ip("-n", ns, "link", "set", "lo", "up");
    this.nodes.push(k);
    ip("-n", ns, "neigh", "replace", this.host, "lladdr", mac(hostIndex), "dev", "eth0", "nud", "permanent");
    ip("neigh", "replace", this.address(k), "lladdr", mac(k), "dev", this.bridge, "nud", "permanent");
    for (const other of this.nodes)
      if (other !== k) {
        this.healOneWay(k, other);
        this.healOneWay(other, k);
      }
  }
  // Argv prefix that runs a program in node k's namespace (same process id: `ip` becomes the program).
  enter(k) {
    return ["ip", "netns", "exec", this.namespace(k)];
  }
  // What `from` sends to `to` is lost.
  cutOneWay(from, to) {
    ip("-n", this.namespace(from), "neigh", "replace", this.address(to), "lladdr", nowhere, "dev", "eth0", "nud", "permanent");
  }
  healOneWay(from, to) {
    ip("-n", this.namespace(from), "neigh", "replace", this.address(to), "lladdr", mac(to), "dev", "eth0", "nud", "permanent");
  }
  cut(a, b) {
    this.cutOneWay(a, b);
    this.cutOneWay(b, a);
  }
  // Node k from all others; clients still reach it.
  isolate(k) {
    for (const other of this.nodes) if (other !== k) this.cut(k, other);
  }
  heal() {
    for (const a of this.nodes) for (const b of this.nodes) if (a !== b) this.healOneWay(a, b);
  }
  dispose() {
    for (const k of this.nodes) {
      try {
        ip("netns", "del", this.namespace(k));
      } catch {
        // never came to be
      }
    }
    ip("link", "del", this.bridge);
  }
}
