// Exactly once when the server's disk is full for a while: its data lies on a small tmpfs. Needs the right to mount one.
import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import assert from "node:assert/strict";
import { Server, eventually, sleep } from "../sdk/harness.mjs";
import { Broker } from "./broker.mjs";
import { startServices } from "./services.mjs";

const keys = 4;

function mounted() {
  const dir = mkdtempSync(join(tmpdir(), "kafka-full-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256m", "tmpfs", dir], { stdio: "ignore" });
    return dir;
  } catch {
    rmdirSync(dir);
    return null;
  }
}

// Takes what space there is.
class Filler {
  constructor(dir) {
    this.file = join(dir, "filler");
    this.fd = openSync(this.file, "w");
    this.chunk = Buffer.alloc(1 << 16, 1);
  }
  fill() {
    try {
      for (;;) writeSync(this.fd, this.chunk);
    } catch (error) {
      assert.equal(error.code, "ENOSPC");
    }
  }
  remove() {
    closeSync(this.fd);
    rmSync(this.file);
  }
}

test("a full disk holds the events back, and none is lost or doubled", async (t) => {
  const dir = mounted();
  if (!dir) return t.skip("no tmpfs can be mounted here");
  const before = process.env.TMPDIR;
  process.env.TMPDIR = dir; // where Server.start makes its directory
  const broker = await Broker.start(), services = await startServices(), server = await Server.start();
  try {
    await server.register(services);
    await server.adminRequest("/kafka-clusters", { body: { name: "kc", properties: { "bootstrap.servers": broker.bootstrap, "auto.commit.interval.ms": "300" } } });
    const topic = await broker.topic();
    const created = await server.adminRequest("/subscriptions", { body: { source: `kafka://kc/${topic}`, sink: "service://Sums/add", options: { "auto.offset.reset": "earliest" } } });
    assert.equal(created.status, 201);
    const committed = () => broker.committed(created.body.id, topic);
    const sums = async () => {
      const all = await Promise.all([...Array(keys).keys()].map((k) => server.call(`/Sums/k${k}/get`)));
      return { count: all.reduce((n, s) => n + s.count, 0), sum: all.reduce((n, s) => n + s.sum, 0), ordered: all.every((s) => s.ordered) };
    };
    let total = 0;
    const more = async (n) => (await broker.many(topic, 1, total, n, keys), (total += n));
    await more(100);
    await eventually(async () => (await committed()) === total, { timeoutMs: 60_000 });
    const filler = new Filler(dir);
    // The log has some room of its own: events until it has none.
    for (let i = 0; i < 100 && !/The disk is full: appends are refused/.test(server.log); i++) {
      filler.fill();
      await more(1000);
      await sleep(300);
    }
    assert.match(server.log, /The disk is full: appends are refused/);
    await more(3000);
    await sleep(1500);
    const stopped = await committed();
    assert.ok(stopped < total, `${stopped} of ${total}`); // an offset is committed when its event is in the log
    filler.remove();
    let count = -1;
    for (let last = 0; count < total; await sleep(500)) {
      const now = (await sums()).count;
      if (now > count) [count, last] = [now, Date.now()];
      assert.ok(Date.now() - last < 30_000, `${count} of ${total}, and no more`);
    }
    await sleep(1500); // a repetition would still show
    assert.deepEqual(await sums(), { count: total, sum: (total * (total - 1)) / 2, ordered: true });
  } finally {
    await server.dispose();
    await services.terminate();
    await broker.stop();
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
    execFileSync("umount", ["-l", dir]);
    rmdirSync(dir);
  }
});
