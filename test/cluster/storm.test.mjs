// What no cable and no signal does: clocks that jump, messages that come late, twice and over other connections, crashes between two storage
// operations, several operators at once, processes that restart at once (spec/cluster.md §9.4). The simulator does the same to every
// message and every write; here it happens to real processes.
import assert from "node:assert/strict";
import { eventually, scenario, send, sleep } from "./harness.mjs";
import { Clock, crashAt } from "./inject.mjs";
import { Relay } from "./relay.mjs";
import { Writers } from "./workload.mjs";

const random = (from, to) => from + Math.floor(Math.random() * (to - from));
const pick = (list) => list[random(0, list.length)];
const minutes = 60_000;

scenario("S-14: clocks of nodes differ by minutes and jump by hours under load: nothing lost, nobody replaced, sleeps end", { started: false, timeoutMs: 240_000 }, async (c, t) => {
  const clocks = c.nodes.map((node) => new Clock(node));
  // Apart from the start on.
  clocks[1].set(2 * minutes);
  clocks[2].set(-2 * minutes);
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.spread();
  await c.serve();
  const writers = new Writers(c, { attemptTimeoutMs: 5000 }).start();
  await writers.progress(3);
  const epochs = async () => (await c.node(1).partitions()).filter((r) => r.MODE === "Leader").map((r) => `${r.ID} ${r.NODE} ${r.EPOCH}`).sort().join(", ");
  // The leaders of a young cluster spread over its nodes first.
  let before = await epochs();
  for (let quiet = 0; quiet < 5; ) {
    await sleep(1000);
    const now = await epochs();
    quiet = now === before ? quiet + 1 : 0;
    before = now;
  }
  for (const jump of [5000, -5000, 60 * minutes, -60 * minutes, 24 * 60 * minutes, 0]) {
    const i = random(0, 3);
    const from = performance.now();
    clocks[i].set(jump);
    // A sleep of two seconds ends, early or late by the jump at most: what waits for a clock that went back is asked for when it is right again.
    await sleep(1500);
    await writers.progress(3, { timeoutMs: 10_000 });
    t.diagnostic(`clock of node ${i + 1} at ${jump / 1000} s: longest gap ${(writers.gap(from) / 1000).toFixed(2)} s`);
    assert.ok(writers.gap(from) < 3000, `a jump of ${jump} ms stopped a writer for ${Math.round(writers.gap(from))} ms`);
  }
  for (const clock of clocks) clock.set(0);
  assert.equal(await epochs(), before, "no leader was replaced for its clock");
  for (let i = 0; i < 12; i++) assert.equal((await send(`${pick(c.nodes).ingress}/Greeter/later/send`, { body: { ms: 2000, key: `slept-${i}` } })).status, 202);
  for (const clock of clocks) clock.set(random(-1000, 1000));
  for (let i = 0; i < 12; i++) await eventually(async () => (await send(`${c.node(1).ingress}/Counter/slept-${i}/get`)).body === 1, { timeoutMs: 15_000 });
  await writers.finish();
});

scenario("S-21: messages between nodes held back for seconds, repeated and cut off over relays: no effect", { started: false, timeoutMs: 300_000 }, async (c, t) => {
  const relays = [];
  for (const node of c.nodes) {
    const relay = await Relay.start(node.ports.fabric);
    relays.push(relay);
    c.extras.push(relay);
    node.env = { RESTATE_ADVERTISED_ADDRESS: relay.address };
  }
  c.addresses = relays.map((r) => r.address);
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.spread();
  await c.serve();
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(5);
  const end = performance.now() + 60_000;
  while (performance.now() < end) {
    const relay = pick(relays);
    const dice = Math.random();
    if (dice < 0.35) relay.hold(random(200, 20_000));
    else if (dice < 0.6) relay.reset();
    else relay.repeat();
    await sleep(random(100, 500));
  }
  t.diagnostic(`held, late, repeated, reset: ${JSON.stringify(relays.map((r) => r.counts))}`);
  t.diagnostic(`${writers.total} requests, failed attempts ${JSON.stringify(writers.errors())}`);
  assert.ok(relays.reduce((n, r) => n + r.counts.late, 0) > 0, "something was delivered after its sender had given it up");
  await writers.progress(3, { timeoutMs: 40_000 });
  await c.ready();
  await writers.finish();
});

scenario("S-22: nodes die in place of a storage operation, at their start and under load, forty times: everything acknowledged is there", { serve: true, timeoutMs: 420_000 }, async (c, t) => {
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(5);
  let died = 0;
  for (let i = 0; i < 40; i++) {
    const node = c.nodes[i % 3];
    await node.kill();
    // Every third dies while it opens what it has; the others later, under load.
    crashAt(node, i % 3 === 0 ? 1 + i : random(1, 1500));
    node.launch();
    const how = await Promise.race([node.exited, sleep(6000)]);
    if (how) {
      assert.equal(how.signal, "SIGKILL", node.tail());
      died++;
    } else {
      await node.kill();
    }
    crashAt(node, 0);
    node.launch();
    await node.alive();
    await writers.progress(1, { timeoutMs: 40_000 });
  }
  t.diagnostic(`${died} of 40 processes reached their operation`);
  assert.ok(died >= 15, `only ${died} processes died in place of an operation`);
  await c.ready();
  await writers.finish();
});

scenario("S-23 L-7 TR-1: seals and reconfigurations of the same logs from every node at once, leaders killed meanwhile: one chain, nothing lost", { serve: true, timeoutMs: 300_000 }, async (c, t) => {
  const writers = new Writers(c, { attemptTimeoutMs: 10_000 }).start();
  await writers.progress(5);
  const logs = [...Array(c.partitions).keys()].map(String);
  const outcome = { done: 0, lost: 0 };
  for (let round = 0; round < 12; round++) {
    const raced = c.nodes.flatMap((node) => logs.map((log) => (Math.random() < 0.5 ? node.ctl("logs", "seal", log) : node.ctl("logs", "reconfigure", "--log-id", log))));
    if (round % 4 === 3) {
      const victim = (await c.busiest()) ?? c.node(1);
      await victim.kill();
      victim.launch();
    }
    for (const r of await Promise.all(raced)) outcome[/✅/.test(r.stdout) ? "done" : "lost"]++;
    await writers.progress(1, { timeoutMs: 40_000 });
  }
  await c.ready();
  t.diagnostic(`${outcome.done} changes done, ${outcome.lost} lost the race or their node`);
  // One chain each, whose segments follow one another and never share an index or a loglet, and every node tells the same one.
  const config = JSON.parse((await c.node(1).ctl("metadata", "get", "-k", "bifrost_config")).stdout);
  for (const [log, { chain }] of config.logs) {
    const real = chain.filter(([, s]) => s.kind === "replicated").map(([, s]) => s);
    assert.ok(chain.length > 1 && real.length > 0, JSON.stringify(chain));
    for (let i = 1; i < chain.length; i++) assert.ok(chain[i][0] >= chain[i - 1][0], `log ${log}: ${JSON.stringify(chain)}`);
    assert.equal(new Set(real.map((s) => s.index)).size, real.length, `log ${log}: an index twice`);
    assert.equal(new Set(real.map((s) => JSON.parse(s.params).loglet_id)).size, real.length, `log ${log}: a loglet twice`);
  }
  const told = async (node) => (await node.ctl("logs", "list")).stdout;
  await eventually(async () => new Set(await Promise.all(c.nodes.map(told))).size === 1, { timeoutMs: 20_000, everyMs: 300 });
  await writers.finish();
});

scenario("S-24 L-10: fresh objects from the first increment on while leaders' processes restart at once, twelve times", { serve: true, timeoutMs: 300_000 }, async (c, t) => {
  // Every writer compares every answer with its own successes, the first one too, on objects that no other writer of any case uses.
  const tag = `s24-${Date.now()}`;
  let total = 0;
  for (let i = 0; i < 12; i++) {
    const writers = new Writers(c, { attemptTimeoutMs: 10_000, prefix: `${tag}-${i}-` }).start();
    await sleep(random(0, 60));
    const victim = (await c.busiest()) ?? c.node(1);
    await victim.kill();
    victim.launch();
    await writers.progress(2, { timeoutMs: 40_000 });
    await victim.alive();
    await writers.finish();
    total += writers.total;
  }
  t.diagnostic(`${total} increments on ${12 * 12} fresh objects`);
  await c.ready();
});
