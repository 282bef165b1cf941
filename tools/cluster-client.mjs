// The client of tools/cluster: adds to a counter with idempotency keys for a while, then compares it with its successes.
const [, , ingress, ms] = process.argv;
const until = performance.now() + Number(ms);
const latencies = [];
let longest = { ms: 0, at: 0 };
let attempts = 0;
const begin = performance.now();
let last = begin;
while (performance.now() < until) {
  for (;;) {
    attempts++;
    try {
      const r = await fetch(`${ingress}/Counter/demo/add`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": `demo-${latencies.length}` },
        body: "1",
        signal: AbortSignal.timeout(20_000),
      });
      if (r.ok) break;
      console.log(`answer ${r.status}: ${await r.text()}`);
    } catch (error) {
      console.log(`attempt failed: ${error.message}`);
    }
  }
  const now = performance.now();
  if (now - last > longest.ms) longest = { ms: now - last, at: now - begin };
  latencies.push(now - last);
  last = now;
}
const r = await fetch(`${ingress}/Counter/demo/get`, { method: "POST" });
const value = await r.json();
latencies.sort((a, b) => a - b);
console.log(`${latencies.length} calls succeeded in ${attempts} attempts; the counter says ${value}`);
console.log(`median ${latencies[latencies.length >> 1].toFixed(1)} ms; the longest wait was ${(longest.ms / 1000).toFixed(2)} s, ending ${(longest.at / 1000).toFixed(1)} s after the start`);
if (value !== latencies.length) process.exit(1);
