// Subscriptions on a cluster of three: every node reads its share; nodes die, are stopped and come back, leaders move, and every event has
// its effect once. Brokers are librdkafka's mock cluster unless KAFKA names real ones.
import { test } from "node:test";
import assert from "node:assert/strict";
import { Cluster, eventually, sleep } from "../cluster/harness.mjs";
import { Broker, real } from "./broker.mjs";
import { services } from "./services.mjs";

const keys = 12;
const sumTo = (n) => (n * (n - 1)) / 2;

// Asks any node that answers.
async function anywhere(cluster, path, options) {
  let last;
  for (const node of cluster.running) {
    try {
      const r = await fetch(node.ingress + path, { method: "POST", signal: AbortSignal.timeout(5000), ...options });
      if (r.ok) return await r.json();
      last = new Error(`${node.name}: ${r.status} ${await r.text()}`);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}
async function sums(cluster, prefix) {
  const all = await Promise.all(Array.from({ length: keys }, (_, k) => anywhere(cluster, `/Sums/${prefix}${k}/get`)));
  return { count: all.reduce((n, s) => n + s.count, 0), sum: all.reduce((n, s) => n + s.sum, 0), ordered: all.every((s) => s.ordered) };
}
async function post(node, path, body) {
  const r = await fetch(node.admin + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (r.status !== 201) throw new Error(`${path}: ${r.status} ${await r.text()}`);
  return r.json();
}
// Topic partitions that were given out, by node.
const given = (cluster) => cluster.nodes.map((n) => n.tail(100_000).split("\n").filter((l) => /Topic partitions assigned/.test(l)).length);

test("exactly once while nodes of a cluster die, stop and come back", { timeout: 280_000 }, async () => {
  const broker = await Broker.start(1);
  const cluster = await new Cluster({ partitions: 6 }).prepare();
  try {
    for (const node of cluster.nodes) node.launch();
    await cluster.ready();
    await cluster.serve(services, { probe: "/Sums/probe/add" });
    await post(cluster.node(1), "/kafka-clusters", {
      name: "kc",
      properties: { "bootstrap.servers": broker.bootstrap, "auto.commit.interval.ms": "500", "session.timeout.ms": real ? "6000" : "4000", "heartbeat.interval.ms": "500" },
    });
    const topic = await broker.topic(6);
    await post(cluster.node(2), "/subscriptions", { source: `kafka://kc/${topic}`, sink: "service://Sums/add", options: { "auto.offset.reset": "earliest" } });
    const total = Number(process.env.EVENTS ?? 6000);
    const producing = (async () => {
      for (let i = 0; i < total; i += 60) {
        await broker.many(topic, 6, i, 60, keys);
        await sleep(300);
      }
    })();
    await eventually(async () => (await sums(cluster, "k")).count > 0, { timeoutMs: 30_000 });
    const first = await eventually(() => cluster.busiest());
    await first.kill();
    await sleep(6000);
    first.launch();
    await first.alive();
    const second = cluster.nodes.find((n) => n !== first);
    await second.terminate();
    await sleep(4000);
    second.launch();
    await second.alive();
    const third = await eventually(() => cluster.busiest()); // null until the node that is back has heard of leaders
    third.pause();
    await sleep(7000);
    third.resume();
    await producing;
    await eventually(
      async () => {
        const s = await sums(cluster, "k");
        if (s.count < total) throw new Error(`${s.count} of ${total}`);
        return true;
      },
      { timeoutMs: 90_000, everyMs: 500 },
    );
    await sleep(2000); // a repetition would still show
    assert.deepEqual(await sums(cluster, "k"), { count: total, sum: sumTo(total), ordered: true });
    assert.ok(given(cluster).filter((n) => n > 0).length >= 2, `nodes that read: ${given(cluster)}`);
  } catch (error) {
    console.error(cluster.report());
    throw error;
  } finally {
    await cluster.dispose();
    await broker.stop();
  }
});
