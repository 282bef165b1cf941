// What is served below /ui (spec/admin-api.md §19): the page of our own, a directory of files, nothing when disabled.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Server } from "../sdk/harness.mjs";

const get = (server, path) => fetch(server.admin + path, { redirect: "manual" });
// Without the client tidying up the path.
const raw = (server, path) =>
  new Promise((resolve, reject) => {
    const socket = connect(server.ports.admin, "127.0.0.1", () => socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`));
    let text = "";
    socket.on("data", (d) => (text += d));
    socket.on("end", () => resolve(text));
    socket.on("error", reject);
  });

describe("/ui", () => {
  test("a page of our own, and its redirects", async () => {
    const server = await Server.start({});
    try {
      for (const [path, location] of [["/", "/ui/"], ["/ui", "/ui/"], ["/?a=b", "/ui/?a=b"], ["/v3/ui", "/ui/"]]) {
        const r = await get(server, path);
        assert.equal(r.status, 308, path);
        assert.equal(r.headers.get("location"), location);
      }
      for (const path of ["/ui/", "/ui/invocations/inv_1"]) {
        const r = await get(server, path);
        assert.equal(r.status, 200);
        assert.equal(r.headers.get("content-type"), "text/html; charset=utf-8");
        assert.equal(r.headers.get("service-worker-allowed"), "/");
        const page = await r.text();
        assert.match(page, /<title>Restate in C<\/title>/);
        assert.doesNotMatch(page, /(src|href)=|https?:\/\//, "nothing from elsewhere");
        new Function(page.match(/<script>([\s\S]*)<\/script>/)[1]); // parses
      }
    } finally {
      await server.dispose();
    }
  });

  describe("a directory", () => {
    let dir, server;
    before(async () => {
      dir = mkdtempSync(join(tmpdir(), "restate-ui-"));
      mkdirSync(join(dir, "ui/assets"), { recursive: true });
      writeFileSync(join(dir, "secret.txt"), "secret");
      writeFileSync(join(dir, "ui/index.html"), "<html>index</html>");
      writeFileSync(join(dir, "ui/assets/app-1.js"), "js");
      writeFileSync(join(dir, "ui/assets/a b.css"), "css");
      writeFileSync(join(dir, "ui/font.woff2"), Buffer.from([0, 1, 2, 255]));
      writeFileSync(join(dir, "ui/.hidden"), "hidden");
      server = await Server.start({ env: { RESTATE_EXTENSIONS__WEB_UI_DIR: join(dir, "ui") } });
    });
    after(async () => {
      await server?.dispose();
      rmSync(dir, { recursive: true, force: true });
    });

    test("files with their types; index.html for everything else", async () => {
      for (const [path, type, body] of [
        ["/ui/assets/app-1.js", "text/javascript", "js"],
        ["/ui/assets/a%20b.css", "text/css", "css"],
        ["/ui/", "text/html; charset=utf-8", "<html>index</html>"],
        ["/ui/assets/nope.js", "text/html; charset=utf-8", "<html>index</html>"],
        ["/ui/.hidden", "text/html; charset=utf-8", "<html>index</html>"],
      ]) {
        const r = await get(server, path);
        assert.equal(r.status, 200, path);
        assert.equal(r.headers.get("content-type"), type, path);
        assert.equal(await r.text(), body, path);
      }
      const font = await get(server, "/ui/font.woff2");
      assert.equal(font.headers.get("content-type"), "font/woff2");
      assert.deepEqual([...new Uint8Array(await font.arrayBuffer())], [0, 1, 2, 255]);
    });

    test("nothing outside of it", async () => {
      for (const path of ["/ui/../secret.txt", "/ui/%2e%2e/secret.txt", "/ui/..%2fsecret.txt", "/ui//etc/passwd", "/ui/%2fetc%2fpasswd", "/ui/assets/../../secret.txt"]) {
        const answer = await raw(server, path);
        assert.doesNotMatch(answer, /secret\n?$|root:/, path);
      }
    });
  });

  test("disabled: 404", async () => {
    const server = await Server.start({ env: { RESTATE_ADMIN__DISABLE_WEB_UI: "true" } });
    try {
      for (const path of ["/", "/ui", "/ui/", "/ui/x.js"]) assert.equal((await get(server, path)).status, 404, path);
    } finally {
      await server.dispose();
    }
  });

  test("a directory that is none stops the start", async () => {
    await assert.rejects(Server.start({ env: { RESTATE_EXTENSIONS__WEB_UI_DIR: "/nonexistent" } }), (error) => /server exited.*"code":1[\s\S]*cannot read the directory \/nonexistent/.test(error.message));
  });
});
