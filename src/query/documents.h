/* The JSON documents held in columns (spec/sql.md §5): journal entries and futures. Nothing here fails: what
 * cannot be decoded is left out. */
#pragma once
#include "metadata/schema.h"
#include "partition/types.h"

/* entry_json. False: there is none (an entry of an unknown kind). What a call's entry does not hold - the
 * kind of the callee, its retentions - is what the schema gives now. */
bool document_entry(struct writer *w, const struct journal_entry *e, const struct schema *schema,
                    const struct schema_defaults *defaults);
/* entry_lite_json, without payloads. */
bool document_entry_lite(struct writer *w, const struct journal_entry *e, const struct schema *schema);
/* "Command: Run", "Notification: Sleep"; and the name of a command (empty if it has none). */
bool document_entry_type(struct writer *w, uint16_t type);
bool document_entry_name(const struct journal_entry *e, struct slice *name);
/* suspended_waiting_future_json, and its leaves as lists. */
void document_future(struct writer *w, const struct awaiting *a);
enum document_leaves { LEAVES_COMPLETIONS, LEAVES_SIGNALS };
void document_leaves(struct writer *w, const struct awaiting *a, enum document_leaves which);
