/* The partition's side of a query: what is taken along from its loop (query/source.h). */
#include "query/source.h"

#include <stdlib.h>

static void take_text(struct slice *s, char **room)
{
    if (s->len)
        memcpy(*room, s->ptr, s->len);
    s->ptr = (const uint8_t *)*room;
    *room += s->len;
}

void query_attempts_add(void *ctx, struct invocation_id id, const struct invocation_attempt_status *status)
{
    struct query_attempts *a = ctx;
    size_t text = status->last_error_message.len + status->last_error_stacktrace.len +
                  status->related_command_name.len + status->related_command_type.len +
                  status->awaiting_on.len;
    struct query_attempt *x = xcalloc(1, sizeof(*x) + text);
    x->id = id;
    x->status = *status;
    char *room = (char *)(x + 1);
    take_text(&x->status.last_error_message, &room);
    take_text(&x->status.last_error_stacktrace, &room);
    take_text(&x->status.related_command_name, &room);
    take_text(&x->status.related_command_type, &room);
    take_text(&x->status.awaiting_on, &room);
    hmap_insert(&a->by_id, &x->node, invocation_id_hash(id));
    VEC_PUSH(&a->list, x);
}

void partition_request_serve(struct partition_request *r, struct partition_store *store)
{
    hmap_init(&r->attempts.by_id);
    if (r->want_store)
        r->scan = store_scan_new(store, r->kind, &r->filter);
    if (r->want_rows)
        limit_rows(&r->rows, r->want_rows, store);
}

void query_attempts_free(struct query_attempts *a)
{
    for (size_t i = 0; i < a->list.len; i++)
        free(a->list.items[i]);
    VEC_FREE(&a->list);
    hmap_free(&a->by_id);
}

const struct query_attempt *query_attempts_find(const struct query_attempts *a, struct invocation_id id)
{
    for (struct hmap_node *n = hmap_first(&a->by_id, invocation_id_hash(id)); n; n = hmap_next_same(n)) {
        const struct query_attempt *x = CONTAINER_OF(n, struct query_attempt, node);
        if (invocation_id_eq(x->id, id))
            return x;
    }
    return NULL;
}

void partition_request_release(struct partition_request *r)
{
    if (r->scan)
        store_scan_free(r->scan);
    query_attempts_free(&r->attempts);
    row_set_free(&r->rows);
    *r = (struct partition_request){0};
}
