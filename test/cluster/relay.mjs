// A TCP relay in front of a node's port that does to whole connections what networks do to messages: bytes held back for long and
// delivered when their connection has long been replaced (delay, and reordering across connections), what one connection said said once
// more by a new one (duplication), and resets with an undecided delivery. It knows nothing of the protocol.
import { connect, createServer } from "node:net";

const KEPT_BYTES = 1 << 20; // of what a connection said, for a repetition

export class Relay {
  static async start(port, host = "127.0.0.1") {
    const relay = new Relay();
    relay.target = { port, host };
    relay.links = new Set();
    relay.recorded = []; // what ended connections said
    relay.counts = { held: 0, late: 0, repeated: 0, reset: 0 };
    relay.server = createServer((socket) => relay.take(socket));
    await new Promise((resolve) => relay.server.listen(0, host, resolve));
    relay.address = `http://${host}:${relay.server.address().port}`;
    return relay;
  }
  take(client) {
    const server = connect(this.target);
    const link = { client, server, said: [], bytes: 0, hold: false, held: [], ended: false };
    this.links.add(link);
    for (const socket of [client, server]) socket.on("error", () => {}).setNoDelay(true);
    client.on("data", (data) => {
      if (link.bytes < KEPT_BYTES) {
        link.said.push(data);
        link.bytes += data.length;
      }
      if (link.hold) link.held.push(data);
      else server.write(data);
    });
    server.on("data", (data) => client.write(data));
    client.on("close", () => {
      link.ended = true;
      if (!link.hold) this.over(link);
    });
    server.on("close", () => {
      client.destroy();
      this.over(link);
    });
  }
  over(link) {
    if (!this.links.delete(link)) return;
    link.server.end();
    if (link.bytes > 0) this.recorded.push(Buffer.concat(link.said));
    if (this.recorded.length > 16) this.recorded.shift();
  }
  pick() {
    const all = [...this.links].filter((l) => !l.hold);
    return all[Math.floor(Math.random() * all.length)];
  }
  // What one connection says from now on arrives so much later, even when its sender has given it up by then.
  hold(ms) {
    const link = this.pick();
    if (!link) return;
    link.hold = true;
    this.counts.held++;
    setTimeout(() => {
      link.hold = false;
      if (link.ended && link.held.length) this.counts.late++;
      for (const data of link.held.splice(0)) link.server.write(data);
      if (link.ended) this.over(link);
    }, ms);
  }
  reset() {
    const link = this.pick();
    if (!link) return;
    this.counts.reset++;
    link.client.destroy();
  }
  // A new connection says all that an ended one had said; the answers go nowhere.
  repeat() {
    const said = this.recorded[Math.floor(Math.random() * this.recorded.length)];
    if (!said) return;
    this.counts.repeated++;
    const again = connect(this.target);
    again.on("error", () => {}).on("data", () => {});
    again.write(said);
    setTimeout(() => again.destroy(), 3000);
  }
  stop() {
    this.server.close();
    for (const link of this.links) {
      link.client.destroy();
      link.server.destroy();
    }
  }
}
