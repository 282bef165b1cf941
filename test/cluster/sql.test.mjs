// SQL on a cluster: every node answers for all partitions, whoever leads them (spec/sql.md §15).
import assert from "node:assert/strict";
import { eventually, scenario, send } from "./harness.mjs";

const sql = async (node, query) => {
  const r = await fetch(`${node.admin}/query`, { method: "POST", headers: { "content-type": "application/json", accept: "application/json" }, body: JSON.stringify({ query }) });
  const body = await r.json();
  if (r.status !== 200) throw new Error(`${node.name}: ${r.status} ${body.message}`);
  return body.rows;
};

scenario("SQL: any node answers for all partitions", { quick: true }, async (c) => {
  await c.serve();
  const keys = Array.from({ length: 40 }, (_, i) => `key-${i}`);
  for (const key of keys) await send(`${c.node(1).ingress}/Counter/${key}/add`, { body: 1 });
  const count = "select count(*) as n from sys_invocation where target_service_name = 'Counter' and status = 'completed'";
  for (const node of c.nodes) {
    await eventually(async () => (await sql(node, count))[0].n === keys.length, { timeoutMs: 20_000 });
    assert.equal((await sql(node, "select distinct service_key from state where service_name = 'Counter'")).length, keys.length);
    const journal = await sql(node, "select i.target_service_key as k, count(*) as n from sys_invocation i join sys_journal j on j.id = i.id where i.target_service_name = 'Counter' group by 1");
    assert.equal(journal.length, keys.length);
    const [{ id }] = await sql(node, "select id from sys_invocation where target_service_key = 'key-7'");
    assert.deepEqual(await sql(node, `select target from sys_invocation where id = '${id}'`), [{ target: "Counter/key-7/add" }]);
    assert.equal((await sql(node, "select * from sys_journal limit 3")).length, 3);
  }
  const everywhere = await Promise.all(Array.from({ length: 24 }, (_, i) => sql(c.nodes[i % c.nodes.length], count)));
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
