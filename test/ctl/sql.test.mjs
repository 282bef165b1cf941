// `restatectl sql`: the official tool over the tables of the cluster (spec/restatectl.md §9, spec/sql.md §4, §10).
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually, Node } from "./operator.mjs";

describe("restatectl sql", () => {
  let node;
  before(async () => {
    node = await Node.start({ env: { RESTATE_DEFAULT_NUM_PARTITIONS: "3", RESTATE_TRACING_HEADERS__AUTHORIZATION: "Bearer x" } });
  });
  after(() => node?.dispose());
  const rows = async (query) => {
    const r = await node.ctl("sql", "--json", query);
    assert.equal(r.code, 0, r.stderr);
    assert.match(r.stderr, /\d+ rows\. Query took /);
    return JSON.parse(r.stdout);
  };

  test("a table on the terminal, and JSON lines", async () => {
    const r = await node.ctl("sql", "select plain_node_id, state, has_admin_role from nodes");
    assert.equal(r.code, 0, r.stderr);
    assert.match(r.stdout, /PLAIN_NODE_ID +STATE +HAS_ADMIN_ROLE *\n *N1 +alive +true/);
    const lines = await node.ctl("sql", "--jsonl", "select partition_id from partitions order by partition_id");
    assert.deepEqual(lines.stdout.trim().split("\n").map(JSON.parse), [{ partition_id: 0 }, { partition_id: 1 }, { partition_id: 2 }]);
  });

  test("nodes and partitions", async () => {
    const [me] = await rows("select * from nodes");
    assert.equal(me.plain_node_id, "N1");
    assert.match(me.gen_node_id, /^N1:\d+$/);
    assert.equal(me.name, "node-1");
    assert.equal(me.storage_state, "read-write");
    const partitions = await rows("select * from partitions order by partition_id");
    assert.equal(partitions.length, 3);
    assert.equal(partitions[0].start_key, 0);
    assert.equal(partitions[0].leader_gen_node_id, me.gen_node_id);
    const states = await rows("select partition_id, effective_mode, replay_status, enabled_features, updated_at from partition_state order by partition_id");
    assert.deepEqual(states.map((s) => [s.partition_id, s.effective_mode, s.replay_status, s.enabled_features[0]]), [0, 1, 2].map((p) => [p, "Leader", "active", "journal_v2"]));
    assert.match(states[0].updated_at, /^\d{4}-\d\d-\d\dT/);
    assert.equal((await rows("select * from partition_replica_set where is_leader")).length, 3);
  });

  test("logs", async () => {
    const [log] = await rows("select log_id, count(*) as segments, max(base_lsn) as base from logs group by log_id order by log_id limit 1");
    assert.equal(log.log_id, 0);
    assert.equal((await rows("select * from logs_tail_segments")).length, 3);
  });

  test("configuration: one row per setting, secrets hidden", async () => {
    const [name] = await rows("select value from config where key = 'cluster-name'");
    assert.equal(name.value, "localcluster");
    const secrets = await rows("select key, value from config where key like 'tracing-headers%'");
    assert.deepEqual(secrets, [{ key: "tracing-headers.authorization", value: "<REDACTED>" }]);
  });

  test("no rows, joins, many batches", async () => {
    assert.deepEqual(await rows("select * from nodes where name = 'nobody'"), []);
    // What the node's readers and its log-server say: every log is read to its end, and stored once.
    await eventually(async () => {
      const readers = await rows("select log_id, loglet_id, end_lsn, state, is_tailing, read_pointer, safe_known_tail from bifrost_read_streams order by 1");
      assert.deepEqual(readers.map((r) => [r.log_id, r.loglet_id, r.state, r.is_tailing, r.read_pointer === r.safe_known_tail]), [0, 1, 2].map((l) => [l, `${l}_0`, "Reading", true, true]));
      assert.match((await node.ctl("sql", "--jsonl", "select end_lsn from bifrost_read_streams limit 1")).stdout, /^\{"end_lsn":18446744073709551615\}\n$/);
      const workers = await rows("select log_id, segment_index, sequencer, local_tail, is_sealed, accepting_writes from loglet_workers order by 1");
      assert.deepEqual(workers.map((r) => [r.log_id, r.segment_index, /^N1:\d+$/.test(r.sequencer), r.is_sealed, r.accepting_writes]), [0, 1, 2].map((l) => [l, 0, true, false, true]));
      assert.deepEqual(workers.map((r) => r.local_tail), readers.map((r) => r.safe_known_tail));
      return true;
    });
    const joined = await rows("select p.partition_id, n.name from partitions p join nodes n on n.plain_node_id = p.leader_plain_node_id");
    assert.equal(joined.length, 3);
    const many = await rows("select a.key from config a cross join config b limit 1000");
    assert.equal(many.length, 1000);
  });

  test("errors", async () => {
    for (const [query, code, message] of [
      ["selec", "Client specified an invalid argument", /Expected: an SQL statement/],
      ["select * from sys_invocation", "Internal error", /table 'restate\.public\.sys_invocation' not found/],
      ["select nope from nodes", "Client specified an invalid argument", /No field named nope/],
    ]) {
      const r = await node.ctl("sql", query);
      assert.equal(r.code, 1);
      assert.match(r.stderr, /Failed to run query/);
      assert.match(r.stderr, message, r.stderr);
      assert.ok(r.stderr.includes(code), r.stderr);
    }
  });
});
