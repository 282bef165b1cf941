// Load on a cluster whose outcome can be judged: sequential writers with idempotency keys, whose counters must equal their successes after
// every single answer, and clients without keys whose histories go to the checkers of linear.mjs.
import { send, sleep } from "./harness.mjs";

// `count` writers, each on a counter of its own: one request after another, each repeated under the same idempotency key, at the next
// node, until it succeeds. `through` are the nodes that a writer uses (all by default).
export class Writers {
  constructor(cluster, { count = 12, attemptTimeoutMs = 5000, pauseMs = 5, prefix = "w", through } = {}) {
    this.cluster = cluster;
    this.attemptTimeoutMs = attemptTimeoutMs;
    this.pauseMs = pauseMs;
    this.through = through;
    this.stopped = false;
    cluster.extras.push({ stop: () => (this.stopped = "now") });
    this.writers = [];
    for (let i = 0; i < count; i++) this.writers.push({ key: `${prefix}${i}`, at: i, done: 0, stamps: [], errors: [] });
  }
  start() {
    this.running = Promise.all(this.writers.map((w) => this.run(w)));
    this.running.catch(() => {});
    return this;
  }
  async run(w) {
    for (;;) {
      const id = `${w.key}-${w.done}`;
      for (;;) {
        if (this.stopped === "now") return;
        const nodes = this.through ?? this.cluster.nodes;
        const node = nodes[w.at % nodes.length];
        try {
          const r = await send(`${node.ingress}/Counter/${w.key}/add`, {
            body: 1,
            headers: { "idempotency-key": id },
            timeoutMs: this.attemptTimeoutMs,
          });
          if (r.status === 200) {
            if (r.body !== w.done + 1) throw Object.assign(new Error(`${id} through ${node.name}: counter says ${r.body}, successes are ${w.done + 1}`), { wrong: true });
            break;
          }
          w.errors.push({ at: performance.now(), what: `${r.status} ${r.text}`, node: node.index });
        } catch (error) {
          if (error.wrong) throw error;
          w.errors.push({ at: performance.now(), what: error.code ?? error.message, node: node.index });
        }
        w.at++;
        await sleep(20);
      }
      w.done++;
      w.stamps.push(performance.now());
      if (this.stopped) return;
      await sleep(this.pauseMs);
    }
  }
  // Every writer completes this many more requests.
  async progress(n = 1, { timeoutMs = 30_000 } = {}) {
    const wanted = this.writers.map((w) => w.done + n);
    const deadline = performance.now() + timeoutMs;
    while (this.writers.some((w, i) => w.done < wanted[i])) {
      if (performance.now() > deadline) {
        const stuck = this.writers.filter((w, i) => w.done < wanted[i]);
        const last = stuck.map((w) => `${w.key}: ${w.errors.at(-1)?.what ?? "no answer"}`);
        throw new Error(`${stuck.length} of ${this.writers.length} writers made no progress within ${timeoutMs} ms (${last.join("; ")})`);
      }
      await Promise.race([sleep(10), this.running]);
    }
  }
  // Lets the current request of every writer finish, then compares every counter with the successes.
  async finish({ timeoutMs = 60_000, from } = {}) {
    this.stopped = true;
    const late = Symbol("late");
    if ((await Promise.race([this.running, sleep(timeoutMs, late, { ref: false })])) === late) {
      this.stopped = "now";
      throw new Error(`writers did not finish within ${timeoutMs} ms`);
    }
    const node = from ?? this.cluster.running[0];
    for (const w of this.writers) {
      const r = await send(`${node.ingress}/Counter/${w.key}/get`, { timeoutMs: 30_000 });
      if (r.status !== 200 || r.body !== w.done) throw new Error(`counter ${w.key}: ${r.status} ${r.text}, successes are ${w.done}`);
    }
    return this;
  }
  get total() {
    return this.writers.reduce((sum, w) => sum + w.done, 0);
  }
  // The longest time between two answers of one writer that overlaps [from, to], in ms. An unanswered wait counts until `to`.
  gap(from, to = performance.now()) {
    let longest = 0;
    for (const w of this.writers) {
      const stamps = [...w.stamps.filter((s) => s < to), to];
      let last = stamps[0];
      for (const s of stamps.slice(1)) {
        if (s > from && s - last > longest) longest = s - last;
        last = s;
      }
    }
    return longest;
  }
  // Failed attempts since then (time-outs, refused connections and bad statuses), by kind.
  errors(from = 0) {
    const kinds = {};
    for (const w of this.writers) for (const e of w.errors) if (e.at >= from) kinds[e.what] = (kinds[e.what] ?? 0) + 1;
    return kinds;
  }
}

// Clients of the official fault suite (§9.1): no idempotency keys, each bound to one node, request time-out 5 s. `next(client, turn)`
// gives the operation {f, key, value, path, body}. Histories have ok (executed), fail (certainly not) and info (unknown).
export class Clients {
  constructor(cluster, next, { perNode = 2, timeoutMs = 5000, pauseMs = 20 } = {}) {
    Object.assign(this, { cluster, next, timeoutMs, pauseMs });
    this.history = [];
    this.stopped = false;
    this.clients = [];
    for (const node of cluster.nodes) for (let i = 0; i < perNode; i++) this.clients.push({ node, process: this.clients.length });
  }
  start() {
    this.running = Promise.all(this.clients.map((c) => this.run(c)));
    this.running.catch(() => {});
    return this;
  }
  async run(client) {
    for (let turn = 0; !this.stopped; turn++) {
      const op = { ...this.next(client.process, turn), process: client.process, node: client.node.index, invoked: performance.now() };
      try {
        const r = await send(client.node.ingress + op.path, { body: op.body, timeoutMs: this.timeoutMs });
        op.status = r.status;
        if (r.status === 200) {
          op.type = "ok";
          if (op.f === "get") op.value = r.body;
        } else op.type = r.status === 404 || r.status === 412 ? "fail" : "info";
      } catch (error) {
        op.type = error.unsent && error.code !== "TIMEOUT" ? "fail" : "info";
        op.status = error.code;
      }
      op.completed = performance.now();
      this.history.push(op);
      // A process whose operation is in doubt takes a new identity, as in Jepsen.
      if (op.type !== "ok") await sleep(100);
      await sleep(this.pauseMs);
    }
  }
  async finish() {
    this.stopped = true;
    await this.running;
    return this.history;
  }
  // For each node: of its last five operations none timed out or was answered 500.
  badTails() {
    const bad = [];
    for (const node of this.cluster.nodes) {
      const last = this.history.filter((op) => op.node === node.index).sort((a, b) => a.invoked - b.invoked).slice(-5);
      const errors = last.filter((op) => op.status === "TIMEOUT" || op.status === 500);
      if (last.length < 5 || errors.length) bad.push(`${node.name}: ${last.map((op) => op.status).join(" ")}`);
    }
    return bad;
  }
}
