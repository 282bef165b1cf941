// Measures what clients see of failures: sequential idempotent writers on a three-node cluster with default settings, one event on a fresh
// cluster each. Prints a table for docs/operations.md. `tools/failover [--rounds N] [EVENT ...]`; TARGET=official for the official server.
//
// Nine writers enter through the nodes that stay, four through the victim; these give up an attempt after a second and go on at the next
// node, under the same idempotency key. A gap is the time between two answers to one writer. Every counter must equal its successes.
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Cluster, official, sleep } from "./harness.mjs";
import { unavailable } from "./net.mjs";
import { Writers } from "./workload.mjs";

const { values, positionals } = parseArgs({ options: { rounds: { type: "string", default: "1" }, out: { type: "string" } }, allowPositionals: true });

// The metadata leader, and of the other nodes the one that leads most partitions. (The reference's controller is the node with the
// smallest id; there the metadata leader is the same node as long as nothing happened.)
const chief = async (c) => c.node(await c.metadataLeader());
const plain = async (c) => c.busiest({ except: [await c.metadataLeader()] });

const events = {
  kill: { title: "SIGKILL of a node that leads partitions", victim: plain, act: (c, v) => v.kill(), windowMs: 12_000, undo: ["its restart", (c, v) => v.launch(), 12_000] },
  "kill-chief": { title: "SIGKILL of the node that leads partitions, metadata and control", victim: chief, act: (c, v) => v.kill(), windowMs: 20_000 },
  term: { title: "SIGTERM of a node that leads partitions", victim: plain, act: (c, v) => v.process.kill("SIGTERM"), windowMs: 8_000 },
  "term-chief": { title: "SIGTERM of the node that leads partitions, metadata and control", victim: chief, act: (c, v) => v.process.kill("SIGTERM"), windowMs: 8_000 },
  stop: { title: "SIGSTOP of a node that leads partitions", victim: plain, act: (c, v) => v.pause(), windowMs: 20_000, undo: ["its SIGCONT", (c, v) => v.resume(), 12_000] },
  "stop-chief": { title: "SIGSTOP of the node that leads partitions, metadata and control", victim: chief, act: (c, v) => v.pause(), windowMs: 30_000, undo: ["its SIGCONT", (c, v) => v.resume(), 12_000] },
  cut: { title: "network cut of a node that leads partitions", victim: plain, act: (c, v) => c.network.isolate(v.index), windowMs: 25_000, undo: ["heal", (c) => c.network.heal(), 15_000], net: true },
  "cut-chief": { title: "network cut of the node that leads partitions, metadata and control", victim: chief, act: (c, v) => c.network.isolate(v.index), windowMs: 30_000, undo: ["heal", (c) => c.network.heal(), 15_000], net: true },
  quorum: { title: "two of three killed at once", victim: plain, quorum: true, windowMs: 10_000 },
};

async function measure(name) {
  const event = events[name];
  const c = await new Cluster({ recipe: "guide", net: Boolean(event.net), env: { RESTATE_LOG_FILTER: process.env.LOG_FILTER ?? "info" } }).prepare();
  const rows = [];
  try {
    for (const node of c.nodes) node.launch();
    await c.ready();
    await c.serve();
    await sleep(official ? 8000 : 2000); // what a new cluster still improves
    const victim = await event.victim(c);
    const led = victim ? Object.values(await c.leaders()).filter((k) => k === victim.index).length : 0;
    if (led === 0) return null; // as good as no event: another cluster
    const others = c.nodes.filter((n) => n !== victim);
    const staying = new Writers(c, { count: 9, attemptTimeoutMs: 60_000, prefix: "s", through: others }).start();
    const leaving = new Writers(c, { count: 4, attemptTimeoutMs: 1000, prefix: "v", through: [victim, ...others] }).start();
    await staying.progress(5);
    await leaving.progress(5);
    await sleep(1000);
    const row = (title, from) => {
      const errors = staying.errors(from);
      const line = { event: title, led, staying: Math.round(staying.gap(from)), leaving: Math.round(leaving.gap(from)), errors };
      rows.push(line);
      return line;
    };
    if (event.quorum) {
      const from = performance.now();
      await Promise.all([victim.kill(), others[1].kill()]);
      await sleep(event.windowMs);
      const back = performance.now();
      victim.launch();
      staying.through = leaving.through = [others[0], victim];
      await staying.progress(2, { timeoutMs: 90_000 });
      await leaving.progress(2, { timeoutMs: 90_000 });
      // From the start of the returning process to the first answer that each writer got.
      const waits = [...staying.writers, ...leaving.writers].map((w) => w.stamps.find((s) => s > back) - back);
      rows.push({ event: `${event.title}: one returns, first answer`, staying: Math.round(Math.min(...waits)), leaving: null, errors: {} });
      rows.push({ event: `${event.title}: one returns, every writer answered`, staying: Math.round(Math.max(...waits)), leaving: null, errors: staying.errors(from) });
    } else {
      let from = performance.now();
      await event.act(c, victim);
      await sleep(event.windowMs);
      row(event.title, from);
      if (event.undo) {
        from = performance.now();
        await event.undo[1](c, victim);
        await sleep(event.undo[2]);
        row(`${event.title}: ${event.undo[0]}`, from);
      }
    }
    await staying.finish({ from: others[0] });
    await leaving.finish({ from: others[0] });
    return rows;
  } catch (error) {
    console.error(`${name}: ${error.stack}\n${process.env.VERBOSE ? c.report() : ""}`);
    rows.push({ event: `${event.title}: FAILED: ${error.message.split("\n")[0]}`, staying: null, leaving: null, errors: {} });
    return rows;
  } finally {
    await c.dispose();
  }
}

const wanted = positionals.length ? positionals : Object.keys(events);
const results = new Map();
const no = unavailable();
for (let round = 0; round < Number(values.rounds); round++)
  for (const name of wanted) {
    if (!events[name]) throw new Error(`unknown event ${name}; known: ${Object.keys(events).join(" ")}`);
    if (events[name].net && no) {
      console.error(`${name}: left out: ${no}`);
      continue;
    }
    let rows = null;
    for (let attempt = 0; attempt < 5 && !rows; attempt++) rows = await measure(name);
    for (const row of rows ?? [{ event: `${events[name].title}: no cluster had such a leader`, staying: null, leaving: null, errors: {} }]) {
      console.error(JSON.stringify({ round, ...row }));
      results.set(row.event, [...(results.get(row.event) ?? []), row]);
    }
  }

const seconds = (rows, field) => {
  const all = rows.map((r) => r[field]).filter((v) => v !== null).sort((a, b) => a - b);
  if (!all.length) return "";
  const text = (v) => (v / 1000).toFixed(2);
  return text(all[0]) === text(all.at(-1)) ? text(all[0]) : `${text(all[0])} to ${text(all.at(-1))}`;
};
console.log(`${official ? "Official server 1.7.12" : "This server"}, ${new Date().toISOString().slice(0, 10)}, ${values.rounds} round(s); longest gap of a client in seconds\n`);
console.log("| event | through the nodes that stay | through the victim, 1 s per attempt | failed attempts at the nodes that stay |");
console.log("| --- | --- | --- | --- |");
for (const [event, rows] of results) {
  const errors = {};
  for (const r of rows) for (const [kind, n] of Object.entries(r.errors)) errors[kind] = (errors[kind] ?? 0) + n;
  const text = Object.entries(errors).map(([kind, n]) => `${n} ${kind.slice(0, 60)}`).join(", ") || "0";
  console.log(`| ${event} | ${seconds(rows, "staying")} | ${seconds(rows, "leaving")} | ${text} |`);
}
mkdirSync("build/cluster", { recursive: true });
writeFileSync(values.out ?? `build/cluster/failover-${official ? "official" : "ours"}.json`, JSON.stringify({ time: new Date().toISOString(), rounds: Number(values.rounds), rows: [...results.values()].flat() }, null, 1));
