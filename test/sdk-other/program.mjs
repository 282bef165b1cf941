// The services program of one language as a process of its own: started on a free port, killed, stopped and started again.
// PROGRAM is the command (set by tools/test-sdk-<language>), LANGUAGE its name.
import { spawn } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually, freePort } from "../sdk/harness.mjs";

export const language = process.env.LANGUAGE;

export class Program {
  // `env` is what distinguishes this process from others: see README.md.
  static async start(env = {}) {
    const program = new Program();
    program.env = { VERSION: "1", ...env };
    program.dir = mkdtempSync(join(tmpdir(), "restate-services-"));
    program.port = await freePort();
    program.uri = `http://127.0.0.1:${program.port}`;
    await program.launch();
    return program;
  }

  get log() {
    return readFileSync(join(this.dir, "services.log"), "utf8");
  }

  async launch() {
    const log = openSync(join(this.dir, "services.log"), "a");
    const [command, ...args] = process.env.PROGRAM.split(" ");
    this.process = spawn(command, args, { stdio: ["ignore", log, log], env: { ...process.env, PORT: String(this.port), ...this.env } });
    this.exited = new Promise((resolve) => this.process.once("exit", (code, signal) => resolve({ code, signal })));
    let gone = null;
    this.exited.then((how) => (gone = how));
    await eventually(
      () => {
        if (gone) throw new Error(`the services program exited: ${JSON.stringify(gone)}\n${this.log}`);
        return listens(this.port);
      },
      { timeoutMs: 20_000, everyMs: 50 },
    );
  }

  async kill(signal = "SIGKILL") {
    this.process.kill(signal);
    const late = setTimeout(() => this.process.kill("SIGKILL"), 3000); // a graceful stop may wait for its streams
    await this.exited;
    clearTimeout(late);
  }

  async dispose() {
    if (this.process.exitCode === null && this.process.signalCode === null) await this.kill();
    if (!process.env.KEEP) rmSync(this.dir, { recursive: true, force: true });
  }
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => socket.destroy(resolve(true)));
    socket.once("error", () => resolve(false));
  });
}
