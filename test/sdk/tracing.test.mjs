// OpenTelemetry traces of invocations (spec/config.md §5.6, TracingTest of spec/invocation-lifecycle.md §15.2) against a fake collector:
// every transport, parents and links, events, what services receive, and that a collector that is gone disturbs nobody.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, afterEach, before, describe, test } from "node:test";
import { Collector, attributes } from "./collector.mjs";
import { Endpoint, Server, binary, eventually, freePort, official, restate, sleep } from "./harness.mjs";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const traced = { headers: { traceparent: `00-${TRACE}-00f067aa0ba902b7-01`, tracestate: "vendor=x" } };

let failed = false;
const greeter = restate.service({
  name: "Vec",
  handlers: {
    req: async (ctx, x) => x,
    chain: async (ctx, x) => {
      const r = await ctx.serviceClient(greeter).req(x);
      ctx.serviceSendClient(greeter).req("sent");
      await ctx.run("step", () => 1);
      return r;
    },
    fail: async () => {
      throw new restate.TerminalError("nope", { errorCode: 500 });
    },
    flaky: async () => {
      if (!failed) {
        failed = true;
        throw new Error("boom");
      }
      return "ok";
    },
    nap: async (ctx) => ctx.sleep(300),
    park: async (ctx) => ctx.awakeable().promise,
  },
});
const counter = restate.object({ name: "VecObj", handlers: { add: async (ctx, x) => x } });

describe("tracing", () => {
  let endpoint, collector, server;
  const received = [];
  before(async () => {
    collector = await Collector.start();
    endpoint = await Endpoint.with({
      services: [greeter, counter],
      onRequest: (r) => {
        if (r.url.includes("/invoke/")) received.push({ path: r.url, traceparent: r.headers.traceparent, tracestate: r.headers.tracestate });
        return false;
      },
    });
  });
  afterEach(async () => {
    await server?.dispose();
    server = null;
    collector.refuse = 0;
    collector.clear();
    received.length = 0;
  });
  after(async () => {
    await endpoint.kill();
    collector.close();
  });

  const start = async (env) => {
    server = await Server.start({ env });
    await server.register(endpoint);
  };
  const json = () => ({ RESTATE_TRACING_ENDPOINT: `otlp+json+http://127.0.0.1:${collector.httpPort}/v1/traces` });
  const spans = (name) => collector.spans.filter((s) => s.name === name);
  const span = (name, filter = () => true) => eventually(() => spans(name).find(filter), { timeoutMs: 15_000 });

  for (const [what, env, path] of [
    ["JSON over HTTP", () => ({ RESTATE_TRACING_ENDPOINT: `json+otlp+http://127.0.0.1:${collector.httpPort}/v1/traces?a=1` }), "/v1/traces?a=1"],
    ["protobuf over HTTP", () => ({ RESTATE_TRACING_SERVICES_ENDPOINT: `otlp+http://127.0.0.1:${collector.httpPort}/v1/traces`, RESTATE_TRACING_ENDPOINT: "http://127.0.0.1:1" }), "/v1/traces"],
    ["gRPC", () => ({ RESTATE_TRACING_ENDPOINT: `http://127.0.0.1:${collector.grpcPort}` }), "/opentelemetry.proto.collector.trace.v1.TraceService/Export"],
  ])
    test(`TracingTest.shouldGenerateTraces: ${what}`, async () => {
      await start({ ...env(), RESTATE_TRACING_HEADERS__X_API_KEY: "secret", OTEL_RESOURCE_ATTRIBUTES: "deployment.environment=a%20b, team=c" });
      const r = await server.request("/VecObj/k%2Fk/add", { body: 7, ...traced });
      assert.equal(r.body, 7);
      const end = await span("invocation-end VecObj/{key}/add");
      const ingress = await span("ingress VecObj/{key}/add");
      const first = await span("invocation-start VecObj/{key}/add");
      const attempt = await span("invocation-attempt VecObj/{key}/add");
      for (const s of [ingress, first, attempt, end]) {
        assert.equal(s.traceId, TRACE);
        assert.equal(s.traceState, "vendor=x");
        assert.equal(s.kind, 1);
        assert.ok(BigInt(s.endTimeUnixNano) >= BigInt(s.startTimeUnixNano));
        assert.ok(Math.abs(Number(BigInt(s.endTimeUnixNano) / 1000000n) - Date.now()) < 60_000);
        const a = attributes(s);
        assert.equal(a["rpc.service"], "VecObj");
        assert.equal(a["rpc.method"], "add");
        assert.equal(a["restate.invocation.id"], r.id);
        assert.equal(a["restate.invocation.target"], "VecObj/k/k/add");
      }
      assert.equal(ingress.parentSpanId, "00f067aa0ba902b7");
      assert.equal(first.parentSpanId, ingress.spanId);
      assert.equal(attempt.parentSpanId, first.spanId);
      assert.equal(end.parentSpanId, first.spanId);
      assert.deepEqual([ingress, first, attempt, end].map((s) => s.status.code), [0, 0, 1, 1]);
      assert.equal(new Set([ingress, first, attempt, end].map((s) => s.spanId)).size, 4);
      assert.equal(attributes(ingress)["client.socket.address"], "127.0.0.1");
      assert.equal(typeof attributes(ingress)["client.socket.port"], "number");
      const a = attributes(attempt);
      assert.equal(a["rpc.system"], "restate");
      assert.match(a["restate.deployment.id"], /^dp_/);
      assert.equal(a["restate.deployment.address"], `${endpoint.uri}/`);
      assert.ok(a["restate.deployment.service_protocol_version"] >= 5);
      assert.deepEqual(attempt.events.map((e) => [e.name, attributes(e)["restate.journal.command.type"]]), [["restate.invocation.lifecycle.new_command", "Command/Output"]]);
      assert.equal(attributes(end)["restate.invocation.result"], "success");
      // what the service was sent
      const seen = received.find((q) => q.path.endsWith("/VecObj/add"));
      assert.equal(seen.traceparent, `00-${TRACE}-${attempt.spanId}-01`);
      assert.equal(seen.tracestate, "vendor=x");
      // what the collector was sent
      assert.equal(collector.requests[0].path, path);
      assert.equal(collector.requests[0].headers["x-api-key"], "secret");
      const resource = attributes(collector.resources[0]);
      assert.equal(resource["service.name"], "Restate");
      assert.equal(resource["service.namespace"], "Restate");
      assert.equal(resource["service.instance.id"], "localcluster/node-1");
      assert.ok(resource["service.version"]);
      assert.equal(resource["deployment.environment"], "a b");
      assert.equal(resource["team"], "c");
      assert.equal((await server.sql(`select trace_id from sys_invocation where id = '${r.id}'`))[0].trace_id, TRACE);
    });

  test("calls share the trace below the caller's attempt; one-way calls begin one, linked to it", async () => {
    await start(json());
    const r = await server.request("/Vec/chain", { body: "x", ...traced });
    assert.equal(r.body, "x");
    const isCaller = (s) => attributes(s)["restate.invocation.id"] === r.id;
    await span("invocation-end Vec/chain");
    const attempts = (await eventually(() => spans("invocation-attempt Vec/chain"))).filter(isCaller);
    const called = await span("invocation-start Vec/req", (s) => s.traceId === TRACE);
    assert.ok(attempts.some((a) => a.spanId === called.parentSpanId));
    assert.equal(called.links.length, 0);
    const sent = await span("invocation-start Vec/req", (s) => s.traceId !== TRACE);
    assert.ok(!sent.parentSpanId);
    assert.equal(sent.links.length, 1);
    assert.equal(sent.links[0].traceId, TRACE);
    assert.ok(attempts.some((a) => a.spanId === sent.links[0].spanId));
    assert.equal(attributes(sent.links[0])["restate.runtime"], true);
    await span("invocation-end Vec/req", (s) => s.traceId === sent.traceId && s.parentSpanId === sent.spanId);
    const events = attempts.flatMap((a) => a.events).map((e) => [e.name.replace("restate.invocation.lifecycle.", ""), attributes(e)["restate.journal.command.type"], attributes(e)["restate.journal.command.name"]]);
    for (const expected of [["new_command", "Command/Call"], ["new_command", "Command/OneWayCall"], ["new_command", "Command/Run", "step"]])
      assert.ok(events.some((e) => expected.every((v, i) => e[i] === v)), JSON.stringify(events));
    assert.ok(events.some(([what]) => what === "run_ended"));
  });

  test("without a traceparent, or with one that is none, a new trace begins", async () => {
    await start(json());
    for (const headers of [{}, { traceparent: "garbage" }, { traceparent: `00-${"0".repeat(32)}-00f067aa0ba902b7-01` }]) {
      collector.clear();
      await server.call("/Vec/req", 1, { headers });
      const end = await span("invocation-end Vec/req");
      const ingress = await span("ingress Vec/req");
      assert.match(end.traceId, /^(?!0{32})[0-9a-f]{32}$/);
      assert.equal(ingress.traceId, end.traceId);
      assert.ok(!ingress.parentSpanId);
      assert.match(received.at(-1).traceparent, new RegExp(`^00-${end.traceId}-[0-9a-f]{16}-01$`));
    }
  });

  test("what is not sampled is passed on and not exported", async () => {
    await start(json());
    await server.call("/Vec/req", 1, { headers: { traceparent: `00-${TRACE}-00f067aa0ba902b7-00` } });
    assert.match(received.at(-1).traceparent, official ? /^$/ : new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`));
    await server.call("/Vec/req", 1, traced);
    await span("invocation-end Vec/req");
    await sleep(500);
    assert.equal(spans("ingress Vec/req").length, 1);
    assert.equal(spans("invocation-attempt Vec/req").length, 1);
  });

  test("failures, retries, suspensions, kills", async () => {
    await start({ ...json(), RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "50ms", RESTATE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL: "20ms" });
    assert.equal((await server.request("/Vec/fail", { body: 1, ...traced })).status, 500);
    const end = await span("invocation-end Vec/fail");
    assert.deepEqual(end.status, { message: "nope", code: 2 });
    const a = attributes(end);
    assert.equal(a["restate.invocation.result"], "failure");
    assert.equal(a["error.message"], "nope");
    assert.equal(a["restate.invocation.error.code"], "500 Internal");
    assert.equal((await span("invocation-attempt Vec/fail")).status.code, 1); // the attempt itself completed

    failed = false;
    await server.call("/Vec/flaky", 1, traced);
    await span("invocation-end Vec/flaky");
    const [bad, good] = (await eventually(() => spans("invocation-attempt Vec/flaky").length === 2 && spans("invocation-attempt Vec/flaky"))).sort((x, y) => (x.startTimeUnixNano < y.startTimeUnixNano ? -1 : 1));
    assert.equal(bad.status.code, 2);
    assert.match(bad.status.message, /boom/);
    assert.equal(good.status.code, 1);
    assert.equal(spans("invocation-start Vec/flaky").length, 1);

    await server.call("/Vec/nap", 1, traced);
    await span("invocation-end Vec/nap");
    const naps = await eventually(() => spans("invocation-attempt Vec/nap").length >= 2 && spans("invocation-attempt Vec/nap"));
    assert.ok(naps.some((s) => s.status.code === 0 && s.events.at(-1).name === "restate.invocation.lifecycle.suspended"));
    assert.equal(spans("invocation-start Vec/nap").length, 1);

    const { invocationId } = await server.send("/Vec/park", 1, traced);
    await span("invocation-attempt Vec/park"); // suspended
    assert.equal((await server.operate("kill", invocationId)).status, 200);
    const killed = await span("invocation-end Vec/park");
    assert.deepEqual(killed.status, { message: "killed", code: 2 });
    assert.equal(attributes(killed)["restate.invocation.error.code"], "409 Aborted");
  });

  test("a collector that is gone or refuses disturbs nobody; its spans come later", async () => {
    const port = await freePort();
    await start({ RESTATE_TRACING_ENDPOINT: `grpc://127.0.0.1:${port}` });
    for (let i = 0; i < 50; i++) assert.equal(await server.call("/Vec/req", i), i);
    await sleep(1000);
    assert.equal(server.log.match(/Cannot export traces/g)?.length, 1);
    const began = Date.now();
    await server.stop();
    assert.ok(Date.now() - began < 8000);
    await server.dispose();

    collector.refuse = 503;
    await start({ RESTATE_TRACING_ENDPOINT: `otlp+http://127.0.0.1:${collector.httpPort}/v1/traces` });
    await server.call("/Vec/req", 1, traced);
    await sleep(600);
    collector.refuse = 0;
    await span("invocation-end Vec/req");
    const metrics = await (await fetch(`${server.fabric}/metrics`)).text();
    assert.match(metrics, /restate_trace_spans_total\{[^}]*status="exported"\} [1-9]/);
    assert.match(metrics, /restate_trace_spans_total\{[^}]*status="dropped"\} 0/);
  });

  test("spans that are still gathered leave at shutdown", async () => {
    await start({ RESTATE_TRACING_ENDPOINT: `http://127.0.0.1:${collector.grpcPort}` });
    await server.call("/Vec/req", 1, traced);
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    await span("invocation-end Vec/req");
  });

  test("off: services get no trace headers, the client's trace id is shown", async () => {
    await start({});
    await server.call("/Vec/req", 1, traced);
    assert.equal(received.at(-1).traceparent, undefined);
    assert.deepEqual(await server.sql("select trace_id from sys_invocation"), [{ trace_id: TRACE }]);
    assert.doesNotMatch(await (await fetch(`${server.fabric}/metrics`)).text(), /restate_trace_spans_total/);
  });

  test("an endpoint of no known scheme stops the start", { skip: official }, async () => {
    for (const url of ["127.0.0.1:4317", "ftp://127.0.0.1:4317", "otlp+json+grpc://127.0.0.1:4317", "http://"]) {
      const r = await new Promise((resolve) => execFile(binary, ["--tracing-endpoint", url, "--base-dir", "/nonexistent/x"], { timeout: 10_000 }, (e, stdout, stderr) => resolve({ code: e?.code, stderr })));
      assert.equal(r.code, 1, url);
      assert.match(r.stderr, /\[RT0002\] failed to configure logging and tracing: .*tracing endpoint/);
    }
  });
});
