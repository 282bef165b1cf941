"""Starts the programs of a benchmark (server under test, endpoint, load generator), on loopback and on an
empty directory, and reads what the operating system knows about them. Only the Python standard library."""

import collections
import http.client
import json
import mmap
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
START_LIMIT_S = 60
O_DSYNC = 0o10000


class BenchError(Exception):
    """Something that the person who runs the benchmark must know, in one sentence."""


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def http_call(port, method, path, body=None, timeout=10):
    """(status, text); raises OSError or http.client.HTTPException."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        headers = {"content-type": "application/json"} if body is not None else {}
        conn.request(method, path, body=body, headers=headers)
        response = conn.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    finally:
        conn.close()


def http_json(port, path, body, timeout=600):
    """The JSON answer to a POST; raises BenchError unless 200."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        headers = {"content-type": "application/json", "accept": "application/json"}
        conn.request("POST", path, body=json.dumps(body), headers=headers)
        response = conn.getresponse()
        text = response.read().decode("utf-8", "replace")
        if response.status != 200:
            raise BenchError(f"{path}: {response.status} {text[:300]}")
        return json.loads(text)
    finally:
        conn.close()


def wait_for(what, check, limit_s, step_s=0.001):
    """Poll `check` until it returns something true; that is the result."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            result = check()
            if result:
                return result
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {limit_s} s")
        time.sleep(step_s)


def machine_state(directory):
    """What the numbers depend on: cores, competing load, and the disk's price of one synced 4 KiB overwrite (us)."""
    path = os.path.join(directory, "probe")
    with open(path, "wb") as f:
        f.write(bytes(1 << 20))
        os.fsync(f.fileno())
    block = mmap.mmap(-1, 4096)
    times = []
    try:
        fd = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
    except OSError:  # a file system without O_DIRECT
        fd = os.open(path, os.O_RDWR | os.O_DSYNC)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        begun = time.perf_counter()
        os.pwrite(fd, block, len(times) % 256 * 4096)
        times.append((time.perf_counter() - begun) * 1e6)
    os.close(fd)
    os.unlink(path)
    times.sort()
    with open("/proc/loadavg") as f:
        load = float(f.read().split()[0])
    return {"cores": os.cpu_count(), "load": load, "sync_p50_us": times[len(times) // 2],
            "sync_p99_us": times[len(times) * 99 // 100]}


class Process:
    """A child process with its output in a file."""

    def __init__(self, argv, log_path, env=None):
        self.log_path = log_path
        self.log = open(log_path, "ab")
        self.child = subprocess.Popen(argv, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=env)
        self.pid = self.child.pid

    def stop(self, signum=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(signum)
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.log.close()

    def check_alive(self):
        if self.child.poll() is not None:
            with open(self.log_path, errors="replace") as f:
                tail = "".join(f.readlines()[-5:])
            raise BenchError(f"{self.child.args[0]} ended with {self.child.returncode}:\n{tail}")

    def cpu_us(self):
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1_000_000 // CLOCK_TICKS

    def status_kb(self, name):
        with open(f"/proc/{self.pid}/status") as f:
            return int(re.search(rf"^{name}:\s+(\d+)", f.read(), re.M).group(1))

    def rss_kb(self):
        return self.status_kb("VmRSS")


class Endpoint(Process):
    """bench_endpoint; one for the whole run."""

    def __init__(self, bin_dir, work_dir):
        (self.port,) = free_ports(1)
        super().__init__([os.path.join(bin_dir, "bench_endpoint"), str(self.port)],
                         os.path.join(work_dir, "endpoint.log"))
        self.uri = f"http://127.0.0.1:{self.port}"
        wait_for("bench_endpoint", self.stats, START_LIMIT_S)

    def stats(self, reset=False):
        return json.loads(http_call(self.port, "POST" if reset else "GET", "/stats")[1])


Product = collections.namedtuple("Product", "name binary config")


class Server(Process):
    """One run of a server under test on `base_dir`, which is created if need be. Not yet ready: see wait_ready."""

    def __init__(self, product, base_dir, node_name="bench", ports=None, more_env=None):
        self.product = product
        self.base_dir = base_dir
        os.makedirs(base_dir, exist_ok=True)
        self.ingress, self.admin, self.node = ports or free_ports(3)
        env = dict(os.environ,
                   RESTATE_INGRESS__BIND_PORT=str(self.ingress), RESTATE_ADMIN__BIND_PORT=str(self.admin),
                   RESTATE_BIND_PORT=str(self.node), RESTATE_DISABLE_TELEMETRY="true", DO_NOT_TRACK="1",
                   **(more_env or {}))
        argv = [product.binary, "--base-dir", base_dir, "--node-name", node_name, "--bind-ip", "127.0.0.1",
                "--log-filter", "warn", "--log-disable-ansi-codes", "true"]
        if product.config:
            argv += ["--config-file", product.config]
        self.started = time.monotonic()
        super().__init__(argv, f"{base_dir.rstrip('/')}-{node_name}.log", env)

    def wait_ready(self):
        def healthy():
            self.check_alive()
            return http_call(self.admin, "GET", "/health")[0] == 200
        wait_for("admin /health", healthy, START_LIMIT_S)

    def register(self, endpoint):
        body = json.dumps({"uri": endpoint.uri})

        def registered():
            self.check_alive()
            return http_call(self.admin, "POST", "/deployments", body)[0] in (200, 201)
        wait_for("registration", registered, START_LIMIT_S)

    def first_call(self):
        """Seconds from the start of the process to the first answered invocation."""
        def called():
            self.check_alive()
            return http_call(self.ingress, "POST", "/Bench/greet")[0] == 200
        wait_for("first call", called, START_LIMIT_S)
        return time.monotonic() - self.started

    def syncs(self):
        """Disk synchronisations counted by the server itself, or None."""
        try:
            text = http_call(self.node, "GET", "/metrics")[1]
        except (OSError, http.client.HTTPException):
            return None
        pattern = r"^restate_(?:log_server_\w*sync\w*_total|rocksdb_wal_synced_total)(?:\{[^}]*\})? (\S+)$"
        values = re.findall(pattern, text, re.M)
        return sum(float(v) for v in values) if values else None

    def disk_bytes(self):
        total = 0
        for folder, _, names in os.walk(self.base_dir):
            for name in names:
                try:
                    total += os.lstat(os.path.join(folder, name)).st_blocks * 512
                except FileNotFoundError:
                    pass
        return total

    def synced_descriptors(self):
        """File descriptors on which every write is a synchronisation (O_DSYNC)."""
        found = set()
        folder = f"/proc/{self.pid}/fdinfo"
        for fd in os.listdir(folder):
            try:
                with open(f"{folder}/{fd}") as f:
                    flags = int(re.search(r"^flags:\s+(\d+)", f.read(), re.M).group(1), 8)
            except (FileNotFoundError, AttributeError):
                continue
            if flags & O_DSYNC:
                found.add(int(fd))
        return found


class Cluster:
    """Three servers of one product on loopback with two copies of logs and partitions. Load enters through the first;
    CPU, memory and written bytes are sums over all."""

    SIZE = 3
    READY_S = 120

    def __init__(self, product, base_dir):
        self.base_dir = base_dir
        flat = free_ports(3 * self.SIZE)
        ports = [flat[3 * k:3 * k + 3] for k in range(self.SIZE)]
        addresses = json.dumps([f"http://127.0.0.1:{node}" for _, _, node in ports])
        self.nodes = [Server(product, base_dir, f"node-{k + 1}", ports[k], {
            "RESTATE_CLUSTER_NAME": "bench", "RESTATE_FORCE_NODE_ID": str(k + 1),
            "RESTATE_AUTO_PROVISION": "true" if k == 0 else "false", "RESTATE_DEFAULT_REPLICATION": "2",
            "RESTATE_METADATA_CLIENT__ADDRESSES": addresses, "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{ports[k][2]}"}) for k in range(self.SIZE)]
        first = self.nodes[0]
        self.product, self.ingress, self.admin, self.pid = product, first.ingress, first.admin, first.pid
        self.register, self.first_call, self.started = first.register, first.first_call, first.started

    def wait_ready(self):
        for node in self.nodes:
            node.wait_ready()

        def all_members():
            self.check_alive()
            status, text = http_call(self.admin, "GET", "/cluster-health")
            return status == 200 and len(json.loads(text)["metadata_cluster_health"]["members"]) == self.SIZE
        wait_for("three metadata members", all_members, self.READY_S, 0.05)

    def settle(self, settle_s):
        """Every node answers calls; then time for what a new cluster still moves around."""
        for node in self.nodes:
            node.first_call()
        time.sleep(settle_s)

    def check_alive(self):
        for node in self.nodes:
            node.check_alive()

    def stop(self, signum=signal.SIGTERM):
        for node in self.nodes:
            node.stop(signum)

    def cpu_us(self):
        return sum(node.cpu_us() for node in self.nodes)

    def rss_kb(self):
        return sum(node.rss_kb() for node in self.nodes)

    def written_bytes(self):
        total = 0
        for node in self.nodes:
            with open(f"/proc/{node.pid}/io") as f:
                total += int(re.search(r"^write_bytes: (\d+)", f.read(), re.M).group(1))
        return total

    def syncs(self):
        counts = [node.syncs() for node in self.nodes]
        return None if None in counts else sum(counts)


class Bench:
    """The surroundings of a run: directories, endpoint, load generator."""

    def __init__(self, bin_dir, work_dir):
        self.bin_dir = bin_dir
        os.makedirs(work_dir, exist_ok=True)
        self.work_dir = tempfile.mkdtemp(prefix="run-", dir=work_dir)
        self.runs = 0
        self.servers = []
        self.endpoint = Endpoint(bin_dir, self.work_dir)

    def close(self):
        for server in self.servers:
            server.stop(signal.SIGKILL)
        self.endpoint.stop()
        shutil.rmtree(self.work_dir, ignore_errors=True)

    def start(self, product, base_dir=None):
        if base_dir is None:
            self.runs += 1
            base_dir = os.path.join(self.work_dir, f"{product.name}-{self.runs}")
        server = Server(product, base_dir)
        self.servers.append(server)
        return server

    def start_cluster(self, product):
        self.runs += 1
        cluster = Cluster(product, os.path.join(self.work_dir, f"{product.name}-cluster-{self.runs}"))
        self.servers.append(cluster)
        return cluster

    def start_ready(self, product):
        server = self.start(product)
        server.wait_ready()
        server.register(self.endpoint)
        server.first_call()
        return server

    def discard(self, server):
        server.stop(signal.SIGKILL)
        self.servers.remove(server)
        shutil.rmtree(server.base_dir, ignore_errors=True)

    def load(self, server, path, **options):
        """Run bench_load; its JSON result, with the endpoint's CPU and the server's syncs added."""
        argv = [os.path.join(self.bin_dir, "bench_load"), "--url", f"http://127.0.0.1:{server.ingress}",
                "--pid", str(server.pid), "--path", path]
        for name, value in options.items():
            argv += ["--" + name, str(value)]
        syncs, endpoint_cpu = server.syncs(), self.endpoint.cpu_us()
        done = subprocess.run(argv, capture_output=True, text=True)
        server.check_alive()
        if not done.stdout.startswith("{"):
            raise BenchError(f"bench_load {path}: {done.stderr.strip() or done.returncode}")
        result = json.loads(done.stdout)
        if done.stderr.strip():
            result["first_error"] = done.stderr.strip()
        if result["all_ops"]:
            result["endpoint_cpu_us_per_op"] = (self.endpoint.cpu_us() - endpoint_cpu) / result["all_ops"]
            if syncs is not None:
                result["syncs_per_op"] = (server.syncs() - syncs) / result["all_ops"]
        return result

    def traced_syncs(self, server, path, count):
        """Synchronisations per operation on one connection, counted with strace; None where that is impossible."""
        if not shutil.which("strace"):
            return None
        trace = os.path.join(self.work_dir, "strace.out")
        calls = "fsync,fdatasync,sync_file_range,pwrite64,pwritev,pwritev2,write,writev"
        tracer = subprocess.Popen(["strace", "-f", "-q", "-e", f"trace={calls}", "-o", trace, "-p", str(server.pid)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        if tracer.poll() is not None:
            return None
        synced = server.synced_descriptors()
        result = self.load(server, path, connections=1, count=count)
        synced |= server.synced_descriptors()
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        syncs = 0
        with open(trace, errors="replace") as f:
            for line in f:
                call = re.match(r"\d+\s+(\w+)\((\d+)", line)
                if call and (call.group(1) in ("fsync", "fdatasync", "sync_file_range")
                             or int(call.group(2)) in synced):
                    syncs += 1
        os.unlink(trace)
        return syncs / max(1, result["all_ops"])
