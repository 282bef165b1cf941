// Random programs on real services while the server is killed every few seconds: in the end every object must have seen exactly what
// the model says, every caller must have got the right result, and nothing that was journaled may have changed.
//   tools/torture SECONDS [SEED]
import { Endpoint, Server, eventually, sleep } from "../harness.mjs";
import { allKeys, execute, generate, mix, newModel, resultOf, rng } from "./program.mjs";
import { chaos, completer, flow, interpreter, violations } from "./services.mjs";

const seconds = Number(process.argv[2] ?? 20);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 31));
const r = rng(mix(seed, 4_000_000_000));
const env = {
  RESTATE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL: "10ms",
  RESTATE_DEFAULT_RETRY_POLICY__MAX_INTERVAL: "200ms",
  RESTATE_DEFAULT_RETRY_POLICY__MAX_ATTEMPTS: "unlimited",
  RESTATE_DEFAULT_NUM_PARTITIONS: String(r.pick([1, 2, 4, 24])),
  RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT: r.pick(["0s", "20ms", "200ms", "1m"]),
  RESTATE_WORKER__INVOKER__DISABLE_EAGER_STATE: String(r.chance(0.3)),
  RESTATE_EXPERIMENTAL_ENABLE_PROTOCOL_V7: String(r.chance(0.4)),
  ...(r.chance(0.3) ? { RESTATE_WORKER__NUM_TIMERS_IN_MEMORY_LIMIT: "4" } : {}),
  ...(r.chance(0.3) ? { RESTATE_WORKER__INVOKER__CONCURRENT_INVOCATIONS_LIMIT: "200" } : {}),
};
chaos.random = rng(mix(seed, 4_000_000_001));
chaos.failures = r.pick([0, 0.01, 0.03]);
const clients = r.pick([4, 8, 16]);
console.log(`torture: ${seconds} s, seed ${seed}, ${clients} clients, failures ${chaos.failures}`);
console.log(`torture: ${Object.entries(env).map((pair) => pair.join("=")).join(" ")}`);

const model = newModel();
const wrong = [];
let submitted = 0;
let kills = 0;
let stopping = false;
const inFlight = new Set(); // ids of root programs that were sent
const paused = new Set();

// One root program: the same idempotency key until an answer comes, half of them as a send that is attached to.
async function runProgram(server, number) {
  const program = generate(seed, number);
  execute(model, program);
  submitted++;
  const headers = { "idempotency-key": `program-${number}` };
  const path = `/Interpreter/${program.key}/execute`;
  for (;;) {
    try {
      let response;
      if (number % 2) response = await server.request(path, { body: { program }, headers, timeoutMs: 60_000 });
      else {
        const { invocationId } = await server.send(path, { program }, { headers });
        inFlight.add(invocationId);
        response = await server.get(`/restate/invocation/${invocationId}/attach`, { timeoutMs: 60_000 });
        inFlight.delete(invocationId);
      }
      if (response.status === 200 && response.body === resultOf(program)) return;
      if (response.status < 500 || response.body?.source === "invocation") {
        wrong.push(`program ${number}: ${response.status} ${JSON.stringify(response.body)}`);
        return;
      }
    } catch (error) {
      if (error.name === "TimeoutError") {
        wrong.push(`program ${number}: no answer within a minute`);
        return;
      }
    }
    await sleep(20); // the server is down
  }
}

// Pauses programs at random; whatever was paused is resumed again and again until it is over, because a pause may take effect late.
async function operator(server, until) {
  let rest = 3; // rounds after the end, so that nothing stays paused
  while (Date.now() < until || inFlight.size > 0 || rest-- > 0) {
    await sleep(100 + r.int(300));
    const ids = [...inFlight];
    try {
      if (Date.now() < until && ids.length > 0 && r.chance(0.5)) {
        const id = r.pick(ids);
        paused.add(id);
        await server.operate("pause", id);
        await sleep(r.int(100));
      }
      for (const id of paused) {
        const { status } = await server.operate("resume", id);
        if (status === 409 || status === 404) paused.delete(id);
        else if (status !== 200 && status !== 503 && status !== 425) wrong.push(`resume of ${id}: ${status}`);
      }
    } catch {
      // the server is down
    }
  }
}

async function killer(server, endpoint, until) {
  for (;;) {
    await sleep(Math.min(300 + r.int(2500), Math.max(0, until - Date.now())));
    if (Date.now() >= until) return;
    kills++;
    switch (r.weighted([[6, "server"], [1, "endpoint"], [1, "stop"], [1, "upgrade"]])) {
      case "server":
        await server.crash();
        await server.launch();
        break;
      case "stop":
        await server.stop();
        await server.launch();
        break;
      case "upgrade": // the same services at another address: what runs stays where it is pinned
        if (other) break;
        other = await Endpoint.start(interpreter, completer, flow);
        await eventually(() => server.register(other));
        break;
      case "endpoint":
        await endpoint.kill();
        await sleep(r.int(300));
        await endpoint.open();
        break;
    }
  }
}

const sameAsModel = async (server) => {
  const differences = [];
  for (const key of allKeys) {
    const seen = await server.call(`/Interpreter/${key}/seen`);
    const expected = model.get(key);
    if (seen.count !== expected.count || seen.sum !== expected.sum)
      differences.push(`${key}: has seen ${JSON.stringify(seen)}, the model ${JSON.stringify(expected)}`);
  }
  if (differences.length) throw new Error(differences.join("\n"));
  return true;
};

const endpoint = await Endpoint.start(interpreter, completer, flow);
let other = null;
const server = await Server.start({ env });
let failure = null;
try {
  await server.register(endpoint);
  const until = Date.now() + seconds * 1000;
  let number = 0;
  const work = Array.from({ length: clients }, async () => {
    while (!stopping && Date.now() < until) await runProgram(server, number++);
  });
  await Promise.all([killer(server, endpoint, until), operator(server, until), ...work]);
  stopping = true;
  chaos.failures = 0;
  await eventually(() => sameAsModel(server), { timeoutMs: 30_000, everyMs: 200 });
  await sleep(700); // nothing may come on top: longer than the longest delay of a send
  await sameAsModel(server);
  await server.restart();
  await sameAsModel(server);
} catch (error) {
  failure = error.cause ?? error;
}
const problems = [...wrong, ...violations, ...(failure ? [failure.stack] : [])];
console.log(`torture: ${submitted} programs, ${chaos.attempts} attempts, ${kills} kills, ${problems.length} problems`);
if (problems.length) {
  process.env.KEEP = "1";
  console.error(problems.slice(0, 20).join("\n"));
  console.error(`torture: FAILED; data and log in ${server.dir}\nreproduce with: tools/torture ${seconds} ${seed}`);
}
await server.dispose();
await endpoint.kill();
await other?.kill();
process.exit(problems.length ? 1 : 0);
