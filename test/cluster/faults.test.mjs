// Failures of nodes, disks and links under load: spec/cluster.md §4.9 and §9.4. Each case ends with every counter equal to its successes.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { eventually, official, scenario, send, sleep, table } from "./harness.mjs";
import { Writers } from "./workload.mjs";

// What a client may wait when a node dies (kill) or goes silent (stop, cut). The first is the goal with room for a shared test
// machine, the second what the official server needs (spec/cluster.md §4.9). Figures of idle machines are in docs/operations.md.
const limits = official ? { kill: 12_000, silent: 35_000, back: 30_000 } : { kill: 5_000, silent: 10_000, back: 10_000 };

async function under(c, options, body) {
  const writers = new Writers(c, options).start();
  await writers.progress(3);
  await body(writers);
  await writers.finish();
}

// `act`, then every writer completes requests within the limit; the longest gap is told.
async function survives(t, writers, what, limitMs, act) {
  const from = performance.now();
  await act();
  await writers.progress(3, { timeoutMs: limitMs + 10_000 });
  const gap = writers.gap(from);
  t.diagnostic(`${what}: longest gap ${(gap / 1000).toFixed(2)} s, failed attempts ${JSON.stringify(writers.errors(from))}`);
  assert.ok(gap <= limitMs, `${what}: a writer waited ${Math.round(gap)} ms`);
}

scenario("S-1 A-26 A-29: each node killed in turn under load", { quick: true, serve: true }, async (c, t) => {
  await under(c, { attemptTimeoutMs: 30_000 }, async (writers) => {
    for (const node of c.nodes) {
      await survives(t, writers, `SIGKILL of ${node.name}`, limits.kill, () => node.kill());
      node.launch();
      await c.ready();
      await writers.progress(3);
    }
  });
});

scenario("S-1 §1.11: each node terminated in turn under load: leaders move first, no request fails", { quick: true, serve: true }, async (c, t) => {
  await under(c, { attemptTimeoutMs: 30_000 }, async (writers) => {
    for (const node of c.nodes) {
      await survives(t, writers, `SIGTERM of ${node.name}`, limits.kill, async () => {
        const how = await node.terminate();
        assert.equal(how.code, 0, node.tail());
      });
      node.launch();
      await c.ready();
      await writers.progress(3);
    }
    const odd = Object.keys(writers.errors()).filter((kind) => !["ECONNREFUSED", "ECONNRESET", "socket hang up"].includes(kind) && !/^503/.test(kind));
    assert.deepEqual(odd, [], "a node that goes down hangs up; it does not answer errors");
  });
});

scenario("S-2: two of three killed: no answers, no wrong ones, the process stays; one returns and all goes on", { quick: true, serve: true }, async (c, t) => {
  const writers = new Writers(c, { attemptTimeoutMs: 3000 }).start();
  await writers.progress(5);
  await Promise.all([c.node(2).kill(), c.node(3).kill()]);
  await sleep(3000);
  const before = writers.total;
  await sleep(3000);
  assert.equal(writers.total, before, "nothing can be committed on one of three nodes");
  const survivor = c.node(1);
  assert.ok(survivor.running);
  // §8.4
  await assert.rejects(send(`${survivor.ingress}/Counter/w0/get`, { timeoutMs: 1500 }), { code: "TIMEOUT" });
  assert.equal((await send(`${survivor.ingress}/restate/health`, { method: "GET" })).status, 200);
  assert.equal((await send(`${survivor.admin}/health`, { method: "GET" })).status, 200);
  assert.equal((await survivor.clusterHealth()).metadata_cluster_health.members.length, 3);
  const registration = await send(`${survivor.admin}/deployments`, { body: { uri: c.endpoints[0].uri, force: true }, timeoutMs: 30_000 });
  assert.ok(registration.status >= 500, `without a metadata quorum nothing can be registered: ${registration.status}`);
  assert.equal((await survivor.ctl("status")).code, 0);
  const from = performance.now();
  c.node(2).launch();
  await writers.progress(2, { timeoutMs: limits.back + 20_000 });
  t.diagnostic(`one of two returns: every writer answered ${((performance.now() - from) / 1000).toFixed(2)} s after its start`);
  c.node(3).launch();
  await c.ready();
  await writers.finish();
});

scenario("S-3: a leader stopped (SIGSTOP) is replaced, and does no harm when it wakes up", { quick: true, serve: true }, async (c, t) => {
  await under(c, { attemptTimeoutMs: 4000 }, async (writers) => {
    const chief = await c.metadataLeader();
    const victim = (await c.busiest({ except: [chief] })) ?? c.node(chief === 3 ? 2 : 3);
    await survives(t, writers, `SIGSTOP of ${victim.name}`, limits.silent, () => victim.pause());
    await sleep(2000);
    await survives(t, writers, "its SIGCONT", limits.silent, () => victim.resume());
    await c.ready();
    await writers.progress(5);
  });
});

scenario("S-4: the node that leads metadata and partitions stopped, woken, then killed", { serve: true, timeoutMs: 300_000 }, async (c, t) => {
  await under(c, { attemptTimeoutMs: 4000 }, async (writers) => {
    const victim = c.node(await c.metadataLeader());
    await survives(t, writers, `SIGSTOP of ${victim.name}`, limits.silent, () => victim.pause());
    await survives(t, writers, "its SIGCONT", limits.silent, () => victim.resume());
    await c.ready();
    const next = c.node(await c.metadataLeader());
    await survives(t, writers, `SIGKILL of ${next.name}`, limits.silent, () => next.kill());
    next.launch();
    await c.ready();
  });
});

scenario("S-5: a node cut off from the others, clients still reach it: the others go on, it answers nothing wrong, after the heal all serve", { quick: true, serve: true, net: true, timeoutMs: 240_000 }, async (c, t) => {
  const victim = (await c.busiest()) ?? c.node(3);
  const others = c.nodes.filter((n) => n !== victim);
  const writers = new Writers(c, { attemptTimeoutMs: 4000, through: others }).start();
  await writers.progress(3);
  await survives(t, writers, `${victim.name} cut`, limits.silent, () => c.network.isolate(victim.index));
  // On the cut node a request hangs or fails; it never gives an old value.
  const value = (await send(`${others[0].ingress}/Counter/w0/get`, { timeoutMs: 10_000 })).body;
  const stale = await send(`${victim.ingress}/Counter/w0/get`, { timeoutMs: 3000 }).catch((error) => error);
  if (stale.status === 200) assert.ok(stale.body >= value, `the cut node answered ${stale.body} after ${value}`);
  await survives(t, writers, "heal", limits.silent, () => c.network.heal());
  await eventually(async () => (await send(`${victim.ingress}/Counter/w0/get`, { timeoutMs: 5000 })).status === 200, { timeoutMs: limits.back });
  await c.ready();
  await writers.finish();
});

scenario("S-5 TR-9: a leader that is cut off denies nothing of what its successor has done: outputs and attaching", { serve: true, net: true, timeoutMs: 240_000, partitions: 4 }, async (c, t) => {
  const victim = (await c.busiest()) ?? c.node(3);
  const others = c.nodes.filter((n) => n !== victim);
  c.network.isolate(victim.index);
  // Accepted and completed by the others, one after the other, on objects of all partitions.
  const ids = [];
  for (let i = 0; i < 16; i++) {
    const sent = await eventually(async () => {
      const r = await send(`${others[i % 2].ingress}/Counter/tr9-${i}/add/send`, { body: 1, headers: { "idempotency-key": `tr9-${i}` }, timeoutMs: 15_000 });
      return r.status < 300 && r;
    }, { timeoutMs: 30_000 });
    ids.push(sent.body.invocationId);
  }
  for (const id of ids) await eventually(async () => (await send(`${others[0].ingress}/restate/invocation/${id}/output`, { method: "GET", timeoutMs: 10_000 })).status === 200, { timeoutMs: 20_000 });
  const said = {};
  const ask = async (id, what) => {
    const r = await send(`${victim.ingress}/restate/invocation/${id}/${what}`, { method: "GET", timeoutMs: 1500 }).catch((error) => error);
    const kind = `${what} ${r.status ?? r.code}`;
    said[kind] = (said[kind] ?? 0) + 1;
    assert.ok(r.status === undefined || r.status === 200 || r.status >= 500, `the node that is cut off says ${r.status} of an invocation that is completed: ${r.text}`);
  };
  await Promise.all(ids.flatMap((id) => [ask(id, "output"), ask(id, "attach")]));
  t.diagnostic(`the node that is cut off: ${JSON.stringify(said)}`);
  c.network.heal();
  for (const id of ids) await eventually(async () => (await send(`${victim.ingress}/restate/invocation/${id}/output`, { method: "GET", timeoutMs: 5000 })).body === 1, { timeoutMs: limits.back + 10_000 });
  await c.ready();
});

scenario("S-5 S-4: the node that leads metadata and partitions cut off", { serve: true, net: true, timeoutMs: 240_000 }, async (c, t) => {
  const victim = c.node(await c.metadataLeader());
  const writers = new Writers(c, { attemptTimeoutMs: 4000, through: c.nodes.filter((n) => n !== victim) }).start();
  await writers.progress(3);
  await survives(t, writers, `${victim.name} cut`, limits.silent, () => c.network.isolate(victim.index));
  await survives(t, writers, "heal", limits.silent, () => c.network.heal());
  await c.ready();
  await writers.finish();
});

scenario("S-6: two nodes cannot talk, both reach the third: never inconsistent, and all is well after the heal", { serve: true, net: true, timeoutMs: 240_000 }, async (c, t) => {
  const writers = new Writers(c, { attemptTimeoutMs: 3000 }).start();
  await writers.progress(3);
  const from = performance.now();
  c.network.cut(1, 2);
  await sleep(15_000);
  t.diagnostic(`N1 and N2 cut: longest gap within 15 s ${(writers.gap(from) / 1000).toFixed(2)} s, failed attempts ${JSON.stringify(writers.errors(from))}`);
  // The reference hangs requests that enter on one of the two for a leader on the other; here every writer must get through by some node.
  if (!official) await writers.progress(2, { timeoutMs: 15_000 });
  await survives(t, writers, "heal", 25_000 + limits.back, () => c.network.heal());
  await c.ready();
  await writers.finish();
});

scenario("S-6: one-way cuts: a node that hears but is not heard, and one that is heard but does not hear", { serve: true, net: true, timeoutMs: 300_000 }, async (c, t) => {
  const writers = new Writers(c, { attemptTimeoutMs: 3000 }).start();
  await writers.progress(3);
  for (const direction of ["mute", "deaf"]) {
    const victim = (await c.busiest()) ?? c.node(2);
    const from = performance.now();
    for (const other of c.nodes)
      if (other !== victim) direction === "mute" ? c.network.cutOneWay(victim.index, other.index) : c.network.cutOneWay(other.index, victim.index);
    await sleep(12_000);
    if (!official) await writers.progress(2, { timeoutMs: 20_000 });
    t.diagnostic(`${victim.name} ${direction}: longest gap ${(writers.gap(from) / 1000).toFixed(2)} s`);
    await survives(t, writers, "heal", 25_000 + limits.back, () => c.network.heal());
    await c.ready();
  }
  await writers.finish();
});

scenario("S-7: all nodes killed at once under load, restarted: everything acknowledged is there", { quick: true, serve: true }, async (c) => {
  const writers = new Writers(c, { attemptTimeoutMs: 5000 }).start();
  await writers.progress(10);
  await Promise.all(c.nodes.map((n) => n.kill()));
  for (const node of c.nodes) node.launch();
  await c.ready();
  await writers.progress(3, { timeoutMs: 60_000 });
  await writers.finish();
});

// The folders of a node's data that hold its log and its metadata; both servers use these names.
const folders = { log: "log-store", metadata: "replicated-metadata-server" };

scenario("S-8 B14: the log-server disk of one node lost: no silent data loss, the cluster continues", { serve: true }, async (c) => {
  await under(c, { attemptTimeoutMs: 10_000 }, async (writers) => {
    await c.node(3).kill();
    assert.ok(readdirSync(c.node(3).dir).includes(folders.log), `data of node 3: ${readdirSync(c.node(3).dir)}`);
    rmSync(join(c.node(3).dir, folders.log), { recursive: true });
    c.node(3).launch();
    const how = await Promise.race([c.node(3).exited, sleep(official ? 20_000 : 5000, null)]);
    await writers.progress(5, { timeoutMs: 30_000 });
    const state = table((await c.node(1).ctl("nodes", "list", "--extra")).stdout, "NODE").find((n) => n.NODE === "N3")["STORAGE-STATE"];
    if (official) {
      assert.equal(state, "data-loss", `the process ended with ${how?.code}\n${c.node(3).tail()}`);
      assert.equal(how?.code, 1);
    } else {
      assert.equal(how, null, c.node(3).tail());
      await c.ready();
      assert.match(c.node(3).tail(400), /storage-state is `data-loss`/);
      assert.match(c.node(3).tail(400), /as its next storage generation/);
    }
  });
});

scenario("S-9 B14: the metadata disk of one node lost: it does not vote under its old identity; as a new member it repairs", { serve: true }, async (c) => {
  await under(c, { attemptTimeoutMs: 10_000 }, async (writers) => {
    await c.node(3).kill();
    assert.ok(readdirSync(c.node(3).dir).includes(folders.metadata), `data of node 3: ${readdirSync(c.node(3).dir)}`);
    rmSync(join(c.node(3).dir, folders.metadata), { recursive: true });
    c.node(3).launch();
    await sleep(5000);
    if (official) assert.match(c.node(3).tail(200) + c.node(1).tail(200) + c.node(2).tail(200), /different storage id/);
    await writers.progress(3, { timeoutMs: 30_000 });
    const members = async () => (await c.node(1).ctl("metadata-server", "list-servers")).stdout.match(/Member/g)?.length;
    if (official) {
      await eventually(async () => (await c.node(1).ctl("metadata-server", "remove-node", "3")).code === 0, { timeoutMs: 20_000, everyMs: 1000 });
      await eventually(
        async () => {
          await c.node(1).ctl("metadata-server", "add-node", "3");
          return (await members()) === 3;
        },
        { timeoutMs: 40_000, everyMs: 1000 },
      );
    } else {
      // By itself: the lost member leaves, the node joins with its new disk.
      await eventually(async () => (await members()) === 3, { timeoutMs: 20_000, everyMs: 300 });
      assert.match([1, 2, 3].map((k) => c.node(k).tail(400)).join(""), /comes back with a new storage: the lost one leaves the members/);
    }
    await c.ready();
  });
});

scenario("S-10: the partition stores of one node deleted (db): rebuilt from the log", { quick: true, serve: true, partitionReplication: 2 }, async (c) => {
  await under(c, { attemptTimeoutMs: 10_000 }, async (writers) => {
    await writers.progress(20);
    await c.node(2).kill();
    assert.ok(readdirSync(c.node(2).dir).includes("db"), `data of node 2: ${readdirSync(c.node(2).dir)}`);
    rmSync(join(c.node(2).dir, "db"), { recursive: true });
    c.node(2).launch();
    await c.ready();
    await writers.progress(5);
    // What node 2 rebuilt is right: it alone leads after the other replicas are gone one after the other.
    await c.node(1).kill();
    await writers.progress(5, { timeoutMs: 40_000 });
    c.node(1).launch();
    await c.ready();
  });
});

scenario("S-11 B18: the disk of one node full: the others take over, no client error; with space again all recover", { started: false, timeoutMs: 420_000 }, async (c, t) => {
  const small = c.node(3);
  mkdirSync(small.dir, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=400m", "tmpfs", small.dir]);
  c.undo = [() => execFileSync("umount", ["-l", small.dir])];
  for (const node of c.nodes) node.launch();
  await c.ready();
  await c.serve();
  const writers = new Writers(c, { attemptTimeoutMs: 15_000 }).start();
  await writers.progress(5);
  // Everything that is left, from outside.
  const ballast = join(small.dir, "ballast");
  try {
    execFileSync("dd", ["if=/dev/zero", `of=${ballast}`, "bs=1M"], { stdio: "ignore" });
  } catch {
    // no space left: as wanted
  }
  t.diagnostic(`ballast ${Math.round(statSync(ballast).size / 1048576)} MiB`);
  // TR-16: space that was allocated ahead hides the full disk for a while; write until it must have been used up.
  const filler = "x".repeat(64 * 1024);
  for (let i = 0; i < 3000; i++) {
    await Promise.all(c.nodes.slice(0, 2).map((n) => send(`${n.ingress}/Greeter/greet`, { body: filler + i, timeoutMs: 30_000 })));
    if (i % 50 === 0 && (await small.health().catch(() => ({}))).log_server_status === "Failsafe") break;
  }
  await writers.progress(5, { timeoutMs: 60_000 });
  t.diagnostic(`health of the full node: ${JSON.stringify((await small.health().catch((e) => ({ error: e.message }))).log_server_status)}, running ${small.running}`);
  rmSync(ballast);
  await sleep(2000);
  if (small.running && official) await small.terminate();
  if (!small.running) small.launch();
  await c.ready({ timeoutMs: 120_000 });
  await writers.progress(5, { timeoutMs: 30_000 });
  await writers.finish();
});

scenario("S-12 S-13: a slow node (stopped for 200 ms out of 400) does not lose leadership for it, and commits go on", { serve: true }, async (c, t) => {
  await under(c, { attemptTimeoutMs: 10_000 }, async (writers) => {
    const victim = (await c.busiest()) ?? c.node(2);
    const from = performance.now();
    for (let i = 0; i < 20; i++) {
      victim.pause();
      await sleep(200);
      victim.resume();
      await sleep(200);
    }
    await writers.progress(3, { timeoutMs: 20_000 });
    t.diagnostic(`longest gap ${(writers.gap(from) / 1000).toFixed(2)} s`);
    assert.deepEqual(Object.keys(writers.errors(from)).filter((k) => k === "TIMEOUT"), []);
  });
});

scenario("S-24 TR-4: a leader's process restarts faster than the detector notices: no offset is used twice", { serve: true }, async (c) => {
  await under(c, { attemptTimeoutMs: 10_000 }, async (writers) => {
    for (let i = 0; i < 4; i++) {
      const victim = (await c.busiest()) ?? c.node(1);
      await victim.kill();
      victim.launch();
      await writers.progress(3, { timeoutMs: limits.silent + 20_000 });
    }
    await c.ready();
  });
});
