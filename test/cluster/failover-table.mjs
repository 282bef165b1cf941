// Writes the fail-over table of docs/operations.md from what test/cluster/failover.mjs measured last (build/cluster/failover-*.json).
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const load = (target) => {
  const path = join(root, "build", "cluster", `failover-${target}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : { time: null, rows: [] };
};
const [ours, official] = [load("ours"), load("official")];
const range = (run, event, field) => {
  const all = run.rows.filter((r) => r.event === event && r[field] !== null).map((r) => r[field]).sort((a, b) => a - b);
  const text = (v) => (v / 1000).toFixed(2);
  if (all.length === 0) return run.rows.some((r) => r.event === event) ? "" : "not measured";
  return text(all[0]) === text(all.at(-1)) ? text(all[0]) : `${text(all[0])} to ${text(all.at(-1))}`;
};
const failed = (run, event) => run.rows.filter((r) => r.event === event).reduce((sum, r) => sum + Object.values(r.errors).reduce((a, b) => a + b, 0), 0);
const when = (run) => (run.time ? `measured ${run.time.slice(0, 10)}` : "not measured");
const lines = [
  `This server: ${when(ours)}; official server 1.7.12: ${when(official)}; seconds, smallest to largest of the rounds.`,
  "",
  "| event | this server: through nodes that stay | through the victim | failed attempts | official: through nodes that stay | through the victim | failed attempts |",
  "| --- | --- | --- | --- | --- | --- | --- |",
];
const events = [...new Set([...ours.rows, ...official.rows].map((r) => r.event))];
for (const e of events)
  lines.push(`| ${e} | ${range(ours, e, "staying")} | ${range(ours, e, "leaving")} | ${ours.rows.some((r) => r.event === e) ? failed(ours, e) : ""} | ${range(official, e, "staying")} | ${range(official, e, "leaving")} | ${official.rows.some((r) => r.event === e) ? failed(official, e) : ""} |`);

const doc = join(root, "docs", "operations.md");
let page = readFileSync(doc, "utf8");
const [begin, end] = ["<!-- results: tools/failover -->\n", "<!-- end of fail-over results -->"];
if (!page.includes(begin))
  page += `
## Fail-over: what clients see

The longest time between two answers to one client, three nodes on loopback (or in network namespaces for the cuts), four partitions,
replication 2, default settings otherwise, one event on a fresh cluster each (\`make failover\`, test/cluster/failover.mjs). Thirteen
sequential writers with idempotency keys: nine enter through the nodes that stay and wait as long as it takes; four enter through the victim,
give an attempt up after one second and go on elsewhere under the same key. In every run each counter equalled the acknowledged calls.
"A node that leads partitions" leads no metadata; the figures were taken on two cores that other programs used as well.

${begin}${end}
`;
const from = page.indexOf(begin) + begin.length;
writeFileSync(doc, `${page.slice(0, from)}${lines.join("\n")}\n${page.slice(page.indexOf(end))}`);
