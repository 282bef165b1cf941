/* The root of restatectl's table of commands; the groups are next to the code that runs them. */
#include "ctl/ctl.h"

const struct option global_options[] = {
    {"address", 's', "ADDRESS", OPTION_LIST,
     "Addresses of nodes (node port); a comma-separated list or several options. Further nodes are found "
     "from "
     "these.",
     .aliases = "server|addresses", .fallback = "http://localhost:5122/", .env = "RESTATECTL_ADDRESS",
     .excludes = "single-address", .check = check_address},
    {"single-address", 'S', "SINGLE_ADDRESS", 0,
     "Use this node for everything and do not look for others; behind a load balancer, for instance",
     .check = check_address},
    {"verbose", 'v',
     .help = "Say on standard error what is asked of which node: calls that fail (-v), all calls (-vv)"},
    {"quiet", 'q', .help = "Do not say why single items failed"},
    {"table-style", 0, "TABLE_STYLE", 0, "How tables are drawn", .choices = "compact|borders",
     .fallback = "compact"},
    {"time-format", 0, "TIME_FORMAT", 0, "How times are shown", .choices = "human|iso8601|rfc2822",
     .fallback = "human"},
    {"yes", 'y', .help = "Answer questions with yes; also when the environment variable CI is set"},
    {"strict", 0,
     .help = "Exit with 1 when a single item of a command failed (a log, a partition); without it only the "
             "command "
             "as a whole counts",
     .env = "RESTATECTL_STRICT"},
    {"connect-timeout", 0, "CONNECT_TIMEOUT", 0, "To connect to a node", .fallback = "3000",
     .check = check_u32},
    {"request-timeout", 0, "REQUEST_TIMEOUT", 0, "For one request to a node", .fallback = "13000",
     .check = check_u32},
    {"insecure-skip-tls-verify", 0,
     .help = "Accept any certificate of https addresses: whoever is on the way can pretend to be the node"},
    {"tls-ca", 0, "TLS_CA", 0, "Certificate authorities for https addresses (PEM)",
     .env = "RESTATECTL_TLS_CA"},
    {"tls-cert", 0, "TLS_CERT", 0, "Certificate of this client for https addresses (PEM)",
     .env = "RESTATECTL_TLS_CERT"},
    {"tls-key", 0, "TLS_KEY", 0, "Key of the certificate (PEM)", .env = "RESTATECTL_TLS_KEY"},
    {"message-size-limit", 0, "MESSAGE_SIZE_LIMIT", OPTION_HIDDEN, "Largest answer that is accepted",
     .fallback = "33554432", .check = check_u64},
    {0}};

static const struct command groups[] = {
    {"provision", "Provision a new cluster", .options = provision_options, .run = provision_run,
     .details =
         "Shows the configuration that the server would use and asks before it is applied. Values that are "
         "not given come from the server's own configuration. The number of partitions is fixed afterwards.",
     .examples = "restatectl provision --address http://localhost:5122/ --yes\n"
                 "restatectl provision --num-partitions 24 --replication 2"},
    {"status", "Overview of the cluster: nodes, what they lead, follow and store", .options = status_options,
     .run = status_run,
     .examples = "restatectl status --addresses http://localhost:5122/\n"
                 "restatectl status --extra\n"
                 "# a live view, until Ctrl-C\n"
                 "restatectl status --watch"},
    {"nodes", "Nodes of the cluster", .children = nodes_commands},
    {"partitions", "Partitions, their processors, placement and leadership", .children = partitions_commands},
    {"logs", "Logs of the partitions", .children = logs_commands},
    {"snapshots", "Snapshots of partitions", .children = snapshots_commands},
    {"config", "Configuration of the cluster", .children = config_commands},
    {"metadata", "Keys of the metadata store", .children = metadata_commands},
    {"replicated-loglet", "Segments of replicated logs and the servers that store them",
     .children = loglet_commands},
    {"metadata-server", "Servers of the replicated metadata store", .aliases = "ms",
     .children = metadata_server_commands},
    {"sql", "Query the state of the cluster", .options = sql_options, .run = sql_run,
     .examples = "restatectl sql \"select plain_node_id, name, state from nodes\"\n"
                 "restatectl sql --json \"select * from partition_state where effective_mode = 'Leader'\""},
    {"completions", "Shell completion and man page", .children = completions_commands},
    {"storage", "Storage of the nodes", .children = storage_commands},
    {0}};

const struct command restatectl_root = {
    "restatectl",
    "Look at a Restate cluster and operate it",
    .options = global_options,
    .children = groups,
    .details = "Needs access to the node port (default 5122) of the nodes. Commands may be shortened as long "
               "as they are "
               "unambiguous: `restatectl log ls`.",
    .examples = "restatectl status --addresses http://localhost:5122/\n"
                "restatectl -s http://10.0.0.1:5122,http://10.0.0.2:5122 partitions list\n"
                "restatectl -s unix:restate-data/node-1/fabric.sock nodes list --extra"};
