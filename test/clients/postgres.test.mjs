// The PostgreSQL endpoint (spec/sql.md §14, admin.query-engine.pgsql-bind-address): psql, the driver `pg`, and bytes by hand.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import pg from "pg";
import { Server, eventually, freePort } from "../sdk/harness.mjs";
import { buildFixture, fixtureEnvironment } from "../vectors/sql-fixture.mjs";

const ten = "(values (1),(2),(3),(4),(5),(6),(7),(8),(9),(10))";
const endless = `select count(*) from ${Array.from({ length: 11 }, (_, i) => `${ten} t${i}(x)`).join(" cross join ")}`;
const rows100k = `select t0.x from ${Array.from({ length: 5 }, (_, i) => `${ten} t${i}(x)`).join(" cross join ")}`;

describe("the PostgreSQL endpoint", () => {
  let server, port, fixture;
  before(async () => {
    port = await freePort();
    server = await Server.start({
      env: { ...fixtureEnvironment, RESTATE_DEFAULT_NUM_PARTITIONS: "3", RESTATE_ADMIN__QUERY_ENGINE__PGSQL_BIND_ADDRESS: `127.0.0.1:${port}` },
    });
    fixture = await buildFixture(server);
  });
  after(async () => {
    await fixture?.endpoint.kill();
    await server?.dispose();
  });

  const psql = (...args) =>
    new Promise((resolve) => {
      const env = { PATH: process.env.PATH, PGHOST: "127.0.0.1", PGPORT: String(port), PGUSER: "u", PGDATABASE: "d", PAGER: "" };
      execFile("psql", ["-X", ...args], { env, timeout: 20_000 }, (error, stdout, stderr) => resolve({ code: error ? (error.code ?? -1) : 0, stdout, stderr }));
    });
  const client = async (options = {}) => {
    const c = new pg.Client({ host: "127.0.0.1", port, user: "u", database: "d", ...options });
    await c.connect();
    return c;
  };

  test("psql: a query, several, and what is no query", async () => {
    const r = await psql("-At", "-c", "select service_key, value_utf8 from state where service_name = 'Counter' and service_key = 'a'");
    assert.equal(r.stdout, "a|7\n", r.stderr);
    const many = await psql("-At", "-c", "begin; set x = 1; select ';' as \"a;b\" -- ;\n; commit; show server_version;");
    assert.equal(many.stdout, "BEGIN\nSET\n;\nCOMMIT\n15.0\n", many.stderr);
    assert.equal((await psql("-c", "")).code, 0);
  });

  test("psql: tables and their columns", async () => {
    const list = await psql("-At", "-c", "\\d");
    assert.ok(list.stdout.includes("public|sys_invocation|view|restate\n"), list.stdout + list.stderr);
    assert.equal(list.stdout.trim().split("\n").length, 18);
    const inbox = await psql("-At", "-c", "\\d sys_inbox");
    assert.match(inbox.stdout, /^partition_key\|numeric\|\|\|\nservice_name\|character varying\|\|\|\n/);
    const view = await psql("-At", "-c", "\\d sys_invocation");
    assert.match(view.stdout, /status\|character varying\|\|not null\|/);
    assert.match((await psql("-c", "\\d nope")).stderr, /Did not find any relation named "nope"/);
    assert.match((await psql("-At", "-c", "describe sys_service")).stdout, /^name\|LargeUtf8\|YES\n/);
  });

  test("psql: errors with their codes and places; the next statement works", async () => {
    const r = await psql("-v", "VERBOSITY=verbose", "-c", "select 1 as a; selec 2");
    assert.match(r.stderr, /ERROR: {2}42601: .*\nLINE 1: select 1 as a; selec 2\n {23}\^/);
    for (const [sql, code] of [
      ["select * from nope", "42P01"],
      ["select nope from state", "42703"],
      ["select nope(1)", "42883"],
      ["select 1/0", "22012"],
      ["delete from state", "25006"],
      ["select id from sys_invocation where id = 'x'", "22P02"],
      ["select 1 > any(array[1])", "0A000"],
    ]) {
      const e = await psql("-v", "VERBOSITY=verbose", "-c", sql);
      assert.match(e.stderr, new RegExp(`^ERROR: {2}${code}: `), `${sql}: ${e.stderr}`);
    }
    assert.equal((await psql("-At", "-f", "/dev/null", "-c", "select 1")).stdout, "1\n");
  });

  test("driver: types as text", async () => {
    const c = await client();
    const { rows, fields } = await c.query(
      "select 1 as i, true as b, 1.5 as f, 'x' as s, null as n, timestamp '2026-11-22 17:00:00.5' as t, date_trunc('day', timestamp '2026-11-22') as d, " +
        "interval '1 day' as v, array['a', 'b,c', null] as l, array[1, 2] as m",
    );
    assert.deepEqual(fields.map((f) => f.dataTypeID), [20, 16, 701, 1043, 25, 1114, 1114, 1186, 1015, 1016]);
    const { t, d, v, ...rest } = rows[0];
    assert.deepEqual(rest, { i: "1", b: true, f: 1.5, s: "x", n: null, l: ["a", "b,c", null], m: ["1", "2"] });
    assert.equal(v.days, 1);
    const state = await c.query("select value, partition_key from state where service_name = 'Counter' and service_key = 'a'");
    assert.deepEqual(state.rows[0].value, Buffer.from("7"));
    assert.match(state.rows[0].partition_key, /^\d+$/);
    await c.end();
  });

  test("driver: parameters, named statements, binary results", async () => {
    const c = await client();
    const sql = "select service_name, $2 as two from state where service_key = $1 and value_length < $3 limit $4";
    assert.deepEqual((await c.query(sql, ["a", "it's", 100, 5])).rows, [{ service_name: "Counter", two: "it's" }]);
    for (let i = 0; i < 3; i++)
      assert.equal((await c.query({ name: "by-id", text: "select status from sys_invocation where id = $1", values: [fixture.ids.INV] })).rows[0].status, "paused");
    // lists, as drivers send them
    const some = await c.query("select status from sys_invocation where id = any($1) order by status", [[fixture.ids.INV, fixture.ids.SUS]]);
    assert.deepEqual(some.rows.map((r) => r.status), ["paused", "suspended"]);
    assert.equal((await c.query("select count(*)::int as n from sys_invocation where id = any($1::text[])", [[fixture.ids.INV]])).rows[0].n, 1);
    await assert.rejects(c.query("select $1 as a, $2 as b", ["x"]), (e) => e.code === "08P01");
    await assert.rejects(c.query("select 1/$1::int as x", ["0"]), (e) => e.code === "22012");
    assert.equal((await c.query("select $1::int + 1 as x", ["41"])).rows[0].x, "42");
    await c.end();
    const b = await client({ binary: true });
    const { rows } = await b.query({ text: "select 7 as i, false as f, value_utf8 as v from state where service_key = $1", values: ["a"] });
    assert.deepEqual(rows, [{ i: "7", f: false, v: "7" }]);
    await b.end();
  });

  test("driver: many rows, and many sessions", async () => {
    const clients = await Promise.all(Array.from({ length: 6 }, () => client()));
    const results = await Promise.all(clients.map((c) => c.query(rows100k)));
    assert.deepEqual(results.map((r) => r.rowCount), Array(6).fill(100_000));
    await Promise.all(clients.map((c) => c.end()));
  });

  test("cancel, and a client that leaves", async () => {
    const c = await client();
    const running = c.query(endless);
    running.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 100));
    const cancel = Buffer.alloc(16);
    cancel.writeUInt32BE(16, 0);
    cancel.writeUInt32BE(80877102, 4);
    cancel.writeUInt32BE(c.processID, 8);
    cancel.writeInt32BE(c.secretKey, 12);
    assert.equal((await exchange(cancel)).length, 0);
    await assert.rejects(running, (e) => e.code === "57014");
    assert.equal((await c.query("select 1 as x")).rows[0].x, "1");
    c.on("error", () => {});
    c.query(endless).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 50));
    c.connection.stream.destroy();
    await eventually(async () => (await fetch(`${server.admin}/health`)).ok);
  });

  // Send bytes, give what comes back until the server closes or says nothing more.
  function exchange(bytes, { until = () => false } = {}) {
    return new Promise((resolve, reject) => {
      const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
      let got = Buffer.alloc(0);
      socket.on("data", (d) => {
        got = Buffer.concat([got, d]);
        if (until(got)) socket.destroy();
      });
      socket.on("close", () => resolve(got));
      socket.on("error", reject);
    });
  }
  const startup = (code, text) => {
    const body = Buffer.concat([Buffer.alloc(8), Buffer.from(text)]);
    body.writeUInt32BE(body.length, 0);
    body.writeUInt32BE(code, 4);
    return body;
  };

  test("by hand: TLS is refused, other protocols too, newer minor versions are negotiated", async () => {
    const ssl = Buffer.from("0000000804d2162f", "hex");
    assert.equal((await exchange(ssl, { until: (g) => g.length === 1 })).toString(), "N");
    assert.match((await exchange(startup(0x00020000, "user\0u\0\0"))).toString(), /08P01/);
    const negotiated = await exchange(startup(0x00030002, "user\0u\0_pq_.x\0y\0\0"), { until: (g) => g.includes("Z\0\0\0\x05I") });
    assert.equal(negotiated.toString("latin1", 0, 1), "v");
    assert.ok(negotiated.includes("_pq_.x"));
    const huge = Buffer.concat([startup(196608, "user\0u\0\0"), Buffer.from("Q\x7f\xff\xff\xff", "latin1")]);
    assert.match((await exchange(huge)).toString("latin1"), /08P01.*too large/);
  });

  // What asyncpg and pgx do: ask for the types of the parameters, then send values of these types in binary.
  test("by hand: types of parameters follow from where they stand", async () => {
    const message = (type, body) => {
      const head = Buffer.from(`${type}\0\0\0\0`, "latin1");
      head.writeUInt32BE(body.length + 4, 1);
      return Buffer.concat([head, Buffer.from(body, "latin1")]);
    };
    const sql = "select count(*) as n from sys_invocation where created_at > $1 and journal_size >= $2 and status <> $3 limit $4";
    const time = "\0\0\0\x08\0\0\0\0\0\0\0\0"; // 2000-01-01
    const int8 = (n) => `\0\0\0\x08\0\0\0\0\0\0\0${String.fromCharCode(n)}`;
    const got = await exchange(
      Buffer.concat([
        startup(196608, "user\0u\0\0"),
        message("P", `s\0${sql}\0\0\0`),
        message("D", "Ss\0"),
        message("B", `\0s\0\0\x01\0\x01\0\x04${time}${int8(1)}\0\0\0\x01x${int8(5)}\0\0`),
        message("E", "\0\0\0\0\0"),
        message("S", ""),
      ]),
      { until: (g) => g.toString("latin1").split("Z\0\0\0\x05I").length > 2 },
    );
    const at = got.indexOf("1\0\0\0\x04t");
    const n = got.readUInt16BE(at + 10);
    assert.deepEqual(Array.from({ length: n }, (_, i) => got.readUInt32BE(at + 12 + 4 * i)), [1114, 20, 1043, 20]);
    assert.match(got.toString("latin1"), /D\0\0\0.\0\x01\0\0\0.\d+C\0\0\0\rSELECT 1/s);
  });

  test("a second node with the same address says so", async () => {
    await assert.rejects(
      Server.start({ env: { RESTATE_ADMIN__QUERY_ENGINE__PGSQL_BIND_ADDRESS: `127.0.0.1:${port}` } }),
      (e) => /PostgreSQL endpoint/.test(e.cause?.message ?? e.message),
    );
  });

  test("stopping the server ends sessions in order", async () => {
    const c = await client();
    const gone = new Promise((resolve) => c.once("error", resolve));
    c.query(endless).catch(() => {});
    await server.stop();
    assert.equal((await gone).code ?? "57P01", "57P01");
  });
});
