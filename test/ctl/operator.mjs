// For the tests in this directory: a server as an operator sees it, restatectl (the official one from npm, or with CTL=ours the one of
// this repository), its tables as objects, and gRPC calls by hand where the tool cannot be made to send something.
import { execFile } from "node:child_process";
import { connect } from "node:http2";
import { createRequire } from "node:module";
import { arch, platform } from "node:os";
import { fileURLToPath } from "node:url";
import { eventually, Server, sleep } from "../sdk/harness.mjs";

export { eventually, sleep };

export const officialCtl = createRequire(import.meta.url).resolve(`@restatedev/restatectl-${platform()}-${arch()}/bin/restatectl`);
export const ownCtl = process.env.RESTATECTL ?? fileURLToPath(new URL("../../build/release/bin/restatectl", import.meta.url));
export const ours = process.env.CTL === "ours";
export const tool = ours ? ownCtl : officialCtl;

// A tool with these arguments, not on a terminal: {code, stdout, stderr}.
export function runTool(tool, args, env = {}, input = undefined) {
  return new Promise((resolve) => {
    const child = execFile(tool, args, { env: { PATH: process.env.PATH, NO_COLOR: "1", ...env }, timeout: 30_000 }, (error, stdout, stderr) =>
      resolve({ code: error ? (error.code ?? -1) : 0, stdout, stderr }),
    );
    child.stdin.end(input);
  });
}

export class Node extends Server {
  // Ready when the node port says so; a node that waits for provisioning is as ready as it gets.
  async launch() {
    this.process = this.spawn();
    const child = this.process;
    this.exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
    let gone = null;
    this.exited.then((how) => (gone = how));
    await eventually(async () => {
      if (gone) throw new Error(`server exited: ${JSON.stringify(gone)}\n${this.log}`);
      const health = await this.health();
      return health.status === "Alive" || (this.env.RESTATE_AUTO_PROVISION === "false" && !health.node_id);
    });
  }
  async health() {
    return (await fetch(`${this.fabric}/health`)).json();
  }
  ctl(...args) {
    return runTool(tool, ["-s", this.fabric, ...args]);
  }
  // The same for a command that must succeed: its output, with the addresses of this run replaced.
  async run(...args) {
    const r = await this.ctl(...args);
    if (r.code !== 0 || r.stderr) throw new Error(`restatectl ${args.join(" ")}: exit ${r.code}\n${r.stdout}${r.stderr}`);
    return this.masked(r.stdout);
  }
  masked(text) {
    return text.replaceAll(String(this.ports.fabric), "21611");
  }
  async metadata(key) {
    return JSON.parse(await this.run("metadata", "get", "-k", key));
  }
  // One gRPC request of these body bytes: {http, status, message, data}.
  grpc(path, body, headers = {}) {
    const session = connect(this.fabric);
    return new Promise((resolve, reject) => {
      session.on("error", reject);
      const request = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers", ...headers });
      const answer = { http: 0, status: undefined, message: undefined, data: Buffer.alloc(0) };
      const take = (h) => {
        answer.http ||= h[":status"];
        answer.status ??= h["grpc-status"] === undefined ? undefined : Number(h["grpc-status"]);
        answer.message ??= h["grpc-message"] === undefined ? undefined : decodeURIComponent(h["grpc-message"]);
        answer.headers = { ...answer.headers, ...h };
      };
      request.on("response", take);
      request.on("trailers", take);
      request.on("data", (chunk) => (answer.data = Buffer.concat([answer.data, chunk])));
      request.on("end", () => resolve(answer));
      request.on("error", reject);
      request.end(body);
    }).finally(() => session.close());
  }
}

// A frame around an uncompressed message given as hex.
export function frame(hex) {
  const message = Buffer.from(hex, "hex");
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

// Rows of a compact table whose first header line is `lines[at]`: objects by column name. Cells stand below their headers.
export function table(text, firstColumn) {
  const lines = text.split("\n");
  const at = lines.findIndex((line) => line.trimStart().startsWith(firstColumn + " "));
  if (at < 0) throw new Error(`no table with ${firstColumn} in:\n${text}`);
  const columns = [...lines[at].matchAll(/\S+(?: \S+)*/g)].map((m) => ({ name: m[0], from: m.index }));
  const rows = [];
  for (const line of lines.slice(at + 1)) {
    if (!line.startsWith(" ") || !line.trim()) break;
    rows.push(Object.fromEntries(columns.map((c, i) => [c.name, line.slice(c.from, columns[i + 1]?.from).trim()])));
  }
  return rows;
}
