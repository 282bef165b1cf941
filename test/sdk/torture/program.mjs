// Random programs for the interpreter services, and the model of what they leave behind. Everything follows from (seed, number).

// splitmix32: small, seeded, good enough for choices.
export function rng(seed) {
  let s = seed >>> 0;
  const next = () => {
    s = (s + 0x9e3779b9) >>> 0;
    let z = s;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  return {
    int: (n) => next() % n,
    chance: (p) => next() / 2 ** 32 < p,
    pick: (list) => list[next() % list.length],
    weighted(table) {
      let at = next() % table.reduce((sum, [weight]) => sum + weight, 0);
      for (const [weight, value] of table) if ((at -= weight) < 0) return value;
    },
  };
}
export const mix = (seed, n) => (Math.imul(seed, 0x01000193) ^ Math.imul(n + 1, 0x85ebca6b)) >>> 0;

export const LAYERS = 4; // a program only calls objects of a deeper layer: no cycles, hence no deadlocks
export const KEYS = 6;
const keyOf = (layer, i) => `L${layer}-${i}`;
export const allKeys = Array.from({ length: LAYERS }, (_, layer) => Array.from({ length: KEYS }, (_, i) => keyOf(layer, i))).flat();

// A program is {id, key, steps, result}: what `key` executes under its lock. `result` is how many steps it reports as done.
// Ids are unique: an object adds up the ids of the programs and increments it has seen.
export function generate(seed, number) {
  const r = rng(mix(seed, number));
  let ids = number * 1000;
  const program = (layer, budget) => {
    const steps = [];
    const length = 1 + r.int(budget);
    for (let i = 0; i < length; i++) steps.push(step(layer, Math.max(1, Math.floor(budget / 2))));
    return { id: ++ids, key: keyOf(layer, r.int(KEYS)), steps };
  };
  const step = (layer, budget) => {
    const deeper = layer + 1 < LAYERS;
    const kind = r.weighted([
      [4, "increment"],
      [2, "run"],
      [2, "sleep"],
      [2, "awakeable"],
      [1, "rejected"],
      [1, "signal"],
      [1, "crash"],
      [1, "timeout"],
      [1, "clear"],
      [1, "random"],
      [1, "workflow"],
      ...(deeper
        ? [
            [3, "call"],
            [3, "send"],
            [2, "delayed"],
            [2, "parallel"],
            [1, "failing"],
            [1, "idempotent"],
            [1, "cancelled"],
            [1, "attached"],
          ]
        : []),
    ]);
    const s = { kind, id: ++ids };
    switch (kind) {
      case "run":
        s.size = r.chance(0.05) ? 100_000 : r.int(200);
        s.failures = r.chance(0.3);
        break;
      case "sleep":
      case "timeout":
        s.ms = r.int(r.chance(0.1) ? 800 : 60);
        break;
      case "delayed":
        s.ms = 1 + r.int(600);
        s.program = program(layer + 1, budget);
        break;
      case "awakeable":
      case "rejected":
      case "signal":
        s.ms = r.chance(0.5) ? 0 : r.int(200);
        break;
      case "call":
      case "send":
      case "failing":
      case "idempotent":
      case "attached":
        s.program = program(layer + 1, budget);
        break;
      case "cancelled":
        s.key = keyOf(layer + 1, r.int(KEYS));
        break;
      case "parallel":
        s.programs = Array.from({ length: 2 + r.int(3) }, () => program(layer + 1, budget));
        s.wait = r.pick(["all", "allSettled", "race"]);
        break;
    }
    return s;
  };
  return program(0, 6);
}

// ---- the model: what every object has seen in the end ----

export function newModel() {
  return new Map(allKeys.map((key) => [key, { count: 0, sum: 0 }]));
}
const note = (model, key, id) => {
  const object = model.get(key);
  object.count++;
  object.sum += id;
};
export function execute(model, program) {
  note(model, program.key, program.id);
  for (const s of program.steps) {
    note(model, program.key, s.id); // every step leaves its mark when it is over
    for (const p of s.programs ?? (s.program ? [s.program] : [])) execute(model, p);
    if (s.kind === "cancelled") note(model, s.key, s.id);
  }
}
// What a program returns to its caller.
export const resultOf = (program) => program.id * 10 + program.steps.length;
