/* Snapshots and trimming in the simulated cluster (spec/cluster.md §11.2): latest.json always names a
 * complete snapshot, and its LSN never decreases (T-b); a log is trimmed only up to where a snapshot is kept
 * (T-a; with the modes of these clusters there must be one); a snapshot has the rows that a replay of the log
 * up to its LSN has (T-c); an import does not take a store back (T-d). */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "partition/snapshot.h"
#include "partition/snapshot_manifest.h"
#include "partition/store_codec.h"
#include "partition/store_opening.h"
#include "sim/cluster_sim.h"

#define CHECK(cond, ...) SIM_CHECK(&csim->base, cond, __VA_ARGS__)
#define U(x)             ((unsigned long)(x))
#define LATEST           "latest.json"

static struct {
    lsn_t lsn;      /* of the latest one; 0: none */
    char path[400]; /* of its directory, with a slash at the end */
} published[CSIM_PARTITIONS_MAX];

/* ---- T-c ---- */

struct content {
    uint64_t state_hash, rows, hash;
};
static struct {
    struct archived {
        uint16_t partition;
        lsn_t lsn;
        struct content content;
    } * items;
    size_t len, cap;
} archived;

/* The rows of another file of a snapshot. */
static void add_content(struct content *c, struct slice file)
{
    struct snapshot_reader r;
    struct slice key, value;
    struct stored_vars v;
    struct err err = {0};
    CHECK(snapshot_reader_open(&r, file, &err) == RC_OK, "T-c: %s", err.msg);
    while (snapshot_reader_next(&r, &key, &value, &err) == RC_OK) {
        if (key.ptr[0] == TABLE_VARS) {
            CHECK(stored_vars_decode(value, &v), "T-c: a snapshot with variables that cannot be decoded");
            c->state_hash = v.vars.state_hash;
            continue;
        }
        c->rows++;
        c->hash = hash64_combine(hash64_combine(c->hash, hash64(key)), hash64(value));
    }
    CHECK(err.rc == RC_OK, "T-c: %s", err.msg);
    snapshot_reader_close(&r);
}

struct exporting {
    struct sim_env *env;
    bool answered;
    struct snapshot_file *file; /* owned by the callback's receiver; NULL: none */
    struct content content;
};

static void export_ready(void *ctx, lsn_t lsn, const struct err *err)
{
    CHECK(!err, "T-c: the replay cannot be exported: %s", err->msg);
    ((struct exporting *)ctx)->answered = true;
}

static void export_file(void *ctx, struct snapshot_file *file, const struct err *err)
{
    struct exporting *e = ctx;
    CHECK(!err, "T-c: the replay cannot be exported: %s", err->msg);
    e->answered = true;
    e->file = file;
    if (!file)
        return;
    add_content(&e->content, bytes_slice(file->content));
    snapshot_file_release(file);
}

static void await_export(struct exporting *e)
{
    for (int i = 0; i < 1000 && !e->answered; i++)
        sim_env_advance(e->env, 1);
    CHECK(e->answered, "T-c: the export of a replay does not end");
    e->answered = false;
}

void csim_snapshot_replayed(struct partition_store *s, struct sim_env *env)
{
    uint16_t partition = store_get_config(s)->partition_id;
    lsn_t lsn = store_vars(s)->applied_lsn;
    for (size_t i = 0; i < archived.len; i++) {
        const struct archived *a = &archived.items[i];
        if (a->partition != partition || a->lsn != lsn)
            continue;
        struct exporting e = {.env = env};
        struct job_runner_deferred jobs;
        job_runner_deferred_init(&jobs, &env->env);
        struct store_export *x = store_export_new(s, &jobs.base, export_ready, &e);
        await_export(&e);
        do {
            store_export_next(x, export_file, &e);
            await_export(&e);
        } while (e.file);
        store_export_free(x);
        job_runner_deferred_free(&jobs);
        csim->compared++;
        CHECK(e.content.state_hash == a->content.state_hash && e.content.rows == a->content.rows &&
                  e.content.hash == a->content.hash,
              "T-c: the snapshot of partition %u at LSN %lu (%lu rows) is not what a replay gives (%lu rows)",
              partition, U(lsn), U(a->content.rows), U(e.content.rows));
    }
}

/* ---- T-b ---- */

static void check_complete(uint16_t partition, const char *directory)
{
    struct archived a = {.partition = partition, .lsn = published[partition].lsn};
    char key[512];
    struct snapshot_metadata m = {0};
    struct err err = {0};
    snprintf(key, sizeof(key), "%smetadata.json", directory);
    struct bytes text = memory_objects_peek(csim->bucket, key);
    CHECK(text.ptr, "T-b: latest.json of partition %u names %s, which is not there", partition, directory);
    CHECK(snapshot_metadata_decode(bytes_slice(text), &m, &err) == RC_OK, "T-b: %s: %s", key, err.msg);
    for (size_t i = 0; i < m.files.len; i++) {
        const struct snapshot_file_entry *f = &m.files.items[i];
        snprintf(key, sizeof(key), "%s%s", directory, f->name[0] == '/' ? f->name + 1 : f->name);
        struct bytes content = memory_objects_peek(csim->bucket, key);
        CHECK(content.ptr && content.len == f->size && hash64(bytes_slice(content)) == f->checksum,
              "T-b: latest.json of partition %u names a snapshot without its file %s", partition, key);
        add_content(&a.content, bytes_slice(content));
    }
    VEC_PUSH(&archived, a);
    snapshot_metadata_free(&m);
}

void csim_bucket_changed(void *ctx, const char *key, const struct bytes *content)
{
    size_t len = strlen(key);
    bool data = content && content->len && len > 5 && strcmp(key + len - 5, ".data") == 0;
    if (csim_mutated(CSIM_FILE_LOST) && data && csim_chance(200)) {
        memory_objects_poke(csim->bucket, key, BYTES_EMPTY);
        return;
    }
    for (uint32_t i = 0; i < csim->options.partitions && !content; i++)
        CHECK(!published[i].lsn || strncmp(key, published[i].path, strlen(published[i].path)) != 0,
              "T-b: %s is deleted, and latest.json names it", key);
    if (len < sizeof(LATEST) || strcmp(key + len - (sizeof(LATEST) - 1), LATEST) != 0)
        return;
    CHECK(content, "T-b: %s is deleted", key);
    struct snapshot_latest l;
    struct err err = {0};
    CHECK(snapshot_latest_decode(bytes_slice(*content), &l, &err) == RC_OK, "T-b: %s: %s", key, err.msg);
    uint16_t p = l.owner.partition_id;
    const struct snapshot_ref *newest = &l.retained.items[0];
    CHECK(p < csim->options.partitions && newest->lsn >= published[p].lsn,
          "T-b: the latest snapshot of partition %u goes from LSN %lu to %lu", p, U(published[p].lsn),
          U(newest->lsn));
    published[p].lsn = newest->lsn;
    snprintf(published[p].path, sizeof(published[p].path), "%.*s%s/", (int)(len - (sizeof(LATEST) - 1)), key,
             newest->path);
    check_complete(p, published[p].path);
    snapshot_latest_free(&l);
}

/* ---- T-a ---- */

void csim_snapshot_trim(uint32_t partition, lsn_t upto)
{
    bool alone = csim->options.replication == 1 && csim->options.nodes == 1;
    CHECK(alone || upto <= published[partition].lsn,
          "T-a: log %u is trimmed up to LSN %lu; the latest snapshot is of LSN %lu", partition, U(upto),
          U(published[partition].lsn));
}

/* ---- T-d ---- */

#define IMPORTS_MAX 64
struct importing {
    struct store_import *import; /* NULL: free; those of processes that died are found by nobody */
    struct kv_backend *kv;
    uint16_t partition;
    lsn_t lsn, before;
    store_import_done begun; /* mutation */
    void *ctx;
};
static struct importing imports[IMPORTS_MAX];
static size_t next_import;

enum rc __real_store_peek_applied(struct kv_backend *b, uint16_t partition_id, lsn_t *applied,
                                  bool *unfinished, struct err *err);
enum rc __wrap_store_peek_applied(struct kv_backend *b, uint16_t partition_id, lsn_t *applied,
                                  bool *unfinished, struct err *err);
struct store_import *__real_store_import_new(struct kv_backend *b, struct job_runner *jobs,
                                             uint16_t partition_id, lsn_t lsn);
struct store_import *__wrap_store_import_new(struct kv_backend *b, struct job_runner *jobs,
                                             uint16_t partition_id, lsn_t lsn);
void __real_store_import_begin(struct store_import *i, store_import_done done, void *ctx);
void __wrap_store_import_begin(struct store_import *i, store_import_done done, void *ctx);
void __real_store_import_commit(struct store_import *i, store_import_done done, void *ctx);
void __wrap_store_import_commit(struct store_import *i, store_import_done done, void *ctx);
void __real_store_import_free(struct store_import *i);
void __wrap_store_import_free(struct store_import *i);
struct store_opening *__real_store_opening_start(struct env *env, const struct store_opening_request *request,
                                                 store_opening_done done, void *ctx);
struct store_opening *__wrap_store_opening_start(struct env *env, const struct store_opening_request *request,
                                                 store_opening_done done, void *ctx);

static struct importing *find_import(const struct store_import *i)
{
    for (size_t k = 0; k < IMPORTS_MAX; k++) {
        if (imports[k].import == i)
            return &imports[k];
    }
    SIM_CHECK(&csim->base, false, "an import that nobody began");
    return NULL;
}

struct store_import *__wrap_store_import_new(struct kv_backend *b, struct job_runner *jobs,
                                             uint16_t partition_id, lsn_t lsn)
{
    struct importing *m = &imports[next_import++ % IMPORTS_MAX];
    bool unfinished;
    struct err err = {0};
    *m = (struct importing){.kv = b, .partition = partition_id, .lsn = lsn};
    CHECK(__real_store_peek_applied(b, partition_id, &m->before, &unfinished, &err) == RC_OK, "%s", err.msg);
    return m->import = __real_store_import_new(b, jobs, partition_id, lsn);
}

void __wrap_store_import_commit(struct store_import *i, store_import_done done, void *ctx)
{
    const struct importing *m = find_import(i);
    CHECK(m->lsn >= m->before, "T-d: an import takes partition %u back from LSN %lu to %lu", m->partition,
          U(m->before), U(m->lsn));
    __real_store_import_commit(i, done, ctx);
}

void __wrap_store_import_free(struct store_import *i)
{
    find_import(i)->import = NULL;
    __real_store_import_free(i);
}

/* The mutation: an opening restores always, and an import does not ask what there is. */
struct store_opening *__wrap_store_opening_start(struct env *env, const struct store_opening_request *request,
                                                 store_opening_done done, void *ctx)
{
    struct store_opening_request q = *request;
    if (csim_mutated(CSIM_IMPORT_BACK) && q.repository && published[q.store.partition_id].lsn)
        q.min_lsn = MAX(q.min_lsn, 1);
    return __real_store_opening_start(env, &q, done, ctx);
}

enum rc __wrap_store_peek_applied(struct kv_backend *b, uint16_t partition_id, lsn_t *applied,
                                  bool *unfinished, struct err *err)
{
    enum rc rc = __real_store_peek_applied(b, partition_id, applied, unfinished, err);
    if (csim_mutated(CSIM_IMPORT_BACK))
        *applied = 0;
    return rc;
}

static void dropped(void *ctx, const struct err *err)
{
    struct importing *m = ctx;
    CHECK(!err, "%s", err->msg);
    __real_store_import_begin(m->import, m->begun, m->ctx);
}

void __wrap_store_import_begin(struct store_import *i, store_import_done done, void *ctx)
{
    struct importing *m = find_import(i);
    if (!csim_mutated(CSIM_IMPORT_BACK)) {
        __real_store_import_begin(i, done, ctx);
        return;
    }
    m->begun = done;
    m->ctx = ctx;
    store_drop(m->kv, m->partition, dropped, m);
}
