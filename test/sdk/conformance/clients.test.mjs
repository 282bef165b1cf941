// The official TypeScript client of the ingress (@restatedev/restate-sdk-clients), and both generations of routes.
import { describe } from "node:test";
import * as clients from "@restatedev/restate-sdk-clients";
import { assert, check, eventually, sleep, unique, world } from "./world.mjs";
import { awakeableHolder, counter, sdkServices, testUtil, workflow } from "./services.mjs";

describe("clients", { concurrency: 4 }, () => {
  const w = world({ services: sdkServices });
  const connect = () => clients.connect({ url: w.server.ingress });

  check("Client: call, send and its result, idempotency, delay", async () => {
    const ingress = connect();
    const key = unique();
    assert.deepEqual(await ingress.objectClient(counter, key).add(1), { oldValue: 0, newValue: 1 });
    assert.equal(await ingress.serviceClient(testUtil).uppercaseEcho("abc"), "ABC");
    const idempotent = clients.rpc.sendOpts({ idempotencyKey: unique("ik") });
    const sends = [1, 2].map(() => ingress.objectSendClient(counter, key).add(2, idempotent));
    const [first, second] = await Promise.all(sends);
    assert.equal(first.invocationId, second.invocationId);
    assert.deepEqual(new Set([first.status, second.status]), new Set(["Accepted", "PreviouslyAccepted"]));
    assert.deepEqual(await ingress.result(first), { oldValue: 1, newValue: 3 });
    const start = Date.now();
    const delayed = await ingress.serviceSendClient(testUtil).echo("later", clients.rpc.sendOpts({ delay: 300, idempotencyKey: unique("ik") }));
    assert.equal(await ingress.result(delayed), "later");
    assert.ok(Date.now() - start >= 300);
  });
  check("Client: terminal errors", async () => {
    const call = connect().objectClient({ name: "Failing" }, unique()).terminallyFailingCall({ message: "no" });
    await assert.rejects(call, (error) => error instanceof clients.HttpCallError && error.status === 500 && /no/.test(error.responseText));
  });
  check("Client: workflow submit, attach, output", async () => {
    const flow = connect().workflowClient(workflow, unique("wf"));
    const submission = await flow.workflowSubmit("in");
    assert.equal(submission.status, "Accepted");
    assert.equal((await flow.workflowSubmit("in")).status, "PreviouslyAccepted");
    assert.equal((await flow.workflowOutput()).ready, false);
    await eventually(async () => (await flow.getState()) === "in");
    await flow.unblock("out");
    assert.equal(await flow.workflowAttach(), "out");
    assert.deepEqual((({ ready, result }) => ({ ready, result }))(await flow.workflowOutput()), { ready: true, result: "out" });
    assert.equal(await connect().result(submission), "out");
  });
  check("Client: awakeables", async () => {
    const ingress = connect();
    const key = unique("awk");
    for (const complete of [(id) => ingress.resolveAwakeable(id, "yes"), (id) => ingress.rejectAwakeable(id, "no")]) {
      const pending = w.server.request(`/Combinators/${key}/firstSuccessfulCompletedAwakeable`);
      const holder = ingress.objectClient(awakeableHolder, `${key}-a`);
      const id = await eventually(() => holder.id());
      await complete(id);
      await sleep(20);
      await ingress.objectClient(awakeableHolder, `${key}-a`).hold("");
      const other = ingress.objectClient(awakeableHolder, `${key}-b`);
      await ingress.resolveAwakeable(await eventually(() => other.id()), "other");
      await other.hold("");
      assert.ok(["yes", "other"].includes((await pending).body));
    }
  });

  check("Routes: both generations of call, send, attach and output", async () => {
    for (const [call, send] of [
      [(p) => `/${p}`, (p) => `/${p}/send`],
      [(p) => `/restate/call/${p}`, (p) => `/restate/send/${p}`],
    ]) {
      const key = encodeURIComponent(unique("a/b ü"));
      assert.deepEqual(await w.server.call(call(`Counter/${key}/add`), 1), { oldValue: 0, newValue: 1 });
      assert.equal(await w.server.call(call("TestUtil/echo"), "x"), "x");
      const sent = await w.server.request(send(`Counter/${key}/add`), { body: 2 });
      assert.equal(sent.status, 202);
      const id = sent.body.invocationId;
      for (const path of [`/restate/invocation/${id}/attach`, `/restate/attach/${id}`, `/restate/invocation/${id}/output`, `/restate/output/${id}`])
        assert.deepEqual((await w.server.get(path)).body, { oldValue: 1, newValue: 3 });
      const delayed = await w.server.request(`${send("TestUtil/echo")}?delay=100ms`, { body: "d" });
      assert.equal((await w.server.get(`/restate/attach/${delayed.body.invocationId}`)).body, "d");
    }
  });
});
