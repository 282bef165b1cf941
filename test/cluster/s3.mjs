// A small S3 endpoint in memory for snapshots: path style, conditional writes by ETag, ranges, listing, multi-delete, multipart uploads.
// Signatures are not checked. `down` makes it answer 503. `requests` is what it was asked.
import { createHash } from "node:crypto";
import { createServer } from "node:http";

const xml = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

export class S3 {
  static async start(bucket = "snapshots", host = "127.0.0.1") {
    const s3 = new S3();
    Object.assign(s3, { bucket, host, objects: new Map(), uploads: new Map(), requests: [], down: false });
    s3.server = createServer((request, response) => {
      const chunks = [];
      request.on("data", (c) => chunks.push(c));
      request.on("end", () => s3.handle(request, unchunk(request, Buffer.concat(chunks)), response));
    });
    await new Promise((resolve) => s3.server.listen(0, host, resolve));
    s3.port = s3.server.address().port;
    s3.endpoint = `http://${host}:${s3.port}`;
    return s3;
  }
  // The variables of the official guide.
  env(prefix = "test") {
    return {
      RESTATE_WORKER__SNAPSHOTS__DESTINATION: `s3://${this.bucket}/${prefix}`,
      RESTATE_WORKER__SNAPSHOTS__AWS_REGION: "local",
      RESTATE_WORKER__SNAPSHOTS__AWS_ENDPOINT_URL: this.endpoint,
      RESTATE_WORKER__SNAPSHOTS__AWS_ALLOW_HTTP: "true",
      RESTATE_WORKER__SNAPSHOTS__AWS_ACCESS_KEY_ID: "minioadmin",
      RESTATE_WORKER__SNAPSHOTS__AWS_SECRET_ACCESS_KEY: "minioadmin",
    };
  }
  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
  keys(prefix = "") {
    return [...this.objects.keys()].filter((k) => k.startsWith(prefix)).sort();
  }
  json(key) {
    const object = this.objects.get(key);
    return object && JSON.parse(object.body.toString("utf8"));
  }

  handle(request, body, response) {
    const url = new URL(request.url, this.endpoint);
    const [, bucket, ...rest] = decodeURIComponent(url.pathname).split("/");
    const key = rest.join("/");
    this.requests.push(`${request.method} ${key}${url.search}`);
    const answer = (status, headers = {}, content = "") => {
      response.writeHead(status, { "content-length": Buffer.byteLength(content), ...headers });
      response.end(request.method === "HEAD" ? undefined : content);
    };
    const error = (status, code) => answer(status, { "content-type": "application/xml" }, `<Error><Code>${code}</Code><Message>${code}</Message></Error>`);
    if (this.down) return error(503, "SlowDown");
    if (bucket !== this.bucket) return error(404, "NoSuchBucket");
    const q = url.searchParams;
    if (request.method === "GET" && key === "") return this.list(q, answer);
    if (request.method === "POST" && q.has("delete")) {
      const keys = [...body.toString("utf8").matchAll(/<Key>([^<]*)<\/Key>/g)].map((m) => m[1].replaceAll("&lt;", "<").replaceAll("&amp;", "&"));
      for (const k of keys) this.objects.delete(k);
      return answer(200, {}, `<DeleteResult>${keys.map((k) => `<Deleted><Key>${xml(k)}</Key></Deleted>`).join("")}</DeleteResult>`);
    }
    if (request.method === "POST" && q.has("uploads")) {
      const id = `u${this.uploads.size + 1}`;
      this.uploads.set(id, new Map());
      return answer(200, {}, `<InitiateMultipartUploadResult><Bucket>${bucket}</Bucket><Key>${xml(key)}</Key><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
    }
    if (request.method === "PUT" && q.has("uploadId")) {
      this.uploads.get(q.get("uploadId"))?.set(Number(q.get("partNumber")), body);
      return answer(200, { etag: tag(body) });
    }
    if (request.method === "POST" && q.has("uploadId")) {
      const parts = [...this.uploads.get(q.get("uploadId"))].sort((a, b) => a[0] - b[0]).map(([, part]) => part);
      this.put(key, Buffer.concat(parts));
      return answer(200, {}, `<CompleteMultipartUploadResult><Key>${xml(key)}</Key><ETag>${this.objects.get(key).etag}</ETag></CompleteMultipartUploadResult>`);
    }
    const object = this.objects.get(key);
    switch (request.method) {
      case "PUT":
        if (request.headers["if-none-match"] === "*" && object) return error(412, "PreconditionFailed");
        if (request.headers["if-match"] && request.headers["if-match"] !== object?.etag) return error(object ? 412 : 404, object ? "PreconditionFailed" : "NoSuchKey");
        this.put(key, body);
        return answer(200, { etag: this.objects.get(key).etag });
      case "HEAD":
      case "GET": {
        if (!object) return error(404, "NoSuchKey");
        const headers = { etag: object.etag, "last-modified": object.modified };
        const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
        if (!range) return answer(200, request.method === "HEAD" ? { ...headers, "content-length": object.body.length } : headers, object.body);
        const [from, to] = [Number(range[1]), range[2] ? Math.min(Number(range[2]), object.body.length - 1) : object.body.length - 1];
        return answer(206, { ...headers, "content-range": `bytes ${from}-${to}/${object.body.length}` }, object.body.subarray(from, to + 1));
      }
      case "DELETE":
        this.objects.delete(key);
        return answer(204);
      default:
        return error(405, "MethodNotAllowed");
    }
  }
  put(key, body) {
    this.objects.set(key, { body, etag: tag(body), modified: new Date().toUTCString() });
  }
  list(q, answer) {
    const prefix = q.get("prefix") ?? "";
    const delimiter = q.get("delimiter");
    const contents = [];
    const prefixes = new Set();
    for (const key of this.keys(prefix)) {
      const at = delimiter ? key.indexOf(delimiter, prefix.length) : -1;
      if (at >= 0) prefixes.add(key.slice(0, at + 1));
      else contents.push(key);
    }
    const entry = (k) => `<Contents><Key>${xml(k)}</Key><LastModified>${new Date(this.objects.get(k).modified).toISOString()}</LastModified><ETag>${this.objects.get(k).etag}</ETag><Size>${this.objects.get(k).body.length}</Size></Contents>`;
    answer(
      200,
      { "content-type": "application/xml" },
      `<ListBucketResult><Name>${this.bucket}</Name><Prefix>${xml(prefix)}</Prefix><KeyCount>${contents.length}</KeyCount><IsTruncated>false</IsTruncated>${contents.map(entry).join("")}${[...prefixes].map((p) => `<CommonPrefixes><Prefix>${xml(p)}</Prefix></CommonPrefixes>`).join("")}</ListBucketResult>`,
    );
  }
}

function tag(body) {
  return `"${createHash("md5").update(body).digest("hex")}"`;
}

// The body without the chunk headers of a streaming signature.
function unchunk(request, body) {
  if (!/^STREAMING-/.test(request.headers["x-amz-content-sha256"] ?? "")) return body;
  const parts = [];
  for (let at = 0; at < body.length; ) {
    const end = body.indexOf("\r\n", at);
    const size = Number.parseInt(body.subarray(at, end).toString("latin1"), 16);
    if (!size) break;
    parts.push(body.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
  return Buffer.concat(parts);
}
