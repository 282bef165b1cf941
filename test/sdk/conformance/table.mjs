// Writes the table of results into docs/conformance.md from the runs that tools/conformance left below build/conformance.
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
const runOf = (target) => {
  const file = join(root, "build", "conformance", `${target}.jsonl`);
  if (!existsSync(file)) return { date: "not run", cases: [] };
  const cases = readFileSync(file, "utf8").trim().split("\n").map(JSON.parse);
  return { date: statSync(file).mtime.toISOString().slice(0, 10), cases };
};

// All runs of one name (several server settings) in one cell.
function cell(cases) {
  if (cases.length === 0) return "-";
  const differs = cases.filter((c) => c.result === "differs");
  if (differs.length === cases.length) return "differs";
  const passed = cases.filter((c) => c.result === "pass").length;
  const total = cases.length - differs.length;
  const text = passed === total ? "pass" : "**fail**";
  return total === 1 ? text : `${text} ${passed}/${total}`;
}

const ours = runOf("ours");
const official = runOf("official");
const names = new Map();
for (const c of [...ours.cases, ...official.cases]) names.set(`${c.file}\n${c.name}`, c);
const rows = [...names.values()].map(({ file, name }) => {
  const same = (c) => c.file === file && c.name === name;
  const note = official.cases.find((c) => same(c) && c.note)?.note ?? "";
  return `| ${name.replaceAll("|", "\\|")} | ${file} | ${cell(ours.cases.filter(same))} | ${cell(official.cases.filter(same))} | ${note} |`;
});
// Cases that a server is known to answer differently are not run against it.
const count = ({ cases }) => {
  const run = cases.filter((c) => c.result !== "differs");
  return `${run.filter((c) => c.result === "pass").length} of ${run.length} runs passed`;
};
const table = [
  `This server: ${count(ours)} on ${ours.date}. Official server 1.7.12: ${count(official)} on ${official.date}.`,
  "",
  "| behaviour | file in test/sdk/conformance | this server | official | difference |",
  "| --- | --- | --- | --- | --- |",
  ...rows,
].join("\n");

const doc = join(root, "docs", "conformance.md");
const text = readFileSync(doc, "utf8");
const [begin, end] = ["<!-- results: tools/conformance -->\n", "\n<!-- end of results -->"];
const from = text.indexOf(begin) + begin.length;
const to = text.indexOf(end);
if (from < begin.length || to < from) throw new Error("docs/conformance.md has no place for the results");
writeFileSync(doc, text.slice(0, from) + table + text.slice(to));
