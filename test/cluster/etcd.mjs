// Debian's etcd-server as the metadata store of clusters under test: one member or several on loopback, killed and started again.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually, freePort, send } from "./harness.mjs";

const binary = [process.env.ETCD, "/usr/bin/etcd", "/usr/local/bin/etcd"].find((path) => path && existsSync(path));
export const etcdMissing = binary ? null : "etcd is not installed (apt-get install etcd-server)";

export class Etcd {
  static async start(size = 1) {
    const etcd = new Etcd();
    etcd.dir = mkdtempSync(join(tmpdir(), "restate-etcd-"));
    etcd.members = [];
    for (let i = 0; i < size; i++) etcd.members.push({ name: `e${i}`, client: `http://127.0.0.1:${await freePort()}`, peer: `http://127.0.0.1:${await freePort()}` });
    for (const member of etcd.members) etcd.launch(member);
    await Promise.all(etcd.members.map((member) => etcd.healthy(member)));
    return etcd;
  }
  launch(member) {
    const log = openSync(join(this.dir, `${member.name}.log`), "a");
    member.process = spawn(
      binary,
      [
        "--name", member.name, "--data-dir", join(this.dir, member.name), "--listen-client-urls", member.client, "--advertise-client-urls", member.client,
        "--listen-peer-urls", member.peer, "--initial-advertise-peer-urls", member.peer, "--initial-cluster", this.members.map((m) => `${m.name}=${m.peer}`).join(","),
        "--initial-cluster-token", "restate-test", "--initial-cluster-state", "new",
      ],
      { stdio: ["ignore", log, log], env: { PATH: process.env.PATH } },
    );
    const child = member.process;
    member.exited = new Promise((resolve) => child.once("exit", resolve));
  }
  async healthy(member) {
    await eventually(async () => (await send(`${member.client}/health`, { method: "GET", timeoutMs: 2000 })).body?.health === "true", { timeoutMs: 30_000, everyMs: 100 }).catch((error) => {
      throw new Error(`etcd ${member.name} does not become healthy:\n${readFileSync(join(this.dir, `${member.name}.log`), "utf8").slice(-2000)}`, { cause: error });
    });
  }
  async kill(member) {
    member.process.kill("SIGKILL");
    await member.exited;
  }
  async restart(member) {
    this.launch(member);
    await this.healthy(member);
  }
  // What etcd holds under a key, through its JSON gateway: null or a Buffer.
  async value(key) {
    const { body } = await send(`${this.members[0].client}/v3/kv/range`, { body: { key: Buffer.from(key).toString("base64") }, timeoutMs: 5000 });
    return body.kvs ? Buffer.from(body.kvs[0].value, "base64") : null;
  }
  env() {
    return {
      RESTATE_METADATA_CLIENT__TYPE: "etcd",
      RESTATE_METADATA_CLIENT__ADDRESSES: JSON.stringify(this.members.map((m) => m.client.replace("http://", ""))),
      RESTATE_AUTO_PROVISION: "true", // on every node: the store arbitrates
    };
  }
  async stop() {
    for (const member of this.members) if (member.process.exitCode === null && member.process.signalCode === null) await this.kill(member);
    if (!process.env.KEEP) rmSync(this.dir, { recursive: true, force: true });
  }
}
