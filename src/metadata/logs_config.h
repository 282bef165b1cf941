/* The logs of a cluster: for each partition a chain of segments, and the settings for new ones (value
 * `bifrost_config`; spec/cluster.md §2.1, §5.1, spec/restatectl.md §7.5). */
#pragma once
#include "base/codec.h"
#include "metadata/arena.h"
#include "metadata/replication.h"

#define LOGS_CONFIG_KEY "bifrost_config"

enum log_provider { LOG_PROVIDER_LOCAL, LOG_PROVIDER_IN_MEMORY, LOG_PROVIDER_REPLICATED };
/* "local", "in-memory", "replicated"; false if unknown. */
bool log_provider_parse(struct slice name, enum log_provider *out);
const char *log_provider_name(enum log_provider p);

enum segment_kind {
    SEGMENT_LOCAL, /* in old configurations only */
    SEGMENT_IN_MEMORY,
    SEGMENT_REPLICATED,
    SEGMENT_SEALED, /* marker: the log ends here and takes no appends until a segment follows */
};
/* As stored and printed: `local`, `in-memory`, `replicated`, `sealed`. */
const char *segment_kind_name(enum segment_kind kind);
bool segment_kind_parse(struct slice text, enum segment_kind *out);
struct log_segment {
    uint64_t base_lsn;
    enum segment_kind kind;
    const char *params; /* depends on the kind */
    uint32_t index;
    uint64_t created_at; /* hybrid timestamp; 0: not given */
};
struct log_chain {
    uint32_t log_id;
    struct log_segment *segments; /* ascending base_lsn, at least one */
    size_t n_segments;
};
#define NODESET_SIZE_MAX 128u
struct logs_config {
    uint32_t version;
    enum log_provider provider; /* of new segments */
    struct replication replication;
    uint32_t target_nodeset_size; /* 0: automatic */
    uint64_t modified_at;         /* hybrid timestamp; 0: not given */
    struct log_chain *chains;     /* by log id */
    size_t n_chains;
};
void logs_config_encode(struct writer *w, const struct logs_config *c);
enum rc logs_config_decode(struct arena *a, struct slice stored, struct logs_config *out, struct err *err);
/* One chain as a value of its own (DescribeLog). */
void log_chain_encode(struct writer *w, const struct log_chain *chain);
const struct log_chain *logs_config_chain(const struct logs_config *c, uint32_t log_id);

static inline uint64_t loglet_id_make(uint32_t log_id, uint32_t segment_index)
{
    return (uint64_t)log_id << 32 | segment_index;
}
/* `params` of a replicated segment. */
char *replicated_params(struct arena *a, uint64_t loglet_id, uint32_t sequencer_id, uint32_t generation,
                        const struct replication *replication, const uint32_t *nodeset, size_t n_nodeset);
