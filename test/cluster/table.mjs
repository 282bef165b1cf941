// Writes the table of docs/conformance.md that says which case shows which item of spec/cluster.md and what came out: only from runs that
// happened (build/cluster/ours*.jsonl, official*.jsonl; the newest result of a case counts). Simulator and unit tests that name an invariant
// are listed by file; they run in `make sim` and `make test-unit`.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { items } from "./items.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

function runs(target) {
  const dir = join(root, "build", "cluster");
  const files = existsSync(dir) ? readdirSync(dir).filter((f) => f.startsWith(target) && f.endsWith(".jsonl")) : [];
  const newest = new Map();
  for (const file of files.sort((a, b) => statSync(join(dir, a)).mtimeMs - statSync(join(dir, b)).mtimeMs)) {
    const date = statSync(join(dir, file)).mtime.toISOString().slice(0, 10);
    for (const line of readFileSync(join(dir, file), "utf8").split("\n").filter(Boolean)) {
      const c = JSON.parse(line);
      newest.set(c.name, { ...c, date });
    }
  }
  return newest;
}
const [ours, official] = [runs("ours"), runs("official")];
const text = (r) => (r === undefined ? "not run" : r.result === "pass" ? "pass" : r.result === "fail" ? "**fail**" : `not shown there${r.note ? `: ${r.note}` : ""}`);

const itemsOf = (name) => {
  const head = name.split(":")[0];
  return head.match(/\b([AGMSNFPLTOV]-\d+|[GMT]-[a-h]|JEPSEN|E2E|CHAOS)\b/g) ?? [];
};
const sources = Object.fromEntries(["form", "faults", "suites", "metadata", "operate", "deploy", "sql", "storm", "recover", "rejoin", "external", "limits"].map((f) => [f, readFileSync(join(root, "test", "cluster", `${f}.test.mjs`), "utf8")]));
const cases = new Map(); // name -> file
for (const name of new Set([...ours.keys(), ...official.keys()])) cases.set(name, name.startsWith("JEPSEN ") && !/: /.test(name) ? "suites.test.mjs" : (ours.get(name) ?? official.get(name)).file);
for (const [file, source] of Object.entries(sources)) for (const m of source.matchAll(/scenario\(\s*"([^"]+)"/g)) cases.set(m[1], `${file}.test.mjs`);
// Results of cases that were renamed since are no results.
for (const [name, file] of cases) if (!file.startsWith("suites") && !file.startsWith("linear") && !Object.values(sources).some((source) => source.includes(JSON.stringify(name)) || source.includes(name))) cases.delete(name);

// Files of the simulator and the unit tests that name an item.
function elsewhere(item) {
  try {
    const found = execFileSync("git", ["grep", "-lwE", `${item}`, "--", "sim", "test/unit"], { cwd: root, encoding: "utf8" }).trim().split("\n");
    return found.map((f) => f.replace(/^sim\//, "sim/")).slice(0, 3).join(", ");
  } catch {
    return "";
  }
}

const doc = join(root, "docs", "conformance.md");
let page = readFileSync(doc, "utf8");
// Where the official server was not run, what is known of it stays: the last column of a row, and the sentence at the top.
const before = new Map([...page.matchAll(/^\| ([A-Z0-9]+(?:-\w+)?) \| [^|]* \| ([^|]*) \| [^|]* \| ([^|]*) \|$/gm)].map((m) => [`${m[1]} ${m[2]}`, m[3]]));
const officialText = (item, shown, r) => (official.size ? text(r) : (before.get(`${item} ${shown}`) ?? "not run"));
const lines = [];
const count = (run) => {
  const all = [...run.values()].filter((r) => cases.has(r.name) && r.result !== "differs");
  const last = all.map((r) => r.date).sort().at(-1) ?? "never";
  return `${all.filter((r) => r.result === "pass").length} of ${all.length} cases that ran passed (last run ${last})`;
};
const officialCount = official.size ? count(official) : (/Official server 1\.7\.12: (.*?)\. \d+ cases exist/.exec(page)?.[1] ?? count(official));
lines.push(`This server: ${count(ours)}. Official server 1.7.12: ${officialCount}. ${cases.size} cases exist.`, "");
for (const [group, entries] of Object.entries(items)) {
  lines.push(`**${group}**`, "", "| item | | case, or simulator and unit tests | this server | official |", "| --- | --- | --- | --- | --- |");
  for (const [item, about] of Object.entries(entries)) {
    const shown = [...cases].filter(([name]) => itemsOf(name).includes(item));
    // An invariant is checked at every step of the simulators, whatever cases show it too.
    if (shown.length === 0 || (group.startsWith("Invariants") && elsewhere(item))) {
      const files = elsewhere(item);
      lines.push(`| ${item} | ${about} | ${files || "none"} | ${files ? "see there" : "not shown"} | - |`);
    }
    for (const [name, file] of shown) {
      const cell = `${file.replace(".test.mjs", "")}: ${name.replace(/^[^:]*: ?/, "").slice(0, 110) || name}`;
      lines.push(`| ${item} | ${about} | ${cell} | ${text(ours.get(name))} | ${officialText(item, cell, official.get(name))} |`);
    }
  }
  lines.push("");
}

const [begin, end] = ["<!-- results: tools/test-cluster -->\n", "<!-- end of cluster results -->"];
if (!page.includes(begin)) page += `\n## Cluster\n\nEvery item of spec/cluster.md with the case of \`test/cluster\` that shows it. \`make test-cluster-full\` and\n\`tools/node test/cluster/table.mjs\` renew this.\n\n${begin}${end}\n`;
const from = page.indexOf(begin) + begin.length;
writeFileSync(doc, page.slice(0, from) + lines.join("\n") + page.slice(page.indexOf(end)));
