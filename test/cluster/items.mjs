// The items of spec/cluster.md in a few words each, and what else than the cases of this directory proves them. The cases name their items.
export const items = {
  "Seed document (§10.4)": {
    "A-1": "deployable as a cluster at all", "A-2": "compose example", "A-3": "migration to several nodes without losing data", "A-4": "terminology",
    "A-5": "no trimming beyond what snapshots and replicas hold", "A-6": "partitions on a subset of the nodes", "A-7": "fail-over to a node without a replica, from a snapshot",
    "A-8": "adding nodes after trimming", "A-9": "no external dependencies", "A-10": "the seed's list of roles", "A-11": "unique node names", "A-12": "same cluster name",
    "A-13": "advertised addresses do not conflict", "A-14": "at most one node provisions", "A-15": "only the replicated provider in a cluster", "A-16": "log replication 2 needs two nodes",
    "A-17": "metadata-server.type accepted", "A-18": "metadata addresses", "A-19": "workers serve ingress", "A-20": "admin address in use", "A-21": "ingress address in use",
    "A-22": "PostgreSQL address", "A-23": "unique node names, documented", "A-24": "waits for manual provisioning", "A-25": "copies of every record", "A-26": "2r - 1 nodes tolerate r - 1 failures",
    "A-27": "replicated metadata", "A-28": "metadata servers join by themselves", "A-29": "2n + 1 metadata servers tolerate n failures", "A-30": "unreachable metadata addresses are skipped",
    "A-31": "nodes on one machine, one base directory", "A-32": "official restatectl", "A-33": "advertised addresses and default port", "A-34": "status --addresses", "A-35": "node table",
    "A-36": "log table", "A-37": "partition table", "A-38": "provisions so that others can join", "A-39": "first configuration before any join", "A-40": "restatectl provision --yes", "A-41": "provisioning with the server's settings",
  },
  "Guide (§10.1)": {
    "G-1": "any start order", "G-2": "restatectl status", "G-3": "registration", "G-4": "calls on all nodes", "G-5": "kill and return", "G-6": "snapshots in the store", "G-7": "five nodes, two failures", "G-8": "trim before adding nodes",
  },
  "Migration (§10.2)": {
    "M-a": "one metadata member", "M-b": "replicated provider", "M-c": "repository", "M-d": "snapshots and trimming", "M-e": "two nodes join", "M-f": "addresses extended, rolling restart", "M-g": "replication 2", "M-h": "any node may go",
  },
  "Failures (§9.4)": {
    "S-1": "a node killed", "S-2": "two nodes killed", "S-3": "a leader stopped", "S-4": "the metadata leader killed or stopped", "S-5": "a node cut off", "S-6": "partial and one-way cuts", "S-7": "all killed at once",
    "S-8": "log disk lost", "S-9": "metadata disk lost", "S-10": "partition stores lost", "S-11": "disk full", "S-12": "slow log server", "S-13": "slow leader", "S-14": "clock jumps", "S-15": "one name twice",
    "S-16": "wrong cluster name", "S-17": "provisioned twice", "S-18": "removed node restarts", "S-19": "repository down", "S-20": "trimmed beyond snapshots", "S-21": "messages duplicated, delayed, reordered",
    "S-22": "crash between any two storage operations", "S-23": "seals raced", "S-24": "restart faster than the detector",
  },
  "Suites (§9.1 to §9.3)": {
    JEPSEN: "workloads of the fault suite under its nemeses", E2E: "the end-to-end deployer; AwakeableLeaderTransfer", CHAOS: "random restarts under an idempotent counter",
  },
  "Invariants (§11.2)": {
    "N-1": "node ids", "N-2": "generations", "N-3": "versions move forward", "N-4": "fingerprint", "N-5": "wiped log server", "N-6": "storage states", "M-1": "metadata is linearizable", "M-2": "one put per version", "M-3": "Raft safety",
    "M-4": "lost disks do not vote", "M-5": "membership one at a time", "F-1": "detector is only a hint", "F-2": "detector converges", "F-3": "generations in the detector", "P-1": "epochs are unique", "P-2": "fencing", "P-3": "replicas are equal",
    "P-4": "applied is in the log", "P-5": "configurations", "P-6": "exactly once", "P-7": "replay", "L-1": "LSN names one record", "L-2": "acknowledged is on a quorum", "L-3": "offset names the same bytes", "L-4": "no holes", "L-5": "known tail",
    "L-6": "seal is sticky", "L-7": "chain", "L-8": "readers", "L-9": "tails are monotone", "L-10": "only the sequencer assigns", "L-11": "removed nodes", "T-a": "trim point", "T-b": "latest.json", "T-c": "snapshot equals replay", "T-d": "import moves forward",
    "O-1": "operator commands repeat", "V-1": "progress after heal", "V-2": "progress with lost minorities",
  },
};
