// The replicated metadata store under failures, through the official restatectl: spec/cluster.md §2, §9.3.
import assert from "node:assert/strict";
import { Chain, chainsUnder, pick, restartAny } from "./chain.mjs";
import { eventually, official, scenario, sleep, table } from "./harness.mjs";

scenario("M-1 M-2 M-3 §9.3 metadata chaos: random restarts under a chain of compare-and-swap", { quick: true, timeoutMs: 300_000 }, async (c, t) => {
  await chainsUnder(() => restartAny(c), c, t, { ms: process.env.FULL === "1" ? 40_000 : 12_000, stepMs: official ? 40_000 : 10_000 });
});

scenario("M-5 §9.3 metadata reconfiguration: members removed and added under read-modify-write load", { timeoutMs: 300_000 }, async (c, t) => {
  const chain = new Chain(c, "chain-r").start();
  await chain.progress(2, 20_000);
  const members = async () => table((await c.node(1).ctl("metadata-server", "list-servers")).stdout, "NODE").filter((r) => r.STATUS === "Member").map((r) => Number(r.NODE.slice(1)));
  const until = performance.now() + 20_000;
  let changes = 0;
  while (performance.now() < until) {
    const k = pick([1, 2, 3]);
    const now = await members();
    if (now.includes(k) && now.length < 3) continue;
    const r = await c.node(1).ctl("metadata-server", now.includes(k) ? "remove-node" : "add-node", String(k));
    if (r.code === 0) changes++;
    await chain.progress(1, official ? 40_000 : 10_000);
  }
  for (const k of [1, 2, 3])
    await eventually(async () => {
      if ((await members()).includes(k)) return true;
      await c.node(1).ctl("metadata-server", "add-node", String(k));
      return false;
    }, { timeoutMs: 40_000, everyMs: 500 });
  await chain.finish();
  t.diagnostic(`${changes} reconfigurations, ${chain.done} writes`);
  assert.ok(changes > 2);
});

scenario("M-1: two writers race on one key: exactly one wins each version", { quick: true }, async (c) => {
  for (let round = 1; round <= 6; round++) {
    const tries = await Promise.all(
      c.nodes.map((node) => node.ctl("metadata", "put", "-k", "race", c.file(`race-${node.index}.json`, JSON.stringify({ by: node.index, round })), ...(round > 1 ? ["--version", String(round - 1)] : []))),
    );
    const won = tries.filter((r) => r.code === 0);
    const value = await c.node(1).metadata("race");
    if (round > 1) {
      assert.equal(won.length, 1, JSON.stringify(tries));
      assert.equal(value.version, round);
    } else if (value.version !== 1) {
      // Without --version each try reads first, so in the first round all may succeed one after the other.
      await c.node(1).ctl("metadata", "put", "-k", "race", c.file("race.json", "{}"), "--version", String(value.version));
      return;
    }
  }
});

scenario("A-18 A-30: metadata addresses with unreachable entries", { quick: true, started: false }, async (c) => {
  c.addresses = ["http://127.0.0.1:1/", c.node(1).fabric, "http://127.0.0.1:2"];
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.serve();
});

scenario("A-29: five metadata members, two killed: metadata goes on", { nodes: 5, partitions: 2, timeoutMs: 300_000 }, async (c) => {
  const chain = new Chain(c, "five").start();
  await chain.progress(2, 20_000);
  const leader = await c.metadataLeader();
  await c.node(leader).kill();
  await c.node((leader % 5) + 1).kill();
  await chain.progress(3, official ? 60_000 : 10_000);
  await chain.finish();
});
