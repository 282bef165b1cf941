// A node:test reporter: one JSON line per case, for the table of docs/conformance.md.
import { basename } from "node:path";

export default async function* reporter(source) {
  const path = [];
  let file; // of the outermost suite: a case's own is where the helper that declares it stands
  for await (const { type, data } of source) {
    if (type === "test:start") {
      path.length = data.nesting;
      path[data.nesting] = data.name;
      if (data.nesting === 0) file = data.file;
    }
    if ((type === "test:pass" || type === "test:fail") && data.details?.type !== "suite") {
      const skipped = data.skip !== undefined && data.skip !== false;
      yield `${JSON.stringify({
        file: basename(file ?? ""),
        suite: path.slice(0, data.nesting).filter((name) => name !== "concurrent" && name !== "disruptive")[0],
        name: data.name,
        result: skipped ? "differs" : type === "test:pass" ? "pass" : "fail",
        note: typeof data.skip === "string" ? data.skip : undefined,
        ms: Math.round(data.details?.duration_ms ?? 0),
      })}\n`;
    }
  }
}
