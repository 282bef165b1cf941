/* The cached rule book and its changes: see rule_store.h. */
#include "metadata/rule_store.h"

#include <stdlib.h>

#include "base/log.h"

struct rule_store {
    struct env *env;
    uint64_t poll_ms;
    void (*changed)(void *ctx, const struct rule_book *book);
    void *ctx;
    struct kv *kv;
    struct arena arena; /* of `current` */
    struct rule_book current;
    struct kv_op op;
    struct env_timer timer;
    bool reading, dying;
};

static void poll(struct env_timer *t);

static void free_store(struct rule_store *s)
{
    arena_free(&s->arena);
    free(s);
}

static void read_done(struct kv_op *op, const struct kv_result *r)
{
    struct rule_store *s = CONTAINER_OF(op, struct rule_store, op);
    s->reading = false;
    if (s->dying) {
        free_store(s);
        return;
    }
    if (r->rc == RC_OK)
        rule_store_seen(s, &r->entry);
    env_timer_arm(s->env, &s->timer, s->poll_ms);
}

static void poll(struct env_timer *t)
{
    struct rule_store *s = CONTAINER_OF(t, struct rule_store, timer);
    s->reading = true;
    s->op = (struct kv_op){.kind = KV_GET, .key = SLICE_LIT(RULE_BOOK_KEY), .done = read_done};
    kv_submit(s->kv, &s->op);
}

struct rule_store *rule_store_new(struct env *env, struct kv *kv, uint64_t poll_ms,
                                  void (*changed)(void *ctx, const struct rule_book *book), void *ctx)
{
    struct rule_store *s = xcalloc(1, sizeof(*s));
    s->env = env;
    s->kv = kv;
    s->poll_ms = poll_ms;
    s->changed = changed;
    s->ctx = ctx;
    env_timer_init(&s->timer, poll);
    poll(&s->timer);
    return s;
}

const struct rule_book *rule_store_current(const struct rule_store *s)
{
    return &s->current;
}

void rule_store_seen(struct rule_store *s, const struct kv_entry *entry)
{
    if (!slice_eq_cstr(entry->key, RULE_BOOK_KEY) || entry->version <= s->current.version)
        return;
    struct arena arena = {0};
    struct rule_book book;
    struct err err = {0};
    if (rule_book_decode(&arena, bytes_slice(entry->value), &book, &err) != RC_OK ||
        book.version != entry->version) {
        LOG0(LOG_ERROR, "restate_metadata", "The rule book v%u is ignored: %s", entry->version,
             err.msg[0] ? err.msg : "its version differs from that of the entry");
        arena_free(&arena);
        return;
    }
    arena_free(&s->arena);
    s->arena = arena;
    s->current = book;
    s->changed(s->ctx, &s->current);
}

void rule_store_free(struct rule_store *s)
{
    env_timer_cancel(s->env, &s->timer);
    s->dying = true;
    if (!s->reading)
        free_store(s);
}

/* ---- changes ---- */

static enum rc change(struct kv_edit *edit, const struct kv_entry *current, struct writer *w,
                      uint32_t *version, struct err *err)
{
    struct rule_edit *e = CONTAINER_OF(edit, struct rule_edit, edit);
    bool changed = false;
    arena_free(&e->arena);
    e->arena = (struct arena){0};
    e->book = (struct rule_book){0};
    enum rc rc = current ? rule_book_decode(&e->arena, bytes_slice(current->value), &e->book, err) : RC_OK;
    if (rc == RC_OK)
        rc = rule_book_change(&e->book, &e->arena, e->changes, e->n_changes, e->now_ms, &changed, err);
    if (rc != RC_OK)
        return rc;
    if (!changed)
        return RC_EOF;
    rule_book_encode(w, &e->book);
    *version = e->book.version;
    if (w->len > RULE_BOOK_BYTES_MAX)
        return err_set(err, RC_NO_SPACE, "rule book is full (%u bytes)", RULE_BOOK_BYTES_MAX);
    return RC_OK;
}

static void edit_done(struct kv_edit *edit, const struct err *err)
{
    struct rule_edit *e = CONTAINER_OF(edit, struct rule_edit, edit);
    struct arena arena = e->arena; /* `done` may free the edit */
    struct rule_book book = e->book;
    e->arena = (struct arena){0};
    e->done(e, err ? NULL : &book, err);
    arena_free(&arena);
}

void rule_store_edit(struct rule_store *s, struct rule_edit *e)
{
    e->store = s;
    e->arena = (struct arena){0};
    e->now_ms = env_wall_ms(s->env);
    e->edit = (struct kv_edit){.kv = s->kv, .key = RULE_BOOK_KEY, .change = change, .done = edit_done};
    kv_edit_start(&e->edit);
}
