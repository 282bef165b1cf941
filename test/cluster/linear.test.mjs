// The checkers find what they are for. No server runs here.
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkRegister, checkRegisters, checkSet } from "./linear.mjs";

const op = (f, value, invoked, completed, type = "ok", key = "k") => ({ f, value, invoked, completed, type, key });

test("register: sequential histories", () => {
  assert.equal(checkRegister([op("get", null, 0, 1), op("set", 1, 2, 3), op("get", 1, 4, 5), op("cas", [1, 2], 6, 7), op("get", 2, 8, 9)]), null);
  assert.match(checkRegister([op("set", 1, 0, 1), op("get", null, 2, 3)]), /not linearizable/);
  assert.match(checkRegister([op("set", 1, 0, 1), op("cas", [2, 3], 2, 3)]), /not linearizable/);
});

test("register: concurrent operations may take effect in either order, but one", () => {
  assert.equal(checkRegister([op("set", 1, 0, 10), op("set", 2, 0, 10), op("get", 1, 11, 12)]), null);
  assert.equal(checkRegister([op("set", 1, 0, 10), op("set", 2, 0, 10), op("get", 2, 11, 12)]), null);
  assert.match(checkRegister([op("set", 1, 0, 10), op("set", 2, 0, 10), op("get", 1, 11, 12), op("get", 2, 13, 14)]), /not linearizable/);
  assert.equal(checkRegister([op("set", 1, 0, 10), op("get", null, 1, 2), op("get", 1, 3, 4)]), null);
  assert.match(checkRegister([op("set", 1, 0, 10), op("get", 1, 1, 2), op("get", null, 3, 4)]), /not linearizable/, "a stale read after a new one");
});

test("register: an unknown result may have happened late, early, or never", () => {
  const unknown = op("set", 5, 2, 3, "info");
  assert.equal(checkRegister([op("set", 1, 0, 1), unknown, op("get", 1, 4, 5), op("get", 1, 6, 7)]), null);
  assert.equal(checkRegister([op("set", 1, 0, 1), unknown, op("get", 1, 4, 5), op("get", 5, 6, 7)]), null);
  assert.match(checkRegister([op("set", 1, 0, 1), unknown, op("get", 5, 4, 5), op("get", 1, 6, 7)]), /not linearizable/, "it cannot be undone");
  assert.match(checkRegister([op("set", 1, 0, 1), op("set", 5, 2, 3, "fail"), op("get", 5, 4, 5)]), /not linearizable/, "what failed did not happen");
  assert.match(checkRegister([op("set", 1, 0, 1), op("get", 5, 1.5, 1.8), unknown]), /not linearizable/, "not before its invocation");
});

test("register: a doubled cas is found", () => {
  assert.match(checkRegister([op("set", 1, 0, 1), op("cas", [1, 2], 2, 3), op("set", 1, 4, 5), op("get", 2, 6, 7)]), /not linearizable/);
});

test("register: random histories of a real register pass, the same with one lie do not", () => {
  let seed = 7;
  const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
  for (let round = 0; round < 50; round++) {
    const history = [];
    let value = null;
    for (let i = 0; i < 60; i++) {
      const at = i * 10;
      const [before, after] = [random(25), random(25)];
      const f = ["get", "set", "cas"][random(3)];
      if (f === "get") history.push(op("get", value, at - before, at + after));
      else if (f === "set") history.push(op("set", (value = i), at - before, at + after, random(8) === 0 ? "info" : "ok"));
      else {
        history.push(op("cas", [value, i], at - before, at + after));
        value = i;
      }
    }
    assert.equal(checkRegister(history), null);
    const end = op("get", "never written", 10_000, 10_001);
    assert.match(checkRegister([...history, end]), /not linearizable/);
  }
});

test("register: keys are judged on their own", () => {
  assert.deepEqual(checkRegisters([op("set", 1, 0, 1, "ok", "a"), op("get", null, 2, 3, "ok", "b")]), []);
  assert.equal(checkRegisters([op("set", 1, 0, 1, "ok", "a"), op("get", null, 2, 3, "ok", "a")]).length, 1);
});

test("set: lost, resurrected, invented and doubled elements are found", () => {
  assert.deepEqual(checkSet([op("add", 1, 0, 1), op("get", [1], 2, 3), op("add", 2, 2, 9, "info"), op("get", [1, 2], 4, 5)]), []);
  assert.deepEqual(checkSet([op("add", 1, 0, 5), op("get", [], 1, 2)]), [], "a concurrent read may miss it");
  assert.match(checkSet([op("add", 1, 0, 1), op("get", [], 2, 3)])[0], /missing/);
  assert.match(checkSet([op("add", 1, 0, 1, "info"), op("get", [1], 2, 3), op("get", [], 4, 5)])[0], /missing/);
  assert.match(checkSet([op("get", [1], 2, 3)])[0], /before anybody/);
  assert.match(checkSet([op("add", 1, 0, 1, "fail"), op("get", [1], 2, 3)])[0], /certainly failed/);
  assert.match(checkSet([op("add", 1, 0, 1), op("get", [1, 1], 2, 3)])[0], /twice/);
});
