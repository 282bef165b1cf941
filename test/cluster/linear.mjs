// Checkers of histories. An operation is {f, value, type: ok | fail | info, invoked, completed}: `fail` was certainly not executed, `info`
// may have been executed at any time after its invocation, or never.

// Is there an order of the operations on one register, each between its invocation and its completion, in which every read gives what was
// last written? Operations: get (value read), set (value), cas (value [from, to]; a mismatch is a `fail`). The search of Wing and Gong with
// the memory of visited (linearised set, value) pairs that Lowe added. Returns null, or a sentence that says where it stuck.
export function checkRegister(history, initial = null, { maxStates = 2_000_000 } = {}) {
  const ops = observed(history)
    .sort((a, b) => a.invoked - b.invoked)
    .map((op, id) => ({ ...op, id, until: op.type === "ok" ? op.completed : Infinity }));
  const needed = ops.filter((op) => op.type === "ok").length;
  const step = (value, op) => {
    switch (op.f) {
      case "get":
        return same(op.value, value) ? { value } : null;
      case "set":
        return { value: op.value };
      case "cas":
        return same(op.value[0], value) ? { value: op.value[1] } : null;
      default:
        throw new Error(`unknown operation ${op.f}`);
    }
  };
  const seen = new Set();
  let deepest = 0;
  let deepestAt = null;
  // Depth first with an explicit stack. `done` is a bit set; `first` the lowest index not linearised (all before it are).
  const stack = [{ done: 0n, first: 0, value: initial, count: 0 }];
  while (stack.length) {
    const state = stack.pop();
    if (state.count === needed) return null;
    // Only what was invoked before the earliest completion of an outstanding operation can be next.
    let bound = Infinity;
    for (let i = state.first; i < ops.length && ops[i].invoked < bound; i++)
      if (!((state.done >> BigInt(i)) & 1n)) bound = Math.min(bound, ops[i].until);
    for (let i = state.first; i < ops.length && ops[i].invoked <= bound; i++) {
      if ((state.done >> BigInt(i)) & 1n) continue;
      const next = step(state.value, ops[i]);
      if (!next) continue;
      const done = state.done | (1n << BigInt(i));
      const key = `${done.toString(36)}|${JSON.stringify(next.value)}`;
      if (seen.has(key)) continue;
      if (seen.size >= maxStates) return `undecided: more than ${maxStates} states`;
      seen.add(key);
      const count = state.count + (ops[i].type === "ok" ? 1 : 0);
      if (count > deepest) [deepest, deepestAt] = [count, ops[i]];
      let first = state.first;
      while (first < ops.length && (done >> BigInt(first)) & 1n) first++;
      stack.push({ done, first, value: next.value, count });
    }
  }
  return `not linearizable: only ${deepest} of ${needed} completed operations can be put in order, the last ${describe(deepestAt)}`;
}

// Without the operations in doubt whose value no other operation saw: an order with them is one without them as well.
function observed(history) {
  let ops = history.filter((op) => op.type === "ok" || (op.type === "info" && op.f !== "get"));
  for (;;) {
    const saw = new Map();
    for (const op of ops) {
      const value = op.f === "get" ? op.value : op.f === "cas" ? op.value[0] : undefined;
      if (value !== undefined) saw.set(JSON.stringify(value), [...(saw.get(JSON.stringify(value)) ?? []), op]);
    }
    const kept = ops.filter((op) => {
      const wrote = JSON.stringify(op.f === "cas" ? op.value[1] : op.value);
      return op.type === "ok" || (saw.get(wrote) ?? []).some((other) => other !== op);
    });
    if (kept.length === ops.length) return ops;
    ops = kept;
  }
}

function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}
function describe(op) {
  return op ? `${op.f} ${JSON.stringify(op.value)} at ${op.invoked.toFixed(0)}..${op.completed?.toFixed(0)}` : "none";
}

// Every key of a history on its own. Returns the complaints.
export function checkRegisters(history) {
  const keys = new Map();
  for (const op of history) keys.set(op.key, [...(keys.get(op.key) ?? []), op]);
  const complaints = [];
  for (const [key, ops] of keys) {
    const complaint = checkRegister(ops);
    if (complaint) complaints.push(`key ${key}: ${complaint}`);
  }
  return complaints;
}

// A grow-only set (add value; get gives all values), linearizable: an acknowledged element is in every read that begins later, an element
// once read stays, nothing appears before it was attempted or twice, and what certainly failed never does. Returns the complaints.
export function checkSet(history) {
  const complaints = [];
  const adds = new Map(); // value -> {invoked, known: since when it must be there, failed}
  for (const op of history.filter((o) => o.f === "add")) {
    const add = adds.get(op.value) ?? { invoked: op.invoked, known: Infinity, failed: true };
    add.invoked = Math.min(add.invoked, op.invoked);
    if (op.type === "ok") add.known = Math.min(add.known, op.completed);
    if (op.type !== "fail") add.failed = false;
    adds.set(op.value, add);
  }
  const reads = history.filter((o) => o.f === "get" && o.type === "ok").sort((a, b) => a.completed - b.completed);
  for (const read of reads) {
    const values = new Set(read.value);
    if (values.size !== read.value.length) complaints.push(`a read at ${read.invoked.toFixed(0)} has an element twice`);
    for (const v of values) {
      const add = adds.get(v);
      if (!add || add.invoked > read.completed) complaints.push(`${v} was read before anybody added it`);
      else if (add.failed) complaints.push(`${v} was read although its add certainly failed`);
      else add.known = Math.min(add.known, read.completed);
    }
  }
  for (const read of reads) {
    const values = new Set(read.value);
    for (const [v, add] of adds) if (add.known < read.invoked && !values.has(v)) complaints.push(`${v}, known since ${add.known.toFixed(0)}, is missing in a read at ${read.invoked.toFixed(0)}`);
  }
  return complaints;
}
