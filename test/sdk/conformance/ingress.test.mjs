// What is seen through the ingress: idempotency, attach and output of every kind of target, private services, awakeables, promises,
// ordering, state patches, OpenAPI (spec/invocation-lifecycle.md §6, §7, §15.2).
import { describe } from "node:test";
import { createHash } from "node:crypto";
import { assert, attach, check, eventually, output, phase, restate, row, sleep, unique, world } from "./world.mjs";
import { gate, sdkServices, seen, tick } from "./services.mjs";

const typed = restate.serde.json;
const documented = restate.service({
  name: "Documented",
  description: "A service with schemas",
  handlers: {
    greet: restate.handlers.handler(
      {
        input: { ...typed, jsonSchema: { type: "object", title: "Person", properties: { name: { type: "string" } } } },
        output: { ...typed, jsonSchema: { type: "string" } },
      },
      async (ctx, person) => `Hello ${person.name}`,
    ),
    raw: restate.handlers.handler({ input: restate.serde.binary }, async () => {}),
  },
});
const helper = restate.object({
  name: "Helper",
  handlers: {
    hold: async (ctx, name) => {
      tick(`hold-${name}`);
      await gate(name).promise;
      return "held";
    },
    // Attach and output of other invocations from a handler.
    attachTo: restate.handlers.object.shared(async (ctx, id) => {
      try {
        return { value: await ctx.attach(id) };
      } catch (error) {
        if (!(error instanceof restate.TerminalError)) throw error;
        return { code: error.code, message: error.message };
      }
    }),
    awakeable: async (ctx) => {
      const { id, promise } = ctx.awakeable();
      ctx.objectSendClient({ name: "AwakeableHolder" }, ctx.key).hold(id);
      return promise;
    },
    // Is resolved before it awaits.
    early: async (ctx) => {
      const { id, promise } = ctx.awakeable();
      ctx.resolveAwakeable(id, "early");
      await ctx.sleep(50);
      return promise;
    },
    // Resolved twice: the first value wins.
    twice: async (ctx) => {
      const { id, promise } = ctx.awakeable();
      ctx.resolveAwakeable(id, "first");
      ctx.resolveAwakeable(id, "second");
      return promise;
    },
    state: restate.handlers.object.shared(async (ctx) => {
      const state = {};
      for (const key of await ctx.stateKeys()) state[key] = new TextDecoder().decode(await ctx.get(key, restate.serde.binary));
      return state;
    }),
    set: async (ctx, state) => {
      for (const [key, value] of Object.entries(state)) ctx.set(key, new TextEncoder().encode(value), restate.serde.binary);
    },
    waits: async (ctx, name) => ctx.objectClient(helper, name).hold(name),
  },
});

// The version of a state (spec/invocation-lifecycle.md §6.3).
function stateVersion(state) {
  const hash = createHash("sha256");
  Object.keys(state)
    .sort()
    .forEach((key, i) => {
      const index = Buffer.alloc(8);
      index.writeBigUInt64BE(BigInt(i));
      hash.update(index).update("\x01").update(key).update("\x02").update(state[key]).update("\x03");
    });
  return hash.digest("base64url");
}

describe("ingress", { concurrency: 6 }, () => {
  const w = world({ services: [...sdkServices, helper, documented], env: { RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: "300ms" } });
  const call = (path, body, options) => w.server.call(path, body, options);

  for (const [name, path] of [
    ["IngressTest.idempotentInvokeVirtualObject", (key) => [`/Counter/${key}/add`, 2, { oldValue: 0, newValue: 2 }]],
    ["IngressTest.idempotentInvokeService", (key) => ["/Proxy/call", { service: "Counter", key, handler: "add", message: 2 }, { oldValue: 0, newValue: 2 }]],
  ])
    check(name, async () => {
      const key = unique();
      const [url, body, expected] = path(key);
      const headers = { "idempotency-key": unique("ik") };
      const first = await w.server.request(url, { body, headers });
      const second = await w.server.request(url, { body, headers });
      assert.deepEqual([first.body, second.body], [expected, expected]);
      assert.equal(first.id, second.id);
      assert.equal(first.headers.get("idempotency-expires"), null);
      assert.ok(second.headers.get("idempotency-expires"));
      await w.server.request(url, { body, headers: { "idempotency-key": unique("ik") } });
      assert.equal(await call(`/Counter/${key}/get`), 4);
    });
  check("IngressTest.idempotentInvokeSend", async () => {
    const key = unique();
    const headers = { "idempotency-key": unique("ik") };
    const first = await w.server.send(`/Counter/${key}/add`, 2, { headers });
    const second = await w.server.send(`/Counter/${key}/add`, 2, { headers });
    assert.deepEqual([first.status, second.status, second.invocationId], ["Accepted", "PreviouslyAccepted", first.invocationId]);
    await eventually(async () => (await call(`/Counter/${key}/get`)) === 2);
  });
  check("IngressTest.idempotentSendThenAttachWIthIdempotencyKey", async () => {
    const ik = unique("ik");
    const { invocationId } = await w.server.send("/TestUtil/echo", "payload", { headers: { "idempotency-key": ik } });
    for (const verb of ["attach", "output"])
      assert.equal((await eventually(async () => ok(await w.server.get(`/restate/invocation/TestUtil/echo/${ik}/${verb}`)))).body, "payload");
    const target = { target: "idempotentInvocation", service: "TestUtil", handler: "echo", idempotencyKey: ik };
    for (const verb of ["attach", "output"]) assert.equal((await w.server.request(`/restate/${verb}`, { body: target })).body, "payload");
    assert.deepEqual((await w.server.request("/restate/lookup", { body: target })).body, { invocationId });
  });
  check("IngressTest.idempotentCallsJoin", async () => {
    const name = unique("join");
    const headers = { "idempotency-key": unique("ik") };
    const calls = [1, 2, 3].map(() => w.server.request(`/Helper/${name}/hold`, { body: name, headers }));
    await eventually(() => seen(`hold-${name}`));
    await sleep(50);
    gate(name).resolve();
    for (const r of await Promise.all(calls)) assert.equal(r.body, "held");
    assert.equal(seen(`hold-${name}`), 1);
  });
  check("IngressTest.idempotentFailureIsReplayed", async () => {
    const headers = { "idempotency-key": unique("ik") };
    const body = { message: "final", metadata: { a: "b" } };
    const path = `/Failing/${unique()}/terminallyFailingCall`;
    const first = await w.server.request(path, { body, headers });
    const second = await w.server.request(path, { body, headers });
    assert.deepEqual([second.status, second.body.message, second.body.metadata], [first.status, "final", { a: "b" }]);
  });
  check("IngressTest.privateService", async () => {
    const patch = (isPublic) => w.server.adminRequest("/services/ListObject", { method: "PATCH", body: { public: isPublic } });
    const key = unique("private");
    const append = () => w.server.request(`/ListObject/${key}/append`, { body: "direct" });
    const proxied = () => w.server.request("/Proxy/call", { body: { service: "ListObject", key, handler: "append", message: "proxied" } });
    assert.equal((await patch(false)).status, 200);
    await eventually(async () => (await append()).status === 400);
    assert.match((await append()).body.message, /not public/);
    assert.equal((await proxied()).status, 200);
    assert.equal((await patch(true)).status, 200);
    await eventually(async () => (await append()).status === 200);
    assert.ok((await call(`/ListObject/${key}/get`)).includes("proxied"));
  });

  // ---- attach and output of every target ----

  check("Attach and output: by id, workflow and idempotency key; in flight, completed, failed, unknown", async () => {
    const name = unique("target");
    const ik = unique("ik");
    const { invocationId: id } = await w.server.send(`/Helper/${name}/hold`, name, { headers: { "idempotency-key": ik } });
    const wf = unique("wf");
    await w.server.send(`/BlockAndWait/${wf}/run`, "in");
    const targets = [
      [`/restate/invocation/${id}`, { target: "invocation", invocationId: id }, "held"],
      [`/restate/invocation/Helper/${name}/hold/${ik}`, { target: "idempotentInvocation", service: "Helper", key: name, handler: "hold", idempotencyKey: ik }, "held"],
      [`/restate/workflow/BlockAndWait/${wf}`, { target: "workflow", workflowName: "BlockAndWait", workflowKey: wf }, "out"],
    ];
    const waiting = [];
    for (const [path, body] of targets) {
      for (const r of [await w.server.get(`${path}/output`), await w.server.request("/restate/output", { body })])
        assert.deepEqual([r.status, r.body], [470, { code: 470, message: "the invocation exists but has not completed yet", source: "ingress" }]);
      waiting.push(w.server.get(`${path}/attach`), w.server.request("/restate/attach", { body }));
    }
    await sleep(100);
    gate(name).resolve();
    await call(`/BlockAndWait/${wf}/unblock`, "out");
    assert.deepEqual((await Promise.all(waiting)).map((r) => r.body), ["held", "held", "held", "held", "out", "out"]);
    for (const [path, body, value] of targets)
      for (const verb of ["attach", "output"]) {
        assert.equal((await w.server.get(`${path}/${verb}`)).body, value);
        assert.equal((await w.server.request(`/restate/${verb}`, { body })).body, value);
      }
    for (const path of ["/restate/workflow/BlockAndWait/unknown", `/restate/invocation/Helper/${name}/hold/unknown`]) {
      assert.deepEqual((await w.server.get(`${path}/attach`)).body, { code: 404, message: "not found", source: "invocation" });
      assert.deepEqual((await w.server.get(`${path}/output`)).body, { code: 404, message: "invocation not found", source: "ingress" });
    }
    const failed = await w.server.request(`/Failing/${unique()}/terminallyFailingCall`, { body: { message: "no" } });
    for (const r of [await attach(w.server, failed.id), await output(w.server, failed.id)]) assert.deepEqual([r.status, r.body.message], [500, "no"]);
  });
  check("Attach from a handler: in flight, completed, failed, unknown", async () => {
    const name = unique("attach");
    const { invocationId: id } = await w.server.send(`/Helper/${name}/hold`, name);
    const waiting = call(`/Helper/other-${name}/attachTo`, id);
    await sleep(500); // suspended meanwhile
    gate(name).resolve();
    assert.deepEqual(await waiting, { value: "held" });
    assert.deepEqual(await call(`/Helper/other-${name}/attachTo`, id), { value: "held" });
    const failed = await w.server.request(`/Failing/${unique()}/terminallyFailingCall`, { body: { message: "no" } });
    assert.deepEqual(await call(`/Helper/x/attachTo`, failed.id), { code: 500, message: "no" });
    assert.deepEqual(await call(`/Helper/x/attachTo`, "inv_1gUqbbJvKD0166GWwoTHJwuqxqEiYmWmOp"), { code: 404, message: "not found" });
  });
  check("Calls to a workflow that ran: a call fails with 409, a send is ignored", async () => {
    const key = unique("wf");
    const first = await w.server.send(`/BlockAndWait/${key}/run`, "in");
    const again = { service: "BlockAndWait", key, handler: "run", message: "again" };
    const conflict = { code: 409, message: "the workflow method was already invoked" };
    const told = await call("/Proxy/callAndCatch", again);
    assert.deepEqual([told.code, told.message], [conflict.code, conflict.message]);
    assert.equal(await call("/Proxy/oneWayCall", again), first.invocationId);
    await call(`/BlockAndWait/${key}/unblock`, "out");
    assert.equal((await attach(w.server, first.invocationId)).body, "out");
    assert.deepEqual((await w.server.request(`/BlockAndWait/${key}/run`, { body: "x" })).body, { ...conflict, source: "invocation" });
    assert.equal((await call("/Proxy/callAndCatch", again)).code, 409);
    const r = await w.server.request(`/BlockAndWait/${unique()}/run`, { body: "x", headers: { "idempotency-key": "k" } });
    assert.equal(r.status, 400);
  });
  check("CallInvocationId: the id of a call is known before its result", async () => {
    const { id, value } = await call("/Proxy/callId", { service: "TestUtil", handler: "echo", message: "x" });
    assert.equal(value, "x");
    assert.equal((await output(w.server, id)).body, "x");
  });

  // ---- awakeables ----

  for (const [name, verb] of [
    ["AwakeableIngressEndpointTest.completeWithSuccess", "resolve"],
    ["AwakeableIngressEndpointTest.completeWithFailure", "reject"],
  ])
    check(name, async () => {
      const key = unique("awk");
      const { invocationId } = await w.server.send(`/Helper/${key}/awakeable`);
      const id = await eventually(() => call(`/AwakeableHolder/${key}/id`));
      const complete = (body) => w.server.request(`/restate/awakeables/${id}/${verb}`, { body });
      assert.deepEqual([(await complete({ n: 1 })).status, (await complete({ n: 2 })).status], [202, 202]);
      const r = await attach(w.server, invocationId);
      if (verb === "resolve") assert.deepEqual([r.status, r.body], [200, { n: 1 }]);
      else assert.deepEqual([r.status, r.body], [500, { code: 500, message: '{"n":1}', source: "invocation" }]);
      assert.equal((await complete("late")).status, 202);
    });
  check("Awakeables: malformed and unknown ids", async () => {
    const unknown = "sign_1-LC7YetatLY_M0cBWuK1lWfTugg_IpxWAAAAEQ";
    assert.equal((await w.server.request(`/restate/awakeables/${unknown}/resolve`, { body: 1 })).status, 202);
    assert.equal((await w.server.request("/restate/awakeables/nonsense/resolve", { body: 1 })).status, 400);
  });
  check("Awakeables: completed by handlers, before the owner waits, and twice", async () => {
    const key = unique("awk");
    assert.equal(await call(`/Helper/${key}/early`), "early");
    assert.equal(await call(`/Helper/${key}/twice`), "first");
    const { invocationId } = await w.server.send(`/Helper/${key}/awakeable`);
    await eventually(() => call(`/AwakeableHolder/${key}/id`));
    await call(`/AwakeableHolder/${key}/unlock`, "by a handler");
    assert.equal((await attach(w.server, invocationId)).body, "by a handler");
  });

  // ---- promises ----

  check("Promises: many listeners, first completion wins, reject, peek", async () => {
    const path = `/BlockAndWait/${unique("wf")}`;
    const waiting = [1, 2, 3].map(() => call(`${path}/wait`, "p"));
    await sleep(500); // suspended meanwhile
    await call(`${path}/resolve`, { name: "p", value: 7 });
    assert.deepEqual(await Promise.all(waiting), [7, 7, 7]);
    const again = await w.server.request(`${path}/resolve`, { body: { name: "p", value: 8 } });
    assert.deepEqual([again.status, again.body.message], [409, "promise was already completed"]);
    assert.equal(await call(`${path}/wait`, "p"), 7);
    assert.equal(await call(`${path}/peek`), null);
    await call(`${path}/refuse`, "refused");
    const run = await w.server.request(`${path}/run`, { body: "in" });
    assert.deepEqual([run.status, run.body.message], [500, "refused"]);
  });

  // ---- ordering ----

  check("Ordering: requests one after another, delayed ones when due", async () => {
    const key = unique("list");
    const append = (value, options) => w.server.send(`/ListObject/${key}/append`, value, options);
    await w.server.send(`/ListObject/${key}/append`, "n1");
    await append("delayed", { delay: "200ms" });
    await append("n2");
    await sleep(400);
    await append("n3");
    await eventually(async () => (await call(`/ListObject/${key}/get`)).length === 4);
    assert.deepEqual(await call(`/ListObject/${key}/get`), ["n1", "n2", "delayed", "n3"]);
  });
  check("Ordering: a hundred sends by one handler arrive in order", async () => {
    const key = unique("list");
    const requests = Array.from({ length: 100 }, (_, i) => ({ service: "ListObject", key, handler: "append", message: i, oneWay: true }));
    await call("/Proxy/manyCalls", requests);
    await eventually(async () => (await call(`/ListObject/${key}/get`)).length === 100);
    assert.deepEqual(
      await call(`/ListObject/${key}/get`),
      requests.map((r) => r.message),
    );
  });
  check("Ordering: shared handlers are not held up by an exclusive one", async () => {
    const name = unique("hold");
    await w.server.send(`/Helper/${name}/hold`, name);
    await eventually(() => seen(`hold-${name}`));
    assert.deepEqual(await call(`/Helper/${name}/state`), {});
    gate(name).resolve();
  });

  // ---- sends ----

  check("Sends: delay forms, execution time, private 400s", async () => {
    const soon = await w.server.request("/TestUtil/echo/send?delay=PT1H", { body: "x" });
    assert.equal(soon.status, 202);
    assert.match(soon.body.executionTime, /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.equal(await phase(w.server, soon.body.invocationId), "waiting");
    assert.equal((await w.server.request("/TestUtil/echo/send?delay=nonsense", { body: "x" })).status, 400);
    await w.server.operate("kill", soon.body.invocationId);
  });

  // ---- state patches ----

  const patch = (key, state, version) => {
    const new_state = Object.fromEntries(Object.entries(state).map(([k, v]) => [k, [...new TextEncoder().encode(v)]]));
    return w.server.adminRequest("/services/Helper/state", { body: { object_key: key, new_state, ...(version ? { version } : {}) } });
  };
  check("StatePatchingTest.shouldPatchState", async () => {
    const key = unique("patch");
    await call(`/Helper/${key}/set`, { old: "1", name: "alice" });
    assert.equal((await patch(key, { name: "bob" })).status, 202);
    await eventually(async () => (await call(`/Helper/${key}/state`)).name === "bob");
    assert.deepEqual(await call(`/Helper/${key}/state`), { name: "bob" }); // the whole state was replaced
    assert.equal((await patch(key, {})).status, 202);
    await eventually(async () => Object.keys(await call(`/Helper/${key}/state`)).length === 0);
  });
  check("State patches: the expected version decides", async () => {
    const key = unique("patch");
    assert.equal(stateVersion({ name: "bob" }), "tDqA04Lj3_qJ-PgNPTecXDGZgpwy6jm2Ni2BYqJIthM");
    await call(`/Helper/${key}/set`, { name: "bob" });
    assert.equal((await patch(key, { name: "wrong" }, stateVersion({}))).status, 202); // dropped silently
    assert.equal((await patch(key, { name: "carol" }, stateVersion({ name: "bob" }))).status, 202);
    await eventually(async () => (await call(`/Helper/${key}/state`)).name === "carol");
  });
  check("State patches: wait for the running invocation of their object", async () => {
    const key = unique("patch");
    await w.server.send(`/Helper/${key}/hold`, key);
    await eventually(() => seen(`hold-${key}`));
    assert.equal((await patch(key, { name: "patched" })).status, 202);
    const { invocationId: after } = await w.server.send(`/Helper/${key}/set`, { extra: "1" });
    await sleep(200);
    assert.deepEqual(await call(`/Helper/${key}/state`), {});
    gate(key).resolve();
    await attach(w.server, after);
    assert.deepEqual(await call(`/Helper/${key}/state`), { name: "patched", extra: "1" });
  });
  check("State patches: refusals", async () => {
    const body = { object_key: "k", new_state: { a: [1] } };
    assert.equal((await w.server.adminRequest("/services/Unknown/state", { body })).status, 404);
    assert.equal((await w.server.adminRequest("/services/TestUtil/state", { body })).status, 400);
  });

  // ---- documents ----

  check("OpenAPITest.shouldGenerateValidOpenAPI", async () => {
    const { status, body } = await w.server.adminRequest("/services/Documented/openapi", { method: "GET" });
    assert.equal(status, 200);
    assert.equal(body.openapi, "3.1.0");
    assert.equal(body.info.title, "Documented");
    assert.deepEqual(body.components.schemas.greetRequest.title, "Person");
    assert.equal(body.components.schemas.greetResponse.type, "string");
    for (const path of ["/restate/call/Documented/greet", "/restate/send/Documented/greet"]) assert.ok(body.paths[path]?.post, path);
    for (const name of ["ListObject", "BlockAndWait"]) {
      const other = (await w.server.adminRequest(`/services/${name}/openapi`, { method: "GET" })).body;
      checkReferences(other, other);
    }
    checkReferences(body, body);
  });
  check("Invocation metadata: rows of a call", async () => {
    const r = await w.server.request(`/Counter/${unique()}/add`, { body: 1 });
    const info = await row(w.server, r.id);
    if (!info) return;
    assert.deepEqual([info.status, info.completion_result, info.invoked_by, info.journal_size], ["completed", "success", "ingress", 4]);
  });
});

const ok = (r) => (r.status === 200 ? r : null);
// Every local reference of a document resolves.
function checkReferences(document, node) {
  if (node === null || typeof node !== "object") return;
  if (typeof node.$ref === "string") {
    const found = node.$ref
      .slice(2)
      .split("/")
      .reduce((at, part) => at?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], document);
    assert.ok(found, `unresolved ${node.$ref}`);
  }
  for (const child of Object.values(node)) checkReferences(document, child);
}
