"""What is measured. Every scenario starts a server of the given product on an empty directory and returns rows:
dictionaries with `scenario`, `connections` and numbers (see README.md)."""

import json
import random
import signal
import sys
import threading
import time

from harness import http_call, http_json, wait_for

# scenario: (path, options of bench_load)
LOADS = {
    "greet": ("/Bench/greet", {}),
    "counter": ("/BenchCounter/{k}/add", {"keys": 10000}),
    "hotkey": ("/BenchCounter/hot/add", {}),
    "steps": ("/BenchSteps/run", {}),
    "workflow": ("/BenchFlow/{n}/run", {}),
    "chain": ("/BenchChain/a", {}),
    "state-read": ("/BenchState/{k}/read", {"keys": 16}),
    "state-peek": ("/BenchState/{k}/peek", {"keys": 16}),
}

# What issue and design ask for: (scenario, connections) -> {column: limit}. op/s are lower limits.
REACH = {
    ("greet", 64): {"cpu_us_per_op": 40, "ops_per_s": 15000, "rss_mb": 150},
    ("greet", 1): {"p50_us": 700, "write_bytes_per_op": 4096},
    ("greet-syncs", 1): {"syncs_per_op": 2.0},
    ("counter", 64): {"cpu_us_per_op": 50, "rss_mb": 150},
    ("hotkey", 64): {"ops_per_s": 2000},
    ("steps", 64): {"cpu_us_per_op": 200, "rss_mb": 150},
    ("steps", 1): {"p50_us": 2500},
    ("chain", 64): {"cpu_us_per_op": 120, "rss_mb": 150},
    ("state-read", 16): {"ops_per_s": 600, "write_bytes_per_op": 10000},
    ("cluster-greet", 64): {"cpu_us_per_op": 120},
    ("cluster-workflow", 64): {"cpu_us_per_op": 600},
    ("start", 0): {"first_call_s": 0.1},
    ("restart", 0): {"first_call_s": 1.0},
    ("idle", 0): {"rss_mb": 40, "cpu_percent": 0.3, "disk_mb": 64},
    ("sleepers", 0): {"rss_kb_each": 1.0, "lag_p99_us": 10000},
}


# What a new cluster needs until it stops moving leaders and logs around (the official server: about ten seconds).
SETTLE_S = 12


class Size:
    """How long to measure."""

    def __init__(self, quick):
        self.warmup_s = 1 if quick else 3
        self.measure_s = 2 if quick else 8
        self.traced_ops = 100 if quick else 300
        self.completed = 20_000 if quick else 100_000
        self.sleepers = 10_000 if quick else 100_000
        self.idle_s = 5 if quick else 30
        self.beside = 100_000 if quick else 1_000_000
        self.turns, self.turn_s = (3, 4) if quick else (7, 8)


def load_scenario(bench, product, size, name, connections):
    path, options = LOADS[name]
    server = bench.start_ready(product)
    try:
        if name.startswith("state-"):
            for key in range(options["keys"]):
                status, text = http_call(server.ingress, "POST", f"/BenchState/{key}/write")
                assert status == 200, text
        row = bench.load(server, path, scenario=name, connections=connections, warmup=size.warmup_s,
                         duration=size.measure_s, **options)
        if "rss_kb" in row:
            row["rss_mb"] = row.pop("rss_kb") / 1024
            row["peak_rss_mb"] = row.pop("peak_rss_kb") / 1024
        return [row]
    finally:
        bench.discard(server)


def cluster_load(name):
    """The load `name` on three nodes, two copies of everything, default settings; CPU per operation is over all nodes
    and over the whole run, warm-up included."""
    def scenario(bench, product, size, connections):
        path, options = LOADS[name]
        cluster = bench.start_cluster(product)
        try:
            cluster.wait_ready()
            cluster.register(bench.endpoint)
            cluster.settle(SETTLE_S)
            cpu, written = cluster.cpu_us(), cluster.written_bytes()
            row = bench.load(cluster, path, scenario="cluster-" + name, connections=connections, warmup=size.warmup_s,
                             duration=size.measure_s, **options)
            row["cpu_us_per_op"] = (cluster.cpu_us() - cpu) / max(1, row["all_ops"])
            row["write_bytes_per_op"] = (cluster.written_bytes() - written) / max(1, row["all_ops"])
            row["rss_mb"] = cluster.rss_kb() / 1024
            return [row]
        finally:
            bench.discard(cluster)
    return scenario


def greet_syncs(bench, product, size):
    server = bench.start_ready(product)
    try:
        syncs = bench.traced_syncs(server, "/Bench/greet", size.traced_ops)
        return [{"scenario": "greet-syncs", "connections": 1, "syncs_per_op": syncs}] if syncs is not None else []
    finally:
        bench.discard(server)


def start_time(bench, product, size):
    """Process start to first answered call on an empty directory, registration included; best of three."""
    times = []
    for _ in range(3):
        server = bench.start(product)
        try:
            server.wait_ready()
            ready_s = time.monotonic() - server.started
            server.register(bench.endpoint)
            times.append((server.first_call(), ready_s))
        finally:
            bench.discard(server)
    first_call_s, ready_s = min(times)
    return [{"scenario": "start", "connections": 0, "first_call_s": first_call_s, "admin_ready_s": ready_s}]


def restart_time(bench, product, size):
    """SIGKILL right after a load of completed invocations, then process start to first answered call."""
    server = bench.start_ready(product)
    try:
        loaded = bench.load(server, "/Bench/greet", connections=128, count=size.completed)
        server.stop(signal.SIGKILL)
        again = bench.start(product, server.base_dir)
        try:
            first_call_s = again.first_call()
        finally:
            again.stop(signal.SIGKILL)
            bench.servers.remove(again)
        return [{"scenario": "restart", "connections": 0, "completed": loaded["all_ops"],
                 "first_call_s": first_call_s}]
    finally:
        bench.discard(server)


def idle(bench, product, size):
    server = bench.start_ready(product)
    try:
        time.sleep(2)
        cpu, since = server.cpu_us(), time.monotonic()
        time.sleep(size.idle_s)
        percent = (server.cpu_us() - cpu) / 1e4 / (time.monotonic() - since)
        return [{"scenario": "idle", "connections": 0, "cpu_percent": percent, "rss_mb": server.rss_kb() / 1024,
                 "disk_mb": server.disk_bytes() / (1 << 20)}]
    finally:
        bench.discard(server)


def sleepers(bench, product, size):
    """Memory per invocation asleep for an hour, then the lag of a thousand others that wake up beside them."""
    server = bench.start_ready(product)
    try:
        bench.load(server, "/Bench/greet", connections=64, duration=2)  # memory that every load needs
        before = server.rss_kb()
        bench.endpoint.stats(reset=True)
        loaded = bench.load(server, "/BenchSleep/sleep/send", connections=64, count=size.sleepers, body="3600000")
        wait_for("suspension of all sleepers", lambda: bench.endpoint.stats()["suspended"] >= size.sleepers, 300, 0.2)
        time.sleep(3)
        rss_kb = server.rss_kb()
        bench.endpoint.stats(reset=True)
        bench.load(server, "/BenchSleep/sleep/send", connections=16, count=1000, body="{k}", keys=3000)
        wait_for("wake-ups", lambda: bench.endpoint.stats()["wakeups"] >= 1000, 60, 0.2)
        stats = bench.endpoint.stats()
        return [{"scenario": "sleepers", "connections": 0, "sleeping": loaded["all_ops"],
                 "sends_per_s": loaded["ops_per_s"], "rss_mb": rss_kb / 1024,
                 "rss_kb_each": (rss_kb - before) / size.sleepers,
                 "lag_p50_us": stats["lag_p50_us"], "lag_p99_us": stats["lag_p99_us"]}]
    finally:
        bench.discard(server)


QUERY = "select target, status, count(*) as n, max(modified_at) as newest from sys_invocation group by target, status"


def sql_beside(bench, product, size):
    """What a full scan of all invocations, repeated without a pause, costs the invocations beside it: first closed loop on 64
    connections, then 500 calls a second. Measured in turns with and without queries; medians, and their ratio."""
    server = bench.start_ready(product)
    try:
        bench.load(server, "/Bench/greet/send", connections=64, count=size.beside)
        count = lambda: http_json(server.admin, "/query", {"query": "select count(*) as n from sys_invocation where status = 'completed'"})
        wait_for("completion", lambda: count()["rows"][0]["n"] >= size.beside, 600, 2)
        began = time.monotonic()
        http_json(server.admin, "/query", {"query": QUERY})
        alone = time.monotonic() - began
        rows = []
        for title, options in (("sql-closed", {"connections": 64}), ("sql-paced", {"connections": 64, "rate": 500})):
            results = {False: [], True: []}
            queries = 0
            # In pairs of random order: always in turns, a compaction every so many calls would come to lie on one side.
            order = [beside for _ in range(size.turns) for beside in random.sample((False, True), 2)]
            for beside in order:
                stop, done = threading.Event(), []
                def ask():
                    while not stop.is_set():
                        http_json(server.admin, "/query", {"query": QUERY})
                        done.append(1)
                thread = threading.Thread(target=ask)
                if beside:
                    thread.start()
                results[beside].append(bench.load(server, "/Bench/greet", warmup=1, duration=size.turn_s, **options))
                stop.set()
                if beside:
                    thread.join()
                queries += len(done)
            middle = lambda beside, key: sorted(r[key] for r in results[beside])[size.turns // 2]
            row = {"scenario": title, "connections": 64, "invocations": size.beside, "query_alone_s": alone, "queries": queries}
            for key in ("ops_per_s", "p50_us", "p99_us"):
                row[key], row[key + "_beside"] = middle(False, key), middle(True, key)
                row[key + "_ratio"] = row[key + "_beside"] / row[key] if row[key] else 0
            print("bench: " + json.dumps(row), file=sys.stderr, flush=True)
            rows.append(row)
        return rows
    finally:
        bench.discard(server)


SPECIALS = {"sql-beside": sql_beside, "greet-syncs": greet_syncs, "start": start_time, "restart": restart_time, "idle": idle,
            "sleepers": sleepers}
CLUSTER = {"cluster-greet": cluster_load("greet"), "cluster-workflow": cluster_load("workflow"),
           "cluster-counter": cluster_load("counter")}

QUICK = [("start", 0), ("idle", 0), ("greet", 1), ("greet-syncs", 1), ("greet", 64), ("counter", 64), ("hotkey", 64),
         ("steps", 1), ("steps", 64), ("chain", 64), ("state-read", 16), ("restart", 0), ("sleepers", 0)]
FULL = [("start", 0), ("idle", 0), ("greet-syncs", 1)] + \
    [(name, n) for name in ("greet", "counter", "steps", "workflow", "chain") for n in (1, 64, 256)] + \
    [("hotkey", 64), ("state-read", 16), ("state-peek", 16), ("restart", 0), ("sleepers", 0)]


def select(quick, wanted):
    """The list of (scenario, connections); `wanted` holds texts such as `greet` or `greet@64`, or nothing."""
    plan = QUICK if quick else FULL
    if not wanted:
        return plan
    selected = []
    for text in wanted:
        name, _, connections = text.partition("@")
        if name not in LOADS and name not in SPECIALS and name not in CLUSTER:
            raise SystemExit(f"bench: unknown scenario {name}; known: {' '.join([*LOADS, *SPECIALS, *CLUSTER])}")
        if connections:
            selected.append((name, int(connections)))
        else:
            selected += [step for step in plan if step[0] == name] or [(name, 64)]
    return selected


def measure(bench, product, size, name, connections):
    if name in CLUSTER:
        return CLUSTER[name](bench, product, size, connections)
    if name in SPECIALS:
        return SPECIALS[name](bench, product, size)
    return load_scenario(bench, product, size, name, connections)
