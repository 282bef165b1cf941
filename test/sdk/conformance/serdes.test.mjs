// Payloads as the serdes of an endpoint show them, for people (spec/admin-api.md §17, spec/service-protocol.md §3.11): the admin API
// passes them to the endpoint and its answer back.
import { after, before, describe } from "node:test";
import { createServer } from "node:http2";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { generateKeyPairSync } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Endpoint, Server, assert, check, eventually, restate, unique } from "./world.mjs";

// Upper case on the wire, lower case for people.
const upper = {
  contentType: "application/x-upper",
  serialize: (value) => new TextEncoder().encode(value.toUpperCase()),
  deserialize: (bytes) => new TextDecoder().decode(bytes).toLowerCase(),
  preview: { toJsonString: (value) => JSON.stringify(value), fromJsonString: (json) => JSON.parse(json) },
};
const shouter = (mark) =>
  restate.service({
    name: "Shouter",
    handlers: {
      shout: restate.handlers.handler(
        { input: { ...upper, serialize: (value) => upper.serialize(value + mark) }, output: restate.serde.json },
        async (_, text) => text,
      ),
    },
  });

describe("serdes", () => {
  let server, endpoint, old, first, signed, dir;
  const requests = [];
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "restate-serdes-"));
    const pem = join(dir, "key.pem");
    writeFileSync(pem, generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }));
    server = await Server.start({ env: { RESTATE_REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE: pem } });
    const publicKey = await eventually(() => /publickeyv1_\w+/.exec(server.log)?.[0]);
    old = await Endpoint.start(shouter("-1"));
    first = await server.register(old);
    endpoint = await Endpoint.with({
      services: [shouter("-2")],
      prefix: "/some/prefix",
      onRequest: (request) => void (request.url.includes("/serdes/") && requests.push(request)),
    });
    await server.register(endpoint, { additional_headers: { "x-extra": "yes" } });
    signed = await Endpoint.with({
      services: [restate.service({ name: "Signed", handlers: { h: restate.handlers.handler({ input: upper }, async () => 1) } })],
      identityKeys: [publicKey],
    });
    await server.register(signed);
  });
  after(async () => {
    await server?.dispose();
    for (const e of [old, endpoint, signed]) await e?.kill();
    rmSync(dir, { recursive: true, force: true });
  });
  const post = async (path, body) => {
    const r = await fetch(`${server.admin}/internal/services/${path}`, { method: "POST", body });
    return { status: r.status, type: r.headers.get("content-type"), text: await r.text() };
  };
  const message = (r) => {
    const { message, restate_code } = JSON.parse(r.text);
    assert.equal(restate_code, null);
    return message;
  };

  check("Serdes: decode and encode go through the endpoint", async () => {
    assert.deepEqual(await post("Shouter/serdes/decode/shout/input", "HELLO"), { status: 200, type: null, text: '"hello"' });
    assert.deepEqual(await post("Shouter/serdes/encode/shout/input", '"hello"'), { status: 200, type: null, text: "HELLO-2" });
    const [decode, encode] = requests.splice(0);
    assert.equal(decode.url, "/some/prefix/serdes/Shouter/decode/shout/input");
    assert.equal(encode.url, "/some/prefix/serdes/Shouter/encode/shout/input");
    const some = ({ headers: h }) => [h["content-type"], h.accept, h["x-restate-serdes-protocol"], h["x-extra"]];
    const claims = JSON.parse(Buffer.from(decode.headers["x-restate-jwt-v1"].split(".")[1], "base64url"));
    assert.equal(claims.aud, "/serdes/Shouter/decode/shout/input");
    assert.deepEqual(some(decode), ["application/octet-stream", "application/json", "v1", "yes"]);
    assert.deepEqual(some(encode), ["application/json", "*/*", "v1", "yes"]);
  });
  check("Serdes: the request is signed for an endpoint that checks it", async () => {
    const r = await post("Signed/serdes/encode/h/input", '"x"');
    assert.deepEqual([r.status, r.text], [200, "X"]);
  });
  check("Serdes: the latest deployment, or the one that is named", async () => {
    assert.equal((await post("Shouter/serdes/encode/shout/input", '"x"')).text, "X-2");
    assert.equal((await post(`Shouter/serdes/encode/shout/input?deployment=${first.id}`, '"x"')).text, "X-1");
  });
  check("Serdes: what does not exist, and what is no id", async () => {
    const nope = await post("Nope/serdes/encode/shout/input", '"x"');
    assert.equal(nope.status, 404);
    assert.equal(message(nope), "The requested service 'Nope' does not exist");
    const other = `${first.id.slice(0, -3)}abc`;
    const missing = await post(`Shouter/serdes/encode/shout/input?deployment=${other}`, '"x"');
    assert.equal(missing.status, 404);
    assert.equal(message(missing), `The requested deployment '${other}' does not exist`);
    assert.deepEqual(await post("Shouter/serdes/encode/shout/input?deployment=zzz", "x"), {
      status: 400,
      type: "text/plain; charset=utf-8",
      text: "Failed to deserialize query string: deployment: bad format",
    });
    assert.equal((await post("Shouter/serdes/encode/", "x")).status, 404);
    assert.equal((await post("Shouter/serdes/other/shout/input", "x")).status, 404);
    assert.equal((await fetch(`${server.admin}/internal/services/Shouter/serdes/decode/shout/input`)).status, 405);
  });
  check("Serdes: what the endpoint refuses is 500 with its answer", async () => {
    const unknown = await post("Shouter/serdes/decode/shout/output", "1");
    assert.equal(unknown.status, 500);
    assert.match(
      message(unknown),
      /^Internal server error: got status code '404'\. This might indicate the SDK doesn't support the serdes endpoint, or the serde name doesn't exist\. Response headers: \{.*"x-restate-server": "restate-sdk-typescript.*\}\. Body: \{"message":"No previewable serde found/,
    );
    const bad = await post("Shouter/serdes/encode/shout/input", "no json");
    assert.equal(bad.status, 500);
    assert.match(message(bad), /^Internal server error: got status code '422 Unprocessable Entity'\. Response headers: \{.*\}\. Body: \{"message":"Unexpected token/);
  });
  check("Serdes: a name of any characters", async () => {
    requests.length = 0;
    assert.equal((await post("Shouter/serdes/encode/a%20b/c%3Fd", "x")).status, 500);
    assert.equal(requests[0].url, "/some/prefix/serdes/Shouter/encode/a%20b/c%3Fd");
  }, { differs: "500 without asking: the URI that it builds is not valid" });
  check("Serdes: large payloads pass", async () => {
    const text = "a".repeat(5_000_000);
    assert.equal((await post("Shouter/serdes/encode/shout/input", JSON.stringify(text))).text, `${text.toUpperCase()}-2`);
    assert.equal((await post("Shouter/serdes/decode/shout/input", text.toUpperCase())).text, JSON.stringify(text));
  });
  check("Serdes: more than 32 MiB are refused", async () => {
    const r = await post("Shouter/serdes/decode/shout/input", "A".repeat(33 << 20));
    assert.deepEqual([r.status, r.text], [413, "Failed to buffer the request body: length limit exceeded"]);
  }, { differs: "no limit" });

  // An endpoint that misbehaves as `mode` says.
  const misbehaving = async (mode, body) => {
    const name = unique("Fake").replaceAll("-", "");
    const manifest = {
      minProtocolVersion: 5, maxProtocolVersion: 6, protocolMode: "BIDI_STREAM",
      services: [{ name, ty: "SERVICE", handlers: [{ name: "h" }] }],
    };
    let closed;
    const wasClosed = new Promise((resolve) => (closed = resolve));
    const fake = createServer((request, response) => {
      if (request.url === "/discover") {
        response.setHeader("content-type", "application/vnd.restate.endpointmanifest.v3+json");
        response.end(JSON.stringify(manifest));
        return;
      }
      request.stream.on("close", closed);
      mode(response);
    });
    await new Promise((resolve) => fake.listen(0, "127.0.0.1", resolve));
    try {
      const uri = `http://127.0.0.1:${fake.address().port}/`;
      await server.register({ uri });
      await body(`${name}/serdes/decode/any`, uri, wasClosed, fake);
    } finally {
      fake.close();
    }
  };
  check("Serdes: other answers of the endpoint", async () => {
    const status = (code) => (response) => {
      response.statusCode = code;
      response.end("why");
    };
    await misbehaving(status(503), async (path) => {
      const r = await post(path, "x");
      assert.equal(r.status, 500);
      assert.match(message(r), /^Internal server error: got status code '503 Service Unavailable'\. Response headers: \{.*\}\. Body: why$/);
    });
    await misbehaving(status(302), async (path) => assert.match(message(await post(path, "x")), /got status code '302 Found'/));
    await misbehaving(status(204), async (path) => assert.deepEqual(await post(path, "x"), { status: 200, type: null, text: "" }));
  });
  check("Serdes: an endpoint that breaks off, before and after its answer began", async () => {
    await misbehaving((response) => response.stream.close(2), async (path, uri) => {
      const r = await post(path, "x");
      assert.equal(r.status, 500);
      assert.ok(message(r).startsWith(`Internal server error: error when calling '${uri}': `), r.text);
    });
    const half = (response) => {
      response.write("half");
      setTimeout(() => response.stream.close(2), 100);
    };
    await misbehaving(half, (path) => assert.rejects(post(path, "x")));
  });
  check("Serdes: nobody listens any more", async () => {
    const gone = await Endpoint.start(restate.service({ name: "Gone", handlers: { h: async () => 1 } }));
    await server.register(gone);
    await gone.kill();
    const r = await post("Gone/serdes/decode/h/input", "x");
    assert.equal(r.status, 500);
    assert.match(message(r), /^Internal server error: error when calling 'http:\/\/127\.0\.0\.1:\d+\/': .*Connection refused \(os error 111\)$/);
  });
  check("Serdes: a client that leaves ends the request to the endpoint", async () => {
    await misbehaving((response) => response.write("some"), async (path, _, wasClosed) => {
      const leave = new AbortController();
      const r = await fetch(`${server.admin}/internal/services/${path}`, { method: "POST", body: "x", signal: leave.signal });
      assert.equal(r.status, 200);
      leave.abort();
      await wasClosed;
    });
  });
});
