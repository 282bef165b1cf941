/* restate-server: load the configuration, set up logging, run the node; or recover one (node/recover.h). */
#include <stdio.h>
#include <string.h>

#include "loop/loop.h"
#include "node/config.h"
#include "node/node.h"
#include "node/recover.h"
#include "trace/exporter.h"

/* Read by jemalloc where it is linked: give memory back about a second after a burst, on a thread of its own.
 */
extern const char *malloc_conf;
const char *malloc_conf = "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";

int main(int argc, char **argv, char **envp)
{
    struct node_config *config;
    enum config_action action;
    int exit_code;
    loop_open_standard_streams();
    if (node_recover(argc, argv, envp, &exit_code))
        return exit_code;
    if (config_load(argc, argv, envp, &config, &action, &exit_code) != RC_OK || action == CONFIG_EXIT)
        return exit_code;
    log_configure(&(struct log_config){.format = config->log_format, .ansi = config->log_ansi});
    struct err err = {0};
    if (log_set_filter(config->log_filter, &err) != RC_OK) {
        fprintf(stderr, "[RT0002] failed to configure logging and tracing: %s (key \"log-filter\")\n",
                err.msg);
        config_free(config);
        return 1;
    }
    struct trace_endpoint endpoint;
    if (config->tracing.endpoint &&
        trace_endpoint_parse(config->tracing.endpoint, &endpoint, &err) != RC_OK) {
        fprintf(stderr, "[RT0002] failed to configure logging and tracing: %s (key \"tracing-endpoint\")\n",
                err.msg);
        config_free(config);
        return 1;
    }
    return node_run(config);
}
