/* The tables of the cluster context, from what this node knows (spec/sql.md §4). Main loop. */
#define _GNU_SOURCE /* strcasestr */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "node/node_internal.h"
#include "node/query_source.h"
#include "query/types.h"

static void put_plain(struct row_set *s, uint32_t id)
{
    if (id)
        row_fmt(s, "N%u", id);
    else
        row_null(s);
}

static void put_generational(struct row_set *s, uint32_t id, uint32_t generation)
{
    if (id)
        row_fmt(s, "N%u:%u", id, generation);
    else
        row_null(s);
}

/* ---- nodes ---- */

/* Text or NULL. */
static void put_state(struct row_set *s, bool applies, const char *name)
{
    row_text(s, applies ? slice_cstr(name) : SLICE_EMPTY);
}

static const char *node_state_name(const struct node *n, uint32_t id)
{
    switch (membership_verdict(cluster_membership(n->cluster), id)) {
    case MEMBERSHIP_ALIVE:
        return "alive";
    case MEMBERSHIP_FAILING_OVER:
        return "failing-over";
    default:
        return id == n->joined.node_id ? "alive" : "dead";
    }
}

static void put_node(struct row_set *s, const struct node *n, const struct node_entry *e)
{
    put_plain(s, e->id);
    put_generational(s, e->id, e->generation);
    row_fmt(s, "%s", node_state_name(n, e->id));
    row_text(s, slice_cstr(e->name));
    row_text(s, slice_cstr(e->address));
    row_text(s, slice_cstr(e->ctrl_address));
    row_text(s, slice_cstr(e->location ? e->location : ""));
    row_bool(s, e->roles & ROLE_ADMIN);
    row_bool(s, e->roles & ROLE_WORKER);
    row_bool(s, e->roles & ROLE_METADATA_SERVER);
    row_bool(s, e->roles & ROLE_LOG_SERVER);
    row_bool(s, e->roles & ROLE_HTTP_INGRESS);
    put_state(s, e->roles & ROLE_LOG_SERVER, storage_state_name(e->storage));
    put_state(s, e->roles & ROLE_WORKER, worker_state_name(e->worker));
    put_state(s, e->roles & ROLE_METADATA_SERVER, metadata_server_state_name(e->metadata_server));
    row_int(s, n->view.nodes_value.version);
    row_text(s, slice_cstr(e->binary_version));
    row_end(s);
}

static void put_nodes(struct row_set *s, const struct node *n)
{
    for (size_t i = 0; i < n->view.nodes.n_nodes; i++)
        if (!n->view.nodes.nodes[i].tombstone)
            put_node(s, n, &n->view.nodes.nodes[i]);
}

/* ---- logs ---- */

/* sequencer, replication, nodeset from the parameters of a replicated segment. */
static void put_replicated(struct row_set *s, const struct log_segment *g)
{
    json_t *params = g->params ? json_loads(g->params, 0, NULL) : NULL;
    const char *sequencer = json_string_value(json_object_get(params, "sequencer"));
    const json_t *replication = json_object_get(params, "replication");
    const json_t *nodes = json_object_get(params, "nodeset"), *node;
    struct writer w = WRITER_INIT;
    row_text(s, slice_cstr(sequencer));
    if (json_is_object(replication)) {
        const char *key;
        json_t *value;
        size_t n = 0;
        write_u8(&w, '{');
        json_object_foreach((json_t *)replication, key, value)
            write_fmt(&w, "%s%s: %lld", n++ ? ", " : "", key, (long long)json_integer_value(value));
        write_u8(&w, '}');
        row_text(s, writer_slice(&w));
    } else if (json_is_string(replication)) {
        row_text(s, slice_cstr(json_string_value(replication)));
    } else {
        row_null(s);
    }
    writer_reset(&w);
    write_u8(&w, '[');
    size_t i;
    json_array_foreach(nodes, i, node)
        write_fmt(&w, "%sN%lld", i ? ", " : "", (long long)json_integer_value(node));
    write_u8(&w, ']');
    row_text(s, nodes ? writer_slice(&w) : SLICE_EMPTY);
    writer_free(&w);
    json_decref(params);
}

static void put_logs(struct row_set *s, const struct node *n, bool tails_only)
{
    for (size_t i = 0; i < n->view.logs.n_chains; i++) {
        const struct log_chain *chain = &n->view.logs.chains[i];
        for (size_t k = tails_only ? chain->n_segments - 1 : 0; k < chain->n_segments; k++) {
            const struct log_segment *g = &chain->segments[k];
            row_int(s, chain->log_id);
            row_int(s, g->index);
            row_int(s, (int64_t)g->base_lsn);
            row_text(s, slice_cstr(segment_kind_name(g->kind)));
            if (g->kind == SEGMENT_REPLICATED) {
                row_fmt(s, "%u_%u", chain->log_id, g->index);
                put_replicated(s, g);
            } else {
                for (int none = 0; none < 4; none++)
                    row_null(s);
            }
            row_int(s, n->view.logs_value.version);
            row_end(s);
        }
    }
}

/* ---- partitions ---- */

static void put_epoch(struct row_set *s, uint64_t epoch)
{
    if (epoch)
        row_fmt(s, "e%llu", (unsigned long long)epoch);
    else
        row_null(s);
}

/* "N1,N2" and the version of the set; both NULL if there is none. */
static void put_replicas(struct row_set *s, const struct partition_configuration *c)
{
    struct writer w = WRITER_INIT;
    if (!c || !c->version) {
        row_null(s);
        row_null(s);
        return;
    }
    for (size_t i = 0; i < c->n_replicas; i++)
        write_fmt(&w, "%sN%u", i ? "," : "", c->replicas[i]);
    row_int(s, c->version);
    row_text(s, w.len ? writer_slice(&w) : SLICE_LIT(""));
    writer_free(&w);
}

static void put_partition(struct row_set *s, const struct node *n, uint32_t p)
{
    struct key_range range = partition_key_range(n->view.table.n_partitions, p);
    const struct epoch_metadata *e = epochs_get(cluster_epochs(n->cluster), p);
    struct node_ref leader = {0};
    uint64_t epoch = 0;
    membership_leader(cluster_membership(n->cluster), (uint16_t)p, &leader, &epoch);
    row_int(s, p);
    row_int(s, u64_to_key(range.start));
    row_int(s, u64_to_key(range.end));
    row_int(s, p);
    row_fmt(s, "data-%u", p);
    put_generational(s, leader.id, leader.generation);
    put_plain(s, leader.id);
    put_epoch(s, leader.id ? epoch : 0);
    put_replicas(s, e ? &e->current : NULL);
    put_replicas(s, e && e->has_next ? &e->next : NULL);
    row_int(s, n->view.table_value.version);
    row_end(s);
}

static void put_time_if(struct row_set *s, uint64_t ms)
{
    if (ms)
        row_int(s, (int64_t)ms);
    else
        row_null(s);
}

static void put_replay_status(struct row_set *s, enum partition_run run)
{
    if (run == PARTITION_RUN_BROKEN)
        row_null(s);
    else
        row_fmt(s, run == PARTITION_RUN_STARTING      ? "starting"
                   : run == PARTITION_RUN_CATCHING_UP ? "catching_up"
                                                      : "active");
}

/* One replica as its node reported it. */
static void put_partition_state(struct row_set *s, const struct node *n, struct node_ref node,
                                const struct membership_status *m)
{
    const struct partition_status *p = &m->status;
    bool leader = p->mode == PARTITION_MODE_LEADER, candidate = p->mode == PARTITION_MODE_CANDIDATE;
    uint64_t now = env_mono_ms(n->env);
    row_int(s, p->partition);
    put_plain(s, node.id);
    put_generational(s, node.id, node.generation);
    row_fmt(s, leader || candidate || p->planned_leader ? "leader" : "follower");
    row_fmt(s, leader ? "Leader" : candidate ? "Candidate" : "Follower");
    row_int(s, (int64_t)(env_wall_ms(n->env) - (now - MIN(m->updated_ms, now))));
    put_time_if(s, p->leader_epoch);
    put_generational(s, p->leader_epoch ? p->leader.id : 0, p->leader.generation);
    row_int(s, (int64_t)p->applied);
    put_time_if(s, p->record_applied_ms);
    put_replay_status(s, p->run);
    row_int(s, (int64_t)p->durable);
    put_time_if(s, p->archived);
    row_int(s, (int64_t)(p->run == PARTITION_RUN_CATCHING_UP ? p->target_tail : p->tail));
    row_null(s);
    row_int(s, p->schema_version);
    row_fmt(s, "[\"journal_v2\"]");
    row_text(s, p->run == PARTITION_RUN_BROKEN ? SLICE_LIT("ahead_of_log") : SLICE_EMPTY);
    row_fmt(s, "[]");
    row_end(s);
}

bool query_node_is_alive(const struct membership_node *m)
{
    return m->self || m->verdict == MEMBERSHIP_ALIVE || m->verdict == MEMBERSHIP_FAILING_OVER;
}

static void put_partition_states(struct row_set *s, const struct node *n)
{
    const struct membership *all = cluster_membership(n->cluster);
    for (size_t i = 0; i < membership_node_count(all); i++) {
        struct membership_node m;
        size_t count;
        membership_node_at(all, i, &m);
        const struct membership_status *statuses = membership_statuses(all, m.node.id, &count);
        for (size_t k = 0; k < count && query_node_is_alive(&m); k++)
            put_partition_state(s, n, m.node, &statuses[k]);
    }
}

static void put_members(struct row_set *s, const struct node *n, uint32_t p, const char *membership,
                        const struct partition_configuration *c)
{
    const struct membership *all = cluster_membership(n->cluster);
    struct node_ref leader = {0};
    uint64_t epoch = 0;
    membership_leader(all, (uint16_t)p, &leader, &epoch);
    for (size_t i = 0; c->version && i < c->n_replicas; i++) {
        struct membership_node m;
        bool known = membership_node(all, c->replicas[i], &m);
        bool leads = leader.id == c->replicas[i];
        const struct membership_status *status = membership_status(all, c->replicas[i], (uint16_t)p);
        row_int(s, p);
        put_plain(s, c->replicas[i]);
        put_generational(s, known && query_node_is_alive(&m) ? m.node.id : 0, known ? m.node.generation : 0);
        if (leads)
            row_bool(s, true);
        else
            row_null(s);
        row_int(s, c->version);
        row_fmt(s, "%s", membership);
        put_epoch(s, leads ? epoch : 0);
        if (status)
            row_int(s, (int64_t)status->status.durable);
        else
            row_null(s);
        row_end(s);
    }
}

static void put_replica_sets(struct row_set *s, const struct node *n)
{
    for (uint32_t p = 0; p < n->view.table.n_partitions; p++) {
        const struct epoch_metadata *e = epochs_get(cluster_epochs(n->cluster), p);
        if (e)
            put_members(s, n, p, "current", &e->current);
        if (e && e->has_next)
            put_members(s, n, p, "next", &e->next);
    }
}

/* ---- rules ---- */

static void put_rules(struct row_set *s, const struct node *n)
{
    const struct rule_book *book = rule_store_current(n->rules);
    for (size_t i = 0; i < book->n_rules; i++) {
        const struct rule *r = &book->rules[i];
        row_text(s, slice_cstr(r->pattern));
        if (r->concurrency)
            row_int(s, r->concurrency);
        else
            row_null(s);
        row_text(s, r->description ? slice_cstr(r->description) : SLICE_EMPTY);
        row_bool(s, r->disabled);
        row_int(s, r->version);
        row_int(s, (int64_t)r->modified_ms);
        row_end(s);
    }
}

/* ---- configuration ---- */

struct config_rows {
    struct row_set *s;
    const struct node *n;
};

static bool is_secret(const char *key)
{
    static const char *const parts[] = {"access-key", "password", "secret",      "token",   "authorization",
                                        "api-key",    "cookie",   "private-key", "key-pem", "jaas"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strcasestr(key, parts[i]))
            return true;
    return false;
}

static void put_setting(void *ctx, const char *key, struct slice value)
{
    struct config_rows *c = ctx;
    put_plain(c->s, c->n->joined.node_id);
    put_generational(c->s, c->n->joined.node_id, c->n->joined.generation);
    row_text(c->s, slice_cstr(key));
    row_text(c->s, is_secret(key) && !slice_eq_cstr(value, "null") ? SLICE_LIT("<REDACTED>") : value);
    row_end(c->s);
}

/* ---- dispatch ---- */

void node_query_rows(struct node *n, struct rows_request *r)
{
    struct config_rows config = {&r->rows, n};
    switch (r->table) {
    case TABLE_NODES:
        put_nodes(&r->rows, n);
        break;
    case TABLE_LOGS:
    case TABLE_LOGS_TAIL_SEGMENTS:
        put_logs(&r->rows, n, r->table == TABLE_LOGS_TAIL_SEGMENTS);
        break;
    case TABLE_CONFIG:
        if (n->config->admin_options.disable_config_table)
            err_set(&r->err, RC_NOT_FOUND,
                    "Error during planning: table 'restate.public.config' not found "
                    "(disable-config-sql-table is set)");
        else
            config_each(n->reloaded[0] ? n->reloaded[0] : n->config, put_setting, &config);
        break;
    case TABLE_PARTITIONS:
        for (uint32_t p = 0; p < n->view.table.n_partitions; p++)
            put_partition(&r->rows, n, p);
        break;
    case TABLE_PARTITION_STATE:
        put_partition_states(&r->rows, n);
        break;
    case TABLE_SYS_RULES:
        put_rules(&r->rows, n);
        break;
    case TABLE_PARTITION_REPLICA_SET:
        put_replica_sets(&r->rows, n);
        break;
    default: /* those of each node: query_gather.c */
        break;
    }
}
