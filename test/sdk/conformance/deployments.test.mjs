// Deployments: which one an invocation runs on, updates, draining, removal; HTTP/1.1, request-response mode, TLS, request identity and
// additional headers (spec/invocation-lifecycle.md §14.5, §15.2, spec/service-protocol.md §2, §3, §12).
import { after, before, describe } from "node:test";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Endpoint, Server, assert, attach, check, eventually, paused, quickRetries, restate, row, sleep, unique, world } from "./world.mjs";
import { awakeableHolder, combinators, counter, gate, proxy, sdkServices, seen, testUtil, tick, workflow } from "./services.mjs";

const version = (n) =>
  restate.object({
    name: "Versioned",
    handlers: {
      version: restate.handlers.object.shared(async () => n),
      step: async (ctx) => ctx.run("step", () => n),
      wait: async (ctx) => {
        const first = await ctx.run("first", () => n);
        const { id, promise } = ctx.awakeable();
        ctx.objectSendClient(awakeableHolder, ctx.key).hold(id);
        await promise;
        return `${first} then ${n}`;
      },
      // Stores nothing before it fails: not pinned.
      unpinned: async (ctx, name) => {
        if (n === 1) throw new Error(`version 1, attempt ${tick(name)}`);
        return n;
      },
    },
  });

describe("deployments and their revisions", () => {
  const w = world({ services: sdkServices, env: { RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "200ms" } });
  let endpoints, one, two;
  before(async () => {
    endpoints = [await Endpoint.start(version(1)), await Endpoint.start(version(2)), await Endpoint.start(version(3))];
    one = await w.server.register(endpoints[0]);
  });
  after(async () => {
    for (const endpoint of endpoints) await endpoint.kill().catch(() => {});
  });
  const call = (key, handler, body) => w.server.call(`/Versioned/${key}/${handler}`, body);
  const unlock = async (key) => {
    await eventually(() => w.server.call(`/AwakeableHolder/${key}/id`));
    await w.server.call(`/AwakeableHolder/${key}/unlock`, "go");
  };
  const inFlight = unique("in-flight");
  let inFlightId;

  check("UpgradeWithNewInvocation.executesNewInvocationWithLatestServiceRevisions", async () => {
    assert.equal(await call("k", "version"), 1);
    inFlightId = (await w.server.send(`/Versioned/${inFlight}/wait`)).invocationId;
    const unpinned = unique("unpinned");
    const { invocationId } = await w.server.send(`/Versioned/${unpinned}/unpinned`, unpinned);
    await eventually(() => seen(unpinned) >= 1 && w.server.call(`/AwakeableHolder/${inFlight}/id`));
    two = await w.server.register(endpoints[1]);
    assert.equal(await call("k", "version"), 2);
    assert.equal((await attach(w.server, invocationId)).body, 2, "what stored nothing moves to the new one");
    const service = (await w.server.adminRequest("/services/Versioned", { method: "GET" })).body;
    assert.deepEqual([service.revision, service.deployment_id], [2, two.id]);
  });
  check("UpgradeWithInFlightInvocation.inFlightInvocation", async () => {
    await sleep(400); // suspended meanwhile
    await w.server.call(`/AwakeableHolder/${inFlight}/unlock`, "go");
    assert.equal((await attach(w.server, inFlightId)).body, "1 then 1");
    const info = await row(w.server, inFlightId, "pinned_deployment_id");
    if (info) assert.equal(info.pinned_deployment_id, one.id);
    assert.equal(await call(inFlight, "step"), 2);
  });
  check("Deployments: a pinned invocation of a removed deployment waits for the operator", async () => {
    const key = unique("pinned");
    const { invocationId } = await w.server.send(`/Versioned/${key}/wait`);
    await eventually(() => w.server.call(`/AwakeableHolder/${key}/id`));
    const three = await w.server.register(endpoints[2]);
    assert.equal((await w.server.adminRequest(`/deployments/${two.id}`, { method: "DELETE" })).status, 501);
    assert.equal((await w.server.adminRequest(`/deployments/${two.id}?force=true`, { method: "DELETE" })).status, 202);
    await eventually(async () => (await w.server.adminRequest(`/deployments/${two.id}`, { method: "GET" })).status === 404);
    assert.equal(await call("k", "version"), 3);
    await sleep(300);
    await w.server.call(`/AwakeableHolder/${key}/unlock`, "go");
    await sleep(300);
    assert.equal((await w.server.get(`/restate/invocation/${invocationId}/output`)).status, 470);
    await w.server.operate("pause", invocationId);
    await paused(w.server, invocationId);
    assert.equal((await w.server.operate("resume", invocationId, "?deployment=latest")).status, 200);
    assert.equal((await attach(w.server, invocationId)).body, "2 then 3");
    // Removing the newest one brings back the one before.
    assert.equal((await w.server.adminRequest(`/deployments/${three.id}?force=true`, { method: "DELETE" })).status, 202);
    await eventually(async () => (await call("k", "version")) === 1);
  });
  check("Deployments: the same address again", async () => {
    const same = await w.server.register(endpoints[0]);
    assert.equal(same.id, one.id);
    endpoints[0].serve(version("1 changed"));
    const forced = await w.server.register(endpoints[0], { force: true });
    assert.equal(forced.id, one.id);
    assert.equal(await call("k", "version"), "1 changed");
    const dry = await w.server.register(endpoints[1], { dry_run: true });
    assert.notEqual(dry.id, undefined);
    assert.equal(await call("k", "version"), "1 changed");
  });
  check("Deployments: update in place moves the pinned invocations to another address", async () => {
    const key = unique("moved");
    const { invocationId } = await w.server.send(`/Versioned/${key}/wait`);
    await eventually(() => w.server.call(`/AwakeableHolder/${key}/id`));
    await sleep(400);
    const r = await w.server.adminRequest(`/deployments/${one.id}`, {
      method: "PATCH",
      body: { uri: endpoints[1].uri, additional_headers: { "x-moved": "yes" } },
    });
    assert.equal(r.status, 200, JSON.stringify(r.body));
    await unlock(key);
    assert.equal((await attach(w.server, invocationId)).body, "1 changed then 2");
    assert.equal((await w.server.get("/deployments", { base: w.server.admin })).body.deployments.find((d) => d.id === one.id).additional_headers["x-moved"], "yes");
  });
  check("Deployments: a service that is not there yet is waited for", async () => {
    const key = unique("later");
    const { invocationId } = await w.server.send("/Proxy/call", { service: "Later", handler: "hello", message: key });
    await sleep(200);
    const later = await Endpoint.start(restate.service({ name: "Later", handlers: { hello: async (ctx, x) => `hello ${x}` } }));
    endpoints.push(later);
    await w.server.register(later);
    assert.equal((await attach(w.server, invocationId)).body, `hello ${key}`);
    assert.equal((await w.server.request("/Never/there", { body: 1 })).status, 404);
  });
  check("Deployments: a changed type of service is refused unless it is said to be breaking", async () => {
    const changed = await Endpoint.start(restate.service({ name: "Versioned", handlers: { version: async () => "service" } }));
    endpoints.push(changed);
    await assert.rejects(w.server.register(changed), /409.*META0006/);
    await w.server.register(changed, { breaking: true });
    assert.equal(await w.server.call("/Versioned/version"), "service");
  });
});

// ---- transports: the same flows over every kind of connection ----

const transportServices = [counter, testUtil, proxy, awakeableHolder, workflow, combinators];
async function flows(server) {
  const key = unique("flow");
  assert.equal(await server.call("/TestUtil/echo", "x"), "x");
  assert.deepEqual(await server.call(`/Counter/${key}/add`, 1), { oldValue: 0, newValue: 1 });
  assert.deepEqual(await server.call("/Proxy/call", { service: "Counter", key, handler: "add", message: 2 }), { oldValue: 1, newValue: 3 });
  assert.ok((await server.call("/TestUtil/sleepThenStamp", 200)) >= 200);
  const { invocationId: id } = await server.send("/TestUtil/waitForSignal", "go");
  await sleep(50);
  await server.call("/TestUtil/resolveSignal", { id, name: "go", value: "went" });
  assert.equal((await attach(server, id)).body, "went");
  assert.equal(await server.call("/TestUtil/countExecutedSideEffects", 0), 0);
  await server.call("/TestUtil/countExecutedSideEffects", 3);
  const large = "x".repeat(2_000_000);
  assert.equal(await server.call("/TestUtil/echo", large), large);
  const { invocationId: parked } = await server.send("/TestUtil/waitForSignal", "never");
  await sleep(100);
  await server.operate("cancel", parked);
  assert.equal((await attach(server, parked)).body.message, "Cancelled");
}

for (const [name, endpoint, register] of [
  ["HTTP/2, full duplex", {}, {}],
  ["HTTP/2, request-response", { bidirectional: false }, {}],
  ["HTTP/1.1, request-response", { http1: true }, { use_http_11: true }],
  ["HTTP/1.1, full duplex", { http1: true, bidirectional: true }, { use_http_11: true }],
])
  describe(`transport: ${name}`, () => {
    const headers = [];
    const w = world({
      services: transportServices,
      register: { ...register, additional_headers: { "x-extra": "one", authorization: "Bearer t" } },
      endpoint: { ...endpoint, onRequest: (request) => void headers.push(request.headers) },
    });
    check(`Transport: flows over ${name}`, () => flows(w.server));
    check(`Transport: flows after a crash over ${name}`, async () => {
      await w.server.restart();
      await flows(w.server);
    });
    check(`AdditionalHeaders: on every request over ${name}`, async () => {
      assert.ok(headers.length > 5);
      for (const h of headers) {
        assert.deepEqual([h["x-extra"], h.authorization, h["x-restate-cluster-name"]], ["one", "Bearer t", "localcluster"]);
        assert.equal(h["x-restate-signature-scheme"], undefined);
      }
      assert.equal((await w.server.call("/TestUtil/attemptHeaders"))["x-extra"], "one");
    });
    check(`Discovery: mode and version of ${name} are shown`, async () => {
      const d = (await w.server.adminRequest(`/deployments/${w.deployment.id}`, { method: "GET" })).body;
      assert.equal(d.protocol_type, endpoint.bidirectional === false || (endpoint.http1 && !endpoint.bidirectional) ? "RequestResponse" : "BidiStream");
      assert.equal(d.http_version, endpoint.http1 ? "HTTP/1.1" : "HTTP/2.0");
    });
  });

// A certificate authority of our own and a certificate for localhost.
function makeCertificates(dir) {
  const openssl = (...args) => execFileSync("openssl", args, { cwd: dir, stdio: ["ignore", "ignore", "pipe"] });
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  openssl("req", "-x509", ...ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority", "-addext", "basicConstraints=critical,CA:TRUE");
  openssl("req", ...ec.slice(0, -2), "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost");
  writeFileSync(join(dir, "ext"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n");
  openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "server.pem");
  return { key: readFileSync(join(dir, "server.key")), cert: readFileSync(join(dir, "server.pem")), ca: join(dir, "ca.pem") };
}

describe("TLS endpoints", () => {
  let dir, tls, server;
  const endpoints = [];
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "restate-tls-"));
    tls = makeCertificates(dir);
    server = await Server.start({ env: { ...quickRetries, SSL_CERT_FILE: tls.ca } });
  });
  after(async () => {
    await server?.dispose();
    for (const endpoint of endpoints) await endpoint.kill();
    rmSync(dir, { recursive: true, force: true });
  });
  for (const [name, options, register] of [
    ["HTTP/2 by ALPN", {}, {}],
    ["HTTP/1.1 by ALPN", { http1: true }, {}],
    ["HTTP/1.1 as told", { http1: true, bidirectional: true }, { use_http_11: true }],
  ])
    check(`TLS: ${name}, custom root in SSL_CERT_FILE`, async () => {
      const endpoint = await Endpoint.with({ services: transportServices, tls, ...options });
      endpoints.push(endpoint);
      const d = await server.register(endpoint, { ...register, breaking: true });
      const shown = (await server.adminRequest(`/deployments/${d.id}`, { method: "GET" })).body;
      assert.equal(shown.http_version, options.http1 ? "HTTP/1.1" : "HTTP/2.0");
      await flows(server);
    });
  check("TLS: an unknown authority is refused", async () => {
    const endpoint = await Endpoint.with({ services: transportServices, tls });
    endpoints.push(endpoint);
    const other = await Server.start();
    try {
      await assert.rejects(other.register(endpoint), /META0003/);
    } finally {
      await other.dispose();
    }
  });
  check("TLS: a certificate for another name is refused", async () => {
    const endpoint = await Endpoint.with({ services: transportServices, tls });
    endpoints.push(endpoint);
    endpoint.uri = endpoint.uri.replace("localhost", "127.0.0.1");
    await assert.rejects(server.register(endpoint), /META0003/);
  });
});

describe("a proxy for plain http", () => {
  let endpoint, proxy, server, connections = 0;
  before(async () => {
    endpoint = await Endpoint.with({ services: transportServices });
    proxy = createServer((from) => {
      connections++;
      const to = connect(endpoint.port, "127.0.0.1");
      for (const [a, b] of [
        [from, to],
        [to, from],
      ]) {
        a.pipe(b);
        a.on("error", () => b.destroy());
        a.on("close", () => b.destroy());
      }
    });
    await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const env = { RESTATE_WORKER__INVOKER__HTTP_PROXY: `http://127.0.0.1:${proxy.address().port}`, RESTATE_WORKER__INVOKER__NO_PROXY: "127.0.0.0/8" };
    server = await Server.start({ env: { ...quickRetries, ...env } });
  });
  after(async () => {
    await server?.dispose();
    await endpoint?.kill();
    proxy?.close();
  });
  check("Transport: through http-proxy, with a name that only the proxy knows", async () => {
    await server.register({ uri: "http://service.invalid:9080" });
    await flows(server);
    assert.ok(connections > 0);
  });
  check("Transport: no-proxy is dialled directly", async () => {
    const before = connections;
    const direct = await Endpoint.start(restate.service({ name: "Direct", handlers: { a: async () => 1 } }));
    await server.register(direct);
    assert.equal(await server.call("/Direct/a"), 1);
    assert.equal(connections, before);
    await direct.kill();
  });
});

describe("request identity", () => {
  let dir, server, endpoint, stranger, keyFile, publicKey;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "restate-identity-"));
    keyFile = join(dir, "key.pem");
    execFileSync("openssl", ["genpkey", "-algorithm", "ed25519", "-out", keyFile], { stdio: "ignore" });
    server = await Server.start({ env: { ...quickRetries, RESTATE_REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE: keyFile } });
    publicKey = await eventually(() => server.log.match(/publickeyv1_[1-9A-HJ-NP-Za-km-z]+/)?.[0]);
  });
  after(async () => {
    await server?.dispose();
    await endpoint?.kill();
    await stranger?.kill();
    rmSync(dir, { recursive: true, force: true });
  });
  check("ProxyRequestSigning.requestSigningPass", async () => {
    endpoint = await Endpoint.with({ services: transportServices, identityKeys: [publicKey] });
    await server.register(endpoint);
    await flows(server);
  });
  check("ProxyRequestSigning: behind a path prefix, and with a key of an object", async () => {
    const key = unique("ключ /%");
    assert.deepEqual(await server.call(`/Counter/${encodeURIComponent(key)}/add`, 1), { oldValue: 0, newValue: 1 });
  });
  check("ProxyRequestSigning: an endpoint that trusts another key refuses", async () => {
    const other = "publickeyv1_2G8dCQhArfvGpzPw5Vx2ALciR4xCLHfS5YaT93XjNxX9";
    stranger = await Endpoint.with({ services: [restate.service({ name: "Stranger", handlers: { a: async () => 1 } })], identityKeys: [other] });
    await assert.rejects(server.register(stranger), /META0003/);
  });
});
