/* KEY=VALUE properties of subscriptions and Kafka clusters. */
#pragma once
#include "cli/cli.h"

/* From an argument (list of KEY=VALUE) into `into`. false: the error is printed. */
bool pairs_read(struct tool *t, const char *argument, json_t *into);
/* From a file (NULL: none) of KEY=VALUE lines with `#` comments; if its name ends with `.toml`, the texts in
 * its table `table`, and those above it when `above`. false: the error is printed. */
bool pairs_read_file(struct tool *t, const char *file, const char *table, bool above, json_t *into);
#define PAIRS_FILE_OPTION(text)                                                                              \
    {                                                                                                        \
        "from-file", 'f', "FILE", .help = text, .aliases = "file"                                            \
    }
/* The object as lines in the user's editor and back; NULL: the error is printed. */
json_t *pairs_edit(struct tool *t, const json_t *pairs);
/* Two columns. */
void pairs_print(struct tool *t, const char *name, const json_t *pairs);
/* Where the brokers of a Kafka cluster with these properties are; "": not said. */
const char *pairs_brokers(const json_t *properties);
const char *pairs_text(struct tool *t, json_t *pairs); /* JSON */
