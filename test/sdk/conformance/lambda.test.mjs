// Deployments on AWS Lambda (spec/service-protocol.md §12.3): the official SDK's Lambda handler behind a fake of the Invoke API that
// checks signatures. Registration, invocation, suspension and resumption, retries, roles, compression.
import { after, before, describe } from "node:test";
import * as zlib from "node:zlib";
import * as lambda from "@restatedev/restate-sdk/lambda";
import { FakeLambda } from "./fake_lambda.mjs";
import { Endpoint, Server, assert, attach, check, eventually, official, quickRetries, restate, row, unique } from "./world.mjs";
import { counter, seen, tick } from "./services.mjs";

const arnOf = (name, region = "eu-central-1") => `arn:aws:lambda:${region}:123456789012:function:${name}:$LATEST`;
const role = "arn:aws:iam::123456789012:role/restate-caller";
const zstd = "zstdCompressSync" in zlib;
const failures = new Map(); // key → how often to fail still
const failing = (key) => {
  const left = failures.get(key) ?? 0;
  if (left > 0) failures.set(key, left - 1);
  return left > 0;
};

const greeter = restate.service({
  name: "LambdaGreeter",
  handlers: {
    greet: async (ctx, name) => `Hello, ${name}!`,
    fails: async (ctx, key) => {
      if (failing(key)) throw new Error(`not yet, ${key}`);
      return "at last";
    },
    terminal: async () => {
      throw new restate.TerminalError("never", { errorCode: 418 });
    },
    echo: async (ctx, text) => text,
    shown: restate.handlers.handler(
      {
        input: {
          contentType: "application/x-upper",
          serialize: (value) => new TextEncoder().encode(value.toUpperCase()),
          deserialize: (bytes) => new TextDecoder().decode(bytes).toLowerCase(),
          preview: { toJsonString: (value) => JSON.stringify(value), fromJsonString: (json) => JSON.parse(json) },
        },
      },
      async (ctx, text) => text,
    ),
    hangs: async (ctx, key) => {
      const attempt = tick(key);
      if (attempt === 1) await new Promise(() => {});
      return attempt;
    },
  },
});
// One of everything that suspends: run, sleep, state, a call to another deployment, an awakeable, a promise of its own.
const flow = restate.workflow({
  name: "LambdaFlow",
  handlers: {
    run: async (ctx, n) => {
      const drawn = await ctx.run("draw", () => n * 2);
      ctx.set("phase", "sleeping");
      await ctx.sleep(100);
      const counted = await ctx.objectClient(counter, ctx.key).add(drawn);
      ctx.set("phase", "waiting");
      const { id, promise } = ctx.awakeable();
      ctx.set("awakeable", id);
      const signal = await promise;
      const name = await ctx.promise("name");
      ctx.set("phase", "done");
      return { drawn, counted: counted.newValue ?? counted, signal, name };
    },
    phase: async (ctx) => ({ phase: await ctx.get("phase"), awakeable: await ctx.get("awakeable") }),
    name: async (ctx, name) => ctx.promise("name").resolve(name),
  },
});

describe("deployments on AWS Lambda", () => {
  let fake, server, deployment, endpoint;
  const arn = arnOf("services");
  const register = (body) => server.adminRequest("/deployments", { body });
  const env = () =>
    fake.env({
      ...quickRetries,
      RESTATE_WORKER__INVOKER__AWS_ASSUME_ROLE_EXTERNAL_ID: "external/id 1",
      RESTATE_WORKER__INVOKER__REQUEST_COMPRESSION_THRESHOLD: "64KiB",
    });

  before(
    async () => {
      const handler = lambda.createEndpointHandler({ services: [greeter, flow], logger: () => {} });
      fake = await FakeLambda.start({ [arn]: handler, [arnOf("by-role", "us-west-2")]: handler });
      fake.roles[role] = "external/id 1";
      endpoint = await Endpoint.start(counter);
      server = await Server.start({ env: env() });
      await server.register(endpoint);
    },
    { timeout: 30_000 },
  );
  after(
    async () => {
      await server?.dispose();
      await endpoint?.kill();
      await fake?.stop();
    },
    { timeout: 30_000 },
  );

  check("Lambda: registration by ARN", async () => {
    const r = await register({ arn, additional_headers: { "X-Extra": "yes" } });
    assert.equal(r.status, 201, JSON.stringify(r.body));
    deployment = r.body;
    assert.deepEqual(deployment.services.map((s) => s.name).sort(), ["LambdaFlow", "LambdaGreeter"]);
    const shown = (await server.adminRequest(`/deployments/${deployment.id}`, { method: "GET" })).body;
    assert.equal(shown.arn, arn);
    assert.equal(shown.uri, undefined);
    assert.equal(shown.compression, zstd ? "Zstd" : undefined);
    const { event } = fake.invokes[0];
    assert.deepEqual(Object.keys(event), ["path", "httpMethod", "headers", "body", "isBase64Encoded"]);
    assert.deepEqual([event.path, event.httpMethod, event.body, event.isBase64Encoded], ["/discover", "GET", "", true]);
    assert.match(event.headers.accept, /endpointmanifest\.v4\+json/);
    assert.equal(event.headers["x-extra"], "yes");
    assert.deepEqual(fake.refused, []);
  });

  check("Lambda: the same function again is the same deployment", async () => {
    const r = await register({ arn, additional_headers: { "X-Extra": "yes" } });
    assert.equal(r.body.id, deployment.id);
  });

  check("Lambda: a call", async () => {
    const first = fake.invokes.length;
    assert.equal(await server.call("/LambdaGreeter/greet", "Béla"), "Hello, Béla!");
    const [{ event, raw, accessKeyId }] = fake.invokes.slice(first);
    assert.equal(accessKeyId, "AKIDEXAMPLE");
    assert.match(raw, /^\{"path":"\/invoke\/LambdaGreeter\/greet","httpMethod":"POST","headers":\{"content-type":"application\/vnd\.restate\.invocation\.v6",/);
    assert.equal(event.headers["content-type"], event.headers.accept);
    assert.match(event.headers["x-restate-invocation-id"], /^inv_1/);
    assert.equal(event.headers["x-extra"], "yes");
    assert.equal(Buffer.from(event.body, "base64").readUInt16BE(0), 0, "Start is the first message");
  });

  check("Lambda: a workflow that suspends on run, sleep, call, awakeable and promise, with state, over a crash of the server", async () => {
    const key = unique("flow");
    const first = fake.invokes.length;
    const { invocationId } = await server.send(`/LambdaFlow/${key}/run`, 21);
    const { awakeable } = await eventually(async () => {
      const r = await server.call(`/LambdaFlow/${key}/phase`);
      return r.phase === "waiting" && r.awakeable ? r : null;
    });
    await eventually(async () => (await row(server, invocationId, "status"))?.status !== "running");
    await server.restart();
    await server.request(`/restate/awakeables/${awakeable}/resolve`, { body: "go" });
    await server.call(`/LambdaFlow/${key}/name`, "Ada");
    const result = (await attach(server, invocationId)).body;
    assert.deepEqual(result, { drawn: 42, counted: 42, signal: "go", name: "Ada" });
    assert.equal((await server.call(`/LambdaFlow/${key}/phase`)).phase, "done");
    const runs = fake.invokes.slice(first).filter((c) => c.event.path === "/invoke/LambdaFlow/run");
    assert.ok(runs.length >= 5, `every suspension ends the function: ${runs.length} invokes`);
    assert.ok(runs.every((c) => c.event.headers["x-restate-service-key"] === key));
    assert.deepEqual(fake.refused, []);
  });

  check("Lambda: a handler that fails is retried, a terminal error ends the invocation", async () => {
    const key = unique("fails");
    failures.set(key, 3);
    assert.equal(await server.call("/LambdaGreeter/fails", key), "at last");
    const r = await server.request("/LambdaGreeter/terminal");
    assert.equal(r.status, 418);
  });

  const retried = async (answer, code, message) => {
    fake.next = [answer, answer];
    const { invocationId } = await server.send("/LambdaGreeter/greet", "again");
    assert.equal((await attach(server, invocationId)).body, "Hello, again!");
    assert.equal(fake.next.length, 0);
    const events = await server.sql(`SELECT event_json FROM sys_journal_events WHERE id = '${invocationId}'`);
    const event = JSON.parse(events[0].event_json);
    assert.equal(event.restate_doc_error_code, code);
    assert.match(event.error_message, message);
  };
  check("Lambda: a function that fails outside of the SDK is retried", async () => {
    const payload = '{"errorType":"Runtime.ExitError","errorMessage":"RequestId: 1 Error: Runtime exited"}';
    await retried({ status: 200, headers: { "x-amz-function-error": "Unhandled" }, body: payload }, "RT0010", /function returned an error during execution: .*Runtime exited/);
  });
  check("Lambda: throttling is retried as a rate limit", async () => {
    const headers = { "x-amzn-errortype": "TooManyRequestsException", "retry-after": "0" };
    await retried({ status: 429, headers, body: '{"message":"Rate Exceeded."}' }, "RT0023", /rate limited due to '429/);
  }, { differs: "throttling is any other error of the API (RT0010); here it is RT0023 as over HTTP, and retry-after counts" });
  check("Lambda: a payload that is too large for AWS", async () => {
    await retried({ status: 413, headers: {}, body: '{"message":"must be smaller"}' }, "RT0019", /content too large/);
  }, { differs: "any other error of the API (RT0010); here it is RT0019 as over HTTP" });
  check("Lambda: errors of the API", async () => {
    const headers = { "x-amzn-errortype": "ServiceException" };
    await retried({ status: 500, headers, body: '{"Message":"internal"}' }, "RT0010", /lambda service returned error: .*ServiceException: internal/);
  });
  check("Lambda: answers that are no responses of a service", async () => {
    await retried({ status: 200, headers: {}, body: '"hello"' }, "RT0010", /function response could not be deserialized: /);
    await retried({ status: 200, headers: {}, body: '{"statusCode":200,"body":"%%%","isBase64Encoded":true}' }, "RT0010", official ? /./ : /not base64/);
  });

  check("Lambda: large values, compressed where the function can", async () => {
    const text = "0123456789abcdef".repeat(1 << 16); // 1 MiB
    const first = fake.invokes.length;
    assert.equal(await server.call("/LambdaGreeter/echo", text.repeat(4)), text.repeat(4));
    const [{ event, result }] = fake.invokes.slice(first);
    assert.equal(event.headers["content-encoding"], zstd ? "zstd" : undefined);
    assert.equal(event.headers["accept-encoding"], zstd ? "zstd" : undefined);
    assert.equal(result.headers["content-encoding"], zstd ? "zstd" : undefined);
    if (zstd) assert.ok(event.body.length < 100_000 && result.body.length < 100_000);
  });

  check("Lambda: payloads are shown by the function's serdes", async () => {
    const post = async (path, body) => {
      const r = await fetch(`${server.admin}/internal/services/LambdaGreeter/serdes/${path}`, { method: "POST", body });
      return [r.status, await r.text()];
    };
    assert.deepEqual(await post("decode/shown/input", "HELLO"), [200, '"hello"']);
    assert.deepEqual(await post("encode/shown/input", '"hello"'), [200, "HELLO"]);
    const [status, text] = await post("decode/nope", "HELLO");
    assert.equal(status, 500);
    assert.match(JSON.parse(text).message, /^Internal server error: got status code '404'\. This might indicate the SDK doesn't support/);
  });
  check("Lambda: a role is assumed, its credentials are kept", async () => {
    const byRole = arnOf("by-role", "us-west-2");
    const r = await register({ arn: byRole, assume_role_arn: role });
    assert.equal(r.status, 201, JSON.stringify(r.body));
    const shown = (await server.adminRequest(`/deployments/${r.body.id}`, { method: "GET" })).body;
    assert.equal(shown.assume_role_arn, role);
    const first = fake.invokes.length;
    assert.equal(await server.call("/LambdaGreeter/greet", "role"), "Hello, role!");
    assert.equal(fake.invokes[first].arn, byRole);
    assert.match(fake.invokes[first].accessKeyId, /^ASIA/);
    assert.match(fake.sessionName, /^restate-\d+$/);
    // The official server keeps them in each partition, so a few more calls of STS are its way.
    const most = fake.assumed + (official ? 24 : 0);
    for (let i = 0; i < 40; i++) await server.call("/LambdaGreeter/greet", "again");
    assert.ok(fake.assumed <= most, `its credentials are kept, but the role was assumed ${fake.assumed} times`);
  });

  check("Lambda: a function that does not answer is let go by a shutdown and called again after it", async () => {
    const key = unique("hangs");
    const { invocationId } = await server.send("/LambdaGreeter/hangs", key);
    await eventually(() => seen(key) === 1);
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    await server.launch();
    assert.equal((await attach(server, invocationId)).body, 2);
  });

  check("Lambda: registrations that fail say why", async () => {
    let r = await register({ arn: "arn:aws:lambda:eu-central-1:123456789012:function:unqualified" });
    assert.equal(r.status, 400, JSON.stringify(r.body));
    r = await register({ arn: arnOf("missing") });
    assert.equal(r.status, 500);
    assert.match(r.body.message, /ResourceNotFoundException.*Function not found/);
    r = await register({ arn: arnOf("services"), assume_role_arn: `${role}-unknown`, force: true });
    assert.equal(r.status, 500);
    assert.match(r.body.message, /role.*AccessDenied|AccessDenied.*role/s);
  });
});

describe("AWS Lambda without access", () => {
  let fake, server;
  before(async () => {
    fake = await FakeLambda.start({});
    server = await Server.start({ env: fake.env({ AWS_SECRET_ACCESS_KEY: "wrong" }) });
  });
  after(async () => {
    await server?.dispose();
    await fake?.stop();
  });
  check("Lambda: a wrong secret is refused by AWS and reported", async () => {
    const r = await server.adminRequest("/deployments", { body: { arn: arnOf("any") } });
    assert.equal(r.status, 500);
    assert.match(r.body.message, /InvalidSignatureException.*The request signature we calculated does not match/);
    assert.equal(fake.refused.length, official ? 5 : 1, "trying again would not help");
  });
  check("Lambda: an endpoint that is not there, and a shutdown during a registration", async () => {
    await fake.stop();
    const register = () => server.adminRequest("/deployments", { body: { arn: arnOf("any") } });
    const r = await register();
    assert.equal(r.status, 500);
    assert.match(r.body.message, /Connection refused/);
    const pending = register().catch(() => {});
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    await pending;
  });
});
