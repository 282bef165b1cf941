// What the files of this suite share: unique keys, requests to the services, and `check`, a case by its name in
// spec/invocation-lifecycle.md §15, which reports its result for docs/conformance.md.
import { test } from "node:test";
import { appendFileSync } from "node:fs";
import assert from "node:assert/strict";
import { eventually } from "../sdk/harness.mjs";
import { language } from "./program.mjs";

// Retries without waiting, and without end: a program that is started again may take longer than any number of them.
export const quick = {
  RESTATE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL: "20ms",
  RESTATE_DEFAULT_RETRY_POLICY__MAX_INTERVAL: "100ms",
  RESTATE_DEFAULT_RETRY_POLICY__MAX_ATTEMPTS: "unlimited",
};

// What a language's SDK has no API for, with the reason that the table gives. Everything else must pass.
const helper = [/UsingAwakeableTimeoutCommand/, "no time-out helper on futures"];
const missing = {
  python: [helper],
  "python-v5": [
    helper,
    [/Scope|ConcurrencyLimit/, "no scopes"],
    [/^Signals|Combinators.(signal|mixed)/, "no signals"],
    [/WithMetadata/, "no metadata in terminal errors"],
    [/retryAfterOfTheSdk/, "no delay of its own for a retry"],
    [/^NonDeterminismErrors/, "no retry policy of a service"],
    [/^Random seed/, "no random numbers of its own"],
    [/restartFromPrefix/, "protocol 6 or later is needed (422)"],
  ],
  go: [helper, [/retryAfterOfTheSdk/, "no delay of its own for a retry"]],
  rust: [
    helper,
    [/WithMetadata/, "no metadata in terminal errors"],
    [/retryAfterOfTheSdk/, "no delay of its own for a retry"],
    [/Combinators.mixed/, "a run is no durable future, it cannot be combined"],
  ],
}[language];

let keys = 0;
export const unique = (prefix = "k") => `${prefix}-${process.pid}-${++keys}`;
export const at = (service, key, handler) => `/${service}/${encodeURIComponent(key)}/${handler}`;

export function check(w, name, body) {
  const report = (result) => {
    if (process.env.REPORT) appendFileSync(process.env.REPORT, `${language}\t${w.suite}\t${name}\t${result}\n`);
  };
  const reason = missing.find(([pattern]) => pattern.test(name))?.[1];
  if (reason) {
    report(`skip: ${reason}`);
    return test(name, { skip: `the ${language} SDK: ${reason}` });
  }
  test(name, { timeout: 40_000 }, async () => {
    let result = "FAIL";
    try {
      await body();
      result = "pass";
    } finally {
      report(result);
    }
  });
}

export function client(w) {
  const c = {
    call: (service, key, handler, body, options) => w.server.call(at(service, key, handler), body, options),
    send: (service, key, handler, body, options) => w.server.send(at(service, key, handler), body, options),
    request: (service, key, handler, body, options) => w.server.request(at(service, key, handler), { body, ...options }),
    util: (handler, body, options) => w.server.call(`/TestUtil/${handler}`, body, options),
    seen: (key) => c.util("seen", key),
    attach: (id) => w.server.get(`/restate/invocation/${id}/attach`),
    output: (id) => w.server.get(`/restate/invocation/${id}/output`),
    counterValue: (key, value) => eventually(async () => (await c.call("Counter", key, "get")) === value),
    admin: (path, body, method = "POST") => w.server.adminRequest(path, { body, method }),
    status: async (id) => (await w.server.sql(`SELECT status FROM sys_invocation WHERE id = '${id}'`))[0]?.status,
    // Pauses what fails again and again, and waits until it rests.
    pause: async (id) => {
      const { status } = await w.server.operate("pause", id);
      assert.ok(status === 200 || status === 202, `pause: ${status}`);
      await c.paused(id);
    },
    paused: (id) => eventually(async () => (await c.status(id)) === "paused", { everyMs: 50 }),
  };
  return c;
}
