/* Deleting what no latest.json will ever name again: snapshots that are no longer retained, and what crashed
 * or superseded creations left behind.
 *
 * A directory whose LSN is at most that of latest.json and that is not retained is garbage for good: a
 * creator gives up when latest.json names an LSN as high as its own, LSNs in latest.json never decrease, and
 * nothing that left the retained list comes back. So it does not matter who sweeps, nor when - but a node may
 * be downloading it (TR-11): it is deleted only when it has been seen as garbage for the grace time. */
#include "partition/snapshot_internal.h"

#define GARBAGE_MAX 1000u /* directories per partition and round; the others have their turn later */
#define RETRY_MS    60000u

struct sweep {
    struct snapshot_repository *repository;
    struct swept_partition *partition;
    struct latest_read read;
    struct object_op list, op;
    char key[SNAPSHOT_KEY_MAX];
    struct snapshot_latest latest;
    size_t next, metadata_pass; /* position in the listing; metadata.json goes after the data files */
    bool failed;
};

static int swept_cmp(const struct omap_node *a, const struct omap_node *b)
{
    return (int)CONTAINER_OF(a, struct swept_partition, node)->partition_id -
           (int)CONTAINER_OF(b, struct swept_partition, node)->partition_id;
}

static int id_cmp(const void *key, const struct omap_node *n)
{
    return (int)*(const uint16_t *)key - (int)CONTAINER_OF(n, struct swept_partition, node)->partition_id;
}

/* ---- when ---- */

static void sweep_next(struct snapshot_repository *r);

static void on_timer(struct env_timer *t)
{
    sweep_next(CONTAINER_OF(t, struct snapshot_repository, sweep_timer));
}

void sweep_init(struct snapshot_repository *r)
{
    omap_init(&r->swept, swept_cmp);
    env_timer_init(&r->sweep_timer, on_timer);
}

void sweep_stop(struct snapshot_repository *r)
{
    env_timer_cancel(r->env, &r->sweep_timer);
}

void sweep_free(struct snapshot_repository *r)
{
    ASSERT(!r->sweep);
    struct omap_node *n;
    while ((n = omap_first(&r->swept))) {
        struct swept_partition *p = CONTAINER_OF(n, struct swept_partition, node);
        omap_remove(&r->swept, n);
        VEC_FREE(&p->garbage);
        free(p);
    }
}

void sweep_soon(struct snapshot_repository *r, uint16_t partition_id)
{
    if (r->closing)
        return;
    struct omap_node *n = omap_find(&r->swept, &partition_id, id_cmp);
    struct swept_partition *p = n ? CONTAINER_OF(n, struct swept_partition, node) : NULL;
    if (!p) {
        p = xcalloc(1, sizeof(*p));
        p->partition_id = partition_id;
        omap_insert(&r->swept, &p->node);
    }
    p->due_ms = env_mono_ms(r->env);
    if (!r->sweep)
        env_timer_arm(r->env, &r->sweep_timer, 0);
}

static void arm(struct snapshot_repository *r)
{
    uint64_t due = UINT64_MAX;
    for (struct omap_node *n = omap_first(&r->swept); n; n = omap_next(n))
        due = MIN(due, CONTAINER_OF(n, struct swept_partition, node)->due_ms);
    if (due != UINT64_MAX && !r->closing)
        env_timer_arm_at(r->env, &r->sweep_timer, MAX(due, env_mono_ms(r->env)));
}

/* ---- one partition ---- */

/* Forget directories that are gone; come back when the youngest garbage is old enough. */
static void sweep_done(struct sweep *s)
{
    struct snapshot_repository *r = s->repository;
    struct swept_partition *p = s->partition;
    uint64_t now = env_mono_ms(r->env);
    if (s->failed) /* else: as sweep_soon has set it meanwhile */
        p->due_ms = MIN(p->due_ms, now + RETRY_MS);
    for (size_t i = 0; i < p->garbage.len; i++)
        p->due_ms = MIN(p->due_ms, MAX(p->garbage.items[i].since_ms + r->grace_ms, now + 1000));
    if (p->due_ms == UINT64_MAX) {
        omap_remove(&r->swept, &p->node);
        VEC_FREE(&p->garbage);
        free(p);
    }
    snapshot_latest_free(&s->latest);
    object_op_release(&s->list);
    object_op_release(&s->op);
    r->sweep = NULL;
    free(s);
    arm(r);
    repository_end(r);
}

/* The directory of a key below the partition's prefix: "lsn_...". */
static struct slice directory_of(const struct sweep *s, const char *key)
{
    const char *name = key + strlen(s->key);
    const char *slash = strchr(name, '/');
    return slice_make(name, slash ? (size_t)(slash - name) : 0);
}

static bool is_garbage(const struct sweep *s, struct slice dir)
{
    lsn_t lsn;
    if (!snapshot_path_lsn(dir, &lsn) || dir.len >= SNAPSHOT_PATH_MAX ||
        lsn > s->latest.retained.items[0].lsn)
        return false;
    for (size_t i = 0; i < s->latest.retained.len; i++) {
        if (slice_eq_cstr(dir, s->latest.retained.items[i].path))
            return false;
    }
    return true;
}

/* NULL: it is none. */
static const struct garbage *find_garbage(const struct swept_partition *p, struct slice dir)
{
    for (size_t i = 0; i < p->garbage.len; i++) {
        if (slice_eq_cstr(dir, p->garbage.items[i].path))
            return &p->garbage.items[i];
    }
    return NULL;
}

/* What is garbage now, with the time it was first seen. */
static void take_stock(struct sweep *s)
{
    struct swept_partition *p = s->partition;
    struct swept_partition fresh = {0};
    uint64_t now = env_mono_ms(s->repository->env);
    struct slice before = SLICE_EMPTY;
    for (size_t i = 0; i < s->list.listed.len && fresh.garbage.len < GARBAGE_MAX; i++) {
        struct slice dir = directory_of(s, s->list.listed.items[i].key);
        if (slice_eq(dir, before) || !is_garbage(s, dir))
            continue;
        before = dir;
        const struct garbage *known = find_garbage(p, dir);
        struct garbage g = {.since_ms = known ? known->since_ms : now};
        memcpy(g.path, dir.ptr, dir.len);
        VEC_PUSH(&fresh.garbage, g);
    }
    VEC_FREE(&p->garbage);
    p->garbage.items = fresh.garbage.items;
    p->garbage.len = fresh.garbage.len;
    p->garbage.cap = fresh.garbage.cap;
}

static bool may_go(const struct sweep *s, const char *key)
{
    const struct garbage *g = find_garbage(s->partition, directory_of(s, key));
    return g && g->since_ms + s->repository->grace_ms <= env_mono_ms(s->repository->env);
}

static void forget_deleted(struct sweep *s)
{
    struct swept_partition *p = s->partition;
    uint64_t now = env_mono_ms(s->repository->env);
    size_t kept = 0;
    for (size_t i = 0; i < p->garbage.len; i++) {
        if (p->garbage.items[i].since_ms + s->repository->grace_ms > now)
            p->garbage.items[kept++] = p->garbage.items[i];
    }
    p->garbage.len = kept;
}

/* All data files, then all metadata.json: as long as the latter is there, the rest can be found by it. */
static void delete_next(struct object_op *op)
{
    struct sweep *s = CONTAINER_OF(op, struct sweep, op);
    if (op->rc != RC_OK) {
        s->failed = true;
        sweep_done(s);
        return;
    }
    for (; s->metadata_pass < 2; s->metadata_pass++, s->next = 0) {
        while (s->next < s->list.listed.len) {
            const char *key = s->list.listed.items[s->next++].key;
            const char *name = strrchr(key, '/');
            bool metadata = name && strcmp(name, "/metadata.json") == 0;
            if (metadata != (s->metadata_pass == 1) || !may_go(s, key))
                continue;
            s->op.kind = OBJECT_DELETE;
            s->op.key = key;
            s->op.done = delete_next;
            repository_submit(s->repository, s->repository->store, &s->op);
            return;
        }
    }
    forget_deleted(s);
    sweep_done(s);
}

static void listed(struct object_op *op)
{
    struct sweep *s = CONTAINER_OF(op, struct sweep, list);
    if (op->rc != RC_OK) {
        s->failed = true;
        sweep_done(s);
        return;
    }
    take_stock(s);
    s->op.rc = RC_OK;
    delete_next(&s->op);
}

static void latest_known(struct latest_read *l)
{
    struct sweep *s = CONTAINER_OF(l, struct sweep, read);
    if (l->rc != RC_OK) {
        s->failed = l->rc != RC_NOT_FOUND;
        sweep_done(s);
        return;
    }
    s->latest = l->latest;
    repository_key(s->repository, s->partition->partition_id, "", "", s->key);
    s->list.kind = OBJECT_LIST;
    s->list.key = s->key;
    s->list.done = listed;
    repository_submit(s->repository, s->repository->store, &s->list);
}

static void sweep_next(struct snapshot_repository *r)
{
    uint64_t now = env_mono_ms(r->env);
    struct omap_node *n = omap_first(&r->swept);
    while (n && CONTAINER_OF(n, struct swept_partition, node)->due_ms > now)
        n = omap_next(n);
    if (r->sweep || r->closing)
        return;
    if (!n) {
        arm(r);
        return;
    }
    repository_begin(r);
    struct sweep *s = r->sweep = xcalloc(1, sizeof(*s));
    s->repository = r;
    s->partition = CONTAINER_OF(n, struct swept_partition, node);
    s->partition->due_ms = UINT64_MAX; /* sweep_soon may set it again meanwhile */
    latest_read_start(&s->read, r, s->partition->partition_id, latest_known);
}
