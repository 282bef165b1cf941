// Chains of compare-and-swap on keys of the metadata store, through restatectl, whose every step can be judged.
import assert from "node:assert/strict";
import { eventually, sleep } from "./harness.mjs";

export const pick = (list) => list[Math.floor(Math.random() * list.length)];

// One writer's chain of compare-and-swap: after an answer in doubt the value is read back; it must be the last known or the last tried.
export class Chain {
  constructor(c, key) {
    Object.assign(this, { c, key, known: null, tried: null, done: 0, doubts: 0, stopped: false });
  }
  // The store's value, or undefined if it cannot be had now.
  async read(node) {
    const r = await node.ctl("metadata", "get", "-k", this.key);
    if (r.code !== 0) return undefined;
    const text = r.stdout.trim();
    return text === "null" || text === "" ? null : JSON.parse(text);
  }
  start() {
    this.running = this.run();
    this.running.catch(() => {});
    return this;
  }
  async run() {
    while (!this.stopped) {
      const node = pick(this.c.running);
      if (!node) {
        await sleep(100);
        continue;
      }
      this.tried = { n: (this.known?.n ?? 0) + 1 };
      const file = this.c.file(`${this.key}.json`, JSON.stringify(this.tried));
      const version = this.known ? ["--version", String(this.known.version)] : [];
      const r = await node.ctl("metadata", "put", "-k", this.key, file, ...version);
      if (r.code === 0) {
        this.known = JSON.parse(r.stdout);
        this.done++;
        continue;
      }
      this.doubts++;
      const value = await eventually(async () => {
        if (this.stopped === "now") return { stopped: true };
        const v = await this.read(pick(this.c.running) ?? node);
        return v === undefined ? null : { v };
      }, { timeoutMs: 60_000, everyMs: 100 });
      if (value.stopped) return;
      const n = value.v?.n ?? 0;
      if (n !== (this.known?.n ?? 0) && n !== this.tried.n) throw new Error(`${this.key}: read ${JSON.stringify(value.v)}, known ${JSON.stringify(this.known)}, tried ${JSON.stringify(this.tried)}`);
      this.known = value.v;
    }
  }
  async progress(n, timeoutMs) {
    const wanted = this.done + n;
    const deadline = Date.now() + timeoutMs;
    while (this.done < wanted) {
      if (Date.now() > deadline) throw new Error(`${this.key}: no progress within ${timeoutMs} ms (${this.done} writes so far)`);
      await Promise.race([sleep(20), this.running]);
    }
  }
  async finish() {
    this.stopped = true;
    await this.running;
    const value = await eventually(async () => (await this.read(pick(this.c.running))) ?? null, { timeoutMs: 20_000 });
    assert.equal(value.n, this.known.n);
    assert.ok(this.done > 3);
  }
}

// One node, any, is killed or stopped, and comes back.
export async function restartAny(c) {
  const victim = pick(c.nodes);
  await (Math.random() < 0.5 ? victim.kill() : victim.terminate());
  victim.launch();
  await victim.alive();
}

// Two chains that must go on while `disturb` happens again and again for `ms`. It is given the wait for the next step of both.
export async function chainsUnder(disturb, c, t, { ms, stepMs = 20_000 }) {
  const chains = ["chain-a", "chain-b"].map((key) => new Chain(c, key).start());
  const progress = async () => {
    for (const chain of chains) await chain.progress(1, stepMs);
  };
  for (const chain of chains) await chain.progress(2, 20_000);
  const until = performance.now() + ms;
  let times = 0;
  for (; performance.now() < until; times++) {
    await disturb(progress);
    await progress();
  }
  for (const chain of chains) await chain.finish();
  t.diagnostic(`${times} restarts, ${chains.map((x) => `${x.done} writes, ${x.doubts} in doubt`).join("; ")}`);
}
