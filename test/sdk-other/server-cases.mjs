// The cases of spec/invocation-lifecycle.md §15.2 (the server's end-to-end suite), and request signing, which have servers or deployments
// of their own.
import { after, before, describe } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server, eventually, sleep } from "../sdk/harness.mjs";
import { Program, language } from "./program.mjs";
import { at, check, client, quick, unique } from "./world.mjs";

const KiB = 1024;

export function ingressCases(w, c) {
  check(w, "Discovery: mode and version of the connection are as asked for", async () => {
    const { body } = await c.admin(`/deployments/${w.deployment.id}`, undefined, "GET");
    assert.equal(body.protocol_type, "REQUEST_RESPONSE" in w.programEnv ? "RequestResponse" : "BidiStream");
    assert.equal(body.http_version, w.registration.use_http_11 ? "HTTP/1.1" : "HTTP/2.0");
    assert.ok(body.max_protocol_version >= 5, JSON.stringify(body));
  });
  const ik = () => ({ headers: { "idempotency-key": unique("ik") } });

  check(w, "IngressTest.idempotentInvokeVirtualObject", async () => {
    const [key, once] = [unique("ingress"), ik()];
    const first = await c.request("Counter", key, "add", 2, once);
    const second = await c.request("Counter", key, "add", 2, once);
    assert.deepEqual([first.body, second.body], Array(2).fill({ oldValue: 0, newValue: 2 }));
    assert.equal(first.id, second.id);
    assert.deepEqual(await c.call("Counter", key, "add", 2, ik()), { oldValue: 2, newValue: 4 });
  });
  check(w, "IngressTest.idempotentInvokeService", async () => {
    const [key, once] = [unique("ingress"), ik()];
    const add = { service: "Counter", key, handler: "add", message: 2 };
    const proxied = (options) => w.server.call("/Proxy/call", add, options);
    assert.deepEqual(await Promise.all([proxied(once), proxied(once)]), Array(2).fill({ oldValue: 0, newValue: 2 }));
    assert.deepEqual(await proxied(ik()), { oldValue: 2, newValue: 4 });
  });
  check(w, "IngressTest.idempotentInvokeSend", async () => {
    const [key, once] = [unique("ingress"), ik()];
    const first = await c.send("Counter", key, "add", 2, once);
    const second = await c.send("Counter", key, "add", 2, once);
    assert.deepEqual([first.status, second.status, second.invocationId], ["Accepted", "PreviouslyAccepted", first.invocationId]);
    await c.counterValue(key, 2);
  });
  check(w, "IngressTest.idempotentSendThenAttachWIthIdempotencyKey", async () => {
    const once = ik();
    await w.server.send("/TestUtil/echo", "payload", once);
    const target = `/restate/invocation/TestUtil/echo/${once.headers["idempotency-key"]}`;
    for (const verb of ["attach", "output"])
      await eventually(async () => (await w.server.get(`${target}/${verb}`)).body === "payload");
  });
  check(w, "IngressTest.privateService", async () => {
    const key = unique("private");
    const open = (isPublic) => c.admin("/services/Private", { public: isPublic }, "PATCH");
    const direct = () => w.server.request("/Private/echo", { body: key });
    const proxied = () => w.server.call("/Proxy/call", { service: "Private", handler: "echo", message: key });
    assert.equal((await open(false)).status, 200);
    await eventually(async () => (await direct()).status === 400);
    assert.equal(await proxied(), key);
    assert.equal((await open(true)).status, 200);
    await eventually(async () => (await direct()).body === key);
  });
  check(w, "JournalRetentionTest.journalShouldBeRetained", async () => {
    const r = await w.server.request("/TestUtil/sleepConcurrently", { body: [20] });
    assert.equal(r.status, 200);
    const rows = await w.server.sql(`SELECT entry_type FROM sys_journal WHERE id = '${r.id}' ORDER BY index`);
    const types = rows.map((row) => row.entry_type);
    assert.deepEqual(types, ["Command: Input", "Command: Sleep", "Notification: Sleep", "Command: Output"]);
  });
  check(w, "StatePatchingTest.shouldPatchState", async () => {
    const key = unique("patch");
    await c.call("MapObject", key, "set", { key: "old", value: "1" });
    const new_state = { name: [...Buffer.from('"bob"')] };
    assert.equal((await c.admin("/services/MapObject/state", { object_key: key, new_state })).status, 202);
    await eventually(async () => (await c.call("MapObject", key, "get", "name")) === "bob");
    assert.deepEqual(await c.call("MapObject", key, "keys"), ["name"]);
  });
  check(w, "OpenAPITest.shouldGenerateValidOpenAPI", async () => {
    for (const service of ["TestUtil", "Counter", "BlockAndWait"]) {
      const { status, body } = await c.admin(`/services/${service}/openapi`, undefined, "GET");
      assert.deepEqual([status, body.openapi, body.info.title], [200, "3.1.0", service]);
      assert.ok(Object.keys(body.paths).some((path) => path.startsWith(`/restate/call/${service}/`)), "no path for a call");
      resolveReferences(body, body);
    }
  });
  for (const [name, verb, options] of [
    ["completeWithSuccess", "resolve", { body: "done" }],
    ["completeWithFailure", "reject", { raw: "refused", headers: { "content-type": "text/plain" } }],
  ])
    check(w, `AwakeableIngressEndpointTest.${name}`, async () => {
      const key = unique("awakeable");
      const { invocationId } = await c.send("Versioned", key, "wait");
      const id = await eventually(() => c.call("AwakeableHolder", key, "id"));
      assert.equal((await w.server.request(`/restate/awakeables/${id}/${verb}`, options)).status, 202);
      const r = await c.attach(invocationId);
      if (verb === "resolve") assert.equal(r.body, "1 then 1 with done");
      else assert.deepEqual([r.status, r.body.message], [500, "refused"]);
    });
}

// Every "$ref" of a document leads somewhere in it.
function resolveReferences(node, document) {
  if (node === null || typeof node !== "object") return;
  if (typeof node.$ref === "string" && node.$ref.startsWith("#/")) {
    const parts = node.$ref.slice(2).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
    assert.ok(parts.reduce((value, part) => value?.[part], document), `${node.$ref} leads nowhere`);
  }
  for (const value of Object.values(node)) resolveReferences(value, document);
}

export function operationCases(w, c) {
  const failing = async () => {
    const key = unique("ops");
    const { invocationId: id } = await c.send("Failing", key, "stepThenFail");
    await eventually(() => c.seen(`fail-${key}`));
    return { key, id };
  };
  check(w, "PauseResumeTest.pauseAndResumeInvocation", async () => {
    const { key, id } = await failing();
    await c.pause(id);
    const attempts = await c.seen(`fail-${key}`);
    await sleep(300);
    assert.equal(await c.seen(`fail-${key}`), attempts, "a paused invocation must not be retried");
    await c.util("tick", `open-${key}`);
    assert.equal((await w.server.operate("resume", id)).status, 200);
    assert.deepEqual((await c.attach(id)).body, { step: 1 });
    assert.equal(await c.seen(`step-${key}`), 1);
  });
  check(w, "RestartAsNewInvocationTest.restartCompletedWithTerminalException", async () => {
    const key = unique("restart");
    const failed = await c.request("Failing", key, "terminallyFailingOnce");
    assert.equal(failed.status, 500);
    const restarted = await w.server.operate("restart-as-new", failed.id);
    assert.equal(restarted.status, 200, JSON.stringify(restarted.body));
    const id = restarted.body.new_invocation_id;
    assert.notEqual(id, failed.id);
    assert.equal((await c.attach(id)).body, 2);
    assert.equal((await c.output(failed.id)).status, 500, "the old one is untouched");
  });
  check(w, "RestartAsNewInvocationTest.restartFromPrefix", async () => {
    const { key, id } = await failing();
    await w.server.operate("kill", id);
    assert.equal((await c.attach(id)).status, 409);
    await c.util("tick", `open-${key}`);
    const restarted = await w.server.operate("restart-as-new", id, "?from=1");
    assert.equal(restarted.status, 200, JSON.stringify(restarted.body));
    assert.deepEqual((await c.attach(restarted.body.new_invocation_id)).body, { step: 1 });
    assert.equal(await c.seen(`step-${key}`), 1, "the copied command is not executed again");
  });
}

// A second version of the program is registered: the last cases of a server, since it takes over all services.
export function deploymentCases(w, c) {
  let next;
  const inFlight = unique("in-flight");
  const failing = unique("moves");
  const ids = {};
  check(w, "UpgradeWithNewInvocation.executesNewInvocationWithLatestServiceRevisions", async () => {
    assert.equal(await c.util("version"), "1");
    ids.inFlight = (await c.send("Versioned", inFlight, "wait")).invocationId;
    ids.failing = (await c.send("Failing", failing, "stepThenFail")).invocationId;
    await eventually(() => c.call("AwakeableHolder", inFlight, "id"));
    await eventually(() => c.seen(`fail-${failing}`));
    await c.pause(ids.failing);
    next = w.next = await Program.start({ ...w.programEnv, VERSION: "2" });
    await w.server.register(next, w.registration);
    assert.equal(await c.util("version"), "2");
  });
  check(w, "UpgradeWithInFlightInvocation.inFlightInvocation", async () => {
    await c.call("AwakeableHolder", inFlight, "unlock", "go");
    assert.equal((await c.attach(ids.inFlight)).body, "1 then 1 with go");
  });
  check(w, "PauseResumeChangingDeploymentTest.pauseAndResumeInvocation", async () => {
    await c.util("tick", `open-${failing}`); // in the new version only
    assert.equal((await w.server.operate("resume", ids.failing)).status, 200); // on its own deployment it fails again
    await c.pause(ids.failing);
    assert.equal((await w.server.operate("resume", ids.failing, "?deployment=latest")).status, 200);
    assert.deepEqual((await c.attach(ids.failing)).body, { step: 1 });
    assert.equal(await c.seen(`step-${failing}`), 0, "the step was replayed, not run by the new version");
  });
}

// A small memory pool of the invoker (§12.2).
export function memorySuite() {
  describe(`${language}, memory`, () => {
    const w = { suite: "memory" };
    const c = client(w);
    before(
      async () => {
        w.program = await Program.start();
        w.server = await Server.start({
          env: {
            ...quick,
            RESTATE_WORKER__INVOKER__MEMORY_LIMIT: "4MiB",
            RESTATE_WORKER__INVOKER__PER_INVOCATION_MEMORY_LIMIT: "256KiB",
            RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "100ms",
          },
        });
        await w.server.register(w.program);
      },
      { timeout: 60_000 },
    );
    after(() => disposeOf(w), { timeout: 30_000 });
    const idle = () => eventually(async () => (await poolUsage(w.server)) === 0);

    check(w, "InvokerMemoryTest.allInvocationsCompleteUnderMemoryPressure", async () => {
      const sizes = await Promise.all(Array.from({ length: 60 }, () => c.util("bigStep", 50 * KiB)));
      assert.ok(sizes.every((size) => size === 50 * KiB));
      await idle();
    });
    check(w, "InvokerMemoryTest.allStatefulInvocationsCompleteUnderMemoryPressure", async () => {
      const objects = Array.from({ length: 30 }, () => unique("state"));
      const value = "s".repeat(20 * KiB);
      for (let round = 0; round < 3; round++) await Promise.all(objects.map((key) => c.call("ListObject", key, "append", value)));
      for (const key of objects) assert.deepEqual(await c.call("ListObject", key, "get"), [value, value, value]);
      await idle();
    });
    check(w, "InvokerMemoryTest.invocationPausedWhenRunExceedsMemoryLimit", async () => {
      const { invocationId: id } = await w.server.send("/TestUtil/bigStep", 1024 * KiB);
      await c.paused(id);
      await w.server.operate("kill", id);
      await idle();
    });
    check(w, "InvokerMemoryTest.invocationPausedWhenStateExceedsMemoryLimit", async () => {
      const key = unique("big");
      const new_state = { big: [34, ...Array(300 * KiB).fill(120), 34] }; // a JSON string
      assert.equal((await c.admin("/services/MapObject/state", { object_key: key, new_state })).status, 202);
      const { invocationId: id } = await c.send("MapObject", key, "get", "big");
      await c.paused(id);
      await w.server.operate("kill", id);
      await idle();
    });
  });
}

async function poolUsage(server) {
  const { body } = await server.get("/metrics", { base: server.fabric });
  const values = [...body.matchAll(/^restate_memory_pool_usage_bytes\{[^}]*name="invoker"[^}]*\} ([\d.e+]+)$/gm)].map((m) => Number(m[1]));
  assert.ok(values.length > 0, "no metric of the invoker's pool");
  return values.reduce((a, b) => a + b);
}

// Requests signed with the server's key (spec/service-protocol.md §12).
export function signingSuite() {
  describe(`${language}, signed requests`, () => {
    const w = { suite: "signed requests" };
    const c = client(w);
    let dir, publicKey, stranger;
    before(
      async () => {
        dir = mkdtempSync(join(tmpdir(), "restate-identity-"));
        const keyFile = join(dir, "key.pem");
        execFileSync("openssl", ["genpkey", "-algorithm", "ed25519", "-out", keyFile], { stdio: "ignore" });
        w.server = await Server.start({ env: { ...quick, RESTATE_REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE: keyFile } });
        publicKey = await eventually(() => w.server.log.match(/publickeyv1_[1-9A-HJ-NP-Za-km-z]+/)?.[0]);
      },
      { timeout: 60_000 },
    );
    after(
      async () => {
        await stranger?.dispose();
        await disposeOf(w);
        rmSync(dir, { recursive: true, force: true });
      },
      { timeout: 30_000 },
    );
    check(w, "ProxyRequestSigning.requestSigningPass", async () => {
      w.program = await Program.start({ IDENTITY_KEY: publicKey });
      await w.server.register(w.program);
      const key = unique("ключ /%");
      assert.deepEqual(await w.server.call(at("Counter", key, "add"), 1), { oldValue: 0, newValue: 1 });
      assert.ok((await c.util("sleepThenStamp", 100)) >= 100);
    });
    check(w, "ProxyRequestSigning: an endpoint that trusts another key refuses", async () => {
      stranger = await Program.start({ IDENTITY_KEY: "publickeyv1_2G8dCQhArfvGpzPw5Vx2ALciR4xCLHfS5YaT93XjNxX9" });
      await assert.rejects(w.server.register(stranger), /META0003/);
    });
  });
}

export async function disposeOf(w) {
  await w.server?.dispose();
  await w.next?.dispose();
  await w.program?.dispose();
}
