// Subscriptions on real processes: what events become (spec/ingress.md §12.4), bad records, pausing, clusters that change, and exactly
// once under SIGKILL. Brokers are librdkafka's mock cluster unless KAFKA names real ones.
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { Server, eventually, sleep } from "../sdk/harness.mjs";
import { Broker, real } from "./broker.mjs";
import { startServices } from "./services.mjs";
import { Collector, attributes } from "../sdk/collector.mjs";

const early = { "auto.offset.reset": "earliest" };

// How long a coordinator waits for a member that died.
const session = { "session.timeout.ms": real ? "6000" : "4000", "heartbeat.interval.ms": "300", ...(process.env.KDEBUG && { debug: process.env.KDEBUG }) };
async function createCluster(server, bootstrap, name = "kc", properties = session) {
  const r = await server.adminRequest("/kafka-clusters", { body: { name, properties: { "bootstrap.servers": bootstrap, ...properties } } });
  assert.equal(r.status, 201, JSON.stringify(r.body));
}
async function subscribe(server, topic, sink, more = {}) {
  const { options, ...rest } = more;
  const r = await server.adminRequest("/subscriptions", {
    body: { source: `kafka://kc/${topic}`, sink: `service://${sink}`, options: { ...early, ...options }, ...rest },
  });
  assert.equal(r.status, 201, JSON.stringify(r.body));
  return r.body;
}
const noted = (server, key) => server.call(`/Remember/${key}/all`);
const sumOf = async (server, keys, prefix = "k") => {
  let count = 0, sum = 0, ordered = true;
  for (let k = 0; k < keys; k++) {
    const s = await server.call(`/Sums/${prefix}${k}/get`);
    count += s.count;
    sum += s.sum;
    ordered &&= s.ordered;
  }
  return { count, sum, ordered };
};
// How many there are must grow until all are there; a busy machine may take its time.
async function reached(total, count, idleMs = 30_000) {
  let n = -1;
  for (let last = 0; n < total; await sleep(300)) {
    const now = await count();
    if (now > n) [n, last] = [now, Date.now()];
    else if (Date.now() - last > idleMs) assert.fail(`${n} of ${total}, and no more for ${idleMs} ms`);
  }
}
const sumTo = (n) => (n * (n - 1)) / 2;
const metric = async (server, pattern) => {
  const text = await (await fetch(`${server.fabric}/metrics`)).text();
  return Number(text.split("\n").find((l) => pattern.test(l))?.split(" ").at(-1));
};

describe("events become invocations", () => {
  let broker, services, server;
  before(async () => {
    broker = await Broker.start();
    services = await startServices();
    server = await Server.start();
    await server.register(services);
    await createCluster(server, broker.bootstrap);
  });
  after(async () => {
    await server?.dispose();
    await services?.terminate();
    await broker?.stop();
  });

  test("KafkaTest.callServiceHandler: headers, key, raw value, source", async () => {
    const topic = await broker.topic();
    await broker.produce(topic, "k\x3f\x7e", "not json");
    await broker.produce(topic, null, null);
    const s = await subscribe(server, topic, "Sink/take");
    const got = await eventually(async () => {
      const all = await noted(server, "service");
      return all.length === 2 && all;
    });
    const [first, second] = got.sort((a, b) => a.headers["kafka.offset"] - b.headers["kafka.offset"]);
    assert.equal(first.value, "not json");
    assert.match(first.headers["kafka.timestamp"], /^\d{13}$/);
    delete first.headers["kafka.timestamp"];
    assert.deepEqual(first.headers, {
      "kafka.offset": "0", "kafka.topic": topic, "kafka.partition": "0", "restate.subscription.id": s.id,
      "kafka.key": Buffer.from("k\x3f\x7e").toString("base64").replaceAll("+", "-").replaceAll("/", "_"),
    });
    assert.equal(second.value, "");
    assert.equal("kafka.key" in second.headers, false);
    const rows = await server.sql("select invoked_by, invoked_by_subscription_id, target from sys_invocation where target = 'Sink/take'");
    assert.equal(rows.length, 2);
    for (const row of rows) assert.deepEqual(row, { invoked_by: "subscription", invoked_by_subscription_id: s.id, target: "Sink/take" });
  });

  test("KafkaTest.callObjectHandler: per key, in order", async () => {
    const topic = await broker.topic(3);
    await broker.many(topic, 3, 0, 3000, 12);
    await subscribe(server, topic, "Sums/add");
    await reached(3000, async () => (await sumOf(server, 12)).count);
    assert.deepEqual(await sumOf(server, 12), { count: 3000, sum: sumTo(3000), ordered: true });
  });

  test("an event without a key goes to the object with the empty key; shared handlers; private services", async () => {
    const [a, b, c] = [await broker.topic(), await broker.topic(), await broker.topic()];
    await broker.produce(a, null, "nobody");
    await broker.produce(b, "sh", "shared");
    await broker.produce(c, "x", '"secret"');
    await subscribe(server, a, "Box/put");
    await subscribe(server, b, "Box/see");
    await subscribe(server, c, "Hidden/take");
    const boxed = await eventually(async () => (await noted(server, "box"))[0]);
    assert.equal(boxed.key, "");
    assert.equal(boxed.value, "nobody");
    assert.deepEqual(await eventually(async () => (await noted(server, "box-shared"))[0]), { key: "sh", value: "shared" });
    assert.equal(await eventually(async () => (await noted(server, "hidden"))[0]), "secret");
  });

  test("KafkaTest.callWorkflowHandler, callSharedWorkflowHandler: a second run of one key is ignored", async () => {
    const [runs, finishes] = [await broker.topic(), await broker.topic()];
    await broker.produce(runs, "w1", '"first"');
    await broker.produce(runs, "w1", '"second"');
    await broker.produce(runs, "w2", '"third"');
    await subscribe(server, runs, "Flow/run");
    await eventually(async () => (await noted(server, "flow")).length === 2);
    await subscribe(server, finishes, "Flow/finish");
    await broker.produce(finishes, "w1", '"well"');
    const attached = await server.request("/restate/workflow/Flow/w1/attach", { method: "GET" });
    assert.equal(attached.body, "well");
    assert.deepEqual((await noted(server, "flow")).sort((a, b) => (a.key < b.key ? -1 : 1)), [
      { key: "w1", value: "first" }, { key: "w2", value: "third" },
    ]);
  });

  test("a bad record blocks its topic partition only, until it is skipped", async () => {
    const topic = await broker.topic(2);
    await broker.produce(topic, Buffer.from([0xff, 0xfe]), "1", 0);
    await broker.produce(topic, "bad0", "5", 0);
    await broker.produce(topic, "bad1", "7", 1);
    const s = await subscribe(server, topic, "Sums/add");
    await eventually(async () => (await server.call("/Sums/bad1/get")).count === 1);
    const blocked = new RegExp(`^restate_kafka_ingress_blocked_partitions.*${s.id}`);
    await eventually(async () => (await metric(server, blocked)) === 1);
    assert.equal((await server.call("/Sums/bad0/get")).count, 0);
    assert.match(server.log, /\[0\]@0 cannot become an invocation: its key is not UTF-8/);
    const patched = await server.adminRequest(`/subscriptions/${s.id}`, { method: "PATCH", body: { on_bad_record: "skip" } });
    assert.equal(patched.status, 200);
    assert.equal(patched.body.on_bad_record, "skip");
    await eventually(async () => (await server.call("/Sums/bad0/get")).count === 1);
    assert.equal(await metric(server, blocked), 0);
    assert.equal(await metric(server, new RegExp(`^restate_kafka_ingress_skipped_records_total.*${s.id}`)), 1);
  });

  test("lag, paused and resumed, deleted", async () => {
    const topic = await broker.topic();
    await broker.many(topic, 1, 0, 10, 1);
    const before = (await server.call("/Sums/k0/get")).count;
    const s = await subscribe(server, topic, "Sums/add");
    await eventually(async () => (await server.call("/Sums/k0/get")).count === before + 10);
    const requests = new RegExp(`^restate_kafka_ingress_requests_total.*${s.id}`);
    const lag = new RegExp(`^restate_kafka_ingress_consumer_lag.*${s.id}`);
    await eventually(async () => (await metric(server, requests)) === 10);
    await eventually(async () => (await metric(server, lag)) === 0);
    const paused = await server.adminRequest(`/subscriptions/${s.id}`, { method: "PATCH", body: { paused: true } });
    assert.equal(paused.body.paused, true);
    await eventually(async () => (await broker.committed(s.options["group.id"], topic)) === 10);
    await broker.many(topic, 1, 10, 10, 1);
    await sleep(1500);
    assert.equal((await server.call("/Sums/k0/get")).count, before + 10);
    await server.adminRequest(`/subscriptions/${s.id}`, { method: "PATCH", body: { paused: false } });
    await eventually(async () => (await server.call("/Sums/k0/get")).count === before + 20);
    assert.equal((await server.adminRequest(`/subscriptions/${s.id}`, { method: "DELETE" })).status, 202);
    await eventually(async () => (await broker.committed(s.options["group.id"], topic)) === 20);
    await broker.many(topic, 1, 20, 10, 1);
    await sleep(1500);
    assert.equal((await server.call("/Sums/k0/get")).count, before + 20);
    assert.equal((await server.adminRequest(`/subscriptions/${s.id}`, { method: "GET" })).status, 404);
  });

  test("latest is decided once: what comes after the subscription is not lost by a crash", async () => {
    const topic = await broker.topic();
    await broker.produce(topic, "late", "1");
    const s = await subscribe(server, topic, "Sums/add", { options: { "auto.offset.reset": "latest" } });
    await eventually(() => server.log.includes(`Topic partitions assigned`) && metric(server, new RegExp(`requests_total.*${s.id}`)).then((v) => v === 0));
    await server.crash();
    await broker.produce(topic, "late", "2");
    await server.launch();
    await eventually(async () => (await server.call("/Sums/late/get")).count === 1, { timeoutMs: 30_000 });
    assert.equal((await server.call("/Sums/late/get")).sum, 2);
  });

  test("a cluster that cannot be reached is corrected with PATCH; wrong properties are told", async () => {
    const topic = await broker.topic();
    await broker.produce(topic, "fix", "3");
    await createCluster(server, "127.0.0.1:1", "wrong", { ...session, "no.such.property": "x" });
    const r = await server.adminRequest("/subscriptions", { body: { source: `kafka://wrong/${topic}`, sink: "service://Sums/add", options: early } });
    assert.equal(r.status, 201);
    await eventually(() => /The Kafka consumer failed and starts again: property 'no.such.property'/.test(server.log));
    const fixed = await server.adminRequest("/kafka-clusters/wrong", { method: "PATCH", body: { properties: { "bootstrap.servers": broker.bootstrap } } });
    assert.equal(fixed.status, 200);
    await eventually(async () => (await server.call("/Sums/fix/get")).sum === 3, { timeoutMs: 30_000 });
  });
});

describe("clusters of the configuration file", () => {
  test("are listed, used, and not changed through the API", async () => {
    const broker = await Broker.start();
    const services = await startServices();
    const server = await Server.start({
      env: { RESTATE_INGRESS__KAFKA_CLUSTERS: `[{name="fixed",brokers=["PLAINTEXT://${broker.bootstrap}"],client={id="cfg"}}]` },
    });
    try {
      await server.register(services);
      const list = (await server.adminRequest("/kafka-clusters", { method: "GET" })).body.clusters;
      assert.equal(list.length, 1);
      assert.equal(list[0].name, "fixed");
      assert.equal(list[0].created_at, "1970-01-01T00:00:00.000000000Z");
      assert.match(list[0].info[0].message, /deprecated/);
      for (const [path, method] of [["/kafka-clusters", "POST"], ["/kafka-clusters/fixed", "PATCH"], ["/kafka-clusters/fixed", "DELETE"]]) {
        const r = await server.adminRequest(path, { method, body: { name: "fixed", properties: { "bootstrap.servers": "x" } } });
        assert.equal(r.status, 409, `${method} ${path}`);
      }
      const topic = await broker.topic();
      await broker.produce(topic, "cfg", "4");
      const r = await server.adminRequest("/subscriptions", { body: { source: `kafka://fixed/${topic}`, sink: "service://Sums/add", options: early } });
      assert.equal(r.status, 201);
      assert.equal("client.id" in r.body.options, false);
      await eventually(async () => (await server.call("/Sums/cfg/get")).sum === 4, { timeoutMs: 20_000 });
    } finally {
      await server.dispose();
      await services.terminate();
      await broker.stop();
    }
  });
});

describe("scopes from headers", () => {
  test("the switch decides whether they are looked at; what is not valid blocks or is skipped", async () => {
    const broker = await Broker.start(), services = await startServices();
    const env = { RESTATE_EXPERIMENTAL_ENABLE_VQUEUES: "true", RESTATE_DEFAULT_NUM_PARTITIONS: "4" };
    const on = await Server.start({ env: { ...env, RESTATE_EXPERIMENTAL_ENABLE_KAFKA_SCOPE: "true" } });
    const off = await Server.start({ env });
    try {
      for (const server of [on, off]) {
        await server.register(services);
        await createCluster(server, broker.bootstrap);
        const { features } = (await server.adminRequest("/version", { method: "GET" })).body;
        assert.equal(features.kafka_scope, server === on);
      }
      const topic = await broker.topic();
      await broker.produce(topic, "a", "1", 0, { scope: "ten-a", limitKey: "u1/x" });
      await broker.produce(topic, "b", "2", 0, { scope: "not valid" });
      await broker.produce(topic, "c", "3", 0, { limitKey: "u1" });
      await broker.produce(topic, "d", "4");
      const rows = (server) => server.sql("select scope, limit_key from sys_invocation where target = 'Sink/take'");
      await subscribe(off, topic, "Sink/take");
      await eventually(async () => (await noted(off, "service")).length === 4);
      for (const row of await rows(off)) assert.deepEqual([row.scope ?? null, row.limit_key ?? null], [null, null]);
      const s = await subscribe(on, topic, "Sink/take");
      await eventually(() => /@1 cannot become an invocation: bad scope value/.test(on.log));
      await on.adminRequest(`/subscriptions/${s.id}`, { method: "PATCH", body: { on_bad_record: "skip" } });
      const got = await eventually(async () => {
        const all = await noted(on, "service");
        return all.length === 2 && all;
      });
      assert.deepEqual(got.map((x) => x.value).sort(), ["1", "4"]);
      assert.match(on.log, /@2 cannot become an invocation: its limit key requires a scope/);
      const seen = (await rows(on)).map((row) => [row.scope ?? null, row.limit_key ?? null]);
      assert.deepEqual(seen.sort(), [["ten-a", "u1/x"], [null, null]].sort());
      // one workflow for each scope and key
      const runs = await broker.topic();
      for (const scope of ["s1", "s2", "s1", null]) await broker.produce(runs, "w", '"x"', 0, { scope });
      await subscribe(on, runs, "Flow/run");
      await eventually(async () => (await noted(on, "flow")).length === 3);
      // objects have no scopes without a switch of their own
      const objects = await broker.topic();
      await broker.produce(objects, "o", "1", 0, { scope: "s1" });
      await subscribe(on, objects, "Sums/add", { on_bad_record: "skip" });
      await eventually(() => /@0 cannot become an invocation: scope is not supported for Virtual Object targets\. Its topic partition waits/.test(on.log));
    } finally {
      await on.dispose();
      await off.dispose();
      await services.terminate();
      await broker.stop();
    }
  });
});

describe("tracing", () => {
  test("KafkaTest.shouldGenerateTraces: an event's invocation has its start, its attempt and its end in a trace of its own", async () => {
    const broker = await Broker.start(), services = await startServices(), collector = await Collector.start();
    const server = await Server.start({ env: { RESTATE_TRACING_ENDPOINT: `otlp+json+http://127.0.0.1:${collector.httpPort}/v1/traces` } });
    try {
      await server.register(services);
      await createCluster(server, broker.bootstrap);
      const topic = await broker.topic();
      await broker.produce(topic, "traced", "1");
      await subscribe(server, topic, "Sums/add");
      const span = (what) => eventually(() => collector.spans.find((s) => s.name === `${what} Sums/{key}/add`), { timeoutMs: 20_000 });
      const [start, attempt, end] = [await span("invocation-start"), await span("invocation-attempt"), await span("invocation-end")];
      for (const s of [start, attempt, end]) {
        assert.equal(s.traceId, start.traceId);
        assert.equal(attributes(s)["restate.invocation.target"], "Sums/traced/add");
      }
      assert.equal(attempt.parentSpanId, start.spanId);
      assert.equal(end.parentSpanId, start.spanId);
    } finally {
      await server.dispose();
      await services.terminate();
      await broker.stop();
      collector.close();
    }
  });
});

describe("exactly once", () => {
  test("what was taken from a deleted subscription is forgotten, also when the server dies at that moment; others go on", async () => {
    const broker = await Broker.start(), services = await startServices();
    const server = await Server.start({ env: { RESTATE_LOG_FILTER: "info,restate_partition::machine=debug" } });
    const forgotten = () => [...server.log.matchAll(/(\d+) topic partitions of a deleted subscription/g)].reduce((n, m) => n + Number(m[1]), 0);
    const counted = async () => (await sumOf(server, 10)).count;
    const remove = async (s) => assert.equal((await server.adminRequest(`/subscriptions/${s.id}`, { method: "DELETE" })).status, 202);
    try {
      await server.register(services);
      await createCluster(server, broker.bootstrap, "kc", { "auto.commit.interval.ms": "300", ...session });
      const [first, second, kept] = [await broker.topic(4), await broker.topic(4), await broker.topic(4)];
      const subscriptions = [];
      for (const topic of [first, second, kept]) {
        await broker.many(topic, 4, 0, 40, 10);
        subscriptions.push(await subscribe(server, topic, "Sums/add"));
      }
      await reached(120, counted);
      assert.equal(forgotten(), 0);

      await remove(subscriptions[0]);
      await eventually(() => forgotten() >= 4);
      const before = forgotten();
      await remove(subscriptions[1]);
      await server.restart();
      await eventually(() => forgotten() >= before + 4);

      // What stands still drops what it reads again, and a new subscription takes the topic from its beginning.
      await broker.many(kept, 4, 40, 40, 10);
      await subscribe(server, first, "Sums/add");
      await reached(200, counted);
      await server.restart();
      await sleep(1500); // a repetition would show
      assert.equal(await counted(), 200);
    } finally {
      await server.dispose();
      await services.terminate();
      await broker.stop();
    }
  });

  test("SIGKILL of the server again and again under a stream of events", async () => {
    const broker = await Broker.start(), services = await startServices(), server = await Server.start();
    const total = Number(process.env.EVENTS ?? 6000), keys = 10, kills = Number(process.env.KILLS ?? 5);
    try {
      await server.register(services);
      await createCluster(server, broker.bootstrap, "kc", { "auto.commit.interval.ms": "300", ...session });
      const [a, b] = [await broker.topic(4), await broker.topic(4)];
      await subscribe(server, a, "Sums/add");
      await subscribe(server, b, "Sink/count");
      const producing = (async () => {
        for (let i = 0; i < total; i += 100) {
          await broker.many(a, 4, i, 100, keys);
          await broker.many(b, 4, i, 100, keys);
          await sleep(25);
        }
      })();
      for (let k = 0; k < kills; k++) {
        await sleep(700 + Math.random() * 1500);
        await server.restart();
      }
      await producing;
      const want = { count: total, sum: sumTo(total) };
      await reached(total, async () => (await sumOf(server, keys)).count);
      await reached(total, async () => (await sumOf(server, keys, "n")).count);
      await sleep(1500); // a repetition would still show
      assert.deepEqual(await sumOf(server, keys), { ...want, ordered: true });
      const { ordered, ...counted } = await sumOf(server, keys, "n");
      assert.deepEqual(counted, want);
    } finally {
      await server.dispose();
      await services.terminate();
      await broker.stop();
    }
  });
});
