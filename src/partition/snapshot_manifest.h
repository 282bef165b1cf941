/* The two documents of a snapshot repository, latest.json and metadata.json (spec/cluster.md §6.2, §13.3):
 * pure encoding and decoding. */
#pragma once
#include "base/codec.h"
#include "bifrost/log.h"
#include "wire/id.h"

#define SNAPSHOT_PATH_MAX 96u
#define SNAPSHOT_TIME_MAX 40u
#define SNAPSHOT_NAME_MAX 256u

/* One snapshot as latest.json refers to it. */
struct snapshot_ref {
    char id[RESOURCE_ID_TEXT_MAX]; /* snap_... */
    lsn_t lsn;
    char created_at[SNAPSHOT_TIME_MAX]; /* RFC 3339 */
    char path[SNAPSHOT_PATH_MAX];       /* lsn_<20 digits>-snap_... */
};
/* Fill in path and text of the time. */
void snapshot_ref_make(struct snapshot_ref *r, struct u128 id, lsn_t lsn, uint64_t wall_ms);
/* Milliseconds since the epoch, 0 if the text is not a time. */
uint64_t snapshot_time_parse(const char *rfc3339);
/* The LSN in the name of a snapshot's directory; false: another name. */
bool snapshot_path_lsn(struct slice path, lsn_t *lsn);

struct snapshot_owner {
    uint16_t partition_id;
    uint32_t log_id;
    char cluster_name[SNAPSHOT_NAME_MAX], node_name[SNAPSHOT_NAME_MAX];
    uint64_t fingerprint; /* 0: not known */
};

struct snapshot_latest {
    struct snapshot_owner owner;
    struct {
        struct snapshot_ref *items; /* newest first; never empty after decoding */
        size_t len, cap;
    } retained;
};
void snapshot_latest_encode(struct writer *w, const struct snapshot_latest *l);
/* Versions V1 and V2. RC_CORRUPT; RC_UNSUPPORTED for a later version. */
enum rc snapshot_latest_decode(struct slice text, struct snapshot_latest *out, struct err *err);
void snapshot_latest_free(struct snapshot_latest *l);

struct snapshot_file_entry {
    char name[64]; /* "/000000.data": below the snapshot's directory */
    uint64_t size, rows;
    uint64_t checksum;         /* hash64 of the content */
    char *start_key, *end_key; /* hex, for people; NULL after decoding */
};
struct snapshot_metadata {
    struct snapshot_owner owner;
    struct snapshot_ref ref; /* without path */
    uint64_t key_start, key_end;
    char comparator[64];
    struct {
        struct snapshot_file_entry *items;
        size_t len, cap;
    } files;
};
void snapshot_metadata_encode(struct writer *w, const struct snapshot_metadata *m);
/* RC_CORRUPT; RC_UNSUPPORTED: a later version, or the data files are not ours (comparator). */
enum rc snapshot_metadata_decode(struct slice text, struct snapshot_metadata *out, struct err *err);
void snapshot_metadata_free(struct snapshot_metadata *m);
