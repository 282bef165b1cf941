// Writes the results of one language (a file of "language TAB suite TAB case TAB result" lines, first line "# date TAB versions", last line
// "# all") into docs/conformance.md, between its two markers of the other SDKs: a row in the list of runs and a column in the table of
// cases. Other languages' columns stay.
import { readFileSync, writeFileSync } from "node:fs";

const [report, document] = process.argv.slice(2);
const [first, ...lines] = readFileSync(report, "utf8").trim().split("\n");
const [date, versions] = first.slice(2).split("\t");
if (lines.pop() !== "# all") throw new Error(`${report} is of a run that was broken off`);
const rows = lines.map((line) => line.split("\t"));
if (rows.length === 0) throw new Error(`${report} has no results`);
const language = rows[0][0];
const suites = [...new Set(rows.map((row) => row[1]))];

const text = readFileSync(document, "utf8");
const [open, close] = ["<!-- results: make test-sdk-<language> -->\n", "<!-- end of the other SDKs -->"];
const [before, rest] = text.split(open);
const [section, behind] = rest?.split(close) ?? [];
if (behind === undefined) throw new Error(`${document} lacks the markers of the other SDKs`);

// What the section says now: runs by language, results by case and language.
const cells = (line) => line.split("|").slice(1, -1).map((cell) => cell.trim());
const tables = section.split("\n").filter((line) => /^\|(?! ?-)/.test(line)).map(cells);
const header = tables.findIndex((row) => row[0] === "case");
const runs = new Map(header < 0 ? [] : tables.slice(1, header).map((row) => [row[0], row]));
const languages = header < 0 ? [] : tables[header].slice(1);
const cases = new Map(
  header < 0 ? [] : tables.slice(header + 1).map(([name, ...results]) => [name, new Map(languages.map((l, i) => [l, results[i]]))]),
);
if (!languages.includes(language)) languages.push(language);

for (const results of cases.values()) results.delete(language);
for (const name of new Set(rows.map((row) => row[2]))) {
  const mine = rows.filter((row) => row[2] === name);
  const failed = mine.filter((row) => row[3] === "FAIL").map((row) => row[1]);
  const skipped = mine.find((row) => row[3].startsWith("skip: "))?.[3].slice(6);
  if (!cases.has(name)) cases.set(name, new Map());
  const passed = `pass ${mine.length - failed.length}/${mine.length}`;
  cases.get(name).set(language, skipped ? `none: ${skipped}` : failed.length ? `${passed}, **fail**: ${failed.join(", ")}` : passed);
}
const ran = rows.filter((row) => !row[3].startsWith("skip: "));
const failures = ran.filter((row) => row[3] !== "pass").length;
runs.set(language, [language, versions, date, suites.join(", "), String(ran.length), String(failures)]);

const line = (row) => `| ${row.join(" | ")} |`;
const table = (head, body) => [line(head), line(head.map(() => "---")), ...body.map(line)].join("\n");
const known = [...cases].filter(([, results]) => results.size > 0 && [...results.values()].some((result) => result !== "-"));
writeFileSync(
  document,
  `${before}${open}${table(["language", "SDK", "last run", "server settings", "cases run", "failed"], [...runs.values()])}

${table(["case", ...languages], known.sort().map(([name, results]) => [name, ...languages.map((l) => results.get(l) ?? "-")]))}
${close}${behind}`,
);
