// Replays the captured request/response pairs of ingress-vectors.json against a server (format: spec/ingress.md §14.2).
//
//   node run-ingress-vectors.mjs [options] <ingress url> <admin url>
//     --register URL     register the deployment of services.mjs first (POST /deployments)
//     --profile NAMES    comma-separated; the server must run with the configuration of these profiles:
//                        default  (as is), limits (request-size-limit 10KB, concurrent-api-requests-limit 3),
//                        vqueues  (experimental-enable-vqueues). Default: default. Others are skipped.
//     --only TEXT        only vectors whose name contains TEXT
//     --file PATH        another vector file
//     --timeout-ms N     per request, 30000
//     --quiet            only failures and the closing line
//
// Needs node 20, no packages. HTTP/1.1 is spoken over plain sockets, so that exactly the listed headers are sent.
// Exit status 1 if a vector failed.
import fs from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

// ---- arguments ----

function parseArguments(argv) {
  const options = { profiles: ["default"], only: "", register: null, timeoutMs: 30000, quiet: false };
  options.file = new URL("./ingress-vectors.json", import.meta.url);
  const urls = [];
  for (let i = 0; i < argv.length; i++) {
    const a = argv[i];
    if (a === "--profile") options.profiles = argv[++i].split(",");
    else if (a === "--only") options.only = argv[++i];
    else if (a === "--register") options.register = argv[++i];
    else if (a === "--file") options.file = argv[++i];
    else if (a === "--timeout-ms") options.timeoutMs = Number(argv[++i]);
    else if (a === "--quiet") options.quiet = true;
    else if (a.startsWith("--")) usage(`unknown option ${a}`);
    else urls.push(new URL(a));
  }
  if (urls.length !== 2) usage("two URLs are needed");
  [options.ingress, options.admin] = urls;
  return options;
}

function usage(problem) {
  console.error(`${problem}\nusage: node run-ingress-vectors.mjs [options] <ingress url> <admin url>`);
  process.exit(2);
}

const options = parseArguments(process.argv.slice(2));
const run = Date.now().toString(36) + Math.random().toString(36).slice(2, 6);

// ---- variables ----

const escapeRegex = (s) => s.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");

/** Replace ${NAME} by saved values; unknown names are an error of the vector. */
function substitute(text, vars, encode = (s) => s) {
  return text.replace(/\$\{([A-Z]+)\}/g, (all, name) => {
    if (!(name in vars)) throw new Error(`${all} has no value`);
    return encode(String(vars[name]));
  });
}

// ---- requests ----

function bodyOf(request, vars) {
  if (request.body_repeat) return Buffer.from(request.body_repeat.text.repeat(request.body_repeat.count));
  if (request.body === null || request.body === undefined) return null;
  return Buffer.from(substitute(request.body, vars));
}

/** [[name, value], ...] as listed; an array value is a repeated header. */
function headersOf(request, vars) {
  const list = [];
  for (const [name, value] of Object.entries(request.headers ?? {}))
    for (const one of Array.isArray(value) ? value : [value]) list.push([name, substitute(one, vars)]);
  return list;
}

function serialise(request, vars, base) {
  const body = bodyOf(request, vars);
  const lines = [`${request.method} ${substitute(request.path, vars)} HTTP/1.1`, `host: ${base.host}`];
  for (const [name, value] of headersOf(request, vars)) lines.push(`${name}: ${value}`);
  const chunked = request.transfer === "chunked";
  if (chunked) lines.push("transfer-encoding: chunked");
  else if (body) lines.push(`content-length: ${body.length}`);
  const parts = [Buffer.from(lines.join("\r\n") + "\r\n\r\n", "latin1")];
  if (chunked) parts.push(...chunks(body ?? Buffer.alloc(0)));
  else if (body) parts.push(body);
  return Buffer.concat(parts);
}

function chunks(body) {
  const out = [];
  for (let from = 0; from < body.length; from += 4096) {
    const part = body.subarray(from, from + 4096);
    out.push(Buffer.from(part.length.toString(16) + "\r\n"), part, Buffer.from("\r\n"));
  }
  out.push(Buffer.from("0\r\n\r\n"));
  return out;
}

/** A complete HTTP/1.1 response at the front of `data`, or null. 1xx responses are skipped. */
function parseResponse(data, ended) {
  const end = data.indexOf("\r\n\r\n");
  if (end < 0) return null;
  const [statusLine, ...lines] = data.subarray(0, end).toString("latin1").split("\r\n");
  const status = Number(statusLine.split(" ")[1]);
  if (status >= 100 && status < 200) return parseResponse(data.subarray(end + 4), ended);
  const headers = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    headers[name] = name in headers ? `${headers[name]}, ${line.slice(colon + 1).trim()}` : line.slice(colon + 1).trim();
  }
  let body = data.subarray(end + 4);
  if (headers["transfer-encoding"] === "chunked") {
    body = unchunk(body);
    if (!body) return null;
  } else if (headers["content-length"] !== undefined) {
    const length = Number(headers["content-length"]);
    if (body.length < length) return null;
    body = body.subarray(0, length);
  } else if (status !== 204 && status !== 304 && !ended) {
    return null;
  }
  return { status, headers, body: body.toString() };
}

function unchunk(data) {
  const parts = [];
  for (;;) {
    const eol = data.indexOf("\r\n");
    if (eol < 0) return null;
    const size = parseInt(data.subarray(0, eol).toString(), 16);
    if (data.length < eol + 2 + size + 2) return null;
    if (size === 0) return Buffer.concat(parts);
    parts.push(data.subarray(eol + 2, eol + 2 + size));
    data = data.subarray(eol + 2 + size + 2);
  }
}

const openSockets = new Set();

function exchangeHttp1(bytes, base) {
  return new Promise((resolve, reject) => {
    const host = base.hostname.replace(/^\[|\]$/g, "");
    const socket = net.connect({ host, port: Number(base.port || 80) });
    let data = Buffer.alloc(0);
    openSockets.add(socket);
    const done = (f, value) => {
      openSockets.delete(socket);
      socket.destroy();
      f(value);
    };
    const look = (ended) => {
      const response = parseResponse(data, ended);
      if (response) done(resolve, response);
      return response;
    };
    socket.setTimeout(options.timeoutMs, () => done(reject, new Error("timeout")));
    socket.on("data", (d) => {
      data = Buffer.concat([data, d]);
      look(false);
    });
    socket.on("error", (e) => done(reject, e));
    socket.on("close", () => look(true) ?? done(reject, new Error("connection closed without a response")));
    socket.write(bytes);
  });
}

function exchangeHttp2(request, vars, base) {
  return new Promise((resolve, reject) => {
    const session = http2.connect(base.origin);
    const headers = { ":method": request.method, ":path": substitute(request.path, vars) };
    for (const [name, value] of headersOf(request, vars)) {
      const key = name.toLowerCase();
      headers[key] = key in headers ? [headers[key], value].flat() : value;
    }
    const body = bodyOf(request, vars);
    if (body && request.transfer !== "chunked") headers["content-length"] = body.length;
    const stream = session.request(headers, { endStream: body === null });
    const response = { status: 0, headers: {}, body: "" };
    const fail = (e) => {
      session.destroy();
      reject(e);
    };
    session.on("error", fail);
    stream.on("error", fail);
    stream.setTimeout(options.timeoutMs, () => fail(new Error("timeout")));
    stream.on("response", (h) => {
      response.status = h[":status"];
      for (const [name, value] of Object.entries(h)) if (!name.startsWith(":")) response.headers[name] = String(value);
    });
    const parts = [];
    stream.on("data", (d) => parts.push(d));
    stream.on("end", () => {
      response.body = Buffer.concat(parts).toString();
      session.close();
      resolve(response);
    });
    if (body !== null) stream.end(body);
  });
}

function exchange(request, vars, base) {
  if (request.http === "h2c") return exchangeHttp2(request, vars, base);
  return exchangeHttp1(serialise(request, vars, base), base);
}

// ---- steps ----

function save(step, response, vars) {
  for (const [name, what] of Object.entries(step.save ?? {})) {
    if ("header" in what) {
      vars[name] = response.headers[what.header.toLowerCase()];
    } else if ("json" in what) {
      const value = JSON.parse(response.body);
      const field = what.json === "" ? value : value[what.json];
      vars[name] = typeof field === "string" ? field : JSON.stringify(field);
    } else {
      vars[name] = response.body;
    }
    if (vars[name] === undefined)
      throw new Error(`step ${step.request.method} ${step.request.path}: nothing to save as ${name} in status ${response.status}: ${response.body}`);
  }
}

/** Returns what goes on in the background. */
async function runSteps(steps, vars) {
  const background = [];
  for (const step of steps ?? []) {
    if (step.sleep_ms !== undefined) {
      await sleep(step.sleep_ms);
      continue;
    }
    const base = step.base === "admin" ? options.admin : options.ingress;
    if (step.background || step.later_ms !== undefined) {
      const later = sleep(step.later_ms ?? 0).then(() => exchange(step.request, vars, base));
      background.push(later.then((response) => save(step, response, vars)).catch(() => {}));
    } else {
      save(step, await exchange(step.request, vars, base), vars);
    }
  }
  return background;
}

// ---- expectations ----

const clip = (s) => (s.length > 600 ? `${s.slice(0, 600)}... (${s.length} characters)` : s);

function compare(expected, got, vars) {
  const problems = [];
  if (got.status !== expected.status) problems.push(`status ${got.status}, expected ${expected.status}`);
  for (const [name, want] of Object.entries(expected.headers ?? {})) {
    const have = got.headers[name.toLowerCase()];
    if (want === null) {
      if (have !== undefined) problems.push(`header ${name}: ${have}, expected none`);
    } else if (typeof want === "string") {
      const text = substitute(want, vars);
      if (have !== text) problems.push(`header ${name}: ${have}, expected ${text}`);
    } else if (have === undefined || !new RegExp(substitute(want.regex, vars, escapeRegex)).test(have)) {
      problems.push(`header ${name}: ${have}, expected /${want.regex}/`);
    }
  }
  if (expected.body !== undefined) {
    const text = substitute(expected.body, vars);
    if (got.body !== text) problems.push(`body ${clip(got.body)}\n      expected ${clip(text)}`);
  }
  if (expected.body_regex !== undefined) {
    const pattern = substitute(expected.body_regex, vars, escapeRegex);
    if (!new RegExp(pattern, "s").test(got.body)) problems.push(`body ${clip(got.body)}\n      expected /${clip(pattern)}/`);
  }
  return problems;
}

const BACKGROUND_WAIT_MS = 5000;

async function runVector(vector) {
  const vars = { RUN: run };
  let background = [];
  try {
    background = await runSteps(vector.setup?.steps, vars);
    const response = await exchange(vector.request, vars, options.ingress);
    return compare(vector.response, response, vars);
  } catch (e) {
    return [e.message];
  } finally {
    // Later vectors must find the server idle; whatever hangs is cut.
    await Promise.race([Promise.all(background), sleep(BACKGROUND_WAIT_MS)]);
    for (const socket of openSockets) socket.destroy();
  }
}

async function register() {
  const body = JSON.stringify({ uri: options.register });
  const request = { method: "POST", path: "/deployments", headers: { "content-type": "application/json" }, body };
  const response = await exchange(request, {}, options.admin);
  if (response.status >= 300 && response.status !== 409)
    throw new Error(`registration of ${options.register} failed: ${response.status} ${response.body}`);
}

async function main() {
  const vectors = JSON.parse(fs.readFileSync(options.file, "utf8"));
  let passed = 0, failed = 0, skipped = 0;
  if (options.register) await register();
  for (const vector of vectors) {
    const profile = vector.setup?.profile ?? "default";
    if (!options.profiles.includes(profile) || !vector.name.includes(options.only)) {
      skipped++;
      continue;
    }
    const problems = await runVector(vector);
    if (problems.length === 0) {
      passed++;
      if (!options.quiet) console.log(`pass  ${vector.name}`);
    } else {
      failed++;
      console.log(`FAIL  ${vector.name}`);
      for (const problem of problems) console.log(`      ${problem}`);
    }
  }
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exit(failed ? 1 : 0);
}

main().catch((e) => {
  console.error(e.message);
  process.exit(1);
});
