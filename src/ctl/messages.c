/* Protobuf answers and requests of the operator services: see ctl.h (spec/restatectl.md §6). */
#include <stdlib.h>

#include "ctl/ctl.h"

/* ---- access by number ---- */

bool msg_get(struct slice message, uint32_t number, struct pb_field *out)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    bool found = false;
    while (pb_next(&r, &f))
        if (f.number == number) {
            *out = f;
            found = true;
        }
    return found;
}

uint64_t msg_u64(struct slice message, uint32_t number)
{
    struct pb_field f;
    return msg_get(message, number, &f) && f.wire != PB_LEN ? f.value : 0;
}

struct slice msg_bytes(struct slice message, uint32_t number)
{
    struct pb_field f;
    return msg_get(message, number, &f) && f.wire == PB_LEN ? f.bytes : SLICE_EMPTY;
}

const char *msg_text(struct tool *t, struct slice message, uint32_t number)
{
    return arena_copy_slice(&t->arena, msg_bytes(message, number));
}

bool msg_has(struct slice message, uint32_t number)
{
    struct pb_field f;
    return msg_get(message, number, &f);
}

bool msg_wrapped(struct slice message, uint32_t number, uint64_t *out)
{
    if (!msg_has(message, number))
        return false;
    *out = msg_u64(msg_bytes(message, number), 1);
    return true;
}

uint64_t msg_time_ms(struct slice message, uint32_t number)
{
    struct slice time = msg_bytes(message, number);
    return msg_u64(time, 1) * 1000 + msg_u64(time, 2) / 1000000;
}

void msg_put_replication(struct writer *w, uint32_t number, const char *text)
{
    struct writer inner = WRITER_INIT;
    if (!text)
        return;
    pb_put_text(&inner, 1, text);
    pb_put_message(w, number, &inner);
}

/* ---- GetClusterState ---- */

static const char *joined(struct tool *t, struct slice message, uint32_t number)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    struct writer w = WRITER_INIT;
    while (pb_next(&r, &f))
        if (f.number == number && f.wire == PB_LEN)
            write_fmt(&w, "%s%.*s", w.len ? "," : "", SLICE_FMT(f.bytes));
    return tool_take_text(t, &w);
}

static void decode_processor(struct tool *t, struct slice entry, struct processor *p)
{
    struct slice m = msg_bytes(entry, 2);
    *p = (struct processor){.partition = (uint32_t)msg_u64(entry, 1),
                            .updated_at_ms = msg_time_ms(m, 1),
                            .planned = (unsigned)msg_u64(m, 2),
                            .effective = (unsigned)msg_u64(m, 3),
                            .replay = (unsigned)msg_u64(m, 9),
                            .detailed = (unsigned)msg_u64(m, 17),
                            .broken = (unsigned)msg_u64(m, 18)};
    p->has_epoch = msg_wrapped(m, 4, &p->epoch);
    p->has_applied = msg_wrapped(m, 6, &p->applied);
    p->has_durable = msg_wrapped(m, 10, &p->durable);
    p->has_target = msg_wrapped(m, 11, &p->target);
    p->has_archived = msg_wrapped(m, 12, &p->archived);
    p->has_rule_book = msg_wrapped(m, 13, &p->rule_book);
    p->has_schema = msg_wrapped(m, 14, &p->schema);
    p->features = joined(t, m, 15);
}

static int by_partition(const void *a, const void *b)
{
    const struct processor *x = a, *y = b;
    return x->partition < y->partition ? -1 : x->partition > y->partition;
}

static void decode_node(struct tool *t, struct slice entry, struct node_state *n)
{
    struct slice state = msg_bytes(entry, 2), alive = msg_bytes(state, 1), id = msg_bytes(alive, 1);
    struct reader r = reader_make(alive);
    struct pb_field f;
    size_t count = 0;
    *n = (struct node_state){.id = (uint32_t)msg_u64(entry, 1), .alive = msg_has(state, 1)};
    n->generation = (uint32_t)msg_u64(id, 2);
    n->uptime_s = msg_u64(alive, 4);
    n->last_seen_ms = n->alive ? msg_time_ms(alive, 2) : msg_time_ms(msg_bytes(state, 2), 1);
    while (pb_next(&r, &f))
        count += f.number == 3;
    n->processors = arena_array(&t->arena, struct processor, count + 1);
    for (r = reader_make(alive); pb_next(&r, &f);)
        if (f.number == 3 && f.wire == PB_LEN)
            decode_processor(t, f.bytes, &n->processors[n->n_processors++]);
    qsort(n->processors, n->n_processors, sizeof(*n->processors), by_partition);
}

static int by_id(const void *a, const void *b)
{
    const struct node_state *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

bool cluster_state_decode(struct tool *t, struct slice message, struct cluster_state *out)
{
    struct slice state = msg_bytes(message, 1);
    struct reader r = reader_make(state);
    struct pb_field f;
    size_t count = 0;
    *out = (struct cluster_state){0};
    if (!pb_valid(message) || !pb_valid(state))
        return false;
    msg_wrapped(state, 2, &out->nodes_version);
    msg_wrapped(state, 3, &out->partition_table_version);
    msg_wrapped(state, 5, &out->logs_version);
    while (pb_next(&r, &f))
        count += f.number == 4;
    out->nodes = arena_array(&t->arena, struct node_state, count + 1);
    for (r = reader_make(state); pb_next(&r, &f);)
        if (f.number == 4 && f.wire == PB_LEN)
            decode_node(t, f.bytes, &out->nodes[out->n_nodes++]);
    qsort(out->nodes, out->n_nodes, sizeof(*out->nodes), by_id);
    return true;
}

bool need_cluster_state(struct tool *t, struct cluster_state *out)
{
    struct answer a =
        ctl_call(ctl_of(t), ROLE_ADMIN, "/restate.cluster_ctrl.ClusterCtrlSvc/GetClusterState", NULL);
    if (a.good && !cluster_state_decode(t, a.reply, out)) {
        a.good = false;
        a.error = "no cluster state returned";
    }
    if (!a.good)
        tool_fail(t, "%s", a.error);
    return a.good;
}

const struct node_state *cluster_state_node(const struct cluster_state *s, uint32_t id)
{
    for (size_t i = 0; i < s->n_nodes; i++)
        if (s->nodes[i].id == id)
            return &s->nodes[i];
    return NULL;
}

/* ---- ClusterConfiguration ---- */

static const char *replication_member(struct tool *t, struct slice message, uint32_t number)
{
    return msg_has(message, number) ? msg_text(t, msg_bytes(message, number), 1) : NULL;
}

void cluster_config_decode(struct tool *t, struct slice message, struct cluster_config *out)
{
    struct slice provider = msg_bytes(message, 3);
    *out = (struct cluster_config){.partitions = msg_u64(message, 1),
                                   .partition_replication = replication_member(t, message, 2),
                                   .provider = msg_text(t, provider, 1),
                                   .log_replication = replication_member(t, provider, 2),
                                   .nodeset_size = msg_u64(provider, 3)};
}

void cluster_config_encode(struct writer *w, const struct cluster_config *c)
{
    struct writer provider = WRITER_INIT;
    pb_write_u64(w, 1, c->partitions);
    msg_put_replication(w, 2, c->partition_replication);
    pb_put_text(&provider, 1, c->provider);
    msg_put_replication(&provider, 2, c->log_replication);
    pb_write_u64(&provider, 3, c->nodeset_size);
    pb_put_message(w, 3, &provider);
}
