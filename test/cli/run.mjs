// For the tests in this directory: our restate tool, not on a terminal, with a home of its own.
import { execFile, spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const binary = process.env.RESTATE_CLI ?? fileURLToPath(new URL("../../build/release/bin/restate", import.meta.url));
export const home = mkdtempSync(join(tmpdir(), "restate-cli-home-"));

const environment = (admin, env = {}) => ({ PATH: process.env.PATH, HOME: home, NO_COLOR: "1", TZ: "UTC", RESTATE_ADMIN_URL: admin, ...env });

// The running process, for commands that do not end.
export const start = (admin, args, env) => spawn(binary, args, { env: environment(admin, env), stdio: ["ignore", "pipe", "pipe"] });

// {code, out, err}; `env` may name another admin API.
export const cli = (admin, args, env) => execute(admin, binary, args, env);
// The same through a shell, in whose `command` the tool is "$R".
export const shell = (admin, command) => execute(admin, "/bin/sh", ["-c", command], { R: binary });

function execute(admin, program, args, env) {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      args,
      { env: environment(admin, env), timeout: 30_000 },
      (error, out, err) => resolve({ code: error ? (error.code ?? -1) : 0, out, err }),
    );
    child.stdin.end();
  });
}
