// What the conformance files share: a server with services per `describe`, unique keys, a time limit for every case, and ways to see
// the status of an invocation without and with SQL.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Endpoint, Server, eventually, official, restate, sleep } from "../harness.mjs";

export { assert, Endpoint, Server, eventually, official, restate, sleep };

let keys = 0;
export const unique = (prefix = "k") => `${prefix}-${process.pid}-${++keys}`;

// Retries without waiting, so that cases which need some are quick.
export const quickRetries = { RESTATE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL: "20ms", RESTATE_DEFAULT_RETRY_POLICY__MAX_INTERVAL: "100ms" };

// A server and one endpoint with `services`, for the cases of a `describe`.
export function world({ env = {}, services = [], endpoint = {}, register = {} } = {}) {
  const w = {};
  before(
    async () => {
      w.endpoint = await Endpoint.with({ services, ...endpoint });
      w.server = await Server.start({ env: { ...quickRetries, ...env } });
      w.deployment = await w.server.register(w.endpoint, register);
    },
    { timeout: 30_000 },
  );
  after(
    async () => {
      await w.server?.dispose();
      await w.endpoint?.kill();
    },
    { timeout: 30_000 },
  );
  return w;
}

// A case by its name in spec/invocation-lifecycle.md §15 or in docs/conformance.md. `differs` says in a sentence what the official
// server does instead; the case is not run there.
export function check(name, body, { differs, ...options } = {}) {
  test(name, { timeout: 30_000, skip: official && differs, ...options }, body);
}

export const attach = (server, id, options) => server.get(`/restate/invocation/${id}/attach`, options);
export const output = (server, id, options) => server.get(`/restate/invocation/${id}/output`, options);

// The row of an invocation in sys_invocation; null if there is none, undefined if the server has no SQL.
export async function row(server, id, columns = "*") {
  const rows = await server.sql(`SELECT ${columns} FROM sys_invocation WHERE id = '${id}'`);
  return rows ? (rows[0] ?? null) : undefined;
}
// Entry types of a journal in order, undefined without SQL.
export async function journal(server, id) {
  const rows = await server.sql(`SELECT entry_type FROM sys_journal WHERE id = '${id}' ORDER BY index`);
  return rows?.map((r) => r.entry_type);
}
export async function events(server, id) {
  const rows = await server.sql(
    `SELECT event_type, event_json, after_journal_entry_index FROM sys_journal_events WHERE id = '${id}' ORDER BY appended_at`,
  );
  return rows?.map((r) => ({ ...JSON.parse(r.event_json), after: Number(r.after_journal_entry_index) }));
}

// What can be told without SQL and without touching the invocation: free, completed, waiting (scheduled or pending), or in flight
// (running, backing off, suspended, paused).
export async function phase(server, id) {
  const result = await output(server, id);
  if (result.status === 404) return "free";
  if (result.status !== 470) return "completed";
  const restart = await server.operate("restart-as-new", id);
  switch (restart.status) {
    case 404:
      return "free";
    case 425:
      return "waiting";
    case 409:
      return "in flight";
    default:
      return "completed";
  }
}

// Waits until an invocation is paused. With SQL by its status, else by what pause answers: 200 for what rests, 202 for what runs.
export async function paused(server, id) {
  await eventually(
    async () => {
      const r = await row(server, id, "status");
      return r === undefined ? (await server.operate("pause", id)).status === 200 : r?.status === "paused";
    },
    { everyMs: 50 },
  );
}
