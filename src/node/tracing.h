/* The node's exporter of traces, from its configuration (spec/config.md §5.6). */
#pragma once
#include "node/config.h"
#include "trace/exporter.h"

/* NULL if no endpoint is configured. Its text was checked (main). */
struct trace_exporter *node_tracing_new(struct loop *loop, const struct node_config *config,
                                        const char *version);
