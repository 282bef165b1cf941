/* KEY=VALUE properties of subscriptions and Kafka clusters. */
#pragma once
#include "cli/cli.h"

/* From an argument (list of KEY=VALUE) and a file of such lines (`#` comments; `file` NULL: none) into
 * `into`. false: the error is printed. */
bool pairs_read(struct tool *t, const char *argument, const char *file, json_t *into);
/* The object as lines in the user's editor and back; NULL: the error is printed. */
json_t *pairs_edit(struct tool *t, const json_t *pairs);
/* Two columns. */
void pairs_print(struct tool *t, const char *name, const json_t *pairs);
/* Where the brokers of a Kafka cluster with these properties are; "": not said. */
const char *pairs_brokers(const json_t *properties);
const char *pairs_text(struct tool *t, json_t *pairs); /* JSON */
