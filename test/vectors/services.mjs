// Services used by ingress-vectors.json (spec/ingress.md §14). Needs only the official TypeScript SDK.
//   npm i @restatedev/restate-sdk && PORT=21210 node services.mjs
// then register http://127.0.0.1:$PORT with the admin API of the server under test
// (POST /deployments {"uri":"http://127.0.0.1:21210"}).
import * as restate from "@restatedev/restate-sdk";

const { serde, TerminalError } = restate;

// The SDK (1.17) needs Node >= 22; this lets it run on Node 20 too.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new Promise((a, b) => ((resolve = a), (reject = b)));
  return { promise, resolve, reject };
};

const te = new TextEncoder();
const td = new TextDecoder();

// A serde for text/plain bodies; an empty string becomes an empty body.
const text = {
  contentType: "text/plain",
  serialize: (v) => te.encode(v),
  deserialize: (b) => td.decode(b),
};
// A serde with a JSON schema, so that discovery announces one ("JsonValue" rule).
const person = {
  contentType: "application/json",
  jsonSchema: {
    type: "object",
    title: "Person",
    properties: { name: { type: "string" } },
    required: ["name"],
  },
  serialize: (v) => (v === undefined ? new Uint8Array() : te.encode(JSON.stringify(v))),
  deserialize: (b) => (b.length === 0 ? undefined : JSON.parse(td.decode(b))),
};

let counter = 0; // process-local: proves whether a handler body ran again

const vec = restate.service({
  name: "Vec",
  handlers: {
    // JSON echo with the SDK's default serde
    echo: async (ctx, x) => x,
    // returns the request as the handler sees it
    req: restate.handlers.handler(
      { input: serde.binary, accept: "*/*" },
      async (ctx, body) => {
        const r = ctx.request();
        const headers = {};
        for (const [k, v] of r.headers) headers[k] = v;
        return {
          id: String(r.id),
          headers,
          attempt: Object.fromEntries(
            [...r.attemptHeaders.entries()].map(([k, v]) => [k, Array.isArray(v) ? v.join(",") : v])
          ),
          body: td.decode(body),
        };
      }
    ),
    greet: async (ctx, name) => `Hello ${name}`,
    // raw bytes in, raw bytes out, any content type accepted
    raw: restate.handlers.handler(
      { input: serde.binary, output: serde.binary, accept: "*/*" },
      async (ctx, b) => b
    ),
    // raw bytes, default accept of the binary serde (application/octet-stream)
    octet: restate.handlers.handler(
      { input: serde.binary, output: serde.binary },
      async (ctx, b) => b
    ),
    // accepts application/* only
    app: restate.handlers.handler(
      { input: serde.binary, output: text, accept: "application/*" },
      async (ctx, b) => `${b.length} bytes`
    ),
    plain: restate.handlers.handler({ input: text, output: text }, async (ctx, s) => s),
    // like plain, but announces its content type even if the output is empty
    plainAlways: restate.handlers.handler(
      { input: text, output: text, setOutputContentTypeIfEmpty: true },
      async (ctx, s) => s
    ),
    // input with a JSON schema
    schema: restate.handlers.handler({ input: person }, async (ctx, p) => p?.name ?? null),
    // returns undefined: empty body, no content type
    nothing: async () => {},
    // {code?: number, message?: string, metadata?: {}, stack?: bool}
    fail: async (ctx, p) => {
      throw new TerminalError(p?.message ?? "boom", {
        errorCode: p?.code,
        metadata: p?.metadata,
      });
    },
    // fails every attempt with a retryable error
    flaky: async () => {
      throw new Error("try again");
    },
    sleep: async (ctx, ms) => {
      await ctx.sleep(ms);
      return `slept ${ms}`;
    },
    // busy in user code (not suspended)
    busy: async (ctx, ms) => {
      await new Promise((r) => setTimeout(r, ms));
      return `busy ${ms}`;
    },
    // counts executions of this process
    count: async () => ++counter,
    rand: async (ctx) => ctx.rand.uuidv4(),
    // {service, handler, arg}: calls another handler; for private targets
    relay: async (ctx, p) =>
      ctx.genericCall({
        service: p.service,
        method: p.handler,
        key: p.key,
        parameter: p.arg,
        inputSerde: serde.json,
        outputSerde: serde.json,
      }),
    hidden: restate.handlers.handler({ ingressPrivate: true }, async () => "secret"),
    // creates an awakeable, publishes its id to VecObj/awk/setAwk, waits for it
    awk: async (ctx, key) => {
      const { id, promise } = ctx.awakeable();
      ctx.objectSendClient({ name: "VecObj" }, key ?? "awk").put(id);
      return await promise;
    },
    // idempotency results kept for two seconds only
    shortLived: restate.handlers.handler(
      { idempotencyRetention: 2000, journalRetention: 0 },
      async () => ++counter
    ),
  },
});

const vecObj = restate.object({
  name: "VecObj",
  handlers: {
    key: async (ctx) => ctx.key,
    put: async (ctx, v) => {
      ctx.set("v", v);
      return null;
    },
    get: restate.handlers.object.shared(async (ctx) => await ctx.get("v")),
    add: async (ctx, n) => {
      const s = ((await ctx.get("n")) ?? 0) + n;
      ctx.set("n", s);
      return s;
    },
    // holds the key's lock for p.ms
    slow: async (ctx, ms) => {
      await new Promise((r) => setTimeout(r, ms));
      return `slow ${ctx.key}`;
    },
    send: restate.handlers.object.shared(async (ctx) => `handler named send, key ${ctx.key}`),
  },
});

const vecWf = restate.workflow({
  name: "VecWf",
  handlers: {
    run: async (ctx, x) => {
      await ctx.promise("go");
      return { ran: x };
    },
    release: async (ctx, v) => {
      await ctx.promise("go").resolve(v ?? "ok");
      return "released";
    },
    key: async (ctx) => ctx.key,
    // busy in user code; a workflow shared handler never gets an automatic idempotency key
    slow: async (ctx, ms) => {
      await new Promise((r) => setTimeout(r, ms));
      return `slow ${ctx.key}`;
    },
  },
});

// whole service hidden from the ingress
const vecPrivate = restate.service({
  name: "VecPrivate",
  handlers: { hi: async () => "hi from private" },
  options: { ingressPrivate: true },
});

// explicit retry policy: 2 attempts, then the invocation is killed (terminal failure)
const vecRetry = restate.service({
  name: "VecRetry",
  handlers: {
    twice: async () => {
      throw new Error("always fails");
    },
  },
  options: {
    retryPolicy: {
      initialInterval: 10,
      maxInterval: 10,
      exponentiationFactor: 1,
      maxAttempts: 2,
      onMaxAttempts: "kill",
    },
  },
});

const services = [vec, vecObj, vecWf, vecPrivate, vecRetry];
const port = Number(process.env.PORT ?? 21210);
restate.serve({ services, port });
