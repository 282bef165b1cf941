// Writes the results of one language (a file of "language TAB suite TAB case TAB result" lines, first line "# date TAB versions") into
// docs/conformance-other-sdks.md: a row in the list of runs and a column in the table of cases. Other languages' columns stay.
import { existsSync, readFileSync, writeFileSync } from "node:fs";

const [report, document] = process.argv.slice(2);
const [first, ...lines] = readFileSync(report, "utf8").trim().split("\n");
const [date, versions] = first.slice(2).split("\t");
const rows = lines.map((line) => line.split("\t"));
const language = rows[0][0];
const suites = [...new Set(rows.map((row) => row[1]))];

// What the document says now: runs by language, results by case and language.
const runs = new Map();
const cases = new Map();
const languages = [];
if (existsSync(document)) {
  const cells = (line) => line.split("|").slice(1, -1).map((cell) => cell.trim());
  const tables = readFileSync(document, "utf8").split("\n").filter((line) => /^\|(?! ?-)/.test(line)).map(cells);
  const header = tables.findIndex((row) => row[0] === "case");
  for (const row of tables.slice(1, header)) runs.set(row[0], row);
  languages.push(...tables[header].slice(1));
  for (const [name, ...results] of tables.slice(header + 1)) cases.set(name, new Map(languages.map((l, i) => [l, results[i]])));
}
if (!languages.includes(language)) languages.push(language);

for (const results of cases.values()) results.delete(language);
for (const name of new Set(rows.map((row) => row[2]))) {
  const mine = rows.filter((row) => row[2] === name);
  const failed = mine.filter((row) => row[3] !== "pass").map((row) => row[1]);
  if (!cases.has(name)) cases.set(name, new Map());
  cases.get(name).set(language, failed.length ? `FAIL: ${failed.join(", ")}` : `${mine.length}/${suites.length}`);
}
const failures = rows.filter((row) => row[3] !== "pass").length;
runs.set(language, [language, versions, date, suites.join(", "), String(rows.length), String(failures)]);

const line = (row) => `| ${row.join(" | ")} |`;
const table = (header, body) => [line(header), line(header.map(() => "---")), ...body.map(line)].join("\n");
writeFileSync(
  document,
  `# The other official SDKs

Written by \`make test-sdk-python\`, \`make test-sdk-go\` and so on (test/sdk-other): the cases of the SDK test suite with services on
other languages' official SDKs, as their registries ship them, against this server. They are not part of \`make test\`. TypeScript has
suites of its own (test/sdk, part of \`make test\`).

Java and Kotlin are missing: their SDK (dev.restate:sdk-java-http, sdk-kotlin-http, sdk-api) was not served by the Maven registry that
this project is built with (asked on 2026-11-28, versions 2.4.1 to 2.9.4: "could not find artifact"), so that no suite of theirs could
be compiled or run.

${table(["language", "SDK", "last run", "server settings", "cases run", "failed"], [...runs.values()])}

\`n/m\` means: passed under n of the m settings of the run. An empty cell or a dash: the SDK has no API for it.

${table(["case", ...languages], [...cases].sort().map(([name, results]) => [name, ...languages.map((l) => results.get(l) ?? "-")]))}
`,
);
