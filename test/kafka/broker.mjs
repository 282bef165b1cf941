// The brokers of these tests: librdkafka's mock cluster, or real ones (KAFKA=host:port), through build/*/bin/kafka_helper.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const program = process.env.KAFKA_HELPER ?? join(root, "build", "release", "bin", "kafka_helper");
const hex = (value) => (value === null ? "-" : value.length === 0 ? "-" : Buffer.from(value).toString("hex"));
export const real = process.env.KAFKA;

export class Broker {
  static async start(brokers = 1) {
    const b = new Broker();
    b.process = spawn(program, real ? ["bootstrap", real] : ["mock", String(brokers)], { stdio: ["pipe", "pipe", "inherit"] });
    b.waiting = [];
    createInterface({ input: b.process.stdout }).on("line", (line) => b.waiting.shift()?.(line));
    b.bootstrap = await new Promise((resolve) => b.waiting.push(resolve));
    return b;
  }
  async command(line) {
    const answer = new Promise((resolve) => this.waiting.push(resolve));
    this.process.stdin.write(line + "\n");
    const text = await answer;
    if (!text.startsWith("ok")) throw new Error(`${line.slice(0, 80)}: ${text}`);
    return text.slice(3);
  }
  // A topic of a name that no other test has.
  async topic(partitions = 1) {
    const name = `t${process.pid}-${Date.now()}-${Math.floor(Math.random() * 1e6)}`;
    await this.command(`topic ${name} ${partitions}`);
    return name;
  }
  // `key` and `value`: string, bytes, or null.
  produce(topic, key, value, partition = 0, { scope = null, limitKey = null } = {}) {
    return this.command(`produce ${topic} ${partition} ${hex(key)} ${hex(value)} ${hex(scope)} ${hex(limitKey)}`);
  }
  // Numbers from..from+count-1, number i under the key k<i mod keys>.
  many(topic, partitions, from, count, keys) {
    return this.command(`many ${topic} ${partitions} ${from} ${count} ${keys}`);
  }
  async committed(group, topic, partition = 0) {
    return Number(await this.command(`committed ${group} ${topic} ${partition}`));
  }
  async stop() {
    this.process.stdin.end();
    await new Promise((resolve) => this.process.once("exit", resolve));
  }
}
