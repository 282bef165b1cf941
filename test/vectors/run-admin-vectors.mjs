// Replays the captured request/response pairs of admin-vectors.json against a freshly started server with nothing registered
// (format: spec/admin-api.md §27).
//
//   node run-admin-vectors.mjs [options] <ingress url> <admin url>
//     --only TEXT        only vectors whose name contains TEXT (those before it may be needed: they set up the server)
//     --file PATH        another vector file
//     --quiet            only failures and the closing line
//
// Starts the endpoints that the vectors talk about by itself, on free ports of the loopback interface. Needs node 20 and
// @restatedev/restate-sdk. Exit status 1 if a vector failed.
import fs from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

// The SDK (1.17) needs Node >= 22; this lets it run on Node 20 too.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new Promise((a, b) => ((resolve = a), (reject = b)));
  return { promise, resolve, reject };
};
const restate = await import("@restatedev/restate-sdk");

// ---- arguments ----

function usage(problem) {
  console.error(`${problem}\nusage: node run-admin-vectors.mjs [options] <ingress url> <admin url>`);
  process.exit(2);
}

function parseArguments(argv) {
  const options = { only: "", quiet: false, file: new URL("./admin-vectors.json", import.meta.url) };
  const urls = [];
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === "--only") options.only = argv[++i];
    else if (argv[i] === "--file") options.file = argv[++i];
    else if (argv[i] === "--quiet") options.quiet = true;
    else if (argv[i].startsWith("--")) usage(`unknown option ${argv[i]}`);
    else urls.push(new URL(argv[i]));
  }
  if (urls.length !== 2) usage("two URLs are needed");
  [options.ingress, options.admin] = urls;
  return options;
}
const options = parseArguments(process.argv.slice(2));

// ---- endpoints ----

const servers = [];
async function listen(server) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  servers.push(server);
  return `http://127.0.0.1:${server.address().port}`;
}

const greeter = {
  greet: async (ctx, name) => `Hello ${name}`,
  slow: async (ctx, ms) => {
    await ctx.sleep(ms);
    return "slow";
  },
};
const demo = [
  restate.service({ name: "Greeter", handlers: greeter }),
  restate.object({
    name: "Counter",
    handlers: {
      add: async (ctx, n) => {
        const sum = ((await ctx.get("count")) ?? 0) + n;
        ctx.set("count", sum);
        return sum;
      },
      get: restate.handlers.object.shared(async (ctx) => (await ctx.get("count")) ?? 0),
    },
  }),
  restate.workflow({ name: "Wf", handlers: { run: async (ctx, x) => x, signal: async () => "ok" } }),
];
const breaking = [restate.object({ name: "Greeter", handlers: { greet: async () => "hi" } })];

const everyOption = {
  documentation: "doc", metadata: { k: "v" }, inactivityTimeout: 1000, abortTimeout: 2000, journalRetention: 3000,
  enableLazyState: true, retryPolicyInitialInterval: 1, retryPolicyMaxInterval: 2, retryPolicyMaxAttempts: 4,
  retryPolicyExponentiationFactor: 3, retryPolicyOnMaxAttempts: "KILL",
};
const manifest = (services, more) => ({
  minProtocolVersion: 5, maxProtocolVersion: 7, protocolMode: "BIDI_STREAM", services, ...more,
});
const fixedManifests = {
  openapi: manifest([{ name: "OpenAPI", ty: "SERVICE", handlers: [] }]),
  old: manifest([{ name: "Old", ty: "SERVICE", handlers: [] }], { minProtocolVersion: 1, maxProtocolVersion: 2 }),
  full: manifest([
    { name: "Full", ty: "VIRTUAL_OBJECT", ...everyOption, idempotencyRetention: 4000, ingressPrivate: false,
      handlers: [
        { name: "ex", ty: "EXCLUSIVE", ...everyOption, idempotencyRetention: 5000, ingressPrivate: true,
          input: { required: true, contentType: "application/json", jsonSchema: { type: "object" } },
          output: { contentType: "application/json", jsonSchema: { type: "string" } } },
        { name: "sh", ty: "SHARED", input: { required: false, contentType: "*/*" },
          output: { contentType: "application/octet-stream", setContentTypeIfEmpty: true } }] },
    { name: "Flow", ty: "WORKFLOW", handlers: [{ name: "run", ty: "WORKFLOW", workflowCompletionRetention: 6000 }] },
  ], { protocolMode: "REQUEST_RESPONSE" }),
};
const fixedServer = http.createServer((request, response) => {
  const found = fixedManifests[request.url.split("/")[1]];
  response.writeHead(found ? 200 : 404, { "content-type": "application/vnd.restate.endpointmanifest.v4+json" });
  response.end(found ? JSON.stringify(found) : "");
});

async function closedAddress() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  await new Promise((resolve) => server.close(resolve));
  return url;
}

// ---- requests ----

function send(base, { method, path, headers = {}, body = null }) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: base.hostname, port: base.port, method, path, headers, timeout: 30000 }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }));
      response.on("error", reject);
    });
    request.on("timeout", () => request.destroy(new Error("no answer within 30 s")));
    request.on("error", reject);
    if (body !== null) request.setHeader("content-length", Buffer.byteLength(body));
    request.end(body);
  });
}

async function sendToIngress(path, body) {
  const answer = await send(options.ingress, {
    method: "POST", path, headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });
  if (answer.status >= 300) throw new Error(`ingress ${path}: ${answer.status} ${answer.body}`);
  return JSON.parse(answer.body).invocationId;
}

async function finished(id) {
  const answer = await send(options.ingress, { method: "GET", path: `/restate/invocation/${id}/attach` });
  if (answer.status !== 200) throw new Error(`attach ${id}: ${answer.status} ${answer.body}`);
  return id;
}

// ---- variables: made when a vector first asks for one ----

const recipes = {
  DEMO: () => listen(http2.createServer(restate.createEndpointHandler({ services: demo }))),
  BREAKING: () => listen(http2.createServer(restate.createEndpointHandler({ services: breaking }))),
  STATIC: () => listen(fixedServer),
  CLOSED: closedAddress,
  SLOW: async () => {
    const id = await sendToIngress("/Greeter/slow/send", 3_600_000);
    await sleep(500); // until it sleeps
    return id;
  },
  SCHED: () => sendToIngress("/Greeter/greet/send?delay=1h", "later"),
  DONE: async () => finished(await sendToIngress("/Greeter/greet/send", "you")),
  WF: async () => finished(await sendToIngress("/Wf/w1/run/send", "x")),
  REPEAT_IDS_1001: () =>
    JSON.stringify({ invocation_ids: Array(1001).fill("inv_10SHxgluLUdD1lkTq88qQW0vbQvK1e6i9b") }),
};
const variables = {};

async function substitute(text) {
  for (const [all, name] of text.matchAll(/\{\{(\w+)\}\}/g)) {
    if (!(name in variables) && recipes[name]) variables[name] = await recipes[name]();
    if (!(name in variables)) throw new Error(`${all} was not captured by an earlier vector`);
    text = text.replace(all, () => variables[name]);
  }
  return text;
}

async function substituteAll(value) {
  if (typeof value === "string") return substitute(value);
  if (Array.isArray(value)) return Promise.all(value.map(substituteAll));
  if (value && typeof value === "object") {
    const out = {};
    for (const [key, item] of Object.entries(value)) out[key] = await substituteAll(item);
    return out;
  }
  return value;
}

// ---- comparison ----

const typeOf = (v) => (v === null ? "null" : Array.isArray(v) ? "array" : v === true || v === false ? "bool" : typeof v);
const regex = (text) => (text.startsWith("(?is)") ? new RegExp(text.slice(5), "is") : new RegExp(text));
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const isOptional = (shape) => typeof shape === "string" && /^<[^>]*\?>$/.test(shape);

/** Why `value` does not have this shape, or null. */
function mismatch(shape, value, at = "$") {
  if (Array.isArray(shape)) {
    if (!Array.isArray(value)) return `${at}: expected an array`;
    for (let i = 0; i < value.length; i++) {
      const found = mismatch(shape[0], value[i], `${at}[${i}]`);
      if (found) return found;
    }
    return null;
  }
  if (shape && typeof shape === "object") return objectMismatch(shape, value, at);
  if (typeof shape !== "string") return same(shape, value) ? null : `${at}: ${JSON.stringify(value)} instead of ${shape}`;
  if (shape.startsWith("<")) {
    const types = shape.slice(1, -1).replace(/\?$/, "").split("|");
    return types.includes("any") || types.includes(typeOf(value)) ? null : `${at}: ${typeOf(value)} instead of ${shape}`;
  }
  if (shape.startsWith("~"))
    return typeof value === "string" && regex(shape.slice(1)).test(value) ? null : `${at}: ${value} does not match ${shape}`;
  let expected = shape;
  if (shape.startsWith("=")) expected = typeof value === "string" ? shape.slice(1) : JSON.parse(shape.slice(1));
  return same(expected, value) ? null : `${at}: ${JSON.stringify(value)} instead of ${JSON.stringify(expected)}`;
}

function objectMismatch(shape, value, at) {
  if (typeOf(value) !== "object") return `${at}: expected an object`;
  for (const key of Object.keys(value))
    if (!(key in shape) && !("..." in shape)) return `${at}.${key}: not expected`;
  for (const [key, item] of Object.entries(shape)) {
    if (key === "...") continue;
    if (!(key in value)) {
      if (isOptional(item)) continue;
      return `${at}.${key}: missing`;
    }
    const found = mismatch(item, value[key], `${at}.${key}`);
    if (found) return found;
  }
  return null;
}

function compare(expected, got) {
  if (got.status !== expected.status) return `status ${got.status} instead of ${expected.status}`;
  for (const [name, value] of Object.entries(expected.headers ?? {})) {
    const have = got.headers[name] ?? "";
    if (value.startsWith("~") ? !regex(value.slice(1)).test(have) : have !== value) return `header ${name}: "${have}" instead of "${value}"`;
  }
  const text = got.body.toString();
  if (typeof expected.body === "string" && text !== expected.body) return `body instead of ${JSON.stringify(expected.body)}`;
  if (expected.body_regex) {
    const subject = expected.body_regex.includes("hex:") ? `hex:${got.body.toString("hex")}` : text;
    if (!regex(expected.body_regex).test(subject)) return `body does not match ${expected.body_regex}`;
  }
  if (expected.json_shape !== undefined) {
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      return "body is not JSON";
    }
    return mismatch(expected.json_shape, value);
  }
  return null;
}

// ---- run ----

let passed = 0, failed = 0;
const say = (line) => options.quiet || console.log(line);

for (const vector of JSON.parse(fs.readFileSync(options.file, "utf8"))) {
  if (!vector.name.includes(options.only)) continue;
  let got, problem;
  try {
    got = await send(options.admin, await substituteAll(vector.request));
    problem = compare(await substituteAll(vector.response), got);
    for (const [name, path] of Object.entries(vector.capture ?? {})) variables[name] = JSON.parse(got.body)[path.slice(2)];
  } catch (error) {
    problem = error.message;
  }
  if (!problem) {
    passed++;
    say(`ok    ${vector.name}`);
    continue;
  }
  failed++;
  console.log(`FAIL  ${vector.name}: ${problem}`);
  if (got) console.log(`      ${vector.request.method} ${vector.request.path} -> ${got.status} ${got.body.toString().slice(0, 600)}`);
}
console.log(`${passed} passed, ${failed} failed`);
for (const server of servers) server.close();
process.exit(failed ? 1 : 0);
