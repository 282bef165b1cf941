// inject.c: clocks and crashes of one server process.
import { execFileSync } from "node:child_process";
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("inject.c", import.meta.url));
const built = new Map(); // directory -> library

function library(cluster) {
  if (!built.has(cluster.dir)) {
    const out = join(cluster.dir, "inject.so");
    execFileSync("cc", ["-O1", "-shared", "-fPIC", "-o", out, source, "-ldl"]);
    built.set(cluster.dir, out);
  }
  return built.get(cluster.dir);
}

// The wall clock of a node that has not been started yet; `set` moves it to so many ms from the true one, at once.
export class Clock {
  constructor(node) {
    const file = join(node.cluster.dir, `${node.name}.clock`);
    this.fd = openSync(file, "w+");
    this.set(0);
    node.env = { ...node.env, LD_PRELOAD: library(node.cluster), INJECT_CLOCK: file };
    node.cluster.undo = [...(node.cluster.undo ?? []), () => closeSync(this.fd)];
  }
  set(ms) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(Math.round(ms)));
    writeSync(this.fd, bytes, 0, 8, 0);
  }
}

// The next process of the node ends in place of its n-th storage operation; 0: it does not.
export function crashAt(node, n) {
  node.env = { ...node.env, LD_PRELOAD: library(node.cluster), INJECT_CRASH: String(n) };
}
