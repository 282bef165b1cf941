// SQL on a cluster: every node answers for all partitions, whoever leads them (spec/sql.md §15).
import assert from "node:assert/strict";
import { eventually, scenario, send } from "./harness.mjs";

const sql = async (node, query) => {
  const r = await fetch(`${node.admin}/query`, { method: "POST", headers: { "content-type": "application/json", accept: "application/json" }, body: JSON.stringify({ query }) });
  const body = await r.json();
  if (r.status !== 200) throw new Error(`${node.name}: ${r.status} ${body.message}`);
  return body.rows;
};

// As the asker is told to: again while a leadership moves (503), which a new cluster's still may on a busy machine.
const answered = (node, query) => eventually(() => sql(node, query), { timeoutMs: 20_000 });

scenario("SQL: any node answers for all partitions", { quick: true }, async (c) => {
  await c.serve();
  const keys = Array.from({ length: 40 }, (_, i) => `key-${i}`);
  for (const key of keys) await send(`${c.node(1).ingress}/Counter/${key}/add`, { body: 1 });
  const count = "select count(*) as n from sys_invocation where target_service_name = 'Counter' and status = 'completed'";
  for (const node of c.nodes) {
    await eventually(async () => (await sql(node, count))[0].n === keys.length, { timeoutMs: 20_000 });
    assert.equal((await answered(node, "select distinct service_key from state where service_name = 'Counter'")).length, keys.length);
    const journal = await answered(node, "select i.target_service_key as k, count(*) as n from sys_invocation i join sys_journal j on j.id = i.id where i.target_service_name = 'Counter' group by 1");
    assert.equal(journal.length, keys.length);
    const [{ id }] = await answered(node, "select id from sys_invocation where target_service_key = 'key-7'");
    assert.deepEqual(await answered(node, `select target from sys_invocation where id = '${id}'`), [{ target: "Counter/key-7/add" }]);
    assert.equal((await answered(node, "select * from sys_journal limit 3")).length, 3);
  }
  const everywhere = await Promise.all(Array.from({ length: 24 }, (_, i) => answered(c.nodes[i % c.nodes.length], count)));
  assert.deepEqual(everywhere.map(([{ n }]) => n), Array(24).fill(keys.length));
});

scenario("SQL: while a leader is gone a query fails, afterwards it is whole again", {}, async (c) => {
  await c.serve();
  await send(`${c.node(1).ingress}/Counter/one/add`, { body: 1 });
  const victim = c.node(3), asked = c.node(1);
  await victim.kill();
  const outcomes = [];
  await eventually(
    async () => {
      try {
        outcomes.push((await sql(asked, "select count(*) as n from state"))[0].n);
      } catch (error) {
        outcomes.push(error.message);
      }
      return outcomes.at(-1) === 1;
    },
    { timeoutMs: 60_000, everyMs: 200 },
  );
  assert.deepEqual(outcomes.filter((o) => typeof o === "number" && o !== 1), [], "never half an answer");
});

scenario("SQL: a node that is cut off does not answer with what may be stale", { net: true }, async (c) => {
  await c.serve();
  const keys = Array.from({ length: 20 }, (_, i) => `key-${i}`);
  for (const key of keys) await send(`${c.node(1).ingress}/Counter/${key}/add`, { body: 1 });
  const count = "select count(*) as n from state where service_name = 'Counter'";
  for (const node of c.nodes) await eventually(async () => (await sql(node, count))[0].n === keys.length, { timeoutMs: 20_000 });
  const victim = (await c.busiest()) ?? c.node(2), others = c.nodes.filter((n) => n !== victim);
  c.network.isolate(victim.index);
  // Not one answer after it can have noticed; what it led is led, and counted, by others.
  await eventually(async () => assert.rejects(sql(victim, count), /too few nodes are alive|is led by|no leader|lost/).then(() => true), { timeoutMs: 15_000, everyMs: 200 });
  for (const node of others) await eventually(async () => (await sql(node, count))[0].n === keys.length, { timeoutMs: 30_000 });
  await send(`${others[0].ingress}/Counter/later/add`, { body: 1 });
  // Point reads: most of these keys are in partitions that the victim led.
  for (const key of keys) await assert.rejects(sql(victim, `select service_key from state where service_name = 'Counter' and service_key = '${key}'`), key);
  c.network.heal();
  await eventually(async () => (await sql(victim, count))[0].n === keys.length + 1, { timeoutMs: 30_000 });
});
