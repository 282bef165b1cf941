// Run by tools/fuzz-api: a server with official SDK services and invocations in several states, then schemathesis over the OpenAPI
// documents of the admin API and of the services.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Endpoint, Server, restate } from "../sdk/harness.mjs";

const [bin, examples, seed] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const dir = mkdtempSync(join(tmpdir(), "fuzz-api-"));

const greeter = restate.service({ name: "Greeter", handlers: { greet: async (ctx, name) => `Hello ${JSON.stringify(name)}` } });
const counter = restate.object({
  name: "Counter",
  handlers: {
    add: async (ctx, n) => (ctx.set("n", n ?? 0), n ?? 0), // an empty answer has no content type
    get: restate.handlers.object.shared(async (ctx) => ctx.get("n")),
  },
});
const flow = restate.workflow({ name: "Flow", handlers: { run: async (ctx) => (await ctx.promise("done").resolve(1), 1) } });

function run(program, args) {
  return new Promise((resolve) => {
    const child = spawn(join(bin, program), args, { stdio: "inherit", cwd: dir, env: { ...process.env, PYTHONPATH: here, SCHEMATHESIS_HOOKS: "checks", NO_COLOR: "1" } });
    child.on("exit", (code) => resolve(code ?? -1));
  });
}

let failed = false;
const server = await Server.start({ env: { RESTATE_DEFAULT_NUM_PARTITIONS: "4", RESTATE_EXPERIMENTAL_ENABLE_VQUEUES: "true", ...(process.env.ASAN ? { ASAN_OPTIONS: "detect_leaks=0" } : {}) } });
const endpoint = await Endpoint.start(greeter, counter, flow);
try {
  await server.register(endpoint);
  await server.call("/Greeter/greet", "Ada", { headers: { "idempotency-key": "k" } });
  await server.call("/Counter/c/add", 1);
  await server.send("/Flow/w/run", {});
  const documents = [["admin", await server.adminRequest("/openapi", { method: "GET" }), server.admin]];
  for (const service of ["Greeter", "Counter", "Flow"]) documents.push([service, await server.adminRequest(`/services/${service}/openapi`, { method: "GET" }), server.ingress]);
  for (const [name, answer, url] of documents) {
    if (answer.status !== 200) throw new Error(`${name}: ${answer.status}`);
    const file = join(dir, `${name}.json`);
    writeFileSync(file, JSON.stringify(answer.body));
    console.log(`\n== ${name}`);
    if ((await run("openapi-spec-validator", [file])) !== 0) failed = true;
    const args = ["run", file, "--url", url, "--checks", "no_server_fault,status_code_conformance,content_type_conformance,response_schema_conformance", "--mode", "all", "--seed", seed, "--max-examples", examples, "--request-timeout", "20",
      "--phases", "examples,coverage,fuzzing", "--warnings", "off", "--suppress-health-check", "all", "--generation-database", "none", "--continue-on-failure"];
    if ((await run("schemathesis", args)) !== 0) failed = true;
    if (server.process.exitCode !== null || server.process.signalCode !== null) throw new Error(`the server ended while ${name} was fuzzed\n${server.log.slice(-3000)}`);
    const health = await server.adminRequest("/health", { method: "GET" });
    if (health.status !== 200) throw new Error(`health: ${health.status}`);
  }
} catch (error) {
  console.error(error.message);
  failed = true;
}
await endpoint.kill();
await server.dispose();
rmSync(dir, { recursive: true, force: true });
console.log(failed ? "fuzz-api: FAILED" : "fuzz-api: ok");
process.exit(failed ? 1 : 0);
