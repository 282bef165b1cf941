/* Start-up of the log-server's store: whose disk is it, and may it be used (spec/cluster.md §5.12)? An empty
 * disk under a known name becomes the node's next storage generation by itself if the other copies suffice
 * (BETTER B14, bifrost/storage_loss.h); otherwise the node waits, says once why and what to do, and goes on
 * when that has been done.
 *
 * Each step that changes something begins again with a look at everything, so that a crash, an answer that
 * did not come and an operator's hand in between need nothing of their own. In order:
 *   1. storage state `data-loss`: nobody counts on this disk
 *   2. the check
 *   3. the new generation in the metadata: from here on a disk from before is refused
 *   4. the storage marker with the same date: from here on the store may serve
 *   5. storage state `read-write` */
#include <string.h>

#include "bifrost/storage_loss.h"
#include "node/node_internal.h"

#define TARGET  "restate_log_server"
#define WAIT_MS 1000u

static void look(struct node *n);

static void look_again(struct env_timer *t)
{
    look(CONTAINER_OF(t, struct node, storage.timer));
}

static void look_later(struct node *n, uint32_t ms)
{
    env_timer_arm(n->env, &n->storage.timer, ms / 2 + env_random(n->env) % ms);
}

/* The metadata does not answer, or others wrote at the same time. */
static void try_again(struct node *n, const struct err *why)
{
    uint64_t now = env_mono_ms(n->env);
    if (!n->storage.told_ms || now - n->storage.told_ms >= NODE_TELL_MS) {
        n->storage.told_ms = MAX(now, 1);
        LOG0(LOG_INFO, TARGET, "The log-server's store waits for the metadata: %s", why->msg);
    }
    look_later(n, NODE_RETRY_MS);
}

/* Once per reason: it may last. */
static void wait_for_help(struct node *n, const struct err *why, const char *advice)
{
    if (strcmp(n->storage.told.msg, why->msg) != 0) {
        n->storage.told = *why;
        LOG0(LOG_ERROR, TARGET, "This node waits and does not start its log-server: %s. %s", why->msg,
             advice);
    }
    look_later(n, WAIT_MS);
}

static void state_written(void *ctx, const struct err *err)
{
    struct node *n = ctx;
    if (n->stopping)
        return;
    if (err && err->rc == RC_AGAIN)
        try_again(n, err);
    else if (err)
        node_fail(n, err);
    else
        look(n);
}

static void set_state(struct node *n, enum storage_state state)
{
    join_set_storage(n->env, n->kv, n->joined.node_id, state, state_written, n);
}

static void mark_and_use(struct node *n, uint64_t created_at)
{
    struct err err = {0};
    if (log_host_write_marker(n->log_host, created_at, &err) != RC_OK)
        node_fail(n, &err);
    else
        set_state(n, STORAGE_READ_WRITE);
}

/* ---- an empty disk ---- */

static enum rc generation_change(struct kv_edit *e, const struct kv_entry *current, struct writer *w,
                                 uint32_t *version, struct err *err)
{
    struct node *n = CONTAINER_OF(e, struct node, storage.edit);
    struct arena arena = {0};
    struct storage_generations g = {0};
    enum rc rc = current ? storage_generations_decode(&arena, bytes_slice(current->value), &g, err) : RC_OK;
    /* Checked again on what is swapped: what was read for the look may lack another node that came back empty
     * since and is read-write in the view by now. */
    if (rc == RC_OK)
        rc = storage_loss_check(&n->view.nodes, &n->view.logs, &g, n->joined.node_id, err);
    if (rc == RC_OK) {
        const struct storage_generation *before = storage_generation_of(&g, n->joined.node_id);
        struct storage_generation mine = {.node_id = n->joined.node_id, .created_at = env_wall_ms(n->env)};
        if (before)
            mine.created_at = MAX(mine.created_at, before->created_at + 1);
        /* The view is not older than what was read while joining, when the old disk was gone: every segment
         * of which it may have stored something is there. */
        storage_loss_everything(&arena, &n->view.logs, &mine);
        storage_generations_put(&arena, &g, &mine);
        storage_generations_encode(w, &g);
        *version = g.version;
        n->storage.created_at = mine.created_at;
    }
    arena_free(&arena);
    return rc;
}

static void generation_written(struct kv_edit *e, const struct err *err)
{
    struct node *n = CONTAINER_OF(e, struct node, storage.edit);
    if (n->stopping)
        return;
    if (err) { /* also when it may have been written: the next try replaces it */
        try_again(n, err);
        return;
    }
    LOG0(LOG_WARN, TARGET,
         "The other copies suffice: this node goes on with an empty log-server as its next storage "
         "generation. "
         "What it had stored before counts as lost");
    mark_and_use(n, n->storage.created_at);
}

static void come_back_empty(struct node *n, enum storage_state state)
{
    struct err err = {0};
    if (state != STORAGE_DATA_LOSS) {
        LOG0(LOG_WARN, TARGET,
             "The store of this node's log-server is empty although it has been used: its disk was lost. "
             "storage-state is `data-loss`");
        set_state(n, STORAGE_DATA_LOSS);
        return;
    }
    enum rc rc =
        storage_loss_check(&n->view.nodes, &n->view.logs, &n->storage.generations, n->joined.node_id, &err);
    if (rc == RC_UNAVAILABLE) {
        err_prefix(&err, "it has lost its disk, and ");
        wait_for_help(
            n, &err,
            "Bring the disk back. If it is gone for good, start the node under another node-name, or: "
            "`restatectl logs recover` ends the logs where a hole begins, `restatectl snapshots create "
            "--trim-log` drops the segments behind which all partitions are; as soon as no segment "
            "needs what was lost here, this node goes on by itself");
    } else if (rc != RC_OK) {
        node_fail(n, &err);
    } else {
        n->storage.edit = (struct kv_edit){.kv = n->kv,
                                           .key = STORAGE_GENERATIONS_KEY,
                                           .change = generation_change,
                                           .done = generation_written};
        kv_edit_start(&n->storage.edit);
    }
}

/* ---- the look ---- */

static void judge(struct node *n)
{
    const struct node_entry *me = nodes_config_by_id(&n->view.nodes, n->joined.node_id);
    const struct storage_generation *mine = storage_generation_of(&n->storage.generations, n->joined.node_id);
    struct err err = {0};
    switch (log_host_check(n->log_host, me->storage, mine, &err)) {
    case LOG_STORE_RUN:
        if (mine)
            log_host_set_lost(n->log_host, mine);
        n->storage.usable = true;
        node_start_partitions(n);
        return;
    case LOG_STORE_FRESH:
        mark_and_use(n, env_wall_ms(n->env));
        return;
    case LOG_STORE_READY:
        set_state(n, STORAGE_READ_WRITE);
        return;
    case LOG_STORE_LOST:
        come_back_empty(n, me->storage);
        return;
    case LOG_STORE_DOUBT:
        wait_for_help(n, &err,
                      "If the directory is moved away, the node starts with an empty one and comes back by "
                      "itself when the other copies suffice");
        return;
    case LOG_STORE_REFUSE:
        node_fail(n, &err);
        return;
    }
}

static void generations_read(struct kv_op *op, const struct kv_result *r)
{
    struct node *n = CONTAINER_OF(op, struct node, storage.read);
    struct err err = {0};
    if (n->stopping || n->exit_code)
        return;
    arena_free(&n->storage.arena);
    n->storage.arena = (struct arena){0};
    n->storage.generations = (struct storage_generations){0};
    if (r->rc != RC_OK && r->rc != RC_NOT_FOUND) {
        err_set(&err, r->rc, "%s", r->message);
        try_again(n, &err);
    } else if (r->rc == RC_OK && storage_generations_decode(&n->storage.arena, bytes_slice(r->entry.value),
                                                            &n->storage.generations, &err) != RC_OK) {
        node_fail(n, &err);
    } else {
        judge(n);
    }
}

static void look(struct node *n)
{
    n->storage.read =
        (struct kv_op){.kind = KV_GET, .key = SLICE_LIT(STORAGE_GENERATIONS_KEY), .done = generations_read};
    kv_submit(n->kv, &n->storage.read);
}

enum rc node_open_log_store(struct node *n, struct err *err)
{
    n->log_links = log_server_links_new();
    struct log_host_config config = {.me = {n->joined.node_id, n->joined.generation},
                                     .remote_reply = log_server_links_reply,
                                     .ctx = n->log_links};
    char *path = xasprintf("%s/log-store", n->dir.path);
    enum rc rc = log_host_open(path, &config, &n->log_host, err);
    free(path);
    if (rc != RC_OK)
        return rc;
    env_timer_init(&n->storage.timer, look_again);
    look(n);
    return RC_OK;
}
