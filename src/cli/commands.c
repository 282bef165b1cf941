/* The root of the table of commands of `restate`; the groups are next to the code that runs them. */
#include "cli/cli.h"

static int elsewhere_run(struct tool *t)
{
    const char *name = t->parsed.path[1]->name;
    if (strcmp(name, "cloud") == 0)
        return tool_fail(
            t, "Restate Cloud is not part of this tool; it is managed with the tool of the Restate project");
    if (strcmp(name, "example") == 0)
        return tool_fail(
            t,
            "examples are not downloaded by this tool; they are at https://github.com/restatedev/examples, "
            "and those of this project in examples/");
    if (strcmp(name, "dev") == 0)
        return tool_fail(
            t, "this tool contains no server; start `restate-server` (its data goes to ./restate-data)");
    return tool_fail(t, "running as an AWS Lambda function is not part of this tool");
}

static const struct option any_options[] = {
    {"ARGUMENTS", .value = "ARGUMENTS", .flags = OPTION_POSITIONAL | OPTION_REPEAT, .help = "Anything"}, {0}};

static const struct option global_options[] = {
    {"verbose", 'v', .help = "More log lines on standard error"},
    {"quiet", 'q', .help = "Fewer log lines"},
    {"table-style", 0, "TABLE_STYLE", .help = "How tables are drawn", .choices = "compact|borders",
     .fallback = "compact"},
    {"time-format", 0, "TIME_FORMAT", .help = "How times are shown", .choices = "human|iso8601|rfc2822",
     .fallback = "human"},
    {"yes", 'y', .help = "Answer questions with yes; also when the environment variable CI is set"},
    {"connect-timeout", 0, "CONNECT_TIMEOUT", .help = "Milliseconds to connect", .fallback = "3000",
     .check = check_u32},
    {"request-timeout", 0, "REQUEST_TIMEOUT", .help = "Milliseconds for one request", .fallback = "13000",
     .check = check_u32},
    {"insecure-skip-tls-verify", 0, .flags = OPTION_HIDDEN, .help = "Not supported"},
    {"environment", 'e', "ENVIRONMENT", .help = "Environment of the configuration file",
     .env = "RESTATE_ENVIRONMENT"},
    {0}};

static const struct command groups[] = {
    {"whoami", "Where this tool connects to, and whether a server answers there", .options = whoami_options,
     .run = whoami_run},
    {"services", "Services: what they are, how they are set, what they do now", .aliases = "svc|service",
     .children = services_commands},
    {"deployments", "Deployments: the processes that run your services", .aliases = "dp|deployment",
     .children = deployments_commands},
    {"kafka-clusters", "Kafka clusters that subscriptions read from", .aliases = "kc|kafkaclusters",
     .children = kafka_commands},
    {"subscriptions", "Kafka subscriptions", .aliases = "sub|subscription",
     .children = subscriptions_commands},
    {"invocations", "Invocations: look at them, cancel, pause, restart", .aliases = "invocation",
     .children = invocations_commands},
    {"rules", "Rules that limit concurrency", .aliases = "rule", .children = rules_commands},
    {"vqueues", "Virtual queues of invocations with a scope", .children = vqueues_commands},
    {"sql", "Query services, invocations and state", .options = sql_options, .run = sql_run,
     .examples = "restate sql \"select id, target, status from sys_invocation limit 5\"\n"
                 "restate sql --json \"select * from state where service_name = 'Counter'\""},
    {"state", "State of virtual objects and workflows", .aliases = "kv", .children = state_commands},
    {"completions", "Shell completion and man page", .children = completions_commands},
    {"config", "Configuration file of this tool", .children = config_commands},
    {"cloud", "Restate Cloud (not part of this tool)", .aliases = "c", .hidden = true, .options = any_options,
     .run = elsewhere_run},
    {"example", "Examples (not part of this tool)", .aliases = "examples", .hidden = true,
     .options = any_options, .run = elsewhere_run},
    {"dev", "An embedded server (not part of this tool)", .aliases = "up", .hidden = true,
     .options = any_options, .run = elsewhere_run},
    {"lambda", "AWS Lambda (not part of this tool)", .hidden = true, .options = any_options,
     .run = elsewhere_run},
    {0}};

const struct command restate_root = {"restate",
                                     "Manage services, deployments and invocations of a Restate server",
                                     .options = global_options,
                                     .children = groups,
                                     .details =
                                         "Talks to the admin API: RESTATE_ADMIN_URL (default "
                                         "http://127.0.0.1:9070/, also unix:PATH), or an environment of "
                                         "the configuration file. Commands may be shortened as long as they "
                                         "are unambiguous: `restate inv ls`.",
                                     .examples = "restate deployments register http://localhost:9080\n"
                                                 "restate invocations list --status running,backing-off\n"
                                                 "restate kv get Counter my-key"};
