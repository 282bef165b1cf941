// A fake OpenTelemetry collector: takes OTLP as JSON or protobuf over HTTP, and over gRPC (h2c), on one port each. `spans` collects what
// came, with names and shapes as in OTLP's JSON; `requests` the headers of every export.
import { createServer as createHttp } from "node:http";
import { createServer as createHttp2 } from "node:http2";

// ---- protobuf, just enough for traces ----
function fields(buffer) {
  const out = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = buffer[at++];
      if (byte === undefined) throw new Error("truncated protobuf");
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < buffer.length) {
    const tag = Number(varint());
    const wire = tag & 7;
    let value;
    if (wire === 0) value = varint();
    else if (wire === 1) (value = buffer.readBigUInt64LE(at)), (at += 8);
    else if (wire === 5) (value = buffer.readUInt32LE(at)), (at += 4);
    else if (wire === 2) {
      const length = Number(varint());
      value = buffer.subarray(at, at + length);
      if (value.length !== length) throw new Error("truncated protobuf");
      at += length;
    } else throw new Error(`wire type ${wire}`);
    out.push([tag >> 3, value]);
  }
  return out;
}
const all = (list, number) => list.filter(([n]) => n === number).map(([, v]) => v);
const one = (list, number) => all(list, number)[0];
const text = (buffer) => buffer?.toString("utf8") ?? "";
const hex = (buffer) => buffer?.toString("hex") ?? "";

function attribute(buffer) {
  const pair = fields(buffer);
  const [[number, value]] = fields(one(pair, 2));
  const decoded = number === 1 ? { stringValue: text(value) } : number === 2 ? { boolValue: value === 1n } : { intValue: String(BigInt.asIntN(64, value)) };
  return { key: text(one(pair, 1)), value: decoded };
}
function span(buffer) {
  const f = fields(buffer);
  const status = fields(one(f, 15) ?? Buffer.alloc(0));
  return {
    traceId: hex(one(f, 1)),
    spanId: hex(one(f, 2)),
    traceState: text(one(f, 3)),
    parentSpanId: one(f, 4) && hex(one(f, 4)),
    flags: one(f, 16),
    name: text(one(f, 5)),
    kind: Number(one(f, 6)),
    startTimeUnixNano: String(one(f, 7)),
    endTimeUnixNano: String(one(f, 8)),
    attributes: all(f, 9).map(attribute),
    events: all(f, 11).map((e) => ({ timeUnixNano: String(one(fields(e), 1)), name: text(one(fields(e), 2)), attributes: all(fields(e), 3).map(attribute) })),
    links: all(f, 13).map((l) => ({ traceId: hex(one(fields(l), 1)), spanId: hex(one(fields(l), 2)), attributes: all(fields(l), 4).map(attribute) })),
    status: { message: text(one(status, 2)), code: Number(one(status, 3) ?? 0) },
  };
}
export function decodeRequest(buffer) {
  return {
    resourceSpans: all(fields(buffer), 1).map((r) => ({
      resource: { attributes: all(fields(one(fields(r), 1)), 1).map(attribute) },
      scopeSpans: all(fields(r), 2).map((s) => ({ scope: { name: text(one(fields(one(fields(s), 1)), 1)) }, spans: all(fields(s), 2).map(span) })),
    })),
  };
}

const value = (v) => v.stringValue ?? v.boolValue ?? Number(v.intValue);
export const attributes = (s) => Object.fromEntries(s.attributes.map((a) => [a.key, value(a.value)]));

export class Collector {
  static async start() {
    const c = new Collector();
    c.spans = [];
    c.requests = [];
    c.resources = [];
    c.refuse = 0; // HTTP status (gRPC: UNAVAILABLE) to answer with
    c.http = createHttp((request, response) => c.onHttp(request, response));
    c.grpc = createHttp2((request, response) => c.onGrpc(request, response));
    for (const server of [c.http, c.grpc]) await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    c.httpPort = c.http.address().port;
    c.grpcPort = c.grpc.address().port;
    return c;
  }
  close() {
    this.http.closeAllConnections();
    this.http.close();
    this.grpc.close();
  }
  clear() {
    this.spans.length = this.requests.length = this.resources.length = 0;
  }
  take(message, request) {
    this.requests.push({ path: request.url, headers: request.headers });
    for (const r of message.resourceSpans) {
      this.resources.push(r.resource);
      for (const s of r.scopeSpans) {
        if (s.scope.name !== "services") throw new Error(`scope ${s.scope.name}`);
        this.spans.push(...s.spans);
      }
    }
  }
  async onHttp(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    if (this.refuse) return response.writeHead(this.refuse).end();
    const json = request.headers["content-type"] === "application/json";
    this.take(json ? JSON.parse(body) : decodeRequest(body), request);
    response.writeHead(200, { "content-type": request.headers["content-type"] }).end(json ? "{}" : "");
  }
  async onGrpc(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const refused = this.refuse !== 0;
    if (!refused) {
      if (body[0] !== 0 || body.readUInt32BE(1) !== body.length - 5) throw new Error("no gRPC frame");
      this.take(decodeRequest(body.subarray(5)), request);
    }
    response.writeHead(200, { "content-type": "application/grpc" });
    response.addTrailers({ "grpc-status": refused ? "14" : "0" });
    response.end(refused ? undefined : Buffer.alloc(5));
  }
}
