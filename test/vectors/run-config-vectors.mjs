// Replays config-vectors.json: each case starts the server with --dump-config and looks at one key of the dump, or at the error
// (spec/config.md). Usage: node run-config-vectors.mjs PATH_TO_RESTATE_SERVER
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const server = process.argv[2];
const here = dirname(fileURLToPath(import.meta.url));
const { cases } = JSON.parse(readFileSync(join(here, "config-vectors.json"), "utf8"));
// The reference panics (exit 101) where this server exits 1 (spec/config.md §8, decision 8).
// spec/config.md §8, decision 3: a file that shows its age gets ingress back, where release 1.7 silently serves none.
const decided = {
  "1.2 cluster file loads": ["http-ingress", "admin", "worker", "log-server", "metadata-server"],
};
const exitCodes = (code) => (code === 101 ? [101, 1] : [code]);

// A reader for the subset of TOML that dumps use: sections, scalars, lists, inline tables, arrays of inline tables.
function parseDump(text) {
  const root = {};
  let table = root;
  for (const line of text.split("\n")) {
    const section = line.match(/^\[(.+)\]$/);
    if (section) {
      table = root;
      for (const part of section[1].split(".")) table = table[part] ??= {};
      continue;
    }
    const entry = line.match(/^([\w-]+) = (.*)$/);
    if (entry) table[entry[1]] = JSON.parse(toJson(entry[2]));
  }
  return root;
}
// Inline tables are printed with quoted keys, so turning " = " into ":" outside of strings makes JSON.
function toJson(value) {
  return value
    .split(/("(?:[^"\\]|\\.)*")/)
    .map((part) => (part.startsWith('"') ? part : part.replaceAll(" = ", ":")))
    .join("");
}
function lookup(root, key) {
  // Keys may contain dots only as separators; the longest chain wins.
  return key.split(".").reduce((value, part) => (value === undefined ? undefined : value[part]), root);
}

let passed = 0;
let failed = 0;
for (const c of cases) {
  const dir = mkdtempSync(join(tmpdir(), "config-vector-"));
  const args = [];
  if (c.toml !== null) {
    writeFileSync(join(dir, "c.toml"), c.toml);
    args.push("-c", "c.toml");
  }
  const run = spawnSync(server, [...args, ...c.args, "--dump-config"], {
    cwd: dir,
    env: { PATH: process.env.PATH, ...c.env },
    encoding: "utf8",
  });
  const problems = [];
  if (c.expect.ok) {
    if (run.status !== 0) problems.push(`exit ${run.status}: ${run.stderr}`);
    else {
      const value = lookup(parseDump(run.stdout), c.expect.key);
      const expected = decided[c.name] ?? c.expect.value;
      if (JSON.stringify(value) !== JSON.stringify(expected))
        problems.push(`${c.expect.key} is ${JSON.stringify(value)}, expected ${JSON.stringify(expected)}`);
      if (c.expect.stderr && !run.stderr.includes(c.expect.stderr)) problems.push(`stderr lacks: ${c.expect.stderr}`);
    }
  } else {
    if (!exitCodes(c.expect.exit).includes(run.status)) problems.push(`exit ${run.status}, expected ${c.expect.exit}`);
    if (!new RegExp(c.expect.error).test(run.stderr)) problems.push(`stderr does not match /${c.expect.error}/: ${run.stderr}`);
  }
  rmSync(dir, { recursive: true });
  if (problems.length === 0) passed++;
  else {
    failed++;
    console.log(`FAILED ${c.name}: ${problems.join("; ")}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
