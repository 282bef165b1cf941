// The S3 server of fake_s3.py as a child of a test: objects are files below `dir`/bucket (names percent-encoded), so that a test can
// look at them and damage them, and they survive `stop` and `start`.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";

const script = join(dirname(fileURLToPath(import.meta.url)), "fake_s3.py");

export class FakeS3 {
  static async start(...args) {
    const s3 = new FakeS3();
    s3.dir = mkdtempSync(join(tmpdir(), "restate-s3-"));
    s3.args = args;
    s3.port = 0;
    await s3.start();
    return s3;
  }
  async start() {
    this.process = spawn("python3", [script, "--port", String(this.port), "--dir", this.dir, ...this.args], { stdio: ["pipe", "pipe", "inherit"] });
    this.exited = new Promise((resolve) => this.process.once("exit", resolve));
    for await (const line of createInterface({ input: this.process.stdout })) {
      this.port = Number(line.split(" ").at(-1)); // the same one after a restart
      break;
    }
    this.uri = `http://127.0.0.1:${this.port}`;
  }
  async stop() {
    this.process.stdin.end();
    await this.exited;
  }
  async dispose() {
    if (this.process.exitCode === null) await this.stop();
    if (!process.env.KEEP) rmSync(this.dir, { recursive: true, force: true });
  }
  // Environment of a server whose snapshots go here.
  env(prefix = "prefix") {
    return {
      RESTATE_WORKER__SNAPSHOTS__DESTINATION: `s3://bucket/${prefix}`,
      RESTATE_WORKER__SNAPSHOTS__AWS_ENDPOINT_URL: this.uri,
      RESTATE_WORKER__SNAPSHOTS__AWS_ALLOW_HTTP: "true",
      RESTATE_WORKER__SNAPSHOTS__AWS_REGION: "us-east-1",
      RESTATE_WORKER__SNAPSHOTS__AWS_ACCESS_KEY_ID: "test-key",
      RESTATE_WORKER__SNAPSHOTS__AWS_SECRET_ACCESS_KEY: "test/secret+",
    };
  }
  keys(prefix = "") {
    return readdirSync(join(this.dir, "bucket"))
      .map(decodeURIComponent)
      .filter((key) => key.startsWith(prefix))
      .sort();
  }
  file(key) {
    return join(this.dir, "bucket", encodeURIComponent(key));
  }
  json(key) {
    return JSON.parse(readFileSync(this.file(key), "utf8"));
  }
  // While it is stopped: it keeps objects in memory.
  damage(key) {
    const content = readFileSync(this.file(key));
    content[content.length >> 1] ^= 0x40;
    writeFileSync(this.file(key), content);
  }
  remove(key) {
    unlinkSync(this.file(key));
  }
  async log() {
    return (await fetch(`${this.uri}/_log`)).json();
  }
}
