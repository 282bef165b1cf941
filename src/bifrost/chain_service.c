/* The chains over cluster metadata: see chain_service.h.
 *
 * Rounds: all that wait begin a round together. It reads the value, unless there are only changes and the
 * newest known value satisfies them; answers the questions; writes all changes at once; and starts over when
 * somebody else was quicker. */
#include "bifrost/chain_service.h"

#include <stdlib.h>

#include "base/log.h"
#include "bifrost/replicated_chain.h"
#include "metadata/values.h"

struct chain_service {
    struct chain_service_config config;
    struct bytes stored; /* the newest value known */
    struct chain_set *set;
    struct list waiting, running; /* chain_ask.link */
    struct env_task begin;
    struct kv_op op;
    bool busy;
    struct bytes written; /* value of the write in progress */
};

/* ---- the newest value ---- */

void chain_service_on_logs_config(struct chain_service *s, struct bytes value, uint32_t version)
{
    if (s->set && version <= s->set->version)
        return;
    struct arena arena = {0};
    struct logs_config c;
    struct err err = {0};
    if (logs_config_decode(&arena, bytes_slice(value), &c, &err) == RC_OK) {
        chain_set_unref(s->set);
        bytes_unref(&s->stored);
        s->set = chain_set_new(&c);
        s->set->version = version;
        s->stored = bytes_ref(value);
        s->config.changed(s->config.ctx, s->set);
    } else {
        LOG0(LOG_ERROR, "restate_bifrost", "The configuration of the logs v%u is ignored: %s", version,
             err.msg);
    }
    arena_free(&arena);
}

struct chain_set *chain_service_newest(struct chain_service *s)
{
    return s->set;
}

/* ---- answers ---- */

static void answer(struct chain_ask *ask, enum rc rc, struct chain_set *set)
{
    list_remove(&ask->link);
    ask->answer(ask, rc, set);
}

static void end_round(struct chain_service *s)
{
    s->busy = false;
    if (!list_empty(&s->waiting))
        env_defer(s->config.env, &s->begin);
}

static void fail_round(struct chain_service *s, enum rc rc)
{
    struct list *n;
    while (!list_empty(&s->running)) {
        n = s->running.next;
        answer(CONTAINER_OF(n, struct chain_ask, link), rc, NULL);
    }
    end_round(s);
}

/* ---- writing ---- */

static bool as_expected(const struct chain_service *s, const struct chain_ask *ask)
{
    const struct chain *now = chain_set_find(s->set, ask->log_id);
    return now ? ask->has_expected && chain_eq(now, &ask->expected) : !ask->has_expected;
}

static void read_value(struct chain_service *s);

static void on_put(struct kv_op *op, const struct kv_result *r)
{
    struct chain_service *s = CONTAINER_OF(op, struct chain_service, op);
    struct bytes written = s->written;
    s->written = BYTES_EMPTY;
    if (r->rc == RC_OK)
        chain_service_on_logs_config(s, written, op->version);
    bytes_unref(&written);
    if (r->rc == RC_CONFLICT) {
        read_value(s);
        return;
    }
    if (r->rc != RC_OK) {
        fail_round(s, r->rc);
        return;
    }
    while (!list_empty(&s->running))
        answer(CONTAINER_OF(s->running.next, struct chain_ask, link), RC_OK, s->set);
    end_round(s);
}

/* Write what is in `running`: only changes that fit to the newest known value, one per log. */
static void write_changes(struct chain_service *s)
{
    struct arena arena = {0};
    struct logs_config c;
    struct err err = {0};
    enum rc rc = logs_config_decode(&arena, bytes_slice(s->stored), &c, &err);
    ASSERT_MSG(rc == RC_OK, "%s", err.msg);
    uint64_t now = hybrid_timestamp(env_wall_ms(s->config.env));
    LIST_FOREACH(n, &s->running)
    {
        logs_config_put_chain(&arena, &c, &CONTAINER_OF(n, struct chain_ask, link)->next, now);
    }
    struct writer w = WRITER_INIT;
    c.version = s->set->version + 1;
    c.modified_at = now;
    logs_config_encode(&w, &c);
    arena_free(&arena);
    s->written = writer_take(&w);
    s->op = (struct kv_op){.kind = KV_PUT,
                           .key = SLICE_LIT(LOGS_CONFIG_KEY),
                           .value = bytes_ref(s->written),
                           .version = c.version,
                           .precondition = KV_MATCHES_VERSION,
                           .expected_version = s->set->version,
                           .done = on_put};
    kv_submit(s->config.kv, &s->op);
}

/* ---- reading ---- */

static bool other_swap_of(const struct chain_service *s, const struct chain_ask *ask)
{
    LIST_FOREACH(n, &s->running)
    {
        const struct chain_ask *other = CONTAINER_OF(n, struct chain_ask, link);
        if (other == ask)
            return false;
        if (other->swap && other->log_id == ask->log_id)
            return true;
    }
    return false;
}

/* Answer what the newest value answers; what remains in `running` is to be written. */
static void answer_reads(struct chain_service *s)
{
    struct chain_set *set = chain_set_ref(s->set);
    LIST_FOREACH_SAFE(n, next, &s->running)
    {
        struct chain_ask *ask = CONTAINER_OF(n, struct chain_ask, link);
        if (!ask->swap) {
            answer(ask, chain_set_find(set, ask->log_id) ? RC_OK : RC_NOT_FOUND, set);
        } else if (other_swap_of(s, ask)) { /* what it changes is being changed: the next round sees */
            list_remove(&ask->link);
            list_push_back(&s->waiting, &ask->link);
        } else if (!as_expected(s, ask)) {
            answer(ask, RC_CONFLICT, set);
        }
    }
    chain_set_unref(set);
}

static void on_get(struct kv_op *op, const struct kv_result *r)
{
    struct chain_service *s = CONTAINER_OF(op, struct chain_service, op);
    if (r->rc == RC_OK)
        chain_service_on_logs_config(s, r->entry.value, r->entry.version);
    if (r->rc != RC_OK || !s->set) {
        /* Without the value there is no cluster yet; that is not the same as a log that does not exist. */
        fail_round(s, r->rc == RC_NOT_FOUND || r->rc == RC_OK ? RC_UNAVAILABLE : r->rc);
        return;
    }
    answer_reads(s);
    if (list_empty(&s->running))
        end_round(s);
    else
        write_changes(s);
}

static void read_value(struct chain_service *s)
{
    s->op = (struct kv_op){.kind = KV_GET, .key = SLICE_LIT(LOGS_CONFIG_KEY), .done = on_get};
    kv_submit(s->config.kv, &s->op);
}

/* ---- rounds ---- */

/* Only changes, all of them fitting to what is known: the compare-and-swap tells whether it is the newest. */
static bool may_write_at_once(const struct chain_service *s)
{
    if (!s->set)
        return false;
    LIST_FOREACH(n, &s->running)
    {
        const struct chain_ask *ask = CONTAINER_OF(n, struct chain_ask, link);
        if (!ask->swap || other_swap_of(s, ask) || !as_expected(s, ask))
            return false;
    }
    return true;
}

static void begin_round(struct env_task *t)
{
    struct chain_service *s = CONTAINER_OF(t, struct chain_service, begin);
    if (s->busy || list_empty(&s->waiting))
        return;
    s->busy = true;
    list_splice(&s->running, &s->waiting);
    if (may_write_at_once(s))
        write_changes(s);
    else
        read_value(s);
}

void chain_service_ask(struct chain_service *s, struct chain_ask *ask)
{
    list_init(&ask->link);
    list_push_back(&s->waiting, &ask->link);
    if (!s->busy)
        env_defer(s->config.env, &s->begin);
}

struct chain_service *chain_service_new(const struct chain_service_config *config)
{
    struct chain_service *s = xcalloc(1, sizeof(*s));
    s->config = *config;
    list_init(&s->waiting);
    list_init(&s->running);
    env_task_init(&s->begin, begin_round);
    return s;
}

void chain_service_free(struct chain_service *s)
{
    ASSERT_MSG(!s->busy && list_empty(&s->waiting), "the chains are closed while they are asked for");
    env_undefer(&s->begin);
    chain_set_unref(s->set);
    bytes_unref(&s->stored);
    free(s);
}
