/* A node: start-up, the services of its roles, and an orderly end (spec/cluster.md §1.7, §1.11;
 * spec/config.md §1.11). */
#pragma once
#include "node/config.h"

/* Runs on the calling thread (it becomes the main loop) until a signal or a fatal error. Takes over `config`.
 * Returns the exit code. */
int node_run(struct node_config *config);
