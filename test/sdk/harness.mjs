// Starts real servers and official TypeScript SDK services for the tests in this directory. A server listens on loopback with free
// ports and a data directory of its own; `crash()` is SIGKILL, `stop()` is SIGTERM. TARGET=official runs the official server from npm
// instead (installed below build/ by tools/official), for differential runs.
import { execFileSync, spawn } from "node:child_process";
import { createServer } from "node:net";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import * as restate from "@restatedev/restate-sdk";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
export const official = process.env.TARGET === "official";
export const binary = official
  ? execFileSync(join(root, "tools", "official"), { encoding: "utf8" }).trim()
  : (process.env.RESTATE_SERVER ?? join(root, "build", "release", "bin", "restate-server"));

export { sleep, restate };

// A port that nobody is given while a server is not yet, or no longer, there: below the range from which the system takes the ports of
// outgoing connections.
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    const server = createServer();
    const free = await new Promise((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

// Poll until `probe` returns a truthy value; its last error explains a time-out. An error with `final` ends it at once.
export async function eventually(probe, { timeoutMs = 10_000, everyMs = 20 } = {}) {
  const deadline = Date.now() + timeoutMs;
  let last;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
    } catch (error) {
      if (error.final) throw error;
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`gave up after ${timeoutMs} ms`, { cause: last });
    await sleep(everyMs);
  }
}

export class Server {
  static async start({ env = {}, args = [], wrapper } = {}) {
    const server = new this();
    server.wrapper = wrapper;
    server.dir = mkdtempSync(join(tmpdir(), "restate-test-"));
    server.ports = { ingress: await freePort(), admin: await freePort(), fabric: await freePort() };
    server.ingress = `http://127.0.0.1:${server.ports.ingress}`;
    server.admin = `http://127.0.0.1:${server.ports.admin}`;
    server.fabric = `http://127.0.0.1:${server.ports.fabric}`;
    server.env = env;
    server.args = args;
    await server.launch();
    return server;
  }

  get logFile() {
    return join(this.dir, "server.log");
  }
  get log() {
    return readFileSync(this.logFile, "utf8");
  }

  spawn(args = []) {
    const log = openSync(this.logFile, "a");
    const [program, ...rest] = [...(this.wrapper ?? []), binary]; // a wrapper runs what comes behind it
    return spawn(program, [...rest, "--base-dir", join(this.dir, "data"), "--node-name", "node-1", ...this.args, ...args], {
      stdio: ["ignore", log, log],
      env: {
        PATH: process.env.PATH,
        RESTATE_BIND_IP: "127.0.0.1",
        RESTATE_LISTEN_MODE: "tcp",
        RESTATE_BIND_PORT: String(this.ports.fabric),
        RESTATE_INGRESS__BIND_PORT: String(this.ports.ingress),
        RESTATE_ADMIN__BIND_PORT: String(this.ports.admin),
        RESTATE_LOG_FORMAT: "compact", ...(process.env.SERVER_LOG && { RESTATE_LOG_FILTER: process.env.SERVER_LOG }),
        RESTATE_LOG_DISABLE_ANSI_CODES: "true",
        DO_NOT_TRACK: "1",
        ...this.env,
      },
    });
  }

  async launch() {
    this.process = this.spawn();
    const child = this.process;
    this.exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
    let gone = null;
    this.exited.then((how) => (gone = how));
    await eventually(async () => {
      if (gone) throw Object.assign(new Error(`server exited: ${JSON.stringify(gone)}\n${this.log}`), { final: true });
      return (await fetch(`${this.ingress}/restate/health`)).ok;
    });
  }

  async crash() {
    this.process.kill("SIGKILL");
    await this.exited;
  }
  async restart() {
    await this.crash();
    await this.launch();
  }
  async stop() {
    this.process.kill("SIGTERM");
    return this.exited;
  }
  async dispose() {
    if (this.process.exitCode === null && this.process.signalCode === null) await this.crash();
    if (!process.env.KEEP) rmSync(this.dir, { recursive: true, force: true });
  }

  async register(endpoint, body = {}) {
    const response = await fetch(`${this.admin}/deployments`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ uri: endpoint.uri, ...body }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`registration: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  // Rows of a SQL query, or null if this server has no SQL yet (501).
  async sql(query) {
    const r = await this.adminRequest("/query", { body: { query }, headers: { accept: "application/json" } });
    if (r.status === 501) return null;
    if (r.status !== 200) throw new Error(`${query}: ${r.status} ${JSON.stringify(r.body)}`);
    return r.body.rows;
  }

  // One ingress request. Returns {status, headers, body (parsed JSON if possible), id}.
  async request(path, { body, method = "POST", headers = {}, base = this.ingress, timeoutMs = 20_000, raw } = {}) {
    const response = await fetch(base + path, {
      method,
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await response.text();
    let parsed = text;
    try {
      parsed = JSON.parse(text);
    } catch {
      // not JSON: keep the text
    }
    return { status: response.status, headers: response.headers, body: parsed, id: response.headers.get("x-restate-id") };
  }
  // A call that must succeed; returns its result.
  async call(path, body, options = {}) {
    const r = await this.request(path, { body, ...options });
    if (r.status !== 200) throw new Error(`${path}: ${r.status} ${JSON.stringify(r.body)}`);
    return r.body;
  }
  async send(path, body, options = {}) {
    const r = await this.request(`${path}/send${options.delay ? `?delay=${options.delay}` : ""}`, { body, ...options });
    if (r.status !== 202) throw new Error(`${path}: ${r.status} ${JSON.stringify(r.body)}`);
    return r.body;
  }
  get(path, options = {}) {
    return this.request(path, { method: "GET", ...options });
  }
  adminRequest(path, options = {}) {
    return this.request(path, { base: this.admin, ...options });
  }
  // cancel, kill, purge, pause, resume, ...
  operate(operation, id, query = "") {
    return this.adminRequest(`/invocations/${id}/${operation}${query}`, { method: "PATCH" });
  }
}

// Services of one deployment, served by this process on a port of their own. Options: `http1`, `tls` ({key, cert}), `bidirectional`,
// `identityKeys`, `prefix` (a path in front), `host` (another address than loopback), and `onRequest`, which may answer a request itself
// (then it returns true).
export class Endpoint {
  static start(...services) {
    return Endpoint.with({ services });
  }
  static async with(options) {
    const endpoint = new Endpoint();
    endpoint.options = options;
    endpoint.services = options.services;
    endpoint.port = await freePort();
    endpoint.uri = `${options.tls ? "https" : "http"}://${options.tls ? "localhost" : (options.host ?? "127.0.0.1")}:${endpoint.port}${options.prefix ?? ""}`;
    await endpoint.open();
    return endpoint;
  }
  // What the running process serves; `serve` changes it without closing the port, like a new version of the code behind one address.
  serve(...services) {
    this.services = services;
    const { bidirectional, identityKeys } = this.options;
    this.handler = restate.createEndpointHandler({ services, logger: quiet, bidirectional, identityKeys });
  }
  async open() {
    const { http1, tls, onRequest } = this.options;
    this.serve(...this.services);
    const handle = (request, response) => {
      if (!onRequest?.(request, response)) this.handler(request, response);
    };
    const http = await import(http1 ? (tls ? "node:https" : "node:http") : "node:http2");
    this.sessions = new Set();
    this.server = tls && !http1 ? http.createSecureServer(tls, handle) : http.createServer(tls ?? {}, handle);
    for (const kind of ["session", "connection"])
      this.server.on(kind, (session) => {
        this.sessions.add(session);
        session.once("close", () => this.sessions.delete(session));
      });
    await new Promise((resolve) => this.server.listen(this.port, this.options.host ?? "127.0.0.1", resolve));
  }
  // As a process that shuts down: HTTP/2 sessions say goodbye, what runs may end.
  async terminate() {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const session of this.sessions) session.close?.();
    setTimeout(() => this.sessions.forEach((session) => session.destroy()), 100);
    await closed;
  }
  // As if the process died: connections are cut, nothing listens.
  async kill() {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const session of this.sessions) session.destroy();
    await closed;
  }
}

function quiet() {}
